"""System calls of the system as a whole: uname, sysinfo, times, limits and clocks under their older names, setting the
clock, personality, unshare, kcmp.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CAP_SYS_ADMIN,
    CAP_SYS_TIME,
    CLOCK_REALTIME,
    CLONE_FILES,
    CLONE_FS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VM,
    EBADF,
    EFAULT,
    EINVAL,
    EPERM,
    ESRCH,
    PAGE_SIZE,
)
from kernel.syscall.process import sys_prlimit64
from kernel.syscall.table import python, syscall
from kernel.syscall.time import read_clock

if TYPE_CHECKING:
    from kernel.task import Task

SECOND = 1_000_000_000
TICK_NS = 10_000_000
"""times(2) counts in hundredths of a second (USER_HZ)."""
NAME_MAX = 64
RELEASE = "6.18.0"
VERSION = "#1 SMP"


class Sysinfo:
    """struct sysinfo; memory in units of `mem_unit` bytes, loads in 1/65536."""

    __slots__ = ("bufferram", "freehigh", "freeram", "freeswap", "loads", "mem_unit", "procs", "sharedram", "totalhigh",
                 "totalram", "totalswap", "uptime")  # fmt: skip

    def __init__(
        self, uptime: int, loads: tuple[int, int, int], total: int, free: int, shared: int, procs: int
    ) -> None:
        self.uptime = uptime
        self.loads = loads
        self.totalram, self.freeram, self.sharedram = total, free, shared
        self.bufferram = self.totalswap = self.freeswap = self.totalhigh = self.freehigh = 0
        self.procs = procs
        self.mem_unit = 1


@syscall(160, "uname", "result:uname", returns="zero")
def sys_uname(task: Task) -> os.uname_result:
    """(sysname, nodename, release, version, machine)."""
    machine = task.machine
    return os.uname_result(("Linux", machine.hostname, RELEASE, VERSION, "riscv64"))


def _host_name(task: Task, name: Any, call: str) -> str:
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    if not isinstance(raw, bytes | bytearray):
        raise OSError(EFAULT, f"{call}: a name was expected")
    if not task.cred.capable(CAP_SYS_ADMIN):
        raise OSError(EPERM, f"{call} needs CAP_SYS_ADMIN")
    if len(raw) > NAME_MAX:
        raise OSError(EINVAL, f"{call}: at most {NAME_MAX} bytes")
    return bytes(raw).decode("utf-8", "surrogateescape")


@syscall(161, "sethostname", "path", "=", returns="int")
def sys_sethostname(task: Task, name: Any) -> int:
    task.machine.hostname = _host_name(task, name, "sethostname")
    return 0


@syscall(162, "setdomainname", "path", "=", returns="int")
def sys_setdomainname(task: Task, name: Any) -> int:
    task.machine.domainname = _host_name(task, name, "setdomainname")
    return 0


@syscall(179, "sysinfo", "result:ptr", returns="zero")
def sys_sysinfo(task: Task) -> Sysinfo:
    machine = task.machine
    shared = sum(getattr(mount.fs, "pages", 0) for mount in machine.vfs.mounts)
    loads = getattr(machine.scheduler, "loadavg", None)
    averages = tuple(int(load * 65536) for load in loads()) if callable(loads) else (0, 0, 0)
    total = machine.frames
    free = max(total - machine.ram.used - shared, 0)
    uptime = -(-machine.timeline.now // SECOND)
    return Sysinfo(
        uptime, (averages[0], averages[1], averages[2]), total * PAGE_SIZE, free * PAGE_SIZE, shared * PAGE_SIZE,
        len(machine.tasks),
    )  # fmt: skip


@syscall(153, "times", "result:tms", returns="last")
def sys_times(task: Task) -> tuple[int, int, int, int, int]:
    """(user, system, children's user, children's system, elapsed), all in hundredths of a second."""
    task.machine.meter.book()
    group = task.group
    user, system = group.times()
    elapsed = task.machine.timeline.now
    return (user // TICK_NS, system // TICK_NS, group.cutime // TICK_NS, group.cstime // TICK_NS,
            elapsed // TICK_NS)  # fmt: skip


# ---- limits under their older names ----


@syscall(163, "getrlimit", "rlimit", "result:limits", returns="zero")
def sys_getrlimit(task: Task, resource: int) -> tuple[int, int]:
    old: tuple[int, int] = sys_prlimit64.handler(task, 0, resource)  # type: ignore[attr-defined]
    return old


@syscall(164, "setrlimit", "rlimit", "limits")
def sys_setrlimit(task: Task, resource: int, limits: Any) -> int:
    if limits is None:
        raise OSError(EFAULT, "setrlimit takes (soft, hard)")
    sys_prlimit64.handler(task, 0, resource, limits)  # type: ignore[attr-defined]
    return 0


# ---- clocks ----


@syscall(169, "gettimeofday", "result:timeval", "=NULL", returns="zero")
def sys_gettimeofday(task: Task) -> int:
    """Nanoseconds since 1970, whole microseconds of them."""
    return read_clock(task, CLOCK_REALTIME) // 1000 * 1000


def _set_clock(task: Task, ns: int, call: str) -> int:
    if not isinstance(ns, int):
        raise OSError(EFAULT, f"{call}: a time was expected")
    if not 0 <= ns < 1 << 63:
        raise OSError(EINVAL, f"{call}: {ns} ns is no time of day")
    if not task.cred.capable(CAP_SYS_TIME):
        raise OSError(EPERM, f"{call} needs CAP_SYS_TIME")
    if ns < task.machine.timeline.now:
        raise OSError(EINVAL, f"{call}: before the machine was started")
    task.machine.set_realtime(ns)
    return 0


@syscall(170, "settimeofday", "timeval", "=NULL")
def sys_settimeofday(task: Task, ns: int) -> int:
    return _set_clock(task, ns, "settimeofday")


@syscall(112, "clock_settime", "clock", "timespec")
def sys_clock_settime(task: Task, clock: int, ns: int) -> int:
    if clock != CLOCK_REALTIME:
        raise OSError(EINVAL, f"clock_settime: clock {clock} can't be set")
    return _set_clock(task, ns, "clock_settime")


# ---- what a task shares ----


@syscall(92, "personality", "int")
def sys_personality(task: Task, persona: int) -> int:
    """The one there is: PER_LINUX (0). 0xffffffff only asks."""
    if persona not in (0, 0xFFFFFFFF):
        raise OSError(EINVAL, f"personality {persona:#x}")
    return 0


@syscall(97, "unshare", "cloneflags")
def sys_unshare(task: Task, flags: int) -> int:
    """CLONE_FILES and CLONE_FS; there are no other namespaces than the machine's own."""
    known = CLONE_FILES | CLONE_FS | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM
    if flags & ~known:
        raise OSError(EINVAL, f"unshare: flags {flags:#x}")
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) and len(task.group.threads) > 1:
        raise OSError(EINVAL, "unshare: the process has other threads")
    machine = task.machine
    if flags & CLONE_FS and machine.fs_sharers.get(id(task.fs)):
        shared = task.fs
        task.fs = shared.copy()
        machine.release_fs(shared)
    if flags & CLONE_FILES and task.files.users > 1:
        table = task.files
        task.files = table.copy()
        table.release()
    return 0


KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND = range(5)


@syscall(272, "kcmp", "int", "int", "int", "int", "int")
def sys_kcmp(task: Task, pid1: int, pid2: int, kind: int, idx1: int = 0, idx2: int = 0) -> int:
    """0 when two tasks share it, else 1 or 2: an order that holds while both live."""
    tasks = task.machine.tasks
    first, second = tasks.get(pid1), tasks.get(pid2)
    if first is None or second is None:
        raise OSError(ESRCH, f"kcmp: no task {pid1} or {pid2}")
    if not task.cred.capable(19) and {first.cred.uid, second.cred.uid} != {task.cred.uid}:
        raise OSError(EPERM, "kcmp: they belong to somebody else")
    if kind == KCMP_FILE:
        try:
            a, b = first.files.get(idx1), second.files.get(idx2)
        except OSError:
            raise OSError(EBADF, "kcmp: no such descriptor") from None
    elif kind == KCMP_VM:
        a, b = first.mm, second.mm
    elif kind == KCMP_FILES:
        a, b = first.files, second.files
    elif kind == KCMP_FS:
        a, b = first.fs, second.fs
    elif kind == KCMP_SIGHAND:
        a, b = first.group.signals, second.group.signals
    else:
        raise OSError(EINVAL, f"kcmp: kind {kind}")
    if a is b:
        return 0
    return 1 if pid1 < pid2 or (pid1 == pid2 and idx1 < idx2) else 2


@python("getrlimit")
def getrlimit(task: Task, resource: int) -> tuple[int, int]:
    """(soft, hard)."""
    limits: tuple[int, int] = sys_getrlimit(task, resource)
    return limits


