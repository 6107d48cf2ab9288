"""kill [-s SIGNAL | -SIGNAL] PID..., kill -l [NUMBER]: sends a signal."""

from __future__ import annotations

from userland import abi
from userland.lib import System, complain, say


def number_of(text: str) -> int | None:
    if text.isdigit():
        return int(text) if int(text) < abi.NSIG else None
    name = text.upper()
    if name in ("EXIT", "0"):
        return 0
    name = name if name.startswith("SIG") else "SIG" + name
    return next((number for number, known in abi.SIGNAL_NAMES.items() if known == name), None)


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    signum: int | None = abi.SIGTERM
    if words and words[0] in ("-l", "--list", "-L"):
        return listed(sys, words[1:])
    if words and words[0] == "-s" and len(words) > 1:
        signum, words, given = number_of(words[1]), words[2:], words[1]
    elif words and words[0][:1] == "-" and len(words[0]) > 1 and words[0] != "--":
        given = words[0][1:]
        signum, words = number_of(given), words[1:]
    else:
        given = "TERM"
    if words[:1] == ["--"]:
        words = words[1:]
    if signum is None:
        complain(sys, "kill", f"{given}: invalid signal")
        return 1
    if not words:
        complain(sys, "kill", "no process ID specified")
        return 1
    status = 0
    for word in words:
        if not word.lstrip("-").isdigit():
            complain(sys, "kill", f"{word}: arguments must be process or job IDs")
            status = 1
            continue
        try:
            sys.kill(int(word), signum)
        except OSError as why:
            complain(sys, "kill", f"({word}) - {why.strerror}")
            status = 1
    return status


def listed(sys: System, words: list[str]) -> int:
    if not words:
        say(sys, " ".join(name.removeprefix("SIG") for _, name in sorted(abi.SIGNAL_NAMES.items())))
        return 0
    for word in words:
        number = int(word) & 0x7F if word.isdigit() else number_of(word)
        if number is None:
            complain(sys, "kill", f"{word}: invalid signal")
            return 1
        say(sys, abi.signal_name(number).removeprefix("SIG") if word.isdigit() else number)
    return 0
