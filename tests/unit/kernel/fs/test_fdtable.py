"""Descriptors: the lowest free one, close-on-exec per descriptor, RLIMIT_NOFILE, what dup and fork share."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import abi
from kernel.fs.fdtable import FdTable
from kernel.fs.file import File, FileOps
from tests.property.kernel.fs.plain import lone_task


def new() -> File:
    return File(FileOps(), abi.O_RDWR)


@settings(deadline=None)
@given(st.lists(st.one_of(
    st.just(("open", 0)),
    st.tuples(st.sampled_from(["close", "dup", "lowest"]), st.integers(0, 12)),
    st.tuples(st.just("dup3"), st.tuples(st.integers(0, 12), st.integers(0, 14))),
), max_size=80))  # fmt: skip
def test_like_a_dictionary(steps: list[tuple[str, Any]]) -> None:
    table, model = FdTable(), {}  # type: ignore[var-annotated]

    def lowest(least: int = 0) -> int:
        return next(fd for fd in range(least, 100) if fd not in model)

    for what, arg in steps:
        if what == "open":
            file = new()
            expected = lowest()
            assert table.lowest() == expected == table.install(file, False, -1)
            model[expected] = file
        elif what == "close":
            if arg in model:
                table.close(arg)
                del model[arg]
            else:
                with pytest.raises(OSError):
                    table.close(arg)
        elif what == "dup" and arg in model:
            expected = lowest()
            assert table.install(model[arg].get(), False, -1) == expected
            model[expected] = model[arg]
        elif what == "lowest" and model:
            file = next(iter(model.values()))
            expected = lowest(arg)
            assert table.install(file.get(), False, -1, arg) == expected
            model[expected] = file
        elif what == "dup3":
            old, fresh = arg
            if old in model and old != fresh:
                table.dup3(old, fresh, False, -1)
                model[fresh] = model[old]
        assert table.fds() == sorted(model)
        for fd, file in model.items():
            assert table.get(fd) is file
            assert file.count == sum(1 for other in model.values() if other is file)


def test_the_heap_of_free_slots_stays_small() -> None:
    table = FdTable()
    for _ in range(3):
        table.install(new(), False, -1)
    table.close(1)
    for _ in range(1000):
        table.dup3(0, 2, False, -1)
        table.close(2)
    assert len(table._free) < 50
    assert table.lowest() == 1


def test_limit() -> None:
    task, sys = lone_task()
    task.group.rlimits[abi.RLIMIT_NOFILE] = (3, 3)
    for fd in range(3):
        assert sys.open("/", 0) == fd
    for call in (lambda: sys.open("/", 0), lambda: sys.dup(0), lambda: sys.pipe2(0), lambda: sys.epoll_create1(0)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EMFILE
    with pytest.raises(OSError) as caught:
        sys.dup3(0, 3, 0)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError) as caught:
        sys.fcntl(0, abi.F_DUPFD, 3)
    assert caught.value.errno == errno.EINVAL
    sys.close(1)
    assert sys.open("/", 0) == 1


def test_a_failed_pipe_leaves_nothing_open() -> None:
    task, sys = lone_task()
    task.group.rlimits[abi.RLIMIT_NOFILE] = (1, 1)
    with pytest.raises(OSError):
        sys.pipe2(0)
    assert task.files.fds() == []


def test_dup_shares_the_offset_and_flags_but_not_cloexec() -> None:
    _, sys = lone_task()
    fd = sys.open("/f", abi.O_CREAT | abi.O_RDWR | abi.O_CLOEXEC)
    copy = sys.dup(fd)
    sys.write(fd, b"12345")
    assert sys.lseek(copy, 0, abi.SEEK_CUR) == 5
    assert (sys.fcntl(fd, abi.F_GETFD), sys.fcntl(copy, abi.F_GETFD)) == (1, 0)
    sys.fcntl(copy, abi.F_SETFL, abi.O_APPEND | abi.O_NONBLOCK)
    assert sys.fcntl(fd, abi.F_GETFL) & (abi.O_APPEND | abi.O_NONBLOCK) == abi.O_APPEND | abi.O_NONBLOCK
    again = sys.open("/f", abi.O_RDWR)
    assert sys.lseek(again, 0, abi.SEEK_CUR) == 0


def test_exec_closes_what_is_marked_and_fork_copies() -> None:
    task, sys = lone_task()
    kept = sys.open("/", 0)
    marked = sys.open("/", abi.O_CLOEXEC)
    child = task.files.copy()
    task.files.close_on_exec()
    assert task.files.fds() == [kept] and child.fds() == [kept, marked]
    child.release()
    assert task.files.get(kept).count == 1


def test_wrong_descriptors() -> None:
    _, sys = lone_task()
    for fd in (-1, 5, 1 << 40, None, "0", 1.5):
        for call in (lambda fd=fd: sys.read(fd, 1), lambda fd=fd: sys.close(fd), lambda fd=fd: sys.fstat(fd)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EBADF
    fd = sys.open("/f", abi.O_CREAT | abi.O_RDWR)
    for data in (None, 5, "text", ["x"]):
        with pytest.raises(OSError) as caught:
            sys.write(fd, data)
        assert caught.value.errno == errno.EFAULT
    for path in (None, 5, ["x"]):
        with pytest.raises(OSError) as caught:
            sys.open(path, 0)
        assert caught.value.errno == errno.EFAULT
