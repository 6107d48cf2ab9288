"""`HostSystem`: the object `sys` of the Python ABI, made of the host's own system calls through its C library.

Calls that may sleep go through ctypes and not through `os`: Python's own wrappers restart after EINTR (PEP 475), and
whether a call restarts is exactly what a program may want to see. A handler is run by the interpreter right after the
interrupted call returned; then the call is made again if the handler was installed with SA_RESTART and the call is
one that Linux restarts (signal(7)).

Weaker than a real handler, and said here: a signal that arrives between two bytecodes just before a sleeping call is
handled after that call; real-time signals with a handler coalesce, and `info` carries the signal's number only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl as host_fcntl
import os
import resource
import signal as host_signal
import socket as host_socket
import struct
import sys as interpreter
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from tools.program import ExitStatus, load_program
from tools.sockaddr import Address, pack_address, unpack_address

_libc = ctypes.CDLL(None, use_errno=True)
_EINTR = errno.EINTR
_SA_RESTART, _SA_NODEFER, _SA_RESETHAND = 0x10000000, 0x40000000, 0x80000000
_CLONE_VM, _CLONE_THREAD = 0x100, 0x10000
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


class SignalInfo:
    """What a handler is told: only `si_signo` is known here."""

    __slots__ = ("si_code", "si_pid", "si_signo", "si_uid", "si_value")

    def __init__(self, signo: int) -> None:
        self.si_signo = signo
        self.si_code = self.si_pid = self.si_uid = self.si_value = 0


def _timespec(ns: int | None) -> Any:
    return None if ns is None else ctypes.byref(_Timespec(ns // _NSEC, ns % _NSEC))


def _fail(what: object = None) -> NoReturn:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code)) if what is None else OSError(code, os.strerror(code), what)


class Memory:
    """`sys.mem`: the process's own memory. A wild address is a real SIGSEGV, as the ABI says."""

    __slots__ = ()

    def __getitem__(self, where: int | slice) -> Any:
        if isinstance(where, slice):
            return ctypes.string_at(where.start, where.stop - where.start)
        return ctypes.c_ubyte.from_address(where).value

    def __setitem__(self, where: int | slice, value: Any) -> None:
        if isinstance(where, slice):
            data = bytes(value)
            if len(data) != where.stop - where.start:
                raise ValueError("a store to sys.mem[a:b] takes exactly b - a bytes")
            ctypes.memmove(where.start, data, len(data))
        else:
            ctypes.c_ubyte.from_address(where).value = value


class HostSystem:
    """The ABI object `sys`, on the host. Methods are system calls: see signatures in DESIGN, "The Python ABI"."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        self.environ = dict(os.environ if environ is None else environ)
        self.mem = Memory()
        self._handlers: dict[int, tuple[Any, int, tuple[int, ...]]] = {}
        self._interrupted = False
        self._atomic = os.memfd_create("terrella-atomic") if hasattr(os, "memfd_create") else -1
        if self._atomic >= 0:  # out of the way of "lowest free descriptor"
            high = host_fcntl.fcntl(self._atomic, host_fcntl.F_DUPFD_CLOEXEC, 1000)
            os.close(self._atomic)
            self._atomic = high

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

    # -- files --

    def open(self, path: Any, flags: int, mode: int = 0o666) -> int:
        raw = os.fsencode(path)
        while True:
            fd: int = _libc.open(raw, ctypes.c_int(flags), ctypes.c_uint(mode))
            if fd >= 0:
                return fd
            if ctypes.get_errno() != _EINTR or self._interrupted:
                _fail(path)

    def openat(self, dirfd: int, path: Any, flags: int, mode: int = 0o666) -> int:
        fd: int = _libc.openat(dirfd, os.fsencode(path), ctypes.c_int(flags), ctypes.c_uint(mode))
        return fd if fd >= 0 else _fail(path)

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

    def readv(self, fd: int, sizes: Sequence[int]) -> list[bytes]:
        buffers = [bytearray(n) for n in sizes]
        left = os.readv(fd, buffers)
        result = []
        for buffer in buffers:
            result.append(bytes(buffer[:left]))
            left = max(0, left - len(buffer))
        return result

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        return os.writev(fd, buffers)

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

    def fcntl(self, fd: int, cmd: int, arg: Any = 0) -> Any:
        return host_fcntl.fcntl(fd, cmd, arg)

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> Any:
        return host_fcntl.ioctl(fd, request, arg)

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

    def ftruncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def truncate(self, path: Any, length: int) -> None:
        os.truncate(path, length)

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
        return os.getcwd()

    def statfs(self, path: Any) -> os.statvfs_result:
        return os.statvfs(path)

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        os.mkdir(path, mode)

    def mknod(self, path: Any, mode: int = 0o600, device: int = 0) -> None:
        os.mknod(path, mode, device)

    def access(self, path: Any, mode: int) -> None:
        if _libc.access(os.fsencode(path), mode) < 0:
            _fail(path)

    def utimensat(self, path: Any, atime_ns: int, mtime_ns: int) -> None:
        os.utime(path, ns=(atime_ns, mtime_ns))

    def rename(self, old: Any, new: Any) -> None:
        os.rename(old, new)

    def link(self, old: Any, new: Any) -> None:
        os.link(old, new, follow_symlinks=False)

    # -- processes --

    def spawn(self, function: Callable[..., Any], *args: Any) -> int:
        interpreter.stdout.flush()
        interpreter.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        self.become(function, args)

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
        os._exit(status & 0xFF)

    def clone(self, function: Callable[..., Any], *args: Any, flags: int = 0) -> int:
        if not flags & _CLONE_THREAD:
            if flags & _CLONE_VM:
                raise OSError(errno.ENOSYS, "--on-linux, clone with CLONE_VM needs CLONE_THREAD too")
            return self.spawn(function, *args)
        thread = threading.Thread(target=function, args=(self, *args), daemon=True)
        thread.start()
        return thread.native_id or 0

    def execve(self, path: Any, argv: Sequence[str], envp: dict[str, str] | None = None) -> NoReturn:
        """A `.py` file is run by this same interpreter (the host knows no such format); anything else by the host."""
        if os.fspath(path).endswith(".py"):
            main = load_program(os.fspath(path))
            if envp is not None:
                self.environ = dict(envp)
            for number, (handler, _, _) in list(self._handlers.items()):
                if callable(handler):
                    self.rt_sigaction(number, host_signal.SIG_DFL)
            self.become(main, [list(argv)])
        os.execve(path, list(argv), dict(self.environ if envp is None else envp))

    def exit(self, status: int = 0) -> NoReturn:
        raise ExitStatus(status)

    exit_group = exit

    def wait4(self, pid: int = -1, options: int = 0) -> tuple[int, int, resource.struct_rusage]:
        status, usage = ctypes.c_int(), _Rusage()
        got = self._call(_libc.wait4, pid, ctypes.byref(status), options, ctypes.byref(usage))
        t = usage.times
        values = (t[0] + t[1] / 1e6, t[2] + t[3] / 1e6, *usage.counts)
        return got, status.value, resource.struct_rusage(values)

    def gettid(self) -> int:
        return threading.get_native_id()

    def setsid(self) -> int:
        os.setsid()
        return os.getpid()

    def sched_yield(self) -> None:
        os.sched_yield()

    def prlimit64(self, pid: int, which: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        return resource.prlimit(pid, which) if limits is None else resource.prlimit(pid, which, limits)

    def prctl(self, option: int, *args: int) -> int:
        return self._call(_libc.prctl, option, *(ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)[:4]))

    def uname(self) -> os.uname_result:
        return os.uname()

    def getrandom(self, n: int, flags: int = 0) -> bytes:
        return os.getrandom(n, flags)

    # -- signals --

    def kill(self, pid: int, sig: int) -> None:
        os.kill(pid, sig)

    def tgkill(self, tgid: int, tid: int, sig: int) -> None:
        if tid == threading.get_native_id():
            host_signal.pthread_kill(threading.get_ident(), sig)
        else:
            os.kill(tid, sig)

    def rt_sigaction(self, sig: int, handler: Any = None, flags: int = 0, mask: Iterable[int] = ()) -> Any:
        """The old disposition: SIG_DFL (0), SIG_IGN (1) or the handler. With no `handler` only asks."""
        old = self._handlers.get(sig, (None,))[0]
        if old is None:
            previous = host_signal.getsignal(sig)
            old = int(previous) if isinstance(previous, int) else 0
        if handler is None:
            return old
        if not callable(handler):
            host_signal.signal(sig, host_signal.Handlers(int(handler)))
            self._handlers.pop(sig, None)
        else:
            self._handlers[sig] = (handler, flags, tuple(mask))
            host_signal.signal(sig, self._on_signal)
        extra = flags & 0x3  # SA_NOCLDSTOP, SA_NOCLDWAIT
        if extra:
            action = ctypes.create_string_buffer(256)
            _libc.sigaction(sig, None, action)
            offset = 8 + 128  # struct sigaction of glibc on 64 bits: handler, mask[128], flags
            (now,) = struct.unpack_from("=i", action, offset)
            struct.pack_into("=i", action, offset, now | extra)
            _libc.sigaction(sig, action, None)
        return old

    def _on_signal(self, signum: int, frame: object) -> None:
        handler, flags, mask = self._handlers.get(signum, (None, 0, ()))
        if handler is None:
            return
        if not flags & _SA_RESTART:
            self._interrupted = True
        if flags & _SA_RESETHAND:
            self.rt_sigaction(signum, host_signal.SIG_DFL)
        blocked = list(mask) if flags & _SA_NODEFER else [*mask, signum]
        old = host_signal.pthread_sigmask(host_signal.SIG_BLOCK, blocked)
        interrupted = self._interrupted
        try:
            handler(self, signum, SignalInfo(signum))
        finally:
            self._interrupted = interrupted
            host_signal.pthread_sigmask(host_signal.SIG_SETMASK, old)

    def rt_sigprocmask(self, how: int, signals: Iterable[int] = ()) -> set[int]:
        return {int(s) for s in host_signal.pthread_sigmask(how, signals)}

    def rt_sigpending(self) -> set[int]:
        return {int(s) for s in host_signal.sigpending()}

    def rt_sigsuspend(self, signals: Iterable[int] = ()) -> NoReturn:
        mask = (ctypes.c_ulong * 16)()
        for number in signals:
            mask[(number - 1) // 64] |= 1 << ((number - 1) % 64)
        _libc.sigsuspend(mask)
        _fail()

    def rt_sigtimedwait(self, signals: Iterable[int], timeout_ns: int | None = None) -> Any:
        if timeout_ns is None:
            return host_signal.sigwaitinfo(signals)
        info = host_signal.sigtimedwait(signals, timeout_ns / _NSEC)
        if info is None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return info

    def pause(self) -> NoReturn:
        _libc.pause()
        _fail()

    def alarm(self, seconds: int) -> int:
        return host_signal.alarm(seconds)

    # -- time --

    def nanosleep(self, ns: int) -> None:
        self._call(_libc.nanosleep, _timespec(ns), None, restart=False)

    def clock_nanosleep(self, clock: int, flags: int, ns: int) -> None:
        code = _libc.clock_nanosleep(clock, flags, _timespec(ns), None)
        if code:
            raise OSError(code, os.strerror(code))

    def clock_gettime(self, clock: int) -> int:
        t = _Timespec()
        if _libc.clock_gettime(clock, ctypes.byref(t)) < 0:
            _fail()
        return int(t.tv_sec) * _NSEC + int(t.tv_nsec)

    def cpu(self, ns: int) -> None:
        """Burns that much CPU time of this thread."""
        until = self.clock_gettime(3) + ns  # CLOCK_THREAD_CPUTIME_ID
        while self.clock_gettime(3) < until:
            pass

    # -- readiness --

    def ppoll(self, fds: Sequence[tuple[int, int]], timeout_ns: int | None = None) -> list[tuple[int, int]]:
        array = (_Pollfd * len(fds))(*[_Pollfd(fd, events, 0) for fd, events in fds])
        self._call(_libc.ppoll, array, ctypes.c_ulong(len(fds)), _timespec(timeout_ns), None, restart=False)
        return [(p.fd, p.revents & 0xFFFF) for p in array if p.revents]

    def epoll_create1(self, flags: int = 0) -> int:
        return self._call(_libc.epoll_create1, flags)

    def epoll_ctl(self, ep: int, op: int, fd: int, events: int = 0, data: int = 0) -> None:
        event = _EpollEvent(events & 0xFFFFFFFF, data & 0xFFFFFFFFFFFFFFFF)
        self._call(_libc.epoll_ctl, ep, op, fd, ctypes.byref(event))

    def epoll_pwait(self, ep: int, maxevents: int, timeout_ms: int = -1) -> list[tuple[int, int]]:
        events = (_EpollEvent * max(maxevents, 1))()
        count = self._call(_libc.epoll_wait, ep, events, maxevents, timeout_ms, restart=False)
        return [(events[i].data, events[i].events) for i in range(count)]

    def eventfd2(self, initial: int = 0, flags: int = 0) -> int:
        return self._call(_libc.eventfd, ctypes.c_uint(initial), flags)

    # -- sockets --

    def socket(self, domain: int, type: int, proto: int = 0) -> int:
        return self._call(_libc.socket, domain, type, proto)

    def socketpair(self, domain: int, type: int, proto: int = 0) -> tuple[int, int]:
        pair = (ctypes.c_int * 2)()
        self._call(_libc.socketpair, domain, type, proto, pair)
        return pair[0], pair[1]

    def _family(self, fd: int) -> int:
        family, size = ctypes.c_int(), ctypes.c_uint(4)
        self._call(_libc.getsockopt, fd, 1, 39, ctypes.byref(family), ctypes.byref(size))  # SO_DOMAIN
        return family.value

    def bind(self, fd: int, addr: Address) -> None:
        raw = pack_address(self._family(fd), addr)
        self._call(_libc.bind, fd, raw, len(raw))

    def listen(self, fd: int, backlog: int = 128) -> None:
        self._call(_libc.listen, fd, backlog)

    def accept4(self, fd: int, flags: int = 0) -> tuple[int, Address]:
        buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        new = self._call(_libc.accept4, fd, buffer, ctypes.byref(size), flags)
        return new, unpack_address(buffer.raw[: size.value])

    def accept(self, fd: int) -> tuple[int, Address]:
        return self.accept4(fd)

    def connect(self, fd: int, addr: Address) -> None:
        raw = pack_address(self._family(fd), addr)
        self._call(_libc.connect, fd, raw, len(raw), restart=False)

    def _named(self, function: Any, fd: int) -> Address:
        buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        self._call(function, fd, buffer, ctypes.byref(size))
        return unpack_address(buffer.raw[: size.value])

    def getsockname(self, fd: int) -> Address:
        return self._named(_libc.getsockname, fd)

    def getpeername(self, fd: int) -> Address:
        return self._named(_libc.getpeername, fd)

    def sendto(self, fd: int, data: Any, flags: int = 0, addr: Address = None) -> int:
        raw = data if isinstance(data, bytes) else bytes(data)
        to = b"" if addr is None else pack_address(self._family(fd), addr)
        return self._call(_send, fd, raw, len(raw), flags, to or None, len(to))

    def recvfrom(self, fd: int, n: int, flags: int = 0) -> tuple[bytes, Address]:
        buffer = ctypes.create_string_buffer(n)
        name, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        got = self._call(_receive, fd, buffer, n, flags, name, ctypes.byref(size))
        return ctypes.string_at(buffer, got), unpack_address(name.raw[: size.value])

    def _borrow(self, fd: int) -> host_socket.socket:
        return host_socket.socket(fileno=os.dup(fd))

    def sendmsg(self, fd: int, buffers: Any, ancdata: Any = (), flags: int = 0, addr: Address = None) -> int:
        with self._borrow(fd) as sock:
            return sock.sendmsg(buffers, ancdata, flags, addr)

    def recvmsg(self, fd: int, n: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, Any, int, Address]:
        with self._borrow(fd) as sock:
            return sock.recvmsg(n, ancbufsize, flags)

    def shutdown(self, fd: int, how: int) -> None:
        self._call(_libc.shutdown, fd, how)

    def setsockopt(self, fd: int, level: int, name: int, value: Any) -> None:
        raw = struct.pack("=i", value) if isinstance(value, int) else bytes(value)
        self._call(_libc.setsockopt, fd, level, name, raw, len(raw))

    def getsockopt(self, fd: int, level: int, name: int, n: int | None = None) -> Any:
        buffer, size = ctypes.create_string_buffer(n or 4), ctypes.c_uint(n or 4)
        self._call(_libc.getsockopt, fd, level, name, buffer, ctypes.byref(size))
        return struct.unpack("=i", buffer.raw)[0] if n is None else buffer.raw[: size.value]

    # -- memory --

    def mmap(self, addr: int, length: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
        result: int = _mmap(addr, length, prot, flags, fd, offset)
        return _fail() if result == ctypes.c_size_t(-1).value else result

    def munmap(self, addr: int, length: int) -> None:
        self._call(_libc.munmap, ctypes.c_void_p(addr), ctypes.c_size_t(length))

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        self._call(_libc.mprotect, ctypes.c_void_p(addr), ctypes.c_size_t(length), prot)

    def msync(self, addr: int, length: int, flags: int) -> None:
        self._call(_libc.msync, ctypes.c_void_p(addr), ctypes.c_size_t(length), flags)

    def madvise(self, addr: int, length: int, advice: int) -> None:
        self._call(_libc.madvise, ctypes.c_void_p(addr), ctypes.c_size_t(length), advice)

    @contextlib.contextmanager
    def _atomically(self) -> Any:
        """No other cas or fetch_add, of any process of the program, is in here (the GIL sees to its threads)."""
        if self._atomic < 0:
            yield
            return
        host_fcntl.lockf(self._atomic, host_fcntl.LOCK_EX)
        try:
            yield
        finally:
            host_fcntl.lockf(self._atomic, host_fcntl.LOCK_UN)

    def cas(self, addr: int, old: int, new: int) -> int:
        with self._atomically():
            word = ctypes.c_uint32.from_address(addr)
            seen = word.value
            if seen == old:
                word.value = new
            return seen

    def fetch_add(self, addr: int, n: int) -> int:
        with self._atomically():
            word = ctypes.c_uint32.from_address(addr)
            seen = word.value
            word.value = seen + n
            return seen


_mmap = _libc.mmap
_mmap.restype = ctypes.c_size_t
_mmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for _name in ("read", "write", "getdents64", "sendto", "recvfrom"):
    getattr(_libc, _name).restype = ctypes.c_ssize_t
_SIZED: list[Any] = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p]
_send, _receive = _libc.sendto, _libc.recvfrom
_send.argtypes = [*_SIZED, ctypes.c_uint]
_receive.argtypes = [*_SIZED, ctypes.c_void_p]


def _same(name: str) -> Callable[..., Any]:
    """Calls whose Python function in `os` has the ABI's very signature, and never sleeps."""
    function = getattr(os, name)

    def call(self: HostSystem, *args: Any) -> Any:
        return function(*args)

    call.__name__ = name
    return call


_SAME = """
    rmdir unlink symlink readlink chmod chown chdir fchdir fchmod fchown lchown chroot getpid getppid getpgid setpgid
    getpgrp getsid getuid geteuid getgid getegid setuid setgid setreuid setregid setresuid setresgid getgroups setgroups
    getpriority setpriority sched_setaffinity sched_getaffinity setxattr getxattr listxattr removexattr
"""
for _name in _SAME.split():
    if hasattr(os, _name):
        setattr(HostSystem, _name, _same(_name))
