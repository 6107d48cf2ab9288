"""The part of `HostSystem` that is about memory, the process's own: `sys.mem`, the atomics, areas, futexes.

`sys.brk` moves the end of a heap of its own (the interpreter's allocator has the real one). The atomics are the
processor's own (`csrc/atomic.c`).
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

from csrc import ffi, lib
from tools.hostsignal import libc

_NSEC = 1_000_000_000
_SYS = {"x86_64": {"futex": 202, "brk": 12, "set_robust_list": 273, "get_robust_list": 274, "set_tid_address": 218,
                   "membarrier": 324, "mlock2": 325, "mincore": 27, "mremap": 25}}  # fmt: skip
_GENERIC = {"futex": 98, "brk": 214, "set_robust_list": 99, "get_robust_list": 100, "set_tid_address": 96,
            "membarrier": 283, "mlock2": 284, "mincore": 232, "mremap": 216}  # fmt: skip
_NR = _SYS.get(os.uname().machine, _GENERIC)
_FUTEX_WAITV = 449
_HEAP = 1 << 30
_PAGE = 4096

_mmap = libc.mmap
_mmap.restype = ctypes.c_size_t
_mmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_cas = lib.trl_cas32
_fetch_add = lib.trl_fetch_add32
_cast = ffi.cast
_FAILED = ctypes.c_size_t(-1).value


def _word(value: int) -> Any:
    return ctypes.c_long(value)


def _fail(what: object = None) -> Any:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code)) if what is None else OSError(code, os.strerror(code), what)


def direct(number: int, *args: Any) -> int:
    """A system call by number, errno as OSError."""
    done: int = _syscall(_word(number), *(_word(a) if isinstance(a, int) else a for a in args))
    return done if done >= 0 else int(_fail())


class Memory:
    """`sys.mem`: the process's own memory. A wild address is a real SIGSEGV, as the ABI says."""

    __slots__ = ()

    def __getitem__(self, where: int | slice) -> Any:
        if isinstance(where, slice):
            return ctypes.string_at(where.start, where.stop - where.start)
        return ctypes.c_ubyte.from_address(where).value

    def __setitem__(self, where: int | slice, value: Any) -> None:
        if isinstance(where, slice):
            data = bytes(value)
            if len(data) != where.stop - where.start:
                raise ValueError("a store to sys.mem[a:b] takes exactly b - a bytes")
            ctypes.memmove(where.start, data, len(data))
        else:
            ctypes.c_ubyte.from_address(where).value = value


class HostMemory:
    """Calls on memory."""

    _call: Callable[..., int]

    def __init__(self) -> None:
        self.mem = Memory()
        self._private: dict[int, int] = {}
        """Private anonymous areas, address to length: what a child that shares memory has to give back."""
        self._heap = self._break = 0
        self._clear_tid = threading.local()

    # -- areas --

    def mmap(self, addr: int, length: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
        found: int = _mmap(addr or 0, length, prot, flags, fd, offset)
        if found == _FAILED:
            _fail()
        if flags & 0x22 == 0x22:
            self._private[found] = length
        return found

    def munmap(self, addr: int, length: int) -> None:
        self._private.pop(addr, None)
        self._call(libc.munmap, ctypes.c_void_p(addr), ctypes.c_size_t(length))

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        self._call(libc.mprotect, ctypes.c_void_p(addr), ctypes.c_size_t(length), prot)

    def mremap(self, addr: int, old_size: int, new_size: int, flags: int = 0, new_addr: int = 0) -> int:
        moved = direct(_NR["mremap"], addr, old_size, new_size, flags, new_addr)
        if self._private.pop(addr, None) is not None:
            self._private[moved] = new_size
        return moved

    def msync(self, addr: int, length: int, flags: int) -> None:
        self._call(libc.msync, ctypes.c_void_p(addr), ctypes.c_size_t(length), flags)

    def madvise(self, addr: int, length: int, advice: int) -> None:
        self._call(libc.madvise, ctypes.c_void_p(addr), ctypes.c_size_t(length), advice)

    def mincore(self, addr: int, length: int) -> bytes:
        found = ctypes.create_string_buffer(-(-length // _PAGE) or 1)
        direct(_NR["mincore"], addr, length, found)
        return bytes(byte & 1 for byte in found.raw[: -(-length // _PAGE)])

    def mlock(self, addr: int, length: int) -> None:
        self._call(libc.mlock, ctypes.c_void_p(addr), ctypes.c_size_t(length))

    def mlock2(self, addr: int, length: int, flags: int = 0) -> int:
        return direct(_NR["mlock2"], addr, length, flags)

    def munlock(self, addr: int, length: int) -> None:
        self._call(libc.munlock, ctypes.c_void_p(addr), ctypes.c_size_t(length))

    def mlockall(self, flags: int) -> None:
        self._call(libc.mlockall, flags)

    def munlockall(self) -> None:
        self._call(libc.munlockall)

    def membarrier(self, cmd: int, flags: int = 0, cpu: int = 0) -> int:
        return direct(_NR["membarrier"], cmd, flags, cpu)

    def brk(self, addr: int = 0) -> int:
        """The end of the heap as it is now: `addr`, or as it was when that can't be."""
        if not self._heap:
            self._heap = self._break = _mmap(0, _HEAP, 0, 0x4022, -1, 0)
        if not self._heap <= addr < self._heap + _HEAP:
            return self._break
        old, new = (-(-end // _PAGE) * _PAGE for end in (self._break, addr))
        if new > old:
            _mmap(old, new - old, 3, 0x32, -1, 0)
        elif new < old:
            _mmap(new, old - new, 0, 0x4032, -1, 0)
        self._break = addr
        return addr

    def give_back(self, pid: int) -> None:
        """Copy this process's private areas into those of its parent, which waits for it (CLONE_VFORK)."""
        areas = dict(self._private)
        if self._heap and self._break > self._heap:
            areas[self._heap] = self._break - self._heap
        for address, length in areas.items():
            local = struct.pack("=QQ", address, length)
            libc.process_vm_writev(pid, local, ctypes.c_ulong(1), local, ctypes.c_ulong(1), ctypes.c_ulong(0))

    # -- atomics --

    def cas(self, addr: int, old: int, new: int) -> int:
        return int(_cas(_cast("uint32_t *", addr), old & 0xFFFFFFFF, new & 0xFFFFFFFF))

    def fetch_add(self, addr: int, n: int) -> int:
        return int(_fetch_add(_cast("uint32_t *", addr), n & 0xFFFFFFFF))

    # -- futexes --

    def futex(
        self, addr: int, op: int, val: int, timeout_ns: int | None = None, addr2: int = 0, val3: int = 0
    ) -> int:
        """`timeout_ns` is the second count where the operation has one (REQUEUE, CMP_REQUEUE, WAKE_OP)."""
        second: Any = _word(timeout_ns or 0)
        waits = op & 0x7F in (0, 6, 9, 11, 13)
        if waits:
            second = None if timeout_ns is None else struct.pack("=qq", *divmod(timeout_ns, _NSEC))
        words = (_word(_NR["futex"]), _word(addr), ctypes.c_int(op), ctypes.c_int(_int(val)), second, _word(addr2),
                 ctypes.c_uint(val3 & 0xFFFFFFFF))  # fmt: skip
        return self._call(_syscall, *words, restart=waits and timeout_ns is None)

    def futex_waitv(
        self, waiters: Sequence[tuple[int, int, int]], flags: int = 0, timeout_ns: int | None = None, clock: int = 1
    ) -> int:
        """`waiters` is [(value, address, flags), ...], the timeout absolute; the index of one that was woken."""
        raw = b"".join(struct.pack("=QQII", value, address, how, 0) for value, address, how in waiters)
        limit = None if timeout_ns is None else struct.pack("=qq", *divmod(timeout_ns, _NSEC))
        words = (_word(_FUTEX_WAITV), raw, _word(len(waiters)), _word(flags), limit, _word(clock))
        return self._call(_syscall, *words, restart=timeout_ns is None)

    def set_tid_address(self, addr: int) -> int:
        """The interpreter's own threads have theirs in use: the word is cleared by `thread_ends`."""
        self._clear_tid.address = addr
        return threading.get_native_id()

    def thread_ends(self) -> None:
        """What the kernel does with the word of set_tid_address or CLONE_CHILD_CLEARTID."""
        address = getattr(self._clear_tid, "address", 0)
        if address:
            ctypes.c_uint32.from_address(address).value = 0
            self.futex(address, 1, 1)

    def set_robust_list(self, head: int, size: int) -> int:
        return direct(_NR["set_robust_list"], head, size)

    def get_robust_list(self, tid: int = 0) -> tuple[int, int]:
        head, size = ctypes.c_ulong(), ctypes.c_ulong()
        direct(_NR["get_robust_list"], tid, ctypes.byref(head), ctypes.byref(size))
        return head.value, size.value


def _int(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


__all__ = ["HostMemory", "direct"]
