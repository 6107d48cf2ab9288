"""What a socket keeps from its TCP is counted, and costs nothing where no socket asks for it. What Linux does:
`tests/conformance/tcp/min-*.pkt`, `tests/conformance/kernel/programs/96_stream_filters.py`."""

from __future__ import annotations

import struct

from netstack.icmp import IcmpError
from netstack.socket import IP_MINTTL, IPPROTO_IP, SO_ERROR, SOL_SOCKET
from tests.unit.netstack.tcp.kit import LOCAL, MASK, REMOTE, Peer

SO_ATTACH_FILTER = 26


def test_nobody_looks_until_a_socket_asks() -> None:
    peer = Peer()
    sock = peer.accept()
    assert not peer.stack.tcp.screens and not peer.stack.raw.ahead
    sock.setsockopt(IPPROTO_IP, IP_MINTTL, 0)
    assert not peer.stack.tcp.screens
    sock.setsockopt(IPPROTO_IP, IP_MINTTL, 1)
    sock.setsockopt(IPPROTO_IP, IP_MINTTL, 2)
    assert peer.stack.tcp.screens and peer.stack.raw.ahead == 1 and not peer.stack.raw.count


def test_a_smaller_ttl_is_dropped_and_counted() -> None:
    """The peer's segments have a TTL of 64."""
    peer = Peer()
    sock = peer.accept()
    for least, taken in ((65, 0), (64, 10)):
        sock.setsockopt(IPPROTO_IP, IP_MINTTL, least)
        peer.send("P. 1:11(10) ack 1 win 512")
        assert len(sock.recv(100, peer.now) if taken else b"") == taken
        assert peer.stack.counters.tcpext.TCPMinTTLDrop == 1
    assert peer.stack.counters.tcp.InSegs == 4
    sock.send(b"x", peer.now)
    quoted = struct.pack(">HHI", peer.lport, peer.rport, (1 + peer.local_isn) & MASK)
    for ttl, error in ((63, 0), (64, 113)):
        peer.stack.tcp.icmp_error(IcmpError(4, 3, 1, LOCAL, REMOTE, 6, quoted, 0, REMOTE, ttl), peer.now)
        assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == error
    assert peer.stack.counters.tcpext.TCPMinTTLDrop == 2


def test_what_a_filter_drops_is_counted() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("=HBBI", 6, 0, 0, 0))
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.silent()
    assert peer.stack.counters.reject.SocketFilter == 1 and peer.stack.counters.tcp.InSegs == 3
    sock.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("=HBBI", 6, 0, 0, 24))
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.recv(". 1:1(0) ack 5")
    assert sock.recv(100, peer.now) == bytes(range(1, 5))
