"""`terrella` as the bench starts it: `--plain` before the command keeps the TAP from using vnet headers."""

from __future__ import annotations

import functools
import sys
from typing import Any

from tools.cli import main


def force_plain_frames() -> None:
    import drivers.net.tap as tap

    device: Any = tap.TapDevice
    tap.TapDevice = functools.partial(device, vnet=False)  # type: ignore[misc, assignment]


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--plain"]:
        force_plain_frames()
        words = words[1:]
    sys.exit(main(words))
