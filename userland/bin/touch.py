"""touch [-acm] [-d @SECONDS] [-r FILE] FILE...: sets times, making files that are not there."""

from __future__ import annotations

from userland import abi
from userland.command import BadValue, Options, UsageError, command, wrong
from userland.lib import System
from userland.times import moment, now


def main(sys: System, argv: list[str]) -> int:
    long = {"no-create": "c", "reference": "r:", "date": "d:", "time": "x:"}
    return command(sys, argv, "acmr:d:t:", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing file operand")
    times: tuple[int, int] = (abi.UTIME_NOW, abi.UTIME_NOW)
    if "r" in options:
        try:
            st = sys.stat(options["r"])
        except OSError as why:
            return wrong(sys, name, f"failed to get attributes of '{options['r']}'", why)
        times = (st.st_atime_ns, st.st_mtime_ns)
    elif "d" in options or "t" in options:
        when = given(sys, options.get("d") or options["t"])
        times = (when, when)
    if "a" in options and "m" not in options:
        times = (times[0], abi.UTIME_OMIT)
    elif "m" in options and "a" not in options:
        times = (abi.UTIME_OMIT, times[1])
    status = 0
    for path in operands:
        try:
            if "c" not in options:
                sys.close(sys.open(path, abi.O_WRONLY | abi.O_CREAT | abi.O_NONBLOCK | abi.O_NOCTTY, 0o666))
        except OSError as why:
            if why.errno not in (abi.EISDIR, abi.EACCES, abi.ETXTBSY, abi.ENXIO):
                status = wrong(sys, name, f"cannot touch '{path}'", why)
                continue
        try:
            sys.utimensat(abi.AT_FDCWD, path, times, 0)
        except OSError as why:
            if not ("c" in options and why.errno == abi.ENOENT):
                status = wrong(sys, name, f"setting times of '{path}'", why)
    return status


def given(sys: System, text: str) -> int:
    """Nanoseconds of @SECONDS, of YYYY-MM-DD [HH:MM[:SS]] and of [[CC]YY]MMDDhhmm[.ss]."""
    from datetime import UTC, datetime

    if text[:1] == "@" and text[1:].lstrip("-").isdigit():
        return int(text[1:]) * 1_000_000_000
    digits, _, seconds = text.partition(".")
    if digits.isdigit() and len(digits) in (8, 10, 12):
        year = str(moment(now(sys)).year)
        if len(digits) == 10:
            digits = ("19" if digits[:2] > "68" else "20") + digits
        elif len(digits) == 8:
            digits = year + digits
        text = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}:{seconds or '00'}"
    for shape in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"):
        try:
            when = datetime.strptime(text.removesuffix(" UTC").removesuffix("Z"), shape).replace(tzinfo=UTC)
        except ValueError:
            continue
        return int(when.timestamp()) * 1_000_000_000
    raise BadValue(f"invalid date format '{text}'")
