"""echo, discard and chargen: RFC 862, 863, 864."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import pytest

from userland.chargen import CYCLE


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=120)
    return sock


def read_to_end(sock: socket.socket) -> bytes:
    blocks = []
    while block := sock.recv(1 << 20):
        blocks.append(block)
    return b"".join(blocks)


def test_echo_returns_what_comes_until_the_peer_ends(serve: Callable[..., int]) -> None:
    port = serve("echo")
    with connect(port) as sock:
        for piece in (b"x", b"hello", bytes(range(256))):
            sock.sendall(piece)
            assert sock.recv(1000) == piece
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def test_echo_holds_no_more_than_it_read_when_the_peer_does_not_take(serve: Callable[..., int]) -> None:
    data = os.urandom(1 << 20) * 12
    with connect(serve("echo")) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_to_end(sock) == data
        sender.join()


def test_echo_serves_many_at_once_and_survives_resets(serve: Callable[..., int]) -> None:
    port = serve("echo")
    socks = [connect(port) for _ in range(300)]
    for i, sock in enumerate(socks):
        sock.sendall(b"%d" % i)
    for i, sock in enumerate(socks):
        assert sock.recv(100) == b"%d" % i
    for sock in socks[:150]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends RST
        sock.sendall(b"not read")
        sock.close()
    for sock in socks[150:]:
        sock.sendall(b"still here")
        assert sock.recv(100) == b"still here"
        sock.close()


@pytest.mark.parametrize("name", ["echo", "chargen"])
def test_a_datagram_is_answered(serve: Callable[..., int], name: str) -> None:
    port = serve(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(120)
        for _ in range(3):
            sock.sendto(b"question", ("127.0.0.1", port))
            answer = sock.recv(2000)
            assert answer == (b"question" if name == "echo" else CYCLE[: len(answer)])
            assert 0 < len(answer) <= 512


def test_discard_reads_and_says_nothing(serve: Callable[..., int]) -> None:
    with connect(serve("discard")) as sock:
        sock.sendall(bytes(8 << 20))
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b""


def test_chargen_sends_the_pattern_until_the_peer_goes(serve: Callable[..., int]) -> None:
    port = serve("chargen")
    with connect(port) as sock:
        sock.sendall(b"thrown away")
        got = b""
        while len(got) < 3_000_000:
            got += sock.recv(1 << 20)
    assert got == (CYCLE * (len(got) // len(CYCLE) + 1))[: len(got)]
    lines = CYCLE.split(b"\r\n")
    assert lines[0] == bytes(range(32, 104)) and lines[1] == bytes(range(33, 105)) and len(lines) == 96
    with connect(port) as sock:  # the peer before us left without ceremony
        assert sock.recv(4, socket.MSG_WAITALL) == b' !"#'
