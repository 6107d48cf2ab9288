"""Each program runs twice, inside and on the host's own kernel, and must print the same and end the same.

The numbers are those of the invariants in "Thirty-five things Linux does that small kernels get wrong".
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import missing

TRIES = 8
"""Inside every run is the same. On a busy host what a program gave 20 ms for may come later: a difference is one that
comes every time."""
PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def run(terrella: str, program: Path, *options: str) -> tuple[str, str, int]:
    done = subprocess.run(
        [terrella, "run", *options, str(program)], preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, 0),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, cwd="/tmp",
    )  # fmt: skip
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("program", PROGRAMS, ids=[p.stem for p in PROGRAMS])
def test_same_inside_and_on_linux(terrella: str, program: Path) -> None:
    if os.geteuid() != 0:
        missing("these programs change users, and need root on the host")
    inside = run(terrella, program)
    with open(Path(tempfile.gettempdir()) / f"trl-{program.stem}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its files are named alike each time
        for _ in range(TRIES):
            linux = run(terrella, program, "--on-linux")
            if inside == linux:
                break
    assert inside[0].splitlines() == linux[0].splitlines()
    assert inside[1:] == linux[1:]
    assert linux[0], "a program that prints nothing shows nothing"


@pytest.mark.parametrize("program", PROGRAMS[::9], ids=[p.stem for p in PROGRAMS[::9]])
def test_same_seed_same_run(terrella: str, program: Path, tmp_path: Path) -> None:
    """Invariant 35, seen from outside: with one seed the whole strace is the same, on four CPUs too."""
    traces = []
    for attempt in ("a", "b"):
        out = tmp_path / attempt
        run(terrella, program, "--seed", "5", "--cpus", "4", "--strace-file", str(out))
        traces.append(out.read_text())
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 20
