"""Packets as the kit sees and alters them: a typed view of one TCP segment, and rewriting with the checksums made good.

The view is taken from the wire image alone, by the parser that the stack uses (`trl_parse`), checksums
verified. Sequence numbers are as on the wire; `Flow` (flow.py) unwraps them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csrc import ffi, lib

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
MASK = 0xFFFFFFFF
HALF = 0x80000000

# Kinds of TCP options (RFC 9293 section 3.1, RFC 7323, RFC 2018).
EOL, NOP, MSS, WSCALE, SACK_PERMITTED, SACK, TIMESTAMP = 0, 1, 2, 3, 4, 5, 8

HAS_MSS = int(lib.TRL_OPT_MSS)
HAS_WSCALE = int(lib.TRL_OPT_WSCALE)
HAS_SACK_PERMITTED = int(lib.TRL_OPT_SACK_PERMITTED)
HAS_TIMESTAMP = int(lib.TRL_OPT_TIMESTAMP)
HAS_SACK = int(lib.TRL_OPT_SACK)

TRUSTED = int(lib.TRL_PARSE_L4_TRUSTED)
OK = int(lib.TRL_OK)
PROTO_TCP = 6


class Segment:
    """One segment as it was on the wire. `segs`: the wire segments it stands for (a super-segment has several),
    `size`: what the first of them carries, `packet`: how long that one is with all its headers."""

    __slots__ = (
        "ack", "dport", "ecn", "flags", "length", "mss", "options", "packet", "sack", "segs", "seq", "size", "sport",
        "tsecr", "tsval", "ttl", "urgent", "window", "wscale",
    )  # fmt: skip

    def __init__(self, pkt: Any, gso_size: int = 0) -> None:
        self.sport: int = pkt.sport
        self.dport: int = pkt.dport
        self.seq: int = pkt.seq
        self.ack: int = pkt.ack
        self.flags: int = pkt.tcp_flags
        self.window: int = pkt.window
        self.urgent: int = pkt.urgent if pkt.tcp_flags & URG else 0
        self.length: int = pkt.payload_len
        self.ecn: int = pkt.tos & 3
        options = self.options = int(pkt.tcp_options)
        self.mss: int | None = pkt.mss if options & HAS_MSS else None
        self.wscale: int | None = pkt.wscale if options & HAS_WSCALE else None
        self.tsval: int | None = pkt.tsval if options & HAS_TIMESTAMP else None
        self.tsecr: int | None = pkt.tsecr if options & HAS_TIMESTAMP else None
        self.sack: tuple[tuple[int, int], ...] = ()
        if options & HAS_SACK:
            edges = pkt.sack
            self.sack = tuple((edges[i], edges[i + 1]) for i in range(0, 2 * pkt.nsack, 2))
        self.size = min(gso_size or self.length, self.length)
        self.packet: int = pkt.payload - pkt.l3 + self.size
        self.ttl: int = pkt.ttl
        self.segs = -(-self.length // gso_size) if gso_size and self.length else 1

    @property
    def room(self) -> int:
        """How much sequence space it takes: payload, SYN and FIN."""
        return self.length + (self.flags & FIN) + (1 if self.flags & SYN else 0)

    def __repr__(self) -> str:
        letters = "".join(
            letter for bit, letter in ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ECE, "E"), (CWR, "W"),
            (URG, "U"), (ACK, ".")) if self.flags & bit
        )  # fmt: skip
        return f"{letters or '-'} {self.seq}+{self.length} ack {self.ack} win {self.window}"


_pkt = ffi.new("struct trl_pkt *")


def parse(image: bytes, gso_size: int = 0, trusted: bool = False) -> Segment | None:
    """The view of an IP packet; None when it is not TCP or a checksum is wrong (no stack may look at it then)."""
    if lib.trl_parse(ffi.from_buffer(image), len(image), TRUSTED if trusted else 0, _pkt) != OK:
        return None
    return Segment(_pkt, gso_size) if _pkt.proto == PROTO_TCP else None


def above_ip(image: bytes) -> bytes:
    """What no router changes: all behind the IP header."""
    return image[40:] if image and image[0] >> 4 == 6 else image[20:]


def option_list(options: bytes) -> list[tuple[int, bytes]]:
    """The options of a header as (kind, body), without padding; what comes after a malformed one is left out."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == EOL:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            break
        found.append((kind, options[at + 2 : at + options[at + 1]]))
        at += options[at + 1]
    return found


class Header:
    """A TCP packet (of IPv6: without extension headers) taken apart for a middlebox; `image()` puts it together again
    with good checksums."""

    __slots__ = ("ip", "payload", "tcp")

    def __init__(self, image: bytes) -> None:
        six = image[0] >> 4 == 6
        ihl = 40 if six else (image[0] & 15) * 4
        self.ip = bytearray(image[:ihl])
        data = ihl + (image[ihl + 12] >> 4) * 4
        self.tcp = bytearray(image[ihl:data])
        total = 40 + int.from_bytes(image[4:6], "big") if six else int.from_bytes(image[2:4], "big")
        self.payload = image[data:total]

    @staticmethod
    def of(image: bytes) -> Header | None:
        """None when it is not a good TCP packet: a middlebox lets such pass, and mends no damaged one."""
        if not image or parse(image) is None or (image[0] >> 4 == 6 and image[6] != PROTO_TCP):
            return None
        return Header(image)

    @property
    def flags(self) -> int:
        return self.tcp[13]

    @property
    def ecn(self) -> int:
        return self.ip[1] & 3 if self.ip[0] >> 4 == 4 else self.ip[1] >> 4 & 3

    def bleach(self) -> None:
        """Clear the ECN field."""
        self.ip[1] &= 0xFC if self.ip[0] >> 4 == 4 else 0xCF

    def get32(self, at: int) -> int:
        return int.from_bytes(self.tcp[at : at + 4], "big")

    def set32(self, at: int, value: int) -> None:
        self.tcp[at : at + 4] = (value & MASK).to_bytes(4, "big")

    def each_option(self, change: Callable[[int, bytes], bytes | None]) -> bool:
        """Replace the body of each option in place (None: by NOPs). Whether anything changed."""
        at, tcp, changed = 20, self.tcp, False
        while at < len(tcp):
            kind = tcp[at]
            if kind == EOL:
                break
            if kind == NOP:
                at += 1
                continue
            if at + 1 >= len(tcp):
                break
            size = tcp[at + 1]
            if size < 2 or at + size > len(tcp):
                break
            body = bytes(tcp[at + 2 : at + size])
            new = change(kind, body)
            if new is None:
                tcp[at : at + size] = bytes([NOP]) * size
                changed = True
            elif new != body:
                tcp[at + 2 : at + size] = new
                changed = True
            at += size
        return changed

    def image(self) -> bytes:
        ip, tcp = self.ip, self.tcp
        tcp[16:18] = b"\0\0"
        l4 = bytes(tcp) + bytes(self.payload)
        if ip[0] >> 4 == 4:
            ip[10:12] = b"\0\0"
            ip[10:12] = _complement(bytes(ip)).to_bytes(2, "big")
        pseudo = bytes(ip[12:20] if ip[0] >> 4 == 4 else ip[8:40]) + bytes((0, PROTO_TCP)) + len(l4).to_bytes(2, "big")
        tcp[16:18] = _complement(pseudo + l4).to_bytes(2, "big")
        return bytes(ip) + bytes(tcp) + bytes(self.payload)


def packet(
    addresses: tuple[bytes, bytes], ports: tuple[int, int], seq: int, ack: int, flags: int, window: int,
    options: bytes = b"", payload: bytes = b"",
) -> bytes:  # fmt: skip
    """A TCP packet, (source, destination) of each; `options` padded to words. IPv6 where the addresses are so long."""
    tcp = bytearray(ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big") + seq.to_bytes(4, "big"))
    tcp += ack.to_bytes(4, "big") + bytes(((5 + len(options) // 4) << 4, flags)) + window.to_bytes(2, "big") + bytes(4)
    size = len(tcp) + len(options) + len(payload)
    if len(addresses[0]) == 4:
        ip = bytes((0x45, 0)) + (20 + size).to_bytes(2, "big") + bytes((0, 0, 0x40, 0, 64, PROTO_TCP, 0, 0))
    else:
        ip = bytes((0x60, 0, 0, 0)) + size.to_bytes(2, "big") + bytes((PROTO_TCP, 64))
    ip += b"".join(addresses)
    made = Header(ip + bytes(tcp) + options + payload)
    return made.image()


def shaved(image: bytes, by: int) -> bytes:
    """The packet with its SACK blocks so much narrower at either end, but for those that would vanish."""
    header = Header.of(image)
    if header is None:
        return image

    def narrow(kind: int, body: bytes) -> bytes:
        if kind != SACK:
            return body
        edges = [int.from_bytes(body[i : i + 4], "big") for i in range(0, len(body) & ~7, 4)]
        for i in range(0, len(edges), 2):
            if 2 * by < (edges[i + 1] - edges[i]) & MASK < HALF:
                edges[i], edges[i + 1] = edges[i] + by & MASK, edges[i + 1] - by & MASK
        return b"".join(edge.to_bytes(4, "big") for edge in edges)

    return header.image() if header.each_option(narrow) else image


def timestamp_option(tsval: int, tsecr: int) -> bytes:
    return bytes((NOP, NOP, TIMESTAMP, 10)) + (tsval & MASK).to_bytes(4, "big") + (tsecr & MASK).to_bytes(4, "big")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    return _complement(data)


def _complement(data: bytes) -> int:
    """RFC 1071: the complement of the ones' complement sum of 16-bit words (2^16 is 1 modulo 2^16 - 1)."""
    if len(data) & 1:
        data += b"\0"
    total = int.from_bytes(data, "big")
    folded = total % 0xFFFF
    if total and not folded:
        folded = 0xFFFF
    return folded ^ 0xFFFF
