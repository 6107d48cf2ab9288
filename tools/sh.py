"""`terrella sh`: a shell inside a fresh machine.

At a terminal it is interactive and time is real: the host's terminal is put into raw mode, and the machine's own
/dev/tty1 does the rest. From a pipe, with -c or with a script it runs in virtual time. A script is a file of the
host, if there is one of that name, else one inside. The exit status is the shell's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools import disk
from tools.errors import FAILED, CommandError
from tools.run import positive
from tools.session import connect_streams, host_terminal, kernel_says, report_deadlock, run_with_terminal

ENVIRON = {
    "HOME": "/root", "LOGNAME": "root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SHELL": "/bin/sh", "USER": "root",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "terrella sh [OPTION...] [-c COMMANDS] [SCRIPT] [ARG...]"
    disk.configure(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the course of events (default 0)")
    parser.add_argument("--cpus", type=positive, default=1, metavar="N", help="processors of the machine (default 1)")
    parser.add_argument("--memory", type=positive, metavar="FRAMES", help="4 KiB frames of memory")
    parser.add_argument("--virtual", action="store_true", help="virtual time at a terminal too")
    parser.add_argument("-c", dest="commands", metavar="COMMANDS", help="run these commands")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARG", help="a script and its arguments")


def start(sys: Any, files: list[tuple[str, bytes]], argv: list[str], environ: dict[str, str]) -> int:
    """The first process: puts the host's script in its place and becomes the shell."""
    from userland.lib import make_directories, write_file

    for path, data in files:
        make_directories(sys, os.path.dirname(path) or "/")
        write_file(sys, path, data, 0o755)
    try:
        sys.chdir(environ["HOME"])
    except OSError:
        sys.chdir("/")
    sys.execve("/bin/sh", argv, environ)
    return 127


def run(args: argparse.Namespace) -> int:
    argv, files = ["sh"], []
    if args.commands is not None:
        argv += ["-c", args.commands]
    if args.args:
        script = Path(args.args[0])
        if args.commands is None and script.is_file():
            try:
                files.append((os.path.abspath(args.args[0]), script.read_bytes()))
            except OSError as why:
                raise CommandError(f"{script}: {why.strerror}", FAILED) from why
            args.args[0] = files[0][0]
        argv += args.args
    environ = {**ENVIRON, "TERM": os.environ.get("TERM", "dumb")}
    for name in ("LANG", "NO_COLOR", "COLUMNS", "LINES"):
        if name in os.environ:
            environ[name] = os.environ[name]
    return _session(args, files, argv, environ)


def _session(args: argparse.Namespace, files: list[tuple[str, bytes]], argv: list[str], environ: dict[str, str]) -> int:
    from drivers.clock import RealTimeline, VirtualTimeline
    from kernel.machine import Machine
    from kernel.process import shell_status
    from kernel.task import SLEEPING
    from userland.init import reap

    console = host_terminal()
    live = console is not None and args.commands is None and not args.args and not args.virtual
    timeline = RealTimeline(args.seed) if live else VirtualTimeline(args.seed)
    size = {} if args.memory is None else {"memory": args.memory}
    with ExitStack() as cleanup:
        disks = disk.open_disks(args.disk)
        machine = Machine("terrella", timeline, cpus=args.cpus, **size)
        cleanup.callback(machine.close)
        machine.on_log = kernel_says
        disk.attach_disks(machine, args.disk, disks)
        init = machine.boot_program(reap)
        assert init.leader is not None
        while init.leader.state != SLEEPING:  # until its files are there
            timeline.step()
        program = machine.spawn(start, files, argv, environ, name="sh")
        line = connect_streams(machine, program, console)
        if console is not None and line is not None:
            console.raw()
            cleanup.callback(console.cooked)
            if isinstance(timeline, RealTimeline):
                post = timeline.post
                before = signal.signal(signal.SIGWINCH, lambda number, frame: post(lambda now: line.resized()))
                cleanup.callback(signal.signal, signal.SIGWINCH, before)
        run_with_terminal(machine, program, line)
        if program.exit_status is None:
            cleanup.close()
            report_deadlock(machine)
            return FAILED
        status = shell_status(program.exit_status)
    sys.stdout.flush()
    return status
