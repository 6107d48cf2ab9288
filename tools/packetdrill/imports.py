"""Congestion controls that a script needs and the stack has not got: a file that registers them can be imported
(`--import FILE`), and a script that a failing case of the kit left knows which.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from netstack.tcp import congestion

STDIN = "stdin"
"""What a script from standard input is called."""


def load(files: Iterable[str]) -> None:
    """Import files for what they register. ValueError when that fails."""
    from terrella.testing.origins import load_file

    for file in files:
        load_file(file)


def check(name: str, value: str) -> None:
    """KeyError for the name of a congestion control that there is not, given to that setting."""
    if congestion.lacking(name, value.strip()):
        known = ", ".join(sorted(congestion.available()))
        raise KeyError(f"no congestion control {value.strip()!r} here ({known}): --import FILE that registers it")


def missing(text: str, path: str, on_linux: bool = False) -> str | None:
    """What is said of a script that a case left, when it needs a congestion control that is not here: what to do
    instead. `on_linux`: of the host's kernel, into which no file is imported.
    """
    from terrella.testing.cases import needs_of
    from terrella.testing.origins import CONGESTION
    from terrella.testing.script import case_text

    case = case_text(text)
    if case is None:
        return None
    try:
        needs = needs_of(case)
    except ValueError:
        return None  # the script is as good without it
    for what, name, _, file in needs:
        if what != CONGESTION or name in congestion.available():
            continue
        instead = f"--import {shlex.quote(file)}"
        if on_linux:
            instead += " in place of --on-linux"
        elif path != STDIN:  # which has been read, and is no file
            instead += f", or `python -m terrella.testing.replay {shlex.quote(path)}`"
        return f"unsupported: the congestion control {name!r} is not the stack's own: {instead}"
    return None
