"""Curves in a terminal: braille cells of two by four dots, an axis on the left, one colour per curve.

A curve is a list of (x, y) that holds its value until the next point, as a window does. No terminal is needed:
the result is text (with rich markup when colours are wanted), the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[tuple[float, float]]
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a braille cell


class Curve:
    """What is drawn: points, a rich style, and whether every dot is set or every third (a dotted line)."""

    __slots__ = ("dotted", "points", "style")

    def __init__(self, points: Points, style: str, dotted: bool = False) -> None:
        self.points = points
        self.style = style
        self.dotted = dotted


def draw(
    curves: Sequence[Curve],
    x_max: float,
    y_max: float,
    width: int = 72,
    height: int = 12,
    marks: Sequence[float] = (),
    mark_style: str = "red",
) -> list[str]:
    """`height` rows of the plot with a y axis, one row of marks below when there are any, then the x axis in
    `x_max`'s unit.

    The first curve that has a dot in a cell gives the cell its colour. Values above `y_max` are drawn at the top.
    """
    cells = [[0] * width for _ in range(height)]
    owner: list[list[str | None]] = [[None] * width for _ in range(height)]
    for curve in curves:
        _stroke(curve, cells, owner, x_max, y_max)
    label_width = max(len(_number(y_max)), 4)
    rows = []
    for row in range(height):
        y = y_max * (height - row) / height
        label = _number(y) if row % 4 == 0 else ""
        rows.append(f"{label:>{label_width}} ┤" + _styled(cells[row], owner[row]))
    if marks:
        line: list[str] = [" "] * width
        for x in marks:
            line[min(width - 1, int(x / x_max * width))] = "R"
        text = "".join(line).rstrip()
        rows.append(" " * label_width + "  " + (f"[{mark_style}]{text}[/]" if mark_style else text))
    rows.append(" " * label_width + " └" + "─" * width)
    rows.append(" " * (label_width + 2) + _ticks(x_max, width))
    return rows


def _ticks(x_max: float, width: int) -> str:
    """Labels below the x axis, at multiples of 1, 2 or 5 times a power of ten, the last one with the unit."""
    step = 10.0 ** math.floor(math.log10(x_max)) if x_max > 0 else 1.0
    step = next(step * f for f in (0.1, 0.2, 0.5, 1, 2, 5) if x_max / (step * f) <= 8)
    text = ""
    for i in range(int(x_max / step + 1e-9) + 1):
        label = f"{i * step:.3g}"
        if len(text) < width * i * step / x_max + 1:
            text = text.ljust(int(width * i * step / x_max)) + label + " "
    return text.rstrip() + " s"


def _stroke(
    curve: Curve, cells: list[list[int]], owner: list[list[str | None]], x_max: float, y_max: float
) -> None:
    """Sets the dots of one curve: a level until the next point, a vertical stroke where it changes."""
    height, width = len(cells), len(cells[0])
    columns, dots = width * 2, height * 4

    def level(y: float) -> int:
        return min(dots - 1, max(0, int(y / y_max * dots))) if y_max else 0

    spans: dict[int, tuple[int, int]] = {}  # column of dots: lowest and highest level in it
    points = list(curve.points)
    for i, (x, y) in enumerate(points):
        first = int(x / x_max * columns) if x_max else 0
        last = int(points[i + 1][0] / x_max * columns) if i + 1 < len(points) else first
        here = level(y)
        for column in range(max(0, first), min(columns, last + 1)):
            low, high = spans.get(column, (here, here))
            spans[column] = (min(low, here), max(high, here))
    before: tuple[int, int] | None = None
    for column in sorted(spans):
        low, high = spans[column]
        if before is not None and not curve.dotted:  # join with the column before
            low, high = min(low, before[1]), max(high, before[0])
        before = spans[column]
        if curve.dotted and column % 3:
            continue
        for dot in range(low, high + 1) if not curve.dotted else (high,):
            row = height - 1 - dot // 4
            cells[row][column // 2] |= _DOTS[3 - dot % 4][column % 2]
            if owner[row][column // 2] is None:
                owner[row][column // 2] = curve.style


def _styled(cells: list[int], owner: list[str | None]) -> str:
    """One row; runs of cells of one colour are one piece of markup."""
    text, style = [], ""
    for dots, own in zip(cells, owner):
        if (own or "") != style:
            text.append(("[/]" if style else "") + (f"[{own}]" if own else ""))
            style = own or ""
        text.append(chr(0x2800 + dots) if dots else " ")
    return "".join(text).rstrip() + ("[/]" if style else "")


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
