"""What a packetdrill script says, as plain data: options, set-up commands and timed events.

Times are integer nanoseconds. Sequence numbers are as written: relative to the ISN of the side that sends.
Names and meanings follow packetdrill's own grammar and the notes that come with its public suites.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = 1, 2, 4, 8, 16, 32, 64, 128, 256


class TimeKind(Enum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    ANY = "any"
    ABSOLUTE_RANGE = "absolute range"
    RELATIVE_RANGE = "relative range"


@dataclass(frozen=True)
class When:
    """When an event happens: `start` (and `end` of a range), in ns, by `kind`."""

    kind: TimeKind
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Option:
    """One TCP option as written: `kind` is mss, wscale, sackOK, sack, TS, nop, eol, md5, FO or FOEXP."""

    kind: str
    values: tuple[int, ...] = ()
    data: bytes = b""


@dataclass(frozen=True)
class IpInfo:
    """Bracketed IP fields: `ecn` is noecn, ect0, ect1, ect01 or ce; None where not given."""

    ecn: str | None = None
    tos: int | None = None
    ttl: int | None = None
    flowlabel: int | None = None


@dataclass(frozen=True)
class TcpPacket:
    inbound: bool
    flags: int
    seq: int
    length: int
    ack: int
    window: int | None = None
    urgent: int = 0
    options: tuple[Option, ...] | None = ()  # None: `<...>`, not checked
    ip: IpInfo = IpInfo()
    ports: tuple[int, int] | None = None
    ace: int | None = None  # AccECN's three-bit counter, when written after the flags


@dataclass(frozen=True)
class UdpPacket:
    inbound: bool
    length: int
    ip: IpInfo = IpInfo()
    ports: tuple[int, int] | None = None


@dataclass(frozen=True)
class IcmpPacket:
    """`quoted` is (protocol, seq, payload length) of the packet that the message quotes, or None."""

    inbound: bool
    type: str
    code: str | None = None
    mtu: int | None = None
    ident: int | None = None
    quoted: tuple[str, int, int] | None = None
    ip: IpInfo = IpInfo()


Packet = TcpPacket | UdpPacket | IcmpPacket


@dataclass(frozen=True)
class Dots:
    """`...`: the runner fills it in, or nothing is checked."""

    def __str__(self) -> str:
        return "..."


@dataclass(frozen=True)
class Number:
    value: int

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Word:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Text:
    value: bytes
    open_ended: bool = False

    def __str__(self) -> str:
        text = self.value.decode("latin-1").encode("unicode_escape").decode()
        return f'"{text}"' + ("..." if self.open_ended else "")


@dataclass(frozen=True)
class Or:
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} | {self.right}"


@dataclass(frozen=True)
class Assign:
    name: str
    value: Expression

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


@dataclass(frozen=True)
class Array:
    items: tuple[Expression, ...]

    def __str__(self) -> str:
        return "[" + ", ".join(map(str, self.items)) + "]"


@dataclass(frozen=True)
class Function:
    """`htons(80)`, `inet_addr("1.2.3.4")`."""

    name: str
    args: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


@dataclass(frozen=True)
class Struct:
    """`{name=value, ...}`; `name(count)=value` keeps its count in `counts`; items without a name are in `items`."""

    fields: tuple[tuple[str, Expression], ...]
    counts: tuple[tuple[str, Expression], ...]
    items: tuple[Expression, ...]

    def get(self, name: str) -> Expression | None:
        return dict(self.fields).get(name)

    def __str__(self) -> str:
        counts = {name: f"({count})" for name, count in self.counts}
        named = [f"{name}{counts.get(name, '')}={value}" for name, value in self.fields]
        return "{" + ", ".join([*named, *map(str, self.items)]) + "}"


Expression = Dots | Number | Word | Text | Or | Assign | Array | Function | Struct


@dataclass(frozen=True)
class SystemCall:
    """`name(args) = result ERRNO (note)`; `end` is the time of return of a blocking call."""

    name: str
    args: tuple[Expression, ...]
    result: Expression
    errno: str | None = None
    note: str | None = None
    end: int | None = None


@dataclass(frozen=True)
class Command:
    line: str


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Event:
    when: When
    action: Packet | SystemCall | Command | Code
    line: int
    source: str


@dataclass
class Script:
    path: str
    options: dict[str, str] = field(default_factory=dict)
    option_lines: dict[str, int] = field(default_factory=dict)
    setup: list[tuple[int, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cleanup: list[tuple[int, str]] = field(default_factory=list)


class ScriptError(Exception):
    """The script can't be read, asks for something unsupported, or what happened is not what it says.

    `path` and `line` say where; `kind` is "syntax", "unsupported" or "mismatch"; `expected` and `actual` are text.
    `late`: the packet came when the script had given it up, so that no event has claimed it.
    """

    late = False

    def __init__(
        self, path: str, line: int, message: str, kind: str = "mismatch", expected: str = "", actual: str = ""
    ) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message
        self.kind = kind
        self.expected = expected
        self.actual = actual

    def as_dict(self) -> dict[str, object]:
        """For JSON; the script's path is said beside it."""
        return {
            "line": self.line, "kind": self.kind, "message": self.message, "expected": self.expected,
            "actual": self.actual,
        }  # fmt: skip

    def __reduce__(self) -> tuple[type[ScriptError], tuple[str, int, str, str, str, str]]:
        return type(self), (self.path, self.line, self.message, self.kind, self.expected, self.actual)
