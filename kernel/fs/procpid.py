"""/proc/PID and /proc/PID/task/TID: processes and threads as files, proc_pid(5).

/proc/PID/fd/N, cwd and root are magic links: opening one opens the file behind it anew, with an offset of its own,
even when its name is gone. What concerns one thread (its state, mask, files) is the thread's under task/TID, and the
leader's under /proc/PID.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from kernel import abi
from kernel.abi import EACCES, EINVAL, ENOENT, ENXIO, ESRCH, O_CLOEXEC, PAGE_SIZE, S_IFLNK, SIG_DFL, SIG_IGN
from kernel.fs.eventfd import EventFd
from kernel.fs.file import File
from kernel.fs.pidfd import PIDFD
from kernel.fs.poll import EventPoll
from kernel.fs.procnode import STATES, Node, directory, link, text, ticks
from kernel.fs.signalfd import SignalFd
from kernel.fs.timerfd import TimerFd
from kernel.fs.vfs import Path, Vfs, error
from kernel.mm.space import BRK_START, SHIFT, Mapped
from kernel.sched.priority import DEFAULT_PRIO, MAX_RT_PRIO
from kernel.sched.wchan import wait_channel
from kernel.task import RUNNABLE, SLEEPING

STATE_WORDS = {"R": "running", "S": "sleeping", "T": "stopped", "Z": "zombie", "X": "dead", "D": "disk sleep"}
_LIMITS = (
    ("cpu time", "seconds"), ("file size", "bytes"), ("data size", "bytes"), ("stack size", "bytes"),
    ("core file size", "bytes"), ("resident set", "bytes"), ("processes", "processes"), ("open files", "files"),
    ("locked memory", "bytes"), ("address space", "bytes"), ("file locks", "locks"), ("pending signals", "signals"),
    ("msgqueue size", "bytes"), ("nice priority", ""), ("realtime priority", ""), ("realtime timeout", "us"),
)  # fmt: skip
SIGPENDING_MAX = 7823


class ProcessTree:
    """The directories of processes, for one mounted /proc."""

    __slots__ = ("machine", "vfs")

    def __init__(self, vfs: Vfs, machine: Any) -> None:
        self.vfs = vfs
        self.machine = machine

    def find(self, number: int) -> Node | None:
        """The directory of a process; of a thread the process's, as Linux gives it."""
        group = self.machine.processes.groups.get(number)
        if group is None:
            task = self.machine.tasks.get(number)
            if task is None:
                return None
            return self._directory(task.group, task, False)
        return self._directory(group, group.leader, False)

    def process(self, group: Any) -> Node:
        return self._directory(group, group.leader, False)

    def _directory(self, group: Any, task: Any, thread: bool) -> Node:
        owner = (task.cred.euid, task.cred.egid) if task is not None and group.dumpable else (0, 0)
        return directory(lambda: self._names(group, task, thread, owner), owner=owner)

    def _names(self, group: Any, task: Any, thread: bool, owner: tuple[int, int]) -> dict[bytes, Node]:
        groups = self.machine.processes.groups
        if groups.get(group.pid) is not group:
            raise error(ENOENT, "the process was waited for")

        def there(make: Any) -> str:
            if groups.get(group.pid) is not group:
                raise error(ESRCH, "the process was waited for")
            said: str = make()
            return said

        def secret(make: Any, mode: int = 0o400) -> Node:
            return text(partial(there, make), mode, owner)

        def plain(make: Any, mode: int = 0o444, store: Any = None) -> Node:
            return text(partial(there, make), mode, owner, store)

        names = {
            b"status": plain(lambda: self._status(group, task, thread)),
            b"stat": plain(lambda: self._stat(group, task, thread)),
            b"statm": plain(lambda: _statm(task)),
            b"cmdline": plain(
                lambda: b"".join(arg + b"\0" for arg in group.cmdline).decode("utf-8", "surrogateescape")
                if group.exit_status is None else ""
            ),
            b"comm": plain(lambda: f"{task.comm}\n" if task is not None else "\n", 0o644, partial(_set_comm, task)),
            b"environ": secret(lambda: "".join(f"{k}={v}\0" for k, v in task.environ.items()) if task else ""),
            b"limits": plain(lambda: _limits(group)),
            b"maps": plain(lambda: self._maps(task)),
            b"mounts": plain(self._mounts),
            b"mountinfo": plain(self._mountinfo),
            b"io": secret(lambda: "".join(f"{name}: 0\n" for name in (
                "rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"))),
            b"oom_score": plain(lambda: "0\n"),
            b"oom_score_adj": plain(lambda: "0\n"),
            b"wchan": plain(lambda: wait_channel(task) if task is not None else "0"),
            b"schedstat": plain(lambda: schedstat(task)),
            b"personality": secret(lambda: "00000000\n"),
            b"cgroup": plain(lambda: "0::/\n"),
            b"fd": directory(lambda: self._fds(task), 0o500, owner),
            b"fdinfo": directory(lambda: self._fdinfo(task, owner), 0o555, owner),
            b"cwd": link(lambda: self._name(self._fs(task).cwd, task), lambda: self._fs(task).cwd),
            b"root": link(lambda: self._name(self._fs(task).root, task), lambda: self._fs(task).root),
            b"exe": link(lambda: self._exe(group)),
            b"net": link(lambda: b"/proc/net"),
        }  # fmt: skip
        if not thread:
            names[b"task"] = directory(lambda: self._tasks(group), owner=owner)
            names[b"timerslack_ns"] = plain(lambda: f"{task.timerslack_ns}\n" if task is not None else "0\n")
        else:
            names[b"children"] = plain(lambda: "".join(f"{pid} " for pid in sorted(group.children)))
        return names

    def _tasks(self, group: Any) -> dict[bytes, Node]:
        found = {b"%d" % tid: self._directory(group, group.threads[tid], True) for tid in sorted(group.threads)}
        leader = group.leader
        if leader is not None and group.pid not in group.threads:
            found = {b"%d" % group.pid: self._directory(group, leader, True), **found}
        return found

    def _name(self, path: Path, task: Any) -> bytes:
        if task.fs is None:
            raise error(ENOENT, "the process has ended")
        name = self.vfs.path_of(path, task.fs.root)
        removed = path.inode.nlink == 0 if not path.inode.is_dir else not path.dentry.hashed
        return name + b" (deleted)" if removed and not name.endswith(b" (deleted)") else name

    def _guard(self, group: Any, task: Any) -> None:
        """Where a process is and what it runs is for its own user, and for CAP_SYS_PTRACE."""
        reader = self.machine.scheduler.running
        if reader is None or task is None or reader.group is group or reader.cred.capable(abi.CAP_SYS_PTRACE):
            return
        theirs, mine = task.cred, reader.cred
        users, groups = {theirs.uid, theirs.euid, theirs.suid}, {theirs.gid, theirs.egid, theirs.sgid}
        if users != {mine.fsuid} or groups != {mine.fsgid} or not group.dumpable:
            raise error(EACCES, "another user's process")

    def _fs(self, task: Any) -> Any:
        if task is None or task.fs is None:
            raise error(ENOENT, "the process has ended")
        self._guard(task.group, task)
        return task.fs

    def _exe(self, group: Any) -> bytes:
        self._guard(group, group.leader)
        name: str = group.exe
        if not name or group.exit_status is not None:
            raise error(ENOENT, "no program")
        return name.encode("utf-8", "surrogateescape")

    # ---- descriptors ----

    def _fds(self, task: Any) -> dict[bytes, Node]:
        if task is None or task.files is None:
            return {}
        names: dict[bytes, Node] = {}
        for fd in task.files.fds():
            file = task.files.files[fd]
            mode = S_IFLNK | (0o500 if file.readable else 0) | (0o300 if file.writable else 0)
            names[b"%d" % fd] = Node(
                mode, target=partial(self._fd_target, file, task), jump=partial(self._reopen, file)
            )
        return names

    def describe(self, file: File, task: Any) -> bytes:
        """What the link of a descriptor says; for strace -y."""
        return self._fd_target(file, task)

    def _fd_target(self, file: File, task: Any) -> bytes:
        named = file.inode is None or file.inode.fs.name not in ("pipefs", "sockfs")
        if file.path is not None and named:
            return self._name(file.path, task)
        if file.inode is None:
            return b"/dev/console"
        kind = {"pipefs": b"pipe", "sockfs": b"socket"}.get(file.inode.fs.name)
        if kind is None:
            word = b"pidfd" if file.ops is PIDFD else _ANON.get(type(file.private).__name__)
            if type(file.private).__name__ == "Inotify":
                return b"anon_inode:inotify"
            return b"anon_inode:[%s]" % (word or type(file.private).__name__.lower().encode())
        return b"%s:[%d]" % (kind, file.inode.ino)

    def _reopen(self, file: File) -> Path | None:
        """Where opening /proc/PID/fd/N leads: the file itself, even when its name is gone."""
        if file.path is not None:
            return file.path
        inode = file.inode
        if inode is None or not inode.mode & abi.S_IFMT:
            raise error(EACCES if inode is None else ENXIO, "a description without a path")
        return self.vfs.nameless(inode)

    def _fdinfo(self, task: Any, owner: tuple[int, int]) -> dict[bytes, Node]:
        if task is None or task.files is None:
            return {}
        return {b"%d" % fd: text(partial(_fdinfo, task, fd), 0o444, owner) for fd in task.files.fds()}

    # ---- mounts and memory ----

    def _mounts(self) -> str:
        lines = []
        root = self.vfs.root
        for mount in self.vfs.mounts:
            assert root is not None
            where = b"/" if mount.mountpoint is None else self.vfs.path_of(Path(mount, mount.root), root)
            source = mount.source.decode(errors="replace")
            options = _mount_options(mount) + getattr(mount.fs, "options", "")
            lines.append(f"{source} {where.decode(errors='replace')} {mount.fs.name} {options} 0 0\n")
        return "".join(lines)

    def _mountinfo(self) -> str:
        lines = []
        root = self.vfs.root
        for mount in self.vfs.mounts:
            assert root is not None
            where = b"/" if mount.mountpoint is None else self.vfs.path_of(Path(mount, mount.root), root)
            parent = mount.parent.id if mount.parent is not None else mount.id
            dev = mount.fs.dev
            options = _mount_options(mount)
            lines.append(
                f"{mount.id} {parent} {dev >> 8}:{dev & 255} / {where.decode(errors='replace')} {options} - "
                f"{mount.fs.name} {mount.source.decode(errors='replace')} {options.split(',')[0]}"
                f"{getattr(mount.fs, 'options', '')}\n"
            )
        return "".join(lines)

    def _maps(self, task: Any) -> str:
        if task is None or task.mm is None:
            return ""
        lines = []
        for area in task.mm.areas:
            bits = "".join(c if area.prot & bit else "-" for c, bit in (("r", 1), ("w", 2), ("x", 4)))
            start, end = area.start << SHIFT, area.end << SHIFT
            dev = ino = offset = 0
            name = "[heap]" if area.start == BRK_START >> SHIFT else ""
            if isinstance(area.backing, Mapped):
                inode = area.backing.inode
                dev, ino, offset = inode.fs.dev, inode.ino, area.offset << SHIFT
                if area.backing.file.path is not None:
                    name = self._name(area.backing.file.path, task).decode("utf-8", "replace")
            elif area.shared:
                name = "/dev/zero (deleted)"
            line = f"{start:08x}-{end:08x} {bits}{'s' if area.shared else 'p'} {offset:08x} {dev >> 8:02x}:"
            line += f"{dev & 255:02x} {ino} "
            lines.append(f"{line:<73}{name}\n" if name else line + "\n")
        return "".join(lines)

    # ---- state ----

    def _status(self, group: Any, task: Any, thread: bool) -> str:
        state = state_of(group, task)
        cred = task.cred if task is not None else None
        ids = [cred.uid, cred.euid, cred.suid, cred.fsuid] if cred else [0] * 4
        gids = [cred.gid, cred.egid, cred.sgid, cred.fsgid] if cred else [0] * 4
        rows = [("Name", task.comm if task is not None else "?")]
        if task is not None and task.fs is not None:
            rows.append(("Umask", f"{task.fs.umask:04o}"))
        tid = task.tid if task is not None else group.pid
        slots = len(task.files.files) if task is not None and task.files is not None else 0
        rows += [
            ("State", f"{state} ({STATE_WORDS[state]})"),
            ("Tgid", str(group.pid)),
            ("Ngid", "0"),
            ("Pid", str(tid if thread else group.pid)),
            ("PPid", str(group.parent.pid if group.parent else 0)),
            ("TracerPid", "0"),
            ("Uid", "\t".join(map(str, ids))),
            ("Gid", "\t".join(map(str, gids))),
            ("FDSize", str(max(64, 1 << (slots - 1).bit_length()) if slots else 0)),
            ("Groups", "".join(f"{gid} " for gid in cred.groups) or " " if cred else " "),
            ("NStgid", str(group.pid)),
            ("NSpid", str(tid if thread else group.pid)),
            ("NSpgid", str(group.pgid)),
            ("NSsid", str(group.sid)),
            ("Kthread", "0"),
        ]
        if task is not None and task.mm is not None and group.exit_status is None and task.files is not None:
            size, resident = task.mm.pages() * 4, task.mm.resident() * 4
            heap = (task.mm.brk - BRK_START) >> 10
            rows += [(name, f"{kb:8d} kB") for name, kb in (
                ("VmPeak", size), ("VmSize", size), ("VmLck", 0), ("VmPin", 0), ("VmHWM", resident),
                ("VmRSS", resident), ("RssAnon", resident), ("RssFile", 0), ("RssShmem", 0), ("VmData", heap),
                ("VmStk", 0), ("VmExe", 0), ("VmLib", 0), ("VmPTE", 0), ("VmSwap", 0))]  # fmt: skip
        actions = group.signals.actions
        ignored = _mask(n for n, action in actions.items() if action.handler == SIG_IGN)
        caught = _mask(n for n, action in actions.items() if action.handler not in (SIG_IGN, SIG_DFL))
        queued = len(group.pending) + sum(len(t.pending) for t in group.threads.values())
        most = group.rlimits.get(abi.RLIMIT_SIGPENDING, (SIGPENDING_MAX, 0))[0]
        pending = task.pending if task is not None else []
        whole = (1 << len(self.machine.scheduler.cpus)) - 1
        allowed = whole if task is None or task.affinity is None else task.affinity & whole
        rows += [
            ("Threads", str(max(len(group.threads), 0 if group.exit_status is None else 1))),
            ("SigQ", f"{queued}/{most}"),
            ("SigPnd", f"{_mask(i.si_signo for i in pending):016x}"),
            ("ShdPnd", f"{_mask(i.si_signo for i in group.pending):016x}"),
            ("SigBlk", f"{task.blocked if task is not None else 0:016x}"),
            ("SigIgn", f"{ignored:016x}"),
            ("SigCgt", f"{caught:016x}"),
            ("CapInh", f"{cred.inheritable if cred else 0:016x}"),
            ("CapPrm", f"{cred.permitted if cred else 0:016x}"),
            ("CapEff", f"{cred.effective if cred else 0:016x}"),
            ("CapBnd", f"{cred.bounding if cred else 0:016x}"),
            ("CapAmb", f"{cred.ambient if cred else 0:016x}"),
            ("NoNewPrivs", str(int(task.no_new_privs)) if task is not None else "0"),
            ("Seccomp", "0"),
            ("Seccomp_filters", "0"),
            ("Cpus_allowed", f"{allowed:x}"),
            ("Cpus_allowed_list", _ranges(allowed)),
            ("voluntary_ctxt_switches", str(task.nvcsw if task is not None else 0)),
            ("nonvoluntary_ctxt_switches", str(task.nivcsw if task is not None else 0)),
        ]
        return "".join(f"{name}:\t{value}\n" for name, value in rows)

    def _stat(self, group: Any, task: Any, thread: bool) -> str:
        self.machine.meter.book()
        user, system = task.times() if thread else group.times()
        comm = task.comm if task is not None else "?"
        nice = task.nice if task is not None else 0
        mm = task.mm if task is not None and group.exit_status is None else None
        actions = group.signals.actions
        blocked = task.blocked if task is not None else 0
        fields = [
            task.tid if thread else group.pid, f"({comm})", state_of(group, task),
            group.parent.pid if group.parent else 0, group.pgid, group.sid,
            group.tty.rdev if group.tty is not None else 0, group.tty.pgrp if group.tty is not None else -1,
            0, 0, 0, 0, 0, ticks(user), ticks(system), ticks(group.cutime), ticks(group.cstime),
            (task.prio if task is not None else DEFAULT_PRIO) - MAX_RT_PRIO,
            nice, max(1, len(group.threads)), 0, ticks(group.start_ns),
            mm.pages() * PAGE_SIZE if mm is not None else 0, mm.resident() if mm is not None else 0,
            (1 << 64) - 1, 0, 0, 0, 0, 0,
            _mask(i.si_signo for i in (task.pending if task is not None else ())) & 0x7FFFFFFF,
            blocked & 0x7FFFFFFF,
            _mask(n for n, action in actions.items() if action.handler == SIG_IGN) & 0x7FFFFFFF,
            _mask(n for n, action in actions.items() if action.handler not in (SIG_IGN, SIG_DFL)) & 0x7FFFFFFF,
            0, 0, 0, group.exit_signal, task.cpu.id if task is not None else 0,
            task.rt_priority if task is not None else 0, task.policy if task is not None else 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, group.exit_status or 0,
        ]  # fmt: skip
        return " ".join(map(str, fields)) + "\n"


_ANON = {
    "EventFd": b"eventfd", "EventPoll": b"eventpoll", "TimerFd": b"timerfd", "SignalFd": b"signalfd",
}  # fmt: skip


def state_of(group: Any, task: Any) -> str:
    """The letter of a task's state. A leader that has ended before its threads is a zombie."""
    if group.exit_status is not None or task is None:
        return "Z"
    if task.files is None:
        return "Z"
    if group.stopped:
        return "T"
    if task.state == SLEEPING and not task.interruptible:
        return "D"
    return STATES[task.state]


def schedstat(task: Any) -> str:
    """Time on a CPU and time waited for one, in nanoseconds, and how often it was given one."""
    if task is None:
        return "0 0 0\n"
    task.machine.meter.book()
    waited = task.waited_ns + (task.now - task.ready_ns if task.state == RUNNABLE else 0)
    return f"{sum(task.times())} {waited} {task.slices}\n"


def _mask(numbers: Any) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number - 1
    return mask


def _ranges(mask: int) -> str:
    """`0-3,5` for the bits of a mask."""
    found = []
    start = None
    for i in range(mask.bit_length() + 1):
        if mask >> i & 1:
            start = i if start is None else start
        elif start is not None:
            found.append(str(start) if start == i - 1 else f"{start}-{i - 1}")
            start = None
    return ",".join(found)


def _set_comm(task: Any, writer: Any, data: bytes) -> None:
    if task is None or writer.group is not task.group:
        raise error(EINVAL, "another process's name")
    task.comm = data.split(b"\0")[0][:15].decode("utf-8", "replace")


def _statm(task: Any) -> str:
    if task is None or task.mm is None or task.files is None:
        return "0 0 0 0 0 0 0\n"
    return f"{task.mm.pages()} {task.mm.resident()} 0 0 0 {task.mm.pages()} 0\n"


def _limits(group: Any) -> str:
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for number, (name, unit) in enumerate(_LIMITS):
        pair = ["unlimited" if v < 0 else str(v) for v in group.rlimits.get(number, (-1, -1))]
        tail = f"{unit:<10}\n" if unit else "\n"
        lines.append(f"{'Max ' + name:<25} {pair[0]:<20} {pair[1]:<20} {tail}")
    return "".join(lines)


def _mount_options(mount: Any) -> str:
    options = "ro" if mount.flags & abi.MS_RDONLY else "rw"
    for flag, word in (
        (abi.MS_NOSUID, "nosuid"), (abi.MS_NODEV, "nodev"), (abi.MS_NOEXEC, "noexec"), (abi.MS_NOATIME, "noatime"),
        (abi.MS_NODIRATIME, "nodiratime"),
    ):  # fmt: skip
        options += f",{word}" if mount.flags & flag else ""
    return options if mount.flags & abi.MS_NOATIME else options + ",relatime"


def _fdinfo(task: Any, fd: int) -> str:
    if task.files is None:
        raise error(ESRCH, fd)
    file: File = task.files.get(fd)
    flags = file.flags | (O_CLOEXEC if task.files.cloexec(fd) else 0)
    mount = file.path.mount.id if file.path is not None else 0
    ino = file.inode.ino if file.inode is not None else 0
    lines = f"pos:\t{file.pos}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n"
    private = file.private
    if isinstance(private, EventFd):
        lines += f"eventfd-count: {private.count:16x}\neventfd-id: {ino}\n"
        lines += f"eventfd-semaphore: {int(private.semaphore)}\n"
    elif isinstance(private, TimerFd):
        value, interval = private.get()
        lines += (
            f"clockid: {1 if not private.offset else 0}\nticks: {private.total() - private.taken}\nsettime flags: 00\n"
            f"it_value: ({value // 10**9}, {value % 10**9})\nit_interval: ({interval // 10**9}, {interval % 10**9})\n"
        )
    elif isinstance(private, SignalFd):
        lines += f"sigmask:\t{private.mask:016x}\n"
    elif file.ops is PIDFD:
        gone = task.machine.processes.groups.get(private.pid) is not private
        lines += f"Pid:\t{-1 if gone else private.pid}\nNSpid:\t{-1 if gone else private.pid}\n"
    elif isinstance(private, EventPoll):
        for item in private.items:
            data = item.data if isinstance(item.data, int) else 0
            lines += f"tfd: {item.fd:8d} events: {item.events:8x} data: {data & (1 << 64) - 1:16x}\n"
    return lines


def locks_text(machine: Any) -> str:
    """/proc/locks: every lock of every open file, in the order of processes and descriptors."""
    inodes: dict[int, Any] = {}
    for _, task in sorted(machine.tasks.items()):
        for file in task.files.files if task.files is not None else ():
            if file is not None and file.inode is not None and file.inode.locks is not None:
                inodes.setdefault(id(file.inode), file.inode)
    lines = []
    for inode in inodes.values():
        where = f"{inode.fs.dev >> 8:02x}:{inode.fs.dev & 255:02x}:{inode.ino}"
        for _, exclusive in inode.locks.flocks:
            lines.append(f"FLOCK  ADVISORY  {'WRITE' if exclusive else 'READ '} 0 {where} 0 EOF")
        for lock in inode.locks.records:
            kind = "OFDLCK" if lock.pid == -1 else "POSIX "
            end = "EOF" if lock.end == (1 << 63) - 1 else str(lock.end)
            word = "WRITE" if lock.exclusive else "READ "
            lines.append(f"{kind} ADVISORY  {word} {lock.pid} {where} {lock.start} {end}")
    return "".join(f"{n}: {line}\n" for n, line in enumerate(lines, 1))
