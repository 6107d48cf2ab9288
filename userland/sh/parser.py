"""From text to commands (POSIX.1 sections 2.2 to 2.10).

The parser takes lines from `more()` as it needs them, one whole command at a time, so that a shell at a terminal can
ask for the rest of one. The grammar decides what is a token: there is no lexer apart, because what `$(`, `((`, a
here-document or a reserved word is depends on where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from userland.sh.syntax import (
    COMMAND,
    DOUBLE,
    LITERAL,
    QUOTED,
    AndOr,
    Case,
    Compound,
    For,
    Function,
    Group,
    If,
    Loop,
    Node,
    Part,
    Pipeline,
    Redirect,
    Sequence,
    ShellSyntaxError,
    Simple,
    Word,
)
from userland.sh.words import NAME, PLAIN, Words

ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
RESERVED = re.compile(r"(if|then|else|elif|fi|do|done|case|esac|while|until|for|in|\{|\}|!)(?=[\s;&|()<>]|$)")
REDIRECT = re.compile(r"(\d*)(<<-|<<|<&|<>|>>|>&|>\||<|>)")
OPERATOR = re.compile(r"&&|\|\||;;|[&|;()\n]")


class Parser(Words):
    """Takes commands from `more()`, which gives the next line with its newline, "" at the end."""

    __slots__ = ("_aliased", "_blank_alias", "_documents")

    def __init__(self, more: Callable[[], str], aliases: dict[str, str] | None = None) -> None:
        super().__init__(more, aliases)
        self._documents: list[tuple[Redirect, str, bool, bool]] = []
        self._aliased: list[tuple[str, int]] = []
        self._blank_alias = -1

    # ---- tokens ----

    def _blanks(self) -> None:
        """Skip blanks, joined lines and a comment."""
        while True:
            c = self.peek()
            if c in (" ", "\t") and c:
                self.pos += 1
            elif c == "\\" and self.text[self.pos + 1 : self.pos + 2] == "\n":
                self.pos += 2
                self.line += 1
            elif c == "#":
                end = self.text.find("\n", self.pos)
                self.pos = len(self.text) if end < 0 else end
            else:
                return

    def _operator(self) -> str:
        """The operator that comes next, not taken; "" when a word does, or the end."""
        self._blanks()
        if not self.peek():
            return ""
        match = OPERATOR.match(self.text, self.pos)
        return match[0] if match else ""

    def _skip(self, op: str) -> None:
        self.pos += len(op)
        if op == "\n":
            self.line += 1
            self._read_documents()

    def _newlines(self) -> None:
        while self._operator() == "\n":
            self._skip("\n")

    def _reserved(self) -> str:
        self._blanks()
        if not self.peek():
            return ""
        match = RESERVED.match(self.text, self.pos)
        return match[1] if match else ""

    def _expect(self, word: str) -> None:
        if self._reserved() != word:
            self._unexpected(word)
        self.pos += len(word)

    def _unexpected(self, wanted: str = "") -> None:
        found = self._reserved() or self._operator() or (PLAIN.match(self.text, self.pos) or [""])[0] or self.peek()
        said = {"": "end of file", "\n": "newline"}.get(found, f'"{found}"')
        raise ShellSyntaxError(f"Syntax error: {said} unexpected" + (f' (expecting "{wanted}")' if wanted else ""))

    # ---- commands ----

    def command(self) -> Node | None:
        """The next complete command; None at the end. An empty line is an empty Sequence."""
        self.text, self.pos = self.text[self.pos :], 0
        self._aliased.clear()
        self._blanks()
        if not self.peek():
            return None
        items: list[tuple[Node, bool]] = []
        while True:
            op = self._operator()
            if op == "\n":
                self._skip(op)
                return Sequence(items)
            if not op and not self.peek():
                self._read_documents()
                return Sequence(items)
            if op and op not in "(":
                self._unexpected()
            items.append(self._and_or_item())

    def _and_or_item(self) -> tuple[Node, bool]:
        start = self.pos
        node = self._and_or()
        node.text = self.text[start : self.pos].strip()
        op = self._operator()
        if op in (";", "&"):
            self._skip(op)
            return node, op == "&"
        if op == ";;" or op == ")" or op == "\n" or not op:
            return node, False
        self._unexpected()
        return node, False

    def _list(self, *ends: str) -> Node:
        """A compound list up to one of `ends` (reserved words, `)` or `;;`), which is not taken."""
        items: list[tuple[Node, bool]] = []
        self._newlines()
        while True:
            op = self._operator()
            if (op and op in ends) or self._reserved() in ends:
                if not items and ";;" not in ends:
                    self._unexpected()
                return Sequence(items)
            if not op and not self.peek():
                self._unexpected(ends[0])
            if op and op != "(":
                self._unexpected()
            items.append(self._and_or_item())
            self._newlines()

    def _and_or(self) -> Node:
        first = self._pipeline()
        rest: list[tuple[str, Node]] = []
        while (op := self._operator()) in ("&&", "||"):
            self._skip(op)
            self._newlines()
            rest.append((op, self._pipeline()))
        return AndOr(first, rest) if rest else first

    def _pipeline(self) -> Node:
        bang = False
        while self._reserved() == "!":
            self.pos += 1
            bang = not bang
        start = self.pos
        commands = [self._command()]
        while self._operator() == "|":
            self._skip("|")
            self._newlines()
            commands.append(self._command())
        if len(commands) == 1 and not bang:
            return commands[0]
        node = Pipeline(commands, bang)
        node.text = self.text[start : self.pos].strip()
        return node

    def _command(self) -> Node:
        self._alias()
        start = self.pos
        op, word = self._operator(), self._reserved()
        node: Node
        if op == "(":
            self._skip(op)
            node = Group(self._list(")"), True)
            if self._operator() != ")":
                self._unexpected(")")
            self._skip(")")
        elif op or not self.peek():
            self._unexpected()
            raise AssertionError
        elif word in _COMPOUND:
            self.pos += len(word)
            node = _COMPOUND[word](self)
        elif word:
            self._unexpected()
            raise AssertionError
        else:
            return self._simple(start)
        while (redirect := self._redirect()) is not None:
            node.redirects.append(redirect)
        node.text = self.text[start : self.pos].strip()
        return node

    def _brace(self) -> Compound:
        node = Group(self._list("}"), False)
        self._expect("}")
        return node

    def _if(self) -> Compound:
        branches, otherwise = [], None
        condition = self._list("then")
        self._expect("then")
        branches.append((condition, self._list("elif", "else", "fi")))
        while self._reserved() == "elif":
            self.pos += 4
            condition = self._list("then")
            self._expect("then")
            branches.append((condition, self._list("elif", "else", "fi")))
        if self._reserved() == "else":
            self.pos += 4
            otherwise = self._list("fi")
        self._expect("fi")
        return If(branches, otherwise)

    def _do(self) -> Node:
        self._expect("do")
        body = self._list("done")
        self._expect("done")
        return body

    def _while(self) -> Compound:
        condition = self._list("do")
        return Loop(condition, self._do(), False)

    def _until(self) -> Compound:
        condition = self._list("do")
        return Loop(condition, self._do(), True)

    def _for(self) -> Compound:
        self._blanks()
        match = NAME.match(self.text, self.pos)
        if match is None:
            raise ShellSyntaxError("Syntax error: Bad for loop variable")
        self.pos = match.end()
        words: list[Word] | None = None
        if self._operator() == ";":
            self._skip(";")
        self._newlines()
        if self._reserved() == "in":
            self.pos += 2
            words = []
            while not (op := self._operator()) and self.peek():
                words.append(self._word())
            if op not in (";", "\n"):
                self._unexpected()
            self._skip(op)
            self._newlines()
        return For(match[0], words, self._do())

    def _case(self) -> Compound:
        self._blanks()
        word = self._word()
        self._newlines()
        self._expect("in")
        self._newlines()
        items: list[tuple[list[Word], Node | None]] = []
        while self._reserved() != "esac":
            if self._operator() == "(":
                self._skip("(")
            self._blanks()
            patterns = [self._word()]
            while self._operator() == "|":
                self._skip("|")
                self._blanks()
                patterns.append(self._word())
            if self._operator() != ")":
                self._unexpected(")")
            self._skip(")")
            items.append((patterns, self._list(";;", "esac")))
            if self._operator() == ";;":
                self._skip(";;")
            self._newlines()
        self._expect("esac")
        return Case(word, items)

    def _simple(self, start: int) -> Node:
        assigns: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        line = self.line + 1
        while True:
            if words and self.pos == self._blank_alias:
                self._alias()
            redirect = self._redirect()
            if redirect is not None:
                redirects.append(redirect)
                if not words:
                    self._alias()
                continue
            op = self._operator()
            if op == "(" and len(words) == 1 and not assigns and not redirects:
                return self._function(words[0])
            if op or not self.peek():
                break
            match = ASSIGN.match(self.text, self.pos) if not words else None
            if match is not None:
                self.pos = match.end()
                assigns.append((match[1], self._word(empty=True)))
                self._alias()
            else:
                words.append(self._word())
        if not (assigns or words or redirects):
            self._unexpected()
        node = Simple(assigns, words, redirects, line)
        node.text = self.text[start : self.pos].strip()
        return node

    def _function(self, word: Word) -> Node:
        name = word[0][1] if len(word) == 1 and word[0][0] == LITERAL else ""
        self._skip("(")
        if self._operator() != ")":
            self._unexpected(")")
        self._skip(")")
        if not NAME.fullmatch(name):
            raise ShellSyntaxError("Syntax error: Bad function name")
        self._newlines()
        return Function(name, self._command())

    def _alias(self) -> None:
        """Where a command begins: put the text of an alias in its place, unless it comes from there."""
        while True:
            self._blanks()
            if not self.aliases or not self.peek():
                return
            match = PLAIN.match(self.text, self.pos)
            if match is None or self.text[match.end() : match.end() + 1] in ("\\", "'", '"', "$", "`"):
                return
            name = match[0]
            self._aliased = [(n, end) for n, end in self._aliased if end > self.pos]
            if name not in self.aliases or RESERVED.match(name) or any(n == name for n, _ in self._aliased):
                return
            value = self.aliases[name]
            grown = len(value) - len(name)
            self._aliased = [(n, end + grown) for n, end in self._aliased]
            self.text = self.text[: self.pos] + value + self.text[match.end() :]
            self._aliased.append((name, self.pos + len(value)))
            if value[-1:] in (" ", "\t"):
                rest = self.pos + len(value)
                while self.text[rest : rest + 1] in (" ", "\t"):
                    rest += 1
                self._blank_alias = rest

    # ---- redirections ----

    def _redirect(self) -> Redirect | None:
        self._blanks()
        if not self.peek():
            return None
        match = REDIRECT.match(self.text, self.pos)
        if match is None:
            return None
        self.pos = match.end()
        op = match[2]
        fd = int(match[1]) if match[1] else 0 if op[0] == "<" else 1
        self._blanks()
        if self._operator() or not self.peek():
            self._unexpected()
        start = self.pos
        target = self._word()
        redirect = Redirect(fd, op, target)
        if op in ("<<", "<<-"):
            quoted = any(part[0] != LITERAL for part in target)
            end = "".join(_raw(part) for part in target) if quoted else self.text[start : self.pos]
            self._documents.append((redirect, end, op == "<<-", quoted))
        return redirect

    def _read_documents(self) -> None:
        """The lines after a newline belong to the here-documents that were begun before it."""
        documents, self._documents = self._documents, []
        for redirect, end, strip, quoted in documents:
            lines: list[str] = []
            while True:
                if self.pos >= len(self.text) and not self._fill():
                    break
                stop = self.text.find("\n", self.pos)
                stop = len(self.text) if stop < 0 else stop + 1
                line = self.text[self.pos : stop]
                self.pos = stop
                self.line += 1
                if not quoted:
                    while line.endswith("\\\n") and (len(line) - len(line[:-1].rstrip("\\"))) % 2 == 0:
                        if self.pos >= len(self.text) and not self._fill():
                            break
                        stop = self.text.find("\n", self.pos) + 1 or len(self.text)
                        line = line[:-2] + self.text[self.pos : stop]
                        self.pos = stop
                if strip:
                    line = line.lstrip("\t")
                if line.rstrip("\n") == end:
                    break
                lines.append(line)
            body = "".join(lines)
            redirect.target = ((QUOTED, body),) if quoted else here_document(body, self.aliases)

    # ---- commands in words ----

    def _command_substitution(self) -> Part:
        documents, self._documents = self._documents, []
        self._newlines()
        node: Node = Sequence([]) if self._operator() == ")" else self._list(")")
        self._skip(")")
        self._documents = documents
        return (COMMAND, node)

    def _program(self, text: str) -> Node:
        return parse(text, self.aliases)


_COMPOUND: dict[str, Callable[[Parser], Compound]] = {
    "{": Parser._brace,
    "if": Parser._if,
    "while": Parser._while,
    "until": Parser._until,
    "for": Parser._for,
    "case": Parser._case,
}


def _raw(part: Part) -> str:
    if part[0] == DOUBLE:
        return "".join(_raw(inner) for inner in part[1])
    return str(part[1])


def lines_of(text: str) -> Callable[[], str]:
    """`more()` over a text."""
    rest = iter(re.findall(r"[^\n]*\n|[^\n]+", text))
    return lambda: next(rest, "")


def here_document(body: str, aliases: dict[str, str]) -> Word:
    """The text of a here-document whose end was not quoted: expansions as between double quotes."""
    parser = Parser(lines_of(body), aliases)
    return parser._double("")


def parse(text: str, aliases: dict[str, str] | None = None) -> Node:
    """A whole program."""
    parser = Parser(lines_of(text), aliases)
    items: list[tuple[Node, bool]] = []
    while (node := parser.command()) is not None:
        assert isinstance(node, Sequence)
        items += node.items
    return Sequence(items)
