"""Consoles move bytes and say what they are."""

from __future__ import annotations

import errno
import os
import pty
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.clock import RealTimeline
from drivers.console import HostConsole, MemoryConsole

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    fds = (*os.pipe(), *os.pipe())
    yield fds
    for fd in fds:
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF


def test_a_pipe_is_transparent_and_no_terminal(pipes: tuple[int, int, int, int]) -> None:
    r, w, r2, w2 = pipes
    console = HostConsole(r, w2)
    assert not console.isatty and console.size() == (0, 0) and console.fileno() == r
    assert console.read(10) is None and not console.readable()
    os.write(w, EVERY_BYTE)
    assert console.readable() and console.read(100) == EVERY_BYTE[:100] and console.read(1000) == EVERY_BYTE[100:]
    assert console.write(EVERY_BYTE) == 256 and os.read(r2, 999) == EVERY_BYTE
    os.close(w)
    assert console.readable() and console.read(10) == b"" == console.read(10)
    console.close()
    os.fstat(r)  # it is the host's, and still open


def test_input_that_is_a_file_is_always_ready_and_not_to_be_watched(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"hello")
    with open(tmp_path / "in", "rb") as file:
        console = HostConsole(file.fileno(), None)
        assert console.fileno() is None and console.readable()
        assert (console.read(3), console.read(9), console.read(9)) == (b"hel", b"lo", b"")
        with pytest.raises(OSError):
            console.write(b"x")


def test_wait_blocks_until_input_comes(pipes: tuple[int, int, int, int]) -> None:
    r, w, *_ = pipes
    console = HostConsole(r, None)
    assert not console.wait(timeout_ns=1_000_000)
    thread = threading.Timer(0.01, os.write, (w, b"x"))
    thread.start()
    assert console.wait() and console.read(9) == b"x"
    thread.join()


def test_a_large_write_to_a_nonblocking_pipe_is_complete(pipes: tuple[int, int, int, int]) -> None:
    r, _, r2, w2 = pipes
    os.set_blocking(w2, False)
    got = bytearray()

    def reader() -> None:
        while len(got) < 1 << 20:
            got.extend(os.read(r2, 1 << 16))

    thread = threading.Thread(target=reader)
    thread.start()
    assert HostConsole(r, w2).write(bytes(1 << 20)) == 1 << 20
    thread.join()
    assert len(got) == 1 << 20


def test_a_reader_that_left_is_epipe(pipes: tuple[int, int, int, int]) -> None:
    *_, r2, w2 = pipes
    os.close(r2)
    with pytest.raises(BrokenPipeError):
        HostConsole(None, w2).write(b"x")


def test_a_terminal_is_one_and_gets_its_modes_back() -> None:
    leader, follower = pty.openpty()
    console = HostConsole(follower, follower)
    before = termios.tcgetattr(follower)
    assert console.isatty
    console.raw()
    console.raw()
    assert not termios.tcgetattr(follower)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    os.write(leader, b"\x03a\r")
    assert console.wait() and console.read(9) == b"\x03a\r"
    console.write(b"\n")
    assert os.read(leader, 9) == b"\n"
    console.close()
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    assert console.read(9) == b"", "a terminal that was hung up is at its end"
    os.close(follower)


def test_the_timeline_reports_input(pipes: tuple[int, int, int, int]) -> None:
    r, w, *_ = pipes
    console, line = HostConsole(r, None), RealTimeline()
    got: list[bytes | None] = []
    fd = console.fileno()
    assert fd is not None
    line.watch(fd, lambda now: got.append(console.read(9)))
    os.write(w, b"abc")
    line.step()
    assert got == [b"abc"]
    line.unwatch(fd)
    line.close()


def test_memory_console() -> None:
    console = MemoryConsole(b"ab", isatty=True)
    calls: list[int] = []
    console.on_readable = lambda: calls.append(1)
    assert console.read(1) == b"a" and console.read(9) == b"b" and console.read(9) is None and not console.wait()
    console.feed(b"c")
    assert calls == [1] and console.readable() and console.read(0) == b"" and console.read(5) == b"c"
    console.hang_up()
    assert calls == [1, 1] and console.read(5) == b"" and console.wait()
    assert console.write(memoryview(b"out")) == 3 and console.output == b"out"
    assert console.size() == (24, 80) and MemoryConsole().size() == (0, 0) and console.fileno() is None
    console.close()
