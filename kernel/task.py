"""Tasks: what runs, and the process it belongs to.

A `Task` is one thread of execution on its own greenlet, which is its kernel stack. What Linux keeps per process (pid,
parent, children, handlers, limits, exit status) is its `ThreadGroup`; the rest can be shared or copied one by one at
`clone`: `files` (descriptor table), `fs` (root, working directory, umask), `cred` (identity).

A task has one `state`. It is on exactly one run queue when RUNNABLE, is `cpu.current` when RUNNING, and is on neither
otherwise. `owe` is CPU time it has still to spend before its greenlet goes on: what was left when it was preempted.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL
from typing import TYPE_CHECKING, Any

from kernel.sched.priority import DEFAULT_PRIO, NICE_0_WEIGHT, NO_BOOST
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from greenlet import greenlet

    from drivers.clock import Timer
    from kernel.machine import Machine
    from kernel.sched.cpu import Cpu
    from kernel.sched.eevdf import Eevdf
    from kernel.sched.mutex import Mutex
    from kernel.sched.policy import Class
    from kernel.signal import SigInfo, SignalState

NEW, RUNNABLE, RUNNING, SLEEPING, STOPPED, ZOMBIE, DEAD = range(7)
STATE_LETTERS = "RRRSTZX"
"""Indexed by state: the letter of /proc/PID/stat."""

WORK_SIGNAL, WORK_RESCHED, WORK_DIE, WORK_CPUTIME = 1, 2, 4, 8
"""Bits of `task.work`: what has to be done before the task is back in user mode."""


class Killed(BaseException):
    """The task is dying. Raised at the user boundary, and again at each later tick and trap."""


class Foreign(Exception):
    """A call of another task than the one that runs, which is the argument: a program had kept `sys.read`, say, when it
    made a child, and the child calls it.
    """


CORE_BIT = 0x80
"""In a wait status: a core file was written."""
CAP_LAST = 40
ALL_CAPS = (1 << CAP_LAST + 1) - 1
NO_STACK = (0, 2, 0)
"""sigaltstack: (address, SS_DISABLE, size)."""


class Credentials:
    """Who a task is (credentials(7)) and what it may do (capabilities(7)). Copied whole; never changed in place, so
    that sharing it is safe.
    """

    __slots__ = (
        "ambient", "bounding", "effective", "egid", "euid", "fsgid", "fsuid", "gid", "groups", "inheritable",
        "permitted", "securebits", "sgid", "suid", "uid",
    )  # fmt: skip

    def __init__(self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        self.uid = self.euid = self.suid = self.fsuid = uid
        self.gid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups
        self.effective = self.permitted = ALL_CAPS if uid == 0 else 0
        self.inheritable = 0
        self.bounding = ALL_CAPS
        self.ambient = 0
        """Inheritable capabilities that a program without set-id bits keeps across execve."""
        self.securebits = 0
        """SECBIT_*: what uid 0 is not to mean any more (capabilities(7))."""

    def capable(self, cap: int) -> bool:
        """Whether the capability is effective."""
        return bool(self.effective >> cap & 1)

    def copy(self) -> Credentials:
        """An independent copy, to change and then put in place of the old one."""
        new = Credentials(self.uid, self.gid, self.groups)
        new.euid, new.suid, new.fsuid = self.euid, self.suid, self.fsuid
        new.egid, new.sgid, new.fsgid = self.egid, self.sgid, self.fsgid
        new.effective, new.permitted, new.inheritable = self.effective, self.permitted, self.inheritable
        new.bounding, new.ambient, new.securebits = self.bounding, self.ambient, self.securebits
        return new


class ThreadGroup:
    """A process: what its threads share whatever they were cloned with."""

    __slots__ = (
        "child_wait", "children", "cmdline", "continued", "cpu_timers", "cstime", "cutime", "dumpable", "exe",
        "exec_wait", "execed", "exit_queue", "exit_signal", "exit_status", "exiting", "itimer", "leader", "maker",
        "next_timer", "outside", "parent", "pending",
        "pgid", "pid", "posix_timers", "rlimits", "sid", "signals", "start_ns", "started", "stime", "stop_reported",
        "stopped", "subreaper", "threads", "tty", "tty_old_pgrp", "utime", "vfork_wait",
    )  # fmt: skip

    def __init__(self, pid: int, parent: ThreadGroup | None, signals: SignalState) -> None:
        self.pid = pid
        self.parent = parent
        self.children: dict[int, ThreadGroup] = {}
        self.threads: dict[int, Task] = {}
        self.leader: Task | None = None
        self.maker: Task | None = None
        """The thread that made it: its own child for wait4 with __WNOTHREAD."""
        self.pgid: int = parent.pgid if parent else pid
        self.sid: int = parent.sid if parent else pid
        self.tty: Any = parent.tty if parent else None
        """The controlling terminal."""
        self.tty_old_pgrp = 0
        """Its foreground group, when the terminal hung up under a session leader: told when the leader ends."""
        self.signals = signals
        self.pending: list[SigInfo] = []
        """Signals sent to the process: any thread that does not block them takes them."""
        self.rlimits: dict[int, tuple[int, int]] = parent.rlimits.copy() if parent else {}
        self.child_wait = WaitQueue()
        self.exit_signal = 17
        self.exiting = False
        self.execed = False
        """An execve has succeeded and the old program is unwinding."""
        self.exec_wait: WaitQueue | None = None
        """Where a thread that calls execve waits for the others to be gone."""
        self.exit_queue: WaitQueue | None = None
        """Woken when the process ends: for pidfds."""
        self.posix_timers: Any = None
        """Timers of timer_create by id, once there was one."""
        self.next_timer = 0
        self.itimer: Any = None
        """ITIMER_REAL, once it was set."""
        self.cpu_timers: Any = None
        """ITIMER_VIRTUAL, ITIMER_PROF and RLIMIT_CPU, once one of them was set."""
        self.dumpable = 1
        self.started = False
        """It has called execve: its parent may not move it to another group any more."""
        self.vfork_wait: WaitQueue | None = None
        self.exit_status: int | None = None
        """Linux's wait status, once the last thread is gone: the process is a zombie."""
        self.stopped = 0
        """The signal that stopped the process, or 0."""
        self.stop_reported = True
        self.continued = False
        self.subreaper = False
        self.outside = False
        """Started from outside the machine."""
        self.exe = ""
        self.cmdline: list[bytes] = []
        self.start_ns = 0
        self.utime = self.stime = 0
        """CPU time of the threads that are gone."""
        self.cutime = self.cstime = 0
        """CPU time of the children that were waited for."""

    def times(self) -> tuple[int, int]:
        """(user, system) CPU time of all threads, living and gone, in nanoseconds."""
        user, system = self.utime, self.stime
        for task in self.threads.values():
            own = task.times()
            user += own[0]
            system += own[1]
        return user, system


class Task:
    """One thread of execution."""

    __slots__ = (
        "affinity", "altstack", "altstack_users", "blocked", "blocked_on", "boost", "builtin", "burn_left",
        "burning", "calls", "clear_tid", "comm", "cpu", "cred", "custom_slice", "deadline", "entry", "environ",
        "exit_code", "files", "fs", "greenlet", "group", "held", "interruptible", "lag_home", "machine",
        "migrations", "mm", "nice", "nivcsw", "no_new_privs", "normal_prio", "nvcsw", "on", "outcome", "owe",
        "pdeath_signal", "pending", "policy", "prio", "ready_ns", "real_blocked", "request", "reset_on_fork",
        "rest", "robust_list", "rr_left", "rt_priority", "slice_left", "slices", "spend", "state", "stime",
        "sys", "tid", "timer", "timerslack_ns", "traced", "trap", "turn", "utime", "vlag", "vruntime",
        "waited_ns", "weight", "work",
    )  # fmt: skip

    def __init__(self, machine: Machine, tid: int, group: ThreadGroup, entry: Callable[[Task], int | None]) -> None:
        self.machine = machine
        self.tid = tid
        self.group = group
        self.entry = entry
        """Called on the task's greenlet; what it returns is the exit status."""
        self.comm = "?"
        self.state = NEW
        self.cpu: Cpu = machine.scheduler.cpus[0]
        self.greenlet: greenlet | None = None
        self.sys: Any = None
        self.calls: dict[str, Any] = {}
        """What `sys` holds while the task runs."""
        self.files: Any = None
        self.fs: Any = None
        self.mm: Any = None
        """Its address space (kernel/mm/space.py), shared under CLONE_VM."""
        self.cred = Credentials()
        self.environ: dict[str, str] = {}
        self.spend: Callable[[int], None] = machine.meter.spend
        """`spend(ns)`: let that much kernel time pass. The cost elapses before the effect."""
        self.trap: Callable[[], None] = machine.meter.trap
        self.work = 0
        self.traced = False
        self.builtin = False
        """Part of the kernel (the init of a machine that has no other): never traced."""
        self.owe = 0
        self.burning = False
        self.burn_left = 0
        self.interruptible = False
        self.outcome = 0
        self.timer: Timer | None = None
        self.pending: list[SigInfo] = []
        self.blocked = 0
        """Blocked signals: bit n-1 is signal n, as in a sigset_t."""
        self.real_blocked: int | None = None
        """The mask to return to after sigsuspend or ppoll, when they changed it."""
        self.exit_code = 0
        self.policy = 0
        self.nice = 0
        self.rt_priority = 0
        self.reset_on_fork = False
        self.custom_slice = 0
        """The request asked for by sched_setattr, in nanoseconds; 0: the policy's own."""
        self.normal_prio = self.prio = DEFAULT_PRIO
        self.boost = NO_BOOST
        """The best priority of those who wait for a lock that this task holds."""
        self.blocked_on: Mutex | None = None
        self.held: list[Mutex] | None = None
        self.affinity: int | None = None
        """A mask of CPUs; None: all of them."""
        self.on: Class
        """The class of the run queue on which it counts while RUNNABLE or RUNNING."""
        self.weight = NICE_0_WEIGHT
        self.vruntime = self.deadline = self.vlag = self.request = self.rest = 0
        self.lag_home: Eevdf | None = None
        self.turn: Any = None
        """EEVDF's: age, end and length of the request, the lag kept and where it was taken, its entry in the heap."""
        self.slice_left = 0
        """Round robin's."""
        self.rr_left = 0
        """What is left of the quantum of SCHED_RR."""
        self.slices = self.migrations = 0
        """How often it was given a CPU, and how often another one than before."""
        self.utime = self.stime = 0
        self.nvcsw = self.nivcsw = 0
        self.ready_ns = self.waited_ns = 0
        self.clear_tid = 0
        """Where 0 is stored and a futex woken when the thread ends (CLONE_CHILD_CLEARTID)."""
        self.robust_list = 0
        """Head of the list of robust futexes, 0 for none."""
        self.altstack = NO_STACK
        self.altstack_users = 0
        """How many handlers run on the alternate stack, one over the other."""
        self.pdeath_signal = 0
        """Sent to this thread when the parent ends."""
        self.no_new_privs = False
        self.timerslack_ns = 50_000

    @property
    def pid(self) -> int:
        """The process id: what getpid() gives. `tid` is the thread's own."""
        return self.group.pid

    @property
    def now(self) -> int:
        """The timeline's time."""
        return self.cpu.scheduler.timeline.now

    def times(self) -> tuple[int, int]:
        """(user, system) CPU time so far, in nanoseconds; what is booked but has not elapsed yet is left out."""
        cpu = self.cpu
        left = self.owe
        if self.state == RUNNING and self.machine.scheduler.running is not self:
            left = max(cpu.until - self.now, 0)
        user, system = self.utime, self.stime
        if self.burning:
            return max(user - left, 0), system
        return user - max(left - system, 0), max(system - left, 0)

    def block(self, timeout_ns: int | None, interruptible: bool = True) -> bool:
        """Sleep until `wakeup` (True) or the timeout (False); raises Interrupted. For WaitQueue and poll.

        Call it with the condition just checked and the waker already told, and nothing spent in between.
        """
        if timeout_ns is not None and type(timeout_ns) is float:
            raise OSError(EINVAL, f"times are whole nanoseconds, not {timeout_ns}")
        return self.cpu.scheduler.block(self, timeout_ns, interruptible)

    def wakeup(self) -> bool:
        """End the task's sleep. False when it does not sleep (any more)."""
        return self.state == SLEEPING and self.cpu.scheduler.wake(self)

    def send_signal(self, signum: int) -> None:
        """What the thread did itself sends it a signal (SIGPIPE, SIGXFSZ): as if from itself, as in Linux."""
        self.machine.signals.send_self(self, signum)

    def __repr__(self) -> str:
        return f"<Task {self.tid} {self.comm} {STATE_LETTERS[self.state]}>"
