"""Timers: a lazy heap of deadlines for one stack.

A timer that is re-armed for later (the usual case: an RTO pushed back by each ACK) is not moved in the heap: its
entry is left where it is and put right when it comes up. Re-arming for earlier pushes a second entry and forgets the
first. So an arm costs a comparison, mostly; entries that nobody wants any more are swept when they are the majority.

Invariant: an armed timer has exactly one live entry, at or before its deadline. Ties go to the entry that was pushed
first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

_heappush: Final = heapq.heappush
_heappop: Final = heapq.heappop


def _nobody(now: int) -> None:
    """Called for a timer that was closed."""


class Timer:
    """One deadline. `callback(now)` is called once per arm."""

    __slots__ = ("_armed_in", "_entry", "_timers", "callback", "deadline")

    def __init__(self, timers: Timers, callback: Callable[[int], None]) -> None:
        self._timers = timers
        self.callback = callback
        self.deadline: int | None = None
        self._entry: Entry | None = None
        self._armed_in = 0

    def arm(self, at_ns: int) -> None:
        """Fire at that time (at once, on the next `run`, if it is past). Replaces the earlier deadline."""
        timers = self._timers
        self._armed_in = timers._runs
        entry = self._entry
        if entry is None:
            self.deadline = at_ns
            timers._push(self, at_ns)
            return
        if self.deadline is None:
            timers._dead -= 1
        self.deadline = at_ns
        before: int = entry[0]
        if at_ns < before:
            timers._dead += 1
            timers._push(self, at_ns)

    def close(self) -> None:
        """It will not be armed again. Its owner is let go, also by the entry that may still be in the heap."""
        self.disarm()
        self.callback = _nobody

    def disarm(self) -> None:
        if self.deadline is not None:
            self.deadline = None
            if self._entry is not None:
                self._timers._dead += 1
                self._timers._sweep()


Entry = tuple[Any, ...]
"""(time, order, timer). Not a tuple of three to the type checker: what is compiled takes those apart and makes them
anew, and here it matters which object it is."""


class Timers:
    """The heap. The owner asks `next_deadline()` and calls `run(now)` when it has come."""

    __slots__ = ("_dead", "_order", "_runs", "heap")

    def __init__(self) -> None:
        self.heap: list[Entry] = []
        """Always this list. Its first entry is at or before the first deadline."""
        self._order = 0
        self._runs = 0
        self._dead = 0  # entries superseded, or whose timer is disarmed

    def timer(self, callback: Callable[[int], None]) -> Timer:
        return Timer(self, callback)

    def __len__(self) -> int:
        """How many timers are armed."""
        return len(self.heap) - self._dead

    def _push(self, timer: Timer, at_ns: int) -> None:
        self._order += 1
        entry: Entry = (at_ns, self._order, timer)
        timer._entry = entry
        _heappush(self.heap, entry)
        if self._dead > 64:
            self._sweep()

    def _sweep(self) -> None:
        """Rebuild the heap when most of it is dead: memory stays proportional to the timers that are armed."""
        if self._dead <= 64 or self._dead * 2 <= len(self.heap):
            return
        live: list[Entry] = []
        for entry in self.heap:
            timer: Timer = entry[2]
            if timer._entry is entry:
                if timer.deadline is None:
                    timer._entry = None
                else:
                    live.append(entry)
        self.heap[:] = live
        heapq.heapify(self.heap)
        self._dead = 0

    def _settle(self) -> Timer | None:
        """Bring the heap's head to a live entry whose time is its timer's deadline; that timer, or None."""
        heap = self.heap
        while heap:
            entry = heap[0]
            timer: Timer = entry[2]
            if timer._entry is not entry:
                _heappop(heap)
                self._dead -= 1
            elif timer.deadline is None:
                _heappop(heap)
                self._dead -= 1
                timer._entry = None
            elif timer.deadline > entry[0]:
                _heappop(heap)
                self._push(timer, timer.deadline)
            else:
                return timer
        return None

    def next_deadline(self) -> int | None:
        heap = self.heap
        if not heap:
            return None
        entry = heap[0]
        at: int = entry[0]
        timer: Timer = entry[2]
        if timer._entry is entry and timer.deadline == at:  # nearly always
            return at
        first = self._settle()
        return None if first is None else first.deadline

    def run(self, now: int) -> int:
        """Call every timer whose deadline is at or before now, in order; how many were called.

        A callback may disarm timers that are still to come. Those it arms, also for the past, wait for the next `run`:
        none can spin.
        """
        self._runs += 1
        run = self._runs
        called = 0
        waiting: list[Timer] = []
        while True:
            timer = self._settle()
            if timer is None or timer.deadline is None or timer.deadline > now:
                break
            _heappop(self.heap)
            timer._entry = None
            if timer._armed_in == run:
                waiting.append(timer)
                continue
            timer.deadline = None
            called += 1
            timer.callback(now)
        for timer in waiting:
            if timer.deadline is not None and timer._entry is None:
                self._push(timer, timer.deadline)
        return called
