"""Connections asked for: SYN-ACKs that are sent for the first time share one timer, and none of them notices."""

from __future__ import annotations

from netstack.tcp.listener import Request
from tests.unit.netstack.tcp.kit import Peer

SYN = "S 0:0(0) win 65535 <mss 1000>"


def asks(peer: Peer, port: int) -> None:
    """A SYN from that port, and its SYN-ACK."""
    peer.rport = port
    peer.send(SYN)
    assert [seen.flags for _, seen in peer.queue] == [0x12]
    peer.queue.clear()


def resent(peer: Peer, ms: float) -> list[tuple[float, int]]:
    """When, in ms since the mark, a SYN-ACK went out again, and to which port."""
    peer.wait(ms)
    found = [((when - peer.zero) / 1e6, int.from_bytes(seen.image[22:24], "big")) for when, seen in peer.queue]
    assert all(seen.flags == 0x12 for _, seen in peer.queue)
    peer.queue.clear()
    return found


def test_each_is_sent_again_a_second_after_it_was_sent() -> None:
    peer = Peer()
    peer.listen()
    peer.mark()
    for port in (1001, 1002, 1003):
        asks(peer, port)
        peer.wait(100)
    assert resent(peer, 1500) == [(1000, 1001), (1100, 1002), (1200, 1003)]
    assert resent(peer, 2000) == [(3000, 1001), (3100, 1002), (3200, 1003)]  # RFC 6298 (5.5)


def test_those_that_were_answered_are_not() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.mark()
    asks(peer, 1001)
    asks(peer, 1002)
    first = peer.local_isn
    peer.wait(100)
    asks(peer, 1003)
    peer.rport, peer.local_isn = 1002, first
    peer.send(". 1:1(0) ack 1 win 512")
    assert listener.accept(peer.now)
    assert resent(peer, 1500) == [(1000, 1001), (1100, 1003)]


def test_a_syn_again_begins_the_second_anew() -> None:
    peer = Peer()
    peer.listen()
    peer.mark()
    asks(peer, 1001)
    peer.wait(600)
    peer.rport = 1001
    peer.send(SYN)
    peer.queue.clear()
    assert resent(peer, 1300) == [(1600, 1001)]


def test_nothing_is_left_of_those_that_are_over() -> None:
    peer = Peer()
    listener = peer.listen()
    armed = len(peer.stack.timers)
    for port in (1001, 1002):
        asks(peer, port)
        peer.send("R 1:1(0) win 0")
    assert peer.stack.next_deadline() is None and len(peer.stack.timers) == armed
    asks(peer, 1003)
    listener.close(peer.now)
    assert peer.stack.next_deadline() is None
    assert not [one for one in peer.stack.tcp.connections() if isinstance(one, Request)]


def test_how_many_wait_is_counted() -> None:
    peer = Peer(net__ipv4__tcp_syncookies=0)
    sock = peer.listen(backlog=2)
    for port in (1001, 1002, 1003):
        asks(peer, port)
    peer.rport = 1004
    peer.send(SYN)
    peer.silent()  # one more than the backlog may wait
    peer.rport = 1001
    peer.send("R 1:1(0) win 0")
    asks(peer, 1005)
    assert sock.listener.waiting == 3
    peer.wait(200_000)
    assert sock.listener.waiting == 0


def test_one_that_waits_less_long_does_not_wait_for_the_others() -> None:
    peer = Peer()
    peer.listen()
    peer.mark()
    asks(peer, 1001)
    peer.stack.settings.tcp_timeout_init_ms = 200
    asks(peer, 1002)
    assert resent(peer, 300) == [(200, 1002)]
