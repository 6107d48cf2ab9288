"""One virtual CPU: what runs on it, until when, and what waits for it.

`current` is the task that has the CPU. Its greenlet may be running (at the timeline's `now`), or the CPU is busy with
time that the task owes: then the CPU's timer is armed at the smaller of `until`, where that time ends, and
`slice_end`. An interrupt pushes both back (`steal`); a preemption (`preempt`) leaves the rest with the task. All here
is bookkeeping that may be called from any context; only `act`, the timer's callback, runs in the timeline's loop and
goes on to run the task.

Invariant: when `current` is set and its greenlet is not running, the timer is armed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.clock import CPU_RANK, FOREVER
from kernel.sched.policy import EXPIRED, PREEMPTED
from kernel.sched.runqueue import RunQueue
from kernel.task import RUNNABLE, RUNNING

if TYPE_CHECKING:
    from kernel.sched.scheduler import Scheduler
    from kernel.task import Task


class Cpu:
    """A virtual CPU. `number` counts over the whole timeline, `id` within the machine."""

    __slots__ = (
        "busy_ns", "busy_until", "current", "id", "idle", "interrupt_ns", "io_since", "io_sleepers", "iowait_ns",
        "last", "nice_ns", "queue", "rank", "scheduler", "since", "slice_end", "softirq_ns", "switches", "system_ns",
        "timer", "until", "user_ns",
    )  # fmt: skip

    def __init__(self, scheduler: Scheduler, ident: int, number: int, queue: RunQueue) -> None:
        self.scheduler = scheduler
        self.id = ident
        self.rank = CPU_RANK + number
        self.queue = queue
        self.timer = scheduler.timeline.timer(self.act, self.rank)
        self.current: Task | None = None
        self.last: Task | None = None
        self.until = 0
        """When the time that `current` owes will have elapsed."""
        self.slice_end = FOREVER
        """When `current` must give way; FOREVER while nobody else waits."""
        self.busy_until = 0
        """An interrupt, or what the last task still owed the kernel, occupies the CPU until then."""
        self.since = 0
        """From when on `current` is to be charged."""
        self.idle = True
        """Nobody runs here, and the trace has been told."""
        self.switches = 0
        self.busy_ns = 0
        self.interrupt_ns = 0
        """Time that interrupts took, both halves."""
        self.user_ns = self.nice_ns = self.system_ns = 0
        """What tasks used here, in user mode (`nice_ns`: at a nice above 0) and in the kernel."""
        self.softirq_ns = 0
        """Of it, time of deferred halves."""
        self.io_sleepers = 0
        """Tasks that went to sleep here and wait for a disk."""
        self.io_since = 0
        """How long it had been idle when the first of these went to sleep."""
        self.iowait_ns = 0
        """Time it was idle while there were any."""

    def act(self, now: int) -> None:
        """The timer: the time owed has elapsed, and the task goes on; or its slice is over."""
        task = self.current
        if task is None:
            return
        if self.until > now:
            if self.slice_end <= now:
                self.expire(now)
            else:
                self.arm()
            return
        self.scheduler.resume(self, task)

    def arm(self) -> None:
        """Set the timer to what comes first."""
        until, slice_end = self.until, self.slice_end
        self.timer.arm(until if until < slice_end else slice_end)

    def account(self, now: int) -> None:
        """Charge `current` for the time since the last charge."""
        task = self.current
        if task is not None and now > self.since:
            self.busy_ns += now - self.since
            self.queue.charge(task, now - self.since)
            self.since = now

    def dispatch(self, task: Task, reason: str, now: int) -> None:
        """Give the CPU to `task`, which is on no queue. The switch and what it owes elapse first."""
        scheduler = self.scheduler
        start = now if now > self.busy_until else self.busy_until
        last = self.last
        if last is not task:
            start += scheduler.switch_ns
            self.switches += 1
            task.slices += 1
            if last is not None and last.state == RUNNABLE:
                last.nivcsw += 1
            if scheduler.trace is not None:
                scheduler.trace.switch(self.id, None if self.idle else last, task, reason, now)
            self.last = task
        elif self.idle and scheduler.trace is not None:
            scheduler.trace.switch(self.id, None, task, reason, now)
        self.idle = False
        self.current = task
        task.state = RUNNING
        task.cpu = self
        task.waited_ns += now - task.ready_ns
        self.since = now
        self.until = start + task.owe
        task.owe = 0
        # The slice counts from the dispatch; the switch is charged to whom it serves.
        self.slice_end = start + self.queue.slice(task) if self.queue.count else FOREVER

    def contend(self, now: int) -> None:
        """Somebody else waits now, and `current` is charged up to now: its slice gets an end, or a nearer one."""
        task = self.current
        if task is not None:
            slice_end = max(now, self.since) + self.queue.slice(task)
            if slice_end < self.slice_end:
                self.slice_end = slice_end
                if self.scheduler.running is not task:
                    self.arm()
                else:
                    self.scheduler.meter.stale()

    def renew(self, now: int) -> bool:
        """The slice of `current` is over. True when it goes on all the same, with a new one."""
        self.account(now)
        task, queue = self.current, self.queue
        assert task is not None
        if not queue.count:
            self.slice_end = FOREVER
        elif queue.must_yield(task):
            return False
        else:
            self.slice_end = max(now, self.since) + max(queue.slice(task), 1)
        return True

    def expire(self, now: int) -> None:
        """The slice of `current`, which owes time, is over: others first, if there are any."""
        if self.renew(now):
            self.arm()
        else:
            self.preempt(now, EXPIRED)

    def preempt(self, now: int, reason: str = PREEMPTED) -> None:
        """Take the CPU from `current`, whose greenlet is not running; the rest of its time stays with it."""
        task = self.current
        assert task is not None
        self.account(now)
        task.owe = max(self.until - now, 0)
        self.release(task, reason, now)
        self.next(now, reason)

    def release(self, task: Task, reason: str, now: int) -> None:
        """Put `task`, which has the CPU but must give way, back into the queue."""
        task.state = RUNNABLE
        task.ready_ns = now
        self.current = None
        self.queue.put_back(task, reason)

    def next(self, now: int, reason: str) -> None:
        """Choose and dispatch the next task, and arm the timer; idle when there is none to be had. Inside an interrupt
        of real time the task goes on when that is over, without a timer (`Scheduler.after_interrupt`).
        """
        if self.choose(now, reason) is not None:
            woken = self.scheduler.woken
            if woken is None:
                self.arm()
            else:
                woken.append(self)

    def choose(self, now: int, reason: str) -> Task | None:
        """Choose and dispatch the next task, leaving the timer to the caller; None, and idle, when there is none."""
        scheduler = self.scheduler
        if scheduler.many:
            scheduler.pull(self, now)
        task = self.queue.pick()
        if task is None:
            self.current = None
            self.timer.disarm()
            if not self.idle:
                self.idle = True
                if scheduler.trace is not None:
                    scheduler.trace.switch(self.id, self.last, None, reason, now)
            return None
        self.dispatch(task, reason, now)
        return task

    def steal(self, ns: int, soft_ns: int = 0) -> None:
        """An interrupt takes the CPU for `ns`, `soft_ns` of it (the last part) for its deferred half."""
        scheduler = self.scheduler
        if not scheduler.virtual:
            return
        self.interrupt_ns += ns
        self.softirq_ns += soft_ns
        now = scheduler.timeline.now
        if scheduler.trace is not None:
            middle = now + ns - soft_ns
            if ns > soft_ns:
                scheduler.trace.interrupt(self.id, "irq", now, middle)
            if soft_ns:
                scheduler.trace.interrupt(self.id, "softirq", middle, now + ns)
        if self.current is None:
            self.busy_until = max(now, self.busy_until) + ns
        elif self.scheduler.running is self.current:
            self.scheduler.meter.owe(ns)
        else:
            self.until += ns
            self.since += ns
            if self.slice_end != FOREVER:
                self.slice_end += ns
            self.arm()

    def times(self, now: int) -> tuple[int, int, int, int, int, int, int]:
        """What /proc/stat says of it, in nanoseconds: user, nice, system, idle, iowait, irq, softirq."""
        used = self.user_ns + self.nice_ns + self.system_ns
        idle = max(now - used - self.interrupt_ns, 0)
        iowait = self.iowait_ns
        if self.io_sleepers:
            iowait += max(self.idle_ns(now) - self.io_since, 0)
        if iowait > idle:
            iowait = idle
        return (
            self.user_ns, self.nice_ns, self.system_ns, idle - iowait, iowait, self.interrupt_ns - self.softirq_ns,
            self.softirq_ns,
        )  # fmt: skip

    def idle_ns(self, now: int) -> int:
        """How long nobody has used it so far."""
        ahead = 0  # what is charged and has not elapsed
        if self.current is not None and self.scheduler.running is not self.current and self.until > now:
            ahead = self.until - now
        return now - self.user_ns - self.nice_ns - self.system_ns - self.interrupt_ns + ahead

    def io_begins(self) -> None:
        """A task is about to go to sleep here until a disk has done something (Linux's nr_iowait)."""
        self.io_sleepers += 1
        if self.io_sleepers == 1:
            self.scheduler.meter.book()
            self.io_since = self.idle_ns(self.scheduler.timeline.now)

    def io_ends(self) -> None:
        """One of these is about to be woken, wherever it will run."""
        self.io_sleepers -= 1
        if not self.io_sleepers:
            self.scheduler.meter.book()
            waited = self.idle_ns(self.scheduler.timeline.now) - self.io_since
            if waited > 0:
                self.iowait_ns += waited

    def cut(self, now: int) -> int:
        """End the time that `current` owes at `now` (a signal has come); how much was left."""
        left = max(self.until - now, 0)
        self.until = now
        self.arm()
        return left

    def __repr__(self) -> str:
        return f"<Cpu {self.id} {self.current}>"
