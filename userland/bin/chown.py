"""chown [-hR] OWNER[:GROUP] FILE...: changes owner and group."""

from __future__ import annotations

from userland.command import BadValue, Names, Options, UsageError, command, entries, is_directory, join, wrong
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "hRv", work, {"recursive": "R", "no-dereference": "h"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if len(operands) < 2:
        raise UsageError("missing operand" if not operands else f"missing operand after '{operands[0]}'")
    owner, *files = operands
    user, _colon, group = owner.partition(":")
    names = Names(sys)
    uid = names.uid(user) if user else -1
    gid = names.gid(group) if group else -1
    if uid is None:
        raise BadValue(f"invalid user: '{owner}'")
    if gid is None:
        raise BadValue(f"invalid group: '{owner}'")
    status = 0
    for path in files:
        status |= change(sys, name, path, uid, gid, options)
    return status


def change(sys: System, name: str, path: str, uid: int, gid: int, options: Options) -> int:
    try:
        (sys.lchown if "h" in options else sys.chown)(path, uid, gid)
    except OSError as why:
        return wrong(sys, name, f"changing ownership of '{path}'", why)
    status = 0
    if "R" in options and is_directory(sys, path, follow=False):
        for each in entries(sys, path):
            status |= change(sys, name, join(path, each), uid, gid, options)
    return status
