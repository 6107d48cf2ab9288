"""TCP sockets as files: blocking connect, accept, send and receive; errors; shutdown; readiness."""

from __future__ import annotations

import itertools
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from kernel import abi
from kernel.abi import AF_INET, MSG_WAITALL, SHUT_WR, SOCK_STREAM
from kernel.machine import Machine
from kernel.net.socket import condition
from netstack.tcp.socket import SHUT_OPENING, TcpSocket

HERE = ("127.0.0.1", 7)


def fails(name: str, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == name


def run(function: Any) -> tuple[Any, int]:
    """(result, wait status) of `function(sys)` with an echo server beside it."""
    results: list[Any] = []

    def main(sys: Any) -> None:
        listener = sys.socket(AF_INET, SOCK_STREAM)
        sys.bind(listener, HERE)
        sys.listen(listener, 10)
        sys.spawn(echo, listener)
        sys.close(listener)
        results.append(function(sys))

    with Machine() as machine:
        process = machine.spawn(main)
        assert machine.run(until=10**12, process=process), "all sleep"
        assert process.exit_status is not None
        return results[0] if results else None, process.exit_status


def echo(sys: Any, listener: int) -> None:
    while True:
        fd, _ = sys.accept4(listener)
        while data := sys.read(fd, 65536):
            sys.write(fd, data)
        sys.close(fd)


def test_a_long_send_blocks_until_all_is_taken() -> None:
    data = bytes(range(256)) * 8000

    def main(sys: Any) -> Any:
        fd = sys.socket(AF_INET, SOCK_STREAM)
        sys.connect(fd, HERE)

        def sender(sys: Any) -> None:
            assert sys.write(fd, data) == len(data)
            sys.shutdown(fd, SHUT_WR)

        sys.spawn(sender)
        head = sys.recvfrom(fd, 100_000, MSG_WAITALL)[0]
        rest = b""
        while chunk := sys.read(fd, 65536):
            rest += chunk
        return len(head), head + rest == data

    assert run(main) == ((100_000, True), 0)


def test_nobody_listens() -> None:
    def main(sys: Any) -> Any:
        fd = sys.socket(AF_INET, SOCK_STREAM)
        fails("ECONNREFUSED", sys.connect, fd, ("127.0.0.1", 99))
        busy = sys.socket(AF_INET, SOCK_STREAM)
        fails("EADDRINUSE", sys.bind, busy, HERE)
        return sys.getsockopt(fd, abi.SOL_SOCKET, abi.SO_ERROR)

    assert run(main) == (0, 0)


def test_without_blocking() -> None:
    def main(sys: Any) -> Any:
        fd = sys.socket(AF_INET, SOCK_STREAM | abi.SOCK_NONBLOCK)
        fails("EINPROGRESS", sys.connect, fd, HERE)
        ready = sys.ppoll([(fd, abi.POLLOUT | abi.POLLIN)])
        error = sys.getsockopt(fd, abi.SOL_SOCKET, abi.SO_ERROR)
        fails("EAGAIN", sys.read, fd, 10)
        sys.write(fd, b"x")
        ep = sys.epoll_create1(0)
        sys.epoll_ctl(ep, abi.EPOLL_CTL_ADD, fd, abi.EPOLLIN, 5)
        event = sys.epoll_pwait(ep, 4, -1)
        return ready == [(fd, abi.POLLOUT)], error, event, sys.read(fd, 10)

    assert run(main) == ((True, 0, [(5, abi.EPOLLIN)], b"x"), 0)


def test_writing_to_nobody_is_sigpipe() -> None:
    def main(sys: Any) -> None:
        sys.write(sys.socket(AF_INET, SOCK_STREAM), b"x")

    assert run(main) == (None, abi.SIGPIPE)

    def careful(sys: Any) -> None:
        fails("EPIPE", sys.sendto, sys.socket(AF_INET, SOCK_STREAM), b"x", abi.MSG_NOSIGNAL)

    assert run(careful) == (None, 0)


def test_each_condition_is_a_number_of_its_own() -> None:
    """Errors, how it was shut, state and the peer's FIN: none stands for another (SHUT_OPENING is a third bit)."""
    seen: dict[int, Any] = {}
    with Machine() as machine:
        sock = machine.stack.socket(AF_INET, SOCK_STREAM)
        assert isinstance(sock, TcpSocket)
        for errors, code, shut in itertools.product((0, 1, 2), (0, 1, 2, abi.ECONNRESET), range(2 * SHUT_OPENING)):
            sock.errors, sock.so_error, sock.shutdown_mask = deque([None] * errors), code, shut
            for state, fin in itertools.product(range(16), (False, True)):
                sock.conn = SimpleNamespace(state=state, fin_received=fin)
                assert seen.setdefault(condition(sock), (errors, code, shut, state, fin)) == (
                    errors, code, shut, state, fin,
                )  # fmt: skip
        sock.conn, sock.errors = None, deque()
    assert len(seen) == 3 * 4 * 8 * 16 * 2
