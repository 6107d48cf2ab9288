"""poll, select and epoll: readiness rule by rule, epoll(7)'s questions and answers among them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kernel import abi
from kernel.abi import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLONESHOT, EPOLLOUT
from kernel.machine import Machine
from tests.property.kernel.fs.plain import lone_task

NB = abi.O_NONBLOCK


def fails(name: str, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == name


def run(function: Any) -> Any:
    results: list[Any] = []
    with Machine() as machine:
        process = machine.spawn(lambda sys: results.append(function(sys)), name="test")
        assert machine.run(until=10**12), "all sleep"
        assert process.exit_status == 0
    return results[0]


def watched(events: int) -> tuple[Any, int, int, int]:
    _, sys = lone_task()
    r, w = sys.pipe2(NB)
    ep = sys.epoll_create1(0)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, events, 7)
    return sys, r, w, ep


def test_level_triggered() -> None:
    sys, r, w, ep = watched(EPOLLIN)
    assert sys.epoll_pwait(ep, 10, 0) == []
    sys.write(w, b"ab")
    for _ in range(3):
        assert sys.epoll_pwait(ep, 10, 0) == [(7, EPOLLIN)]
    sys.read(r, 10)
    assert sys.epoll_pwait(ep, 10, 0) == []


def test_edge_triggered() -> None:
    sys, r, w, ep = watched(EPOLLIN | EPOLLET)
    sys.write(w, b"ab")
    assert sys.epoll_pwait(ep, 10, 0) == [(7, EPOLLIN)]
    assert sys.epoll_pwait(ep, 10, 0) == [], "still readable, but nothing new"
    sys.write(w, b"c")
    assert sys.epoll_pwait(ep, 10, 0) == [(7, EPOLLIN)]
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLET, 8)
    assert sys.epoll_pwait(ep, 10, 0) == [(8, EPOLLIN)], "EPOLL_CTL_MOD looks again"


def test_oneshot() -> None:
    sys, r, w, ep = watched(EPOLLIN | EPOLLONESHOT)
    sys.write(w, b"a")
    assert sys.epoll_pwait(ep, 10, 0) == [(7, EPOLLIN)]
    sys.write(w, b"b")
    assert sys.epoll_pwait(ep, 10, 0) == []
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 9)
    assert sys.epoll_pwait(ep, 10, 0) == [(9, EPOLLIN)]


def test_hang_up_is_always_reported() -> None:
    sys, _, w, ep = watched(0)
    sys.close(w)
    assert sys.epoll_pwait(ep, 10, 0) == [(7, abi.EPOLLHUP)]


def test_an_item_lives_as_long_as_the_description() -> None:
    sys, r, w, ep = watched(EPOLLIN)
    copy = sys.dup(r)
    sys.close(r)
    sys.write(w, b"x")
    assert sys.epoll_pwait(ep, 10, 0) == [(7, EPOLLIN)]
    fails("EBADF", sys.epoll_ctl, ep, EPOLL_CTL_DEL, r)
    sys.close(copy)
    assert sys.epoll_pwait(ep, 10, 0) == []


def test_round_robin_among_the_ready() -> None:
    _, sys = lone_task()
    ep = sys.epoll_create1(0)
    for i in range(3):
        r, w = sys.pipe2(NB)
        sys.write(w, b"x")
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, i)
    assert [sys.epoll_pwait(ep, 1, 0)[0][0] for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_errors_of_epoll_ctl() -> None:
    sys, r, w, ep = watched(EPOLLIN)
    fails("EEXIST", sys.epoll_ctl, ep, EPOLL_CTL_ADD, r, EPOLLIN, 1)
    fails("ENOENT", sys.epoll_ctl, ep, EPOLL_CTL_MOD, w, EPOLLIN, 1)
    fails("ENOENT", sys.epoll_ctl, ep, EPOLL_CTL_DEL, w)
    fails("EINVAL", sys.epoll_ctl, ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1)
    fails("EINVAL", sys.epoll_ctl, r, EPOLL_CTL_ADD, w, EPOLLIN, 1)
    fails("EBADF", sys.epoll_ctl, ep, EPOLL_CTL_ADD, 99, EPOLLIN, 1)
    fails("EPERM", sys.epoll_ctl, ep, EPOLL_CTL_ADD, sys.open("/f", abi.O_CREAT | abi.O_RDWR), EPOLLIN, 1)
    fails("EINVAL", sys.epoll_pwait, ep, 0, 0)
    fails("EINVAL", sys.epoll_pwait, r, 1, 0)
    other = sys.epoll_create1(0)
    sys.epoll_ctl(other, EPOLL_CTL_ADD, ep, EPOLLIN, 1)
    fails("ELOOP", sys.epoll_ctl, ep, EPOLL_CTL_ADD, other, EPOLLIN, 1)
    sys.write(w, b"x")
    assert sys.epoll_pwait(other, 5, 0) == [(1, EPOLLIN)], "an epoll is readable when something in it is ready"


def test_waiting_costs_nothing_per_idle_descriptor() -> None:
    """Negative space: the ready list is looked at, not the interest list."""
    task, sys = lone_task()
    task.group.rlimits[abi.RLIMIT_NOFILE] = (10_000, 10_000)
    ep = sys.epoll_create1(0)
    asked: list[int] = []
    for i in range(500):
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, sys.eventfd2(0, NB), EPOLLIN, i)
    busy = sys.eventfd2(0, NB)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, busy, EPOLLIN, "busy")
    ops = task.files.get(busy).ops
    poll = type(ops).poll
    type(ops).poll = lambda self, file: asked.append(1) or poll(self, file)  # type: ignore[method-assign]
    try:
        sys.write(busy, struct.pack("=Q", 1))
        assert sys.epoll_pwait(ep, 10, 0) == [("busy", EPOLLIN)]
    finally:
        type(ops).poll = poll  # type: ignore[method-assign]
    assert len(asked) <= 2


def test_sleepers_are_woken() -> None:
    def main(sys: Any) -> list[Any]:
        r, w = sys.pipe2()
        ep = sys.epoll_create1(0)
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 1)

        def writer(sys: Any) -> None:
            for _ in range(3):
                sys.nanosleep(1_000_000)
                sys.write(w, b"x")

        sys.spawn(writer)
        seen: list[Any] = [sys.epoll_pwait(ep, 4, -1)]
        sys.read(r, 1)
        seen.append(sys.ppoll([(r, abi.POLLIN)]))
        sys.read(r, 1)
        seen.append(sys.pselect6(r + 1, [r], [w], [], None) if r > w else sys.pselect6(r + 1, [r], [], [], None))
        return seen

    seen = run(main)
    assert seen[0] == [(1, EPOLLIN)] and len(seen[1]) == 1 and seen[2][0]


def test_timeouts_pass_in_virtual_time() -> None:
    def main(sys: Any) -> list[int]:
        r, _ = sys.pipe2()
        ep = sys.epoll_create1(0)
        times = []
        for call in (
            lambda: sys.ppoll([(r, abi.POLLIN)], 5_000_000),
            lambda: sys.epoll_pwait(ep, 1, 5),
            lambda: sys.pselect6(r + 1, [r], [], [], 5_000_000),
        ):
            start = sys.clock_gettime(abi.CLOCK_MONOTONIC)
            assert not any(call())
            times.append(sys.clock_gettime(abi.CLOCK_MONOTONIC) - start)
        return times

    assert all(5_000_000 <= t < 5_100_000 for t in run(main))


def test_ppoll_odds() -> None:
    task, sys = lone_task()
    assert sys.ppoll([(-1, abi.POLLIN), (77, abi.POLLIN)], 0) == [(77, abi.POLLNVAL)]
    fails("EINVAL", sys.ppoll, [], -1)
    fails("EFAULT", sys.ppoll, [1, 2], 0)
    fails("EFAULT", sys.ppoll, None, 0)
    fd = sys.open("/f", abi.O_CREAT | abi.O_RDWR)
    assert sys.ppoll([(fd, abi.POLLIN | abi.POLLOUT)], 0) == [(fd, abi.POLLIN | abi.POLLOUT)]
    fails("EBADF", sys.pselect6, 100, [55], [], [], 0)
    task.group.rlimits[abi.RLIMIT_NOFILE] = (1, 1)
    fails("EINVAL", sys.ppoll, [(0, 1), (1, 1)], 0)


def test_eventfd() -> None:
    _, sys = lone_task()
    fd = sys.eventfd2(3, NB)
    assert sys.read(fd, 8) == struct.pack("=Q", 3)
    fails("EAGAIN", sys.read, fd, 8)
    fails("EINVAL", sys.read, fd, 7)
    sys.write(fd, struct.pack("=Q", (1 << 64) - 2))
    assert sys.ppoll([(fd, abi.POLLIN | abi.POLLOUT)], 0) == [(fd, abi.POLLIN)]
    fails("EAGAIN", sys.write, fd, struct.pack("=Q", 1))
    fails("EINVAL", sys.write, fd, b"\xff" * 8)
    semaphore = sys.eventfd2(2, NB | abi.EFD_SEMAPHORE)
    assert [sys.read(semaphore, 8) for _ in range(2)] == [struct.pack("=Q", 1)] * 2


def test_timerfd() -> None:
    def main(sys: Any) -> list[Any]:
        fd = sys.timerfd_create(abi.CLOCK_MONOTONIC, 0)
        sys.timerfd_settime(fd, 0, 1_000_000, 250_000)
        start = sys.clock_gettime(abi.CLOCK_MONOTONIC)
        seen: list[Any] = [struct.unpack("=Q", sys.read(fd, 8))[0]]
        sys.nanosleep(1_000_000)
        seen.append(struct.unpack("=Q", sys.read(fd, 8))[0])
        seen.append(sys.timerfd_gettime(fd)[1])
        seen.append((sys.clock_gettime(abi.CLOCK_MONOTONIC) - start) // 1_000_000)
        sys.timerfd_settime(fd, 0, 0)
        seen.append(sys.timerfd_gettime(fd))
        absolute = sys.clock_gettime(abi.CLOCK_REALTIME) + 3_000_000
        clock = sys.timerfd_create(abi.CLOCK_REALTIME, 0)
        sys.timerfd_settime(clock, abi.TFD_TIMER_ABSTIME, absolute)
        seen.append(sys.ppoll([(clock, EPOLLIN | EPOLLOUT)])[0][1])
        seen.append(0 <= sys.clock_gettime(abi.CLOCK_REALTIME) - absolute < 100_000)
        return seen

    assert run(main) == [1, 4, 250_000, 2, (0, 0), abi.POLLIN, True]
