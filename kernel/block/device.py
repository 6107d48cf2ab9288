"""A block device: a disk of drivers/disk with its queue, its cache and its place in /dev.

    device = machine.attach_disk(RamDisk(2048))        # /dev/vda, virtual time: an SSD
    device = machine.attach_disk(disk, drive=HDD, scheduler="deadline", depth=4)

`read`, `write` and `flush` are for the kernel's own users, a filesystem first of all: they go to the queue, past the
cache. Disks are named as virtio's are, 16 minor numbers apart.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from drivers.disk.device import Disk
from drivers.disk.drive import DEPTH, DISCARD, FLUSH, READ, WRITE, Drive, DriveCosts
from kernel.abi import S_IFBLK
from kernel.block.cache import BufferCache
from kernel.block.queue import RequestQueue
from kernel.block.request import FUA, OP_NAMES, SYNC, Bio

if TYPE_CHECKING:
    from collections.abc import Callable

    from csrc.frame import Buffer
    from kernel.machine import Machine
    from kernel.task import Task

MAJOR = 254
"""virtblk's, where nobody else took it."""
MINORS = 16
DISK_GROUP = 6


def disk_name(number: int) -> str:
    """vda, vdb ... vdz, vdaa."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return "vd" + letters


class BlockDevice:
    """One disk of a machine."""

    __slots__ = ("cache", "disk", "holder", "machine", "name", "number", "openers", "queue", "rdev", "readahead")

    def __init__(
        self, machine: Machine, number: int, disk: Disk, drive: DriveCosts | None, scheduler: str = "none",
        depth: int = DEPTH,
    ) -> None:  # fmt: skip
        self.machine = machine
        self.number = number
        self.name = disk_name(number)
        minor = number * MINORS
        self.rdev = MAJOR << 8 | minor & 0xFF | (minor & ~0xFF) << 12
        self.disk = disk
        timed = None if drive is None else Drive(machine.timeline, disk.sectors, drive)
        self.queue = RequestQueue(machine, self.name, disk, timed, scheduler, depth)
        self.cache = BufferCache(self, machine.frames // 4)
        self.readahead = 256
        """The most that is read ahead, in sectors."""
        self.openers = 0
        self.holder: object | None = None
        """Who has opened it with O_EXCL."""

    # ---- for the kernel's own users ----

    def read(self, task: Task, sector: int, count: int) -> bytes:
        """Sectors from the drive. OSError(EIO)."""
        bio = Bio(READ, sector, count, flags=SYNC)
        self._do(task, bio)
        return bytes(bio.data)

    def write(self, task: Task, sector: int, data: Buffer, fua: bool = False) -> None:
        """Whole sectors to the drive: into its cache, or with `fua` onto the medium. OSError(EIO)."""
        self._do(task, Bio(WRITE, sector, data=data, flags=SYNC | (FUA if fua else 0)))

    def flush(self, task: Task) -> None:
        """Return when all that was written is on the medium. OSError(EIO)."""
        self._do(task, Bio(FLUSH))

    def discard(self, task: Task, sector: int, count: int) -> None:
        """What is there will not be read again. OSError(EOPNOTSUPP) when the disk has no use for that."""
        self._do(task, Bio(DISCARD, sector, count))

    def _do(self, task: Task, bio: Bio) -> None:
        self.queue.submit(task, bio)
        bio.wait(task)
        bio.check(self.name)

    def sync(self, task: Task) -> int:
        """Everything in the cache onto the medium; an errno, or 0."""
        failed = self.cache.sync(task)
        try:
            self.flush(task)
        except OSError as why:
            return failed or why.errno or errno.EIO
        return failed

    # ---- from outside ----

    def counters(self) -> dict[str, int]:
        """What it has done, for reports: requests, sectors and errors by kind, and what the cache did."""
        stat, cache = self.queue.stat, self.cache
        found: dict[str, int] = {}
        for op, name in OP_NAMES.items():
            found |= {
                f"{name}_requests": stat.ios[op],
                f"{name}_sectors": stat.sectors[op],
                f"{name}_errors": stat.errors[op],
            }
        return found | {"cache_hits": cache.hits, "cache_misses": cache.misses, "lost_writes": cache.errors}

    def power_cut(self, survives: Callable[[int, int], bool] | None = None) -> None:
        """The power of a faulty disk goes, in the midst of whatever is under way. Every request fails from now on,
        until the disk's `power_on`; what the cache holds is the machine's own memory, and stays.
        """
        self.queue.power_cut()
        self.disk.power_cut(survives)  # type: ignore[attr-defined]

    def close(self) -> None:
        """The machine ends in good order: what it had not written is written, at once."""
        self.queue.close()
        lost = 0
        try:
            for sector, data in self.cache.last_words():
                try:
                    self.disk.write(sector, data)
                except OSError:
                    lost += 1
            self.disk.flush()
        except OSError as why:
            self.machine.printk(f"{self.name}: the last flush failed: {why.strerror}")
        if lost:
            self.machine.printk(f"{self.name}: {lost} blocks could not be written back")
        self.disk.close()

    def __repr__(self) -> str:
        return f"<BlockDevice {self.name} {self.disk.sectors} sectors>"


def attach(machine: Machine, disk: Disk, drive: DriveCosts | None, scheduler: str, depth: int) -> BlockDevice:
    """The next disk of the machine, and its node in /dev."""
    from kernel.block.file import BlockOps

    device = BlockDevice(machine, len(machine.disks), disk, drive, scheduler, depth)
    machine.disks[device.name] = device
    machine.vfs.devices[S_IFBLK, device.rdev] = BlockOps(device)
    devfs = machine.vfs.types["devtmpfs"](b"", b"")
    devfs.make(devfs.root, device.name.encode(), S_IFBLK | 0o660, 0, DISK_GROUP, device.rdev, b"")
    return device
