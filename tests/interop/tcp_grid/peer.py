"""A machine on a TAP that runs `service.py`: the grid's peer.

    peer.py TAP ADDRESS/PREFIX STATS_FILE [SYSCTL=VALUE | capture=FILE]...
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from drivers.capture import Pcapng
from drivers.clock import RealTimeline
from drivers.console import HostConsole
from drivers.net.tap import TapDevice
from kernel.machine import Machine

SERVICE = Path(__file__).with_name("service.py")


def main() -> None:
    tap, address, stats, *sysctls = sys.argv[1:]
    timeline = RealTimeline(1)
    stopped: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        stopped.append(number)
        timeline.stop()

    signal.signal(signal.SIGTERM, on_signal)
    device = TapDevice(tap)
    machine = Machine("peer", timeline, console=HostConsole(None, 1))
    machine.attach(device, address, name=tap)
    for assignment in sysctls:
        name, _, value = assignment.partition("=")
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
