"""Words as they are written: quotes, backslashes, `$` and backquotes (POSIX.1 sections 2.2 and 2.6).

`Words` has the characters of a program and takes words from them; what stands inside `$(...)` is for the parser, which
is built on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from userland.sh.syntax import (
    ARITHMETIC,
    COMMAND,
    DOUBLE,
    LITERAL,
    PARAMETER,
    QUOTED,
    Node,
    Part,
    ShellSyntaxError,
    Word,
)

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLAIN = re.compile(r"[^\s;&|<>()\\'\"$`]+")
IN_QUOTES = re.compile(r'[^\\"$`]+')
SPECIAL = "@*#?-$!"
META = " \t\n;&|<>()"


class Words:
    """`more()` gives the next line with its newline, "" at the end. `aliases` are looked up as they are now."""

    __slots__ = ("_ended", "_more", "aliases", "line", "pos", "text")

    def __init__(self, more: Callable[[], str], aliases: dict[str, str] | None = None) -> None:
        self._more = more
        self.aliases = {} if aliases is None else aliases
        self.text = ""
        self.pos = 0
        self.line = 0
        self._ended = False

    def _unexpected(self, wanted: str = "") -> None:
        raise NotImplementedError

    def _command_substitution(self) -> Part:
        """After `$(`."""
        raise NotImplementedError

    def _program(self, text: str) -> Node:
        """What stood between backquotes."""
        raise NotImplementedError

    # ---- characters ----

    def _fill(self) -> bool:
        """One more line. False at the end of the program."""
        if self._ended:
            return False
        line = self._more()
        if not line:
            self._ended = True
            return False
        self.text += line
        return True

    def peek(self) -> str:
        """The next character, "" at the end."""
        if self.pos >= len(self.text) and not self._fill():
            return ""
        return self.text[self.pos]

    def _take(self) -> str:
        c = self.peek()
        if c:
            self.pos += 1
            if c == "\n":
                self.line += 1
        return c

    # ---- words ----

    def _word(self, empty: bool = False) -> Word:
        parts: list[Part] = []
        while True:
            c = self.peek()
            if not c or c in META:
                break
            match = PLAIN.match(self.text, self.pos)
            if match:
                self.pos = match.end()
                parts.append((LITERAL, match[0]))
            elif c == "\\":
                self._backslash(parts)
            elif c == "'":
                self.pos += 1
                parts.append((QUOTED, self._until_quote()))
            elif c == '"':
                self.pos += 1
                parts.append((DOUBLE, self._double('"')))
            elif c == "$":
                parts.append(self._dollar(False))
            else:
                parts.append(self._backquote(False))
        if not parts and not empty:
            self._unexpected()
        return tuple(parts)

    def _backslash(self, parts: list[Part]) -> None:
        self.pos += 1
        c = self._take()
        if c != "\n":
            parts.append((QUOTED, c or "\\"))

    def _until_quote(self) -> str:
        start = self.pos
        while (end := self.text.find("'", self.pos)) < 0:
            self.pos = len(self.text)
            if not self._fill():
                raise ShellSyntaxError("Syntax error: Unterminated quoted string")
        self.line += self.text.count("\n", start, end)
        self.pos = end + 1
        return self.text[start:end]

    def _double(self, end: str) -> Word:
        """Up to `end`, which is taken: a double quote, or "" for all there is (a here-document)."""
        parts: list[Part] = []
        while True:
            c = self.peek()
            if not c:
                if end:
                    raise ShellSyntaxError("Syntax error: Unterminated quoted string")
                return tuple(parts)
            if c == end:
                self.pos += 1
                return tuple(parts)
            match = IN_QUOTES.match(self.text, self.pos)
            if match:
                self.pos = match.end()
                self.line += match[0].count("\n")
                parts.append((QUOTED, match[0]))
            elif c == '"':
                self.pos += 1
                parts.append((QUOTED, c))
            elif c == "\\":
                self.pos += 1
                following = self._take()
                if following == "\n":
                    continue
                if following in ("$", "`", "\\") or (following == '"' and end):
                    parts.append((QUOTED, following))
                else:
                    parts.append((QUOTED, "\\" + following))
            elif c == "$":
                parts.append(self._dollar(True))
            else:
                parts.append(self._backquote(bool(end)))

    def _dollar(self, quoted: bool) -> Part:
        self.pos += 1
        c = self.peek()
        if c == "{":
            self.pos += 1
            return self._braced(quoted)
        if c == "(":
            if self.text.startswith("((", self.pos):
                part = self._arithmetic()
                if part is not None:
                    return part
            self.pos += 1
            return self._command_substitution()
        match = NAME.match(self.text, self.pos)
        if match:
            self.pos = match.end()
            return (PARAMETER, match[0], "", None)
        if c and (c in SPECIAL or c.isdigit()):
            self.pos += 1
            return (PARAMETER, c, "", None)
        return (QUOTED if quoted else LITERAL, "$")

    def _arithmetic(self) -> Part | None:
        """`$((...))`; None when it turns out to be a command in parentheses."""
        start, line = self.pos, self.line
        self.pos += 2
        parts: list[Part] = []
        depth = 0
        while True:
            c = self.peek()
            if not c:
                self.pos, self.line = start, line
                return None
            if c == ")" and not depth:
                if self.text.startswith("))", self.pos):
                    self.pos += 2
                    return (ARITHMETIC, tuple(parts))
                self.pos, self.line = start, line
                return None
            if c == "$":
                parts.append(self._dollar(True))
            elif c == "`":
                parts.append(self._backquote(True))
            elif c == "\\" and self.text[self.pos + 1 : self.pos + 2] == "\n":
                self.pos += 2
            elif c == '"':
                self.pos += 1
            else:
                depth += (c == "(") - (c == ")")
                parts.append((QUOTED, self._take()))

    def _braced(self, quoted: bool) -> Part:
        text = self.text
        if text[self.pos : self.pos + 1] == "#" and text[self.pos + 1 : self.pos + 2] not in ("}", ""):
            match = NAME.match(text, self.pos + 1) or re.compile(r"\d+|[@*#?$!-](?=\})").match(text, self.pos + 1)
            if match and text[match.end() : match.end() + 1] == "}":
                self.pos = match.end() + 1
                return (PARAMETER, match[0], "length", None)
        match = NAME.match(text, self.pos) or re.compile(r"\d+|[@*#?$!-]").match(text, self.pos)
        if match is None:
            raise ShellSyntaxError("Bad substitution")
        self.pos = match.end()
        name = match[0]
        if self.peek() == "}":
            self.pos += 1
            return (PARAMETER, name, "", None)
        found = re.compile(r":?[-=?+]|##?|%%?").match(self.text, self.pos)
        if found is None:
            raise ShellSyntaxError("Bad substitution")
        self.pos = found.end()
        op = found[0]
        return (PARAMETER, name, op, self._braced_word(quoted and op[0] not in "#%"))

    def _braced_word(self, quoted: bool) -> Word:
        parts: list[Part] = []
        while True:
            c = self.peek()
            if not c:
                raise ShellSyntaxError("Syntax error: Missing '}'")
            if c == "}":
                self.pos += 1
                return tuple(parts)
            if c == "\\":
                if quoted:
                    self.pos += 1
                    following = self._take()
                    if following != "\n":
                        parts.append((QUOTED, following if following in '$`"\\}' else "\\" + following))
                else:
                    self._backslash(parts)
            elif c == "'" and not quoted:
                self.pos += 1
                parts.append((QUOTED, self._until_quote()))
            elif c == '"':
                self.pos += 1
                parts.append((DOUBLE, self._double('"')))
            elif c == "$":
                parts.append(self._dollar(quoted))
            elif c == "`":
                parts.append(self._backquote(quoted))
            else:
                parts.append((QUOTED if quoted else LITERAL, self._take()))

    def _backquote(self, quoted: bool) -> Part:
        self.pos += 1
        text: list[str] = []
        while True:
            c = self._take()
            if not c:
                raise ShellSyntaxError("Syntax error: EOF in backquote substitution")
            if c == "`":
                break
            if c == "\\":
                following = self._take()
                if following in ("$", "`", "\\") or (quoted and following == '"'):
                    text.append(following)
                elif following != "\n":
                    text.append("\\" + following)
            else:
                text.append(c)
        return (COMMAND, self._program("".join(text)))
