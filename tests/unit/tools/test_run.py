"""`terrella run`: streams, exit statuses, strace, and the same run twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def go(source: str, *options: str, args: tuple[str, ...] = (), stdin: bytes = b"", hash_seed: str = "0") -> object:
        program = tmp_path / "prog.py"
        program.write_text("from userland.abi import *\n" + textwrap.dedent(source))
        return subprocess.run(
            [sys.executable, "-m", "tools.cli", "run", *options, str(program), *args],
            capture_output=True, input=stdin, timeout=300, env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )  # fmt: skip

    return go  # type: ignore[return-value]


def test_descriptors_are_byte_transparent_and_apart(run: Run) -> None:
    data = bytes(range(256)) * 300
    done = run(
        """
        def main(sys, argv):
            while block := sys.read(0, 5000):
                sys.write(1, block)
            sys.write(2, " ".join(argv[1:]).encode())
        """,
        args=("--seed", "x y"), stdin=data,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == (data, b"--seed x y", 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return None", 0), ("return 300", 44), ("return -1", 255), ("sys.exit(7)", 7), ("sys.exit_group(8)", 8),
        ("sys.kill(sys.getpid(), SIGKILL)", 137), ("sys.kill(sys.getpid(), SIGTERM)", 143), ("1 / 0", 1),
        ("r, w = sys.pipe2(0); sys.close(r); sys.write(w, b'x')", 141), ("raise SystemExit(9)", 9),
        ("return 'text'", 1), ("sys.execve('/none', ['none'], {})", 1),
    ],
)  # fmt: skip
def test_exit_status(run: Run, body: str, status: int) -> None:
    done = run(f"def main(sys, argv):\n    {body}\n")
    assert done.returncode == status, done.stderr.decode()
    if "1 / 0" in body:
        assert b"ZeroDivisionError" in done.stderr and b"prog.py" in done.stderr and b"kernel/" not in done.stderr


@pytest.mark.parametrize(
    "body",
    ["sys.pause()", "r, w = sys.pipe2(0); sys.read(r, 1)", "sys.spawn(lambda sys: sys.pause()); sys.wait4()"],
)
def test_all_asleep_for_ever_is_said(run: Run, body: str) -> None:
    done = run(f"def main(sys, argv):\n    {body}\n")
    assert done.returncode == 125 and b"sleep for ever" in done.stderr


@pytest.mark.parametrize(
    ("options", "status"),
    [(("--nonsense",), 2), (("--cpus", "0"), 2), (("--sched", "lottery"), 2), (("--on-linux", "--strace"), 2)],
)
def test_wrong_usage(run: Run, options: tuple[str, ...], status: int) -> None:
    done = run("def main(sys, argv): pass\n", *options)
    assert done.returncode == status and b"Traceback" not in done.stderr and done.stdout == b""


@pytest.mark.parametrize(("source", "message"), [("x = 1\n", b"main(sys, argv)"), ("def main(:\n", b"prog.py:2")])
def test_what_is_not_a_program(run: Run, source: str, message: bytes) -> None:
    done = run(source)
    assert done.returncode in (1, 125) and message in done.stderr and b"kernel" not in done.stderr


def test_a_missing_program(run: Run) -> None:
    done = subprocess.run([sys.executable, "-m", "tools.cli", "run", "/none.py"], capture_output=True, timeout=300)
    assert done.returncode == 125 and b"/none.py: neither a file here nor a program inside" in done.stderr


def test_a_program_inside(run: Run) -> None:
    command = [sys.executable, "-m", "tools.cli", "run", "/usr/bin/fetch", "http://10.9.9.9/"]
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode == 1 and done.stderr.startswith(b"fetch: http://10.9.9.9/: ")


def test_a_reader_that_goes_away_is_sigpipe(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "yes.py"
    program.write_text("def main(sys, argv):\n    while True:\n        sys.write(1, b'y' * 1000)\n")
    r, w = os.pipe()
    os.close(r)
    done = subprocess.run([sys.executable, "-m", "tools.cli", "run", str(program)], stdout=w, timeout=300)
    os.close(w)
    assert done.returncode == 141


def test_what_the_program_leaves_is_killed(run: Run) -> None:
    done = run(
        """
        def busy(sys):
            while True:
                pass

        def main(sys, argv):
            for _ in range(3):
                sys.spawn(busy)
            sys.nanosleep(5_000_000)
            return 4
        """
    )
    assert done.returncode == 4


def test_a_busy_loop_keeps_nobody_from_running(run: Run) -> None:
    done = run(
        """
        def busy(sys):
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass

        def main(sys, argv):
            pid = sys.spawn(busy)
            for i in range(3):
                sys.nanosleep(10_000_000)
                sys.write(1, b"tick ")
            sys.kill(pid, SIGKILL)
            return sys.wait4(pid)[1]
        """
    )
    assert (done.stdout, done.returncode) == (b"tick tick tick ", 9), done.stderr


@pytest.mark.parametrize(("cpus", "elapsed_ms"), [(1, 80), (2, 40), (8, 10)])
def test_processors_share_the_work(run: Run, cpus: int, elapsed_ms: int) -> None:
    done = run(
        """
        def main(sys, argv):
            before = sys.clock_gettime(CLOCK_MONOTONIC)
            for _ in range(8):
                sys.spawn(lambda sys: sys.cpu(10_000_000))
            for _ in range(8):
                sys.wait4()
            sys.write(1, b"%d" % (sys.clock_gettime(CLOCK_MONOTONIC) - before))
        """,
        "--cpus", str(cpus),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert abs(int(done.stdout) / 1e6 - elapsed_ms) <= elapsed_ms / 100


PROGRAM = """
def child(sys, n, w):
    for i in range(n):
        sys.nanosleep(1000 * n)
        sys.write(w, b"%d " % n)

def main(sys, argv):
    r, w = sys.pipe2(0)
    for n in range(2, 9):
        sys.spawn(child, n, w)
    sys.close(w)
    while block := sys.read(r, 5):
        sys.write(1, block)
    sys.write(1, sys.getrandom(8).hex().encode())
"""


def test_the_same_seed_gives_the_same_trace(run: Run, tmp_path: Path) -> None:
    said = []
    for seed, hash_seed in (("1", "1"), ("1", "2"), ("2", "1")):
        trace = tmp_path / "trace"
        done = run(PROGRAM, "--seed", seed, "--cpus", "3", "--strace-file", str(trace), hash_seed=hash_seed)
        assert done.returncode == 0, done.stderr
        said.append((done.stdout, trace.read_text()))
    assert said[0] == said[1] != said[2]


def test_strace_is_stracess_format(run: Run) -> None:
    done = run(PROGRAM, "--strace")
    lines = done.stderr.decode().splitlines()
    assert any(re.search(r'\bwrite\(\d+, "2 ", 2\)\s+= 2\b', line) for line in lines), lines[:20]
    assert any(re.search(r"\bexit_group\(0\)\s+= \?", line) for line in lines)
    assert any(re.search(r"\+\+\+ exited with 0 \+\+\+", line) for line in lines)
