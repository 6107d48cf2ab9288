"""What commands write, where it can't be written: a message that says which file and why, a status, no traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import output
from tools.errors import CommandError

ROOT = Path(__file__).resolve().parents[3]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="a device that is always full is Linux's")
PROGRAM = "def main(sys, argv):\n    sys.write(1, b'hello\\n')\n"
SCRIPT = "// a socket\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = %s\n"


def terrella(where: Path, *words: str, full: bool = False) -> tuple[int, str]:
    """Exit status and standard error of a command; `full`: its standard output takes nothing."""
    with open(FULL if full else os.devnull, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli", *words], cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PROGRAM)
    (tmp_path / "good.pkt").write_text(SCRIPT % 3)
    (tmp_path / "bad.pkt").write_text(SCRIPT % "-1")
    (tmp_path / "out").mkdir()
    for name in ("demo.pcapng", "bad.pcapng"):
        (tmp_path / "out" / name).symlink_to(FULL)
    return tmp_path


@needs_full
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "--perfetto", "/dev/full", "p.py"], 125, "--perfetto /dev/full: No space left on device"),
        (["run", "--strace-file", "/dev/full", "p.py"], 125, "strace into /dev/full: No space left on device"),
        (["run", "--perfetto", "nowhere/x", "p.py"], 125, "--perfetto nowhere/x: No such file or directory"),
        (["run", "--strace-file", "nowhere/x", "p.py"], 125, "strace into nowhere/x: No such file or directory"),
        (["demo", "--out", "out"], 1, "what demo writes: No space left on device"),
        (["demo", "--out", "p.py/x"], 1, "--out p.py/x: Not a directory"),
        (["packetdrill", "--captures", "p.py/x", "good.pkt"], 1, "--captures p.py/x: Not a directory"),
        (["packetdrill", "--captures", "out", "bad.pkt"], 1, "No space left on device"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_file_that_cannot_be_written(where: Path, words: list[str], status: int, said: str) -> None:
    code, errors = terrella(where, *words)
    assert (code, "Traceback" in errors) == (status, False), errors
    assert said in errors


@needs_full
@pytest.mark.parametrize("words", [["packetdrill", "good.pkt"], ["packetdrill", "--json", "good.pkt"]], ids=" ".join)
def test_standard_output_is_full(where: Path, words: list[str]) -> None:
    code, errors = terrella(where, *words, full=True)
    assert (code, "Traceback" in errors) == (1, False), errors
    assert "No space left on device" in errors
    assert terrella(where, *words)[0] == 0, "where there is room"


@needs_full
def test_a_full_standard_output_is_the_programs_to_hear_of(where: Path) -> None:
    (where / "p.py").write_text(
        "def main(sys, argv):\n"
        "    try:\n        sys.write(1, b'hello')\n"
        "    except OSError as why:\n        return why.errno\n"
    )
    assert terrella(where, "run", "p.py", full=True) == (errno.ENOSPC, "")


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    new, old, link = tmp_path / "new", tmp_path / "old", tmp_path / "link"
    old.write_text("kept")
    link.symlink_to(tmp_path / "target")
    for path in (new, old, link):
        output.check_writable("--stats", str(path))
    assert old.read_text() == "kept" and link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "old"]
    os.mkfifo(tmp_path / "pipe")
    output.check_writable("--stats", str(tmp_path / "pipe"))  # and does not wait for a reader
    for bad, why in (("nowhere/x", "No such file"), ("old/x", "Not a directory"), ("", "Is a directory")):
        with pytest.raises(CommandError, match=why):
            output.check_writable("--stats", f"{tmp_path}/{bad}")


@needs_full
def test_statistics_are_whole_or_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    output.write_whole(str(path), {"a": {"b": 1}})
    output.write_whole(str(path), {"a": {"b": 2}})
    assert path.read_text() == '{\n "a": {\n  "b": 2\n }\n}\n' and os.listdir(tmp_path) == ["stats.json"]
    with pytest.raises(CommandError, match="stats: No space left on device"):
        output.saying("stats", lambda: output.write_whole("/dev/full", {}))
