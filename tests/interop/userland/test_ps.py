"""ps, on the host's own processes, beside procps: the same columns with the same contents."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop
PS = Path(__file__).resolve().parents[3] / "userland" / "bin" / "ps.py"


def ours(*words: str) -> list[list[str]]:
    command = [sys.executable, "-m", "tools.cli", "run", "--on-linux", str(PS), *words]
    done = subprocess.run(
        command, cwd=PS.parents[2], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    return [line.split() for line in done.stdout.splitlines()]


def theirs(*words: str) -> list[list[str]]:
    done = subprocess.run(["ps", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("columns", ["pid,ppid,pgid,sid,tty,comm", "pid,user,uid,ni,comm", "pid,s,nlwp,tpgid,ucmd"])
def test_columns(columns: str, need: Callable[..., None]) -> None:
    need("ps")
    words = ("-o", columns, "-p", f"1,{os.getpid()}")
    for _ in range(8):  # both processes live on meanwhile
        before, mine, after = theirs(*words), ours(*words), theirs(*words)
        if before == after:
            break
    assert mine == before == after


@pytest.mark.parametrize("words", [("-f",), ("-l",), ("-j",), (), ("u",)], ids=" ".join)
def test_titles(words: tuple[str, ...], need: Callable[..., None]) -> None:
    need("ps")
    pid = str(os.getpid())
    assert ours(*words, "-p", pid)[0] == theirs(*words, "-p", pid)[0]
