"""find [PATH...] [EXPRESSION]: walks trees.

Tests: -name -iname -path -type -size -mtime -mmin -newer -perm -user -group -links -empty -true -false; actions:
-print -print0 -delete -exec -prune -quit -printf (a part); -maxdepth -mindepth; ( ) ! -a -o.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from userland import abi
from userland.bin.env import execute
from userland.bin.stat import formatted
from userland.command import BadValue, Names, Output, UsageError, entries, join, wrong
from userland.lib import System, say
from userland.modes import symbolic
from userland.sh.pattern import regex
from userland.times import now

TYPES = {"f": abi.S_IFREG, "d": abi.S_IFDIR, "l": abi.S_IFLNK, "p": abi.S_IFIFO, "s": abi.S_IFSOCK, "c": abi.S_IFCHR,
         "b": abi.S_IFBLK}  # fmt: skip


class Item:
    """The file at hand."""

    __slots__ = ("depth", "name", "path", "pruned", "st")

    def __init__(self, path: str, depth: int, st: Any) -> None:
        self.path = path
        self.name = path.rstrip("/").rpartition("/")[2] or path
        self.depth = depth
        self.st = st
        self.pruned = False


Test = Callable[[Item], bool]


def _either(a: Test, b: Test) -> Test:
    return lambda item: a(item) or b(item)


def _both(a: Test, b: Test) -> Test:
    return lambda item: a(item) and b(item)


class Quit(Exception):
    """-quit."""


class Find:
    """One run."""

    __slots__ = (
        "acts",
        "at",
        "batches",
        "depth_first",
        "least",
        "most",
        "names",
        "out",
        "present",
        "status",
        "sys",
        "words",
    )

    def __init__(self, sys: System, words: list[str]) -> None:
        self.sys = sys
        self.words = words
        self.at = 0
        self.out = Output(sys)
        self.names = Names(sys)
        self.present = now(sys)
        self.status = self.least = 0
        self.most = 1 << 30
        self.acts = self.depth_first = False
        self.batches: list[tuple[list[str], list[str]]] = []

    # ---- the expression ----

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def next(self, of: str) -> str:
        if self.at >= len(self.words):
            raise BadValue(f"missing argument to `{of}'")
        self.at += 1
        return self.words[self.at - 1]

    def any(self) -> Test:
        left = self.all()
        while self.peek() in ("-o", "-or"):
            self.at += 1
            left = _either(left, self.all())
        return left

    def all(self) -> Test:
        left = self.inverse()
        while self.peek() and self.peek() not in ("-o", "-or", ")"):
            if self.peek() in ("-a", "-and"):
                self.at += 1
            left = _both(left, self.inverse())
        return left

    def inverse(self) -> Test:
        if self.peek() in ("!", "-not"):
            self.at += 1
            test = self.inverse()
            return lambda item: not test(item)
        return self.primary()

    def primary(self) -> Test:
        word = self.next("expression")
        if word == "(":
            test = self.any()
            if self.next("(") != ")":
                raise BadValue("expected )")
            return test
        if word in ("-name", "-iname", "-path", "-wholename", "-ipath"):
            pattern = self.next(word)
            fold = word.startswith("-i")
            match = re.compile(regex([(pattern, False)]).pattern, re.S | (re.I if fold else 0)).fullmatch
            return lambda item: bool(match(item.path if "path" in word or "whole" in word else item.name))
        if word == "-type":
            kinds = [TYPES[letter] for letter in self.next(word).split(",") if letter in TYPES]
            return lambda item: item.st.st_mode & abi.S_IFMT in kinds
        if word in ("-maxdepth", "-mindepth"):
            value = int(self.next(word))
            self.most, self.least = (value, self.least) if word == "-maxdepth" else (self.most, value)
            return lambda item: True
        if word in ("-mtime", "-mmin", "-size", "-links", "-atime", "-ctime"):
            return self.amount(word, self.next(word))
        if word in ("-newer", "-user", "-group", "-perm"):
            return self.attribute(word, self.next(word))
        if word == "-empty":
            return self.empty
        if word in ("-true", "-depth", "-xdev", "-mount"):
            self.depth_first = self.depth_first or word == "-depth"
            return lambda item: True
        if word == "-false":
            return lambda item: False
        return self.action(word)

    def amount(self, word: str, text: str) -> Test:
        match = re.fullmatch(r"([-+]?)(\d+)([cwbkMG]?)", text)
        if match is None:
            raise BadValue(f"invalid argument `{text}' to `{word}'")
        sign, wanted = match[1], int(match[2])
        unit = {"c": 1, "w": 2, "": 512, "b": 512, "k": 1024, "M": 1 << 20, "G": 1 << 30}[match[3]]

        def value(item: Item) -> int:
            if word == "-size":
                return -(-int(item.st.st_size) // unit)
            if word == "-links":
                return int(item.st.st_nlink)
            stamp = getattr(item.st, {"-atime": "st_atime_ns", "-ctime": "st_ctime_ns"}.get(word, "st_mtime_ns"))
            return (self.present - stamp // 10**9) // (60 if word == "-mmin" else 86400)

        if sign == "+":
            return lambda item: value(item) > wanted
        return (lambda item: value(item) < wanted) if sign else (lambda item: value(item) == wanted)

    def attribute(self, word: str, text: str) -> Test:
        if word == "-newer":
            stamp = self.sys.stat(text).st_mtime_ns
            return lambda item: item.st.st_mtime_ns > stamp
        if word in ("-user", "-group"):
            wanted = self.names.uid(text) if word == "-user" else self.names.gid(text)
            if wanted is None:
                raise BadValue(f"`{text}' is not the name of a known {word[1:]}")
            return lambda item: (item.st.st_uid if word == "-user" else item.st.st_gid) == wanted
        how = text[0] if text[0] in "-/" else ""
        mode = symbolic(text[len(how) :], 0, False, 0)
        if how == "-":
            return lambda item: item.st.st_mode & mode == mode
        if how == "/":
            return lambda item: bool(item.st.st_mode & mode) or not mode
        return lambda item: item.st.st_mode & 0o7777 == mode

    def empty(self, item: Item) -> bool:
        kind = item.st.st_mode & abi.S_IFMT
        if kind == abi.S_IFDIR:
            return not entries(self.sys, item.path)
        return bool(kind == abi.S_IFREG and not item.st.st_size)

    # ---- actions ----

    def action(self, word: str) -> Test:
        if word == "-prune":

            def prune(item: Item) -> bool:
                item.pruned = True
                return True

            return prune
        self.acts = True
        if word in ("-print", "-print0"):
            end = "\0" if word == "-print0" else "\n"
            return lambda item: self.write(item.path + end)
        if word == "-printf":
            shape = self.next(word).replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0")
            return lambda item: self.write(self.printf(shape, item))
        if word == "-quit":

            def quit_(item: Item) -> bool:
                raise Quit

            return quit_
        if word == "-delete":
            self.depth_first = True
            return self.delete
        if word in ("-exec", "-ok"):
            return self.exec()
        raise BadValue(f"unknown predicate `{word}'")

    def write(self, text: str) -> bool:
        self.out.write(text)
        return True

    def printf(self, shape: str, item: Item) -> str:
        shape = shape.replace("%p", "%n").replace("%f", "\1").replace("%m", "%a").replace("%d", str(item.depth))
        shape = shape.replace("%y", next((k for k, v in TYPES.items() if v == item.st.st_mode & abi.S_IFMT), "U"))
        return formatted(shape, item.path, item.st, self.names, "").replace("\1", item.name)

    def delete(self, item: Item) -> bool:
        try:
            if item.st.st_mode & abi.S_IFMT == abi.S_IFDIR:
                if item.path not in (".", "./"):
                    self.sys.rmdir(item.path)
            else:
                self.sys.unlink(item.path)
        except OSError as why:
            self.status = wrong(self.sys, "find", f"cannot delete '{item.path}'", why)
            return False
        return True

    def exec(self) -> Test:
        words: list[str] = []
        while True:
            word = self.next("-exec")
            if word == ";":
                return lambda item: not self.run([w.replace("{}", item.path) for w in words])
            if word == "+" and words and words[-1] == "{}":
                return self.batch(words[:-1])
            words.append(word)

    def batch(self, words: list[str]) -> Test:
        """-exec ... {} +: the files are collected, for one run at the end."""
        found: list[str] = []
        self.batches.append((words, found))

        def collect(item: Item) -> bool:
            found.append(item.path)
            return True

        return collect

    def run(self, words: list[str]) -> int:
        self.out.flush()
        pid = self.sys.spawn(_child, words)
        status: int = self.sys.wait4(pid, 0)[1]
        return status

    # ---- the walk ----

    def walk(self, path: str, depth: int, test: Test) -> None:
        try:
            item = Item(path, depth, self.sys.lstat(path))
        except OSError as why:
            self.out.flush()
            self.status = wrong(self.sys, "find", f"'{path}'", why)
            return
        if not self.depth_first and depth >= self.least:
            test(item)
        if item.st.st_mode & abi.S_IFMT == abi.S_IFDIR and depth < self.most and not item.pruned:
            try:
                names = entries(self.sys, path)
            except OSError as why:
                self.out.flush()
                self.status = wrong(self.sys, "find", f"'{path}'", why)
                names = []
            for name in names:
                self.walk(join(path, name), depth + 1, test)
        if self.depth_first and depth >= self.least:
            test(item)


def _child(sys: System, words: list[str]) -> int:
    return execute(sys, "find", words, dict(sys.environ))


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    paths = []
    while words and words[0][:1] not in ("-", "(", "!"):
        paths.append(words.pop(0))
    find = Find(sys, words)
    try:
        test: Test = find.any() if words else lambda item: True
        if find.peek():
            raise BadValue(f"paths must precede expression: `{find.peek()}'")
    except UsageError as why:
        say(sys, f"find: {why}", fd=2)
        return 1
    if not find.acts:
        chosen = test
        test = lambda item: chosen(item) and find.write(item.path + "\n")  # noqa: E731
    try:
        for path in paths or ["."]:
            find.walk(path, 0, test)
    except Quit:
        pass  # as was asked
    find.out.flush()
    for words, found in find.batches:
        if found and find.run([*words, *found]):
            find.status = 1
    return find.status
