"""`terrella packetdrill SCRIPT...`: run scripts in virtual time, print a verdict for each. No root, no packets leave.

Exit status 0: all passed; 1: some did not (mismatch, or something in the script is unsupported); 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from tools.packetdrill.runner import Verdict, run_file

OPTIONS = {
    "tolerance_usecs": "how late or early an event may be",
    "tolerance_percent": "the same, as a part of the time since the event before",
    "ip_version": "ipv4, ipv6 or ipv4-mapped-ipv6",
    "local_ip": "address of the side under test",
    "remote_ip": "address of the peer",
    "bind_port": "port that bind() gives",
    "connect_port": "port that connect() goes to",
    "mtu": "MTU of the device",
    "mss": "payload of each segment in what GRO joined",
    "tcp_ts_tick_usecs": "tick of the TS val clock; 0: do not check TS val",
    "gateway_ip": "taken, and without effect: there is one way out",
    "netmask_ip": "as gateway_ip",
}
"""The `--name=value` lines of scripts that the command line takes too."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("scripts", nargs="+", metavar="SCRIPT", help="a packetdrill script (.pkt)")
    parser.add_argument("--json", action="store_true", help="verdicts as JSON on standard output")
    parser.add_argument(
        "-D", "--define", action="append", default=[], metavar="NAME=VALUE", help="a symbol that scripts may use"
    )
    for name, what in OPTIONS.items():
        parser.add_argument(f"--{name}", metavar="VALUE", help=f"{what}, for scripts that do not say")
    parser.add_argument(
        "--on-linux", action="store_true", help="against the host's own kernel, in real time; needs root"
    )
    parser.add_argument("--captures", metavar="DIR", help="where a failing script leaves its pcapng (default: none)")


def run(args: argparse.Namespace) -> int:
    """Run them all, in the order given."""
    if args.captures is not None:
        os.makedirs(args.captures, exist_ok=True)
    options = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    if args.define:
        for item in args.define:
            if "=" not in item:
                print(f"terrella packetdrill: -D {item}: expected NAME=VALUE", file=sys.stderr)
                return 2
        options["define"] = "\n".join(args.define)
    verdicts = [run_file(path, args.captures, options, args.on_linux) for path in args.scripts]
    failed = sum(not verdict.passed for verdict in verdicts)
    if args.json:
        json.dump([verdict.as_dict() for verdict in verdicts], sys.stdout, indent=2)
        print()
    else:
        for verdict in verdicts:
            print(report(verdict))
        print(f"{len(verdicts) - failed} passed, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def report(verdict: Verdict) -> str:
    """One line for a pass; the place, what was expected and what came for a failure."""
    error = verdict.error
    if error is None:
        return f"ok    {verdict.path}"
    word = {"unsupported": "unsup", "syntax": "error"}.get(error.kind, "FAIL ")
    lines = [f"{word} {error}"]
    if error.expected:
        lines.append(f"        expected  {error.expected}")
    if error.actual:
        lines.append(f"        actual    {error.actual}")
    if verdict.capture is not None:
        lines.append(f"        capture   {verdict.capture}")
    return "\n".join(lines)
