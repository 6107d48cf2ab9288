"""The tree of /dev, and character devices without hardware: null(4), full(4), random(4), tty(4).

/dev is a tmpfs with device nodes, as Linux's devtmpfs. A node leads to operations through the machine's registry of
device numbers; an `open` method there makes the description where a device needs its own.
"""

from __future__ import annotations

import hashlib
from typing import Any

from kernel.abi import ENOSPC, ENXIO, S_IFCHR, S_IFDIR, S_IFLNK
from kernel.console import ConsoleDevice
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.tmpfs import Tmpfs
from kernel.fs.vfs import Inode, Path, Vfs, error
from kernel.task import WORK_DIE, WORK_SIGNAL
from kernel.tty.pty import PTMX

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)
_SEEDED = 256
"""More random bytes than that are stretched from a seed of 16."""


def device(major: int, minor: int) -> int:
    """st_rdev, as makedev(3)."""
    return (major & 0xFFF) << 8 | minor & 0xFF | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


URANDOM = device(1, 9)


class NullOps(FileOps):
    """Swallows everything; is always at its end."""

    __slots__ = ()
    seekable = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        return 0

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        return n

    def llseek(self, file: File, offset: int, whence: int) -> int:
        return 0


def fill(task: Any, sink: Sink, n: int, make: Any) -> int:
    """Puts `n` bytes made chunk by chunk, each paid for before it is there; a signal ends it."""
    done = 0
    while done < n:
        want = min(n - done, _CHUNK)
        task.spend(task.machine.costs.copy(want))
        put = sink.put(make(want))
        done += put
        if put < want or task.work & (WORK_SIGNAL | WORK_DIE):
            break
    return done


class ZeroOps(NullOps):
    """Endless zeros; swallows what is written."""

    __slots__ = ()

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        return fill(task, sink, n, lambda count: _ZEROS[:count])


class FullOps(ZeroOps):
    """Endless zeros; every write finds no space."""

    __slots__ = ()

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        raise error(ENOSPC, "/dev/full")


class RandomOps(NullOps):
    """Bytes from a stream of the machine's own: the same for the same seed."""

    __slots__ = ("stream",)

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def bytes(self, n: int) -> bytes:
        """`n` bytes; also what getrandom(2) gives."""
        if n > _SEEDED:
            return hashlib.shake_128(self.stream.bytes(16)).digest(n)
        below = self.stream.below
        words = b"".join(int(below(1 << 32)).to_bytes(4, "little") for _ in range((n + 3) // 4))
        return words[:n]

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        return fill(task, sink, n, self.bytes)


class CurrentTtyOps(FileOps):
    """/dev/tty: the controlling terminal of the process that opens it."""

    __slots__ = ()

    def open(self, task: Any, inode: Inode, path: Path, flags: int) -> File:
        tty = task.group.tty
        if tty is None:
            raise error(ENXIO, "no controlling terminal")
        opened: File = tty.open(flags, inode, path)
        return opened


NODES = (
    # name, major, minor, mode
    (b"null", 1, 3, 0o666),
    (b"zero", 1, 5, 0o666),
    (b"full", 1, 7, 0o666),
    (b"random", 1, 8, 0o666),
    (b"urandom", 1, 9, 0o666),
    (b"tty", 5, 0, 0o666),
    (b"console", 5, 1, 0o600),
    (b"ptmx", 5, 2, 0o666),
    (b"tty1", 4, 1, 0o620),
)
LINKS = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
)


def make_devfs(vfs: Vfs, stream: Any) -> Tmpfs:
    """The filesystem of /dev; registers the devices. `stream` is the machine's seeded generator for random bytes."""
    fs = Tmpfs(vfs.new_dev(), vfs.now, mode=0o755, name="devtmpfs")
    random = RandomOps(stream)
    console = ConsoleDevice()
    ops: dict[bytes, FileOps] = {
        b"null": NullOps(), b"zero": ZeroOps(), b"full": FullOps(), b"random": random, b"urandom": random,
        b"tty": CurrentTtyOps(), b"console": console, b"tty1": console, b"ptmx": PTMX,
    }  # fmt: skip
    for name, major, minor, mode in NODES:
        rdev = device(major, minor)
        fs.make(fs.root, name, S_IFCHR | mode, 0, 0, rdev, b"")
        vfs.devices[S_IFCHR, rdev] = ops[name]
    for name, target in LINKS:
        fs.make(fs.root, name, S_IFLNK | 0o777, 0, 0, 0, target)
    fs.make(fs.root, b"shm", S_IFDIR | 0o1777, 0, 0, 0, b"")
    fs.make(fs.root, b"pts", S_IFDIR | 0o755, 0, 0, 0, b"")
    return fs
