"""`terrella packetdrill --on-linux`: scripts against the kernel of the host, in a namespace of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "tests" / "conformance" / "tcp"

STEADY = (
    "handshake-closed-port-syn", "handshake-simultaneous", "rst-exact", "rst-outside-window", "close-shut-rdwr",
    "paws", "ecn-server", "mss-option", "msg-peek", "urgent-in",
)  # fmt: skip


def run(*args: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tools.cli", "packetdrill", "--on-linux", *args]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=600)


def test_linux_does_what_the_scripts_say(need: Callable[..., None]) -> None:
    need("ip", root=True)
    left = [str(SCRIPTS / f"{name}.pkt") for name in STEADY]
    for _ in range(12):  # a busy host may miss the time of an event
        done = run("--json", *left)
        left = [verdict["script"] for verdict in json.loads(done.stdout) if not verdict["passed"]]
        if not left:
            return
    raise AssertionError(done.stdout)


def test_a_wrong_script_fails_there_too(need: Callable[..., None], tmp_path: Path) -> None:
    need("ip", root=True)
    wrong = tmp_path / "wrong.pkt"
    wrong.write_text((SCRIPTS / "rst-exact.pkt").read_text().replace("ECONNRESET", "EPIPE"))
    assert "ECONNRESET" not in wrong.read_text()
    done = run(str(wrong))
    assert done.returncode == 1
    assert "ECONNRESET" in done.stdout


def test_nothing_stays(need: Callable[..., None]) -> None:
    need("ip", root=True)
    before = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    run(str(SCRIPTS / "rst-exact.pkt"))
    after = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    assert "tun0" not in after or "tun0" in before
