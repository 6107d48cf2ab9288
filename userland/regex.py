"""Regular expressions of POSIX (regex(7)), basic and extended, as Python's: for grep, sed's kin and find.

What GNU adds is taken too: \\+ \\? \\| in basic ones, \\w \\W \\b \\< \\> \\s \\S in both.
Leftmost-longest is not kept where alternatives overlap: as Python's, the first that matches wins.
"""

from __future__ import annotations

import re

from userland.sh.pattern import CLASSES

_SHORT = {"w": r"[0-9A-Za-z_]", "W": r"[^0-9A-Za-z_]", "s": r"\s", "S": r"\S", "b": r"\b", "B": r"\B", "<": r"\b(?=\w)",
          ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z"}  # fmt: skip


def bracket(text: str, at: int) -> tuple[str, int]:
    """The bracket expression whose `[` is at `at`; (Python's, where it ends). ValueError when it has no end."""
    at += 1
    negated = text[at : at + 1] == "^"
    at += negated
    out = ""
    first = True
    while at < len(text) and (first or text[at] != "]"):
        first = False
        kind = text[at : at + 2]
        if kind in ("[:", "[.", "[="):
            end = text.find(kind[1] + "]", at + 2)
            if end < 0:
                raise ValueError("Invalid regular expression")
            name = text[at + 2 : end]
            if kind == "[:":
                if name not in CLASSES:
                    raise ValueError("Invalid character class name")
                out += CLASSES[name]
            else:
                out += re.escape(name)
            at = end + 2
            continue
        if text[at + 1 : at + 2] == "-" and text[at + 2 : at + 3] not in ("]", ""):
            low, high = text[at], text[at + 2]
            if low > high:
                raise ValueError("Invalid range end")
            out += f"{re.escape(low)}-{re.escape(high)}"
            at += 3
            continue
        out += re.escape(text[at])
        at += 1
    if at >= len(text):
        raise ValueError("Invalid regular expression")
    return f"[{'^' if negated else ''}{out}]", at + 1


def translate(text: str, extended: bool) -> str:
    """Python's pattern. ValueError."""
    out: list[str] = []
    at, opened = 0, 0
    begins = True  # a place where a star stands for itself
    while at < len(text):
        c = text[at]
        at += 1
        if c == "[":
            found, at = bracket(text, at - 1)
            out.append(found)
            begins = False
            continue
        special = c
        if c == "\\":
            if at >= len(text):
                raise ValueError("Trailing backslash")
            d = text[at]
            at += 1
            if d in _SHORT:
                out.append(_SHORT[d])
                begins = False
                continue
            if d.isdigit() and d != "0":
                out.append(f"(?:\\{d})")
                begins = False
                continue
            if extended or d not in "(){}+?|":
                out.append("\\n" if d == "\n" else re.escape(d))
                begins = False
                continue
            special = d
        elif not extended and c in "(){}+?|":
            out.append(re.escape(c))
            begins = False
            continue
        if special == "(":
            out.append("(")
            opened += 1
            begins = True
        elif special == ")" and (opened or not extended):
            if not opened:
                raise ValueError("Unmatched ) or \\)")
            out.append(")")
            opened -= 1
            begins = False
        elif special == "|":
            out.append("|")
            begins = True
        elif special in "*+?{" and begins:
            out.append(re.escape(special))
            begins = False
        elif special == "{":
            match = re.compile(r"(\d*)(?:(,)(\d*))?" + (r"\}" if extended else r"\\\}")).match(text, at)
            if match is None or not (match[1] or match[2]):
                if not extended:
                    raise ValueError("Invalid content of \\{\\}")
                out.append(r"\{")
            else:
                out.append("{" + (match[1] or "0") + ("," + (match[3] or "") if match[2] else "") + "}")
                at = match.end()
        elif special in "*+?":
            if out and out[-1] in ("*", "+", "?"):
                continue
            out.append(special)
        elif special == "^":
            anchor = begins or extended
            out.append("^" if anchor else r"\^")
            begins = anchor
        elif special == "$":
            ends = extended or at == len(text) or text.startswith(("\\)", "\\|"), at)
            out.append("$" if ends else r"\$")
            begins = False
        elif special == ".":
            out.append(".")
            begins = False
        else:
            out.append(re.escape(special))
            begins = False
    if opened:
        raise ValueError("Unmatched ( or \\(")
    return "".join(out)
