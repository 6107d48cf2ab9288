"""`terrella up` in a network namespace of its own, for the interop tests."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ADDRESS = "10.0.0.2"
ROOT = Path(__file__).resolve().parents[2]


def pings(count: int, *options: str) -> tuple[str, ...]:
    """The words of a ping of so many, that ends with the last answer. With a small interval it would wait for that
    one twice the longest round trip so far: on a busy host, a moment. All go at once, and each has ten seconds. (What
    waits for the first answer to ARP has to find room in the socket.)
    """
    return ("ping", "-q", "-c", str(count), "-l", str(count), "-i", "10", "-S", "400000", *options)


def pattern_sum(length: int) -> str:
    """SHA-256 of what `/bytes/N` gives."""
    digest = hashlib.sha256()
    block = bytes(range(256)) * 4096
    for _ in range(length // len(block)):
        digest.update(block)
    digest.update(block[: length % len(block)])
    return digest.hexdigest()


class Up:
    """A running machine; `stop` ends it and gives its exit status."""

    def __init__(self, namespace: Any, command: str, where: Path, *options: str) -> None:
        self.namespace = namespace
        self.pcap = where / "up.pcapng"
        self.stats_file = where / "stats.json"
        self.errors = where / "stderr"
        with open(self.errors, "wb") as stderr:
            self.process = namespace.popen(
                sys.executable, command, "up", "--pcap", str(self.pcap), "--stats", str(self.stats_file), *options,
                stdout=subprocess.PIPE, stderr=stderr, cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        readable, _, _ = select.select([self.process.stdout], [], [], 120)
        self.ready = self.process.stdout.readline().decode() if readable else "nothing within 120 s"
        assert self.ready == f"ready {ADDRESS} on tap0\n", self.ready + self.errors.read_text()

    def run(self, *command: str, timeout: float = 300) -> str:
        """A command on the host's side; it must succeed. Its standard output."""
        done = self.namespace.run(*command, check=False, timeout=timeout)
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{said}"
        return done.stdout  # type: ignore[no-any-return]

    def shell(self, line: str, timeout: float = 300) -> str:
        return self.run("bash", "-c", "set -o pipefail; " + line, timeout=timeout)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        status: int = self.process.wait(timeout=120)
        return status

    def stats(self) -> dict[str, dict[str, int]]:
        return json.loads(self.stats_file.read_text())  # type: ignore[no-any-return]

    def taps(self) -> list[str]:
        listing = self.namespace.run("ip", "-j", "link").stdout
        return [link["ifname"] for link in json.loads(listing) if link["ifname"].startswith("tap")]

    def complaints(self) -> str:
        """What it said on standard error: nothing, when all is well."""
        return self.errors.read_text()


def tshark(capture: Path, display: str, *options: str) -> list[str]:
    """The packets of a capture that a display filter finds, one line each. A capture that is cut short is an error.

    EtherCAT is left out: the client's port may be its. Streams are not put together, which takes tshark minutes for a
    large one, unless the filter asks about http.
    """
    fast = [] if "http" in display else ["-o", "tcp.desegment_tcp_streams:FALSE", "--disable-protocol", "http"]
    done = subprocess.run(
        ["tshark", "-n", *fast, "--disable-protocol", "ecatf", "-o", "ip.check_checksum:TRUE",
         "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-r", str(capture), "-Y", display, *options],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0 and "cut short" not in done.stderr, done.stderr
    return done.stdout.splitlines()


WRONG = (
    # Linux fills a sum of 0 in as 0xffff for every protocol (skb_checksum_help): tshark wants 0 in TCP.
    "_ws.malformed || ip.checksum.status == 0 || (tcp.checksum.status == 0 && tcp.checksum != 0xffff)"
    " || udp.checksum.status == 0"
    " || icmp.checksum.status == 0"
)
UNSEEN = "tcp.analysis.ack_lost_segment"
