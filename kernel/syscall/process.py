"""System calls of processes: clone, execve, exit, wait4, ids, groups and sessions, limits.

`sys.spawn(function, *args)` is fork for Python: the child runs `function(sys, *args)` with copies of the descriptors,
handlers, directory and environment. Python closures are shared, not copied. `fork` itself can't be had: a Python
frame can't be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kernel.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    CLD_CONTINUED,
    CLD_STOPPED,
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_DETACHED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    EAGAIN,
    ECHILD,
    EFAULT,
    EINVAL,
    EPERM,
    ESRCH,
    MS_NOSUID,
    O_NONBLOCK,
    P_ALL,
    P_PGID,
    P_PID,
    P_PIDFD,
    RLIM_INFINITY,
    RLIMIT_CPU,
    RLIMIT_NOFILE,
    RLIMIT_RTTIME,
    SIGCHLD,
    SIGCONT,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOWAIT,
    WUNTRACED,
)
from kernel.cputimer import cpu_timers
from kernel.exec.load import load
from kernel.exec.python import function_entry
from kernel.fs.user import install
from kernel.mm.space import Mm, put_word
from kernel.process import CONTINUED_STATUS, STOPPED_STATUS, end_code, exit_status
from kernel.sched.policy import CREATED
from kernel.sched.wait import WaitQueue
from kernel.signal import SigInfo
from kernel.syscall.identity import after_exec
from kernel.syscall.table import python, syscall
from kernel.task import NO_STACK, WORK_DIE, Killed, Task, ThreadGroup

if TYPE_CHECKING:
    from kernel.machine import Machine

RLIM_NLIMITS = 16
NO_LIMIT = (1 << 64) - 1
"""RLIM_INFINITY as C has it."""
MAX_CPUS = 1024
NR_OPEN = 1048576
"""fs.nr_open: nobody may have more descriptors."""
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
WAIT_OPTIONS = WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE
CLONE_IDS = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD


class Rusage:
    """struct rusage; what is not counted is 0. Times are nanoseconds."""

    __slots__ = ("ru_idrss", "ru_inblock", "ru_isrss", "ru_ixrss", "ru_majflt", "ru_maxrss", "ru_minflt", "ru_msgrcv",
                 "ru_msgsnd", "ru_nivcsw", "ru_nsignals", "ru_nswap", "ru_nvcsw", "ru_oublock", "ru_stime",
                 "ru_utime")  # fmt: skip

    def __init__(self, user: int = 0, system: int = 0, voluntary: int = 0, involuntary: int = 0) -> None:
        self.ru_utime = user
        self.ru_stime = system
        self.ru_nvcsw = voluntary
        self.ru_nivcsw = involuntary
        self.ru_maxrss = self.ru_ixrss = self.ru_idrss = self.ru_isrss = self.ru_minflt = self.ru_majflt = 0
        self.ru_nswap = self.ru_inblock = self.ru_oublock = self.ru_msgsnd = self.ru_msgrcv = self.ru_nsignals = 0

    def __repr__(self) -> str:
        return f"Rusage(utime={self.ru_utime}, stime={self.ru_stime})"


# ---- beginning ----


@syscall(220, "clone", "=child_stack=NULL", "cloneflags", "", "", "", returns="int")
def sys_clone(
    task: Task, flags: int, entry: Callable[[Task], Any], parent_tid: int = 0, child_tid: int = 0
) -> int:
    """`parent_tid`: the word of CLONE_PARENT_SETTID or _PIDFD; `child_tid`: of CLONE_CHILD_SETTID and _CLEARTID."""
    machine = task.machine
    if flags & CLONE_PIDFD and flags & (CLONE_DETACHED | CLONE_PARENT_SETTID):
        raise OSError(EINVAL, "clone: CLONE_PIDFD with CLONE_PARENT_SETTID or CLONE_DETACHED")
    if not isinstance(parent_tid, int) or not isinstance(child_tid, int):
        raise OSError(EFAULT, "clone: addresses of words are integers")
    task.spend(machine.costs.thread if flags & CLONE_VM else machine.costs.spawn)
    child = machine.processes.clone(task, entry, flags)
    if flags & CLONE_IDS:
        _store_ids(task, child, flags, parent_tid, child_tid)
    wait = None
    if flags & CLONE_VFORK:
        wait = child.group.vfork_wait = WaitQueue()
    machine.scheduler.enqueue(child, CREATED)
    while wait is not None and child.group.vfork_wait is wait:
        wait.sleep(task, interruptible=False)
    return child.tid


def _store_ids(task: Task, child: Task, flags: int, parent_tid: int, child_tid: int) -> None:
    """As in Linux the call does not fail for a word that can't be stored to."""
    if flags & CLONE_PIDFD:
        from kernel.syscall.pidfd import pidfd_file

        put_word(task.mm, parent_tid, install(task, pidfd_file(task, child.group), True))
    if flags & CLONE_PARENT_SETTID:
        put_word(task.mm, parent_tid, child.tid)
    if flags & CLONE_CHILD_SETTID:
        put_word(child.mm, child_tid, child.tid)
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_tid = child_tid


@python("spawn")
def spawn(task: Task, function: Callable[..., Any], *args: Any) -> int:
    """A child process that runs `function(sys, *args)`; its pid."""
    if not callable(function):
        raise TypeError(f"spawn takes a function, not {function!r:.60}")
    child: int = sys_clone(task, SIGCHLD, function_entry(task.machine.meter.tick, function, args))
    return child


@python("clone")
def clone(
    task: Task, function: Callable[..., Any], *args: Any, flags: int = THREAD, parent_tid: int = 0, child_tid: int = 0
) -> int:
    """A thread (or, with fewer flags, a process) that runs `function(sys, *args)`; its tid. `parent_tid` and
    `child_tid` are addresses, for the flags that store an id.
    """
    if not callable(function):
        raise TypeError(f"clone takes a function, not {function!r:.60}")
    entry = function_entry(task.machine.meter.tick, function, args)
    child: int = sys_clone(task, flags, entry, parent_tid, child_tid)
    return child


@python("vfork")
def vfork(task: Task, function: Callable[..., Any], *args: Any) -> int:
    """A child that shares memory; the caller waits until it calls execve or ends."""
    return clone(task, function, *args, flags=CLONE_VM | CLONE_VFORK | SIGCHLD)


@python("fork")
def fork(task: Task) -> int:
    """Not to be had for Python."""
    raise OSError(38, "fork: a Python frame cannot be copied; use sys.spawn(function, *args), sys.clone or sys.execve")


@syscall(221, "execve", "path", "strings", "env")
def sys_execve(task: Task, path: str | bytes, argv: list[str], envp: dict[str, str] | list[str] | None = None) -> int:
    """Does not return: the task goes on at the bottom of its stack with the new program."""
    return _execve(task, AT_FDCWD, path, argv, envp, 0)


@syscall(281, "execveat", "dirfd", "path", "strings", "env", "at_flags")
def sys_execveat(
    task: Task, dirfd: int, path: str | bytes, argv: list[str], envp: dict[str, str] | list[str] | None = None,
    flags: int = 0,
) -> int:  # fmt: skip
    """As execve, for a name relative to a directory, or (AT_EMPTY_PATH) for the descriptor itself."""
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise OSError(EINVAL, f"execveat: flags {flags:#x}")
    return _execve(task, dirfd, path, argv, envp, flags)


def _execve(
    task: Task, dirfd: int, path: str | bytes, argv: list[str], envp: dict[str, str] | list[str] | None, flags: int
) -> int:
    machine = task.machine
    task.spend(machine.costs.execve)
    environ = _environ(envp)
    program, name, words, place = load(task, path, _words(argv), dirfd, flags)
    group = task.group
    _alone(machine, task, group)
    machine.processes.drop_timers(group)
    task.entry = program.entry(words)
    task.comm = name.rpartition("/")[2][:15]
    group.exe = name
    group.cmdline = [w.encode("utf-8", "surrogateescape") for w in words]
    if environ is not None:
        task.environ = environ
    if task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.release()
    task.files.close_on_exec()
    machine.futexes.thread_ends(task)
    task.mm.put()
    task.mm = Mm(machine.ram)
    task.altstack = NO_STACK
    inode = place.inode
    after_exec(task, inode.mode, inode.uid, inode.gid, not place.mount.flags & MS_NOSUID)
    group.signals = group.signals.copy()
    group.signals.reset_for_exec()
    machine.processes.vfork_done(group)
    group.execed = group.started = True
    task.work |= WORK_DIE  # the old program unwinds; `Machine._main` starts the new one
    return 0


def _words(argv: Any) -> list[str]:
    """The arguments; EFAULT for what is no list of strings."""
    if isinstance(argv, Iterable) and not isinstance(argv, str | bytes):
        words = [w.decode("utf-8", "surrogateescape") if isinstance(w, bytes) else w for w in argv]
        if all(isinstance(w, str) for w in words):
            return words
    raise OSError(EFAULT, f"execve takes a list of strings, not {argv!r:.40}")


def _environ(envp: Any) -> dict[str, str] | None:
    """The environment as a dict; from a dict, or from a list of "NAME=value"."""
    if envp is None:
        return None
    if isinstance(envp, dict):
        if all(isinstance(part, str) for pair in envp.items() for part in pair):
            return dict(envp)
        raise OSError(EFAULT, "execve: the environment's names and values are strings")
    return {name: value for name, _, value in (word.partition("=") for word in _words(envp))}


def _alone(machine: Machine, task: Task, group: ThreadGroup) -> None:
    """The other threads die, and the caller waits for it; then it takes over the process's id, leader or not."""
    if task.work & WORK_DIE:
        raise Killed
    for other in list(group.threads.values()):
        if other is not task:
            machine.signals.kill_task(other)
    group.exec_wait = WaitQueue()
    while len(group.threads) > 1:
        group.exec_wait.sleep(task, interruptible=False)
    group.exec_wait = None
    if task.work & WORK_DIE:
        raise Killed
    if task.tid == group.pid:
        return
    table = machine.processes.tasks
    del table[task.tid]
    group.threads.pop(task.tid)
    task.tid = group.pid
    table[task.tid] = group.threads[task.tid] = task
    group.leader = task


@syscall(94, "exit_group", "int", returns="none")
def sys_exit_group(task: Task, status: int = 0) -> None:
    task.machine.processes.exit_group(task, exit_status(status))


@syscall(93, "exit", "int", returns="none")
def sys_exit(task: Task, status: int) -> None:
    """The thread ends; with the last one the process."""
    task.exit_code = exit_status(status)
    if len(task.group.threads) == 1:
        task.machine.processes.exit_group(task, task.exit_code)
    task.work |= WORK_DIE
    raise Killed


@python("exit")
def exit_(task: Task, status: int = 0) -> None:
    """The whole process ends, as the C library's exit; `sys.exit_thread` ends one thread."""
    sys_exit_group(task, status)


@python("exit_thread")
def exit_thread(task: Task, status: int = 0) -> None:
    sys_exit(task, status)


# ---- waiting ----


def _waitable(task: Task, pid: int, options: int) -> list[ThreadGroup]:
    """The children that the call asks for. Those of clone with another exit signal need __WALL or __WCLONE."""
    parent = task.group
    children = parent.children
    if pid > 0:
        child = children.get(pid)
        found = [child] if child is not None else []
    elif pid == -1:
        found = list(children.values())
    else:
        group = -pid if pid < -1 else parent.pgid
        found = [c for c in children.values() if c.pgid == group]
    if options & WNOTHREAD:
        found = [c for c in found if made_by(c, parent) is task]
    if options & WALL:
        return found
    return [c for c in found if (c.exit_signal != SIGCHLD) == bool(options & WCLONE)]


def made_by(child: ThreadGroup, parent: ThreadGroup) -> Task | None:
    """The thread of the parent whose child it is: another one's when the one that made it is gone."""
    maker = child.maker
    if maker is not None and parent.threads.get(maker.tid) is maker:
        return maker
    return next(iter(parent.threads.values()), None)


def _report(machine: Machine, child: ThreadGroup, options: int) -> int | None:
    """The status to report of a child, consumed (not with WNOWAIT); None when there is nothing new."""
    keep = options & WNOWAIT
    if child.exit_status is not None and options & WEXITED:
        status = child.exit_status
        if not keep:
            machine.processes.forget(child)
        return status
    if child.stopped and not child.stop_reported and options & WUNTRACED:
        child.stop_reported = not keep
        return STOPPED_STATUS | child.stopped << 8
    if child.continued and options & WCONTINUED:
        child.continued = bool(keep)
        return CONTINUED_STATUS
    return None


@syscall(260, "wait4", "int", "result:wstatus", "waitopts", "=NULL", returns="first")
def sys_wait4(task: Task, pid: int, options: int) -> tuple[int, int, Rusage]:
    if options & ~WAIT_OPTIONS:
        raise OSError(EINVAL, f"wait4: options {options:#x}")
    if pid == -(1 << 31):
        raise OSError(ESRCH, "wait4: no such process group")
    found = _wait(task, pid, options | WEXITED)
    if found is None:
        return 0, 0, Rusage()
    child, status = found
    user, system = child.times()
    return child.pid, status, Rusage(user + child.cutime, system + child.cstime)


def _wait(task: Task, pid: int, options: int) -> tuple[ThreadGroup, int] | None:
    """The first child with something to report, and its status; None with WNOHANG when there is none."""
    parent = task.group
    while True:
        children = _waitable(task, pid, options)
        if not children:
            raise OSError(ECHILD, f"pid {parent.pid} has no child to wait for (asked for {pid})")
        for child in children:
            status = _report(task.machine, child, options)
            if status is not None:
                return child, status
        if not options & WEXITED and all(child.exit_status is not None for child in children):
            raise OSError(ECHILD, f"pid {parent.pid} has only zombies, which were not asked for")
        if options & WNOHANG:
            return None
        parent.child_wait.sleep(task)


@syscall(95, "waitid", "int", "int", "result:siginfo", "waitopts", "=NULL", returns="zero")
def sys_waitid(task: Task, idtype: int, ident: int, options: int) -> SigInfo | None:
    """What happened to a child, as a siginfo; None with WNOHANG when nothing has."""
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | WALL | WCLONE | WNOTHREAD):
        raise OSError(EINVAL, f"waitid: options {options:#x}")
    if not options & (WEXITED | WUNTRACED | WCONTINUED):
        raise OSError(EINVAL, "waitid: options name no event")
    polled = False
    if idtype == P_ALL:
        pid = -1
    elif idtype == P_PID and ident > 0:
        pid = ident
    elif idtype == P_PGID and ident >= 0:
        pid = -ident if ident else 0
    elif idtype == P_PIDFD and ident >= 0:
        from kernel.syscall.pidfd import process_behind

        child = process_behind(task, ident)
        if child.parent is not task.group:
            raise OSError(ECHILD, f"waitid: {child.pid} is no child of the caller")
        pid = child.pid
        polled = bool(task.files.get(ident).flags & O_NONBLOCK) and not options & WNOHANG
    else:
        raise OSError(EINVAL, f"waitid: {idtype}, {ident}")
    found = _wait(task, pid, options | (WNOHANG if polled else 0))
    if found is None:
        if polled:
            raise OSError(EAGAIN, "waitid: the process has not changed")
        return None
    child, status = found
    uid = child.leader.cred.uid if child.leader is not None else 0
    if status == CONTINUED_STATUS:
        return SigInfo(SIGCHLD, CLD_CONTINUED, child.pid, uid, SIGCONT)
    if status & 0xFF == STOPPED_STATUS:
        return SigInfo(SIGCHLD, CLD_STOPPED, child.pid, uid, status >> 8)
    code, value = end_code(status)
    return SigInfo(SIGCHLD, code, child.pid, uid, value)


@python("wait4")
def wait4(task: Task, pid: int = -1, options: int = 0) -> tuple[int, int, Rusage]:
    """(pid, status, rusage); pid 0 with WNOHANG when no child has changed."""
    result: tuple[int, int, Rusage] = sys_wait4(task, pid, options)
    return result


@syscall(165, "getrusage", "int", "result:ptr", returns="zero")
def sys_getrusage(task: Task, who: int) -> Rusage:
    task.machine.meter.book()
    if who == 0:
        user, system = task.group.times()
        return Rusage(user, system, task.nvcsw, task.nivcsw)
    if who == -1:
        return Rusage(task.group.cutime, task.group.cstime)
    if who == 1:
        return Rusage(*task.times(), task.nvcsw, task.nivcsw)
    raise OSError(EINVAL, f"getrusage: who is {who}")


@python("getrusage")
def getrusage(task: Task, who: int = 0) -> Rusage:
    result: Rusage = sys_getrusage(task, who)
    return result


# ---- who am I ----


@syscall(172, "getpid")
def sys_getpid(task: Task) -> int:
    return task.group.pid


@syscall(173, "getppid")
def sys_getppid(task: Task) -> int:
    parent = task.group.parent
    return parent.pid if parent is not None else 0


@syscall(178, "gettid")
def sys_gettid(task: Task) -> int:
    return task.tid


# ---- groups and sessions ----


def find(task: Task, pid: int) -> ThreadGroup:
    """The process with that pid, 0 being the caller's; ESRCH."""
    group = task.machine.processes.groups.get(pid) if pid else task.group
    if group is None:
        raise OSError(ESRCH, f"no process {pid}")
    return group


@syscall(154, "setpgid", "int", "int")
def sys_setpgid(task: Task, pid: int, pgid: int) -> int:
    if pgid < 0:
        raise OSError(EINVAL, f"setpgid: group {pgid}")
    caller = task.group
    group = find(task, pid)
    if group is not caller and group.parent is not caller:
        raise OSError(ESRCH, f"setpgid: {pid} is neither the caller nor a child of it")
    if group is not caller:
        if group.sid != caller.sid:
            raise OSError(EPERM, f"setpgid: {pid} is in another session")
        if group.started:
            raise OSError(13, f"setpgid: {pid} has called execve")
    if group.sid == group.pid:
        raise OSError(EPERM, f"setpgid: {group.pid} is a session leader")
    target = pgid or group.pid
    if target != group.pid:
        members = task.machine.processes.groups.values()
        if not any(g.pgid == target and g.sid == caller.sid for g in members):
            raise OSError(EPERM, f"setpgid: no group {target} in this session")
    group.pgid = target
    return 0


@syscall(155, "getpgid", "int")
def sys_getpgid(task: Task, pid: int = 0) -> int:
    return find(task, pid).pgid


@syscall(156, "getsid", "int")
def sys_getsid(task: Task, pid: int = 0) -> int:
    return find(task, pid).sid


@python("getpgrp")
def getpgrp(task: Task) -> int:
    pgid: int = sys_getpgid(task, 0)
    return pgid


@syscall(157, "setsid")
def sys_setsid(task: Task) -> int:
    group = task.group
    if any(g.pgid == group.pid for g in task.machine.processes.groups.values()):
        raise OSError(EPERM, f"setsid: {group.pid} leads a process group")
    group.sid = group.pgid = group.pid
    group.tty = None
    group.tty_old_pgrp = 0
    return group.sid


# ---- limits ----


@syscall(261, "prlimit64", "int", "rlimit", "limits", "result:limits", returns="zero")
def sys_prlimit64(task: Task, pid: int, resource: int, limits: Any = None) -> tuple[int, int]:
    if not 0 <= resource < RLIM_NLIMITS:
        raise OSError(EINVAL, f"prlimit64: resource {resource}")
    group = find(task, pid)
    if group is not task.group and group.leader is not None and not task.cred.capable(24):
        theirs, mine = group.leader.cred, task.cred
        ids = {theirs.uid, theirs.euid, theirs.suid} == {mine.uid}, {theirs.gid, theirs.egid, theirs.sgid} == {mine.gid}
        if not all(ids):
            raise OSError(EPERM, f"prlimit64: {pid} belongs to somebody else")
    old = group.rlimits.get(resource, (RLIM_INFINITY, RLIM_INFINITY))
    if limits is not None:
        try:
            soft, hard = (int(v) for v in limits)
        except (TypeError, ValueError):
            raise OSError(EFAULT, f"prlimit64 takes (soft, hard), not {limits!r:.40}") from None
        if soft & NO_LIMIT > hard & NO_LIMIT:
            raise OSError(EINVAL, f"prlimit64: the soft limit {soft} is above the hard limit {hard}")
        if old[1] >= 0 and not 0 <= hard <= old[1] and not task.cred.capable(24):
            raise OSError(EPERM, "prlimit64: raising a hard limit")
        if resource == RLIMIT_NOFILE and not 0 <= hard <= NR_OPEN:
            raise OSError(EPERM, f"prlimit64: RLIMIT_NOFILE is at most {NR_OPEN}")
        group.rlimits[resource] = (soft, hard)
        if resource in (RLIMIT_CPU, RLIMIT_RTTIME):
            cpu_timers(task.machine, group).limits_changed()
    return old


@python("prlimit64")
def prlimit64(task: Task, pid: int, resource: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
    """(soft, hard) as they were."""
    old: tuple[int, int] = sys_prlimit64(task, pid, resource, limits)
    return old
