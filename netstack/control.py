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

from netstack import stamps
from netstack.address import AF_INET, AF_INET6, MAPPED_PREFIX
from netstack.socket import (
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    MSG_ERRQUEUE,
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
    flags = sock.ip_flags
    dst = came.dst
    if len(dst) == 4:
        if flags.get(IP_PKTINFO):
            local = sock.stack.interface_address(came.index, dst)
            result.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i", came.index) + local + dst))
        if flags.get(IP_RECVTTL):
            result.append((IPPROTO_IP, IP_TTL, struct.pack("=i", came.ttl)))
        if flags.get(IP_RECVTOS):
            result.append((IPPROTO_IP, IP_TOS, bytes((came.tos,))))
    if sock.family == AF_INET6:
        flags = sock.ip6_flags
        if flags.get(IPV6_RECVPKTINFO):
            address = dst if len(dst) == 16 else MAPPED_PREFIX + dst
            result.append((IPPROTO_IPV6, IPV6_PKTINFO, address + struct.pack("=i", came.index)))
        if flags.get(IPV6_RECVHOPLIMIT) and len(dst) == 16:
            result.append((IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("=i", came.ttl)))
        if flags.get(IPV6_RECVTCLASS) and len(dst) == 16:
            result.append((IPPROTO_IPV6, IPV6_TCLASS, struct.pack("=i", came.tos)))
    return result


class Wish:
    """What the ancillary data of one send asks for; None or -1: as the socket has it."""

    __slots__ = ("interface", "number", "source", "stamping", "tos", "ttl")

    def __init__(self) -> None:
        self.interface: Interface | None = None
        self.stamping = -1  # SO_TIMESTAMPING's flags
        self.number = -1  # and which number the time stamps have
        self.source: bytes | None = None
        self.tos = -1
        self.ttl = -1


NO_WISH = Wish()


def wish(sock: Socket, ancillary: Any) -> Wish:
    """Read the ancillary data of sendmsg. EINVAL for what is not known or malformed."""
    result = Wish()
    for level, kind, data in ancillary:
        data = bytes(data)
        if level == IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            _pktinfo(sock, result, int.from_bytes(data[0:4], "little"), data[4:8])
        elif level == IPPROTO_IPV6 and kind == IPV6_PKTINFO and len(data) >= 20:
            _pktinfo(sock, result, int.from_bytes(data[16:20], "little"), data[0:16])
        elif (level, kind) in ((IPPROTO_IP, IP_TTL), (IPPROTO_IPV6, IPV6_HOPLIMIT)) and len(data) >= 4:
            number = struct.unpack_from("=i", data)[0]
            low = 1 if level == IPPROTO_IP else -1
            if not low <= number <= 255:
                raise error(errno.EINVAL, f"a TTL is 1 to 255, not {number}")
            result.ttl = number
        elif (level, kind) in ((IPPROTO_IP, IP_TOS), (IPPROTO_IPV6, IPV6_TCLASS)) and data:
            number = struct.unpack_from("=i", data)[0] if len(data) >= 4 else data[0]
            if not -1 <= number <= 255:
                raise error(errno.EINVAL, f"a type of service is 0 to 255, not {number}")
            result.tos = number
        elif level == stamps.SOL_SOCKET and stamps.NEWER.get(kind, kind) == stamps.SO_TIMESTAMPING:
            result.stamping = stamps.asked_of_call(sock, kind, data)
        elif (level, kind) == (stamps.SOL_SOCKET, stamps.SCM_TS_OPT_ID):
            if len(data) != 4 or not sock.flags.get(stamps.SO_TIMESTAMPING, 0) & stamps.OPT_ID:
                raise error(errno.EINVAL, "SCM_TS_OPT_ID is four bytes, for a socket with OPT_ID")
            result.number = int.from_bytes(data, "little")
        else:
            raise error(errno.EINVAL, f"ancillary data {kind} of level {level}")
    return result


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
    return bool(sock.ip_flags.get(IP_RECVERR)) or bool(sock.ip6_flags.get(IPV6_RECVERR))


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


def queue_too_big(sock: Socket, mtu: int, data: bytes, target: tuple[bytes, int]) -> None:
    """A datagram of ours exceeds the path's MTU and may not be fragmented."""
    if wants_errors(sock, 4 if len(target[0]) == 4 else 6):
        queue_error(sock, QueuedError(errno.EMSGSIZE, ORIGIN_LOCAL, 0, 0, mtu, bytes(data), target, b""))


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


def pending_error(sock: Socket) -> int:
    """What is still queued becomes the pending error again (Linux's sock_dequeue_err_skb); notifications do not."""
    first = sock.errors[0] if sock.errors else None
    return first.code if first is not None and first.origin <= ORIGIN_ICMP6 else 0


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
        sock.so_error = pending_error(sock) or sock.so_error
        return entry.data[:n], None, MSG_ERRQUEUE | (0x20 if len(entry.data) > n else 0), len(entry.data)
    target = entry.target[0]
    if len(target) == 4 and sock.family == AF_INET:
        offender = struct.pack("=HH", AF_INET, 0) + (entry.offender or bytes(4)) + bytes(8)
        sock.ancillary = [(IPPROTO_IP, IP_RECVERR, extended + offender)]
    else:
        address = entry.offender or bytes(16)
        if len(address) == 4:
            address = MAPPED_PREFIX + address
        offender = struct.pack("=HHI", AF_INET6, 0, 0) + address + bytes(4)
        sock.ancillary = [(IPPROTO_IPV6, IPV6_RECVERR, extended + offender)]
    sock.so_error = pending_error(sock)
    data = entry.data
    return data[:n], sock.format_address(entry.target), MSG_ERRQUEUE | (0x20 if len(data) > n else 0), len(data)
