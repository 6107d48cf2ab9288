"""Curves in braille: every dot lies where its value is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.plot import Curve, draw


def test_a_level_line_is_one_row_of_dots() -> None:
    rows = draw([Curve([(0, 5.0), (10, 5.0)], "")], 10, 10, width=10, height=2, mark_style="")
    assert rows[0].endswith("⣀" * 10) or rows[1].endswith("⠉" * 10)
    assert len(rows) == 4


def test_marks_and_axis() -> None:
    rows = draw([Curve([(0, 1)], "")], 8, 10, width=16, height=4, marks=[0, 4, 8], mark_style="")
    assert rows[4].strip() == "R       R      R"
    assert rows[-1].split() == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "s"]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), max_size=30),
    st.integers(10, 80),
    st.integers(2, 20),
)
def test_any_points_fit_their_frame(points: list[tuple[float, float]], width: int, height: int) -> None:
    rows = draw([Curve(sorted(points), ""), Curve(sorted(points), "", True)], 10, 50, width, height, mark_style="")
    assert len(rows) == height + 2
    assert all(len(row) <= width + 16 for row in rows)


def test_colours_are_markup_around_runs() -> None:
    row = draw([Curve([(0, 5.0), (10, 5.0)], "cyan")], 10, 10, width=10, height=1)[0]
    assert row.count("[cyan]") == 1 and row.endswith("[/]")
