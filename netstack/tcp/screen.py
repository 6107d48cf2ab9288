"""What a socket keeps from its TCP: segments with a smaller TTL or hop limit than it wants (IP_MINTTL,
IPV6_MINHOPCOUNT; RFC 5082), and what its filter (SO_ATTACH_FILTER) drops or cuts.

As on Linux a listener decides on SYNs, and its filter alone on what comes for a request; TIME-WAIT takes everything.
A filter sees TCP's header, and leaves that whole. Nothing is looked at until a socket of the stack asks for it: from
then on segments go the long way, as they do where there are raw sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.socket import IPV6_MINHOPCOUNT

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.tcp.socket import TcpSocket


def least_ttl(sock: TcpSocket, version: int) -> int:
    return sock.ip_minttl if version == 4 else sock.ip6_flags.get(IPV6_MINHOPCOUNT, 0) if sock.ip6_flags else 0


def asked_for(sock: TcpSocket) -> None:
    """An option was set: perhaps one of these."""
    stack = sock.stack
    if not stack.tcp.screens and (sock.filter is not None or least_ttl(sock, 4) or least_ttl(sock, 6)):
        stack.tcp.screens = True
        stack.raw.ahead += 1


def holder(c: Any) -> TcpSocket | None:
    """Whose options hold for a connection or a request: its own socket's, before accept the listener's."""
    sock: TcpSocket | None = getattr(c, "sock", None)
    if sock is None and c.listener is not None:
        sock = c.listener.sock
    return sock


def takes(sock: TcpSocket, frame: Frame, interface: Interface, request: bool = False) -> bool:
    """Whether the socket takes the segment that was parsed last, which may be cut short."""
    stack = sock.stack
    pkt = stack.pkt
    if not request and pkt.ttl < least_ttl(sock, pkt.ip_version):
        stack.counters.tcpext.TCPMinTTLDrop += 1
        return False
    if sock.filter is not None:
        keep = sock.filter.of_packet(stack, frame, interface, pkt.l4)
        if not keep:
            stack.counters.reject.SocketFilter += 1
            return False
        text = max(keep - (pkt.payload - pkt.l4), 0)
        if text < pkt.payload_len:
            pkt.payload_len = text
    return True
