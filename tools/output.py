"""The files that commands write, and what is said when they can't be: the option, the name and the system's reason.

A file that is written at the end is tried at the start, so that nobody learns after an hour that it can't be there.
Disks fill up meanwhile, and directories go: that is said, too, and is the command's failure.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from tools.errors import CommandError

STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
"""What a file system says that can't take any more: never a mistake of ours, whichever file it was."""


@contextmanager
def output(path: str, mode: str, what: str, status: int = 1) -> Iterator[IO[Any]]:
    """A file to write to, complete when this is left. `what` says which, in the message."""
    try:
        file = open(path, mode)  # noqa: SIM115
    except OSError as why:
        raise unwritten(what, why, status) from why
    try:
        yield file
    finally:
        try:
            file.close()
        except OSError as why:
            raise unwritten(what, why, status) from why


def saying(what: str, write: Callable[[], object], status: int = 1) -> None:
    """Do what writes; where it fails, say of which file."""
    try:
        write()
    except OSError as why:
        raise unwritten(what, why, status) from why


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
