"""The base of every socket: readiness, addresses, the options every socket has (SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6),
errors as Linux gives them.

A socket never blocks: what would is `BlockingIOError` (EAGAIN; EINPROGRESS for connect). `readiness()` is a poll
mask; `on_ready(sock)` is called after it may have changed. Options take and give what Linux's do: an `int`, or the
bytes of the C value (socket(7), ip(7)); `getsockopt(level, name, n)` with a length gives bytes cut to it, without one
the natural value.

An IPv6 socket's address is (host, port, flowinfo, scope id): the scope id is the number of the interface on which a
link-local address is good ("fe80::1%eth0" says the same). Unless IPV6_V6ONLY is set, an IPv6 socket bound to :: speaks
IPv4 too, with peers written as ::ffff:10.0.0.2 (RFC 4291 section 2.5.5.2); inside, such an address has 4 bytes, so the
length of an address says which IP is meant.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from netstack import options, stamps
from netstack.address import AF_INET, AF_INET6, ANY4, ANY6, MAPPED_PREFIX, format_ip, is_link_local, is_mapped, parse_ip
from netstack.ip6options import get_ip6, set_ip6

# isort: off
from netstack.sockabi import (  # noqa: F401  (handed on, too)
    FLAGS, IP6_FLAGS, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP,
    IPV6_AUTOFLOWLABEL, IPV6_CHECKSUM, IPV6_DONTFRAG, IPV6_FREEBIND, IPV6_HDRINCL, IPV6_HOPLIMIT, IPV6_MINHOPCOUNT,
    IPV6_MTU, IPV6_MTU_DISCOVER, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_LOOP, IPV6_PKTINFO,
    IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_UNICAST_HOPS, IPV6_V6ONLY,
    IP_BIND_ADDRESS_NO_PORT, IP_FLAGS, IP_FREEBIND, IP_HDRINCL, IP_MINTTL, IP_MTU, IP_MTU_DISCOVER, IP_MULTICAST_IF,
    IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_OPTIONS, IP_PKTINFO, IP_PMTUDISC_DO, IP_PMTUDISC_DONT,
    IP_PMTUDISC_INTERFACE, IP_PMTUDISC_OMIT, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT, IP_RECVERR, IP_RECVOPTS,
    IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TRANSPARENT, IP_TTL, MSG_DONTROUTE, MSG_DONTWAIT, MSG_EOR, MSG_ERRQUEUE,
    MSG_MORE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_ZEROCOPY, NOBODY, POLLERR, POLLHUP,
    POLLIN, POLLOUT, POLLPRI, POLLRDHUP, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF,
    SOCK_RAW, SOCK_STREAM, SOL_SOCKET, SO_ACCEPTCONN, SO_BINDTODEVICE, SO_BROADCAST, SO_BSDCOMPAT, SO_BUSY_POLL,
    SO_COOKIE, SO_DEBUG, SO_DOMAIN, SO_DONTROUTE, SO_ERROR, SO_INCOMING_CPU, SO_KEEPALIVE, SO_LINGER,
    SO_LOCK_FILTER, SO_MARK, SO_MAX_PACING_RATE, SO_MEMINFO, SO_NO_CHECK, SO_OOBINLINE, SO_PASSCRED, SO_PEEK_OFF,
    SO_PEERCRED, SO_PRIORITY, SO_PROTOCOL, SO_RCVBUF, SO_RCVBUFFORCE, SO_RCVLOWAT, SO_RCVTIMEO, SO_REUSEADDR,
    SO_REUSEPORT, SO_RXQ_OVFL, SO_SNDBUF, SO_SNDBUFFORCE, SO_SNDLOWAT, SO_SNDTIMEO, SO_TXTIME, SO_TYPE, SO_ZEROCOPY,
    SockAddr, UNPACED, error, option_int, option_text, would_block,
)  # fmt: skip
# isort: on

if TYPE_CHECKING:
    from netstack.control import Ancillary, QueuedError
    from netstack.interface import Interface
    from netstack.stack import Stack


def beyond(sizes: Sequence[int], offset: int) -> tuple[int, int]:
    """SO_PEEK_OFF: the first of the messages of these sizes that the offset does not skip, and where to begin in it."""
    at = 0
    while at < len(sizes) and 0 < offset >= sizes[at]:
        offset -= sizes[at]
        at += 1
    return at, offset


NO_FLAGS: Final[dict[int, int]] = {}
NO_ERRORS: Final[deque[Any]] = deque(maxlen=0)  # the error queue of a socket that asked for none


class Socket:
    """What all sockets share. A protocol overrides the calls it has; the others say EOPNOTSUPP as Linux does."""

    __slots__ = (
        "__weakref__", "ancillary", "bound_device", "closed", "errors", "family", "flags", "ip6_flags", "ip_flags",
        "ip_minttl", "ip_mtu_discover", "linger", "local", "mark", "on_ready", "priority", "proto", "rcvbuf",
        "rcvbuf_locked", "rcvlowat", "rcvtimeo_ns", "remote", "reuse_addr", "shutdown_mask", "sndbuf",
        "sndbuf_locked", "sndtimeo_ns", "so_error", "stack", "tos", "ttl", "type", "v6only",
    )  # fmt: skip

    def __init__(self, stack: Stack, family: int, type: int, proto: int) -> None:
        settings = stack.tcp.settings
        self.stack = stack
        self.family = family
        self.type = type
        self.proto = proto
        self.on_ready: Callable[[Any], None] | None = None
        self.closed = False
        self.local: tuple[bytes, int] = (ANY4 if family == AF_INET else ANY6, 0)
        self.remote: tuple[bytes, int] | None = None
        self.so_error = 0
        self.shutdown_mask = 0  # 1: no more receiving, 2: no more sending
        self.flags = self.ip_flags = self.ip6_flags = NO_FLAGS  # replaced, not changed: most sockets have none
        self.v6only = bool(settings.ipv6_bindv6only)
        self.ancillary: Ancillary = ()  # control messages of the last recvmsg
        self.errors: deque[QueuedError] = NO_ERRORS
        self.reuse_addr = False
        self.linger: tuple[int, int] = (0, 0)
        self.rcvbuf: int = settings.rmem_default
        self.sndbuf: int = settings.wmem_default
        self.rcvbuf_locked = False
        self.sndbuf_locked = False
        self.rcvlowat = 1
        self.rcvtimeo_ns = 0
        self.sndtimeo_ns = 0
        self.priority = 0
        self.mark = 0
        self.bound_device: Interface | None = None
        self.tos = 0  # of IPv4, as the three that follow: see `options.TWINS`
        self.ttl = -1  # the host's
        self.ip_minttl = 0
        self.ip_mtu_discover = IP_PMTUDISC_DONT if settings.ip_no_pmtu_disc else IP_PMTUDISC_WANT

    # Readiness.

    def readiness(self) -> int:
        return POLLERR if self.so_error else 0

    def ready_for(self, events: int) -> int:
        """`readiness` for who wants only these events (and POLLERR, POLLHUP): others may be missing."""
        return self.readiness()

    def starved(self) -> bool:
        """Whether a plain recv would say EAGAIN for certain."""
        return False

    def served(self) -> bool:
        """Whether a plain recv would give data for certain, and `readiness` would say POLLIN."""
        return False

    def wake(self) -> None:
        """Readiness may have changed."""
        if self.on_ready is not None:
            self.on_ready(self)

    def take_error(self) -> None:
        """Raise and clear the pending error, if there is one (SO_ERROR's other reader)."""
        code = self.so_error
        if code:
            self.so_error = 0
            raise error(code)

    # Addresses.

    def check_open(self) -> None:
        if self.closed:
            raise error(errno.EBADF, "the socket is closed")

    def parse_address(self, addr: SockAddr, v6only: int = errno.ENETUNREACH) -> tuple[bytes, int]:
        """("10.0.0.2", 80) -> (bytes, port). EAFNOSUPPORT for an address of the other IP version, EINVAL for
        nonsense; the errno `v6only` for a mapped address where IPV6_V6ONLY is set (bind: EINVAL)."""
        try:
            host, port = addr[0], addr[1]
        except (TypeError, IndexError, KeyError):
            raise error(errno.EINVAL, f"an address is (text, port), not {addr!r}") from None
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise error(errno.EINVAL, f"not a port: {port!r}")
        if isinstance(host, (bytes, bytearray)) and len(host) in (4, 16):
            address = bytes(host)
        elif host == "":
            address = bytes(4 if self.family == AF_INET else 16)
        elif isinstance(host, str):
            address = parse_ip(host.partition("%")[0])
        else:
            raise error(errno.EINVAL, f"not an IP address: {host!r}")
        if len(address) != (4 if self.family == AF_INET else 16):
            raise error(errno.EAFNOSUPPORT, f"{format_ip(address)} is not of this socket's address family")
        if len(address) == 16 and is_mapped(address):
            if self.v6only:
                raise error(v6only, "IPV6_V6ONLY is set")
            address = address[12:]
        return address, port

    def scope(self, addr: SockAddr, address: bytes) -> Interface | None:
        """The interface that an address given by the user names: by its scope id, or "%eth0". That of SO_BINDTODEVICE
        otherwise. EINVAL when the two differ."""
        bound = self.bound_device
        if len(address) != 16 or not (is_link_local(address) or (address[0] == 0xFF and address[1] & 0xF <= 2)):
            return bound
        named: Interface | None = None
        if isinstance(addr[0], str) and "%" in addr[0]:
            zone = addr[0].partition("%")[2]
            named = self.stack.interfaces.get(zone) or (self.stack.interface_at(int(zone)) if zone.isdigit() else None)
            if named is None:
                raise error(errno.ENODEV, f"no interface {zone!r}")
        elif len(addr) > 3 and addr[3]:
            named = self.stack.interface_at(addr[3])
        if named is None:
            return bound
        if bound is not None and named is not bound:
            raise error(errno.EINVAL, f"the socket is bound to {bound.name}, the address to {named.name}")
        return named

    def link_of(self, addr: SockAddr, address: bytes, what: str) -> Interface | None:
        """`scope`, where a link-local address without one is EINVAL (ipv6(7)): bind and connect."""
        found = self.scope(addr, address)
        if found is None and len(address) == 16 and is_link_local(address) and address not in self.stack.local:
            raise error(errno.EINVAL, f"{what} a link-local address needs a scope id")
        return found

    def format_address(self, address: tuple[Any, ...]) -> SockAddr:
        """(host, port), or IPv6's (host, port, flowinfo, scope id); the address may carry a scope id as a third
        element."""
        host = address[0]
        if self.family == AF_INET6:
            if len(host) == 4:
                return (format_ip(MAPPED_PREFIX + host), address[1], 0, 0)
            scope = address[2] if len(address) > 2 else self._scope_id(host)
            return (format_ip(host), address[1], 0, scope)
        return (format_ip(host), address[1])

    def _scope_id(self, address: bytes) -> int:
        """Of a link-local address that this socket is bound or connected to."""
        if not is_link_local(address):
            return 0
        where = self.bound_device or self.stack.local.get(address) or self.stack.local.get(self.local[0])
        return where.index if where is not None else 0

    def getsockname(self) -> SockAddr:
        self.check_open()
        return self.format_address(self.local)

    def getpeername(self) -> SockAddr:
        self.check_open()
        if self.remote is None:
            raise error(errno.ENOTCONN)
        return self.format_address(self.remote)

    def check_local(self, address: bytes) -> None:
        """EADDRNOTAVAIL unless a socket may be bound to that address."""
        stack = self.stack
        if any(address) and not stack.is_bindable(address):
            if stack.settings.ip_nonlocal_bind or self.ip_flags.get(IP_FREEBIND) or self.ip6_flags.get(IPV6_FREEBIND):
                return
            if self.ip_flags.get(options.IP_TRANSPARENT) or self.ip6_flags.get(options.IPV6_TRANSPARENT):
                return
            raise error(errno.EADDRNOTAVAIL, f"{format_ip(address)} is not an address of this host")

    # Calls a protocol may have.

    def bind(self, addr: SockAddr) -> None:
        raise error(errno.EOPNOTSUPP)

    def listen(self, n: int) -> None:
        raise error(errno.EOPNOTSUPP)

    def accept(self, now: int) -> tuple[Any, SockAddr]:
        raise error(errno.EOPNOTSUPP)

    def connect(self, addr: SockAddr, now: int) -> None:
        raise error(errno.EOPNOTSUPP)

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        raise error(errno.EOPNOTSUPP)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0) -> int:
        raise error(errno.EOPNOTSUPP)

    def recv(self, n: int, now: int, flags: int = 0) -> bytes:
        return self.recvfrom(n, now, flags)[0]

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        raise error(errno.EOPNOTSUPP)

    def shutdown(self, how: int, now: int) -> None:
        raise error(errno.EOPNOTSUPP)

    def close(self, now: int) -> None:
        self.closed = True

    # Options.

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        self.check_open()
        if level == SOL_SOCKET:
            self._set_socket(name, value)
        elif level == IPPROTO_IP and self.has_ip_options():
            self._set_ip(name, value)
            self.ip_changed()
        elif level == IPPROTO_IPV6 and self.family == AF_INET6:
            set_ip6(self, name, value)
            self.ip_changed()
        else:
            self.set_protocol_option(level, name, value)

    def getsockopt(self, level: int, name: int, n: int | None = None) -> int | bytes:
        self.check_open()
        if n is not None and n < 0:
            raise error(errno.EINVAL)
        if level == SOL_SOCKET:
            value = stamps.get_option(self, name, n or 4) if name in stamps.OPTIONS else self._get_socket(name, n)
        elif level == IPPROTO_IP and self.has_ip_options():
            value = self._get_ip(name, n)
            if n is not None and 0 < n < 4 and isinstance(value, int) and 0 <= value <= 255:
                return bytes((value,))  # where there is no room for an int, one byte is given
        elif level == IPPROTO_IPV6 and self.family == AF_INET6:
            value = get_ip6(self, name, n)
        else:
            value = self.get_protocol_option(level, name)
        if n is None:
            return value
        return (struct.pack("=I", value & 0xFFFFFFFF) if isinstance(value, int) else value)[:n]

    def has_ip_options(self) -> bool:
        """Whether IPPROTO_IP is a level of this socket: a raw IPv6 one has nothing of IPv4."""
        return self.family == AF_INET or (self.family == AF_INET6 and self.type != SOCK_RAW)

    def own_level(self) -> int:
        """The protocol's level of options."""
        return self.proto

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        raise error(errno.ENOPROTOOPT, f"no option {name} at level {level}")

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        # Linux: reading at a level that an IPv4 socket does not have is EOPNOTSUPP, writing ENOPROTOOPT.
        strange = self.family == AF_INET and level not in (IPPROTO_IP, self.own_level())
        code = errno.EOPNOTSUPP if strange else errno.ENOPROTOOPT
        raise error(code, f"no option {name} at level {level}")

    def buffers_changed(self) -> None:
        """rcvbuf or sndbuf was set."""

    def ip_changed(self) -> None:
        """An option of IP (IP_TOS, IP_TTL ...) was set."""

    def marks(self, version: int) -> tuple[int, int]:
        """IP_TOS and IP_TTL, or IPV6_TCLASS and IPV6_UNICAST_HOPS, of what is sent by that IP version. TTL -1: the
        host's."""
        if version == 4:
            return self.tos, self.ttl
        flags = self.ip6_flags
        return (flags.get(IPV6_TCLASS, 0), flags.get(IPV6_UNICAST_HOPS, -1)) if flags else (0, -1)

    def mtu_discover(self, version: int) -> int:
        """IP_MTU_DISCOVER, or IPV6_MTU_DISCOVER."""
        if version == 4:
            return self.ip_mtu_discover
        return self.ip6_flags.get(IPV6_MTU_DISCOVER, IP_PMTUDISC_WANT) if self.ip6_flags else IP_PMTUDISC_WANT

    def _set_socket(self, name: int, value: int | bytes) -> None:
        settings = self.stack.settings
        if name in (options.SO_RCVTIMEO_NEW, options.SO_SNDTIMEO_NEW):
            name = SO_RCVTIMEO if name == options.SO_RCVTIMEO_NEW else SO_SNDTIMEO
        if not isinstance(value, int) and len(value) < 4 and name != SO_BINDTODEVICE:
            raise error(errno.EINVAL, "an option takes an int at least")
        if name == SO_REUSEADDR:
            self.reuse_addr = bool(option_int(value))
        elif name in (SO_RCVBUF, SO_RCVBUFFORCE):
            # The kernel doubles what is asked, to allow for its own overhead (socket(7)).
            asked = option_int(value) & 0xFFFFFFFF if option_int(value) < 0 else option_int(value)
            if name == SO_RCVBUF:
                asked = min(asked, settings.rmem_max)
            self.rcvbuf = max(min(asked, (2**31 - 1) // 2) * 2, SOCK_MIN_RCVBUF)
            self.rcvbuf_locked = True
            self.buffers_changed()
        elif name in (SO_SNDBUF, SO_SNDBUFFORCE):
            asked = option_int(value) & 0xFFFFFFFF if option_int(value) < 0 else option_int(value)
            if name == SO_SNDBUF:
                asked = min(asked, settings.wmem_max)
            self.sndbuf = max(min(asked, (2**31 - 1) // 2) * 2, SOCK_MIN_SNDBUF)
            self.sndbuf_locked = True
            self.buffers_changed()
        elif name == SO_LINGER:
            if not isinstance(value, (bytes, bytearray)) or len(value) < 8:
                raise error(errno.EINVAL, "SO_LINGER takes struct linger: two ints")
            onoff, seconds = struct.unpack_from("=ii", value)
            self.linger = (1, seconds) if onoff else (0, self.linger[1])
        elif name in (SO_RCVTIMEO, SO_SNDTIMEO):
            if isinstance(value, int) or len(value) < 16:
                raise error(errno.EINVAL, "a timeout is struct timeval: two longs")
            seconds, micros = struct.unpack_from("=qq", value)
            if not 0 <= micros < 1_000_000:
                raise error(errno.EDOM)
            timeout = 0 if seconds < 0 else seconds * 1_000_000_000 + micros * 1000
            if name == SO_RCVTIMEO:
                self.rcvtimeo_ns = timeout
            else:
                self.sndtimeo_ns = timeout
        elif name == SO_RCVLOWAT:
            low = option_int(value)
            self.rcvlowat = 2**31 - 1 if low < 0 else low or 1
            self.buffers_changed()
            self.wake()
        elif name == SO_PRIORITY:
            self.priority = option_int(value)
        elif name == SO_MARK:
            self.mark = option_int(value)
        elif name == SO_BINDTODEVICE:
            text = option_text(struct.pack("=i", value) if isinstance(value, int) else value[:15])
            if not text:
                self.bound_device = None
            elif text in self.stack.interfaces:
                self.bound_device = self.stack.interfaces[text]
            else:
                raise error(errno.ENODEV, f"no interface {text!r}")
        elif name == SO_MAX_PACING_RATE:
            rate = option_int(value) & 0xFFFFFFFF
            if not isinstance(value, int) and len(value) >= 8:
                rate = int.from_bytes(value[:8], "little")
            elif rate == 0xFFFFFFFF:
                rate = UNPACED
            self.flags = {**self.flags, name: rate}
            self.flag_changed(name)
        elif name in (SO_ZEROCOPY, SO_PEEK_OFF) and not self.has_ports():
            raise error(errno.EOPNOTSUPP, "neither TCP nor UDP")
        elif name == SO_ZEROCOPY:
            if not 0 <= option_int(value) <= 1:
                raise error(errno.EINVAL)
            self.flags = {**self.flags, name: option_int(value)}
        elif name == SO_PEEK_OFF:
            self.flags = {**self.flags, name: option_int(value)}
            self.flag_changed(name)
        elif name == SO_BUSY_POLL:
            if option_int(value) < 0:
                raise error(errno.EINVAL)
            self.flags = {**self.flags, name: option_int(value)}
        elif name == SO_TXTIME:
            raise error(errno.EINVAL, "SO_TXTIME is for a queueing discipline")
        elif name in stamps.OPTIONS:
            stamps.set_option(self, name, value)
        elif name in FLAGS:
            if name == SO_REUSEPORT and option_int(value) and self.family not in (AF_INET, AF_INET6):
                raise error(errno.EOPNOTSUPP, "SO_REUSEPORT is for sockets with ports")
            if name == SO_LOCK_FILTER and not option_int(value) and self.flags.get(name):
                raise error(errno.EPERM, "what is locked stays locked")
            self.flags = {**self.flags, name: 1 if option_int(value) else 0}
            self.flag_changed(name)
        elif not options.set_socket(self, name, option_int(value), value):
            raise error(errno.ENOPROTOOPT, f"no socket option {name}, or one that can only be read")

    def has_ports(self) -> bool:
        """Whether it is a TCP or UDP socket."""
        return self.family in (AF_INET, AF_INET6) and self.type != SOCK_RAW

    def set_filter(self, code: bytes) -> None:
        """SO_ATTACH_FILTER: instructions of 8 bytes (bpf.py); none detaches. EINVAL when it is no program."""
        raise error(errno.ENOPROTOOPT, "no filters here")

    def filter_code(self) -> bytes:
        return b""

    def flag_changed(self, name: int) -> None:
        """A boolean option (SO_KEEPALIVE, SO_OOBINLINE, ...) was set."""

    def _get_socket(self, name: int, n: int | None = None) -> int | bytes:
        if name == SO_ERROR:
            code = self.so_error
            self.so_error = 0
            return code
        if name == SO_LINGER:
            return struct.pack("=ii", *self.linger)
        if name in (SO_RCVTIMEO, SO_SNDTIMEO, options.SO_RCVTIMEO_NEW, options.SO_SNDTIMEO_NEW):
            timeout = self.rcvtimeo_ns if name in (SO_RCVTIMEO, options.SO_RCVTIMEO_NEW) else self.sndtimeo_ns
            return struct.pack("=qq", timeout // 1_000_000_000, timeout % 1_000_000_000 // 1000)
        if name == SO_BINDTODEVICE:
            if self.bound_device is None:
                return b""
            if n is not None and n < 16:
                raise error(errno.EINVAL, "an interface's name has 16 bytes")
            return self.bound_device.name.encode() + b"\0"
        values: dict[int, int | bytes] = {
            SO_TYPE: self.type, SO_DOMAIN: self.family, SO_PROTOCOL: self.proto, SO_REUSEADDR: int(self.reuse_addr),
            SO_RCVBUF: self.rcvbuf, SO_SNDBUF: self.sndbuf, SO_RCVLOWAT: self.rcvlowat, SO_SNDLOWAT: 1,
            SO_PRIORITY: self.priority, SO_MARK: self.mark, SO_ACCEPTCONN: int(self.is_listening()), SO_BSDCOMPAT: 0,
            SO_BUSY_POLL: self.flags.get(SO_BUSY_POLL, 0), SO_TXTIME: bytes(8), SO_PEERCRED: NOBODY,
            SO_ZEROCOPY: self.flags.get(SO_ZEROCOPY, 0),
        }  # fmt: skip
        if name in values:
            return values[name]
        if name == SO_MAX_PACING_RATE:
            rate = self.flags.get(name, UNPACED)
            if n is None and rate < 1 << 31:
                return rate
            return struct.pack("=I", min(rate, 0xFFFFFFFF)) if n is not None and n < 8 else struct.pack("=Q", rate)
        if name == SO_MEMINFO:
            return struct.pack("=9I", *self.memory_use())
        if name == SO_PEEK_OFF:
            if not self.has_ports():
                raise error(errno.EOPNOTSUPP, "neither TCP nor UDP")
            return self.flags.get(name, -1)
        if name in FLAGS:
            return self.flags.get(name, 0)
        value = options.get_socket(self, name, n)
        if value is not None:
            return value
        raise error(errno.ENOPROTOOPT, f"no socket option {name}")

    def memory_use(self) -> tuple[int, int, int, int, int, int, int, int, int]:
        """SO_MEMINFO: bytes received and queued, rcvbuf, given to devices, sndbuf, reserved, queued to send, for
        options, in the backlog; datagrams dropped."""
        return 0, self.rcvbuf, 0, self.sndbuf, 0, 0, 0, 0, 0

    def is_listening(self) -> bool:
        return False

    def _set_ip(self, name: int, value: int | bytes) -> None:
        given = 4 if isinstance(value, int) else len(value)
        if name in options.IP_WHOLE and given != 4:
            raise error(errno.EINVAL, "this option has 4 bytes")
        if not given and name in options.IP_SOME:
            raise error(errno.EINVAL, "this option has a byte at least")
        whole = value
        if isinstance(value, (bytes, bytearray)) and 1 <= len(value) < 4:
            value = value[0]  # ip(7) takes a char too
        number = option_int(value) if not (isinstance(value, bytes) and not value) else 0
        if name == IP_TOS:
            keep = self.tos & 3 if self.type == SOCK_STREAM else 0  # a stream's ECN bits are TCP's own
            self.tos = (number & 0xFC | keep) if self.type == SOCK_STREAM else number & 0xFF
        elif name == IP_TTL:
            if number != -1 and not 1 <= number <= 255:
                raise error(errno.EINVAL, f"a TTL is 1 to 255, not {number}")
            self.ttl = number
        elif name == IP_MTU_DISCOVER:
            if not IP_PMTUDISC_DONT <= number <= IP_PMTUDISC_OMIT:
                raise error(errno.EINVAL)
            self.ip_mtu_discover = number
        elif name == IP_MINTTL:
            if not 0 <= number <= 255:
                raise error(errno.EINVAL)
            self.ip_minttl = number
        elif name == IP_MULTICAST_TTL:
            if self.type == SOCK_STREAM:
                raise error(errno.EINVAL, "a stream is sent to one")
            if not -1 <= number <= 255:
                raise error(errno.EINVAL)
            self.ip_flags = {**self.ip_flags, IP_MULTICAST_TTL: 1 if number == -1 else number}
        elif name in IP_FLAGS:
            self.ip_flags = {**self.ip_flags, name: 1 if number else 0}
            if name == IP_RECVERR:
                self.errors_wanted(bool(number))
        elif not options.set_ip(self, name, number, whole):
            self.set_protocol_option(IPPROTO_IP, name, number if name == IP_HDRINCL else value)

    def _get_ip(self, name: int, n: int | None = None) -> int | bytes:
        if name == IP_TOS:
            return self.tos
        if name == IP_TTL:
            return self.stack.settings.ip_default_ttl if self.ttl < 0 else self.ttl
        if name == IP_MTU_DISCOVER:
            return self.ip_mtu_discover
        if name == IP_MINTTL:
            return self.ip_minttl
        if name == IP_MTU:
            mtu = self.path_mtu()
            if mtu is None:
                raise error(errno.ENOTCONN)
            return mtu
        if name == IP_MULTICAST_TTL:
            return self.ip_flags.get(name, 1)
        if name == IP_MULTICAST_LOOP:
            return self.ip_flags.get(name, 1)
        if name in IP_FLAGS:
            return self.ip_flags.get(name, 0)
        if name != IP_HDRINCL or self.type != SOCK_RAW:
            found = options.get_ip(self, name, n)
            if found is not None:
                return found
        return self.get_protocol_option(IPPROTO_IP, name)

    def errors_wanted(self, on: bool) -> None:
        """IP_RECVERR or IPV6_RECVERR: from now on there is an error queue; or what is in it goes."""
        self.errors = deque() if on else NO_ERRORS

    def path_mtu(self) -> int | None:
        """MTU of the path to the peer of a connected socket, or None."""
        if self.remote is None:
            return None
        return self.stack.route(self.remote[0], self.local[0]).mtu


def share_address(a: Socket, address: bytes, b: Socket, other: bytes) -> bool:
    """Whether two bindings could both match one packet by their addresses (Linux's ipv6_rcv_saddr_equal). An IPv6
    socket bound to :: takes IPv4 too, unless it is IPV6_V6ONLY."""
    if len(address) == len(other):
        return not any(address) or not any(other) or address == other
    wide, where = (a, address) if len(address) == 16 else (b, other)
    return not any(where) and not wide.v6only
