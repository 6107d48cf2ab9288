"""One rule, one timeline: what is sent, and what must come back, with explicit times."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from netstack.socket import SO_ERROR, SO_KEEPALIVE, SO_LINGER, SOL_SOCKET
from netstack.tcp import fsm, tcb
from netstack.tcp.sockopt import (
    SOL_TCP,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
    TCP_USER_TIMEOUT,
)  # fmt: skip
from tests.unit.netstack.tcp.kit import MASK, Peer

LINUX = {"net__ipv4__tcp_early_retrans": 0}


def refuses(code: int, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == code, caught.value


# Handshakes.


def test_syn_is_retransmitted_linearly_then_backed_off() -> None:
    peer = Peer(net__ipv4__tcp_syn_retries=2, net__ipv4__tcp_syn_linear_timeouts=2)
    sock = peer.connect()
    peer.recv("S 0:0(0) <mss 1460,sackOK,TS>", at=0)
    peer.wait(200_000)
    for at in (1000, 2000, 3000, 5000):
        peer.recv("S 0:0(0)", at=at)
    peer.silent()
    assert sock.state == tcb.CLOSED
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ETIMEDOUT


def test_refused() -> None:
    peer = Peer()
    sock = peer.connect()
    peer.recv("S 0:0(0)")
    refuses(errno.EALREADY, sock.connect, ("10.0.0.2", peer.rport), peer.now)
    peer.send("R. 0:0(0) ack 1")
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ECONNREFUSED


@pytest.mark.parametrize("bad", ["R 0:0(0)", "R. 0:0(0) ack 7", ". 5:5(0) ack 0", ". 5:5(0) ack 2", "S. 0:0(0) ack 9"])
def test_syn_sent_ignores_what_is_not_for_it(bad: str) -> None:
    """3.10.7.3: an unacceptable ACK draws a RST unless it is one; a RST without an acceptable ACK is dropped."""
    peer = Peer()
    sock = peer.connect()
    peer.recv("S 0:0(0)")
    peer.send(bad)
    if "R" not in bad:
        assert peer.queue.pop(0)[1].flags == 4
    peer.silent()
    assert sock.state == tcb.SYN_SENT


def test_simultaneous_open() -> None:
    peer = Peer()
    sock = peer.connect()
    peer.recv("S 0:0(0)")
    peer.send("S 0:0(0) win 5000 <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    assert sock.state == tcb.SYN_RECEIVED
    peer.send(". 1:1(0) ack 1 win 5000")
    assert sock.state == tcb.ESTABLISHED
    assert sock.send(b"x" * 10, peer.now) == 10
    peer.drain()
    peer.recv("P. 1:11(10) ack 1")


def test_syn_sent_refuses_an_echo_that_its_syn_did_not_carry() -> None:
    """RFC 7323 section 3.2: SEG.TSecr lies between the SYN's TSval and now (and a tick before, as in Linux)."""
    peer = Peer()
    sock = peer.connect()
    sent = (peer.recv("S 0:0(0)").options["TS"][0] - peer.ts_base) & MASK
    peer.wait(100)
    for echo in (sent - 2, sent + 101):
        peer.send(f"S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 500 ecr {echo}>")
        peer.recv("R 1:1(0)")
        peer.send(f"R. 0:0(0) ack 1 <TS val 500 ecr {echo}>")
        peer.silent()
        assert sock.state == tcb.SYN_SENT
    peer.send(f"S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 500 ecr {sent}>")
    peer.recv(". 1:1(0) ack 1")
    assert sock.state == tcb.ESTABLISHED


def test_simultaneous_open_takes_no_ack_of_nothing() -> None:
    """3.10.7.4, fifth, SYN-RECEIVED: SND.UNA < SEG.ACK, or a RST. (Linux takes one that acknowledges nothing.)"""
    peer = Peer()
    sock = peer.connect()
    peer.recv("S 0:0(0)")
    peer.send("S 0:0(0) win 5000 <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    peer.send(". 1:1(0) ack 0 win 5000")
    peer.recv("R 0:0(0)")
    peer.silent()
    assert sock.state == tcb.SYN_RECEIVED


def test_nobody_listens() -> None:
    peer = Peer()
    peer.send("S 0:0(0)")
    peer.recv("R. 0:0(0) ack 1 win 0")
    peer.send("R 5:5(0)")
    peer.silent()
    peer.local_isn = 0
    peer.send(". 5:5(0) ack 77")
    assert peer.queue.pop(0)[1].raw_seq == 77


def test_syn_ack_is_retransmitted() -> None:
    peer = Peer(net__ipv4__tcp_synack_retries=2)
    peer.listen()
    peer.mark()
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1", at=0)
    peer.wait(100_000)
    peer.recv("S. 0:0(0) ack 1", at=1000)
    peer.recv("S. 0:0(0) ack 1", at=3000)
    peer.silent()
    assert not peer.stack.tcp.table


def test_syn_received_wants_its_ack() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    peer.send(". 1:1(0) ack 5")
    assert peer.queue.pop(0)[1].flags == 4
    peer.send("R 1:1(0)")
    refuses(errno.EAGAIN, listener.accept, peer.now)
    assert not peer.stack.tcp.table


def test_defer_accept_waits_for_data() -> None:
    peer = Peer()
    listener = peer.listen()
    listener.setsockopt(SOL_TCP, TCP_DEFER_ACCEPT, 3)
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    peer.send(". 1:1(0) ack 1")
    refuses(errno.EAGAIN, listener.accept, peer.now)
    peer.send("P. 1:11(10) ack 1")
    sock, _ = listener.accept(peer.now)
    assert len(sock.recv(100, peer.now)) == 10


def test_full_accept_queue_drops_the_ack() -> None:
    peer = Peer()
    listener = peer.listen(backlog=0)
    for port in (1000, 1001):
        peer.rport = port
        peer.send("S 0:0(0) <mss 1000>")
        if port == 1000:
            peer.recv("S. 0:0(0) ack 1")
            peer.send(". 1:1(0) ack 1")
    assert listener.accept(peer.now)
    assert peer.stack.counters.tcpext.ListenOverflows == 1


def test_syn_cookies_carry_the_connection() -> None:
    peer = Peer(net__ipv4__tcp_syncookies=2)
    listener = peer.listen()
    peer.send("S 0:0(0) <mss 1400,sackOK,TS val 7 ecr 0,nop,wscale 5>")
    seen = peer.recv("S. 0:0(0) ack 1 <mss 1460,sackOK,TS>")
    assert not peer.stack.tcp.table, "a cookie keeps no state"
    peer.ts_base = seen.options["TS"][0] - 1
    peer.send("P. 1:6(5) ack 1 win 99 <nop,nop,TS val 8 ecr 1>")
    sock, _ = listener.accept(peer.now)
    assert sock.recv(10, peer.now) == bytes(range(1, 6))
    assert sock.conn.sack_ok and sock.conn.snd_wscale == 5 and sock.conn.mss_clamp == 1300
    peer.rport += 1
    peer.queue.clear()
    peer.send(". 1:1(0) ack 1")
    assert peer.queue.pop(0)[1].flags == 4, "a forged cookie draws a RST"


# Sequence numbers, RST and SYN (RFC 5961).


def test_rst_in_window_is_challenged_exact_resets() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("R 2:2(0)")
    peer.recv(". 1:1(0) ack 1")
    assert sock.state == tcb.ESTABLISHED
    peer.send("R 70000:70000(0)")
    peer.silent()
    peer.send("R 1:1(0)")
    refuses(errno.ECONNRESET, sock.recv, 10, peer.now)
    assert sock.recv(10, peer.now) == b""


def test_syn_in_a_connection_is_challenged() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("S 1:1(0)")
    peer.recv(". 1:1(0) ack 1")
    peer.send("S 1:1(0)")
    peer.silent()  # limited
    peer.wait(600)
    peer.send("S 1:1(0)")
    peer.recv(". 1:1(0) ack 1")
    assert sock.state == tcb.ESTABLISHED


def test_ack_of_the_future_is_challenged() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("P. 1:11(10) ack 1000")
    peer.recv(". 1:1(0) ack 1")
    refuses(errno.EAGAIN, sock.recv, 10, peer.now)


def test_below_the_window_is_acknowledged_and_dropped() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("P. 1:11(10) ack 1")
    peer.recv(". 1:1(0) ack 11")
    peer.send("P. 1:11(10) ack 1")
    peer.recv(". 1:1(0) ack 11 <sack 1:11>")
    assert len(sock.recv(100, peer.now)) == 10


def test_paws_discards_the_past() -> None:
    peer = Peer()
    sock = peer.accept_ts()
    peer.send("P. 1:11(10) ack 1 win 512 <nop,nop,TS val 300 ecr 1>")
    peer.recv(". 1:1(0) ack 11 <TS>")
    peer.send("P. 11:21(10) ack 1 win 512 <nop,nop,TS val 298 ecr 1>")
    peer.recv(". 1:1(0) ack 11")
    assert len(sock.recv(100, peer.now)) == 10
    assert peer.stack.counters.tcpext.PAWSEstab == 1


def test_without_the_paws_check_the_past_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above."""
    monkeypatch.setattr(fsm, "paws_ok", lambda *args: True)
    with pytest.raises(AssertionError):
        test_paws_discards_the_past()


# Sending.


def test_initial_window_and_slow_start() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.send(bytes(40_000), peer.now)
    peer.drain()
    ends = [seen.end for _, seen in peer.queue]
    assert ends[-1] == 10_001
    peer.queue.clear()
    peer.wait(100)
    peer.send(". 1:1(0) ack 2001 win 512")
    assert peer.queue[-1][1].end == 14_001
    assert sock.info(peer.now).tcpi_snd_cwnd == 12


def test_nagle_holds_the_second_small_segment() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.send(bytes(400), peer.now)
    sock.send(bytes(300), peer.now)
    peer.drain()
    peer.recv("P. 1:401(400) ack 1")
    peer.silent()
    peer.send(". 1:1(0) ack 401 win 512")
    peer.recv("P. 401:701(300) ack 1")


def test_nodelay_does_not() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_TCP, TCP_NODELAY, 1)
    sock.send(bytes(400), peer.now)
    sock.send(bytes(300), peer.now)
    peer.drain()
    peer.recv("P. 1:401(400) ack 1")
    peer.recv("P. 401:701(300) ack 1")


def test_cork_fills_segments_and_is_let_go_after_200_ms() -> None:
    peer = Peer(**LINUX)
    sock = peer.accept(rtt=10)
    sock.setsockopt(SOL_TCP, TCP_CORK, 1)
    sock.send(bytes(600), peer.now)
    sock.send(bytes(600), peer.now)
    peer.drain()
    peer.recv(". 1:1001(1000) ack 1")
    peer.silent()
    peer.send(". 1:1(0) ack 1001 win 512")
    peer.silent()
    peer.wait(400)
    peer.recv("P. 1001:1201(200) ack 1")


def test_zero_window_is_probed_with_backoff() -> None:
    peer = Peer(**LINUX)
    sock = peer.accept(win=0)
    sock.send(bytes(100), peer.now)
    peer.drain()
    peer.silent()
    peer.wait(2200)
    peer.recv(". 0:0(0) ack 1", at=300)
    peer.recv(". 0:0(0) ack 1", at=900)
    peer.recv(". 0:0(0) ack 1", at=2100)
    peer.send(". 1:1(0) ack 1 win 10")
    peer.recv("P. 1:101(100) ack 1")


def test_window_is_obeyed() -> None:
    peer = Peer()
    sock = peer.accept(syn="S 0:0(0) win 65535 <mss 1000>", win=2000)
    sock.send(bytes(5000), peer.now)
    peer.drain()
    assert peer.queue[-1][1].end == 2001


# Acknowledging.


def test_delayed_ack_after_quick_acks() -> None:
    peer = Peer(terrella__tcp_quickack_segs=1)
    sock = peer.accept()
    peer.send("P. 1:101(100) ack 1")
    peer.recv(". 1:1(0) ack 101")
    for n in range(6):
        peer.send(f"P. {101 + 10 * n}:{111 + 10 * n}(10) ack 1")
        peer.wait(100)
    assert len(sock.recv(1000, peer.now)) == 160
    whens = [(when - peer.zero) // 1_000_000 for when, seen in peer.queue]
    assert any(when % 100 in (40, 80) for when in whens), whens


def test_out_of_order_is_sacked_newest_first() -> None:
    peer = Peer(net__ipv4__tcp_comp_sack_nr=0)
    peer.accept()
    peer.send(". 1001:2001(1000) ack 1")
    peer.recv(". 1:1(0) ack 1 <sack 1001:2001>")
    peer.send(". 3001:4001(1000) ack 1")
    peer.recv(". 1:1(0) ack 1 <sack 3001:4001 1001:2001>")
    peer.send(". 5001:6001(1000) ack 1")
    peer.recv(". 1:1(0) ack 1 <sack 5001:6001 3001:4001 1001:2001>")
    peer.send(". 2001:3001(1000) ack 1")
    peer.recv(". 1:1(0) ack 1 <sack 1001:4001 5001:6001>")
    peer.send(". 1:1001(1000) ack 1")
    peer.recv(". 1:1(0) ack 4001 <sack 5001:6001>")
    peer.send(". 4001:5001(1000) ack 1")
    peer.recv(". 1:1(0) ack 6001 <nosack>")


# Recovery.


def test_third_duplicate_retransmits_and_reduces() -> None:
    peer = Peer(net__ipv4__tcp_congestion_control="cubic", **LINUX)
    sock = peer.accept(syn="S 0:0(0) win 65535 <mss 1000>", win=65535)
    sock.send(bytes(10_000), peer.now)
    peer.drain()
    peer.queue.clear()
    peer.wait(100)
    for _ in range(2):
        peer.send(". 1:1(0) ack 1 win 65535")
    peer.silent()
    peer.send(". 1:1(0) ack 1 win 65535")
    peer.recv(". 1:1001(1000) ack 1")
    info = sock.info(peer.now)
    assert (info.tcpi_ca_state, info.tcpi_snd_ssthresh) == (tcb.CA_RECOVERY, 7)
    peer.wait(100)
    peer.send(". 1:1(0) ack 3001 win 65535")
    peer.recv(". 3001:4001(1000) ack 1")
    peer.wait(100)
    peer.send(". 1:1(0) ack 10001 win 65535")
    assert sock.info(peer.now).tcpi_unacked == 0


def test_sack_recovery_retransmits_the_holes_only() -> None:
    peer = Peer(**LINUX)
    sock = peer.accept()
    sock.send(bytes(10_000), peer.now)
    peer.drain()
    peer.queue.clear()
    peer.wait(100)
    peer.send(". 1:1(0) ack 1 win 512 <nop,nop,sack 1001:2001>")
    peer.send(". 1:1(0) ack 1 win 512 <nop,nop,sack 1001:3001>")
    peer.silent()
    peer.send(". 1:1(0) ack 1 win 512 <nop,nop,sack 1001:4001>")
    peer.recv(". 1:1001(1000) ack 1")
    peer.wait(100)
    peer.send(". 1:1(0) ack 10001 win 512")
    info = sock.info(peer.now)
    assert info.tcpi_total_retrans == 1 and info.tcpi_snd_ssthresh == 5
    assert info.tcpi_snd_cwnd == 6, "ssthresh, and the ACK that ends recovery counts for congestion avoidance"


def test_tail_loss_probe() -> None:
    """RFC 8985 section 7: two round trips after the last segment, it is sent again."""
    peer = Peer()
    sock = peer.accept()
    sock.send(bytes(3000), peer.now)
    peer.drain()
    peer.queue.clear()
    peer.wait(210)
    peer.recv("P. 2001:3001(1000) ack 1", at=202)
    assert peer.stack.counters.tcpext.TCPLossProbes == 1


def test_timeout_backs_off_and_sends_only_the_first() -> None:
    peer = Peer(**LINUX)
    sock = peer.accept()
    sock.send(bytes(3000), peer.now)
    peer.drain()
    peer.queue.clear()
    peer.wait(2200)
    peer.recv(". 1:1001(1000) ack 1", at=300)
    peer.recv(". 1:1001(1000) ack 1", at=900)
    peer.recv(". 1:1001(1000) ack 1", at=2100)
    peer.silent()
    assert sock.info(peer.now).tcpi_snd_cwnd == 1


def test_spurious_timeout_is_undone() -> None:
    """F-RTO (RFC 5682): the ACKs after the timeout are for the originals."""
    peer = Peer(**LINUX)
    sock = peer.accept()
    sock.send(bytes(20_000), peer.now)
    peer.drain()
    peer.queue.clear()
    peer.wait(310)
    peer.recv(". 1:1001(1000) ack 1")
    assert sock.info(peer.now).tcpi_snd_cwnd == 1
    peer.send(". 1:1(0) ack 1001 win 512")
    peer.send(". 1:1(0) ack 2001 win 512")
    info = sock.info(peer.now)
    assert info.tcpi_ca_state == tcb.CA_OPEN and info.tcpi_snd_cwnd >= 10
    assert peer.stack.counters.tcpext.TCPSpuriousRTOs == 1


def test_user_timeout() -> None:
    peer = Peer(**LINUX)
    sock = peer.accept()
    sock.setsockopt(SOL_TCP, TCP_USER_TIMEOUT, 1000)
    sock.send(bytes(100), peer.now)
    peer.wait(5000)
    refuses(errno.ETIMEDOUT, sock.recv, 10, peer.now)


def test_keepalive() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_TCP, TCP_KEEPIDLE, 10)
    sock.setsockopt(SOL_TCP, TCP_KEEPINTVL, 2)
    sock.setsockopt(SOL_TCP, TCP_KEEPCNT, 2)
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    peer.wait(20_000)
    peer.recv(". 0:0(0) ack 1", at=10_000)
    peer.recv(". 0:0(0) ack 1", at=12_000)
    peer.recv("R. 1:1(0) ack 1", at=14_000)
    refuses(errno.ETIMEDOUT, sock.recv, 10, peer.now)


# Closing.


def test_close_with_unread_data_resets() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("P. 1:11(10) ack 1")
    peer.recv(". 1:1(0) ack 11")
    sock.close(peer.now)
    peer.drain()
    peer.recv("R. 1:1(0) ack 11")
    assert not peer.stack.tcp.table


def test_linger_zero_resets() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("=ii", 1, 0))
    sock.close(peer.now)
    peer.drain()
    peer.recv("R. 1:1(0) ack 1")


def test_active_close_and_time_wait() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 1")
    peer.send(". 1:1(0) ack 2")
    peer.send("F. 1:1(0) ack 2")
    peer.recv(". 2:2(0) ack 2")
    peer.send("F. 1:1(0) ack 2")
    peer.recv(". 2:2(0) ack 2")
    assert len(peer.stack.tcp.table) == 1
    peer.wait(59_000)
    assert len(peer.stack.tcp.table) == 1
    peer.wait(2_000)
    assert not peer.stack.tcp.table


def test_simultaneous_close() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 1")
    peer.send("F. 1:1(0) ack 1")
    peer.recv(". 2:2(0) ack 2")
    peer.send(". 2:2(0) ack 2")
    peer.wait(61_000)
    peer.silent()
    assert not peer.stack.tcp.table


def test_passive_close() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("F. 1:1(0) ack 1")
    peer.wait(40)
    peer.recv(". 1:1(0) ack 2")
    assert sock.recv(10, peer.now) == b""
    assert sock.state == tcb.CLOSE_WAIT
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 2")
    peer.send(". 2:2(0) ack 2")
    assert not peer.stack.tcp.table


def test_data_after_close_is_refused() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 1")
    peer.send(". 1:1(0) ack 2")
    peer.send("P. 1:11(10) ack 2")
    assert peer.queue.pop(0)[1].flags & 4
    assert not peer.stack.tcp.table


def test_time_wait_gives_way_to_a_newer_syn() -> None:
    peer = Peer()
    peer.listen()
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    peer.send(". 1:1(0) ack 1")
    listener = peer.stack.tcp.listeners[80][0].sock
    sock, _ = listener.accept(peer.now)
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 1")
    peer.send("F. 1:1(0) ack 2")
    peer.recv(". 2:2(0) ack 2")
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv(". 2:2(0) ack 2")
    peer.remote_isn += 5000
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")


def test_urgent_data() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("PU. 1:11(10) ack 1 urg 5")
    assert sock.readiness() & 2
    assert sock.recv(100, peer.now, 1) == bytes([5])
    assert sock.recv(100, peer.now) == bytes([1, 2, 3, 4])
    assert sock.recv(100, peer.now) == bytes([6, 7, 8, 9, 10])


def test_ecn_is_echoed_until_cwr() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.send("SEW 0:0(0) win 65535 <mss 1000,sackOK,nop,wscale 7>")
    peer.recv("S.E 0:0(0) ack 1")
    peer.send(". 1:1(0) ack 1 win 512")
    sock, _ = listener.accept(peer.now)
    peer.send("P. 1:101(100) ack 1 win 512 ce")
    peer.recv(".E 1:1(0) ack 101")
    sock.send(bytes(1000), peer.now)
    peer.drain()
    assert peer.recv("P.E 1:1001(1000) ack 101").tos & 3 == 2
    peer.send("P.W 101:201(100) ack 1001 win 512 ect0")
    peer.recv(". 1001:1001(0) ack 201")


def test_every_transition_is_one_of_the_rfcs() -> None:
    """Figure 5 of RFC 9293: the edges of the table are among those drawn (and resets, timeouts and aborts)."""
    drawn = {
        (tcb.CLOSED, tcb.LISTEN), (tcb.CLOSED, tcb.SYN_SENT), (tcb.LISTEN, tcb.SYN_RECEIVED), (tcb.LISTEN, tcb.CLOSED),
        (tcb.SYN_SENT, tcb.SYN_RECEIVED), (tcb.SYN_SENT, tcb.ESTABLISHED), (tcb.SYN_SENT, tcb.CLOSED),
        (tcb.SYN_RECEIVED, tcb.ESTABLISHED), (tcb.SYN_RECEIVED, tcb.FIN_WAIT_1), (tcb.SYN_RECEIVED, tcb.CLOSE_WAIT),
        (tcb.ESTABLISHED, tcb.FIN_WAIT_1), (tcb.ESTABLISHED, tcb.CLOSE_WAIT), (tcb.FIN_WAIT_1, tcb.FIN_WAIT_2),
        (tcb.FIN_WAIT_1, tcb.CLOSING), (tcb.FIN_WAIT_2, tcb.TIME_WAIT), (tcb.CLOSING, tcb.TIME_WAIT),
        (tcb.CLOSE_WAIT, tcb.LAST_ACK), (tcb.LAST_ACK, tcb.CLOSED), (tcb.TIME_WAIT, tcb.CLOSED),
    }  # fmt: skip
    assert set(fsm.TRANSITIONS) == set(tcb.STATE_NAMES)
    for state, edges in fsm.TRANSITIONS.items():
        for event, target in edges.items():
            if event not in (fsm.RCV_RST, fsm.TIMEOUT, fsm.ABORT):
                assert (state, target) in drawn, (state, event, target)
