"""Builtins that take words apart: read and getopts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from userland.sh.shell import Shell

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def mistake(shell: Shell, words: list[str], why: object) -> int:
    shell.complain(f"{words[0]}: {why}")
    return 2


def getopts(shell: Shell, words: list[str]) -> int:
    if len(words) < 3:
        return mistake(shell, words, "usage: getopts optstring var [arg]")
    wanted, variable = words[1], words[2]
    arguments = words[3:] if len(words) > 3 else shell.positional
    quiet = wanted.startswith(":")
    index = int(shell.get("OPTIND") or "1")
    at = shell.getopts_at
    if index > len(arguments) or (not at and (arguments[index - 1][:1] != "-" or arguments[index - 1] == "-")):
        return _getopts_end(shell, variable, index)
    word = arguments[index - 1]
    if not at and word == "--":
        return _getopts_end(shell, variable, index + 1)
    at = at or 1
    letter = word[at]
    at += 1
    found = wanted.find(letter, 1 if quiet else 0) if letter != ":" else -1
    value: str | None = None
    result = letter
    if found < 0:
        result = "?"
        value = letter if quiet else None
        if not quiet:
            shell.complain(f"Illegal option -{letter}")
    elif wanted[found + 1 : found + 2] == ":":
        if at < len(word):
            value = word[at:]
        elif index < len(arguments):
            value = arguments[index]
            index += 1
        else:
            result, value = (":", letter) if quiet else ("?", None)
            if not quiet:
                shell.complain(f"No arg for -{letter} option")
        at = len(word)
    if at >= len(word):
        index, at = index + 1, 0
    shell.set("OPTIND", str(index))
    shell.getopts_at = at
    if value is None:
        shell.variables.pop("OPTARG", None)
    else:
        shell.set("OPTARG", value)
    shell.set(variable, result)
    return 0


def _getopts_end(shell: Shell, variable: str, index: int) -> int:
    shell.set("OPTIND", str(index))
    shell.set(variable, "?")
    shell.variables.pop("OPTARG", None)
    return 1


def read(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    raw = False
    while rest and rest[0][:1] == "-" and len(rest[0]) > 1:
        option = rest.pop(0)
        if option == "-r":
            raw = True
        elif option == "-p" and rest:
            shell.write(2, rest.pop(0))
        elif option != "--":
            return mistake(shell, words, f"Illegal option {option}")
    if not rest:
        return mistake(shell, words, "arg count")
    line, ended = _read_line(shell, raw)
    for name, value in zip(rest, read_fields(line, shell.ifs(), len(rest))):
        if not NAME.fullmatch(name):
            return mistake(shell, words, f"{name}: bad variable name")
        shell.set(name, value)
    return int(ended)


def _read_line(shell: Shell, raw: bool) -> tuple[list[tuple[str, bool]], bool]:
    """(characters, each with whether a backslash protects it; whether the input ended before a newline)."""
    data = bytearray()
    protected: list[int] = []
    while True:
        try:
            c = shell.sys.read(0, 1)
        except InterruptedError:
            if shell.pending:
                shell.run_traps()
            continue
        except OSError:
            return [], True
        if not c:
            break
        if c == b"\\" and not raw:
            c = shell.sys.read(0, 1)
            if c == b"\n":
                continue
            protected.append(len(data))
            data += c
            continue
        if c == b"\n":
            return _characters(data, protected), False
        if c != b"\0":
            data += c
    return _characters(data, protected), True


def _characters(data: bytearray, protected: list[int]) -> list[tuple[str, bool]]:
    marks, at, out = set(protected), 0, []
    for c in data.decode("utf-8", "surrogateescape"):
        out.append((c, at in marks))
        at += len(c.encode("utf-8", "surrogateescape"))
    return out


def read_fields(line: list[tuple[str, bool]], ifs: str, count: int) -> list[str]:
    """The line as `count` fields; the last takes all that is left, without blanks at its end."""
    white = [c for c in ifs if c in " \t\n"]
    out: list[str] = []
    at, end = 0, len(line)

    def blank(index: int) -> bool:
        return line[index][0] in white and not line[index][1]

    while at < end and blank(at):
        at += 1
    while len(out) < count - 1 and at < end:
        start = at
        while at < end and (line[at][0] not in ifs or line[at][1]):
            at += 1
        out.append("".join(c for c, _ in line[start:at]))
        while at < end and blank(at):
            at += 1
        if (
            at < end
            and line[at][0] in ifs
            and not line[at][1]
            and (at == start or not blank(at - 1) or line[at][0] not in white)
        ):
            at += 1
            while at < end and blank(at):
                at += 1
    while end > at and blank(end - 1):
        end -= 1
    rest = line[at:end]
    ends = rest and rest[-1][0] in ifs and not rest[-1][1] and rest[-1][0] not in white
    if ends and not any(c in ifs and not p for c, p in rest[:-1]):
        rest = rest[:-1]  # one delimiter at the end of the last field only ends it
        while rest and rest[-1][0] in white and not rest[-1][1]:
            rest.pop()
    out.append("".join(c for c, _ in rest))
    return out + [""] * (count - len(out))
