"""System calls of memory: mmap, munmap, mprotect, mremap, brk, msync, madvise, mincore, mlock (mmap(2) and its kind).

Addresses are integers, lengths are rounded up to pages. What the areas and pages are is in `kernel/mm/space.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOVERFLOW,
    EPERM,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_LOCKED,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_TYPE,
    PAGE_SIZE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from kernel.fs.seals import NO_WRITE
from kernel.mm import user as _user
from kernel.mm.space import BRK_START, SHIFT, TASK_SIZE, Area, Fault, Mapped, Mm, OutOfMemory, Shared
from kernel.syscall.table import python, syscall

if TYPE_CHECKING:
    from kernel.task import Task

_PROTS = PROT_READ | PROT_WRITE | PROT_EXEC
_KEPT = MAP_SHARED | MAP_PRIVATE
MIN_ADDR = 65536
"""vm.mmap_min_addr."""


def _pages(length: int) -> int:
    return (length + PAGE_SIZE - 1) >> SHIFT


def _range(addr: int, length: int, errno: int = ENOMEM) -> tuple[int, int]:
    """First page and the page after the last. EINVAL for an address within a page; `errno` beyond user space."""
    if addr & PAGE_SIZE - 1:
        raise OSError(EINVAL, f"{addr:#x} is not the beginning of a page")
    if length < 0 or addr < 0 or addr + length > TASK_SIZE:
        raise OSError(errno, f"{addr:#x} + {length:#x} is outside of user space")
    return addr >> SHIFT, (addr >> SHIFT) + _pages(length)


def _limit(task: Task, which: int) -> int:
    soft: int = task.group.rlimits.get(which, (-1, -1))[0]
    return soft


def _within_limits(task: Task, mm: Mm, count: int) -> None:
    most = _limit(task, abi.RLIMIT_AS)
    if 0 <= most < (mm.pages() + count) << SHIFT:
        raise OSError(ENOMEM, f"RLIMIT_AS is {most}")
    if count > task.machine.ram.limit:
        raise OSError(ENOMEM, f"{count} pages are more than the machine has")


@syscall(222, "mmap", "addr", "size", "prot", "map_flags", "fd", "offset", returns="addr")
def sys_mmap(task: Task, addr: int, length: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
    kind = flags & MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE) or offset & PAGE_SIZE - 1 or offset < 0:
        raise OSError(EINVAL, "mmap: flags or offset")
    file = None
    if not flags & MAP_ANONYMOUS:
        file = task.files.get(fd)
        if file.flags & abi.O_PATH:
            raise OSError(EBADF, f"{fd} was opened with O_PATH")
    if length <= 0:
        raise OSError(EINVAL, "mmap: length")
    if length > TASK_SIZE:
        raise OSError(ENOMEM, "mmap: length")
    count = _pages(length)
    if offset + length > 1 << 63:
        raise OSError(EOVERFLOW, "mmap: offset")
    mm = task.mm
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        start, end = _range(addr, length)
        if addr < MIN_ADDR and not task.cred.capable(abi.CAP_SYS_RAWIO):
            raise OSError(EPERM, f"mmap: {addr:#x} is below {MIN_ADDR:#x}")
        if flags & MAP_FIXED_NOREPLACE and any(mm.overlapping(start, end)):
            raise OSError(EEXIST, f"mmap: {addr:#x} is in use")
    else:
        hint = max(addr, MIN_ADDR) & -PAGE_SIZE if addr else 0
        start = mm.room_for(count, hint >> SHIFT)
    if file is not None:
        _mappable(file, prot, kind != MAP_PRIVATE)
    if flags & MAP_LOCKED and not task.cred.capable(abi.CAP_IPC_LOCK):
        most = _limit(task, abi.RLIMIT_MEMLOCK)
        if 0 <= most < count << SHIFT:
            raise OSError(EAGAIN if most else EPERM, f"RLIMIT_MEMLOCK is {most}")
    _within_limits(task, mm, count)
    shared = kind != MAP_PRIVATE
    backing: Shared | Mapped | None = None
    if file is not None:
        backing = Mapped(file)
    elif shared:
        backing = Shared(mm.ram)
    if backing is not None:
        backing.get()
    mm.remove(start, start + count)
    mm.add(Area(start, start + count, prot & _PROTS, MAP_SHARED if shared else MAP_PRIVATE, backing, offset >> SHIFT))
    return start << SHIFT


def _mappable(file: Any, prot: int, shared: bool) -> None:
    if not file.readable or (shared and prot & PROT_WRITE and not file.writable):
        raise OSError(EACCES, "mmap: the file was not opened for that")
    if shared and prot & PROT_WRITE and file.inode is not None and file.inode.seals & NO_WRITE:
        raise OSError(EPERM, "mmap: the file is sealed")
    if file.inode is None or getattr(file.inode, "mapping", None) is None or not file.inode.is_reg:
        raise OSError(ENODEV, "mmap: the file has no pages")


@python("mmap")
def mmap(task: Task, addr: int, length: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
    """The address. `addr` None is 0: wherever there is room."""
    found: int = sys_mmap(task, addr or 0, length, prot, flags, fd, offset)
    return found


@syscall(215, "munmap", "addr", "size")
def sys_munmap(task: Task, addr: int, length: int) -> int:
    start, end = _range(addr, length, EINVAL)
    if length == 0:
        raise OSError(EINVAL, "munmap: length 0")
    task.mm.remove(start, end)
    return 0


@syscall(226, "mprotect", "addr", "size", "prot")
def sys_mprotect(task: Task, addr: int, length: int, prot: int) -> int:
    start, end = _range(addr, length)
    if prot & ~(_PROTS | abi.PROT_GROWSDOWN | abi.PROT_GROWSUP):
        raise OSError(EINVAL, f"mprotect: protection {prot:#x}")
    if start == end:
        return 0
    mm = task.mm
    reached = start
    error: OSError | None = None
    for area in list(mm.overlapping(start, end)):
        if area.start > reached:
            break
        backing = area.backing
        if prot & PROT_WRITE and area.shared and isinstance(backing, Mapped) and not backing.may_write:
            error = OSError(EACCES, "mprotect: the file was not opened for writing")
            break
        reached = min(area.end, end)
    if reached > start:
        mm.protect(start, reached, prot & _PROTS)
    if error is not None:
        raise error
    if reached < end:
        raise OSError(ENOMEM, f"mprotect: nothing is at {reached << SHIFT:#x}")
    return 0


@syscall(214, "brk", "addr", returns="addr")
def sys_brk(task: Task, addr: int) -> int:
    """The end of the heap as it is now: `addr`, or as it was when that can't be."""
    mm = task.mm
    if addr < BRK_START or addr > TASK_SIZE:
        return mm.brk
    old, new = _pages(mm.brk), _pages(addr)
    data = _limit(task, abi.RLIMIT_DATA)
    if 0 <= data < addr - BRK_START:
        return mm.brk
    if new > old:
        try:
            _within_limits(task, mm, new - old)
        except OSError:
            return mm.brk
        if any(mm.overlapping(old, new)):
            return mm.brk
        mm.add(Area(old, new, PROT_READ | PROT_WRITE, MAP_PRIVATE, None, 0))
    elif new < old:
        mm.remove(new, old)
    mm.brk = addr
    return addr


@python("brk")
def brk(task: Task, addr: int = 0) -> int:
    end: int = sys_brk(task, addr or 0)
    return end


@syscall(216, "mremap", "addr", "size", "size", "mremap_flags", "addr", returns="addr")
def sys_mremap(task: Task, addr: int, old_size: int, new_size: int, flags: int = 0, new_addr: int = 0) -> int:
    if flags & ~(abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP):
        raise OSError(EINVAL, f"mremap: flags {flags:#x}")
    if flags & abi.MREMAP_FIXED and not flags & abi.MREMAP_MAYMOVE:
        raise OSError(EINVAL, "mremap: MREMAP_FIXED needs MREMAP_MAYMOVE")
    if new_size <= 0 or old_size < 0 or addr & PAGE_SIZE - 1:
        raise OSError(EINVAL, "mremap: sizes or address")
    mm = task.mm
    start, old, new = addr >> SHIFT, _pages(old_size), _pages(new_size)
    area = mm.area(start)
    if area is None:
        raise OSError(EFAULT, f"mremap: nothing is at {addr:#x}")
    if not old and not area.shared:
        raise OSError(EINVAL, "mremap: an old size of 0 is for shared areas")
    if start + old > area.end and old:
        raise OSError(EFAULT, "mremap: more than one area")
    if flags & abi.MREMAP_FIXED:
        target, _ = _range(new_addr, new_size, EINVAL)
        if target < start + old and start < target + new:
            raise OSError(EINVAL, "mremap: old and new overlap")
        mm.remove(target, target + new)
        return _move(mm, start, old, new, target, bool(flags & abi.MREMAP_DONTUNMAP))
    if new <= old and old:
        if new < old:
            mm.remove(start + new, start + old)
        return addr
    _within_limits(task, mm, new - old)
    if old and start + old == area.end and not any(mm.overlapping(start + old, start + new)):
        if area.backing is not None:
            area.backing.get()
        mm.add(Area(area.end, start + new, area.prot, area.flags, area.backing, area.offset + area.end - area.start))
        return addr
    if not flags & abi.MREMAP_MAYMOVE:
        raise OSError(ENOMEM, "mremap: no room to grow in place")
    return _move(mm, start, old, new, mm.room_for(new), bool(flags & abi.MREMAP_DONTUNMAP))


def _move(mm: Mm, start: int, old: int, new: int, target: int, keep: bool) -> int:
    """Move `old` pages (at most `new` of them) to `target`; the area is `new` pages long there."""
    area = mm.area(start)
    assert area is not None
    if area.backing is not None:
        area.backing.get()
    moved = Area(target, target + new, area.prot, area.flags, area.backing, area.offset + start - area.start)
    for i in range(min(old, new)):
        frame = mm.frames.pop(start + i, None)
        if frame is not None:
            mm.frames[target + i] = frame
    if old and not keep:
        mm.remove(start, start + old)
    mm.add(moved)
    return target << SHIFT


@syscall(227, "msync", "addr", "size", "msync_flags")
def sys_msync(task: Task, addr: int, length: int, flags: int) -> int:
    if flags & ~(abi.MS_ASYNC | abi.MS_SYNC | abi.MS_INVALIDATE) or (flags & abi.MS_ASYNC and flags & abi.MS_SYNC):
        raise OSError(EINVAL, f"msync: flags {flags:#x}")
    start, end = _range(addr, length)
    mm = task.mm
    if flags & abi.MS_SYNC:
        for area in list(mm.overlapping(start, end)):
            if isinstance(area.backing, Mapped) and area.shared:
                area.backing.file.ops.fsync(area.backing.file, True)
    if not mm.covered(start, end):
        raise OSError(ENOMEM, "msync: nothing is there")
    return 0


_HINTS = frozenset({
    abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_WILLNEED, abi.MADV_COLD, abi.MADV_PAGEOUT,
    abi.MADV_DONTDUMP, abi.MADV_DODUMP, abi.MADV_DONTFORK, abi.MADV_DOFORK, 12, 13, 14, 15,
})  # fmt: skip
"""Advice that changes nothing one could see here."""


@syscall(233, "madvise", "addr", "size", "madvice")
def sys_madvise(task: Task, addr: int, length: int, advice: int) -> int:
    if advice not in _HINTS and advice not in (abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_REMOVE):
        raise OSError(EINVAL, f"madvise: {advice}")
    start, end = _range(addr, length, EINVAL)
    mm = task.mm
    if advice in (abi.MADV_DONTNEED, abi.MADV_FREE):
        for area in list(mm.overlapping(start, end)):
            if advice == abi.MADV_FREE and (area.backing is not None or area.shared):
                raise OSError(EINVAL, "madvise: MADV_FREE is for private anonymous memory")
            if advice == abi.MADV_DONTNEED:
                mm.discard(max(start, area.start), min(end, area.end))
    elif advice == abi.MADV_REMOVE:
        _punch(task, mm, start, end)
    if not mm.covered(start, end):
        raise OSError(ENOMEM, "madvise: nothing is there")
    return 0


def _punch(task: Task, mm: Mm, start: int, end: int) -> None:
    for area in list(mm.overlapping(start, end)):
        first, last = max(start, area.start), min(end, area.end)
        at = area.offset + first - area.start
        if not area.shared or area.backing is None:
            raise OSError(EINVAL, "madvise: MADV_REMOVE is for shared memory")
        if isinstance(area.backing, Shared):
            for index in range(at, at + last - first):
                frame = area.backing.frames.get(index)
                if frame is not None:
                    frame.data[:] = bytes(PAGE_SIZE)
            continue
        file = area.backing.file
        if not file.writable:
            raise OSError(EACCES, "madvise: not open for writing")
        mode = abi.FALLOC_FL_PUNCH_HOLE | abi.FALLOC_FL_KEEP_SIZE
        file.ops.fallocate(file, task, mode, at << SHIFT, (last - first) << SHIFT)


@syscall(232, "mincore", "addr", "size", returns="bytes")
def sys_mincore(task: Task, addr: int, length: int) -> bytes:
    """One byte for each page, 1 when it is in memory."""
    start, end = _range(addr, length)
    mm = task.mm
    if not mm.covered(start, end):
        raise OSError(ENOMEM, "mincore: nothing is there")
    if end - start > task.machine.frames:
        raise OSError(EFAULT, "mincore: more than memory")
    found = bytearray()
    for area in mm.overlapping(start, end):
        for number in range(max(start, area.start), min(end, area.end)):
            index = area.offset + number - area.start
            backing = area.backing
            found.append(
                number in mm.frames
                or (isinstance(backing, Shared) and index in backing.frames)
                or (isinstance(backing, Mapped) and index in backing.inode.mapping.pages)
            )
    return bytes(found)


def _lock(task: Task, addr: int, length: int, lock: bool) -> int:
    start = addr >> SHIFT
    end = _pages(addr + length)
    mm = task.mm
    if lock and not task.cred.capable(abi.CAP_IPC_LOCK):
        most = _limit(task, abi.RLIMIT_MEMLOCK)
        if 0 <= most < (end - start) << SHIFT:
            raise OSError(ENOMEM if most else EPERM, f"RLIMIT_MEMLOCK is {most}")
    if addr < 0 or length < 0 or addr + length > TASK_SIZE or not mm.covered(start, end):
        raise OSError(ENOMEM, "mlock: nothing is there")
    if lock:
        for area in list(mm.overlapping(start, end)):
            for number in range(max(start, area.start), min(end, area.end)):
                try:
                    if number not in mm.frames:
                        mm.page(number, bool(area.prot & PROT_WRITE) and not area.shared)
                except (Fault, OutOfMemory):
                    raise OSError(ENOMEM, "mlock: the page can't be had") from None
    return 0


@syscall(228, "mlock", "addr", "size")
def sys_mlock(task: Task, addr: int, length: int) -> int:
    return _lock(task, addr, length, True)


@syscall(284, "mlock2", "addr", "size", "int")
def sys_mlock2(task: Task, addr: int, length: int, flags: int = 0) -> int:
    if flags & ~abi.MLOCK_ONFAULT:
        raise OSError(EINVAL, f"mlock2: flags {flags:#x}")
    return _lock(task, addr, length, not flags)


@syscall(229, "munlock", "addr", "size")
def sys_munlock(task: Task, addr: int, length: int) -> int:
    return _lock(task, addr, length, False)


@syscall(230, "mlockall", "int")
def sys_mlockall(task: Task, flags: int) -> int:
    if not flags or flags & ~(abi.MCL_CURRENT | abi.MCL_FUTURE | abi.MCL_ONFAULT) or flags == abi.MCL_ONFAULT:
        raise OSError(EINVAL, f"mlockall: flags {flags:#x}")
    if not task.cred.capable(abi.CAP_IPC_LOCK) and _limit(task, abi.RLIMIT_MEMLOCK) == 0:
        raise OSError(EPERM, "mlockall: RLIMIT_MEMLOCK is 0")
    return 0


@syscall(231, "munlockall")
def sys_munlockall(task: Task) -> int:
    return 0


@syscall(283, "membarrier", "int", "int", "int")
def sys_membarrier(task: Task, cmd: int, flags: int = 0, cpu: int = 0) -> int:
    """Stores are seen in order here anyway; what programs ask first is which commands there are."""
    if flags:
        raise OSError(EINVAL, "membarrier: flags")
    if cmd == 0:
        return 0b1111111
    if cmd not in (1, 2, 4, 8, 16, 32, 64):
        raise OSError(EINVAL, f"membarrier: command {cmd}")
    return 0


_ = _user
