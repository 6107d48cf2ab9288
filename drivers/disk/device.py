"""What a disk is: an array of 512-byte sectors with a volatile cache.

`read` sees every `write` before it. A write is on the medium for certain only once a later `flush` has
returned; until then a loss of power may keep it, lose it, or keep some of its sectors (a sector itself is
never torn). That is the whole contract a journal is built on.

A range outside the disk or a length that is not whole sectors is a mistake of the caller: EINVAL. What the
medium cannot do is EIO.
"""

from __future__ import annotations

import errno
from typing import Protocol

from csrc.frame import Buffer

SECTOR_SIZE = 512
COUNTERS = ("reads", "read_sectors", "writes", "written_sectors", "flushes", "read_errors", "write_errors")


class Disk(Protocol):
    """A block device: RAM, an image file, or a faulty one around another."""

    sectors: int
    counters: dict[str, int]

    def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector` on."""
        ...

    def write(self, sector: int, data: Buffer) -> None:
        """Whole sectors from `sector` on."""

    def flush(self) -> None:
        """Return when everything written is on the medium."""

    def close(self) -> None:
        """Give back what it holds, after a flush. Idempotent."""


def new_counters() -> dict[str, int]:
    """All of COUNTERS at zero, in order."""
    return dict.fromkeys(COUNTERS, 0)


def check_range(sectors: int, sector: int, count: int) -> None:
    """EINVAL unless [sector, sector + count) lies on a disk of so many sectors."""
    if sector < 0 or count < 0 or sector + count > sectors:
        raise OSError(
            errno.EINVAL, f"sectors [{sector}, {sector + count}) are outside a disk of {sectors} sectors"
        )


def whole_sectors(sectors: int, sector: int, data: Buffer) -> int:
    """The number of sectors in `data`; EINVAL unless it is whole and the range lies on the disk."""
    size = memoryview(data).nbytes
    count, rest = divmod(size, SECTOR_SIZE)
    if rest:
        raise OSError(errno.EINVAL, f"a write of {size} bytes is not whole sectors of {SECTOR_SIZE}")
    check_range(sectors, sector, count)
    return count
