"""`terrella`: the command line. Each command is a module that is imported only when it is chosen.

A command's module has `configure(parser)`, which declares its options, and `run(args) -> int`, which gives the
exit status. Data goes to standard output, progress and messages to standard error. Exit status 2 is wrong usage,
130 an interrupt, 1 any other failure that a command does not number itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import IO, Any, cast

from tools.errors import FAILED, CommandError

COMMANDS = {  # name: (module, one line of help)
    "demo": ("tools.demo", "two machines, a lossy slow link, a file moved across: plot, strace and capture (no root)"),
    "up": ("tools.up", "boot a machine on a TAP of this host: echo, discard, chargen and httpd answer (root)"),
    "run": ("tools.run", "run a program of the Python ABI in virtual time, or on the host's kernel"),
    "sh": ("tools.sh", "a shell inside a fresh machine"),
    "wire": ("tools.wire", "join two TAPs in real time, with netem's impairments between them (root)"),
    "plot": ("tools.timesequence", "a time-sequence graph of a TCP connection in a capture, as SVG or PNG"),
    "packetdrill": ("tools.packetdrill.command", "run packetdrill scripts against the stack in virtual time (no root)"),
}


def parser_for(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; of the commands only `chosen` has its options, so that only its module is imported."""
    parser = argparse.ArgumentParser(
        prog="terrella",
        description="A little earth for operating systems and networks: whole Unix machines inside one process.",
        epilog="`terrella COMMAND --help` says more.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        one = commands.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
        if name == chosen:
            import_module(module).configure(one)
            one.set_defaults(parser=one)
    return parser


class _Version(argparse.Action):
    """Asks the installed package only when somebody wants to know."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"terrella {version('terrella')}")
        except PackageNotFoundError:
            print("terrella (not installed)")
        parser.exit()


def meant(word: str, parser: argparse.ArgumentParser) -> str:
    """The option that an unknown one is most like, if there is one."""
    known = [option for action in parser._actions for option in action.option_strings]
    near = get_close_matches(word.partition("=")[0], known, 1)
    return f" (did you mean {near[0]}?)" if near else ""


class StandardOutput:
    """The stream, and why it took no more: the same error from anywhere else is another matter."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as why:
            self.failure = why
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as why:
            self.failure = why
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def messages(why: CommandError) -> list[str]:
    """What went wrong, the first first: of several files each may have failed when it was to be completed."""
    found: list[str] = []
    error: BaseException | None = why
    while error is not None:
        if isinstance(error, CommandError) and str(error) not in found:
            found.insert(0, str(error))
        error = error.__context__
    return found


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if not word.startswith("-")), None)
    printed = StandardOutput(sys.stdout)
    try:
        with redirect_stdout(cast(IO[str], printed)):
            args, unknown = parser_for(chosen).parse_known_args(words)
            if unknown:
                args.parser.error(f"unrecognized arguments: {' '.join(unknown)}{meant(unknown[0], args.parser)}")
            del args.parser
            status: int = import_module(COMMANDS[args.command][0]).run(args)
            printed.flush()
        return status
    except CommandError as why:
        with suppress(OSError):
            for line in messages(why):
                print(f"terrella: {line}", file=sys.stderr)
        return why.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more on its way out
        return 1
    except OSError as why:
        if why is not printed.failure:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"terrella: standard output: {why.strerror}", file=sys.stderr)
        return FAILED if chosen in ("run", "sh") else 1


if __name__ == "__main__":
    sys.exit(main())
