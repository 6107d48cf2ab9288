"""Trees of files: copying and removing them, for cp, mv and rm."""

from __future__ import annotations

from typing import Any

from userland import abi
from userland.command import entries, join, wrong
from userland.lib import BLOCK, System, write_all


class Copier:
    """Copies as `cp` does. `preserve`: mode, owner and times as they are; `links`: symbolic links as links."""

    __slots__ = ("force", "links", "name", "preserve", "recursive", "report", "sys", "verbose")

    def __init__(self, sys: System, name: str) -> None:
        self.sys = sys
        self.name = name
        self.preserve = self.links = self.recursive = self.verbose = self.force = False
        self.report = "->"

    def copy(self, source: str, target: str, top: bool = True) -> int:
        """One file or tree; the status."""
        sys = self.sys
        try:
            st = sys.lstat(source) if self.links and not (top and not self.recursive) else sys.stat(source)
        except OSError as why:
            return wrong(sys, self.name, f"cannot stat '{source}'", why)
        kind = st.st_mode & abi.S_IFMT
        if kind == abi.S_IFDIR:
            if not self.recursive:
                return self._say(f"-r not specified; omitting directory '{source}'")
            return self._tree(source, target, st)
        if self._same(st, target):
            return self._say(f"'{source}' and '{target}' are the same file")
        try:
            there = sys.lstat(target)
        except OSError:
            there = None
        if there is not None and there.st_mode & abi.S_IFMT == abi.S_IFDIR:
            return self._say(f"cannot overwrite directory '{target}' with non-directory")
        if self.verbose:
            write_all(sys, 1, f"'{source}' -> '{target}'\n".encode("utf-8", "surrogateescape"))
        if kind == abi.S_IFREG or not self.recursive:
            return self._contents(source, target, st)
        try:
            if there is not None:
                sys.unlink(target)
            if kind == abi.S_IFLNK:
                sys.symlink(sys.readlink(source), target)
            else:
                sys.mknod(target, st.st_mode, st.st_rdev)
        except OSError as why:
            return wrong(sys, self.name, f"cannot create special file '{target}'", why)
        if self.preserve and kind != abi.S_IFLNK:
            self._attributes(target, st)
        return 0

    def _say(self, text: str) -> int:
        write_all(self.sys, 2, f"{self.name}: {text}\n".encode("utf-8", "surrogateescape"))
        return 1

    def _same(self, st: Any, target: str) -> bool:
        try:
            other = self.sys.stat(target)
        except OSError:
            return False
        return bool((st.st_dev, st.st_ino) == (other.st_dev, other.st_ino))

    def _tree(self, source: str, target: str, st: Any) -> int:
        sys = self.sys
        made = False
        try:
            there = sys.stat(target)
            if there.st_mode & abi.S_IFMT != abi.S_IFDIR:
                return self._say(f"cannot overwrite non-directory '{target}' with directory '{source}'")
        except FileNotFoundError:
            try:
                sys.mkdir(target, st.st_mode & 0o777 | 0o700)
            except OSError as why:
                return wrong(sys, self.name, f"cannot create directory '{target}'", why)
            made = True
            if self.verbose:
                write_all(sys, 1, f"'{source}' -> '{target}'\n".encode("utf-8", "surrogateescape"))
        if (target + "/").startswith(source.rstrip("/") + "/") and source != target:
            sys.rmdir(target)
            return self._say(f"cannot copy a directory, '{source}', into itself, '{target}'")
        status = 0
        try:
            names = entries(sys, source)
        except OSError as why:
            return wrong(sys, self.name, f"cannot access '{source}'", why)
        for name in names:
            status |= self.copy(join(source, name), join(target, name), False)
        if self.preserve:
            self._attributes(target, st)
        elif made and st.st_mode & 448 != 448:
            sys.chmod(target, st.st_mode & 0o777)
        return status

    def _contents(self, source: str, target: str, st: Any) -> int:
        sys = self.sys
        try:
            fd = sys.open(source, abi.O_RDONLY)
        except OSError as why:
            return wrong(sys, self.name, f"cannot open '{source}' for reading", why)
        try:
            flags = abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC
            try:
                out = sys.open(target, flags, st.st_mode & 0o777)
            except OSError as why:
                if not self.force:
                    return wrong(sys, self.name, f"cannot create regular file '{target}'", why)
                sys.unlink(target)
                out = sys.open(target, flags, st.st_mode & 0o777)
            try:
                while block := sys.read(fd, BLOCK):
                    write_all(sys, out, block)
            finally:
                sys.close(out)
        except OSError as why:
            return wrong(sys, self.name, f"error copying '{source}' to '{target}'", why)
        finally:
            sys.close(fd)
        if self.preserve:
            self._attributes(target, st)
        return 0

    def _attributes(self, target: str, st: Any) -> None:
        sys = self.sys
        try:
            sys.chown(target, st.st_uid, st.st_gid)
        except OSError:
            pass  # who is not root keeps his own
        sys.chmod(target, st.st_mode & 0o7777)
        sys.utimensat(abi.AT_FDCWD, target, (st.st_atime_ns, st.st_mtime_ns), 0)


def remove(sys: System, name: str, path: str, recursive: bool, force: bool, verbose: bool, directories: bool) -> int:
    """As `rm` does."""
    try:
        st = sys.lstat(path)
    except OSError as why:
        if force and why.errno in (abi.ENOENT, abi.ENOTDIR):
            return 0
        return wrong(sys, name, f"cannot remove '{path}'", why)
    if st.st_mode & abi.S_IFMT != abi.S_IFDIR:
        try:
            sys.unlink(path)
        except OSError as why:
            return wrong(sys, name, f"cannot remove '{path}'", why)
        if verbose:
            write_all(sys, 1, f"removed '{path}'\n".encode("utf-8", "surrogateescape"))
        return 0
    if not recursive and not directories:
        return wrong(sys, name, f"cannot remove '{path}'", "Is a directory")
    status = 0
    if recursive:
        try:
            names = entries(sys, path)
        except OSError as why:
            return wrong(sys, name, f"cannot remove '{path}'", why)
        for each in names:
            status |= remove(sys, name, join(path, each), True, force, verbose, True)
    if status:
        return status
    try:
        sys.rmdir(path)
    except OSError as why:
        return wrong(sys, name, f"cannot remove '{path}'", why)
    if verbose:
        write_all(sys, 1, f"removed directory '{path}'\n".encode("utf-8", "surrogateescape"))
    return 0


def destination(sys: System, source: str, target: str, inside: bool) -> str:
    """Where `source` goes: into the directory `target`, by its last name."""
    return join(target, source.rstrip("/").rpartition("/")[2] or source) if inside else target
