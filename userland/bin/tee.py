"""tee [-ai] [FILE...]: copies standard input to standard output and to files."""

from __future__ import annotations

from userland import abi
from userland.command import Failed, Options, blocks, command, wrong
from userland.lib import System, write_all


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "ai", work, {"append": "a", "ignore-interrupts": "i"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    failed = Failed()
    if "i" in options:
        sys.rt_sigaction(abi.SIGINT, abi.SIG_IGN)
    mode = abi.O_APPEND if "a" in options else abi.O_TRUNC
    targets = [("standard output", 1)]
    for file in operands:
        try:
            targets.append((file, sys.open(file, abi.O_WRONLY | abi.O_CREAT | mode, 0o666)))
        except OSError as why:
            failed.status = wrong(sys, name, file, why)
    for data in blocks(sys, name, "standard input", 0, failed):
        for target in list(targets):
            try:
                write_all(sys, target[1], data)
            except OSError as why:
                failed.status = wrong(sys, name, target[0], why)
                targets.remove(target)
    return failed.status
