"""Options and requests of a TCP socket, each with and without a connection (tcp(7), <linux/sockios.h>)."""

from __future__ import annotations

import errno

import pytest

from netstack.socket import MSG_DONTWAIT, MSG_WAITALL, SO_SNDBUF, SOL_SOCKET
from netstack.tcp import sockopt
from netstack.tcp.sockopt import SOL_TCP
from tests.unit.netstack.tcp.kit import MS, Peer

TIOCGWINSZ = 0x5413


def refuses(code: int, call: object, *args: object) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)  # type: ignore[operator]
    assert caught.value.errno == code, caught.value


def test_what_can_be_asked() -> None:
    peer = Peer()
    sock = peer.accept_ts()
    assert sock.getsockopt(SOL_TCP, sockopt.TCP_INQ) == 0
    sock.setsockopt(SOL_TCP, sockopt.TCP_INQ, 1)
    assert sock.getsockopt(SOL_TCP, sockopt.TCP_INQ) == 1
    now = sock.getsockopt(SOL_TCP, sockopt.TCP_TIMESTAMP)
    sock.send(b"x", peer.now)
    peer.drain()
    assert peer.queue.pop(0)[1].options["TS"][0] == now  # the clock that its segments carry
    peer.wait(50)
    assert sock.getsockopt(SOL_TCP, sockopt.TCP_TIMESTAMP) == now + 50
    assert peer.stack.socket(2, 1).getsockopt(SOL_TCP, sockopt.TCP_TIMESTAMP) == peer.now // MS
    assert sock.getsockopt(SOL_TCP, sockopt.TCP_CC_INFO, 20) == b""
    refuses(errno.ENOPROTOOPT, sock.getsockopt, SOL_TCP, 999)


def test_syn_count_of_an_attempt_under_way() -> None:
    """TCP_SYNCNT counts for the SYNs that are still to come."""
    peer = Peer(net__ipv4__tcp_syn_linear_timeouts=0)
    sock = peer.connect()
    sock.setsockopt(SOL_TCP, sockopt.TCP_SYNCNT, 1)
    peer.wait(10_000)
    assert len(peer.queue) == 2
    refuses(errno.ETIMEDOUT, sock.recv, 1, peer.now)


def test_requests() -> None:
    peer = Peer()
    fresh = peer.stack.socket(2, 1)
    refuses(errno.ENOTTY, fresh.ioctl, TIOCGWINSZ)
    assert [fresh.ioctl(request) for request in (sockopt.SIOCINQ, sockopt.SIOCOUTQ, sockopt.SIOCOUTQNSD)] == [0, 0, 0]
    refuses(errno.EINVAL, peer.listen().ioctl, sockopt.SIOCOUTQ)
    sock = Peer().connect()
    assert sock.ioctl(sockopt.SIOCOUTQ) == 0  # the SYN is not the user's


def test_waiting_for_all() -> None:
    """recv(2), MSG_WAITALL: not a part, unless nothing more can come or waiting is not wanted."""
    peer = Peer()
    sock = peer.accept()
    peer.send("P. 1:101(100) ack 1 win 512")
    refuses(errno.EAGAIN, sock.recv, 200, peer.now, MSG_WAITALL)
    assert len(sock.recv(60, peer.now, MSG_WAITALL)) == 60
    assert len(sock.recv(60, peer.now, MSG_WAITALL | MSG_DONTWAIT)) == 40
    peer.send("F. 101:201(100) ack 1 win 512")
    assert len(sock.recv(200, peer.now, MSG_WAITALL)) == 100


def test_nothing_after_close() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.close(peer.now)
    peer.drain()
    peer.recv("F. 1:1(0) ack 1")
    sock.close(peer.now)
    peer.drain()
    peer.silent()
    refuses(errno.EBADF, sock.send, b"x", peer.now)
    refuses(errno.EBADF, sock.recv, 1, peer.now)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_written_may_be_written_over(kind: type) -> None:
    peer = Peer()
    sock = peer.accept()
    source = bytearray(b"hello")
    data = kind(source)
    assert sock.send(data, peer.now) == 5
    for buffer in (source, data):
        if isinstance(buffer, bytearray):
            buffer[:] = bytes(5)
    peer.wait(1)
    assert peer.queue.pop(0)[1].payload == b"hello"


def test_a_send_buffer_of_the_same_size_wakes_nobody() -> None:
    peer = Peer()
    sock = peer.accept()
    woken: list[object] = []
    sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 10_000)
    sock.on_ready = woken.append
    sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 10_000)
    assert not woken
    sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 20_000)
    assert woken
