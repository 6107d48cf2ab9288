"""The scripts of scripts.txt, under dash on the host and under our shell: inside, and on the host's own kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.sh.inside import run_inside

HERE = Path(__file__).parent
SCRIPTS = [script + "\n" for script in (HERE / "scripts.txt").read_text().split("\n\n")[1:] if script.strip()]
SHELL = Path(__file__).resolve().parents[3] / "userland" / "bin" / "sh.py"
HOME = "/work"


def dash(script: str, where: Path, *command: str) -> tuple[bytes, int]:
    case = where / "case.sh"
    case.write_text(script)
    work = where / "work"
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        [*(command or ["dash"]), str(case)], cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, timeout=600, env={"PATH": os.environ["PATH"], "HOME": HOME, "PWD": str(work)},
    )  # fmt: skip
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return done.stdout, status


def quiet(script: str) -> str:
    """The same with standard error thrown away: messages are each shell's own."""
    return "exec 2>/dev/null\n" + script


@pytest.mark.parametrize("script", SCRIPTS, ids=[f"{n}" for n in range(len(SCRIPTS))])
def test_inside_as_under_dash(script: str, tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    expected = dash(quiet(script), tmp_path)
    assert run_inside(quiet(script)) == expected


@pytest.mark.parametrize("script", SCRIPTS[::12], ids=[f"{n}" for n in range(0, len(SCRIPTS), 12)])
def test_on_linux_as_under_dash(script: str, tmp_path: Path, need: Callable[..., None]) -> None:
    """The shell is a program of the ABI: it runs on the host's kernel too."""
    need("dash")
    ours = [sys.executable, "-m", "tools.cli", "run", "--on-linux", str(SHELL)]
    root = str(SHELL.parents[2])
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
    expected = dash(quiet(script), tmp_path / "a")
    found = dash(quiet(script), tmp_path / "b", "env", f"PYTHONPATH={root}", *ours)
    assert found == expected
