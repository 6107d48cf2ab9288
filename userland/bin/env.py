"""env [-i] [-u NAME] [-C DIR] [NAME=VALUE...] [COMMAND [ARG...]]: runs a program in another environment."""

from __future__ import annotations

from userland import abi
from userland.command import Options, command
from userland.lib import System, complain, say


def main(sys: System, argv: list[str]) -> int:
    long = {"ignore-environment": "i", "unset": "u:", "chdir": "C:", "null": "0"}
    return command(sys, argv, "iu:C:0", work, long, trouble=125, permute=False)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    environ = {} if "i" in options else dict(sys.environ)
    for gone in options.all("u"):
        environ.pop(gone, None)
    while operands and "=" in operands[0]:
        key, _, value = operands.pop(0).partition("=")
        environ[key] = value
    if not operands:
        for key, value in environ.items():
            say(sys, f"{key}={value}", end="\0" if "0" in options else "\n")
        return 0
    if "C" in options:
        sys.chdir(options["C"])
    return execute(sys, name, operands, environ)


def execute(sys: System, name: str, words: list[str], environ: dict[str, str]) -> int:
    """Becomes the program, found by PATH; 127 or 126 when it cannot."""
    places = [words[0]] if "/" in words[0] else [
        f"{directory or '.'}/{words[0]}" for directory in environ.get("PATH", "/bin:/usr/bin").split(":")
    ]  # fmt: skip
    why: OSError | None = None
    for place in places:
        try:
            sys.execve(place, words, environ)
        except OSError as error:
            if why is None or error.errno != abi.ENOENT:
                why = error
    assert why is not None
    complain(sys, name, f"'{words[0]}': {why.strerror}")
    return 127 if why.errno == abi.ENOENT else 126
