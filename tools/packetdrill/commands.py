"""Back-quoted lines: what a script may ask of the machine before and while it runs.

Honoured: `sysctl -q NAME=VALUE ...` and `set_sysctls.py PATH=VALUE ...` (this stack's own settings); any path to
`defaults.sh` (the settings under which the public suites were written: `DEFAULTS`) or `sysctl_restore_*.sh` (a machine
serves one script only);
`tc qdisc replace dev tun0 root fq` (pacing) or `pfifo` (see `_queue`); `ethtool -K tun0
tso off` (GSO makes the same packets) and `ip tcp_metrics flush` (none are kept) the same; `ethtool -K tun0 gso off` (a
device that takes no super-segments); `echo VALUE > /sys/module/tcp_cubic/parameters/NAME` with the value that CUBIC
here has (`CUBIC`);
`dd if=/dev/zero of=FILE bs=N count=N` and `rm -f FILE` (files of the machine, not of the host);
`ip route add|change|replace ... ATTRIBUTES` (mtu, advmss, initcwnd, initrwnd, rto_min, quickack, cc, features ecn ...).
A shell script that lies beside the test (`./setup.sh`) is read, and may hold any of these.

What asks the machine something (`ASKING`: `grep ... /proc/net/tcp`, `test -e FILE`) or waits (`sleep 1`) is run by the
machine's own shell, once there is a machine, and has to succeed there. Anything else is unsupported, and the script
does not pass.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

NESTED = 8
"""So deep may shell scripts call each other."""

ASKING = frozenset({
    "[", "cat", "cut", "grep", "head", "ls", "sleep", "sort", "tail", "test", "tr", "uniq", "wc",
})  # fmt: skip
"""Programs of the machine that only read: alone or in a pipe, and with no file to write to."""


class UnsupportedCommand(Exception):
    """The command line asks for something this machine has not got."""


@dataclass
class Route:
    """Attributes of the route to the remote side, as ip-route(8) names them; durations in ns."""

    attributes: dict[str, int | str | bool] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Files of so many zeros that `dd` made for the script to send: no route's, but made by the same lines."""
    gso: bool = True
    """Whether the device takes super-segments."""
    queue: int = 1000
    """How many packets wait at most for the device; 0: it takes nothing."""


DEFAULTS = {
    "net.ipv4.tcp_rmem": "4096 540000 15728640",
    "net.ipv4.tcp_wmem": "4096 262144 4194304",
    "net.ipv4.tcp_syn_retries": "5",
    "net.ipv4.tcp_synack_retries": "5",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_ecn": "0",
}
"""Where `defaults.sh` of the public suites differs from the defaults of Linux 6.18, and so from this stack's."""

CUBIC = {
    "beta": "717", "bic_scale": "41", "fast_convergence": "1", "hystart": "1", "hystart_ack_delta_us": "2000",
    "hystart_detect": "3", "hystart_low_window": "16", "initial_ssthresh": "0", "tcp_friendliness": "1",
}  # fmt: skip
"""The parameters of Linux's module, which are constants here."""

_NUMBERS = {"mtu", "advmss", "initcwnd", "initrwnd", "window", "reordering", "quickack", "cwnd"}
_SEEDS = {"ssthresh", "rtt", "rttvar"}
"""With cwnd and reordering, what Linux's metrics of a destination begin with. They count from the second connection
on, where they are kept between connections (here they are not)."""
_UNITS = {"": 1_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1, "s": 1_000_000_000, "msec": 1_000_000, "usec": 1_000}
_WITH_VALUE = {"dev", "via", "src", "proto", "protocol", "scope", "table", "metric", "realm", "type"}


def duration(text: str) -> int:
    """`5ms`, `5` (milliseconds, as iproute2 reads a bare number), `200us`, `1s` to ns."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text)
    if match is None or match.group(2) not in _UNITS:
        raise UnsupportedCommand(f"{text!r} is not a duration (5ms, 200us, 1s)")
    return int(float(match.group(1)) * _UNITS[match.group(2)])


def arithmetic(text: str) -> str:
    """Replace the shell's `$((15*1024*1024))`; only integers and + - * / ( ) are understood."""

    def value(match: re.Match[str]) -> str:
        inner = match.group(1)
        if not re.fullmatch(r"[\d\s+*/()-]+", inner):
            raise UnsupportedCommand(f"shell arithmetic {match.group()!r}")
        return str(int(eval(inner.replace("/", "//"), {"__builtins__": {}})))

    return re.sub(r"\$\(\((.*?)\)\)", value, text)


@dataclass(frozen=True)
class Machine:
    """What commands act on. `folder` is where the test lies (None: no shell script is read); `inside` runs a line in
    the machine's own shell and gives its exit status and what it said, or is None before there is a machine."""

    set_sysctl: Callable[[str, str], None]
    route: Route
    folder: str | None = None
    inside: Callable[[str], tuple[int, str]] | None = None


class CommandFailed(Exception):
    """A command of the machine's own shell did not succeed."""


def run(
    line: str,
    set_sysctl: Callable[[str, str], None],
    route: Route,
    folder: str | None = None,
    inside: Callable[[str], tuple[int, str]] | None = None,
) -> None:
    """Carry out one back-quoted text (several lines or `;`-joined commands).

    Raises UnsupportedCommand, CommandFailed.
    """
    _run(line, Machine(set_sysctl, route, folder, inside), 0)


def _run(line: str, machine: Machine, depth: int) -> None:
    text = line.replace("\\\n", " ")
    for statement in re.split(r"\n|;|&&|\|\|", text):
        statement = arithmetic(statement.split("#")[0].strip())
        if not statement:
            continue
        told = re.fullmatch(r"echo\s+(\d+)\s*>\s*/sys/module/tcp_cubic/parameters/(\w+)", statement)
        if told is not None and CUBIC.get(told.group(2)) == told.group(1):
            continue
        try:
            words = shlex.split(re.sub(r"\d?>+\s*(?:/dev/null|&\d)", "", statement))
        except ValueError:
            raise UnsupportedCommand(f"command {statement!r}: a quotation mark is missing") from None
        if words and not _one(words, machine.set_sysctl, machine.route) and not _nested(words, machine, depth):
            _shell(statement, machine)


def _nested(words: list[str], machine: Machine, depth: int) -> bool:
    """A shell script beside the test: its lines in place of its name."""
    if words[0] in ("sh", "bash", ".", "source"):
        words = words[1:]
    if machine.folder is None or len(words) != 1 or not words[0].endswith(".sh"):
        return False
    if depth >= NESTED:
        raise UnsupportedCommand(f"shell scripts that call each other: {words[0]}")
    for folder in (machine.folder, ""):
        path = Path(folder, words[0])
        if path.is_file():
            try:
                _run(path.read_text(), machine, depth + 1)
            except (UnsupportedCommand, CommandFailed, KeyError, ValueError) as error:
                raise type(error)(f"{words[0]}: {error}") from None
            return True
    return False


def _shell(statement: str, machine: Machine) -> None:
    lexer = shlex.shlex(statement, posix=True, punctuation_chars="|&;<>()`$")
    lexer.whitespace_split = True
    words = list(lexer)
    first = [words[0], *(word for before, word in pairwise(words) if before == "|")]
    plain = not any(set(word) <= set("&;<>()`$") for word in words)
    if machine.inside is None or not plain or not ASKING.issuperset(first):
        raise UnsupportedCommand(f"command {statement!r}")
    status, said = machine.inside(statement)
    if status:
        raise CommandFailed(f"command {statement!r}: exit status {status}" + (f": {said}" if said else ""))


def _one(words: list[str], set_sysctl: Callable[[str, str], None], route: Route) -> bool:
    name = words[0].rsplit("/", 1)[-1]
    if name in ("sh", "bash", ".", "source") and len(words) == 2:
        name = words[1].rsplit("/", 1)[-1]
    if name == "defaults.sh":
        for setting, value in DEFAULTS.items():
            set_sysctl(setting, value)
        return True
    if re.fullmatch(r"sysctl_restore_.*\.sh", name):
        return True
    if name == "sysctl":
        _sysctl(words[1:], set_sysctl)
        return True
    if name == "set_sysctls.py":
        for word in words[1:]:
            path, _, value = word.partition("=")
            set_sysctl(path.removeprefix("/proc/sys/").replace("/", "."), value)
        return True
    if name == "tc" and words[-2:] == ["root", "fq"] and words[1] == "qdisc" and words[2] in ("add", "replace"):
        set_sysctl("net.core.default_qdisc", "fq")  # TCP does itself what that discipline is for: pacing
        return True
    if name == "tc" and words[1:2] == ["qdisc"] and _queue(words[2:], route):
        return True
    if name == "ethtool" and words[1:2] == ["-K"] and len(words) > 4 and len(words) % 2:
        features = dict(zip(words[3::2], words[4::2], strict=True))
        if not features.keys() <= {"gso", "tso"} or not set(features.values()) <= {"off", "on"}:
            return False
        route.gso = features.get("gso", "on" if route.gso else "off") == "on"
        return True
    if words[:3] == ["ip", "tcp_metrics", "flush"]:
        return True
    if name == "rm" and words[1:2] == ["-f"] and len(words) == 3:
        route.files.pop(words[2], None)
        return True
    if name == "dd":
        given = dict(word.partition("=")[::2] for word in words[1:])
        if given.get("if") != "/dev/zero" or not given.get("of") or not given.keys() <= {
            "bs", "count", "if", "of", "status"
        }:  # fmt: skip
            return False
        route.files[given["of"]] = int(given.get("bs", "512")) * int(given.get("count", "1"))
        return True
    if name == "ip":
        rest = [w for w in words[1:] if w not in ("-4", "-6")]
        if len(rest) > 2 and rest[0] in ("route", "ro", "r") and rest[1] in ("add", "change", "replace", "append"):
            _route(rest[2:], route)
            return True
    return False


def _queue(words: list[str], route: Route) -> bool:
    """`tc qdisc add|change|replace dev DEV root pfifo [limit N]`, `tc qdisc del dev DEV root`. The device takes what is
    queued at once, so only a limit of 0 is felt: it takes nothing, and who sends is told so."""
    if len(words) < 4 or words[1] != "dev" or words[3] != "root":
        return False
    rest = words[4:]
    if words[0] in ("del", "delete") and not rest:
        route.queue = 1000
        return True
    if words[0] not in ("add", "change", "replace") or rest[:1] != ["pfifo"]:
        return False
    if rest[1:] and (len(rest) != 3 or rest[1] != "limit" or not rest[2].isdigit()):
        return False
    route.queue = int(rest[2]) if rest[1:] else 1000
    return True


def _sysctl(words: list[str], set_sysctl: Callable[[str, str], None]) -> None:
    pairs = [w for w in words if w not in ("-q", "-w", "-e", "-n", "-qw", "-wq")]
    at = 0
    while at < len(pairs):
        name, equals, value = pairs[at].partition("=")
        if not equals:
            raise UnsupportedCommand(f"sysctl {pairs[at]!r}: expected NAME=VALUE")
        set_sysctl(name.replace("/", "."), value)
        at += 1


def _route(words: list[str], route: Route) -> None:
    at = 1  # words[0] is the destination: every route of a script leads to the remote side
    while at < len(words):
        word = words[at]
        if word in _WITH_VALUE:
            at += 2
            continue
        if word == "onlink":
            at += 1
            continue
        if at + 1 >= len(words):
            raise UnsupportedCommand(f"ip route: {word!r} without a value")
        value = words[at + 1]
        locked = value == "lock"
        if locked:
            value = words[at + 2]
        if word in _SEEDS:
            duration(value)
        elif word in _NUMBERS:
            route.attributes[word] = int(value)
        elif word == "rto_min":
            route.attributes[word] = duration(value)
            if duration(value) % 1_000_000:
                raise UnsupportedCommand(f"ip route rto_min {value}: the stack's is in whole milliseconds")
        elif word == "features" and value != "ecn":
            raise UnsupportedCommand(f"ip route features {value!r}")
        elif word in ("cc", "congctl", "features"):
            route.attributes["congctl" if word == "cc" else word] = value
        else:
            raise UnsupportedCommand(f"ip route attribute {word!r}")
        if locked:
            route.attributes[word + "_lock"] = True
        at += 3 if locked else 2
