"""EEVDF: earliest eligible virtual deadline first (Stoica and Abdel-Wahab 1995), as Linux 6.18 has it.

Every task asks for CPU time in *requests*. A task of weight w that runs for t ages by t/w in virtual time
(`vruntime`). The virtual time of the queue, V, is the mean age of all that compete, weighted; a task's lag is V minus
its own age: what it has still to get (positive) or has had too much (negative), per weight. A task is *eligible* while
its lag is not negative; among the eligible ones the earliest virtual deadline (age at the start of the request plus
request/w) runs, until its request is served. So nobody's CPU time differs from its ideal share by more than a request.

What is Linux's:
- the base request, 0.7 ms x (1 + log2 of the CPUs, at most 8); 0.1 to 100 ms when sched_setattr asks for another;
- the lag is kept over a sleep and given back at the wakeup, scaled by (W + w)/W since the return itself moves V. A
  negative one is worked off meanwhile, as a task whose dequeue is delayed does: it stays at its age, V comes nearer,
  and once V has passed it the lag is 0;
- a new task's first request is half as long; yielding forfeits the rest of the request;
- the running task is protected until its request is served (RUN_TO_PARITY), but a task with a shorter request may
  preempt it at wakeup (PREEMPT_SHORT); SCHED_BATCH and SCHED_IDLE preempt nobody, everybody preempts SCHED_IDLE.

What is not: the first request after a sleep is short, 0.1 ms, unless the task has chosen its own. Linux leaves it to
sched_setattr to ask for that; here a server answers promptly beside busy loops as it comes. Fairness does not depend on
it: a task that has had its share is not eligible, however short its request. Slices end exactly, not at the next tick.

Who waits is in one of two lazy heaps: `ready` by deadline (eligible when last seen) and `waiting` by age. Whoever V has
passed moves over; whoever has become ineligible (V goes back when a late-comer is owed time) moves back when met at the
top. Each operation is O(log n) of those that are runnable, amortized; sleepers cost nothing. Sums are exact integers:
ages count in 2^-10 ns of a task of nice 0. Their sum counts from `base`, the age at which the queue was last empty: so
its numbers stay small, and V is the same to the last digit.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from kernel.abi import SCHED_IDLE, SCHED_OTHER
from kernel.cost import Costs
from kernel.sched.policy import CREATED, WOKEN, YIELDED

if TYPE_CHECKING:
    from kernel.task import Task

_heappush: Final = heappush

SHIFT = 20
"""Age = ns << SHIFT // weight: 2^10 for the weight of nice 0, 2^10 for the fraction."""
TICK_NS = 4_000_000
"""Linux's tick at 250 Hz: no lag is cut below what a task gets in one."""

Entry = tuple[Any, ...]
"""(deadline or age, order, task). Not a tuple of three to the type checker: what is compiled takes those apart and
makes them anew, and here it matters which object it is."""


class Eevdf:
    """The fair tasks of one CPU."""

    __slots__ = (
        "_dead", "_order", "_shorts", "base", "base_ns", "count", "current", "floor", "load", "mass", "ready",
        "waiting", "wake_ns",
    )  # fmt: skip

    def __init__(self, costs: Costs, cpus: int) -> None:
        self.base_ns = costs.request * min(cpus, 8).bit_length()
        self.wake_ns = min(costs.wake_request, self.base_ns)
        self.count = 0
        self.load = 0
        self.base = 0
        self.mass = 0
        """The sum of weight x (age - base)."""
        self.floor = 0
        """V while nobody is here."""
        self.current: Task | None = None
        self.ready: list[Entry] = []
        self.waiting: list[Entry] = []
        self._dead = 0
        self._order = 0
        self._shorts = 0
        """How many wait with a request shorter than the base."""

    # ---- virtual time ----

    def average(self) -> int:
        """V."""
        return self.base + self.mass // self.load if self.load else self.floor

    def eligible(self, task: Task) -> bool:
        """Whether the task, one of those here, has a lag of 0 or more."""
        return (task.vruntime - self.base) * self.load <= self.mass

    def charge(self, task: Task, ran_ns: int) -> None:
        weight = task.weight
        aged = (ran_ns << SHIFT) // weight
        task.vruntime += aged
        self.mass += aged * weight

    def _renew(self, task: Task) -> None:
        """The request is served: the next one."""
        task.request = task.custom_slice or self.base_ns
        task.deadline = task.vruntime + (task.request << SHIFT) // task.weight

    # ---- coming and going ----

    def enqueue(self, task: Task, reason: str) -> None:
        weight = task.weight
        load = self.load
        if load:
            age = self.base + self.mass // load
        else:
            age = self.base = self.floor
        home = task.lag_home
        if home is not None:
            task.lag_home = None
            if load:
                lag = task.vlag
                if lag < 0:
                    if home is self:
                        age = max(age, task.vruntime)
                    elif home.load:
                        lag = min(home.average() - task.vruntime, 0) * home.load // (home.load + weight)
                        age -= lag * (load + weight) // load
                else:
                    age -= lag * (load + weight) // load
        task.vruntime = age
        rest = task.rest
        if rest:  # it comes from another queue, in the midst of its request
            task.rest = 0
            task.deadline = age + rest
        else:
            request = task.custom_slice
            if not request:
                request = self.wake_ns if reason == WOKEN and task.policy == SCHED_OTHER else self.base_ns
            task.request = request
            asked = (request << SHIFT) // weight
            task.deadline = age + (asked >> 1 if reason == CREATED else asked)
        self.load = load + weight
        self.mass += (age - self.base) * weight
        self._push(task)

    def _push(self, task: Task) -> None:
        """Among those that wait; its weight counts already."""
        self.count += 1
        if task.request < self.base_ns:
            self._shorts += 1
        self._order = order = self._order + 1
        eligible = (task.vruntime - self.base) * self.load <= self.mass
        entry: Entry = (task.deadline if eligible else task.vruntime, order, task)
        task.turn = entry
        _heappush(self.ready if eligible else self.waiting, entry)

    def put_back(self, task: Task, reason: str) -> None:
        self.current = None
        if reason == YIELDED:
            asked = (task.request << SHIFT) // task.weight
            if self.eligible(task) and task.deadline > task.vruntime:
                self.mass += (task.deadline - task.vruntime) * task.weight
                task.vruntime = task.deadline
            task.deadline = max(task.deadline, task.vruntime) + asked
        elif task.vruntime >= task.deadline:
            self._renew(task)
        self._push(task)

    def leave(self, task: Task, sleeps: bool) -> None:
        self.current = None
        self._part(task, sleeps)

    def remove(self, task: Task) -> None:
        self.count -= 1
        if task.request < self.base_ns:
            self._shorts -= 1
        task.turn = None
        self._dead += 1
        if self._dead > 32 and self._dead > self.count:
            self._sweep()
        self._part(task, False)

    def _part(self, task: Task, sleeps: bool) -> None:
        """The task takes its lag with it."""
        weight = task.weight
        age = task.vruntime
        load = self.load - weight
        if not load:
            self.floor = age
            self.load = self.mass = 0
            task.vlag = 0
        else:
            average = self.base + self.mass // self.load
            lag = average - age
            limit = (max(2 * task.request, TICK_NS) << SHIFT) // weight
            if lag > limit:
                lag = limit
            elif lag < -limit:
                lag = -limit
            task.vlag = lag
            self.load = load
            self.mass -= (age - self.base) * weight
            age = average - lag
        task.lag_home = self
        task.rest = 0 if sleeps else max(task.deadline - task.vruntime, 0)
        task.vruntime = age

    def _sweep(self) -> None:
        for heap in (self.ready, self.waiting):
            heap[:] = [entry for entry in heap if entry[2].turn is entry]
            heapify(heap)
        self._dead = 0

    # ---- who is next ----

    def _best(self) -> Task | None:
        """Of those that wait: eligible, with the earliest deadline. It is at the top of `ready`."""
        ready, waiting = self.ready, self.waiting
        load, mass, base = self.load, self.mass, self.base
        while waiting:
            entry = waiting[0]
            task: Task = entry[2]
            if task.turn is not entry:
                heappop(waiting)
                self._dead -= 1
            elif (entry[0] - base) * load <= mass:
                heappop(waiting)
                moved: Entry = (task.deadline, entry[1], task)
                task.turn = moved
                _heappush(ready, moved)
            else:
                break
        while ready:
            entry = ready[0]
            task = entry[2]
            if task.turn is not entry:
                heappop(ready)
                self._dead -= 1
            elif (task.vruntime - base) * load <= mass:
                return task
            else:
                heappop(ready)
                back: Entry = (task.vruntime, entry[1], task)
                task.turn = back
                _heappush(waiting, back)
        return None

    def pick(self) -> Task | None:
        ready = self.ready
        if self.count == 1 and len(ready) == 1 and not self.waiting:
            alone: Task = ready.pop()[2]  # who is alone is eligible
            alone.turn = None
            self.count = 0
            if alone.request < self.base_ns:
                self._shorts -= 1
            self.current = alone
            return alone
        task = self._best()
        if task is not None:
            heappop(ready)
            task.turn = None
            self.count -= 1
            if task.request < self.base_ns:
                self._shorts -= 1
            self.current = task
        return task

    def take(self, task: Task) -> None:
        task.turn = None
        self._dead += 1
        self.count -= 1
        if task.request < self.base_ns:
            self._shorts -= 1
        self.current = task

    def steal(self, cpu: int, most: int) -> Task | None:
        task = self._best()
        if task is None or task.weight > most or not (task.affinity is None or task.affinity >> cpu & 1):
            fit = [
                entry
                for heap in (self.ready, self.waiting)
                for entry in heap
                if entry[2].turn is entry
                and entry[2].weight <= most
                and (entry[2].affinity is None or entry[2].affinity >> cpu & 1)
            ]
            if not fit:
                return None
            task = min(fit, key=lambda entry: (entry[2].vruntime, entry[1]))[2]
        self.remove(task)
        return task

    def slice(self, task: Task) -> int:
        if task.vruntime >= task.deadline:  # it was alone, and nobody looked
            self._renew(task)
        left = (task.deadline - task.vruntime) * task.weight
        ns = -(-left >> SHIFT)
        if self._shorts and ns > self.wake_ns and task.request > self.wake_ns:
            return self.wake_ns  # somebody with a short request becomes eligible meanwhile
        return ns

    def must_yield(self, task: Task) -> bool:
        served = task.vruntime >= task.deadline
        if served:
            self._renew(task)
        best = self._best()
        if best is None:
            return False
        if best.policy == SCHED_IDLE and task.policy != SCHED_IDLE and not served:
            return False
        if not served and best.request >= task.request:
            return False
        return best.deadline < task.deadline or not self.eligible(task)

    def preempts(self, woken: Task, current: Task) -> bool:
        if (woken.policy == SCHED_IDLE) != (current.policy == SCHED_IDLE):
            return current.policy == SCHED_IDLE
        if woken.policy != SCHED_OTHER:
            return False
        if current.vruntime >= current.deadline:
            self._renew(current)
        if self._best() is not woken:
            return False
        if not self.eligible(current):
            return True
        return woken.request < current.request and woken.deadline < current.deadline
