"""init, pid 1: starts the services, keeps them running, reaps every orphan.

A line of /etc/inittab is `respawn NAME [ARG...]` (started again when it ends), `once NAME [ARG...]` or `console NAME
[ARG...]` (as respawn, with the console as its terminal, in a session of its own); `#` starts a comment. NAME is one of
`PROGRAMS` or a path. A service that ends within a second of its start waits a second before the next one, so that a
broken one does not eat the machine. SIGTERM and SIGINT end the services, then init.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from userland import abi
from userland.lib import System, complain, lines
from userland.rootfs import furnish

PROGRAMS = {
    "echo": "userland.echo",
    "discard": "userland.discard",
    "chargen": "userland.chargen",
    "httpd": "userland.httpd",
    "fetch": "userland.fetch",
}
SERVICES = "respawn echo\nrespawn discard\nrespawn chargen\nrespawn httpd\n"
_SECOND = 1_000_000_000


class Service:
    __slots__ = ("argv", "console", "keep", "pid", "started")

    def __init__(self, argv: list[str], keep: bool, console: bool = False) -> None:
        self.argv = argv
        self.keep = keep
        self.console = console
        self.pid = 0
        self.started = 0


def program(name: str) -> Callable[[System, list[str]], Any]:
    """The `main` of a program that comes with the machine; KeyError for others."""
    return import_module(PROGRAMS[name]).main


def parse_inittab(text: str) -> list[Service]:
    """ValueError with the line's number where a line is none of the three forms."""
    services = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] not in ("respawn", "once", "console") or len(words) < 2:
            raise ValueError(f"/etc/inittab:{number}: expected `respawn`, `once` or `console`, then NAME [ARG...]")
        services.append(Service(words[1:], words[0] != "once", words[0] == "console"))
    return services


def start(sys: System, argv: list[str]) -> int:
    """A new process that runs `argv`: a program by name, else the file argv[0]."""
    if argv[0] in PROGRAMS:
        return sys.spawn(program(argv[0]), argv)
    return sys.spawn(_execute, argv)


def _on_console(sys: System, argv: list[str]) -> int:
    """A session of its own at the console, which becomes its controlling terminal."""
    sys.setsid()
    try:
        fd = sys.open("/dev/tty1", abi.O_RDWR)
        sys.ioctl(fd, abi.TIOCSCTTY, 0)
    except OSError as why:
        complain(sys, "init", f"/dev/tty1: {why.strerror}")
        return 1
    for standard in range(3):
        if standard != fd:
            sys.dup2(fd, standard)
    if fd > 2:
        sys.close(fd)
    if argv[0] in PROGRAMS:
        status: int = program(argv[0])(sys, argv)
        return status
    return _execute(sys, argv)


def _execute(sys: System, argv: list[str]) -> int:
    try:
        sys.execve(argv[0], argv, sys.environ)
    except OSError as why:
        complain(sys, "init", f"{argv[0]}: {why.strerror}")
        return 126 if why.errno == abi.EACCES else 127
    return 0


def run_services(sys: System, services: list[Service]) -> int:
    """Starts them all, then waits: reaps whatever ends and starts again what is to be kept. Ends on SIGTERM."""
    stopping: list[int] = []
    for sig in (abi.SIGTERM, abi.SIGINT):
        sys.rt_sigaction(sig, lambda sys, signum, info: stopping.append(signum))
    for service in services:
        _start(sys, service)
    while not stopping:
        try:
            pid, status, _ = sys.wait4(-1, 0)
        except InterruptedError:
            continue
        except ChildProcessError:
            return 0
        for service in services:
            if service.pid == pid:
                service.pid = 0
                complain(sys, "init", f"{service.argv[0]} (pid {pid}) ended: {describe(status)}")
                if service.keep and not stopping:
                    if sys.clock_gettime(abi.CLOCK_MONOTONIC) - service.started < _SECOND:
                        try:
                            sys.nanosleep(_SECOND)
                        except InterruptedError:
                            pass
                    _start(sys, service)
    for service in services:
        if service.pid:
            try:
                sys.kill(service.pid, abi.SIGTERM)
            except ProcessLookupError:
                pass
    return 0


def _start(sys: System, service: Service) -> None:
    service.started = sys.clock_gettime(abi.CLOCK_MONOTONIC)
    service.pid = sys.spawn(_on_console, service.argv) if service.console else start(sys, service.argv)


def describe(status: int) -> str:
    """A wait status in words."""
    if status & 0x7F:
        return f"killed by signal {status & 0x7F}"
    return f"exit status {status >> 8 & 0xFF}"


def boot(sys: System) -> int:
    """Process 1 of a machine that has no disk: its files, then the services."""
    furnish(sys)
    return main(sys, ["init"])


def reap(sys: System) -> int:
    """Process 1 where somebody else starts the processes: the files, then waits for orphans, for ever."""
    furnish(sys)
    sys.rt_sigprocmask(abi.SIG_BLOCK, [abi.SIGCHLD])
    sys.rt_sigaction(abi.SIGCHLD, lambda sys, signum, info: None)
    while True:
        try:
            while sys.wait4(-1, abi.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        try:
            sys.rt_sigsuspend([])
        except InterruptedError:
            pass


def main(sys: System, argv: list[str]) -> int:
    try:
        fd = sys.open("/etc/inittab", abi.O_RDONLY)
    except FileNotFoundError:
        text = SERVICES
    else:
        text = b"".join(lines(sys, fd)).decode("utf-8", "replace")
        sys.close(fd)
    try:
        services = parse_inittab(text)
    except ValueError as why:
        complain(sys, "init", why)
        return 1
    return run_services(sys, services)
