"""From text to `Script`: a recursive descent over packetdrill's grammar.

The language is position-dependent (`.` is a flag, a decimal point and an ellipsis), so there is no separate token
stream: each rule asks the scanner for the pattern it wants next. White space and comments (`//`, `/* */`) may stand
anywhere.
"""

from __future__ import annotations

import errno as errnos
import re
from decimal import Decimal

from tools.packetdrill import signatures
from tools.packetdrill.options import takes_value
from tools.packetdrill.script import (
    ACK,
    AE,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Array,
    Assign,
    Code,
    Command,
    Dots,
    Event,
    Expression,
    Function,
    IcmpPacket,
    IpInfo,
    Number,
    Option,
    Or,
    Packet,
    Script,
    ScriptError,
    Struct,
    SystemCall,
    TcpPacket,
    Text,
    TimeKind,
    UdpPacket,
    When,
    Word,
)  # fmt: skip

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/|#[^\n]*)*", re.S)
_TIME = re.compile(r"\d*\.\d+|\d+")
_INTEGER = re.compile(r"-?\d+")
_HEX = re.compile(r"0x([0-9a-fA-F]+)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLAGS = re.compile(r"(?:([FSRPUEWA]+)(\.?)|(\.)|(-))([0-7])?(?=\s)")
_SEQ = re.compile(r"(\d+)\s*:\s*(\d+)\s*\(\s*(\d+)\s*\)")
_QUOTED_FIRST = re.compile(r"\[(?=\s*(?:\d+\s*:|udp|raw))")
_PORTS = re.compile(r"(\d+)\s*>\s*(\d+)(?=\s)")
_BACKQUOTED = re.compile(r"`((?:\\.|[^`\\])*)`", re.S)
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_CODE = re.compile(r"%\{(.*?)\}%", re.S)
_OPTION_LINE = re.compile(r"--([A-Za-z0-9_]+)(?:\s*=\s*(\w+=\"[^\"]*\"|\w+=`[^`]*`|\"[^\"]*\"|[^\s]+))?")
_FOREIGN_OPTION = re.compile(
    r"(?:ECN|exp-\w+|AccECN|ao|tcp-ao|mp_?\w+|dss\w*|add_addr\w*|remove_addr|rm_addr)\b", re.IGNORECASE
)
"""Of AccECN, TCP-AO and Multipath TCP."""
_HEADER = re.compile(r"[Ff]lags\s*(?:\[|\d)|\(\s*label\b")
_HEXBLOB = re.compile(r"[0-9a-fA-F]+")

_FLAG_BITS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "U": URG, "E": ECE, "W": CWR, "A": AE}
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0", "\\": "\\", '"': '"', "`": "`",
}  # fmt: skip
_UNENDED = {'"': 'the string does not end: a " is missing', "`": "the command does not end: a ` is missing",
            "%{": "the code does not end: }% is missing", "/*": "the comment does not end: */ is missing"}  # fmt: skip
_SIZES = {"mss": 4, "wscale": 3, "sackOK": 2, "TS": 10, "nop": 1, "eol": 1, "FOEXP": 4}
"""Bytes of a TCP option; of what has data, those before it."""


def script_text(image: bytes) -> str:
    """A script as text. To packetdrill it is bytes: one that is not UTF-8 (of a comment, or of a string) stands as its
    escape. Raises ValueError for what is no script.
    """
    if b"\0" in image:
        raise ValueError("it is no text")
    return image.decode("utf-8-sig", "backslashreplace")


def parse(text: str, path: str = "<script>", defines: dict[str, str] | None = None) -> Script:
    """Parse a whole script; `defines` are symbols (`-D NAME=VALUE`).

    Raises `ScriptError(kind="syntax")` with the line and what was expected there.
    """
    return _Parser(text, path, defines or {}).script()


class _Parser:
    def __init__(self, text: str, path: str, defines: dict[str, str]) -> None:
        self.text = text
        self.path = path
        self.at = 0
        self.read = 0  # where what was read last ends
        self.given = defines
        self.defines = dict(defines)

    # -- the scanner

    def skip(self) -> None:
        match = _BLANK.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def accept(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.skip()
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = self.read = match.end()
        return match

    def take(self, literal: str) -> bool:
        self.skip()
        if not self.text.startswith(literal, self.at):
            return False
        end = self.at + len(literal)
        if literal[-1].isalnum() and end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
            return False
        self.at = self.read = end
        return True

    def expect(self, literal: str) -> None:
        if not self.take(literal):
            raise self.error(f"expected {literal!r}")

    def close(self, literal: str) -> None:
        """The end of a list, where a comma may have been left out."""
        if not self.take(literal):
            raise self.error(f"expected ',' or {literal!r}")

    def need(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = self.accept(pattern)
        if match is None:
            raise self.error(f"expected {what}")
        return match

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def error(self, message: str) -> ScriptError:
        self.skip()
        if self.at >= len(self.text):
            self.at = len(self.text.rstrip())  # the end of the script is no place: say after what it came
        for opening, unended in _UNENDED.items():
            if self.text.startswith(opening, self.at):
                return ScriptError(self.path, self.line, unended, "syntax")
        rest = self.text[self.at : self.at + 40].split("\n")[0].rstrip("\r")
        return ScriptError(self.path, self.line, f"{message} at {rest!r}", "syntax")

    def wrong(self, message: str) -> ScriptError:
        """What was just read is no good."""
        return ScriptError(self.path, self.text.count("\n", 0, self.read) + 1, message, "syntax")

    def foreign(self, what: str) -> ScriptError:
        """What packetdrill, or a relative of it, knows, and this runner does not."""
        return ScriptError(self.path, self.line, f"{what} is not supported", "unsupported")

    def at_end(self) -> bool:
        self.skip()
        return self.at >= len(self.text)

    # -- the script

    def script(self) -> Script:
        script = Script(self.path)
        while (match := self.accept(_OPTION_LINE)) is not None:
            name, value = match.group(1), match.group(2)
            wants = takes_value(name)
            if wants is not None and wants is (value is None):
                line = self.text.count("\n", 0, match.start()) + 1
                message = f"option --{name} {f'needs a value: --{name}=VALUE' if wants else 'takes no value'}"
                raise ScriptError(self.path, line, message, "syntax")
            if name == "define" or name == "D":
                symbol, equals, meaning = value.strip('"').partition("=") if value[:1] == '"' else value.partition("=")
                if not symbol or not equals:
                    raise self.error(f"--{name}={value}: expected NAME=VALUE")
                if symbol not in self.given:
                    self.defines[symbol] = meaning
            else:
                script.options[name] = (value or "").strip('"')
                script.option_lines[name] = self.text.count("\n", 0, match.start()) + 1
        while True:
            self.skip()
            line = self.line
            command = self.command()
            if command is None:
                break
            script.setup.append((line, command))
        while not self.at_end():
            line = self.line
            command = self.command()
            if command is not None:
                script.cleanup.append((line, command))
                if not self.at_end():
                    raise self.error("expected the end of the script after the clean-up command")
                break
            script.events.append(self.event())
            if len(script.events) > 1:
                self.forward(*script.events[-2:])
        if not script.events:
            raise ScriptError(self.path, self.line, "the script has no events", "syntax")
        return script

    def command(self) -> str | None:
        """A command in back quotes, or a symbol that was defined as one."""
        match = self.accept(_BACKQUOTED)
        if match is not None:
            return match.group(1)
        self.skip()
        match = _WORD.match(self.text, self.at)
        meaning = self.defines.get(match.group(), "") if match else ""
        if match is None or meaning[:1] != "`":
            return None
        self.at = match.end()
        return meaning.strip("`")

    def forward(self, before: Event, event: Event) -> None:
        """Times that count from the begin of the script do not go back."""
        absolute = (TimeKind.ABSOLUTE, TimeKind.ABSOLUTE_RANGE)
        if before.when.kind in absolute and event.when.kind in absolute and event.when.start < before.when.start:
            times = f"from {before.when.start / 1e9:g} to {event.when.start / 1e9:g} s"
            message = f"time goes back, {times}: without a + it counts from the begin of the script"
            raise ScriptError(self.path, event.line, message, "syntax")

    def event(self) -> Event:
        self.skip()
        start, line = self.at, self.line
        when = self.when()
        blocking_end = self.time() if self.take("...") else None
        if blocking_end is not None and blocking_end < when.start:
            raise self.wrong("the call is to return before it is made: both times count from the same moment")
        action = self.action(blocking_end)
        outbound = isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound
        if when.kind not in (TimeKind.ABSOLUTE, TimeKind.RELATIVE) and not outbound:
            message = f"a time of kind {when.kind.value!r} is only for outbound packets"
            raise ScriptError(self.path, line, message, "syntax")
        source = re.sub(r"//[^\n]*", "", self.text[start : self.at])
        return Event(when, action, line, " ".join(source.split()))

    def time(self) -> int:
        return int(Decimal(self.need(_TIME, "a time in seconds (0, 0.5, +.1 or *)").group()) * 1_000_000_000)

    def when(self) -> When:
        if self.text.startswith("--", self.at):
            raise self.error("options stand before the commands and events of a script:")
        if self.take("*"):
            return When(TimeKind.ANY)
        if self.take("+"):
            start = self.time()
            if self.take("~"):
                self.expect("+")
                return self.range(TimeKind.RELATIVE_RANGE, start)
            return When(TimeKind.RELATIVE, start, start)
        start = self.time()
        if self.take("~"):
            return self.range(TimeKind.ABSOLUTE_RANGE, start)
        return When(TimeKind.ABSOLUTE, start, start)

    def range(self, kind: TimeKind, start: int) -> When:
        end = self.time()
        if end < start:
            raise self.error("the time range ends before it starts")
        return When(kind, start, end)

    def action(self, blocking_end: int | None) -> Packet | SystemCall | Command | Code:
        self.skip()
        if self.take("<"):
            return self.packet(True)
        if self.take(">"):
            return self.packet(False)
        if (command := self.command()) is not None:
            return Command(command)
        if (match := self.accept(_CODE)) is not None:
            return Code(match.group(1).strip(" \t"))
        return self.system_call(blocking_end)

    # -- packets

    def packet(self, inbound: bool) -> Packet:
        before = self.quoted() if self.accept(_QUOTED_FIRST) else None
        ip = self.ip_info()
        if inbound and ip.ecn == "ect01":
            raise self.wrong("ect01 stands for either of two marks: only an outbound packet can have it")
        if self.take("icmp"):
            return self.icmp(inbound, ip, before)
        if before is not None:
            raise self.error("expected icmp after the packet that it quotes")
        if self.take("udp"):
            ports = self.ports()
            self.expect("(")
            length = self.integer("a UDP payload length", 65507)
            self.expect(")")
            return UdpPacket(inbound, length, ip, ports)
        for layer in ("ipv4", "ipv6", "gre", "GREv0", "mpls"):
            if self.take(layer):
                raise self.foreign(f"{layer} encapsulation")
        for protocol in ("sctp", "dccp", "udplite", "psp", "esp"):
            if self.take(protocol):
                raise self.foreign(f"the protocol {protocol}")
        return self.tcp(inbound, ip)

    def tcp(self, inbound: bool, ip: IpInfo) -> TcpPacket:
        ports = self.ports()
        match = self.need(_FLAGS, "TCP flags")
        flags = sum(_FLAG_BITS[c] for c in match.group(1) or "")
        if match.group(2) or match.group(3):
            flags |= ACK
        ace = int(match.group(5)) if match.group(5) else None
        seq, end, length = (int(x) for x in self.need(_SEQ, "a sequence number (start:end(length))").groups())
        if end != seq + length:
            raise self.wrong(f"{seq}:{end}({length}): the end is not the start plus the length, {seq + length}")
        for number, most in ((seq, 0xFFFFFFFF), (length, 0xFFFF)):
            self.limited("the sequence number" if most > 0xFFFF else "the length", number, most)
        ack = self.integer("an acknowledgment number", 0xFFFFFFFF) if self.take("ack") else 0
        window = self.integer("a window", 0xFFFF) if self.take("win") else None
        urgent = self.integer("an urgent pointer", 0xFFFF) if self.take("urg") else 0
        if inbound and window is None:
            raise self.wrong("an inbound packet needs a window: win N, after its numbers")
        options: tuple[Option, ...] | None = ()
        if self.take("<"):
            options = self.tcp_options()
            if options is None and inbound:
                raise self.wrong("<...> is only for outbound packets: say which options this one has")
            if inbound and Option("wscale") in (options or ()):
                raise self.wrong("wscale * is only for outbound packets: say which scale this one has")
        if self.take("{"):
            raise self.foreign("a packet that is to be mutilated ({...})")
        return TcpPacket(inbound, flags, seq, length, ack, window, urgent, options, ip, ports, ace)

    def tcp_options(self) -> tuple[Option, ...] | None:
        if self.take("..."):
            self.expect(">")
            return None
        options = [self.tcp_option()]
        while self.take(","):
            options.append(self.tcp_option())
        self.close(">")
        size = sum(_SIZES.get(o.kind, 2) + 4 * len(o.values) * (o.kind == "sack") + len(o.data) for o in options)
        if size % 4 or size > 40:
            why = "at most 40 are possible" if size > 40 else "that is no multiple of 4: add nop options"
            raise self.wrong(f"the TCP options take {size} bytes; {why}")
        return tuple(options)

    def tcp_option(self) -> Option:
        if self.take("sackOK"):
            return Option("sackOK")
        if self.take("sack"):
            edges: list[int] = []
            while (match := self.accept(re.compile(r"(\d+)\s*:\s*(\d+)"))) is not None:
                edges += [self.limited("a SACK edge", int(edge), 0xFFFFFFFF) for edge in match.groups()]
            if not edges:
                raise self.error("expected SACK blocks (left:right)")
            return Option("sack", tuple(edges))
        if self.take("TS"):
            self.expect("val")
            value = self.integer("a timestamp value", 0xFFFFFFFF)
            self.expect("ecr")
            return Option("TS", (value, self.integer("a timestamp echo reply", 0xFFFFFFFF)))
        for name, most in (("mss", 0xFFFF), ("wscale", 0xFF)):
            if self.take(name):
                if name == "wscale" and self.take("*"):
                    return Option(name)
                return Option(name, (self.integer(f"a value for {name}", most),))
        for name in ("nop", "eol"):
            if self.take(name):
                return Option(name)
        for name in ("FOEXP", "FO", "md5"):
            if self.take(name):
                match = self.accept(_HEXBLOB)
                digits = match.group() if match else ""
                if len(digits) % 2:
                    raise self.error(f"{name}: an odd number of hexadecimal digits")
                return Option(name, (), bytes.fromhex(digits))
        if (match := self.accept(_FOREIGN_OPTION)) is not None:
            raise self.foreign(f"the TCP option {match.group()}")
        raise self.error("expected a TCP option")

    def ip_info(self) -> IpInfo:
        for opening, closing in (("[", "]"), ("(", ")")):
            self.skip()
            mark = self.at
            if not self.take(opening):
                continue
            values: dict[str, str | int] = {}
            while True:
                for ecn in ("noecn", "ect01", "ect0", "ect1", "ce"):
                    if self.take(ecn):
                        values["ecn"] = ecn
                        break
                else:
                    for name, most in (("tos", 255), ("ttl", 255), ("flowlabel", 0xFFFFF)):
                        if self.take(name):
                            values[name] = self.integer(name, most)
                            break
                    else:
                        self.at = mark
                        raise self.error("expected noecn, ect0, ect1, ect01, ce, tos, ttl or flowlabel")
                if not self.take(","):
                    break
            self.expect(closing)
            return IpInfo(**values)  # type: ignore[arg-type]
        return IpInfo()

    def ports(self) -> tuple[int, int] | None:
        match = self.accept(_PORTS)
        if match is None:
            return None
        first, second = (self.limited("a port", int(port), 0xFFFF) for port in match.groups())
        return first, second

    def quoted(self) -> tuple[str, int, int]:
        """The packet that an ICMP message quotes, after its `[`."""
        protocol, seq = "tcp", 0
        if self.take("udp") or self.take("raw"):
            protocol = self.text[self.at - 3 : self.at]
            self.expect("(")
            length = self.integer("a payload length")
            self.expect(")")
        else:
            seq, _, length = (int(x) for x in self.need(_SEQ, "the quoted sequence numbers").groups())
        self.expect("]")
        return protocol, seq, length

    def icmp(self, inbound: bool, ip: IpInfo, before: tuple[str, int, int] | None) -> IcmpPacket:
        kind = self.need(_WORD, "an ICMP type").group()
        code = mtu = ident = None
        quoted = before
        self.skip()
        if _WORD.match(self.text, self.at) and not re.match(r"(?:mtu|id)\b", self.text[self.at : self.at + 4]):
            code = self.need(_WORD, "an ICMP code").group()
        if self.take("mtu"):
            mtu = self.integer("an MTU", 0xFFFFFFFF)
        if self.take("id"):
            ident = self.integer("an echo identifier", 0xFFFF)
        if before is None and self.take("["):
            quoted = self.quoted()
        return IcmpPacket(inbound, kind, code, mtu, ident, quoted, ip)

    # -- system calls and their arguments

    def system_call(self, end: int | None) -> SystemCall:
        name = self.need(_WORD, "a packet (<, >), a system call, a command (`) or code (%{)").group()
        name = self.defines.get(name, name)
        self.expect("(")
        args = self.expressions(")")
        if (trouble := signatures.trouble(name, args)) is not None:
            raise self.wrong(trouble)
        if not self.take("="):
            raise self.error(f"expected '=' and the result of {name}()")
        result = self.expression()
        errno = note = None
        mark = self.at
        match = self.accept(_WORD)
        if match is not None:
            if match.group().startswith("E") and match.group().isupper():
                errno = match.group()
                if not hasattr(errnos, errno):
                    raise self.wrong(f"no error is called {errno}{signatures.near(errno, errnos.errorcode.values())}")
            else:
                self.at = mark
        mark = self.at
        if self.take("("):
            closing = self.text.find(")", self.at)
            if closing < 0:
                raise self.error("expected ')' after the note")
            note = self.text[self.at : closing].strip()
            self.at = closing + 1
        else:
            self.at = mark
        return SystemCall(name, args, result, errno, note, end)

    def expressions(self, closing: str) -> tuple[Expression, ...]:
        if self.take(closing):
            return ()
        items = [self.expression()]
        while self.take(","):
            items.append(self.expression())
        self.close(closing)
        return tuple(items)

    def expression(self) -> Expression:
        left = self.primary()
        while self.take("|"):
            left = Or(left, self.primary())
        return left

    def primary(self) -> Expression:
        if self.take("..."):
            return Dots()
        if (match := self.accept(_HEX)) is not None:
            return Number(int(match.group(1), 16))
        if (match := self.accept(_INTEGER)) is not None:
            return Number(int(match.group()))
        if (match := self.accept(_STRING)) is not None:
            value = self.unescape(match.group(1))
            if self.take("..."):
                return Text(value, True)
            while (match := self.accept(_STRING)) is not None:
                value += self.unescape(match.group(1))
            return Text(value)
        if self.take("["):
            return Array(self.expressions("]"))
        if self.take("{"):
            return self.struct()
        word = self.need(_WORD, "an expression").group()
        if self.take("("):
            return Function(word, self.expressions(")"))
        self.skip()
        if self.text[self.at : self.at + 1] == "=" and self.text[self.at : self.at + 2] != "==":
            self.at += 1
            return Assign(word, self.expression())
        return self.defined(word)

    def defined(self, word: str) -> Expression:
        meaning = self.defines.get(word)
        if meaning is None:
            return Word(word)
        if meaning[:1] in "\"'`":
            return Text(meaning.strip("\"'`").encode("latin-1"))
        return Number(int(meaning, 0)) if re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", meaning) else Word(meaning)

    def struct(self) -> Struct:
        if self.accept(_HEADER) is not None:
            raise self.foreign("a GRE or MPLS header as an argument")
        fields: list[tuple[str, Expression]] = []
        counts: list[tuple[str, Expression]] = []
        items: list[Expression] = []
        while not self.take("}"):
            self.skip()
            mark = self.at
            name = self.accept(_WORD)
            named = False
            if name is not None:
                count = None
                if self.take("("):
                    count = self.expression()
                    self.expect(")")
                if self.take("="):
                    named = True
                    fields.append((name.group(), self.expression()))
                    if count is not None:
                        counts.append((name.group(), count))
            if not named:
                self.at = mark
                items.append(self.expression())
            if not self.take(","):
                self.close("}")
                break
        return Struct(tuple(fields), tuple(counts), tuple(items))

    def integer(self, what: str, most: int | None = None) -> int:
        match = self.accept(_HEX)
        value = int(match.group(1), 16) if match is not None else int(self.need(_INTEGER, what).group())
        return value if most is None else self.limited(what, value, most)

    def limited(self, what: str, value: int, most: int) -> int:
        if not 0 <= value <= most:
            raise self.wrong(f"{what} is 0 to {most}, not {value}")
        return value

    def unescape(self, text: str) -> bytes:
        """A string's bytes. Raises ScriptError for what no escape is."""

        def meant(match: re.Match[str]) -> str:
            body = match.group(1)
            if len(body) == 3:
                return chr(int(body[1:], 16))
            if body not in _ESCAPES:
                known = " ".join(f"\\{name}" for name in _ESCAPES if name.isalnum())
                raise self.wrong(f'\\{body} in a string: there are {known} \\xHH \\" and \\\\')
            return _ESCAPES[body]

        try:
            return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", meant, text, flags=re.S).encode("latin-1")
        except UnicodeEncodeError:
            raise self.wrong("a string holds bytes: write other characters as \\xHH") from None
