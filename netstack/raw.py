"""Raw sockets (raw(7), RFC 3542 section 3): IP packets of one protocol, as they arrived and as they leave.

Each gets a copy of every packet of its protocol that this host accepts, after reassembly: on IPv4 with the IP header,
on IPv6 what follows the extension headers. What it sends gets a header from the stack, unless it brings its own
(IP_HDRINCL, IPV6_HDRINCL, or IPPROTO_RAW). On IPv6 the stack also sees to the checksum where IPV6_CHECKSUM says it
is, and always to ICMPv6's."""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from csrc import Frame, ffi, lib
from netstack import bpf
from netstack.address import AF_INET, is_link_local, is_multicast
from netstack.control import (
    NO_WISH,
    Arrival,
    arrival,
    messages,
    queue_icmp,
    queue_sent,
    queue_too_big,
    take_error,
    wants_errors,
    wish,
)
from netstack.icmp import IcmpError
from netstack.ipv4_header import checksum
from netstack.route import find_path
from netstack.socket import (
    IP_HDRINCL,
    IP_MULTICAST_TTL,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_RAW,
    IPV6_CHECKSUM,
    IPV6_DONTFRAG,
    IPV6_HDRINCL,
    IPV6_MULTICAST_HOPS,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SO_BROADCAST,
    SOCK_RAW,
    SockAddr,
    Socket,
    error,
    option_int,
    would_block,
)

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

SOL_RAW = 255
ICMP_FILTER = 1
SOL_ICMPV6 = 58
ICMP6_FILTER = 1
OVERHEAD = 768

_buffer = ffi.from_buffer


class Raw:
    """The raw sockets of one stack."""

    __slots__ = ("ahead", "count", "sockets", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sockets: dict[int, list[RawSocket]] = {}
        self.count = 0
        self.ahead = 0  # the same, and one more where TCP segments are looked at before (`tcp.screen`)

    def add(self, sock: RawSocket) -> None:
        self.sockets.setdefault(sock.proto, []).append(sock)
        self.count += 1
        self.ahead += 1

    def remove(self, sock: RawSocket) -> None:
        socks = self.sockets.get(sock.proto, [])
        if sock in socks:
            socks.remove(sock)
            self.count -= 1
            self.ahead -= 1

    def input(self, frame: Frame, interface: Interface, now: int) -> bool:
        """Give a copy to every raw socket that matches; whether any did."""
        pkt = self.stack.pkt
        socks = self.sockets.get(pkt.proto)
        if not socks:
            return False
        n = 4 if pkt.ip_version == 4 else 16
        src, dst = self.stack.src16[:n], self.stack.dst16[:n]
        l3 = pkt.l3
        packet = bytes(frame.data[l3 if n == 4 else pkt.l4 : l3 + pkt.l3_len])
        taken = False
        for sock in list(socks):
            if sock.matches(src, dst, interface):
                taken = True
                sock.deliver(packet, src, dst, interface, frame)
        return taken

    def senders(self, error_in: IcmpError) -> list[RawSocket]:
        """Whose packet it may be that is quoted."""
        return [
            sock
            for sock in self.sockets.get(error_in.proto, ())
            if len(sock.local[0]) == len(error_in.src)
            and (not any(sock.local[0]) or sock.local[0] == error_in.src)
            and (sock.remote is None or sock.remote[0] == error_in.dst)
        ]

    def icmp_error(self, error_in: IcmpError, now: int) -> bool:
        found = False
        for sock in self.senders(error_in):
            if error_in.frag_needed and not found:
                self._learn_mtu(error_in, now)
            found = True
            hard = error_in.fatal or (error_in.frag_needed and sock.mtu_discover(error_in.version) != IP_PMTUDISC_DONT)
            if wants_errors(sock, error_in.version):
                queue_icmp(sock, error_in, 0, 0)
            elif hard and sock.remote is not None:
                sock.so_error = error_in.errno
                sock.wake()
        return found

    def _learn_mtu(self, error_in: IcmpError, now: int) -> None:
        try:
            find_path(self.stack, error_in.dst, error_in.src, None, now).update_pmtu(error_in.mtu, now)
        except OSError:
            pass  # the route is gone, and with it the question


class RawSocket(Socket):
    """A SOCK_RAW socket of one protocol."""

    __slots__ = ("checksum_at", "filter", "header_included", "icmp6_filter", "icmp_filter", "queue", "rmem")

    def __init__(self, stack: Stack, family: int, proto: int) -> None:
        super().__init__(stack, family, SOCK_RAW, proto)
        self.queue: deque[tuple[bytes, tuple[Any, ...], Arrival | None]] = deque()
        self.rmem = 0
        self.header_included = proto == IPPROTO_RAW
        self.filter: bpf.Filter | None = None
        self.icmp_filter = 0  # a set bit blocks that type
        self.icmp6_filter = bytes(32)  # RFC 3542 section 3.2: the same, of 256 types, in words of 32
        self.checksum_at = 2 if family != AF_INET and proto == IPPROTO_ICMPV6 else -1
        self.reuse_addr = True  # as inet_create has it for raw sockets
        stack.raw.add(self)

    def matches(self, src: bytes, dst: bytes, interface: Interface) -> bool:
        return (
            len(dst) == (4 if self.family == AF_INET else 16)
            and (self.local[0] == dst or not any(self.local[0]))
            and (self.remote is None or self.remote[0] == src)
            and (self.bound_device is None or self.bound_device is interface)
        )

    def deliver(self, packet: bytes, source: bytes, dst: bytes, interface: Interface, frame: Frame) -> None:
        if len(dst) == 16:
            if not self._wanted6(packet, source, dst):
                return
        elif self.proto == IPPROTO_ICMP and self.icmp_filter:
            header_len = (packet[0] & 0xF) * 4
            kind = packet[header_len] if len(packet) > header_len else 255
            if kind < 32 and self.icmp_filter >> kind & 1:
                return
        if self.filter is not None:
            at = self.stack.pkt.l3 if len(dst) == 4 else self.stack.pkt.l4
            packet = packet[: self.filter.of_packet(self.stack, frame, interface, at)]
            if not packet:
                return
        if self.rmem > self.rcvbuf:
            self.stack.counters.reject.RawRcvbuf += 1
            return
        self.rmem += len(packet) + OVERHEAD
        origin = (source, 0, interface.index) if is_link_local(source) else (source, 0)
        self.queue.append((packet, origin, arrival(self, self.stack, interface, dst)))
        self.wake()

    def _wanted6(self, packet: bytes, source: bytes, dst: bytes) -> bool:
        if self.proto == IPPROTO_ICMPV6 and packet:
            kind = packet[0]
            word = int.from_bytes(self.icmp6_filter[kind >> 5 << 2 :][:4], "little")
            if word >> (kind & 31) & 1:
                return False
        if self.checksum_at >= 0 and lib.trl_l4_checksum(source, dst, 16, self.proto, _buffer(packet), len(packet)):
            self.stack.counters.icmp6.InCsumErrors += self.proto != IPPROTO_ICMPV6
            return False
        return True

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None, int, int]:
        """(packet, source, message flags, its whole length)."""
        self.check_open()
        if flags & MSG_ERRQUEUE:
            return take_error(self, n)
        if flags & MSG_OOB:
            raise error(errno.EOPNOTSUPP)
        if n < 0:
            raise error(errno.EINVAL)
        self.take_error()
        if not self.queue:
            if self.shutdown_mask & 1:
                return b"", None, 0, 0
            raise would_block("no packet waits")
        packet, source, came = self.queue[0]
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self.rmem -= len(packet) + OVERHEAD
        self.ancillary = messages(self, came)
        return packet[:n], self.format_address(source), MSG_TRUNC if len(packet) > n else 0, len(packet)

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        data, source, _, _ = self.recvmsg(n, now, flags)
        return data, source

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        return self.sendto(data, None, now, flags)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0, ancillary: Any = ()) -> int:
        self.check_open()
        if len(data) > 65535:
            raise error(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise error(errno.EOPNOTSUPP)
        if addr is not None:
            dst = self.parse_address(addr)[0]
            where = self.scope(addr, dst)
        elif self.remote is not None:
            dst, where = self.remote[0], self.bound_device
        else:
            raise error(errno.EDESTADDRREQ)
        asked = wish(self, ancillary, len(dst) == 4) if ancillary else NO_WISH
        link = asked.interface or where
        self.take_error()
        if self.shutdown_mask & 2:
            raise error(errno.EPIPE)
        stack = self.stack
        if len(dst) != (4 if self.family == AF_INET else 16):
            raise error(errno.EINVAL, "a raw IPv6 socket has no IPv4")
        source = asked.source or (self.local[0] if any(self.local[0]) else None)
        path = find_path(stack, dst, source, link, now)
        if stack.is_broadcast(dst) and not self.flags.get(SO_BROADCAST):
            raise error(errno.EACCES, "SO_BROADCAST is not set")
        if self.header_included:
            if len(dst) == 4:
                self._send_whole(bytes(data), path, now)
            else:
                self._send_whole6(bytes(data), path, now)
            return len(data)
        mode = self.mtu_discover(path.version)
        whole = mode in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE)
        tos, ttl = self.marks(path.version)
        ttl = asked.ttl if asked.ttl >= 0 else ttl
        tos = asked.tos if asked.tos >= 0 else tos
        try:
            if len(dst) == 4:
                if asked.ttl < 0 and is_multicast(dst):
                    ttl = self.ip_flags.get(IP_MULTICAST_TTL, 1)
                fits = len(data) + 20 <= path.mtu and not path.locked
                dont_fragment = whole or (mode == IP_PMTUDISC_WANT and fits)
                stack.ipv4.send(path, self.proto, bytes(data), now, ttl, tos, dont_fragment, may_fragment=not whole)
            else:
                if asked.ttl < 0 and is_multicast(dst):
                    ttl = self.ip6_flags.get(IPV6_MULTICAST_HOPS, 1)
                whole = whole or bool(self.ip6_flags.get(IPV6_DONTFRAG) if asked.whole < 0 else asked.whole)
                body = self._checksummed(bytearray(data), path)
                stack.ipv6.send(path, self.proto, body, now, ttl, tos, may_fragment=not whole)
                if self.proto == IPPROTO_ICMPV6 and body:
                    stack.icmp6.count_out(body[0])
        except OSError as refused:
            if refused.errno == errno.EMSGSIZE and whole:
                queue_too_big(self, path.mtu, (dst, 0))
            raise
        if self.flags or asked.stamping >= 0:
            queue_sent(self, data, now, asked)
        return len(data)

    def _checksummed(self, body: bytearray, path: Any) -> bytearray:
        """The message with the checksum that IPV6_CHECKSUM asks for; EINVAL when it has no room for one."""
        at = self.checksum_at
        if at >= 0:
            if at + 2 > len(body):
                raise error(errno.EINVAL, f"the checksum is to be at {at}, of {len(body)} bytes")
            body[at : at + 2] = b"\0\0"
            value = lib.trl_l4_checksum(path.src, path.dst, 16, self.proto, _buffer(body), len(body))
            body[at : at + 2] = value.to_bytes(2, "big")
        return body

    def _send_whole6(self, packet: bytes, path: Any, now: int) -> None:
        """The caller's own IPv6 header goes as it is."""
        if len(packet) > path.mtu:
            raise error(errno.EMSGSIZE, f"{len(packet)} bytes exceed the MTU of {path.mtu}")
        if len(packet) < 40:
            raise error(errno.EINVAL, "not an IPv6 header")
        data = bytearray(path.template[: path.l3]) + packet
        path.output(Frame(data, (), len(data), path.l3 > 0), now)

    def _send_whole(self, packet: bytes, path: Any, now: int) -> None:
        """The caller's own header: length and checksum are always ours, source and id where they are 0 (raw(7))."""
        if len(packet) > path.mtu:
            raise error(errno.EMSGSIZE, f"{len(packet)} bytes exceed the MTU of {path.mtu}")
        header_len = (packet[0] & 0xF) * 4 if packet else 0
        if len(packet) < 20 or header_len < 20 or header_len > len(packet):
            raise error(errno.EINVAL, "not an IP header")
        data = bytearray(path.template[: path.l3]) + packet
        l3 = path.l3
        if not any(packet[12:16]):
            data[l3 + 12 : l3 + 16] = path.src
        if not any(packet[4:6]):
            data[l3 + 4 : l3 + 6] = self.stack.ipv4.next_ident(path, packet[9]).to_bytes(2, "big")
        data[l3 + 2 : l3 + 4] = len(packet).to_bytes(2, "big")
        data[l3 + 10 : l3 + 12] = b"\0\0"
        data[l3 + 10 : l3 + 12] = checksum(data[l3 : l3 + header_len]).to_bytes(2, "big")
        path.output(Frame(data, (), len(data), l3 > 0), now)

    def bind(self, addr: SockAddr) -> None:
        self.check_open()
        address, port = self.parse_address(addr)
        link = self.link_of(addr, address, "binding to") if len(address) == 16 else None
        self.check_local(address)
        self.local = (address, port)
        self.bound_device = link or self.bound_device

    def connect(self, addr: SockAddr | None, now: int) -> None:
        self.check_open()
        if addr is None:
            self.remote = None
            return
        dst, port = self.parse_address(addr)
        source = self.local[0] if any(self.local[0]) else None
        link = self.link_of(addr, dst, "connecting to") if len(dst) == 16 else self.bound_device
        path = find_path(self.stack, dst, source, link, now)
        self.bound_device = link
        self.local = (path.src, self.local[1])
        self.remote = (path.dst, port)

    def shutdown(self, how: int, now: int) -> None:
        self.check_open()
        if not 0 <= how <= 2:
            raise error(errno.EINVAL)
        self.shutdown_mask |= (how + 1) & 3
        self.wake()
        if self.remote is None:
            raise error(errno.ENOTCONN)

    def close(self, now: int) -> None:
        if not self.closed:
            self.stack.raw.remove(self)
            self.closed = True
            self.queue.clear()

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
        return SOL_RAW

    def set_filter(self, code: bytes) -> None:
        self.filter = bpf.Filter(code) if code else None

    def filter_code(self) -> bytes:
        return self.filter.code if self.filter is not None else b""

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        six = self.family != AF_INET
        if six and level == SOL_ICMPV6 and self.proto != IPPROTO_ICMPV6:
            raise error(errno.EOPNOTSUPP, "not a socket of ICMPv6")
        own_header = (IPPROTO_IPV6, IPV6_HDRINCL) if six else (IPPROTO_IP, IP_HDRINCL)
        if (level, name) == own_header:
            self.header_included = bool(option_int(value))
        elif six and level in (IPPROTO_IPV6, SOL_RAW) and name == IPV6_CHECKSUM:
            at = option_int(value)
            if self.proto == IPPROTO_ICMPV6 or (at > 0 and at & 1):
                raise error(errno.EINVAL, "ICMPv6's checksum is where it is; others are at even places")
            self.checksum_at = max(at, -1)
        elif level == SOL_ICMPV6 and name == ICMP6_FILTER and self.proto == IPPROTO_ICMPV6:
            if isinstance(value, int):
                value = struct.pack("=i", value)
            self.icmp6_filter = bytes(value[:32]) + self.icmp6_filter[len(value) :]
        elif level == SOL_RAW and name == ICMP_FILTER and not six:
            if self.proto != IPPROTO_ICMP:
                raise error(errno.EOPNOTSUPP)
            new = struct.pack("=i", value) if isinstance(value, int) else value[:4]
            old = struct.pack("=I", self.icmp_filter)
            self.icmp_filter = int.from_bytes(new + old[len(new) :], "little")  # what is not given stays
        else:
            if six and level == SOL_RAW:
                option_int(value)  # its length is looked at first
            super().set_protocol_option(level, name, value)

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        if level == IPPROTO_IP and name == IP_HDRINCL and self.family == AF_INET:
            return int(self.header_included)
        if level == IPPROTO_IPV6 and name == IPV6_HDRINCL and self.family != AF_INET:
            return int(self.header_included)
        if level in (IPPROTO_IPV6, SOL_RAW) and name == IPV6_CHECKSUM and self.family != AF_INET:
            return self.checksum_at
        if level == SOL_ICMPV6 and name == ICMP6_FILTER and self.proto == IPPROTO_ICMPV6:
            return self.icmp6_filter
        if level == SOL_ICMPV6 and self.family != AF_INET and self.proto != IPPROTO_ICMPV6:
            raise error(errno.EOPNOTSUPP, "not a socket of ICMPv6")
        if level == SOL_RAW and name == ICMP_FILTER and self.family == AF_INET:
            if self.proto != IPPROTO_ICMP:
                raise error(errno.EOPNOTSUPP)
            return struct.pack("=I", self.icmp_filter)
        return super().get_protocol_option(level, name)
