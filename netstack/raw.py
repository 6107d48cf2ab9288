"""Raw sockets (raw(7)): IP packets of one protocol, as they arrived and as they leave.

Each gets a copy of every packet of its protocol that this host accepts, after reassembly, with the IP header. What it
sends gets a header from the stack, unless it brings its own (IP_HDRINCL, or IPPROTO_RAW).
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from csrc import Frame
from netstack.address import AF_INET, is_multicast
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
    IP_RECVERR,
    IPPROTO_ICMP,
    IPPROTO_IP,
    IPPROTO_RAW,
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
OVERHEAD = 768


class Raw:
    """The raw sockets of one stack."""

    __slots__ = ("count", "sockets", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sockets: dict[int, list[RawSocket]] = {}
        self.count = 0

    def add(self, sock: RawSocket) -> None:
        self.sockets.setdefault(sock.proto, []).append(sock)
        self.count += 1

    def remove(self, sock: RawSocket) -> None:
        socks = self.sockets.get(sock.proto, [])
        if sock in socks:
            socks.remove(sock)
            self.count -= 1

    def input(self, frame: Frame, interface: Interface, now: int) -> bool:
        """Give a copy to every raw socket that matches; whether any did."""
        pkt = self.stack.pkt
        socks = self.sockets.get(pkt.proto)
        if not socks:
            return False
        src, dst = self.stack.src16[:4], self.stack.dst16[:4]
        l3 = pkt.l3
        packet = bytes(frame.data[l3 : l3 + pkt.l3_len])
        taken = False
        for sock in list(socks):
            if sock.matches(src, dst, interface):
                taken = True
                sock.deliver(packet, src)
        return taken

    def icmp_error(self, error_in: IcmpError, now: int) -> bool:
        found = False
        for sock in self.sockets.get(error_in.proto, ()):
            if sock.local[0] not in (bytes(4), error_in.src) or (
                sock.remote is not None and sock.remote[0] != error_in.dst
            ):
                continue
            found = True
            hard = error_in.fatal or (error_in.frag_needed and sock.ip_mtu_discover != IP_PMTUDISC_DONT)
            if sock.ip_flags.get(IP_RECVERR) or (hard and sock.remote is not None):
                sock.so_error = error_in.errno
                sock.wake()
        return found


class RawSocket(Socket):
    """A SOCK_RAW socket of one protocol."""

    __slots__ = ("header_included", "icmp_filter", "queue", "rmem")

    def __init__(self, stack: Stack, family: int, proto: int) -> None:
        super().__init__(stack, family, SOCK_RAW, proto)
        self.queue: deque[tuple[bytes, tuple[bytes, int]]] = deque()
        self.rmem = 0
        self.header_included = proto == IPPROTO_RAW
        self.icmp_filter = 0  # a set bit blocks that type
        stack.raw.add(self)

    def matches(self, src: bytes, dst: bytes, interface: Interface) -> bool:
        return (
            self.family == AF_INET
            and self.local[0] in (bytes(4), dst)
            and (self.remote is None or self.remote[0] == src)
            and (self.bound_device is None or self.bound_device is interface)
        )

    def deliver(self, packet: bytes, source: bytes) -> None:
        if self.proto == IPPROTO_ICMP and self.icmp_filter:
            header_len = (packet[0] & 0xF) * 4
            kind = packet[header_len] if len(packet) > header_len else 255
            if kind < 32 and self.icmp_filter >> kind & 1:
                return
        if self.rmem > self.rcvbuf:
            self.stack.counters.reject.RawRcvbuf += 1
            return
        self.rmem += len(packet) + OVERHEAD
        self.queue.append((packet, (source, 0)))
        self.wake()

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None, int, int]:
        """(packet from the IP header on, source, message flags, its whole length)."""
        self.check_open()
        if flags & MSG_OOB:
            raise error(errno.EOPNOTSUPP)
        if n < 0:
            raise error(errno.EINVAL)
        self.take_error()
        if not self.queue:
            if self.shutdown_mask & 1:
                return b"", None, 0, 0
            raise would_block("no packet waits")
        packet, source = self.queue[0]
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self.rmem -= len(packet) + OVERHEAD
        return packet[:n], self.format_address(source), MSG_TRUNC if len(packet) > n else 0, len(packet)

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        data, source, _, _ = self.recvmsg(n, now, flags)
        return data, source

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        return self.sendto(data, None, now, flags)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0) -> int:
        self.check_open()
        if len(data) > 65535:
            raise error(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise error(errno.EOPNOTSUPP)
        if addr is not None:
            dst = self.parse_address(addr)[0]
        elif self.remote is not None:
            dst = self.remote[0]
        else:
            raise error(errno.EDESTADDRREQ)
        self.take_error()
        if self.shutdown_mask & 2:
            raise error(errno.EPIPE)
        stack = self.stack
        if len(dst) != 4:
            raise error(errno.ENETUNREACH, "IPv6 is not built yet")
        if stack.is_broadcast(dst) and not self.flags.get(SO_BROADCAST):
            raise error(errno.EACCES, "SO_BROADCAST is not set")
        source = self.local[0] if any(self.local[0]) else None
        path = find_path(stack, dst, source, self.bound_device, now)
        if self.header_included:
            self._send_whole(bytes(data), path, now)
            return len(data)
        mode = self.ip_mtu_discover
        fits = len(data) + 20 <= path.mtu
        ttl = self.ip_flags.get(IP_MULTICAST_TTL, 1) if is_multicast(dst) else self.ttl
        stack.ipv4.send(
            path, self.proto, bytes(data), now, ttl, self.tos,
            dont_fragment=mode in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE) or (mode == IP_PMTUDISC_WANT and fits),
            may_fragment=mode not in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE),
        )  # fmt: skip
        return len(data)

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
        self.check_local(address)
        self.local = (address, port)

    def connect(self, addr: SockAddr | None, now: int) -> None:
        self.check_open()
        if addr is None:
            self.remote = None
            return
        dst, port = self.parse_address(addr)
        source = self.local[0] if any(self.local[0]) else None
        path = find_path(self.stack, dst, source, self.bound_device, now)
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
        if self.so_error:
            mask |= POLLERR
        if self.shutdown_mask & 1:
            mask |= POLLIN | POLLRDHUP
        if self.shutdown_mask == 3:
            mask |= POLLHUP
        return mask

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        if level == IPPROTO_IP and name == IP_HDRINCL:
            self.header_included = bool(option_int(value))
        elif level == SOL_RAW and name == ICMP_FILTER:
            if self.proto != IPPROTO_ICMP:
                raise error(errno.EOPNOTSUPP)
            self.icmp_filter = option_int(value) & 0xFFFFFFFF
        else:
            super().set_protocol_option(level, name, value)

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        if level == IPPROTO_IP and name == IP_HDRINCL:
            return int(self.header_included)
        if level == SOL_RAW and name == ICMP_FILTER:
            if self.proto != IPPROTO_ICMP:
                raise error(errno.EOPNOTSUPP)
            return struct.pack("=I", self.icmp_filter)
        return super().get_protocol_option(level, name)
