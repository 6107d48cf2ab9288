"""grep [-EFGHLchilnoqrRsvwxabz] [-ABCm N] [-e PATTERN] [-f FILE] [PATTERN] [FILE...]: lines that match.

Exit status 0 when a line was selected, 1 when none was, 2 for an error.
"""

from __future__ import annotations

import re

from userland import abi
from userland.command import Failed, Options, Output, UsageError, blocks, command, entries, is_directory, join, wrong
from userland.lib import System, complain, read_file
from userland.regex import translate
from userland.terminal import isatty

LONG = {
    "extended-regexp": "E", "fixed-strings": "F", "basic-regexp": "G", "ignore-case": "i", "invert-match": "v",
    "word-regexp": "w", "line-regexp": "x", "count": "c", "files-with-matches": "l", "files-without-match": "L",
    "max-count": "m:", "only-matching": "o", "quiet": "q", "silent": "q", "no-messages": "s", "line-number": "n",
    "with-filename": "H", "no-filename": "h", "recursive": "r", "after-context": "A:", "before-context": "B:",
    "context": "C:", "regexp": "e:", "file": "f:", "color": "K?", "colour": "K?", "byte-offset": "b", "text": "a",
    "include": "I:", "exclude": "X:",
}  # fmt: skip


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "EFGHLchilnoqrRsvwxaA:B:C:m:e:f:by", work, LONG, trouble=2,
                   synopsis="Usage: grep [OPTION]... PATTERNS [FILE]...")  # fmt: skip


class Grep:
    """One run."""

    __slots__ = ("after", "before", "begun", "matcher", "most", "name", "options", "out", "status", "sys", "titled")

    def __init__(self, sys: System, name: str, options: Options, matcher: re.Pattern[str]) -> None:
        self.sys = sys
        self.name = name
        self.options = options
        self.matcher = matcher
        self.out = Output(sys)
        self.status = 1
        self.titled = False
        self.begun = False
        """Lines were shown: the next group is set apart."""
        context = options.get("C", "0")
        self.after = int(options.get("A", context))
        self.before = int(options.get("B", context))
        self.most = int(options["m"]) if "m" in options else -1

    def colour(self) -> bool:
        when = self.options.get("K", "never")
        return when in ("", "always") or (when == "auto" and isatty(self.sys, 1))

    def file(self, path: str, shown: str, fd: int) -> bool:
        """Searches one file. Whether a line was selected."""
        options, out = self.options, self.out
        data = b"".join(blocks(self.sys, self.name, shown, fd, self.failed))
        binary = b"\0" in data[:32768] and "a" not in options
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        invert = "v" in options
        chosen: list[int] = []
        search = self.matcher.search
        for number, line in enumerate(lines):
            if len(chosen) == self.most:
                break
            if bool(search(line)) != invert:
                chosen.append(number)
                if "q" in options or "l" in options or "L" in options:
                    break
        if "q" in options:
            return bool(chosen)
        if "l" in options or "L" in options:
            if bool(chosen) == ("l" in options):
                out.write(f"{shown}\n")
        elif "c" in options:
            out.write((f"{shown}:" if self.titled else "") + f"{len(chosen)}\n")
        elif chosen and binary:
            out.write(f"{self.name}: {shown}: binary file matches\n")
        else:
            self.lines(shown, lines, chosen)
        return bool(chosen)

    def failed(self) -> None:
        self.status = 2

    def lines(self, shown: str, lines: list[str], chosen: list[int]) -> None:
        """The lines chosen, with those around them."""
        if not (self.after or self.before):
            for number in chosen:
                self.line(shown, number, lines[number], ":")
            return
        marks = set(chosen)
        last = -1
        for number in chosen:
            for at in range(max(number - self.before, last + 1), min(number + self.after + 1, len(lines))):
                if at > last:
                    if (last >= 0 and at > last + 1) or (last < 0 and self.begun):
                        self.out.write("--\n")
                    self.line(shown, at, lines[at], ":" if at in marks else "-")
                    last = at
        self.begun = self.begun or bool(chosen)

    def line(self, shown: str, number: int, text: str, mark: str) -> None:
        prefix = f"{shown}{mark}" if self.titled else ""
        if "n" in self.options:
            prefix += f"{number + 1}{mark}"
        if "o" in self.options:
            if mark == ":" and "v" not in self.options:
                for match in self.matcher.finditer(text):
                    if match[0]:
                        self.out.write(f"{prefix}{self.paint(match[0])}\n")
            return
        if mark == ":" and "v" not in self.options and self.colour():
            text = self.matcher.sub(lambda match: self.paint(match[0]) if match[0] else "", text)
        self.out.write(f"{prefix}{text}\n")

    def paint(self, text: str) -> str:
        return f"\x1b[01;31m\x1b[K{text}\x1b[m\x1b[K" if self.colour() else text


def pattern(sys: System, name: str, options: Options, operands: list[str]) -> re.Pattern[str] | None:
    """What is looked for: -e, -f, or the first operand, which is taken. None when it is mistaken, which was said."""
    given = [line for text in options.all("e") for line in text.split("\n")]
    for file in options.all("f"):
        text = read_file(sys, file).decode("utf-8", "surrogateescape")
        given += text.removesuffix("\n").split("\n") if text else []
    if not options.all("e") and not options.all("f"):
        if not operands:
            raise UsageError("")
        given = operands.pop(0).split("\n")
    kind = options.last("EFG", "G")
    try:
        parts = [re.escape(text) if kind == "F" else translate(text, kind == "E") for text in given]
        joined = "|".join(f"(?:{part})" for part in parts) if parts else "(?!)"
        if "x" in options:
            joined = f"\\A(?:{joined})\\Z"
        elif "w" in options:
            joined = f"(?<![0-9A-Za-z_])(?:{joined})(?![0-9A-Za-z_])"
        return re.compile(joined, re.I if "i" in options or "y" in options else 0)
    except (ValueError, re.error) as why:
        complain(sys, name, why)
        return None


def tree(sys: System, path: str) -> list[str]:
    """The files below a directory, links left out."""
    found: list[str] = []
    for entry in entries(sys, path):
        inner = join(path, entry)
        kind = sys.lstat(inner).st_mode & abi.S_IFMT
        if kind == abi.S_IFDIR:
            found += tree(sys, inner)
        elif kind != abi.S_IFLNK:
            found.append(inner)
    return found


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    matcher = pattern(sys, name, options, operands)
    if matcher is None:
        return 2
    grep = Grep(sys, name, options, matcher)
    recursive = "r" in options or "R" in options
    files: list[str] = []
    for operand in operands or (["."] if recursive else ["-"]):
        files += tree(sys, operand) if recursive and is_directory(sys, operand) else [operand]
    if recursive and not operands:
        files = [file.removeprefix("./") for file in files]
    several = len(operands) > 1 or (recursive and any(is_directory(sys, o) for o in operands or ["."]))
    grep.titled = options.last("Hh", "H" if several else "h") == "H"
    failed = Failed()
    for file in files:
        shown = "(standard input)" if file == "-" else file
        if file != "-" and is_directory(sys, file):
            grep.out.flush()
            if "s" not in options:
                complain(sys, name, f"{file}: Is a directory")
            failed()
            continue
        try:
            fd = 0 if file == "-" else sys.open(file, abi.O_RDONLY)
        except OSError as why:
            grep.out.flush()
            if "s" not in options:
                wrong(sys, name, file, why)
            failed()
            continue
        found = grep.file(file, shown, fd)
        if fd:
            sys.close(fd)
        if found and grep.status == 1:
            grep.status = 0
        if found and "q" in options:
            return 0
    grep.out.flush()
    return 2 if failed.status else grep.status
