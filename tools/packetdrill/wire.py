"""Bytes: build what a script injects, and read what the stack sent into the same packet classes.

Addresses and ports are live values; sequence numbers here are live too. `mapping` turns them into the script's.
IPv4 and IPv6 differ only in the header around the message and in ICMP's type numbers.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from csrc import ffi, lib
from tools.packetdrill.script import ACK, IcmpPacket, IpInfo, Option, TcpPacket, UdpPacket
from tools.packetdrill.signatures import near

ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}

# (type, code) by name, and whether the second 32-bit word carries an MTU; netinet/ip_icmp.h and icmp6.h.
ICMP4_TYPES = {
    "echo_reply": 0, "unreachable": 3, "source_quench": 4, "redirect": 5, "echo_request": 8, "time_exceeded": 11,
    "parameter_problem": 12, "timestamp_request": 13, "timestamp_reply": 14, "information_request": 15,
    "information_reply": 16, "address_mask_request": 17, "address_mask_reply": 18,
}  # fmt: skip
ICMP4_CODES = {
    "unreachable": {
        "net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2, "port_unreachable": 3, "frag_needed": 4,
        "source_route_failed": 5, "net_unknown": 6, "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9,
        "host_prohibited": 10, "net_unreachable_for_tos": 11, "host_unreachable_for_tos": 12, "packet_filtered": 13,
        "precedence_violation": 14, "precedence_cutoff": 15,
    },
    "time_exceeded": {"exceeded_in_transit": 0, "exceeded_in_reassembly": 1},
}  # fmt: skip
ICMP6_TYPES = {
    "unreachable": 1, "packet_too_big": 2, "time_exceeded": 3, "parameter_problem": 4, "echo_request": 128,
    "echo_reply": 129,
}  # fmt: skip
ICMP6_CODES = {
    "unreachable": {
        "net_unreachable": 0, "no_route": 0, "admin_prohibited": 1, "beyond_scope": 2, "not_neighbour": 2,
        "addr_unreachable": 3, "address_unreachable": 3, "port_unreachable": 4,
        "source_policy": 5, "reject_route": 6,
    },
    "time_exceeded": {
        "exceeded_in_transit": 0, "exceeded_in_reassembly": 1, "exceeded_hop_limit": 0, "exceeded_frag_time": 1,
    },
    "parameter_problem": {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}  # fmt: skip

QUOTING = frozenset({
    "unreachable", "source_quench", "redirect", "time_exceeded", "parameter_problem", "packet_too_big",
})  # fmt: skip
"""The ICMP messages that quote a packet."""

_OPTION_KINDS = {"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8, "md5": 19, "FO": 34}


@dataclass(frozen=True)
class Live:
    """A packet seen on the wire: its addresses and ports, its parsed form, its payload and when it was sent."""

    src: bytes
    dst: bytes
    sport: int
    dport: int
    packet: TcpPacket | UdpPacket | IcmpPacket
    payload: bytes
    now: int
    image: bytes


def checksum(data: bytes) -> int:
    return int(lib.trl_checksum(ffi.from_buffer(data), len(data), 0))


def _pseudo(src: bytes, dst: bytes, protocol: int, length: int) -> bytes:
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, protocol)


def _ip(src: bytes, dst: bytes, protocol: int, message: bytes, info: IpInfo, ident: int = 0) -> bytes:
    tos = info.tos if info.tos is not None else ECN.get(info.ecn or "noecn", 0)
    ttl = info.ttl if info.ttl is not None else 255
    if len(src) == 16:
        word = 6 << 28 | tos << 20 | (info.flowlabel or 0)
        return struct.pack("!IHBB", word, len(message), protocol, ttl) + src + dst + message
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(message), ident, 0, ttl, protocol, 0) + src + dst
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + message


def encode_options(options: tuple[Option, ...]) -> bytes:
    """The option bytes as a script writes them, padded with EOL to a multiple of four."""
    out = bytearray()
    for option in options:
        kind = option.kind
        if kind in ("nop", "eol"):
            out.append(_OPTION_KINDS[kind])
        elif kind == "mss":
            out += struct.pack("!BBH", 2, 4, option.values[0])
        elif kind == "wscale":
            out += struct.pack("!BBB", 3, 3, option.values[0])
        elif kind == "sackOK":
            out += b"\x04\x02"
        elif kind == "TS":
            out += struct.pack("!BBII", 8, 10, *option.values)
        elif kind == "sack":
            out += struct.pack(f"!BB{len(option.values)}I", 5, 2 + 4 * len(option.values), *option.values)
        elif kind == "FOEXP":
            out += struct.pack("!BBH", 254, 4 + len(option.data), 0xF989) + option.data
        else:
            out += struct.pack("!BB", _OPTION_KINDS[kind], 2 + len(option.data)) + option.data
    out += bytes(-len(out) % 4)
    return bytes(out)


def decode_options(data: bytes) -> tuple[Option, ...]:
    """Options in wire order. Bytes that are no option list raise ValueError: the stack must never send such."""
    out: list[Option] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == 0:
            out.append(Option("eol"))
            break
        if kind == 1:
            out.append(Option("nop"))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            raise ValueError(f"malformed TCP options {data.hex()}")
        body = data[at + 2 : at + length]
        if kind == 2:
            out.append(Option("mss", struct.unpack("!H", body)))
        elif kind == 3:
            out.append(Option("wscale", (body[0],)))
        elif kind == 4:
            out.append(Option("sackOK"))
        elif kind == 5:
            out.append(Option("sack", struct.unpack(f"!{len(body) // 4}I", body)))
        elif kind == 8:
            out.append(Option("TS", struct.unpack("!II", body)))
        elif kind == 19:
            out.append(Option("md5", (), body))
        elif kind == 34:
            out.append(Option("FO", (), body))
        elif kind == 254 and body[:2] == b"\xf9\x89":
            out.append(Option("FOEXP", (), body[2:]))
        else:
            out.append(Option(f"kind{kind}", (), body))
        at += length
    return tuple(out)


def build_tcp(packet: TcpPacket, src: bytes, dst: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    """An IP packet with this TCP segment; every checksum right."""
    options = encode_options(packet.options or ())
    flags = packet.flags
    if packet.ace is not None:
        flags |= (packet.ace & 1) << 6 | (packet.ace & 2) << 6 | (packet.ace & 4) << 6
    word = (5 + len(options) // 4) << 12 | flags
    window = packet.window or 0
    head = struct.pack("!HHIIHHHH", sport, dport, packet.seq, packet.ack, word, window, 0, packet.urgent) + options
    message = head + payload
    total = checksum(_pseudo(src, dst, 6, len(message)) + message)
    return _ip(src, dst, 6, message[:16] + struct.pack("!H", total) + message[18:], packet.ip)


def build_udp(packet: UdpPacket, src: bytes, dst: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    message = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = checksum(_pseudo(src, dst, 17, len(message)) + message) or 0xFFFF
    return _ip(src, dst, 17, message[:6] + struct.pack("!H", total) + message[8:], packet.ip)


def icmp_numbers(packet: IcmpPacket, v6: bool) -> tuple[int, int]:
    """(type, code) of an ICMP packet by its names; ValueError that names the unknown one."""
    types, codes = (ICMP6_TYPES, ICMP6_CODES) if v6 else (ICMP4_TYPES, ICMP4_CODES)
    which = "ICMPv6" if v6 else "ICMP"
    kind = _icmp_number(f"{which} type", "type_", packet.type, types)
    known = codes.get(packet.type, {})
    return kind, 0 if packet.code is None else _icmp_number(
        f"code of {which} {packet.type}", "code_", packet.code, known
    )


def _icmp_number(what: str, prefix: str, name: str, known: dict[str, int]) -> int:
    if name in known:
        return known[name]
    number = name.removeprefix(prefix)
    if number == name or not number.isdigit() or int(number) > 255:
        raise ValueError(f"{name!r} is no {what}{near(name, known)}: it is {', '.join([*known, prefix + 'N'])}")
    return int(number)


def build_icmp(packet: IcmpPacket, src: bytes, dst: bytes, quoted: bytes) -> bytes:
    """An ICMP message whose body is `quoted` (an IP header and the start of its payload)."""
    v6 = len(src) == 16
    kind, code = icmp_numbers(packet, v6)
    if v6 and packet.ident is None:
        rest = struct.pack("!I", packet.mtu or 0)
    elif packet.ident is not None:
        rest = struct.pack("!HH", packet.ident, 0)
    else:
        rest = struct.pack("!HH", 0, packet.mtu or 0)
    message = struct.pack("!BBH", kind, code, 0) + rest + quoted
    total = checksum(_pseudo(src, dst, 58, len(message)) + message) if v6 else checksum(message)
    return _ip(src, dst, 58 if v6 else 1, message[:2] + struct.pack("!H", total) + message[4:], packet.ip)


def quote(src: bytes, dst: bytes, protocol: str, sport: int, dport: int, seq: int, length: int) -> bytes:
    """The head of a packet the stack sent, as an ICMP error quotes it: IP header and eight bytes."""
    if protocol == "udp":
        message = struct.pack("!HHHH", sport, dport, 8 + length, 0) + bytes(length)
        number = 17
    else:
        message = struct.pack("!HHIIHHHH", sport, dport, seq, 0, 5 << 12 | ACK, 0, 0, 0) + bytes(length)
        number = 6
    whole = _ip(src, dst, number, message, IpInfo(ttl=64))
    return whole[: (40 if len(src) == 16 else 20) + 8]


def read(image: bytes, now: int) -> Live | None:
    """Parse what the stack sent. None for what no script speaks of (neighbour discovery, other protocols)."""
    version = image[0] >> 4
    if version == 4:
        header = (image[0] & 15) * 4
        tos, total, ttl, protocol = image[1], struct.unpack_from("!H", image, 2)[0], image[8], image[9]
        src, dst = image[12:16], image[16:20]
        label = 0
    else:
        header = 40
        word = struct.unpack_from("!I", image)[0]
        tos, label, protocol, ttl = word >> 20 & 255, word & 0xFFFFF, image[6], image[7]
        total = 40 + struct.unpack_from("!H", image, 4)[0]
        src, dst = image[8:24], image[24:40]
    info = IpInfo(tos=tos, ttl=ttl, flowlabel=label)
    message = image[header:total]
    if protocol == 6:
        sport, dport, seq, ack, word, window, _, urgent = struct.unpack_from("!HHIIHHHH", message)
        offset = (word >> 12) * 4
        payload = message[offset:]
        options = decode_options(message[20:offset])
        tcp = TcpPacket(False, word & 0x1FF, seq, len(payload), ack, window, urgent, options, info)
        return Live(src, dst, sport, dport, tcp, payload, now, image)
    if protocol == 17:
        sport, dport = struct.unpack_from("!HH", message)
        return Live(src, dst, sport, dport, UdpPacket(False, len(message) - 8, info), message[8:], now, image)
    if protocol in (1, 58):
        kind, code, _, ident, mtu = struct.unpack_from("!BBHHH", message)
        types, codes = (ICMP4_TYPES, ICMP4_CODES) if protocol == 1 else (ICMP6_TYPES, ICMP6_CODES)
        name = next((n for n, number in types.items() if number == kind), f"type_{kind}")
        if protocol == 58 and kind >= 130:
            return None
        code_name = next((n for n, number in codes.get(name, {}).items() if number == code), None)
        if code_name is None and code:
            code_name = f"code_{code}"
        what = _quoted(message[8:]) if name in QUOTING else None
        icmp = IcmpPacket(False, name, code_name, mtu, ident, what or ("raw", 0, len(message)), info)
        return Live(src, dst, 0, 0, icmp, message[8:], now, image)
    return None


def _quoted(packet: bytes) -> tuple[str, int, int] | None:
    """The packet that an ICMP message quotes: its protocol, sequence number and payload length, as far as it is there.
    None for other protocols."""
    if len(packet) < 28:
        return None
    v6 = packet[0] >> 4 == 6
    header = 40 if v6 else (packet[0] & 15) * 4
    protocol, body = packet[6] if v6 else packet[9], packet[header:]
    if protocol == 17 and len(body) >= 8:
        return "udp", 0, struct.unpack_from("!H", body, 4)[0] - 8
    if protocol != 6 or len(body) < 14:
        return None
    size = struct.unpack_from("!H", packet, 4)[0] if v6 else struct.unpack_from("!H", packet, 2)[0] - header
    return "tcp", struct.unpack_from("!I", body, 4)[0], size - (body[12] >> 4) * 4


def address(text: str) -> bytes:
    """Text to 4 or 16 bytes; ValueError names the text."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        raise ValueError(f"{text!r} is not an IP address") from None
