"""Expressions of a script as the values that system calls take and give: integers, constants by name, C structures.

Structures are those of Linux on a 64-bit machine; a field that a script leaves out, or writes as `...`, is not checked.
"""

from __future__ import annotations

import errno as errnos
import socket
import struct
from dataclasses import dataclass

from kernel import abi
from netstack.tcp import stats
from tools.packetdrill.info import CODE_SYMBOLS
from tools.packetdrill.script import Array, Dots, Expression, Function, Number, Or, Struct, Text, Word
from tools.packetdrill.signatures import near

_SYMBOLS: dict[str, int] = {
    "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IP": 0, "SOL_IPV6": 41, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17,
    "IPPROTO_ICMP": 1, "IPPROTO_ICMPV6": 58, "INADDR_ANY": 0, "NULL": 0,
    "SIOCINQ": 0x541B, "FIONREAD": 0x541B, "SIOCOUTQ": 0x5411, "TIOCOUTQ": 0x5411, "SIOCATMARK": 0x8905,
    "MSG_ZEROCOPY": 0x4000000, "MSG_FASTOPEN": 0x20000000, "MSG_EOR": 0x80, "MSG_MORE": 0x8000, "MSG_ERRQUEUE": 0x2000,
    "TCP_INQ": 36, "TCP_CM_INQ": 36, "SO_ZEROCOPY": 60, "SO_MEMINFO": 55, "TCP_RTO_MAX_MS": 44,
    "TCP_RTO_MIN_US": 45, "TCP_DELACK_MAX_US": 46, "PF_INET": 2, "PF_INET6": 10,
    "IPV6_PMTUDISC_DONT": 0, "IPV6_PMTUDISC_WANT": 1, "IPV6_PMTUDISC_DO": 2, "IPV6_PMTUDISC_PROBE": 3,
    "IPV6_FLOWINFO": 11, "IPV6_AUTOFLOWLABEL": 70,
    "SO_EE_ORIGIN_NONE": 0, "SO_EE_ORIGIN_LOCAL": 1, "SO_EE_ORIGIN_ICMP": 2, "SO_EE_ORIGIN_ICMP6": 3,
    "SO_EE_ORIGIN_TIMESTAMPING": 4, "SO_EE_ORIGIN_ZEROCOPY": 5, "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    "SO_MAX_PACING_RATE": 47,
    "IP_MTU_DISCOVER": 10, "IP_RECVERR": 11, "IPV6_RECVERR": 25,
    "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2, "IP_PMTUDISC_PROBE": 3,
    "IP_PMTUDISC_INTERFACE": 4, "IP_PMTUDISC_OMIT": 5, "IPV6_FLOWINFO_SEND": 33, "IPV6_FREEBIND": 78,
    "TCP_COOKIE_TRANSACTIONS": 15, "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_ZEROCOPY_RECEIVE": 35, "TCP_IS_MPTCP": 43,
    "UDP_ENCAP": 100, "SO_RESERVE_MEM": 73, "IPPROTO_MPTCP": 262, "TCP_INFINITE_SSTHRESH": 0x7FFFFFFF,
    "TCP_CA_OPEN": 0, "TCP_CA_DISORDER": 1, "TCP_CA_CWR": 2, "TCP_CA_RECOVERY": 3, "TCP_CA_LOSS": 4,
    "SOF_TIMESTAMPING_TX_HARDWARE": 1 << 0, "SOF_TIMESTAMPING_TX_SOFTWARE": 1 << 1,
    "SOF_TIMESTAMPING_RX_HARDWARE": 1 << 2, "SOF_TIMESTAMPING_RX_SOFTWARE": 1 << 3,
    "SOF_TIMESTAMPING_SOFTWARE": 1 << 4, "SOF_TIMESTAMPING_SYS_HARDWARE": 1 << 5,
    "SOF_TIMESTAMPING_RAW_HARDWARE": 1 << 6, "SOF_TIMESTAMPING_OPT_ID": 1 << 7, "SOF_TIMESTAMPING_TX_SCHED": 1 << 8,
    "SOF_TIMESTAMPING_TX_ACK": 1 << 9, "SOF_TIMESTAMPING_OPT_CMSG": 1 << 10, "SOF_TIMESTAMPING_OPT_TSONLY": 1 << 11,
    "SOF_TIMESTAMPING_OPT_STATS": 1 << 12, "SOF_TIMESTAMPING_OPT_ID_TCP": 1 << 16, "SCM_TIMESTAMPING": 37,
    "SCM_TIMESTAMPING_OPT_STATS": 54, "SCM_TIMESTAMP": 29, "SCM_TIMESTAMPNS": 35, "SCM_TS_OPT_ID": 81,
    "SO_TIMESTAMP_NEW": 63, "SO_TIMESTAMPNS_NEW": 64, "SO_TIMESTAMPING_NEW": 65,
    "SOF_TIMESTAMPING_OPT_RX_FILTER": 1 << 17,
    "SCM_TSTAMP_SND": 0, "SCM_TSTAMP_SCHED": 1, "SCM_TSTAMP_ACK": 2,
    "CAP_EFFECTIVE": 0, "CAP_PERMITTED": 1, "CAP_INHERITABLE": 2, "CAP_CLEAR": 0, "CAP_SET": 1,
}  # fmt: skip


class CallMismatch(Exception):
    """A call's result or an argument it filled in is not what the script says."""


class UnsupportedCall(Exception):
    """The script calls something, or names a constant, that the runner does not know."""


def symbol(name: str) -> int:
    """The number behind a constant's name, with Linux's value. Raises UnsupportedCall."""
    value = getattr(abi, name, _SYMBOLS.get(name, CODE_SYMBOLS.get(name)))
    if value is None:
        value = getattr(errnos, name, None)
    if value is None and name.startswith(("IP_", "IPV6_", "TCP_", "SO_", "MSG_", "AF_", "IPPROTO_")):
        value = getattr(socket, name, None)
    if not isinstance(value, int):
        raise UnsupportedCall(f"unknown constant {name!r}{near(name, {**vars(abi), **_SYMBOLS, **CODE_SYMBOLS})}")
    return int(value)


def integer(expression: Expression) -> int:
    """The value of an integer expression: numbers, constants, `|`, htons(), inet_addr() (as it lies in memory)."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Word):
        return symbol(expression.name)
    if isinstance(expression, Or):
        return integer(expression.left) | integer(expression.right)
    if isinstance(expression, Function) and expression.name in ("htons", "htonl") and len(expression.args) == 1:
        return integer(expression.args[0])
    if isinstance(expression, Function) and expression.name == "inet_addr" and len(expression.args) == 1:
        text = expression.args[0]
        if isinstance(text, Text):
            try:
                return int.from_bytes(socket.inet_pton(socket.AF_INET, text.value.decode("latin-1")), "little")
            except OSError:
                raise UnsupportedCall(f"{describe(text.value)!r} is no IPv4 address") from None
    raise UnsupportedCall(f"expected an integer, not {expression}")


def is_null(expression: Expression) -> bool:
    return expression == Word("NULL") or expression == Number(0)


def describe(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def single(expression: Expression) -> Expression:
    """The content of `[x]`, as option values are written."""
    if isinstance(expression, Array) and len(expression.items) == 1:
        return expression.items[0]
    return expression


def part(value: Struct, name: str) -> Expression:
    found = value.get(name)
    if found is None:
        raise UnsupportedCall(f"structure without {name}: {value}")
    return found


_LAYOUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("onoff", "linger"), "=ii"),
    (("l_onoff", "l_linger"), "=ii"),
    (("tv_sec", "tv_usec"), "=qq"),
)
"""Structures that options take: the names of the fields, and their layout."""


def pack(value: Struct) -> bytes:
    """A structure that an option takes. Raises UnsupportedCall for one that is not known."""
    for names, layout in _LAYOUTS:
        if {name for name, _ in value.fields} == set(names):
            return struct.pack(layout, *(integer(part(value, name)) for name in names))
    raise UnsupportedCall(f"structure {{{', '.join(name for name, _ in value.fields)}}}")


def option_bytes(value: Expression, size: int | None) -> int | bytes:
    """What setsockopt is given: an int, or bytes where the script's length or value is not an int's."""
    value = single(value)
    if isinstance(value, Text):
        return value.value if size is None else value.value[:size].ljust(size, b"\0")
    if isinstance(value, Struct):
        return pack(value)
    number = integer(value)
    if size is None or size == 4:
        return number
    return (number & 0xFFFFFFFF).to_bytes(4, "little")[:size].ljust(size, b"\0")


def address_of(value: Struct) -> tuple[str | None, int | None]:
    """(text, port) of a written sockaddr, None for what is left open."""
    port = value.get("sin_port") or value.get("sin6_port")
    where = value.get("sin_addr") or value.get("sin6_addr")
    text = None
    if isinstance(where, Function) and where.args and isinstance(where.args[-1], Text):
        text = where.args[-1].value.decode()
    elif where is not None and not isinstance(where, Dots):
        text = str(socket.inet_ntoa(integer(where).to_bytes(4, "little")))
    return text, None if port is None or isinstance(port, Dots) else integer(port)


RECVERR = {"CMSG_LEVEL_IP": (0, 41), "CMSG_TYPE_RECVERR": (11, 25)}
"""Names for the error queue's messages that mean those of the IP version under test."""


@dataclass(frozen=True)
class Moment:
    """What a time stamp's control message says: nanoseconds since the script began."""

    ns: int


@dataclass(frozen=True)
class Stats:
    """What SCM_TIMESTAMPING_OPT_STATS says, as far as it is written: (netlink attribute, value)."""

    values: tuple[tuple[int, int], ...]

    def __repr__(self) -> str:
        names = {number: name for name, number in STATS.items()}
        return "{" + ", ".join(f"{names.get(name, name)}={value}" for name, value in self.values) + "}"


STATS = {f"TCP_NLA_{name}": number for name, number in vars(stats).items() if name.isupper() and number in range(1, 28)}

Said = bytes | Moment | Stats | None


def statistics(data: bytes) -> dict[int, int]:
    """The numbers of a message of netlink attributes."""
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        found[kind] = int.from_bytes(data[4:size], "little")
        data = data[max(size + 3 & ~3, 4) :]
    return found


def control_list(value: Expression | None, v6: bool = False) -> list[tuple[int, int, Said]]:
    """msg_control as (level, type, data); data is None where it is `...`."""
    if value is None or isinstance(value, Dots):
        return []
    if not isinstance(value, Array):
        raise UnsupportedCall(f"msg_control: expected [{{cmsg_level=..., ...}}], not {value}")
    out: list[tuple[int, int, Said]] = []
    for item in value.items:
        if not isinstance(item, Struct):
            raise UnsupportedCall(f"control message {item}")
        data = item.get("cmsg_data")
        if isinstance(data, Struct) and data.get("scm_sec") is not None:
            rest = integer(part(data, "scm_usec")) * 1000 if data.get("scm_usec") else integer(part(data, "scm_nsec"))
            ns = integer(part(data, "scm_sec")) * 1_000_000_000 + rest
            out.append((*names_of(item, v6), Moment(ns) if ns else None))  # 0 stands for any time
            continue
        if isinstance(data, Struct) and data.fields and all(name in STATS for name, _ in data.fields):
            figures = [(STATS[name], integer(number)) for name, number in data.fields if not isinstance(number, Dots)]
            out.append((*names_of(item, v6), Stats(tuple(figures))))
            continue
        if isinstance(data, (Number, Word, Or)):
            body: bytes | None = (integer(data) & 0xFFFFFFFF).to_bytes(4, "little")
        elif data is None or isinstance(data, Dots):
            body = None
        elif isinstance(data, Struct) and data.get("ee_origin") is not None:
            body = struct.pack("=IBBBBII", *(
                integer(part(data, name)) if name and data.get(name) is not None else 0
                for name in ("ee_errno", "ee_origin", "ee_type", "ee_code", "", "ee_info", "ee_data")
            ))  # fmt: skip
        else:
            raise UnsupportedCall(f"control message data {data}")
        out.append((*names_of(item, v6), body))
    return out


def control_room(value: Expression | None, v6: bool) -> int:
    """How much room for control messages the script offers: what it writes has to fit, and no more (else
    MSG_CTRUNC); 4096 bytes where that cannot be said."""
    room = 0
    for level, _, body in control_list(value, v6):
        if not isinstance(body, bytes):
            return 4096
        if len(body) > 4:  # struct sock_extended_err, and an address after it
            body += bytes(16 if level == 0 else 28)
        room += 16 + (len(body) + 7 & ~7)
    return room


def names_of(message: Struct, v6: bool) -> tuple[int, int]:
    """Level and type of a control message."""
    level, kind = (
        RECVERR[name.name][v6] if isinstance(name, Word) and name.name in RECVERR else integer(name)
        for name in (part(message, "cmsg_level"), part(message, "cmsg_type"))
    )
    return level, kind
