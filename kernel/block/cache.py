"""The buffers of a block device: its contents in memory, by block of 4096 bytes, with delayed writing.

A *buffer* is a block that was read or written. A write changes buffers and returns; they are *dirty* until they have
been written back: by fsync and sync, when the device is closed for the last time, by the flusher (a kernel thread
that looks every `PERIOD_NS` for buffers dirty for longer than `EXPIRE_NS`), or because too many are dirty: past a
tenth of the cache's size the flusher begins at once, past a fifth whoever writes waits for it.

Invariants:
- A buffer under `reading` has no valid data and nobody changes it; who needs it waits for the bio.
- Of a buffer under `writing` the bio has a copy of the data. It may be changed meanwhile, which makes it dirty again;
  it is not written a second time before the first has ended, so that writes of one block never overtake each other.
- A write that failed leaves its buffer clean (it would fail for ever), and raises `errors`: every open description is
  told once, by fsync (Linux's errseq).
- What is evicted is clean and idle.

This is the page cache of the disk as a file. A filesystem reads and writes through the device's queue, with pages of
its own; this one then serves its metadata, or gives way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from errno import EIO
from functools import partial
from typing import TYPE_CHECKING

from kernel.block.request import RAHEAD, READ, SECTOR_SIZE, SYNC, WRITE, Bio
from kernel.fs.vfs import error
from kernel.sched.kthread import Worker
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from csrc.frame import Buffer as Bytes
    from kernel.block.device import BlockDevice
    from kernel.task import Task

BLOCK = 4096
SECTORS = BLOCK // SECTOR_SIZE
RUN = 256
"""Blocks written or read by one bio at most: 1 MiB."""
PERIOD_NS = 5_000_000_000
EXPIRE_NS = 30_000_000_000
_LOOKS = 64
"""Buffers looked at to find one that can be evicted."""


class Buffer:
    """One block in memory; the last one of a disk may be short."""

    __slots__ = ("data", "dirty_ns", "index", "reading", "writing")

    def __init__(self, index: int) -> None:
        self.index = index
        self.data = bytearray()
        self.dirty_ns: int | None = None
        """Since when it has been dirty."""
        self.reading: Bio | None = None
        self.writing: Bio | None = None


class BufferCache:
    """The buffers of one device."""

    __slots__ = (
        "_cleaned", "_flusher", "_given", "_timer", "_unseen", "buffers", "device", "dirty", "errors", "hits", "misses",
        "size", "writing",
    )  # fmt: skip

    def __init__(self, device: BlockDevice, size: int) -> None:
        self.device = device
        self.size = max(size, 64)
        """How many buffers are kept, about."""
        self.buffers: OrderedDict[int, Buffer] = OrderedDict()
        """By block; the one used longest ago is first."""
        self.dirty: dict[int, Buffer] = {}
        """The one dirty for longest is first."""
        self.errors = 0
        """Writes from the cache that failed."""
        self._unseen = False
        """Nobody has been told of the last one."""
        self.writing: dict[int, Buffer] = {}
        """Those that are being written back."""
        self.hits = self.misses = 0
        self._cleaned = WaitQueue()
        self._flusher: Worker | None = None
        self._given = False
        """The flusher has work."""
        self._timer = device.machine.timeline.timer(self._period)

    # ---- reading ----

    def read(self, task: Task, pos: int, count: int, ahead: tuple[int, int] = (0, 0)) -> bytes:
        """`count` bytes at `pos`, which lie on the disk; fewer when a block behind the first can't be read, and
        OSError(EIO) when it is the first. `ahead`: blocks [first, end) that will be wanted next.
        """
        first, last = pos // BLOCK, (pos + count - 1) // BLOCK
        parts: list[bytearray] = []
        for buffer in self._hold(task, first, last + 1, *ahead):
            reading = buffer.reading
            if reading is not None:
                reading.wait(task)
                if reading.error:
                    found = self._read_alone(task, buffer.index)
                    if found is None:
                        if not parts:
                            raise error(EIO, f"block {buffer.index} of {self.device.name}")
                        break
                    buffer = found
            parts.append(buffer.data)
        start = pos - first * BLOCK
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        return bytes(memoryview(whole)[start : start + count])

    def _hold(self, task: Task, first: int, end: int, ahead: int = 0, ahead_end: int = 0) -> list[Buffer]:
        """The buffers of the blocks [first, end), and those ahead on their way. What is missing is being read."""
        buffers = self.buffers
        missing = [index for index in range(first, end) if index not in buffers]
        bios = self._reads(missing, SYNC) if missing else []
        if ahead < ahead_end:
            bios += self._reads([index for index in range(max(ahead, end), ahead_end) if index not in buffers], RAHEAD)
        held = []
        for index in range(first, end):
            held.append(buffers[index])
            buffers.move_to_end(index)
        self.misses += len(missing)
        self.hits += end - first - len(missing)
        if bios:
            self._evict()
            self.device.queue.submit(task, *bios)
        return held

    def _reads(self, blocks: list[int], flags: int) -> list[Bio]:
        """Bios for blocks that have no buffers, and these."""
        bios = []
        for run in runs(blocks):
            bio = Bio(READ, run[0] * SECTORS, self._sectors(run[0], len(run)), flags=flags)
            made = [Buffer(index) for index in run]
            bio.on_end = partial(self._was_read, made)
            for buffer in made:
                buffer.reading = bio
                self.buffers[buffer.index] = buffer
            bios.append(bio)
        return bios

    def _read_alone(self, task: Task, index: int) -> Buffer | None:
        """A block that was part of a transfer that failed; None when it is the one that can't be read."""
        [buffer] = self._hold(task, index, index + 1)
        reading = buffer.reading
        if reading is not None:
            reading.wait(task)
            if reading.error:
                return None if reading.count <= SECTORS else self._read_alone(task, index)
        return buffer

    def _sectors(self, first: int, blocks: int) -> int:
        """Of so many blocks from `first` on; the disk may end within the last."""
        return min(blocks * SECTORS, self.device.disk.sectors - first * SECTORS)

    def _was_read(self, made: list[Buffer], bio: Bio, now: int) -> None:
        """Who holds one of these buffers sees the bio's error; one that was forgotten meanwhile serves only him."""
        data = memoryview(bio.data)
        for i, buffer in enumerate(made):
            if not bio.error:
                buffer.reading = None
                buffer.data = bytearray(data[i * BLOCK : (i + 1) * BLOCK])
            elif self.buffers.get(buffer.index) is buffer:
                del self.buffers[buffer.index]

    # ---- writing ----

    def write(self, task: Task, pos: int, data: Bytes) -> None:
        """Change bytes, which lie on the disk; they are written back later."""
        view = memoryview(data).cast("B")
        done, count = 0, len(view)
        while done < count:
            index, start = divmod(pos + done, BLOCK)
            stop = min(BLOCK, start + count - done)
            whole = start == 0 and stop >= self._sectors(index, 1) * SECTOR_SIZE
            buffer = self._for_write(task, index, whole)
            buffer.data[start:stop] = view[done : done + stop - start]
            self._dirtied(buffer)
            done += stop - start
        self._throttle(task)

    def _for_write(self, task: Task, index: int, whole: bool) -> Buffer:
        """The buffer, with its contents unless the `whole` of them will be replaced."""
        while True:
            buffer = self.buffers.get(index)
            if buffer is not None and buffer.reading is None:
                return buffer
            if buffer is None and whole:
                buffer = self.buffers[index] = Buffer(index)
                buffer.data = bytearray(self._sectors(index, 1) * SECTOR_SIZE)
                self._evict()
                return buffer
            if self._read_alone(task, index) is None:
                raise error(EIO, f"block {index} of {self.device.name}")

    def _dirtied(self, buffer: Buffer) -> None:
        if buffer.dirty_ns is not None:
            return
        now = self.device.machine.timeline.now
        buffer.dirty_ns = now
        self.dirty[buffer.index] = buffer
        if self._timer.deadline is None:
            self._timer.arm(now + PERIOD_NS)

    def _throttle(self, task: Task) -> None:
        """Not faster than the disk, when the cache is full of what it has not got yet."""
        if len(self.dirty) > self.size // 10:
            self._kick()
        while len(self.dirty) + len(self.writing) > self.size // 5:
            self._kick()
            self._cleaned.sleep(task, interruptible=False)

    # ---- writing back ----

    def sync(self, task: Task, first: int = 0, end: int | None = None) -> int:
        """Write back what is dirty in the blocks [first, end) and wait for it, and for what others are writing there.
        An errno, or 0. What becomes dirty meanwhile is left alone.
        """
        due = [buffer.index for buffer in self._range(self.dirty, first, end)]
        bios = {id(b.writing): b.writing for b in self._range(self.writing, first, end) if b.writing is not None}
        dirty = self.dirty
        while due:
            ready = [index for index in due if index in dirty and dirty[index].writing is None]
            started = dict.fromkeys(ready)
            for bio in self._start_writing(task, ready, SYNC):
                bios[id(bio)] = bio
            due = [index for index in due if index in dirty and index not in started]
            if due:  # dirty again while somebody else writes what it was before
                writing = dirty[due[0]].writing
                if writing is not None:
                    writing.wait(task)
        failed = 0
        for bio in bios.values():
            bio.wait(task)
            failed = failed or bio.error
        return failed

    def _range(self, buffers: Mapping[int, Buffer], first: int, end: int | None) -> list[Buffer]:
        if end is not None and end - first < len(buffers):
            return [buffers[index] for index in range(first, end) if index in buffers]
        return [b for index, b in buffers.items() if index >= first and (end is None or index < end)]

    def _start_writing(self, task: Task, blocks: Iterable[int], flags: int = 0) -> list[Bio]:
        """Begin to write back the dirty ones of these that are not being written."""
        dirty = self.dirty
        bios = []
        ready = sorted(index for index in blocks if index in dirty and dirty[index].writing is None)
        for run in runs(ready):
            buffers = [dirty.pop(index) for index in run]
            data = bytes(buffers[0].data) if len(run) == 1 else b"".join([buffer.data for buffer in buffers])
            bio = Bio(WRITE, run[0] * SECTORS, data=data, flags=flags)
            bio.on_end = self._was_written
            for buffer in buffers:
                buffer.dirty_ns = None
                buffer.writing = bio
                self.writing[buffer.index] = buffer
            bios.append(bio)
        if bios:
            self.device.queue.submit(task, *bios)
        return bios

    def _was_written(self, bio: Bio, now: int) -> None:
        first = bio.sector // SECTORS
        for index in range(first, first - (-bio.count // SECTORS)):
            self.writing.pop(index).writing = None
        if bio.error:
            self.errors += 1
            self._unseen = True
            name = self.device.name
            self.device.machine.printk(f"Buffer I/O error on dev {name}, logical block {first}, lost async page write")
        if len(self._cleaned):
            self._cleaned.wake_all()

    def seen_errors(self) -> int:
        """What a new description knows of: an error that nobody was told of is told to it."""
        return -1 if self._unseen else self.errors

    def tell_errors(self) -> int:
        """Somebody is told of the errors so far: what he knows of."""
        self._unseen = False
        return self.errors

    # ---- the flusher ----

    def _period(self, now: int) -> None:
        self._kick()

    def _kick(self) -> None:
        """Give the flusher something to do."""
        if self._given:
            return
        if self._flusher is None:
            device = self.device
            self._flusher = Worker(device.machine, f"flush-{device.rdev >> 8}:{device.rdev & 0xFF}", 0)
        self._given = True
        self._flusher.give(self._flush)

    def _flush(self, task: Task) -> None:
        """In the flusher: what is old, or all of it while there is too much."""
        self._given = False
        if len(self.dirty) > self.size // 10:
            due = list(self.dirty)
        else:
            due = []
            for index, buffer in self.dirty.items():
                assert buffer.dirty_ns is not None
                if task.now - buffer.dirty_ns < EXPIRE_NS:
                    break
                due.append(index)
        busy = [buffer.writing for buffer in self.dirty.values() if buffer.writing is not None]
        bios = self._start_writing(task, due)
        for bio in bios or busy[:1]:  # what is dirty again while it is written comes after that
            bio.wait(task)
        if self.dirty:
            self._timer.arm(task.now + PERIOD_NS)
            if len(self._cleaned) and len(self.dirty) > self.size // 10:
                self._kick()

    # ---- letting go ----

    def _evict(self) -> None:
        buffers = self.buffers
        looks = _LOOKS
        while len(buffers) > self.size and looks:
            index = next(iter(buffers))
            buffer = buffers[index]
            if buffer.dirty_ns is None and buffer.reading is None and buffer.writing is None:
                del buffers[index]
            else:
                buffers.move_to_end(index)
                looks -= 1

    def invalidate(self, first: int = 0, end: int | None = None) -> None:
        """Forget what is clean in [first, end): what is on the disk may differ, and from what is being read too."""
        for buffer in self._range(self.buffers, first, end):
            if buffer.dirty_ns is None and buffer.writing is None:
                del self.buffers[buffer.index]

    def last_words(self) -> list[tuple[int, bytes]]:
        """At the end of the machine: (sector, data) of everything that is not on the disk."""
        self._timer.disarm()
        return [
            (index * SECTORS, bytes(buffer.data))
            for index, buffer in sorted(self.buffers.items())
            if buffer.dirty_ns is not None or (buffer.writing is not None and not buffer.writing.done)
        ]


def runs(blocks: list[int]) -> list[list[int]]:
    """Ascending numbers cut where one is missing, and after RUN of them."""
    found: list[list[int]] = []
    for index in blocks:
        if found and found[-1][-1] + 1 == index and len(found[-1]) < RUN:
            found[-1].append(index)
        else:
            found.append([index])
    return found
