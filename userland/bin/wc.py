"""wc [-clLmw] [FILE...]: counts lines, words, characters and bytes."""

from __future__ import annotations

from userland.command import Failed, Options, blocks, command, inputs
from userland.lib import System, say

ORDER = "lwmcL"


def main(sys: System, argv: list[str]) -> int:
    long = {"bytes": "c", "chars": "m", "lines": "l", "words": "w", "max-line-length": "L"}
    return command(sys, argv, "clLmw", work, long)


def count(data: bytes) -> dict[str, int]:
    text = data.decode("utf-8", "ignore")
    longest = max((len(line.expandtabs(8)) for line in text.split("\n")), default=0)
    return {"l": data.count(b"\n"), "w": len(data.split()), "m": len(text), "c": len(data), "L": longest}


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    columns = [letter for letter in ORDER if letter in options] or ["l", "w", "c"]
    failed = Failed()
    rows: list[tuple[dict[str, int], str]] = []
    regular = True
    for file, fd in inputs(sys, name, operands, failed):
        try:
            regular = regular and sys.fstat(fd).st_mode & 0o170000 == 0o100000
        except OSError:
            regular = False
        rows.append((count(b"".join(blocks(sys, name, file, fd, failed))), "" if not operands else file))
    if len(operands) > 1:
        total = {letter: sum(row[letter] for row, _ in rows) for letter in "lwmc"}
        total["L"] = max((row["L"] for row, _ in rows), default=0)
        rows.append((total, "total"))
    width = 1
    if len(columns) > 1 or len(rows) > 1:
        most = max((row["c"] for row, _ in rows), default=0)
        width = max(len(str(most)), 1 if regular else 7)
    for row, file in rows:
        shown = " ".join(str(row[letter]).rjust(width) for letter in columns)
        say(sys, f"{shown} {file}" if file else shown)
    return failed.status
