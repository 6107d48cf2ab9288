"""How long a disk takes: the published cost model of drives, in virtual nanoseconds.

A `Drive` accepts commands and says when each is done (`on_done`, its interrupt line); what they do to the medium is
done by whoever is told. It works on as many commands at once as it has channels, and on those of one channel one
after the other. What it has accepted and not begun it may take in another order: a drive with an arm takes the
command it gets to soonest, unless the oldest has waited for `patience_ns` (so nothing that was accepted waits for
ever).

- SSD (the default): no arm, eight channels. One random read at a time makes 12,000 a second, eight at once 95,000.
- HDD: one arm over a platter of 7,200 turns a minute. To reach a sector the arm moves (`settle` plus the square root
  of the distance, up to `stroke`) and the platter turns to where the sector is; the sector after the last one read or
  written comes for nothing.

A command's service time is its overhead, the way to the sector and the transfer; of a flush, and of a write that must
be on the medium (FUA), also `flush`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from math import isqrt
from typing import Protocol

from drivers.clock import Timeline

DEPTH = 32
"""Commands a drive is given at once."""
READ, WRITE, FLUSH, DISCARD = 0, 1, 2, 3
"""What a command does, numbered as Linux's REQ_OP_*."""


@dataclass(frozen=True, slots=True)
class DriveCosts:
    """All times in nanoseconds."""

    name: str
    read: int
    """Overhead of a read: command, lookup, electronics."""
    write: int
    """Of a write, into the drive's cache."""
    flush: int
    """Emptying the cache onto the medium."""
    discard: int
    kib: int
    """Transferring 1024 bytes, one command's after the other's."""
    channels: int = 1
    """Commands worked on at once."""
    settle: int = 0
    """The arm, moved by one track."""
    stroke: int = 0
    """The arm, moved from end to end, less `settle`."""
    turn: int = 0
    """One turn of the platter; 0: there is none."""
    track: int = 2048
    """Sectors of one turn."""
    patience: int = 0
    """A command that has waited so long is next, wherever the arm is. 0: commands are taken as they come."""

    @property
    def rotational(self) -> bool:
        return self.turn > 0


SSD = DriveCosts("ssd", read=80_000, write=25_000, flush=400_000, discard=50_000, kib=500, channels=8)
HDD = DriveCosts(
    "hdd", read=100_000, write=100_000, flush=2_000_000, discard=100_000, kib=4_000, settle=800_000, stroke=14_000_000,
    turn=8_333_333, patience=200_000_000,
)  # fmt: skip
DRIVES = {costs.name: costs for costs in (SSD, HDD)}


def table(costs: DriveCosts) -> list[tuple[str, int]]:
    """(name, value) of every entry, for the documentation and for reports."""
    return [(field.name, getattr(costs, field.name)) for field in fields(costs) if field.name != "name"]


class Command(Protocol):
    """What a drive has to know of a request."""

    op: int
    sector: int
    count: int

    @property
    def flushes(self) -> int:
        """How often the drive's cache is emptied with it: before (PREFLUSH), after (FUA)."""
        ...


class Drive:
    """The time of one disk of `sectors` sectors."""

    __slots__ = (
        "_active",
        "_line_free",
        "_serial",
        "_timer",
        "_waiting",
        "costs",
        "head",
        "on_done",
        "sectors",
        "timeline",
    )

    def __init__(self, timeline: Timeline, sectors: int, costs: DriveCosts = SSD) -> None:
        self.timeline = timeline
        self.sectors = sectors
        self.costs = costs
        self.head = 0
        """The sector the arm is at: the one after the last."""
        self.on_done: Callable[[Command, int], None] | None = None
        self._waiting: list[tuple[int, Command]] = []
        """Accepted and not begun, the oldest first, each with when it was accepted."""
        self._active: list[tuple[int, int, Command]] = []
        """A heap of those that are worked on: (when done, number, command)."""
        self._serial = 0
        self._line_free = 0
        """Until when bytes are on their way."""
        self._timer = timeline.timer(self._fire)

    def start(self, command: Command, now: int) -> None:
        """Accept a command. `on_done(command, now)` is called when it is done, never before `start` returns."""
        self._waiting.append((now, command))
        self._feed(now)

    def held(self) -> list[Command]:
        """What was accepted and is not done: those in work, in the order of their ends, then those that wait."""
        return [command for _, _, command in sorted(self._active)] + [command for _, command in self._waiting]

    def drop(self) -> list[Command]:
        """The power goes: forget all of it. What was held."""
        held = self.held()
        self._active.clear()
        self._waiting.clear()
        self._timer.disarm()
        return held

    def _end(self, command: Command, now: int) -> int:
        """When the command is done if it begins now: all channels share one line for the bytes."""
        costs = self.costs
        flush = costs.flush * command.flushes
        if command.op == FLUSH:
            return now + flush
        if command.op == DISCARD:
            return now + costs.discard + flush
        ready = now + (costs.read if command.op == READ else costs.write)
        ready += self._position_ns(command.sector, ready)
        self._line_free = max(ready, self._line_free) + (command.count * costs.kib >> 1)
        return self._line_free + flush

    def _position_ns(self, sector: int, at: int) -> int:
        """How long the arm and the platter take to `sector`, from `at` on."""
        costs = self.costs
        if not costs.turn or sector == self.head:
            return 0
        distance = abs(sector // costs.track - self.head // costs.track)
        tracks = max(self.sectors // costs.track, 1)
        ns = 0
        if distance:
            ns = costs.settle + costs.stroke * isqrt(distance * 1_000_000 // tracks) // 1000
        there = sector % costs.track * costs.turn // costs.track
        return ns + (there - (at + ns)) % costs.turn

    def _pick(self, now: int) -> int:
        """Which of those that wait is next."""
        costs, waiting = self.costs, self._waiting
        if not costs.patience or len(waiting) == 1 or now - waiting[0][0] >= costs.patience:
            return 0
        return min(
            range(len(waiting)),
            key=lambda i: self._position_ns(waiting[i][1].sector, now) if waiting[i][1].op in (READ, WRITE) else 0,
        )

    def _feed(self, now: int) -> None:
        active = self._active
        while self._waiting and len(active) < self.costs.channels:
            _, command = self._waiting.pop(self._pick(now))
            end = self._end(command, now)
            if command.op in (READ, WRITE):
                self.head = command.sector + command.count
            self._serial += 1
            heappush(active, (end, self._serial, command))
        if active and self._timer.deadline != active[0][0]:
            self._timer.arm(active[0][0])

    def _fire(self, now: int) -> None:
        active = self._active
        while active and active[0][0] <= now:
            _, _, command = heappop(active)
            if self.on_done is not None:
                self.on_done(command, now)
        self._feed(now)
