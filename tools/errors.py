"""How a command gives up: with a message that says what happened and what to do next, and no traceback."""

from __future__ import annotations

FAILED = 125
"""Exit status of `terrella run` for our own failure, or when every process sleeps for ever: not one of the
program's.
"""


class CommandError(Exception):
    """A command can't go on. The message says what happened and what to do next."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
