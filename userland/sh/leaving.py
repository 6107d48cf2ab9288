"""Ways out of a command: what a shell raises for `exit`, `return`, `break`, a mistake, ^C."""

from __future__ import annotations


class Exit(Exception):
    """The shell ends with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Return(Exit):
    """A function, or a script read by `.`, ends."""


class Break(Exception):
    """`break` and `continue`: out of so many loops."""

    def __init__(self, levels: int, goes_on: bool) -> None:
        super().__init__(levels)
        self.levels = levels
        self.goes_on = goes_on


class Failure(Exception):
    """What ends a shell that is not interactive, and the command line of one that is."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class Interrupt(Exception):
    """^C at an interactive shell: the command line is given up."""
