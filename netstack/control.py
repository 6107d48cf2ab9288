"""What a datagram socket says beside the data: ancillary data (cmsg(3)) and the error queue (IP_RECVERR).

Both are lists of (level, type, bytes), as `socket.recvmsg` of Python gives them. A datagram is queued with an `Arrival`
only when its socket asked for anything of it.

The error queue (ip(7), ipv6(7)) keeps, for a socket with IP_RECVERR or IPV6_RECVERR, each ICMP error about one of its
packets, and each packet too big to be sent: the payload quoted, where it was going, and a `struct sock_extended_err`
with the address of who complained. `recvmsg` with MSG_ERRQUEUE takes them, oldest first. Notifications that are no
errors (time stamps, MSG_ZEROCOPY) are queued there too.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netstack import options, stamps
from netstack.address import AF_INET, AF_INET6, MAPPED_PREFIX, is_link_local
from netstack.socket import (
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_DONTFRAG,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    MSG_ERRQUEUE,
    SO_MARK,
    SO_PRIORITY,
    SOCK_DGRAM,
    SOCK_RAW,
    SockAddr,
    Socket,
    error,
    would_block,
)

if TYPE_CHECKING:
    from netstack.icmp import IcmpError
    from netstack.interface import Interface
    from netstack.stack import Stack

Ancillary = Sequence[tuple[int, int, bytes]]

SOL_UDP, UDP_SEGMENT = 17, 103
ORIGIN_LOCAL, ORIGIN_ICMP, ORIGIN_ICMP6 = 1, 2, 3
ERRORS_MAX = 128  # per socket; Linux bounds them by SO_RCVBUF


class Arrival:
    """How a datagram came: what its ancillary data is made from."""

    __slots__ = ("dst", "index", "ns", "tos", "ttl")

    def __init__(self, index: int, dst: bytes, ttl: int, tos: int, ns: int) -> None:
        self.index = index
        self.dst = dst
        self.ttl = ttl
        self.tos = tos
        self.ns = ns  # CLOCK_REALTIME; -1 where no time stamps are asked for


def arrival(sock: Socket, stack: Stack, interface: Interface, dst: bytes) -> Arrival | None:
    """Of the packet being received, when the socket wants to know."""
    stamped = bool(sock.flags) and stamps.wants_arrivals(sock.flags)
    if not sock.ip_flags and not sock.ip6_flags and not stamped:
        return None
    ns = stack.now + stack.realtime_offset() if stamped else -1
    return Arrival(interface.index, dst, stack.pkt.ttl, stack.pkt.tos, ns)


def messages(sock: Socket, came: Arrival | None) -> Ancillary:
    """The ancillary data of a datagram (Linux's ip_cmsg_recv and ip6_datagram_recv_ctl)."""
    result: list[tuple[int, int, bytes]] = []
    if sock.flags:
        ns = came.ns if came is not None else -1
        if ns < 0 and (sock.flags.get(stamps.SO_TIMESTAMP) or sock.flags.get(stamps.SO_TIMESTAMPNS)):
            ns = sock.stack.now + sock.stack.realtime_offset()  # asked for since: as if it came now
        if ns >= 0:
            result.extend(stamps.arrived(sock, ns))
    if came is None:
        return result
    dst = came.dst
    if sock.family == AF_INET6 and sock.ip6_flags.get(IPV6_RECVPKTINFO):
        address = dst if len(dst) == 16 else MAPPED_PREFIX + dst
        result.append((IPPROTO_IPV6, IPV6_PKTINFO, address + struct.pack("=i", came.index)))
    flags = sock.ip_flags
    if len(dst) == 4:
        if flags.get(IP_PKTINFO):
            local = sock.stack.interface_address(came.index, dst)
            result.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i", came.index) + local + dst))
        if flags.get(IP_RECVTTL):
            result.append((IPPROTO_IP, IP_TTL, struct.pack("=i", came.ttl)))
        if flags.get(IP_RECVTOS):
            result.append((IPPROTO_IP, IP_TOS, bytes((came.tos,))))
        if flags.get(options.IP_ORIGDSTADDR) and sock.type != SOCK_RAW:
            where = struct.pack("=H", AF_INET) + sock.local[1].to_bytes(2, "big") + dst + bytes(8)
            result.append((IPPROTO_IP, options.IP_ORIGDSTADDR, where))
    if sock.family == AF_INET6:
        flags = sock.ip6_flags
        if flags.get(IPV6_RECVHOPLIMIT) and len(dst) == 16:
            result.append((IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("=i", came.ttl)))
        if flags.get(IPV6_RECVTCLASS) and len(dst) == 16:
            result.append((IPPROTO_IPV6, IPV6_TCLASS, struct.pack("=i", came.tos)))
        if flags and len(dst) == 16:
            result.extend(_older(sock, came, flags))
    return result


def _older(sock: Socket, came: Arrival, flags: dict[int, int]) -> list[tuple[int, int, bytes]]:
    """RFC 2292's names, and where the packet was sent to."""
    result = []
    if flags.get(options.IPV6_2292PKTINFO):
        result.append((IPPROTO_IPV6, options.IPV6_2292PKTINFO, came.dst + struct.pack("=i", came.index)))
    if flags.get(options.IPV6_2292HOPLIMIT):
        result.append((IPPROTO_IPV6, options.IPV6_2292HOPLIMIT, struct.pack("=i", came.ttl)))
    if flags.get(options.IPV6_ORIGDSTADDR) and sock.type != SOCK_RAW:
        scope = came.index if is_link_local(came.dst) else 0
        where = struct.pack("=H", AF_INET6) + sock.local[1].to_bytes(2, "big") + bytes(4) + came.dst
        result.append((IPPROTO_IPV6, options.IPV6_ORIGDSTADDR, where + struct.pack("=I", scope)))
    return result


class Wish:
    """What the ancillary data of one send asks for; None or -1: as the socket has it."""

    __slots__ = ("interface", "number", "segment", "source", "stamping", "tos", "ttl", "whole")

    def __init__(self) -> None:
        self.interface: Interface | None = None
        self.stamping = -1  # SO_TIMESTAMPING's flags
        self.segment = -1  # UDP_SEGMENT
        self.number = -1  # and which number the time stamps have
        self.source: bytes | None = None
        self.tos = -1
        self.ttl = -1
        self.whole = -1  # IPV6_DONTFRAG


NO_WISH = Wish()


def wish(sock: Socket, ancillary: Any, four: bool) -> Wish:
    """Read the ancillary data of sendmsg, of a packet of IPv4 or not (Linux's ip_cmsg_send, ip6_datagram_send_ctl,
    __sock_cmsg_send and udp_cmsg_send). EINVAL for what is malformed or not known at its level; other levels are passed
    over."""
    result = Wish()
    for level, kind, data in ancillary:
        data = bytes(data)
        if level == stamps.SOL_SOCKET:
            _wish_socket(sock, result, kind, data)
        elif level == IPPROTO_IP and four:
            _wish_ip(sock, result, kind, data)
        elif level == IPPROTO_IPV6 and not four:
            _wish_ip6(sock, result, kind, data)
        elif (level, kind) == (IPPROTO_IPV6, IPV6_PKTINFO) and (sock.family == AF_INET6 or len(data) < 20):
            _want(len(data) >= 20, "IPV6_PKTINFO has 20 bytes")
            _pktinfo(sock, result, int.from_bytes(data[16:20], "little"), data[0:16])
        elif level == SOL_UDP and sock.type == SOCK_DGRAM:
            _want(kind == UDP_SEGMENT and len(data) == 2, "UDP_SEGMENT has two bytes")
            result.segment = int.from_bytes(data, "little")
    if four and result.source is not None and result.source not in sock.stack.local and result.source[0] != 127:
        raise error(errno.ENETUNREACH, "not an address of this host")
    return result


def _want(good: bool, why: str) -> None:
    if not good:
        raise error(errno.EINVAL, why)


def _wish_socket(sock: Socket, result: Wish, kind: int, data: bytes) -> None:
    if stamps.NEWER.get(kind, kind) == stamps.SO_TIMESTAMPING:
        result.stamping = stamps.asked_of_call(sock, kind, data)
    elif kind == stamps.SCM_TS_OPT_ID:
        numbered = sock.flags.get(stamps.SO_TIMESTAMPING, 0) & stamps.OPT_ID
        _want(len(data) == 4 and numbered != 0, "SCM_TS_OPT_ID is four bytes, for a socket with OPT_ID")
        result.number = int.from_bytes(data, "little")
    elif kind in (SO_PRIORITY, SO_MARK):
        _want(len(data) == 4, "a number of four bytes")
    else:
        _want(kind in (1, 2), f"ancillary data {kind} of sockets")  # SCM_RIGHTS and SCM_CREDENTIALS are a Unix socket's


def _wish_ip(sock: Socket, result: Wish, kind: int, data: bytes) -> None:
    number = struct.unpack("=i", data)[0] if len(data) == 4 else data[0] if data else 0
    if kind == IP_PKTINFO:
        _want(len(data) == 12, "struct in_pktinfo has 12 bytes")
        _pktinfo(sock, result, int.from_bytes(data[0:4], "little"), data[4:8])
    elif kind == IP_TTL:
        _want(len(data) == 4 and 1 <= number <= 255, f"a TTL is 1 to 255, not {number}")
        result.ttl = number
    elif kind == IP_TOS:
        _want(len(data) in (1, 4) and 0 <= number <= 255, f"a type of service is 0 to 255, not {number}")
        result.tos = number
    elif kind == options.IP_PROTOCOL:
        _want(len(data) == 4 and 1 <= number <= 255, "a protocol is 1 to 255")
    else:
        _want(kind == options.IP_RETOPTS and not any(data[:40]), f"ancillary data {kind} of IP")


def _wish_ip6(sock: Socket, result: Wish, kind: int, data: bytes) -> None:
    number = struct.unpack("=i", data)[0] if len(data) == 4 else -2
    if kind in (IPV6_PKTINFO, options.IPV6_2292PKTINFO):
        _want(len(data) >= 20, "struct in6_pktinfo has 20 bytes")
        _pktinfo(sock, result, int.from_bytes(data[16:20], "little"), data[0:16])
    elif kind in (IPV6_HOPLIMIT, options.IPV6_2292HOPLIMIT):
        _want(-1 <= number <= 255, "a hop limit is 0 to 255")
        result.ttl = number
    elif kind == IPV6_TCLASS:
        _want(-1 <= number <= 255, "a traffic class is 0 to 255")
        result.tos = number & 0xFF
    elif kind == IPV6_DONTFRAG:
        _want(number in (0, 1), "0 or 1")
        result.whole = number
    else:
        _want(kind == options.IPV6_FLOWINFO and len(data) >= 4 and not any(data[:4]), f"ancillary data {kind} of IPv6")


def _pktinfo(sock: Socket, result: Wish, index: int, source: bytes) -> None:
    if index:
        result.interface = sock.stack.interface_at(index)
    if any(source):
        if len(source) == 16 and source[:12] == MAPPED_PREFIX:
            source = source[12:]
        result.source = source


# The error queue.


class QueuedError:
    """One entry."""

    __slots__ = ("code", "data", "high", "info", "kind", "offender", "origin", "stamp_ns", "stats", "target", "type")

    def __init__(
        self, code: int, origin: int, type: int, kind: int, info: int, data: bytes, target: Any, offender: bytes,
        high: int = 0,
    ) -> None:  # fmt: skip
        self.code = code
        self.origin = origin
        self.type = type
        self.kind = kind  # ICMP's code
        self.info = info  # the path's MTU, of a packet too big; the first of a range of calls
        self.high = high  # and the last
        self.data = data
        self.target = target
        self.offender = offender
        self.stamp_ns = -1  # CLOCK_REALTIME's, of a time stamp
        self.stats = False  # whether the data are counters of the connection (OPT_STATS)


def wants_errors(sock: Socket, version: int) -> bool:
    """Whether the socket has an error queue for packets of that IP version."""
    if version == 6:
        return bool(sock.ip6_flags.get(IPV6_RECVERR))
    return bool(sock.ip_flags.get(IP_RECVERR))  # also of an IPv6 socket that speaks IPv4


def queue_error(sock: Socket, entry: QueuedError) -> None:
    if len(sock.errors) < ERRORS_MAX:
        sock.errors.append(entry)
    else:
        sock.stack.counters.errqueue.ErrorsDropped += 1
    sock.so_error = entry.code
    sock.wake()


def queue_icmp(sock: Socket, about: IcmpError, header: int, port: int) -> None:
    """An ICMP error; `header` bytes of the quoted transport header do not belong to the payload."""
    origin = ORIGIN_ICMP if about.version == 4 else ORIGIN_ICMP6
    queue_error(
        sock,
        QueuedError(
            about.errno, origin, about.type, about.code, about.mtu, bytes(about.l4[header:]), (about.dst, port),
            about.sender,
        ),
    )  # fmt: skip


def queue_too_big(sock: Socket, mtu: int, target: tuple[bytes, int]) -> None:
    """A datagram of ours exceeds the path's MTU and may not be fragmented, or exceeds what IP can carry: the text does
    not come back (Linux's ip_local_error). The call itself fails, so that there is no pending error."""
    if wants_errors(sock, 4 if len(target[0]) == 4 else 6):
        pending = sock.so_error
        queue_error(sock, QueuedError(errno.EMSGSIZE, ORIGIN_LOCAL, 0, 0, mtu, b"", target, b""))
        sock.so_error = pending


def queue_stamp(sock: Socket, moment: int, number: int, data: bytes, now: int, stats: bytes = b"") -> None:
    """An entry of the error queue. It is not an error: nothing fails because of it, but poll(2) tells POLLERR."""
    flags = sock.flags.get(stamps.SO_TIMESTAMPING, 0)
    if flags & stamps.OPT_TSONLY:
        data = b""
    if not isinstance(sock.errors, deque) or sock.errors.maxlen == 0:
        sock.errors = deque()
    if sum(stamps.memory(sock, entry.data) for entry in sock.errors) + stamps.memory(sock, data) >= sock.rcvbuf:
        sock.stack.counters.errqueue.StampsDropped += 1
        return
    known = number & 0xFFFFFFFF if flags & stamps.OPT_ID else 0
    entry = QueuedError(errno.ENOMSG, stamps.ORIGIN_TIMESTAMPING, 0, 0, moment, data, None, b"", known)
    entry.stamp_ns = now + sock.stack.realtime_offset()
    if stats:
        entry.data, entry.stats = stats, True
    sock.errors.append(entry)
    sock.wake()


def queue_sent(sock: Socket, data: Any, now: int, asked: Wish = NO_WISH, taken: bool = True) -> None:
    """A datagram has left (or was not `taken` by the device): its time stamps, where SO_TIMESTAMPING asks for any."""
    flags = sock.flags.get(stamps.SO_TIMESTAMPING, 0) if asked.stamping < 0 else asked.stamping
    if not flags & (stamps.TX_SCHED | stamps.TX_SOFTWARE):
        return
    number = sock.flags.get(stamps.NEXT, 0)
    if asked.number >= 0:
        number = asked.number
    elif flags & stamps.OPT_ID:
        sock.flags = {**sock.flags, stamps.NEXT: number + 1}
    for flag, moment in ((stamps.TX_SCHED, stamps.TSTAMP_SCHED), (stamps.TX_SOFTWARE, stamps.TSTAMP_SND)):
        if flags & flag and (taken or moment == stamps.TSTAMP_SCHED):
            queue_stamp(sock, moment, number, bytes(data), now)


def pending_error(sock: Socket, taken: int) -> int:
    """The pending error after an entry of that origin was taken: of ICMP's errors the next one is pending again, and
    none is after the last (Linux's sock_dequeue_err_skb)."""
    first = sock.errors[0] if sock.errors else None
    if first is not None and first.origin in (ORIGIN_ICMP, ORIGIN_ICMP6):
        return first.code
    return 0 if taken in (ORIGIN_ICMP, ORIGIN_ICMP6) else sock.so_error


def take_error(sock: Socket, n: int) -> tuple[bytes, SockAddr | None, int, int]:
    """recvmsg with MSG_ERRQUEUE. EAGAIN when there is none."""
    if not sock.errors:
        raise would_block("no error waits")
    entry = sock.errors.popleft()
    extended = struct.pack("=IBBBBII", entry.code, entry.origin, entry.type, entry.kind, 0, entry.info, entry.high)
    if entry.target is None:  # no packet's: a notification
        v6 = sock.family == AF_INET6
        where = (IPPROTO_IPV6, IPV6_RECVERR) if v6 else (IPPROTO_IP, IP_RECVERR)
        told: list[tuple[int, int, bytes]] = [(*where, extended + bytes(28 if v6 else 16))]
        if entry.stamp_ns >= 0 and sock.flags.get(stamps.SO_TIMESTAMPING, 0) & stamps.SOFTWARE:
            told.insert(0, stamps.message(sock, entry.stamp_ns))
            if entry.stats:
                told.insert(1, (stamps.SOL_SOCKET, stamps.SCM_TIMESTAMPING_OPT_STATS, entry.data))
        sock.ancillary = told
        sock.so_error = pending_error(sock, entry.origin)
        return entry.data[:n], None, MSG_ERRQUEUE | (0x20 if len(entry.data) > n else 0), len(entry.data)
    target = entry.target[0]
    if entry.origin == ORIGIN_LOCAL:
        v6 = sock.family == AF_INET6
        where = (IPPROTO_IPV6, IPV6_RECVERR) if v6 else (IPPROTO_IP, IP_RECVERR)
        sock.ancillary = [(*where, extended + bytes(28 if v6 else 16))]
    elif len(target) == 4 and sock.family == AF_INET:
        offender = struct.pack("=HH", AF_INET, 0) + (entry.offender or bytes(4)) + bytes(8)
        sock.ancillary = [(IPPROTO_IP, IP_RECVERR, extended + offender)]
    else:
        address = entry.offender or bytes(16)
        if len(address) == 4:
            address = MAPPED_PREFIX + address
        offender = struct.pack("=HHI", AF_INET6, 0, 0) + address + bytes(4)
        sock.ancillary = [(IPPROTO_IPV6, IPV6_RECVERR, extended + offender)]
    sock.so_error = pending_error(sock, entry.origin)
    data = entry.data
    return data[:n], sock.format_address(entry.target), MSG_ERRQUEUE | (0x20 if len(data) > n else 0), len(data)
