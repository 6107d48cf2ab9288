"""`terrella demo`: what it shows, and that it is the same every time."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.up_machine import WRONG, tshark


def demo(terrella: str, where: Path, *options: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    where.mkdir(exist_ok=True)
    return subprocess.run(
        [terrella, "demo", "--out", str(where), *options], capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "COLUMNS": "100"},
    )  # fmt: skip


def without_measured(text: str) -> list[str]:
    """The lines that do not depend on this machine or on where the capture went."""
    return [line for line in text.splitlines() if "measured" not in line and "pcapng" not in line]


def test_the_demo_shows_its_main_job(terrella: str, tmp_path: Path) -> None:
    done = demo(terrella, tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "\x1b[" not in said, "no colours and no animation off a terminal"
    assert re.search(r"connect\(\d+, .*\)\s+= 0", said) and re.search(r"^.*read\(", said, re.M), "strace"
    assert any("⠀" <= c <= "⣿" for c in said), "the congestion window drawn"
    for word in ("cwnd", "ssthresh", "segments", "retransmi", "goodput", "virtual", "measured", "demo.pcapng"):
        assert word in said, word
    retransmitted = re.search(r"retransmi\w*\D+(\d+)", said)
    assert retransmitted and int(retransmitted[1]) > 0, "the link is lossy"
    assert any(word in "\n".join(said.splitlines()[-8:]) for word in ("try", "next")), "what to try next"


def test_the_same_seed_gives_the_same_bytes_in_two_processes(terrella: str, tmp_path: Path) -> None:
    one = demo(terrella, tmp_path / "1", "--seed", "3", hash_seed="1")
    two = demo(terrella, tmp_path / "2", "--seed", "3", hash_seed="2")
    other = demo(terrella, tmp_path / "3", "--seed", "4", hash_seed="1")
    sums = [hashlib.sha256((tmp_path / n / "demo.pcapng").read_bytes()).hexdigest() for n in "123"]
    assert sums[0] == sums[1]
    assert sums[0] != sums[2], "another seed is another run: the comparison can fail"
    assert without_measured(one.stdout) == without_measured(two.stdout) != without_measured(other.stdout)


@pytest.mark.interop
def test_tshark_reads_the_demos_capture(terrella: str, tmp_path: Path, need: Callable[..., None]) -> None:
    need("tshark")
    said = demo(terrella, tmp_path).stdout
    capture = tmp_path / "demo.pcapng"
    assert tshark(capture, WRONG) == []
    packets = tshark(capture, "tcp")
    assert len(packets) > 1000
    assert tshark(capture, "http.response.code == 200")
    again = tshark(capture, "tcp.analysis.retransmission || tcp.analysis.fast_retransmission")
    counted = re.search(r"retransmi\w*\D+(\d+)", said)
    assert counted and again, "retransmissions are in the capture too"
