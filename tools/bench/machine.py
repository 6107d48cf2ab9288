"""`terrella` as the bench starts it. Before the command, `--plain` keeps the TAP from using vnet headers, and
`--busy N` starts N processes that loop for ever.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from tools.cli import main

LOOP = "def main(sys, argv):\n    while True:\n        pass\n"


def force_plain_frames() -> None:
    import drivers.net.tap as tap

    device: Any = tap.TapDevice
    tap.TapDevice = functools.partial(device, vnet=False)  # type: ignore[misc, assignment]


def keep_busy(count: int) -> None:
    import tools.up as up

    boot = up._boot

    def booted(machine: Any, *args: Any) -> None:
        boot(machine, *args)
        for number in range(count):
            machine.exec(LOOP, f"busy{number}.py", ["busy"])

    up._boot = booted  # type: ignore[assignment]


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--plain"]:
        force_plain_frames()
        words = words[1:]
    if words[:1] == ["--busy"]:
        keep_busy(int(words[1]))
        words = words[2:]
    sys.exit(main(words))
