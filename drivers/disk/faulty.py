"""Disks that fail the way disks fail: power cuts, torn writes, unreadable sectors, rotten bits, flushes that
lie.

`FaultyDisk` stands in front of another disk (the medium) as its volatile cache. Writes stay in the cache
until a flush; `power_cut` decides, sector by sector, which of the unflushed ones had reached the medium: any
subset, in any order, whole sectors only. It is the worst a disk may do within its contract
(drivers/disk/device.py).

`WriteLog` stands in front of a disk and writes down what it is asked to do, so that one run of a workload
gives every crash it could have had: `replay` puts on a fresh disk what the medium holds when the power goes
after the first `upto` operations, for any choice of survivors among the writes that no flush had made
certain.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from csrc.frame import Buffer
from drivers.clock import Stream
from drivers.disk.device import SECTOR_SIZE, Disk, check_range, new_counters, whole_sectors

Survives = Callable[[int, int], bool]
"""(number of the operation, sector) -> whether that write of that sector reached the medium."""


class _Fault:
    """I/O errors on [first, end), for reads, writes or both, for a number of times or for good."""

    __slots__ = ("end", "first", "read", "times", "write")

    def __init__(self, first: int, end: int, read: bool, write: bool, times: int | None) -> None:
        self.first, self.end, self.read, self.write, self.times = first, end, read, write, times


class FaultyDisk:
    """A disk with a volatile cache and faults on demand. With no fault asked for it is as good as its medium.

    `honest=False`: flush returns without having flushed, as some consumer drives do.
    """

    __slots__ = ("_faults", "_off", "_pending", "_visible", "counters", "honest", "medium", "rng", "sectors")

    def __init__(self, medium: Disk, rng: Stream, honest: bool = True) -> None:
        self.medium = medium
        self.rng = rng
        self.honest = honest
        self.sectors = medium.sectors
        self.counters = new_counters() | {"power_cuts": 0, "lost_sectors": 0, "rotten_bits": 0}
        self._pending: list[tuple[int, bytes]] = []
        self._visible: dict[int, bytes] = {}
        self._faults: list[_Fault] = []
        self._off = False

    # -- the disk

    def read(self, sector: int, count: int) -> bytes:
        self._check(sector, count, "read")
        data = self.medium.read(sector, count)
        self.counters["reads"] += 1
        self.counters["read_sectors"] += count
        visible = self._visible
        if visible:
            patched = bytearray(data)
            for i in range(count):
                cached = visible.get(sector + i)
                if cached is not None:
                    patched[i * SECTOR_SIZE : (i + 1) * SECTOR_SIZE] = cached
            data = bytes(patched)
        return data

    def write(self, sector: int, data: Buffer) -> None:
        count = whole_sectors(self.sectors, sector, data)
        self._check(sector, count, "write")
        self.counters["writes"] += 1
        self.counters["written_sectors"] += count
        view = memoryview(data).cast("B")
        for i in range(count):
            piece = bytes(view[i * SECTOR_SIZE : (i + 1) * SECTOR_SIZE])
            self._pending.append((sector + i, piece))
            self._visible[sector + i] = piece

    def flush(self) -> None:
        self._power()
        self.counters["flushes"] += 1
        if self.honest:
            self._drain()
            self.medium.flush()

    def close(self) -> None:
        if not self._off:
            self._drain()
        self.medium.close()

    # -- the faults

    @property
    def unflushed(self) -> list[int]:
        """The sectors whose newest contents are not certain to be on the medium, in the order of their
        writing.
        """
        return [sector for sector, _ in self._pending]

    def power_cut(self, survives: Survives | None = None) -> None:
        """The power goes: of the unflushed writes some reach the medium, the others never happened.

        `survives(number among the unflushed, sector)` decides; without it a throw of the dice for each, with
        a probability that is thrown first (so that "all" and "none" happen too). Afterwards everything gives
        EIO until `power_on`.
        """
        self._power()
        chance = self.rng.random() * 1.5 - 0.25
        for number, (sector, data) in enumerate(self._pending):
            if survives(number, sector) if survives is not None else self.rng.chance(chance):
                self.medium.write(sector, data)
            else:
                self.counters["lost_sectors"] += 1
        self.medium.flush()
        self._pending.clear()
        self._visible.clear()
        self._off = True
        self.counters["power_cuts"] += 1

    def power_on(self) -> None:
        """The power is back; the cache is empty."""
        self._off = False

    def fail(
        self, first: int, count: int, *, read: bool = True, write: bool = True, times: int | None = None
    ) -> None:
        """From now on accesses that touch [first, first + count) give EIO: `times` times, or until `mend`."""
        check_range(self.sectors, first, count)
        self._faults.append(_Fault(first, first + count, read, write, times))

    def mend(self) -> None:
        """No more I/O errors."""
        self._faults.clear()

    def rot(self, first: int = 0, count: int | None = None, bits: int = 1) -> list[tuple[int, int]]:
        """Flip so many bits of the medium, somewhere in the range. What was flipped: (sector, bit of the
        sector).
        """
        count = self.sectors - first if count is None else count
        check_range(self.sectors, first, count)
        flipped = []
        for _ in range(bits):
            sector, bit = first + self.rng.below(count), self.rng.below(8 * SECTOR_SIZE)
            data = bytearray(self.medium.read(sector, 1))
            data[bit >> 3] ^= 1 << (bit & 7)
            self.medium.write(sector, data)
            flipped.append((sector, bit))
        self.counters["rotten_bits"] += bits
        return flipped

    def _power(self) -> None:
        if self._off:
            raise OSError(errno.EIO, "the disk has no power: power_on() gives it back")

    def _check(self, sector: int, count: int, access: str) -> None:
        check_range(self.sectors, sector, count)
        self._power()
        for fault in self._faults:
            concerned = fault.read if access == "read" else fault.write
            if concerned and fault.first < sector + count and sector < fault.end and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                self.counters[f"{access}_errors"] += 1
                raise OSError(errno.EIO, f"{access} error at sector {max(sector, fault.first)}")

    def _drain(self) -> None:
        for sector, data in self._visible.items():
            self.medium.write(sector, data)
        self._pending.clear()
        self._visible.clear()


class WriteLog:
    """A disk that remembers every write and flush it was asked for, in order.

    `operations[k]` is (sector, data), or None for a flush that returned.
    """

    __slots__ = ("base", "counters", "operations", "sectors")

    def __init__(self, base: Disk) -> None:
        self.base = base
        self.sectors = base.sectors
        self.counters = base.counters
        self.operations: list[tuple[int, bytes] | None] = []

    def read(self, sector: int, count: int) -> bytes:
        return self.base.read(sector, count)

    def write(self, sector: int, data: Buffer) -> None:
        whole_sectors(self.sectors, sector, data)
        kept = bytes(data)
        self.base.write(sector, kept)
        self.operations.append((sector, kept))

    def flush(self) -> None:
        self.base.flush()
        self.operations.append(None)

    def close(self) -> None:
        self.base.close()

    def certain(self, upto: int) -> int:
        """How many of the first `upto` operations lie before the last flush among them: nothing can undo
        those.
        """
        for k in range(upto, 0, -1):
            if self.operations[k - 1] is None:
                return k
        return 0

    def uncertain(self, upto: int) -> list[tuple[int, int]]:
        """(operation, sector) of each sector written since that flush: what a power cut after `upto` may
        lose.
        """
        found = []
        for k in range(self.certain(upto), upto):
            operation = self.operations[k]
            if operation is not None:
                sector, data = operation
                found += [(k, sector + i) for i in range(len(data) // SECTOR_SIZE)]
        return found

    def replay(self, onto: Disk, upto: int | None = None, survives: Survives | None = None) -> None:
        """Bring `onto` (a copy of the disk as it was at first) to what a power cut after `upto` operations
        leaves.

        Without `survives` every write survives.
        """
        upto = len(self.operations) if upto is None else upto
        certain = self.certain(upto)
        for k in range(upto):
            operation = self.operations[k]
            if operation is None:
                continue
            sector, data = operation
            if k < certain or survives is None:
                onto.write(sector, data)
                continue
            for i in range(len(data) // SECTOR_SIZE):
                if survives(k, sector + i):
                    onto.write(sector + i, data[i * SECTOR_SIZE : (i + 1) * SECTOR_SIZE])

    def crashes(self, rng: Stream, per_point: int = 1) -> Iterator[tuple[int, Survives]]:
        """Crashes to try with `replay`: after each operation, so many random choices of survivors, and always
        the two extremes (all of them, none of them).
        """
        for upto in range(len(self.operations) + 1):
            yield upto, lambda k, sector: True
            doubtful = self.uncertain(upto)
            if not doubtful:
                continue
            yield upto, lambda k, sector: False
            for _ in range(per_point):
                chance = rng.random()
                kept = {place: rng.chance(chance) for place in doubtful}
                yield upto, lambda k, sector, kept=kept: kept[k, sector]  # type: ignore[misc]
