"""intervals.c against a Python set of sequence numbers, anywhere around the wrap at 2^32."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from csrc import ffi, lib

M = 1 << 32
SPAN = 60
CAP = 5
STEP = st.tuples(st.sampled_from(["add", "add", "add", "trim"]), st.integers(0, SPAN), st.integers(0, 12))
BASE = st.sampled_from([0, 1, M - 1, M - 30, M // 2 - 30, M // 2, 12345]) | st.integers(0, M - 1)


def runs(have: set[int]) -> list[tuple[int, int]]:
    """The maximal runs of a set of integers, half-open."""
    edges = sorted(x for x in have if x - 1 not in have), sorted(x + 1 for x in have if x + 1 not in have)
    return list(zip(*edges))


@given(BASE, st.lists(STEP, max_size=30))
def test_intervals_are_a_set(base: int, steps: list[tuple[str, int, int]]) -> None:
    edges = ffi.new("uint32_t[]", 2 * CAP)
    s = ffi.new("struct trl_intervals *", {"edges": edges, "n": 0, "cap": CAP})
    have: set[int] = set()
    floor = 0
    for name, left, length in steps:
        if name == "trim":
            floor = max(floor, left)
            have = {x for x in have if x >= left}
            assert lib.trl_intervals_trim(s, (base + left) % M) == len(runs(have))
        else:
            right = left + length
            index = lib.trl_intervals_add(s, (base + left) % M, (base + right) % M)
            more = have | set(range(left, right))
            if not length:
                assert index == -2
            elif len(runs(more)) > CAP:
                assert index == -1
            else:
                have = more
                assert runs(have)[index][0] <= left < right <= runs(have)[index][1]
        got = [(edges[2 * i], edges[2 * i + 1]) for i in range(s.n)]
        assert got == [((base + a) % M, (base + b) % M) for a, b in runs(have)]
    for x in range(-2, SPAN + 14, 3):
        found = lib.trl_intervals_find(s, (base + x) % M)
        assert found == next((i for i, (a, b) in enumerate(runs(have)) if a <= x < b), -1)
        for y in range(x, SPAN + 14, 5):
            covered = lib.trl_intervals_covered(s, (base + x) % M, (base + y) % M)
            assert covered == len(have & set(range(x, y)))


@given(st.integers(0, M - 1), st.integers(0, M - 1), st.integers(0, M - 1), st.integers(0, M - 1))
def test_ranges_that_make_no_order_are_refused(a: int, b: int, c: int, d: int) -> None:
    """A set never spans 2^31 or more: "before" would no longer be an order on it."""
    edges = ffi.new("uint32_t[]", 4)
    s = ffi.new("struct trl_intervals *", {"edges": edges, "n": 0, "cap": 2})
    first = lib.trl_intervals_add(s, a, b)
    assert first == (0 if 0 < (b - a) % M < M // 2 else -2)
    if first == 0:
        lib.trl_intervals_add(s, c, d)
        assert (edges[2 * s.n - 1] - edges[0]) % M < M // 2
