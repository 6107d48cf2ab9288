"""Processes and signals: zombies, orphans, wait status, SIGCHLD, exec, death. Every test is a small program of the
ABI.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel.abi import (
    SA_NOCLDWAIT,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGALRM,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    WCONTINUED,
    WNOHANG,
    WUNTRACED,
)
from kernel.machine import Machine

MS = 1_000_000


def run(
    function: Callable[..., Any], *args: Any, cpus: int = 1, until: int | None = 60_000 * MS
) -> tuple[list[Any], Machine]:
    """Run `function(sys, log, *args)`; what it logged, and the machine (closed)."""
    log: list[Any] = []
    with Machine("m", VirtualTimeline(1), cpus=cpus) as machine:
        process = machine.spawn(function, log, *args)
        assert machine.run(until, process), f"all asleep: {machine.sleepers()}"
        assert process.exit_status is not None, "still running"
        log.append(process.exit_status)
    return log, machine


def nap(sys: Any, ms: int = 1) -> None:
    sys.nanosleep(ms * MS)


def test_exit_statuses() -> None:
    def ends(sys: Any, how: str) -> Any:
        if how == "none":
            return None
        if how == "big":
            return 0x1FF
        if how == "exit":
            sys.exit(7)
        if how == "kill":
            sys.kill(sys.getpid(), SIGTERM)
        if how == "raise":
            raise ValueError("no")
        if how == "SystemExit":
            raise SystemExit(4)
        return "a string"

    def main(sys: Any, log: list[Any]) -> None:
        for how in ("none", "big", "exit", "kill", "raise", "SystemExit", "string"):
            pid = sys.spawn(ends, how)
            log.append(sys.wait4(pid)[1])

    log, machine = run(main)
    assert log == [0, 0xFF00, 7 << 8, SIGTERM, 1 << 8, 4 << 8, 0, 0]
    output = machine.console.output.decode()  # type: ignore[attr-defined]
    assert "ValueError: no" in output


def test_traceback_shows_the_programs_own_lines_only() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        def inner() -> None:
            for _ in range(3):
                sys.read(99, 1)

        inner()

    _, machine = run(main)
    output = machine.console.output.decode()  # type: ignore[attr-defined]
    assert "sys.read(99, 1)" in output
    assert "in inner" in output and "in main" in output
    assert "/kernel/" not in output.replace("tests/unit/kernel", "") and "system call" not in output
    assert "OSError: [Errno 9]" in output


def test_a_zombie_stays_until_waited_for() -> None:
    def child(sys: Any) -> int:
        return 3

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(child)
        nap(sys)
        sys.kill(pid, 0)  # a zombie still has its pid
        log.append(sys.wait4(-1, WNOHANG)[:2] == (pid, 3 << 8))
        with pytest.raises(ProcessLookupError):
            sys.kill(pid, 0)
        with pytest.raises(ChildProcessError):
            sys.wait4(-1)

    assert run(main)[0] == [True, 0]


def test_wait_chooses_by_pid_group_and_any() -> None:
    def child(sys: Any, ms: int) -> int:
        nap(sys, ms)
        return ms

    def main(sys: Any, log: list[Any]) -> None:
        a, b, c = (sys.spawn(child, ms) for ms in (3, 1, 2))
        sys.setpgid(c, 0)
        log.append(sys.wait4(-1, WNOHANG)[:2])
        log.append(sys.wait4(a)[0] == a)
        log.append(sys.wait4(-c)[0] == c)
        log.append(sys.wait4(0)[0] == b)
        with pytest.raises(OSError) as wrong:
            sys.wait4(-1, 0x4000)
        log.append(wrong.value.errno)

    assert run(main)[0] == [(0, 0), True, True, True, errno.EINVAL, 0]


def test_orphans_go_to_init_which_reaps() -> None:
    def grandchild(sys: Any, log: list[Any]) -> None:
        log.append(sys.getppid())
        nap(sys, 5)
        log.append(sys.getppid())

    def child(sys: Any, log: list[Any]) -> None:
        sys.spawn(grandchild, log)
        nap(sys)

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(child, log)
        sys.wait4(pid)
        nap(sys, 20)
        log.append(log[0] == pid)

    log, machine = run(main)
    assert log[1:] == [1, True, 0]
    assert all(pid <= 2 for pid in machine.processes.groups)  # main itself ended with the machine


@pytest.mark.parametrize("how", ["ignore", "nocldwait", "default"])
def test_ignored_sigchld_leaves_no_zombie(how: str) -> None:
    def child(sys: Any) -> int:
        return 1

    def main(sys: Any, log: list[Any]) -> None:
        if how == "ignore":
            sys.rt_sigaction(SIGCHLD, SIG_IGN)
        elif how == "nocldwait":
            sys.rt_sigaction(SIGCHLD, SIG_DFL, SA_NOCLDWAIT)
        pid = sys.spawn(child)
        try:
            log.append(sys.wait4(pid)[0] == pid)
        except ChildProcessError:
            log.append("ECHILD")

    assert run(main)[0] == [True if how == "default" else "ECHILD", 0]


def test_sigchld_tells_who_and_how() -> None:
    def child(sys: Any) -> int:
        return 5

    def main(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append((signum, info.si_pid == pid, info.si_status))

        sys.rt_sigaction(SIGCHLD, handler)
        pid = sys.spawn(child)
        with pytest.raises(InterruptedError):
            sys.pause()

    assert run(main)[0] == [(SIGCHLD, True, 5), 0]


def test_stop_and_continue_are_reported_once() -> None:
    def child(sys: Any) -> None:
        while True:
            nap(sys)

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(child)
        sys.kill(pid, SIGSTOP)
        log.append(sys.wait4(pid, WUNTRACED)[1])
        log.append(sys.wait4(pid, WUNTRACED | WNOHANG)[0])
        sys.kill(pid, SIGCONT)
        log.append(sys.wait4(pid, WCONTINUED)[1])
        sys.kill(pid, SIGSTOP)
        nap(sys)
        sys.kill(pid, SIGKILL)  # ends a stopped process too
        log.append(sys.wait4(pid)[1])

    assert run(main)[0] == [SIGSTOP << 8 | 0x7F, 0, 0xFFFF, SIGKILL, 0]


def test_a_stopped_process_does_not_run() -> None:
    def child(sys: Any, log: list[Any]) -> None:
        while True:
            log.append("ran")
            nap(sys)

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(child, log)
        nap(sys, 3)
        sys.kill(pid, SIGSTOP)
        nap(sys, 3)
        before = len(log)
        nap(sys, 50)
        same = len(log) == before
        sys.kill(pid, SIGCONT)
        nap(sys, 5)
        more = len(log) > before
        log[:] = [same, more]
        sys.kill(pid, SIGKILL)

    assert run(main)[0][:2] == [True, True]


def test_restart_and_eintr() -> None:
    """signal(7): read restarts after a handler with SA_RESTART; nanosleep and pause never do."""

    def killer(sys: Any, pid: int) -> None:
        nap(sys)
        sys.kill(pid, SIGUSR1)

    def main(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append("handler")
            sys.write(w, b"x")

        r, w = sys.pipe2()
        for flags in (SA_RESTART, 0):
            sys.rt_sigaction(SIGUSR1, handler, flags)
            sys.spawn(killer, sys.getpid())
            try:
                log.append(sys.read(r, 1))
            except InterruptedError:
                log.append("EINTR")
        sys.rt_sigaction(SIGUSR1, handler, SA_RESTART)
        sys.spawn(killer, sys.getpid())
        try:
            sys.nanosleep(100 * MS)
        except InterruptedError as error:
            log.append(98 * MS < error.remaining_ns < 100 * MS)  # type: ignore[attr-defined]

    assert run(main)[0] == ["handler", b"x", "handler", "EINTR", "handler", True, 0]


def test_a_stop_does_not_interrupt_a_sleep() -> None:
    def sleeper(sys: Any, log: list[Any]) -> None:
        began = sys.clock_gettime(1)
        nap(sys, 20)
        log.append((sys.clock_gettime(1) - began) // MS)

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(sleeper, log)
        nap(sys, 5)
        sys.kill(pid, SIGSTOP)
        nap(sys, 5)
        sys.kill(pid, SIGCONT)
        sys.wait4(pid)

    assert run(main)[0] == [20, 0]


def test_mask_pending_and_order() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append((signum, info.si_value))

        for n in (SIGUSR1, SIGUSR2, 40, 41):
            sys.rt_sigaction(n, handler)
        old = sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2, 40, 41, SIGKILL])
        me = sys.getpid()
        for n in (41, 40, SIGUSR2, SIGUSR1, SIGUSR1):
            sys.kill(me, n)
        sys.rt_sigqueueinfo(me, 40, 9)
        log.append(sys.rt_sigpending() == {SIGUSR1, SIGUSR2, 40, 41})
        log.append(SIGKILL not in sys.rt_sigprocmask(SIG_SETMASK, old))

    # Standard signals coalesce, real-time ones queue in order. A frame is set up for each, the lowest number first, so
    # that the handler of the last one runs first.
    assert run(main)[0] == [True, (41, 0), (40, 0), (40, 9), (SIGUSR2, 0), (SIGUSR1, 0), True, 0]


@pytest.mark.parametrize(
    ("flags", "expected"), [(0, ["in", "out", "in", "out"]), (SA_NODEFER, ["in", "in", "out", "out"])]
)
def test_handlers_nest_only_with_nodefer(flags: int, expected: list[str]) -> None:
    def main(sys: Any, log: list[Any]) -> None:
        count = 0

        def handler(sys: Any, signum: int, info: Any) -> None:
            nonlocal count
            log.append("in")
            count += 1
            if count == 1:
                sys.kill(sys.getpid(), SIGUSR1)
            log.append("out")

        sys.rt_sigaction(SIGUSR1, handler, flags)
        sys.kill(sys.getpid(), SIGUSR1)

    assert run(main)[0] == [*expected, 0]


def test_resethand_and_kill_cannot_be_caught() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append("handler")

        for n in (SIGKILL, SIGSTOP):
            with pytest.raises(OSError) as wrong:
                sys.rt_sigaction(n, handler)
            assert wrong.value.errno == errno.EINVAL
        sys.rt_sigaction(SIGUSR1, handler, SA_RESETHAND)
        sys.kill(sys.getpid(), SIGUSR1)
        sys.kill(sys.getpid(), SIGUSR1)

    assert run(main)[0] == ["handler", SIGUSR1]


def test_sigsuspend_swaps_the_mask_atomically() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append("handler")

        sys.rt_sigaction(SIGUSR1, handler)
        sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1])
        sys.kill(sys.getpid(), SIGUSR1)  # pending before the wait: must not be lost
        log.append("before")
        with pytest.raises(InterruptedError):
            sys.rt_sigsuspend([])
        log.append(sys.rt_sigprocmask(SIG_BLOCK, []) == {SIGUSR1})

    assert run(main)[0] == ["before", "handler", True, 0]


def test_sigtimedwait() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGALRM])
        with pytest.raises(BlockingIOError):
            sys.rt_sigtimedwait([SIGUSR1], MS)
        sys.setitimer(0, 5 * MS)
        log.append(sys.rt_sigtimedwait([SIGALRM, SIGUSR1]).si_signo)
        sys.kill(sys.getpid(), SIGUSR1)
        log.append(sys.rt_sigtimedwait([SIGUSR1], 0).si_signo)

    assert run(main)[0] == [SIGALRM, SIGUSR1, 0]


def test_signals_cut_cpu_time_short() -> None:
    def burner(sys: Any, log: list[Any]) -> None:
        def handler(sys: Any, signum: int, info: Any) -> None:
            log.append(sys.clock_gettime(1) // MS)

        sys.rt_sigaction(SIGUSR1, handler)
        began = sys.clock_gettime(1)
        sys.cpu(50 * MS)
        log.append((sys.clock_gettime(1) - began) // MS)
        sys.cpu(10_000 * MS)

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(burner, log)
        nap(sys, 10)
        sys.kill(pid, SIGUSR1)
        nap(sys, 100)
        sys.kill(pid, SIGKILL)
        log.append(sys.wait4(pid)[1])

    assert run(main, cpus=2)[0] == [10, 50, SIGKILL, 0]


@pytest.mark.parametrize("stubborn", ["loop", "handler of all", "finally", "calls"])
def test_nothing_survives_kill(stubborn: str) -> None:
    def child(sys: Any) -> None:
        if stubborn == "loop":
            while True:
                pass
        if stubborn == "handler of all":
            while True:
                try:
                    while True:
                        sys.getpid()
                except BaseException:
                    pass
        if stubborn == "finally":
            try:
                nap(sys, 1000)
            finally:
                while True:
                    try:
                        nap(sys, 1)
                    except BaseException:
                        continue
        while True:
            try:
                sys.wait4()
            except BaseException:
                pass

    def main(sys: Any, log: list[Any]) -> None:
        pid = sys.spawn(child)
        nap(sys, 5)
        sys.kill(pid, SIGKILL)
        log.append(sys.wait4(pid)[1])

    assert run(main)[0] == [SIGKILL, 0]


def test_exit_ends_every_thread() -> None:
    def thread(sys: Any) -> None:
        while True:
            nap(sys)

    def main(sys: Any, log: list[Any]) -> int:
        tid = sys.clone(thread)
        log.append((tid != sys.getpid(), sys.gettid() == sys.getpid()))
        nap(sys, 3)
        sys.exit(9)
        return 0

    log, machine = run(main)
    assert log == [(True, True), 9 << 8]
    assert [t for t in machine.tasks if t != 1] == []


def test_threads_share_descriptors_and_processes_do_not() -> None:
    def closer(sys: Any, fd: int) -> None:
        sys.close(fd)

    def main(sys: Any, log: list[Any]) -> None:
        r, w = sys.pipe2()
        sys.wait4(sys.spawn(closer, r))
        sys.fstat(r)  # the child closed its own
        sys.clone(closer, r)
        nap(sys)
        with pytest.raises(OSError):
            sys.fstat(r)
        log.append(w)

    assert run(main)[0] == [4, 0]


PROGRAM = b"""
def main(sys, argv):
    sys.write(1, repr((argv, sys.environ)).encode())
    try:
        sys.read(3, 1)
    except OSError as error:
        sys.write(1, b" closed")
    return 6
"""


def test_execve() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        fd = sys.open("/prog", 0o101, 0o755)
        sys.write(fd, PROGRAM)
        sys.close(fd)
        sys.pipe2(0o2000000)
        pid = sys.spawn(lambda sys: sys.execve("/prog", ["prog", "x"], {"A": "b"}))
        log.append(sys.wait4(pid)[1])
        for path, number in (("/none", errno.ENOENT), ("/", errno.EACCES)):
            with pytest.raises(OSError) as wrong:
                sys.execve(path, ["x"], {})
            assert wrong.value.errno == number
        sys.chmod("/prog", 0o644)
        with pytest.raises(PermissionError):
            sys.execve("/prog", ["x"], {})

    log, machine = run(main)
    assert log == [6 << 8, 0]
    assert machine.console.output == b"(['prog', 'x'], {'A': 'b'}) closed"  # type: ignore[attr-defined]


def test_exec_resets_handlers_and_keeps_ignored() -> None:
    program = b"def main(sys, argv): return sys.rt_sigaction(10) * 10 + sys.rt_sigaction(12)"

    def main(sys: Any, log: list[Any]) -> None:
        fd = sys.open("/prog", 0o101, 0o755)
        sys.write(fd, program)
        sys.close(fd)
        sys.rt_sigaction(SIGUSR1, lambda sys, n, info: None)
        sys.rt_sigaction(SIGUSR2, SIG_IGN)
        pid = sys.spawn(lambda sys: sys.execve("/prog", ["p"], {}))
        log.append(sys.wait4(pid)[1] >> 8)

    assert run(main)[0] == [1, 0]


def test_groups_and_sessions() -> None:
    def child(sys: Any) -> None:
        nap(sys, 10)

    def leader(sys: Any, log: list[Any]) -> None:
        with pytest.raises(PermissionError):
            sys.setsid()

    def main(sys: Any, log: list[Any]) -> None:
        a, b = sys.spawn(child), sys.spawn(child)
        sys.setpgid(a, a)
        sys.setpgid(b, a)
        log.append((sys.getpgid(b) == a, sys.getsid(b) == sys.getsid(0)))
        sys.kill(-a, SIGTERM)
        log.append([sys.wait4()[1], sys.wait4()[1]])
        with pytest.raises(ProcessLookupError):
            sys.kill(-a, 0)
        with pytest.raises(PermissionError):
            sys.setsid()  # spawned from outside: a leader already
        pid = sys.spawn(lambda sys: log.append(sys.setsid() == sys.getpid()))
        sys.wait4(pid)

    assert run(main)[0] == [(True, True), [SIGTERM, SIGTERM], True, 0]


def test_rlimits_and_fork() -> None:
    def main(sys: Any, log: list[Any]) -> None:
        log.append(sys.prlimit64(0, 7))
        sys.prlimit64(0, 7, (8, 16))
        log.append(sys.prlimit64(0, 7))
        with pytest.raises(OSError) as wrong:
            sys.prlimit64(0, 7, (17, 16))
        log.append(wrong.value.errno)
        with pytest.raises(OSError, match="spawn"):
            sys.fork()

    log, _ = run(main)
    assert log[1:] == [(8, 16), errno.EINVAL, 0]


def test_all_asleep_for_ever_is_seen() -> None:
    def main(sys: Any) -> None:
        sys.pause()

    with Machine("m", VirtualTimeline(1)) as machine:
        process = machine.spawn(main)
        assert machine.run() is False
        assert process.exit_status is None
        assert [t.comm for t in machine.sleepers()] == ["init", "main"]


def test_close_unwinds_every_greenlet_in_pid_order() -> None:
    log: list[str] = []

    def main(sys: Any, name: str) -> None:
        try:
            sys.pause()
        finally:
            log.append(name)

    machine = Machine("m", VirtualTimeline(1))
    processes = [machine.spawn(main, name) for name in "abc"]
    late = machine.spawn(main, "never began")
    machine.run(5 * MS)
    begun = machine.spawn(main, "not begun")
    greenlets = [g.leader.greenlet for g in processes if g.leader is not None]
    machine.close()
    assert log == ["a", "b", "c", "never began"]
    assert all(g is not None and g.dead for g in greenlets)
    assert begun.exit_status == late.exit_status == SIGKILL
    assert not machine.tasks
