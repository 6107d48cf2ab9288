"""Terminals: what a process has in hand when it has /dev/tty1 or /dev/pts/0 open (tty(4), ioctl_tty(2)).

A `Tty` is a line discipline, settings, a window size and the two ids of job control, between files above and a line
below. The line is a `Line`: the console, or the master side of a pty. What comes from it waits in `arrived` until the
line discipline has room. `TTY` are the operations of its open descriptions; when the line hangs up each description
is given the operations `HUNG_UP` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kernel import abi
from kernel.abi import (
    EAGAIN,
    EIO,
    ENOTTY,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    SIGTTIN,
    SIGTTOU,
    SIGWINCH,
    TOSTOP,
    VMIN,
    VTIME,
)
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import error
from kernel.sched.wait import Interrupted, WaitQueue
from kernel.tty import session
from kernel.tty.ldisc import LineDiscipline
from kernel.tty.termios import Termios

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task

QUEUE = 9729
"""How much may wait on its way to a line discipline: what Linux takes in writes of a page (its limit of 8192 counts
buffers, not bytes).
"""
_IN, _OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
_TENTH = 100_000_000
CONSOLE = 5 << 8 | 1
CHUNK = 2048
"""Output goes to the line in pieces of this size."""


class Line(Protocol):
    """What a terminal is connected to."""

    def send(self, data: bytes) -> int:
        """Bytes to the line; how many were taken."""

    def room(self) -> int:
        """How many bytes `send` would take."""

    def flush(self) -> None:
        """Throw away what was sent and has not arrived."""

    def notice(self, bits: int) -> None:
        """TIOCPKT_*: something happened that a pty's master in packet mode is told."""

    def wait(self) -> bool:
        """Where a reader waits with the whole machine for its user (a console in virtual time): True when input came,
        and `Tty.receive` was called. False: the reader sleeps.
        """

    def drained(self) -> None:
        """There is room for input again."""

    def closed(self) -> None:
        """No description of the terminal is left."""


PKT_FLUSHREAD, PKT_FLUSHWRITE, PKT_STOP, PKT_START, PKT_NOSTOP, PKT_DOSTOP = 1, 2, 4, 8, 16, 32


class Tty:
    """One terminal."""

    __slots__ = (
        "arrived", "exclusive", "files", "is_pty", "ldisc", "line", "machine", "name", "other_closed",
        "pgrp", "rdev", "read_wait", "session", "stopped", "termios", "user_stopped", "winsize", "write_wait",
    )  # fmt: skip

    def __init__(self, machine: Machine, name: str, rdev: int, line: Line, is_pty: bool) -> None:
        self.machine = machine
        self.name = name
        self.rdev = rdev
        self.line = line
        self.is_pty = is_pty
        self.termios = Termios()
        self.winsize = (0, 0, 0, 0)
        """Rows, columns, and their size in pixels."""
        self.session = self.pgrp = 0
        """The session whose controlling terminal it is and its foreground process group; 0 is none."""
        self.stopped = False
        """Output is held back, by ^S or TCOOFF."""
        self.user_stopped = False
        """By TCOOFF: no key starts it again."""
        self.exclusive = False
        self.other_closed = False
        """The other side of a pty is gone."""
        self.arrived = bytearray()
        self.read_wait = WaitQueue()
        self.write_wait = WaitQueue()
        self.files: list[File] = []
        self.ldisc = LineDiscipline(self)

    # ---- what the line discipline asks for ----

    def send(self, data: bytes) -> int:
        return 0 if self.stopped else self.line.send(data)

    def room(self) -> int:
        return 0 if self.stopped else self.line.room()

    def signal(self, signum: int) -> None:
        if self.pgrp:
            session.kill_group(self.machine, self.pgrp, signum)

    def flush_output(self) -> None:
        self.line.flush()

    def flushed(self, input_too: bool) -> None:
        self.line.notice(PKT_FLUSHREAD)

    def stop(self) -> None:
        """^S: hold output back."""
        if not self.stopped:
            self.stopped = True
            self.line.notice(PKT_STOP)

    def start(self) -> None:
        """^Q: go on."""
        if self.stopped and not self.user_stopped:
            self.stopped = False
            self.line.notice(PKT_START)
            self.ldisc.process_echoes()
            self.write_wait.wake_all(_OUT)

    def readable(self) -> None:
        self.read_wait.wake_all(_IN)

    # ---- the line ----

    def receive(self, data: bytes) -> int:
        """Bytes from the line. How many were taken."""
        taken = min(len(data), QUEUE - len(self.arrived))
        self.arrived += data[:taken]
        self.push()
        return taken

    def push(self) -> None:
        """Hand what has arrived to the line discipline, as far as it has room."""
        while self.arrived:
            piece = bytes(self.arrived[:4096])
            taken = self.ldisc.receive(piece)
            del self.arrived[:taken]
            if taken < len(piece):
                return

    def writable(self) -> None:
        """The line has room again."""
        self.ldisc.process_echoes()
        self.write_wait.wake_all(_OUT)

    def resize(self, winsize: tuple[int, int, int, int]) -> None:
        """SIGWINCH for the foreground, when it changed."""
        if winsize != self.winsize:
            self.winsize = winsize
            self.signal(SIGWINCH)

    def dead(self) -> None:
        """Nobody can use the open descriptions any more."""
        for file in self.files:
            if not is_console(file):
                file.ops = HUNG_UP
        self.files = [file for file in self.files if is_console(file)]
        self.ldisc.reset()
        self.ldisc.echoes.clear()
        self.arrived.clear()
        self.read_wait.wake_all(_IN | POLLERR | POLLHUP)
        self.write_wait.wake_all(_OUT | POLLERR | POLLHUP)

    def set_termios(self, new: Termios) -> None:
        old = self.termios
        self.termios = new
        if self.is_pty:
            new.cflag = new.cflag & ~0o460 | abi.CS8 | abi.CREAD
            now, before = _flow(new), _flow(old)
            if now != before:
                self.line.notice(PKT_DOSTOP if now else PKT_NOSTOP)
        self.ldisc.changed(old)
        self.read_wait.wake_all(_IN)
        self.write_wait.wake_all(_OUT)
        self.push()

    def release(self, file: File) -> None:
        if file in self.files:
            self.files.remove(file)
            if not self.files:
                self.line.closed()

    def open(self, flags: int, inode: Any, path: Any) -> File:
        """A new description of it."""
        file = File(TTY, flags & ~abi.O_NOCTTY, inode, path, self)
        self.files.append(file)
        return file


def is_console(file: File) -> bool:
    """Whether it was opened as /dev/console: init's, which outlives every hangup and is never stopped."""
    return file.inode is not None and file.inode.rdev == CONSOLE


def _flow(t: Termios) -> bool:
    """Whether ^S and ^Q stop and start, with just these two characters: what packet mode reports."""
    return bool(t.iflag & abi.IXON) and t.cc[abi.VSTOP] == 19 and t.cc[abi.VSTART] == 17


class TtyOps(FileOps):
    """Reading, writing and waiting as a process does."""

    __slots__ = ()
    asynchronous = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        tty: Tty = file.private
        if not is_console(file):
            session.check_change(tty, task, SIGTTIN)
        ldisc = tty.ldisc
        cc, least, between, wait = tty.termios.cc, 0, None, None
        if not ldisc.icanon:
            least = cc[VMIN]
            if least:
                between = cc[VTIME] * _TENTH or None
            else:
                wait, least = cc[VTIME] * _TENTH, 1
        got = 0
        while got < n:
            if not ldisc.readable():
                if self._over(file, tty, task, got, wait):
                    break
                try:
                    if not tty.line.wait() and not tty.read_wait.sleep(task, wait) and wait is not None:
                        wait = 0
                except Interrupted:
                    if got:
                        break
                    raise
                continue
            data = ldisc.take(n - got)
            tty.push()
            tty.line.drained()
            if data:
                task.spend(task.machine.costs.copy(len(data)))
                got += sink.put(data)
            if ldisc.icanon or got >= least:
                break
            wait = between
        return got

    @staticmethod
    def _over(file: File, tty: Tty, task: Task, got: int, wait: int | None) -> bool:
        """Nothing is there: whether the read is over for good. EIO, EAGAIN."""
        if tty.other_closed:
            if not got:
                raise error(EIO, "the other side is closed")
            return True
        if file.ops is not TTY or wait == 0:
            return True
        if file.flags & O_NONBLOCK:
            if not got:
                raise error(EAGAIN, tty.name)
            return True
        return False

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        tty: Tty = file.private
        if tty.termios.lflag & TOSTOP and not is_console(file):
            session.check_change(tty, task, SIGTTOU)
        tty.ldisc.process_echoes()
        done = 0
        while done < n:
            data = bytes(source.take(min(n - done, CHUNK)))
            if not data:
                break
            task.spend(task.machine.costs.copy(len(data)))
            sent = self._write(file, tty, task, data, done)
            done += sent
            if sent < len(data):
                break
        return done

    def _write(self, file: File, tty: Tty, task: Task, data: bytes, before: int) -> int:
        """One piece, whole unless something is in the way; what was written before is not lost to an error."""
        done = 0
        while True:
            if file.ops is not TTY or tty.other_closed:
                if not done and not before:
                    raise error(EIO, "the other side is closed")
                return done
            taken, out = tty.ldisc.process(data[done:], tty.room())
            if out:
                tty.send(out)
            done += taken
            if done == len(data):
                return done
            if file.flags & O_NONBLOCK:
                if not done and not before:
                    raise error(EAGAIN, tty.name)
                return done
            try:
                tty.write_wait.sleep(task)
            except Interrupted:
                if done or before:
                    return done
                raise

    def poll(self, file: File) -> int:
        tty: Tty = file.private
        cc, mask = tty.termios.cc, 0
        if tty.ldisc.readable(cc[VMIN] if cc[VMIN] and not cc[VTIME] else 1):
            mask |= _IN
        if tty.other_closed:
            mask |= POLLHUP
        if tty.room():
            mask |= _OUT
        return mask

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        tty: Tty = file.private
        return (tty.read_wait, tty.write_wait)

    def ioctl(self, file: File, task: Any, request: int, arg: Any) -> Any:
        from kernel.tty.ioctl import tty_ioctl

        return tty_ioctl(file.private, file.private, file, task, request, arg)

    def release(self, file: File) -> None:
        file.private.release(file)


class HungUpOps(FileOps):
    """A description of a terminal whose line is gone."""

    __slots__ = ()

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        return 0

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        raise error(EIO, "hung up")

    def poll(self, file: File) -> int:
        return _IN | _OUT | POLLERR | POLLHUP

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return ()

    def ioctl(self, file: File, task: Any, request: int, arg: Any) -> Any:
        raise error(ENOTTY if request == abi.TIOCSPGRP else EIO, "hung up")

    def release(self, file: File) -> None:
        file.private.release(file)


TTY = TtyOps()
HUNG_UP = HungUpOps()
