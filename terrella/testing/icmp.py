"""ICMP errors about a connection, as the kit sees, makes, alters and describes them (RFC 792, RFC 1191, RFC 4443).

An error quotes the packet that it is about: addresses, ports and the sequence number are what a receiver can check it
by (RFC 5927).
"""

from __future__ import annotations

from terrella.testing.wire import ACK, MASK, checksum, packet

ICMP4, ICMP6, PROTO_TCP = 1, 58, 6
NAMES4 = {(3, 0): "net_unreachable", (3, 1): "host_unreachable", (3, 3): "port_unreachable", (3, 4): "frag_needed"}
NAMES6 = {(1, 0): "no_route", (1, 3): "address_unreachable", (1, 4): "port_unreachable"}
PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
HEAD = {4: 20, 6: 40}


class Error:
    """What an ICMP error says, and of which packet: `key` of its sender (as the stack's demultiplexing has it: own
    address, the peer's, own port, the peer's), its sequence number, and how many bytes of data it had."""

    __slots__ = ("code", "key", "kind", "mtu", "seq", "size", "version")

    def __init__(self, image: bytes, version: int) -> None:
        head = HEAD[version]
        quote = image[head + 8 :]
        l4 = HEAD[version]
        self.version = version
        self.kind, self.code = image[head], image[head + 1]
        low = head + 6 if version == 4 else head + 4
        self.mtu = int.from_bytes(image[low : head + 8], "big") if self.too_big else 0
        ips = quote[12:20] if version == 4 else quote[8:40]
        self.key = ips + quote[l4 : l4 + 4]
        self.seq = int.from_bytes(quote[l4 + 4 : l4 + 8], "big")
        whole = int.from_bytes(quote[2:4], "big") if version == 4 else 40 + int.from_bytes(quote[4:6], "big")
        options = 4 * (quote[l4 + 12] >> 4) if len(quote) > l4 + 12 else 20
        self.size = whole - l4 - options

    @property
    def too_big(self) -> bool:
        return (self.kind, self.code) == TOO_BIG[self.version]


def parse(image: bytes) -> Error | None:
    """None when it is no ICMP error about a TCP segment, or a checksum or length is wrong."""
    version = image[0] >> 4 if image else 0
    if version not in HEAD or len(image) < 2 * HEAD[version] + 16:
        return None
    head = HEAD[version]
    quote = image[head + 8 :]
    if version == 4:
        good = image[0] == quote[0] == 0x45 and image[9] == ICMP4 and quote[9] == PROTO_TCP
        good = good and not checksum(image[:20]) and not checksum(image[20:])
        return Error(image, 4) if good and image[20] in (3, 11, 12) else None
    if image[6] != ICMP6 or quote[6] != PROTO_TCP or image[40] > 4 or quote[0] >> 4 != 6:
        return None
    if int.from_bytes(image[4:6], "big") != len(image) - 40:
        return None
    return None if checksum(_pseudo(image) + image[40:]) else Error(image, 6)


def _pseudo(image: bytes) -> bytes:
    return image[8:40] + (len(image) - 40).to_bytes(4, "big") + bytes((0, 0, 0, ICMP6))


def build(
    version: int, kind: int, code: int, word: int, addresses: tuple[bytes, bytes], quote: bytes
) -> bytes:  # fmt: skip
    """An ICMP message with this second word, (source, destination)."""
    body = bytes((kind, code, 0, 0)) + word.to_bytes(4, "big") + quote
    if version == 4:
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        head = bytes((0x45, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes((0, 0, 0, 0, 64, ICMP4, 0, 0))
        head += b"".join(addresses)
        return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body
    head = bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big") + bytes((ICMP6, 64)) + b"".join(addresses)
    sum_ = checksum(_pseudo(head + body) + body)
    return head + body[:2] + sum_.to_bytes(2, "big") + body[4:]


def quoting(
    what: tuple[int, int], mtu: int, seq: int, addresses: tuple[bytes, bytes], ports: tuple[int, int]
) -> bytes:  # fmt: skip
    """An error about a segment of the receiver's own, with 1000 bytes from `seq` on; (source, destination)."""
    source, destination = addresses
    version = 4 if len(source) == 4 else 6
    quoted = packet((destination, source), (ports[1], ports[0]), seq & MASK, 0, ACK, 1000, b"", bytes(1000))
    return build(version, *what, mtu, addresses, quoted[: HEAD[version] + 8])


def misquoting(image: bytes, offset: int) -> bytes:
    """The same error about another segment of the connection, so much further on."""
    version = image[0] >> 4
    head = HEAD[version]
    at = head + 8 + head + 4
    seq = int.from_bytes(image[at : at + 4], "big") + offset & MASK
    quote = image[head + 8 : at] + seq.to_bytes(4, "big") + image[at + 4 :]
    ends = (image[12:16], image[16:20]) if version == 4 else (image[8:24], image[24:40])
    word = int.from_bytes(image[head + 4 : head + 8], "big")
    return build(version, image[head], image[head + 1], word, ends, quote)


def described(image: bytes, iss: int) -> str | None:
    """What a script says of an ICMP error that arrives; None of any other packet."""
    error = parse(image)
    if error is None:
        return None
    start, size = error.seq - iss & MASK, error.size
    said = (NAMES4 if error.version == 4 else NAMES6).get((error.kind, error.code))
    if error.too_big:
        what = f"unreachable frag_needed mtu {error.mtu}" if error.version == 4 else f"packet_too_big mtu {error.mtu}"
    elif said is not None:
        what = f"unreachable {said}"
    elif error.kind == (11 if error.version == 4 else 3) and not error.code:
        what = "time_exceeded exceeded_in_transit"
    else:
        return None
    return f"< icmp {what} [{start}:{start + size & MASK}({size})]"
