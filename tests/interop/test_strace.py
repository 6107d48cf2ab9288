"""`--strace` beside the real strace: the same program, here and on Linux, line for line.

What is made alike first: pids, addresses (here the value is told where there is none: NULL), measured times, and calls
for which the host's Python takes another name or asks more (`clock_nanosleep`, `SO_DOMAIN`).
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
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


TRIES = 6
"""On a busy host 50 ms may pass before the program's child has begun to wait: what differs, differs every time."""


Trace = Callable[..., str]


@pytest.fixture
def theirs(tmp_path: Path, terrella: str, need: Callable[..., None]) -> Iterator[Trace]:
    """What strace writes of the program on Linux. One at a time: its directory and its ports have fixed names."""
    need("strace")

    def trace(*options: str) -> str:
        out = tmp_path / "real"
        command = [terrella, "run", "--on-linux", str(PROGRAM)]
        shutil.rmtree("/tmp/trl-strace", ignore_errors=True)
        done = subprocess.run(
            ["strace", "-f", *options, "-o", str(out), "-e", f"trace={CALLS}", *command],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        shutil.rmtree("/tmp/trl-strace", ignore_errors=True)
        if not out.exists() or "close(1000)" not in out.read_text():
            missing(f"strace may not trace here: {done.stderr[-300:]}")
        return out.read_text()

    with open(Path(tempfile.gettempdir()) / "trl-strace.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield trace


@pytest.fixture
def ours(tmp_path: Path, terrella: str) -> Trace:
    def trace(*options: str) -> str:
        out = tmp_path / "ours"
        words = " ".join(["-f", *options, "-o", str(out), "-e", f"trace={CALLS}"]).replace("restart_syscall,", "")
        subprocess.run([terrella, "run", f"--strace-options={words}", str(PROGRAM)], timeout=300, capture_output=True)
        return out.read_text()

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


def settled(processes: list[list[str]]) -> list[list[str]]:
    """Without what comes anytime; then the SIGCHLDs of the first process, which come sometime."""
    lines = [[line for line in lines if not ANYTIME.search(line)] for lines in processes]
    return [*lines, [line for line in processes[0] if line.startswith("--- SIGCHLD")]]


def test_every_line_is_as_straces(theirs: Trace, ours: Trace) -> None:
    mine = ours()
    expected = settled(by_process(mine))
    for _ in range(TRIES):
        real = theirs()
        found = settled(by_process(real))
        if found == expected:
            break
    for line in (mine + real).splitlines():
        match = re.match(r"(\d+ +[a-z<].*\))( +)= [-?0-9]", line)
        assert match is None or len(match[0].rpartition("= ")[0]) == max(40, len(match[1]) + 1), line
    assert len(expected) == len(found) == 4 + 1
    for here, there in zip(expected, found):
        assert here == there
    assert len(expected[-1]) == 2


TIMED = re.compile(r"^\d+ +\d\d:\d\d:\d\d\.\d{6} (.*?)( <\d+\.\d{6}>)?$")


def shapes(text: str) -> dict[str, set[bool]]:
    """Whether lines of each kind have -T's time."""
    found: dict[str, set[bool]] = {}
    for line in text.splitlines():
        match = TIMED.match(line)
        assert match, line
        what, timed = match[1], match[2] is not None
        kind = (
            "mark" if what[:3] in ("---", "+++") else "unfinished" if what.endswith("<unfinished ...>")
            else "interrupted" if "= ? E" in what else "gone" if re.search(r"= \?$", what) else "ended"
        )  # fmt: skip
        found.setdefault(kind, set()).add(timed)
    return found


def test_times_stand_where_straces_do(theirs: Trace, ours: Trace) -> None:
    """-tt in front of each line; -T behind each call that ended, and behind nothing else."""
    expected = {"mark": {False}, "unfinished": {False}, "gone": {False}, "interrupted": {True}, "ended": {True}}
    assert shapes(ours("-tt", "-T")) == expected
    for _ in range(TRIES):
        real = shapes(theirs("-tt", "-T"))
        if real == expected:
            break
    assert real == expected
