"""ps [-AaefljxwH] [-o FORMAT] [-p PIDS] [-u USERS] [-t TTYS] [--no-headers] [--sort KEYS], ps aux: the processes.

Everything is read from /proc. Without an option: the caller's own at its terminal.
"""

from __future__ import annotations

from typing import Any

from userland.command import BadValue, Names, Options, Output, UsageError, entries, parse
from userland.lib import System, read_file, say
from userland.terminal import isatty, window_size
from userland.times import moment, now, span

HZ = 100


class Process:
    """What /proc says of one."""

    __slots__ = ("args", "comm", "euid", "fields", "pid", "state", "uid")

    def __init__(self, sys: System, pid: int) -> None:
        text = read_file(sys, f"/proc/{pid}/stat").decode("utf-8", "replace")
        status = read_file(sys, f"/proc/{pid}/status").decode("utf-8", "replace")
        words = read_file(sys, f"/proc/{pid}/cmdline").split(b"\0")
        self.pid = pid
        self.comm = text[text.index("(") + 1 : text.rindex(")")]
        rest = text[text.rindex(")") + 2 :].split()
        self.state = rest[0]
        self.fields = [0, 0, 0, *(int(word) for word in rest[1:])]
        """By proc(5)'s numbers, the first being 1: ppid is fields[3]."""
        uids = next(line.split() for line in status.splitlines() if line.startswith("Uid:"))
        self.uid, self.euid = int(uids[1]), int(uids[2])
        joined = b" ".join(words).decode("utf-8", "replace").strip()
        self.args = joined or f"[{self.comm}]"
        if self.state == "Z":
            self.args = f"[{self.comm}] <defunct>"

    def field(self, number: int) -> int:
        return self.fields[number - 1] if number - 1 < len(self.fields) else 0


class Table:
    """What the columns are made of."""

    __slots__ = ("boot", "memory", "names", "present", "sys", "uptime")

    def __init__(self, sys: System) -> None:
        self.sys = sys
        self.names = Names(sys)
        self.present = now(sys)
        self.uptime = float(read_file(sys, "/proc/uptime").split()[0])
        self.boot = self.present - self.uptime
        self.memory = 1
        for line in read_file(sys, "/proc/meminfo").decode().splitlines():
            if line.startswith("MemTotal:"):
                self.memory = int(line.split()[1])

    def tty(self, p: Process) -> str:
        rdev = p.field(7)
        major, minor = rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & ~0xFF
        if not rdev:
            return "?"
        if 136 <= major <= 143:
            return f"pts/{minor + (major - 136) * 256}"
        if major == 4:
            return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
        return "console" if (major, minor) == (5, 1) else "?"

    def cpu(self, p: Process) -> float:
        lived = self.uptime - p.field(22) / HZ
        return 100 * (p.field(14) + p.field(15)) / HZ / lived if lived > 0 else 0.0

    def start(self, p: Process) -> str:
        begun = int(self.boot + p.field(22) / HZ)
        when = moment(begun)
        if self.present - begun < 24 * 3600:
            return when.strftime("%H:%M")
        return when.strftime("%b%d") if when.year == moment(self.present).year else when.strftime("%Y")

    def state(self, p: Process) -> str:
        out = p.state
        out += "<" if p.field(19) < 0 else "N" if p.field(19) > 0 else ""
        out += "s" if p.field(6) == p.pid else ""
        out += "l" if p.field(20) > 1 else ""
        return out + ("+" if p.field(8) == p.field(5) and p.field(7) else "")

    def elapsed(self, p: Process) -> str:
        seconds = max(int(self.uptime - p.field(22) / HZ), 0)
        days, rest = divmod(seconds, 86400)
        text = f"{rest // 60 % 60:02}:{rest % 60:02}"
        if days or rest >= 3600:
            text = f"{rest // 3600:02}:{text}"
        return f"{days}-{text}" if days else text

    def seconds(self, p: Process) -> int:
        return (p.field(14) + p.field(15)) // HZ


def minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def fit(name: str) -> str:
    """A user's name in eight columns."""
    return name if len(name) <= 8 else name[:7] + "+"


COLUMNS: dict[str, tuple[str, int, bool, Any]] = {
    # name: (title, width, right-justified, value)
    "pid": ("PID", 7, True, lambda t, p: p.pid),
    "ppid": ("PPID", 7, True, lambda t, p: p.field(4)),
    "pgid": ("PGID", 7, True, lambda t, p: p.field(5)),
    "sid": ("SID", 7, True, lambda t, p: p.field(6)),
    "tpgid": ("TPGID", 7, True, lambda t, p: p.field(8)),
    "user": ("USER", 8, False, lambda t, p: fit(t.names.user(p.euid))),
    "ruser": ("RUSER", 8, False, lambda t, p: fit(t.names.user(p.uid))),
    "uid": ("UID", 5, True, lambda t, p: p.euid),
    "uname": ("UID", 8, False, lambda t, p: fit(t.names.user(p.euid))),
    "tty": ("TT", 8, False, lambda t, p: t.tty(p)),
    "tname": ("TTY", 8, False, lambda t, p: t.tty(p)),
    "time": ("TIME", 8, True, lambda t, p: span(t.seconds(p))),
    "bsdtime": ("TIME", 6, True, lambda t, p: minutes(t.seconds(p))),
    "etime": ("ELAPSED", 11, True, lambda t, p: t.elapsed(p)),
    "stime": ("STIME", 5, False, lambda t, p: t.start(p)),
    "start": ("START", 5, True, lambda t, p: t.start(p)),
    "comm": ("COMMAND", 15, False, lambda t, p: p.comm + (" <defunct>" if p.state == "Z" else "")),
    "ucmd": ("CMD", 15, False, lambda t, p: p.comm + (" <defunct>" if p.state == "Z" else "")),
    "args": ("COMMAND", 27, False, lambda t, p: p.args),
    "cmd": ("CMD", 27, False, lambda t, p: p.args),
    "s": ("S", 1, False, lambda t, p: p.state),
    "stat": ("STAT", 4, False, lambda t, p: t.state(p)),
    "c": ("C", 2, True, lambda t, p: int(t.cpu(p))),
    "pcpu": ("%CPU", 4, True, lambda t, p: f"{t.cpu(p):.1f}"),
    "pmem": ("%MEM", 4, True, lambda t, p: f"{100 * p.field(24) * 4 / t.memory:.1f}"),
    "vsz": ("VSZ", 6, True, lambda t, p: p.field(23) // 1024),
    "rss": ("RSS", 5, True, lambda t, p: p.field(24) * 4),
    "ni": ("NI", 3, True, lambda t, p: p.field(19)),
    "pri": ("PRI", 3, True, lambda t, p: 39 - p.field(18)),
    "nlwp": ("NLWP", 4, True, lambda t, p: p.field(20)),
    "psr": ("PSR", 3, True, lambda t, p: p.field(39)),
    "f": ("F", 1, True, lambda t, p: 0),
    "wchan": ("WCHAN", 6, False, lambda t, p: "-"),
    "sz": ("SZ", 5, True, lambda t, p: p.field(23) // 4096),
    "addr": ("ADDR", 4, False, lambda t, p: "-"),
}
ALIASES = {
    "command": "args", "tt": "tty", "%cpu": "pcpu", "%mem": "pmem", "pgrp": "pgid", "sess": "sid", "session": "sid",
    "nice": "ni", "vsize": "vsz", "rssize": "rss", "state": "s", "cputime": "time", "euid": "uid", "euser": "user",
    "thcount": "nlwp", "fname": "comm", "lstart": "start",
}  # fmt: skip
SHAPES = {
    "": "pid tname time ucmd",
    "f": "uname pid ppid c stime tname time cmd",
    "l": "f s uid pid ppid c pri ni addr sz wchan tname time ucmd",
    "j": "pid pgid sid tname time ucmd",
    "u": "user pid pcpu pmem vsz rss tname stat start bsdtime args",
    "x": "pid tname stat bsdtime args",
}


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    bsd = ""
    if words and words[0][:1] != "-" and not words[0].isdigit():
        bsd, words = words[0], words[1:]
    long = {"sort": "k:", "no-headers": "Q", "no-heading": "Q", "pid": "p:", "user": "u:", "tty": "t:", "format": "o:",
            "ppid": "P:"}  # fmt: skip
    try:
        options, operands = parse(words, "AaefjlxwHo:p:u:U:t:C:NT", long)
        if any(letter not in "auxwfljte" for letter in bsd):
            raise BadValue("unsupported option (BSD syntax)")
        return show(sys, options, bsd, [*operands])
    except UsageError as why:
        say(sys, f"error: {why}", fd=2)
        return 1


def listed(options: Options, letter: str, extra: list[str]) -> list[str]:
    return [word for text in [*options.all(letter), *extra] for word in text.replace(",", " ").split()]


def show(sys: System, options: Options, bsd: str, operands: list[str]) -> int:
    table = Table(sys)
    me = Process(sys, sys.getpid())
    pids = listed(options, "p", operands)
    users = listed(options, "u", []) + listed(options, "U", [])
    ttys = [name.removeprefix("/dev/") for name in listed(options, "t", [])]
    comms, parents = listed(options, "C", []), listed(options, "P", [])
    if any(not pid.isdigit() for pid in pids):
        raise BadValue("process ID list syntax error")
    everything = "e" in options or "A" in options or ("a" in bsd and "x" in bsd)
    chosen = []
    for pid in sorted(int(name) for name in entries(sys, "/proc") if name.isdigit()):
        try:
            p = Process(sys, pid)
        except OSError:
            continue  # it has just ended
        if pids or users or ttys or comms or parents:
            wanted = (
                str(pid) in pids or table.names.user(p.euid) in users or str(p.euid) in users
                or table.tty(p) in ttys or p.comm in comms or str(p.field(4)) in parents
            )  # fmt: skip
        elif everything:
            wanted = True
        elif "a" in options:
            wanted = bool(p.field(7)) and p.field(6) != pid
        elif "a" in bsd:
            wanted = bool(p.field(7))
        elif "x" in bsd or "x" in options:
            wanted = p.euid == me.euid
        else:
            wanted = p.euid == me.euid and p.field(7) == me.field(7)
        if wanted:
            chosen.append(p)
    _write(sys, table, chosen, *_shape(options, bsd), options)
    return 0 if chosen else 1


def _shape(options: Options, bsd: str) -> tuple[list[tuple[str, str | None]], str]:
    """(columns, each with a title of its own or None; the letter of the shape)."""
    if "o" in options:
        chosen: list[tuple[str, str | None]] = []
        for text in options.all("o"):
            for word in text.replace(",", " ").split() if "=" not in text else text.split(","):
                name, equals, title = word.strip().partition("=")
                name = ALIASES.get(name, name)
                if name not in COLUMNS:
                    raise BadValue(f'unknown user-defined format specifier "{name}"')
                chosen.append((name, title if equals else None))
        return chosen, "o"
    letter = "u" if "u" in bsd else "l" if "l" in options else "f" if "f" in options else "j" if "j" in options else ""
    if bsd and not letter:
        letter = "x"
    return [(name, None) for name in SHAPES[letter].split()], letter


def _write(
    sys: System, table: Table, chosen: list[Process], shape: list[tuple[str, str | None]], letter: str, options: Options
) -> None:
    keys = options.get("k")
    for key in reversed(keys.split(",")) if keys else ():
        name = key.lstrip("+-")
        value = COLUMNS[ALIASES.get(name, name)][3]
        chosen.sort(key=lambda p: _key(value(table, p)), reverse=key[:1] == "-")
    out = Output(sys)
    line = window_size(sys, 1)[1] if isatty(sys, 1) and "w" not in options else 0
    rows: list[list[str]] = []
    titles = [COLUMNS[name][0] if title is None else title for name, title in shape]
    if "Q" not in options and any(titles):
        rows.append(titles)
    rows += [[str(COLUMNS[name][3](table, p)) for name, _ in shape] for p in chosen]
    widths = [
        max(COLUMNS[name][1] if title is None or title else 1, len(heading))
        for (name, title), heading in zip(shape, titles)
    ]
    for row in rows:
        text = ""
        for at, (cell, (name, _)) in enumerate(zip(row, shape)):
            right = COLUMNS[name][2]
            last = at == len(row) - 1
            text += cell.rjust(widths[at]) if right else cell if last else cell.ljust(widths[at])
            text += "" if last else " "
        out.write((text[:line] if line else text) + "\n")
    out.flush()


def _key(value: Any) -> Any:
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, str(value))
