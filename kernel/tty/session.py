"""Sessions and their controlling terminals: who may read, who is in the foreground, who hears of the end.

A session has at most one controlling terminal, and a terminal is that of at most one session. A session leader without
one gets the terminal that it opens (without O_NOCTTY) or asks for (TIOCSCTTY); its children inherit it, setsid loses
it. One process group of the session is in the foreground: it gets the signals of the keyboard and may read; the
others get SIGTTIN when they read and, with TOSTOP, SIGTTOU when they write. When the leader ends, or the line, the
foreground group gets SIGHUP. Linux's drivers/tty/tty_jobctrl.c; POSIX.1 chapter 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import EIO, SIG_IGN, SIGCONT, SIGHUP, SIGTTIN
from kernel.fs.vfs import error
from kernel.sched.wait import Interrupted
from kernel.signal import SigInfo, bit

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task, ThreadGroup
    from kernel.tty.terminal import Tty


def leads(group: ThreadGroup) -> bool:
    """Whether the process is a session leader."""
    return group.sid == group.pid


def kill_group(machine: Machine, pgid: int, signum: int) -> None:
    """From the kernel, to every process of the group."""
    groups = machine.processes.groups
    for group in [groups[pid] for pid in sorted(groups) if groups[pid].pgid == pgid]:
        machine.signals.send_process(group, SigInfo(signum))


def acquire(tty: Tty, group: ThreadGroup) -> None:
    """The terminal becomes that of the process's session, and its group the foreground one."""
    tty.session = group.sid
    tty.pgrp = group.pgid
    group.tty = tty
    group.tty_old_pgrp = 0


def opened(tty: Tty, task: Task, readable: bool) -> None:
    """A terminal was opened without O_NOCTTY."""
    group = task.group
    if readable and leads(group) and group.tty is None and not tty.session:
        acquire(tty, group)


def check_change(tty: Tty, task: Task, signum: int) -> None:
    """A background process touches its terminal: it gets the signal and the call is made again once it goes on.

    EIO where it could not be stopped: an orphaned group, or one that ignores SIGTTIN. Who ignores or blocks SIGTTOU
    may go on.
    """
    group = task.group
    if group.tty is not tty or not tty.pgrp or group.pgid == tty.pgrp:
        return
    machine = task.machine
    if task.blocked & bit(signum) or group.signals.get(signum).handler == SIG_IGN:
        if signum == SIGTTIN:
            raise error(EIO, "in the background, and SIGTTIN is ignored")
        return
    if machine.processes.is_orphaned(group.pgid, group.sid):
        raise error(EIO, "in the background, in an orphaned group")
    kill_group(machine, group.pgid, signum)
    raise Interrupted


def _clear(machine: Machine, sid: int) -> None:
    """No process of the session has a controlling terminal any more."""
    for group in machine.processes.groups.values():
        if group.sid == sid:
            group.tty = None


def disassociate(machine: Machine, group: ThreadGroup, on_exit: bool) -> None:
    """A session leader ends, or gives its terminal up (TIOCNOTTY)."""
    if not leads(group):
        return
    tty: Any = group.tty
    if tty is None:
        if on_exit and group.tty_old_pgrp:
            old, group.tty_old_pgrp = group.tty_old_pgrp, 0
            kill_group(machine, old, SIGHUP)
            kill_group(machine, old, SIGCONT)
        return
    if on_exit and not tty.is_pty:
        hang_up(tty, ends=True)
    elif tty.pgrp:
        kill_group(machine, tty.pgrp, SIGHUP)
        if not on_exit:
            kill_group(machine, tty.pgrp, SIGCONT)
    if tty.session == group.sid:
        tty.session = tty.pgrp = 0
    group.tty_old_pgrp = 0
    _clear(machine, group.sid)


def hang_up(tty: Tty, ends: bool = False) -> None:
    """The line is gone (the other side of a pty was closed, vhangup): open descriptions are dead, the session leader
    hears of it; with `ends`, the foreground group too.
    """
    machine = tty.machine
    tty.dead()
    if tty.session:
        groups = machine.processes.groups
        leader = groups.get(tty.session)
        foreground = tty.pgrp
        _clear(machine, tty.session)
        if leader is not None and leader.threads:
            machine.signals.send_process(leader, SigInfo(SIGHUP))
            machine.signals.send_process(leader, SigInfo(SIGCONT))
            leader.tty_old_pgrp = foreground
        if ends and foreground:
            kill_group(machine, foreground, SIGHUP)
    tty.session = tty.pgrp = 0
