"""strace's own text: golden lines, and the shape of unfinished ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel.abi import AF_INET, O_CLOEXEC, O_CREAT, O_RDWR, SA_RESTART, SIGUSR1, SOCK_STREAM
from kernel.decode import flags_text, names_of, quoted
from kernel.machine import Machine
from kernel.strace import Strace

MS = 1_000_000


def trace(function: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
    text: list[str] = []
    with Machine("m", VirtualTimeline(1)) as machine:
        strace = Strace(text.append, **options)
        machine.trace.append(strace)
        process = machine.spawn(function, *args)
        assert machine.run(None, process)
        strace.close()
    return "".join(text).splitlines()


def test_golden_lines() -> None:
    def main(sys: Any) -> int:
        fd = sys.open("/etc", 0o200000)
        return int(fd)

    def handler(sys: Any, signum: int, info: Any) -> None:
        pass

    def calls(sys: Any) -> int:
        sys.write(1, b'hello\n\x01\x002"')
        sys.write(1, bytes(40))
        fd = sys.open("/f", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        sys.write(fd, b"abc")
        sys.pread64(fd, 4096, 0)
        sys.close(fd)
        for call in (lambda: sys.open("/none/x", 0), lambda: sys.close(77)):
            with pytest.raises(OSError):
                call()
        sys.rt_sigaction(SIGUSR1, handler, SA_RESTART)
        sys.kill(sys.getpid(), SIGUSR1)
        sys.pipe2(O_CLOEXEC)
        sys.nanosleep(1_500 * MS)
        s = sys.socket(AF_INET, SOCK_STREAM | O_CLOEXEC)
        sys.bind(s, ("127.0.0.1", 80))
        return 3

    zeros = "\\0" * 32
    assert trace(calls) == [
        'write(1, "hello\\n\\1\\0002\\"", 10)        = 10',
        f'write(1, "{zeros}"..., 40) = 40',
        'openat(AT_FDCWD, "/f", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 3',
        'write(3, "abc", 3)                      = 3',
        'pread64(3, "abc", 4096, 0)              = 3',
        "close(3)                                = 0",
        'openat(AT_FDCWD, "/none/x", O_RDONLY)   = -1 ENOENT (No such file or directory)',
        "close(77)                               = -1 EBADF (Bad file descriptor)",
        "rt_sigaction(SIGUSR1, {sa_handler=handler, sa_mask=[], sa_flags=SA_RESTART}, "
        "{sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, 8) = 0",
        "getpid()                                = 2",
        "kill(2, SIGUSR1)                        = 0",
        "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=2, si_uid=0} ---",
        "pipe2([3, 4], O_CLOEXEC)                = 0",
        "nanosleep({tv_sec=1, tv_nsec=500000000}, NULL) = 0",
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 5",
        'bind(5, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        "exit_group(3)                           = ?",
        "+++ exited with 3 +++",
    ]
    assert main


def test_unfinished_and_resumed() -> None:
    def child(sys: Any, r: int) -> None:
        sys.read(r, 9)

    def main(sys: Any) -> None:
        r, w = sys.pipe2()
        pid = sys.spawn(child, r)
        sys.nanosleep(MS)
        sys.write(w, b"x")
        sys.wait4(pid)

    lines = trace(main)
    assert lines[1] == "clone(child_stack=NULL, flags=SIGCHLD)  = 3"
    assert "[pid     3] read(3,  <unfinished ...>" in lines
    assert '[pid     3] <... read resumed>"x", 9)   = 1' in lines
    ended = re.compile(r"wait4.*\[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == 0\}\], 0, \{ru_utime=.*, \.\.\.\}\) = 3$")
    assert any(ended.search(line) for line in lines)
    assert any("--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=3, si_uid=0, si_status=0" in x for x in lines)
    begun = sum("<unfinished ...>" in x for x in lines)
    assert begun == sum(" resumed>" in x for x in lines)


def test_death_by_signal_and_prefixes() -> None:
    def main(sys: Any) -> None:
        sys.kill(sys.getpid(), 15)

    lines = trace(main, follow=True, times=True, durations=True)
    assert all(re.match(r"2     \d\d:\d\d:\d\d\.\d{6} ", line) for line in lines)
    assert lines[-1].endswith("+++ killed by SIGTERM +++")
    assert re.search(r"= 2 <0\.000\d{3}>$", lines[0])


def test_only_some_calls() -> None:
    def main(sys: Any) -> None:
        sys.getpid()
        sys.getppid()

    assert trace(main, only=frozenset({"getppid"}))[0].startswith("getppid()")


def test_strange_values_do_not_disturb_the_program() -> None:
    def main(sys: Any, traced: list[Any]) -> None:
        for call in (
            lambda: sys.read("x", None), lambda: sys.write(1, 5), lambda: sys.open(3.5, "r"),
            lambda: sys.kill("a", "b"),
            lambda: sys.wait4("z"), lambda: sys.nanosleep("soon"), lambda: sys.prlimit64(0, 7, 4), lambda: sys.ppoll(7),
        ):  # fmt: skip
            try:
                call()
                traced.append("no error")
            except OSError as error:
                traced.append(error.errno)

    seen: list[Any] = []
    lines = trace(main, seen)
    plain: list[Any] = []
    with Machine("m", VirtualTimeline(1)) as machine:
        machine.spawn(main, plain)
        assert machine.run()
        assert b"Traceback" not in machine.console.output  # type: ignore[attr-defined]
    assert seen == plain and "no error" not in seen
    assert len(lines) >= 8


def test_quoting_and_flags() -> None:
    assert quoted(b'a"\\\t\x07\x1b[0m\xff') == '"a\\"\\\\\\t\\7\\33[0m\\377"'
    assert quoted(b"\x012", None) == '"\\0012"'
    assert quoted(b"x" * 40, 32) == '"' + "x" * 32 + '"...'
    shown = flags_text(0x4042, names_of("MSG_"))
    assert sorted(shown.split("|")) == ["MSG_DONTWAIT", "MSG_NOSIGNAL", "MSG_PEEK"]
    assert flags_text(1 << 30, {1: "A"}) == "0x40000000"
