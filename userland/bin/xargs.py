"""xargs [-0rt] [-n N] [-L N] [-I TEXT] [-d DELIM] [-P N] [COMMAND [ARG...]]: runs a program with words it reads."""

from __future__ import annotations

from userland.bin.env import execute
from userland.command import BadValue, Failed, Options, blocks, command
from userland.lib import System, say

MOST = 100_000


def main(sys: System, argv: list[str]) -> int:
    long = {"null": "0", "no-run-if-empty": "r", "max-args": "n:", "max-lines": "L:", "replace": "I:", "verbose": "t",
            "delimiter": "d:", "max-procs": "P:"}  # fmt: skip
    return command(sys, argv, "0rtn:L:I:d:P:s:", work, long, permute=False)


def words_of(text: str) -> list[list[str]]:
    """Words, line by line, with quotes and backslashes undone."""
    lines: list[list[str]] = [[]]
    word: list[str] | None = None
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c in " \t\n":
            if word is not None:
                lines[-1].append("".join(word))
                word = None
            if c == "\n" and lines[-1]:
                lines.append([])
        elif c in "'\"":
            end = text.find(c, at)
            if end < 0:
                raise BadValue(f"unmatched {'single' if c == chr(39) else 'double'} quote")
            word = (word or []) + [text[at:end]]
            at = end + 1
        else:
            if c == "\\" and at < len(text):
                c = text[at]
                at += 1
            word = (word or []) + [c]
    if word is not None:
        lines[-1].append("".join(word))
    return [line for line in lines if line]


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    text = b"".join(blocks(sys, name, "standard input", 0, Failed())).decode("utf-8", "surrogateescape")
    base = operands or ["echo"]
    if "0" in options or "d" in options:
        end = "\0" if "0" in options else options["d"].replace("\\n", "\n")
        lines = [[part] for part in text.removesuffix(end).split(end)] if text else []
    else:
        lines = words_of(text)
    runs: list[list[str]] = []
    if "I" in options:
        whole = (
            [line.strip() for line in text.split("\n") if line.strip()] if "0" not in options else [w for (w,) in lines]
        )
        runs = [[word.replace(options["I"], line) for word in base] for line in whole]
    elif "L" in options:
        step = int(options["L"])
        for at in range(0, len(lines), step):
            runs.append(base + [word for line in lines[at : at + step] for word in line])
    else:
        flat = [word for line in lines for word in line]
        step = int(options.get("n", "0"))
        while flat:
            count, size = 0, 0
            while count < len(flat) and (not step or count < step) and size < MOST:
                size += len(flat[count]) + 1
                count += 1
            runs.append(base + flat[:count])
            flat = flat[count:]
    if not runs and "r" not in options and "I" not in options:
        runs = [base]
    status = 0
    for run in runs:
        if "t" in options:
            say(sys, " ".join(run), fd=2)
        pid = sys.spawn(_child, name, run)
        code = sys.wait4(pid, 0)[1]
        if code & 0x7F:
            say(sys, f"{name}: {run[0]}: terminated by signal {code & 0x7F}", fd=2)
            return 125
        code >>= 8
        if code in (126, 127):
            return code
        if code == 255:
            say(sys, f"{name}: {run[0]}: exited with status 255; aborting", fd=2)
            return 124
        if code:
            status = 123
    return status


def _child(sys: System, name: str, words: list[str]) -> int:
    return execute(sys, name, words, dict(sys.environ))
