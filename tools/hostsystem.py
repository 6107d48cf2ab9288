"""`HostSystem`: the object `sys` of the Python ABI, made of the host's own system calls through its C library.

Calls that may sleep go through ctypes and not through `os`: Python's own wrappers restart after EINTR (PEP 475), and
whether a call restarts is exactly what a program may want to see. A handler is run by the interpreter right after the
interrupted call returned; then the call is made again if the handler was installed with SA_RESTART and the call is
one that Linux restarts (signal(7)).

Files are in `hostfiles`, signals in `hostsignal`. What a call that only succeeds gives is 0, as in Linux and inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import signal as host_signal
import struct
import sys as interpreter
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tools.hostfiles import HostFiles
from tools.hostipc import HostIpc
from tools.hostmemory import HostMemory
from tools.hostmessage import iovec
from tools.hostprocess import HostProcess
from tools.hostsignal import HostSignals, SignalInfo, inherited_dispositions, libc, sigset
from tools.hostsockets import HostSockets
from tools.program import ExitStatus

_libc = libc
_EINTR = errno.EINTR
_CLONE_VM, _CLONE_VFORK, _CLONE_THREAD = 0x100, 0x4000, 0x10000
_THREAD = _CLONE_VM | 0x200 | 0x400 | 0x800 | _CLONE_THREAD
_ENTRY = str(Path(__file__).resolve().parent / "onlinux.py")
_NSEC = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


class _Pollfd(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]


class _EpollEvent(ctypes.Structure):
    _pack_ = 1 if os.uname().machine == "x86_64" else 0
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


class _Rusage(ctypes.Structure):
    _fields_ = [("times", ctypes.c_long * 4), ("counts", ctypes.c_long * 14)]


def _timespec(ns: int | None) -> Any:
    return None if ns is None else ctypes.byref(_Timespec(ns // _NSEC, ns % _NSEC))


def _fail(what: object = None) -> NoReturn:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code)) if what is None else OSError(code, os.strerror(code), what)


class Rusage:
    """struct rusage; times in nanoseconds, as inside."""

    __slots__ = ("ru_idrss", "ru_inblock", "ru_isrss", "ru_ixrss", "ru_majflt", "ru_maxrss", "ru_minflt", "ru_msgrcv",
                 "ru_msgsnd", "ru_nivcsw", "ru_nsignals", "ru_nswap", "ru_nvcsw", "ru_oublock", "ru_stime",
                 "ru_utime")  # fmt: skip

    def __init__(self, raw: _Rusage) -> None:
        t = raw.times
        self.ru_utime = t[0] * _NSEC + t[1] * 1000
        self.ru_stime = t[2] * _NSEC + t[3] * 1000
        (self.ru_maxrss, self.ru_ixrss, self.ru_idrss, self.ru_isrss, self.ru_minflt, self.ru_majflt, self.ru_nswap,
         self.ru_inblock, self.ru_oublock, self.ru_msgsnd, self.ru_msgrcv, self.ru_nsignals, self.ru_nvcsw,
         self.ru_nivcsw) = raw.counts  # fmt: skip


class HostSystem(HostFiles, HostIpc, HostMemory, HostProcess, HostSignals, HostSockets):
    """The ABI object `sys`, on the host. Methods are system calls: see signatures in DESIGN, "The Python ABI"."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        self.environ = dict(os.environ if environ is None else environ)
        HostSignals.__init__(self)
        self._lender = 0
        """The parent whose memory this process shares (CLONE_VFORK)."""
        HostMemory.__init__(self)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("_"):
            raise AttributeError(name)

        def missing(*args: object, **kw: object) -> NoReturn:
            raise OSError(errno.ENOSYS, f"sys.{name} is not offered --on-linux")

        return missing

    # -- the two ways to call: one that Linux restarts under SA_RESTART, one that it never restarts --

    def _call(self, function: Any, *args: Any, restart: bool = True) -> int:
        while True:
            self._interrupted = False
            result: int = function(*args)
            if result >= 0:
                return result
            if ctypes.get_errno() != _EINTR or self._interrupted or not restart or not self._handlers:
                _fail()
            timed = _TIMED.get(function.__name__)
            if timed is not None and self._times_out(args[0], timed):
                raise OSError(_EINTR, os.strerror(_EINTR))

    @staticmethod
    def _times_out(fd: int, option: int) -> bool:
        """Whether it is a socket with SO_RCVTIMEO or SO_SNDTIMEO: what is interrupted is not restarted then."""
        timeout, size = (ctypes.c_long * 2)(), ctypes.c_uint(16)
        asked: int = _libc.getsockopt(fd, 1, option, timeout, ctypes.byref(size))
        return asked == 0 and (timeout[0] or timeout[1]) != 0

    # -- files --

    def open(self, path: Any, flags: int, mode: int = 0o666) -> int:
        raw = os.fsencode(path)
        while True:
            fd: int = _libc.open(raw, ctypes.c_int(flags), ctypes.c_uint(mode))
            if fd >= 0:
                return fd
            if ctypes.get_errno() != _EINTR or self._interrupted:
                _fail(path)

    def read(self, fd: int, n: int) -> bytes:
        if not self._handlers:
            return os.read(fd, n)
        buffer = ctypes.create_string_buffer(n)
        return ctypes.string_at(buffer, self._call(_libc.read, fd, buffer, ctypes.c_size_t(n)))

    def write(self, fd: int, data: Any) -> int:
        if not self._handlers:
            return os.write(fd, data)
        raw = bytes(data)
        return self._call(_libc.write, fd, raw, ctypes.c_size_t(len(raw)))

    def pread64(self, fd: int, n: int, offset: int) -> bytes:
        return os.pread(fd, n, offset)

    def pwrite64(self, fd: int, data: Any, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        if not self._handlers:
            return os.writev(fd, buffers)
        return self._call(_libc.writev, fd, *iovec(buffers))

    def readv(self, fd: int, sizes: Sequence[int]) -> list[bytes]:
        if not self._handlers and sizes:
            return super().readv(fd, sizes)
        vector, count = iovec([bytes(n) for n in sizes])
        left = self._call(_libc.readv, fd, vector, count)
        parts = []
        for buffer, n in zip(vector.held, sizes):
            parts.append(buffer.raw[: min(n, left)])
            left -= len(parts[-1])
        return parts

    def lseek(self, fd: int, offset: int, whence: int = 0) -> int:
        return os.lseek(fd, offset, whence)

    def close(self, fd: int) -> None:
        if _libc.close(fd) < 0:
            _fail()

    def dup(self, fd: int) -> int:
        return self._call(_libc.dup, fd)

    def dup3(self, old: int, new: int, flags: int = 0) -> int:
        return self._call(_libc.dup3, old, new, flags)

    def dup2(self, old: int, new: int) -> int:
        return self._call(_libc.dup2, old, new)

    def pipe2(self, flags: int = 0) -> tuple[int, int]:
        pair = (ctypes.c_int * 2)()
        if _libc.pipe2(pair, flags) < 0:
            _fail()
        return pair[0], pair[1]

    def pipe(self) -> tuple[int, int]:
        return self.pipe2(0)

    def flock(self, fd: int, operation: int) -> None:
        self._call(_libc.flock, fd, operation)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def stat(self, path: Any) -> os.stat_result:
        return os.stat(path)

    def lstat(self, path: Any) -> os.stat_result:
        return os.lstat(path)

    def getdents64(self, fd: int) -> list[tuple[str, int, int]]:
        buffer = ctypes.create_string_buffer(32768)
        count = self._call(_libc.getdents64, fd, buffer, ctypes.c_size_t(len(buffer)))
        entries, at, raw = [], 0, buffer.raw
        while at < count:
            ino, _, size, kind = struct.unpack_from("=QqHB", raw, at)
            entries.append((os.fsdecode(raw[at + 19 : at + size].split(b"\0", 1)[0]), ino, kind))
            at += size
        return entries

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        self._call(_libc.fallocate, fd, mode, ctypes.c_long(offset), ctypes.c_long(length))

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync(self) -> None:
        os.sync()

    def umask(self, mask: int) -> int:
        return os.umask(mask)

    def getcwd(self) -> str:
        """The call's own answer: the C library has no "(unreachable)"."""
        buffer = ctypes.create_string_buffer(4096)
        if _libc.syscall(ctypes.c_long(_GETCWD), buffer, ctypes.c_ulong(4096)) < 0:
            _fail()
        return os.fsdecode(buffer.value)

    # -- processes --

    def spawn(self, function: Callable[..., Any], *args: Any) -> int:
        interpreter.stdout.flush()
        interpreter.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        self.become(function, args)

    def fork(self) -> NoReturn:
        raise OSError(errno.ENOSYS, "fork: use sys.spawn(function, *args)")

    def become(self, function: Callable[..., Any], args: Sequence[Any]) -> NoReturn:
        """The rest of a forked child's life."""
        status = 1
        try:
            result = function(self, *args)
            status = result if isinstance(result, int) else 0
        except ExitStatus as leaving:
            status = leaving.status
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(OSError, ValueError):
            interpreter.stdout.flush()
            interpreter.stderr.flush()
        self._give_back()
        os._exit(status & 0xFF)

    def _give_back(self) -> None:
        if self._lender:
            self.give_back(self._lender)

    def clone(
        self, function: Callable[..., Any], *args: Any, flags: int = _THREAD, parent_tid: int = 0, child_tid: int = 0
    ) -> int:
        """A thread is Python's. A process that shares memory can't be had: with CLONE_VFORK it gets a copy, which is
        given back before the parent goes on.
        """
        if (flags & _CLONE_THREAD and not flags & 0x800) or (flags & 0x800 and not flags & _CLONE_VM):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if flags & _CLONE_THREAD:
            started = threading.Event()
            words = (flags, parent_tid, child_tid, started)
            thread = threading.Thread(target=self._thread, args=(words, function, args), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # what Python makes of the errno
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            started.wait()
            return thread.native_id or 0
        if flags & _CLONE_VM and not flags & _CLONE_VFORK:
            raise OSError(errno.ENOSYS, "--on-linux, clone with CLONE_VM needs CLONE_THREAD or CLONE_VFORK too")
        interpreter.stdout.flush()
        interpreter.stderr.flush()
        ctypes.pythonapi.PyOS_BeforeFork()
        kept = flags & ~_CLONE_VM & ~0x800
        places = (parent_tid, child_tid, 0) if _CLONE == 56 else (parent_tid, 0, child_tid)
        pid: int = _held.syscall(*(ctypes.c_long(word) for word in (_CLONE, kept, 0, *places)))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            self._lender = os.getppid() if flags & _CLONE_VM else 0
            self.become(function, args)
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        return pid if pid > 0 else _fail()

    def vfork(self, function: Callable[..., Any], *args: Any) -> int:
        return self.clone(function, *args, flags=_CLONE_VM | _CLONE_VFORK | host_signal.SIGCHLD)

    def _thread(self, words: Any, function: Callable[..., Any], args: Sequence[Any]) -> None:
        flags, parent_tid, child_tid, started = words
        tid = threading.get_native_id()
        for wanted, address in ((0x100000, parent_tid), (0x1000000, child_tid)):
            if flags & wanted:
                ctypes.c_int.from_address(address).value = tid
        if flags & 0x200000:
            self.set_tid_address(child_tid)
        started.set()
        with contextlib.suppress(_ThreadExit):
            try:
                function(self, *args)
            except ExitStatus as leaving:
                os._exit(leaving.status & 0xFF)
        self.thread_ends()

    def exit_thread(self, status: int = 0) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            raise ExitStatus(status)
        raise _ThreadExit

    def execve(self, path: Any, argv: Sequence[str], envp: dict[str, str] | None = None) -> NoReturn:
        """A `.py` file is run by a fresh interpreter (the host knows no such format); anything else by the host."""
        name = os.fspath(path)
        environ = dict(self.environ if envp is None else envp)
        self._give_back()
        interpreter.stdout.flush()
        interpreter.stderr.flush()
        if name.endswith(".py"):
            if _libc.access(os.fsencode(name), os.X_OK) < 0:
                _fail(path)
            if os.path.isdir(name):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
            words = ["-I", "-S", _ENTRY, inherited_dispositions(), name, *argv, os.pathsep.join(interpreter.path[1:])]
            for number in self._handlers:  # what the new interpreter must not take for ignored
                host_signal.signal(number, host_signal.SIG_DFL)
            os.execve(interpreter.executable, [interpreter.executable, *words], environ)
        os.execve(path, list(argv), environ)

    def execveat(
        self, dirfd: int, path: Any, argv: Sequence[str], envp: dict[str, str] | None = None, flags: int = 0
    ) -> NoReturn:
        """By the name that /proc gives the directory (or, with AT_EMPTY_PATH, the file)."""
        if flags & ~0x1100:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        name = os.fsdecode(os.fspath(path))
        if dirfd != -100 and not name.startswith("/"):
            if not name and not flags & 0x1000:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            try:
                base = os.readlink(f"/proc/self/fd/{dirfd}")
            except FileNotFoundError:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
            if name and not os.path.isdir(base):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            name = os.path.join(base, name) if name else base
        if flags & 0x100 and os.path.islink(name):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self.execve(name, argv, envp)

    def exit(self, status: int = 0) -> NoReturn:
        raise ExitStatus(status)

    exit_group = exit

    def wait4(self, pid: int = -1, options: int = 0) -> tuple[int, int, Rusage]:
        status, usage = ctypes.c_int(), _Rusage()
        got = self._call(_libc.wait4, pid, ctypes.byref(status), options, ctypes.byref(usage))
        return got, status.value, Rusage(usage)

    def waitid(self, idtype: int, ident: int, options: int) -> SignalInfo | None:
        """siginfo of a child that changed; None with WNOHANG when none has."""
        raw = ctypes.create_string_buffer(128)
        self._call(_libc.waitid, idtype, ident, raw, options)
        info = SignalInfo(int(host_signal.SIGCHLD), raw.raw)
        return info if info.si_pid else None

    def getrusage(self, who: int = 0) -> Rusage:
        usage = _Rusage()
        self._call(_libc.getrusage, who, ctypes.byref(usage))
        return Rusage(usage)

    def gettid(self) -> int:
        return threading.get_native_id()

    def setsid(self) -> int:
        os.setsid()
        return os.getpid()

    def _triple(self, function: Any) -> tuple[int, int, int]:
        ids = (ctypes.c_uint * 3)()
        function(ctypes.byref(ids, 0), ctypes.byref(ids, 4), ctypes.byref(ids, 8))
        return ids[0], ids[1], ids[2]

    def getresuid(self) -> tuple[int, int, int]:
        return self._triple(_libc.getresuid)

    def getresgid(self) -> tuple[int, int, int]:
        return self._triple(_libc.getresgid)

    def setfsuid(self, uid: int) -> int:
        before: int = _libc.setfsuid(uid)
        return before

    def setfsgid(self, gid: int) -> int:
        before: int = _libc.setfsgid(gid)
        return before

    def capget(self, pid: int = 0) -> tuple[int, int, int]:
        """(effective, permitted, inheritable)."""
        data = (ctypes.c_uint32 * 6)()
        self._call(_libc.capget, struct.pack("=Ii", 0x20080522, pid), data)
        return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32

    def capset(self, effective: int, permitted: int, inheritable: int) -> None:
        words = [part >> shift & 0xFFFFFFFF for shift in (0, 32) for part in (effective, permitted, inheritable)]
        self._call(_libc.capset, struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *words))

    def getpgid(self, pid: int = 0) -> int:
        return os.getpgid(pid)

    def getsid(self, pid: int = 0) -> int:
        return os.getsid(pid)

    def sched_getaffinity(self, pid: int = 0) -> list[int]:
        return sorted(os.sched_getaffinity(pid))

    def creat(self, path: Any, mode: int = 0o666) -> int:
        return self.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)

    def sched_yield(self) -> None:
        os.sched_yield()

    def getpriority(self, which: int = 0, who: int = 0) -> int:
        return os.getpriority(which, who)

    def nice(self, increment: int) -> int:
        return os.nice(increment)

    def sched_setscheduler(self, pid: int, policy: int, param: Any = 0) -> int:
        os.sched_setscheduler(pid, policy, os.sched_param(getattr(param, "sched_priority", param)))
        return 0

    def sched_getscheduler(self, pid: int = 0) -> int:
        return os.sched_getscheduler(pid)

    def sched_setparam(self, pid: int, param: Any) -> int:
        os.sched_setparam(pid, os.sched_param(getattr(param, "sched_priority", param)))
        return 0

    def sched_getparam(self, pid: int = 0) -> Any:
        return os.sched_getparam(pid)

    def sched_get_priority_max(self, policy: int) -> int:
        return os.sched_get_priority_max(policy)

    def sched_get_priority_min(self, policy: int) -> int:
        return os.sched_get_priority_min(policy)

    def sched_rr_get_interval(self, pid: int = 0) -> int:
        return round(os.sched_rr_get_interval(pid) * 10**9)

    def prctl(self, option: int, arg: Any = 0, *more: int) -> Any:
        """PR_GET_NAME gives the name, PR_GET_PDEATHSIG and PR_GET_CHILD_SUBREAPER the number."""
        if option == 15:
            name = arg.encode() if isinstance(arg, str) else bytes(arg)
            return self._call(_libc.prctl, option, ctypes.create_string_buffer(name))
        if option in (16, 2, 37):
            buffer = ctypes.create_string_buffer(32)
            self._call(_libc.prctl, option, buffer, *[ctypes.c_ulong(0)] * 3)
            return buffer.value.decode() if option == 16 else struct.unpack_from("=i", buffer.raw)[0]
        return self._call(_libc.prctl, option, *(ctypes.c_ulong(a) for a in (arg, *more, 0, 0, 0, 0)[:4]))

    def getrandom(self, n: int, flags: int = 0) -> bytes:
        return os.getrandom(n, flags)

    # -- signals --

    def alarm(self, seconds: int) -> int:
        return host_signal.alarm(seconds)

    # -- time --

    def nanosleep(self, ns: int) -> None:
        """When a handler interrupts it, the error's `remaining_ns` says how much was left."""
        left = _Timespec()
        try:
            self._call(_libc.nanosleep, _timespec(ns), ctypes.byref(left), restart=False)
        except OSError as error:
            error.remaining_ns = left.tv_sec * _NSEC + left.tv_nsec  # type: ignore[attr-defined]
            raise

    def clock_nanosleep(self, clock: int, flags: int, ns: int) -> None:
        left = _Timespec()
        code = _libc.clock_nanosleep(clock, flags, _timespec(ns), ctypes.byref(left))
        if code:
            error = OSError(code, os.strerror(code))
            if not flags & 1:
                error.remaining_ns = left.tv_sec * _NSEC + left.tv_nsec  # type: ignore[attr-defined]
            raise error

    def clock_getres(self, clock: int) -> int:
        t = _Timespec()
        self._call(_libc.clock_getres, clock, ctypes.byref(t))
        return int(t.tv_sec) * _NSEC + int(t.tv_nsec)

    def time(self) -> int:
        return self.clock_gettime(0) // _NSEC

    def setitimer(self, which: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
        """(time left, interval) of the timer as it was, in nanoseconds."""
        micros = [-(-ns // 1000) if ns >= 0 else ns // 1000 for ns in (interval_ns, value_ns)]
        new = struct.pack("=qqqq", *(part for us in micros for part in divmod(us, 1_000_000)))
        old = ctypes.create_string_buffer(32)
        self._call(_libc.setitimer, which, new, old)
        return self._itimer(old.raw)

    def getitimer(self, which: int) -> tuple[int, int]:
        now = ctypes.create_string_buffer(32)
        self._call(_libc.getitimer, which, now)
        return self._itimer(now.raw)

    @staticmethod
    def _itimer(raw: bytes) -> tuple[int, int]:
        t = struct.unpack("=qqqq", raw)
        return t[2] * _NSEC + t[3] * 1000, t[0] * _NSEC + t[1] * 1000

    def timerfd_create(self, clock: int, flags: int = 0) -> int:
        return self._call(_libc.timerfd_create, clock, flags)

    def timerfd_settime(self, fd: int, flags: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
        new = struct.pack("=qqqq", *divmod(interval_ns, _NSEC), *divmod(value_ns, _NSEC))
        old = ctypes.create_string_buffer(32)
        self._call(_libc.timerfd_settime, fd, flags, new, old)
        return self._itimerspec(old.raw)

    def timerfd_gettime(self, fd: int) -> tuple[int, int]:
        now = ctypes.create_string_buffer(32)
        self._call(_libc.timerfd_gettime, fd, now)
        return self._itimerspec(now.raw)

    @staticmethod
    def _itimerspec(raw: bytes) -> tuple[int, int]:
        t = struct.unpack("=qqqq", raw)
        return t[2] * _NSEC + t[3], t[0] * _NSEC + t[1]

    def clock_gettime(self, clock: int) -> int:
        t = _Timespec()
        if _libc.clock_gettime(clock, ctypes.byref(t)) < 0:
            _fail()
        return int(t.tv_sec) * _NSEC + int(t.tv_nsec)

    def cpu(self, ns: int) -> None:
        """Burns that much CPU time of this thread."""
        until = self.clock_gettime(3) + ns  # CLOCK_THREAD_CPUTIME_ID
        while self.clock_gettime(3) < until:
            for _ in _SPIN:  # in user mode, nearly all of it
                pass

    # -- readiness --

    def ppoll(
        self, fds: Sequence[tuple[int, int]], timeout_ns: int | None = None, sigmask: Iterable[int] | None = None
    ) -> list[tuple[int, int]]:
        array = (_Pollfd * len(fds))(*[_Pollfd(fd, events, 0) for fd, events in fds])
        mask = None if sigmask is None else sigset(sigmask)
        self._call(_libc.ppoll, array, ctypes.c_ulong(len(fds)), _timespec(timeout_ns), mask, restart=False)
        return [(p.fd, p.revents & 0xFFFF) for p in array if p.revents]

    def poll(self, fds: Sequence[tuple[int, int]], timeout_ms: int = -1) -> list[tuple[int, int]]:
        return self.ppoll(fds, None if timeout_ms < 0 else timeout_ms * 1_000_000)

    def pselect6(
        self, nfds: int, readfds: Any = (), writefds: Any = (), exceptfds: Any = (), timeout_ns: int | None = None,
        sigmask: Iterable[int] | None = None,
    ) -> tuple[list[int], list[int], list[int]]:  # fmt: skip
        sets = []
        for given in (readfds, writefds, exceptfds):
            words = (ctypes.c_ulong * 16)()
            for fd in given or ():
                if fd < nfds:
                    words[fd // 64] |= 1 << fd % 64
            sets.append(words)
        mask = None if sigmask is None else sigset(sigmask)
        self._call(_libc.pselect, nfds, *sets, _timespec(timeout_ns), mask, restart=False)
        found = [[fd for fd in range(min(nfds, 1024)) if words[fd // 64] >> fd % 64 & 1] for words in sets]
        return found[0], found[1], found[2]

    def epoll_create1(self, flags: int = 0) -> int:
        return self._call(_libc.epoll_create1, flags)

    def epoll_ctl(self, ep: int, op: int, fd: int, events: int = 0, data: int = 0) -> None:
        event = _EpollEvent(events & 0xFFFFFFFF, data & 0xFFFFFFFFFFFFFFFF)
        self._call(_libc.epoll_ctl, ep, op, fd, ctypes.byref(event))

    def epoll_pwait(
        self, ep: int, maxevents: int, timeout_ms: int = -1, sigmask: Iterable[int] | None = None
    ) -> list[tuple[int, int]]:
        events = (_EpollEvent * max(maxevents, 1))()
        mask = None if sigmask is None else sigset(sigmask)
        count = self._call(_libc.epoll_pwait, ep, events, maxevents, timeout_ms, mask, restart=False)
        return [(events[i].data, events[i].events) for i in range(count)]

    def epoll_pwait2(
        self, ep: int, maxevents: int, timeout_ns: int | None = None, sigmask: Iterable[int] | None = None
    ) -> list[tuple[int, int]]:
        events = (_EpollEvent * max(maxevents, 1))()
        mask = None if sigmask is None else sigset(sigmask)
        count = self._call(_libc.epoll_pwait2, ep, events, maxevents, _timespec(timeout_ns), mask, restart=False)
        return [(events[i].data, events[i].events) for i in range(count)]

    epoll_wait = epoll_pwait

    def epoll_create(self, size: int = 1) -> int:
        return self._call(_libc.epoll_create, size)

    def eventfd2(self, initial: int = 0, flags: int = 0) -> int:
        return self._call(_libc.eventfd, ctypes.c_uint(initial), flags)


for _name in ("read", "write", "getdents64"):
    getattr(_libc, _name).restype = ctypes.c_ssize_t


_SPIN = range(1000)
_held = ctypes.PyDLL(None, use_errno=True)
_GETCWD = {"x86_64": 79}.get(os.uname().machine, 17)
_CLONE = {"x86_64": 56}.get(os.uname().machine, 220)


class _ThreadExit(BaseException):
    """One thread ends."""


_TIMED = {"read": 20, "recvfrom": 20, "recvmsg": 20, "accept4": 20, "write": 21, "sendto": 21, "sendmsg": 21}
"""Calls that SO_RCVTIMEO (20) or SO_SNDTIMEO (21) bounds."""


def _or_zero(call: Callable[..., Any]) -> Callable[..., Any]:
    """What only succeeds gives 0, as the system call does."""

    @functools.wraps(call)
    def zero(*args: Any, **kw: Any) -> int:
        call(*args, **kw)
        return 0

    return zero


for _class in (HostFiles, HostMemory, HostProcess, HostSignals, HostSockets, HostSystem):
    for _name, _member in list(vars(_class).items()):
        if not _name.startswith("_") and getattr(_member, "__annotations__", {}).get("return") == "None":
            setattr(_class, _name, _or_zero(_member))


def _same(name: str) -> Callable[..., Any]:
    """Calls whose Python function in `os` has the ABI's very signature, and never sleeps."""
    function = getattr(os, name)

    def call(self: HostSystem, *args: Any) -> Any:
        try:
            result = function(*args)
        except (ValueError, OverflowError) as mistake:  # Python's own, before the kernel sees it
            raise OSError(errno.EINVAL, str(mistake)) from None
        return 0 if result is None else result

    call.__name__ = name
    return call


_SAME = """
    getpid getppid setpgid getpgrp getuid geteuid getgid getegid setuid setgid setreuid setregid
    setresuid setresgid getgroups setgroups setpriority sched_setaffinity
"""
for _name in _SAME.split():
    if hasattr(os, _name):
        setattr(HostSystem, _name, _same(_name))
