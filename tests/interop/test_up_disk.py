"""`terrella up --disk`: a machine in real time has a disk, and says at its end what it did with it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop


def test_up_with_a_disk(netns: Callable[[], Any], terrella: str, tmp_path: Path) -> None:
    image, stats = tmp_path / "d.img", tmp_path / "stats"
    image.write_bytes(b"kept" + bytes(1 << 20))
    with open(image, "r+b") as file:
        file.truncate(1 << 20)
    child = netns().popen(
        terrella, "up", "--disk", str(image), "--stats", str(stats), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready 10.0.0.2 on tap0\n", child.stderr.read()
    busy = subprocess.run([terrella, "sh", "--disk", str(image), "-c", "true"], capture_output=True, text=True)
    assert busy.returncode == 2 and "in use by another machine" in busy.stderr
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=120) == 130
    assert json.loads(stats.read_text())["vda"]["read_requests"] == 0
    assert image.read_bytes()[:4] == b"kept"
