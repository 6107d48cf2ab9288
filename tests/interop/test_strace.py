"""`--strace` beside the real strace: the same program, here and on Linux, line for line.

What is made alike first: pids, addresses (here the value is told where there is none: NULL), measured times, and calls
for which the host's Python takes another name or asks more (`clock_nanosleep`, `SO_DOMAIN`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import missing

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).parent / "strace_program.py"
CALLS = (
    "bind,chdir,clock_nanosleep,close,connect,dup,dup3,epoll_create1,epoll_ctl,epoll_pwait,eventfd2,exit_group,fcntl,"
    "fsync,ftruncate,getpid,getsockname,getsockopt,gettid,getuid,kill,listen,lseek,mkdirat,mount,nanosleep,openat,pipe2,"
    "ppoll,pread64,pwrite64,read,readv,recvfrom,restart_syscall,rt_sigprocmask,sched_yield,sendto,setitimer,"
    "setsockopt,shutdown,socket,socketpair,tgkill,timerfd_create,umask,wait4,write,writev"
)
UNTRUE = re.compile(
    r"getsockopt\(\d+, SOL_SOCKET, SO_DOMAIN|gettid\(\)|^getpid\(\)|mkdirat|rt_sigprocmask\(.*(\[USR1\]|ALRM)"
)
"""Calls that the host's Python makes of its own accord, or leaves out."""
ANYTIME = re.compile(r"^--- SIGCHLD|^wait4.*ERESTARTSYS")
"""A tracer holds a child that ends: whether its parent waits already when the signal comes is nobody's rule."""


@pytest.fixture
def both(tmp_path: Path, terrella: str, need: Callable[..., None]) -> Callable[..., tuple[str, str]]:
    need("strace")

    def trace(*options: str) -> tuple[str, str]:
        real, ours = tmp_path / "real", tmp_path / "ours"
        command = [terrella, "run", "--on-linux", str(PROGRAM)]
        shutil.rmtree("/tmp/trl-strace", ignore_errors=True)
        done = subprocess.run(
            ["strace", "-f", *options, "-o", str(real), "-e", f"trace={CALLS}", *command],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        shutil.rmtree("/tmp/trl-strace", ignore_errors=True)
        if not real.exists() or "close(1000)" not in real.read_text():
            missing(f"strace may not trace here: {done.stderr[-300:]}")
        words = " ".join(["-f", *options, "-o", str(ours), "-e", f"trace={CALLS}"]).replace("restart_syscall,", "")
        subprocess.run([terrella, "run", f"--strace-options={words}", str(PROGRAM)], timeout=120, capture_output=True)
        return real.read_text(), ours.read_text()

    return trace


def by_process(text: str) -> list[list[str]]:
    """The lines of the program's process, and of its children in order; each call in one line."""
    lines = [line.split(None, 1) for line in text.splitlines()]
    at, main = next((i, pid) for i, (pid, rest) in enumerate(lines) if "close(1000)" in rest)
    others = {pid for pid, _ in lines[:at]} - {main}
    found: dict[str, list[str]] = {main: []}
    open_lines: dict[str, str] = {}
    for pid, rest in lines[at:]:
        if pid in others:
            continue
        if rest.endswith(" <unfinished ...>"):
            open_lines[pid] = rest.removesuffix(" <unfinished ...>")
            continue
        resumed = re.search(r"<\.\.\. \w+ resumed>", rest)
        if resumed is not None:
            rest = open_lines.pop(pid) + " ~" + rest[resumed.end() :].removeprefix(" ")
        found.setdefault(pid, []).append(rest)
    return [[alike(line, list(found)) for line in lines if not UNTRUE.search(line)] for lines in found.values()]


def alike(line: str, pids: list[str]) -> str:
    line = line.replace(" ~", "")
    known = {pid: f"PID{i}" for i, pid in enumerate(pids)}
    places = r"(?<=^tgkill\()\d+, \d+|(?<=si_pid=)\d+|(?<=^kill\()\d+|(?<=wait4\()\d+"
    if line.startswith("wait4("):
        places += r"|(?<== )\d+$"
    line = re.sub(places, lambda found: ", ".join(known.get(one, one) for one in found[0].split(", ")), line)
    line = line.replace("clock_nanosleep(CLOCK_REALTIME, 0, ", "nanosleep(")
    line = line.replace("interrupted clock_nanosleep", "interrupted nanosleep")
    if line.startswith("nanosleep("):
        line = re.sub(r"\}, ?(NULL|0x\w+|\{tv_sec=\d+, tv_nsec=\d+\})\)", "}, LEFT)", line)
    line = re.sub(r"0x[0-9a-f]{9,}", "NULL", line)
    line = re.sub(r"\{ru_utime=.*?, \.\.\.\}", "RUSAGE", line)
    line = re.sub(r"si_utime=\d+, si_stime=\d+", "si_utime=0, si_stime=0", line)
    line = re.sub(r", \s*NULL, 0, NULL\)", ", NULL, 0, NULL)", line)
    return re.sub(r"\)\s+= ", ") = ", re.sub(r", +", ", ", line))


def test_every_line_is_as_straces(both: Callable[..., tuple[str, str]]) -> None:
    texts = both()
    for line in "".join(texts).splitlines():
        found = re.match(r"(\d+ +[a-z<].*\))( +)= [-?0-9]", line)
        assert found is None or len(found[0].rpartition("= ")[0]) == max(40, len(found[1]) + 1), line
    real, ours = (by_process(text) for text in texts)
    assert len(real) == len(ours) == 4
    for theirs, mine in zip(real, ours):
        assert [line for line in mine if not ANYTIME.search(line)] == [
            line for line in theirs if not ANYTIME.search(line)
        ]
    ends = [[line for line in lines[0] if line.startswith("--- SIGCHLD")] for lines in (real, ours)]
    assert ends[0] == ends[1] and len(ends[0]) == 2


TIMED = re.compile(r"^\d+ +\d\d:\d\d:\d\d\.\d{6} (.*?)( <\d+\.\d{6}>)?$")


def test_times_stand_where_straces_do(both: Callable[..., tuple[str, str]]) -> None:
    """-tt in front of each line; -T behind each call that ended, and behind nothing else."""
    for text in both("-tt", "-T"):
        shapes: dict[str, set[bool]] = {}
        for line in text.splitlines():
            found = TIMED.match(line)
            assert found, line
            what, timed = found[1], found[2] is not None
            kind = (
                "mark" if what[:3] in ("---", "+++") else "unfinished" if what.endswith("<unfinished ...>")
                else "interrupted" if "= ? E" in what else "gone" if re.search(r"= \?$", what) else "ended"
            )  # fmt: skip
            shapes.setdefault(kind, set()).add(timed)
        assert shapes == {
            "mark": {False}, "unfinished": {False}, "gone": {False}, "interrupted": {True}, "ended": {True}
        }  # fmt: skip
