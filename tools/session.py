"""One program on one fresh machine in virtual time: what is behind `terrella run`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

from tools.errors import FAILED, CommandError
from tools.program import read_program

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import ThreadGroup

LINE = "terrella: "


def run_inside(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Runs the program to its end; the exit status of `terrella run`."""
    source = read_program(args.program)
    from drivers.clock import VirtualTimeline
    from kernel.machine import Machine
    from kernel.process import shell_status
    from userland.init import reap

    with ExitStack() as cleanup:
        trace = _trace_file(args, cleanup)
        machine = Machine("terrella", VirtualTimeline(args.seed), cpus=args.cpus, policy=args.sched)
        cleanup.callback(machine.close)
        machine.boot_program(reap)
        machine.timeline.run()  # until init waits
        if trace is not None:
            from kernel.strace import Strace

            machine.trace.append(Strace(trace.write))
        program = machine.exec(source, args.program, list(argv), dict(os.environ))
        connect_streams(machine, program)
        machine.run(process=program)
        if program.exit_status is None:
            report_deadlock(machine)
            return FAILED
        return shell_status(program.exit_status)


def _trace_file(args: argparse.Namespace, cleanup: ExitStack) -> IO[str] | None:
    if args.strace_file:
        try:
            return cleanup.enter_context(open(args.strace_file, "w"))
        except OSError as why:
            raise CommandError(f"--strace-file {args.strace_file}: {why.strerror}", FAILED) from why
    return sys.stderr if args.strace else None


def connect_streams(machine: Machine, program: ThreadGroup) -> None:
    """Descriptors 0, 1 and 2 lead to the host's, each by itself, byte for byte."""
    from drivers.console import HostConsole
    from kernel.abi import O_RDONLY, O_WRONLY
    from kernel.console import ConsoleOps
    from kernel.fs.file import File

    assert program.leader is not None
    files = program.leader.files
    for fd in range(3):
        files.close(fd)
    for console, flags in (
        (HostConsole(0, None), O_RDONLY), (HostConsole(None, 1), O_WRONLY), (HostConsole(None, 2), O_WRONLY),
    ):  # fmt: skip
        files.install(File(ConsoleOps(machine, console), flags), False, -1)


def report_deadlock(machine: Machine) -> None:
    """Nothing can happen any more. Who sleeps, and in what?"""
    print(f"{LINE}all processes sleep for ever, at {machine.timeline.now / 1e9:.6f} s (virtual):", file=sys.stderr)
    for task in machine.sleepers():
        if task.tid != 1:
            print(f"{LINE}  pid {task.group.pid} {task.comm}", file=sys.stderr)
