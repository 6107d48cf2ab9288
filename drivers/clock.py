"""Timelines: the one place that knows what time it is, what happens next, and where randomness comes from.

A timeline owns `now` (integer nanoseconds), a heap of deadlines and a seeded generator per named stream.
Whoever wants to be called later owns a `Timer` and arms it; the callback gets the time and is called once per
arming.

Heap entries are `(time, order, timer)`. `order` is the number of the arming in the order in which they were
made, so that events of one instant run in the order in which they were asked for; or the timer's fixed
`rank`, which lies above every such number, so that CPUs act after the events of their instant and among
themselves by id.

The heap is lazy. Moving a deadline later (what a retransmission timer does at each ACK) or disarming touches
only the timer: its entry is put right when it comes to the top. Moving it earlier leaves a dead entry behind.
Dead entries are counted and swept when they are the greater part, so the heap stays proportional to the
timers that are armed, and every operation is O(log n) amortized, whatever the number of idle timers.

A timer that fires is in the state of one just disarmed: its entry stays on top while the callback runs, so
arming it anew costs one sift and not two.

Invariants. A timer has at most one entry that counts (`_entry`); `_live is _entry` when that entry says
exactly the timer's deadline and order, and `_live is None` when it must be moved or forgotten first.
`_entry[0] <= deadline`, so no deadline is ever met late.

This file alone reads host clocks (`RealTimeline.now`, `wall_ns`, `cpu_ns`).
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import time
from collections import deque
from collections.abc import Callable, MutableSequence, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final, Protocol, TypeVar

from drivers.alarm import Alarm

SECOND = 1_000_000_000
FOREVER = (1 << 62) - 1
"""Later than any deadline: the greatest integer that is not an object in the compiled form."""
CPU_RANK = 1 << 60
"""Ranks start here, above every sequence number: the CPU with (timeline-wide) number i uses CPU_RANK + i."""
EPOCH_NS = 1_767_225_600 * SECOND
"""What virtual time 0 is on the calendar: 2026-01-01T00:00:00Z, in every run."""

Callback = Callable[[int], None]
Item = TypeVar("Item")

SOON_NS = 50_000
"""What comes within that is looked for and not slept for: to be woken takes about as long (`RealTimeline._look`)."""
CROWDED_NS = 1_000_000
"""Who gets the processor back that late shares it with somebody who uses his whole share, and not with an end of the
flow, which soon waits in turn."""
ALONE_AGAIN_NS = 10_000_000
MOST_READY = 64
"""So many descriptors are told of in one turn; others that are ready come first in the next."""

wall_ns: Final = time.monotonic_ns
"""The host's monotonic clock, for reports of how long something really took."""
cpu_ns = time.process_time_ns
"""CPU time of this process, for the same."""


class Stream:
    """A seeded generator of its own. The sequence depends on (seed, name) and on nothing else.

    Only `random.Random.random` is used: of the standard library's generators it is the one whose sequence is
    promised to stay the same in later versions of Python.
    """

    __slots__ = ("name", "random", "seed")

    def __init__(self, seed: int | str, name: str) -> None:
        self.seed = seed
        self.name = name
        digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
        self.random: Callable[[], float] = random.Random(int.from_bytes(digest, "big")).random

    def stream(self, name: str) -> Stream:
        """A generator derived from this one's seed and name, independent of how much was drawn here."""
        return Stream(self.seed, f"{self.name}/{name}")

    def chance(self, probability: float) -> bool:
        """True with the given probability; draws once, always."""
        return self.random() < probability

    def below(self, n: int) -> int:
        """A uniform integer in [0, n)."""
        if n <= 0:
            raise ValueError(f"below({n}): there is no integer in [0, {n})")
        if n <= 1 << 32:
            return int(self.random() * n)
        return self.bits(n.bit_length() + 32) % n

    def between(self, low: int, high: int) -> int:
        """A uniform integer in [low, high], both included."""
        return low + self.below(high - low + 1)

    def bits(self, count: int) -> int:
        """An integer of `count` random bits."""
        value, have = 0, 0
        while have < count:
            value = value << 32 | int(self.random() * 4294967296.0)
            have += 32
        return value >> (have - count)

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        return self.bits(8 * count).to_bytes(count, "big")

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[Item]) -> None:
        """Fisher and Yates, in place."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]


class Timer:
    """A deadline and what to call then. Made by `timeline.timer(callback)`."""

    __slots__ = ("_entry", "_live", "_order", "_owner", "_serial", "callback", "deadline", "rank")

    def __init__(self, owner: _Deadlines, callback: Callback, rank: int | None, serial: int) -> None:
        self.callback = callback
        self.rank = rank
        self.deadline: int | None = None
        self._owner = owner
        self._serial = serial
        self._order = 0
        self._entry: Entry | None = None
        self._live: Entry | None = None

    def arm(self, at_ns: int) -> None:
        """Call back at `at_ns` (or as soon as possible, when that has passed); replaces an earlier arming.

        Arming again for the same time keeps the place among the events of that time.
        """
        deadline = self.deadline
        if at_ns == deadline:
            return
        owner = self._owner
        owner._sequence = order = owner._sequence + 1  # also for ranks: unchanged means that nothing was armed
        if self.rank is not None:
            order = self.rank
        self.deadline = at_ns
        entry = self._entry
        if entry is not None:
            if entry[0] <= at_ns:  # put right when it comes to the top
                if deadline is None:
                    owner._dead -= 1
                self._order = order
                self._live = None
                return
            if deadline is not None:
                owner._dead += 1
        fresh: Entry = (at_ns, order, self)
        self._entry = self._live = fresh
        heappush(owner._heap, fresh)
        if owner._dead > 64:
            owner._sweep()

    def disarm(self) -> None:
        """Forget the deadline, if there is one."""
        if self.deadline is not None:
            self.deadline = self._live = None
            owner = self._owner
            owner._dead += 1
            if owner._dead > 64:
                owner._sweep()

    def __lt__(self, other: Timer) -> bool:
        return self._serial < other._serial

    def __repr__(self) -> str:
        return f"<Timer {getattr(self.callback, '__qualname__', self.callback)} at {self.deadline}>"


Entry = tuple[Any, ...]
"""(time, order, timer). Not a tuple of three to the type checker: what is compiled takes those apart and makes them
anew, and here it matters which object it is."""


class Timeline(Protocol):
    """What everybody may rely on, in virtual and in real time."""

    epoch_ns: int
    """Added to a `now` it gives nanoseconds since 1970."""

    @property
    def now(self) -> int: ...

    def stream(self, name: str) -> Stream: ...

    def timer(self, callback: Callback, rank: int | None = None) -> Timer: ...

    def peek(self) -> int | None: ...

    def run(self, until: int | None = None) -> None: ...

    def stop(self) -> None: ...


class _Deadlines:
    """The heap and the named streams, which both timelines share."""

    __slots__ = ("_dead", "_heap", "_running", "_sequence", "_serial", "_streams", "limit", "seed")

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.limit = FOREVER
        """The end of the run under way: nobody may carry `now` beyond it. Below zero: stop."""
        self._heap: list[Entry] = []
        self._dead = 0
        self._sequence = 0
        self._serial = 0
        self._running = False
        self._streams: dict[str, Stream] = {}

    def stream(self, name: str) -> Stream:
        """The generator of that name: always the same object, seeded from the timeline's seed and the name.
        """
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = Stream(self.seed, name)
        return found

    def timer(self, callback: Callback, rank: int | None = None) -> Timer:
        """A timer that is not armed yet. A `rank` must be unique on the timeline and at least CPU_RANK."""
        if rank is not None and rank < CPU_RANK:
            raise ValueError(f"rank {rank} would come before events: use CPU_RANK ({CPU_RANK}) + id")
        self._serial += 1
        return Timer(self, callback, rank, self._serial)

    def peek(self) -> int | None:
        """The time of the next event, or None when nothing is armed."""
        heap = self._heap
        while heap:
            entry = heap[0]
            timer: Timer = entry[2]
            if timer._live is entry:
                due: int = entry[0]
                return due
            self._settle(entry)
        return None

    def _settle(self, entry: Entry) -> None:
        """Move or forget the entry at the top of the heap, which does not say what its timer says."""
        timer: Timer = entry[2]
        if timer._entry is entry:
            deadline = timer.deadline
            if deadline is not None:
                moved: Entry = (deadline, timer._order, timer)
                timer._entry = timer._live = moved
                heapreplace(self._heap, moved)
                return
            timer._entry = None
        self._dead -= 1
        heappop(self._heap)

    def _sweep(self) -> None:
        """Drop the dead entries once they are the greater part. Amortized constant: each was paid for by an
        arming.
        """
        heap = self._heap
        if self._dead <= len(heap) >> 1:
            return
        kept: list[Entry] = []
        for entry in heap:
            timer: Timer = entry[2]
            if timer._entry is not entry:
                continue
            if timer.deadline is None:
                timer._entry = None
                continue
            if timer._live is not entry:
                moved: Entry = (timer.deadline, timer._order, timer)
                timer._entry = timer._live = entry = moved
            kept.append(entry)
        heap[:] = kept  # in place: a run under way holds this list
        heapify(heap)
        self._dead = 0

    def _enter(self, until: int | None) -> None:
        if self._running:
            raise RuntimeError("the timeline is running already: a callback must not call run() or step()")
        self._running = True
        self.limit = FOREVER if until is None else until

    def _leave(self) -> None:
        self._running = False
        self.limit = FOREVER


class VirtualTimeline(_Deadlines):
    """Simulated time: it stands still while a callback runs, and jumps to the next deadline in between."""

    __slots__ = ("epoch_ns", "now")

    def __init__(self, seed: int | str = 0, epoch_ns: int = EPOCH_NS) -> None:
        super().__init__(seed)
        self.now: int = 0
        self.epoch_ns = epoch_ns

    def advance(self, to_ns: int, rank: int = CPU_RANK) -> bool:
        """Carry time forward inside a callback: what a CPU does whose next action nothing precedes.

        True, and `now` is `to_ns`, when no event lies before (to_ns, rank) and the run under way reaches that
        far; False and nothing has changed otherwise: then arm a timer and return to the loop.
        """
        if to_ns > self.limit:
            return False
        heap = self._heap
        while heap:
            entry = heap[0]
            due: int = entry[0]
            if due > to_ns or (due == to_ns and entry[1] >= rank):
                break
            timer: Timer = entry[2]
            if timer._live is entry:
                return False
            self._settle(entry)
        if to_ns > self.now:
            self.now = to_ns
        return True

    def reach(self, to_ns: int) -> bool:
        """Carry time forward as the last act of an event: what it would otherwise arm a timer for, it may do at once.

        True, and `now` is `to_ns`, when a timer armed for then would be the next to run.
        """
        if to_ns > self.limit:
            return False
        heap = self._heap
        while heap:
            entry = heap[0]
            due: int = entry[0]
            if due > to_ns or (due == to_ns and entry[1] > self._sequence):
                break
            timer: Timer = entry[2]
            if timer._live is entry:
                return False
            # The entry of the timer that has just fired, nearly always: what `_settle` does.
            if timer._entry is entry:
                deadline = timer.deadline
                if deadline is not None:
                    moved: Entry = (deadline, timer._order, timer)
                    timer._entry = timer._live = moved
                    heapreplace(heap, moved)
                    continue
                timer._entry = None
            self._dead -= 1
            heappop(heap)
        self.now = to_ns
        return True

    def run(self, until: int | None = None) -> None:
        """Run every event with time <= until, then let it be `until`; or until stop(), or until nothing is
        armed.

        What a callback raises goes to the caller; its timer counts as fired, all the others stay armed.
        """
        self._enter(until)
        heap = self._heap
        try:
            while heap:
                entry = heap[0]
                due: int = entry[0]
                if due > self.limit:
                    break
                timer: Timer = entry[2]
                if timer._live is entry:
                    timer._live = timer.deadline = None
                    self._dead += 1
                    if due > self.now:
                        self.now = due
                    timer.callback(self.now)
                    if not heap or heap[0] is not entry:
                        continue
                if timer._entry is entry:
                    if timer.deadline is not None:
                        # moved later, or armed anew by its own callback
                        moved: Entry = (timer.deadline, timer._order, timer)
                        timer._entry = timer._live = moved
                        heapreplace(heap, moved)
                        continue
                    timer._entry = None
                self._dead -= 1
                heappop(heap)
            if until is not None and self.limit >= 0 and until > self.now:
                self.now = until
        finally:
            self._leave()

    def step(self, until: int | None = None) -> bool:
        """Run the next event, if there is one with time <= until. False when there is none."""
        self._enter(until)
        try:
            due = self.peek()
            if due is None or due > self.limit:
                return False
            timer: Timer = self._heap[0][2]
            timer._live = timer.deadline = None
            self._dead += 1
            if due > self.now:
                self.now = due
            timer.callback(self.now)
            return True
        finally:
            self._leave()

    def stop(self) -> None:
        """End the run under way after the present callback. Callable from a signal handler."""
        if self._running:
            self.limit = -1


def processors() -> int:
    """On how many this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class RealTimeline(_Deadlines):
    """The host's time: `now` is CLOCK_MONOTONIC, and waiting ends at a deadline or when a watched descriptor
    is ready.

    One thread runs it. From others only `wake` and `post` may be called (and `stop`, which a signal handler
    may call too).
    """

    __slots__ = (
        "_alarm", "_armed", "_counted", "_crowded", "_poll", "_posted", "_single", "_soon", "_stopping", "_wake_r",
        "_wake_w", "_watched", "eager", "epoch_ns", "spin_ns",
    )  # fmt: skip

    def __init__(self, seed: int | str = 0) -> None:
        super().__init__(seed)
        self.epoch_ns = time.time_ns() - wall_ns()
        self._watched: dict[int, Callback] = {}
        self._posted: deque[Callback] = deque()
        self._stopping = False
        self._poll: select.epoll | None = None
        self._alarm: Alarm | None = None
        self.spin_ns = 0
        """For so long every wait looks again and again before it sleeps."""
        self.eager = False
        """Whether a wait looks for SOON_NS before it sleeps when the wait before it ended within that; never on a
        single processor, where who looks keeps the other from answering."""
        self._single = False
        self._counted = 0
        """Until then it is as the processors were counted: affinities change."""
        self._soon = False
        self._crowded = 0
        """Until then it sleeps at once: somebody else wants the processor, and who sleeps is let in before them."""
        self._armed: int | None = None
        """When the alarm goes off: no later than the next deadline while the loop waits, and often earlier."""
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            self._alarm = Alarm(time.CLOCK_MONOTONIC)
            self._wake_r = self._wake_w = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._poll.register(self._wake_r, select.EPOLLIN)
            self._poll.register(self._alarm.fd, select.EPOLLIN)
        else:
            self._wake_r, self._wake_w = os.pipe()
            os.set_blocking(self._wake_r, False)
            os.set_blocking(self._wake_w, False)

    @property
    def now(self) -> int:
        return wall_ns()

    def watch(self, fd: int, callback: Callback) -> None:
        """Call `callback(now)` whenever `fd` is readable (or hung up), again and again until it has been
        read.

        A regular file is always ready and cannot be watched: PermissionError (EPERM), as epoll has it.
        """
        if self._poll is not None and fd not in self._watched:
            self._poll.register(fd, select.EPOLLIN)
        self._watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Stop watching; no error when it was not watched. Call it before the descriptor is closed."""
        if self._watched.pop(fd, None) is not None and self._poll is not None:
            self._poll.unregister(fd)

    def announce(self, fd: int) -> None:
        """Have whoever watches `fd` called soon, as if it were readable: something waits that the descriptor does
        not tell of."""

        def called(now: int) -> None:
            callback = self._watched.get(fd)
            if callback is not None:
                callback(now)

        self._posted.append(called)

    def wake(self) -> None:
        """End a wait. Callable from any thread and from a signal handler."""
        try:
            os.write(self._wake_w, (1).to_bytes(8, "little"))
        except BlockingIOError:  # it is readable already
            return

    def post(self, callback: Callback) -> None:
        """From any thread: have `callback(now)` called on the thread that runs the timeline."""
        self._posted.append(callback)
        self.wake()

    def stop(self) -> None:
        """End the run under way, and a wait; with none under way the next run ends at once, so that a signal that
        comes a moment too early is not lost."""
        self._stopping = True
        if self._running:
            self.limit = -1
        self.wake()

    def run(self, until: int | None = None) -> None:
        """Run until the time, until stop(), or until nothing is armed, watched or posted."""
        self._enter(until)
        try:
            while not self._stopping and (self._watched or self._posted or self.peek() is not None):
                if until is not None and wall_ns() >= until and not self._due(until):
                    return
                self._turn(True)
            if until is not None:
                while not self._stopping and until > wall_ns():
                    self._turn(True)
        finally:
            self._stopping = False
            self._leave()

    def step(self, block: bool = True, until: int | None = None) -> bool:
        """One turn: run the timers that are due, then what the ready descriptors ask for. True when anything
        ran.

        With `block`, and when nothing is due, waits first for a deadline, a descriptor, a `wake` or `until`.
        """
        self._enter(until)
        try:
            return self._turn(block)
        finally:
            self._leave()

    def idle(self, now: int) -> bool:
        """Whether a callback keeps nobody waiting that goes on: nothing is due or posted, and the run goes on."""
        heap = self._heap
        return not (self._posted or self._stopping or self.limit < now or (heap and heap[0][0] <= now))

    def _due(self, now: int) -> bool:
        first = self.peek()
        return first is not None and first <= now

    def _turn(self, block: bool) -> bool:
        now = wall_ns()
        heap = self._heap
        ran = self._expire(now) if heap and heap[0][0] <= now else False
        wait: int | None = None
        if not block or ran or self._posted:
            wait = now
        else:
            if heap:
                entry = heap[0]
                wait = entry[0] if entry[2]._live is entry else self.peek()
            if self.limit < FOREVER and (wait is None or self.limit < wait):
                wait = max(self.limit, 0)
        watched = self._watched
        for fd, _ in self._ready(wait, now):
            callback = watched.get(fd)
            if callback is not None:  # an earlier callback of this turn may have unwatched it
                callback(wall_ns())
                ran = True
            else:
                self._drain(fd)
        posted = self._posted
        if posted:
            for _ in range(len(posted)):
                posted.popleft()(wall_ns())
                ran = True
        if not ran and block:
            ran = self._expire(wall_ns())
        return ran

    def _expire(self, now: int) -> bool:
        """Run what is due at `now`; a timer that its callback arms anew for the past waits for the next turn.
        """
        heap = self._heap
        last = self._sequence
        ran = False
        while heap:
            entry = heap[0]
            if entry[0] > now or self.limit < 0:
                break
            timer: Timer = entry[2]
            if timer._live is not entry:
                self._settle(entry)
                continue
            if last < entry[1] < CPU_RANK:
                break
            timer._live = timer.deadline = None
            self._dead += 1
            ran = True
            timer.callback(wall_ns())
        return ran

    def _ready(self, wait: int | None, now: int) -> list[tuple[int, int]]:
        """Descriptors that are ready, ours among them, after waiting until `wait` (None: as long as it takes) for one.
        """
        poll, alarm = self._poll, self._alarm
        if poll is None or alarm is None:
            timeout = None if wait is None else max(wait - now, 0) / SECOND
            return [(fd, 1) for fd in select.select([self._wake_r, *self._watched], [], [], timeout)[0]]
        if wait is not None and wait <= now:
            return poll.poll(0, MOST_READY)
        look = self.spin_ns
        if self._soon and look < SOON_NS:
            if now > self._counted:
                self._counted = now + ALONE_AGAIN_NS
                self._single = processors() == 1
            if not self._single:
                look = SOON_NS
        if look and now > self._crowded:
            found = self._look(poll, now, now + look if wait is None or wait > now + look else wait)
            if found or (wait is not None and wait <= now + look):
                return found
        armed = self._armed
        if wait is not None and (armed is None or armed > wait or armed <= now):
            alarm.set(wait)
            self._armed = armed = wait
        while True:
            ready: list[tuple[int, int]] = poll.poll(-1, MOST_READY)
            if self.eager:
                ended = wall_ns()
                self._soon = ended - now < SOON_NS
            if armed is None or armed == wait or len(ready) != 1 or ready[0][0] != alarm.fd:
                return ready
            alarm.drain()  # it was set for a deadline that has since moved: it goes off once, and not at each move
            if wait is not None:
                alarm.set(wait)
            self._armed = armed = wait

    def _look(self, poll: select.epoll, now: int, end: int) -> list[tuple[int, int]]:
        """Descriptors that become ready before `end`, none if none does, without sleeping.

        A processor that sleeps takes tens of microseconds to wake, as long as a round trip to a neighbour. In between,
        whoever else is ready gets the processor, the sender of what is waited for perhaps.
        """
        while now < end:
            os.sched_yield()
            found: list[tuple[int, int]] = poll.poll(0, MOST_READY)
            if found:
                return found
            before, now = now, wall_ns()
            if now - before > CROWDED_NS:
                self._soon = False
                self._crowded = now + ALONE_AGAIN_NS
                break
        return []

    def _drain(self, fd: int) -> None:
        """A descriptor of our own is ready: it has ended the wait, and is to be quiet again."""
        if fd == self._wake_r:
            os.read(fd, 8 if self._poll is not None else 65536)
        elif self._alarm is not None and fd == self._alarm.fd:
            self._alarm.drain()
            self._armed = None

    def close(self) -> None:
        """Give the descriptors back. The watched ones belong to their owners."""
        self._watched.clear()
        if self._poll is not None:
            self._poll.close()
        if self._alarm is not None:
            self._alarm.close()
        for fd in {self._wake_r: 0, self._wake_w: 0}:
            os.close(fd)
