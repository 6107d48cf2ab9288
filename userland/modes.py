"""File modes in words: `u+x,go-w` (chmod, mkdir -m, umask) and `-rwxr-xr-x` (ls, stat)."""

from __future__ import annotations

import re

from userland import abi

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_KINDS = {
    abi.S_IFDIR: "d", abi.S_IFLNK: "l", abi.S_IFREG: "-", abi.S_IFCHR: "c", abi.S_IFBLK: "b", abi.S_IFIFO: "p",
    abi.S_IFSOCK: "s",
}  # fmt: skip


def shown(mode: int) -> str:
    """The ten characters of `ls -l`."""
    out = _KINDS.get(mode & abi.S_IFMT, "?")
    for shift, special, letter in ((6, abi.S_ISUID, "s"), (3, abi.S_ISGID, "s"), (0, abi.S_ISVTX, "t")):
        bits = mode >> shift & 7
        out += ("r" if bits & 4 else "-") + ("w" if bits & 2 else "-")
        if mode & special:
            out += letter if bits & 1 else letter.upper()
        else:
            out += "x" if bits & 1 else "-"
    return out


def symbolic(text: str, mode: int, directory: bool, umask: int) -> int:
    """The mode that `text` makes of `mode`. ValueError."""
    if re.fullmatch("[0-7]{1,5}", text):
        return int(text, 8) & 0o7777
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise ValueError(f"invalid mode: {text!r}")
        who = match[1] or "a"
        mask = 0
        for letter, bits in (("u", 0o4700), ("g", 0o2070), ("o", 0o1007)):
            if letter in who or "a" in who:
                mask |= bits
        if not match[1]:
            mask &= ~umask
        for action in _ACTION.finditer(match[2]):
            mode = _apply(mode, action[1], action[2], mask, directory)
    return mode


def _apply(mode: int, op: str, letters: str, mask: int, directory: bool) -> int:
    if letters in ("u", "g", "o"):
        three = mode >> {"u": 6, "g": 3, "o": 0}[letters] & 7
        bits = three * 0o111
    else:
        bits = 0
        for letter in letters:
            if letter == "X":
                bits |= 0o111 if directory or mode & 0o111 else 0
            else:
                bits |= {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}[letter]
    bits &= mask | (0o1000 if mask & 0o7 else 0)
    if op == "+":
        return mode | bits
    if op == "-":
        return mode & ~bits
    cleared = mode & ~(mask & 0o777)
    if not directory:
        cleared &= ~(mask & 0o7000)
    return cleared | bits
