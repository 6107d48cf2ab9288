"""When an acknowledgment goes out at once."""

from __future__ import annotations

from typing import Any

import pytest

from netstack.tcp import delack
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
    """RFC 5681 section 4.2: every second full-sized segment is acknowledged, where frames come in batches."""
    peer = Peer()
    peer.stack.tcp.batch = True
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


def lossy(space: int) -> tuple[Peer, Any, int]:
    """A connection that has seen a segment come out of order, and so much come in a round trip, in batches."""
    peer = Peer()
    peer.stack.tcp.batch = True
    conn, at = filled(peer)
    peer.send(f". {at + MSS}:{at + 2 * MSS}({MSS}) ack 1 win 512")
    peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
    peer.wait(150)
    peer.queue.clear()
    conn.rcvq_space = space
    conn.rcv_wnd += 40 * MSS
    conn.rcvbuf += 100 * MSS
    return peer, conn, at + 2 * MSS


def come(peer: Peer, at: int, count: int) -> tuple[int, list[int]]:
    """So many segments in one instant: where they end, and what is acknowledged of them."""
    acks = []
    for _ in range(count):
        peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512")
        at += MSS
        acks += [seen.ack for _, seen in peer.queue]
        peer.queue.clear()
    return at, acks


def test_the_more_comes_in_a_round_trip_the_more_one_acknowledgment_says() -> None:
    """A sixteenth of it, where that is more than two segments; but the first two of a batch at once."""
    peer, _, at = lossy(48 * MSS)
    end, acks = come(peer, at, 2 + 4 + 4)
    assert acks == [at + 2 * MSS, at + 6 * MSS, end]


def test_a_batch_has_two_acknowledgments() -> None:
    """One for the whole of it, and the path loses that: then the peer has nothing to go by but a timer."""
    peer, conn, at = lossy(480 * MSS)
    for count in (5, 3, 12):
        end, acks = come(peer, at, count)
        assert acks == [at + 2 * MSS]
        delack.after_read(conn, MSS, peer.now)
        peer.drain()
        assert [seen.ack for _, seen in peer.queue] == [end]
        peer.queue.clear()
        peer.wait(1)
        at = end


def test_where_nothing_was_lost_one_acknowledgment_is_enough() -> None:
    peer = Peer()
    conn, at = filled(peer)
    conn.rcvq_space = 480 * MSS
    assert come(peer, at, 5)[1] == []


def test_a_batch_with_one_acknowledgment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(delack, "early", lambda c, ahead, now: ahead > c.rcvq_space >> 4)
    with pytest.raises(AssertionError):
        test_a_batch_has_two_acknowledgments()
