"""Patterns (POSIX.1 section 2.13): `*`, `?` and bracket expressions, against strings and against the names of files.

A pattern is a list of (text, quoted) pieces: what was quoted stands for itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

from userland import abi
from userland.lib import System

Pieces = list[tuple[str, bool]]
CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r" \t\n\r\f\v",
    "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "print": " -~", "graph": "!-~", "cntrl": r"\x00-\x1f\x7f",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip
MAGIC = re.compile(r"[*?\[]")


def special(pieces: Pieces) -> bool:
    """Whether there is anything but plain text in it."""
    return any(not quoted and MAGIC.search(text) for text, quoted in pieces)


def plain(pieces: Pieces) -> str:
    return "".join(text for text, _ in pieces)


def regex(pieces: Pieces) -> re.Pattern[str]:
    """What matches the whole of a string that the pattern matches."""
    escaped = "".join(re.sub(r"([\\*?\[\]!^-])", r"\\\1", text) if quoted else text for text, quoted in pieces)
    return _compile(escaped)


@lru_cache(maxsize=256)
def _compile(text: str) -> re.Pattern[str]:
    out: list[str] = []
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c == "\\" and at < len(text):
            out.append(re.escape(text[at]))
            at += 1
        elif c == "*":
            out.append(".*")
        elif c == "?":
            out.append(".")
        elif c == "[":
            found, end = _bracket(text, at)
            out.append(found)
            at = end
        else:
            out.append(re.escape(c))
    return re.compile("".join(out), re.S)


def _bracket(text: str, at: int) -> tuple[str, int]:
    """(regular expression, where it goes on) for a bracket expression that begins before `at`; `[` itself if it is
    none.
    """
    start, negated, members = at, False, []
    if text[at : at + 1] in ("!", "^"):
        negated = True
        at += 1
    first = True
    while at < len(text) and (first or text[at] != "]"):
        first = False
        if text.startswith("[:", at):
            end = text.find(":]", at)
            name = text[at + 2 : end] if end > 0 else ""
            if name in CLASSES:
                members.append(CLASSES[name])
                at = end + 2
                continue
        low, at = _member(text, at)
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("]", ""):
            high, at = _member(text, at + 1)
            if low <= high:
                members.append(f"{re.escape(low)}-{re.escape(high)}")
            continue
        members.append(re.escape(low))
    if at >= len(text):
        return r"\[", start
    if not members:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(members)}]", at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    if text[at] == "\\" and at + 1 < len(text):
        return text[at + 1], at + 2
    return text[at], at + 1


# ---- file names ----


def names(sys: System, directory: str) -> list[str]:
    """The names in a directory; [] where it cannot be read."""
    try:
        fd = sys.open(directory, abi.O_RDONLY | abi.O_DIRECTORY)
    except OSError:
        return []
    found: list[str] = []
    try:
        while entries := sys.getdents64(fd):
            found += [name for name, _, _ in entries]
    finally:
        sys.close(fd)
    return found


def exists(sys: System, path: str) -> bool:
    try:
        sys.lstat(path)
    except OSError:
        return False
    return True


def glob(sys: System, pieces: Pieces) -> list[str]:
    """The files that a pattern matches, sorted; [] when none does."""
    components: list[Pieces] = [[]]
    for text, quoted in pieces:
        first, *others = text.split("/")
        components[-1].append((first, quoted))
        components += [[(other, quoted)] for other in others]
    found = [""]
    for number, component in enumerate(components):
        last = number == len(components) - 1
        slash = "" if last else "/"
        if not special(component):
            name = plain(component)
            found = [base + name + slash for base in found if not last or not name or exists(sys, base + name)]
            if not last and number:
                found = [path for path in found if exists(sys, path)]
            continue
        matches, dot = regex(component).fullmatch, plain(component).startswith(".")
        deeper: list[str] = []
        for base in found:
            for name in names(sys, base or "."):
                wanted = (dot or not name.startswith(".")) and matches(name)
                if wanted and (last or _is_directory(sys, base + name)):
                    deeper.append(base + name + slash)
        found = deeper
        if not found:
            return []
    return sorted(path for path in found if path)


def _is_directory(sys: System, path: str) -> bool:
    try:
        return bool(sys.stat(path).st_mode & abi.S_IFMT == abi.S_IFDIR)
    except OSError:
        return False
