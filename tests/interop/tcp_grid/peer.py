"""A machine on a TAP that runs `service.py`: the grid's peer.

    peer.py TAP ADDRESS/PREFIX STATS_FILE NEIGHBOUR=MAC [SYSCTL=VALUE | capture=FILE | tick=NANOSECONDS]...

`tick` makes its clock a coarse one: all that happens within a tick happens at its beginning.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from drivers import clock
from drivers.capture import Pcapng
from drivers.clock import RealTimeline
from drivers.console import HostConsole
from drivers.net.tap import TapDevice
from kernel.machine import Machine
from tools.up import neighbour

SERVICE = Path(__file__).with_name("service.py")


def coarse(tick: int) -> None:
    """From now on the host's clock is seen to move by `tick` nanoseconds at a time."""
    fine = time.monotonic_ns
    clock.time = SimpleNamespace(**{**vars(time), "monotonic_ns": lambda: fine() // tick * tick})  # type: ignore[attr-defined]


def main() -> None:
    tap, address, stats, near, *sysctls = sys.argv[1:]
    for assignment in sysctls:
        if assignment.startswith("tick="):
            coarse(int(assignment[5:]))
    timeline = RealTimeline(1)
    stopped: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        stopped.append(number)
        timeline.stop()

    signal.signal(signal.SIGTERM, on_signal)
    device = TapDevice(tap)
    machine = Machine("peer", timeline, console=HostConsole(None, 1))
    machine.attach(device, address, name=tap)
    neighbours = machine.stack.interfaces[tap].neighbours
    assert neighbours is not None
    neighbours.add_permanent(*neighbour(near), machine.stack.now)
    for assignment in sysctls:
        name, _, value = assignment.partition("=")
        if name == "tick":
            continue
        if name == "capture":
            machine.network.capture(tap, Pcapng(value, timeline.epoch_ns))
        else:
            machine.stack.settings.set(name, value)
    machine.exec(SERVICE.read_text(), str(SERVICE), ["service.py"])
    while not stopped:
        timeline.run()
    Path(stats).write_text(json.dumps(machine.stack.counters.as_dict(), indent=1))
    machine.close()


if __name__ == "__main__":
    main()
