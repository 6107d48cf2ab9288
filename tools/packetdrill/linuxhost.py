"""The host's own kernel as the stack under test: `terrella packetdrill --on-linux`.

A script runs in real time, in a network namespace of its own, against a TUN device, as packetdrill itself would run
it. So a script can be shown to say what Linux does before this stack is held to it. It needs root; what a busy host
adds to times is the tolerance's (30 ms at least, whatever the script says).

Namespace, device and the sockets all belong to a child process, one per script: when it ends, they are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pickle
import select
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from drivers.clock import wall_ns
from kernel import abi
from netstack.settings import Settings
from tools.hostsystem import HostSystem
from tools.packetdrill import captures
from tools.packetdrill.calls import Caller, Endpoints
from tools.packetdrill.commands import Route
from tools.packetdrill.host import TCP_INFO_SIZE, Call
from tools.packetdrill.script import SystemCall
from tools.packetdrill.values import CallMismatch, UnsupportedCall

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
GLOBAL = frozenset({"net.ipv4.tcp_mem", "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_max_orphans"})
SPIN_NS = 300_000
PATIENCE = 30.0
"""How long a script may go on without saying anything, in seconds, before it is given up."""


class LinuxSystem(HostSystem):
    """The host's system calls; TCP sockets begin with the congestion control that a script expects of a machine."""

    cubic = True

    def socket(self, domain: int, type: int, proto: int = 0) -> int:
        fd = super().socket(domain, type, proto)
        if self.cubic and type & 0xF == abi.SOCK_STREAM:
            self.setsockopt(fd, abi.IPPROTO_TCP, 13, b"cubic")
        return fd

    def setsockopt(self, fd: int, level: int, name: int, value: Any) -> None:
        if isinstance(value, int) and value >= 1 << 31:
            value -= 1 << 32
        super().setsockopt(fd, level, name, value)


def namespace() -> None:
    """A network namespace of our own, with lo up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"a network namespace needs root: {os.strerror(code)}")
    ip("link", "set", "lo", "up")


def ip(*words: str) -> None:
    """One command of iproute2; what it complains of is the error."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class LinuxHost:
    """What `host.Host` is to the runner, made of the kernel we run on."""

    slack_usecs = 30_000
    """What a busy host and coarse timers add to times: no tolerance is less."""

    @staticmethod
    def check(name: str, value: str) -> None:
        """What the kernel takes it says itself."""

    def __init__(self, ends: Endpoints, mtu: int, settings: dict[str, str], route: Route, whole: bool = False) -> None:
        del whole
        self.ends = ends
        self.sent: deque[tuple[int, bytes]] = deque()
        self.history: list[tuple[int, str, bytes]] = []
        self.comments: dict[int, str] = {}  # the runner's
        self.start = wall_ns()
        namespace()
        self.ordinary()
        for name, value in settings.items():
            self.set_sysctl(name, value)
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
        with contextlib.suppress(OSError):
            self.set_sysctl("net.ipv6.conf.tun0.router_solicitations", "0")
            self.set_sysctl("net.ipv6.conf.tun0.accept_dad", "0")
        ip("link", "set", "tun0", "mtu", str(mtu), "up")
        prefix = 64 if ends.v6 else 16
        ip(*(["-6"] if ends.v6 else []), "addr", "add", f"{ends.local}/{prefix}", "dev", "tun0", *(["nodad"] * ends.v6))
        self.queue = 1000
        self.update_route(route)
        self.sys = LinuxSystem()
        self.caller = Caller(self.sys, ends)
        self.poller = select.poll()
        self.poller.register(self.tun, select.POLLIN)
        with contextlib.suppress(OSError):
            self.set_sysctl("net.ipv4.tcp_congestion_control", settings.get("net.ipv4.tcp_congestion_control", "cubic"))
            self.sys.cubic = False
        with contextlib.suppress(OSError):  # events have their times: we sleep mostly, but are not to be late
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        self.start = wall_ns()
        ends.begun_ns = self.sys.clock_gettime(abi.CLOCK_REALTIME)

    def ordinary(self) -> None:
        """Kernels are set up differently: begin with what this stack begins with, which is an ordinary Linux."""
        for name, value in Settings().as_dict().items():
            if name.startswith("net.ipv4.tcp_") and name not in GLOBAL:
                text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
                with contextlib.suppress(KeyError, OSError):
                    self.set_sysctl(name, text)

    @property
    def now(self) -> int:
        return wall_ns() - self.start

    def update_route(self, route: Route, first: bool = False) -> None:
        words: list[str] = []
        for name, value in route.attributes.items():
            if name.endswith("_lock"):
                continue
            text = f"{value // 1_000_000}ms" if name == "rto_min" and isinstance(value, int) else str(value)
            words += [name, "lock", text] if route.attributes.get(name + "_lock") else [name, text]
        version = "-6" if self.ends.v6 else "-4"
        ip(version, "route", "replace", "default", "dev", "tun0", *words)
        if route.queue != self.queue:
            self.queue = route.queue
            words = ["tc", "qdisc", "replace", "dev", "tun0", "root", "pfifo", "limit", str(self.queue)]
            subprocess.run(words, check=True)

    def set_sysctl(self, name: str, value: str) -> None:
        try:
            with open("/proc/sys/" + name.replace(".", "/"), "w") as knob:
                knob.write(value)
        except FileNotFoundError:
            raise KeyError(name) from None

    def shell(self, line: str) -> tuple[int, str]:
        """A command that only asks (`commands.ASKING`), by the host's shell in the script's namespace."""
        try:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return 1, "it does not come to an end"
        self.pump()
        return done.returncode, (done.stdout + done.stderr).strip()

    # -- time

    def pump(self) -> bool:
        """Take what the kernel has sent."""
        came = False
        while True:
            try:
                image = os.read(self.tun, 65536)
            except BlockingIOError:
                return came
            now = self.now
            self.sent.append((now, image))
            self.history.append((now, "out", image))
            came = True

    def wait(self, until: int) -> None:
        """Until something was sent, or nearly until that time."""
        left = until - self.now
        if left > SPIN_NS:
            self.poller.poll((left - SPIN_NS) / 1e6)

    def advance(self, until: int) -> None:
        while self.now < until:
            self.pump()
            self.wait(until)
        self.pump()

    def advance_to_packet(self, limit: int) -> bool:
        limit = min(limit, self.now + int(PATIENCE * 1e9))
        while not self.sent:
            self.pump()
            if self.sent or self.now >= limit:
                break
            self.wait(limit)
        return bool(self.sent)

    def settle(self) -> None:
        self.pump()

    # -- doing

    def inject(self, image: bytes, mss: int = 0, payload: int = 0) -> None:
        del mss, payload
        self.pump()
        self.history.append((self.now, "in", image))
        os.write(self.tun, image)
        self.pump()

    def call(self, call: SystemCall) -> Call:
        return self.submit(lambda sys: Caller(sys, self.ends, self.caller.fds).perform(call), call.end is not None)

    def submit(self, work: Callable[[Any], None], blocks: bool = False) -> Call:
        job = Call(work, blocks)
        if blocks:
            threading.Thread(target=self._carry_out, args=(job,), daemon=True).start()
            self.advance(self.now + 500_000)
        else:
            self._carry_out(job)
        self.pump()
        return job

    def _carry_out(self, job: Call) -> None:
        try:
            job.work(self.sys)
        except CallMismatch as trouble:
            job.error = str(trouble)
        except UnsupportedCall as trouble:
            job.unsupported = str(trouble)
        job.finished, job.finished_at = True, self.now

    def option(self, script_fd: int, level: int, name: int, size: int) -> bytes:
        fd = self.caller.fds.get(script_fd, script_fd)
        try:
            return bytes(self.sys.getsockopt(fd, level, name, size))
        except OSError:
            return b""

    def tcp_info(self, script_fd: int) -> bytes:
        return self.option(script_fd, abi.IPPROTO_TCP, abi.TCP_INFO, TCP_INFO_SIZE)

    def explain(self) -> None:
        """The kernel gives no reasons."""

    def save_capture(self, path: str) -> None:
        captures.save(path, "tun0", self.history, self.comments)

    def close(self) -> None:
        os.close(self.tun)


def in_child(work: Callable[[], Any], patience: float = 300.0) -> Any:
    """What `work()` gives, done in a child process; TimeoutError when it does not come to an end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(work(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            if not select.select([pipe], [], [], patience)[0]:
                raise TimeoutError(f"no end after {patience:g} s")
            data = pipe.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
    return pickle.loads(data) if data else None
