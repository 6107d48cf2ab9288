"""echo [-neE] [WORD...]: as GNU's echo; escapes only with -e."""

from __future__ import annotations

import re

from userland.lib import System, write_all
from userland.sh.printf import unescape


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
        text, ended = unescape(text, True)
        newline = "" if ended else newline
    write_all(sys, 1, (text + newline).encode("utf-8", "surrogateescape"))
    return 0
