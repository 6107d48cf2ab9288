"""`terrella run`: one program on a fresh machine in virtual time, or on the host's own kernel."""

from __future__ import annotations

import argparse
import sys

from tools import disk
from tools.errors import FAILED, CommandError
from tools.program import ProgramError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "terrella run [OPTION...] PROGRAM [ARG...]"
    parser.add_argument("--strace", action="store_true", help="show every system call, in strace's format, on stderr")
    parser.add_argument("--strace-file", metavar="FILE", help="the same into FILE")
    parser.add_argument("--strace-options", metavar="OPTIONS", action="append",
                        help="strace's own, in one word: --strace-options='-f -T -e trace=%%file'")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the course of events (default 0)")
    parser.add_argument("--cpus", type=positive, default=1, metavar="N", help="processors of the machine (default 1)")
    disk.configure(parser)
    parser.add_argument("--memory", type=positive, metavar="FRAMES", help="4 KiB frames of memory")
    parser.add_argument(
        "--sched", default="eevdf", choices=["eevdf", "rr", "fixed"], metavar="POLICY",
        help="scheduling policy: eevdf (default), rr (round robin), fixed (nice is the priority)",
    )  # fmt: skip
    parser.add_argument("--perfetto", metavar="FILE", help="write a trace that ui.perfetto.dev opens")
    parser.add_argument("--on-linux", action="store_true", help="run it on the host's own kernel instead")
    parser.add_argument("program", metavar="PROGRAM", help="a .py file of the host that defines main(sys, argv)")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARG", help="the program's arguments")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def run(args: argparse.Namespace) -> int:
    argv = [args.program, *args.args]
    try:
        if args.on_linux:
            if not sys.platform.startswith("linux"):
                raise CommandError("--on-linux needs a Linux host", FAILED)
            if args.perfetto:
                raise CommandError("--on-linux is the host's kernel: --perfetto traces ours only", 2)
            if args.disk:
                raise CommandError("--on-linux is the host's kernel: give the program the image's path instead", 2)
            if args.strace or args.strace_file or args.strace_options:
                raise CommandError("--on-linux is the host's kernel: trace it with `strace -f terrella run ...`", 2)
            from tools.onlinux import run_on_linux

            return run_on_linux(args.program, argv)
        from tools.session import run_inside

        return run_inside(args, argv)
    except ProgramError as why:
        raise CommandError(str(why), FAILED) from why
