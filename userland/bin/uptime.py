"""uptime [-p]: since when the machine runs, and its load."""

from __future__ import annotations

from userland.lib import System, read_file, say
from userland.times import moment, now


def main(sys: System, argv: list[str]) -> int:
    seconds = int(float(read_file(sys, "/proc/uptime").split()[0]))
    days, rest = divmod(seconds, 86400)
    hours, minutes = rest // 3600, rest // 60 % 60
    if "-p" in argv[1:]:
        parts = [
            f"{n} {w}{'' if n == 1 else 's'}" for n, w in ((days, "day"), (hours, "hour"), (minutes, "minute")) if n
        ]
        say(sys, "up " + (", ".join(parts) or "0 minutes"))
        return 0
    lasts = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    lasts += f"{hours:2}:{minutes:02}" if hours else f"{minutes} min"
    load = b", ".join(read_file(sys, "/proc/loadavg").split()[:3]).decode()
    say(sys, f" {moment(now(sys)).strftime('%H:%M:%S')} up {lasts},  0 user,  load average: {load}")
    return 0
