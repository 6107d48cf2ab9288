"""The files that commands write, and what is said when they can't be: the option, the name and the system's reason.

A file that is written at the end is tried at the start, so that nobody learns after an hour that it can't be there.
Disks fill up meanwhile, and directories go: that is said, too, and is the command's failure.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from tools.errors import CommandError


class Quiet:
    """A file that is written while programs run inside. What the host says of it is not for them: an OSError that came
    through a call of theirs would be that call's. The first one is kept, and what comes after it is not written.
    """

    __slots__ = ("_file", "failure")

    def __init__(self, file: IO[Any]) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        self._tried(lambda: self._file.write(data))
        return len(data)

    def flush(self) -> None:
        self._tried(self._file.flush)

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as why:
            self.failure = self.failure or why

    def _tried(self, write: Callable[[], object]) -> None:
        if self.failure is None:
            try:
                write()
            except OSError as why:
                self.failure = why


@contextmanager
def output(path: str, mode: str, what: str, status: int = 1) -> Iterator[Any]:
    """A file to write to, complete when this is left: then it is said if it is not. `what` says which, in the
    message.
    """
    try:
        file = Quiet(open(path, mode, encoding=None if "b" in mode else "utf-8"))  # noqa: SIM115
    except OSError as why:
        raise unwritten(what, why, status) from why
    try:
        try:
            yield file
        finally:
            file.close()
    except CommandError:  # of another file, perhaps: both are said
        say_failure(file, what, status)
        raise
    say_failure(file, what, status)


@contextmanager
def standard_error(what: str, status: int = 1) -> Iterator[Any]:
    """The same for what goes there."""
    file = Quiet(sys.stderr)
    yield file
    file.flush()
    say_failure(file, what, status)


def say_failure(file: Quiet, what: str, status: int = 1) -> None:
    if file.failure is not None:
        raise unwritten(what, file.failure, status) from file.failure


def saying(what: str, write: Callable[[], object], status: int = 1) -> None:
    """Do what writes; where it fails, say of which file."""
    try:
        write()
    except OSError as why:
        raise unwritten(what, why, status) from why


def in_passing(write: Callable[[], object]) -> Callable[[int], None]:
    """For a timeline: do what writes, and where it fails, say so and go on: there is the end to write it."""

    def now(_: int) -> None:
        try:
            write()
        except CommandError as why:
            print(f"terrella: {why}", file=sys.stderr, flush=True)

    return now


def unwritten(what: str, why: OSError, status: int = 1) -> CommandError:
    return CommandError(f"{what}: {why.strerror or why}", status)


def check_writable(option: str, path: str | None) -> None:
    """The file is written at the end: say now that it can't be. What is there stays as it is, and what is not is not
    there afterwards."""
    if path is None:
        return
    real = os.path.realpath(path)
    try:
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        saying(f"{option} {path}", lambda: open(real, "xb").close())
        with suppress(OSError):
            os.unlink(real)
    except OSError as why:
        raise unwritten(f"{option} {path}", why) from why
    else:
        if stat.S_ISFIFO(mode):
            return  # to open it would wait for its reader
        saying(f"{option} {path}", lambda: open(real, "ab").close())


def write_whole(path: str, groups: Mapping[str, Mapping[str, int]]) -> None:
    """JSON to a file; who reads it while it is written again sees it whole, where its directory takes new files."""
    text = json.dumps(groups, indent=1) + "\n"
    if os.path.isfile(path) and os.access(os.path.dirname(path) or ".", os.W_OK):
        fresh = f"{path}.new"
        try:
            with open(fresh, "w") as file:
                file.write(text)
            os.replace(fresh, path)
        except OSError:
            with suppress(OSError):
                os.unlink(fresh)
            raise
        return
    with open(path, "w") as file:
        file.write(text)
