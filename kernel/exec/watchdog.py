"""The watchdog: tells when a program holds the machine up without ticks.

A function without source, or a long call into C, cannot be preempted: virtual time stands still and nobody else runs.
The watchdog is a thread that wakes up now and then, by the host's clock, and looks whether the running task has
ticked or trapped since; if not, it names the process and the line. It only reports: what it sees is no part of the
simulation.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from kernel.exec.python import KERNEL

if TYPE_CHECKING:
    from kernel.machine import Machine

PATIENCE_S = 5.0
"""Seconds of real time without a sign of life before it is reported."""


def to_stderr(text: str) -> None:
    """Where reports go by default."""
    sys.stderr.write(f"terrella: {text}\n")


class Watchdog:
    """Watches the machines of one timeline while the `with` block runs them, in the thread that entered it."""

    __slots__ = ("_ident", "_machines", "_patience_s", "_report", "_stop", "_thread")

    def __init__(
        self, machines: Sequence[Machine], report: Callable[[str], None] = to_stderr, patience_s: float = PATIENCE_S
    ) -> None:
        self._machines = machines
        self._report = report
        self._patience_s = patience_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ident = 0

    def __enter__(self) -> Watchdog:
        self._ident = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        before: object = None
        told: object = None
        while not self._stop.wait(self._patience_s):
            seen = None
            for machine in self._machines:
                task = machine.scheduler.running
                if task is not None:
                    seen = (task, machine.meter.progress())
            if seen is not None and seen == before and seen != told:
                told = seen
                where = line(sys._current_frames().get(self._ident))
                self._report(
                    f"pid {seen[0].pid} ({seen[0].comm}) has run for more than {self._patience_s:g} s of real time "
                    f"without a tick or a system call, at {where}: it cannot be preempted there (code without source, "
                    "or a long call into C)"
                )
            before = seen


def line(frame: FrameType | None) -> str:
    """The innermost line of a program in a stack."""
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith((KERNEL, "<system call")):
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return "an unknown place"
