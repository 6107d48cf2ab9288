"""Locks of `userland.locks`, held by threads and by processes, on one to four CPUs, in courses of events drawn from
seeds: nobody gets in beside a holder, nobody waits for ever, and without the atomics all that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.abi import MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE, SIGUSR1
from kernel.machine import Machine
from userland.locks import Barrier, Condition, Mutex, Once, RWLock, Semaphore, load, store

US = 1_000
worlds = st.tuples(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
"""(seed, CPUs, processes instead of threads)."""


def run(world: tuple[int, int, bool], main: Callable[..., Any]) -> Any:
    """What main(sys, start) returns; start(function, *args) starts a worker. Whoever sleeps for ever fails."""
    seed, cpus, processes = world
    results: list[Any] = []
    with Machine("m", VirtualTimeline(seed), cpus=cpus) as machine:

        def program(sys: Any) -> None:
            started: list[int] = []

            def start(function: Callable[..., Any], *args: Any) -> None:
                if processes:
                    started.append(sys.spawn(function, *args))
                else:
                    word = page(sys)
                    store(sys, word, 1)
                    started.append(word)
                    sys.clone(function, *args, flags=0x50F00 | 0x200000, child_tid=word)

            def join() -> None:
                for it in started:
                    if processes:
                        assert sys.wait4(it)[1] == 0
                        continue
                    while load(sys, it):
                        try:
                            sys.futex(it, 0, load(sys, it))
                        except BlockingIOError:
                            continue

            results.append(main(sys, start, join))

        process = machine.spawn(program)
        assert machine.run(until=60 * 10**9, process=process), "somebody waits for ever"
        assert process.exit_status == 0
    return results[0]


def page(sys: Any) -> int:
    at: int = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    return at


def think(sys: Any) -> None:
    sys.cpu(sys._task.machine.rng.below(60 * US))


class Unsafe(Mutex):
    """A mutex that loads, thinks and stores instead of comparing and swapping."""

    __slots__ = ()

    def lock(self, sys: Any, timeout_ns: int | None = None) -> bool:
        while load(sys, self.addr):
            sys.sched_yield()
        think(sys)
        store(sys, self.addr, 1)
        return True

    def unlock(self, sys: Any) -> None:
        store(sys, self.addr, 0)


def count_up(world: tuple[int, int, bool], kind: Any, workers: int = 4, turns: int = 6) -> int:
    """Each worker adds 1 so many times: load, think, store. What came of it."""

    def main(sys: Any, start: Any, join: Any) -> int:
        lock, counter = kind(sys), page(sys)

        def worker(sys: Any) -> None:
            for _ in range(turns):
                lock.lock(sys)
                seen = load(sys, counter)
                think(sys)
                store(sys, counter, seen + 1)
                lock.unlock(sys)
                think(sys)

        for _ in range(workers):
            start(worker)
        join()
        return load(sys, counter)

    return int(run(world, main))


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_a_mutex_loses_no_update(world: tuple[int, int, bool]) -> None:
    assert count_up(world, Mutex) == 24


def test_without_the_atomic_updates_are_lost() -> None:
    """Negative control."""
    assert any(count_up((seed, 4, False), Unsafe) < 24 for seed in range(5))
    assert any(count_up((seed, 2, True), Unsafe) < 24 for seed in range(5))


@settings(max_examples=15, deadline=None)
@given(worlds, st.integers(1, 3))
def test_a_semaphore_lets_in_so_many(world: tuple[int, int, bool], places: int) -> None:
    def main(sys: Any, start: Any, join: Any) -> tuple[int, int]:
        semaphore, inside, most = Semaphore(sys, places), page(sys), page(sys)

        def worker(sys: Any) -> None:
            for _ in range(4):
                semaphore.acquire(sys)
                now = sys.fetch_add(inside, 1) + 1
                seen = load(sys, most)
                while now > seen and sys.cas(most, seen, now) != seen:
                    seen = load(sys, most)
                think(sys)
                sys.fetch_add(inside, -1)
                semaphore.release(sys)

        for _ in range(5):
            start(worker)
        join()
        return load(sys, most), load(sys, inside)

    most, left = run(world, main)
    assert 1 <= most <= places and left == 0


@settings(max_examples=15, deadline=None)
@given(worlds)
def test_a_bounded_buffer_delivers_everything_once(world: tuple[int, int, bool]) -> None:
    """Two conditions on one mutex: a lost wakeup would leave somebody asleep for ever."""

    def main(sys: Any, start: Any, join: Any) -> list[int]:
        mutex = Mutex(sys)
        filled, emptied = Condition(sys, mutex), Condition(sys, mutex)
        base = page(sys)  # count, then 3 slots, then one word for each item that says how often it came
        taken = page(sys)

        def producer(sys: Any, first: int) -> None:
            for item in range(first, first + 6):
                mutex.lock(sys)
                while load(sys, base) == 3:
                    emptied.wait(sys)
                store(sys, base + 4 + 4 * load(sys, base), item)
                sys.fetch_add(base, 1)
                filled.notify(sys)
                mutex.unlock(sys)
                think(sys)

        def consumer(sys: Any) -> None:
            for _ in range(6):
                mutex.lock(sys)
                while not load(sys, base):
                    filled.wait(sys)
                count = sys.fetch_add(base, -1)
                sys.fetch_add(taken + 4 * load(sys, base + 4 * count), 1)
                emptied.notify(sys)
                mutex.unlock(sys)
                think(sys)

        for first in (0, 6, 12):
            start(producer, first)
            start(consumer)
        join()
        return [load(sys, taken + 4 * i) for i in range(18)]

    assert run(world, main) == [1] * 18


@settings(max_examples=15, deadline=None)
@given(worlds)
def test_notify_all_reaches_everybody(world: tuple[int, int, bool]) -> None:
    def main(sys: Any, start: Any, join: Any) -> int:
        mutex = Mutex(sys)
        gate, word, through = Condition(sys, mutex), page(sys), page(sys)

        def waits(sys: Any) -> None:
            with mutex.held(sys):
                gate.wait_for(sys, lambda: load(sys, word) != 0)
                think(sys)
                sys.fetch_add(through, 1)

        for _ in range(5):
            start(waits)
        sys.nanosleep(200 * US)
        with mutex.held(sys):
            store(sys, word, 1)
            gate.notify_all(sys)
        join()
        return load(sys, through)

    assert run(world, main) == 5


@settings(max_examples=15, deadline=None)
@given(worlds)
def test_a_barrier_keeps_rounds_apart(world: tuple[int, int, bool]) -> None:
    def main(sys: Any, start: Any, join: Any) -> tuple[int, int]:
        barrier, arrived, mixed = Barrier(sys, 4), page(sys), page(sys)
        last = page(sys)

        def worker(sys: Any) -> None:
            for turn in range(4):
                think(sys)
                sys.fetch_add(arrived, 1)
                sys.fetch_add(last, int(barrier.wait(sys)))
                if load(sys, arrived) < 4 * (turn + 1):
                    sys.fetch_add(mixed, 1)
                barrier.wait(sys)

        for _ in range(4):
            start(worker)
        join()
        return load(sys, mixed), load(sys, last)

    assert run(world, main) == (0, 4)


@settings(max_examples=15, deadline=None)
@given(worlds)
def test_readers_or_a_writer(world: tuple[int, int, bool]) -> None:
    def main(sys: Any, start: Any, join: Any) -> tuple[int, int, int]:
        lock, readers, writers, wrong = RWLock(sys), page(sys), page(sys), page(sys)
        together = page(sys)

        def reader(sys: Any) -> None:
            for _ in range(4):
                with lock.reading(sys):
                    if sys.fetch_add(readers, 1):
                        sys.fetch_add(together, 1)
                    sys.fetch_add(wrong, load(sys, writers))
                    think(sys)
                    sys.fetch_add(wrong, load(sys, writers))
                    sys.fetch_add(readers, -1)

        def writer(sys: Any) -> None:
            for _ in range(3):
                with lock.writing(sys):
                    sys.fetch_add(wrong, sys.fetch_add(writers, 1) + load(sys, readers))
                    think(sys)
                    sys.fetch_add(wrong, load(sys, readers))
                    sys.fetch_add(writers, -1)
                think(sys)

        for _ in range(3):
            start(reader)
        for _ in range(2):
            start(writer)
        join()
        return load(sys, wrong), load(sys, readers), load(sys, writers)

    assert run(world, main) == (0, 0, 0)


@settings(max_examples=10, deadline=None)
@given(worlds, st.booleans())
def test_once(world: tuple[int, int, bool], fails: bool) -> None:
    def main(sys: Any, start: Any, join: Any) -> tuple[int, int]:
        once, tries, done = Once(sys), page(sys), page(sys)

        def worker(sys: Any) -> None:
            def first() -> None:
                think(sys)
                if sys.fetch_add(tries, 1) == 0 and fails:
                    raise ValueError
                sys.fetch_add(done, 1)

            try:
                once.call(sys, first)
            except ValueError:
                once.call(sys, first)
            assert load(sys, done) == 1

        for _ in range(4):
            start(worker)
        join()
        return load(sys, tries), load(sys, done)

    assert run(world, main) == (2 if fails else 1, 1)


def test_times_pass_and_handlers_do_not_disturb() -> None:
    def main(sys: Any, start: Any, join: Any) -> list[Any]:
        mutex, seen = Mutex(sys), []
        sys.rt_sigaction(SIGUSR1, lambda *a: seen.append(sys.clock_gettime(1)))
        mutex.lock(sys)
        me = sys.getpid()

        def teaser(sys: Any) -> None:
            sys.nanosleep(100 * US)
            sys.kill(me, SIGUSR1)

        start(teaser)
        before = sys.clock_gettime(1)
        missed = mutex.lock(sys, 500 * US)
        waited = sys.clock_gettime(1) - before
        free = mutex.try_lock(sys)
        mutex.unlock(sys)
        empty = Semaphore(sys, 0)
        join()
        again, none = mutex.try_lock(sys), empty.acquire(sys, 100 * US)
        return [missed, 500 * US <= waited < 700 * US, len(seen), free, again, none]

    assert run((1, 1, True), main) == [False, True, 1, False, True, False]


def test_what_nobody_holds_cannot_be_unlocked() -> None:
    def main(sys: Any, start: Any, join: Any) -> None:
        mutex = Mutex(sys)
        with pytest.raises(RuntimeError):
            mutex.unlock(sys)
        assert mutex.try_lock(sys)

    run((1, 1, False), main)


def test_same_seed_same_course() -> None:
    assert count_up((5, 3, False), Mutex) == count_up((5, 3, False), Mutex)
