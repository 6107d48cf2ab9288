"""A machine on a TAP, with this host's kernel, ping, curl and tshark as judges."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import UNSEEN, WRONG, Up, pattern_sum, pings, tshark

pytestmark = pytest.mark.interop

Start = Callable[..., Up]


@pytest.fixture
def up(netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path) -> Iterator[Start]:
    need("ip", "ping", "curl", root=True)
    started: list[Up] = []

    def start(*options: str) -> Up:
        started.append(Up(netns(), terrella, tmp_path, *options))
        return started[-1]

    yield start
    for machine in started:
        if machine.process.poll() is None:
            machine.stop()


def test_a_hundred_pings_none_lost(up: Start) -> None:
    machine = up()
    said = machine.run(*pings(100, "10.0.0.2"))
    assert "100 received, 0% packet loss" in said
    assert "1 received" in machine.run("ping", "-c", "1", "-s", "8000", "10.0.0.2"), "fragments"
    assert machine.stop() == 0
    stats = machine.stats()
    assert stats["Icmp"]["InEchos"] == 101 and stats["Icmp"]["OutEchoReps"] == 101
    assert machine.complaints() == ""


@pytest.mark.parametrize(("driver", "size"), [("native", 100_000_000), ("scapy", 100_000_000)])
def test_bulk_both_ways(up: Start, driver: str, size: int, tmp_path: Path, need: Callable[..., None]) -> None:
    need("tshark")
    machine = up("--driver", driver)
    got = machine.shell(f"curl -sS http://10.0.0.2/bytes/{size} | sha256sum", timeout=600)
    assert got.split()[0] == pattern_sum(size)
    big = tmp_path / "big"
    big.write_bytes(os.urandom(10_000_000))
    for options in ("", "-H 'Transfer-Encoding: chunked'", "-0"):
        machine.shell(f"curl -sS {options} --data-binary @{big} http://10.0.0.2/echo | cmp - {big}", timeout=600)
    assert machine.stop() == 0
    assert machine.complaints() == ""
    assert machine.taps() == []
    assert tshark(machine.pcap, WRONG) == []
    if driver == "native":
        assert tshark(machine.pcap, UNSEEN) == []


def test_files_that_cannot_be_written(up: Start, tmp_path: Path) -> None:
    """A disk that is full from the start, or meanwhile: the machine serves on, and each file is named at the end."""
    machine = up("--perfetto", "/dev/full", "--why", str(tmp_path / "why"))
    resource.prlimit(machine.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    got = machine.shell("curl -sS http://10.0.0.2/bytes/6000000 | sha256sum")
    assert got.split()[0] == pattern_sum(6_000_000)
    assert machine.stop() == 1
    assert machine.complaints().splitlines() == [
        "terrella: --perfetto /dev/full: No space left on device", f"terrella: --why {tmp_path}/why: File too large",
        f"terrella: --pcap {machine.pcap}: File too large",
    ]  # fmt: skip
    assert machine.stats()["Tcp"]["PassiveOpens"] == 1


def test_two_hundred_curls_at_once(up: Start) -> None:
    machine = up()
    said = machine.shell(
        "seq 200 | xargs -P 200 -I{} curl -sS -o /dev/null -w '%{http_code}\\n' http://10.0.0.2/bytes/20000"
        " | sort | uniq -c",
        timeout=600,
    )
    assert said.split() == ["200", "200"]
    assert machine.stop() == 0
    assert machine.complaints() == ""


def test_the_small_servers_answer(up: Start) -> None:
    machine = up()
    script = """
import socket
for _ in range(50):
    s = socket.create_connection(("10.0.0.2", 7), 60); s.sendall(b"x" * 1000)
    assert s.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
    s.close()
s = socket.create_connection(("10.0.0.2", 9), 60); s.sendall(bytes(6_000_000)); s.shutdown(1); assert s.recv(1) == b""
s = socket.create_connection(("10.0.0.2", 19), 60); assert s.recv(4, socket.MSG_WAITALL) == b' !"#'; s.close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(60)
u.sendto(b"dgram", ("10.0.0.2", 7)); assert u.recv(100) == b"dgram"
u.connect(("10.0.0.2", 5)); u.send(b"nobody")
try: u.recv(1)
except ConnectionRefusedError: print("refused")
try: socket.create_connection(("10.0.0.2", 5), 60)
except ConnectionRefusedError: print("refused")
"""
    assert machine.run("python3", "-c", script).split() == ["refused", "refused"]
    assert machine.stop() == 0
    assert machine.complaints() == ""


@pytest.mark.parametrize(("with_signal", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_tap_and_a_whole_capture(
    up: Start, with_signal: int, status: int, need: Callable[..., None]
) -> None:
    need("tshark")
    machine = up()
    assert machine.taps() == ["tap0"]
    load = machine.namespace.popen("curl", "-s", "-o", "/dev/null", "http://10.0.0.2/bytes/2000000000")
    while "ESTAB" not in machine.run("ss", "-tn"):
        assert load.poll() is None
    machine.run(*pings(10, "10.0.0.2"))
    assert machine.stop(with_signal) == status
    assert load.wait(timeout=10) != 0  # it was told that there is no more
    assert machine.taps() == []
    assert tshark(machine.pcap, "icmp") and tshark(machine.pcap, WRONG) == []
    assert machine.stats()["Tcp"]["PassiveOpens"] == 1


def test_loss_delay_and_reordering(up: Start, tmp_path: Path) -> None:
    machine = up("--loss", "3%", "--delay", "30ms", "--reorder", "1%", "--seed", "5")
    size = 5_000_000
    big = tmp_path / "big"
    big.write_bytes(os.urandom(size))
    upload = machine.namespace.popen(
        "bash", "-c", f"set -o pipefail; curl -sS --data-binary @{big} http://10.0.0.2/echo | cmp - {big}"
    )
    got = machine.shell(f"curl -sS http://10.0.0.2/bytes/{size} | sha256sum", timeout=900)
    assert got.split()[0] == pattern_sum(size)
    assert upload.wait(timeout=900) == 0
    assert machine.stop() == 0
    assert machine.stats()["Tcp"]["RetransSegs"] > 0
    assert machine.complaints() == ""


def test_usage_and_privileges(terrella: str, netns: Callable[[], Any]) -> None:
    """Wrong words are usage errors, said before anything is made."""
    for words in (("--loss", "150%"), ("--driver", "other"), ("--ip", "nonsense"), ("--delay", "soon"), ("--bad",)):
        done = subprocess.run([terrella, "up", *words], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "usage" in done.stderr and "Traceback" not in done.stderr, words
    space = netns()
    done = space.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups",
                     terrella, "up", check=False)  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr and "terrella: " in done.stderr, done.stderr
    for address in ("::1/64", "224.0.0.1/24", "10.0.0.1/24"):  # lo's, nobody's, the host's own
        done = space.run(terrella, "up", "--ip", address, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr and address in done.stderr, done.stderr


def test_two_machines_at_one_tap_is_refused_clearly(up: Start, terrella: str) -> None:
    machine = up()
    done = machine.namespace.run(terrella, "up", check=False)
    assert done.returncode == 1 and "tap0" in done.stderr and "Traceback" not in done.stderr
    machine.run("ping", "-q", "-c", "1", "10.0.0.2")


def test_stats_are_named_as_linux_names_them(up: Start) -> None:
    machine = up()
    machine.shell("curl -sS http://10.0.0.2/bytes/1000 > /dev/null")
    assert machine.stop() == 0
    stats = machine.stats()
    assert all(isinstance(n, int) for group in stats.values() for n in group.values())
    for group, name in (
        ("Ip", "InReceives"), ("Tcp", "InSegs"), ("Tcp", "OutSegs"), ("Udp", "InDatagrams"), ("Icmp", "InMsgs"),
    ):  # fmt: skip
        assert name in stats[group], json.dumps(stats)[:500]
    assert stats["tap0"]["rx_frames"] > 0 and stats["tap0"]["tx_frames"] > 0
