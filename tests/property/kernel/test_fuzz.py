"""Any call with any arguments gives a result or an error of Linux's, and the machine and its host stay up.

The test bounds itself too: whatever the kernel lets through, the host's memory grows by `HEADROOM` at most (a
MemoryError is a failure), and a call that never ends is shown with its traceback.
"""

# ruff: noqa: E501

from __future__ import annotations

import faulthandler
import resource
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.machine import Machine
from kernel.strace import Strace
from kernel.syscall.table import BY_NAME, PYTHON
from kernel.task import Killed

MS = 1_000_000
HEADROOM = 1 << 30
MEMORY = 2048
"""Frames: a machine of 8 MiB, so that what is bounded by its memory is soon at the bound."""
ENDS = {"exit", "exit_group", "exit_thread", "spawn", "clone", "vfork", "cpu", "fork", "pause"}
"""Left out: they end the fuzzer, or take a function."""
NAMES = sorted((PYTHON.keys() | BY_NAME.keys()) - ENDS)

values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 12),
    st.sampled_from(
        [-(1 << 63), -(1 << 31), 0x80000, 0o2000000, 4096, 0x7FFFFFFF, 1 << 31, 1 << 40, (1 << 63) - 1]
    ),
    st.none(),
    st.binary(max_size=20),
    st.sampled_from(
        [
            "",
            "/",
            "/a",
            "/a/b",
            "a" * 300,
            "\0",
            "/dev/null",
            "/dev/zero",
            "/dev/urandom",
            3.5,
            [],
            {},
            (1, 2),
            [(0, 1)],
            b"/a",
        ]
    ),
    st.sampled_from([("10.0.0.1", 80), ("127.0.0.1", 0), ("x", "y"), ("::1", 1, 0, 0)]),
)
calls = st.lists(st.tuples(st.sampled_from(NAMES), st.lists(values, max_size=5)), min_size=1, max_size=25)


@pytest.fixture(autouse=True, scope="module")
def bounded() -> Iterator[None]:
    """No more memory than there is now and `HEADROOM`; a quarter of an hour, then a traceback."""
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + HEADROOM, before[1]))
    faulthandler.dump_traceback_later(900, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    resource.setrlimit(resource.RLIMIT_AS, before)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls, st.booleans())
def test_any_call_with_any_arguments(script: list[tuple[str, list[Any]]], traced: bool) -> None:
    wrong: list[str] = []

    def fuzz(sys: Any) -> None:
        for name, args in script:
            sys.alarm(1)
            try:
                getattr(sys, name)(*args)
            except OSError as error:
                if error.errno is None:
                    wrong.append(f"{name}{args}: {error!r} has no errno")
            except TypeError as error:
                # Python's own: the wrong number of arguments. Anything else is a mistake of the kernel.
                if "argument" not in str(error) or "()" not in str(error):
                    wrong.append(f"{name}{args}: {error!r}")
            except Killed:
                raise
            except MemoryError:
                raise
            except Exception as error:
                wrong.append(f"{name}{args}: {error!r}")

    def witness(sys: Any) -> int:
        for _ in range(5):
            sys.nanosleep(MS)
        return 7

    with Machine("m", VirtualTimeline(1), memory=MEMORY) as machine:
        if traced:
            machine.trace.append(Strace(lambda text: None))
        machine.spawn(fuzz)
        other = machine.spawn(witness)
        machine.run(3_600_000 * MS)
        assert not wrong
        # The fuzzer may have killed it: it runs as root. Otherwise it was not disturbed.
        assert other.exit_status is None or other.exit_status == 7 << 8 or other.exit_status & 0x7F


HUGE = (1 << 31) - 1
GREEDY: list[tuple[str, Any]] = [
    ("read /dev/zero", lambda sys, fd: sys.read(sys.open("/dev/zero", 0), HUGE)),
    ("pread64 /dev/zero", lambda sys, fd: sys.pread64(sys.open("/dev/zero", 0), -1, 1 << 62)),
    ("readv /dev/urandom", lambda sys, fd: sys.readv(sys.open("/dev/urandom", 0), [HUGE] * 1024)),
    ("getrandom", lambda sys, fd: sys.getrandom(-1)),
    ("a hole", lambda sys, fd: (sys.ftruncate(fd, 1 << 62), sys.read(fd, HUGE))),
    ("sendfile of a hole", lambda sys, fd: (sys.ftruncate(fd, 1 << 62), sys.sendfile(fd, fd, 0, HUGE))),
    ("sendfile to null", lambda sys, fd: (sys.ftruncate(fd, 1 << 62), sys.sendfile(sys.open("/dev/null", 1), fd, 0, -1))),
    ("fallocate", lambda sys, fd: sys.fallocate(fd, 0, 0, 1 << 62)),
    ("fallocate far", lambda sys, fd: sys.fallocate(fd, 1, 1 << 61, 1 << 61)),
    ("execve of a hole", lambda sys, fd: (sys.ftruncate(fd, 1 << 62), sys.chmod("/f", 0o755), sys.execve("/f", [], {}))),
    ("setitimer", lambda sys, fd: (sys.rt_sigaction(14, lambda *a: None), sys.setitimer(0, 1, 1), sys.nanosleep(MS))),
    ("setitimer ignored", lambda sys, fd: (sys.rt_sigaction(14, 1), sys.setitimer(0, 1, 1), sys.nanosleep(3600000 * MS))),
    ("timerfd", lambda sys, fd: (
        sys.timerfd_settime(sys.timerfd_create(1), 0, 1, 1), sys.nanosleep(3600000 * MS))),
    ("signals", lambda sys, fd: (
        sys.rt_sigprocmask(0, [40]), [sys.rt_sigqueueinfo(sys.getpid(), 40, 1) for _ in range(20000)])),
    ("pipes", lambda sys, fd: [sys.pipe2() for _ in range(20000)]),
    ("pipe size", lambda sys, fd: sys.fcntl(sys.pipe2()[1], 1031, 1 << 31)),
    ("dup3", lambda sys, fd: sys.dup3(0, HUGE)),
    ("F_DUPFD", lambda sys, fd: sys.fcntl(0, 0, HUGE)),
    ("recv", lambda sys, fd: sys.recvfrom(sys.socketpair(1, 1)[0], HUGE, 0x40)),
]  # fmt: skip


@pytest.mark.parametrize("name, greedy", GREEDY, ids=[name for name, _ in GREEDY])
def test_no_call_takes_more_than_the_machine_has(name: str, greedy: Any) -> None:
    """A count above the machine's memory gets a short count or an error, soon."""

    def program(sys: Any) -> int:
        fd = sys.open("/f", 0o102, 0o644)
        try:
            greedy(sys, fd)
        except OSError as error:
            assert error.errno
        return 0

    with Machine("m", VirtualTimeline(1), memory=MEMORY) as machine:
        process = machine.spawn(program)
        machine.run(2 * 3_600_000 * MS)
        assert process.exit_status is not None
