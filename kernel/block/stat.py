"""What a disk has done: the figures of /proc/diskstats (Documentation/admin-guide/iostats.rst) and /proc/partitions.

Times are kept in nanoseconds and shown in milliseconds. A request counts from its submission to its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kernel.block.request import DISCARD, FLUSH, READ, WRITE

if TYPE_CHECKING:
    from kernel.block.device import BlockDevice

MS = 1_000_000


class DiskStat:
    """The counters of one device; lists are by operation (READ, WRITE, FLUSH, DISCARD)."""

    __slots__ = ("_at", "busy_ns", "errors", "in_flight", "ios", "merges", "sectors", "ticks_ns", "weighted_ns")

    def __init__(self, now: int) -> None:
        self.ios = [0, 0, 0, 0]
        self.merges = [0, 0, 0, 0]
        """Bios and requests that became part of another request."""
        self.sectors = [0, 0, 0, 0]
        self.ticks_ns = [0, 0, 0, 0]
        self.errors = [0, 0, 0, 0]
        self.in_flight = 0
        """Requests that were begun and have not ended, waiting or issued."""
        self.busy_ns = 0
        """Time with any in flight."""
        self.weighted_ns = 0
        """The same, times how many."""
        self._at = now

    def update(self, now: int) -> None:
        """Charge the time since the last change."""
        if self.in_flight:
            self.busy_ns += now - self._at
            self.weighted_ns += (now - self._at) * self.in_flight
        self._at = now

    def begins(self, op: int, now: int) -> None:
        self.update(now)
        self.in_flight += 1

    def joined(self, op: int, now: int) -> None:
        """Two requests have become one."""
        self.update(now)
        self.in_flight -= 1
        self.merges[op] += 1

    def ends(self, op: int, count: int, took_ns: int, now: int) -> None:
        self.update(now)
        self.in_flight -= 1
        self.ios[op] += 1
        self.sectors[op] += count
        self.ticks_ns[op] += took_ns

    def fields(self, now: int) -> list[int]:
        """The 17 figures of a line of /proc/diskstats."""
        self.update(now)

        def kind(op: int) -> list[int]:
            return [self.ios[op], self.merges[op], self.sectors[op], self.ticks_ns[op] // MS]

        return [
            *kind(READ), *kind(WRITE), self.in_flight, self.busy_ns // MS, self.weighted_ns // MS, *kind(DISCARD),
            self.ios[FLUSH], self.ticks_ns[FLUSH] // MS,
        ]  # fmt: skip


def diskstats(devices: Iterable[BlockDevice], now: int) -> str:
    return "".join(
        f"{device.rdev >> 8:4d} {device.rdev & 0xFF:7d} {device.name} "
        + " ".join(map(str, device.queue.stat.fields(now))) + "\n"
        for device in devices
    )  # fmt: skip


def partitions(devices: Iterable[BlockDevice]) -> str:
    rows = [f"{d.rdev >> 8:4d}  {d.rdev & 0xFF:7d} {d.disk.sectors // 2:10d} {d.name}\n" for d in devices]
    return "major minor  #blocks  name\n\n" + "".join(rows) if rows else ""
