"""id [-Ggnru] [USER]: who one is."""

from __future__ import annotations

from userland.command import Names, Options, command
from userland.lib import System, complain, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "Ggnru", work, {"user": "u", "group": "g", "groups": "G", "name": "n", "real": "r"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    names = Names(sys)
    if operands:
        row = next((row for row in names.table("/etc/passwd") if row[0] == operands[0]), None)
        if row is None:
            complain(sys, name, f"'{operands[0]}': no such user")
            return 1
        uid, gid = int(row[2]), int(row[3])
        groups = [gid] + [int(r[2]) for r in names.table("/etc/group") if operands[0] in r[-1].split(",")]
    else:
        real = "r" in options
        uid, gid = (sys.getuid(), sys.getgid()) if real else (sys.geteuid(), sys.getegid())
        groups = [gid, *(g for g in sys.getgroups() if g != gid)]
    named = "n" in options
    if "u" in options:
        say(sys, names.user(uid) if named else uid)
    elif "g" in options:
        say(sys, names.group(gid) if named else gid)
    elif "G" in options:
        say(sys, *(names.group(g) if named else g for g in groups))
    else:
        shown = ",".join(f"{g}({names.group(g)})" for g in groups)
        say(sys, f"uid={uid}({names.user(uid)}) gid={gid}({names.group(gid)}) groups={shown}")
    return 0
