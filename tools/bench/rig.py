"""What the network figures are measured on: a machine on a TAP, and the host's kernel behind a veth pair.

    namespace "near"                                  namespace "far"
      peer (the load) ── tap0 ═══ the machine
                     ├── tap1 ═══ lwip_peer
                     ├── tap3 ═══ stack_peer
                     └── veth ════════════════════════ peer serve

The load runs in `near`; so does the machine's process, whose TAP is made there. Both ends of the veth pair are the
host's kernel, with the same services and the same client. lwIP serves them too, where its library is installed.
Everything is removed at the end.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

MACHINE_IP, NEAR_IP = "10.91.0.2", "10.91.0.1"
VETH_FAR_IP, VETH_NEAR_IP = "10.92.0.2", "10.92.0.1"
TWIN_IP, TWIN_NEAR_IP = "10.94.0.2", "10.94.0.1"
LWIP_IP, LWIP_NEAR_IP = "10.93.0.2", "10.93.0.1"
STACK_IP, STACK_NEAR_IP = "10.95.0.2", "10.95.0.1"
LWIP_HEADERS = "/usr/include/lwip"  # of Debian's liblwip-dev
READY_S = 15.0
HERE = Path(__file__).resolve().parent
SYSCTLS = {
    "net/ipv4/tcp_max_tw_buckets": "2000",  # else the client runs out of ports
    "net/ipv4/ip_local_port_range": "2048 65535",
}


class Unavailable(Exception):
    """The machine that measures lacks something; the message says what."""


class Server:
    """A process that answers: the machine, or the kernel's services."""

    def __init__(self, child: subprocess.Popen[bytes], address: str) -> None:
        self.child = child
        self.address = address
        self.all_cpus = os.sched_getaffinity(child.pid)
        self.ready_s = 0.0  # from its start to its saying that it is ready

    def wait_until_ready(self) -> None:
        assert self.child.stdout is not None
        if not select.select([self.child.stdout], [], [], READY_S)[0]:
            raise Unavailable(f"{self.child.args!r} is not ready after {READY_S:.0f} s")
        if not self.child.stdout.readline():
            raise Unavailable(f"{self.child.args!r} ended with status {self.child.wait()} before it was ready")

    def cpu_ns(self) -> int:
        """CPU time of all its threads so far (/proc/PID/task/*/schedstat)."""
        total = 0
        for stat in Path(f"/proc/{self.child.pid}/task").glob("*/schedstat"):
            total += int(stat.read_text().split()[0])
        return total

    def resident_bytes(self) -> int:
        """Memory of its own that is in use (/proc/PID/statm)."""
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def pin(self, cpu: int | None) -> None:
        os.sched_setaffinity(self.child.pid, self.all_cpus if cpu is None else {cpu})

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child.stdout is not None:
            self.child.stdout.close()


class Rig:
    """Context manager. `machine(plain)` and `kernel()` start the servers; `load` runs one measurement."""

    def __init__(self, profile: str | None = None) -> None:
        self.profile = profile
        self.near = f"trlbench{os.getpid()}a"
        self.far = f"trlbench{os.getpid()}b"
        self._cleanup = ExitStack()
        self._kernel: Server | None = None
        self._lwip: Server | None = None

    def __enter__(self) -> Rig:
        if not sys.platform.startswith("linux") or os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
            raise Unavailable("the network figures need Linux, root and /dev/net/tun")
        for tool in ("ip", "gcc"):
            if shutil.which(tool) is None:
                raise Unavailable(f"the network figures need {tool!r}")
        try:
            self._set_up()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cleanup.close()

    def _set_up(self) -> None:
        self.workdir = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="terrella-bench-")))
        self.peer = str(self.workdir / "peer")
        subprocess.run(["gcc", "-std=c11", "-O2", "-o", self.peer, str(HERE / "peer.c")], check=True)
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "add", name], check=True)
            self._cleanup.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        subprocess.run(
            ["ip", "link", "add", "veth0", "netns", self.near, "type", "veth", "peer", "veth0", "netns", self.far],
            check=True,
        )
        for name, address in ((self.near, VETH_NEAR_IP), (self.far, VETH_FAR_IP)):
            for link in ("lo", "veth0"):
                subprocess.run(["ip", "-n", name, "link", "set", link, "up"], check=True)
            subprocess.run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "veth0"], check=True)
            for path, value in SYSCTLS.items():
                self._run_in(name, "sh", "-c", f"echo {value} > /proc/sys/{path}")

    def _run_in(self, name: str, *command: str) -> str:
        done = subprocess.run(["ip", "netns", "exec", name, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _serve(self, name: str, address: str, *command: str) -> Server:
        start = time.monotonic()
        child = subprocess.Popen(["ip", "netns", "exec", name, *command], stdout=subprocess.PIPE)
        server = Server(child, address)
        self._cleanup.callback(server.stop)
        server.wait_until_ready()
        server.ready_s = time.monotonic() - start
        return server

    def kernel(self) -> Server:
        """The host's kernel behind the veth pair, started once."""
        if self._kernel is None:
            self._kernel = self._serve(self.far, VETH_FAR_IP, self.peer, "serve", VETH_FAR_IP)
        return self._kernel

    def lwip(self) -> Server:
        """lwIP on a TAP with plain frames, started once. Unavailable where it is not installed."""
        if self._lwip is None:
            if not Path(LWIP_HEADERS, "lwip/tcp.h").exists():
                raise Unavailable("liblwip-dev is not installed")
            program = str(self.workdir / "lwip_peer")
            source = str(HERE / "lwip_peer.c")
            flags = ["-std=gnu11", "-O2", f"-I{LWIP_HEADERS}"]
            subprocess.run(["gcc", *flags, "-o", program, source, "-llwip"], check=True)
            self._lwip = self._serve(self.near, LWIP_IP, program, "tap1", LWIP_IP, "255.255.255.0")
            subprocess.run(["ip", "-n", self.near, "address", "add", f"{LWIP_NEAR_IP}/24", "dev", "tap1"], check=True)
            subprocess.run(["ip", "-n", self.near, "link", "set", "tap1", "up"], check=True)
        return self._lwip

    @contextmanager
    def held(self, server: Server, port: int, count: int) -> Iterator[None]:
        """`count` idle connections to the server."""
        command = ["ip", "netns", "exec", self.near, self.peer, "hold", server.address, str(port), str(count), "-1"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdin is not None and child.stdout is not None
        try:
            if not select.select([child.stdout], [], [], 60 + count / 100)[0] or not child.stdout.readline():
                raise Unavailable(f"{count} connections could not be opened")
            yield
        finally:
            child.stdin.close()
            child.wait()
            child.stdout.close()

    def machine(self, plain: bool, twin: bool = False, busy: int = 0) -> Server:
        """`terrella up` on a TAP of its own, with vnet headers or with plain frames, and with processes that loop
        beside its servers. Stop it before the next.
        """
        tap, ip, near = ("tap2", TWIN_IP, TWIN_NEAR_IP) if twin else ("tap0", MACHINE_IP, NEAR_IP)
        up = ["up", "--tap", tap, "--ip", f"{ip}/24", "--host-ip", f"{near}/24"]
        command = [sys.executable, "-m", "tools.bench.machine", *(["--plain"] if plain else []),
                   *(["--busy", str(busy)] if busy else []), *up]  # fmt: skip
        if self.profile is not None:
            command[1:3] = ["-m", "tools.bench.sampler", self.profile, "--wait", "tools.bench.machine"]
        server = self._serve(self.near, ip, *command)
        if self.profile is not None:
            server.child.send_signal(signal.SIGURG)
        return server

    def stack(self) -> Server:
        """A bare `Stack` on a TAP with vnet headers, without a kernel. Stop it when done."""
        command = [sys.executable, "-m", "tools.bench.stack_peer", "tap3", f"{STACK_IP}/24", f"{STACK_NEAR_IP}/24"]
        if self.profile is not None:
            command[1:3] = ["-m", "tools.bench.sampler", self.profile, "--wait", "tools.bench.stack_peer"]
        server = self._serve(self.near, STACK_IP, *command)
        if self.profile is not None:
            server.child.send_signal(signal.SIGURG)
        return server

    def load(self, server: Server, kind: str, port: int, seconds: float, cpu: int | None = None) -> dict[str, float]:
        """One run of the client against a server; both stay on `cpu` if it is given."""
        server.pin(cpu)
        try:
            core = "-1" if cpu is None else str(cpu)
            before = server.cpu_ns()
            out = self._run_in(self.near, self.peer, kind, server.address, str(port), str(seconds), core)
            figures: dict[str, float] = json.loads(out)
            figures["cpu_seconds"] = (server.cpu_ns() - before) / 1e9
        finally:
            server.pin(None)
        return figures
