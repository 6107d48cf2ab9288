"""Runs functions on a machine with a disk and gives back what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.clock import VirtualTimeline
from drivers.disk.drive import SSD, DriveCosts
from drivers.disk.ram import RamDisk
from kernel.block.device import BlockDevice
from kernel.machine import Machine


class Inside:
    """A machine with one disk. `run(f, g)` runs `f(sys)` and `g(sys)` at the same time; their results, in order."""

    def __init__(
        self, disk: Any = None, drive: DriveCosts | None = SSD, scheduler: str = "none", depth: int = 32, cpus: int = 1,
        memory: int = 65536,
    ) -> None:  # fmt: skip
        self.timeline = VirtualTimeline(1)
        self.disk = disk if disk is not None else RamDisk(2048)
        self.machine = Machine("m", self.timeline, cpus=cpus, memory=memory)
        self.device: BlockDevice = self.machine.attach_disk(self.disk, drive=drive, scheduler=scheduler, depth=depth)

    def run(self, *functions: Callable[[Any], Any]) -> list[Any]:
        said: list[Any] = [None] * len(functions)

        def call(sys: Any, number: int) -> None:
            said[number] = functions[number](sys)

        groups = [self.machine.spawn(call, number) for number in range(len(functions))]
        for group in groups:
            assert self.machine.run(process=group), "it sleeps for ever"
        output = bytes(self.machine.console.output)  # type: ignore[attr-defined]
        assert [group.exit_status for group in groups] == [0] * len(groups), output.decode()
        return said

    @property
    def log(self) -> list[str]:
        return [text for _, text in self.machine.log]

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.close()


def fails(sys_call: Callable[..., Any], *args: Any) -> int:
    """The errno of a call that fails."""
    try:
        sys_call(*args)
    except OSError as why:
        return why.errno or 0
    return 0
