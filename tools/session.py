"""One program on one fresh machine in virtual time: what is behind `terrella run`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tools.errors import FAILED, CommandError
from tools.program import ProgramError, read_program

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task, ThreadGroup

LINE = "terrella: "
NOT_FOUND = 127


def _execute(sys: Any, path: str, argv: list[str], environ: dict[str, str]) -> int:
    """Becomes a program that is a file of the machine."""
    try:
        sys.execve(path, argv, environ)
    except OSError:
        return NOT_FOUND
    return 0


class ProgramTrace:
    """strace of the program and its descendants: init, which only reaps, is left out."""

    __slots__ = ("call_begins", "call_ends", "close", "ended", "signal")

    def __init__(self, write: Callable[[str], Any], follow: bool) -> None:
        from kernel.strace import Strace

        strace = Strace(write, follow=follow)
        self.close = strace.close
        for name in ("call_begins", "call_ends", "signal", "ended"):
            setattr(self, name, _but_init(getattr(strace, name)))


def _but_init(event: Callable[..., None]) -> Callable[..., None]:
    def heard(task: Task, *args: Any) -> None:
        if task.tid != 1:
            event(task, *args)

    return heard


def run_inside(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Runs the program to its end; the exit status of `terrella run`."""
    source = read_program(args.program) if Path(args.program).exists() else None
    from drivers.clock import VirtualTimeline
    from kernel.machine import Machine
    from kernel.process import shell_status
    from userland.init import reap

    with ExitStack() as cleanup:
        trace = _trace_file(args, cleanup)
        size = {} if args.memory is None else {"memory": args.memory}
        machine = Machine("terrella", VirtualTimeline(args.seed), cpus=args.cpus, policy=args.sched, **size)
        cleanup.callback(machine.close)
        machine.boot_program(reap)
        machine.timeline.run()  # until init waits
        if trace is not None:
            strace = ProgramTrace(trace.write, follow=args.strace_file is not None)
            machine.trace.append(strace)
            cleanup.callback(strace.close)
            cleanup.callback(machine.trace.remove, strace)  # before the machine kills what is left
        if source is not None:
            program = machine.exec(source, args.program, list(argv), dict(os.environ))
        else:
            program = machine.spawn(_execute, args.program, list(argv), dict(os.environ), name="run")
        connect_streams(machine, program)
        machine.run(process=program)
        if program.exit_status == NOT_FOUND << 8 and source is None:
            raise ProgramError(f"{args.program}: neither a file here nor a program inside")
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
