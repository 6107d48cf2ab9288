"""When an acknowledgment goes out at once."""

from __future__ import annotations

from typing import Any

from tests.unit.netstack.tcp.kit import Peer

MSS = 1000


def filled(peer: Peer) -> tuple[Any, int]:
    """A connection whose reader is so far behind that the window cannot follow what comes; and where it is."""
    conn = peer.accept().conn
    at = 1
    while conn.rcv_wup + conn.rcv_wnd - conn.rcv_nxt > 4 * MSS:
        peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
        at += MSS
        if at > 30 * MSS and len(peer.queue) == 0:
            break
        peer.queue.clear()
    peer.wait(300)
    peer.queue.clear()
    return conn, at


def test_an_ack_that_would_not_move_the_window_waits() -> None:
    peer = Peer()
    conn, at = filled(peer)
    for _ in range(2):
        peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
        at += MSS
    assert not conn.rcv_ooopack
    peer.silent()


def test_where_segments_have_been_lost_it_does_not_wait() -> None:
    """RFC 5681 section 4.2: every second full-sized segment is acknowledged."""
    peer = Peer()
    conn, at = filled(peer)
    peer.send(f". {at + MSS}:{at + 2 * MSS}({MSS}) ack 1 win 512")
    peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
    at += 2 * MSS
    peer.wait(300)
    assert conn.rcv_ooopack == 1
    peer.queue.clear()
    peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
    peer.silent()
    peer.send(f". {at + MSS}:{at + 2 * MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {at + 2 * MSS}")


def test_the_more_comes_in_a_round_trip_the_more_one_acknowledgment_says() -> None:
    """A sixteenth of it, where that is more than two segments."""
    peer = Peer()
    conn, at = filled(peer)
    peer.send(f". {at + MSS}:{at + 2 * MSS}({MSS}) ack 1 win 512")
    peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
    at += 2 * MSS
    peer.wait(300)
    peer.queue.clear()
    conn.rcvq_space = 48 * MSS
    for _ in range(3):
        peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
        at += MSS
        peer.silent()
    peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {at + MSS}")
