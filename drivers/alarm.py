"""The host's alarm clock: a descriptor that becomes readable at a time given in nanoseconds (timerfd_create(2))."""

from __future__ import annotations

import ctypes
import os

SECOND = 1_000_000_000


class _Itimerspec(ctypes.Structure):
    """struct itimerspec: interval and first expiry, each seconds and nanoseconds."""

    _fields_ = (
        ("interval_sec", ctypes.c_long), ("interval_nsec", ctypes.c_long),
        ("value_sec", ctypes.c_long), ("value_nsec", ctypes.c_long),
    )  # fmt: skip


class Alarm:
    """A timerfd: the one kind of wait that is neither rounded to milliseconds nor given
    slack.
    """

    __slots__ = ("_pointer", "_settime", "_spec", "armed", "fd")

    def __init__(self, clock: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.fd: int = libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"timerfd_create: {os.strerror(error)}")
        self._spec = _Itimerspec()
        self._pointer = ctypes.addressof(self._spec)
        self.armed: int | None = None

    def set(self, at_ns: int | None) -> None:
        """Become readable at `at_ns` of its clock, or never."""
        if at_ns == self.armed:
            return
        self.armed = at_ns
        seconds, nanoseconds = divmod(max(at_ns, 1), SECOND) if at_ns is not None else (0, 0)
        self._spec.value_sec, self._spec.value_nsec = seconds, nanoseconds
        if self._settime(self.fd, 1, self._pointer, None) < 0:  # 1: TFD_TIMER_ABSTIME
            error = ctypes.get_errno()
            raise OSError(error, f"timerfd_settime: {os.strerror(error)}")

    def drain(self) -> None:
        """Take the expiry, so that the descriptor is not readable any more."""
        self.armed = None
        try:
            os.read(self.fd, 8)
        except BlockingIOError:  # set again since it expired
            return

    def close(self) -> None:
        os.close(self.fd)
