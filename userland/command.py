"""What the programs of /bin have in common: options as GNU's getopt takes them, messages, buffered output, names.

`command(sys, argv, "alR", work)` parses the options, calls `work(sys, name, options, operands)` and gives the exit
status. A letter followed by `:` takes a value. Options may stand after operands, up to `--`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from userland import abi
from userland.lib import BLOCK, System, complain, read_all, say, write_all

LARGE = 1 << 16


class Options:
    """What was given: `"a" in options`, `options["n"]` (the last value), `options.all("e")`."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def __contains__(self, name: str) -> bool:
        return any(given == name for given, _ in self.given)

    def __getitem__(self, name: str) -> str:
        return next(value for given, value in reversed(self.given) if given == name)

    def get(self, name: str, default: str = "") -> str:
        values = self.all(name)
        return values[-1] if values else default

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.given if given == name]

    def last(self, names: str, default: str = "") -> str:
        """Of several that exclude each other, the one that was given last."""
        return next((given for given, _ in reversed(self.given) if given in names), default)


class UsageError(Exception):
    """The options are wrong: the message is followed by where help is."""


class BadValue(UsageError):
    """A value cannot be: only that is said."""


def parse(
    words: list[str], short: str, long: dict[str, str] | None = None, permute: bool = True
) -> tuple[Options, list[str]]:
    """(options, operands). `long` gives for `--name` its letter, with `:` after it when it takes a value."""
    options, operands = Options(), []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands += rest
            break
        if word[:2] == "--":
            name, equals, value = word[2:].partition("=")
            found = [known for known in (long or {}) if known.startswith(name)]
            if name in (long or {}):
                found = [name]
            if len(found) != 1:
                raise UsageError(f"unrecognized option '--{name}'" if not found else f"option '--{name}' is ambiguous")
            letter = (long or {})[found[0]]
            if letter.endswith(":") and not equals:
                if not rest:
                    raise UsageError(f"option '--{found[0]}' requires an argument")
                value = rest.pop(0)
            options.given.append((letter.rstrip(":?"), value))
        elif word[:1] == "-" and len(word) > 1:
            at = 1
            while at < len(word):
                letter = word[at]
                at += 1
                place = short.find(letter)
                if place < 0 or letter == ":":
                    raise UsageError(f"invalid option -- '{letter}'")
                value = ""
                if short[place + 1 : place + 2] == ":":
                    value = word[at:]
                    if not value:
                        if not rest:
                            raise UsageError(f"option requires an argument -- '{letter}'")
                        value = rest.pop(0)
                    at = len(word)
                options.given.append((letter, value))
        else:
            operands.append(word)
            if not permute:
                operands += rest
                break
    return options, operands


Work = Callable[[System, str, Options, list[str]], int]


def command(
    sys: System, argv: list[str], short: str, work: Work, long: dict[str, str] | None = None, trouble: int = 1,
    permute: bool = True, synopsis: str = "",
) -> int:  # fmt: skip
    """Runs a program; `trouble` is the status for wrong usage, after which some show a synopsis."""
    name = (argv[0] if argv else "?").rpartition("/")[2]
    if argv[1:] == ["--help"]:
        say(sys, "Usage: " + str(work.__globals__.get("__doc__") or name).strip())
        return 0
    try:
        options, operands = parse(argv[1:], short, long, permute)
        return work(sys, name, options, operands)
    except UsageError as why:
        mistake(sys, name, why, synopsis)
        return trouble


def mistake(sys: System, name: str, why: UsageError, synopsis: str = "") -> None:
    """What GNU's programs say of wrong usage."""
    lines = [f"{name}: {why}"] if str(why) else []
    if not isinstance(why, BadValue):
        lines += [synopsis] if synopsis else []
        lines.append(f"Try '{name} --help' for more information.")
    say(sys, "\n".join(lines), fd=2)


def wrong(sys: System, name: str, file: str, why: OSError | str) -> int:
    """`name: file: reason`; 1, for the exit status."""
    complain(sys, name, f"{file}: {why.strerror if isinstance(why, OSError) else why}")
    return 1


class Output:
    """Descriptor 1, in large pieces."""

    __slots__ = ("_parts", "_size", "fd", "sys")

    def __init__(self, sys: System, fd: int = 1) -> None:
        self.sys = sys
        self.fd = fd
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | str) -> None:
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        self._parts.append(data)
        self._size += len(data)
        if self._size > LARGE:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            write_all(self.sys, self.fd, data)


def inputs(
    sys: System, name: str, operands: list[str], failed: Callable[[], None], saying: str = "{}"
) -> Iterator[tuple[str, int]]:
    """(name, descriptor) of each file, `-` and none being standard input; closed afterwards. `failed()` for each that
    can't be opened, which is said as the program does.
    """
    for operand in operands or ["-"]:
        if operand == "-":
            yield "-", 0
            continue
        try:
            fd = sys.open(operand, abi.O_RDONLY)
        except OSError as why:
            wrong(sys, name, saying.format(operand), why)
            failed()
            continue
        try:
            yield operand, fd
        finally:
            sys.close(fd)


class Failed:
    """Counts what went wrong: `status` is 0 or 1."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status = 0

    def __call__(self) -> None:
        self.status = 1


def blocks(
    sys: System, name: str, file: str, fd: int, failed: Callable[[], None], saying: str = "{}"
) -> Iterator[bytes]:
    """The contents of a file; what cannot be read is said."""
    while True:
        try:
            data = sys.read(fd, BLOCK)
        except OSError as why:
            wrong(sys, name, saying.format(file), why)
            failed()
            return
        if not data:
            return
        yield data


def lines_in(
    sys: System, name: str, file: str, fd: int, failed: Callable[[], None], end: bytes = b"\n"
) -> Iterator[bytes]:
    """Lines without their end."""
    rest = b""
    for data in blocks(sys, name, file, fd, failed):
        *whole, rest = (rest + data).split(end)
        yield from whole
    if rest:
        yield rest


def number(text: str, what: str) -> int:
    """A count such as 10, 4k, 1M. UsageError."""
    scale = {"b": 512, "k": 1024, "K": 1024, "M": 1 << 20, "G": 1 << 30}
    digits = text[:-1] if text[-1:] in scale else text
    if not digits.lstrip("+-").isdigit():
        raise BadValue(f"invalid {what}: '{text}'")
    return int(digits) * scale.get(text[-1:] if digits != text else "", 1)


def human(size: float, base: int = 1024) -> str:
    """1.5K as `-h` shows it: rounded up, one digit below 10."""
    units = "KMGTPE"
    if size < base:
        return str(int(size))
    for unit in units:
        size /= base
        if size < base or unit == "E":
            up = -(-int(size * 10 * 1000000) // 1000000) if size < 10 else 0
            if size < 10 and up < 100:
                return f"{up / 10:.1f}{unit}"
            whole = int(size) if size == int(size) else int(size) + 1
            if whole < base:
                return f"{whole}{unit}"
    return f"{size:.0f}E"


class Names:
    """Names of users and groups, from /etc/passwd and /etc/group."""

    __slots__ = ("_tables", "sys")

    def __init__(self, sys: System) -> None:
        self.sys = sys
        self._tables: dict[str, list[list[str]]] = {}

    def table(self, file: str) -> list[list[str]]:
        found = self._tables.get(file)
        if found is None:
            try:
                fd = self.sys.open(file, abi.O_RDONLY)
                text = read_all(self.sys, fd).decode("utf-8", "surrogateescape")
                self.sys.close(fd)
            except OSError:
                text = ""
            found = self._tables[file] = [line.split(":") for line in text.splitlines() if line.count(":") >= 2]
        return found

    def user(self, uid: int) -> str:
        return self._name("/etc/passwd", uid)

    def group(self, gid: int) -> str:
        return self._name("/etc/group", gid)

    def _name(self, file: str, number: int) -> str:
        return next((row[0] for row in self.table(file) if row[2] == str(number)), str(number))

    def uid(self, name: str) -> int | None:
        return self._number("/etc/passwd", name)

    def gid(self, name: str) -> int | None:
        return self._number("/etc/group", name)

    def _number(self, file: str, name: str) -> int | None:
        found = next((int(row[2]) for row in self.table(file) if row[0] == name), None)
        return found if found is not None or not name.isdigit() else int(name)


def is_directory(sys: System, path: str, follow: bool = True) -> bool:
    try:
        st: Any = sys.stat(path) if follow else sys.lstat(path)
    except OSError:
        return False
    return bool(st.st_mode & abi.S_IFMT == abi.S_IFDIR)


def entries(sys: System, path: str) -> list[str]:
    """The names in a directory but `.` and `..`, as it has them. OSError."""
    fd = sys.open(path, abi.O_RDONLY | abi.O_DIRECTORY)
    found: list[str] = []
    try:
        while some := sys.getdents64(fd):
            found += [name for name, _, _ in some if name not in (".", "..")]
    finally:
        sys.close(fd)
    return found


def join(directory: str, name: str) -> str:
    return directory + name if directory.endswith("/") else f"{directory}/{name}"
