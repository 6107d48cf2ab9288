"""Same seed, same trace, byte for byte: 4 CPUs and 200 processes, in processes with different PYTHONHASHSEED."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.kernel.sched import crowd

HERE = Path(__file__).parent


def elsewhere(seed: int, policy: str, hash_seed: str) -> bytes:
    environ = dict(os.environ, PYTHONHASHSEED=hash_seed, PYTHONPATH=str(HERE.parents[3]))
    command = [sys.executable, str(HERE / "crowd.py"), str(seed), policy]
    return subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, timeout=900).stdout


@pytest.mark.parametrize("policy", ["eevdf", "rr"])
def test_same_seed_same_trace(policy: str) -> None:
    first = elsewhere(7, policy, "1")
    assert first.count(b"\n") > 5_000
    assert first == elsewhere(7, policy, "2")
    assert first == crowd.trace(7, policy)
    if policy == "eevdf":
        for what in (b"balance", b"idle", b"affinity", b"slice", b"preempted", b"signal", b"yield", b"exit"):
            assert what in first, what


def test_another_seed_is_another_course_of_events() -> None:
    assert crowd.trace(7, "eevdf") != crowd.trace(8, "eevdf")
