"""test and [: by the number of arguments, as POSIX.1 has it, then by precedence for what is longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from userland import abi
from userland.lib import System
from userland.terminal import isatty


class ConditionError(Exception):
    """The expression makes no sense: status 2."""


UNARY = "bcdefghkLnprsStuwxzO"
BINARY = ("=", "==", "!=", "<", ">", "-eq", "-ne", "-gt", "-ge", "-lt", "-le", "-nt", "-ot", "-ef")
_KINDS = {
    "b": abi.S_IFBLK, "c": abi.S_IFCHR, "d": abi.S_IFDIR, "f": abi.S_IFREG, "p": abi.S_IFIFO, "S": abi.S_IFSOCK,
}  # fmt: skip
_BITS = {"g": abi.S_ISGID, "k": abi.S_ISVTX, "u": abi.S_ISUID}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b, "-ne": lambda a, b: a != b, "-gt": lambda a, b: a > b, "-ge": lambda a, b: a >= b,
    "-lt": lambda a, b: a < b, "-le": lambda a, b: a <= b,
}  # fmt: skip


class Condition:
    """One expression."""

    __slots__ = ("at", "sys", "words")

    def __init__(self, sys: System, words: list[str]) -> None:
        self.sys = sys
        self.words = words
        self.at = 0

    def value(self) -> bool:
        words = self.words
        if not words:
            return False
        if len(words) == 1:
            return bool(words[0])
        if len(words) == 2:
            if words[0] == "!":
                return not words[1]
            if _is_unary(words[0]):
                return self.unary(words[0], words[1])
            raise ConditionError(f"{words[0]}: unexpected operator")
        if len(words) == 3 and words[1] in BINARY:
            return self.binary(*words)
        if len(words) == 4 and words[0] == "!":
            return not Condition(self.sys, words[1:]).value()
        found = self._or()
        if self.at < len(words):
            raise ConditionError(f"{words[self.at]}: unexpected operator")
        return found

    def _peek(self) -> str | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def _or(self) -> bool:
        found = self._and()
        while self._peek() == "-o":
            self.at += 1
            other = self._and()
            found = found or other
        return found

    def _and(self) -> bool:
        found = self._not()
        while self._peek() == "-a":
            self.at += 1
            other = self._not()
            found = found and other
        return found

    def _not(self) -> bool:
        if self._peek() == "!" and self.at + 1 < len(self.words):
            self.at += 1
            return not self._not()
        return self._primary()

    def _primary(self) -> bool:
        word = self._peek()
        if word is None:
            raise ConditionError("argument expected")
        after = self.words[self.at + 1 : self.at + 3]
        if len(after) == 2 and after[0] in BINARY:
            self.at += 3
            return self.binary(word, after[0], after[1])
        if word == "(" and after:
            self.at += 1
            found = self._or()
            if self._peek() != ")":
                raise ConditionError("closing paren expected")
            self.at += 1
            return found
        if _is_unary(word) and after:
            self.at += 2
            return self.unary(word, after[0])
        self.at += 1
        return bool(word)

    def unary(self, op: str, operand: str) -> bool:
        letter = op[1]
        if letter == "n":
            return bool(operand)
        if letter == "z":
            return not operand
        if letter == "t":
            return isatty(self.sys, _integer(operand))
        if letter in "rwx":
            try:
                self.sys.access(operand, {"r": abi.R_OK, "w": abi.W_OK, "x": abi.X_OK}[letter])
            except OSError:
                return False
            return True
        st = _stat(self.sys, operand, letter in "hL")
        if st is None:
            return False
        if letter in "hL":
            return bool(st.st_mode & abi.S_IFMT == abi.S_IFLNK)
        if letter in _KINDS:
            return bool(st.st_mode & abi.S_IFMT == _KINDS[letter])
        if letter in _BITS:
            return bool(st.st_mode & _BITS[letter])
        if letter == "s":
            return bool(st.st_size > 0)
        if letter == "O":
            return bool(st.st_uid == self.sys.geteuid())
        return True

    def binary(self, left: str, op: str, right: str) -> bool:
        if op in ("=", "=="):
            return left == right
        if op == "!=":
            return left != right
        if op in ("<", ">"):
            return left < right if op == "<" else left > right
        if op in _COMPARE:
            return _COMPARE[op](_integer(left), _integer(right))
        a, b = _stat(self.sys, left), _stat(self.sys, right)
        if op == "-ef":
            return a is not None and b is not None and (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
        if op == "-nt":
            return a is not None and (b is None or a.st_mtime_ns > b.st_mtime_ns)
        return b is not None and (a is None or a.st_mtime_ns < b.st_mtime_ns)


def _is_unary(word: str) -> bool:
    return len(word) == 2 and word[0] == "-" and word[1] in UNARY


def _integer(text: str) -> int:
    try:
        stripped = text.strip()
        return int(stripped.lstrip("+") if stripped[:1] == "+" else stripped)
    except ValueError:
        raise ConditionError(f"Illegal number: {text}") from None


def _stat(sys: System, path: str, link: bool = False) -> Any:
    try:
        return sys.lstat(path) if link else sys.stat(path)
    except OSError:
        return None


def test(sys: System, name: str, words: list[str]) -> bool:
    """`words` are the arguments; for `[` the last has to be `]`."""
    if name == "[":
        if not words or words[-1] != "]":
            raise ConditionError("missing ]")
        words = words[:-1]
    return Condition(sys, words).value()
