"""What a script's system calls take: how many arguments each has, and the counts that have to agree with a list.

packetdrill wants exactly these; so a line with one too few is said to be that, before anything runs. And near misses:
what a name that is not known was probably meant to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from tools.packetdrill.script import Array, Expression, Number, Struct

SIGNATURES = {
    "socket": "domain, type, protocol", "bind": "fd, addr, addrlen", "listen": "fd, backlog",
    "accept": "fd, addr, addrlen", "accept4": "fd, addr, addrlen, flags", "connect": "fd, addr, addrlen",
    "read": "fd, buffer, count", "readv": "fd, iovec, count", "recv": "fd, buffer, count, flags",
    "recvfrom": "fd, buffer, count, flags, addr, addrlen", "recvmsg": "fd, msghdr, flags",
    "write": "fd, buffer, count", "writev": "fd, iovec, count", "send": "fd, buffer, count, flags",
    "sendto": "fd, buffer, count, flags, addr, addrlen", "sendmsg": "fd, msghdr, flags",
    "fcntl": "fd, command[, argument]", "ioctl": "fd, request[, argument]", "close": "fd", "shutdown": "fd, how",
    "getsockopt": "fd, level, name, value, length", "setsockopt": "fd, level, name, value, length",
    "getsockname": "fd, addr, addrlen", "getpeername": "fd, addr, addrlen", "poll": "pollfds, count, timeout",
    "cap_set": "set, capability, value", "open": "path, flags[, mode]", "sendfile": "out, in, offset, count",
    "dup": "fd", "epoll_create": "size", "epoll_create1": "flags", "epoll_ctl": "epfd, op, fd, event",
    "epoll_wait": "epfd, events, most, timeout", "pipe": "ends",
    "splice": "in, in_offset, out, out_offset, length, flags",
}  # fmt: skip
"""The arguments of each call; those after `[` may be left out."""

_LISTS = {"poll": (0, 1, "pollfd"), "readv": (1, 2, "iovec"), "writev": (1, 2, "iovec")}
"""Calls with a list and its length: where these are, and what is in the list."""


def near(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where no known name is like it."""
    found = get_close_matches(name, list(known), 1, 0.75)
    return f" (did you mean {found[0]}?)" if found else ""


def trouble(name: str, args: tuple[Expression, ...]) -> str | None:
    """What is wrong with a call's arguments as they are written, or None. Unknown calls are not judged."""
    signature = SIGNATURES.get(name)
    if signature is None:
        return None
    must, _, may = signature.partition("[")
    least = must.count(",") + 1
    if not least <= len(args) <= least + bool(may):
        return f"{name}() takes {least}{f' or {least + 1}' if may else ''} arguments ({signature}), not {len(args)}"
    if name in _LISTS:
        listed, count, what = _LISTS[name]
        return _count(f"{name}(): the count", args[listed], args[count], what)
    if name in ("recvmsg", "sendmsg") and isinstance(args[1], Struct):
        for field, written in args[1].counts:
            if field == "msg_iov":
                return _count(f"{name}(): msg_iov", args[1].get(field), written, "iovec")
    return None


def _count(what: str, listed: Expression | None, written: Expression, kind: str) -> str | None:
    if not isinstance(listed, Array) or not isinstance(written, Number) or written.value == len(listed.items):
        return None
    return f"{what} says {written}, and the list has {len(listed.items)} of {kind}"
