"""strace's options: what they mean, and what the lines and the summary look like under them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel.abi import ENOENT, ENOSYS, O_CREAT, O_RDWR, SIGUSR1
from kernel.inject import Injector
from kernel.machine import Machine
from kernel.strace import Strace
from kernel.straceopts import When, calls_of, parse, signals_of
from tests.conftest import missing

MS = 1_000_000


def trace(words: str, function: Callable[..., Any]) -> tuple[list[str], Any]:
    text: list[str] = []
    results: list[Any] = []
    options = parse(words)
    with Machine("m", VirtualTimeline(1)) as machine:
        strace = Strace(text.append, options=options)
        machine.trace.append(strace)
        machine.trace.append(Injector(options.injections))
        process = machine.spawn(lambda sys: results.append(function(sys)))
        assert machine.run(None, process)
        strace.close()
    return "".join(text).splitlines(), results[0] if results else None


@pytest.mark.parametrize("text, meant", [
    ("1", [1]), ("3", [3]), ("2+", [2, 3, 4, 5, 6, 7, 8]), ("2+3", [2, 5, 8]), ("2..4", [2, 3, 4]),
    ("1..7+3", [1, 4, 7]), ("1+1", [1, 2, 3, 4, 5, 6, 7, 8]),
])  # fmt: skip
def test_when(text: str, meant: list[int]) -> None:
    assert [n for n in range(1, 9) if When(text).meant(n)] == meant


@pytest.mark.parametrize("words", [
    "-e inject=openat", "-e inject=openat:when=0", "-e inject=openat:when=4..2", "-e inject=nothing:error=1", "-Q",
    "-e inject=openat:error=EWHAT", "-e trace=nothing", "-e trace=%nothing", "-s x", "-o", "program", "--nothing",
    "-e inject=read:error=EIO:retval=1", "-e signal=NOSIG", "-e status=maybe", "-S what", "-e fault=read:retval=1",
])  # fmt: skip
def test_what_strace_would_not_take(words: str) -> None:
    with pytest.raises(ValueError, match=r"invalid|unrecognized|requires|no option"):
        parse(words)


def test_sets() -> None:
    assert {"read", "write", "close"} <= calls_of("%desc")
    assert {"openat", "unlinkat"} <= calls_of("file") and "read" not in calls_of("%file")
    assert calls_of("!all") == frozenset() == calls_of("none")
    assert calls_of("/^get.id$") >= {"getpid", "getuid", "getgid"}
    assert calls_of("?nothing,read") == {"nothing", "read"}
    assert signals_of("int,SIGTERM,RTMIN+2") == {2, 15, 34}
    assert len(signals_of("!SIGCHLD")) == 63


def test_injected_errors() -> None:
    def main(sys: Any) -> list[int | None]:
        found: list[int | None] = []
        for i in range(6):
            try:
                sys.open(f"/f{i}", O_CREAT | O_RDWR)
                found.append(None)
            except OSError as error:
                found.append(error.errno)
        try:
            sys.sync()
        except OSError as error:
            found.append(error.errno)
        return found

    lines, found = trace("-e trace=openat,sync -e inject=openat:error=ENOENT:when=2+2 -e fault=sync", main)
    assert found == [None, ENOENT, None, ENOENT, None, ENOENT, ENOSYS]
    assert lines[1].endswith("= -1 ENOENT (No such file or directory) (INJECTED)")
    assert lines[6] == "sync()                                  = -1 ENOSYS (Function not implemented) (INJECTED)"


def test_injected_values_signals_and_delays() -> None:
    def main(sys: Any) -> tuple[int, int, list[int], int]:
        seen: list[int] = []
        sys.rt_sigaction(SIGUSR1, lambda sys, n, info: seen.append(n))
        first, second = sys.getppid(), sys.getppid()
        sys.getuid()
        begin = sys.clock_gettime(1)
        sys.getgid()
        return first, second, seen, sys.clock_gettime(1) - begin

    words = "-e inject=getppid:retval=77:when=1 -e inject=getuid:signal=USR1 -e inject=getgid:delay_exit=5ms"
    lines, (first, second, seen, taken) = trace(words + " -T", main)
    assert (first, second, seen) == (77, 1, [SIGUSR1]) and 5 * MS <= taken < 6 * MS
    text = "\n".join(lines)
    assert "getppid()                               = 77 (INJECTED) <" in text
    assert re.search(r"getgid\(\) += 0 \(DELAYED\) <0\.005", text)
    assert "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_KERNEL} ---" in text


def test_only_the_first_without_f() -> None:
    def main(sys: Any) -> None:
        sys.wait4(sys.spawn(lambda sys: sys.getuid()))

    alone, _ = trace("-e trace=getuid,wait4", main)
    both, _ = trace("-f -e trace=getuid,wait4", main)
    assert not any("getuid" in line for line in alone) and any("getuid" in line for line in both)
    assert any(re.fullmatch(r"strace: Process \d+ attached", line) for line in both)
    quiet, _ = trace("-f -q", main)
    assert not any("attached" in line for line in quiet)


def test_times_strings_paths_and_results() -> None:
    def main(sys: Any) -> None:
        fd = sys.open("/f", O_CREAT | O_RDWR)
        sys.write(fd, b"0123456789")
        with pytest.raises(OSError):
            sys.close(77)

    lines, _ = trace("-ttt -s 4 -y -e trace=openat,write,close", main)
    assert re.fullmatch(r'\d+\.\d{6} openat\(AT_FDCWD</>, "/f", O_RDWR\|O_CREAT, 0666\) = 3</f>', lines[0])
    assert re.fullmatch(r'\d+\.\d{6} write\(3</f>, "0123"\.\.\., 10\) += 10', lines[1])
    failed, _ = trace("-Z -e trace=openat,write,close", main)
    assert failed[0] == "close(77)                               = -1 EBADF (Bad file descriptor)"
    good, _ = trace("-z -P /f", main)
    assert [line.split("(")[0] for line in good[:2]] == ["openat", "write"] and "close" not in "".join(good)


def table_of(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_summary() -> None:
    def main(sys: Any) -> None:
        for _ in range(3):
            sys.getpid()
        with pytest.raises(OSError):
            sys.close(77)

    lines, _ = trace("-c", main)
    assert lines[0] == "% time     seconds  usecs/call     calls    errors syscall"
    assert lines[1] == "------ ----------- ----------- --------- --------- ----------------" == lines[-2]
    rows = {row[-1]: row for row in table_of(lines[2:-2])}
    assert rows["getpid"][3] == "3" and rows["close"][3:5] == ["1", "1"]
    assert table_of(lines)[-1][-1] == "total" and lines[-1].startswith("100.00 ")
    shown, _ = trace("-C -S calls", main)
    assert shown[0].startswith("getpid()") and "% time     seconds  usecs/call     calls    errors syscall" in shown


@pytest.mark.interop
def test_the_summary_is_the_real_ones(tmp_path: Path) -> None:
    """Head, rules and the width of each column are those of the real strace."""
    if shutil.which("strace") is None:
        missing("strace is not installed")
    out = tmp_path / "real"
    subprocess.run(["strace", "-c", "-o", str(out), "/bin/true"], check=False, capture_output=True)
    if not out.exists() or not out.read_text():
        missing("strace may not trace here")
    real = out.read_text().splitlines()
    ours, _ = trace("-c", lambda sys: sys.getpid())
    assert ours[:2] == real[:2] and ours[-2] == real[-2]
    shape = re.compile(r"^.{6} .{11} .{11} .{9} .{9} \w+$")
    assert shape.match(ours[2]) and shape.match(real[2]) and shape.match(ours[-1]) and shape.match(real[-1])
