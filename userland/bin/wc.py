"""wc [-clLmw] [FILE...]: counts lines, words, characters and bytes."""

from __future__ import annotations

from userland import abi
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


def width_of(sys: System, columns: list[str], operands: list[str]) -> int:
    """As wide as the size of all the files together; 7 where that is not known beforehand."""
    if len(columns) == 1 and len(operands) < 2:
        return 1
    total, least = 0, 1
    for operand in operands or ["-"]:
        try:
            st = sys.fstat(0) if operand == "-" else sys.stat(operand)
        except OSError:
            continue
        if st.st_mode & abi.S_IFMT == abi.S_IFREG:
            total += st.st_size
        else:
            least = 7
    return max(len(str(total)), least)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    columns = [letter for letter in ORDER if letter in options] or ["l", "w", "c"]
    width = width_of(sys, columns, operands)
    failed = Failed()
    total = dict.fromkeys(ORDER, 0)

    def show(row: dict[str, int], file: str) -> None:
        shown = " ".join(str(row[letter]).rjust(width) for letter in columns)
        say(sys, f"{shown} {file}" if file else shown)

    for file, fd in inputs(sys, name, operands, failed):
        row = count(b"".join(blocks(sys, name, file, fd, failed)))
        show(row, file if operands else "")
        for letter in ORDER:
            total[letter] = max(total[letter], row[letter]) if letter == "L" else total[letter] + row[letter]
    if len(operands) > 1:
        show(total, "total")
    return failed.status
