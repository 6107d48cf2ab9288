"""Something to draw on, in pixels from the upper left: SVG, written here, or PNG, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Protocol

Point = tuple[float, float]
Line = tuple[float, float, float, float]


class Canvas(Protocol):
    def clip(self, x: float, y: float, width: float, height: float) -> None:
        """What follows is seen inside of this rectangle only; a width of 0: everywhere."""

    def rect(self, x: float, y: float, width: float, height: float, color: str, title: str = "") -> None:
        """`title` shows when the pointer rests on it, where there is one; also on one of the colour "none"."""

    def lines(self, lines: Iterable[Line], color: str, width: float) -> None:
        """Many straight lines of one colour."""

    def path(self, points: Sequence[Point], color: str, width: float, dashed: bool = False) -> None: ...

    def text(
        self, x: float, y: float, text: str, color: str = "#333333", size: float = 12, anchor: str = "start",
        bold: bool = False, title: str = "",
    ) -> None:  # fmt: skip
        """`anchor` is start, middle or end; y is the base line."""

    def save(self, path: str) -> None: ...


def number(value: float) -> str:
    """As short as it can be: a picture has thousands of them."""
    return f"{value:.1f}".removesuffix(".0")


class Svg:
    """SVG 1.1, self-contained."""

    __slots__ = ("_clips", "_height", "_open", "_parts", "_width")

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._parts: list[str] = []
        self._clips = 0
        self._open = False

    def clip(self, x: float, y: float, width: float, height: float) -> None:
        if self._open:
            self._parts.append("</g>")
        self._open = width > 0
        if self._open:
            self._clips += 1
            box = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
            self._parts.append(f'<clipPath id="c{self._clips}"><rect {box}/></clipPath>')
            self._parts.append(f'<g clip-path="url(#c{self._clips})">')

    def rect(self, x: float, y: float, width: float, height: float, color: str, title: str = "") -> None:
        box = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        inner = f"<title>{escape(title)}</title>" if title else ""
        events = ' pointer-events="all"' if color == "none" else ""
        self._parts.append(f'<rect {box} fill="{color}"{events}>{inner}</rect>')

    def lines(self, lines: Iterable[Line], color: str, width: float) -> None:
        drawn = "".join(f"M{number(a)} {number(b)}L{number(c)} {number(d)}" for a, b, c, d in lines)
        if drawn:
            self._parts.append(f'<path d="{drawn}" stroke="{color}" stroke-width="{width}" fill="none"/>')

    def path(self, points: Sequence[Point], color: str, width: float, dashed: bool = False) -> None:
        if len(points) > 1:
            drawn = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
            dash = ' stroke-dasharray="5 4"' if dashed else ""
            self._parts.append(f'<path d="{drawn}" stroke="{color}" stroke-width="{width}" fill="none"{dash}/>')

    def text(
        self, x: float, y: float, text: str, color: str = "#333333", size: float = 12, anchor: str = "start",
        bold: bool = False, title: str = "",
    ) -> None:  # fmt: skip
        style = f'fill="{color}" font-size="{number(size)}" text-anchor="{anchor}"'
        weight = ' font-weight="bold"' if bold else ""
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<text x="{number(x)}" y="{number(y)}" {style}{weight}>{escape(text, quote=False)}{inner}</text>'
        )

    def save(self, path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(self))

    def __str__(self) -> str:
        size = f'width="{self._width}" height="{self._height}" viewBox="0 0 {self._width} {self._height}"'
        end = "</g>" if self._open else ""
        body = "\n".join(self._parts)
        font = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>\n{body}{end}\n</svg>\n'


class Png:
    """The same by matplotlib (ImportError where it is not installed)."""

    __slots__ = ("_clip", "_figure", "_plot", "_rectangle")

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        self._rectangle: Any = Rectangle
        self._figure: Any = Figure(figsize=(width / 100, height / 100), dpi=100)
        FigureCanvasAgg(self._figure)
        self._plot = self._figure.add_axes((0, 0, 1, 1))
        self._plot.set_xlim(0, width)
        self._plot.set_ylim(height, 0)
        self._plot.axis("off")
        self._clip: Any = None

    def clip(self, x: float, y: float, width: float, height: float) -> None:
        self._clip = self._rectangle((x, y), width, height, transform=self._plot.transData) if width > 0 else None

    def _add(self, artist: Any) -> None:
        if self._clip is not None:
            artist.set_clip_path(self._clip)

    def rect(self, x: float, y: float, width: float, height: float, color: str, title: str = "") -> None:
        if color != "none":
            self._add(self._plot.add_patch(self._rectangle((x, y), width, height, color=color, linewidth=0)))

    def lines(self, lines: Iterable[Line], color: str, width: float) -> None:
        from matplotlib.collections import LineCollection

        drawn = [((a, b), (c, d)) for a, b, c, d in lines]
        self._add(self._plot.add_collection(LineCollection(drawn, colors=color, linewidths=width * 0.72)))

    def path(self, points: Sequence[Point], color: str, width: float, dashed: bool = False) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        style = (0, (5, 4)) if dashed else "-"
        self._add(self._plot.plot(xs, ys, color=color, linewidth=width * 0.72, linestyle=style)[0])

    def text(
        self, x: float, y: float, text: str, color: str = "#333333", size: float = 12, anchor: str = "start",
        bold: bool = False, title: str = "",
    ) -> None:  # fmt: skip
        align = {"start": "left", "middle": "center", "end": "right"}[anchor]
        self._add(self._plot.text(
            x, y, text, color=color, fontsize=size * 0.72, ha=align, va="baseline", weight="bold" if bold else "normal",
            clip_on=self._clip is not None,
        ))  # fmt: skip

    def save(self, path: str) -> None:
        self._figure.savefig(path)
