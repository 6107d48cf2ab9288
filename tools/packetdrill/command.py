"""`terrella packetdrill SCRIPT...`: run scripts in virtual time, print a verdict for each. No root, no packets leave.

Exit status 0: all passed; 1: some did not (mismatch, or something in the script is unsupported); 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from tools.errors import CommandError
from tools.packetdrill import imports
from tools.packetdrill.options import FLAGS, HONOURED, WITHOUT_EFFECT
from tools.packetdrill.runner import run_file
from tools.packetdrill.script import ScriptError
from tools.packetdrill.verdict import Verdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("scripts", nargs="+", metavar="SCRIPT", help="a packetdrill script (.pkt); -: standard input")
    parser.add_argument("--json", action="store_true", help="verdicts as JSON on standard output")
    parser.add_argument(
        "-D", "--define", action="append", default=[], metavar="NAME=VALUE", help="a symbol that scripts may use"
    )
    packetdrills = parser.add_argument_group("options of packetdrill, which hold against those of a script")
    for name, what in HONOURED.items():
        packetdrills.add_argument(f"--{name}", metavar="VALUE", help=what)
    for name, what in FLAGS.items():
        words = ["-v", "--verbose"] if name == "verbose" else [f"--{name}"]
        packetdrills.add_argument(*words, action="store_const", const="", help=what)
    for name, value in WITHOUT_EFFECT.items():
        if value:
            packetdrills.add_argument(f"--{name}", metavar="VALUE", help="taken, and without effect")
        else:
            packetdrills.add_argument(f"--{name}", action="store_const", const="", help="taken, and without effect")
    parser.add_argument(
        "--on-linux", action="store_true", help="against the host's own kernel, in real time; needs root"
    )
    parser.add_argument(
        "--import", metavar="FILE", action="append", default=[], dest="files",
        help="a Python file to import first, with a congestion control of your own",
    )  # fmt: skip
    parser.add_argument("--captures", metavar="DIR", help="where a failing script leaves its pcapng (default: none)")


def run(args: argparse.Namespace) -> int:
    """Run them all, in the order given."""
    if args.files and args.on_linux:
        raise CommandError(
            "--import: the host's kernel has its own congestion controls: leave out --import or --on-linux", 2
        )
    try:
        imports.load(args.files)
    except ValueError as why:
        raise CommandError(str(why), 2) from why
    names = (*HONOURED, *FLAGS, *WITHOUT_EFFECT)
    options = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.define:
        for item in args.define:
            if "=" not in item:
                print(f"terrella packetdrill: -D {item}: expected NAME=VALUE", file=sys.stderr)
                return 2
        options["define"] = "\n".join(args.define)
    verdicts = []
    for path, folder in zip(args.scripts, folders(args.captures, args.scripts), strict=True):
        verdicts.append(run_file(path, folder, options, args.on_linux))
        if not args.json:
            print(report(verdicts[-1]), flush=True)
        if verdicts[-1].unsaved:
            print(f"terrella: --captures {args.captures}: {verdicts[-1].unsaved}", file=sys.stderr)
    failed = sum(not verdict.passed for verdict in verdicts)
    if args.json:
        json.dump([verdict.as_dict() for verdict in verdicts], sys.stdout, indent=2)
        print()
    else:
        print(f"{len(verdicts) - failed} passed, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def folders(captures: str | None, scripts: list[str]) -> list[str | None]:
    """Where each script leaves its capture. Of scripts with one name the second has a folder of its own, "2" ..."""
    met: dict[str, int] = {}
    found: list[str | None] = []
    if captures is not None:
        make_directory(captures, captures)
    for path in scripts:
        name = imports.STDIN if path == "-" else os.path.splitext(os.path.basename(path))[0]
        met[name] = met.get(name, 0) + 1
        folder = captures
        if captures is not None and met[name] > 1:
            folder = os.path.join(captures, str(met[name]))
            make_directory(captures, folder)
        found.append(folder)
    return found


def make_directory(captures: str, folder: str) -> None:
    where = f"--captures {captures}" if folder == captures else f"--captures {captures}: {folder}"
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise CommandError(f"{where}: it is a file, and a directory is wanted", 2) from None
    except OSError as why:
        raise CommandError(f"{where}: {why.strerror}") from why


def report(verdict: Verdict) -> str:
    """One line for a pass; the place, what was expected and what came for a failure, and for each warning."""
    error = verdict.error
    lines: list[str] = []
    for warning in verdict.warnings:
        lines += described("warn ", warning)
    if error is None:
        return "\n".join([*lines, f"ok    {verdict.path}"])
    lines += described({"unsupported": "unsup", "syntax": "error"}.get(error.kind, "FAIL "), error)
    if verdict.capture is not None:
        lines.append(f"        capture   {verdict.capture}")
    return "\n".join(lines)


def described(word: str, error: ScriptError) -> list[str]:
    """What is wrong, in lines."""
    lines = [f"{word} {error}"]
    if error.expected:
        lines.append(f"        expected  {error.expected}")
    if error.actual:
        lines.append(f"        actual    {error.actual}")
    return lines
