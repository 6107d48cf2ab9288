"""The bench measures something, says it in JSON, and leaves nothing behind. The figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.interop


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.bench", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def namespaces() -> set[str]:
    lines = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[0] for line in lines if line.startswith("trlbench")}


def test_the_load_compiles_without_a_warning(need: Callable[..., None], tmp_path: Path) -> None:
    need("gcc")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", tmp_path / "peer", ROOT / "tools/bench/peer.c"], check=True)


def test_both_frame_modes_and_the_kernel_are_measured_and_profiled(need: Callable[..., None]) -> None:
    need("gcc", "ip", root=True)
    before = namespaces()
    names = ("echo", "bulk-in", "bulk-in-plain")
    only = [word for name in names for word in ("--only", name)]
    done = bench(*only, "--runs", "1", "--seconds", "0.3", "--json", "--profile")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    figures = {f["name"]: f for f in report["figures"]}
    assert set(figures) == set(names)
    for figure in figures.values():
        assert figure["value"] > 0 and figure["peer"] > 0
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["peer"])
    assert figures["bulk-in"]["cpu_s_per_gb"] > 0
    assert any("tap.py" in row["function"] for row in report["profiles"]["bulk-in"]["functions"])
    assert namespaces() <= before


def test_a_simulated_flow_needs_no_privileges(need: Callable[..., None]) -> None:
    done = bench("--only", "simulate", "--megabytes", "1", "--markdown")
    assert done.returncode == 0, done.stderr
    assert "| simulate | " in done.stdout
    assert bench("--only", "nonsense").returncode == 2
