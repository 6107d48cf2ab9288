"""Properties of the scheduler under arbitrary loads: work conservation, CPU time that adds up, determinism."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.cost import Costs
from kernel.machine import Machine

US = 1_000
MS = 1_000_000
FREE = Costs(
    tick=0, trap=0, copy_kib=0, path_component=0, switch=0, wakeup=0, interrupt=0, spawn=0, thread=0, execve=0, exit=0
)  # fmt: skip
"""Nothing costs anything but sys.cpu: then schedules can be reckoned exactly."""

Step = tuple[str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("cpu"), st.integers(1, 30_000).map(lambda us: us * US)),
        st.tuples(st.just("sleep"), st.integers(0, 30_000).map(lambda us: us * US)),
        st.tuples(st.just("yield"), st.just(0)),
    ),
    max_size=6,
)
loads = st.lists(steps, min_size=1, max_size=7)


def play(sys: Any, script: list[Step]) -> None:
    for what, ns in script:
        if what == "cpu":
            sys.cpu(ns)
        elif what == "sleep":
            sys.nanosleep(ns)
        else:
            sys.sched_yield()


class Watch:
    """Checks at each switch that no CPU idles while somebody waits."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.events: list[tuple[int, int, int, int, str]] = []
        self.violations: list[str] = []

    def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None:
        self.events.append((now, cpu, before.tid if before else 0, after.tid if after else 0, reason))
        if after is None and any(len(c.queue) for c in self.machine.scheduler.cpus):
            self.violations.append(f"{now}: cpu{cpu} idles")

    def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None:
        self.events.append((now, -1, waker.tid if waker else 0, task.tid, reason))


def simulate(load: list[list[Step]], cpus: int, costs: Costs = FREE) -> tuple[Machine, Watch, int, list[int]]:
    with Machine("m", VirtualTimeline(1), cpus=cpus, costs=costs) as machine:
        watch = Watch(machine)
        machine.trace.append(watch)
        processes = [machine.spawn(play, script) for script in load]
        assert machine.run(), "all asleep"
        end = machine.timeline.now
        assert all(p.exit_status == 0 for p in processes)
        return machine, watch, end, [sum(p.times()) for p in processes]


@settings(max_examples=60, deadline=None)
@given(loads, st.integers(1, 4))
def test_time_adds_up_and_nobody_waits_beside_an_idle_cpu(load: list[list[Step]], cpus: int) -> None:
    machine, watch, end, used = simulate(load, cpus)
    assert used == [sum(ns for what, ns in script if what == "cpu") for script in load]
    assert not watch.violations
    # No task can finish sooner than its own script, nor all of them sooner than the CPUs allow.
    alone = [sum(ns for _, ns in script) for script in load]
    assert end >= max(alone)
    assert end * cpus >= sum(used)
    # Work conservation bounds the makespan (Graham): all the work, plus the longest chain.
    assert end <= sum(used) // cpus + max(alone)
    assert sum(c.busy_ns for c in machine.scheduler.cpus) == sum(used)


@settings(max_examples=15, deadline=None)
@given(loads, st.integers(1, 3))
def test_the_same_load_gives_the_same_trace(load: list[list[Step]], cpus: int) -> None:
    first = simulate(load, cpus, Costs())
    second = simulate(load, cpus, Costs())
    assert first[1].events == second[1].events
    assert first[2:] == second[2:]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(30, 120))
def test_round_robin_keeps_shares_within_a_slice(tasks: int, ms: int) -> None:
    def burn(sys: Any) -> None:
        while True:
            sys.cpu(700 * US)

    with Machine("m", VirtualTimeline(1), costs=FREE) as machine:
        processes = [machine.spawn(burn) for _ in range(tasks)]
        machine.run(ms * MS)
        times = [sum(p.times()) for p in processes]
        assert max(times) - min(times) <= machine.costs.slice
        assert sum(times) == ms * MS  # the CPU was never idle


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 500)), max_size=10), st.integers(1, 20))
def test_interrupts_lengthen_by_exactly_what_they_take(interrupts: list[tuple[int, int]], ms: int) -> None:
    with Machine("m", VirtualTimeline(1), costs=FREE) as machine:
        cpu = machine.scheduler.cpus[0]

        def steal_later(at_us: int, us: int) -> None:
            machine.timeline.timer(lambda now: cpu.steal(us * US)).arm(at_us * US)

        for at_us, us in interrupts:
            steal_later(at_us, us)
        process = machine.spawn(play, [("cpu", ms * MS)])
        assert machine.run(None, process)
        end = machine.timeline.now
        # Those that came before the end (which they push back themselves) count; a later one does not.
        stolen = 0
        for at_us, us in sorted(interrupts):
            if at_us * US <= ms * MS + stolen:
                stolen += us * US
        assert end == ms * MS + stolen
        assert sum(process.times()) == ms * MS
