"""The lazy heap against the plainest timeline there is: a list, searched for its smallest (time, order)."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from drivers.clock import CPU_RANK, Stream, VirtualTimeline

TIMERS = 6  # the last two have ranks


class Plain:
    """The oracle: every arming takes a new place, unless it names the time that is armed already."""

    def __init__(self, replies: list[int | None]) -> None:
        self.now = 0
        self.sequence = 0
        self.armed: dict[int, tuple[int, int]] = {}
        self.log: list[tuple[int, int]] = []
        self.replies = replies

    def arm(self, i: int, at: int) -> None:
        if i in self.armed and self.armed[i][0] == at:
            return
        self.sequence += 1
        self.armed[i] = (at, CPU_RANK + i if i >= TIMERS - 2 else self.sequence)

    def disarm(self, i: int) -> None:
        self.armed.pop(i, None)

    def peek(self) -> int | None:
        return min(self.armed.values())[0] if self.armed else None

    def step(self, until: int | None = None) -> bool:
        if not self.armed:
            return False
        i = min(self.armed, key=self.armed.__getitem__)
        at = self.armed[i][0]
        if until is not None and at > until:
            return False
        del self.armed[i]
        self.now = max(self.now, at)
        self.log.append((i, self.now))
        reply(self, i)
        return True

    def run(self, until: int) -> None:
        while self.step(until):
            pass
        self.now = max(self.now, until)

    def advance(self, to: int, rank: int) -> bool:
        if self.armed and min(self.armed.values()) < (to, rank):
            return False
        self.now = max(self.now, to)
        return True


class Lazy:
    """The real one, with the same face."""

    def __init__(self, replies: list[int | None]) -> None:
        self.line = VirtualTimeline()
        self.log: list[tuple[int, int]] = []
        self.replies = replies
        self.timers = [
            self.line.timer(self.callback(i), CPU_RANK + i if i >= TIMERS - 2 else None) for i in range(TIMERS)
        ]

    @property
    def now(self) -> int:
        return self.line.now

    def callback(self, i: int):  # type: ignore[no-untyped-def]
        def called(now: int) -> None:
            assert now == self.line.now and self.timers[i].deadline is None
            self.log.append((i, now))
            reply(self, i)

        return called

    def arm(self, i: int, at: int) -> None:
        self.timers[i].arm(at)

    def disarm(self, i: int) -> None:
        self.timers[i].disarm()

    def peek(self) -> int | None:
        return self.line.peek()

    def step(self, until: int | None = None) -> bool:
        return self.line.step(until)

    def run(self, until: int) -> None:
        self.line.run(until)

    def advance(self, to: int, rank: int) -> bool:
        return self.line.advance(to, rank)


def reply(line: Plain | Lazy, i: int) -> None:
    """What a callback does: now and then arm itself or another timer, or disarm one."""
    if line.replies:
        what = line.replies.pop()
        if what is not None and what < 0:
            line.disarm((i + what) % TIMERS)
        elif what is not None:
            line.arm((i + what // 8) % TIMERS, line.now + what % 8)


numbers = st.integers(0, TIMERS - 1)
moves = st.one_of(
    st.tuples(st.just("arm"), numbers, st.integers(-3, 40)),
    st.tuples(st.just("disarm"), numbers, st.just(0)),
    st.tuples(st.just("step"), st.just(0), st.just(0)),
    st.tuples(st.just("run"), st.just(0), st.integers(0, 30)),
    st.tuples(st.just("advance"), numbers, st.integers(0, 30)),
)


@given(st.lists(moves, max_size=60), st.lists(st.one_of(st.none(), st.integers(-3, 60)), max_size=30))
@example([("arm", TIMERS - 2, 0), ("advance", TIMERS - 2, 0)], [])
def test_same_as_the_plain_timeline(script: list[tuple[str, int, int]], replies: list[int | None]) -> None:
    plain, lazy = Plain(list(replies)), Lazy(list(replies))
    for name, i, delta in script:
        results = []
        for line in (plain, lazy):
            at = line.now + delta
            if name == "arm":
                results.append(line.arm(i, at))
            elif name == "disarm":
                results.append(line.disarm(i))
            elif name == "step":
                results.append(line.step())
            elif name == "run":
                results.append(line.run(at))
            else:
                results.append(line.advance(at, CPU_RANK + i))
        assert results[0] == results[1]
        assert plain.now == lazy.now and plain.log == lazy.log and plain.peek() == lazy.peek()
        for i, timer in enumerate(lazy.timers):
            assert timer.deadline == (plain.armed[i][0] if i in plain.armed else None)
        heap = lazy.line._heap
        assert lazy.line._dead == len(heap) - len(plain.armed)


@given(st.integers(), st.text(max_size=8), st.integers(1, 1 << 70))
def test_draws_stay_in_range_and_repeat(seed: int, name: str, n: int) -> None:
    a, b = Stream(seed, name), Stream(seed, name)
    for _ in range(5):
        drawn = a.below(n)
        assert 0 <= drawn < n and b.below(n) == drawn
    assert a.bytes(9) == b.bytes(9) and a.between(-n, n) == b.between(-n, n)
    items = list(range(20))
    a.shuffle(items)
    assert sorted(items) == list(range(20))


def test_a_long_run_with_many_timers_swept_again_and_again() -> None:
    """Dense times, many ties, and enough dead entries that the heap is swept while a run is under way."""
    rng = Stream(1, "long")
    sweeps = 0

    class Counting(VirtualTimeline):
        __slots__ = ()

        def _sweep(self) -> None:
            nonlocal sweeps
            before = len(self._heap)
            super()._sweep()
            sweeps += len(self._heap) < before

    line = Counting()
    armed: dict[int, tuple[int, int]] = {}
    log: list[tuple[int, int]] = []
    expected: list[tuple[int, int]] = []
    sequence = 0

    def change() -> None:
        nonlocal sequence
        i, what = rng.below(200), rng.random()
        if what < 0.25:
            timers[i].disarm()
            armed.pop(i, None)
        else:
            at = line.now + rng.below(50 if what < 0.7 else 5)
            timers[i].arm(at)
            if i not in armed or armed[i][0] != at:
                sequence += 1
                armed[i] = (at, sequence)

    def fired(i: int, now: int) -> None:
        log.append((i, now))
        first = min(armed, key=armed.__getitem__)
        expected.append((first, armed.pop(first)[0]))
        for _ in range(rng.below(30)):
            change()

    timers = [line.timer(lambda now, i=i: fired(i, now)) for i in range(200)]
    for _ in range(100):
        change()
    while len(log) < 3000:
        line.run(until=line.now + 20)
        change()
        assert len(line._heap) <= 2 * len(armed) + 200
    assert log == expected and sweeps > 20
