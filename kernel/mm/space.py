"""A process's address space: areas, and the pages behind them.

An `Mm` is what CLONE_VM shares and spawn copies. It has areas (vma: a range of pages with one protection and one
backing), kept sorted and disjoint, and its private pages by number. A page is a `Frame` of 4096 bytes with a count of
the address spaces that use it: after a copy both sides share every frame, and whoever stores first gets one of its
own. Shared anonymous areas have their frames in a `Shared` object; file areas look at the file's own pages, so that
read() and every other mapper see what is stored.

All loads and stores go through `page(number, write)`, which either gives the page's buffer or raises `Fault`. What it
found is remembered in `reads` and `writes`, the translation caches; whoever changes an area or shares a frame calls
`flush`. User mode (`kernel/mm/user.py`) turns a Fault into SIGSEGV or SIGBUS, system calls turn it into EFAULT.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from kernel.abi import (
    BUS_ADRERR,
    ENOMEM,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_WRITE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SIGBUS,
    SIGSEGV,
)

SHIFT = 12
TASK_SIZE = 1 << 38
"""User addresses under Sv39."""
MMAP_TOP = 0x3FF8000000
"""Areas without a wish are put below this, downwards."""
BRK_START = 0x100000
MAX_AREAS = 65530
"""vm.max_map_count."""

Buffer = bytearray | memoryview


class Fault(Exception):
    """An access that the page tables do not allow: the address, the signal and its si_code."""

    def __init__(self, address: int, signum: int = SIGSEGV, code: int = SEGV_MAPERR) -> None:
        super().__init__(f"{signum} at {address:#x}")
        self.address = address
        self.signum = signum
        self.code = code


class OutOfMemory(Exception):
    """No frame is left: whoever needed it is killed."""


class Ram:
    """How many frames of a machine's memory processes use."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def allocate(self) -> Frame:
        if self.used >= self.limit:
            raise OutOfMemory
        self.used += 1
        return Frame(bytearray(PAGE_SIZE))

    def put(self, frame: Frame) -> None:
        """One user of the frame fewer; at zero it is free."""
        frame.count -= 1
        if not frame.count:
            self.used -= 1


class Frame:
    """One page of memory."""

    __slots__ = ("count", "data")

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.count = 1


class Shared:
    """The pages of a MAP_SHARED|MAP_ANONYMOUS area: the same for everybody who has it."""

    __slots__ = ("frames", "ram", "users")

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.frames: dict[int, Frame] = {}
        self.users = 0

    def page(self, index: int) -> Buffer:
        frame = self.frames.get(index)
        if frame is None:
            frame = self.frames[index] = self.ram.allocate()
        return frame.data

    def get(self) -> None:
        self.users += 1

    def put(self) -> None:
        self.users -= 1
        if not self.users:
            for frame in self.frames.values():
                self.ram.put(frame)
            self.frames.clear()


class Mapped:
    """The pages of a file, with the open description that keeps it."""

    __slots__ = ("file", "inode", "may_write")

    def __init__(self, file: Any) -> None:
        self.file = file
        self.inode = file.inode
        self.may_write = file.writable and not file.inode.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        """Whether a shared mapping may be made writable."""

    def get(self) -> None:
        self.file.get()

    def put(self) -> None:
        self.file.put()

    def page(self, index: int, write: bool, address: int) -> Buffer:
        """The file's own page; SIGBUS beyond the page that holds its end."""
        if index << SHIFT >= self.inode.size:
            raise Fault(address, SIGBUS, BUS_ADRERR)
        try:
            found: Buffer | None = self.inode.mapping.page(index)
            if write or found is None:
                found = self.inode.mapping.page_for_write(index)
        except OSError:
            raise Fault(address, SIGBUS, BUS_ADRERR) from None
        return found


class Area:
    """Pages `start` to `end` (excluded) with one protection. `offset` is the page of the backing at `start`."""

    __slots__ = ("backing", "end", "flags", "offset", "prot", "start")

    def __init__(
        self, start: int, end: int, prot: int, flags: int, backing: Shared | Mapped | None, offset: int
    ) -> None:
        self.start = start
        self.end = end
        self.prot = prot
        self.flags = flags
        self.backing = backing
        self.offset = offset

    @property
    def shared(self) -> bool:
        return bool(self.flags & MAP_SHARED)

    def part(self, start: int, end: int) -> Area:
        """The pages of the area within [start, end), as an area of its own (with a reference of its own)."""
        first, last = max(start, self.start), min(end, self.end)
        if self.backing is not None:
            self.backing.get()
        return Area(first, last, self.prot, self.flags, self.backing, self.offset + first - self.start)

    def alike(self, other: Area) -> bool:
        """Whether `other`, which follows, can be joined to this."""
        return (
            self.end == other.start and self.prot == other.prot and self.flags == other.flags
            and self.backing is other.backing and (
                self.backing is None or self.offset + self.end - self.start == other.offset)
        )  # fmt: skip


class Mm:
    """See the module's docstring."""

    __slots__ = ("areas", "brk", "frames", "locked_future", "ram", "reads", "starts", "users", "writes")

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.users = 1
        self.areas: list[Area] = []
        self.starts: list[int] = []
        """The areas' first pages, to search in."""
        self.frames: dict[int, Frame] = {}
        """Private pages, by number."""
        self.reads: dict[int, Buffer] = {}
        self.writes: dict[int, Buffer] = {}
        self.brk = BRK_START

    # ---- life ----

    def get(self) -> Mm:
        self.users += 1
        return self

    def put(self) -> None:
        """One task fewer uses it; with the last one the memory is free."""
        self.users -= 1
        if not self.users:
            self.clear()

    def clear(self) -> None:
        for area in self.areas:
            if area.backing is not None:
                area.backing.put()
        for frame in self.frames.values():
            self.ram.put(frame)
        self.areas, self.starts, self.frames = [], [], {}
        self.flush()

    def copy(self) -> Mm:
        """For spawn: the same areas; private pages are shared until one side stores."""
        new = Mm(self.ram)
        new.areas = [area.part(area.start, area.end) for area in self.areas]
        new.starts = list(self.starts)
        new.frames = dict(self.frames)
        for frame in self.frames.values():
            frame.count += 1
        new.brk = self.brk
        self.flush()
        return new

    def flush(self) -> None:
        """Forget every translation."""
        self.reads.clear()
        self.writes.clear()

    # ---- areas ----

    def area(self, number: int) -> Area | None:
        """The area that holds the page."""
        at = bisect_right(self.starts, number) - 1
        if at >= 0 and number < self.areas[at].end:
            return self.areas[at]
        return None

    def overlapping(self, start: int, end: int) -> Iterator[Area]:
        at = max(bisect_right(self.starts, start) - 1, 0)
        while at < len(self.areas) and self.areas[at].start < end:
            if self.areas[at].end > start:
                yield self.areas[at]
            at += 1

    def covered(self, start: int, end: int) -> bool:
        """Whether every page of [start, end) is in some area."""
        at = start
        for area in self.overlapping(start, end):
            if area.start > at:
                return False
            at = area.end
        return at >= end

    def pages(self) -> int:
        """How large all areas are together (VmSize)."""
        return sum(area.end - area.start for area in self.areas)

    def resident(self) -> int:
        """How many pages are in memory (VmRSS, roughly)."""
        shared = {id(a.backing): len(a.backing.frames) for a in self.areas if isinstance(a.backing, Shared)}
        return len(self.frames) + sum(shared.values())

    def room_for(self, count: int, hint: int = 0) -> int:
        """Where `count` pages are free: at the hint if they are, else as high as possible. ENOMEM."""
        if hint and hint + count <= TASK_SIZE >> SHIFT and not any(self.overlapping(hint, hint + count)):
            return hint
        end = MMAP_TOP >> SHIFT
        for area in reversed(self.areas):
            if area.start >= end:
                continue
            if end - area.end >= count:
                return end - count
            end = area.start
        if end - count >= 16:
            return end - count
        raise OSError(ENOMEM, f"no room for {count} pages")

    def add(self, area: Area) -> None:
        """Put in an area where nothing is. The caller has taken a reference of the backing for it."""
        at = bisect_right(self.starts, area.start)
        before = self.areas[at - 1] if at else None
        if before is not None and before.alike(area) and before.flags & MAP_SHARED == 0:
            before.end = area.end
            if area.backing is not None:
                area.backing.put()
        else:
            if len(self.areas) >= MAX_AREAS:
                if area.backing is not None:
                    area.backing.put()
                raise OSError(ENOMEM, f"more than {MAX_AREAS} areas")
            self.areas.insert(at, area)
            self.starts.insert(at, area.start)
        self.flush()

    def remove(self, start: int, end: int, free: bool = True) -> list[Area]:
        """Take [start, end) out, splitting areas at its ends. With `free` their pages and references go too; else the
        pieces are given back.
        """
        taken: list[Area] = []
        kept: list[Area] = []
        for area in self.areas:
            if area.end <= start or area.start >= end:
                kept.append(area)
                continue
            if area.start < start:
                kept.append(area.part(area.start, start))
            taken.append(area.part(start, end))
            if area.end > end:
                kept.append(area.part(end, area.end))
            if area.backing is not None:
                area.backing.put()
        self.areas = kept
        self.starts = [area.start for area in kept]
        if free:
            self.discard(start, end)
            for area in taken:
                if area.backing is not None:
                    area.backing.put()
            taken = []
        self.flush()
        return taken

    def discard(self, start: int, end: int) -> None:
        """Free the private pages of [start, end): they read as new."""
        frames = self.frames
        gone = range(start, end) if end - start < len(frames) else [n for n in frames if start <= n < end]
        for number in gone:
            frame = frames.pop(number, None)
            if frame is not None:
                self.ram.put(frame)
        self.flush()

    def protect(self, start: int, end: int, prot: int) -> None:
        """mprotect: the areas are split at the ends, and joined again where they have become alike."""
        for area in self.remove(start, end, free=False):
            area.prot = prot
            self.add(area)
        self._join()

    def _join(self) -> None:
        joined: list[Area] = []
        for area in self.areas:
            if joined and joined[-1].alike(area):
                joined[-1].end = area.end
                if area.backing is not None:
                    area.backing.put()
            else:
                joined.append(area)
        self.areas = joined
        self.starts = [area.start for area in joined]
        self.flush()

    # ---- loads and stores ----

    def page(self, number: int, write: bool) -> Buffer:
        """The page's buffer, to be read or stored to at once. Fault, OutOfMemory."""
        area = self.area(number)
        address = number << SHIFT
        if area is None:
            raise Fault(address)
        if not area.prot & (PROT_WRITE if write else PROT_READ | PROT_WRITE):  # what is writable is readable too
            raise Fault(address, SIGSEGV, SEGV_ACCERR)
        backing = area.backing
        index = area.offset + number - area.start
        if isinstance(backing, Shared):
            data = backing.page(index)
            self.reads[number] = self.writes[number] = data
            return data
        frame = self.frames.get(number)
        if frame is None:
            if backing is not None:
                if area.shared or not write:
                    return backing.page(index, write, address)
                frame = self.ram.allocate()
                frame.data[:] = backing.page(index, False, address)
            else:
                frame = self.ram.allocate()
            self.frames[number] = frame
        elif write and frame.count > 1:
            new = self.ram.allocate()
            new.data[:] = frame.data
            self.ram.put(frame)
            frame = self.frames[number] = new
            self.reads.pop(number, None)
        self.reads[number] = frame.data
        if write:
            self.writes[number] = frame.data
        return frame.data

    def load(self, address: int, length: int) -> bytes:
        """The bytes at [address, address + length); Fault with the address of the first that can't be read."""
        number, start = address >> SHIFT, address & PAGE_SIZE - 1
        if start + length <= PAGE_SIZE:
            page = self.reads.get(number)
            if page is None:
                page = self._reach(number, False, address)
            return bytes(page[start : start + length])
        parts = []
        end = address + length
        while address < end:
            number, start = address >> SHIFT, address & PAGE_SIZE - 1
            page = self.reads.get(number)
            if page is None:
                page = self._reach(number, False, address)
            part = page[start : start + end - address]
            parts.append(part)
            address += len(part)
        return b"".join(parts)

    def store(self, address: int, data: bytes) -> int:
        """Store the bytes; how many were stored before a Fault is in the fault's `done`."""
        done, length = 0, len(data)
        while done < length:
            at = address + done
            number, start = at >> SHIFT, at & PAGE_SIZE - 1
            page = self.writes.get(number)
            if page is None:
                page = self._reach(number, True, at)
            size = min(PAGE_SIZE - start, length - done)
            page[start : start + size] = data[done : done + size]
            done += size
        return done

    def _reach(self, number: int, write: bool, address: int) -> Buffer:
        if not 0 <= address < TASK_SIZE:
            raise Fault(address)
        try:
            return self.page(number, write)
        except Fault as fault:
            fault.address = address
            raise

    def word(self, address: int) -> int:
        """The 32-bit word there, unsigned."""
        return int.from_bytes(self.load(address, 4), "little")

    def set_word(self, address: int, value: int) -> None:
        self.store(address, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def key(self, address: int, private: bool) -> tuple[Any, int]:
        """What identifies the word to futexes: the address space, or what is shared, and the place in it. Fault."""
        area = self.area(address >> SHIFT)
        if private or area is None:
            if area is None and not private:
                raise Fault(address)
            return self, address
        backing = area.backing
        if backing is None or not area.shared:
            return self, address
        owner = backing.inode if isinstance(backing, Mapped) else backing
        return owner, (area.offset << SHIFT) + address - (area.start << SHIFT)


def put_word(mm: Mm, address: int, value: int) -> bool:
    """Store a word where a call has only been told to try; whether it could be."""
    try:
        mm.set_word(address, value)
    except (Fault, OutOfMemory):
        return False
    return True
