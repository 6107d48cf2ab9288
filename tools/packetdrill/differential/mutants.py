"""Makes scenarios out of scripts: what a script does to the stack, without what it expects, and a few changes to that.

A script with one rule in it is a good place to stand: the state that the rule is about has been reached, and what lies
next to it (a segment twice, a little later, of another length, a call between) has rules too, that no script names.
Only what goes in is changed; what has to come out is for the two stacks to say.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from drivers.clock import Stream, VirtualTimeline
from tools.packetdrill.compare import packet_text
from tools.packetdrill.differential.guard import MS, Guard
from tools.packetdrill.differential.record import Recorder, Scenario
from tools.packetdrill.host import Host
from tools.packetdrill.parser import parse, script_text
from tools.packetdrill.script import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Code,
    Event,
    IcmpPacket,
    Option,
    Script,
    ScriptError,
    SystemCall,
    TcpPacket,
    TimeKind,
    UdpPacket,
)  # fmt: skip

LONGEST_NS = 3_000 * MS
"""The kernel runs in real time: what comes later in a script is cut off."""
ROOM = '`sysctl -q net.ipv4.tcp_wmem="4096 262144 4194304"`'
"""How much memory a segment takes is each kernel's own: room enough, where the script says nothing of it."""
TIME = re.compile(r"^(?:\*|\+?[\d.]+(?:~\+?[\d.]+)?)(?:\.\.\.[\d.]+)?\s*")

Steps = list[tuple[int, str]]
"""(time, line), in order: a change is easier to make with times that count from the beginning."""


# -- what a script does


def stimulus(text: str, path: str = "<script>") -> Scenario:
    """The script's calls, inbound packets, settings and times. Raises ScriptError for what is no script."""
    script = parse(text, path)
    setup = [f"--{name}={value}" if value else f"--{name}" for name, value in script.options.items()]
    setup += [f"`{command}`" for _, command in script.setup]
    if not any("tcp_wmem" in line or "defaults.sh" in line for line in setup):
        setup.append(ROOM)
    steps: Steps = []
    clock = 0
    for event in script.events:
        start = event.when.start
        clock = start if event.when.kind in (TimeKind.ABSOLUTE, TimeKind.ABSOLUTE_RANGE) else clock + start
        if isinstance(event.action, (TcpPacket, UdpPacket, IcmpPacket)) and not event.action.inbound:
            continue
        line = "%{ }%" if isinstance(event.action, Code) else TIME.sub("", event.source)
        steps.append((clock, line))
        made = descriptor(event)
        if made is not None:
            steps.append((clock, f"fcntl({made}, F_SETFL, O_RDWR|O_NONBLOCK) = 0"))
    return scenario(setup, counted(setup, steps, first_stamp(script)))


def descriptor(event: Event) -> int | None:
    """The socket that a call makes, as the script numbers it: nobody is to wait for ever."""
    match = re.search(r"\b(?:socket|accept4?)\(.*= (\d+)$", event.source)
    return int(match.group(1)) if match and isinstance(event.action, SystemCall) else None


def first_stamp(script: Script) -> int:
    """The TS val that the script binds its clock to."""
    for event in script.events:
        if isinstance(event.action, TcpPacket) and not event.action.inbound:
            for option in event.action.options or ():
                if option.kind == "TS":
                    return option.values[0]
    return 0


def counted(setup: list[str], steps: Steps, first: int) -> Steps:
    """The steps with each `ecr` as the number of the outbound TS val that it echoes, or of the last one before it."""
    recorder = Recorder(setup, Host)
    out: Steps = []
    try:
        for at, line in steps:
            recorder.host.advance(at)
            recorder.drain()
            match = re.search(r" ecr (\d+)", line)
            if line.startswith("<") and match and recorder.stamps:
                echoed = int(match.group(1)) - first
                ages = [stamp - recorder.stamps[0] & 0xFFFFFFFF for stamp in recorder.stamps]
                number = max((n for n, age in enumerate(ages, 1) if age <= echoed), default=1)
                line = line.replace(match.group(), f" ecr {number}")
            out.append((at, line))
            recorder.step(max(0, at - recorder.due), line)
    finally:
        recorder.host.close()
    return out


def scenario(setup: list[str], steps: Steps) -> Scenario:
    """With times as gaps, in whole microseconds, as the text has them."""
    out = Scenario(list(setup))
    before = 0
    for at, line in sorted(steps, key=lambda step: step[0]):
        gap = (at - before) // 1000 * 1000
        out.steps.append((gap, line))
        before += gap
    return out


def timed(given: Scenario) -> Steps:
    at = 0
    steps = []
    for gap, line in given.steps:
        at += gap
        steps.append((at, line))
    return steps


# -- changes


def packet(line: str) -> TcpPacket:
    action = parse("0 " + line).events[0].action
    assert isinstance(action, TcpPacket)
    return action


def written(changed: TcpPacket, line: str) -> str:
    """As a line, with the bracketed IP fields of the one that it was."""
    text = packet_text(changed, changed.ports)
    match = re.match(r"< (\[[^\]]*\] )", line)
    return text.replace("< ", "< " + match.group(1), 1) if match else text


def fitting(options: list[Option], rng: Stream) -> tuple[Option, ...]:
    """Whole words of options, forty bytes at the most."""
    sizes = {"mss": 4, "wscale": 3, "sackOK": 2, "TS": 10, "nop": 1, "eol": 1}
    options = [option for option in options if option.kind not in ("nop", "eol")]

    def size(listed: list[Option]) -> int:
        return sum(sizes.get(o.kind, 2 + len(o.data) + 4 * len(o.values) * (o.kind == "sack")) for o in listed)

    while size(options) > 40 - 3:
        options.pop(rng.below(len(options)))
    return (*(Option("nop"),) * (-size(options) % 4), *options)


def inbound(steps: Steps) -> list[int]:
    """Where TCP segments come in."""
    return [n for n, (_, line) in enumerate(steps) if line.startswith("<") and not re.search(r"\b(icmp|udp)\b", line)]


def sockets(steps: Steps, before: int) -> list[int]:
    """The descriptors that there are."""
    lines = [line for _, line in steps[:before]]
    return [int(m.group(1)) for line in lines if (m := re.search(r"\b(?:socket|accept4?)\(.*= (\d+)$", line))]


def off(value: int, rng: Stream) -> int:
    by = rng.choice([1, -1, 2, 10, 100, -100, 500, 1000, -1000, 1460, 5000, -5000, 70_000, -70_000, 1 << 30, 1 << 31])
    return value + by & 0xFFFFFFFF


def other_sack(old: TcpPacket, rng: Stream) -> TcpPacket:
    """Blocks that are odd, or merely others."""
    blocks = []
    for _ in range(rng.between(1, 3)):
        left = old.ack + rng.choice([-2000, -1000, -1, 0, 1, 500, 1000, 1000, 1460, 2000, 3000, 5000, 100_000])
        right = left + rng.choice([-1000, 0, 1, 500, 1000, 1000, 1460, 2000, 3000])
        blocks += [left & 0xFFFFFFFF, right & 0xFFFFFFFF]
    kept = [option for option in old.options or () if option.kind != "sack"]
    return replace(old, options=fitting([*kept, Option("sack", tuple(blocks))], rng))


def other_options(old: TcpPacket, rng: Stream) -> TcpPacket:
    options = list(old.options or ())
    if old.flags & SYN:
        what = rng.below(5)
        kinds = {option.kind for option in options}
        if what == 0:
            return replace(old, options=())
        if what == 1 and kinds:
            gone = rng.choice(sorted(kinds))
            return replace(old, options=fitting([o for o in options if o.kind != gone], rng))
        kind, value = ("mss", rng.choice([1, 64, 88, 536, 1000, 1460, 9000, 65535])) if what < 4 else ("wscale", 0)
        if kind == "wscale":
            value = rng.choice([0, 1, 7, 8, 14, 15, 255])
        return replace(old, options=fitting([*[o for o in options if o.kind != kind], Option(kind, (value,))], rng))
    if rng.chance(0.5):
        return other_sack(old, rng)
    stamps = [option for option in options if option.kind == "TS"]
    rest = [option for option in options if option.kind != "TS"]
    if not stamps or rng.chance(0.3):
        return replace(old, options=fitting(rest, rng))
    val, ecr = stamps[0].values
    if rng.chance(0.5):
        val = val + rng.choice([1, -1, 10, -100, 1000, -5000, 100_000, 1 << 31]) & 0xFFFFFFFF
    else:
        ecr = rng.choice([0, 1, 2, ecr + 1, max(0, ecr - 1)])
    return replace(old, options=fitting([*rest, Option("TS", (val, ecr))], rng))


def other_flags(old: TcpPacket, rng: Stream) -> TcpPacket:
    bit = rng.choice([FIN, FIN, PSH, URG, ECE, CWR, RST, SYN, ACK])
    changed = replace(old, flags=old.flags ^ bit)
    if bit == URG:
        changed = replace(changed, urgent=0 if old.flags & URG else rng.choice([0, 1, 2, max(1, old.length), 5000]))
    if bit == ACK:
        kept = [option for option in old.options or () if option.kind not in ("TS", "sack")]
        return replace(changed, ack=0, options=fitting(kept, rng))
    return changed


def other_segment(old: TcpPacket, rng: Stream) -> TcpPacket:
    """One thing of a segment changed."""
    what = rng.choice(["seq", "ack", "ack", "win", "win", "flags", "flags", "length", "length", "options", "options"])
    if what == "seq":
        return replace(old, seq=off(old.seq, rng))
    if what == "ack" and old.flags & ACK:
        return replace(old, ack=off(old.ack, rng))
    if what == "win":
        was = old.window or 0
        win = rng.choice([0, 1, was // 2, was * 2, was + 1, max(0, was - 1), 100, 65535])
        return replace(old, window=min(65535, win))
    if what == "flags":
        return other_flags(old, rng)
    if what == "length":
        was = old.length
        length = rng.choice([0, 1, was + 1, max(0, was - 1), was * 2, was // 2, 1000, 1460])
        return replace(old, length=min(2000, length))
    return other_options(old, rng)


def another_segment(old: TcpPacket, rng: Stream) -> TcpPacket:
    """A segment that might come beside it."""
    plain = fitting([option for option in old.options or () if option.kind == "TS"], rng)
    base = replace(old, flags=ACK, length=0, urgent=0, seq=(old.seq + old.length) & 0xFFFFFFFF, options=plain)
    near = rng.choice([base.seq, off(base.seq, rng)])
    what = rng.below(10)
    if what == 0:
        bare = replace(base, flags=RST, ack=0, options=(), seq=near)
        return rng.choice([bare, replace(base, flags=RST | ACK, seq=near)])
    if what == 1:
        return replace(base, flags=FIN | ACK, seq=rng.choice([base.seq, base.seq, off(base.seq, rng)]))
    if what == 2:
        return replace(base, flags=rng.choice([SYN, SYN | ACK, SYN | FIN | ACK]), seq=near)
    if what == 3:
        return replace(base, ack=off(base.ack, rng))
    if what == 4:
        return replace(base, seq=off(base.seq, rng), length=rng.choice([0, 1, 1000]))
    if what == 5:
        return replace(base, flags=ACK | rng.choice([ECE, CWR, ECE | CWR]), length=rng.choice([0, 100]))
    if what == 6:
        return replace(base, flags=ACK | URG, length=rng.choice([0, 1, 100]), urgent=rng.choice([0, 1, 50, 100, 1000]))
    if what == 7:
        return replace(base, flags=ACK | PSH, length=rng.choice([1, 100, 1000, 1460]))
    if what == 8:
        return other_sack(base, rng)
    return replace(base, window=rng.choice([0, 1, 10, 500, 65535]))


LINGERS = ("{onoff=1, linger=0}", "{onoff=0, linger=0}")
NUMBERS = (
    ("SOL_TCP, TCP_CORK", (0, 1)), ("SOL_TCP, TCP_NODELAY", (0, 1)), ("SOL_TCP, TCP_QUICKACK", (0, 1, 2)),
    ("SOL_SOCKET, SO_RCVBUF", (1, 5000, 20_000, 200_000)), ("SOL_SOCKET, SO_SNDBUF", (1, 5000, 20_000, 200_000)),
    ("SOL_TCP, TCP_KEEPIDLE", (1, 10)), ("SOL_TCP, TCP_KEEPINTVL", (1,)), ("SOL_SOCKET, SO_KEEPALIVE", (0, 1)),
    ("SOL_TCP, TCP_USER_TIMEOUT", (0, 500, 1500)), ("SOL_TCP, TCP_MAXSEG", (88, 500, 1000)),
    ("SOL_TCP, TCP_LINGER2", (-1, 0, 1)), ("SOL_TCP, TCP_WINDOW_CLAMP", (0, 1000, 20_000)),
    ("SOL_TCP, TCP_NOTSENT_LOWAT", (0, 1000)), ("SOL_TCP, TCP_DEFER_ACCEPT", (0, 1)), ("SOL_TCP, TCP_SYNCNT", (1, 2)),
    ("SOL_SOCKET, SO_RCVLOWAT", (1, 500, 5000)), ("SOL_SOCKET, SO_OOBINLINE", (0, 1)),
    ("SOL_IP, IP_TOS", (0, 16)), ("SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS", (0, 1)), ("SOL_TCP, TCP_RTO_MAX_MS", (1000,)),
    ("SOL_IP, IP_RECVERR", (1,)), ("SOL_IP, IP_MTU_DISCOVER", (0, 2)), ("SOL_SOCKET, SO_MAX_PACING_RATE", (100_000,)),
)  # fmt: skip


def call(fd: int, rng: Stream) -> str:
    """Something that a program may ask of a socket at any time."""
    what = rng.below(12)
    if what < 4:
        name, values = rng.choice(NUMBERS)
        return f"setsockopt({fd}, {name}, [{rng.choice(values)}], 4) = -99"
    if what == 4:
        return rng.choice([
            f"setsockopt({fd}, SOL_SOCKET, SO_LINGER, {rng.choice(LINGERS)}, 8) = -99",
            f'setsockopt({fd}, SOL_TCP, TCP_CONGESTION, "{rng.choice(["reno", "cubic"])}", 4) = -99',
        ])  # fmt: skip
    if what == 5:
        return f"shutdown({fd}, {rng.choice(['SHUT_RD', 'SHUT_WR', 'SHUT_WR', 'SHUT_RDWR'])}) = -99"
    if what == 6:
        flags = rng.choice(["MSG_PEEK", "MSG_OOB", "MSG_TRUNC", "MSG_DONTWAIT"])
        size = rng.choice([1, 100, 10_000])
        return rng.choice([f"read({fd}, ..., {size}) = -99", f"recv({fd}, ..., {size}, {flags}) = -99"])
    if what == 7:
        size = rng.choice([1, 100, 1000, 5000, 20_000])
        flags = rng.choice(["MSG_OOB", "MSG_MORE", "MSG_EOR", "0"])
        return rng.choice([f"write({fd}, ..., {size}) = -99", f"send({fd}, ..., {size}, {flags}) = -99"])
    if what == 8:
        return f"poll([{{fd={fd}, events=POLLIN|POLLOUT|POLLPRI|POLLRDHUP, revents=0x4000}}], 1, 0) = -99"
    if what == 9:
        return f"ioctl({fd}, {rng.choice(['SIOCINQ', 'SIOCOUTQ', 'SIOCOUTQNSD', 'SIOCATMARK'])}, [-99]) = 0"
    if what == 10:
        names = ["SOL_SOCKET, SO_ERROR", "SOL_TCP, TCP_MAXSEG", "SOL_TCP, TCP_QUICKACK", "SOL_SOCKET, SO_RCVBUF"]
        return f"getsockopt({fd}, {rng.choice(names)}, [-99], [4]) = 0"
    return rng.choice(["%{ }%", "%{ }%", f"close({fd}) = -99"])


WAITS = tuple(ms * MS for ms in (1, 5, 10, 10, 30, 60, 120, 300))
NUMBER = re.compile(r"\[(\d+)\]|, (\d+)(?=\)| *=|, MSG|, 0\))|(?<==)(\d+)(?=`|\"|$)")


def other_number(line: str, rng: Stream) -> str:
    """Of a call or a setting, one number changed: a size, a value."""
    places = list(NUMBER.finditer(line.partition(" = ")[0] if "(" in line else line))
    if not places:
        return line
    match = rng.choice(places)
    group = next(n for n in (1, 2, 3) if match.group(n) is not None)
    was = int(match.group(group))
    now = rng.choice([0, 1, 2, was + 1, max(0, was - 1), was // 2, was * 2, was * 5])
    return line[: match.start(group)] + str(min(now, 200_000)) + line[match.end(group) :]


def change(setup: list[str], steps: Steps, rng: Stream) -> str:
    """One change, in place; what it was, in a word and a line."""
    opening = next((n for n, (_, line) in enumerate(steps) if line.startswith("<")), min(3, len(steps) - 1))
    packets = inbound(steps)
    what = rng.choice([
        "drop", "twice", "swap", "delay", "segment", "segment", "segment", "segment", "time", "number", "number",
        "call", "call", "call", "insert", "insert", "insert",
    ])  # fmt: skip
    if what in ("drop", "twice", "swap", "delay", "segment", "insert") and packets:
        at = rng.choice(packets)
        due, line = steps[at]
        if what == "drop":
            del steps[at]
        elif what == "twice":
            steps.append((due + rng.choice([0, *WAITS]), line))
        elif what == "swap":
            later = [n for n in packets if n > at]
            if later:
                steps[at], steps[later[0]] = (due, steps[later[0]][1]), (steps[later[0]][0], line)
        elif what == "delay":
            steps[at] = (due + rng.choice(WAITS), line)
        else:
            old = packet(line)
            new = other_segment(old, rng) if what == "segment" else another_segment(old, rng)
            text = written(new, line)
            if what == "segment":
                steps[at] = (due, text)
            else:
                steps.append((due + rng.choice([0, *WAITS]), text))
            line += f" -> {text}"
        steps.sort(key=lambda step: step[0])
        return f"{what}: {line}"
    if what == "time":
        at = rng.between(opening, len(steps) - 1)
        gap = steps[at][0] - (steps[at - 1][0] if at else 0)
        longer = int(gap * rng.choice([0, 0.1, 0.5, 2, 3])) if gap and rng.chance(0.7) else gap + rng.choice(WAITS)
        line = steps[at][1]
        steps[at:] = [(due + longer - gap, text) for due, text in steps[at:]]
        return f"time: {line}: {gap / 1e9:g} -> {longer / 1e9:g}"
    if what == "number":
        settings = [n for n, line in enumerate(setup) if line.startswith("`sysctl") and line != ROOM]
        sizes = [n for n, (_, line) in enumerate(steps) if re.match("read|write|send|recv|setsockopt|listen|`", line)]
        if sizes and not (settings and rng.chance(len(settings) / (len(settings) + len(sizes)))):
            at = rng.choice(sizes)
            due, line = steps[at]
            steps[at] = (due, other_number(line, rng))
            return f"number: {line} -> {steps[at][1]}"
        if settings:
            at = rng.choice(settings)
            line, setup[at] = setup[at], other_number(setup[at], rng)
            return f"number: {line} -> {setup[at]}".replace("\n", " ")
    at = rng.between(min(3, len(steps) - 1), len(steps) - 1)
    fds = sockets(steps, at + 1)
    if not fds:
        return "nothing"
    line = call(fds[-1] if rng.chance(0.9) else rng.choice(fds), rng)
    steps.insert(at + 1, (steps[at][0] + rng.choice([0, *WAITS]), line))
    steps.sort(key=lambda step: step[0])
    return f"call: {line}"


# -- what the kernel can be asked


def clear(given: Scenario) -> Scenario:
    """The scenario with its events out of the way of timers. What comes after `LONGEST_NS` is left out."""
    out = Scenario(list(given.setup))
    recorder = Recorder(given.setup, Host)
    guard = Guard(recorder)
    try:
        for gap, line in given.steps:
            due = guard.due(gap)
            if due > LONGEST_NS and len(out.steps) > 4:
                break
            gap = (due - recorder.due) // 1000 * 1000
            out.steps.append((gap, line))
            recorder.step(gap, line)
            guard.look()
    finally:
        recorder.host.close()
    return out


def ending(given: Scenario) -> Scenario:
    """With a look at the end: the state of the connection, what its socket says."""
    steps = list(given.steps)
    fds = sockets([(0, line) for _, line in steps], len(steps))
    if fds:
        steps += [
            (120 * MS, "%{ }%"),
            (5 * MS, f"poll([{{fd={fds[-1]}, events=POLLIN|POLLOUT|POLLPRI|POLLRDHUP, revents=0x4000}}], 1, 0) = -99"),
            (5 * MS, f"getsockopt({fds[-1]}, SOL_SOCKET, SO_ERROR, [-99], [4]) = 0"),
        ]
    return Scenario(list(given.setup), steps)


class Senseless(Exception):
    """Changes have left what cannot be done, as an ICMP message before any packet."""


def mutant(path: str, seed: int) -> Scenario:
    """The scenario of a script with one to three changes; seed 0: none. Each is said in a comment of the set-up.
    ScriptError for what is no script, Senseless for what the changes have made of one.
    """
    plain = stimulus(script_text(Path(path).read_bytes()), path)
    rng = VirtualTimeline(seed=seed).stream(f"mutant/{Path(path).stem}")
    setup, steps = list(plain.setup), timed(plain)
    said = [change(setup, steps, rng) for _ in range(rng.choice([1, 1, 2, 3]) if seed else 0)]
    try:
        out = clear(ending(scenario(setup, steps)))
    except ScriptError as why:
        if not said:
            raise
        raise Senseless(str(why)) from why
    out.setup += [f"// {line}" for line in said]
    return out


__all__ = ["Senseless", "mutant", "stimulus"]
