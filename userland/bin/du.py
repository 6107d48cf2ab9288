"""du [-abchks] [-d DEPTH] [FILE...]: space that files use."""

from __future__ import annotations

from userland import abi
from userland.command import Options, command, entries, human, join, wrong
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    long = {"all": "a", "bytes": "b", "total": "c", "human-readable": "h", "summarize": "s", "max-depth": "d:"}
    return command(sys, argv, "abchksd:", work, long)


class Usage:
    """One run: the inodes seen are counted once."""

    __slots__ = ("name", "options", "seen", "status", "sys")

    def __init__(self, sys: System, name: str, options: Options) -> None:
        self.sys = sys
        self.name = name
        self.options = options
        self.seen: dict[tuple[int, int], None] = {}
        self.status = 0

    def show(self, size: int, path: str) -> None:
        if "h" in self.options:
            text = human(size)
        else:
            text = str(size if "b" in self.options else -(-size // 1024))
        say(self.sys, f"{text}\t{path}")

    def measure(self, path: str, depth: int) -> int:
        try:
            st = self.sys.lstat(path)
        except OSError as why:
            self.status = wrong(self.sys, self.name, f"cannot access '{path}'", why)
            return 0
        if st.st_nlink > 1 and st.st_mode & abi.S_IFMT != abi.S_IFDIR:
            if (st.st_dev, st.st_ino) in self.seen:
                return 0
            self.seen[st.st_dev, st.st_ino] = None
        size = int(st.st_size if "b" in self.options else st.st_blocks * 512)
        directory = st.st_mode & abi.S_IFMT == abi.S_IFDIR
        if directory:
            try:
                for each in entries(self.sys, path):
                    size += self.measure(join(path, each), depth + 1)
            except OSError as why:
                self.status = wrong(self.sys, self.name, f"cannot read directory '{path}'", why)
        most = 0 if "s" in self.options else int(self.options.get("d", "1000000"))
        if depth <= most and (directory or "a" in self.options or not depth):
            self.show(size, path)
        return size


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    usage = Usage(sys, name, options)
    total = sum(usage.measure(path, 0) for path in operands or ["."])
    if "c" in options:
        usage.show(total, "total")
    return usage.status
