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


def test_who_was_told_may_answer_before_it_is_acknowledged() -> None:
    """A connection begins in quick-ACK mode; where who is told runs a little later, the answer carries the ACK."""
    peer = Peer()
    sock = peer.accept()
    tcp = peer.stack.tcp
    tcp.told = []
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.silent()
    assert sock.recv(100, peer.now) and sock.send(b"answer", peer.now) == 6
    peer.drain()
    peer.recv("P. 1:7(6) ack 11")
    tcp.settle(peer.now)
    peer.drain()
    peer.silent()
    assert tcp.told is None


def test_what_is_not_answered_is_acknowledged_when_they_have_run() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.stack.tcp.told = []
    peer.send("P. 1:11(10) ack 1 win 512")
    assert sock.recv(100, peer.now)
    peer.drain()
    peer.silent()
    peer.stack.tcp.settle(peer.now)
    peer.drain()
    peer.recv(". 1:1(0) ack 11")


def test_what_is_due_at_once_does_not_wait_for_an_answer() -> None:
    """More than a segment; out of order; and what nobody else than the wire is to decide."""
    peer = Peer()
    peer.accept()
    peer.stack.tcp.told = []
    peer.send(f". 1:{1 + MSS}({MSS}) ack 1 win 512")
    peer.silent()
    peer.send(f". {1 + MSS}:{1 + 2 * MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {1 + 2 * MSS}")
    peer.send(f". {1 + 3 * MSS}:{1 + 4 * MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {1 + 2 * MSS}")
    peer.stack.tcp.settle(peer.now)
    peer.drain()
    peer.silent()


def test_where_a_path_has_lost_segments_none_waits_for_an_answer() -> None:
    """Each acknowledgment may be the only one that arrives."""
    peer = Peer()
    peer.accept()
    peer.stack.tcp.told = []
    peer.send(f". {1 + MSS}:{1 + 2 * MSS}({MSS}) ack 1 win 512")
    peer.recv(". 1:1(0) ack 1")
    peer.send(f". 1:{1 + MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {1 + 2 * MSS}")
    peer.send(f". {1 + 2 * MSS}:{1 + 3 * MSS}({MSS}) ack 1 win 512")
    peer.recv(f". 1:1(0) ack {1 + 3 * MSS}")


def test_data_with_the_last_ack_of_the_handshake_is_answered_at_once() -> None:
    """Whoever accepts when it is told, and reads, and answers: one segment."""
    peer = Peer()
    listener = peer.listen()
    held: list[Any] = []

    def accept(sock: Any) -> None:
        held.append(listener.accept(peer.now)[0])
        held[0].send(held[0].recv(100, peer.now), peer.now)

    listener.on_ready = accept
    peer.send("S 0:0(0) win 65535 <mss 1000,sackOK,nop,wscale 7>")
    peer.queue.clear()
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.recv("P. 1:11(10) ack 11")
    peer.silent()
    listener.on_ready = None
    peer.rport += 1
    peer.send("S 0:0(0) win 65535 <mss 1000,sackOK,nop,wscale 7>")
    peer.queue.clear()
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.recv(". 1:1(0) ack 11")
