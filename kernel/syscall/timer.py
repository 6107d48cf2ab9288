"""POSIX timers: timer_create(2) and its kind. A timer belongs to the process and is not inherited.

When a timer expires it sends its signal, once: what expires while that signal is pending only counts as overrun, and
the next period is armed when the signal is taken (as for interval timers), so that no timer can flood anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_TAI,
    EAGAIN,
    EFAULT,
    EINVAL,
    EOPNOTSUPP,
    NSIG,
    RLIMIT_SIGPENDING,
    SI_TIMER,
    SIGALRM,
)
from kernel.cputimer import CpuAlarm, cpu_timers
from kernel.signal import SIGPENDING_MAX, SigInfo
from kernel.syscall.table import python, syscall
from kernel.syscall.time import LONGEST, TIMER_ABSTIME, UNTIMED, cpu_clock, in_past

if TYPE_CHECKING:
    from drivers.clock import Timer
    from kernel.task import Task

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID = 0, 1, 4
_CLOCKS = (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI)
OVERRUN_MAX = (1 << 31) - 1


class PosixTimer:
    """One timer of a process."""

    __slots__ = ("fired", "group", "ident", "interval", "machine", "notify", "overrun", "realtime", "sent",
                 "signum", "thread", "timer", "value")  # fmt: skip

    def __init__(
        self, task: Task, ident: int, clock: int, notify: int, signum: int, value: int, thread: Task | None
    ) -> None:
        self.machine = task.machine
        self.group = task.group
        whose = cpu_clock(task, clock)
        self.ident = ident
        self.realtime = clock in (CLOCK_REALTIME, CLOCK_TAI)
        self.notify = notify
        self.signum = signum
        self.value = value
        self.thread = thread
        self.interval = 0
        self.overrun = 0
        """Expirations beside the one whose signal was taken last."""
        self.fired: int | None = None
        """When it expired whose signal is still pending."""
        self.sent: SigInfo | None = None
        """The signal that is on its way; one that was sent before the timer was set anew is not delivered any more."""
        self.timer: Timer | CpuAlarm
        if whose is None:
            self.timer = task.machine.timeline.timer(self._expire)
        else:
            self.timer = CpuAlarm(cpu_timers(task.machine, whose[0]), whose[1], self._expire)

    @property
    def now(self) -> int:
        """The timer's clock: the timeline's, or CPU time."""
        return self.timer.now() if isinstance(self.timer, CpuAlarm) else self.machine.timeline.now

    def _expire(self, now: int) -> None:
        if self.notify == SIGEV_NONE:
            if self.interval:
                self.timer.arm(now + self.interval)
            return
        self.fired = now
        info = SigInfo(self.signum, SI_TIMER, si_value=self.value)
        info.timer = self
        self.sent = info
        if self.thread is not None:
            self.machine.signals.send_thread(self.thread, info)
        else:
            self.machine.signals.send_process(self.group, info)

    def taken(self, info: SigInfo) -> bool:
        """The signal was dequeued: what expired meanwhile is the overrun, and the next period begins. False when it is
        not to be delivered.
        """
        if self.sent is not info:
            return False
        self.sent = None
        if self.fired is None:
            return True
        self.overrun = 0
        if self.interval:
            now = self.now
            missed = (now - self.fired) // self.interval
            self.overrun = min(missed, OVERRUN_MAX)
            self.timer.arm(self.fired + (missed + 1) * self.interval)
        self.fired = None
        return True

    def get(self) -> tuple[int, int]:
        """(time left, interval)."""
        now = self.now
        deadline = self.timer.deadline
        if deadline is None and self.fired is not None and self.interval:
            deadline = self.fired + ((now - self.fired) // self.interval + 1) * self.interval
        return (max(deadline - now, 1) if deadline is not None else 0), self.interval

    def set(self, value: int, interval: int, absolute: bool) -> None:
        self.fired = self.sent = None
        self.overrun = 0
        self.interval = interval
        if not value:
            self.timer.disarm()
            return
        offset = self.now if not absolute else 0
        if absolute and self.realtime:
            offset = -self.machine.realtime_offset()
        self.timer.arm(max(offset + value, self.now))


@syscall(107, "timer_create", "clock", "sigevent", "result:timer_id", returns="zero")
def sys_timer_create(task: Task, clock: int, event: Any = None) -> int:
    """The new timer's id. `event` is (SIGEV_*, signal, value[, tid]); None is SIGALRM with the id as its value."""
    timers = task.group.posix_timers
    if clock in UNTIMED:
        raise OSError(EOPNOTSUPP, f"timer_create: clock {clock} has no timers")
    if clock not in _CLOCKS and cpu_clock(task, clock) is None:
        raise OSError(EINVAL, f"timer_create: clock {clock}")
    ident = task.group.next_timer
    notify, signum, value, tid = SIGEV_SIGNAL, SIGALRM, ident, 0
    if event is not None:
        try:
            notify, signum, value, tid = (*(int(part) for part in event), 0)[:4]
        except (TypeError, ValueError):
            raise OSError(EFAULT, "timer_create takes (notify, signal, value[, tid])") from None
    thread = None
    if notify == SIGEV_SIGNAL | SIGEV_THREAD_ID:
        thread = task.group.threads.get(tid)
        if thread is None:
            raise OSError(EINVAL, f"timer_create: no thread {tid} in this process")
    elif notify not in (SIGEV_SIGNAL, SIGEV_NONE):
        raise OSError(EINVAL, f"timer_create: notification {notify}")
    if notify != SIGEV_NONE and not 0 < signum < NSIG:
        raise OSError(EINVAL, f"timer_create: signal {signum}")
    most = task.group.rlimits.get(RLIMIT_SIGPENDING, (SIGPENDING_MAX, 0))[0]
    if 0 <= most <= len(timers or ()) or task.machine.signals.crowded(task.group):
        raise OSError(EAGAIN, f"RLIMIT_SIGPENDING is {most}")
    if timers is None:
        timers = task.group.posix_timers = {}
    task.group.next_timer += 1
    timers[ident] = PosixTimer(task, ident, clock, notify, signum, value, thread)
    return ident


def _timer(task: Task, ident: int) -> PosixTimer:
    timer = (task.group.posix_timers or {}).get(ident)
    if timer is None:
        raise OSError(EINVAL, f"no timer {ident!r:.40}")
    found: PosixTimer = timer
    return found


@syscall(110, "timer_settime", "int", "timerflags", "itimerspec_in", "", "result:itimerspec", returns="zero")
def sys_timer_settime(task: Task, ident: int, flags: int, value: int, interval: int = 0) -> tuple[int, int]:
    """(time left, interval) as they were."""
    timer = _timer(task, ident)
    past = bool(flags & TIMER_ABSTIME) and in_past(value)
    if not all(isinstance(ns, int) and 0 <= ns <= LONGEST for ns in (0 if past else value, interval)):
        raise OSError(EINVAL, f"timer_settime: {value}, {interval}")
    old = timer.get()
    timer.set(value, interval, bool(flags & TIMER_ABSTIME))
    return old


@syscall(108, "timer_gettime", "int", "result:itimerspec", returns="zero")
def sys_timer_gettime(task: Task, ident: int) -> tuple[int, int]:
    return _timer(task, ident).get()


@syscall(109, "timer_getoverrun", "int")
def sys_timer_getoverrun(task: Task, ident: int) -> int:
    """How many expirations there were beside the one whose signal was taken last."""
    return _timer(task, ident).overrun


@syscall(111, "timer_delete", "int")
def sys_timer_delete(task: Task, ident: int) -> int:
    timer = _timer(task, ident)
    timer.timer.disarm()
    timer.fired = timer.sent = None
    del task.group.posix_timers[ident]
    return 0


@python("timer_settime")
def timer_settime(task: Task, ident: int, flags: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
    old: tuple[int, int] = sys_timer_settime(task, ident, flags, value_ns, interval_ns)
    return old
