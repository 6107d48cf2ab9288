"""What execve does with a path: find the file, see what it is, give back a program.

A Python program is a file that `def main` makes one; `#!` names an interpreter as in Linux, and `#!` with python in
it is ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kernel.abi import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    E2BIG,
    EACCES,
    ELOOP,
    ENOEXEC,
    ENOMEM,
    MS_NOEXEC,
    O_RDONLY,
    PAGE_SIZE,
)
from kernel.exec.python import Program
from kernel.fs.namei import MAY_EXEC, permitted
from kernel.fs.operations import open_path
from kernel.fs.user import path_at
from kernel.fs.vfs import Path
from kernel.syscall.buffers import BytesSink

if TYPE_CHECKING:
    from kernel.task import Task

MAX_ARGUMENTS = 0x20000
_MAIN = re.compile(rb"^def main\b|^main\b|^from .* import .*\bmain\b", re.M)
DEPTH = 4
"""Interpreters of interpreters (Linux's BINPRM limit)."""


def load(
    task: Task, path: str | bytes, argv: list[str], dirfd: int = AT_FDCWD, flags: int = 0
) -> tuple[Program, str, list[str], Path]:
    """(program, its name, its arguments, its file). ENOENT, EACCES, ENOEXEC, E2BIG, ELOOP."""
    if sum(len(a) for a in argv) > MAX_ARGUMENTS:
        raise OSError(E2BIG, "argument list too long")
    name = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    for _ in range(DEPTH + 1):
        text, place = _contents(task, name, dirfd, flags)
        first = text.split(b"\n", 1)[0]
        if first.startswith(b"#!") and b"python" not in first:
            words = first[2:].strip().decode("utf-8", "surrogateescape").split(None, 1)
            if not words:
                raise OSError(ENOEXEC, f"Exec format error: {name}")
            argv = [*words, name, *argv[1:]]
            name, dirfd, flags = words[0], AT_FDCWD, 0
            continue
        if not first.startswith(b"#!") and not _MAIN.search(text):
            raise OSError(ENOEXEC, f"Exec format error: {name} defines no main")
        try:
            shown = name if dirfd == AT_FDCWD or name[:1] == "/" else f"/dev/fd/{dirfd}/{name}".rstrip("/")
            return task.machine.program(text.decode("utf-8"), shown), shown, argv, place
        except (SyntaxError, UnicodeDecodeError, ValueError) as error:
            raise OSError(ENOEXEC, f"Exec format error: {name}: {error}") from error
    raise OSError(ELOOP, f"too many interpreters: {name}")


def _contents(task: Task, name: str, dirfd: int, flags: int) -> tuple[bytes, Path]:
    path, inode = path_at(task, dirfd, name, flags, not flags & AT_SYMLINK_NOFOLLOW)
    if path is None:
        raise OSError(EACCES, f"Permission denied: {dirfd} is no file")
    if inode.is_link:
        raise OSError(ELOOP, f"a symbolic link: {name}")
    if not inode.is_reg or path.mount.flags & MS_NOEXEC or not permitted(inode, task.cred, MAY_EXEC):
        raise OSError(EACCES, f"Permission denied: {name} is not executable")
    if inode.size > task.machine.frames * PAGE_SIZE:
        raise OSError(ENOMEM, f"Cannot allocate memory: {name} has {inode.size} bytes")
    file = open_path(task, path, O_RDONLY)
    try:
        sink = BytesSink(inode.size)
        done = 0
        while sink.room:
            got = file.ops.read(file, task, sink, sink.room, done)
            if not got:
                break
            done += got
        return sink.value(), path
    finally:
        file.put()
