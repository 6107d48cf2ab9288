"""Processes: how they come to be, how they end, and who hears of it.

A task ends on its own greenlet, in `finish`: descriptors are closed, threads counted; with the last thread the
process becomes a zombie that holds its exit status until its parent waits for it. Orphans go to the nearest
subreaper, or to init (pid 1), which reaps. A parent that ignores SIGCHLD (or has SA_NOCLDWAIT) is not told, and
nothing is left behind.

Wait status is Linux's: exit code << 8, or the number of the signal; 0x7f | signal << 8 when stopped; 0xffff when
continued.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel.abi import (
    CAP_SYS_ADMIN,
    CAP_SYS_RESOURCE,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    CSIGNAL,
    EAGAIN,
    EINVAL,
    POLLIN,
    POLLRDNORM,
    RLIMIT_NPROC,
    SA_NOCLDWAIT,
    SI_USER,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
)
from kernel.mm.space import Mm
from kernel.sched.priority import inherit
from kernel.sched.wait import WaitQueue
from kernel.signal import SigInfo, SignalState
from kernel.task import CORE_BIT, DEAD, NEW, ZOMBIE, Killed, Task, ThreadGroup
from kernel.tty.session import disassociate

if TYPE_CHECKING:
    from kernel.machine import Machine

PID_MAX = 32768
NAMESPACES = 0x7E020080
"""CLONE_NEWNS, CLONE_NEWTIME and the like."""
STOPPED_STATUS = 0x7F
CONTINUED_STATUS = 0xFFFF


def exit_status(code: int) -> int:
    """Wait status of a process that called exit(code)."""
    return (code & 0xFF) << 8


def shell_status(status: int) -> int:
    """What a shell makes of a wait status: the exit code, or 128 + signal."""
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF


def end_code(status: int) -> tuple[int, int]:
    """(si_code, si_status) of a SIGCHLD for a process that has ended."""
    if not status & 0x7F:
        return CLD_EXITED, status >> 8
    return CLD_DUMPED if status & CORE_BIT else CLD_KILLED, status & 0x7F


class Processes:
    """The process table of a machine."""

    __slots__ = ("groups", "init", "last_pid", "machine", "stopped", "tasks")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tasks: dict[int, Task] = {}
        """Every thread, by tid."""
        self.groups: dict[int, ThreadGroup] = {}
        """Every process, zombies too, by pid."""
        self.stopped: dict[int, ThreadGroup] = {}
        """Those that a signal has stopped, by pid."""
        self.init: ThreadGroup | None = None
        self.last_pid = 0

    def _new_pid(self) -> int:
        pid = self.last_pid
        for _ in range(PID_MAX):
            pid += 1
            if pid >= PID_MAX:
                pid = 300
            if pid not in self.tasks and pid not in self.groups:
                self.last_pid = pid
                return pid
        raise OSError(EAGAIN, f"all {PID_MAX} process ids are taken")

    # ---- beginning ----

    def create(self, entry: Callable[[Task], int | None], comm: str, parent: Task | None = None) -> Task:
        """A process of its own, made by the machine: child of init, with no descriptors."""
        pid = self._new_pid()
        group = ThreadGroup(pid, self.init, SignalState())
        task = Task(self.machine, pid, group, entry)
        task.comm = comm[:15]
        task.mm = Mm(self.machine.ram)
        self._enter(task, group)
        if self.init is None:
            self.init = group
        else:
            self.init.children[pid] = group
            group.pgid = group.sid = pid
            group.outside = True
        return task

    def _enter(self, task: Task, group: ThreadGroup) -> None:
        machine = self.machine
        task.sys = machine.make_sys(task)
        task.traced = machine.trace.active
        group.threads[task.tid] = task
        self.tasks[task.tid] = task
        if group.leader is None:
            group.leader = task
            group.start_ns = machine.timeline.now
            self.groups[group.pid] = group

    def clone(self, parent: Task, entry: Callable[[Task], int | None], flags: int) -> Task:
        """clone(2): a new thread or process that runs `entry`. EAGAIN at RLIMIT_NPROC, EINVAL for senseless flags."""
        if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
            raise OSError(EINVAL, "CLONE_THREAD needs CLONE_SIGHAND")
        if flags & CLONE_SIGHAND and not flags & CLONE_VM:
            raise OSError(EINVAL, "CLONE_SIGHAND needs CLONE_VM")
        if flags & NAMESPACES:
            raise OSError(EINVAL, f"clone: there are no namespaces ({flags & NAMESPACES:#x})")
        if flags & CLONE_PARENT and parent.group is self.init:
            raise OSError(EINVAL, "CLONE_PARENT by init")
        soft = parent.group.rlimits.get(RLIMIT_NPROC, (-1, -1))[0]
        cred = parent.cred
        if soft >= 0 and cred.uid and not (cred.capable(CAP_SYS_RESOURCE) or cred.capable(CAP_SYS_ADMIN)):
            mine = sum(t.cred.uid == cred.uid for t in self.tasks.values())
            if mine >= soft:
                raise OSError(EAGAIN, f"RLIMIT_NPROC is {soft}")
        tid = self._new_pid()
        if flags & CLONE_THREAD:
            group = parent.group
        else:
            owner = parent.group.parent if flags & CLONE_PARENT and parent.group.parent else parent.group
            group = ThreadGroup(
                tid, parent.group, parent.group.signals if flags & CLONE_SIGHAND else parent.group.signals.copy()
            )
            group.parent = owner
            group.exit_signal = parent.group.exit_signal if flags & CLONE_PARENT else flags & CSIGNAL
            group.exe = parent.group.exe
            group.cmdline = parent.group.cmdline
            owner.children[tid] = group
            group.maker = parent if owner is parent.group else parent.group.maker
        task = Task(self.machine, tid, group, entry)
        task.state = NEW
        task.comm = parent.comm
        task.cred = parent.cred
        inherit(task, parent)
        task.no_new_privs = parent.no_new_privs
        task.timerslack_ns = parent.timerslack_ns
        if not flags & CLONE_VM or flags & CLONE_VFORK:
            task.altstack = parent.altstack
            group.dumpable = parent.group.dumpable
        task.affinity = parent.affinity
        task.mm = parent.mm.get() if flags & CLONE_VM else parent.mm.copy()
        task.blocked = parent.blocked
        task.environ = parent.environ if flags & CLONE_THREAD else dict(parent.environ)
        task.cpu = parent.cpu
        if flags & CLONE_FILES:
            task.files = parent.files
            task.files.users += 1
        else:
            task.files = parent.files.copy()
        task.fs = parent.fs if flags & CLONE_FS else parent.fs.copy()
        if flags & CLONE_FS:
            self.machine.share_fs(task.fs)
        self._enter(task, group)
        return task

    # ---- the end ----

    def exit_group(self, task: Task, status: int) -> None:
        """exit_group(2), or a deadly signal: every thread ends, with this wait status. Raises Killed."""
        self.machine.signals.kill_group(task.group, status)
        raise Killed

    def finish(self, task: Task, status: int) -> None:
        """The last thing a task does, on its own stack: let go of everything."""
        machine = self.machine
        group = task.group
        if not group.exiting and len(group.threads) == 1:
            group.exiting = True
        task.exit_code = status
        machine.futexes.thread_ends(task)
        task.mm.put()
        files, fs = task.files, task.fs
        task.files = task.fs = None
        if files is not None:
            files.release()
        if fs is not None:
            machine.release_fs(fs)
        machine.meter.spend(machine.costs.exit)
        machine.meter.book()
        self.vfork_done(group)
        group.utime += task.utime
        group.stime += task.stime
        if group.threads.get(task.tid) is task:
            del group.threads[task.tid]
        if group.exec_wait is not None:
            group.exec_wait.wake_all()
        if task.traced:
            machine.trace.ended(task, status)
        task.state = ZOMBIE if not group.threads else DEAD
        if self.tasks.get(task.tid) is task:
            del self.tasks[task.tid]
        if not group.threads:
            group.exit_status = status
            self.stopped.pop(group.pid, None)
            self._process_ends(group)

    def vfork_done(self, group: ThreadGroup) -> None:
        """The child of a vfork has its own program, or is gone: the parent goes on."""
        if group.vfork_wait is not None:
            group.vfork_wait.wake_all()
            group.vfork_wait = None

    def _process_ends(self, group: ThreadGroup) -> None:
        if group.cpu_timers is not None:
            group.cpu_timers.close()
        if group.itimer is not None:
            group.itimer.set(0, 0)
        self.drop_timers(group)
        disassociate(self.machine, group, True)
        if group.children:
            self._reparent(group)
        self.orphaned(group, group.pgid)
        self.machine.on_exit(group)
        if group.exit_queue is not None:
            group.exit_queue.wake_all(POLLIN | POLLRDNORM)
        parent = group.parent
        if parent is None:
            del self.groups[group.pid]
            return
        self._notify(group, parent)

    def _notify(self, group: ThreadGroup, parent: ThreadGroup) -> None:
        """The parent of a zombie is told. One that ignores SIGCHLD, or has SA_NOCLDWAIT, is rid of it at once; the
        signal is sent unless it is ignored.
        """
        status = group.exit_status or 0
        action = parent.signals.get(SIGCHLD)
        if group.exit_signal == SIGCHLD and (action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT):
            self.forget(group)
        if group.exit_signal and not (group.exit_signal == SIGCHLD and action.handler == SIG_IGN):
            code, value = end_code(status)
            uid = group.leader.cred.uid if group.leader is not None else 0
            self.machine.signals.send_process(parent, SigInfo(group.exit_signal, code, group.pid, uid, value))
        parent.child_wait.wake_all()

    def drop_timers(self, group: ThreadGroup) -> None:
        """POSIX timers end with the program."""
        for timer in (group.posix_timers or {}).values():
            timer.timer.disarm()
            timer.fired = timer.sent = None
        group.posix_timers = None

    def is_orphaned(self, pgid: int, sid: int, gone: ThreadGroup | None = None) -> bool:
        """POSIX: no member has a parent that is in another group of the same session. Whoever started a process from
        outside the machine counts as such a parent.
        """
        for group in self.groups.values():
            parent = group.parent
            if group.pgid != pgid or group is gone or group.exit_status is not None or parent is None:
                continue
            if group.outside:
                return False
            if parent is not self.init and parent.pgid != pgid and parent.sid == sid and parent.exit_status is None:
                return False
        return True

    def orphaned(self, gone: ThreadGroup, *pgids: int) -> None:
        """A process has ended: groups that are orphaned by it and have stopped members get SIGHUP and SIGCONT."""
        for pgid in pgids:
            stopped = any(g.pgid == pgid and g is not gone for g in self.stopped.values())
            if stopped and self.is_orphaned(pgid, gone.sid, gone):
                members = [g for _, g in sorted(self.groups.items()) if g.pgid == pgid and g.threads and g is not gone]
                for member in members:
                    self.machine.signals.send_process(member, SigInfo(SIGHUP))
                    self.machine.signals.send_process(member, SigInfo(SIGCONT))

    def _reparent(self, group: ThreadGroup) -> None:
        heir = group.parent
        while heir is not None and not heir.subreaper and heir is not self.init:
            heir = heir.parent
        if heir is None or not heir.threads:
            heir = self.init
        children = list(group.children.values())
        group.children = {}
        for child in children:
            child.parent = heir
            for thread in list(child.threads.values()):
                if thread.pdeath_signal:
                    info = SigInfo(thread.pdeath_signal, SI_USER, group.pid)
                    self.machine.signals.send_thread(thread, info)
            if heir is not None and heir is not group:
                child.exit_signal = SIGCHLD
                heir.children[child.pid] = child
                if child.exit_status is not None:
                    self._notify(child, heir)
        for pgid in sorted({c.pgid for c in children if c.sid == group.sid and c.pgid != group.pgid}):
            self.orphaned(group, pgid)
        if heir is not None:
            heir.child_wait.wake_all()

    def forget(self, group: ThreadGroup) -> None:
        """A zombie was waited for: the pid is free again, its times go to the parent."""
        parent = group.parent
        if parent is not None:
            parent.children.pop(group.pid, None)
            parent.cutime += group.utime + group.cutime
            parent.cstime += group.stime + group.cstime
        self.groups.pop(group.pid, None)

    def kill_all(self) -> None:
        """The machine ends: every task dies, in pid order, without the timeline: no greenlet is left behind."""
        scheduler = self.machine.scheduler
        for pid in sorted(self.groups):
            group = self.groups.get(pid)
            if group is not None and group.threads:
                self.machine.signals.kill_group(group, 9)
        scheduler.drain([self.tasks[tid] for tid in sorted(self.tasks)])

    def run_init(self, task: Task) -> int:
        """The built-in init, where no program is: reaps orphans for ever."""
        group = task.group
        queue: WaitQueue = group.child_wait
        while True:
            for child in [c for c in group.children.values() if c.exit_status is not None]:
                self.forget(child)
            queue.sleep(task, interruptible=True)
