"""What is written is what is read: through the cache, directly, from several tasks, in whatever order requests are
done; and what was made durable survives a power cut.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.block.cache import BufferCache
from kernel.block.queue import RequestQueue
from tests.property.kernel.block.world import SECTOR, Case, Ran, run

VERBS = [
    "b write", "b write", "d write", "s write", "ds write", "b read", "d read", "b fsync", "b sync", "b drop", "b scan",
    "b shared", "b shared",
]  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(VERBS), st.integers(0, 5000), st.integers(0, 200),
        st.sampled_from([0, 0, 1_000, 200_000, 7_000_000]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip
CASES = st.builds(
    Case,
    tasks=st.lists(STEPS, min_size=1, max_size=6),
    drive=st.sampled_from(["ssd", "hdd", "none"]),
    scheduler=st.sampled_from(["none", "deadline"]),
    depth=st.sampled_from([1, 2, 4, 32]),
    limit=st.sampled_from([1, 3, 256]),
    cpus=st.integers(1, 3),
    seed=st.integers(0, 1000),
    cache=st.sampled_from([8, 64, 1000]),
)  # fmt: skip


def holds(case: Case) -> Ran:
    ran = run(case)
    assert ran.wrong == []
    assert ran.finished, "nobody sleeps for ever"
    for owner in ran.owners:
        for sector, data in owner.now.items():
            assert ran.medium[sector * SECTOR : (sector + 1) * SECTOR] == data, f"sector {sector} at the end"
    return ran


@given(CASES)
@settings(max_examples=100)
def test_reads_see_the_writes_before_them_and_the_end_has_all(case: Case) -> None:
    holds(case)


@pytest.mark.soak
@given(CASES)
@settings(max_examples=5000)
def test_the_same_for_long(case: Case) -> None:
    holds(case)


@given(CASES)
@settings(max_examples=12)
def test_the_same_seed_is_the_same_run(case: Case) -> None:
    first, second = run(case), run(case)
    assert first.events == second.events and first.medium == second.medium


def survives(case: Case) -> None:
    ran = run(case)
    assert ran.wrong == []
    for owner in ran.owners:
        for sector in {**owner.durable, **owner.versions}:
            left = ran.medium[sector * SECTOR : (sector + 1) * SECTOR]
            assert left in owner.possible(sector), f"sector {sector} of task {owner.number}: {left[:20]!r}"


CUT = st.tuples(CASES, st.integers(1, 60_000_000)).map(lambda pair: at(*pair))


def at(case: Case, cut: int) -> Case:
    case.cut_at = cut
    return case


@given(CUT)
@settings(max_examples=100)
def test_what_was_synced_survives_a_power_cut(case: Case) -> None:
    survives(case)


@pytest.mark.soak
@given(CUT)
@settings(max_examples=5000)
def test_the_same_for_long_with_power_cuts(case: Case) -> None:
    survives(case)


# ---- the checks see what they are for ----


WRITER = [("b write", i, 7, 0) for i in range(10)] + [("b fsync", 0, 0, 0)]


def test_a_lost_flush_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case([WRITER + [("b read", 0, 7, 50_000_000)]], cut_at=40_000_000)
    survives(case)
    original = RequestQueue._transfer

    def without_flush(self: RequestQueue, request: Any) -> list[int]:
        return [0] * len(request.bios) if request.op == 2 else original(self, request)

    monkeypatch.setattr(RequestQueue, "_transfer", without_flush)
    with pytest.raises(AssertionError, match="sector"):
        for seed in range(20):
            case.seed = seed
            survives(case)


def test_a_lost_fua_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case([[("ds write", i, 7, 0) for i in range(10)] + [("b read", 0, 7, 50_000_000)]], cut_at=40_000_000)
    survives(case)
    original = RequestQueue._transfer

    def without_fua(self: RequestQueue, request: Any) -> list[int]:
        request.flags &= ~2
        return original(self, request)

    monkeypatch.setattr(RequestQueue, "_transfer", without_fua)
    with pytest.raises(AssertionError, match="sector"):
        for seed in range(20):
            case.seed = seed
            survives(case)


def test_a_cache_that_is_not_forgotten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case([[("b read", 0, 7, 0), ("d write", 0, 7, 0), ("b read", 0, 7, 0)]])
    holds(case)
    monkeypatch.setattr(BufferCache, "invalidate", lambda self, first=0, end=None: None)
    with pytest.raises(AssertionError):
        holds(case)


def test_a_write_back_that_does_not_wait_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_waiting(self: BufferCache, task: Any, first: int = 0, end: int | None = None) -> int:
        self._start_writing(task, list(self.dirty))
        return 0

    monkeypatch.setattr(BufferCache, "sync", without_waiting)
    spread = [("b write", i * 13, 7, 0) for i in range(10)] + [("b fsync", 0, 0, 0)]
    with pytest.raises(AssertionError):
        for cut in range(1_000_000, 30_000_000, 1_000_000):
            survives(Case([spread], drive="hdd", depth=1, cache=1000, cut_at=cut))
