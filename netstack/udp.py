"""UDP (RFC 768; RFC 1122 section 4.1): ports, and which socket a datagram or an ICMP error is for (`udpsocket.py`).

A datagram goes to the connected socket of its four-tuple, found by one lookup; else to the best of the sockets bound
to its port: the more of address and device a socket names, the better (Linux's compute_score), and among the equals
of a SO_REUSEPORT group the flow's hash decides. Broadcasts and multicasts go to every socket that matches.

ICMP errors about a socket's datagrams are its pending error when it is connected and the error is a hard one.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from csrc import ffi
from netstack import options
from netstack.address import is_link_local
from netstack.control import arrival, queue_icmp, wants_errors
from netstack.ethernet import HOST
from netstack.icmp import DEST_UNREACH, PORT_UNREACH, SOURCE_QUENCH, IcmpError
from netstack.icmpv6 import DEST_UNREACH as DEST_UNREACH6
from netstack.icmpv6 import PORT_UNREACH as PORT_UNREACH6
from netstack.route import Path, find_path
from netstack.socket import IP_PMTUDISC_DONT, SO_REUSEPORT, Socket, error, share_address

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.stack import Stack
    from netstack.udpsocket import UdpSocket

HEADER_LEN = 8
_buffer = ffi.buffer
PATHS_MAX = 1024


def pick_port(stack: Stack, sock: Socket, taken: Any) -> int:
    """A free ephemeral port (RFC 6056 algorithm 1: a random one, then upwards), or 0. `taken(port)` says if it is in
    use."""
    low, high = options.port_range(sock, *stack.settings.ip_local_port_range)
    count = high - low + 1
    start = stack.below(count)
    for step in range(count):
        port: int = low + (start + step) % count
        if not taken(port):
            return port
    return 0


class Udp:
    """Ports and demultiplexing of one stack."""

    __slots__ = ("_paths", "bound", "connected", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.bound: dict[int, list[UdpSocket]] = {}
        self.connected: dict[bytes, UdpSocket] = {}  # by key: local, remote, local port, remote port
        self._paths: dict[tuple[bytes, bytes | None, int], Path] = {}

    def forget_paths(self) -> None:
        self._paths.clear()

    def path(self, dst: bytes, src: bytes | None, interface: Interface | None, now: int) -> Path:
        """A path for one datagram; kept, since most go where the last one went."""
        key = (dst, src, interface.index if interface is not None else 0)
        path = self._paths.get(key)
        if path is not None and path.mtu < path.link_mtu:
            self.stack.routes.pmtu_of(dst, now)  # may have expired: that changes the generation
        if path is None or path.generation != self.stack.routes.generation:
            if len(self._paths) >= PATHS_MAX:
                self._paths.clear()
            path = self._paths[key] = find_path(self.stack, dst, src, interface, now)
        return path

    # Input.

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """One datagram whose header and checksum are good."""
        stack = self.stack
        pkt = stack.pkt
        if stack.kind != HOST:
            self._group_input(frame, interface)
            return
        n = 4 if pkt.ip_version == 4 else 16
        sock = self.connected.get(_buffer(pkt.key, pkt.key_len)[:])
        if sock is None or (sock.bound_device is not None and sock.bound_device is not interface):
            sock = self._best(stack.dst16[:n], stack.src16[:n], pkt.dport, pkt.sport, interface)
        if sock is None:
            stack.counters.reject.UdpNoPort += 1
            if n == 4:
                stack.counters.udp.NoPorts += 1
                stack.icmp.send_error(frame, interface, DEST_UNREACH, PORT_UNREACH, 0, now)
            else:
                stack.counters.udp6.NoPorts += 1
                stack.icmp6.send_error(frame, interface, DEST_UNREACH6, PORT_UNREACH6, 0, now)
            return
        payload = bytes(frame.data[pkt.payload : pkt.payload + pkt.payload_len])
        src = stack.src16[:n]
        if sock.filter is not None:
            kept = sock.filter.of_datagram(stack, frame, interface, payload)
            if kept is None:
                return
            payload = kept
        sock.deliver(payload, source_of(src, pkt.sport, interface), arrival(sock, stack, interface, stack.dst16[:n]))

    def _group_input(self, frame: Frame, interface: Interface) -> None:
        stack = self.stack
        pkt = stack.pkt
        n = 4 if pkt.ip_version == 4 else 16
        dst, src = stack.dst16[:n], stack.src16[:n]
        payload = bytes(frame.data[pkt.payload : pkt.payload + pkt.payload_len])
        sport = pkt.sport
        takers = [s for s in self.bound.get(pkt.dport, ()) if s.score(dst, src, sport, interface, True) >= 0]
        if not takers:
            counters: Any = stack.counters.udp if n == 4 else stack.counters.udp6
            counters.IgnoredMulti += 1
            stack.counters.reject.UdpNoPort += 1
        for sock in takers:
            if sock.filter is not None:
                kept = sock.filter.of_datagram(stack, frame, interface, payload)
                if kept is not None:
                    sock.deliver(kept, source_of(src, sport, interface), arrival(sock, stack, interface, dst))
                continue
            sock.deliver(payload, source_of(src, sport, interface), arrival(sock, stack, interface, dst))

    def _best(self, dst: bytes, src: bytes, dport: int, sport: int, interface: Interface) -> UdpSocket | None:
        best: UdpSocket | None = None
        group: list[UdpSocket] = []
        high = -1
        for sock in self.bound.get(dport, ()):
            score = sock.score(dst, src, sport, interface, False)
            if score > high or (score == high >= 0 and not sock.flags.get(SO_REUSEPORT)):
                best, high, group = sock, score, [sock]
            elif score == high and score >= 0:
                group.append(sock)
        if len(group) > 1 and best is not None and best.flags.get(SO_REUSEPORT):
            members = [s for s in group if s.flags.get(SO_REUSEPORT)]
            flow = dst + src + dport.to_bytes(2, "big") + sport.to_bytes(2, "big")
            return members[hash_flow(flow) % len(members)]
        return best

    def sender(self, error_in: IcmpError) -> UdpSocket | None:
        """Whose datagram it is that is quoted."""
        sock = self.connected.get(error_in.key)
        if sock is None:
            sport, dport = int.from_bytes(error_in.l4[0:2], "big"), int.from_bytes(error_in.l4[2:4], "big")
            candidates = [s for s in self.bound.get(sport, ()) if s.takes(error_in.src)]
            sock = next((s for s in candidates if s.remote in (None, (error_in.dst, dport))), None)
        return sock

    def icmp_error(self, error_in: IcmpError, now: int) -> bool:
        """An error about one of our datagrams. Whether a socket was found."""
        sock = self.sender(error_in)
        if sock is None:
            return False
        dport = int.from_bytes(error_in.l4[2:4], "big")
        if error_in.version == 4 and error_in.type == SOURCE_QUENCH:
            return True
        code, hard = error_in.errno, error_in.fatal
        if error_in.frag_needed:
            try:
                find_path(self.stack, error_in.dst, error_in.src, None, now).update_pmtu(error_in.mtu, now)
            except OSError:
                return True  # the route is gone, and with it the question
            hard = sock.mtu_discover(error_in.version) != IP_PMTUDISC_DONT
        if wants_errors(sock, error_in.version):
            queue_icmp(sock, error_in, HEADER_LEN, dport)
        elif hard and sock.remote is not None:
            sock.so_error = code
            sock.wake()
        return True

    # Ports.

    def bind(self, sock: UdpSocket, address: bytes, port: int) -> None:
        if port == 0:
            port = pick_port(self.stack, sock, lambda p: self._conflict(sock, address, p))
            if port == 0:
                raise error(errno.EADDRINUSE, "no ephemeral port is free")
        elif self._conflict(sock, address, port):
            raise error(errno.EADDRINUSE, f"UDP port {port} is in use")
        sock.local = (address, port)
        self.bound.setdefault(port, []).append(sock)

    def _conflict(self, sock: UdpSocket, address: bytes, port: int) -> bool:
        """Linux's udp_lib_lport_inuse."""
        for other in self.bound.get(port, ()):
            if other is sock or (other.reuse_addr and sock.reuse_addr):
                continue
            if other.bound_device is not None and sock.bound_device not in (None, other.bound_device):
                continue
            if not share_address(sock, address, other, other.local[0]):
                continue
            if other.flags.get(SO_REUSEPORT) and sock.flags.get(SO_REUSEPORT):
                continue
            return True
        return False

    def release(self, sock: UdpSocket) -> None:
        self.disconnect(sock)
        port = sock.local[1]
        socks = self.bound.get(port)
        if socks is not None and sock in socks:
            socks.remove(sock)
            if not socks:
                del self.bound[port]

    def connect(self, sock: UdpSocket) -> None:
        assert sock.remote is not None
        sock.key = sock.local[0] + sock.remote[0] + sock.local[1].to_bytes(2, "big") + sock.remote[1].to_bytes(2, "big")
        self.connected.setdefault(sock.key, sock)

    def disconnect(self, sock: UdpSocket) -> None:
        if self.connected.get(sock.key) is sock:
            del self.connected[sock.key]
            for other in self.bound.get(sock.local[1], ()):
                if other is not sock and other.key == sock.key:
                    self.connected[sock.key] = other
                    break
        sock.key = b""


def source_of(src: bytes, sport: int, interface: Interface) -> tuple[Any, ...]:
    """Where a datagram came from; of a link-local address also on which link."""
    if len(src) == 16 and is_link_local(src):
        return src, sport, interface.index
    return src, sport


def hash_flow(flow: bytes) -> int:
    """FNV-1a, folded: the same in every process."""
    value = 0x811C9DC5
    for octet in flow:
        value = (value ^ octet) * 0x01000193 & 0xFFFFFFFF
    return value ^ value >> 16
