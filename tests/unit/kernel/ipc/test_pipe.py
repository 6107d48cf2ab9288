"""Pipes: pipe(7) rule by rule. The machine runs the programs; a lone task tests what must not block."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from kernel import abi
from kernel.ipc.pipe import own
from kernel.machine import Machine
from tests.property.kernel.fs.plain import WouldSleep, lone_task

NB = abi.O_NONBLOCK


def run(function: Any, *args: Any) -> Any:
    """What `function(sys, *args)` returns through a list, run as a process."""
    results: list[Any] = []

    def main(sys: Any) -> None:
        results.append(function(sys, *args))

    with Machine() as machine:
        process = machine.spawn(main)
        assert machine.run(until=10**12), "all sleep"
        assert process.exit_status == 0
    return results[0]


def fails(number: int, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == abi.errno_name(number)


def test_end_of_file_only_when_the_last_writer_is_gone() -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(NB)
    w2 = sys.dup(w)
    sys.write(w, b"abc")
    sys.close(w)
    assert sys.read(r, 100) == b"abc"
    fails(errno.EAGAIN, sys.read, r, 1)
    sys.close(w2)
    assert sys.read(r, 1) == b""


def test_no_reader_is_sigpipe_and_epipe() -> None:
    task, sys = lone_task()
    r, w = sys.pipe2(0)
    sys.close(r)
    fails(errno.EPIPE, sys.write, w, b"x")
    assert task.signals == [abi.SIGPIPE]
    assert sys.write(w, b"") == 0


def test_capacity_is_sixteen_pages() -> None:
    _, sys = lone_task()
    _, w = sys.pipe2(NB)
    assert sys.write(w, bytes(100_000)) == 65536
    fails(errno.EAGAIN, sys.write, w, b"x")


def test_writes_that_do_not_fit_a_page_take_one_each() -> None:
    """As on Linux: 3000 bytes do not fit behind 3000 others, so sixteen writes fill the pipe."""
    _, sys = lone_task()
    _, w = sys.pipe2(NB)
    for _ in range(16):
        assert sys.write(w, bytes(3000)) == 3000
    fails(errno.EAGAIN, sys.write, w, bytes(3000))
    assert sys.write(w, bytes(1000)) == 1000, "but 1000 do"


def test_a_write_of_pipe_buf_is_whole_or_not_at_all() -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(NB)
    sys.write(w, bytes(65536 - 10))
    fails(errno.EAGAIN, sys.write, w, bytes(4096))
    assert sys.write(w, bytes(10)) == 10
    assert sys.read(r, 5000) == bytes(5000)
    assert sys.write(w, bytes(9000)) == 4096, "longer ones are taken in part"


def test_poll_states() -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(NB)
    both = [(r, abi.POLLIN), (w, abi.POLLOUT)]
    assert sys.ppoll(both, 0) == [(w, abi.POLLOUT)]
    sys.write(w, bytes(65536))
    assert sys.ppoll(both, 0) == [(r, abi.POLLIN)]
    assert sys.ioctl(r, abi.FIONREAD) == 65536
    sys.close(w)
    assert sys.ppoll([(r, abi.POLLIN)], 0) == [(r, abi.POLLIN | abi.POLLHUP)]
    r, w = sys.pipe2(NB)
    sys.close(r)
    assert sys.ppoll([(w, 0)], 0) == [(w, abi.POLLERR)]


def test_sizes() -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(NB)
    assert sys.fcntl(r, abi.F_GETPIPE_SZ) == 65536
    assert sys.fcntl(w, abi.F_SETPIPE_SZ, 5000) == 8192
    assert sys.write(w, bytes(20000)) == 8192
    fails(errno.EBUSY, sys.fcntl, w, abi.F_SETPIPE_SZ, 4096)
    fails(errno.EINVAL, sys.pipe2, abi.O_APPEND)


def test_packets() -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(NB | abi.O_DIRECT)
    sys.write(w, b"first")
    sys.write(w, b"second")
    assert sys.read(r, 3) == b"fir", "the rest of a packet is dropped"
    assert sys.read(r, 100) == b"second"


def test_blocking_write_goes_on_and_reader_sees_all() -> None:
    def main(sys: Any) -> tuple[int, bytes]:
        r, w = sys.pipe2()

        def writer(sys: Any) -> None:
            sys.close(r)
            assert sys.write(w, bytes(range(256)) * 1000) == 256_000

        pid = sys.spawn(writer)
        sys.close(w)
        got = b""
        while chunk := sys.read(r, 10_000):
            got += chunk
        sys.wait4(pid)
        return len(got), got[:300]

    assert run(main) == (256_000, (bytes(range(256)) * 2)[:300])


def test_small_writes_of_two_writers_never_mix() -> None:
    def main(sys: Any) -> set[bytes]:
        r, w = sys.pipe2()

        def writer(sys: Any, letter: bytes) -> None:
            for _ in range(40):
                sys.write(w, letter * 4096)

        pids = [sys.spawn(writer, letter) for letter in (b"a", b"b", b"c")]
        sys.close(w)
        got = b""
        while chunk := sys.read(r, 65536):
            got += chunk
        for pid in pids:
            sys.wait4(pid)
        return {bytes(set(got[at : at + 4096])) for at in range(0, len(got), 4096)}

    assert run(main) == {b"a", b"b", b"c"}


def test_fifo_open_waits_for_the_other_end() -> None:
    def main(sys: Any) -> list[Any]:
        sys.mkfifo("/tmp/f")
        seen: list[Any] = []

        def reader(sys: Any) -> None:
            fd = sys.open("/tmp/f", abi.O_RDONLY)
            seen.append("opened")
            seen.append(sys.read(fd, 100))

        pid = sys.spawn(reader)
        sys.nanosleep(1_000_000)
        seen.append("before")
        sys.write(sys.open("/tmp/f", abi.O_WRONLY), b"hello")
        sys.wait4(pid)
        return seen

    assert run(main) == ["before", "opened", b"hello"]


def test_fifo_without_blocking() -> None:
    _, sys = lone_task()
    sys.mkfifo("/f")
    fails(errno.ENXIO, sys.open, "/f", abi.O_WRONLY | NB)
    r = sys.open("/f", abi.O_RDONLY | NB)
    assert sys.read(r, 1) == b""
    assert sys.ppoll([(r, abi.POLLIN)], 0) == [], "no writer yet is not a hang-up"
    w = sys.open("/f", abi.O_WRONLY | NB)
    sys.close(w)
    assert sys.ppoll([(r, abi.POLLIN)], 0) == [(r, abi.POLLHUP)]
    with pytest.raises(WouldSleep):
        sys.close(r)
        sys.open("/f", abi.O_RDONLY)


def test_a_whole_bytes_object_is_kept_not_copied() -> None:
    data = bytes(4096)
    assert own(memoryview(data)) is data
    changing = bytearray(b"abc")
    kept = own(memoryview(changing))
    changing[0] = 0
    assert kept == b"abc"
