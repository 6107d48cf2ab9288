"""Pseudoterminals: a terminal whose line is another process (pty(7), ptmx(4)).

Opening /dev/ptmx makes a pair: the descriptor is the master, the terminal is /dev/pts/N, locked until TIOCSPTLCK.
What is written to the master is typed at the terminal; what the terminal shows is read from the master, at most 4095
bytes a read. When the last master descriptor goes, the terminal hangs up. When the last slave descriptor goes, the
master reads what is left and then EIO, until somebody opens the slave again; before anyone has, it just waits.

In packet mode (TIOCPKT) each read of the master begins with a byte: 0 before data, or what has happened since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    DEVPTS_SUPER_MAGIC,
    EAGAIN,
    EBUSY,
    EINVAL,
    EIO,
    ENOSPC,
    O_NOCTTY,
    O_NONBLOCK,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDNORM,
    POLLWRNORM,
    S_IFCHR,
    S_IFDIR,
    TIOCGPTN,
    TIOCSPTLCK,
)
from kernel.fs.anon import SyntheticFs
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import DirEntry, Inode, Path, Vfs, error
from kernel.sched.wait import WaitQueue
from kernel.tty import session
from kernel.tty.ioctl import number, tty_ioctl
from kernel.tty.terminal import PKT_DOSTOP, PKT_NOSTOP, PKT_START, PKT_STOP, QUEUE, Tty

if TYPE_CHECKING:
    from kernel.machine import Machine

MOST = 4096
"""kernel.pty.max."""
PTS_MAJOR = 136
READ_MOST = 4095
TIOCGPKT, TIOCGPTLCK, TIOCGPTPEER, TIOCSIG = 0x80045438, 0x80045439, 0x5441, 0x40045436
_IN, _OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM


class Pair:
    """A master and its terminal; as a `Line` it takes what the terminal sends."""

    __slots__ = (
        "devpts", "gone", "inode", "locked", "number", "opened", "out", "packet", "read_wait", "slave", "status",
        "write_wait",
    )  # fmt: skip

    def __init__(self, devpts: DevPts, number: int, inode: Inode) -> None:
        self.devpts = devpts
        self.number = number
        self.inode = inode
        self.locked = True
        self.opened = False
        """Somebody has had the slave open."""
        self.gone = False
        """The master is closed."""
        self.packet = False
        self.status = 0
        self.out = bytearray()
        self.read_wait = WaitQueue()
        self.write_wait = WaitQueue()
        self.slave = Tty(devpts.machine, f"pts/{number}", inode.rdev, self, True)

    # ---- the line of the slave ----

    def send(self, data: bytes) -> int:
        taken = min(len(data), self.room())
        self.out += data[:taken]
        self.read_wait.wake_all(_IN)
        return taken

    def room(self) -> int:
        return max(QUEUE - len(self.out), 0)

    def flush(self) -> None:
        del self.out[READ_MOST:]  # what the master's own line discipline has is out of reach
        self.notice(2)

    def notice(self, bits: int) -> None:
        if self.packet:
            for one, other in ((PKT_STOP, PKT_START), (PKT_START, PKT_STOP), (PKT_NOSTOP, PKT_DOSTOP),
                               (PKT_DOSTOP, PKT_NOSTOP)):  # fmt: skip
                if bits & one:
                    self.status &= ~other
            self.status |= bits
            self.read_wait.wake_all(_IN | POLLPRI)

    def wait(self) -> bool:
        return False

    def drained(self) -> None:
        if self.write_wait.sleepers or self.write_wait.watchers is not None:
            self.write_wait.wake_all(_OUT)

    def closed(self) -> None:
        self.read_wait.wake_all(_IN | POLLHUP)
        self.write_wait.wake_all(_OUT)

    @property
    def unused(self) -> bool:
        """No slave descriptor is left of those that were."""
        return self.opened and not self.slave.files


class MasterOps(FileOps):
    """The master side of a pair."""

    __slots__ = ()
    asynchronous = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        pair: Pair = file.private
        if not n:
            return 0
        while True:
            if pair.packet and pair.status:
                status, pair.status = pair.status, 0
                return sink.put(bytes((status,)))
            if pair.out:
                break
            if pair.unused:
                raise error(EIO, "no terminal is open")
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "ptmx")
            pair.read_wait.sleep(task)
        data = bytes(pair.out[: min(n - pair.packet, READ_MOST)])
        del pair.out[: len(data)]
        task.spend(task.machine.costs.copy(len(data)))
        pair.slave.writable()
        return sink.put(b"\0" + data if pair.packet else data)

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        pair: Pair = file.private
        done = 0
        while done < n:
            data = bytes(source.peek(min(n - done, 4096)))
            if not data:
                break
            task.spend(task.machine.costs.copy(len(data)))
            taken = pair.slave.receive(data)
            source.skip(taken)
            done += taken
            if taken:
                continue
            if file.flags & O_NONBLOCK:
                if not done:
                    raise error(EAGAIN, "ptmx")
                break
            if done and task.work:
                break
            pair.write_wait.sleep(task)
        return done

    def poll(self, file: File) -> int:
        pair: Pair = file.private
        mask = _IN if pair.out else 0
        if pair.packet and pair.status:
            mask |= _IN | POLLPRI
        if pair.unused:
            mask |= POLLHUP
        if len(pair.slave.arrived) < QUEUE:
            mask |= _OUT
        return mask

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        pair: Pair = file.private
        return (pair.read_wait, pair.write_wait)

    def ioctl(self, file: File, task: Any, request: int, arg: Any) -> Any:
        pair: Pair = file.private
        if request == TIOCGPTN:
            return pair.number
        if request == TIOCSPTLCK:
            pair.locked = bool(number(arg))
            return 0
        if request == TIOCGPTLCK:
            return int(pair.locked)
        if request == abi.TIOCPKT:
            if number(arg) and not pair.packet:
                pair.status = 0
            pair.packet = bool(number(arg))
            return 0
        if request == TIOCGPKT:
            return int(pair.packet)
        if request == TIOCSIG:
            signum = number(arg)
            if signum not in (abi.SIGINT, abi.SIGQUIT, abi.SIGTSTP):
                raise error(EINVAL, f"TIOCSIG {signum}")
            pair.slave.signal(signum)
            return 0
        if request == TIOCGPTPEER:
            return self._peer(pair, task, number(arg))
        if request == abi.FIONREAD:
            return min(len(pair.out), READ_MOST)
        if request == abi.TIOCOUTQ:
            return 0
        if request == abi.TCFLSH:
            if number(arg) != abi.TCOFLUSH:
                del pair.out[:READ_MOST]
            if number(arg) != abi.TCIFLUSH:
                pair.slave.arrived.clear()
            pair.slave.writable()
            return 0
        return tty_ioctl(None, pair.slave, file, task, request, arg)

    @staticmethod
    def _peer(pair: Pair, task: Any, flags: int) -> int:
        from kernel.fs.user import install

        place = pair.devpts.vfs.nameless(pair.inode)
        file = PTS.open(task, pair.inode, place, flags & (abi.O_ACCMODE | O_NONBLOCK | O_NOCTTY))
        return install(task, file, bool(flags & abi.O_CLOEXEC))

    def release(self, file: File) -> None:
        pair: Pair = file.private
        pair.gone = True
        pair.slave.other_closed = True
        session.hang_up(pair.slave)
        pair.devpts.closed(pair)


class PtsOps(FileOps):
    """Opens /dev/pts/N: what devices call `open` with."""

    __slots__ = ()
    asynchronous = True

    def open(self, task: Any, inode: Inode, path: Path | None, flags: int) -> File:
        devpts: DevPts = task.machine.devpts
        pair = devpts.pairs.get(minor(inode.rdev))
        if pair is None or pair.gone or pair.locked:
            raise error(EIO, "no such pseudoterminal, or it is locked")
        if pair.slave.exclusive and not task.cred.capable(abi.CAP_SYS_ADMIN):
            raise error(EBUSY, "TIOCEXCL")
        file = pair.slave.open(flags, inode, path)
        pair.opened = True
        if not flags & O_NOCTTY:
            session.opened(pair.slave, task, file.readable)
        return file


class PtmxOps(FileOps):
    """Opens /dev/ptmx."""

    __slots__ = ()

    def open(self, task: Any, inode: Inode, path: Path, flags: int) -> File:
        pair = task.machine.devpts.new_pair(task.cred.fsuid, task.cred.fsgid)
        return File(MASTER, flags & ~O_NOCTTY, inode, path, pair)


MASTER = MasterOps()
PTS = PtsOps()
PTMX = PtmxOps()


def minor(rdev: int) -> int:
    return rdev & 0xFF | rdev >> 12 & ~0xFF


class DevPts(SyntheticFs):
    """/dev/pts: the slaves that there are, and ptmx."""

    def __init__(self, vfs: Vfs, machine: Machine) -> None:
        super().__init__("devpts", vfs.new_dev(), DEVPTS_SUPER_MAGIC, vfs.now)
        self.vfs = vfs
        self.machine = machine
        self.pairs: dict[int, Pair] = {}
        self.root = self.inode(S_IFDIR | 0o755)
        self.root.nlink = 2
        self.ptmx = self.inode(S_IFCHR | 0o000)
        self.ptmx.rdev = 5 << 8 | 2

    def new_pair(self, uid: int, gid: int) -> Pair:
        """A new pair with the lowest free number. ENOSPC."""
        n = next((n for n in range(MOST) if n not in self.pairs), None)
        if n is None:
            raise error(ENOSPC, f"{MOST} pseudoterminals are open")
        rdev = PTS_MAJOR << 8 | n & 0xFF | (n & ~0xFF) << 12
        inode = Inode(self, n + 3, S_IFCHR | 0o600, uid, gid, rdev)
        pair = self.pairs[n] = Pair(self, n, inode)
        self.vfs.devices[S_IFCHR, rdev] = PTS
        return pair

    def closed(self, pair: Pair) -> None:
        """Its name is gone; the number is free."""
        if self.pairs.get(pair.number) is pair:
            del self.pairs[pair.number]
            self.vfs.devices.pop((S_IFCHR, pair.inode.rdev), None)

    def lookup(self, directory: Inode, name: bytes) -> Inode | None:
        if name == b"ptmx":
            return self.ptmx
        if not name.isdigit() or name != b"%d" % int(name):
            return None
        pair = self.pairs.get(int(name))
        return None if pair is None else pair.inode

    def iterate(self, directory: Inode, cookie: int) -> Iterator[DirEntry]:
        if cookie < 3:
            yield 3, b"ptmx", self.ptmx.ino, S_IFCHR >> 12
        for n in sorted(self.pairs):
            if n + 4 > cookie:
                yield n + 4, b"%d" % n, self.pairs[n].inode.ino, S_IFCHR >> 12
