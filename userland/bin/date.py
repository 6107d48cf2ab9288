"""date [-u] [-d @SECONDS | TIME] [-R] [-I[SPEC]] [+FORMAT]: shows the time."""

from __future__ import annotations

from userland.bin.touch import given
from userland.command import BadValue, Options, command
from userland.lib import System, say
from userland.times import moment


def main(sys: System, argv: list[str]) -> int:
    words = ["--iso=" + word[2:] if word[:2] == "-I" else word for word in argv]
    long = {"utc": "u", "universal": "u", "date": "d:", "iso": "I?", "iso-8601": "I?", "rfc-email": "R"}
    return command(sys, words, "ud:R", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    ns = int(sys.clock_gettime(0)) if "d" not in options else given(sys, options["d"])
    when = moment(ns // 1_000_000_000)
    shape = "%a %b %e %H:%M:%S UTC %Y"
    if operands:
        if operands[0][:1] != "+":
            raise BadValue(f"invalid date '{operands[0]}'")
        shape = operands[0][1:]
    elif "R" in options:
        shape = "%a, %d %b %Y %H:%M:%S +0000"
    elif "I" in options:
        shape = {"": "%Y-%m-%d", "date": "%Y-%m-%d", "seconds": "%Y-%m-%dT%H:%M:%S+00:00"}.get(options["I"], "%Y-%m-%d")
    shape = shape.replace("%N", f"{ns % 1_000_000_000:09}").replace("%s", str(ns // 1_000_000_000))
    shape = shape.replace("%Z", "UTC").replace("%z", "+0000")
    say(sys, when.strftime(shape))
    return 0
