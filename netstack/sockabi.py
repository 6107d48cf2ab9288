"""The numbers of Linux's socket interface (socket(7), ip(7), ipv6(7)), and errors and option values as Linux has them:
what every kind of socket speaks in.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 1, 2, 3
IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, IPPROTO_ICMPV6, IPPROTO_RAW = 0, 1, 6, 17, 41, 58, 255
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLRDHUP = 1, 2, 4, 8, 16, 0x2000
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_TRUNC, MSG_DONTWAIT = 1, 2, 4, 0x20, 0x40
MSG_EOR, MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE = 0x80, 0x100, 0x2000, 0x4000, 0x8000
MSG_ZEROCOPY = 0x4000000

SOL_SOCKET = 1
SO_DEBUG, SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST = 1, 2, 3, 4, 5, 6
SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER = 7, 8, 9, 10, 11, 12, 13
SO_BSDCOMPAT, SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED, SO_RCVLOWAT, SO_SNDLOWAT = 14, 15, 16, 17, 18, 19
SO_RCVTIMEO, SO_SNDTIMEO, SO_BINDTODEVICE, SO_ACCEPTCONN = 20, 21, 25, 30
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_MARK, SO_PROTOCOL, SO_DOMAIN = 32, 33, 36, 38, 39
SO_RXQ_OVFL, SO_PEEK_OFF, SO_LOCK_FILTER, SO_TXTIME = 40, 42, 44, 61
SO_BUSY_POLL, SO_MAX_PACING_RATE, SO_INCOMING_CPU, SO_MEMINFO, SO_COOKIE, SO_ZEROCOPY = 46, 47, 49, 55, 57, 60
NOBODY = struct.pack("=iII", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # SO_PEERCRED of what is no Unix socket
UNPACED = (1 << 64) - 1  # SO_MAX_PACING_RATE of a socket that has no limit

IP_TOS, IP_TTL, IP_HDRINCL, IP_OPTIONS, IP_RECVOPTS, IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR = 1, 2, 3, 4, 6, 8, 10, 11
IP_RECVTTL, IP_RECVTOS, IP_MTU, IP_FREEBIND, IP_TRANSPARENT, IP_MINTTL = 12, 13, 14, 15, 19, 21
IP_BIND_ADDRESS_NO_PORT, IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP = 24, 32, 33, 34
IP_PMTUDISC_DONT, IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE, IP_PMTUDISC_INTERFACE, IP_PMTUDISC_OMIT = range(
    6
)
IPV6_CHECKSUM, IPV6_UNICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP = 7, 16, 17, 18, 19
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR, IPV6_V6ONLY, IPV6_HDRINCL = 23, 24, 25, 26, 36
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_DONTFRAG = 49, 50, 51, 52, 62
IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_AUTOFLOWLABEL, IPV6_MINHOPCOUNT, IPV6_FREEBIND = 66, 67, 70, 73, 78

SOCK_MIN_SNDBUF = 4608
SOCK_MIN_RCVBUF = 2304

FLAGS = {
    SO_DEBUG: "SO_DEBUG", SO_DONTROUTE: "SO_DONTROUTE", SO_BROADCAST: "SO_BROADCAST", SO_KEEPALIVE: "SO_KEEPALIVE",
    SO_OOBINLINE: "SO_OOBINLINE", SO_NO_CHECK: "SO_NO_CHECK",
    SO_REUSEPORT: "SO_REUSEPORT", SO_RXQ_OVFL: "SO_RXQ_OVFL", SO_LOCK_FILTER: "SO_LOCK_FILTER",
}  # fmt: skip
IP_FLAGS = (
    IP_RECVOPTS,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTTL,
    IP_RECVTOS,
    IP_FREEBIND,
    IP_BIND_ADDRESS_NO_PORT,
    IP_MULTICAST_LOOP,
)
IP6_FLAGS = (
    IPV6_MULTICAST_LOOP, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_DONTFRAG, IPV6_RECVTCLASS,
    IPV6_AUTOFLOWLABEL, IPV6_FREEBIND,
)  # fmt: skip

SockAddr = tuple[Any, ...]


def error(code: int, why: str = "") -> OSError:
    """OSError of that errno (BlockingIOError and so on by code), with a text that says why."""
    return OSError(code, why or os.strerror(code))


_AGAIN = os.strerror(errno.EAGAIN)


def would_block(why: str = _AGAIN) -> OSError:
    return BlockingIOError(errno.EAGAIN, why)


def option_int(value: int | bytes) -> int:
    """An option given as int or as the bytes of a C int."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        if len(value) < 4:
            raise error(errno.EINVAL, "an int option needs 4 bytes")
        return int(struct.unpack_from("=i", value)[0])
    return int(value)


def option_text(value: int | bytes | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        raise error(errno.EINVAL, "text is wanted")
    return bytes(value).split(b"\0")[0].decode("latin-1")
