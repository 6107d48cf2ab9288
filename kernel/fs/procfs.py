"""procfs: the kernel's state as files, proc(5).

Nothing is stored: a directory's names are computed when it is looked at, a file's text when it is first read. An
inode's `private` is its `Node`. Processes are in `procpid`, /proc/sys in `procsys`, /proc/net in `procnet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from kernel import abi
from kernel.abi import EIO, ENOENT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT
from kernel.block.stat import diskstats, partitions
from kernel.fs import procnet, procsys
from kernel.fs.anon import SyntheticFs
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.procnode import RELEASE, STATES, VERSION, Node, directory, link, text, ticks
from kernel.fs.procpid import ProcessTree, locks_text
from kernel.fs.vfs import DirEntry, Inode, Path, Vfs, error


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

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        """The whole new value in one write."""
        assert file.inode is not None
        store = file.inode.private.store
        if store is None:
            raise error(EIO, "nothing can be written there")
        data = bytes(source.take(n))
        store(task, data)
        file.private = None
        return len(data)

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
        self.processes = ProcessTree(vfs, machine)
        self.root = self._inode(Node(S_IFDIR | 0o555, children=self._root_names, find=self._find))

    def _inode(self, node: Node) -> Inode:
        inode = self.inode(node.mode, node.uid, node.gid)
        inode.private = node
        if node.mode & S_IFMT == S_IFDIR:
            inode.nlink = 2
        return inode

    def lookup(self, directory: Inode, name: bytes) -> Inode | None:
        node: Node = directory.private
        found = node.find(name) if node.find is not None else node.children().get(name) if node.children else None
        return None if found is None else self._inode(found)

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

    def make(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> Inode:
        raise error(ENOENT, self.name)

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

    def _find(self, name: bytes) -> Node | None:
        """A process or thread by number (threads are not listed, but they are there), or what has a fixed name."""
        if name.isdigit():
            return self.processes.find(int(name)) if name[:1] != b"0" else None
        return self._fixed_names().get(name)

    def _root_names(self) -> dict[bytes, Node]:
        names = self._fixed_names()
        for pid in sorted(self.machine.processes.groups):
            names[b"%d" % pid] = self.processes.process(self.machine.processes.groups[pid])
        return names

    def _fixed_names(self) -> dict[bytes, Node]:
        machine = self.machine
        return {
            b"self": link(lambda: b"%d" % self._current().group.pid),
            b"thread-self": link(self._thread_self),
            b"stat": text(self._stat),
            b"uptime": text(self._uptime),
            b"loadavg": text(self._loadavg),
            b"meminfo": text(self._meminfo),
            b"cpuinfo": text(self._cpuinfo),
            b"version": text(lambda: f"Linux version {RELEASE} (terrella@localhost) {VERSION}\n"),
            b"cmdline": text(lambda: "\n"),
            b"mounts": link(lambda: b"self/mounts"),
            b"filesystems": text(lambda: "".join(f"nodev\t{name}\n" for name in sorted(self.vfs.types))),
            b"devices": text(self._devices),
            b"diskstats": text(lambda: diskstats(machine.disks.values(), machine.timeline.now)),
            b"partitions": text(lambda: partitions(machine.disks.values())),
            b"swaps": text(lambda: "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            b"locks": text(lambda: locks_text(machine)),
            b"sys": directory(lambda: procsys.names(machine)),
            b"net": directory(lambda: {
                name.encode(): text(partial(make, machine.stack)) for name, make in procnet.FILES.items()
            }),
        }  # fmt: skip

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
        machine.meter.book()
        cpus = machine.scheduler.cpus
        rows = [cpu.times(machine.timeline.now) for cpu in cpus]
        lines = ["cpu  " + " ".join(str(ticks(sum(column))) for column in zip(*rows)) + " 0 0 0"]
        for cpu, row in zip(cpus, rows):
            lines.append(f"cpu{cpu.id} " + " ".join(str(ticks(value)) for value in row) + " 0 0 0")
        running = sum(1 for task in machine.tasks.values() if STATES[task.state] == "R")
        return "\n".join([
            *lines,
            "intr 0",
            f"ctxt {sum(cpu.switches for cpu in cpus)}",
            f"btime {machine.realtime_offset() // 10**9}",
            f"processes {machine.processes.last_pid}",
            f"procs_running {running}",
            f"procs_blocked {sum(cpu.io_sleepers for cpu in cpus)}",
            "softirq 0 0 0 0 0 0 0 0 0 0 0",
            "",
        ])  # fmt: skip

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
        total, used = self.machine.frames * 4, self.machine.ram.used * 4
        buffers = sum(len(device.cache.buffers) for device in self.machine.disks.values()) * 4
        dirty = sum(len(device.cache.dirty) for device in self.machine.disks.values()) * 4
        free = max(total - used - shmem - buffers, 0)
        rows = {
            "MemTotal": total,
            "MemFree": free,
            "MemAvailable": free + buffers,
            "Buffers": buffers,
            "Cached": shmem,
            "SwapCached": 0,
            "Active": used,
            "Inactive": shmem,
            "SwapTotal": 0,
            "SwapFree": 0,
            "Dirty": dirty,
            "AnonPages": used,
            "Shmem": shmem,
        }
        return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in rows.items())

    def _cpuinfo(self) -> str:
        return "".join(
            f"processor\t: {cpu.id}\nhart\t\t: {cpu.id}\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n\n"
            for cpu in self.machine.scheduler.cpus
        )

    def _devices(self) -> str:
        kinds: dict[int, list[int]] = {S_IFCHR: [], S_IFBLK: []}
        for kind, rdev in sorted(self.vfs.devices):
            if rdev >> 8 not in kinds[kind]:
                kinds[kind].append(rdev >> 8)
        names = {1: "mem", 4: "tty", 5: "/dev/tty", 136: "pts", 254: "virtblk"}
        lines = [
            title + "".join(f"{major:3d} {names.get(major, 'disk')}\n" for major in kinds[kind])
            for title, kind in (("Character devices:\n", S_IFCHR), ("\nBlock devices:\n", S_IFBLK))
        ]
        return "".join(lines)


__all__ = ["Node", "ProcFs"]
