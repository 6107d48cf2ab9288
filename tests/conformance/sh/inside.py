"""Shell scripts inside a machine of this process: fast enough for hundreds of them."""

from __future__ import annotations

from drivers.clock import VirtualTimeline
from drivers.console import MemoryConsole
from kernel.machine import Machine
from kernel.process import shell_status
from tools.sh import ENVIRON, start
from userland.init import reap


def run_inside(script: str, where: str = "/work", seed: int = 0) -> tuple[bytes, int]:
    """(what it writes to descriptors 1 and 2, its exit status) of `sh FILE` in an empty directory."""
    console = MemoryConsole()
    with Machine("sh", VirtualTimeline(seed), console=console) as machine:
        machine.boot_program(reap)
        machine.timeline.run()
        console.hang_up()
        program = machine.spawn(
            start, [("/case.sh", script.encode()), (f"{where}/.keep", b"")], ["sh", "/case.sh"],
            {**ENVIRON, "HOME": where, "PWD": where},
        )  # fmt: skip
        assert machine.run(process=program), "all of it sleeps for ever"
        assert program.exit_status is not None
        return bytes(console.output), shell_status(program.exit_status)
