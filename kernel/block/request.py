"""Bios and requests: what is asked of a block device, and what goes to the drive.

A `Bio` is one transfer that somebody asked for: an operation on [sector, sector + count), with the bytes of a write,
and in the end those of a read or an error. A `Request` is what the drive is given: one bio, or several neighbours of
one kind merged into one transfer.

Durability is the drive's (drivers/disk/device.py): a write that has ended is in the drive's cache; FLUSH makes all
writes that have ended before it was submitted durable, FUA the write itself before it ends, PREFLUSH those before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.disk.device import SECTOR_SIZE
from drivers.disk.drive import DISCARD, FLUSH, READ, WRITE
from kernel.fs.vfs import error

if TYPE_CHECKING:
    from csrc.frame import Buffer
    from kernel.sched.cpu import Cpu
    from kernel.task import Task

PREFLUSH, FUA, SYNC, RAHEAD = 1, 2, 4, 8
"""Flags of a bio. SYNC: somebody waits for it; RAHEAD: nobody may ever want it."""
OP_NAMES = {READ: "read", WRITE: "write", FLUSH: "flush", DISCARD: "discard"}
MAX_SECTORS = 2560
"""The most that one request transfers: 1280 KiB, as Linux's max_sectors_kb."""


class Bio:
    """One transfer. It has ended when `done`; `error` is an errno or 0."""

    __slots__ = ("count", "data", "done", "error", "flags", "on_end", "op", "sector", "task", "waiters")

    def __init__(self, op: int, sector: int = 0, count: int = 0, data: Buffer = b"", flags: int = 0) -> None:
        self.op = op
        self.sector = sector
        self.count = count or len(data) // SECTOR_SIZE
        self.data: Buffer = data
        """What a write writes; what a read has read, once it has ended."""
        self.flags = flags
        self.error = 0
        self.done = False
        self.task: Task | None = None
        """Who submitted it."""
        self.on_end: Callable[[Bio, int], None] | None = None
        """Called when it has ended, in an interrupt: it must not sleep."""
        self.waiters: list[tuple[Task, Cpu]] | None = None

    def wait(self, task: Task) -> None:
        """Sleep until it has ended, uninterruptibly (state D); the CPU it sleeps on waits for input or output."""
        while not self.done:
            if self.waiters is None:
                self.waiters = []
            cpu = task.cpu
            self.waiters.append((task, cpu))
            cpu.io_begins()
            task.block(None, False)

    def end(self, failed: int, now: int) -> None:
        """It has ended; who waits is woken, first come first."""
        self.error = failed
        self.done = True
        if self.on_end is not None:
            self.on_end(self, now)
        waiters, self.waiters = self.waiters, None
        for task, cpu in waiters or ():
            cpu.io_ends()
            task.wakeup()

    def check(self, what: str) -> None:
        """OSError when it has failed."""
        if self.error:
            raise error(self.error, what)

    def __repr__(self) -> str:
        return f"<Bio {OP_NAMES[self.op]} {self.sector}+{self.count}>"


class Request:
    """What the drive is given: bios of one operation that follow each other on the disk."""

    __slots__ = ("bios", "count", "flags", "gone", "issued_ns", "number", "op", "sector", "start_ns")

    def __init__(self, bio: Bio, number: int, now: int) -> None:
        self.op = bio.op
        self.sector = bio.sector
        self.count = bio.count
        self.flags = bio.flags
        self.bios = [bio]
        self.number = number
        """Counts the requests of the queue."""
        self.start_ns = now
        self.issued_ns = 0
        """When the drive was given it."""
        self.gone = False
        """It is not to be dispatched (any more): issued, or merged into another."""

    @property
    def end(self) -> int:
        """The sector after the last."""
        return self.sector + self.count

    @property
    def flushes(self) -> int:
        """How often the drive's cache is emptied with it."""
        return (self.op == FLUSH) + bool(self.flags & PREFLUSH) + bool(self.flags & FUA)

    @property
    def mergeable(self) -> bool:
        return self.op in (READ, WRITE) and not self.flags & (PREFLUSH | FUA)

    def __repr__(self) -> str:
        return f"<Request {self.number} {OP_NAMES[self.op]} {self.sector}+{self.count}>"


__all__ = [
    "DISCARD", "FLUSH", "FUA", "MAX_SECTORS", "OP_NAMES", "PREFLUSH", "RAHEAD", "READ", "SECTOR_SIZE", "SYNC", "WRITE",
    "Bio", "Request",
]  # fmt: skip
