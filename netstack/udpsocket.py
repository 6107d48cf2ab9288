"""A UDP socket (RFC 768), with Linux's semantics (udp(7)): bind, connect, what is sent and received, its options.

A receive buffer holds `SO_RCVBUF` bytes, counted with Linux's overhead per datagram; what comes on top is dropped and
counted. Where a datagram goes is `udp.py`'s.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any

from csrc import ffi, lib
from netstack import bpf, options
from netstack.address import AF_INET, LOOPBACK6, is_multicast
from netstack.control import (
    NO_WISH,
    Arrival,
    Wish,
    messages,
    queue_sent,
    queue_too_big,
    take_error,
    wants_errors,
    wish,
)
from netstack.route import Path
from netstack.socket import (
    IP_MULTICAST_TTL,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_INTERFACE,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    IPPROTO_UDP,
    IPV6_DONTFRAG,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_LOOP,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_BROADCAST,
    SO_NO_CHECK,
    SO_PEEK_OFF,
    SOCK_DGRAM,
    SockAddr,
    Socket,
    beyond,
    error,
    option_int,
    would_block,
)
from netstack.udp import HEADER_LEN

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

_from_buffer = ffi.from_buffer
MAX_PAYLOAD, MAX_PAYLOAD6 = 65535 - 20 - HEADER_LEN, 65535 - HEADER_LEN
WHOLE = (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE, IP_PMTUDISC_INTERFACE)  # what exceeds the MTU is refused
OVERHEAD = 768  # Linux's truesize of an empty datagram: struct sk_buff and the shared info
SOL_UDP = 17
UDP_CORK, UDP_ENCAP, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO = 1, 100, 101, 102, 103, 104
UDP_IDLE = (UDP_ENCAP, UDP_NO_CHECK6_RX, UDP_GRO)  # these can be set to what they are: 0
UDP_MAX_SEGMENTS = 128


def _check_plain(size: int, flags: int) -> None:
    """What is looked at before the destination, of IPv4 only."""
    if size > 65535:
        raise error(errno.EMSGSIZE, f"{size} bytes are no datagram")
    if flags & MSG_OOB:
        raise error(errno.EOPNOTSUPP)


class UdpSocket(Socket):
    """A SOCK_DGRAM socket."""

    __slots__ = (
        "_bound", "_bound_address", "_cork", "_cork_to", "corked", "filter", "key", "no_check6", "queue", "rmem",
        "segment",
    )  # fmt: skip

    def __init__(self, stack: Stack, family: int, proto: int) -> None:
        super().__init__(stack, family, SOCK_DGRAM, proto)
        self.queue: deque[tuple[bytes, tuple[Any, ...], Arrival | None]] = deque()
        self.rmem = 0  # bytes of the receive buffer in use
        self.key = b""
        self._bound = False  # a port was asked for
        self._bound_address = False  # an address was asked for
        self.corked = 0
        self.segment = 0  # UDP_SEGMENT: each send is cut into datagrams of that many bytes
        self.no_check6 = False
        self.filter: bpf.Filter | None = None
        self._cork = bytearray()
        self._cork_to: tuple[bytes, int] | None = None

    # Receiving.

    def score(self, dst: bytes, src: bytes, sport: int, interface: Interface, group: bool) -> int:
        """How well this socket matches a datagram (Linux's compute_score); -1: not at all."""
        local = self.local[0]
        if len(local) != len(dst) and (len(local) == 4 or self.v6only or any(local)):
            return -1
        # An IPv4 socket is a better match than an IPv6 one that takes IPv4 too.
        score = 1 if len(dst) == 4 and self.family == AF_INET else 0
        if any(local):
            if local != dst:
                return -1
            score += 4
        if self.remote is not None:
            if self.remote != (src, sport):
                return -1
            score += 8
        if group and is_multicast(dst):  # nobody joins groups yet: who wants only those joined gets nothing
            flags, name = self.ip_flags, options.IP_MULTICAST_ALL
            if len(dst) == 16:
                flags, name = self.ip6_flags, options.IPV6_MULTICAST_ALL
            if not flags.get(name, 1):
                return -1
        if self.bound_device is not None:
            if self.bound_device is not interface:
                return -1
            score += 4
        return score

    def takes(self, address: bytes) -> bool:
        """Whether what is sent to this address of ours could be for this socket."""
        local = self.local[0]
        if len(local) == len(address):
            return local == address or not any(local)
        return len(local) == 16 and not any(local) and not self.v6only

    def deliver(self, payload: bytes, source: tuple[Any, ...], came: Arrival | None) -> None:
        counters = self.stack.counters
        group: Any = counters.udp if len(source[0]) == 4 else counters.udp6
        if self.rmem > self.rcvbuf:
            group.RcvbufErrors += 1
            group.InErrors += 1
            counters.reject.UdpRcvbuf += 1
            return
        group.InDatagrams += 1
        self.rmem += len(payload) + OVERHEAD
        self.queue.append((payload, source, came))
        if self.on_ready is not None:
            self.on_ready(self)

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None, int, int]:
        """(data, source, message flags, length of the whole datagram). One datagram; what exceeds n is lost
        (MSG_TRUNC). Its ancillary data is in `ancillary` afterwards."""
        self.check_open()
        if flags & MSG_ERRQUEUE:
            return take_error(self, n)
        if n < 0:
            raise error(errno.EINVAL)
        self.take_error()
        if not self.queue:
            # Linux looks at the shutdown only where it would sleep: a caller that says it does not gets EAGAIN.
            if self.shutdown_mask & 1 and not flags & MSG_DONTWAIT:
                return b"", None, 0, 0
            raise would_block("no datagram waits")
        at = start = 0
        offset = self.flags.get(SO_PEEK_OFF, -1) if self.flags else -1
        if offset >= 0 and flags & MSG_PEEK:
            at, start = beyond([len(waits[0]) for waits in self.queue], offset)
            if at == len(self.queue):
                raise would_block("no datagram waits behind SO_PEEK_OFF")
        payload, source, came = self.queue[at]
        size = len(payload) - start
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self.rmem -= len(payload) + OVERHEAD
        if offset >= 0:
            moved = offset + min(n, size) if flags & MSG_PEEK else max(offset - size, 0)
            self.flags = {**self.flags, SO_PEEK_OFF: moved}
        self.ancillary = messages(self, came)
        return payload[start : start + n], self.format_address(source), MSG_TRUNC if size > n else 0, size

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        data, source, _, _ = self.recvmsg(n, now, flags)
        return data, source

    # Sending.

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        return self.sendto(data, None, now, flags)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0, ancillary: Any = ()) -> int:
        """One datagram, sent whole or not at all. With MSG_MORE or UDP_CORK it is kept and grows."""
        self.check_open()
        where: Interface | None = None
        if not self.local[1]:
            self.stack.udp.bind(self, self.local[0], 0)  # Linux binds before it looks at anything else
        if self.family == AF_INET:
            _check_plain(len(data), flags)
        more = bool(flags & MSG_MORE) or self.corked
        if self._cork_to is not None:
            target = self._cork_to
        elif addr is not None:
            target = self.parse_address(addr)
            if target[1] == 0:
                raise error(errno.EINVAL, "port 0 cannot be sent to")
            if len(addr) > 2 or len(target[0]) == 16:
                where = self.scope(addr, target[0])
        elif self.remote is not None:
            target = self.remote
            if not target[1] and len(target[0]) == 4 and self.family != AF_INET:
                raise error(errno.EINVAL, "port 0 cannot be sent to")
        else:
            raise error(errno.EDESTADDRREQ)
        dst = target[0]
        asked = NO_WISH
        if ancillary or where is not None:
            asked = wish(self, ancillary, len(dst) == 4)
            asked.interface = asked.interface or where
        if len(dst) == 4 and self.family != AF_INET:
            _check_plain(len(data), flags)
        path = self._path(dst, asked, now)
        if len(dst) == 4 and not self.flags.get(SO_BROADCAST) and self.stack.is_broadcast(dst):
            raise error(errno.EACCES, "SO_BROADCAST is not set")
        try:
            self._check_size(len(self._cork) + len(data), target, path, asked)
            self.take_error()
            if self.shutdown_mask & 2:
                raise error(errno.EPIPE)
        except OSError:
            self._cork, self._cork_to = bytearray(), None  # Linux's udp_flush_pending_frames: all of it is lost
            raise
        if more or self._cork_to is not None:
            self._cork += data
            self._cork_to = target
            if not more:
                self._flush(now)
        else:
            self._leave(data, target, path, asked, now)
        return len(data)

    def _flush(self, now: int) -> None:
        target, payload = self._cork_to, bytes(self._cork)
        self._cork_to = None
        self._cork = bytearray()
        if target is not None:
            self._leave(payload, target, self._path(target[0], NO_WISH, now), NO_WISH, now)

    def _link(self, dst: bytes, asked: Wish) -> Interface | None:
        """The interface that what is sent there has to leave by, or None."""
        link = asked.interface or self.bound_device
        if link is None and (self.ip_flags or self.ip6_flags):
            index = options.outgoing(self, is_multicast(dst), len(dst) == 4)
            if index:
                return self.stack.interface_at(index)
        return link

    def _path(self, dst: bytes, asked: Wish, now: int) -> Path:
        source: bytes | None = asked.source or self.local[0]
        if source is None or not any(source) or is_multicast(source):
            source = None
        return self.stack.udp.path(dst, source, self._link(dst, asked), now)

    def _dont_fragment6(self, asked: Wish) -> bool:
        return bool(self.ip6_flags.get(IPV6_DONTFRAG) if asked.whole < 0 else asked.whole)

    def _check_size(self, size: int, target: tuple[bytes, int], path: Path, asked: Wish) -> None:
        """EMSGSIZE for more than IP can carry, or the path in one packet where nothing may be fragmented."""
        four = len(target[0]) == 4
        most = MAX_PAYLOAD if four else MAX_PAYLOAD6
        whole = self.mtu_discover(path.version) in WHOLE or (not four and self._dont_fragment6(asked))
        if whole and not self.segment and asked.segment <= 0:
            most = min(most, path.mtu - (28 if four else 48))
        if size > most:
            queue_too_big(self, min(path.mtu, 65535) if four else path.mtu, target)
            raise error(errno.EMSGSIZE, f"a datagram holds at most {most} bytes here, the path's MTU is {path.mtu}")

    def _leave(self, data: Any, target: tuple[bytes, int], path: Path, asked: Wish, now: int) -> None:
        """One datagram; or, with UDP_SEGMENT, the text in datagrams of that size (Linux's udp_send_skb)."""
        size = asked.segment if asked.segment >= 0 else self.segment
        if not size:
            self._emit(data, target, path, asked, now)
            return
        dst = target[0]
        if (20 if len(dst) == 4 else 40) + HEADER_LEN + min(size, len(data)) > path.mtu:
            raise error(errno.EMSGSIZE, "a segment does not fit into the path's MTU")
        unsummed = self.flags.get(SO_NO_CHECK) if len(dst) == 4 else self.no_check6
        if len(data) > size * UDP_MAX_SEGMENTS or unsummed:
            raise error(errno.EINVAL, f"{UDP_MAX_SEGMENTS} segments at most, with a checksum")
        for start in range(0, len(data) or 1, size):
            self._emit(data[start : start + size], target, path, asked, now)

    def _emit(self, data: Any, target: tuple[bytes, int], path: Path, asked: Wish, now: int) -> None:
        stack = self.stack
        dst, dport = target
        body = bytearray(8 + len(data))
        sport = self.local[1]
        body[0:8] = (sport << 48 | dport << 32 | len(body) << 16).to_bytes(8, "big")
        body[8:] = data
        if not (self.no_check6 if len(dst) == 16 else self.flags.get(SO_NO_CHECK)):
            sum_ = lib.trl_l4_checksum(path.src, path.dst, len(dst), IPPROTO_UDP, _from_buffer(body), len(body))
            # RFC 768: a sum that comes out as zero is sent as all ones.
            body[6:8] = (sum_ or 0xFFFF).to_bytes(2, "big")
        mode = self.mtu_discover(path.version)
        whole = mode in WHOLE
        tos, ttl = self.marks(path.version)
        ttl = asked.ttl if asked.ttl >= 0 else ttl
        tos = asked.tos if asked.tos >= 0 else tos
        try:
            if len(dst) == 4:
                if asked.ttl < 0 and is_multicast(dst):
                    ttl = self.ip_flags.get(IP_MULTICAST_TTL, 1)
                fits = len(body) + 20 <= path.mtu and not path.locked
                dont_fragment = (whole and mode != IP_PMTUDISC_INTERFACE) or (mode == IP_PMTUDISC_WANT and fits)
                stack.ipv4.send(path, IPPROTO_UDP, body, now, ttl, tos, dont_fragment, may_fragment=not whole)
                if path.interface.txqueuelen:
                    stack.counters.udp.OutDatagrams += 1
                else:
                    self._refused(4)
            else:
                if asked.ttl < 0 and is_multicast(dst):
                    ttl = self.ip6_flags.get(IPV6_MULTICAST_HOPS, 1)
                whole = whole or self._dont_fragment6(asked)
                loop = bool(self.ip6_flags.get(IPV6_MULTICAST_LOOP, 1))
                stack.ipv6.send(path, IPPROTO_UDP, body, now, ttl, tos, may_fragment=not whole, loop=loop)
                if path.interface.txqueuelen:
                    stack.counters.udp6.OutDatagrams += 1
                else:
                    self._refused(6)
        except OSError as refused:
            if refused.errno == errno.EMSGSIZE and whole:
                queue_too_big(self, path.mtu, target)
            raise
        if self.flags or asked.stamping >= 0:
            queue_sent(self, data, now, asked, taken=path.interface.txqueuelen > 0)

    def _refused(self, version: int) -> None:
        """The device's queue takes nothing: ENOBUFS for who has an error queue; else it is as if the datagram were
        lost."""
        counters = self.stack.counters
        group = counters.udp if version == 4 else counters.udp6
        group.SndbufErrors += 1
        if wants_errors(self, version):
            raise error(errno.ENOBUFS, "the device's queue is full")

    # Addresses.

    def getpeername(self) -> SockAddr:
        if self.remote is not None and not self.remote[1]:
            raise error(errno.ENOTCONN, "port 0 is no peer")
        return super().getpeername()

    def bind(self, addr: SockAddr) -> None:
        self.check_open()
        address, port = self.parse_address(addr, errno.EINVAL)
        link = self.link_of(addr, address, "binding to") if len(address) == 16 else None
        self.check_local(address)
        if self.local[1]:
            raise error(errno.EINVAL, "the socket is bound already")
        self.stack.udp.bind(self, address, port)
        if link is not None:
            self.bound_device = link
        self._bound = port != 0
        self._bound_address = any(address)

    def connect(self, addr: SockAddr | None, now: int) -> None:
        """Fix the peer; None dissolves that (connect(2) with AF_UNSPEC)."""
        self.check_open()
        udp = self.stack.udp
        if addr is None:
            udp.disconnect(self)
            self.remote = None
            self.so_error = 0
            if not self._bound_address:
                self.local = (bytes(4 if self.family == AF_INET else 16), self.local[1])
            if not self._bound and self.local[1]:
                udp.release(self)
                self.local = (self.local[0], 0)
            return
        if not self.local[1]:  # Linux chooses the port first, also where the rest then fails
            udp.bind(self, self.local[0], 0)
        dst, port = self.parse_address(addr)
        if not any(dst):
            dst = b"\x7f\x00\x00\x01" if len(dst) == 4 else LOOPBACK6
        link = self.link_of(addr, dst, "connecting to") if len(dst) == 16 else self.bound_device
        source = self.local[0] if self._bound_address else None
        path = udp.path(dst, source, link or self._link(dst, NO_WISH), now)
        if self.stack.is_broadcast(dst) and not self.flags.get(SO_BROADCAST):
            raise error(errno.EACCES, "SO_BROADCAST is not set")
        if link is not None:
            self.bound_device = link
        udp.disconnect(self)
        self.local = (path.src, self.local[1])
        self.remote = (dst, port)
        udp.connect(self)

    def shutdown(self, how: int, now: int) -> None:
        self.check_open()
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise error(errno.EINVAL)
        self.shutdown_mask |= (how + 1) & 3
        self.wake()
        if self.remote is None:
            raise error(errno.ENOTCONN)

    def close(self, now: int) -> None:
        if self.closed:
            return
        self._cork_to = None  # what was held back by MSG_MORE is not sent
        self.stack.udp.release(self)
        self.closed = True
        self.queue.clear()
        self.rmem = 0

    def readiness(self) -> int:
        mask = POLLOUT
        if self.queue:
            mask |= POLLIN
        if self.so_error or self.errors:
            mask |= POLLERR
        if self.shutdown_mask & 1:
            mask |= POLLIN | POLLRDHUP
        if self.shutdown_mask == 3:
            mask |= POLLHUP
        return mask

    def own_level(self) -> int:
        return SOL_UDP

    def set_filter(self, code: bytes) -> None:
        self.filter = bpf.Filter(code) if code else None

    def filter_code(self) -> bytes:
        return self.filter.code if self.filter is not None else b""

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        if level == SOL_UDP:
            number = option_int(value)
        if level == SOL_UDP and name == UDP_CORK:
            self.corked = 1 if number else 0
            if not self.corked:
                self._flush(self.stack.now)
            return
        if level == SOL_UDP and name == UDP_SEGMENT:
            if not 0 <= number <= 65535:
                raise error(errno.EINVAL, f"a datagram has no {number} bytes")
            self.segment = number
            return
        if level == SOL_UDP and name == UDP_NO_CHECK6_TX:
            self.no_check6 = bool(number)
            return
        if level == SOL_UDP and name in UDP_IDLE and not number:
            return
        super().set_protocol_option(level, name, value)

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        if level == SOL_UDP and name == UDP_CORK:
            return self.corked
        if level == SOL_UDP and name == UDP_SEGMENT:
            return self.segment
        if level == SOL_UDP and name == UDP_NO_CHECK6_TX:
            return int(self.no_check6)
        if level == SOL_UDP and name in UDP_IDLE:
            return 0
        return super().get_protocol_option(level, name)
