"""What a stream says beside its data: TCP_INQ, and when a zero-copy buffer is free."""

from __future__ import annotations

import errno
import struct

import pytest

from netstack.socket import MSG_ERRQUEUE, MSG_ZEROCOPY, POLLERR, SO_ZEROCOPY, SOL_SOCKET
from netstack.tcp import beside
from tests.unit.netstack.tcp.kit import Peer

SOL_TCP, TCP_NODELAY, TCP_INQ = 6, 1, 36


def notification(sock: object, now: int) -> tuple[int, int, int]:
    """(origin, first, last)"""
    data, _, flags, _ = sock.recvmsg(100, now, MSG_ERRQUEUE)  # type: ignore[attr-defined]
    assert not data and flags == MSG_ERRQUEUE
    ((level, kind, body),) = sock.ancillary  # type: ignore[attr-defined]
    assert (level, kind) == (0, 11)
    code, origin, _, _, _, first, last = struct.unpack("=IBBBBII", body[:16])
    assert not code
    return origin, first, last


def test_inq_says_what_waits_and_one_at_the_end() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_TCP, TCP_INQ, 1)
    peer.send("P. 1:101(100) ack 1")
    assert len(sock.recvmsg(30, peer.now, 0)[0]) == 30
    assert list(sock.ancillary) == [(SOL_TCP, TCP_INQ, struct.pack("=i", 70))]
    peer.send("F. 101:101(0) ack 1")
    sock.recvmsg(100, peer.now, 0)
    assert list(sock.ancillary) == [(SOL_TCP, TCP_INQ, struct.pack("=i", 1))]
    sock.setsockopt(SOL_TCP, TCP_INQ, 0)
    sock.recvmsg(100, peer.now, 0)
    assert not sock.ancillary
    with pytest.raises(OSError) as why:
        sock.setsockopt(SOL_TCP, TCP_INQ, 2)
    assert why.value.errno == errno.EINVAL


def test_zero_copy_is_told_when_acknowledged_and_not_before() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_SOCKET, SO_ZEROCOPY, 1)
    sock.setsockopt(SOL_TCP, TCP_NODELAY, 1)
    for size in (100, 200, 300):
        assert sock.send(bytes(size), peer.now, MSG_ZEROCOPY) == size
    with pytest.raises(BlockingIOError):
        sock.recvmsg(100, peer.now, MSG_ERRQUEUE)
    peer.send(". 1:1(0) ack 102")  # all of the first, one byte of the second
    assert sock.readiness() & POLLERR
    assert notification(sock, peer.now) == (5, 0, 0)
    assert not sock.readiness() & POLLERR
    peer.send(". 1:1(0) ack 601")
    assert notification(sock, peer.now) == (5, 1, 2)
    with pytest.raises(BlockingIOError):
        sock.recvmsg(100, peer.now, MSG_ERRQUEUE)


def test_zero_copy_is_told_when_the_connection_is_gone() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_SOCKET, SO_ZEROCOPY, 1)
    sock.send(bytes(100), peer.now, MSG_ZEROCOPY)
    peer.send("R 1:1(0)")
    assert notification(sock, peer.now) == (5, 0, 0)


def test_without_the_option_nothing_is_told() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.send(bytes(100), peer.now, MSG_ZEROCOPY)
    peer.send(". 1:1(0) ack 101")
    with pytest.raises(BlockingIOError):
        sock.recvmsg(100, peer.now, MSG_ERRQUEUE)


def test_seventeen_pieces_and_no_more_go_into_a_segment() -> None:
    peer = Peer()
    sock = peer.accept()
    data, lengths = bytes(100), [5] * 20
    assert beside.send_pieces(sock, data, lengths, peer.now, MSG_ZEROCOPY) == 0, "without SO_ZEROCOPY a plain send"
    sock.setsockopt(SOL_SOCKET, SO_ZEROCOPY, 1)
    assert beside.send_pieces(sock, data, lengths[:17], peer.now, MSG_ZEROCOPY) == 0, "as is one of seventeen"
    assert beside.send_pieces(sock, data, lengths, peer.now, MSG_ZEROCOPY) == 100
    peer.drain()
    peer.recv("P. 1:86(85) ack 1")
    peer.send(". 1:1(0) ack 86")
    peer.recv("P. 86:101(15) ack 1")
    peer.send(". 1:1(0) ack 101")
    assert notification(sock, peer.now) == (5, 0, 0)
    assert beside.send_pieces(sock, bytes(1 << 23), [1 << 18] * 32, peer.now, MSG_ZEROCOPY) == 0
    sock.shutdown(1, peer.now)
    assert beside.send_pieces(sock, data, lengths, peer.now, MSG_ZEROCOPY) == 0, "who shut down is refused as ever"
