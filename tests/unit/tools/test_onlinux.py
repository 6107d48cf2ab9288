"""`terrella run --on-linux`: the ABI on the host's kernel keeps the ABI's promises."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.sockaddr import pack_address, unpack_address

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def go(source: str, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        program = tmp_path / "prog.py"
        program.write_text("from userland.abi import *\n" + textwrap.dedent(source))
        return subprocess.run(
            [sys.executable, "-m", "tools.cli", "run", "--on-linux", str(program), *args],
            capture_output=True, text=True, input=stdin, timeout=300,
        )  # fmt: skip

    return go


def test_streams_arguments_and_status(run: Run) -> None:
    done = run(
        """
        def main(sys, argv):
            sys.write(1, sys.read(0, 100).upper() + " ".join(argv[1:]).encode())
            return 300
        """,
        "one", "--two", stdin="text ",
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("TEXT one --two", 300 & 0xFF)


@pytest.mark.parametrize(
    ("body", "status"),
    [("return None", 0), ("sys.exit(7)", 7), ("sys.kill(sys.getpid(), 9)", 137), ("1 / 0", 1), ("return -1", 255)],
)
def test_exit_status(run: Run, body: str, status: int) -> None:
    done = run(f"def main(sys, argv):\n    {body}\n")
    assert done.returncode == status
    assert ("ZeroDivisionError" in done.stderr) == ("/" in body)


def test_sigpipe_kills_as_it_should(run: Run) -> None:
    done = run(
        """
        def main(sys, argv):
            r, w = sys.pipe2(0)
            sys.close(r)
            sys.write(w, b"x")
        """
    )
    assert done.returncode == 128 + 13


def test_a_signal_interrupts_or_restarts(run: Run) -> None:
    done = run(
        """
        def late(sys, w):
            sys.nanosleep(50_000_000)
            sys.kill(sys.getppid(), SIGUSR1)
            sys.nanosleep(50_000_000)
            sys.write(w, b"data")

        def main(sys, argv):
            for flags in (0, SA_RESTART):
                hits = []
                sys.rt_sigaction(SIGUSR1, lambda s, n, info: hits.append((n, info.si_signo)), flags)
                r, w = sys.pipe2(0)
                pid = sys.spawn(late, w)
                try:
                    print(sys.read(r, 10), hits)
                except InterruptedError:
                    print("EINTR", hits)
                sys.wait4(pid)
        """
    )
    assert done.stdout == "EINTR [(10, 10)]\nb'data' [(10, 10)]\n", done.stderr


def test_nanosleep_is_never_restarted(run: Run) -> None:
    done = run(
        """
        def main(sys, argv):
            sys.rt_sigaction(SIGALRM, lambda s, n, info: None, SA_RESTART)
            pid = sys.spawn(lambda sys, parent: (sys.nanosleep(50_000_000), sys.kill(parent, SIGALRM)), sys.getpid())
            try:
                sys.nanosleep(20_000_000_000)
            except InterruptedError:
                return 4
        """
    )
    assert done.returncode == 4, done.stderr


def test_what_the_program_leaves_is_killed(run: Run) -> None:
    done = run(
        """
        def sleeper(sys):
            sys.spawn(lambda sys: sys.nanosleep(10**12))
            sys.nanosleep(10**12)

        def main(sys, argv):
            print(sys.spawn(sleeper))
            sys.nanosleep(50_000_000)
        """
    )
    assert done.returncode == 0
    assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_sockets_epoll_and_memory(run: Run) -> None:
    done = run(
        """
        def main(sys, argv):
            s = sys.socket(AF_INET, SOCK_STREAM)
            sys.bind(s, ("127.0.0.1", 0))
            sys.listen(s, 5)
            c = sys.socket(AF_INET, SOCK_STREAM)
            sys.connect(c, sys.getsockname(s))
            d, peer = sys.accept4(s, SOCK_NONBLOCK)
            assert peer == sys.getsockname(c)
            try:
                sys.read(d, 1)
            except BlockingIOError as why:
                assert why.errno == EAGAIN
            ep = sys.epoll_create1(0)
            sys.epoll_ctl(ep, EPOLL_CTL_ADD, d, EPOLLIN, 77)
            assert sys.epoll_pwait(ep, 5, 0) == []
            sys.sendto(c, memoryview(b"hello"))
            assert sys.epoll_pwait(ep, 5, 1000) == [(77, EPOLLIN)]
            assert sys.ppoll([(d, POLLIN), (c, POLLIN)], 0) == [(d, POLLIN)]
            assert sys.recvfrom(d, 99)[0] == b"hello"
            sys.shutdown(c, SHUT_WR)
            assert sys.read(d, 1) == b""
            a = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
            for _ in range(4):
                sys.spawn(lambda sys: [sys.fetch_add(a, 1) for _ in range(500)] and None)
            for _ in range(4):
                sys.wait4()
            assert sys.cas(a, 2000, 5) == 2000 and sys.mem[a] == 5
            return 0
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_call_the_host_lacks_is_enosys_and_says_so(run: Run) -> None:
    done = run("def main(sys, argv):\n    sys.no_such_call(1)\n")
    assert done.returncode == 1 and "sys.no_such_call is not offered --on-linux" in done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [("x = 1\n", "defines main(sys, argv)"), ("def main(:\n", "prog.py:2:")],
)
def test_what_is_not_a_program(run: Run, source: str, message: str) -> None:
    done = run(source)
    assert done.returncode == 125 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("family", "address"),
    [(2, ("10.1.2.3", 80)), (10, ("fe80::1", 443, 7, 3)), (1, "/tmp/sock"), (1, b"\0abstract")],
)
def test_addresses_survive_the_journey(family: int, address: object) -> None:
    assert unpack_address(pack_address(family, address)) == address
