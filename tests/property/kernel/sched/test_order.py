"""Fixed priority against a model: on N CPUs the N best run, at every moment; and affinity is never violated."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.abi import SCHED_FIFO
from kernel.cost import Costs
from kernel.machine import Machine
from kernel.task import RUNNABLE, RUNNING

MS = 1_000_000
FREE = Costs(
    tick=0, trap=0, copy_kib=0, path_component=0, switch=0, wakeup=0, interrupt=0, spawn=0, thread=0, execve=0, exit=0,
    fair_server=0,
)  # fmt: skip
jobs = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 5), st.integers(1, 8)), min_size=1, max_size=8
)  # (arrives, priority, length) in ms
Job = tuple[int, int, int]


def arrival(number: int, job: Job) -> int:
    """No two things happen at one instant."""
    return job[0] * MS + number + 1


def model(load: list[Job], cpus: int) -> list[int]:
    """When each job ends. At each moment the best of those who are here run; equals go first come."""
    left = [length * MS for _, _, length in load]
    arrives = [arrival(number, job) for number, job in enumerate(load)]
    ends = [0] * len(load)
    now = 0
    while any(left):
        here = sorted((-load[i][1], arrives[i], i) for i in range(len(load)) if arrives[i] <= now and left[i])[:cpus]
        until = min([at for at in arrives if at > now] + [now + left[i] for _, _, i in here])
        for _, _, i in here:
            left[i] -= until - now
            if not left[i]:
                ends[i] = until
        now = until
    return ends


def measured(load: list[Job], cpus: int, policy: str) -> list[int]:
    ends = [0] * len(load)

    def job(sys: Any, number: int, length: int) -> None:
        sys.cpu(length * MS)
        ends[number] = sys.clock_gettime(1)

    with Machine("m", VirtualTimeline(1), cpus=cpus, costs=FREE, policy=policy) as machine:
        machine.boot()
        machine.timeline.run(0)

        def start(number: int, priority: int, length: int) -> None:
            task = machine.spawn(job, number, length).leader
            assert task is not None
            if policy == "fixed":
                machine.scheduler.set_scheduler(task, nice=-priority)
            else:
                machine.scheduler.set_scheduler(task, SCHED_FIFO, rt_priority=priority)

        def arm(number: int, job: Job) -> None:
            machine.timeline.timer(lambda now: start(number, job[1], job[2])).arm(arrival(number, job))

        for number, one in enumerate(load):
            arm(number, one)
        machine.timeline.run()
        return ends


@settings(max_examples=60, deadline=None)
@given(jobs, st.sampled_from(["eevdf", "rr", "fixed"]))
def test_one_cpu_runs_the_best_and_equals_in_order(load: list[Job], policy: str) -> None:
    load = sorted(load, key=lambda job: job[0])
    assert measured(load, 1, policy) == model(load, 1)


@settings(max_examples=60, deadline=None)
@given(jobs, st.integers(2, 4), st.sampled_from(["eevdf", "rr", "fixed"]))
def test_many_cpus_run_the_best(load: list[Job], cpus: int, policy: str) -> None:
    """Equals wait in a queue for each CPU, as in Linux: here nobody is the equal of another."""
    load = sorted(((at, priority, length) for at, priority, length in load), key=lambda job: job[0])
    load = [(at, 9 * priority + number, length) for number, (at, priority, length) in enumerate(load)]
    if policy == "fixed":
        order = sorted(range(len(load)), key=lambda i: load[i][1])
        load = [(at, order.index(number), length) for number, (at, _, length) in enumerate(load)]
    assert measured(load, cpus, policy) == model(load, cpus)


class Watch:
    """Sees each switch: is the task allowed there?"""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.migrations = 0

    def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None:
        if after is not None and after.affinity is not None and not after.affinity >> cpu & 1:
            self.violations.append(f"{now}: tid {after.tid} of {after.affinity:#x} on cpu{cpu} ({reason})")

    def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None: ...

    def wait(self, task: Any, reason: str, now: int) -> None: ...

    def migrate(self, task: Any, before: int, after: int, reason: str, now: int) -> None:
        self.migrations += 1
        if before == after:
            self.violations.append(f"{now}: tid {task.tid} migrates from {before} to itself ({reason})")


masks = st.integers(1, 15)
action = st.one_of(
    st.tuples(st.just("affinity"), st.integers(0, 9), masks),
    st.tuples(st.just("nice"), st.integers(0, 9), st.integers(-20, 19)),
    st.tuples(st.just("fifo"), st.integers(0, 9), st.integers(1, 99)),
    st.tuples(st.just("fair"), st.integers(0, 9), st.sampled_from([0, 3, 5])),
    st.tuples(st.just("run"), st.just(0), st.integers(1, 30)),
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.lists(st.tuples(masks, st.booleans()), min_size=1, max_size=10),
    st.lists(action, max_size=25), st.sampled_from(["eevdf", "rr", "fixed"]), st.booleans(),
)  # fmt: skip
def test_affinity_holds_whatever_is_changed(
    cpus: int, tasks: list[tuple[int, bool]], actions: list[tuple[str, int, int]], policy: str, free: bool
) -> None:
    def life(sys: Any, sleeps: bool) -> None:
        while True:
            sys.cpu(MS)
            if sleeps:
                sys.nanosleep(MS // 2)

    whole = (1 << cpus) - 1
    watch = Watch()
    with Machine("m", VirtualTimeline(1), cpus=cpus, costs=FREE if free else Costs(), policy=policy) as machine:
        machine.trace.append(watch)
        crowd = [machine.spawn(life, sleeps).leader for _, sleeps in tasks]
        scheduler = machine.scheduler
        for (mask, _), task in zip(tasks, crowd):
            assert task is not None
            scheduler.set_affinity(task, mask & whole or whole)
        end = 0
        for what, who, value in [*actions, ("run", 0, 20)]:
            task = crowd[who % len(crowd)]
            assert task is not None
            if what == "affinity":
                scheduler.set_affinity(task, value & whole or whole)
            elif what == "nice":
                scheduler.set_scheduler(task, nice=value)
            elif what == "fifo":
                scheduler.set_scheduler(task, SCHED_FIFO, rt_priority=value)
            elif what == "fair":
                scheduler.set_scheduler(task, value, rt_priority=0)
            else:
                end += value * MS
                machine.run(end)
            consistent(machine)
        assert not watch.violations


def consistent(machine: Machine) -> None:
    """Each queue counts what it holds; nobody waits whom a CPU that is free, or runs somebody worse, may run."""
    scheduler = machine.scheduler
    waiting = [t for _, t in sorted(machine.tasks.items()) if t.state == RUNNABLE]
    assert all(t.cpu.current is t for t in machine.tasks.values() if t.state == RUNNING)
    assert len(waiting) == sum(cpu.queue.count for cpu in scheduler.cpus)
    for cpu in scheduler.cpus:
        queue = cpu.queue
        here = [t for t in waiting if t.cpu is cpu]
        assert queue.count == len(here) == queue.rt.count + queue.fair.count
        assert queue.load == sum(t.weight for t in [*here, *([cpu.current] if cpu.current else [])])
        for task in waiting:
            if task.affinity is not None and not task.affinity >> cpu.id & 1:
                continue
            current = cpu.current
            assert current is not None, f"cpu{cpu.id} idles beside tid {task.tid}"
            if task.prio < scheduler.strict and queue.fair_owed <= 0 and not current.work:
                assert current.prio <= task.prio, f"cpu{cpu.id} runs {current.prio} beside {task.prio}"
