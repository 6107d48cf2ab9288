"""Signals of the host that come at the wrong moment.

Python runs a handler when it next looks for one, and a system call that is under way then ends with EINTR. A signal
that comes after the last look and before the wait for descriptors, or that another thread takes, would be heard of only
with the next packet, and compiled code never looks. Here each signal also makes a descriptor readable, which ends the
wait (signal(7); signal.set_wakeup_fd).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from drivers.clock import RealTimeline

ROOM = 4096
"""How many bytes, one a signal, are taken off the pipe at once."""


@contextmanager
def heeded(timeline: RealTimeline) -> Iterator[None]:
    """While it lasts, handlers of signals run at once also where the timeline was about to wait.

    In the main thread only (ValueError). A timeline that heeds signals has always something to watch, so its `run`
    does not end for want of work.
    """
    ours, theirs = os.pipe()
    try:
        for fd in (ours, theirs):
            os.set_blocking(fd, False)

        def look(now: int) -> None:
            os.read(ours, ROOM)
            signal.pthread_sigmask(signal.SIG_BLOCK, ())  # blocks none, and runs the handlers that are due

        before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        timeline.watch(ours, look)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            timeline.unwatch(ours)
    finally:
        os.close(ours)
        os.close(theirs)
