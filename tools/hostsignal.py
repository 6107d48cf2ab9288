"""Signals of the Python ABI on the host: handlers that are told what a real one is told.

Python runs a handler between two bytecodes and tells it the signal's number only. Here the handler that the kernel
calls is a few instructions of machine code (x86-64): they copy the siginfo to the next slot of a ring and go on to
Python's own handler. Python then calls `drain`, which runs the program's handlers in the order in which the signals
were delivered, each once, with its siginfo and with the mask that sigaction asked for. On other processors the
siginfo has the number only, and real-time signals coalesce.

A signal that arrives between two bytecodes just before a sleeping call is handled after that call: the one difference
from a program in C.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import signal as host_signal
import struct
import threading
from collections.abc import Iterable
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO, SA_ONSTACK = 1, 2, 4, 0x8000000
SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x10000000, 0x40000000, 0x80000000
_SLOTS, _SLOT = 256, 128

_OWN_CODES = tuple(host_signal.Signals["SIG" + name] for name in ("ILL", "TRAP", "BUS", "FPE", "SEGV", "CHLD", "SYS"))


class SignalInfo:
    """siginfo_t."""

    __slots__ = ("si_addr", "si_band", "si_code", "si_errno", "si_fd", "si_pid", "si_signo", "si_status", "si_uid",
                 "si_value")  # fmt: skip

    def __init__(self, signo: int, raw: bytes = b"") -> None:
        self.si_signo = signo
        self.si_errno = self.si_code = self.si_pid = self.si_uid = self.si_status = self.si_value = self.si_addr = 0
        self.si_band = self.si_fd = 0
        if raw:
            _, self.si_errno, self.si_code = struct.unpack_from("=iii", raw)
            if signo in (host_signal.SIGSEGV, host_signal.SIGBUS, host_signal.SIGILL, host_signal.SIGFPE) and (
                0 < self.si_code < 0x80
            ):
                (self.si_addr,) = struct.unpack_from("=Q", raw, 16)
                return
            if (0 < self.si_code < 7 and signo not in _OWN_CODES) or self.si_code == -5:
                self.si_band, self.si_fd = struct.unpack_from("=qi", raw, 16)  # in the same place as what follows
            self.si_pid, self.si_uid, last = struct.unpack_from("=iIi", raw, 16)
            if 0 < self.si_code < 0x80 and signo != host_signal.SIGIO:
                self.si_status = last
            elif self.si_code < 0:
                self.si_value = last

    def __repr__(self) -> str:
        return f"<SigInfo {self.si_signo} code={self.si_code} pid={self.si_pid}>"


def sigset(signals: Iterable[int]) -> Any:
    """A sigset_t of the C library (128 bytes)."""
    words = (ctypes.c_ulong * 16)()
    for number in signals:
        if not isinstance(number, int) or not 0 < number < 65:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        words[(number - 1) // 64] |= 1 << ((number - 1) % 64)
    return words


class _Action(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16), ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]  # fmt: skip


class Recorder:
    """The ring of siginfo, and the machine code that fills it."""

    __slots__ = ("_seen", "memory", "stub")

    def __init__(self) -> None:
        self._seen = 0
        self.stub = 0
        self.memory: mmap.mmap | None = None

    def _build(self, handler: int) -> None:
        """The ring (a counter, then slots), and the code behind it. `handler` is Python's own."""
        size = 64 + _SLOTS * _SLOT
        memory = mmap.mmap(-1, size + 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        code = (
            b"\x57\x56\x52"  # push rdi; push rsi; push rdx
            b"\x49\xb8" + struct.pack("=Q", base)  # mov r8, counter
            + b"\xb9\x01\x00\x00\x00"  # mov ecx, 1
            b"\xf0\x49\x0f\xc1\x08"  # lock xadd [r8], rcx
            b"\x81\xe1" + struct.pack("=I", _SLOTS - 1)  # and ecx, slots - 1
            + b"\x48\xc1\xe1\x07"  # shl rcx, 7
            b"\x49\x8d\x7c\x08\x40"  # lea rdi, [r8 + rcx + 64]
            b"\xb9\x10\x00\x00\x00\xf3\x48\xa5"  # mov ecx, 16; rep movsq
            b"\x5a\x5e\x5f"  # pop rdx; pop rsi; pop rdi
            b"\x48\xb8" + struct.pack("=Q", handler)  # mov rax, handler
            + b"\xff\xe0"  # jmp rax
        )
        memory[size : size + len(code)] = code
        self.memory = memory
        self.stub = base + size

    def install(self, signum: int, flags: int, mask: Iterable[int]) -> bool:
        """Put the recorder before Python's handler, which has just been installed. False where it can't be."""
        action = _Action()
        libc.sigaction(signum, None, ctypes.byref(action))
        keep = flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_NODEFER)
        if platform.machine() == "x86_64":
            if not self.stub:
                self._build(action.handler)
            action.handler = self.stub
            keep |= SA_SIGINFO
        action.flags = ctypes.c_int(action.flags & 0x04000000 | keep).value
        action.mask = sigset(mask)
        libc.sigaction(signum, ctypes.byref(action), None)
        return bool(self.stub)

    def records(self) -> list[SignalInfo]:
        """What was delivered since the last time, oldest first."""
        if self.memory is None:
            return []
        (count,) = struct.unpack_from("=Q", self.memory)
        found = []
        for index in range(max(self._seen, count - _SLOTS), count):
            at = 64 + index % _SLOTS * _SLOT
            raw = self.memory[at : at + _SLOT]
            found.append(SignalInfo(struct.unpack_from("=i", raw)[0], raw))
        self._seen = count
        return found


class HostSignals:
    """The part of `HostSystem` that is about signals."""

    def __init__(self) -> None:
        self._handlers: dict[int, tuple[Any, int, tuple[int, ...]]] = {}
        self._recorder = Recorder()
        self._waiting: list[SignalInfo] = []
        self._masked: set[int] = set()
        """What the handlers that are running have blocked."""
        self._interrupted = False
        self._altstack = (0, 2, 0)
        self._on_altstack = 0

    # -- dispositions --

    def rt_sigaction(self, sig: int, handler: Any = None, flags: int = 0, mask: Iterable[int] = ()) -> Any:
        """The old disposition: SIG_DFL (0), SIG_IGN (1) or the handler. With no `handler` only asks."""
        if not isinstance(sig, int) or not 0 < sig < 65:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        old = self._handlers.get(sig, (None,))[0]
        if old is None:
            action = _Action()
            if libc.sigaction(sig, None, ctypes.byref(action)) < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            old = action.handler if action.handler in (0, 1) else 0
            old = old or 0
        if handler is None:
            return old
        if sig in (host_signal.SIGKILL, host_signal.SIGSTOP):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        wanted = tuple(mask)
        if not callable(handler):
            first = threading.current_thread() is threading.main_thread()  # others Python does not let
            if first:
                host_signal.signal(sig, host_signal.Handlers(int(handler)))
            self._handlers.pop(sig, None)
            if flags & (SA_NOCLDSTOP | SA_NOCLDWAIT) or not first:
                action = _Action(int(handler) or None, sigset(wanted), flags & (SA_NOCLDSTOP | SA_NOCLDWAIT))
                libc.sigaction(sig, ctypes.byref(action), None)
            return old
        self._handlers[sig] = (handler, flags, wanted)
        host_signal.signal(sig, self._on_signal)
        self._recorder.install(sig, flags, wanted)
        return old

    def _on_signal(self, signum: int, frame: object) -> None:
        """Python's handler for every signal that has one."""
        number = ctypes.get_errno()
        if self._recorder.stub:
            self._waiting += self._recorder.records()
        else:
            self._waiting.append(SignalInfo(signum))
        self._drain()
        ctypes.set_errno(number)

    def _drain(self) -> None:
        """Run the handlers of what has been delivered, but of what a handler that is running has blocked."""
        while True:
            info = next((i for i in self._waiting if i.si_signo not in self._masked), None)
            if info is None:
                return
            self._waiting.remove(info)
            self._run(info)

    def _run(self, info: SignalInfo) -> None:
        signum = info.si_signo
        handler, flags, mask = self._handlers.get(signum, (None, 0, ()))
        if handler is None:
            return
        if not flags & SA_RESTART:
            self._interrupted = True
        if flags & SA_RESETHAND:
            self.rt_sigaction(signum, host_signal.SIG_DFL)
        blocked = {*mask} if flags & SA_NODEFER else {*mask, signum}
        before, interrupted = self._masked, self._interrupted
        old = host_signal.pthread_sigmask(host_signal.SIG_BLOCK, blocked)
        self._masked = before | blocked
        stacked = bool(flags & SA_ONSTACK and not self._altstack[1])
        self._on_altstack += stacked
        try:
            handler(self, signum, info)
        finally:
            self._on_altstack -= stacked
            self._interrupted = interrupted
            self._masked = before
            host_signal.pthread_sigmask(host_signal.SIG_SETMASK, old)

    def sigaltstack(self, stack: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
        """(address, flags, size) as it was. Handlers of Python programs have no use for it; the rules are Linux's."""
        sp, flags, size = self._altstack
        old = (sp, flags | (1 if self._on_altstack else 0), size)
        if stack is not None:
            if self._on_altstack:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            sp, flags, size = stack
            if flags & ~0x80000000 not in (0, 1, 2):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if flags & 2:
                sp = size = 0
            elif size < 2048:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            self._altstack = (sp, flags & 2, size)
        return old

    # -- masks --

    def rt_sigprocmask(self, how: int, signals: Iterable[int] | None = ()) -> set[int]:
        old, new = (ctypes.c_ulong * 16)(), None if signals is None else sigset(signals)
        if libc.pthread_sigmask(how, new, old):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return {n for n in range(1, 65) if old[0] >> (n - 1) & 1}

    def rt_sigpending(self) -> set[int]:
        return {int(s) for s in host_signal.sigpending()}

    # -- sending --

    def kill(self, pid: int, sig: int) -> None:
        self._asked(libc.kill(pid, sig))

    def tgkill(self, tgid: int, tid: int, sig: int) -> None:
        self._asked(libc.syscall(ctypes.c_long(_TGKILL), tgid, tid, sig))

    def tkill(self, tid: int, sig: int) -> None:
        self._asked(libc.syscall(ctypes.c_long(_TKILL), tid, sig))

    def rt_sigqueueinfo(self, pid: int, sig: int, value: int = 0) -> None:
        if not 0 < sig < 65:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._asked(libc.syscall(ctypes.c_long(_SIGQUEUEINFO), pid, sig, _queued(sig, value)))

    def rt_tgsigqueueinfo(self, tgid: int, tid: int, sig: int, value: int = 0) -> None:
        self._asked(libc.syscall(ctypes.c_long(_TGSIGQUEUEINFO), tgid, tid, sig, _queued(sig, value)))

    @staticmethod
    def _asked(result: int) -> None:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    # -- waiting --

    def rt_sigsuspend(self, signals: Iterable[int] = ()) -> None:
        self._asked(libc.sigsuspend(sigset(signals)))

    def pause(self) -> None:
        self._asked(libc.pause())

    def rt_sigtimedwait(self, signals: Iterable[int], timeout_ns: int | None = None) -> SignalInfo:
        raw = ctypes.create_string_buffer(128)
        limit = None if timeout_ns is None else struct.pack("=qq", timeout_ns // 10**9, timeout_ns % 10**9)
        got = libc.sigtimedwait(sigset(signals), raw, limit)
        self._asked(got)
        return SignalInfo(got, raw.raw)

    def signalfd4(self, fd: int, signals: Iterable[int], flags: int = 0) -> int:
        made: int = libc.signalfd(fd, sigset(signals), flags)
        self._asked(made)
        return made


def _queued(sig: int, value: int) -> Any:
    """A siginfo_t as sigqueue(3) sends it."""
    raw = struct.pack("=iii4xiIi", sig, 0, -1, os.getpid(), os.getuid(), value)
    return ctypes.create_string_buffer(raw, 128)


_NUMBERS = {"x86_64": (234, 200, 129, 297), "aarch64": (131, 130, 138, 240), "riscv64": (131, 130, 138, 240)}
_TGKILL, _TKILL, _SIGQUEUEINFO, _TGSIGQUEUEINFO = _NUMBERS.get(platform.machine(), _NUMBERS["aarch64"])


def inherited_dispositions() -> str:
    """Of the signals that Python changes when it starts, those that are ignored: for the program after an execve."""
    ignored = []
    for number in (host_signal.SIGINT, host_signal.SIGPIPE, host_signal.SIGXFSZ):
        with contextlib.suppress(OSError, ValueError):
            if host_signal.getsignal(number) == host_signal.SIG_IGN:
                ignored.append(str(int(number)))
    return ",".join(ignored)


__all__ = ["HostSignals", "SignalInfo", "inherited_dispositions", "libc", "sigset"]
