"""drivers/signals.py: a signal that does not end the wait itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from drivers.clock import RealTimeline, wall_ns
from drivers.signals import heeded

EPOLL_WAIT = {b"232", b"281", b"22"}
"""The numbers of epoll_wait and epoll_pwait on x86-64, of epoll_pwait on arm64."""
SHORT_NS = 200_000_000
LONG_NS = 20_000_000_000


@pytest.fixture
def timeline() -> Iterator[RealTimeline]:
    timeline = RealTimeline()
    yield timeline
    timeline.close()


def waited(timeline: RealTimeline, limit_ns: int) -> bool:
    """Whether a signal that another thread takes while this one waits is handled before the limit ends the wait.

    The handler's mark is set, but the wait here is not interrupted: as if the signal had come just before it. On a busy
    host the other thread may be too late with it; then all begins anew, with a longer limit.
    """
    heard: list[int] = []
    sent: list[int] = []
    done = threading.Event()
    waiting = f"/proc/self/task/{threading.get_native_id()}/syscall"
    if not os.access(waiting, os.R_OK):
        pytest.skip("this host does not say what a thread waits in")

    def on_signal(number: int, frame: object) -> None:
        heard.append(wall_ns())
        timeline.stop()

    def other() -> None:
        with open(waiting, "rb", buffering=0) as doing:
            while not done.is_set() and os.pread(doing.fileno(), 64, 0).split()[0] not in EPOLL_WAIT:
                os.sched_yield()
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            sent.append(wall_ns())
            done.wait()

    with ExitStack() as cleanup:
        cleanup.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, on_signal))
        thread = threading.Thread(target=other)
        thread.start()
        cleanup.callback(thread.join)
        cleanup.callback(done.set)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        cleanup.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        limit = wall_ns() + limit_ns
        timer = timeline.timer(lambda now: timeline.stop())
        timer.arm(limit)
        timeline.run()
        timer.disarm()
    if not sent or sent[0] >= limit:
        return waited(timeline, 4 * limit_ns)
    return len(heard) == 1 and heard[0] < limit


def test_a_signal_that_does_not_interrupt_the_wait_ends_it(timeline: RealTimeline) -> None:
    with heeded(timeline):
        assert waited(timeline, LONG_NS)


def test_negative_control_it_waits_on(timeline: RealTimeline) -> None:
    assert not waited(timeline, SHORT_NS)


def test_what_was_there_before_is_there_again(timeline: RealTimeline) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write)
    try:
        descriptors = os.listdir("/proc/self/fd")
        with heeded(timeline):
            assert os.listdir("/proc/self/fd") != descriptors
        assert os.listdir("/proc/self/fd") == descriptors
        assert signal.set_wakeup_fd(before) == write
    finally:
        os.close(read)
        os.close(write)
