"""The lazy heap against a plain list: the same timers fire, at the same times, in the same order of times."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.timers import Timer, Timers

STEP = st.one_of(
    st.tuples(st.just("arm"), st.integers(0, 7), st.integers(0, 50)),
    st.tuples(st.just("disarm"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("run"), st.just(0), st.integers(0, 20)),
)


@given(st.lists(STEP, max_size=200))
@settings(max_examples=200, deadline=None)
def test_timers_equal_a_list(steps: list[tuple[str, int, int]]) -> None:
    timers = Timers()
    fired: list[tuple[int, int]] = []
    now = 0
    made: list[Timer] = []
    for i in range(8):
        made.append(timers.timer(lambda at, i=i: fired.append((at, i))))  # type: ignore[misc]
    model: dict[int, int] = {}
    expected: list[tuple[int, int]] = []
    for verb, which, amount in steps:
        if verb == "arm":
            made[which].arm(now + amount)
            model[which] = now + amount
        elif verb == "disarm":
            made[which].disarm()
            model.pop(which, None)
        else:
            now += amount
            timers.run(now)
            due = [i for i, at in model.items() if at <= now]
            expected += [(now, i) for i in due]
            for i in due:
                del model[i]
        assert timers.next_deadline() == (min(model.values()) if model else None)
        assert len(timers) == len(model)
        assert sorted(fired) == sorted(expected)


def test_a_callback_that_rearms_for_now_cannot_spin() -> None:
    timers = Timers()
    calls = []

    def again(now: int) -> None:
        calls.append(now)
        timer.arm(now)

    timer = timers.timer(again)
    timer.arm(5)
    assert timers.run(10) == 1
    assert timers.next_deadline() == 10
    assert timers.run(10) == 1
    assert calls == [10, 10]


def test_a_callback_may_disarm_a_timer_that_is_due_too() -> None:
    timers = Timers()
    fired = []
    first = timers.timer(lambda now: second.disarm())
    second = timers.timer(fired.append)
    first.arm(1)
    second.arm(1)
    assert timers.run(1) == 1
    assert fired == []
    assert timers.next_deadline() is None


def test_memory_follows_the_armed_timers() -> None:
    """Arming for ever earlier times and disarming leaves nothing behind."""
    timers = Timers()
    for i in range(10_000):
        timer = timers.timer(lambda now: None)
        timer.arm(1_000_000 - i)
        timer.arm(500_000 - i)
        timer.disarm()
    assert len(timers.heap) < 300
    keep = timers.timer(lambda now: None)
    keep.arm(7)
    assert timers.next_deadline() == 7
    assert len(timers) == 1
