"""The part of `HostSystem` that is about processes and the system: ids, limits, clocks and timers that have no place in
`hostsystem`, pidfds, calls on descriptors of the newer kind. Each through the C library or by number, so that an errno
is the kernel's own.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tools.hostmemory import direct
from tools.hostmessage import iovec
from tools.hostsignal import libc

_NSEC = 1_000_000_000
_X86 = {
    "uname": 63, "sethostname": 170, "setdomainname": 171, "times": 100, "settimeofday": 164, "clock_settime": 227,
    "personality": 135, "unshare": 272, "kcmp": 312, "timer_create": 222, "timer_settime": 223, "timer_gettime": 224,
    "timer_getoverrun": 225, "timer_delete": 226, "getcpu": 309, "statx": 332, "sync_file_range": 277,
    "fadvise64": 221, "readahead": 187, "vmsplice": 278, "execveat": 322, "sysinfo": 99,
}  # fmt: skip
_GENERIC = {
    "uname": 160, "sethostname": 161, "setdomainname": 162, "times": 153, "settimeofday": 170, "clock_settime": 112,
    "personality": 92, "unshare": 97, "kcmp": 272, "timer_create": 107, "timer_settime": 110, "timer_gettime": 108,
    "timer_getoverrun": 109, "timer_delete": 111, "getcpu": 168, "statx": 291, "sync_file_range": 84,
    "fadvise64": 223, "readahead": 213, "vmsplice": 75, "execveat": 281, "sysinfo": 179,
}  # fmt: skip
_NR = _X86 if os.uname().machine == "x86_64" else _GENERIC
AT_FDCWD = -100


class Sysinfo:
    """struct sysinfo."""

    __slots__ = ("bufferram", "freehigh", "freeram", "freeswap", "loads", "mem_unit", "procs", "sharedram", "totalhigh",
                 "totalram", "totalswap", "uptime")  # fmt: skip

    def __init__(self, raw: bytes) -> None:
        words = struct.unpack_from("=q3Q6QHxxxxxxQQI", raw)
        self.uptime, self.loads = words[0], words[1:4]
        self.totalram, self.freeram, self.sharedram, self.bufferram, self.totalswap, self.freeswap = words[4:10]
        self.procs, self.totalhigh, self.freehigh, self.mem_unit = words[10:14]


class Statx:
    """struct statx; times in nanoseconds under stat's names."""

    def __init__(self, raw: bytes) -> None:
        w = struct.unpack_from("=IIQIIIHHQQQQ", raw)
        (self.stx_mask, self.stx_blksize, self.stx_attributes, self.stx_nlink, self.stx_uid, self.stx_gid,
         self.stx_mode, _, self.stx_ino, self.stx_size, self.stx_blocks, self.stx_attributes_mask) = w  # fmt: skip
        times = [struct.unpack_from("=qI", raw, 64 + 16 * i) for i in range(4)]
        at, birth, change, mod = (seconds * _NSEC + ns for seconds, ns in times)
        self.stx_atime_ns, self.stx_btime_ns, self.stx_ctime_ns, self.stx_mtime_ns = at, birth, change, mod
        (self.stx_rdev_major, self.stx_rdev_minor, self.stx_dev_major, self.stx_dev_minor,
         self.stx_mnt_id) = struct.unpack_from("=IIIIQ", raw, 128)  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name.startswith("st_"):
            return getattr(self, "stx_" + {"birthtime_ns": "btime_ns"}.get(name[3:], name[3:]))
        raise AttributeError(name)


class HostProcess:
    """Calls on processes and on the system."""

    _call: Callable[..., int]
    environ: dict[str, str]

    # -- the system --

    def uname(self) -> os.uname_result:
        return os.uname()

    def sethostname(self, name: Any) -> int:
        raw = os.fsencode(name)
        return direct(_NR["sethostname"], raw, len(raw))

    def setdomainname(self, name: Any) -> int:
        raw = os.fsencode(name)
        return direct(_NR["setdomainname"], raw, len(raw))

    def sysinfo(self) -> Sysinfo:
        buffer = ctypes.create_string_buffer(128)
        direct(_NR["sysinfo"], buffer)
        return Sysinfo(buffer.raw)

    def times(self) -> tuple[int, int, int, int, int]:
        """(user, system, children's user, children's system, elapsed), in hundredths of a second."""
        buffer = ctypes.create_string_buffer(32)
        elapsed = direct(_NR["times"], buffer)
        user, system, cuser, csystem = struct.unpack("=4q", buffer.raw)
        return user, system, cuser, csystem, elapsed

    def getrlimit(self, resource: int) -> tuple[int, int]:
        return self.prlimit64(0, resource)

    def setrlimit(self, resource: int, limits: tuple[int, int]) -> None:
        self.prlimit64(0, resource, limits)

    def prlimit64(self, pid: int, resource: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        """(soft, hard) as they were; -1 is no limit."""
        words = [v & 0xFFFFFFFFFFFFFFFF for v in limits] if limits is not None else []
        new = struct.pack("=QQ", *words) if words else None
        old = ctypes.create_string_buffer(16)
        self._call(libc.prlimit, pid, resource, new, old)
        soft, hard = struct.unpack("=qq", old.raw)
        return soft, hard

    def getcpu(self) -> int:
        cpu = ctypes.c_uint()
        direct(_NR["getcpu"], ctypes.byref(cpu), None, None)
        return cpu.value

    def personality(self, persona: int) -> int:
        return direct(_NR["personality"], persona)

    def unshare(self, flags: int) -> int:
        return direct(_NR["unshare"], flags)

    def kcmp(self, pid1: int, pid2: int, kind: int, idx1: int = 0, idx2: int = 0) -> int:
        return direct(_NR["kcmp"], pid1, pid2, kind, idx1, idx2)

    # -- clocks and timers --

    def gettimeofday(self) -> int:
        """Nanoseconds since 1970, whole microseconds of them."""
        buffer = ctypes.create_string_buffer(16)
        self._call(libc.gettimeofday, buffer, None)
        seconds, micros = struct.unpack("=qq", buffer.raw)
        return int(seconds * _NSEC + micros * 1000)

    def settimeofday(self, ns: int) -> int:
        return direct(_NR["settimeofday"], struct.pack("=qq", ns // _NSEC, ns % _NSEC // 1000), None)

    def clock_settime(self, clock: int, ns: int) -> int:
        return direct(_NR["clock_settime"], clock, struct.pack("=qq", *divmod(ns, _NSEC)))

    def timer_create(self, clock: int, event: Sequence[int] | None = None) -> int:
        """The new timer's id. `event` is (SIGEV_*, signal, value[, tid])."""
        raw = None
        if event is not None:
            notify, signum, value, tid = (*event, 0)[:4]
            raw = struct.pack("=qiii44x", value, signum, notify, tid)
        ident = ctypes.c_int()
        direct(_NR["timer_create"], clock, raw, ctypes.byref(ident))
        return ident.value

    def timer_settime(self, ident: int, flags: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
        """(time left, interval) as they were."""
        new = struct.pack("=qqqq", *divmod(interval_ns, _NSEC), *divmod(value_ns, _NSEC))
        old = ctypes.create_string_buffer(32)
        direct(_NR["timer_settime"], ident, flags, new, old)
        return _spec(old.raw)

    def timer_gettime(self, ident: int) -> tuple[int, int]:
        now = ctypes.create_string_buffer(32)
        direct(_NR["timer_gettime"], ident, now)
        return _spec(now.raw)

    def timer_getoverrun(self, ident: int) -> int:
        return direct(_NR["timer_getoverrun"], ident)

    def timer_delete(self, ident: int) -> int:
        return direct(_NR["timer_delete"], ident)

    # -- processes as descriptors --

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        return direct(434, pid, flags)

    def pidfd_send_signal(self, pidfd: int, sig: int, flags: int = 0) -> int:
        return direct(424, pidfd, sig, None, flags)

    def pidfd_getfd(self, pidfd: int, targetfd: int, flags: int = 0) -> int:
        return direct(438, pidfd, targetfd, flags)

    # -- files --

    def openat2(self, dirfd: int, path: Any, flags: int, mode: int = 0, resolve: int = 0) -> int:
        how = struct.pack("=QQQ", flags & 0xFFFFFFFFFFFFFFFF, mode, resolve)
        return direct(437, dirfd, os.fsencode(path), how, len(how))

    def fchmodat2(self, dirfd: int, path: Any, mode: int, flags: int = 0) -> int:
        return direct(452, dirfd, os.fsencode(path), mode, flags)

    def statx(self, dirfd: int, path: Any, flags: int = 0, mask: int = 0xFFF) -> Statx:
        buffer = ctypes.create_string_buffer(256)
        direct(_NR["statx"], dirfd, os.fsencode(path), flags, mask, buffer)
        return Statx(buffer.raw)

    def sync_file_range(self, fd: int, offset: int, nbytes: int, flags: int = 0) -> int:
        return direct(_NR["sync_file_range"], fd, offset, nbytes, flags)

    def fadvise64(self, fd: int, offset: int, length: int, advice: int) -> int:
        return direct(_NR["fadvise64"], fd, offset, length, advice)

    def readahead(self, fd: int, offset: int, count: int) -> int:
        return direct(_NR["readahead"], fd, offset, count)

    def vmsplice(self, fd: int, buffers: Sequence[Any], flags: int = 0) -> int:
        vector, count = iovec(buffers)
        return direct(_NR["vmsplice"], fd, vector, int(getattr(count, "value", count)), flags)

    # -- older names --

    def select(
        self, nfds: int, readfds: Any = (), writefds: Any = (), exceptfds: Any = (), timeout_ns: int | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        found: tuple[list[int], list[int], list[int]] = self.pselect6(  # type: ignore[attr-defined]
            nfds, readfds, writefds, exceptfds, timeout_ns
        )
        return found

    def getdents(self, fd: int) -> list[tuple[str, int, int]]:
        found: list[tuple[str, int, int]] = self.getdents64(fd)  # type: ignore[attr-defined]
        return found

    def utimes(self, path: Any, times: Any = None) -> None:
        self.futimesat(AT_FDCWD, path, times)

    def futimesat(self, dirfd: int, path: Any, times: Any = None) -> None:
        self.utimensat(dirfd, path, times, 0)  # type: ignore[attr-defined]

    def inotify_init(self) -> int:
        return self._call(libc.inotify_init)

    def eventfd(self, initial: int = 0) -> int:
        return self._call(libc.eventfd, ctypes.c_uint(initial), 0)

    def signalfd(self, fd: int, signals: Iterable[int]) -> int:
        made: int = self.signalfd4(fd, signals, 0)  # type: ignore[attr-defined]
        return made


def _spec(raw: bytes) -> tuple[int, int]:
    t = struct.unpack("=qqqq", raw)
    return t[2] * _NSEC + t[3], t[0] * _NSEC + t[1]


__all__ = ["HostProcess"]
