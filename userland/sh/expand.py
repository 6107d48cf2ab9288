"""Word expansion (POSIX.1 section 2.6), in its order: tilde, parameters, commands and arithmetic; then field splitting;
then file names; quotes go as the words are taken apart.

An expanded word is a list of segments `(kind, text)`: `KEPT` was quoted (it is neither split nor a pattern), `BARE`
was written unquoted (a pattern, not split), `SPLIT` came out of an unquoted expansion (both), and `BREAK` ends a field,
between the positional parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from userland.sh import pattern
from userland.sh.arithmetic import evaluate
from userland.sh.syntax import ARITHMETIC, COMMAND, DOUBLE, LITERAL, PARAMETER, QUOTED, Part, ShellSyntaxError, Word

if TYPE_CHECKING:
    from userland.sh.shell import Shell

KEPT, BARE, SPLIT, BREAK = range(4)
Segments = list[tuple[int, str]]
WHITE = " \t\n"


class ExpansionError(Exception):
    """`${x:?}`, `set -u`, a bad substitution: a shell that is not interactive ends."""


def fields(shell: Shell, words: list[Word]) -> list[str]:
    """The fields that the words of a command become."""
    out: list[str] = []
    for word in words:
        if len(word) == 1 and word[0][0] == LITERAL and not pattern.MAGIC.search(word[0][1]) and word[0][1][0] != "~":
            out.append(word[0][1])
            continue
        for pieces in split(segments(shell, word), shell.ifs()):
            if not shell.options["f"] and pattern.special(pieces):
                found = pattern.glob(shell.sys, pieces)
                if found:
                    out += found
                    continue
            out.append(pattern.plain(pieces))
    return out


def text(shell: Shell, word: Word, assignment: bool = False) -> str:
    """The word as one string: no splitting, no file names (assignments, redirections, here-documents, case)."""
    joined: list[str] = []
    for kind, piece in segments(shell, word, assignment, single=True):
        joined.append(" " if kind == BREAK else piece)
    return "".join(joined)


def pieces(shell: Shell, word: Word) -> pattern.Pieces:
    """The word as a pattern."""
    return [(piece, kind == KEPT) for kind, piece in segments(shell, word, single=True) if kind != BREAK]


def segments(shell: Shell, word: Word, assignment: bool = False, single: bool = False) -> Segments:
    """`single`: the result will not be split, so that `$*` is joined at once."""
    out: Segments = []
    for number, part in enumerate(word):
        if part[0] == LITERAL:
            out.append((BARE, _tilde(shell, part[1], number == 0, len(word) == number + 1, assignment)))
        else:
            _expand(shell, part, False, out, single)
    return out


def _expand(shell: Shell, part: Part, quoted: bool, out: Segments, single: bool) -> None:
    kind = part[0]
    if kind == QUOTED:
        out.append((KEPT, part[1]))
    elif kind == LITERAL:
        out.append((SPLIT if not quoted else KEPT, part[1]))
    elif kind == DOUBLE:
        inner: Segments = []
        for each in part[1]:
            _expand(shell, each, True, inner, single)
        if not inner and not _only_parameters(part[1]):
            inner.append((KEPT, ""))
        out += inner
    elif kind == PARAMETER:
        _parameter(shell, part, quoted, out, single)
    elif kind == COMMAND:
        out.append((KEPT if quoted else SPLIT, shell.substitute(part[1])))
    elif kind == ARITHMETIC:
        expression: Segments = []
        for each in part[1]:
            _expand(shell, each, True, expression, True)
        try:
            value = evaluate("".join(piece for _, piece in expression), shell)
        except ShellSyntaxError as why:
            raise ExpansionError(str(why)) from None
        out.append((KEPT if quoted else SPLIT, str(value)))


def _only_parameters(parts: Word) -> bool:
    """Whether `"$@"` alone stands between the quotes: then nothing is what nothing gives."""
    return any(part[0] == PARAMETER and part[1] == "@" and part[2] != "length" for part in parts)


def _tilde(shell: Shell, text: str, first: bool, last: bool, assignment: bool) -> str:
    if "~" not in text:
        return text
    if not assignment:
        return _home(shell, text, last) if first else text
    parts = text.split(":")
    return ":".join(
        _home(shell, part, last or number < len(parts) - 1) if first or number else part
        for number, part in enumerate(parts)
    )


def _home(shell: Shell, text: str, whole: bool) -> str:
    if text[:1] != "~":
        return text
    name, slash, rest = text[1:].partition("/")
    if not slash and not whole:
        return text
    if not name:
        home = shell.get("HOME")
        return text if home is None else home + slash + rest
    home = shell.home_of(name)
    return text if home is None else home + slash + rest


# ---- parameters ----


def _parameter(shell: Shell, part: Part, quoted: bool, out: Segments, single: bool) -> None:
    _, name, op, word = part
    if op == "length":
        value = _value(shell, name)
        out.append((KEPT if quoted else SPLIT, str(len(value or ""))))
        return
    if name in "@*" and (not op or op[0] in "#%" or (op[-1] in "-=?" and _present(shell, op))):
        _positional(shell, name, op, word, quoted, out, single)
        return
    value = _value(shell, name) if not op or op[-1] not in "-=?+" else shell.get(name)
    if not op:
        out.append((KEPT if quoted else SPLIT, value or ""))
        return
    if op[0] in "#%":
        out.append((KEPT if quoted else SPLIT, trim(value or "", op, pieces(shell, word))))
        return
    missing = value is None or (op[0] == ":" and not value)
    if name in "@*":
        missing = not _present(shell, op)
    if op[-1] == "+":
        if not missing:
            _alternative(shell, word, quoted, out, single)
    elif not missing:
        out.append((KEPT if quoted else SPLIT, value or ""))
    elif op[-1] == "-":
        _alternative(shell, word, quoted, out, single)
    elif op[-1] == "=":
        if not name[0].isalpha() and name[0] != "_":
            raise ExpansionError(f"{name}: cannot assign in this way")
        made = text(shell, word)
        shell.set(name, made)
        out.append((KEPT if quoted else SPLIT, made))
    else:
        said = text(shell, word) if word else "parameter not set" + (" or null" if op[0] == ":" else "")
        raise ExpansionError(f"{name}: {said}")


def _present(shell: Shell, op: str) -> bool:
    return any(shell.positional) if op[0] == ":" else bool(shell.positional)


def _value(shell: Shell, name: str) -> str | None:
    value = shell.get(name)
    if value is None and shell.options["u"] and name not in "@*":
        raise ExpansionError(f"{name}: parameter not set")
    return value


def _alternative(shell: Shell, word: Word, quoted: bool, out: Segments, single: bool) -> None:
    """The word of `${x-word}`: where it is bare, what it says bare is split too."""
    for number, part in enumerate(word):
        if part[0] == LITERAL and not quoted:
            out.append((SPLIT, _tilde(shell, part[1], number == 0, True, False)))
        else:
            _expand(shell, part, quoted, out, single)
    if quoted and not word:
        out.append((KEPT, ""))


def _positional(shell: Shell, name: str, op: str, word: Word | None, quoted: bool, out: Segments, single: bool) -> None:
    values = shell.positional
    if op and op[0] in "#%":
        trimmed = pieces(shell, word or ())
        values = [trim(value, op, trimmed) for value in values]
    if (quoted and name == "*") or (single and name == "*"):
        ifs = shell.get("IFS")
        joint = " " if ifs is None else ifs[:1]
        out.append((KEPT if quoted else SPLIT, joint.join(values)))
        return
    for number, value in enumerate(values):
        if number:
            out.append((BREAK, ""))
        if quoted or value:
            out.append((KEPT if quoted else SPLIT, value))


def trim(value: str, op: str, pieces: pattern.Pieces) -> str:
    """`${x#p}` and its kind."""
    matches = pattern.regex(pieces).fullmatch
    length = len(value)
    if op[0] == "#":
        cuts = range(length + 1) if op == "#" else range(length, -1, -1)
        for cut in cuts:
            if matches(value, 0, cut):
                return value[cut:]
    else:
        cuts = range(length, -1, -1) if op == "%" else range(length + 1)
        for cut in cuts:
            if matches(value, cut):
                return value[:cut]
    return value


# ---- field splitting ----


def split(word: Segments, ifs: str) -> list[pattern.Pieces]:
    """Fields, as patterns (section 2.6.5)."""
    white = "".join(c for c in ifs if c in WHITE)
    out: list[pattern.Pieces] = []
    current: pattern.Pieces | None = None
    ended_by_white = False
    for kind, piece in word:
        if kind == BREAK:
            if current is not None:
                out.append(current)
            current, ended_by_white = None, False
            continue
        if kind != SPLIT or not ifs:
            if piece or kind == KEPT:
                current = current if current is not None else []
                current.append((piece, kind == KEPT))
                ended_by_white = False
            continue
        start = 0
        for at, c in enumerate(piece):
            if c not in ifs:
                continue
            if at > start:
                current = current if current is not None else []
                current.append((piece[start:at], False))
                ended_by_white = False
            start = at + 1
            if c in white:
                if current is not None:
                    out.append(current)
                    current, ended_by_white = None, True
            elif current is not None or not ended_by_white:
                out.append(current if current is not None else [("", True)])
                current = None
            else:
                ended_by_white = False
        if start < len(piece):
            current = current if current is not None else []
            current.append((piece[start:], False))
            ended_by_white = False
    if current is not None:
        out.append(current)
    return out
