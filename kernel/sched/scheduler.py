"""The scheduler's mechanism: who runs, who sleeps, and the switches between them.

Every task runs on its own greenlet. The *hub* is the greenlet in which the timeline's loop runs. Time passes for a
task only in `elapse` and in sleep; when nothing else acts before that time is over, `elapse` returns at once,
otherwise the CPU's timer is armed and the greenlet switches to the hub. A task that sleeps switches straight to the
next one of its CPU when that one may go on at once. Whoever resumes a greenlet has told the meter first.

Real time differs in two points only: switches and charges take no virtual time, and a running task returns to the hub
at least every 50 us so that devices are polled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from drivers.clock import FOREVER, RealTimeline, VirtualTimeline
from kernel.cost import Costs
from kernel.sched.cpu import Cpu
from kernel.sched.meter import Meter
from kernel.sched.policy import CREATED, EXPIRED, MIGRATED, PREEMPTED, WOKEN, YIELDED, policy
from kernel.sched.wait import Interrupted
from kernel.task import RUNNABLE, RUNNING, SLEEPING, STOPPED, WORK_DIE, WORK_RESCHED, WORK_SIGNAL, Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.task import Task
    from kernel.trace import SchedulerTrace

STUBBORN = 100
"""How often a task that is being unwound is given the CPU before it is left alone."""

BY_WAKEUP, BY_TIMEOUT, BY_SIGNAL = range(3)
"""`task.outcome`: what ended a sleep."""


class Scheduler:
    """The CPUs of one machine and what they run."""

    __slots__ = (
        "abandon", "costs", "cpus", "draining", "hub", "main", "meter", "running", "switch_ns", "timeline",
        "trace", "virtual", "woken",
    )  # fmt: skip

    def __init__(
        self, timeline: VirtualTimeline | RealTimeline, costs: Costs, cpus: int, policy_name: str, first_cpu: int,
        main: Callable[[Task], None], abandon: Callable[[Task], None],
    ) -> None:  # fmt: skip
        self.timeline = timeline
        self.costs = costs
        self.virtual = isinstance(timeline, VirtualTimeline)
        self.switch_ns = costs.switch if self.virtual else 0
        self.hub: greenlet = getcurrent()
        self.draining = False
        """The machine is being closed: no time passes, nobody waits."""
        self.running: Task | None = None
        """The task whose greenlet runs at this moment; None in event context."""
        self.trace: SchedulerTrace | None = None
        self.woken: list[Cpu] | None = None
        """Real time, while an interrupt is handled: the CPUs that have been given a task meanwhile."""
        self.main = main
        """Runs a task from its first instruction to its end, on its greenlet."""
        self.abandon = abandon
        """Ends a task that never began."""
        make = policy(policy_name)
        self.cpus: list[Cpu] = [Cpu(self, i, first_cpu + i, make(costs)) for i in range(cpus)]
        self.meter: Meter

    # ---- into and out of greenlets ----

    def resume(self, cpu: Cpu, task: Task) -> None:
        """In the hub: run the task's greenlet until somebody switches back."""
        self.hub = hub = getcurrent()
        self.enter(cpu, task)
        self.meter.polled()
        frame = task.greenlet
        if frame is None:
            frame = task.greenlet = greenlet(self._start, hub)
            frame.switch(task)
        else:
            if frame.parent is not hub:
                frame.parent = hub
            frame.switch()
        self.running = None
        self.meter.leave()

    def after_interrupt(self) -> None:
        """In the hub, real time: run the tasks that the interrupt has woken, without asking the timeline first."""
        woken, self.woken = self.woken, None
        if woken:
            now = self.timeline.now
            for cpu in woken:
                task = cpu.current
                if task is None:
                    continue
                if cpu.until <= now and self.running is None:
                    self.resume(cpu, task)
                else:
                    cpu.arm()

    def enter(self, cpu: Cpu, task: Task) -> None:
        """The task's greenlet is about to run at `now`."""
        self.running = task
        self.meter.enter(task, cpu)

    def _start(self, task: Task) -> None:
        """The bottom of every task's stack. When it returns, greenlet goes back to the parent, the hub."""
        self.main(task)
        cpu = task.cpu
        if self.draining:
            return
        now = self.timeline.now
        cpu.busy_until = now + self.meter.end()
        cpu.account(now)
        cpu.current = cpu.last = None
        cpu.next(now, "exit")
        parent = getcurrent().parent
        if parent is not self.hub:
            getcurrent().parent = self.hub

    def _switch_away(self, task: Task, reason: str, cpu: Cpu) -> None:
        """On the greenlet of `task`, which has given up `cpu`: run the next one; return when it is its turn again."""
        now = self.timeline.now
        debt = self.meter.end()
        if debt and self.virtual:
            cpu.busy_until = now + debt
        nxt = cpu.choose(now, reason)
        if nxt is not None and self._may_go_on(cpu):
            if nxt is task:
                self.enter(cpu, task)
                return
            frame = nxt.greenlet
            self.enter(cpu, nxt)
            if frame is None:
                frame = nxt.greenlet = greenlet(self._start, self.hub)
                frame.switch(nxt)
            else:
                frame.switch()
        else:
            if nxt is not None:
                cpu.arm()
            self.running = None
            self.hub.switch()

    def _may_go_on(self, cpu: Cpu) -> bool:
        """Carry time to where the task just dispatched goes on, if nothing else acts before."""
        timeline = self.timeline
        if isinstance(timeline, VirtualTimeline):
            return cpu.until <= cpu.slice_end and timeline.advance(cpu.until, cpu.rank)
        return cpu.until <= timeline.now and timeline.limit >= 0

    # ---- time ----

    def elapse(self, ns: int) -> None:
        """Virtual time: let `ns` of CPU time pass for the running task; it may be preempted meanwhile."""
        task = self.running
        timeline = self.timeline
        if self.draining:
            return
        assert task is not None and isinstance(timeline, VirtualTimeline)
        cpu = task.cpu
        end = timeline.now + ns
        while end > cpu.slice_end:
            if not timeline.advance(max(cpu.slice_end, timeline.now), cpu.rank):
                break
            now = timeline.now
            cpu.account(now)
            if len(cpu.queue):
                task.owe = end - now
                task.nivcsw += 1
                cpu.release(task, EXPIRED, now)
                self._switch_away(task, EXPIRED, cpu)
                return
            cpu.slice_end = FOREVER
        if end <= cpu.slice_end and timeline.advance(end, cpu.rank):
            return
        self.park(task, end)

    def park(self, task: Task, until: int) -> None:
        """Occupy the CPU until then; the loop runs meanwhile."""
        if self.draining:
            return
        cpu = task.cpu
        cpu.until = until
        cpu.arm()
        self.running = None
        self.hub.switch()

    def reschedule(self, task: Task) -> None:
        """On the way back to user mode: somebody better is waiting."""
        cpu = task.cpu
        if len(cpu.queue) and not self.draining:
            now = self.timeline.now
            cpu.account(now)
            task.nivcsw += 1
            cpu.release(task, PREEMPTED, now)
            self._switch_away(task, PREEMPTED, cpu)

    def yield_cpu(self, task: Task) -> None:
        """sched_yield: behind everybody else."""
        cpu = task.cpu
        now = self.timeline.now
        cpu.account(now)
        if len(cpu.queue) and not self.draining:
            task.nvcsw += 1
            cpu.release(task, YIELDED, now)
            self._switch_away(task, YIELDED, cpu)

    # ---- sleep and wakeup ----

    def block(self, task: Task, timeout_ns: int | None, interruptible: bool) -> bool:
        """`Task.block`."""
        if interruptible and task.work & (WORK_SIGNAL | WORK_DIE):
            raise Interrupted
        if self.draining:
            raise Killed
        timer = None
        if timeout_ns is not None:
            if timeout_ns <= 0:
                return False
            timer = task.timer
            if timer is None:
                timer = task.timer = self.timeline.timer(lambda now: self._timeout(task))
            timer.arm(self.timeline.now + timeout_ns)
        task.interruptible = interruptible
        self._sleep(task, SLEEPING, "sleep")
        if timer is not None:
            timer.disarm()
        outcome = task.outcome
        if outcome == BY_SIGNAL:
            raise Interrupted
        return outcome == BY_WAKEUP

    def _sleep(self, task: Task, state: int, reason: str) -> None:
        task.state = state
        task.outcome = BY_WAKEUP
        task.nvcsw += 1
        cpu = task.cpu
        cpu.account(self.timeline.now)
        cpu.current = None
        self._switch_away(task, reason, cpu)

    def stop(self, task: Task) -> None:
        """Job control: the running task stops until `awaken`."""
        self._sleep(task, STOPPED, "stop")

    def _timeout(self, task: Task) -> None:
        if task.state == SLEEPING:
            self.awaken(task, BY_TIMEOUT)

    def wake(self, task: Task) -> bool:
        """End a sleep; the wakeup is paid by the running task. True."""
        if self.running is not None:
            self.meter.owe(self.costs.wakeup)
        self.awaken(task, BY_WAKEUP)
        return True

    def awaken(self, task: Task, outcome: int) -> None:
        """A sleeping or stopped task becomes runnable."""
        task.outcome = outcome
        if self.trace is not None:
            self.trace.wakeup(self.running, task, ("wakeup", "timeout", "signal")[outcome], self.timeline.now)
        self.enqueue(task, WOKEN)

    def enqueue(self, task: Task, reason: str = CREATED) -> None:
        """Put a runnable task, which is on no queue, onto a CPU; idle ones first."""
        now = self.timeline.now
        task.state = RUNNABLE
        task.ready_ns = now
        if self.draining:
            return
        cpu = self._place(task)
        task.cpu = cpu
        current = cpu.current
        if current is None:
            cpu.queue.enqueue(task, reason)
            cpu.next(now, reason)
            if self.running is not None:
                self.meter.stale()
            return
        cpu.queue.enqueue(task, reason)
        if current is not self.running:
            if cpu.queue.preempts(task, current):
                cpu.preempt(now)
            else:
                cpu.contend(now)
            if self.running is not None:
                self.meter.stale()
            return
        cpu.contend(now)
        if cpu.queue.preempts(task, current):
            current.work |= WORK_RESCHED
            self.meter.stale()

    def _place(self, task: Task) -> Cpu:
        """Where a task that has become runnable goes: its last CPU if idle, else an idle one, else the shortest
        queue.
        """
        last = task.cpu
        allowed = task.affinity
        if last.current is None and (allowed is None or allowed >> last.id & 1):
            return last
        best: Cpu | None = None
        best_load = 0
        for cpu in self.cpus:
            if allowed is not None and not allowed >> cpu.id & 1:
                continue
            load = 2 * (len(cpu.queue) + (cpu.current is not None)) - (cpu is last)
            if best is None or load < best_load:
                best, best_load = cpu, load
        return best if best is not None else last

    def steal_for(self, thief: Cpu) -> Task | None:
        """For a CPU that runs out of work: a task from the longest queue, if it may run here."""
        if len(self.cpus) == 1:
            return None
        victim: Cpu | None = None
        for cpu in self.cpus:
            if cpu is not thief and len(cpu.queue) and (victim is None or len(cpu.queue) > len(victim.queue)):
                victim = cpu
        if victim is None:
            return None
        task = victim.queue.steal()
        if task is not None and task.affinity is not None and not task.affinity >> thief.id & 1:
            victim.queue.enqueue(task, PREEMPTED)
            return None
        return task

    def disturb(self, task: Task) -> None:
        """Something in `task.work` must be seen soon: end its sleep or its `sys.cpu`, or have it look at its next
        tick.
        """
        if task.state == SLEEPING:
            if task.interruptible:
                self.awaken(task, BY_SIGNAL)
        elif task is self.running:
            self.meter.stale()
        elif task.burning:
            if task.state == RUNNING:
                task.burn_left += task.cpu.cut(self.timeline.now)
            elif task.state == RUNNABLE:
                task.burn_left += task.owe
                task.owe = 0

    def set_affinity(self, task: Task, mask: int) -> None:
        """The task runs only on the CPUs of the mask from now on; it moves at once if it has to."""
        task.affinity = mask
        cpu = task.cpu
        if mask >> cpu.id & 1:
            return
        now = self.timeline.now
        if task is self.running:
            cpu.account(now)
            cpu.current = None
            self.enqueue(task, MIGRATED)
            self._switch_away(task, MIGRATED, cpu)
            return
        if task.state == RUNNING:
            cpu.account(now)
            task.owe = max(cpu.until - now, 0)
            cpu.current = None
            cpu.next(now, MIGRATED)
        elif task.state == RUNNABLE:
            cpu.queue.remove(task)
        else:
            return
        self.enqueue(task, MIGRATED)

    def drain(self, tasks: Iterable[Task]) -> None:
        """Close: unwind every task that has begun, in the order given; each is dying already."""
        self.draining = True
        self.hub = getcurrent()
        for cpu in self.cpus:
            cpu.timer.disarm()
        for task in tasks:
            if task.timer is not None:
                task.timer.disarm()
            frame = task.greenlet
            if frame is None:
                self.abandon(task)
                continue
            task.outcome = BY_SIGNAL if task.interruptible else BY_WAKEUP
            for _ in range(STUBBORN):
                if frame.dead:
                    break
                self.enter(task.cpu, task)
                frame.parent = self.hub
                frame.switch()
            self.running = None
            self.meter.leave()
        for cpu in self.cpus:
            cpu.current = None

    def runnable(self) -> int:
        """How many tasks run or could run."""
        return sum(len(cpu.queue) + (cpu.current is not None) for cpu in self.cpus)
