"""System calls that wait for readiness: ppoll, pselect6, epoll; and eventfd and timerfd, made to be waited for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernel import abi
from kernel.abi import EFAULT, EINVAL, O_NONBLOCK, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI
from kernel.fs.eventfd import EVENTFD, EventFd
from kernel.fs.fdtable import FdTable
from kernel.fs.file import File
from kernel.fs.poll import EPOLL, EventPoll, epoll_collect, epoll_control, wait_ready
from kernel.fs.timerfd import TIMERFD, TimerFd
from kernel.fs.user import file_of, install, limit
from kernel.fs.vfs import error
from kernel.syscall.table import python, syscall
from kernel.syscall.time import CLOCK_BOOTTIME_ALARM, CLOCK_REALTIME_ALARM, in_past
from kernel.task import Task


def _deadline(task: Any, timeout_ns: int | None) -> int | None:
    if timeout_ns is None:
        return None
    if not isinstance(timeout_ns, int) or timeout_ns < 0:
        raise error(EINVAL, "timeout")
    now: int = task.now
    return now + timeout_ns


def _sigset(signals: Any) -> int:
    """A set of signal numbers as a mask."""
    mask = 0
    if not isinstance(signals, Iterable) or isinstance(signals, (str, bytes)):
        raise error(EFAULT, "a signal set is a list of signals")
    for signum in signals:
        if not isinstance(signum, int) or not 1 <= signum <= 64:
            raise error(EINVAL, "signal number")
        mask |= 1 << signum - 1
    return mask


class _Masked:
    """The signal mask of ppoll, pselect6 and epoll_pwait: in place for the time of the call."""

    __slots__ = ("mask", "task")

    def __init__(self, task: Any, mask: Any) -> None:
        self.task = task
        self.mask = mask if mask is None or isinstance(mask, int) else _sigset(mask)

    def __enter__(self) -> None:
        if self.mask is not None and self.task.real_blocked is None:
            self.task.real_blocked = self.task.blocked
            self.task.machine.signals.set_blocked(self.task, self.mask)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        task = self.task
        # When a signal ended the call, its handler runs before the old mask is back.
        if self.mask is not None and task.real_blocked is not None and kind is None:
            before, task.real_blocked = task.real_blocked, None
            task.machine.signals.set_blocked(task, before)


@syscall(73, "ppoll", "pollfds", "timespec", "sigset", restart="nohand", returns="pollfds")
def sys_ppoll(task: Any, fds: Any, timeout_ns: int | None = None, sigmask: Any = None) -> list[tuple[int, int]]:
    """`fds` is [(fd, events), ...]; the ready ones come back as [(fd, revents), ...]. Negative fds are passed over."""
    try:
        wanted = [(fd, events) for fd, events in fds]
    except (TypeError, ValueError):
        raise error(EFAULT, "ppoll takes [(fd, events), ...]") from None
    most = limit(task, abi.RLIMIT_NOFILE)
    if 0 <= most < len(wanted):
        raise error(EINVAL, "more entries than descriptors")
    deadline = _deadline(task, timeout_ns)
    entries: list[tuple[File | None, int]] = []
    for fd, events in wanted:
        if not isinstance(fd, int) or not isinstance(events, int):
            raise error(EFAULT, "ppoll takes [(fd, events), ...]")
        if fd < 0:
            continue
        try:
            file = task.files.get(fd)
        except OSError:
            file = None
        if file is not None and file.flags & abi.O_PATH:
            file = None
        entries.append((file, events & 0xFFFF))
    asked = [fd for fd, _ in wanted if fd >= 0]
    with _Masked(task, sigmask):
        masks = _Named(asked)(wait_ready, task, entries, deadline)
    return masks


class _Named:
    """Puts the descriptors back beside the masks, also when the wait is taken up again after a signal."""

    __slots__ = ("fds",)

    def __init__(self, fds: list[int]) -> None:
        self.fds = fds

    def __call__(self, wait: Any, *args: Any) -> list[tuple[int, int]]:
        from kernel.sched.wait import Interrupted

        try:
            masks = wait(*args)
        except Interrupted as stop:
            resume = stop.args[0]
            raise Interrupted(lambda: self(resume)) from None
        return [(fd, mask) for fd, mask in zip(self.fds, masks) if mask]


@python("poll")
def poll(task: Any, fds: Any, timeout_ms: Any = -1) -> list[tuple[int, int]]:
    if not isinstance(timeout_ms, int):
        raise error(EINVAL, "timeout")
    ready: list[tuple[int, int]] = sys_ppoll(task, fds, None if timeout_ms < 0 else timeout_ms * 1_000_000)
    return ready


_SELECT_IN = POLLIN | abi.POLLRDNORM | abi.POLLRDBAND | POLLHUP | POLLERR
_SELECT_OUT = POLLOUT | abi.POLLWRNORM | abi.POLLWRBAND | POLLERR
_SELECT_EX = POLLPRI


@syscall(72, "pselect6", "int", "fdset", "fdset", "fdset", "timespec", "sigset", restart="nohand", returns="fdsets")
def sys_pselect6(
    task: Any,
    nfds: int,
    readfds: Any = (),
    writefds: Any = (),
    exceptfds: Any = (),
    timeout_ns: int | None = None,
    sigmask: Any = None,
) -> tuple[list[int], list[int], list[int]]:
    """The three sets are lists of descriptors below `nfds`; those that are ready come back."""
    if not isinstance(nfds, int) or nfds < 0:
        raise error(EINVAL, "nfds")
    sets: list[list[int]] = []
    for given in (readfds, writefds, exceptfds):
        if given is None:
            given = ()
        if not isinstance(given, Iterable):
            raise error(EFAULT, "a set of descriptors is a list")
        sets.append([fd for fd in given if isinstance(fd, int) and fd < nfds])
    deadline = _deadline(task, timeout_ns)
    entries: list[tuple[File | None, int]] = []
    for fds, events in zip(sets, (_SELECT_IN, _SELECT_OUT, _SELECT_EX)):
        for fd in fds:
            entries.append((file_of(task, fd), events))
    asked = [(fd, bits) for fds, bits in zip(sets, (_SELECT_IN, _SELECT_OUT, _SELECT_EX)) for fd in fds]
    with _Masked(task, sigmask):
        ready = _Selected(asked)(_wait_selected, task, entries, deadline)
    return ready


def _wait_selected(task: Any, entries: Any, deadline: int | None) -> list[int]:
    return wait_ready(task, entries, deadline)


class _Selected:
    """Sorts the masks into the three sets."""

    __slots__ = ("asked",)

    def __init__(self, asked: list[tuple[int, int]]) -> None:
        self.asked = asked

    def __call__(self, wait: Any, *args: Any) -> tuple[list[int], list[int], list[int]]:
        from kernel.sched.wait import Interrupted

        try:
            masks = wait(*args)
        except Interrupted as stop:
            resume = stop.args[0]
            raise Interrupted(lambda: self(resume)) from None
        found: dict[int, list[int]] = {_SELECT_IN: [], _SELECT_OUT: [], _SELECT_EX: []}
        for (fd, bits), mask in zip(self.asked, masks):
            if mask & bits:
                found[bits].append(fd)
        return sorted(found[_SELECT_IN]), sorted(found[_SELECT_OUT]), sorted(found[_SELECT_EX])


# ---- epoll ----

_MOST_EVENTS = (1 << 31) // 16


def _anon(task: Any) -> Any:
    return task.machine.vfs.anon("anon_inodefs", abi.ANON_INODE_FS_MAGIC).inode(0o600, task.cred.fsuid, task.cred.fsgid)


@syscall(20, "epoll_create1", "epoll_flags")
def sys_epoll_create1(task: Any, flags: int = 0) -> int:
    if flags & ~abi.EPOLL_CLOEXEC:
        raise error(EINVAL, "epoll_create1 flags")
    file = File(EPOLL, abi.O_RDWR, _anon(task), None, EventPoll())
    return install(task, file, bool(flags))


@python("epoll_create")
def epoll_create(task: Any, size: Any = 1) -> int:
    if not isinstance(size, int) or size <= 0:
        raise error(EINVAL, "size")
    fd: int = sys_epoll_create1(task, 0)
    return fd


@syscall(21, "epoll_ctl", "fd", "epoll_op", "fd", "epoll_events", "int")
def sys_epoll_ctl(task: Task, ep: int, op: int, fd: int, events: int = 0, data: Any = 0) -> int:
    table: FdTable = task.files
    ep_file, file = table.get(ep), file_of(task, fd)
    if not isinstance(events, int):
        raise error(EFAULT, "events")
    epoll_control(ep_file, op, fd, file, events, data)
    return 0


@syscall(22, "epoll_pwait", "fd", "int", "int", "sigset", restart="never", returns="epoll_events")
def sys_epoll_pwait(
    task: Task, ep: int, maxevents: int, timeout_ms: int = -1, sigmask: Any = None
) -> list[tuple[Any, int]]:
    if timeout_ms == -1 and sigmask is None and type(maxevents) is int and 0 < maxevents <= _MOST_EVENTS:
        table: FdTable = task.files
        file = table.get(ep)
        if isinstance(file.private, EventPoll):
            return epoll_collect(task, file, maxevents, None)
    if not isinstance(timeout_ms, int):
        raise error(EINVAL, "timeout")
    return _epoll_wait(task, ep, maxevents, None if timeout_ms < 0 else timeout_ms * 1_000_000, sigmask)


@syscall(441, "epoll_pwait2", "fd", "int", "timespec", "sigset", restart="never", returns="epoll_events")
def sys_epoll_pwait2(
    task: Any, ep: int, maxevents: int, timeout_ns: int | None = None, sigmask: Any = None
) -> list[tuple[Any, int]]:
    return _epoll_wait(task, ep, maxevents, timeout_ns, sigmask)


def _epoll_wait(
    task: Any, ep: int, maxevents: int, timeout_ns: int | None, sigmask: Any
) -> list[tuple[Any, int]]:
    file = task.files.get(ep)
    if not isinstance(maxevents, int) or not 0 < maxevents <= _MOST_EVENTS:
        raise error(EINVAL, "maxevents")
    if not isinstance(file.private, EventPoll):
        raise error(EINVAL, "not an epoll descriptor")
    deadline = _deadline(task, timeout_ns)
    if sigmask is None:
        return epoll_collect(task, file, maxevents, deadline)
    with _Masked(task, sigmask):
        return epoll_collect(task, file, maxevents, deadline)


@python("epoll_wait")
def epoll_wait(task: Any, ep: Any, maxevents: Any, timeout_ms: Any = -1) -> list[tuple[Any, int]]:
    events: list[tuple[Any, int]] = sys_epoll_pwait(task, ep, maxevents, timeout_ms)
    return events


# ---- eventfd and timerfd ----


@syscall(19, "eventfd2", "int", "eventfd_flags")
def sys_eventfd2(task: Any, initial: int = 0, flags: int = 0) -> int:
    if flags & ~(abi.EFD_SEMAPHORE | abi.EFD_CLOEXEC | abi.EFD_NONBLOCK):
        raise error(EINVAL, "eventfd2 flags")
    event = EventFd(initial & 0xFFFFFFFF, bool(flags & abi.EFD_SEMAPHORE))
    file = File(EVENTFD, abi.O_RDWR | flags & O_NONBLOCK, _anon(task), None, event)
    return install(task, file, bool(flags & abi.EFD_CLOEXEC))


CAP_WAKE_ALARM = 35


@syscall(85, "timerfd_create", "clock", "timerfd_flags")
def sys_timerfd_create(task: Any, clock: int, flags: int = 0) -> int:
    if flags & ~(abi.TFD_CLOEXEC | abi.TFD_NONBLOCK):
        raise error(EINVAL, "timerfd_create flags")
    alarms = (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)
    if clock not in alarms and clock not in (abi.CLOCK_REALTIME, abi.CLOCK_MONOTONIC, abi.CLOCK_BOOTTIME):
        raise error(EINVAL, "clock")
    if clock in alarms and not task.cred.capable(CAP_WAKE_ALARM):
        raise error(abi.EPERM, "this clock needs CAP_WAKE_ALARM")
    offset = task.machine.realtime_offset() if clock in (abi.CLOCK_REALTIME, CLOCK_REALTIME_ALARM) else 0
    timer = TimerFd(task.machine.timeline, offset)
    file = File(TIMERFD, abi.O_RDWR | flags & O_NONBLOCK, _anon(task), None, timer)
    return install(task, file, bool(flags & abi.TFD_CLOEXEC))


def _timerfd(task: Any, fd: int) -> TimerFd:
    timer = task.files.get(fd).private
    if not isinstance(timer, TimerFd):
        raise error(EINVAL, "not a timerfd")
    return timer


@syscall(86, "timerfd_settime", "fd", "timerfd_settime_flags", "itimerspec", returns="itimerspec")
def sys_timerfd_settime(task: Any, fd: int, flags: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
    """Arms (value_ns 0 disarms); gives what was (value, interval) before, in ns."""
    if flags & ~(abi.TFD_TIMER_ABSTIME | abi.TFD_TIMER_CANCEL_ON_SET):
        raise error(EINVAL, "timerfd_settime flags")
    if not isinstance(value_ns, int) or not isinstance(interval_ns, int) or interval_ns < 0:
        raise error(EINVAL, "timerfd_settime times")
    if value_ns < 0 and not (flags & abi.TFD_TIMER_ABSTIME and in_past(value_ns)):
        raise error(EINVAL, "timerfd_settime times")
    return _timerfd(task, fd).set(value_ns, interval_ns, bool(flags & abi.TFD_TIMER_ABSTIME))


@syscall(87, "timerfd_gettime", "fd", returns="itimerspec")
def sys_timerfd_gettime(task: Any, fd: int) -> tuple[int, int]:
    return _timerfd(task, fd).get()


