"""stty [-a] [SETTING...]: shows and changes the terminal at standard input.

Settings: [-]echo and the like, raw, cooked, sane, rows N, cols N, size, and control characters such as `intr ^C`.
"""

from __future__ import annotations

import struct

from userland import abi
from userland.lib import System, complain, say
from userland.terminal import Settings, get_settings, set_settings, window_size

FLAGS: dict[str, tuple[str, int]] = {
    **{name: ("iflag", getattr(abi, name.upper())) for name in (
        "ignbrk", "brkint", "ignpar", "parmrk", "inpck", "istrip", "inlcr", "igncr", "icrnl", "ixon", "ixoff", "ixany",
        "imaxbel", "iutf8")},
    **{name: ("oflag", getattr(abi, name.upper())) for name in ("opost", "ocrnl", "onlcr", "onocr", "onlret")},
    **{name: ("lflag", getattr(abi, name.upper())) for name in (
        "isig", "icanon", "iexten", "echo", "echoe", "echok", "echonl", "noflsh", "tostop", "echoctl", "echoke")},
}  # fmt: skip
CHARACTERS = {
    "intr": abi.VINTR, "quit": abi.VQUIT, "erase": abi.VERASE, "kill": abi.VKILL, "eof": abi.VEOF, "eol": abi.VEOL,
    "eol2": abi.VEOL2, "start": abi.VSTART, "stop": abi.VSTOP, "susp": abi.VSUSP, "rprnt": abi.VREPRINT,
    "werase": abi.VWERASE, "lnext": abi.VLNEXT, "discard": abi.VDISCARD,
}  # fmt: skip
SANE = """
    brkint -inlcr -igncr icrnl ixon -ixany imaxbel opost onlcr -ocrnl -onocr -onlret isig icanon iexten echo echoe echok
    -echonl -noflsh -tostop echoctl echoke
"""


def main(sys: System, argv: list[str]) -> int:
    try:
        settings = get_settings(sys, 0)
    except OSError as why:
        complain(sys, "stty", f"standard input: {why.strerror}")
        return 1
    words = argv[1:]
    if not words or words == ["-a"]:
        show(sys, settings, bool(words))
        return 0
    while words:
        word = words.pop(0)
        name, off = word.removeprefix("-"), word.startswith("-")
        if name in FLAGS:
            change(settings, name, not off)
        elif word == "sane":
            for each in SANE.split():
                change(settings, each.removeprefix("-"), not each.startswith("-"))
        elif word in ("raw", "-cooked"):
            for each in ("brkint", "icrnl", "inpck", "istrip", "ixon", "opost", "isig", "icanon"):
                change(settings, each, False)
            settings.cc[abi.VMIN], settings.cc[abi.VTIME] = 1, 0
        elif word in ("cooked", "-raw"):
            for each in ("brkint", "icrnl", "ixon", "opost", "isig", "icanon"):
                change(settings, each, True)
        elif word == "size":
            say(sys, *window_size(sys, 0))
        elif word in ("rows", "cols", "columns") and words:
            resize(sys, word, int(words.pop(0)))
        elif word in ("min", "time") and words:
            settings.cc[abi.VMIN if word == "min" else abi.VTIME] = int(words.pop(0))
        elif word in CHARACTERS and words:
            settings.cc[CHARACTERS[word]] = character(words.pop(0))
        else:
            complain(sys, "stty", f"invalid argument '{word}'")
            return 1
    set_settings(sys, 0, settings)
    return 0


def change(settings: Settings, name: str, on: bool) -> None:
    group, bit = FLAGS[name]
    value = getattr(settings, group)
    setattr(settings, group, value | bit if on else value & ~bit)


def character(text: str) -> int:
    if text in ("undef", "^-"):
        return 0
    if len(text) == 2 and text[0] == "^":
        return 127 if text[1] == "?" else ord(text[1].upper()) & 31
    return ord(text[0])


def resize(sys: System, which: str, value: int) -> None:
    rows, columns, x, y = struct.unpack("=4H", sys.ioctl(0, abi.TIOCGWINSZ))
    rows, columns = (value, columns) if which == "rows" else (rows, value)
    sys.ioctl(0, abi.TIOCSWINSZ, struct.pack("=4H", rows, columns, x, y))


def caret(c: int) -> str:
    return "<undef>" if not c else "^?" if c == 127 else f"^{chr(c ^ 64)}" if c < 32 else chr(c)


def show(sys: System, settings: Settings, everything: bool) -> None:
    rows, columns, _, _ = struct.unpack("=4H", sys.ioctl(0, abi.TIOCGWINSZ))
    say(
        sys,
        f"speed 38400 baud; rows {rows}; columns {columns}; line = {settings.line};"
        if everything
        else f"speed 38400 baud; line = {settings.line};",
    )
    if everything:
        shown = [f"{name} = {caret(settings.cc[at])};" for name, at in CHARACTERS.items()]
        say(sys, " ".join([*shown, f"min = {settings.cc[abi.VMIN]}; time = {settings.cc[abi.VTIME]};"]))
    for group in ("iflag", "oflag", "lflag"):
        words = [
            name if getattr(settings, group) & bit else f"-{name}" for name, (g, bit) in FLAGS.items() if g == group
        ]
        if everything:
            say(sys, *words)
