"""What a shell program is once it has been read: words and commands.

A word is a tuple of parts. `(LITERAL, text)` was written bare, `(QUOTED, text)` in quotes or after a backslash,
`(DOUBLE, parts)` stood between double quotes; `(PARAMETER, name, operator, word)`, `(COMMAND, node)` and
`(ARITHMETIC, parts)` are expansions. Nodes never change, so that functions and subshells can share them.
"""

from __future__ import annotations

from typing import Any

LITERAL, QUOTED, DOUBLE, PARAMETER, COMMAND, ARITHMETIC = range(6)
Part = tuple[Any, ...]
Word = tuple[Part, ...]


class ShellSyntaxError(Exception):
    """The text is no shell program."""


class Redirect:
    """`fd op target`; a here-document's target is its text, filled in when its lines have been read."""

    __slots__ = ("fd", "op", "target")

    def __init__(self, fd: int, op: str, target: Word) -> None:
        self.fd = fd
        self.op = op
        self.target = target


class Node:
    """A command. `text` is how it was written, for `jobs`."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = ""


class Simple(Node):
    __slots__ = ("assigns", "line", "redirects", "words")

    def __init__(
        self, assigns: list[tuple[str, Word]], words: list[Word], redirects: list[Redirect], line: int
    ) -> None:
        super().__init__()
        self.assigns = assigns
        self.words = words
        self.redirects = redirects
        self.line = line


class Pipeline(Node):
    __slots__ = ("bang", "commands")

    def __init__(self, commands: list[Node], bang: bool) -> None:
        super().__init__()
        self.commands = commands
        self.bang = bang


class AndOr(Node):
    """`first`, then (`&&` or `||`, command) pairs."""

    __slots__ = ("first", "rest")

    def __init__(self, first: Node, rest: list[tuple[str, Node]]) -> None:
        super().__init__()
        self.first = first
        self.rest = rest


class Sequence(Node):
    """Commands, each with whether it runs in the background."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[Node, bool]]) -> None:
        super().__init__()
        self.items = items


class Compound(Node):
    """What may have redirections of its own: { } ( ) if while until for case."""

    __slots__ = ("redirects",)

    def __init__(self) -> None:
        super().__init__()
        self.redirects: list[Redirect] = []


class Group(Compound):
    __slots__ = ("body", "subshell")

    def __init__(self, body: Node, subshell: bool) -> None:
        super().__init__()
        self.body = body
        self.subshell = subshell


class If(Compound):
    """(condition, body) pairs, and what comes after else."""

    __slots__ = ("branches", "otherwise")

    def __init__(self, branches: list[tuple[Node, Node]], otherwise: Node | None) -> None:
        super().__init__()
        self.branches = branches
        self.otherwise = otherwise


class Loop(Compound):
    __slots__ = ("body", "condition", "until")

    def __init__(self, condition: Node, body: Node, until: bool) -> None:
        super().__init__()
        self.condition = condition
        self.body = body
        self.until = until


class For(Compound):
    """`words` None: over the positional parameters."""

    __slots__ = ("body", "name", "words")

    def __init__(self, name: str, words: list[Word] | None, body: Node) -> None:
        super().__init__()
        self.name = name
        self.words = words
        self.body = body


class Case(Compound):
    """(patterns, body, whether it falls through) for each item."""

    __slots__ = ("items", "word")

    def __init__(self, word: Word, items: list[tuple[list[Word], Node | None]]) -> None:
        super().__init__()
        self.word = word
        self.items = items


class Function(Node):
    __slots__ = ("body", "name")

    def __init__(self, name: str, body: Node) -> None:
        super().__init__()
        self.name = name
        self.body = body
