"""init: services run, come back, and orphans are reaped. On a machine in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from drivers.console import MemoryConsole
from kernel.machine import Machine
from userland.init import describe, parse_inittab, reap, run_services
from userland.lib import System, read_file
from userland.rootfs import furnish

SECOND = 1_000_000_000


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine("m", VirtualTimeline(1)) as one:
        yield one


def said(machine: Machine) -> str:
    return bytes(machine.console.output).decode()  # type: ignore[attr-defined]


def test_inittab() -> None:
    services = parse_inittab("# comment\n\nrespawn echo 7\nonce /bin/x a b # why\n")
    assert [(s.argv, s.keep) for s in services] == [(["echo", "7"], True), (["/bin/x", "a", "b"], False)]
    assert parse_inittab("console /bin/sh -l\n")[0].console
    for wrong in ("restart echo\n", "respawn\n"):
        with pytest.raises(ValueError, match="/etc/inittab:2"):
            parse_inittab("\n" + wrong)


def test_a_missing_program_is_said_and_tried_again_slowly(machine: Machine) -> None:
    def boot(sys: System) -> int:
        return run_services(sys, parse_inittab("respawn /no/such\nonce /none\n"))

    machine.boot_program(boot)
    machine.timeline.run(until=10 * SECOND)
    lines = said(machine).splitlines()
    assert "init: /no/such: No such file or directory" in lines
    again = [line for line in lines if line.startswith("init: /no/such (pid") and line.endswith("exit status 127")]
    assert 5 <= len(again) <= 11
    assert sum(line.startswith("init: /none: ") for line in lines) == 1


def test_sigterm_ends_the_services_and_init(machine: Machine) -> None:
    def boot(sys: System) -> int:
        return run_services(sys, parse_inittab("respawn echo\nrespawn discard\n"))

    init = machine.boot_program(boot)
    machine.timeline.run(until=SECOND)

    def terminate(sys: System) -> None:
        sys.kill(1, 15)

    machine.spawn(terminate)
    machine.timeline.run(until=2 * SECOND)
    assert init.exit_status == 0
    assert said(machine) == ""


def test_reap_makes_the_files_and_leaves_no_zombies(machine: Machine) -> None:
    machine.boot_program(reap)
    machine.timeline.run()

    def parent(sys: System) -> None:
        for n in range(5):
            sys.spawn(lambda sys, n: sys.nanosleep(n * 1000), n)

    found: list[Any] = []
    machine.spawn(parent)
    machine.spawn(lambda sys: found.append(read_file(sys, "/srv/hello.txt")))
    machine.timeline.run()
    assert found == [b"hello from inside\n"]
    assert sorted(machine.processes.groups) == [1], "only init is left"


def test_a_status_in_words() -> None:
    assert describe(3 << 8) == "exit status 3" and describe(11) == "killed by signal 11"


def test_a_shell_at_the_console_comes_back_and_its_orphans_are_reaped() -> None:
    console = MemoryConsole(isatty=True)
    with Machine("m", VirtualTimeline(1), console=console) as machine:

        def boot(sys: System) -> int:
            furnish(sys)
            return run_services(sys, parse_inittab("console /bin/sh\n"))

        def until(wanted: bytes) -> None:
            for _ in range(2000):
                if wanted in console.output:
                    console.output.clear()
                    return
                machine.timeline.run(until=machine.timeline.now + 10_000_000)
            raise AssertionError(f"{wanted!r} is not shown, but {bytes(console.output)!r}")

        machine.boot_program(boot)
        until(b"# ")
        console.feed(b"tty; ps -o pid,ppid,pgid,sid,tty,tpgid,comm -p $$\r")
        until(b" tty1 ")
        console.feed(b"(sleep 5 & echo left $!)\r")
        until(b"left ")
        console.feed(b"sleep 100 &\r")
        until(b"[1] ")
        console.feed(b"exit\r")
        until(b"ended: exit status 0")
        until(b"# ")
        machine.timeline.run(until=machine.timeline.now + 200 * SECOND)
        console.feed(b"ps -eo comm | grep -c sleep; echo again $((40+2))\r")
        until(b"again 42")
        comms = sorted(task.comm for task in machine.tasks.values())
        assert comms == ["init", "sh"], "init has reaped what the first shell left"
