"""Options that are a number which the socket keeps, in tables: who has each, its first value and its bounds. And
what of SOL_SOCKET only says that there is nothing of the kind.

`socket.py` has the options with a rule of their own; what it does not know is looked for here. The lengths that are
taken and given are Linux's: at IPPROTO_IP an option of one byte counts, at the other levels four bytes are wanted.

An option whose work is not done here (extension headers as control messages) can be read, and set to what
it is anyway; anything else is ENOPROTOOPT, so that nobody waits for what will not come.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netstack.socket import Socket

STREAM, DGRAM, RAW = 1, 2, 3
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
Kept = tuple[int, int, int, tuple[int, ...]]
"""First value, least, greatest (of what is a yes or no: 0 and -1, and any number is taken), types of sockets."""
ANY: Final = (STREAM, DGRAM, RAW)
MESSAGES: Final = (DGRAM, RAW)
FLAG: Final[Kept] = (0, 0, -1, ANY)

# SOL_SOCKET
SO_BSDCOMPAT, SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_PEERNAME, SO_PASSSEC = 14, 26, 27, 28, 34
SO_LOCK_FILTER = 44
SO_WIFI_STATUS, SO_NOFCS, SO_SELECT_ERR_QUEUE, SO_BPF_EXTENSIONS, SO_INCOMING_CPU = 41, 43, 45, 48, 49
SO_CNX_ADVICE, SO_INCOMING_NAPI_ID, SO_COOKIE, SO_PEERGROUPS, SO_BINDTOIFINDEX = 53, 56, 57, 59, 62
SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW, SO_DETACH_REUSEPORT_BPF, SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET = 66, 67, 68, 69, 70
SO_NETNS_COOKIE, SO_BUF_LOCK, SO_RESERVE_MEM, SO_TXREHASH, SO_RCVMARK, SO_PASSPIDFD = 71, 72, 73, 74, 75, 76
SO_PEERPIDFD, SO_RCVPRIORITY, SO_PASSRIGHTS = 77, 82, 83
UNIX_ONLY: Final = frozenset((16, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS))  # SO_PASSCRED is the first
NO_PEER: Final = frozenset((SO_PEERGROUPS, SO_PEERPIDFD))
SOCKET: Final[dict[int, Kept]] = {
    SO_WIFI_STATUS: FLAG, SO_NOFCS: FLAG, SO_SELECT_ERR_QUEUE: FLAG, SO_PREFER_BUSY_POLL: FLAG, SO_RCVMARK: FLAG,
    SO_RCVPRIORITY: FLAG, SO_INCOMING_CPU: (-1, INT_MIN, INT_MAX, ANY),
}  # fmt: skip

# IPPROTO_IP
(IP_RETOPTS, IP_PKTOPTIONS, IP_PASSSEC, IP_TRANSPARENT, IP_ORIGDSTADDR) = 7, 9, 18, 19, 20
IP_NODEFRAG, IP_CHECKSUM, IP_RECVFRAGSIZE, IP_RECVERR_RFC4884 = 22, 23, 25, 26
IP_MULTICAST_IF, IP_MULTICAST_ALL, IP_UNICAST_IF, IP_LOCAL_PORT_RANGE, IP_PROTOCOL = 32, 49, 50, 51, 52
IP: Final[dict[int, Kept]] = {
    IP_PASSSEC: FLAG, IP_TRANSPARENT: FLAG, IP_ORIGDSTADDR: FLAG, IP_CHECKSUM: FLAG,
    IP_NODEFRAG: (0, 0, -1, (RAW,)), IP_RECVFRAGSIZE: (0, 0, -1, MESSAGES), IP_RECVERR_RFC4884: (0, 0, 1, ANY),
    IP_MULTICAST_ALL: (1, 0, 1, ANY),
}  # fmt: skip
IP_WHOLE: Final = frozenset((IP_UNICAST_IF, IP_LOCAL_PORT_RANGE))  # these want four bytes
IP_SOME: Final = frozenset((2, 15, IP_TRANSPARENT, 21, 33, 34, IP_MULTICAST_ALL))  # and these one, at least

# IPPROTO_IPV6
IPV6_2292PKTINFO, IPV6_2292HOPLIMIT, IPV6_FLOWINFO, IPV6_MULTICAST_ALL, IPV6_PATHMTU = 2, 8, 11, 29, 61
IPV6_RECVERR_RFC4884, IPV6_ORIGDSTADDR, IPV6_TRANSPARENT, IPV6_UNICAST_IF = 31, 74, 75, 76
IPV6: Final[dict[int, Kept]] = {
    IPV6_2292PKTINFO: FLAG, IPV6_2292HOPLIMIT: FLAG, IPV6_MULTICAST_ALL: (1, 0, -1, ANY), IPV6_ORIGDSTADDR: FLAG,
    IPV6_TRANSPARENT: FLAG, IPV6_RECVERR_RFC4884: (0, 0, 1, ANY),
}  # fmt: skip
IPV6_UNICAST_HOPS, IPV6_MTU_DISCOVER, IPV6_TCLASS, IPV6_MINHOPCOUNT = 16, 23, 67, 73
TWINS: Final = {IPV6_UNICAST_HOPS: (-1, 255), IPV6_MTU_DISCOVER: (0, 5), IPV6_TCLASS: (-1, 255),
                IPV6_MINHOPCOUNT: (0, 255)}  # fmt: skip
"""Options that IPPROTO_IP has too (IP_TTL, IP_MTU_DISCOVER, IP_TOS, IP_MINTTL): of an IPv6 socket each of these is for
what goes over IPv6, the other for IPv4-mapped addresses. With their bounds."""
IPV6_IDLE: Final = frozenset((3, 4, 5, 11, 30, 33, 53, 56, 58, 60, 77))
"""The old and the new IPV6_RECVHOPOPTS, RECVDSTOPTS, RECVRTHDR; FLOWINFO, ROUTER_ALERT_ISOLATE, FLOWINFO_SEND,
RECVPATHMTU, RECVFRAGSIZE."""

# SOL_PACKET: without a ring, a fanout group or a device below, these change nothing but what they are read as.
PACKET_COPY_THRESH, PACKET_AUXDATA, PACKET_ORIGDEV, PACKET_VERSION, PACKET_RESERVE, PACKET_LOSS = 7, 8, 9, 10, 12, 14
PACKET_TIMESTAMP, PACKET_TX_HAS_OFF, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 17, 19, 20, 23
PACKET: Final[dict[int, Kept]] = {
    PACKET_COPY_THRESH: (0, INT_MIN, INT_MAX, MESSAGES), PACKET_AUXDATA: FLAG, PACKET_ORIGDEV: FLAG,
    PACKET_VERSION: (0, 0, 2, MESSAGES), PACKET_RESERVE: (0, 0, INT_MAX, MESSAGES), PACKET_LOSS: FLAG,
    PACKET_TIMESTAMP: (0, INT_MIN, INT_MAX, MESSAGES), PACKET_TX_HAS_OFF: FLAG, PACKET_QDISC_BYPASS: FLAG,
    PACKET_IGNORE_OUTGOING: (0, 0, 1, MESSAGES),
}  # fmt: skip


def failure(code: int, why: str) -> OSError:
    return OSError(code, why)


def kept(number: int, bounds: Kept) -> int:
    """The number as it is kept; EINVAL out of bounds."""
    _, low, high, _ = bounds
    if high < low:
        return 1 if number else 0
    if not low <= number <= high:
        raise failure(errno.EINVAL, f"{low} to {high}, not {number}")
    return number


def set_socket(sock: Socket, name: int, number: int, value: int | bytes) -> bool:
    """An option of SOL_SOCKET; False when there is none of that number, or none that can be set."""
    bounds = SOCKET.get(name)
    if bounds is not None:
        sock.flags = {**sock.flags, name: kept(number, bounds)}
    elif name in (SO_BSDCOMPAT, SO_CNX_ADVICE):
        pass
    elif name == SO_BUSY_POLL_BUDGET:
        kept(number, (0, 0, 0xFFFF, ANY))
    elif name == SO_BUF_LOCK:
        number = kept(number, (0, 0, 3, ANY))
        sock.sndbuf_locked, sock.rcvbuf_locked = bool(number & 1), bool(number & 2)
        sock.buffers_changed()
    elif name == SO_BINDTOIFINDEX:
        kept(number, (0, 0, INT_MAX, ANY))
        sock.bound_device = sock.stack.interface_at(number) if number else None
    elif name == SO_TXREHASH and sock.type == STREAM:
        number = kept(number, (1, -1, 1, ANY))
        sock.flags = {**sock.flags, name: 1 if number < 0 else number}
    elif name == SO_RESERVE_MEM and number < 0:
        raise failure(errno.EINVAL, "less than nothing")
    elif name in UNIX_ONLY or name in (SO_TXREHASH, SO_RESERVE_MEM):
        raise failure(errno.EOPNOTSUPP, "not of this kind of socket")
    elif name in (SO_ATTACH_FILTER, SO_DETACH_FILTER):
        if sock.flags.get(SO_LOCK_FILTER):
            raise failure(errno.EPERM, "the filter is locked")
        if name == SO_DETACH_FILTER and not sock.filter_code():
            raise failure(errno.ENOENT, "there is no filter")
        if name == SO_ATTACH_FILTER and isinstance(value, int):
            raise failure(errno.EINVAL, "a filter is a list of instructions")
        sock.set_filter(bytes(value) if name == SO_ATTACH_FILTER and not isinstance(value, int) else b"")
    elif name == SO_DETACH_REUSEPORT_BPF:
        raise failure(errno.ENOENT if sock.flags.get(15) else errno.EINVAL, "there is no program")
    else:
        return False
    return True


def get_socket(sock: Socket, name: int, room: int | None) -> int | bytes | None:
    """The value of an option of SOL_SOCKET; None when there is none of that number."""
    bounds = SOCKET.get(name)
    if bounds is not None:
        return sock.flags.get(name, bounds[0])
    if name == SO_ATTACH_FILTER:
        return _filter(sock.filter_code(), room)
    if name == SO_BPF_EXTENSIONS:
        return 64  # SKF_AD_MAX
    if name in (SO_INCOMING_NAPI_ID, SO_RESERVE_MEM):
        return 0
    if name == SO_BUF_LOCK:
        return int(sock.sndbuf_locked) | int(sock.rcvbuf_locked) << 1
    if name == SO_BINDTOIFINDEX:
        return sock.bound_device.index if sock.bound_device is not None else 0
    if name == SO_TXREHASH and sock.type == STREAM:
        return sock.flags.get(name, 1)
    if name in (SO_COOKIE, SO_NETNS_COOKIE):
        if room is not None and (room < 8 or (name == SO_NETNS_COOKIE and room != 8)):
            raise failure(errno.EINVAL, "a cookie has 8 bytes")
        return struct.pack("=Q", 1 if name == SO_NETNS_COOKIE else cookie(sock))
    if name in UNIX_ONLY or name == SO_TXREHASH:
        raise failure(errno.EOPNOTSUPP, "not of this kind of socket")
    if name in NO_PEER:
        raise failure(errno.ENODATA, "only a Unix socket knows its peer's process")
    if name == SO_PEERNAME:
        peer = sock.remote
        if peer is None or sock.family not in (2, 10):
            raise failure(errno.ENOTCONN, "no peer")
        if room is not None and room > len(name_of(sock, peer)):
            raise failure(errno.EINVAL, "more than an address")
        return name_of(sock, peer)
    return None


def _filter(code: bytes, room: int | None) -> bytes:
    """SO_GET_FILTER, whose lengths are in instructions."""
    count = len(code) >> 3
    if room and room < count:
        raise failure(errno.EINVAL, f"the filter has {count} instructions")
    return code[: count if room is not None else None]


def cookie(sock: Socket) -> int:
    """The socket's number, as long as the stack lives: given out at the first question."""
    found = sock.flags.get(SO_COOKIE)
    if found is None:
        found = sock.stack.next_cookie = sock.stack.next_cookie + 1
        sock.flags = {**sock.flags, SO_COOKIE: found}
    return found


def name_of(sock: Socket, address: tuple[bytes, int]) -> bytes:
    """An address as struct sockaddr_in or sockaddr_in6."""
    host, port = address
    if sock.family == 2:
        return struct.pack("=H", 2) + port.to_bytes(2, "big") + host + bytes(8)
    if len(host) == 4:
        host = bytes(10) + b"\xff\xff" + host
    return struct.pack("=H", 10) + port.to_bytes(2, "big") + bytes(4) + host + bytes(4)


def set_ip(sock: Socket, name: int, number: int, value: int | bytes) -> bool:
    """An option of IPPROTO_IP; False when there is none of that number."""
    bounds = IP.get(name)
    if bounds is not None:
        if sock.type not in bounds[3]:
            raise failure(errno.EINVAL if name == IP_RECVFRAGSIZE else errno.ENOPROTOOPT, "not of this kind of socket")
        sock.ip_flags = {**sock.ip_flags, name: kept(number, bounds)}
    elif name == IP_UNICAST_IF:
        index = int.from_bytes(struct.pack("=i", number), "big")
        _interface(sock, index, errno.EADDRNOTAVAIL)
        if index and sock.bound_device is not None:
            raise failure(errno.EINVAL, f"the socket is bound to {sock.bound_device.name}")
        sock.ip_flags = {**sock.ip_flags, name: index}
    elif name == IP_LOCAL_PORT_RANGE:
        low, high = number & 0xFFFF, number >> 16 & 0xFFFF
        if low and high and low > high:
            raise failure(errno.EINVAL, f"no port is {low} to {high}")
        sock.ip_flags = {**sock.ip_flags, name: number}
    elif name == IP_MULTICAST_IF:
        _set_multicast_if(sock, value)
    elif name == 4 and not isinstance(value, int) and not value:
        pass  # IP_OPTIONS: none
    else:
        return False
    return True


def get_ip(sock: Socket, name: int, room: int | None) -> int | bytes | None:
    bounds = IP.get(name)
    if bounds is not None:
        return sock.ip_flags.get(name, bounds[0] if sock.family == 2 else 0)
    if name == IP_UNICAST_IF:
        return int.from_bytes(struct.pack("=I", sock.ip_flags.get(name, 0)), "big", signed=True)
    if name == IP_LOCAL_PORT_RANGE:
        return sock.ip_flags.get(name, 0)
    if name == IP_PROTOCOL:
        return sock.proto if sock.type == RAW else sock.local[1]  # inet_num, which is a port there
    if name == IP_MULTICAST_IF:
        return sock.ip_flags.get(-IP_MULTICAST_IF, 0).to_bytes(4, "big")
    if name in (3, 5):
        return 0  # IP_HDRINCL of what is no raw socket, IP_ROUTER_ALERT
    if name == 4 or (name == IP_PKTOPTIONS and sock.type == STREAM):
        return b""
    return None


def _set_multicast_if(sock: Socket, value: int | bytes) -> None:
    """struct in_addr, ip_mreq or ip_mreqn: an address of the interface, or its number."""
    raw = struct.pack("=i", value) if isinstance(value, int) else value
    if sock.type == STREAM or len(raw) < 4:
        raise failure(errno.EINVAL, "no multicasts here" if sock.type == STREAM else "an address has 4 bytes")
    address, index = (raw[4:8] if len(raw) >= 8 else raw[:4]), 0
    if len(raw) >= 12:
        index = int.from_bytes(raw[8:12], "little", signed=True)
    if not index and any(address):
        where = sock.stack.local.get(address)
        if where is None:
            raise failure(errno.EADDRNOTAVAIL, "not an address of this host")
        index = where.index
    elif index:
        _interface(sock, index, errno.EADDRNOTAVAIL)
    if index and sock.bound_device is not None and sock.bound_device.index != index:
        raise failure(errno.EINVAL, f"the socket is bound to {sock.bound_device.name}")
    named = int.from_bytes(address, "big")
    sock.ip_flags = {**sock.ip_flags, IP_MULTICAST_IF: index, -IP_MULTICAST_IF: named}


def _interface(sock: Socket, index: int, code: int) -> None:
    """That there is such an interface, or none is named."""
    if index and not any(i.index == index for i in sock.stack.interfaces.values()):
        raise failure(code, f"no interface has number {index}")


def set_ip6(sock: Socket, name: int, number: int) -> bool:
    """An option of IPPROTO_IPV6; False when there is none of that number."""
    bounds = IPV6.get(name)
    if name in TWINS:
        low, high = TWINS[name]
        if not low <= number <= high:
            raise failure(errno.EINVAL, f"{low} to {high}, not {number}")
        if name == IPV6_TCLASS:
            number = max(number, 0)
            if sock.type == STREAM:  # a stream's ECN bits are TCP's own
                number &= 0xFC
        sock.ip6_flags = {**sock.ip6_flags, name: number}
    elif bounds is not None:
        sock.ip6_flags = {**sock.ip6_flags, name: kept(number, bounds)}
    elif name == IPV6_UNICAST_IF:
        index = int.from_bytes(struct.pack("=i", number), "big")
        _interface(sock, index, errno.EADDRNOTAVAIL)
        if index and sock.bound_device is not None:
            raise failure(errno.EINVAL, f"the socket is bound to {sock.bound_device.name}")
        sock.ip6_flags = {**sock.ip6_flags, name: index}
    elif name == 17 and sock.type != STREAM:  # IPV6_MULTICAST_IF
        _interface(sock, number, errno.ENODEV)
        if number and sock.bound_device is not None and sock.bound_device.index != number:
            raise failure(errno.EINVAL, f"the socket is bound to {sock.bound_device.name}")
        sock.ip6_flags = {**sock.ip6_flags, name: number}
    elif name == 24 and number and number < 1280:  # IPV6_MTU
        raise failure(errno.EINVAL, "an MTU is 1280 at least")
    else:
        return not number and (name in IPV6_IDLE or name == 24)
    return True


def get_ip6(sock: Socket, name: int, room: int | None) -> int | bytes | None:
    bounds = IPV6.get(name)
    if name in TWINS:
        return sock.ip6_flags.get(name, 1 if name == IPV6_MTU_DISCOVER else 0)
    if bounds is not None:
        return sock.ip6_flags.get(name, bounds[0])
    if name == IPV6_UNICAST_IF:
        return int.from_bytes(struct.pack("=I", sock.ip6_flags.get(name, 0)), "big", signed=True)
    if name == 17:
        return sock.ip6_flags.get(name, 0)
    if name == IPV6_PATHMTU:
        if room is not None and room < 32:
            raise failure(errno.EINVAL, "struct ip6_mtuinfo has 32 bytes")
        mtu = sock.path_mtu()
        if mtu is None:
            raise failure(errno.ENOTCONN, "no peer")
        return bytes(28) + struct.pack("=I", mtu)
    if name in (54, 55, 57, 59):  # IPV6_HOPOPTS, RTHDRDSTOPTS, RTHDR, DSTOPTS: none are sent
        return b""
    return 0 if name in IPV6_IDLE or name == 22 else None  # and IPV6_ROUTER_ALERT


def outgoing(sock: Socket, group: bool, four: bool) -> int:
    """The number of the interface that what is sent to a group (or not) leaves by, by an option; 0: any."""
    if four:
        flags = sock.ip_flags
        return flags.get(IP_MULTICAST_IF if group else IP_UNICAST_IF, 0) if flags else 0
    flags = sock.ip6_flags
    return flags.get(17 if group else IPV6_UNICAST_IF, 0) if flags else 0


def port_range(sock: Socket, low: int, high: int) -> tuple[int, int]:
    """IP_LOCAL_PORT_RANGE: what it leaves of the host's ephemeral ports."""
    asked = sock.ip_flags.get(IP_LOCAL_PORT_RANGE, 0) if sock.ip_flags else 0
    if asked:
        least, most = asked & 0xFFFF, asked >> 16 & 0xFFFF
        low, high = (least if low <= least <= high else low), (most if low <= most <= high else high)
    return low, high
