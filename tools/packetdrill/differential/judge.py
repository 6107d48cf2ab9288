"""Two records of one scenario: where do they differ?

What came has to be the same, group by group and in order; times may differ by what a busy host and a kernel's coarse
timers add (which is why scenarios keep their events away from timers), and TS vals by the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from tools.packetdrill.differential.record import Came, Group

SLACK_NS = 40_000_000
SLACK_PART = 0.15


@dataclass(frozen=True)
class Difference:
    """The first place where two records part."""

    group: int
    line: str
    ours: str
    theirs: str


def same(ours: Came, theirs: Came) -> bool:
    if (ours.kind, ours.text) != (theirs.kind, theirs.text) or len(ours.stamps) != len(theirs.stamps):
        return False
    if ours.kind != "packet":
        return True
    slack = SLACK_NS + int(SLACK_PART * ours.after_ns)
    if abs(ours.after_ns - theirs.after_ns) > slack:
        return False
    return all(abs(a - b) * 1_000_000 <= slack + 60_000_000 for a, b in zip(ours.stamps, theirs.stamps))


def compare(ours: list[Group], theirs: list[Group]) -> Difference | None:
    """The first difference, or None."""
    for number, (a, b) in enumerate(zip_longest(ours, theirs)):
        if a is None or b is None:
            return Difference(number, (a or b).line, "" if a else "no such group", "" if b else "no such group")
        for x, y in zip_longest(a.came, b.came):
            if x is None or y is None or not same(x, y):
                left, right = text(x), text(y)
                if x is not None and y is not None and x.kind == y.kind == "info":
                    left, right = fields(x.text, y.text)
                return Difference(number, a.line, left, right)
    return None


def fields(left: str, right: str) -> tuple[str, str]:
    """Of two lists of fields, those that differ."""
    pairs = [(a, b) for a, b in zip_longest(left.split(), right.split(), fillvalue="-") if a != b]
    return "info " + " ".join(a for a, _ in pairs), "info " + " ".join(b for _, b in pairs)


def text(came: Came | None) -> str:
    if came is None:
        return "nothing"
    return f"{came.kind} +{came.after_ns / 1e9:.4f} {came.text}"


def show(ours: list[Group], theirs: list[Group] | None = None) -> str:
    """Both records side by side, for a reader."""
    lines = []
    for a, b in zip_longest(ours, theirs if theirs is not None else ours):
        group = a or b
        lines.append(f"{group.due / 1e9:9.4f} {group.line}")
        for x, y in zip_longest(a.came if a else [], b.came if b else []):
            if x is not None and y is not None and same(x, y):
                lines.append(f"              = {text(x)}")
                continue
            left, right = text(x), text(y)
            if x is not None and y is not None and x.kind == y.kind == "info":
                left, right = fields(x.text, y.text)
            lines += [f"           ours {left}", f"          linux {right}"]
    return "\n".join(lines)
