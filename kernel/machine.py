"""A machine: CPUs, tasks, a root filesystem, a network stack and its devices, on one timeline.

    machine = Machine("a", VirtualTimeline(seed=7), cpus=2)
    process = machine.spawn(function, arg)       # child of init; runs function(sys, arg)
    machine.run()                                # until it ends, or until nothing can happen any more
    process.exit_status                          # as wait gives it

Everything a machine does is a function of the timeline's seed and of what comes in through its devices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from drivers.clock import RealTimeline, Stream, VirtualTimeline
from drivers.console import Console, MemoryConsole
from drivers.disk.drive import DEPTH, SSD, DriveCosts
from kernel import syscall as _families
from kernel.abi import O_RDWR, RLIM_INFINITY, RLIMIT_CORE, RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_RTPRIO
from kernel.console import ConsoleLine, console_file
from kernel.cost import Costs
from kernel.exec.core import dump
from kernel.exec.library import Library
from kernel.exec.python import Program, function_entry, outcome, report
from kernel.exec.watchdog import Watchdog
from kernel.fs.fdtable import FdTable
from kernel.fs.mounts import mount_system
from kernel.fs.namei import FsContext
from kernel.fs.procpid import ProcessTree
from kernel.fs.tmpfs import Tmpfs
from kernel.fs.vfs import Vfs
from kernel.ipc.futex import Futexes
from kernel.mm.space import Ram
from kernel.net.farewell import settle
from kernel.net.netif import Network
from kernel.process import Processes, exit_status
from kernel.sched.meter import real_meter, virtual_meter
from kernel.sched.scheduler import Scheduler
from kernel.sched.wait import Interrupted, WaitQueue
from kernel.signal import Signals
from kernel.syscall.table import Sys
from kernel.task import SLEEPING, WORK_DIE, Killed, Task, ThreadGroup
from kernel.trace import Trace, Unfinished
from kernel.tty.session import opened
from kernel.tty.terminal import Tty
from netstack.settings import Settings
from netstack.stack import Stack

if TYPE_CHECKING:
    from drivers.disk.device import Disk
    from drivers.net.device import NetDevice
    from kernel.block.device import BlockDevice

LIMITS: dict[int, tuple[int, int]] = {
    RLIMIT_NOFILE: (1024, 1048576), RLIMIT_CORE: (0, RLIM_INFINITY), RLIMIT_NICE: (0, 0), RLIMIT_RTPRIO: (0, 0),
}  # fmt: skip
"""What init starts with (Linux's defaults); everything else is unlimited."""

__all__ = ["Machine", "MachineStopped"]

FRAMES = 65536
"""Memory of a machine that does not say: 256 MiB in frames of 4 KiB."""


class MachineStopped(RuntimeError):
    """The machine was closed."""


class Machine:
    """One host. `cpus` virtual CPUs, a scheduling `policy` by name; `first_cpu` numbers its CPUs on a shared
    timeline.
    """

    __slots__ = (
        "_clock_step", "closed", "console", "costs", "devpts", "disks", "domainname", "frames", "fs_sharers", "futexes",
        "hostname", "ipc", "library", "lines", "log", "lost_reports", "meter", "missing_calls", "mqueues", "name",
        "network", "on_log", "on_process_end", "ooms", "processes", "programs", "ram", "real", "rng", "scheduler",
        "signal_wait", "signals", "stack", "sys", "tasks", "timeline", "trace", "vfs",
    )  # fmt: skip

    def __init__(
        self,
        name: str = "terrella",
        timeline: VirtualTimeline | RealTimeline | None = None,
        *,
        cpus: int = 1,
        policy: str = "eevdf",
        console: Console | None = None,
        settings: Settings | None = None,
        costs: Costs | None = None,
        first_cpu: int = 0,
        rng: Stream | None = None,
        memory: int = FRAMES,
    ) -> None:
        if memory < 1:
            raise ValueError(f"a machine has at least one frame of memory, not {memory}")
        if cpus < 1:
            raise ValueError(f"a machine has at least one CPU, not {cpus}")
        self.name = name
        self.timeline: VirtualTimeline | RealTimeline = timeline if timeline is not None else VirtualTimeline()
        self.real = isinstance(self.timeline, RealTimeline)
        self.costs = costs if costs is not None else Costs()
        self.rng = rng if rng is not None else self.timeline.stream(f"machine {name}")
        self.console: Console = console if console is not None else MemoryConsole()
        self.frames = memory
        """Frames of memory, 4 KiB each. No buffer of a Python program is larger than all of it."""
        self.ram = Ram(memory)
        self.futexes = Futexes()
        self.mqueues: Any = None
        """POSIX message queues by name, once there was one (kernel/ipc/mqueue.py)."""
        self.ipc: Any = None
        """System V objects, once there is one (kernel/ipc/sysv.py)."""
        self.hostname = name
        self.domainname = "(none)"
        self._clock_step = 0
        """How far CLOCK_REALTIME was set away from the timeline's epoch."""
        self.ooms = 0
        """How many processes were killed because there was no memory left."""
        self.closed = False
        self.lines: list[ConsoleLine] = []
        """Terminals over consoles, made when they are first opened."""
        self.devpts: Any = None
        self.lost_reports = 0
        self.disks: dict[str, BlockDevice] = {}
        """Its block devices by name, in the order in which they were attached."""
        self.log: deque[tuple[int, str]] = deque(maxlen=1000)
        """What the kernel had to say lately, and when: errors of devices."""
        self.on_log: Callable[[str], None] | None = None
        """Told each line of the log, with its time as Linux's has it."""
        self.missing_calls: dict[str, int] = {}
        """Calls that programs made and the kernel does not have (they got ENOSYS), and how often."""
        self.fs_sharers: dict[int, int] = {}
        """By id of an FsContext: how many tasks use it beside the first (never iterated)."""
        self.on_process_end: list[Callable[[ThreadGroup], None]] = []
        self.programs: dict[tuple[str, str], Program] = {}
        self.signal_wait: dict[int, WaitQueue] = {}
        self.scheduler = Scheduler(self.timeline, self.costs, cpus, policy, first_cpu, self._main, self._abandon)
        self.signals = Signals(self)
        self.sys = Sys()
        if isinstance(self.timeline, VirtualTimeline):
            self.meter = virtual_meter(self.scheduler, self.timeline, self.costs, self.signals.user_return)
        else:
            self.meter = real_meter(self.scheduler, self.timeline, self.costs, self.signals.user_return)
        self.scheduler.meter = self.meter
        self.library = Library(self.meter.tick)
        self.processes = Processes(self)
        self.tasks = self.processes.tasks
        self.trace = Trace(self)
        self.vfs = self._make_vfs()
        self.stack = Stack(self.rng.stream("stack"), settings)
        self.stack.realtime_offset = self.realtime_offset
        self.network = Network(self)

    def _make_vfs(self) -> Vfs:
        timeline = self.timeline
        vfs = Vfs(lambda: timeline.now + self.realtime_offset())
        vfs.machine = self
        root = Tmpfs(vfs.new_dev(), vfs.now, mode=0o755, max_pages=self.frames, name="tmpfs")
        vfs.mount_root(root, b"tmpfs")
        mount_system(self, vfs)
        return vfs

    def realtime_offset(self) -> int:
        """CLOCK_REALTIME less the timeline's time."""
        return self.timeline.epoch_ns + self._clock_step

    def set_realtime(self, ns: int) -> None:
        """Set CLOCK_REALTIME. Timers armed for a time of day before stay where they are."""
        self._clock_step = ns - self.timeline.now - self.timeline.epoch_ns

    def proc_tree(self) -> ProcessTree:
        """What /proc says of processes, for whoever looks from outside."""
        return ProcessTree(self.vfs, self)

    def dump_core(self, task: Task, signum: int) -> bool:
        """Leave a core file; whether one was written."""
        return dump(task, signum)

    def make_sys(self, task: Task) -> Sys:
        """The Python ABI: one object, whose calls are those of the task that runs. A function of a program may so use
        the `sys` of the process in which it was made, as on Linux.
        """
        task.calls = {"_task": task}
        return self.sys

    def share_fs(self, fs: FsContext) -> None:
        """CLONE_FS: one more task uses the context."""
        self.fs_sharers[id(fs)] = self.fs_sharers.get(id(fs), 0) + 1

    def release_fs(self, fs: FsContext) -> None:
        """One task fewer uses the context."""
        others = self.fs_sharers.get(id(fs), 0)
        if not others:
            fs.release()
        elif others == 1:
            del self.fs_sharers[id(fs)]
        else:
            self.fs_sharers[id(fs)] = others - 1

    # ---- processes from outside ----

    def spawn(
        self, function: Callable[..., Any], *args: Any, name: str | None = None, console: Console | None = None
    ) -> ThreadGroup:
        """Start `function(sys, *args)` as a child of init, with the console on descriptors 0 to 2."""
        entry = function_entry(self.meter.tick, function, args)
        return self._start(entry, name or str(getattr(function, "__name__", "?")), console)

    def exec(
        self, source: str, filename: str, argv: list[str], environ: dict[str, str] | None = None,
        console: Console | None = None,
    ) -> ThreadGroup:  # fmt: skip
        """Start a Python program (its source, and the name tracebacks show) as a child of init. SyntaxError."""
        program = self.program(source, filename)
        group = self._start(program.entry(argv), filename.rpartition("/")[2], console, environ)
        group.exe = filename
        group.cmdline = [a.encode("utf-8", "surrogateescape") for a in argv]
        self.trace.note(self._leader(group), "execve", (filename, argv, dict(environ or {})), 0)
        return group

    def program(self, source: str, filename: str) -> Program:
        """The compiled program; compiled once."""
        key = (filename, source)
        found = self.programs.get(key)
        if found is None:
            found = self.programs[key] = Program(source, filename)
        return found

    @staticmethod
    def _leader(group: ThreadGroup) -> Task:
        assert group.leader is not None
        return group.leader

    def boot(self) -> ThreadGroup:
        """Start the built-in init, unless there is an init already."""
        init = self.processes.init
        if init is None:
            task = self.processes.create(self.processes.run_init, "init")
            self._furnish(task, None)
            task.group.rlimits = dict(LIMITS)
            task.traced, task.builtin = False, True
            init = task.group
            self.scheduler.enqueue(task)
        return init

    def boot_program(self, function: Callable[..., Any], *args: Any, name: str = "init") -> ThreadGroup:
        """Start `function(sys, *args)` as init, pid 1. To be called before anything is spawned."""
        if self.processes.init is not None:
            raise RuntimeError(f"{self.name} has an init already")
        task = self.processes.create(function_entry(self.meter.tick, function, args), name)
        self._furnish(task, None)
        task.group.rlimits = dict(LIMITS)
        self.scheduler.enqueue(task)
        return task.group

    def _start(
        self, entry: Callable[[Task], Any], name: str, console: Console | None, environ: dict[str, str] | None = None
    ) -> ThreadGroup:
        if self.closed:
            raise MachineStopped(f"{self.name} was closed")
        self.boot()
        task = self.processes.create(entry, name)
        task.environ = dict(environ or {})
        self._furnish(task, console)
        self.scheduler.enqueue(task)
        return task.group

    def _furnish(self, task: Task, console: Console | None) -> None:
        """Descriptors 0 to 2, root and working directory."""
        root = self.vfs.root
        assert root is not None
        task.fs = FsContext(root, root)
        task.files = FdTable()
        name = b"tty1" if task.group.outside else b"console"
        file = console_file(self, console or self.console, O_RDWR, name)
        if isinstance(file.private, Tty) and task.group.outside:
            opened(file.private, task, True)
        for _ in range(3):
            task.files.install(file.get(), False, -1)
        file.put()

    def on_exit(self, group: ThreadGroup) -> None:
        """A process has become a zombie."""
        for callback in self.on_process_end:
            callback(group)

    # ---- the bottom of every task's stack ----

    def _main(self, task: Task) -> None:
        """Run a task from its first instruction to its end."""
        code = 0
        while True:
            try:
                if task.work:
                    self.signals.user_return(task)
                code = exit_status(outcome(task.entry(task)))
                if task.traced:
                    self.trace.note(task, "exit_group" if task.tid == task.pid else "exit", (code >> 8,), Unfinished())
            except Killed:
                code = task.exit_code
                if task.group.execed and not task.group.exiting:
                    task.group.execed = False
                    task.work &= ~WORK_DIE
                    continue
            except Interrupted:
                code = task.exit_code
            except KeyboardInterrupt:
                raise
            except SystemExit as leave:
                code = exit_status(self._system_exit(task, leave))
            except BaseException as error:
                code = exit_status(1)
                self._last_words(task, error)
                if task.work & WORK_DIE:
                    code = task.exit_code
            break
        if not task.work & WORK_DIE and task.tid == task.group.pid:
            # Returning from main is exit_group.
            self.signals.kill_group(task.group, code)
        elif task.work & WORK_DIE:
            code = task.exit_code
        self.processes.finish(task, code)

    def _abandon(self, task: Task) -> None:
        """The machine closes before the task began."""
        self.processes.finish(task, task.exit_code)

    def _system_exit(self, task: Task, leave: SystemExit) -> int:
        if leave.code is None or isinstance(leave.code, int):
            return (leave.code or 0) & 0xFF
        self._last_words(task, leave)
        return 1

    def _last_words(self, task: Task, error: BaseException) -> None:
        if not task.work & WORK_DIE:
            report(task, error)

    # ---- running ----

    def attach(self, device: NetDevice, *addresses: str, name: str | None = None) -> None:
        """Plug in a network device and give it addresses ("10.0.0.2/24")."""
        self.network.attach(device, *addresses, name=name)

    def attach_disk(
        self, disk: Disk, *, drive: DriveCosts | None = SSD, scheduler: str = "none", depth: int = DEPTH
    ) -> BlockDevice:
        """Plug in a disk: /dev/vda, then vdb. `drive` says how long it takes (drivers/disk/drive.py), None nothing at
        all, which is also right in real time; `scheduler` of its requests: "none" or "deadline"; `depth`: so many
        requests the drive has at once. The machine closes the disk.
        """
        from kernel.block.device import attach

        return attach(self, disk, drive, scheduler, depth)

    def printk(self, text: str) -> None:
        """A line of the kernel's log."""
        now = self.timeline.now
        self.log.append((now, text))
        if self.on_log is not None:
            self.on_log(f"[{now // 10**9:5d}.{now // 1000 % 10**6:06d}] {text}")

    def run(self, until: int | None = None, process: ThreadGroup | None = None) -> bool:
        """Run the timeline until the time, or until `process` (default: every process but init) has ended.

        False when neither came about because nothing can happen any more: all sleep for ever.
        """
        done = self._finished(process)
        if done:
            return True

        def ended(group: ThreadGroup) -> None:
            if self._finished(process):
                self.timeline.stop()

        self.on_process_end.append(ended)
        try:
            with Watchdog([self]):
                self.timeline.run(until)
        finally:
            self.on_process_end.remove(ended)
        return self._finished(process) or (until is not None and self.timeline.now >= until)

    def _finished(self, process: ThreadGroup | None) -> bool:
        if process is not None:
            return process.exit_status is not None
        init = self.processes.init
        return all(g is init or g.exit_status is not None for g in self.processes.groups.values())

    def sleepers(self) -> list[Task]:
        """Who sleeps, by tid: for the report that all do, for ever."""
        return [t for _, t in sorted(self.tasks.items()) if t.state == SLEEPING]

    def shut_down(self, hurry: Callable[[], bool] = lambda: False) -> int:
        """Kill everything, in pid order; then time passes until peers have what was sent to them, five seconds at most,
        and connections that are left are reset (kernel/net/farewell.py). `hurry` is asked whether to wait no longer.
        How many were reset; `close` comes next.
        """
        self.on_process_end.clear()
        self.processes.kill_all()
        return settle(self.network, hurry)

    def close(self) -> None:
        """Kill everything, in pid order, and give devices back. Idempotent. No time passes: see `shut_down`."""
        if self.closed:
            return
        self.closed = True
        self.on_process_end.clear()
        self.processes.kill_all()
        for device in self.disks.values():
            device.close()
        self.network.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Machine {self.name}>"


_ = _families
