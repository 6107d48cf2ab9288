"""What commands write, where it can't be written: a message that says which file and why, a status, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import output
from tools.cli import main
from tools.errors import CommandError

ROOT = Path(__file__).resolve().parents[3]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="a device that is always full is Linux's")
PROGRAM = "def main(sys, argv):\n    sys.write(1, b'hello\\n')\n"
LONG = """
def main(sys, argv):
    for number in range(500):
        try:
            sys.write(1, b'%d\\n' % number)
            sys.getpid()
        except OSError as why:
            sys.write(1, b'disturbed: %r\\n' % why)
"""
LONG_OUTPUT = "".join(f"{number}\n" for number in range(500))
SCRIPT = "// a socket\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = %s\n"


def command(where: Path, *words: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *words], cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True, timeout=120,
    )  # fmt: skip


def terrella(where: Path, *words: str, full: bool = False) -> tuple[int, str]:
    """Exit status and standard error of a command; `full`: its standard output takes nothing."""
    with open(FULL if full else os.devnull, "wb") as out:
        done = command(where, *words, stdout=out)
    return done.returncode, done.stderr


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PROGRAM)
    (tmp_path / "good.pkt").write_text(SCRIPT % 3)
    (tmp_path / "bad.pkt").write_text(SCRIPT % "-1")
    (tmp_path / "out").mkdir()
    for name in ("demo.pcapng", "bad.pcapng"):
        (tmp_path / "out" / name).symlink_to(FULL)
    (tmp_path / "there" / "demo.pcapng").mkdir(parents=True)
    (tmp_path / "there" / "2").touch()
    return tmp_path


@needs_full
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "--perfetto", "/dev/full", "p.py"], 125, "--perfetto /dev/full: No space left on device"),
        (["run", "--strace-file", "/dev/full", "p.py"], 125, "strace into /dev/full: No space left on device"),
        (["run", "--perfetto", "nowhere/x", "p.py"], 125, "--perfetto nowhere/x: No such file or directory"),
        (["run", "--strace-file", "nowhere/x", "p.py"], 125, "strace into nowhere/x: No such file or directory"),
        (["demo", "--out", "out"], 1, "--out out/demo.pcapng: No space left on device"),
        (["demo", "--out", "there"], 1, "--out there/demo.pcapng: Is a directory"),
        (["demo", "--out", "p.py/x"], 1, "--out p.py/x: Not a directory"),
        (["packetdrill", "--captures", "p.py/x", "good.pkt"], 1, "--captures p.py/x: Not a directory"),
        (["packetdrill", "--captures", "out", "bad.pkt"], 1,
         "--captures out: out/bad.pcapng: No space left on device"),
        (["packetdrill", "--captures", "there", "bad.pkt", "bad.pkt"], 2,
         "--captures there: there/2: it is a file, and a directory is wanted"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_file_that_cannot_be_written(where: Path, words: list[str], status: int, said: str) -> None:
    code, errors = terrella(where, *words)
    assert (code, "Traceback" in errors) == (status, False), errors
    assert said in errors


@needs_full
@pytest.mark.parametrize("option", [[], ["--strace-file"], ["--perfetto"], ["--strace"]], ids=" ".join)
def test_the_program_does_not_hear_of_a_trace_that_cannot_be_written(where: Path, option: list[str]) -> None:
    """It runs to its end as it does untraced; then the command has failed."""
    (where / "p.py").write_text(LONG)
    file = option != ["--strace"]
    with open(FULL, "w") as full:
        words = ["run", *option, *(["/dev/full"] if option and file else []), "p.py"]
        done = command(where, *words, stderr=subprocess.PIPE if file else full)
    assert (done.returncode, done.stdout) == (125 if option else 0, LONG_OUTPUT)
    assert not file or ("No space left on device" in done.stderr) == bool(option)
    assert not done.stderr or done.stderr.count("\n") == 1, "no traceback"


@needs_full
def test_each_file_is_named(where: Path) -> None:
    (where / "p.py").write_text(LONG)
    done = command(where, "run", "--perfetto", "/dev/full", "--strace-file", "/dev/full", "p.py")
    assert (done.returncode, done.stdout) == (125, LONG_OUTPUT)
    full = "/dev/full: No space left on device\n"
    assert done.stderr == f"terrella: --perfetto {full}terrella: strace into {full}"


@needs_full
def test_a_capture_that_cannot_be_written_takes_no_verdict_with_it(where: Path) -> None:
    words = ["packetdrill", "--captures", "out", "good.pkt", "bad.pkt", "good.pkt"]
    done = command(where, words[0], "--json", *words[1:])
    found = json.loads(done.stdout)
    assert [one["passed"] for one in found] == [True, False, True]
    assert found[1]["unsaved"] == "out/bad.pcapng: No space left on device" and "capture" not in found[1]
    said = command(where, *words)
    assert said.stdout.count("ok ") == 2 and said.stdout.count("FAIL ") == 1
    assert said.stderr.startswith("terrella: --captures out: out/bad.pcapng: No space left") and said.returncode == 1


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The simulated kernel's errors have the numbers of the host's: what escapes from it is no full disk."""
    (tmp_path / "p.py").write_text(PROGRAM)

    def run(args: object) -> int:
        raise OSError(errno.ENOSPC, "from inside")

    monkeypatch.setattr("tools.run.run", run)
    with pytest.raises(OSError, match="from inside"):
        main(["run", str(tmp_path / "p.py")])


def test_statistics_in_passing_are_tried_again_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(0)
        raise CommandError("--stats x: full")

    output.in_passing(write)(0)
    assert tries and capsys.readouterr().err == "terrella: --stats x: full\n"


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
