"""ls [-1aACdFhiklmnopqrRsStuUx] [--color[=WHEN]] [FILE...]: lists files.

Names are sorted by their bytes. At a terminal they are put into columns; -l shows mode, links, owner, group, size and
time of each.
"""

from __future__ import annotations

from typing import Any

from userland import abi, modes
from userland.command import Names, Options, Output, command, entries, human, join, wrong
from userland.lib import System
from userland.terminal import isatty, window_size
from userland.times import listed, now

COLOURS = {
    abi.S_IFDIR: "01;34", abi.S_IFLNK: "01;36", abi.S_IFIFO: "33", abi.S_IFSOCK: "01;35", abi.S_IFBLK: "33;01",
    abi.S_IFCHR: "33;01",
}  # fmt: skip
LONG = {
    "all": "a", "almost-all": "A", "directory": "d", "human-readable": "h", "inode": "i", "recursive": "R",
    "reverse": "r", "size": "s", "classify": "F", "numeric-uid-gid": "n", "color": "K?", "no-group": "G",
    "full-time": "Z",
}  # fmt: skip


class Entry:
    """One file to be shown."""

    __slots__ = ("name", "path", "st", "target")

    def __init__(self, name: str, path: str, st: Any, target: str = "") -> None:
        self.name = name
        self.path = path
        self.st = st
        self.target = target

    @property
    def kind(self) -> int:
        return int(self.st.st_mode & abi.S_IFMT)


class Listing:
    """One run of ls."""

    __slots__ = ("columns", "long", "names", "options", "out", "present", "status", "sys", "tty")

    def __init__(self, sys: System, options: Options) -> None:
        self.sys = sys
        self.options = options
        self.out = Output(sys)
        self.names = Names(sys)
        self.present = now(sys)
        self.status = 0
        self.tty = isatty(sys, 1)
        shape = options.last("1lCxmnog", "C" if self.tty else "1")
        self.long = shape in "lnog" or "Z" in options
        self.columns = 0
        if shape in "Cx":
            self.columns = window_size(sys, 1)[1] if self.tty else int(sys.environ.get("COLUMNS", "80") or "80")
            self.columns = int(options.get("w") or self.columns)

    # ---- what there is ----

    def look(self, path: str, name: str, top: bool) -> Entry | None:
        sys, options = self.sys, self.options
        try:
            follow = "L" in options or (top and not self.long and "d" not in options and "F" not in options)
            try:
                st = sys.stat(path) if follow else sys.lstat(path)
            except FileNotFoundError:
                st = sys.lstat(path)
            if top and not follow and "d" not in options and not self.long and st.st_mode & abi.S_IFMT == abi.S_IFLNK:
                st = sys.lstat(path)
        except OSError as why:
            self.status = 2 if top else max(self.status, 1)
            wrong(sys, "ls", f"cannot access '{path}'", why)
            return None
        target = ""
        if self.long and st.st_mode & abi.S_IFMT == abi.S_IFLNK:
            try:
                target = sys.readlink(path)
            except OSError:
                target = "?"
        return Entry(name, path, st, target)

    def order(self, found: list[Entry]) -> list[Entry]:
        options = self.options
        if "U" in options or "f" in options:
            return found
        found.sort(key=lambda e: e.name.encode("utf-8", "surrogateescape"))
        by = options.last("tS")
        if by == "S":
            found.sort(key=lambda e: -e.st.st_size)
        elif by == "t":
            found.sort(key=lambda e: -self.time_of(e))
        return found[::-1] if "r" in options else found

    def time_of(self, entry: Entry) -> int:
        which = self.options.last("cu")
        name = {"c": "st_ctime_ns", "u": "st_atime_ns"}.get(which, "st_mtime_ns")
        return int(getattr(entry.st, name))

    def run(self, operands: list[str]) -> int:
        files, directories = [], []
        for path in operands or ["."]:
            entry = self.look(path, path, True)
            if entry is None:
                continue
            if "d" not in self.options and (
                entry.kind == abi.S_IFDIR or (entry.kind == abi.S_IFLNK and not self.long and self._leads(path))
            ):
                directories.append(entry)
            else:
                files.append(entry)
        if files:
            self.show(self.order(files))
        titled = len(operands) > 1 or "R" in self.options
        for number, entry in enumerate(self.order(directories)):
            self.directory(entry.path, titled, bool(files) or number > 0)
        self.out.flush()
        return self.status

    def _leads(self, path: str) -> bool:
        try:
            return bool(self.sys.stat(path).st_mode & abi.S_IFMT == abi.S_IFDIR)
        except OSError:
            return False

    def directory(self, path: str, titled: bool, separate: bool) -> None:
        sys, options = self.sys, self.options
        try:
            names = entries(sys, path)
        except OSError as why:
            self.status = 2
            self.out.flush()
            wrong(sys, "ls", f"cannot open directory '{path}'", why)
            return
        if "a" in options or "f" in options:
            names = [".", "..", *names]
        elif "A" not in options:
            names = [name for name in names if not name.startswith(".")]
        found = [entry for name in names if (entry := self.look(join(path, name), name, False)) is not None]
        found = self.order(found)
        if separate:
            self.out.write("\n")
        if titled:
            self.out.write(f"{path}:\n")
        if self.long or "s" in options:
            total = sum(entry.st.st_blocks for entry in found)
            self.out.write(f"total {human(total * 512) if 'h' in options else -(-total // 2)}\n")
        self.show(found)
        if "R" in options:
            for entry in found:
                if entry.kind == abi.S_IFDIR and entry.name not in (".", ".."):
                    self.directory(entry.path, True, True)

    # ---- how it looks ----

    def label(self, entry: Entry) -> str:
        """The name with colour and mark."""
        name = entry.name
        options = self.options
        if self.tty and any(c in name for c in " '\"\\$*?[]<>|&;()`!#\t\n"):
            name = "'" + name.replace("'", "'\\''") + "'"
        colour = ""
        if "K" in options and (options["K"] in ("", "always") or (options["K"] == "auto" and self.tty)):
            colour = COLOURS.get(entry.kind, "01;32" if entry.st.st_mode & 0o111 else "")
        mark = self.mark(entry)
        return (f"\x1b[{colour}m{name}\x1b[0m" if colour else name) + mark

    def mark(self, entry: Entry) -> str:
        if entry.kind == abi.S_IFDIR:
            return "/" if "F" in self.options or "p" in self.options else ""
        if "F" not in self.options:
            return ""
        if entry.kind == abi.S_IFREG:
            return "*" if entry.st.st_mode & 0o111 else ""
        return {abi.S_IFLNK: "" if self.long else "@", abi.S_IFIFO: "|", abi.S_IFSOCK: "="}.get(entry.kind, "")

    def prefix(self, entry: Entry, widths: tuple[int, int]) -> str:
        out = ""
        if "i" in self.options:
            out += f"{entry.st.st_ino:>{widths[0]}} "
        if "s" in self.options:
            out += f"{self.blocks(entry):>{widths[1]}} "
        return out

    def blocks(self, entry: Entry) -> str:
        half = entry.st.st_blocks
        return human(half * 512) if "h" in self.options else str(-(-half // 2))

    def show(self, found: list[Entry]) -> None:
        inode = max((len(str(e.st.st_ino)) for e in found), default=0) if "i" in self.options else 0
        size = max((len(self.blocks(e)) for e in found), default=0) if "s" in self.options else 0
        if self.long:
            self.show_long(found, (inode, size))
            return
        shown = [self.prefix(e, (inode, size)) + self.label(e) for e in found]
        if "m" in self.options:
            self.out.write(", ".join(shown) + "\n" if shown else "")
        elif not self.columns:
            self.out.write("".join(f"{line}\n" for line in shown))
        else:
            plain = [len(self.prefix(e, (inode, size))) + len(self.plain(e)) for e in found]
            self.out.write(columns(shown, plain, self.columns, "x" in self.options))

    def plain(self, entry: Entry) -> str:
        label = self.label(entry)
        if label[:1] == "\x1b":
            label = label.partition("m")[2].replace("\x1b[0m", "")
        return label

    def size(self, entry: Entry) -> str:
        if entry.kind in (abi.S_IFCHR, abi.S_IFBLK):
            rdev = entry.st.st_rdev
            return f"{rdev >> 8 & 0xFFF}, {rdev & 0xFF | rdev >> 12 & ~0xFF:>3}"
        return human(entry.st.st_size) if "h" in self.options else str(entry.st.st_size)

    def show_long(self, found: list[Entry], widths: tuple[int, int]) -> None:
        numeric = "n" in self.options
        rows = []
        for entry in found:
            st = entry.st
            user = str(st.st_uid) if numeric else self.names.user(st.st_uid)
            group = str(st.st_gid) if numeric else self.names.group(st.st_gid)
            rows.append((entry, str(st.st_nlink), user, group, self.size(entry)))
        wide = [max((len(cells[at]) for _, *cells in rows), default=0) for at in range(4)]
        for entry, links, user, group, size in rows:
            owner = ""
            if "g" not in self.options:
                owner = f" {user:>{wide[1]}}" if numeric else f" {user:<{wide[1]}}"
            if "o" not in self.options and "G" not in self.options:
                owner += f" {group:>{wide[2]}}" if numeric else f" {group:<{wide[2]}}"
            if "Z" in self.options:
                from userland.times import full

                when = full(self.time_of(entry))
            else:
                when = listed(self.time_of(entry) // 1_000_000_000, self.present)
            arrow = f" -> {entry.target}" if entry.kind == abi.S_IFLNK else ""
            self.out.write(
                f"{self.prefix(entry, widths)}{modes.shown(entry.st.st_mode)} {links:>{wide[0]}}{owner} "
                f"{size:>{wide[3]}} {when} {self.label(entry)}{arrow}\n"
            )


def blank(column: int, to: int) -> str:
    """From one column to another, with tabs where they lead further than a blank would."""
    out = ""
    while column < to:
        if to // 8 > (column + 1) // 8:
            out += "\t"
            column += 8 - column % 8
        else:
            out += " "
            column += 1
    return out


def columns(shown: list[str], widths: list[int], line: int, across: bool) -> str:
    """As many columns as fit, each as wide as its widest name and two blanks."""
    if not shown:
        return ""
    count = len(shown)
    for number in range(min(count, max(line // 3, 1)), 0, -1):
        rows = -(-count // number)
        if across:
            wide = [max(widths[c::number], default=-2) for c in range(number)]
        else:
            wide = [max(widths[c * rows : (c + 1) * rows], default=-2) for c in range(number)]
        if not across and (number - 1) * rows >= count:
            continue
        if sum(w + 2 for w in wide) - 2 < line or number == 1:
            break
    starts = [sum(w + 2 for w in wide[:place]) for place in range(number)]
    out = []
    for row in range(rows):
        text, column = "", 0
        cells = range(row * number, min((row + 1) * number, count)) if across else range(row, count, rows)
        for place, at in enumerate(cells):
            text += blank(column, starts[place]) + shown[at]
            column = starts[place] + widths[at]
        out.append(text + "\n")
    return "".join(out)


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "1aAcCdfFgGhikLlmnopqrRsStuUxZKw:", work, LONG, trouble=2)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    return Listing(sys, options).run(operands)
