"""echo [-neE] [WORD...]: as GNU's echo; escapes only with -e."""

from __future__ import annotations

import re

from userland.lib import System, write_all
from userland.sh.printf import unescape

_SEVERAL = re.compile(r"\\\\|\\x([0-9a-fA-F]{1,2})|\\([1-7][0-7]{0,2})")


def _octal(match: re.Match[str]) -> str:
    """GNU's further ways to write a byte, \\xHH and \\NNN, as \\0NNN."""
    if match[0] == "\\\\":
        return match[0]
    return f"\\0{(int(match[1], 16) if match[1] else int(match[2], 8) & 0xFF):03o}"


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    newline, escapes = "\n", False
    while words and re.fullmatch("-[neE]+", words[0]):
        for letter in words.pop(0)[1:]:
            if letter == "n":
                newline = ""
            else:
                escapes = letter == "e"
    text = " ".join(words)
    if escapes:
        text, ended = unescape(_SEVERAL.sub(_octal, text), True)
        newline = "" if ended else newline
    write_all(sys, 1, (text + newline).encode("utf-8", "surrogateescape"))
    return 0
