"""A disk in memory: gone with the process, and never slower than a copy."""

from __future__ import annotations

import errno

from csrc.frame import Buffer
from drivers.disk.device import SECTOR_SIZE, check_range, new_counters, whole_sectors


class RamDisk:
    """`sectors` sectors of zeros, or a copy of `image` (padded with zeros to whole sectors)."""

    __slots__ = ("_bytes", "counters", "sectors")

    def __init__(self, sectors: int = 0, image: Buffer = b"") -> None:
        needed = -(-len(image) // SECTOR_SIZE)
        self.sectors = max(sectors, needed)
        self._bytes: bytearray | None = bytearray(self.sectors * SECTOR_SIZE)
        self._bytes[: len(image)] = image
        self.counters = new_counters()

    def _open(self) -> bytearray:
        if self._bytes is None:
            raise OSError(errno.ENODEV, "the disk is closed")
        return self._bytes

    def read(self, sector: int, count: int) -> bytes:
        check_range(self.sectors, sector, count)
        self.counters["reads"] += 1
        self.counters["read_sectors"] += count
        return bytes(memoryview(self._open())[sector * SECTOR_SIZE : (sector + count) * SECTOR_SIZE])

    def write(self, sector: int, data: Buffer) -> None:
        count = whole_sectors(self.sectors, sector, data)
        self.counters["writes"] += 1
        self.counters["written_sectors"] += count
        self._open()[sector * SECTOR_SIZE : (sector + count) * SECTOR_SIZE] = data

    def discard(self, sector: int, count: int) -> None:
        """Give the sectors up: they read as zeros. A disk may have this or not."""
        check_range(self.sectors, sector, count)
        self._open()[sector * SECTOR_SIZE : (sector + count) * SECTOR_SIZE] = bytes(count * SECTOR_SIZE)

    def flush(self) -> None:
        self.counters["flushes"] += 1

    def close(self) -> None:
        self._bytes = None

    def image(self) -> bytes:
        """The whole disk, for tools and tests."""
        return bytes(self._open())
