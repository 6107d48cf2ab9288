"""A task that belongs to no scheduler: for tests that call the kernel's file layers directly."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from drivers.clock import Stream
from kernel.cost import Costs
from kernel.fs.devfs import make_devfs
from kernel.fs.fdtable import FdTable
from kernel.fs.namei import FsContext
from kernel.fs.tmpfs import Tmpfs, tmpfs_from_options
from kernel.fs.vfs import Vfs
from kernel.sched.wait import Interrupted
from kernel.syscall import FAMILIES as _families
from kernel.syscall.table import Sys
from kernel.task import Credentials
from netstack.stack import Stack


class WouldSleep(Exception):
    """The call would have blocked for ever: nobody else is there to wake it."""


class LoneTask:
    """What the file system calls need of a task. Sleeping calls `on_sleep`, or raises WouldSleep."""

    def __init__(self, vfs: Vfs, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        self.machine = vfs.machine
        self.files = FdTable()
        assert vfs.root is not None
        self.fs = FsContext(vfs.root, vfs.root, 0o022)
        self.cred = Credentials(uid, gid, groups)
        self.group = SimpleNamespace(pid=1, rlimits={})
        self.traced = False
        self.work = 0
        self.blocked = 0
        self.real_blocked = None
        self.signals: list[int] = []
        self.on_sleep: Callable[[], None] | None = None

    @property
    def now(self) -> int:
        now: int = self.machine.timeline.now
        return now

    def trap(self) -> None:
        pass

    def spend(self, ns: int) -> None:
        pass

    def block(self, timeout_ns: int | None, interruptible: bool = True) -> bool:
        if self.on_sleep is not None:
            self.on_sleep()
            return True
        if timeout_ns is not None:
            self.machine.timeline.now += timeout_ns
            return False
        raise WouldSleep

    def wakeup(self) -> bool:
        return True

    def send_signal(self, signum: int) -> None:
        self.signals.append(signum)


def lone_machine(max_pages: int | None = 65536) -> Any:
    timeline = SimpleNamespace(now=0, epoch_ns=10**18)
    timeline.timer = lambda callback: SimpleNamespace(deadline=None, arm=lambda at: None, disarm=lambda: None)
    signals = SimpleNamespace(set_blocked=lambda task, mask: setattr(task, "blocked", mask))
    machine = SimpleNamespace(
        frames=65536, timeline=timeline, costs=Costs(), signals=signals, stack=Stack(Random(1)),
        realtime_offset=lambda: timeline.epoch_ns, tasks={}, processes=SimpleNamespace(groups={}), disks={},
    )  # fmt: skip

    def clock() -> int:
        timeline.now += 1  # time passes, so that order shows in the times
        return timeline.epoch_ns + timeline.now

    vfs = Vfs(clock)
    vfs.machine = machine
    machine.vfs = vfs
    machine.network = SimpleNamespace(
        drive=lambda: None, machine=machine, timeline=timeline, copy_kib=machine.costs.copy_kib, virtual=True
    )
    vfs.mount_root(Tmpfs(vfs.new_dev(), vfs.now, mode=0o755, max_pages=max_pages))
    make_devfs(vfs, Stream(1, "random"))
    vfs.types["tmpfs"] = lambda source, options: tmpfs_from_options(vfs.new_dev(), vfs.now, options)
    return machine


def lone_task(machine: Any = None, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> tuple[LoneTask, Any]:
    """A task and its `sys`."""
    task = LoneTask((machine or lone_machine()).vfs, uid, gid, groups)
    return task, Sys(task)  # type: ignore[arg-type]


__all__ = ["Interrupted", "LoneTask", "WouldSleep", "lone_machine", "lone_task"]
_ = _families
