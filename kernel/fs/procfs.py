"""procfs: the kernel's state as files, proc(5).

Nothing is stored: a directory's names are computed when it is looked at, a file's text when it is opened. An inode's
`private` is its `Node`. /proc/PID/fd/N are magic links: opening one opens the file behind the descriptor anew, with an
offset of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kernel import abi
from kernel.abi import EACCES, ENOENT, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from kernel.fs import procnet
from kernel.fs.anon import SyntheticFs
from kernel.fs.file import File, FileOps, Sink
from kernel.fs.vfs import DirEntry, Inode, Path, Vfs, error

HZ = 100  # ticks of /proc's CPU times
STATES = "RRRSTZX"
STATE_WORDS = {"R": "running", "S": "sleeping", "T": "stopped", "Z": "zombie", "X": "dead", "D": "disk sleep"}


class Node:
    """What a name in /proc stands for: its mode and, by kind, its names, text, target or place."""

    __slots__ = ("children", "gid", "jump", "mode", "target", "text", "uid")

    def __init__(
        self,
        mode: int,
        text: Callable[[], str] | None = None,
        children: Callable[[], dict[bytes, Node]] | None = None,
        target: Callable[[], bytes] | None = None,
        jump: Callable[[], Path | None] | None = None,
        owner: tuple[int, int] = (0, 0),
    ) -> None:
        self.mode = mode
        self.text = text
        self.children = children
        self.target = target
        self.jump = jump
        self.uid, self.gid = owner


def text(make: Callable[[], str], mode: int = 0o444) -> Node:
    return Node(S_IFREG | mode, text=make)


def directory(children: Callable[[], dict[bytes, Node]], mode: int = 0o555, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node(S_IFDIR | mode, children=children, owner=owner)


class TextOps(FileOps):
    """A file whose contents were made at open."""

    __slots__ = ()
    seekable = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        if file.private is None:
            assert file.inode is not None
            file.private = file.inode.private.text().encode("utf-8", "surrogateescape")
        data = file.private[pos : pos + n]
        task.spend(task.machine.costs.copy(len(data)))
        return sink.put(data) if data else 0

    def llseek(self, file: File, offset: int, whence: int) -> int:
        if whence == abi.SEEK_CUR:
            offset += file.pos
        elif whence != abi.SEEK_SET:
            raise error(abi.EINVAL, "whence")
        if offset < 0:
            raise error(abi.EINVAL, "negative offset")
        return offset


TEXT = TextOps()


class ProcFs(SyntheticFs):
    """One mounted /proc."""

    def __init__(self, vfs: Vfs, machine: Any) -> None:
        super().__init__("proc", vfs.new_dev(), abi.PROC_SUPER_MAGIC, vfs.now)
        self.vfs = vfs
        self.machine = machine
        self.root = self._inode(directory(self._root_names))
        self._numbers: dict[tuple[int, bytes], int] = {}

    def _inode(self, node: Node) -> Inode:
        inode = self.inode(node.mode, node.uid, node.gid)
        inode.private = node
        if node.mode & S_IFMT == S_IFDIR:
            inode.nlink = 2
        return inode

    def lookup(self, directory: Inode, name: bytes) -> Inode | None:
        node = directory.private.children().get(name)
        return None if node is None else self._inode(node)

    def iterate(self, directory: Inode, cookie: int) -> Iterator[DirEntry]:
        names = directory.private.children()
        # Process ids keep their order and cookies whatever comes and goes; other names are few and fixed.
        fixed = [name for name in names if not name.isdigit()]
        numbers = sorted(int(name) for name in names if name.isdigit())
        for at, name in enumerate(fixed):
            if at + 3 > cookie:
                yield at + 3, name, at + 3, (names[name].mode & S_IFMT) >> 12
        for number in numbers:
            if number + 256 > cookie:
                yield number + 256, b"%d" % number, number + 256, (names[b"%d" % number].mode & S_IFMT) >> 12

    def readlink(self, inode: Inode) -> bytes:
        node: Node = inode.private
        if node.target is None:
            raise error(abi.EINVAL, "not a link")
        return node.target()

    def jump(self, inode: Inode, task: Any) -> Path | None:
        node: Node = inode.private
        return node.jump() if node.jump is not None else None

    def file_ops(self, inode: Inode) -> FileOps | None:
        return TEXT

    # ---- the tree ----

    def _root_names(self) -> dict[bytes, Node]:
        machine = self.machine
        names = {
            b"self": Node(S_IFLNK | 0o777, target=lambda: b"%d" % self._current().group.pid),
            b"thread-self": Node(S_IFLNK | 0o777, target=self._thread_self),
            b"stat": text(self._stat),
            b"uptime": text(self._uptime),
            b"loadavg": text(self._loadavg),
            b"meminfo": text(self._meminfo),
            b"version": text(lambda: "Linux version 6.18.0 (terrella@localhost) #1 SMP\n"),
            b"mounts": Node(S_IFLNK | 0o777, target=lambda: b"self/mounts"),
            b"filesystems": text(lambda: "".join(f"nodev\t{name}\n" for name in sorted(self.vfs.types))),
            b"net": Node(
                S_IFDIR | 0o555,
                children=lambda: {
                    name.encode(): text(partial(make, machine.stack)) for name, make in procnet.FILES.items()
                },
            ),
        }
        for pid in sorted(machine.processes.groups):
            names[b"%d" % pid] = self._process(machine.processes.groups[pid])
        return names

    def _current(self) -> Any:
        task = self.machine.scheduler.running
        if task is None:
            raise error(ENOENT, "no task")
        return getattr(task, "current", task)

    def _thread_self(self) -> bytes:
        task = self._current()
        return b"%d/task/%d" % (task.group.pid, task.tid)

    def _stat(self) -> str:
        machine = self.machine
        user = system = 0
        for pid in sorted(machine.processes.groups):
            u, s = machine.processes.groups[pid].times()
            user, system = user + u, system + s
        cpus = len(machine.scheduler.cpus)
        idle = max(0, machine.timeline.now * cpus - user - system)
        ticks = f"{_ticks(user)} 0 {_ticks(system)} {_ticks(idle)} 0 0 0 0 0 0"
        running = sum(1 for task in machine.tasks.values() if STATES[task.state] == "R")
        lines = [
            f"cpu  {ticks}",
            f"btime {machine.timeline.epoch_ns // 10**9}",
            f"processes {len(machine.processes.groups)}",
        ]
        return "\n".join([*lines, f"procs_running {running}", "procs_blocked 0", ""])

    def _uptime(self) -> str:
        now = self.machine.timeline.now
        return f"{now / 1e9:.2f} {now / 1e9:.2f}\n"

    def _loadavg(self) -> str:
        tasks = self.machine.tasks
        running = sum(1 for task in tasks.values() if STATES[task.state] == "R")
        loads = getattr(self.machine.scheduler, "loadavg", None)
        shown = " ".join(f"{load:.2f}" for load in (loads() if callable(loads) else (0.0, 0.0, 0.0)))
        return f"{shown} {running}/{len(tasks)} {max(tasks, default=0)}\n"

    def _meminfo(self) -> str:
        shmem = sum(getattr(mount.fs, "pages", 0) for mount in self.vfs.mounts) * 4
        total = 1 << 20
        rows = {
            "MemTotal": total,
            "MemFree": total - shmem,
            "MemAvailable": total - shmem,
            "Buffers": 0,
            "Cached": shmem,
            "Shmem": shmem,
        }
        return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in rows.items())

    def _mounts(self) -> str:
        lines = []
        root = self.vfs.root
        for mount in self.vfs.mounts:
            assert root is not None
            where = b"/" if mount.mountpoint is None else self.vfs.path_of(Path(mount, mount.root), root)
            options = "ro" if mount.flags & abi.MS_RDONLY else "rw"
            for flag, word in ((abi.MS_NOSUID, "nosuid"), (abi.MS_NODEV, "nodev"), (abi.MS_NOEXEC, "noexec")):
                options += f",{word}" if mount.flags & flag else ""
            source = mount.source.decode(errors="replace")
            lines.append(f"{source} {where.decode(errors='replace')} {mount.fs.name} {options},relatime 0 0\n")
        return "".join(lines)

    # ---- processes ----

    def _process(self, group: Any) -> Node:
        leader = group.leader
        owner = (leader.cred.euid, leader.cred.egid) if leader is not None else (0, 0)
        return directory(
            lambda: {
                b"status": text(lambda: self._status(group)),
                b"stat": text(lambda: self._process_stat(group)),
                b"cmdline": text(
                    lambda: b"".join(arg + b"\0" for arg in group.cmdline).decode("utf-8", "surrogateescape")
                ),
                b"comm": text(lambda: f"{leader.comm}\n" if leader is not None else "\n"),
                b"environ": text(
                    lambda: "".join(f"{k}={v}\0" for k, v in leader.environ.items()) if leader else "", 0o400
                ),
                b"mounts": text(self._mounts),
                b"fd": directory(lambda: self._fds(group), 0o500, owner),
                b"cwd": Node(
                    S_IFLNK | 0o777, target=lambda: self._name(leader.fs.cwd, leader), jump=lambda: leader.fs.cwd
                ),
                b"root": Node(
                    S_IFLNK | 0o777, target=lambda: self._name(leader.fs.root, leader), jump=lambda: leader.fs.root
                ),
                b"exe": Node(S_IFLNK | 0o777, target=lambda: group.exe.encode("utf-8", "surrogateescape")),
            },
            owner=owner,
        )

    def _name(self, path: Path, task: Any) -> bytes:
        return self.vfs.path_of(path, task.fs.root)

    def _fds(self, group: Any) -> dict[bytes, Node]:
        leader = group.leader
        if leader is None or leader.files is None:
            return {}
        names: dict[bytes, Node] = {}
        for fd in leader.files.fds():
            file = leader.files.files[fd]
            mode = S_IFLNK | (0o500 if file.readable else 0) | (0o300 if file.writable else 0)
            names[b"%d" % fd] = Node(
                mode, target=partial(self._fd_target, file, leader), jump=partial(self._reopen, file)
            )
        return names

    def _fd_target(self, file: File, task: Any) -> bytes:
        named = file.inode is None or file.inode.fs.name not in ("pipefs", "sockfs")
        if file.path is not None and named:
            return self._name(file.path, task)
        if file.inode is None:
            return b"/dev/console"
        kind = {"pipefs": b"pipe", "sockfs": b"socket"}.get(file.inode.fs.name)
        if kind is None:
            return b"anon_inode:[%s]" % type(file.private).__name__.lower().encode()
        return b"%s:[%d]" % (kind, file.inode.ino)

    def _reopen(self, file: File) -> Path | None:
        """Where opening /proc/PID/fd/N leads: the file itself, even when its name is gone."""
        if file.path is not None:
            return file.path
        inode = file.inode
        if inode is None or not inode.mode & abi.S_IFMT:
            raise error(EACCES if inode is None else abi.ENXIO, "a description without a path")
        return self.vfs.nameless(inode)

    def _state(self, group: Any) -> str:
        if group.exit_status is not None or group.leader is None:
            return "Z"
        if group.stopped:
            return "T"
        return STATES[group.leader.state]

    def _status(self, group: Any) -> str:
        leader = group.leader
        state = self._state(group)
        cred = leader.cred if leader is not None else None
        ids = [cred.uid, cred.euid, cred.suid, cred.fsuid] if cred else [0] * 4
        gids = [cred.gid, cred.egid, cred.sgid, cred.fsgid] if cred else [0] * 4
        blocked = leader.blocked if leader is not None else 0
        rows = [
            ("Name", leader.comm if leader is not None else "?"),
            ("Umask", f"{leader.fs.umask:04o}" if leader is not None and leader.fs is not None else "0022"),
            ("State", f"{state} ({STATE_WORDS[state]})"),
            ("Tgid", str(group.pid)),
            ("Pid", str(group.pid)),
            ("PPid", str(group.parent.pid if group.parent else 0)),
            ("Uid", "\t".join(map(str, ids))),
            ("Gid", "\t".join(map(str, gids))),
            ("FDSize", str(len(leader.files.files) if leader is not None and leader.files is not None else 0)),
            ("Groups", "".join(f"{gid} " for gid in cred.groups) if cred else ""),
            ("Threads", str(len(group.threads))),
            ("SigBlk", f"{blocked:016x}"),
            ("voluntary_ctxt_switches", str(leader.nvcsw if leader is not None else 0)),
            ("nonvoluntary_ctxt_switches", str(leader.nivcsw if leader is not None else 0)),
        ]
        return "".join(f"{name}:\t{value}\n" for name, value in rows)

    def _process_stat(self, group: Any) -> str:
        leader = group.leader
        user, system = group.times()
        comm = leader.comm if leader is not None else "?"
        nice = leader.nice if leader is not None else 0
        fields = [
            group.pid, f"({comm})", self._state(group), group.parent.pid if group.parent else 0, group.pgid, group.sid,
            group.tty.rdev if group.tty is not None else 0, group.tty.pgrp if group.tty is not None else -1,
            0, 0, 0, 0, 0, _ticks(user), _ticks(system), _ticks(group.cutime), _ticks(group.cstime), 20 + nice,
            nice, max(1, len(group.threads)), 0, _ticks(group.start_ns), 0, 0, *[0] * 28,
        ]  # fmt: skip
        return " ".join(map(str, fields)) + "\n"


def _ticks(ns: int) -> int:
    return ns * HZ // 10**9


__all__ = ["Node", "ProcFs"]
