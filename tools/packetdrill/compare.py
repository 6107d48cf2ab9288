"""Does an outbound packet say what the script expects? Every field counts; the first difference is the answer.

What a script leaves out is not checked: a window without `win`, options as `<...>`, IP fields without brackets.
"""

from __future__ import annotations

from tools.packetdrill.script import (
    ACK,
    AE,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    IcmpPacket,
    IpInfo,
    Option,
    TcpPacket,
    UdpPacket,
)  # fmt: skip
from tools.packetdrill.wire import ECN

_FLAGS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (URG, "U"), (AE, "A"), (ECE, "E"), (CWR, "W"), (ACK, "."))


def flags_text(flags: int) -> str:
    return "".join(letter for bit, letter in _FLAGS if flags & bit) or "-"


def option_text(option: Option) -> str:
    if option.kind == "wscale" and not option.values:
        return "wscale *"
    if option.kind == "TS":
        return f"TS val {option.values[0]} ecr {option.values[1]}"
    if option.kind == "sack":
        return "sack " + " ".join(f"{a}:{b}" for a, b in zip(option.values[::2], option.values[1::2]))
    return " ".join([option.kind, *map(str, option.values), *([option.data.hex()] if option.data else [])])


def packet_text(packet: TcpPacket | UdpPacket | IcmpPacket, ports: tuple[int, int] | None = None) -> str:
    """The packet in the script's own notation; with its ports, from and to, where they are given."""
    arrow = "<" if packet.inbound else ">"
    between = "" if ports is None else f"{ports[0]} > {ports[1]} "
    if isinstance(packet, UdpPacket):
        return f"{arrow} udp {between}({packet.length})"
    if isinstance(packet, IcmpPacket):
        words = [arrow, "icmp", packet.type, packet.code or ""]
        if packet.mtu is not None and packet.mtu:
            words.append(f"mtu {packet.mtu}")
        if packet.ident:
            words.append(f"id {packet.ident}")
        if packet.quoted is not None:
            protocol, seq, length = packet.quoted
            words.append(f"[{seq}:{seq + length}({length})]" if protocol == "tcp" else f"[{protocol} ({length})]")
        return " ".join(filter(None, words))
    text = f"{arrow} {between}{flags_text(packet.flags)} {packet.seq}:{packet.seq + packet.length}({packet.length})"
    if packet.flags & ACK:
        text += f" ack {packet.ack}"
    if packet.window is not None:
        text += f" win {packet.window}"
    if packet.urgent:
        text += f" urg {packet.urgent}"
    if packet.options is None:
        text += " <...>"
    elif packet.options:
        text += f" <{','.join(map(option_text, packet.options))}>"
    return text


def _ip(expected: IpInfo, actual: IpInfo) -> str | None:
    ecn = (actual.tos or 0) & 3
    if expected.ecn == "ect01":
        if ecn not in (1, 2):
            return f"ECN: expected ect0 or ect1, got {ecn}"
    elif expected.ecn is not None and ECN[expected.ecn] != ecn:
        name = next(n for n, v in ECN.items() if v == ecn)
        return f"ECN: expected {expected.ecn}, got {name}"
    if expected.tos is not None and expected.tos != actual.tos:
        return f"tos: expected {expected.tos:#x}, got {actual.tos or 0:#x}"
    if expected.flowlabel is not None and expected.flowlabel != actual.flowlabel:
        return f"flowlabel: expected {expected.flowlabel:#x}, got {actual.flowlabel or 0:#x}"
    if expected.ttl is not None and expected.ttl != actual.ttl:
        return f"ttl: expected {expected.ttl}, got {actual.ttl}"
    return None


def _options(expected: tuple[Option, ...], actual: tuple[Option, ...]) -> str | None:
    """Kinds, order and values. TS val is the runner's: it depends on the clock."""
    if [o.kind for o in expected] != [o.kind for o in actual]:
        lists = [",".join(map(option_text, options)) or "none" for options in (expected, actual)]
        return f"options: expected <{lists[0]}>, got <{lists[1]}>"
    for want, got in zip(expected, actual):
        if want.kind == "TS":
            if want.values[1] != got.values[1]:
                return f"option: expected {option_text(want)}, got {option_text(got)}"
        elif want != got and (want.kind != "wscale" or want.values):
            return f"option: expected {option_text(want)}, got {option_text(got)}"
    return None


def difference(
    expected: TcpPacket | UdpPacket | IcmpPacket,
    actual: TcpPacket | UdpPacket | IcmpPacket,
) -> str | None:
    """The first field in which `actual` is not what `expected` says, or None."""
    if type(expected) is not type(actual):
        return f"expected {packet_text(expected)}, got {packet_text(actual)}"
    trouble = _ip(expected.ip, actual.ip)
    if trouble:
        return trouble
    if isinstance(expected, UdpPacket):
        assert isinstance(actual, UdpPacket)
        return None if expected.length == actual.length else f"length: expected {expected.length}, got {actual.length}"
    if isinstance(expected, IcmpPacket):
        assert isinstance(actual, IcmpPacket)
        if (expected.type, expected.code) != (actual.type, actual.code):
            return f"ICMP: expected {packet_text(expected)}, got {packet_text(actual)}"
        if expected.ident is not None and expected.ident != actual.ident:
            return f"id: expected {expected.ident}, got {actual.ident}"
        if expected.mtu is not None and expected.mtu != actual.mtu:
            return f"mtu: expected {expected.mtu}, got {actual.mtu}"
        if expected.quoted is not None and expected.quoted != actual.quoted:
            return f"quoted: expected {packet_text(expected)}, got {packet_text(actual)}"
        return None
    assert isinstance(actual, TcpPacket)
    return _tcp(expected, actual)


def _tcp(expected: TcpPacket, actual: TcpPacket) -> str | None:
    want, got = expected.flags, actual.flags
    if expected.ace is not None:
        ace = (got >> 6 & 1) | (got >> 6 & 2) | (got >> 6 & 4)
        if ace != expected.ace:
            return f"ACE: expected {expected.ace}, got {ace}"
        want, got = want & ~(ECE | CWR | AE), got & ~(ECE | CWR | AE)
    if want != got:
        return f"flags: expected {flags_text(want)}, got {flags_text(got)}"
    if expected.seq != actual.seq:
        return f"seq: expected {expected.seq}, got {actual.seq}"
    if expected.length != actual.length:
        return f"payload: expected {expected.length} bytes, got {actual.length}"
    if expected.ack != actual.ack:
        return f"ack: expected {expected.ack}, got {actual.ack}"
    if expected.window is not None and expected.window != actual.window:
        return f"win: expected {expected.window}, got {actual.window}"
    if expected.urgent != actual.urgent:
        return f"urg: expected {expected.urgent}, got {actual.urgent}"
    if expected.options is None:
        return None
    return _options(expected.options, actual.options or ())
