"""A machine for the script runner that is reached only through packetdrill's shared-object interface, as packetdrill
itself would: every system call and packet of a script crosses the library, its socket pair and the server.

Calls that may block are made from a second thread, as packetdrill makes them: one at a time, and only the calls that
packetdrill knows. Every other wait is that thread's too, as far as it is free: packetdrill waits there for the moment
of a call. Files are the host's, TCP_INFO for code comes from the library's getsockopt(), commands go to its system().
"""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import shutil
import struct
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernel import abi
from tools.packetdrill.calls import Caller, Endpoints
from tools.packetdrill.commands import Route
from tools.packetdrill.host import TCP_INFO_SIZE, Call, Host
from tools.packetdrill.script import SystemCall
from tools.packetdrill.so.server import address, control, parse_control, sockaddr
from tools.packetdrill.values import CallMismatch, UnsupportedCall

NAMES = (
    "free", "socket", "bind", "listen", "accept", "connect", "read", "readv", "recv", "recvfrom", "recvmsg", "write",
    "writev", "send", "sendto", "sendmsg", "fcntl", "ioctl", "close", "shutdown", "getsockopt", "setsockopt", "poll",
    "netdev_send", "netdev_receive", "usleep", "gettimeofday", "epoll_create", "epoll_ctl", "epoll_wait", "pipe",
    "splice",
)  # fmt: skip
SPIN_US = 20
CALLS = set(NAMES) - {"free", "netdev_send", "netdev_receive", "usleep", "gettimeofday"} | {"open", "sendfile"}
"""What packetdrill makes of a script's calls (cap_set() is the host's business)."""
RECVFROM = "45 "
"""The number of the system call in which a thread of the library waits for its answer."""


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]  # fmt: skip


class Interface:
    """`struct packetdrill_interface`, filled in by the library."""

    def __init__(self, library: Path, flags: str) -> None:
        self.copy = Path(tempfile.mkdtemp()) / "lib.so"  # its own variables for each run
        shutil.copy(library, self.copy)
        self.lib = ctypes.CDLL(str(self.copy), mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND, use_errno=True)
        table = (ctypes.c_void_p * (1 + len(NAMES)))()
        self.lib.packetdrill_interface_init(flags.encode(), ctypes.byref(table))
        self.user = ctypes.c_void_p(table[0])
        prototype = ctypes.CFUNCTYPE(ctypes.c_ssize_t, use_errno=True)
        self.functions = {name: prototype(at) for name, at in zip(NAMES, table[1:])}
        self.lib.system.argtypes = [ctypes.c_char_p]
        self.lib.sendfile.restype = ctypes.c_ssize_t

    def call(self, name: str, *args: Any) -> int:
        function = self.functions[name]
        result = int(function(self.user, *args))
        if name not in WIDE:
            result = ctypes.c_int(result).value
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def close(self) -> None:
        self.functions["free"](self.user)
        shutil.rmtree(self.copy.parent)


WIDE = {"read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send", "sendto", "sendmsg"}


class SoSystem:
    """What `Caller` calls, made of the interface's functions."""

    def __init__(self, interface: Interface) -> None:
        self.ifc = interface
        self.call = interface.call

    def socket(self, domain: int, type: int, proto: int) -> int:
        return self.call("socket", domain, type, proto)

    def bind(self, fd: int, addr: Any) -> None:
        raw = sockaddr(addr)
        self.call("bind", fd, raw, len(raw))

    def connect(self, fd: int, addr: Any) -> None:
        raw = sockaddr(addr) or bytes(128)  # AF_UNSPEC, and a struct sockaddr_storage
        self.call("connect", fd, raw, len(raw))

    def listen(self, fd: int, backlog: int) -> None:
        self.call("listen", fd, backlog)

    def accept4(self, fd: int, flags: int) -> tuple[int, Any]:
        raw, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        got = self.call("accept", fd, raw, ctypes.byref(size))
        return got, address(raw.raw[: size.value])

    def read(self, fd: int, n: int) -> bytes:
        if n % 2:  # by the other way round, half of the time
            parts = [ctypes.create_string_buffer(n // 2 + 1), ctypes.create_string_buffer(n)]
            iov = (Iovec * 2)(*(Iovec(ctypes.addressof(part), size) for part, size in zip(parts, (n // 2, n - n // 2))))
            got = self.call("readv", fd, iov, 2)
            return (parts[0].raw[: n // 2] + parts[1].raw)[:got]
        data = ctypes.create_string_buffer(n + 1)
        return data.raw[: self.call("read", fd, data, ctypes.c_size_t(n))]

    def write(self, fd: int, data: Any) -> int:
        if data is None:
            return self.call("write", fd, None, ctypes.c_size_t(1))
        raw = bytes(data)
        if len(raw) % 2:
            half = len(raw) // 2
            parts = [ctypes.create_string_buffer(raw[:half], half or 1), ctypes.create_string_buffer(raw[half:])]
            iov = (Iovec * 2)(
                Iovec(ctypes.addressof(parts[0]), half), Iovec(ctypes.addressof(parts[1]), len(raw) - half)
            )  # fmt: skip
            return self.call("writev", fd, iov, 2)
        return self.call("write", fd, raw, ctypes.c_size_t(len(raw)))

    def recvfrom(self, fd: int, n: int, flags: int = 0) -> tuple[bytes, Any]:
        data = ctypes.create_string_buffer(n + 1)
        raw, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        got = self.call("recvfrom", fd, data, ctypes.c_size_t(n), flags, raw, ctypes.byref(size))
        return data.raw[:got], address(raw.raw[: size.value]) if 0 < size.value < 128 else None

    def sendto(self, fd: int, data: Any, flags: int = 0, addr: Any = None) -> int:
        raw = None if data is None else bytes(data)
        size = ctypes.c_size_t(1 if raw is None else len(raw))
        if addr is None:
            return self.call("send", fd, raw, size, flags)
        name = sockaddr(addr)
        return self.call("sendto", fd, raw, size, flags, name, len(name))

    def _message(self, data: Any, name: Any, beside: Any) -> Msghdr:
        iov = Iovec(ctypes.addressof(data), len(data) - 1)
        return Msghdr(
            ctypes.cast(name, ctypes.c_void_p) if name else None, len(name) - 1 if name else 0, ctypes.pointer(iov), 1,
            ctypes.cast(beside, ctypes.c_void_p) if beside else None, len(beside) - 1 if beside else 0, 0,
        )  # fmt: skip

    def sendmsg(self, fd: int, buffers: Any, ancdata: Any = (), flags: int = 0, addr: Any = None) -> int:
        data = ctypes.create_string_buffer(b"".join(buffers))
        name = ctypes.create_string_buffer(sockaddr(addr)) if addr else None
        beside = ctypes.create_string_buffer(control(ancdata)) if ancdata else None
        message = self._message(data, name, beside)
        starts = [sum(map(len, buffers[:i])) for i in range(len(buffers))]
        message.iovlen = len(buffers)
        message.iov = (Iovec * len(buffers))(
            *(Iovec(ctypes.addressof(data) + start, len(one)) for start, one in zip(starts, buffers))
        )
        return self.call("sendmsg", fd, ctypes.byref(message), flags)

    def recvmsg(self, fd: int, n: int, room: int = 0, flags: int = 0) -> tuple[bytes, Any, int, Any]:
        data, name = ctypes.create_string_buffer(n + 1), ctypes.create_string_buffer(129)
        beside = ctypes.create_string_buffer(room + 1)
        message = self._message(data, name, beside)
        got = self.call("recvmsg", fd, ctypes.byref(message), flags)
        peer = address(name.raw[: message.namelen]) if message.namelen else None
        return data.raw[:got], parse_control(beside.raw[: message.controllen]), message.flags, peer

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        return self.call("fcntl", fd, command, ctypes.c_long(argument))

    def ioctl(self, fd: int, request: int, argument: Any = 0) -> int:
        value = ctypes.c_int()
        self.call("ioctl", fd, ctypes.c_ulong(request), ctypes.byref(value))
        return value.value

    def shutdown(self, fd: int, how: int) -> None:
        self.call("shutdown", fd, how)

    def close(self, fd: int) -> None:
        self.call("close", fd)

    def setsockopt(self, fd: int, level: int, name: int, value: Any) -> None:
        raw = struct.pack("=I", value & 0xFFFFFFFF) if isinstance(value, int) else bytes(value)
        self.call("setsockopt", fd, level, name, raw, len(raw))

    def getsockopt(self, fd: int, level: int, name: int, n: int | None = None) -> Any:
        room = 4 if n is None else n
        raw, size = ctypes.create_string_buffer(room + 1), ctypes.c_uint(room)
        self.call("getsockopt", fd, level, name, raw, ctypes.byref(size))
        return int.from_bytes(raw.raw[:4], "little", signed=True) if n is None else raw.raw[: size.value]

    def ppoll(self, asked: Any, timeout: int | None) -> list[tuple[int, int]]:
        raw = ctypes.create_string_buffer(b"".join(struct.pack("=ihh", fd, mask, 0) for fd, mask in asked))
        self.call("poll", raw, ctypes.c_ulong(len(asked)), -1 if timeout is None else timeout // 1_000_000)
        entries = [struct.unpack_from("=ihh", raw.raw, 8 * at) for at in range(len(asked))]
        return [(fd, mask & 0xFFFF) for fd, _, mask in entries if mask]

    def epoll_create1(self, flags: int) -> int:
        return self.call("epoll_create", 1)

    def epoll_ctl(self, ep: int, op: int, fd: int, mask: int, cookie: int) -> None:
        self.call("epoll_ctl", ep, op, fd, struct.pack("=IQ", mask, cookie))

    def epoll_pwait(self, ep: int, most: int, timeout: int) -> list[tuple[int, int]]:
        raw = ctypes.create_string_buffer(12 * most)
        count = self.call("epoll_wait", ep, raw, most, timeout)
        return [struct.unpack_from("=IQ", raw.raw, 12 * at)[::-1] for at in range(count)]

    def pipe2(self, flags: int) -> tuple[int, int]:
        ends = (ctypes.c_int * 2)()
        self.call("pipe", ends)
        return ends[0], ends[1]

    def splice(self, into: int, in_at: Any, out: int, out_at: Any, size: int, flags: int) -> int:
        return self.call("splice", into, None, out, None, ctypes.c_size_t(size), flags)

    def getsockname(self, fd: int) -> Any:
        raise UnsupportedCall("getsockname: packetdrill has it not")

    getpeername = getsockname

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def sendfile(self, out: int, source: int, offset: int | None, count: int) -> int:
        at = ctypes.c_int64(offset or 0)
        place = None if offset is None else ctypes.byref(at)
        result = int(self.ifc.lib.sendfile(out, source, place, ctypes.c_size_t(count)))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result


def machine(library: Path, more: str = "", anywhere: bool = False) -> Callable[..., SoMachine]:
    """What the runner takes for a kind of machine. `more`: further flags; `anywhere`: it is not told its address."""

    def make(ends: Endpoints, mtu: int, settings: dict[str, str], route: Route, whole: bool = False) -> SoMachine:
        where = "" if anywhere else f"local6={ends.local}," if ends.v6 else f"local={ends.local},"
        flags = f"{where}mtu={mtu},strict_segments={int(whole)}{more}"
        return SoMachine(library, ends, flags, settings, route)

    make.check = Host.check  # type: ignore[attr-defined]
    return make


class Worker:
    """packetdrill's second thread."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.free = threading.Event()
        self.free.set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()
            self.free.set()

    def do(self, job: Callable[[], None]) -> None:
        self.free.clear()
        self.jobs.put(job)

    def settle(self) -> None:
        """Until it is done, or waits for the machine."""
        while not self.free.is_set():
            state = Path(f"/proc/self/task/{self.thread.native_id}/syscall")
            try:
                if state.read_text().startswith(RECVFROM):
                    return
            except OSError:  # a host without it: long enough
                self.free.wait(0.05)
                return
            time.sleep(0)


class SoMachine:
    """What `host.Host` is to the runner."""

    def __init__(self, library: Path, ends: Endpoints, flags: str, settings: dict[str, str], route: Route) -> None:
        self.ends = ends
        self.ifc = Interface(library, flags)
        self.sys = SoSystem(self.ifc)
        self.caller = Caller(self.sys, ends)
        self.sent: deque[tuple[int, bytes]] = deque()
        self.history: list[tuple[int, str, bytes]] = []
        self.worker = Worker()
        self.waits = 0
        self.start = 0
        self.start = self.now + 250_000  # as packetdrill does
        ends.begun_ns = self.start
        for name, value in settings.items():
            self.set_sysctl(name, value)
        self.queue = route.queue
        self.update_route(route)
        self._wait(0)

    @property
    def now(self) -> int:
        self.ifc.functions["shutdown"](self.ifc.user, -1, 0)  # no more than a sign of life: readings are free again
        return self.read_clock()

    def read_clock(self) -> int:
        seconds = (ctypes.c_long * 2)()
        self.ifc.call("gettimeofday", seconds, None)
        return (seconds[0] * 1_000_000 + seconds[1]) * 1000 - self.start

    def set_sysctl(self, name: str, value: str) -> None:
        if self.ifc.lib.system(f'sysctl -q {name}="{value}"'.encode()):
            raise KeyError(name)

    def update_route(self, route: Route, first: bool = False) -> None:
        words = []
        for name, value in route.attributes.items():
            if name.endswith("_lock"):
                continue
            text = f"{value // 1000}us" if name == "rto_min" and isinstance(value, int) else str(value)
            words.append(f"{name} lock {text}" if route.attributes.get(name + "_lock") else f"{name} {text}")
        if words:
            assert not self.ifc.lib.system(f"ip route replace default dev tun0 {' '.join(words)}".encode())
        if not route.gso:
            assert not self.ifc.lib.system(b"ethtool -K tun0 gso off tso off")
        if route.queue != self.queue:
            self.queue = route.queue
            assert not self.ifc.lib.system(f"tc qdisc replace dev tun0 root pfifo limit {self.queue}".encode())

    def advance(self, until: int) -> None:
        self.waits += 1
        if self.waits % 2 and self.worker.free.is_set():
            self.worker.do(lambda: self._wait(until))
            self.worker.free.wait()
        else:
            self._wait(until)
            self.settle()

    def _wait(self, until: int) -> None:
        while (wait := (until - self.now) // 1000) > SPIN_US:
            self.ifc.functions["usleep"](self.ifc.user, min(wait, 2_000_000_000) - SPIN_US)
        while self.read_clock() < until:
            pass

    def advance_to_packet(self, limit: int) -> bool:
        packet, size, when = ctypes.create_string_buffer(65536), ctypes.c_size_t(65536), ctypes.c_longlong()
        self.ifc.call("netdev_receive", packet, ctypes.byref(size), ctypes.byref(when))
        if size.value:
            now = when.value * 1000 - self.start
            self.sent.append((now, packet.raw[: size.value]))
            self.history.append((now, "out", packet.raw[: size.value]))
        self.settle()
        return bool(self.sent)

    def settle(self) -> None:
        self.worker.settle()

    def inject(self, image: bytes, mss: int = 0, payload: int = 0) -> None:
        self.ifc.call("netdev_send", image, ctypes.c_size_t(len(image)))
        self.settle()

    def call(self, call: SystemCall) -> Call:
        def work(sys: Any) -> None:
            Caller(sys, self.ends, self.caller.fds).perform(call)

        job = Call(work, call.end is not None)
        if call.name not in CALLS:
            job.unsupported, job.finished = f"{call.name}: packetdrill cannot say that", True
        elif not job.blocks:
            self._carry_out(job)
        elif self.worker.free.is_set():
            self.worker.do(lambda: self._carry_out(job))
            self.settle()
        else:
            job.unsupported, job.finished = "packetdrill makes one call that blocks at a time", True
        return job

    def _carry_out(self, job: Call) -> None:
        try:
            job.work(self.sys)
        except CallMismatch as trouble:
            job.error = str(trouble)
        except UnsupportedCall as trouble:
            job.unsupported = str(trouble)
        job.finished_at = self.read_clock()
        job.finished = True

    def option(self, script_fd: int, level: int, name: int, size: int) -> bytes:
        """As packetdrill gets it for code."""
        live = self.caller.fds.get(script_fd, script_fd)
        raw, room = ctypes.create_string_buffer(size + 1), ctypes.c_uint(size)
        if self.ifc.lib.getsockopt(live, level, name, raw, ctypes.byref(room)):
            assert ctypes.get_errno() in (errno.ENOPROTOOPT, errno.EBADF, errno.EOPNOTSUPP)
            return b""
        return raw.raw[: room.value]

    def tcp_info(self, script_fd: int) -> bytes:
        return self.option(script_fd, abi.IPPROTO_TCP, abi.TCP_INFO, TCP_INFO_SIZE)

    def explain(self) -> None:
        pass

    def save_capture(self, path: str) -> None:
        pass

    def close(self) -> None:
        self.ifc.close()
        self.worker.jobs.put(None)
