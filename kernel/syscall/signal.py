"""System calls of signals (POSIX signal concepts; signal(7)).

In the Python ABI a signal set is an iterable of signal numbers, a handler is `handler(sys, signum, info)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import EINTR
from typing import TYPE_CHECKING, Any

from kernel.abi import (
    ANON_INODE_FS_MAGIC,
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    EPERM,
    ESRCH,
    MINSIGSTKSZ,
    NSIG,
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDWR,
    SI_USER,
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    SS_DISABLE,
    SS_ONSTACK,
)
from kernel.fs.file import File
from kernel.fs.signalfd import SIGNALFD, SignalFd
from kernel.fs.user import install
from kernel.sched.wait import Interrupted
from kernel.signal import IGNORED, Action, SigInfo, bit
from kernel.syscall.table import BY_NAME, NEVER_RULE, NO_HANDLER_RULE, python, syscall

if TYPE_CHECKING:
    from kernel.task import Credentials, Task, ThreadGroup

SI_TKILL = -6
SS_AUTODISARM = 1 << 31
_KEEP = object()


def to_mask(signals: Any) -> int:
    """A set of signal numbers as bits. EINVAL for numbers that are no signals."""
    if isinstance(signals, int):
        return signals
    mask = 0
    try:
        for signum in signals:
            mask |= bit(_valid(signum))
    except TypeError:
        raise OSError(EFAULT, f"a set of signals was expected, not {signals!r:.40}") from None
    return mask


def to_set(mask: int) -> set[int]:
    """The numbers of the signals in a mask."""
    return {n for n in range(1, NSIG) if mask & bit(n)}


def _valid(signum: int) -> int:
    if not isinstance(signum, int) or not 0 < signum < NSIG:
        raise OSError(EINVAL, f"{signum!r:.40} is no signal")
    return int(signum)


# ---- sending ----


def may_signal(sender: Credentials, target: ThreadGroup, signum: int, group: ThreadGroup) -> bool:
    """kill(2): a real or effective uid of the sender is the real or saved uid of the target; CAP_KILL; SIGCONT in a
    session.
    """
    leader = target.leader
    if sender.capable(5) or leader is None:
        return True
    if {sender.euid, sender.uid} & {leader.cred.uid, leader.cred.suid}:
        return True
    return signum == SIGCONT and group.sid == target.sid


def _targets(task: Task, pid: int) -> list[ThreadGroup]:
    groups = task.machine.processes.groups
    if pid > 0:
        return [groups[pid]] if pid in groups else []
    if pid == -1:
        return [g for p, g in sorted(groups.items()) if p != 1 and g is not task.group]
    pgid = task.group.pgid if pid == 0 else -pid
    return [g for _, g in sorted(groups.items()) if g.pgid == pgid]


@syscall(129, "kill", "int", "signal")
def sys_kill(task: Task, pid: int, sig: int) -> int:
    targets = _targets(task, pid)
    if not targets:
        raise OSError(ESRCH, f"kill: no process {pid}")
    if sig:
        _valid(sig)
    info = SigInfo(sig, SI_USER, task.group.pid, task.cred.uid)
    allowed = [g for g in targets if may_signal(task.cred, g, sig, task.group)]
    if not allowed and pid != -1:
        raise OSError(EPERM, f"kill: {pid} belongs to somebody else")
    if sig:
        for group in allowed:
            task.machine.signals.send_process(group, info)
    return 0


@syscall(131, "tgkill", "int", "int", "signal")
def sys_tgkill(task: Task, tgid: int, tid: int, sig: int) -> int:
    if tgid <= 0 or tid <= 0:
        raise OSError(EINVAL, "tgkill: ids are positive")
    target = task.machine.tasks.get(tid)
    if target is None or target.group.pid != tgid:
        raise OSError(ESRCH, f"tgkill: no thread {tid} in {tgid}")
    if sig:
        _valid(sig)
    if not may_signal(task.cred, target.group, sig, task.group):
        raise OSError(EPERM, f"tgkill: {tid} belongs to somebody else")
    if sig:
        task.machine.signals.send_thread(target, SigInfo(sig, SI_TKILL, task.group.pid, task.cred.uid))
    return 0


@syscall(130, "tkill", "int", "signal")
def sys_tkill(task: Task, tid: int, sig: int) -> int:
    if tid <= 0:
        raise OSError(EINVAL, "tkill: ids are positive")
    target = task.machine.tasks.get(tid)
    if target is None:
        raise OSError(ESRCH, f"tkill: no thread {tid}")
    result: int = sys_tgkill.handler(task, target.group.pid, tid, sig)  # type: ignore[attr-defined]
    return result


@syscall(138, "rt_sigqueueinfo", "int", "signal", "int")
def sys_rt_sigqueueinfo(task: Task, pid: int, sig: int, value: int = 0) -> int:
    _valid(sig)
    _carried(value)
    target = task.machine.processes.groups.get(pid)
    if target is None:
        raise OSError(ESRCH, f"rt_sigqueueinfo: no process {pid}")
    if not may_signal(task.cred, target, sig, task.group):
        raise OSError(EPERM, f"rt_sigqueueinfo: {pid} belongs to somebody else")
    _room_for(task, target, sig)
    task.machine.signals.send_process(target, SigInfo(sig, -1, task.group.pid, task.cred.uid, si_value=value))
    return 0


# ---- dispositions and masks ----


@syscall(134, "rt_sigaction", "signal", "sigaction", "", "", "result:sigaction", "=8", returns="zero")
def sys_rt_sigaction(task: Task, sig: int, handler: Any = _KEEP, flags: int = 0, mask: int = 0) -> Action:
    _valid(sig)
    state = task.group.signals
    old = state.get(sig)
    if handler is _KEEP:
        return old
    if sig in (SIGKILL, SIGSTOP):
        raise OSError(EINVAL, f"signal {sig} can't be caught or ignored")
    if not callable(handler) and handler not in (SIG_DFL, SIG_IGN):
        raise OSError(EFAULT, f"rt_sigaction: {handler!r:.40} is no handler")
    state.actions[sig] = Action(handler, flags, mask & ~(bit(SIGKILL) | bit(SIGSTOP)))
    if handler == SIG_IGN or (handler == SIG_DFL and bit(sig) & IGNORED):
        # POSIX: what is pending and now ignored is gone.
        group = task.group
        group.pending[:] = [i for i in group.pending if i.si_signo != sig]
        for thread in group.threads.values():
            thread.pending[:] = [i for i in thread.pending if i.si_signo != sig]
            task.machine.signals.recalculate(thread)
    return old


@python("rt_sigaction")
def rt_sigaction(task: Task, sig: int, handler: Any = _KEEP, flags: int = 0, mask: Iterable[int] = ()) -> Any:
    """Set the disposition (or, with none given, only ask for it); the handler as it was."""
    if handler is None:
        handler = _KEEP
    if callable(handler):
        from kernel.exec.ticks import ticked

        handler = ticked(handler, task.machine.meter.tick)
    elif isinstance(handler, int) and handler is not _KEEP:
        handler = int(handler)
    old: Action = sys_rt_sigaction(task, sig, handler, flags, to_mask(mask))
    return old.handler


@syscall(135, "rt_sigprocmask", "sighow", "sigset", "result:sigset", "=8", returns="zero")
def sys_rt_sigprocmask(task: Task, how: int, mask: int | None) -> int:
    old = task.blocked
    if mask is not None:
        if how == SIG_BLOCK:
            new = old | mask
        elif how == SIG_UNBLOCK:
            new = old & ~mask
        elif how == SIG_SETMASK:
            new = mask
        else:
            raise OSError(EINVAL, f"rt_sigprocmask: how is {how}")
        task.machine.signals.set_blocked(task, new)
    return old


@python("rt_sigprocmask")
def rt_sigprocmask(task: Task, how: int, signals: Iterable[int] | None = ()) -> set[int]:
    """The signals that were blocked before."""
    return to_set(sys_rt_sigprocmask(task, how, None if signals is None else to_mask(signals)))


@syscall(136, "rt_sigpending", "result:sigset", "=8", returns="zero")
def sys_rt_sigpending(task: Task) -> int:
    mask = 0
    for info in (*task.pending, *task.group.pending):
        mask |= bit(info.si_signo)
    return mask & task.blocked


@python("rt_sigpending")
def rt_sigpending(task: Task) -> set[int]:
    return to_set(sys_rt_sigpending(task))


@syscall(132, "sigaltstack", "stack", "result:stack", returns="zero")
def sys_sigaltstack(task: Task, stack: Any = None) -> tuple[int, int, int]:
    """(address, flags, size) as it was. Handlers of Python programs have no use for the stack; its rules hold."""
    address, flags, size = task.altstack
    old = (address, flags | (SS_ONSTACK if task.altstack_users else 0), size)
    if stack is not None:
        try:
            address, flags, size = (int(v) for v in stack)
        except (TypeError, ValueError):
            raise OSError(EFAULT, f"sigaltstack takes (address, flags, size), not {stack!r:.40}") from None
        if task.altstack_users:
            raise OSError(EPERM, "sigaltstack: a handler runs on it")
        if flags & ~SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
            raise OSError(EINVAL, f"sigaltstack: flags {flags:#x}")
        if flags & SS_DISABLE:
            address = size = 0
        elif size < MINSIGSTKSZ:
            raise OSError(ENOMEM, f"sigaltstack: {size} bytes are too few")
        task.altstack = (address, flags & SS_DISABLE, size)
    return old


@syscall(240, "rt_tgsigqueueinfo", "int", "int", "signal", "int")
def sys_rt_tgsigqueueinfo(task: Task, tgid: int, tid: int, sig: int, value: int = 0) -> int:
    target = task.machine.tasks.get(tid)
    if tgid <= 0 or tid <= 0:
        raise OSError(EINVAL, "rt_tgsigqueueinfo: ids are positive")
    if target is None or target.group.pid != tgid:
        raise OSError(ESRCH, f"rt_tgsigqueueinfo: no thread {tid} in {tgid}")
    if not may_signal(task.cred, target.group, sig, task.group):
        raise OSError(EPERM, f"rt_tgsigqueueinfo: {tid} belongs to somebody else")
    _carried(value)
    if sig:
        _room_for(task, target.group, sig)
        info = SigInfo(_valid(sig), -1, task.group.pid, task.cred.uid, si_value=value)
        task.machine.signals.send_thread(target, info)
    return 0


def _carried(value: Any) -> None:
    if not isinstance(value, int):
        raise OSError(EFAULT, f"a signal carries an int, not {value!r:.40}")


def _room_for(task: Task, group: ThreadGroup, sig: int) -> None:
    if sig >= 32 and task.machine.signals.crowded(group):
        raise OSError(EAGAIN, f"RLIMIT_SIGPENDING: too many signals wait for {group.pid}")


# ---- waiting ----


@syscall(133, "rt_sigsuspend", "sigset", "=8", restart=NO_HANDLER_RULE)
def sys_rt_sigsuspend(task: Task, mask: int) -> int:
    signals = task.machine.signals
    if task.real_blocked is None:
        task.real_blocked = task.blocked
        signals.set_blocked(task, mask)
    while True:
        task.block(None)


@python("rt_sigsuspend")
def rt_sigsuspend(task: Task, signals: Iterable[int] = ()) -> None:
    """Swap the mask, wait for a handler to have run, put the mask back, all at once; always ends with EINTR."""
    sys_rt_sigsuspend(task, to_mask(signals))


@python("pause")
def pause(task: Task) -> None:
    """Wait for a handler to have run; always ends with EINTR. On riscv64 it is ppoll on nothing."""
    BY_NAME["ppoll"].entry(task, [], None, None)
    raise OSError(EINTR, "Interrupted system call")


@syscall(137, "rt_sigtimedwait", "sigset", "result:siginfo", "timespec", "=8", returns="signo", restart=NEVER_RULE)
def sys_rt_sigtimedwait(task: Task, mask: int, timeout_ns: int | None = None) -> SigInfo:
    signals = task.machine.signals
    if timeout_ns is not None and (not isinstance(timeout_ns, int) or timeout_ns < 0):
        raise OSError(EINVAL, f"rt_sigtimedwait: timeout {timeout_ns}")
    deadline = None if timeout_ns is None else task.now + timeout_ns
    mask &= ~(bit(SIGKILL) | bit(SIGSTOP))
    pid = task.group.pid
    while True:
        info = signals.take(task, mask)
        if info is not None:
            signals.recalculate(task)
            return info
        queue = signals.waiting_queue(pid)
        before = task.blocked
        left = None if deadline is None else deadline - task.now
        try:
            if left is not None and left <= 0:
                raise OSError(EAGAIN, "rt_sigtimedwait: no signal came")
            task.blocked = before & ~mask  # a signal that is waited for ends the sleep, blocked or not
            signals.recalculate(task)
            queue.sleep(task, left)
        except Interrupted:
            task.blocked = before
            info = signals.take(task, mask)
            signals.recalculate(task)
            if info is not None:
                return info
            raise
        finally:
            task.blocked = before
            signals.recalculate(task)
            signals.forget_queue(pid)


@syscall(74, "signalfd4", "fd", "sigset", "open_flags")
def sys_signalfd4(task: Task, fd: int, mask: int, flags: int = 0) -> int:
    """A new descriptor (fd -1), or another mask for one; reads give struct signalfd_siginfo."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise OSError(EINVAL, "signalfd4 flags")
    mask &= ~(bit(SIGKILL) | bit(SIGSTOP))
    if fd != -1:
        held = task.files.get(fd).private
        if not isinstance(held, SignalFd):
            raise OSError(EINVAL, f"{fd} is no signalfd")
        held.mask = mask
        return fd
    inode = task.machine.vfs.anon("anon_inodefs", ANON_INODE_FS_MAGIC).inode(0o600, task.cred.fsuid, task.cred.fsgid)
    file = File(SIGNALFD, O_RDWR | flags & O_NONBLOCK, inode, None, SignalFd(task.machine, mask))
    return install(task, file, bool(flags & O_CLOEXEC))


@python("signalfd4")
def signalfd4(task: Task, fd: int, signals: Iterable[int], flags: int = 0) -> int:
    made: int = sys_signalfd4(task, fd, to_mask(signals), flags)
    return made


@python("rt_sigtimedwait")
def rt_sigtimedwait(task: Task, signals: Iterable[int], timeout_ns: int | None = None) -> SigInfo:
    """Take one of the (blocked) signals, waiting for it if need be; EAGAIN after the timeout."""
    info: SigInfo = sys_rt_sigtimedwait(task, to_mask(signals), timeout_ns)
    return info
