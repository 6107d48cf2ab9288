"""The user's side: errors, readiness and options as Linux gives them; ICMP errors; bounds."""

from __future__ import annotations

import errno
import gc
import struct
from typing import Any

import pytest

from netstack.icmp import IcmpError
from netstack.socket import MSG_PEEK, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SO_ERROR, SO_REUSEADDR, SOL_SOCKET
from netstack.tcp import congestion, info, tcb
from netstack.tcp.sockopt import (
    SOL_TCP,
    TCP_CONGESTION,
    TCP_DEFER_ACCEPT,
    TCP_INFO,
    TCP_KEEPIDLE,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_SYNCNT,
)  # fmt: skip
from tests.property.netstack.tcp.pair import MS, Pair, S
from tests.unit.netstack.tcp.kit import LOCAL, MASK, REMOTE, Peer


def refuses(code: int, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == code, caught.value


def test_calls_without_a_connection() -> None:
    peer = Peer()
    sock = peer.stack.socket(2, 1)
    refuses(errno.ENOTCONN, sock.recv, 10, 0)
    refuses(errno.EPIPE, sock.send, b"x", 0)
    refuses(errno.ENOTCONN, sock.shutdown, 1, 0)
    refuses(errno.ENOTCONN, sock.getpeername)
    refuses(errno.EINVAL, sock.accept, 0)
    assert sock.readiness() == POLLHUP | POLLOUT


def test_ports() -> None:
    peer = Peer()
    first, second = peer.stack.socket(2, 1), peer.stack.socket(2, 1)
    first.bind(("0.0.0.0", 80))
    refuses(errno.EINVAL, first.bind, ("0.0.0.0", 81))
    refuses(errno.EADDRINUSE, second.bind, ("10.0.0.1", 80))
    refuses(errno.EADDRNOTAVAIL, second.bind, ("10.9.9.9", 80))
    for sock in (first, second):
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    second.bind(("10.0.0.1", 80))
    first.listen(1)
    refuses(errno.EADDRINUSE, second.listen, 1)
    first.close(0)
    second.listen(1)
    third = peer.stack.socket(2, 1)
    third.bind(("10.0.0.1", 0))
    assert 32768 <= third.getsockname()[1] <= 60999


def test_readiness_follows_the_connection() -> None:
    pair = Pair()
    client, listener = pair.connect()
    woken: list[Any] = []
    listener.on_ready = woken.append
    assert client.readiness() == 0
    pair.run(50 * MS)
    assert client.readiness() == POLLOUT
    assert listener.readiness() == POLLIN and woken == [listener]
    server, address = listener.accept(pair.now)
    assert address == client.getsockname()
    client.send(b"x", pair.now)
    pair.run(50 * MS)
    assert server.readiness() == POLLIN | POLLOUT
    assert server.recv(10, pair.now, 2) == b"x"
    assert server.recv(10, pair.now) == b"x"
    client.shutdown(1, pair.now)
    pair.run(50 * MS)
    assert server.readiness() == POLLIN | POLLRDHUP | POLLOUT
    assert server.recv(10, pair.now) == b""
    refuses(errno.EPIPE, client.send, b"x", pair.now)
    refuses(errno.EISCONN, client.connect, ("10.0.0.2", 80), pair.now)


def test_reset_is_told_once() -> None:
    peer = Peer()
    sock = peer.accept()
    peer.send("R 1:1(0)")
    assert sock.readiness() & (POLLERR | POLLHUP) == POLLERR | POLLHUP
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ECONNRESET
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0
    refuses(errno.EPIPE, sock.send, b"x", peer.now)


def test_a_full_send_buffer_blocks_and_wakes() -> None:
    pair = Pair(10 * MS)
    client, server = pair.established()
    with pytest.raises(BlockingIOError):
        while True:
            client.send(bytes(50_000), pair.now)
    assert not client.readiness() & POLLOUT
    woken: list[Any] = []
    client.on_ready = woken.append
    for _ in range(200):
        pair.run(10 * MS)
        try:
            server.recv(1 << 20, pair.now)
        except BlockingIOError:
            pass
    assert woken and client.readiness() & POLLOUT


def test_options() -> None:
    peer = Peer()
    sock = peer.stack.socket(2, 1)
    sock.setsockopt(SOL_TCP, TCP_NODELAY, struct.pack("=i", 1))
    assert sock.getsockopt(SOL_TCP, TCP_NODELAY, 4) == struct.pack("=i", 1)
    for name, bad in ((TCP_MAXSEG, 7), (TCP_KEEPIDLE, 0), (TCP_SYNCNT, 200)):
        refuses(errno.EINVAL, sock.setsockopt, SOL_TCP, name, bad)
    refuses(errno.ENOPROTOOPT, sock.setsockopt, SOL_TCP, 999, 1)
    sock.setsockopt(SOL_TCP, TCP_DEFER_ACCEPT, 5)
    assert sock.getsockopt(SOL_TCP, TCP_DEFER_ACCEPT) == 7  # 1 + 2 + 4 seconds
    refuses(errno.ENOENT, sock.setsockopt, SOL_TCP, TCP_CONGESTION, b"nonesuch")
    for name in congestion.available():
        sock.setsockopt(SOL_TCP, TCP_CONGESTION, name.encode())
        assert sock.getsockopt(SOL_TCP, TCP_CONGESTION, 16).rstrip(b"\0").decode() == name  # type: ignore[union-attr]


def test_tcp_info_has_linuxs_layout() -> None:
    """Offsets of <linux/tcp.h>, 64-bit."""
    assert struct.calcsize(info.FORMAT) == 280
    offset = 0
    where = {}
    for name, code in info.FIELDS:
        where[name] = offset
        offset += struct.calcsize("=" + code)
    assert where["tcpi_rtt"] == 68 and where["tcpi_snd_cwnd"] == 80 and where["tcpi_pacing_rate"] == 104
    assert where["tcpi_delivery_rate"] == 160 and where["tcpi_bytes_sent"] == 200
    peer = Peer()
    sock = peer.accept()
    raw = sock.getsockopt(SOL_TCP, TCP_INFO)
    assert raw[0] == tcb.ESTABLISHED and struct.unpack_from("=I", raw, 80)[0] == 10
    assert struct.unpack_from("=I", raw, 68)[0] == 100_000


def error_about(peer: Peer, seq: int, type: int, code: int, mtu: int = 0) -> IcmpError:
    quoted = peer.lport.to_bytes(2, "big") + peer.rport.to_bytes(2, "big")
    quoted += ((seq + peer.local_isn) & MASK).to_bytes(4, "big")
    return IcmpError(4, type, code, LOCAL, REMOTE, 6, quoted, mtu, REMOTE)


def test_fragmentation_needed_is_validated_and_obeyed() -> None:
    """RFC 1191; RFC 5927 section 4.1: only about what is in flight."""
    peer = Peer()
    sock = peer.accept(syn="S 0:0(0) win 65535 <mss 1460,sackOK,nop,wscale 7>")
    sock.send(bytes(2920), peer.now)
    peer.drain()
    assert [seen.length for _, seen in peer.queue] == [1460, 1460]
    peer.queue.clear()
    peer.stack.tcp.icmp_error(error_about(peer, 50_000, 3, 4, 1000), peer.now)
    peer.drain()
    peer.silent()
    assert peer.stack.counters.tcpext.OutOfWindowIcmps == 1
    peer.stack.tcp.icmp_error(error_about(peer, 1, 3, 4, 1000), peer.now)
    peer.drain()
    assert peer.queue and all(seen.length <= 960 for _, seen in peer.queue)
    assert peer.queue[0][1].seq == 1
    for _ in range(20):
        end = max((seen.end for _, seen in peer.queue), default=2921)
        peer.queue.clear()
        peer.send(f". 1:1(0) ack {end} win 512")
    assert sock.info(peer.now).tcpi_unacked == 0 and sock.info(peer.now).tcpi_snd_mss == 960


def test_soft_errors_do_not_end_a_connection() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.send(b"x", peer.now)
    peer.stack.tcp.icmp_error(error_about(peer, 1, 3, 1), peer.now)
    assert sock.state == tcb.ESTABLISHED and not sock.so_error
    peer.wait(2_000_000)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EHOSTUNREACH


def test_unreachable_ends_an_attempt() -> None:
    peer = Peer()
    sock = peer.connect()
    peer.recv("S 0:0(0)")
    peer.stack.tcp.icmp_error(error_about(peer, 0, 3, 1), peer.now)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EHOSTUNREACH


def test_a_syn_flood_is_bounded_and_a_real_client_gets_in() -> None:
    peer = Peer()
    peer.listen(backlog=8)
    for port in range(2000, 2400):
        peer.rport = port
        peer.send("S 0:0(0) <mss 1000>")
    assert len(peer.stack.tcp.table) <= 9
    assert peer.stack.counters.tcpext.SyncookiesSent > 300
    peer.rport = 5000
    peer.queue.clear()
    peer.send("S 0:0(0) <mss 1000>")
    peer.recv("S. 0:0(0) ack 1")
    peer.send("P. 1:4(3) ack 1")
    sock, _ = peer.stack.tcp.listeners[80][0].sock.accept(peer.now)
    assert len(sock.recv(10, peer.now)) == 3


def test_closing_a_listener_resets_what_waits() -> None:
    pair = Pair()
    client, listener = pair.connect()
    pair.run(50 * MS)
    listener.close(pair.now)
    pair.run(50 * MS)
    refuses(errno.ECONNRESET, client.recv, 10, pair.now)
    pair.run(1 * S)
    assert not pair.stacks["b"].tcp.table and not pair.stacks["b"].tcp.bound


def test_small_writes_are_not_kept_one_by_one() -> None:
    peer = Peer()
    sock = peer.accept(win=0)
    for _ in range(1000):
        sock.send(b"x", peer.now)
    assert len(sock.conn.unsent) == 1


def test_many_connections_leave_nothing() -> None:
    pair = Pair(0)
    listener = pair.stacks["b"].socket(2, 1)
    listener.bind(("10.0.0.2", 7))
    listener.listen(16)
    for _ in range(50):
        client = pair.stacks["a"].socket(2, 1)
        with pytest.raises(BlockingIOError):
            client.connect(("10.0.0.2", 7), pair.now)
        pair.run(1 * MS)
        server, _ = listener.accept(pair.now)
        client.send(b"hello", pair.now)
        pair.run(1 * MS)
        server.send(server.recv(10, pair.now), pair.now)
        pair.run(1 * MS)
        assert client.recv(10, pair.now) == b"hello"
        client.close(pair.now)
        pair.run(1 * MS)
        server.close(pair.now)
        pair.run(1 * MS)
    assert len(pair.stacks["a"].tcp.table) == 50 and not pair.stacks["b"].tcp.table
    pair.run(61 * S)
    assert not pair.stacks["a"].tcp.table and not pair.stacks["a"].tcp.bound


def test_a_connection_that_is_gone_is_free_at_once() -> None:
    """No circle is left for the interpreter's collector, which may come late: nothing leads back to a connection."""
    pair = Pair(0)
    listener = pair.stacks["b"].socket(2, 1)
    listener.bind(("10.0.0.2", 7))
    listener.listen(16)
    gc.collect()
    gc.disable()
    try:
        for n in range(20):
            client = pair.stacks["a"].socket(2, 1)
            with pytest.raises(BlockingIOError):
                client.connect(("10.0.0.2", 7), pair.now)
            pair.run(1 * MS)
            server, _ = listener.accept(pair.now)
            client.send(bytes(3000), pair.now)
            pair.run(1 * MS)
            server.recv(3000 if n & 1 else 10, pair.now)  # what is not read has it reset
            for sock in (client, server) if n & 2 else (server, client):
                sock.close(pair.now)
                pair.run(1 * MS)
            pair.run(61 * S)
        del client, server, sock
        found = gc.collect()
    finally:
        gc.enable()
    assert found < 20, f"{found} objects in circles"


def test_peek_gives_what_was_asked_for_and_no_more() -> None:
    """Across buffers of the queue, from the middle of the first."""
    peer = Peer()
    sock = peer.accept()
    data = bytes(range(256)) * 24
    for at in range(0, len(data), 1024):
        peer.send(f"P. {at + 1}:{at + 1025}(1024) ack 1", data[at : at + 1024])
    assert len(sock.conn.rcvq) > 2
    assert sock.recv(100, peer.now) == data[:100]
    for n in (1, 924, 925, 3000, len(data)):
        assert sock.recv(n, peer.now, MSG_PEEK) == data[100 : 100 + n]
    assert sock.recv(len(data), peer.now) == data[100:]
