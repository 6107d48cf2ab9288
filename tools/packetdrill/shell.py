"""The machine's own shell, for the commands of a script that ask it something (`grep ... /proc/net/tcp`) or wait."""

from __future__ import annotations

from typing import Any

from drivers.clock import VirtualTimeline
from kernel import abi
from kernel.machine import Machine
from userland.rootfs import furnish

LONGEST = 3_600_000_000_000
SAID = "/tmp/.said"
"""Where a command's output goes inside."""
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


class Shell:
    """Runs lines in processes of their own. Programs are made before the first: few scripts need any."""

    __slots__ = ("furnished", "machine", "timeline")

    def __init__(self, machine: Machine, timeline: VirtualTimeline) -> None:
        self.machine = machine
        self.timeline = timeline
        self.furnished = False

    def run(self, line: str) -> tuple[int, str]:
        """Exit status and what it said. Time passes until it is done, an hour at most."""
        done: list[tuple[int, str]] = []
        self.machine.spawn(_process, line, done, not self.furnished)
        self.furnished = True
        limit = self.timeline.now + LONGEST
        self.timeline.run(self.timeline.now)
        while not done and (due := self.timeline.peek()) is not None and due <= limit:
            self.timeline.step()
        return done[0] if done else (1, "it does not come to an end")


def _process(sys: Any, line: str, done: list[tuple[int, str]], first: bool) -> None:
    if first:
        furnish(sys)

    def child(sys: Any) -> None:
        out = sys.open(SAID, abi.O_CREAT | abi.O_WRONLY | abi.O_TRUNC, 0o600)
        nothing = sys.open("/dev/null", abi.O_RDONLY)
        for number, fd in ((0, nothing), (1, out), (2, out)):
            sys.dup3(fd, number, 0)
        sys.execve("/bin/sh", ["sh", "-c", line], ENVIRON)

    _, status, _ = sys.wait4(sys.spawn(child))
    fd = sys.open(SAID, abi.O_RDONLY)
    said = sys.read(fd, 4096).decode(errors="replace").strip()
    sys.close(fd)
    done.append((128 + (status & 0x7F) if status & 0x7F else status >> 8, said))
