"""cat [-AbeEnstTuv] [FILE...]: copies files to standard output."""

from __future__ import annotations

from userland.command import Failed, Options, blocks, command, inputs
from userland.lib import System, write_all


def main(sys: System, argv: list[str]) -> int:
    long = {
        "number": "n", "number-nonblank": "b", "squeeze-blank": "s", "show-all": "A", "show-ends": "E",
        "show-tabs": "T", "show-nonprinting": "v",
    }  # fmt: skip
    return command(sys, argv, "AbeEnstTuv", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    flags = {letter for letter, _ in options.given}
    if "A" in flags:
        flags |= {"v", "E", "T"}
    if "e" in flags:
        flags |= {"v", "E"}
    if "t" in flags:
        flags |= {"v", "T"}
    failed = Failed()
    state = [0, 0]  # lines numbered, blank lines just before
    for file, fd in inputs(sys, name, operands, failed):
        if not flags - {"u"}:
            for data in blocks(sys, name, file, fd, failed):
                write_all(sys, 1, data)
            continue
        whole = b"".join(blocks(sys, name, file, fd, failed))
        write_all(sys, 1, dress(whole, flags, state))
    return failed.status


def dress(data: bytes, flags: set[str], state: list[int]) -> bytes:
    """Numbers, ends and what cannot be seen."""
    out: list[bytes] = []
    for line in split(data):
        blank = line == b"\n"
        state[1] = state[1] + 1 if blank else 0
        if "s" in flags and state[1] > 1:
            continue
        if ("n" in flags and "b" not in flags) or ("b" in flags and not blank):
            state[0] += 1
            out.append(b"%6d\t" % state[0])
        end = line[-1:] == b"\n"
        text = line[:-1] if end else line
        if "v" in flags:
            text = b"".join(shown(c) for c in text)
        if "T" in flags:
            text = text.replace(b"\t", b"^I")
        out.append(text + (b"$" if end and "E" in flags else b"") + (b"\n" if end else b""))
    return b"".join(out)


def split(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def shown(c: int) -> bytes:
    if c in (9, 10):
        return bytes((c,))
    prefix = b""
    if c >= 128:
        prefix, c = b"M-", c - 128
    if c < 32 or c == 127:
        return prefix + b"^" + bytes((c ^ 64,))
    return prefix + bytes((c,))
