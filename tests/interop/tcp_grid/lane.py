"""One lane of the grid: two namespaces and a wire between them.

    namespace a                        namespace b
      client, wa 10.77.0.1 ── wire ── wb ─┬─ bridge: 10.77.0.3, Linux's service
               │                          └─ tt: 10.77.0.2, the machine's service, a process of its own
               └── wire --machine: 10.77.0.4, the machine's service at the end of the wire

Linux's TCP at wb runs within the wire's own write(2), and ours at .4 where the wire hands it the frames: the two are
alike, each behind a wire of the same seed, and are what the grid compares. The machine at .2 is a process that the wire
has to wake, behind one more TAP and a bridge: flows to .2 and .3 share one wire, one after the other or at once.
All neighbours are permanent, so nobody asks in between: what is compared is TCP.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from csrc import compiled
from drivers.net.hostif import stable_mac

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PYTHON = sys.executable
SERVICE = str(HERE / "service.py")
NEAR, OURS, LINUX, WITHIN = (f"10.77.0.{n}" for n in (1, 2, 3, 4))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERRELLA_COMPILED": "1" if compiled.in_use else "0"}
"""Of the lane's processes: each runs in the form that is being measured, or says why it cannot."""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Lane:
    """Context manager. `wire(options)` lays another wire; `flow(...)` runs one transfer, `begin` starts one."""

    def __init__(self, name: str, sysctls: tuple[str, ...] = ()) -> None:
        self.a, self.b = f"{name}a", f"{name}b"
        self.sysctls = sysctls
        self._cleanup = ExitStack()
        self._wire: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Lane:
        try:
            self._set_up()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cleanup.close()

    def _set_up(self) -> None:
        self.where = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="terrella-grid-")))
        for ns in (self.a, self.b):
            run("ip", "netns", "add", ns)
            self._cleanup.callback(self._remove, ns)
            run("ip", "-n", ns, "link", "set", "lo", "up")
            # Each flow is to be the first of its path: nothing learnt from the one before.
            run("ip", "netns", "exec", ns, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save")
            # Nobody else draws from the wire's dice: the n-th frame is the same one for both.
            run("ip", "netns", "exec", ns, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        a, b = ("ip", "-n", self.a), ("ip", "-n", self.b)
        run(*a, "tuntap", "add", "wa", "mode", "tap", "vnet_hdr")
        run(*b, "tuntap", "add", "wb", "mode", "tap", "vnet_hdr")
        run(*b, "tuntap", "add", "tt", "mode", "tap", "vnet_hdr")
        run(*b, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")  # it would report its groups
        run(*a, "address", "add", f"{NEAR}/24", "dev", "wa")
        run(*b, "address", "add", f"{LINUX}/24", "dev", "br0")
        for ns, link in ((b, "wb"), (b, "tt"), (b, "br0"), (a, "wa")):
            if link in ("wb", "tt"):
                run(*ns, "link", "set", link, "master", "br0")
            run(*ns, "link", "set", link, "txqueuelen", "8192")  # frames come one by one: a window's worth
            run(*ns, "link", "set", link, "up")
        mac = json.loads(run(*a, "-j", "link", "show", "wa"))[0]["address"]
        self.neighbour = f"{NEAR}={mac}"
        self._spawn(self.b, "listening", PYTHON, "-m", "tools.cli", "run", "--on-linux", SERVICE, LINUX)
        self.peer = self._spawn(
            self.b, "listening", PYTHON, str(HERE / "peer.py"), "tt", f"{OURS}/24", str(self.where / "stats"),
            self.neighbour, *self.sysctls,
        )  # fmt: skip
        self.wire()
        for address in (OURS, LINUX):
            run("ip", "netns", "exec", self.a, "ping", "-c", "1", "-W", "5", address)
            found = json.loads(run(*a, "-j", "neigh", "show", address))
            run(*a, "neigh", "replace", address, "lladdr", found[0]["lladdr"], "dev", "wa", "nud", "permanent")
        run(*b, "neigh", "replace", NEAR, "lladdr", mac, "dev", "br0", "nud", "permanent")
        at_end = stable_mac("wa").hex(":")
        run(*a, "neigh", "replace", WITHIN, "lladdr", at_end, "dev", "wa", "nud", "permanent")

    def _spawn(self, ns: str, word: str, *command: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            ["ip", "netns", "exec", ns, *command], stdout=subprocess.PIPE, env=ENVIRONMENT, cwd=str(self.where)
        )
        self._cleanup.callback(self._end, child)
        assert child.stdout is not None
        line = child.stdout.readline() if select.select([child.stdout], [], [], 30)[0] else b""
        if word.encode() not in line:
            raise RuntimeError(f"{command}: said {line!r}")
        return child

    @staticmethod
    def _remove(ns: str) -> None:
        """The namespace, and every process that a service in it has left."""
        for pid in run("ip", "netns", "pids", ns).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", ns)

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def wire(self, *options: str, to: str = LINUX) -> None:
        """Take the wire away and lay another one, to the TAP wb (for `LINUX` and `OURS`) or to a machine (`WITHIN`)."""
        if self._wire is not None:
            self._end(self._wire)
        far, taps = ["wb", "--netns-b", self.b], ((self.a, "wa"), (self.b, "wb"))
        if to == WITHIN:
            machine = ["--machine", f"{WITHIN}/24", "--neighbour", self.neighbour, "--program", SERVICE]
            far, taps = machine, taps[:1]
        self._wire = subprocess.Popen(
            [PYTHON, "-m", "tools.cli", "wire", "wa", *far, "--netns-a", self.a, *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if to == WITHIN else None, env=ENVIRONMENT,
            cwd=str(self.where),
        )  # fmt: skip
        self._cleanup.callback(self._end, self._wire)
        assert self._wire.stdout is not None
        if not self._wire.stdout.readline().startswith(b"ready"):
            raise RuntimeError(f"the wire {options} did not come up")
        for ns, link in taps:
            for _ in range(500):  # until then what is sent is dropped
                if json.loads(run("ip", "-n", ns, "-j", "link", "show", link))[0]["operstate"] == "UP":
                    break
                time.sleep(0.01)
            else:
                raise RuntimeError(f"{link} did not come up")

    def begin(
        self, address: str, verb: str, congestion: str, length: int, timeout: float = 600
    ) -> subprocess.Popen[str]:
        """Start a flow."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.a, PYTHON, str(HERE / "client.py"), address, verb, congestion, str(length),
             str(timeout)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip

    def end(self, child: subprocess.Popen[str]) -> Any:
        out, err = child.communicate()
        if child.returncode:
            raise RuntimeError(f"a flow failed: {err.strip()[-500:]}")
        return json.loads(out)  # type: ignore[no-any-return]

    def flow(self, address: str, verb: str, congestion: str, length: int, timeout: float = 600) -> dict[str, Any]:
        """One whole transfer: what client.py says of it."""
        found: dict[str, Any] = self.end(self.begin(address, verb, congestion, length, timeout))
        return found

    def share(self, one: str, other: str, congestion: str, seconds: float) -> tuple[list[int], list[int]]:
        """Two flows at once from two addresses: bytes in each tenth of the time."""
        flows = [self.begin(address, "pull", congestion, 0, seconds) for address in (one, other)]
        first, second = (self.end(flow) for flow in flows)
        return first, second  # type: ignore[return-value]

    def stats(self) -> dict[str, dict[str, int]]:
        """The machine's counters; ends it."""
        self._end(self.peer)
        found: dict[str, dict[str, int]] = json.loads((self.where / "stats").read_text())
        return found
