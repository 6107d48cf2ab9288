"""Meters: how CPU time is taken from a running task, fast enough to be asked at every turn of every loop.

In virtual time the meter holds a *budget*: how much the running task may still use before anything else on the
timeline acts or its slice ends. `tick` only adds to a counter and compares; `trap` and `spend` move the clock
themselves while they stay inside the budget; past it, they go to the scheduler. Whatever shortens the budget is seen:
new events by the timeline's count of armings, all else by `stale()`.

In real time charges only feed rusage; `tick` and `trap` look at the host's clock often enough for devices to be polled
every 50 us.

There is one meter per machine, for the one task of it whose greenlet runs. Its state lives in closure variables,
which is what makes a tick cost 0.1 us. `user` and `system` are the CPU times not yet booked to the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.clock import FOREVER, RealTimeline, VirtualTimeline, wall_ns
from kernel.task import WORK_DIE, WORK_RESCHED, Killed

if TYPE_CHECKING:
    from kernel.cost import Costs
    from kernel.sched.cpu import Cpu
    from kernel.sched.scheduler import Scheduler
    from kernel.task import Task

BUDGET_NS = 1_000_000
"""The budget is never more, so that a stop of the timeline is seen within some milliseconds of real time."""
POLL_NS = 50_000
"""Real time: a running task lets devices be polled at least this often."""

UserReturn = Callable[["Task"], None]


class Meter:
    """What a meter offers, bound once."""

    __slots__ = (
        "book", "burn", "end", "enter", "leave", "owe", "polled", "progress", "settle", "spend", "stale", "tick",
        "trap",
    )  # fmt: skip

    tick: Callable[[], None]
    """User mode: one tick. May run signal handlers, may raise Killed."""
    trap: Callable[[], None]
    """Enter the kernel: charges the trap. May raise Killed."""
    spend: Callable[[int], None]
    """In the kernel: let `ns` pass before the effect. Never raises."""
    burn: Callable[[int], None]
    """User mode: use `ns` of CPU time. May run signal handlers, may raise Killed."""
    owe: Callable[[int], None]
    """In the kernel, where the task cannot wait: charge `ns` later, at the next chance."""
    settle: Callable[[], None]
    """Let everything charged so far elapse."""
    stale: Callable[[], None]
    """Something changed that the budget does not know of."""
    enter: Callable[[Task, Cpu], None]
    """The scheduler is about to run this task's greenlet on this CPU."""
    book: Callable[[], None]
    """Add the CPU times used so far to the running task's."""
    polled: Callable[[], None]
    """The timeline's loop has just run."""
    leave: Callable[[], None]
    """No task of this machine runs."""
    end: Callable[[], int]
    """The running task gives up its CPU: book its times; returns the kernel time it still owes."""
    progress: Callable[[], int]
    """A number that changes while ticks or traps happen: for the watchdog."""


def virtual_meter(
    scheduler: Scheduler, timeline: VirtualTimeline, costs: Costs, user_return: UserReturn
) -> Meter:
    """The meter of a machine in virtual time."""
    TICK, TRAP = costs.tick, costs.trap
    elapse = scheduler.elapse
    current: Task | None = None
    on: Cpu | None = None
    charge = debt = budget = user = system = turns = 0
    seen = -1

    def grant() -> None:
        nonlocal budget, seen, turns
        turns += 1
        now = timeline.now
        end = now + BUDGET_NS
        if on is not None and on.slice_end < end:
            end = on.slice_end
        heap = timeline._heap
        if heap:
            entry = heap[0]
            first = entry[0] if entry[2]._live is entry else timeline.peek()
            if first is not None and first < end:
                end = first
        if timeline.limit < end:
            end = timeline.limit + 1
        budget = end - now if current is None or not current.work & WORK_DIE else 0
        seen = timeline._sequence

    def tick() -> None:
        nonlocal charge
        charge += TICK
        if charge >= budget or timeline._sequence != seen:
            expire()

    def expire() -> None:
        nonlocal charge, debt, user, system
        task = current
        if task is None:
            charge = 0
            return
        ns = charge + debt
        user += charge
        system += debt
        charge = debt = 0
        elapse(ns)
        grant()
        if task.work:
            user_return(task)
            grant()

    def trap() -> None:
        nonlocal charge, debt, budget, user, system
        system += debt + TRAP
        user += charge
        ns = charge + debt + TRAP
        charge = debt = 0
        if ns < budget and timeline._sequence == seen:
            budget -= ns
            timeline.now += ns
            return
        task = current
        if task is None:
            raise RuntimeError("a system call was made while its task does not run")
        elapse(ns)
        grant()
        if task.work & WORK_DIE:
            raise Killed

    def spend(ns: int) -> None:
        nonlocal charge, debt, budget, user, system
        user += charge
        system += debt + ns
        ns += charge + debt
        charge = debt = 0
        if ns < budget and timeline._sequence == seen:
            budget -= ns
            timeline.now += ns
            return
        if current is None:
            return
        elapse(ns)
        grant()

    def burn(ns: int) -> None:
        nonlocal charge, debt, user, system
        task = current
        if task is None:
            raise RuntimeError("sys.cpu() was called while its task does not run")
        if task.work:
            user_return(task)
        system += debt
        user += charge
        left = ns
        extra = charge + debt
        charge = debt = 0
        while left > 0 or extra:
            task.burn_left = 0
            task.burning = True
            user += left
            elapse(left + extra)
            task.burning = False
            extra = 0
            left = task.burn_left
            user -= left
            grant()
            if task.work:
                user_return(task)
                grant()

    def owe(ns: int) -> None:
        nonlocal debt, seen
        debt += ns
        seen = -1

    def settle() -> None:
        if charge or debt:
            spend(0)

    def stale() -> None:
        nonlocal seen
        seen = -1

    def enter(task: Task, cpu: Cpu) -> None:
        nonlocal current, on
        current = task
        on = cpu
        grant()

    def end() -> int:
        nonlocal charge, debt, user, system, current
        rest = charge + debt
        user += charge
        system += debt
        charge = debt = 0
        if current is not None:
            current.utime += user
            current.stime += system
            if on is not None:
                on.system_ns += system
                if current.nice > 0:
                    on.nice_ns += user
                else:
                    on.user_ns += user
            user = system = 0
            current = None
        return rest

    def leave() -> None:
        nonlocal budget
        end()
        budget = FOREVER

    def polled() -> None:
        return

    def book() -> None:
        nonlocal user, system
        if current is not None:
            current.utime += user
            current.stime += system
            if on is not None:
                on.system_ns += system
                if current.nice > 0:
                    on.nice_ns += user
                else:
                    on.user_ns += user
            user = system = 0

    def progress() -> int:
        return turns

    meter = Meter()
    meter.polled = polled
    meter.tick, meter.trap, meter.spend, meter.burn = tick, trap, spend, burn
    meter.owe, meter.settle, meter.stale = owe, settle, stale
    meter.enter, meter.leave, meter.end, meter.book, meter.progress = enter, leave, end, book, progress
    return meter


def real_meter(scheduler: Scheduler, timeline: RealTimeline, costs: Costs, user_return: UserReturn) -> Meter:
    """The meter of a machine in real time."""
    TICK, TRAP = costs.tick, costs.trap
    current: Task | None = None
    on: Cpu | None = None
    user = system = turns = 0
    poll_at = looked = 0
    fuel = grain = 16

    def poll() -> None:
        """Let the loop run once: devices, timers, and whoever they woke."""
        nonlocal turns
        turns += 1
        task, cpu = current, on
        if task is None or cpu is None:
            return
        cpu.account(wall_ns())
        if cpu.slice_end <= wall_ns():
            task.work |= WORK_RESCHED
        scheduler.park(task, wall_ns())

    def tick() -> None:
        nonlocal fuel
        fuel -= 1
        if fuel < 0:
            expire()

    def expire() -> None:
        nonlocal fuel, grain, user, looked
        task = current
        now = wall_ns()
        took = now - looked
        if took > POLL_NS and grain > 4:
            grain >>= 1
        elif took < POLL_NS >> 2 and grain < 1024:
            grain <<= 1
        looked = now
        user += grain * TICK
        fuel = grain
        if task is None:
            return
        if now >= poll_at:
            poll()
            looked = wall_ns()
        if task.work:
            user_return(task)

    def trap() -> None:
        nonlocal system
        system += TRAP
        if wall_ns() >= poll_at:
            poll()
        if current is not None and current.work & WORK_DIE:
            raise Killed

    def spend(ns: int) -> None:
        nonlocal system
        system += ns

    def burn(ns: int) -> None:
        nonlocal user
        task = current
        if task is None:
            raise RuntimeError("sys.cpu() was called while its task does not run")
        left = ns
        if task.work:
            user_return(task)
        while left > 0:
            task.burn_left = 0
            task.burning = True
            user += left
            scheduler.park(task, wall_ns() + left)
            task.burning = False
            left = task.burn_left
            user -= left
            if task.work:
                user_return(task)

    def stale() -> None:
        nonlocal fuel
        fuel = 0

    def settle() -> None:
        return

    def enter(task: Task, cpu: Cpu) -> None:
        nonlocal current, on
        current = task
        on = cpu

    def polled() -> None:
        nonlocal poll_at, fuel, looked
        looked = wall_ns()
        fuel = grain
        poll_at = looked + POLL_NS

    def end() -> int:
        nonlocal user, system, current
        if current is not None:
            current.utime += user
            current.stime += system
            if on is not None:
                on.system_ns += system
                if current.nice > 0:
                    on.nice_ns += user
                else:
                    on.user_ns += user
            user = system = 0
            current = None
        return 0

    def leave() -> None:
        end()

    def book() -> None:
        nonlocal user, system
        if current is not None:
            current.utime += user
            current.stime += system
            if on is not None:
                on.system_ns += system
                if current.nice > 0:
                    on.nice_ns += user
                else:
                    on.user_ns += user
            user = system = 0

    def progress() -> int:
        return turns

    meter = Meter()
    meter.polled = polled
    meter.tick, meter.trap, meter.spend, meter.burn = tick, trap, spend, burn
    meter.owe, meter.settle, meter.stale = spend, settle, stale
    meter.enter, meter.leave, meter.end, meter.book, meter.progress = enter, leave, end, book, progress
    return meter
