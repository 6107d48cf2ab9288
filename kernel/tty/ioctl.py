"""The ioctls of terminals, by Linux's numbers (ioctl_tty(2)).

A request that fills a structure gives its bytes, one that gives a number gives it; structures are passed as bytes.
`tty` is the side the descriptor belongs to, `real` the one whose settings are meant: from the master of a pty both
sides are seen as one, the slave.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import CAP_SYS_ADMIN, EFAULT, EINVAL, EIO, ENOTTY, EPERM, ESRCH, SIGTTOU
from kernel.fs.vfs import error
from kernel.tty import session

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task import Task
    from kernel.tty.terminal import Tty

TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TIOCGEXCL, TIOCVHANGUP, TIOCGDEV, TIOCSETD = 0x80045440, 0x5437, 0x80045432, 0x5423
_SETS = {
    abi.TCSETS: (False, False), abi.TCSETSW: (False, False), abi.TCSETSF: (False, True),
    TCSETS2: (True, False), TCSETSW2: (True, False), TCSETSF2: (True, True),
}  # fmt: skip
"""By request: (struct termios2, flush input first). Output has always left already."""
WINSIZE = struct.Struct("=4H")


def number(arg: Any) -> int:
    """An argument that points to an int in C."""
    if isinstance(arg, bytes | bytearray):
        if len(arg) < 4:
            raise error(EFAULT, "a pointer to an int was expected")
        return int(struct.unpack_from("=i", arg)[0])
    if not isinstance(arg, int):
        raise error(EFAULT, "an int was expected")
    return int(arg)


def tty_ioctl(tty: Tty | None, real: Tty, file: File, task: Task, request: int, arg: Any) -> Any:
    """`tty` None: the master of a pty."""
    if request in (abi.TCGETS, TCGETS2):
        return real.termios.pack(request == TCGETS2)
    if request in _SETS:
        if tty is not None:
            session.check_change(tty, task, SIGTTOU)
        extended, flush = _SETS[request]
        new = real.termios.changed(arg, extended)
        if flush:
            real.arrived.clear()
            real.ldisc.reset()
            real.line.drained()
        real.set_termios(new)
        return 0
    if request == abi.TIOCGWINSZ:
        return WINSIZE.pack(*real.winsize)
    if request == abi.TIOCSWINSZ:
        if not isinstance(arg, bytes | bytearray) or len(arg) < WINSIZE.size:
            raise error(EFAULT, "a struct winsize was expected")
        rows, columns, width, height = WINSIZE.unpack_from(arg)
        real.resize((rows, columns, width, height))
        return 0
    if request in _CONTROL:
        return _CONTROL[request](tty, real, file, task, arg)
    if tty is None:
        raise error(ENOTTY, f"ioctl {request:#x}")
    return _line(tty, task, request, arg)


# ---- job control ----


def _same(tty: Tty | None, real: Tty, task: Task) -> None:
    if tty is real and task.group.tty is not real:
        raise error(ENOTTY, "not the controlling terminal")


def _get_group(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    _same(tty, real, task)
    return real.pgrp


def _set_group(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    try:
        session.check_change(real, task, SIGTTOU)
    except OSError as why:
        if why.errno == EIO:
            raise error(ENOTTY, "in the background, in an orphaned group") from None
        raise
    pgid = number(arg)
    if pgid < 0:
        raise error(EINVAL, "process group")
    group = task.group
    if group.tty is not real or real.session != group.sid:
        raise error(ENOTTY, "not the controlling terminal")
    members = [g for g in task.machine.processes.groups.values() if g.pgid == pgid]
    if not members:
        raise error(ESRCH, f"no process group {pgid}")
    if members[0].sid != group.sid:
        raise error(EPERM, "a group of another session")
    real.pgrp = pgid
    return 0


def _get_session(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    _same(tty, real, task)
    if not real.session:
        raise error(ENOTTY, "nobody's controlling terminal")
    return real.session


def _set_controlling(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    group = task.group
    if session.leads(group) and real.session == group.sid:
        return 0
    if not session.leads(group) or group.tty is not None:
        raise error(EPERM, "only a session leader without a terminal")
    if real.session:
        if number(arg) != 1 or not task.cred.capable(CAP_SYS_ADMIN):
            raise error(EPERM, "it is another session's")
        for other in task.machine.processes.groups.values():
            if other.sid == real.session:
                other.tty = None
    if not file.readable and not task.cred.capable(CAP_SYS_ADMIN):
        raise error(EPERM, "not open for reading")
    session.acquire(real, group)
    return 0


def _give_up(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    if tty is None or task.group.tty is not tty:
        raise error(ENOTTY, "not the controlling terminal")
    session.disassociate(task.machine, task.group, False)
    task.group.tty = None
    return 0


def _exclusive(on: bool) -> Any:
    def change(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
        (tty or real).exclusive = on
        return 0

    return change


def _vhangup(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    if not task.cred.capable(CAP_SYS_ADMIN):
        raise error(EPERM, "TIOCVHANGUP")
    session.hang_up(real)
    return 0


def _insert(tty: Tty | None, real: Tty, file: File, task: Task, arg: Any) -> int:
    """TIOCSTI: as if typed. Linux allows it to CAP_SYS_ADMIN only (dev.tty.legacy_tiocsti = 0)."""
    if not task.cred.capable(CAP_SYS_ADMIN):
        raise error(EIO, "TIOCSTI")
    if not isinstance(arg, bytes | bytearray) or not arg:
        raise error(EFAULT, "a character was expected")
    real.receive(bytes(arg[:1]))
    return 0


_CONTROL: dict[int, Any] = {
    abi.TIOCGPGRP: _get_group,
    abi.TIOCSPGRP: _set_group,
    abi.TIOCGSID: _get_session,
    abi.TIOCSCTTY: _set_controlling,
    abi.TIOCNOTTY: _give_up,
    abi.TIOCEXCL: _exclusive(True),
    abi.TIOCNXCL: _exclusive(False),
    TIOCGEXCL: lambda tty, real, file, task, arg: int((tty or real).exclusive),
    TIOCVHANGUP: _vhangup,
    abi.TIOCSTI: _insert,
    abi.TIOCGETD: lambda tty, real, file, task, arg: 0,
    TIOCGDEV: lambda tty, real, file, task, arg: real.rdev,
}


# ---- the line ----


def _line(tty: Tty, task: Task, request: int, arg: Any) -> Any:
    """What concerns the queues of a terminal's own side."""
    if request == abi.FIONREAD:
        return tty.ldisc.waiting()
    if request == abi.TIOCOUTQ:
        return 0
    if request in (abi.TCSBRK, abi.TCSBRKP, abi.TIOCSBRK, abi.TIOCCBRK):
        session.check_change(tty, task, SIGTTOU)
        return 0
    if request == abi.TCFLSH:
        session.check_change(tty, task, SIGTTOU)
        which = number(arg)
        if which not in (abi.TCIFLUSH, abi.TCOFLUSH, abi.TCIOFLUSH):
            raise error(EINVAL, f"TCFLSH {which}")
        if which != abi.TCOFLUSH:
            tty.ldisc.reset()
            tty.push()
            tty.line.drained()
            tty.flushed(True)
        if which != abi.TCIFLUSH:
            tty.flush_output()
        return 0
    if request == abi.TCXONC:
        return _flow(tty, task, number(arg))
    raise error(ENOTTY, f"ioctl {request:#x}")


def _flow(tty: Tty, task: Task, action: int) -> int:
    """TCXONC: TCOOFF, TCOON, TCIOFF, TCION."""
    session.check_change(tty, task, SIGTTOU)
    if action == 0:
        tty.stop()
        tty.user_stopped = True
    elif action == 1:
        tty.user_stopped = False
        tty.start()
    elif action in (2, 3):
        c = tty.termios.cc[abi.VSTOP if action == 2 else abi.VSTART]
        if c:
            tty.line.send(bytes((c,)))
    else:
        raise error(EINVAL, f"TCXONC {action}")
    return 0
