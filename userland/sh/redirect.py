"""Redirections (POSIX.1 section 2.7), undone when the command is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from userland import abi
from userland.lib import write_all
from userland.sh import expand
from userland.sh.syntax import Redirect

if TYPE_CHECKING:
    from userland.sh.shell import Shell

ABOVE = 10
"""Descriptors that are kept safe are moved here or higher."""
_OPEN = {
    "<": abi.O_RDONLY,
    "<>": abi.O_RDWR | abi.O_CREAT,
    ">": abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC,
    ">|": abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC,
    ">>": abi.O_WRONLY | abi.O_CREAT | abi.O_APPEND,
}


class RedirectError(Exception):
    """A file cannot be opened, a descriptor is not open."""


class Redirections:
    """The redirections of one command, as a context that puts back what was there."""

    __slots__ = ("_kept", "_saved", "redirects", "shell")

    def __init__(self, shell: Shell, redirects: list[Redirect]) -> None:
        self.shell = shell
        self.redirects = redirects
        self._saved: list[tuple[int, int]] = []
        self._kept = False

    def __enter__(self) -> Redirections:
        if self.redirects:
            try:
                self.apply(save=True)
            except BaseException:
                self._restore()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved:
            self._restore()

    def keep(self) -> None:
        """`exec`: they stay."""
        for _, copy in self._saved:
            if copy >= 0:
                self.shell.sys.close(copy)
        self._saved.clear()

    def _restore(self) -> None:
        sys = self.shell.sys
        for fd, copy in reversed(self._saved):
            if copy < 0:
                try:
                    sys.close(fd)
                except OSError:
                    continue  # the command closed it itself
            else:
                sys.dup2(copy, fd)
                sys.close(copy)
        self._saved.clear()

    def apply(self, save: bool) -> None:
        for redirect in self.redirects:
            if save:
                self._save(redirect.fd)
            self._one(redirect)

    def _save(self, fd: int) -> None:
        if any(fd == saved for saved, _ in self._saved):
            return
        try:
            copy = self.shell.sys.fcntl(fd, abi.F_DUPFD_CLOEXEC, ABOVE)
        except OSError:
            copy = -1
        self._saved.append((fd, copy))

    def _one(self, redirect: Redirect) -> None:
        shell, sys, op = self.shell, self.shell.sys, redirect.op
        target = expand.text(shell, redirect.target)
        if op in ("<<", "<<-"):
            self._move(self._document(target.encode("utf-8", "surrogateescape")), redirect.fd)
        elif op in ("<&", ">&"):
            if target == "-":
                try:
                    sys.close(redirect.fd)
                except OSError:
                    return  # it was closed already
                return
            if not target.isdigit():
                raise RedirectError("Bad fd number")
            try:
                sys.dup2(int(target), redirect.fd)
            except OSError as why:
                raise RedirectError(f"{target}: {why.strerror}") from None
        else:
            self._move(self._open(target, op), redirect.fd)

    def _open(self, name: str, op: str) -> int:
        shell, flags = self.shell, _OPEN[op]
        if op == ">" and shell.options["C"]:
            try:
                regular = shell.sys.stat(name).st_mode & abi.S_IFMT == abi.S_IFREG
            except OSError:
                regular = False
            if regular:
                raise RedirectError(f"cannot create {name}: File exists")
        try:
            fd: int = shell.sys.open(name, flags, 0o666)
        except OSError as why:
            verb = "create" if flags & abi.O_CREAT else "open"
            reason = why.strerror
            if why.errno == abi.ENOENT:
                reason = "Directory nonexistent" if flags & abi.O_CREAT else "No such file"
            raise RedirectError(f"cannot {verb} {name}: {reason}") from None
        return fd

    def _document(self, data: bytes) -> int:
        sys = self.shell.sys
        if len(data) <= abi.PIPE_BUF:
            r, w = sys.pipe2(0)
            write_all(sys, w, data)
            sys.close(w)
            fd: int = r
            return fd
        fd = sys.memfd_create("document", 0)
        write_all(sys, fd, data)
        sys.lseek(fd, 0, abi.SEEK_SET)
        return fd

    def _move(self, fd: int, to: int) -> None:
        if fd != to:
            self.shell.sys.dup2(fd, to)
            self.shell.sys.close(fd)
