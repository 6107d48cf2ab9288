"""Signals: sending, and delivery on the way back to user mode (signal(7)).

A signal is sent to a process (any thread that does not block it takes it) or to one thread. It is dropped at once
when it is ignored and nobody blocks it; standard signals coalesce, real-time ones (32 to 64) queue in order. Sending
disturbs the task that will take it: an interruptible sleep ends, `sys.cpu` is cut. Delivery happens in `user_return`,
on the task's own stack: the handler is an ordinary call between two instructions of the program.

SIGKILL and SIGSTOP can't be caught, blocked or ignored. Init (pid 1) gets only what it has handlers for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CLD_CONTINUED,
    CLD_STOPPED,
    RLIMIT_SIGPENDING,
    SA_NOCLDSTOP,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SI_KERNEL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGABRT,
    SIGALRM,
    SIGBUS,
    SIGCHLD,
    SIGCONT,
    SIGFPE,
    SIGILL,
    SIGKILL,
    SIGPROF,
    SIGQUIT,
    SIGSEGV,
    SIGSTOP,
    SIGSYS,
    SIGTRAP,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGVTALRM,
    SIGWINCH,
    SIGXCPU,
    SIGXFSZ,
)  # fmt: skip
from kernel.sched.wait import WaitQueue
from kernel.task import (
    CORE_BIT,
    SLEEPING,
    STOPPED,
    WORK_CPUTIME,
    WORK_DIE,
    WORK_RESCHED,
    WORK_SIGNAL,
    ZOMBIE,
    Killed,
    Task,
    ThreadGroup,
)

if TYPE_CHECKING:
    from kernel.machine import Machine


def bit(signum: int) -> int:
    """The signal's bit in a mask."""
    return 1 << signum - 1


STOPS = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU)
IGNORED = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH)
"""Default action: ignore."""
DUMPS = (
    bit(SIGQUIT) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGABRT) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV) | bit(SIGXCPU)
    | bit(SIGXFSZ) | bit(SIGSYS)
)  # fmt: skip
"""Default action: die with a core dump, which RLIMIT_CORE mostly forbids."""
UNBLOCKABLE = bit(SIGKILL) | bit(SIGSTOP)
SYNCHRONOUS = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE) | bit(SIGSYS)
"""Delivered before all others."""


class SigInfo:
    """siginfo_t: what a handler is told."""

    __slots__ = ("si_addr", "si_band", "si_code", "si_fd", "si_pid", "si_signo", "si_status", "si_uid", "si_value",
                 "timer", "unqueued")  # fmt: skip

    def __init__(
        self, si_signo: int, si_code: int = SI_KERNEL, si_pid: int = 0, si_uid: int = 0, si_status: int = 0,
        si_value: int = 0, si_addr: int = 0,
    ) -> None:  # fmt: skip
        self.si_signo = si_signo
        self.si_code = si_code
        self.si_pid = si_pid
        self.si_uid = si_uid
        self.si_status = si_status
        self.si_value = si_value
        self.si_addr = si_addr
        self.si_band = self.si_fd = 0
        self.timer: Any = None
        """The POSIX timer that sent it: it is told when the signal is taken."""
        self.unqueued = False
        """Only its number is pending: RLIMIT_SIGPENDING left no room for more."""

    def __repr__(self) -> str:
        return f"<SigInfo {self.si_signo} code={self.si_code} pid={self.si_pid}>"


class Action:
    """struct sigaction. `handler` is SIG_DFL, SIG_IGN or a callable `handler(sys, signum, info)`."""

    __slots__ = ("flags", "handler", "mask")

    def __init__(self, handler: Any = SIG_DFL, flags: int = 0, mask: int = 0) -> None:
        self.handler = handler
        self.flags = flags
        self.mask = mask


DEFAULT = Action()
SIGPENDING_MAX = 7823
"""RLIMIT_SIGPENDING where nobody has set it: what Linux gives a machine of 2 GiB."""


class SignalState:
    """The dispositions of a process; shared under CLONE_SIGHAND, else copied."""

    __slots__ = ("actions",)

    def __init__(self) -> None:
        self.actions: dict[int, Action] = {}

    def get(self, signum: int) -> Action:
        return self.actions.get(signum, DEFAULT)

    def copy(self) -> SignalState:
        new = SignalState()
        new.actions = dict(self.actions)
        return new

    def reset_for_exec(self) -> None:
        """execve: handlers go back to the default, ignored stays ignored."""
        self.actions = {n: Action(SIG_IGN) for n, a in self.actions.items() if a.handler == SIG_IGN}


class Signals:
    """Sending and delivery, for one machine."""

    __slots__ = ("machine",)

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    # ---- sending ----

    def ignored(self, group: ThreadGroup, signum: int) -> bool:
        """Whether delivering the signal would do nothing at all."""
        handler = group.signals.get(signum).handler
        if handler == SIG_IGN:
            return not bit(signum) & UNBLOCKABLE
        if handler != SIG_DFL:
            return False
        if group.pid == 1:
            return True
        return bool(bit(signum) & IGNORED)

    def _prepare(self, group: ThreadGroup, signum: int) -> None:
        """Stop signals and SIGCONT cancel each other; SIGCONT and SIGKILL start a stopped process again, even when
        blocked.
        """
        mask = bit(signum)
        if mask & STOPS:
            _discard(group, bit(SIGCONT))
        elif signum in (SIGCONT, SIGKILL):
            if signum == SIGCONT:
                _discard(group, STOPS)
            if group.stopped:
                group.stopped = 0
                self.machine.processes.stopped.pop(group.pid, None)
                if signum == SIGCONT:
                    group.continued = True
                    self._tell_parent(group, CLD_CONTINUED, SIGCONT)
                for task in list(group.threads.values()):
                    if task.state == STOPPED:
                        self.machine.scheduler.awaken(task, 0)

    def crowded(self, group: ThreadGroup) -> bool:
        """Whether RLIMIT_SIGPENDING forbids to queue one more: what waits for the processes of the same user counts.
        (Where nobody has set a limit only the process's own: the default is not worth a look at all the others.)
        """
        limit = group.rlimits.get(RLIMIT_SIGPENDING)
        if limit is None:
            return _queued(group) >= SIGPENDING_MAX
        if limit[0] < 0 or group.leader is None:
            return False
        uid = group.leader.cred.uid
        others = self.machine.processes.groups.values()
        return limit[0] <= sum(_queued(g) for g in others if g.leader is not None and g.leader.cred.uid == uid)

    def _room(self, group: ThreadGroup, info: SigInfo, pending: list[SigInfo]) -> SigInfo | None:
        """What is queued when there may be no more room: of a signal that can't be queued the number is kept, once. A
        standard signal of kill or of the kernel is queued all the same.
        """
        if (info.si_signo < 32 and info.si_code >= 0) or not self.crowded(group):
            return info
        if any(i.si_signo == info.si_signo for i in pending):
            return None
        bare = SigInfo(info.si_signo, SI_USER)
        bare.unqueued = True
        return bare

    def send_process(self, group: ThreadGroup, info: SigInfo) -> None:
        """kill(2): to the process. Nothing happens to a zombie."""
        signum = info.si_signo
        if not group.threads:
            return
        self._prepare(group, signum)
        taker = next((t for t in group.threads.values() if not t.blocked & bit(signum)), None)
        if self.ignored(group, signum) and (taker is not None or signum == SIGKILL):
            if taker is not None and taker.traced:
                self.machine.trace.ignored(taker, info)
            return
        if signum == SIGKILL:
            self.kill_group(group, SIGKILL)
            return
        if signum >= 32 or info.si_code < 0:
            kept = self._room(group, info, group.pending)
            if kept is None:
                return  # it is pending as it is; kill(2) does not fail
            info = kept
        _queue(group.pending, info)
        if taker is not None:
            self._notify(taker)
        else:
            self._notify_waiters(group, signum)

    def send_thread(self, task: Task, what: int | SigInfo) -> None:
        """tgkill(2), or the kernel itself (SIGPIPE, SIGSEGV): to one thread."""
        info = SigInfo(what) if isinstance(what, int) else what
        signum = info.si_signo
        if task.state >= ZOMBIE:
            return
        self._prepare(task.group, signum)
        blocked = task.blocked & bit(signum) and not bit(signum) & UNBLOCKABLE
        if not blocked and self.ignored(task.group, signum):
            if task.traced:
                self.machine.trace.ignored(task, info)
            return
        if signum == SIGKILL:
            self.kill_group(task.group, SIGKILL)
            return
        if signum >= 32 or info.si_code < 0:
            kept = self._room(task.group, info, task.pending)
            if kept is None:
                return
            info = kept
        _queue(task.pending, info)
        if not blocked:
            self._notify(task)
        else:
            self._notify_waiters(task.group, signum)

    def force(self, task: Task, info: SigInfo) -> None:
        """A fault of the thread's own: what blocks or ignores the signal does not help against it."""
        mask = bit(info.si_signo)
        if task.blocked & mask or task.group.signals.get(info.si_signo).handler == SIG_IGN:
            task.group.signals.actions.pop(info.si_signo, None)
            self.set_blocked(task, task.blocked & ~mask)
        self.send_thread(task, info)

    def send_self(self, task: Task, signum: int) -> None:
        """SEND_SIG_NOINFO: to the thread, as if it had killed itself."""
        self.send_thread(task, SigInfo(signum, SI_USER, task.group.pid, task.cred.uid))

    def _notify(self, task: Task) -> None:
        task.work |= WORK_SIGNAL
        self.machine.scheduler.disturb(task)

    def waiting_queue(self, pid: int) -> WaitQueue:
        """Where threads of the process wait for signals that are blocked (sigtimedwait, signalfd)."""
        queue = self.machine.signal_wait.get(pid)
        if queue is None:
            queue = self.machine.signal_wait[pid] = WaitQueue()
        return queue

    def forget_queue(self, pid: int) -> None:
        """Nobody waits any more, perhaps."""
        queue = self.machine.signal_wait.get(pid)
        if queue is not None and not len(queue) and not queue.watchers:
            del self.machine.signal_wait[pid]

    def _notify_waiters(self, group: ThreadGroup, signum: int) -> None:
        """Threads in sigtimedwait, and signalfd readers, wait for blocked signals."""
        queue = self.machine.signal_wait.get(group.pid)
        if queue is not None:
            queue.wake_all()

    def kill_group(self, group: ThreadGroup, status: int) -> None:
        """Every thread of the process dies; `status` is its wait status (unless it is dying already)."""
        if not group.exiting:
            group.exiting = True
            group.exit_status = None
            for task in group.threads.values():
                task.exit_code = status
        for task in list(group.threads.values()):
            self.kill_task(task)

    def kill_task(self, task: Task) -> None:
        """This thread dies at its next chance."""
        if task.work & WORK_DIE or task.state >= ZOMBIE:
            return
        task.work |= WORK_DIE
        if task.state == STOPPED:
            self.machine.scheduler.awaken(task, 0)
        else:
            self.machine.scheduler.disturb(task)

    def _tell_parent(self, group: ThreadGroup, code: int, status: int) -> None:
        """SIGCHLD for a stop or a continuation."""
        parent = group.parent
        if parent is None:
            return
        if not parent.signals.get(SIGCHLD).flags & SA_NOCLDSTOP:
            leader = group.leader
            uid = leader.cred.uid if leader is not None else 0
            self.send_process(parent, SigInfo(SIGCHLD, code, group.pid, uid, status))
        parent.child_wait.wake_all()

    # ---- delivery ----

    def user_return(self, task: Task) -> None:
        """Settle everything in `task.work`; the task goes back to user mode afterwards. May raise Killed."""
        while task.work:
            if task.work & WORK_DIE:
                raise Killed
            if task.work & WORK_SIGNAL:
                self.deliver(task)
            if task.work & WORK_CPUTIME:
                task.work &= ~WORK_CPUTIME
                if task.group.cpu_timers is not None:
                    task.group.cpu_timers.start()
            if task.work & WORK_RESCHED:
                task.work &= ~WORK_RESCHED
                self.machine.scheduler.reschedule(task)

    def deliver(self, task: Task) -> tuple[bool, bool]:
        """Act on every pending signal that is not blocked. (a handler ran, the first of them had SA_RESTART).

        As in Linux a frame is set up for each handler before the first runs: of two signals that are pending together
        the one with the higher number, taken last, has its handler run first, unless the other's mask blocks it.

        Raises Killed when one of them is the end.
        """
        ran, restartable = False, True
        if task.work & WORK_DIE:
            raise Killed
        saved = task.real_blocked
        while True:
            info = self.take(task, ~task.blocked)
            if info is None:
                break
            signum = info.si_signo
            action = task.group.signals.get(signum)
            handler = action.handler
            if self.machine.trace.active:
                self.machine.trace.signal(task, info)
            if handler == SIG_IGN:
                continue
            if handler == SIG_DFL:
                self._default(task, signum)
                continue
            if not ran:
                ran, restartable = True, bool(action.flags & SA_RESTART)
            before = task.blocked if saved is None else saved
            task.real_blocked = saved = None
            self._handle(task, action, info, before)
        if saved is not None:
            self.set_blocked(task, saved)
            task.real_blocked = None
        self.recalculate(task)
        return ran, restartable

    def _handle(self, task: Task, action: Action, info: SigInfo, before: int) -> None:
        signum = info.si_signo
        mask = task.blocked | action.mask
        if not action.flags & SA_NODEFER:
            mask |= bit(signum)
        if action.flags & SA_RESETHAND:
            task.group.signals.actions.pop(signum, None)
        self.set_blocked(task, mask)
        stacked = bool(action.flags & SA_ONSTACK) and not task.altstack[1]
        task.altstack_users += stacked
        try:
            if task.work & WORK_SIGNAL:
                self.deliver(task)
            action.handler(task.sys, signum, info)
        finally:
            task.altstack_users -= stacked
            self.set_blocked(task, before)

    def _default(self, task: Task, signum: int) -> None:
        mask = bit(signum)
        group = task.group
        if mask & IGNORED or group.pid == 1:
            return
        if mask & STOPS:
            if signum != SIGSTOP and self.machine.processes.is_orphaned(group.pgid, group.sid):
                return
            group.stopped = signum
            self.machine.processes.stopped[group.pid] = group
            group.stop_reported = False
            self._tell_parent(group, CLD_STOPPED, signum)
            for other in list(group.threads.values()):
                if other is not task:
                    other.work |= WORK_SIGNAL
                    self.machine.scheduler.disturb(other)
            self.halt(task)
            return
        dumped = bool(mask & DUMPS) and not group.exiting and self.machine.dump_core(task, signum)
        self.kill_group(group, signum | (CORE_BIT if dumped else 0))
        raise Killed

    def halt(self, task: Task) -> None:
        """Stay stopped until the process is continued or killed."""
        while task.group.stopped:
            self.machine.scheduler.stop(task)
        if task.work & WORK_DIE:
            raise Killed

    def take(self, task: Task, mask: int) -> SigInfo | None:
        """The next pending signal among `mask`, its thread's own before the process's; lowest number first."""
        if task.group.stopped and mask == ~task.blocked:
            self.halt(task)
        for pending in (task.pending, task.group.pending):
            best: SigInfo | None = None
            for info in pending:
                if mask & bit(info.si_signo) and (best is None or _rank(info) < _rank(best)):
                    best = info
            if best is not None:
                pending.remove(best)
                if best.si_signo in TIMERS:
                    _timer_taken(task.group, best.si_signo)
                if best.timer is not None and not best.timer.taken(best):
                    return self.take(task, mask)
                return best
        return None

    def recalculate(self, task: Task) -> None:
        """Set or clear WORK_SIGNAL by what is pending and not blocked."""
        free = ~task.blocked
        for info in (*task.pending, *task.group.pending):
            if free & bit(info.si_signo):
                task.work |= WORK_SIGNAL
                return
        if not task.group.stopped:
            task.work &= ~WORK_SIGNAL

    def set_blocked(self, task: Task, mask: int) -> None:
        """Change the signal mask; what it uncovers will be delivered on the way back."""
        task.blocked = mask & ~UNBLOCKABLE
        self.recalculate(task)


TIMERS = frozenset({SIGALRM, SIGVTALRM, SIGPROF})


def _timer_taken(group: ThreadGroup, signum: int) -> None:
    """An interval timer counts its next period from when the signal of the last was taken."""
    if signum == SIGALRM and group.itimer is not None:
        group.itimer.taken()
    elif signum != SIGALRM and group.cpu_timers is not None:
        group.cpu_timers.taken(1 if signum == SIGVTALRM else 2)


def _rank(info: SigInfo) -> tuple[bool, int]:
    return not bit(info.si_signo) & SYNCHRONOUS, info.si_signo


def _queue(pending: list[SigInfo], info: SigInfo) -> None:
    """Standard signals coalesce; of real-time ones each is kept."""
    if info.si_signo < 32 and any(p.si_signo == info.si_signo for p in pending):
        return
    if pending and pending[-1].unqueued:  # it was the last for which there was no room
        pending[:] = [p for p in pending if not (p.unqueued and p.si_signo == info.si_signo)]
    pending.append(info)


def _queued(group: ThreadGroup) -> int:
    """How many signals wait for the process and its threads."""
    return len(group.pending) + sum(len(task.pending) for task in group.threads.values())


def _discard(group: ThreadGroup, mask: int) -> None:
    group.pending[:] = [i for i in group.pending if not bit(i.si_signo) & mask]
    for task in group.threads.values():
        task.pending[:] = [i for i in task.pending if not bit(i.si_signo) & mask]


def asleep(task: Task) -> bool:
    """Whether the task is in an interruptible sleep (for ps and the report of a deadlock)."""
    return task.state == SLEEPING and task.interruptible
