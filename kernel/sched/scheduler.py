"""The scheduler's mechanism: who runs, who sleeps, and the switches between them.

Every task runs on its own greenlet. The *hub* is the greenlet in which the timeline's loop runs. Time passes for a
task only in `elapse` and in sleep; when nothing else acts before that time is over, `elapse` returns at once,
otherwise the CPU's timer is armed and the greenlet switches to the hub. A task that sleeps switches straight to the
next one of its CPU when that one may go on at once. Whoever resumes a greenlet has told the meter first.

Real time differs in two points only: switches and charges take no virtual time, and a running task returns to the hub
at least every 50 us so that devices are polled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from greenlet import getcurrent, greenlet

from drivers.clock import FOREVER, RealTimeline, VirtualTimeline
from kernel.cost import Costs
from kernel.sched.cpu import Cpu
from kernel.sched.loadavg import LoadAverage
from kernel.sched.meter import Meter
from kernel.sched.policy import CHANGED, CREATED, EXPIRED, MIGRATED, PREEMPTED, WOKEN, YIELDED, policy
from kernel.sched.priority import MAX_RT_PRIO, normal_prio, weight_of
from kernel.sched.runqueue import RunQueue
from kernel.sched.wait import Interrupted
from kernel.sched.wchan import here
from kernel.task import RUNNABLE, RUNNING, SLEEPING, STOPPED, WORK_DIE, WORK_RESCHED, WORK_SIGNAL, Foreign, Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drivers.clock import Timer
    from kernel.task import Task
    from kernel.trace import SchedulerTrace

_getcurrent: Final = getcurrent

STUBBORN = 100
"""How often a task that is being unwound is given the CPU before it is left alone."""

BY_WAKEUP, BY_TIMEOUT, BY_SIGNAL = range(3)
"""`task.outcome`: what ended a sleep."""


class Scheduler:
    """The CPUs of one machine and what they run."""

    __slots__ = (
        "abandon", "balancer", "costs", "cpus", "draining", "hub", "kthreads", "load", "main", "many", "meter",
        "policy_name", "running", "speaker", "strict", "switch_ns", "timeline", "trace", "virtual", "woken",
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
        self.policy_name = policy_name
        self.cpus: list[Cpu] = [Cpu(self, i, first_cpu + i, RunQueue(costs, cpus, make)) for i in range(cpus)]
        self.many = cpus > 1
        self.strict = 1 << 30 if policy_name == "fixed" else MAX_RT_PRIO
        """Priorities below it are absolute: on N CPUs the N best of these run."""
        self.balancer = timeline.timer(self._balance)
        self.load = LoadAverage(timeline.now)
        self.speaker: Task | None = None
        """Whose calls `sys` makes: the task that ran last, which is the one that runs."""
        self.kthreads: list[Task] = []
        """Kernel threads (kthread.py), in the order in which they were made."""
        self.meter: Meter

    # ---- into and out of greenlets ----

    def resume(self, cpu: Cpu, task: Task) -> None:
        """In the hub: run the task's greenlet until somebody switches back."""
        self.hub = hub = _getcurrent()
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
        speaker = self.speaker
        if task is not speaker:
            if speaker is not None:
                speaker.trap = self.foreign
            self.speaker = task
            task.trap = self.meter.trap
            if task.sys is not None:
                task.sys.__dict__ = task.calls
        self.meter.enter(task, cpu)

    def foreign(self) -> None:
        """The trap of a task that does not run: a call that it was asked for is the one's that runs."""
        raise Foreign(self.speaker)

    def _start(self, task: Task) -> None:
        """The bottom of every task's stack. When it returns, greenlet goes back to the parent, the hub."""
        if task.sys is not None:
            self.main(task)
        else:
            task.entry(task)
        cpu = task.cpu
        if self.draining:
            return
        now = self.timeline.now
        cpu.busy_until = now + self.meter.end()
        self._depart(task, cpu, now)
        cpu.next(now, "exit")
        parent = getcurrent().parent
        if parent is not self.hub:
            getcurrent().parent = self.hub

    def _switch_away(self, task: Task, reason: str, cpu: Cpu, now: int) -> None:
        """On the greenlet of `task`, which has given up `cpu`: run the next one; return when it is its turn again."""
        debt = self.meter.end()
        if debt and self.virtual:
            cpu.busy_until = now + debt
        nxt = cpu.current
        if nxt is None:
            nxt = cpu.choose(now, reason)
        else:  # in its search for a CPU somebody else has found this one
            cpu.timer.disarm()
        # A new greenlet begins with the recursion depth of whoever starts it: that has to be the hub.
        if nxt is not None and nxt.greenlet is not None and self._may_go_on(cpu):
            self.enter(cpu, nxt)
            if nxt is not task:
                nxt.greenlet.switch()
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
            if not cpu.renew(now):
                task.owe = end - now
                cpu.release(task, EXPIRED, now)
                self._switch_away(task, EXPIRED, cpu, now)
                return
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
        """On the way back to user mode: somebody better is waiting, or the slice is over."""
        cpu = task.cpu
        if self.draining:
            return
        now = self.timeline.now
        reason = PREEMPTED
        if cpu.slice_end <= now:
            if cpu.renew(now):
                return
            reason = EXPIRED
        elif not cpu.queue.count:
            return
        else:
            cpu.account(now)
        cpu.release(task, reason, now)
        if self.many and reason == PREEMPTED:
            self._push(task)
        self._switch_away(task, reason, cpu, now)

    def yield_cpu(self, task: Task) -> None:
        """sched_yield: behind everybody else."""
        cpu = task.cpu
        now = self.timeline.now
        cpu.account(now)
        if cpu.queue.count and not self.draining:
            cpu.release(task, YIELDED, now)
            self._switch_away(task, YIELDED, cpu, now)

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
                timer = self._timer(task)
            timer.arm(self.timeline.now + timeout_ns)
        task.interruptible = interruptible
        load = self.load
        if not interruptible:
            load.uninterruptible += 1
        self._sleep(task, SLEEPING, "sleep")
        if not interruptible:
            load.uninterruptible -= 1
        if timer is not None:
            timer.disarm()
        outcome = task.outcome
        if outcome == BY_SIGNAL:
            raise Interrupted
        return outcome == BY_WAKEUP

    def _timer(self, task: Task) -> Timer:
        """What ends the sleeps of the task that have a timeout."""
        timer = task.timer = self.timeline.timer(lambda now: self._timeout(task))
        return timer

    def _sleep(self, task: Task, state: int, reason: str) -> None:
        cpu = task.cpu
        now = self.timeline.now
        task.outcome = BY_WAKEUP
        task.nvcsw += 1
        self._depart(task, cpu, now)
        task.state = state
        if self.trace is not None:
            self.trace.wait(task, reason if state == STOPPED else here(), now)
        self._switch_away(task, reason, cpu, now)

    def _depart(self, task: Task, cpu: Cpu, now: int) -> None:
        """The task, which runs on `cpu`, is not runnable any more."""
        if now >= self.load.sample_at:
            self.load.sample(now, self.runnable())
        cpu.account(now)
        cpu.queue.leave(task, True)
        cpu.current = None

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
        if now >= self.load.sample_at:
            self.load.sample(now, self.runnable())
        cpu = self._place(task) if self.many else task.cpu
        if cpu is not task.cpu:
            if self.trace is not None and reason != CREATED:
                self.trace.migrate(task, task.cpu.id, cpu.id, reason, now)
            task.cpu = cpu
        if reason == CREATED and self.trace is not None:
            self.trace.wakeup(self.running, task, reason, now)
        self._enqueue_on(cpu, task, reason, now)

    def _enqueue_on(self, cpu: Cpu, task: Task, reason: str, now: int) -> None:
        """The task, which is on no queue, waits for this CPU or gets it."""
        current = cpu.current
        if current is None:
            cpu.queue.enqueue(task, reason)
            cpu.next(now, reason)
            if self.running is not None:
                self.meter.stale()
            return
        cpu.account(now)
        cpu.queue.enqueue(task, reason)
        if self.many and self.balancer.deadline is None:
            self.balancer.arm(now + self.costs.balance)
        self._contest(cpu, current, cpu.queue.preempts(task, current), now)

    def _contest(self, cpu: Cpu, current: Task, yields: bool, now: int) -> None:
        """Somebody waits for the CPU of `current`, which must give way at once, or at the end of its slice."""
        if not yields:
            cpu.contend(now)
        elif current is self.running:
            current.work |= WORK_RESCHED
            self.meter.stale()
            return
        else:
            cpu.preempt(now)
            if self.many:
                self._push(current)
        if self.running is not None:
            self.meter.stale()

    # ---- which CPU ----

    def _place(self, task: Task) -> Cpu:
        """Where a task that has become runnable goes: its last CPU if idle, else an idle one, else the shortest
        queue; where priorities are absolute, to whom it can preempt.
        """
        last = task.cpu
        allowed = task.affinity
        if last.current is None and (allowed is None or allowed >> last.id & 1):
            return last
        best: Cpu | None = None
        best_load = 0
        strict = task.prio < self.strict
        for cpu in self.cpus:
            if allowed is not None and not allowed >> cpu.id & 1:
                continue
            current = cpu.current
            if current is None:
                return cpu
            if strict:
                load = -2 * current.prio - (cpu is last)
            else:
                load = 2 * cpu.queue.count - (cpu is last) + (8 if current.prio < MAX_RT_PRIO else 0)
            if best is None or load < best_load:
                best, best_load = cpu, load
        return best if best is not None else last

    def _push(self, task: Task) -> None:
        """A task that waits may be better off elsewhere: an idle CPU takes it, or where priorities are absolute one
        that runs somebody worse.
        """
        cpu = task.cpu
        if task.state != RUNNABLE:
            return
        to = self._place(task)
        if to is not cpu and (to.current is None or (task.prio < self.strict and to.current.prio > task.prio)):
            now = self.timeline.now
            cpu.queue.remove(task)
            self._migrate(task, to, PREEMPTED, now)

    def _migrate(self, task: Task, to: Cpu, reason: str, now: int) -> None:
        """A task that waits, and was just taken out of its queue, goes to another CPU."""
        if self.trace is not None:
            self.trace.migrate(task, task.cpu.id, to.id, reason, now)
        task.cpu = to
        task.migrations += 1
        self._enqueue_on(to, task, MIGRATED, now)

    def pull(self, cpu: Cpu, now: int) -> None:
        """Before `cpu` chooses: fetch a better task where priorities are absolute, and any when it would be idle."""
        queue = cpu.queue
        mine = queue.best_prio(self.strict)
        source: Cpu | None = None
        longest: Cpu | None = None
        for other in self.cpus:
            count = other.queue.count
            if count and other is not cpu:
                prio = other.queue.best_prio(self.strict)
                if prio < mine and other.queue.has(cpu.id, mine):
                    mine, source = prio, other
                if longest is None or count > longest.queue.count:
                    longest = other
        task = None
        reason = "pull"
        if source is not None:
            task = source.queue.steal(cpu.id)
        elif not queue.count and longest is not None:
            reason = "idle"
            task = longest.queue.steal(cpu.id)
            if task is None:
                for other in sorted(self.cpus, key=lambda c: -c.queue.count):
                    if other is not cpu and other.queue.count:
                        task = other.queue.steal(cpu.id)
                        if task is not None:
                            break
        if task is None:
            return
        if self.trace is not None:
            self.trace.migrate(task, task.cpu.id, cpu.id, reason, now)
        task.cpu = cpu
        task.migrations += 1
        queue.enqueue(task, MIGRATED)

    def _balance(self, now: int) -> None:
        """Periodic, while anybody waits: from the heaviest queue to the lightest. A task that weighs as much as they
        differ by moves too, so that three tasks on two CPUs take turns.
        """
        cpus = self.cpus
        for cpu in cpus:
            cpu.account(now)
        moved: list[Task] = []
        while len(moved) < 32:
            waited = [cpu for cpu in cpus if cpu.queue.fair.count]
            if not waited:
                break
            busiest = max(waited, key=lambda cpu: cpu.queue.fair.load)
            idlest = min(cpus, key=lambda cpu: (cpu.queue.rt.load > 0, cpu.queue.fair.load))
            gap = busiest.queue.fair.load - idlest.queue.fair.load
            if gap <= 0:
                break
            task = busiest.queue.fair.steal(idlest.id, gap)
            if task is None:
                break
            busiest.queue.count -= 1
            if task in moved:
                self._enqueue_on(busiest, task, MIGRATED, now)
                break
            moved.append(task)
            self._migrate(task, idlest, "balance", now)
            if 2 * task.weight >= gap:
                break
        if any(cpu.queue.count for cpu in cpus):
            self.balancer.arm(now + self.costs.balance)

    # ---- priorities ----

    def set_scheduler(
        self, task: Task, policy: int | None = None, nice: int | None = None, rt_priority: int | None = None,
        custom_slice: int | None = None,
    ) -> None:  # fmt: skip
        """Change the policy, nice, real-time priority or request (0: the base) of a task, wherever it is."""
        now = self.timeline.now
        queued, cpu = self._take_out(task, now)
        if policy is not None:
            task.policy = policy
        if nice is not None:
            task.nice = nice
        if rt_priority is not None:
            task.rt_priority = rt_priority
        if custom_slice is not None:
            task.custom_slice = custom_slice
        task.normal_prio = normal_prio(task.policy, task.nice, task.rt_priority)
        self._reprioritize(task)
        self._put_in(task, queued, cpu, now)

    def set_boost(self, task: Task, boost: int) -> None:
        """The best priority of those who wait for a lock that the task holds; worse than all when nobody does."""
        if task.boost == boost:
            return
        now = self.timeline.now
        queued, cpu = self._take_out(task, now)
        task.boost = boost
        self._reprioritize(task)
        self._put_in(task, queued, cpu, now)

    def _reprioritize(self, task: Task) -> None:
        task.prio = min(task.normal_prio, task.boost)
        before, task.weight = task.weight, weight_of(task.policy, task.prio)
        if before != task.weight and task.vlag:
            lag = task.vlag * before // task.weight
            task.vruntime += task.vlag - lag
            task.vlag = lag
        task.rest = task.rest * before // task.weight

    def _take_out(self, task: Task, now: int) -> tuple[bool, Cpu]:
        cpu = task.cpu
        if self.draining:
            return False, cpu
        if task.state == RUNNING:
            cpu.account(now)
            cpu.queue.leave(task, False)
            return True, cpu
        if task.state == RUNNABLE:
            current = cpu.current
            if current is not None:
                cpu.account(now)
            cpu.queue.remove(task)
            return True, cpu
        return False, cpu

    def _put_in(self, task: Task, queued: bool, cpu: Cpu, now: int) -> None:
        if not queued:
            return
        queue = cpu.queue
        queue.enqueue(task, CHANGED)
        current = cpu.current
        if current is None:
            return
        if task is current:
            queue.take(task)
            if self.many:
                self.pull(cpu, now)
            if not queue.count:
                cpu.slice_end = FOREVER
            else:
                cpu.slice_end = FOREVER - 1  # to be set anew
                self._contest(cpu, task, queue.must_yield(task), now)
        else:
            self._contest(cpu, current, queue.preempts(task, current), now)
            if self.many:
                self._push(task)

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
        """The task runs only on the CPUs of the mask from now on; it moves at once if it has to, or if it waits."""
        task.affinity = mask
        cpu = task.cpu
        stays = bool(mask >> cpu.id & 1)
        now = self.timeline.now
        if task.state == RUNNABLE and not self.draining:
            if stays:
                self._push(task)
            else:
                cpu.queue.remove(task)
                self._migrate(task, self._place(task), "affinity", now)
        elif task.state == RUNNING and not stays:
            cpu.account(now)
            cpu.queue.leave(task, False)
            task.state = RUNNABLE
            task.ready_ns = now
            cpu.current = None
            if task is self.running:
                self._migrate(task, self._place(task), "affinity", now)
                self._switch_away(task, MIGRATED, cpu, now)
            else:
                task.owe = max(cpu.until - now, 0)
                cpu.next(now, MIGRATED)
                self._migrate(task, self._place(task), "affinity", now)

    def drain(self, tasks: Iterable[Task]) -> None:
        """Close: unwind every task that has begun, in the order given; each is dying already."""
        self.draining = True
        self.hub = getcurrent()
        for cpu in self.cpus:
            cpu.timer.disarm()
        for task in [*tasks, *self.kthreads]:
            if task.timer is not None:
                task.timer.disarm()
            frame = task.greenlet
            if frame is None:
                if task.sys is not None:
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

    def loadavg(self) -> tuple[float, float, float]:
        """Over 1, 5 and 15 minutes, to the hundredth."""
        now = self.timeline.now
        if now >= self.load.sample_at:
            self.load.sample(now, self.runnable())
        return self.load.hundredths()

    def runnable(self) -> int:
        """How many tasks run or could run."""
        return sum(cpu.queue.count + (cpu.current is not None) for cpu in self.cpus)
