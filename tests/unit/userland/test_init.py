"""init: services run, come back, and orphans are reaped. On a machine in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel.machine import Machine
from userland.init import describe, parse_inittab, reap, run_services
from userland.lib import System, read_file

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
