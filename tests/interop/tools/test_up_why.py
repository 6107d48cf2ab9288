"""`terrella up --why` and SIGUSR1: what the stack says of itself while Linux talks to it; and what the demo's says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import Up, pattern_sum, tshark

pytestmark = pytest.mark.interop


Need = Callable[..., None]


@pytest.fixture
def up(netns: Callable[[], Any], need: Need, terrella: str, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    need("ip", "curl", root=True)
    started: list[Up] = []

    def start(*options: str) -> Up:
        started.append(Up(netns(), terrella, tmp_path, *options))
        return started[-1]

    yield start
    for machine in started:
        if machine.process.poll() is None:
            machine.stop()


def comments(capture: Path, which: str) -> list[str]:
    """The packet comments that tshark reads."""
    said = subprocess.run(
        ["tshark", "-r", str(capture), "-Y", which, "-T", "fields", "-e", "frame.comment"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line for line in said.stdout.splitlines() if line]


def test_the_log_and_the_comments(up: Callable[..., Up], tmp_path: Path, need: Need, terrella: str) -> None:
    need("tshark")
    log = tmp_path / "why.jsonl"
    machine = up("--why", str(log), "--loss", "3%", "--delay", "5ms", "--seed", "5")
    got = machine.shell("curl -sS http://10.0.0.2/bytes/2000000 | sha256sum", timeout=600)
    assert got.split()[0] == pattern_sum(2_000_000)
    assert machine.stop() == 0
    assert machine.complaints() == ""
    again = machine.stats()["Tcp"]["RetransSegs"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    acks = [line for line in lines if line["event"] == "ack"]
    assert len(acks) > 100 and any(line["phase"] == "Recovery" for line in acks) and again > 10
    reasons = [line["reason"] for line in lines if line["event"] == "send"]
    assert any("fast retransmit, cwnd" in reason for reason in reasons)
    said = comments(machine.pcap, "tcp.srcport == 80")
    assert any("fast retransmit, cwnd" in comment for comment in said)
    times = {line["time_ns"] for line in lines if line["event"] == "send"}
    stamps = tshark(machine.pcap, "tcp.srcport == 80 && frame.comment")
    assert stamps and len(times) > 100
    drawn = tmp_path / "x.svg"
    done = subprocess.run(
        [terrella, "plot", str(machine.pcap), "--why", str(log), "-o", str(drawn)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "sent again" in done.stdout and drawn.stat().st_size > 1000, done.stderr


def test_sigusr1_shows_the_sockets(up: Callable[..., Up]) -> None:
    machine = up()
    script = (
        "import socket, sys\ns = socket.create_connection(('10.0.0.2', 7), 60)\n"
        "s.sendall(b'x' * 1000); s.recv(1000, socket.MSG_WAITALL)\n"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    client = machine.namespace.popen("python3", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    port = client.stdout.readline().decode().strip()
    machine.process.send_signal(signal.SIGUSR1)
    machine.run("curl", "-sS", "-o", os.devnull, "http://10.0.0.2/bytes/10")
    client.stdin.close()
    client.wait(timeout=120)
    assert machine.stop() == 0, "it goes on, and ends as ever"
    said = machine.errors.read_text().splitlines()
    row = next(i for i, line in enumerate(said) if line.startswith("ESTAB") and f"10.0.0.1:{port}" in line)
    assert "10.0.0.2:7" in said[row]
    assert "bytes_received:1000" in said[row + 1] and "cubic" in said[row + 1] and "cwnd:10" in said[row + 1]
    assert sum(line.startswith("LISTEN") for line in said) == 4


def test_the_demos_retransmissions_carry_their_reasons(terrella: str, tmp_path: Path, need: Need) -> None:
    need("tshark")
    subprocess.run([terrella, "demo", "--out", str(tmp_path)], capture_output=True, check=True, timeout=600)
    said = comments(tmp_path / "demo.pcapng", "tcp.srcport == 80 && tcp.len > 0")
    heard = ("3rd dupACK → fast retransmit, cwnd", "segments SACKed above the hole → fast retransmit, cwnd")
    assert any(words in comment for comment in said for words in heard)
