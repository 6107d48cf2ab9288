"""One program on one fresh machine in virtual time: what is behind `terrella run`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.disk import attach_disks, open_disks
from tools.errors import FAILED, CommandError
from tools.output import output, standard_error
from tools.program import ProgramError, read_program

if TYPE_CHECKING:
    from drivers.console import HostConsole
    from kernel.console import ConsoleLine
    from kernel.machine import Machine
    from kernel.straceopts import Options
    from kernel.task import Task, ThreadGroup

LINE = "terrella: "
NOT_FOUND = 127
USAGE = 2


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

    def __init__(self, write: Callable[[str], Any], follow: bool, options: Options | None, epoch_ns: int) -> None:
        from kernel.strace import Strace

        strace = Strace(write, follow=follow, options=options, epoch_ns=epoch_ns)
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
        options = _strace_options(args)
        disks = open_disks(args.disk)
        trace = _trace_file(args, options, cleanup)
        size = {} if args.memory is None else {"memory": args.memory}
        machine = Machine("terrella", VirtualTimeline(args.seed), cpus=args.cpus, policy=args.sched, **size)
        cleanup.callback(machine.close)
        machine.on_log = kernel_says
        attach_disks(machine, args.disk, disks)
        machine.boot_program(reap)
        machine.timeline.run()  # until init waits
        if trace is not None:
            in_file = args.strace_file is not None or (options is not None and bool(options.output) and options.follow)
            strace = ProgramTrace(trace.write, in_file, options, machine.timeline.epoch_ns)
            machine.trace.append(strace)
            if options is not None and options.injections:
                from kernel.inject import Injector

                machine.trace.append(Injector(options.injections))
            cleanup.callback(strace.close)
            cleanup.callback(machine.trace.remove, strace)  # before the machine kills what is left
        if args.perfetto:
            record(args.perfetto, cleanup, machine, status=FAILED)
        if source is not None:
            program = machine.exec(source, args.program, list(argv), _environment(options))
        else:
            program = machine.spawn(_execute, args.program, list(argv), _environment(options), name="run")
        terminal = host_terminal()
        line = connect_streams(machine, program, terminal)
        if terminal is not None:
            terminal.raw()
            cleanup.callback(terminal.cooked)
        run_with_terminal(machine, program, line)
        if program.exit_status == NOT_FOUND << 8 and source is None:
            raise ProgramError(f"{args.program}: neither a file here nor a program inside")
        if program.exit_status is None:
            report_deadlock(machine)
            return FAILED
        return shell_status(program.exit_status)


def kernel_says(line: str) -> None:
    """A line of the kernel's log. It may come within a call of a program, which is not to hear of our files."""
    with suppress(OSError):
        print(f"{LINE}{line}", file=sys.stderr, flush=True)


def record(path: str, cleanup: ExitStack, *machines: Machine, status: int = 1) -> None:
    """`--perfetto`: a trace of these machines into a file, complete when `cleanup` is left."""
    from tools.perfetto.record import Recorder

    file = cleanup.enter_context(output(path, "wb", f"--perfetto {path}", status))
    recorder = Recorder(file, machines[0].timeline.epoch_ns)
    for machine in machines:
        recorder.follow(machine)
    cleanup.callback(recorder.close)


def _strace_options(args: argparse.Namespace) -> Options | None:
    if not args.strace_options:
        return None
    from kernel.straceopts import parse

    try:
        return parse(" ".join(args.strace_options))
    except ValueError as why:
        raise CommandError(f"--strace-options: strace: {why}", USAGE) from why


def _trace_file(args: argparse.Namespace, options: Options | None, cleanup: ExitStack) -> Any:
    """Where strace's lines go; None when there are to be none."""
    name = args.strace_file or (options.output if options is not None else "")
    if name:
        mode = "a" if options is not None and options.append else "w"
        return cleanup.enter_context(output(name, mode, f"strace into {name}", FAILED))
    if args.strace or options is not None:
        return cleanup.enter_context(standard_error("strace", FAILED))
    return None


def _environment(options: Options | None) -> dict[str, str]:
    """The program's: ours, with strace's -E."""
    environ: dict[str, str | None] = {**os.environ, **(options.environ if options is not None else {})}
    return {name: value for name, value in environ.items() if value is not None}


def host_terminal() -> HostConsole | None:
    """The host's terminal, as far as descriptors 0 to 2 lead to one."""
    from drivers.console import HostConsole

    output = next((fd for fd in (1, 2) if os.isatty(fd)), None)
    source = 0 if os.isatty(0) else None
    return HostConsole(source, output) if output is not None or source is not None else None


def connect_streams(
    machine: Machine, program: ThreadGroup, terminal: HostConsole | None = None
) -> ConsoleLine | None:
    """Descriptors 0, 1 and 2 lead to the host's: those that are terminals there to /dev/tty1, the others each by
    itself, byte for byte. The terminal's line, if there is one.
    """
    from drivers.console import HostConsole
    from kernel.abi import O_RDONLY, O_RDWR, O_WRONLY, OPOST
    from kernel.console import console_file, console_line
    from kernel.tty import session

    assert program.leader is not None
    files = program.leader.files
    line = None
    if terminal is not None:
        machine.console = terminal
        line = console_line(machine, terminal)
        assert line is not None
        session.opened(line.tty, program.leader, True)
        if terminal.input_fd is None:  # the host's terminal stays as it is, and makes newlines of its own
            line.tty.termios.oflag &= ~OPOST
    for fd in range(3):
        files.close(fd)
        if line is not None and os.isatty(fd):
            file = console_file(machine, line.console, O_RDWR)
        elif fd:
            file = console_file(machine, HostConsole(None, fd), O_WRONLY)
        else:
            file = console_file(machine, HostConsole(fd, None), O_RDONLY)
        files.install(file, False, -1)
    return line


def run_with_terminal(machine: Machine, program: ThreadGroup, line: ConsoleLine | None) -> None:
    """Runs until the program has ended, or nothing can happen any more: not even that something is typed."""
    while not machine.run(process=program):
        if line is None or machine.real or not line.wanted() or not line.wait():
            return


def report_deadlock(machine: Machine) -> None:
    """Nothing can happen any more. Who sleeps, and in what?"""
    print(f"{LINE}all processes sleep for ever, at {machine.timeline.now / 1e9:.6f} s (virtual):", file=sys.stderr)
    for task in machine.sleepers():
        if task.tid != 1:
            print(f"{LINE}  pid {task.group.pid} {task.comm}", file=sys.stderr)
