"""`terrella sh` as a user has it: at a terminal (a pty of the host), from a pipe, with a script."""

from __future__ import annotations

import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.tools.terminal import Terminal

PROMPT = "# "


@pytest.fixture(scope="module")
def shell() -> Iterator[Terminal]:
    user = Terminal.terrella("sh")
    user.wait_for(PROMPT)
    yield user
    user.close()


@pytest.fixture
def terminal(shell: Terminal) -> Terminal:
    """One shell for all: each test begins and ends at a prompt, without jobs."""
    shell.type("echo in$((1))step\r")
    shell.wait_for("in1step\r\n")
    shell.wait_for(PROMPT)
    return shell


def batch(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", "sh", *words], input=stdin, capture_output=True, text=True, timeout=300
    )


# ---- not at a terminal ----


def test_commands_and_exit_status() -> None:
    done = batch("-c", "echo $1 $0; exit 7", "zero", "one")
    assert (done.stdout, done.stderr, done.returncode) == ("one zero\n", "", 7)


def test_from_a_pipe_a_command_reads_what_follows_it() -> None:
    done = batch(stdin="read x\nthe data\necho got $x; cat\nrest\nof it\n")
    assert (done.stdout, done.returncode) == ("got the data\nrest\nof it\n", 0)


def test_a_script_of_the_host(tmp_path: Path) -> None:
    script = tmp_path / "hello.sh"
    script.write_text('echo "$# $2"; kill -9 $$\n')
    done = batch(str(script), "a", "b c")
    assert (done.stdout, done.returncode) == ("2 b c\n", 137)


def test_time_is_virtual() -> None:
    done = batch("-c", "date +%s; sleep 1000000; date +%s")
    before, after = map(int, done.stdout.split())
    assert after - before == 1000000


def test_the_same_twice() -> None:
    script = "for i in 1 2 3; do (echo $i; ls / | wc -l) & done; wait; ps -ef; cat /proc/stat"
    assert batch("--cpus", "2", "-c", script).stdout == batch("--cpus", "2", "-c", script).stdout


def test_a_mistake_is_said() -> None:
    done = batch("/no/such/script")
    assert done.returncode == 2 and "cannot open" in done.stderr


# ---- at a terminal ----


def test_editing_and_history(terminal: Terminal) -> None:
    terminal.type("echo ac\x02b\x05 d\x17e\x01\x06\x06\x06\x06 x\r")  # left, insert; end; rub out a word; home; right
    terminal.wait_for("\nx abc e\r\n")
    terminal.wait_for(PROMPT)
    terminal.run("echo one two", "one two\r\n")
    terminal.wait_for(PROMPT)
    terminal.type("\x1b[A\x17three\r")
    terminal.wait_for("\none three\r\n")
    terminal.wait_for(PROMPT)
    terminal.type("\x12two\r")  # search backwards
    terminal.wait_for("\none two\r\n")
    terminal.wait_for(PROMPT)
    terminal.type("ls /etc/passw\t\r")
    terminal.wait_for("\n/etc/passwd\r\n")
    terminal.wait_for(PROMPT)


def test_keys_of_the_terminal(terminal: Terminal) -> None:
    """The machine's own line discipline is at work: lines, erasing, end of file."""
    terminal.run("tty; stty size; stty | head -n 1", "/dev/tty1\r\n24 80\r\nspeed 38400 baud; line = 0;\r\n")
    terminal.wait_for(PROMPT)
    terminal.run("echo go; cat", "go\r\n")  # from here on the terminal is as programs find it
    terminal.type("abx\x7fc\r")
    terminal.wait_for("abx\x08 \x08c\r\nabc\r\n")
    terminal.type("\x04")
    terminal.wait_for(PROMPT)


def test_jobs(terminal: Terminal) -> None:
    terminal.run("sh -c 'echo ready; exec sleep 1000'", "ready\r\n")
    terminal.type("\x1a")
    terminal.wait_for(r"\[1\] \+ Stopped +sh -c 'echo ready; exec sleep 1000'\r\n")
    terminal.wait_for(PROMPT)
    terminal.run("jobs", r"\[1\] \+ Stopped +sh")
    terminal.wait_for(PROMPT)
    terminal.run("bg", r"\[1\] sh")
    terminal.wait_for(PROMPT)
    terminal.run("jobs", r"\[1\] \+ Running +sh")
    terminal.wait_for(PROMPT)
    terminal.run("kill %1; wait %1; echo $?", "143\r\n")
    terminal.wait_for(PROMPT)
    terminal.run("sh -c 'echo again; exec sleep 1000'", "again\r\n")
    terminal.type("\x03")
    terminal.wait_for(PROMPT)
    terminal.run("echo $?", "130\r\n")
    terminal.wait_for(PROMPT)
    terminal.run("(sleep 1000; echo no) & cat", r"\[1\] \d+\r\n")  # cat is in the foreground, and reads
    terminal.type("line\r")
    terminal.wait_for("line\r\nline\r\n")
    terminal.type("\x04")
    terminal.wait_for(PROMPT)
    terminal.run("cat &", r"\[2\] \d+\r\n")
    terminal.run(": ; :", PROMPT)
    terminal.run("jobs %2", r"Stopped \(tty input\) +cat")
    terminal.wait_for(PROMPT)
    terminal.run("fg", "cat\r\n")
    terminal.type("mine\r")
    terminal.wait_for("mine\r\nmine\r\n")
    terminal.type("\x1c")
    terminal.wait_for(PROMPT)
    terminal.run("kill %1; wait", PROMPT)


def test_an_endless_loop_is_interrupted(terminal: Terminal) -> None:
    terminal.run("echo on; while :; do :; done", "on\r\n")
    terminal.type("\x03")
    terminal.wait_for(PROMPT)
    terminal.run("echo $?", "130\r\n")
    terminal.wait_for(PROMPT)


def test_a_pipeline_is_one_job(terminal: Terminal) -> None:
    terminal.run("(echo go; sleep 1000) | cat", "go\r\n")
    terminal.type("\x1a")
    terminal.wait_for(r"Stopped")
    terminal.wait_for(PROMPT)
    terminal.run("ps -o stat,comm | grep -c '^T'", r"\n?3\r\n")  # the subshell, its sleep, and cat
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    terminal.wait_for("You have stopped jobs")
    terminal.wait_for(PROMPT)
    terminal.run("kill -9 %1", PROMPT)


def test_the_window_the_settings_and_the_end(terminal: Terminal) -> None:
    terminal.run("sh -c 'trap \"echo winch\" WINCH; echo go; while :; do sleep 0.01; done'", "go\r\n")
    terminal.resize(30, 100)
    terminal.wait_for("winch\r\n")
    terminal.type("\x03")
    terminal.wait_for(PROMPT)
    terminal.run("stty size", "30 100\r\n")
    terminal.wait_for(PROMPT)
    inside = termios.tcgetattr(terminal.slave)
    assert not inside[3] & (termios.ICANON | termios.ECHO | termios.ISIG), "the host's terminal is raw meanwhile"
    terminal.type("exit 3\r")
    assert terminal.ended() == 3
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_program_under_run_has_a_terminal(tmp_path: Path) -> None:
    """`terrella run` at a terminal: virtual time stands still while it waits for the user; ^C reaches a busy loop."""
    program = tmp_path / "asks.py"
    program.write_text(
        "from userland.abi import *\n"
        "def main(sys, argv):\n"
        "    before = sys.clock_gettime(CLOCK_MONOTONIC)\n"
        "    sys.write(1, b'name? ')\n"
        "    name = sys.read(0, 100)\n"
        "    passed = sys.clock_gettime(CLOCK_MONOTONIC) - before\n"
        "    sys.write(1, b'hello %s%d' % (name, passed < 1_000_000))\n"
        "    ready = sys.ppoll([(0, POLLIN)])\n"
        "    sys.write(1, b' ready %d' % len(ready))\n"
        "    while True:\n"
        "        pass\n"
    )
    user = Terminal.terrella("run", str(program))
    try:
        user.wait_for(r"name\? ")
        user.type("worl\x7fd\r")
        user.wait_for("hello word\r\n1")
        user.type("x\r")
        user.wait_for(" ready 1")
        user.type("\x03")
        assert user.ended() == 130
    finally:
        user.close()


def test_only_what_is_a_terminal_outside_is_one_inside() -> None:
    script = "for fd in 0 1 2; do [ -t $fd ] && echo fd$fd; done; echo end >&2"
    user = Terminal("sh", "-c", f"{sys.executable} -m tools.cli sh -c '{script}' < /dev/null | cat")
    try:
        user.wait_for(r"(?s)fd2\r\n.*end\r\n|end\r\n.*fd2\r\n")
        assert user.ended() == 0 and "fd" not in user.seen
    finally:
        user.close()
