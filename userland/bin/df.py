"""df [-ahikT] [FILE...]: space on filesystems."""

from __future__ import annotations

from typing import Any

from userland.command import Options, command, human, wrong
from userland.lib import System, read_file, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "ahikTP", work, {"all": "a", "human-readable": "h", "inodes": "i", "print-type": "T"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    mounts = [line.split()[:3] for line in read_file(sys, "/proc/mounts").decode().splitlines()]
    status = 0
    chosen: list[tuple[list[str], Any]] = []
    if operands:
        for path in operands:
            try:
                device = sys.stat(path).st_dev
                row = next(row for row in reversed(mounts) if sys.stat(row[1]).st_dev == device)
                chosen.append((row, sys.statfs(path)))
            except (OSError, StopIteration) as why:
                status = wrong(sys, name, path, why if isinstance(why, OSError) else "no mount")
    else:
        for row in mounts:
            try:
                fs = sys.statfs(row[1])
            except OSError:
                continue  # not ours to see
            if fs.f_blocks or "a" in options:
                chosen.append((row, fs))
    size = "Size" if "h" in options else "1K-blocks"
    head = ["Filesystem", "Inodes", "IUsed", "IFree", "IUse%", "Mounted on"]
    if "i" not in options:
        head = ["Filesystem", size, "Used", "Avail" if "h" in options else "Available", "Use%", "Mounted on"]
    if "T" in options:
        head.insert(1, "Type")
    rows = [head]
    for (source, place, kind), fs in chosen:
        if "i" in options:
            used = fs.f_files - fs.f_ffree
            cells = [source, str(fs.f_files), str(used), str(fs.f_ffree), percent(used, fs.f_files), place]
        else:
            unit = fs.f_frsize or fs.f_bsize
            used, free = (fs.f_blocks - fs.f_bfree) * unit, fs.f_bavail * unit
            cells = [source, shown(fs.f_blocks * unit, options), shown(used, options), shown(free, options),
                     percent(used, used + free), place]  # fmt: skip
        if "T" in options:
            cells.insert(1, kind)
        rows.append(cells)
    wide = [max(len(row[at]) for row in rows) for at in range(len(head))]
    wide[0] = max(wide[0], 14)
    left = 2 if "T" in options else 1
    for row in rows:
        text = " ".join(
            cell.ljust(w) if at < left else cell.rjust(w) for at, (cell, w) in enumerate(zip(row[:-1], wide))
        )
        say(sys, f"{text} {row[-1]}")
    return status


def shown(size: int, options: Options) -> str:
    return human(size) if "h" in options else str(-(-size // 1024))


def percent(used: int, total: int) -> str:
    return f"{-(-100 * used // total)}%" if total else "-"
