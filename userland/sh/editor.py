"""The line editor: one line typed at a terminal in raw mode, with emacs's keys.

Movement ^A ^E ^B ^F, arrows, Home, End, Alt-B, Alt-F; deletion ^D ^H ^K ^U ^W ^Y, Alt-D; ^T transposes; history ^P ^N,
up and down, ^R searches backwards; Tab completes; ^L clears the screen; ^V takes the next key as it is. ^C gives the
line up, ^D on an empty line is the end of input.

The screen is drawn anew from the start of the prompt after each key that does more than add to the end of the line;
the cursor's row is counted from the prompt's, so a line may wrap.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from userland.lib import System, write_all
from userland.terminal import get_settings, raw_settings, set_settings, window_size

_ESCAPES = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "[H": "home", "[F": "end", "OA": "up", "OB": "down",
    "OC": "right", "OD": "left", "OH": "home", "OF": "end", "[1~": "home", "[7~": "home", "[4~": "end", "[8~": "end",
    "[3~": "delete", "[1;5C": "word-right", "[1;5D": "word-left", "b": "word-left", "f": "word-right",
    "d": "delete-word", "\x7f": "rub-word", "<": "first", ">": "last-line",
}  # fmt: skip
_CONTROLS = {
    "\x01": "home", "\x02": "left", "\x04": "delete", "\x05": "end", "\x06": "right", "\x08": "rub", "\x7f": "rub",
    "\t": "complete", "\x0b": "kill", "\x0c": "clear", "\x0e": "down", "\x10": "up", "\x12": "search",
    "\x14": "transpose", "\x15": "kill-before", "\x16": "literal", "\x17": "rub-white", "\x19": "yank",
}  # fmt: skip
_COLOUR = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
Completer = Callable[[str, int], tuple[int, list[str]]]


class Interrupted(Exception):
    """^C."""


def width(text: str) -> int:
    """Columns on the screen; colours take none."""
    columns = 0
    for c in _COLOUR.sub("", text):
        if ord(c) < 32 or ord(c) == 127:
            columns += 2
        elif not unicodedata.combining(c):
            columns += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return columns


def visible(text: str) -> str:
    """Control characters as ^X."""
    return "".join(f"^{chr(ord(c) ^ 64)}" if ord(c) < 32 or ord(c) == 127 else c for c in text)


class Editor:
    """Edits lines at descriptor `fd`. `complete(line, cursor)` gives where the word begins and what it could become."""

    __slots__ = (
        "_columns",
        "_input",
        "_keys",
        "_killed",
        "_row",
        "at",
        "complete",
        "fd",
        "history",
        "line",
        "prompt",
        "sys",
    )

    def __init__(self, sys: System, fd: int, history: list[str], complete: Completer) -> None:
        self.sys = sys
        self.fd = fd
        self.history = history
        self.complete = complete
        self.line = ""
        self.at = 0
        self.prompt = ""
        self._input = b""
        self._keys: list[str] = []
        self._killed = ""
        self._row = 0
        self._columns = 80

    def read(self, prompt: str) -> str | None:
        """A line without its newline; None at the end of input. Interrupted for ^C."""
        before = get_settings(self.sys, self.fd)
        set_settings(self.sys, self.fd, raw_settings(before))
        try:
            return self._edit(prompt)
        finally:
            set_settings(self.sys, self.fd, before)

    # ---- keys ----

    def _key(self) -> str:
        """One character, or the name of a key that sends several bytes. "" at the end."""
        c = self._character()
        if c != "\x1b":
            return c
        text = self._character()
        if text in ("[", "O"):
            while True:
                more = self._character()
                text += more
                if not more or more.isalpha() or more == "~":
                    break
        return "\x1b" + _ESCAPES.get(text, "")

    def _character(self) -> str:
        while True:
            if self._input:
                length = 1
                first = self._input[0]
                if first >= 0xC0:
                    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
                if len(self._input) >= length:
                    data, self._input = self._input[:length], self._input[length:]
                    return data.decode("utf-8", "surrogateescape")
            try:
                data = self.sys.read(self.fd, 1024)
            except InterruptedError:
                continue
            except OSError:
                data = b""
            if not data:
                rest, self._input = self._input, b""
                return rest.decode("utf-8", "surrogateescape")
            self._input += data

    # ---- the screen ----

    def _write(self, text: str) -> None:
        write_all(self.sys, 2, text.encode("utf-8", "surrogateescape"))

    def _draw(self) -> None:
        """The prompt and the line, with the cursor in its place."""
        columns = self._columns
        out = "\r" + (f"\x1b[{self._row}A" if self._row else "") + "\x1b[J" + self.prompt + visible(self.line)
        end = width(self.prompt) + width(self.line)
        cursor = width(self.prompt) + width(self.line[: self.at])
        if end and end % columns == 0:
            out += "\n"
        rows_up = end // columns - cursor // columns
        out += (
            (f"\x1b[{rows_up}A" if rows_up else "") + "\r" + (f"\x1b[{cursor % columns}C" if cursor % columns else "")
        )
        self._row = cursor // columns
        self._write(out)

    def _insert(self, text: str) -> None:
        at_end = self.at == len(self.line)
        self.line = self.line[: self.at] + text + self.line[self.at :]
        self.at += len(text)
        total = width(self.prompt) + width(self.line)
        if at_end and total % self._columns and total // self._columns == self._row:
            self._write(visible(text))
        else:
            self._draw()

    # ---- editing ----

    def _edit(self, prompt: str) -> str | None:
        self.prompt = prompt.rpartition("\n")[2]
        self._columns = window_size(self.sys, self.fd)[1]
        self.line, self.at, self._row = "", 0, 0
        self._write(prompt)
        saved, place = "", len(self.history)
        tabs = 0
        while True:
            key = self._key()
            name = _CONTROLS.get(key) or (key[1:] if key[:1] == "\x1b" else "")
            tabs = tabs + 1 if name == "complete" else 0
            if key in ("\r", "\n"):
                return self._finish()
            if key == "\x03":
                self.at = len(self.line)
                self._draw()
                self._write("^C\n")
                raise Interrupted
            if not key or (key == "\x04" and not self.line):
                if self.line:
                    return self._finish()
                return None
            if name in ("up", "down", "first", "last-line"):
                if place == len(self.history):
                    saved = self.line
                steps = {"up": place - 1, "down": place + 1, "first": 0, "last-line": len(self.history)}
                place = min(max(steps[name], 0), len(self.history))
                self.line = saved if place == len(self.history) else self.history[place]
                self.at = len(self.line)
                self._draw()
            elif name == "search":
                if self._search():
                    return self._finish()
            elif name == "complete":
                self._complete(tabs)
            elif name == "literal":
                self._insert(self._character())
            elif name:
                self._change(name)
                self._draw()
            elif key >= " ":
                self._insert(key)

    def _finish(self) -> str:
        if self.at != len(self.line):
            self.at = len(self.line)
            self._draw()
        self._write("\n")
        return self.line

    def _word_left(self, white: bool = False) -> int:
        at = self.at
        inside = (lambda c: not c.isspace()) if white else (lambda c: c.isalnum() or c == "_")
        while at and not inside(self.line[at - 1]):
            at -= 1
        while at and inside(self.line[at - 1]):
            at -= 1
        return at

    def _word_right(self) -> int:
        at = self.at
        while at < len(self.line) and not self.line[at].isalnum():
            at += 1
        while at < len(self.line) and self.line[at].isalnum():
            at += 1
        return at

    def _cut(self, start: int, end: int, keep: bool = True) -> None:
        if keep and end > start:
            self._killed = self.line[start:end]
        self.line = self.line[:start] + self.line[end:]
        self.at = start

    def _change(self, name: str) -> None:
        line, at = self.line, self.at
        if name == "home":
            self.at = 0
        elif name == "end":
            self.at = len(line)
        elif name == "left":
            self.at = max(at - 1, 0)
        elif name == "right":
            self.at = min(at + 1, len(line))
        elif name == "word-left":
            self.at = self._word_left()
        elif name == "word-right":
            self.at = self._word_right()
        elif name == "delete":
            self._cut(at, min(at + 1, len(line)), False)
        elif name == "rub":
            self._cut(max(at - 1, 0), at, False)
        elif name == "kill":
            self._cut(at, len(line))
        elif name == "kill-before":
            self._cut(0, at)
        elif name == "rub-white":
            self._cut(self._word_left(True), at)
        elif name == "rub-word":
            self._cut(self._word_left(), at)
        elif name == "delete-word":
            end = self._word_right()
            self._cut(at, end)
        elif name == "yank":
            self.line = line[:at] + self._killed + line[at:]
            self.at += len(self._killed)
        elif name == "transpose" and len(line) > 1 and at:
            at = min(at, len(line) - 1)
            self.line = line[: at - 1] + line[at] + line[at - 1] + line[at + 1 :]
            self.at = at + 1
        elif name == "clear":
            self._write("\x1b[H\x1b[2J")
            self._row = 0

    def _search(self) -> bool:
        """^R. True when the line found is to be run at once."""
        prompt, line, wanted, place, found = self.prompt, self.line, "", len(self.history), ""
        while True:
            self.prompt, self.line = f"(reverse-i-search)`{wanted}': ", found
            self.at = max(found.find(wanted), 0) if wanted else 0
            self._draw()
            key = self._key()
            if key == "\x12":
                start = place - 1
            elif key in ("\x7f", "\x08"):
                wanted, start = wanted[:-1], len(self.history) - 1
            elif len(key) == 1 and key >= " ":
                wanted, start = wanted + key, min(place, len(self.history) - 1)
            else:
                break
            for index in range(start, -1, -1):
                if wanted and wanted in self.history[index]:
                    place, found = index, self.history[index]
                    break
        self.prompt, self.line = prompt, line if key in ("\x03", "\x07") else found or line
        self.at = len(self.line)
        self._draw()
        return key in ("\r", "\n")

    def _complete(self, tabs: int) -> None:
        start, found = self.complete(self.line, self.at)
        if not found:
            self._write("\a")
            return
        common = found[0]
        for other in found[1:]:
            while not other.startswith(common):
                common = common[:-1]
        if len(found) == 1:
            common += "" if common.endswith("/") else " "
        if len(common) > self.at - start:
            rest = self.line[self.at :]
            self.line = self.line[:start] + common
            self.at = len(self.line)
            self.line += rest
            self._draw()
        elif tabs > 1 and len(found) > 1:
            self._list(found)
        else:
            self._write("\a")

    def _list(self, found: list[str]) -> None:
        """What a word could become, in columns."""
        shown = [name.rstrip("/").rpartition("/")[2] + ("/" if name.endswith("/") else "") for name in found]
        wide = max(width(name) for name in shown) + 2
        across = max(self._columns // wide, 1)
        down = -(-len(shown) // across)
        out = "\n"
        for row in range(down):
            out += "".join(name.ljust(wide) for name in shown[row::down]).rstrip() + "\n"
        self._row = 0
        self._write(out)
        self._draw()
