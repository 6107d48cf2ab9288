"""The console: where a machine's standard descriptors lead.

Where the host's end is a terminal it is a terminal inside too, /dev/tty1, with our own line discipline and job
control over the host's raw bytes (`ConsoleLine`). Otherwise it is a byte-transparent pipe to the outside
(`ConsoleOps`).

A read that finds nothing makes the whole machine wait for the host while virtual time stands still (in real time the
task sleeps until the host's descriptor is readable). So that ^C reaches a program that never reads, a terminal is
also looked at every `LOOK_NS` of virtual time while anything goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.clock import RealTimeline
from drivers.console import Console
from kernel.abi import (
    EAGAIN,
    ENXIO,
    EPIPE,
    O_NOCTTY,
    O_NONBLOCK,
    PIPEFS_MAGIC,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    S_IFIFO,
    SIGPIPE,
)
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import Inode, Path, error
from kernel.sched.wait import WaitQueue
from kernel.tty import session
from kernel.tty.terminal import Tty

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task

LOOK_NS = 10_000_000
TTY1 = 4 << 8 | 1


class ConsoleOps(FileOps):
    """Operations on one console of a machine that is no terminal."""

    __slots__ = ("console", "machine", "queue", "watching")

    def __init__(self, machine: Machine, console: Console) -> None:
        self.machine = machine
        self.console = console
        self.queue = WaitQueue()
        self.watching = False
        console.on_readable = self._readable

    def _readable(self) -> None:
        self.queue.wake_all(POLLIN | POLLRDNORM)

    def _watch(self) -> None:
        """Real time: have the timeline tell when the host's descriptor is readable."""
        timeline = self.machine.timeline
        fd = self.console.fileno()
        if isinstance(timeline, RealTimeline) and fd is not None and not self.watching:
            self.watching = True

            def readable(now: int) -> None:
                timeline.unwatch(fd)
                self.watching = False
                self._readable()

            timeline.watch(fd, readable)

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        console = self.console
        while True:
            data = console.read(n)
            if data is not None:
                task.spend(task.machine.costs.copy(len(data)))
                return sink.put(data) if data else 0
            if file.flags & O_NONBLOCK:
                raise OSError(EAGAIN, "nothing was typed")
            if not self.machine.real and console.wait():
                continue
            self._watch()
            self.queue.sleep(task)

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        task.spend(task.machine.costs.copy(n))
        try:
            return self.console.write(source.take(n))
        except BrokenPipeError:  # whoever read the host's end of it is gone
            task.send_signal(SIGPIPE)
            raise error(EPIPE) from None

    def poll(self, file: File) -> int:
        mask = POLLOUT | POLLWRNORM
        if self.console.readable():
            mask |= POLLIN | POLLRDNORM
        return mask

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        self._watch()
        return (self.queue,)


class ConsoleLine:
    """A console as the line of a terminal."""

    __slots__ = ("_timer", "console", "machine", "tty", "watching")

    def __init__(self, machine: Machine, console: Console) -> None:
        self.machine = machine
        self.console = console
        self.tty = Tty(machine, "tty1", TTY1, self, False)
        self.watching = False
        rows, columns = console.size()
        self.tty.winsize = (rows, columns, 0, 0)
        console.on_readable = self._come
        self._timer: Any = None
        if console.fileno() is not None and not machine.real:
            self._timer = machine.timeline.timer(self._look)
        self._watch()

    # ---- input ----

    def _come(self) -> None:
        """Take what has been typed. The end of input is the line's end."""
        while len(self.tty.arrived) < 4096:
            data = self.console.read(4096)
            if data is None:
                return
            if not data:
                self._unwatch()
                session.hang_up(self.tty)
                return
            self.tty.receive(data)
        self._unwatch()

    def _watch(self) -> None:
        timeline, fd = self.machine.timeline, self.console.fileno()
        if isinstance(timeline, RealTimeline) and fd is not None and not self.watching:
            self.watching = True
            timeline.watch(fd, lambda now: self._come())

    def _unwatch(self) -> None:
        timeline, fd = self.machine.timeline, self.console.fileno()
        if isinstance(timeline, RealTimeline) and fd is not None and self.watching:
            self.watching = False
            timeline.unwatch(fd)

    def _look(self, now: int) -> None:
        """Virtual time: has anything been typed meanwhile?"""
        if self.console.readable():
            self._come()
        if self.machine.timeline.peek() is not None:
            self._timer.arm(now + LOOK_NS)

    def _busy(self) -> None:
        if self._timer is not None and self._timer.deadline is None:
            self._timer.arm(self.machine.timeline.now + LOOK_NS)

    def wait(self) -> bool:
        if self.machine.real:
            self._watch()
            return False
        if not self.console.wait():
            return False
        self._come()
        self._busy()
        return True

    def wanted(self) -> bool:
        """Whether somebody waits for what may be typed (poll, select and epoll do; a read waits by itself)."""
        return self.tty.read_wait.watchers is not None

    def drained(self) -> None:
        self._watch()
        self._busy()

    # ---- output ----

    def send(self, data: bytes) -> int:
        self._busy()
        try:
            return self.console.write(data)
        except (BrokenPipeError, OSError):  # the host's terminal is gone
            session.hang_up(self.tty)
            return len(data)

    def room(self) -> int:
        return 65536

    def flush(self) -> None:
        pass

    def notice(self, bits: int) -> None:
        pass

    def closed(self) -> None:
        pass

    def resized(self) -> None:
        """The window of the host's terminal has another size."""
        rows, columns = self.console.size()
        self.tty.resize((rows, columns, 0, 0))


class ConsoleDevice(FileOps):
    """/dev/console and /dev/tty1: another description of the machine's console. Only tty1 becomes the controlling
    terminal of a session leader that opens it.
    """

    __slots__ = ()

    def open(self, task: Task, inode: Inode, path: Path, flags: int) -> File:
        machine = task.machine
        line = console_line(machine, machine.console)
        if line is None:
            if inode.rdev == TTY1:
                raise error(ENXIO, "the console is no terminal")
            return File(ConsoleOps(machine, machine.console), flags & ~O_NOCTTY, inode, path)
        file = line.tty.open(flags, inode, path)
        if inode.rdev == TTY1 and not flags & O_NOCTTY:
            session.opened(line.tty, task, file.readable)
        return file


def console_line(machine: Machine, console: Console) -> ConsoleLine | None:
    """The terminal over a console; None when the console is no terminal."""
    if not console.isatty:
        return None
    for line in machine.lines:
        if line.console is console:
            return line
    line = ConsoleLine(machine, console)
    machine.lines.append(line)
    return line


def console_file(machine: Machine, console: Console, flags: int, name: bytes = b"tty1") -> File:
    """A description of the console, for descriptors 0 to 2 of a process that starts; of a terminal by the name of
    /dev/tty1 or /dev/console.
    """
    line = console_line(machine, console)
    if line is None:
        inode = machine.vfs.anon("pipefs", PIPEFS_MAGIC).inode(S_IFIFO | 0o600)
        return File(ConsoleOps(machine, console), flags, inode)
    place = _device(machine, name)
    return line.tty.open(flags, None if place is None else place.inode, place)


def _device(machine: Machine, name: bytes) -> Path | None:
    """A file of /dev as a place, so that its name can be found from the descriptor."""
    root = machine.vfs.root
    if root is None:
        return None
    for mount in machine.vfs.mounts:
        if mount.fs.name == "devtmpfs":
            inode = mount.fs.lookup(mount.root.inode, name)
            if inode is not None:
                return Path(mount, mount.root.children.get(name) or mount.root.attach(name, inode))
    return None
