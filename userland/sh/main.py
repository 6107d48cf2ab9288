"""The program sh: its options and operands, and where its commands come from.

    sh [-abCefhimnuvx] [-o option]... [FILE [ARG...]]
    sh [OPTION]... -c COMMANDS [NAME [ARG...]]
    sh [OPTION]... -s [ARG...]

A shell whose commands come from a terminal is interactive: it prompts, edits lines, keeps a history, has job control.
Commands on standard input are read byte by byte, so that what a command leaves there to be read is not lost.
"""

from __future__ import annotations

from collections.abc import Callable

from userland import abi
from userland.lib import System, read_all
from userland.sh.builtins import set_option
from userland.sh.leaving import Break
from userland.sh.parser import Parser, lines_of
from userland.sh.shell import LETTERS, Shell
from userland.terminal import isatty


class Usage(Exception):
    """The command line is wrong."""


def options(shell: Shell, words: list[str]) -> tuple[str | None, bool, list[str]]:
    """(commands of -c, whether -s, what is left)."""
    commands, stdin = None, False
    rest = list(words)
    with_command = False
    while rest and rest[0][:1] in ("-", "+") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            break
        for letter in word[1:]:
            if letter == "c":
                with_command = True
            elif letter == "s":
                stdin = True
            elif letter == "o" and rest:
                named = LETTERS.get(rest.pop(0), "")
                if not named:
                    raise Usage(f"Illegal option {word}")
                shell.options[named] = word[0] == "-"
            elif letter in shell.options:
                shell.options[letter] = word[0] == "-"
            elif letter != "l":
                raise Usage(f"Illegal option -{letter}")
    if with_command:
        if not rest:
            raise Usage("-c requires an argument")
        commands = rest.pop(0)
    return commands, stdin, rest


def main(sys: System, argv: list[str]) -> int:
    shell = Shell(sys, argv[0] if argv else "sh")
    try:
        commands, stdin, rest = options(shell, argv[1:])
    except Usage as why:
        shell.complain(str(why))
        return 2
    monitor, shell.options["m"] = shell.options["m"], False
    script = None
    if commands is not None:
        if rest:
            shell.arguments, rest = rest[0], rest[1:]
    elif rest and not stdin:
        script, rest = rest[0], rest[1:]
        shell.arguments = script
    shell.positional = rest
    if commands is None and script is None:
        shell.options["s"] = True
        if isatty(sys, 0) and isatty(sys, 2):
            shell.options["i"] = True
    return shell.guarded(lambda: _run(shell, commands, script, monitor, (argv or [""])[0].startswith("-")))


def _run(shell: Shell, commands: str | None, script: str | None, monitor: bool, login: bool) -> int:
    _directory(shell)
    if login:
        for name in ("/etc/profile", (shell.get("HOME") or "") + "/.profile"):
            _source(shell, name)
    if shell.options["i"]:
        from userland.sh.interactive import interact

        prepare(shell)
        if shell.get("ENV"):
            _source(shell, shell.get("ENV") or "")
        if commands is None and script is None:
            return interact(shell)
    elif monitor:
        set_option(shell, "m", True)
    if commands is not None:
        shell.run_text(commands)
        return shell.status
    if script is not None:
        try:
            fd = shell.sys.open(script, abi.O_RDONLY)
        except OSError as why:
            reason = "No such file" if why.errno == abi.ENOENT else why.strerror
            shell.complain(f"cannot open {script}: {reason}")
            return 2
        text = read_all(shell.sys, fd).decode("utf-8", "surrogateescape")
        shell.sys.close(fd)
        read_commands(shell, lines_of(text))
        return shell.status
    read_commands(shell, standard_input(shell))
    return shell.status


def _directory(shell: Shell) -> None:
    """PWD is right, or made so."""
    from userland.sh.builtins import here

    shell.variables["PWD"] = here(shell)
    shell.exported["PWD"] = None


def _source(shell: Shell, name: str) -> None:
    try:
        fd = shell.sys.open(name, abi.O_RDONLY)
    except OSError:
        return
    text = read_all(shell.sys, fd).decode("utf-8", "surrogateescape")
    shell.sys.close(fd)
    shell.run_text(text)


def prepare(shell: Shell) -> None:
    """An interactive shell: signals, and job control where there is a terminal for it."""
    shell.interactive = True
    for number in (abi.SIGINT, abi.SIGQUIT, abi.SIGTERM):
        shell.default_action(number)
    if shell.jobs.take_terminal(2) or shell.jobs.take_terminal(0):
        set_option(shell, "m", True)
    else:
        shell.complain("can't access tty; job control turned off")
    if shell.get("PS1") == "$ " and shell.sys.geteuid() == 0:
        shell.variables["PS1"] = "# "


def standard_input(shell: Shell) -> Callable[[], str]:
    """Lines of descriptor 0, no byte more than needed."""

    def more() -> str:
        line = bytearray()
        while True:
            try:
                c = shell.sys.read(0, 1)
            except InterruptedError:
                if shell.pending:
                    shell.run_traps()
                continue
            line += c
            if not c or c == b"\n":
                return line.decode("utf-8", "surrogateescape")

    return more


def read_commands(shell: Shell, more: Callable[[], str]) -> None:
    """Reads and runs command after command, to the end."""

    def line() -> str:
        text = more()
        if shell.options["v"]:
            shell.write(2, text)
        return text

    parser = Parser(line, shell.aliases)
    while True:
        shell.line = parser.line + 1
        node = parser.command()
        if node is None:
            return
        try:
            shell.status = shell.run(node)
        except Break:
            shell.status = 0
