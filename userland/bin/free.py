"""free [-bkmgh]: memory."""

from __future__ import annotations

from userland.command import Options, command
from userland.lib import System, read_file, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "bkmght", work, {"bytes": "b", "kibi": "k", "mebi": "m", "gibi": "g", "human": "h"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    info = {}
    for line in read_file(sys, "/proc/meminfo").decode().splitlines():
        title, _, value = line.partition(":")
        info[title] = int(value.split()[0]) * 1024
    unit = {"b": 1, "k": 1024, "m": 1 << 20, "g": 1 << 30}[options.last("bkmg", "k")]

    def shown(size: int) -> str:
        if "h" not in options:
            return str(size // unit)
        value, at = float(size), 0
        while value >= 1024 and at < 5:
            value, at = value / 1024, at + 1
        text = f"{value:.1f}" if value < 10 and at else f"{value:.0f}"
        return text + ("Ki", "Mi", "Gi", "Ti", "Pi")[at - 1] if at else f"{size}B"

    total, free = info.get("MemTotal", 0), info.get("MemFree", 0)
    cache = info.get("Buffers", 0) + info.get("Cached", 0) + info.get("SReclaimable", 0)
    available = info.get("MemAvailable", free)
    swap, left = info.get("SwapTotal", 0), info.get("SwapFree", 0)
    titles = ("total", "used", "free", "shared", "buff/cache", "available")
    say(sys, " " * 7 + "".join(f"{title:>12}" for title in titles))
    row = (total, total - available, free, info.get("Shmem", 0), cache, available)
    say(sys, f"{'Mem:':<7}" + "".join(f"{shown(value):>12}" for value in row))
    say(sys, f"{'Swap:':<7}" + "".join(f"{shown(value):>12}" for value in (swap, swap - left, left)))
    return 0
