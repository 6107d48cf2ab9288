"""Two records of one scenario: where do they differ?

What came has to be the same, group by group and in order; times may differ by what a busy host and a kernel's coarse
timers add (which is why scenarios keep their events away from timers), and TS vals by the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

from tools.packetdrill.differential.record import Came, Group
from tools.packetdrill.script import FIN, SYN

SLACK_NS = 40_000_000
SLACK_PART = 0.15


@dataclass(frozen=True)
class Difference:
    """The first place where two records part."""

    group: int
    line: str
    ours: str
    theirs: str


def same(ours: Came, theirs: Came, since_ns: int = 0) -> bool:
    """`since_ns`: how long before its group a timer may have been set."""
    if ours.kind != theirs.kind or len(ours.stamps) != len(theirs.stamps):
        return False
    if ours.text != theirs.text and not alike(ours.text, theirs.text):
        return False
    if ours.kind != "packet":
        return True
    slack = SLACK_NS + int(SLACK_PART * (ours.after_ns + since_ns))
    if abs(ours.after_ns - theirs.after_ns) > slack:
        return False
    return all(abs(a - b) * 1_000_000 <= slack + 60_000_000 for a, b in zip(ours.stamps, theirs.stamps))


MEMORY = re.compile(r"\b(win |rcv_wnd=|rcv_ssthresh=)(\d+)")
MEMORY_PART = 0.04


def alike(ours: str, theirs: str) -> bool:
    """The same but for the offered window, and that nearly: it follows from the memory that segments take, which is
    each kernel's own."""
    if MEMORY.sub(r"\1", ours) != MEMORY.sub(r"\1", theirs):
        return False
    pairs = zip(MEMORY.findall(ours), MEMORY.findall(theirs))
    return all(abs(int(a) - int(b)) <= max(2, MEMORY_PART * int(b)) for (_, a), (_, b) in pairs)


def compare(ours: list[Group], theirs: list[Group]) -> Difference | None:
    """The first difference, or None."""
    quiet = 0
    for number, (a, b) in enumerate(zip_longest(ours, theirs)):
        if a is None or b is None:
            return Difference(number, (a or b).line, "" if a else "no such group", "" if b else "no such group")
        for x, y in zip_longest(a.came, b.came):
            if number == len(ours) - 1 and (x is None or y is None) and late(x or y):
                break
            since = a.due - quiet
            if x is not None and x.packet is not None and (x.packet.length or x.packet.flags & (SYN | FIN)):
                quiet = a.due + x.after_ns  # when a timer was set
            if x is None or y is None or not same(x, y, since):
                left, right = text(x), text(y)
                if x is not None and y is not None and x.kind == y.kind == "info":
                    left, right = fields(x.text, y.text)
                return Difference(number, a.line, left, right)
    return None


def late(came: Came | None) -> bool:
    """What comes last comes near the end of the record, where a little later is not at all."""
    return came is not None and came.after_ns > 200_000_000


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
