"""`terrella plot CAPTURE`: a time-sequence graph of one direction of a TCP connection, in tcptrace's manner.

Time runs to the right, sequence numbers up. Each segment that carries data is a bar from its first to its last
sequence number at the moment it was captured; below them climbs the line of what the peer has acknowledged, above them
runs the edge of the window it offers; a SACK block is a bar where it arrived; R marks what the capture has seen
before, O what comes after later bytes and was not seen (overtaken, or lost before it got here and sent again), 3 a
third duplicate ACK, S and F the SYN and the FIN, Z a window of zero. The log of `terrella up --why` or `Lab.why` adds
a panel with cwnd, ssthresh and pipe, and the reasons are shown where the pointer rests.

`flows(capture)` reads, `draw(flow, canvas, ...)` draws; both work on a capture that is still being written, too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.errors import CommandError

if TYPE_CHECKING:
    from tools.canvas import Canvas
    from tools.pcapng import Source

SECOND = 1_000_000_000
LONGEST = 1 << 17  # of packets that are worth guessing at
MASK, HALF = 0xFFFFFFFF, 0x80000000
FIN, SYN, RST, ACK = 1, 2, 4, 16

DATA, AGAIN, LATE, MARK = "#1f3b73", "#d62728", "#0097a7", "#444444"
ACKED, EDGE, SACKED = "#2ca02c", "#c98a00", "#8e44ad"
GRID, FRAME, INK = "#e6e6e6", "#888888", "#222222"
PHASE_COLORS = {"Disorder": "#fff6d6", "CWR": "#fde9d0", "Recovery": "#fbdcdc", "Loss": "#f3b8b8"}
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 92, 24, 78, 46, 34
PANEL = 200
SEEN_ABOVE = 0.35  # how far above the data the window's edge may lie to be in the picture, in heights of the data


class Segment(NamedTuple):
    """One of the direction that is plotted; sequence numbers count from the first."""

    time_ns: int
    seq: int
    end: int
    flags: int
    again: bool
    late: bool
    comment: str


class Answer(NamedTuple):
    """An acknowledgment from the other end."""

    time_ns: int
    ack: int
    window: int
    sacks: tuple[tuple[int, int], ...]
    duplicate: int
    flags: int


class Flow:
    """One direction of a connection, as a capture saw it."""

    __slots__ = (
        "answers", "base", "bytes", "dst", "high", "holes", "late", "retransmitted", "scaled", "segments", "src", "syn",
        "wscale",
    )  # fmt: skip

    def __init__(self, src: str, dst: str) -> None:
        self.src, self.dst = src, dst
        self.segments: list[Segment] = []
        self.answers: list[Answer] = []
        self.base = -1  # sequence number of the first byte (of the SYN, where it was seen)
        self.high = 0  # the greatest end so far
        self.bytes = 0
        self.retransmitted = 0
        self.late = 0
        self.holes: list[tuple[int, int]] = []  # below `high`: not seen so far
        self.wscale: int | None = None  # that the sender announced for the windows it offers
        self.syn = 0  # the flags of the sender's SYN, where it was seen
        self.scaled = True  # the SYNs that matter were seen: windows of the answers are in bytes

    @property
    def start_ns(self) -> int:
        return min(part[0].time_ns for part in (self.segments, self.answers) if part)

    def relative(self, wire: int) -> int:
        """A sequence number of the wire, counted from the first, without wrapping."""
        return self.high + ((wire - self.base - self.high + HALF) & MASK) - HALF

    def sent(self, time_ns: int, seq: int, length: int, flags: int, comment: str) -> None:
        """A segment of this direction was captured."""
        if self.base < 0 or (flags & SYN and not self.segments):
            self.base = seq
        at = self.relative(seq)
        end = at + length + (1 if flags & SYN else 0) + (flags & FIN)
        late = end > at and at < self.high and self.fills(at, min(end, self.high))
        again = end > at and at < self.high and not late
        if end > at or flags & RST:
            self.segments.append(Segment(time_ns, at, end, flags, again, late, comment))
        if end > at > self.high:
            self.holes.append((self.high, at))
        self.high = max(self.high, end)
        self.bytes += length
        self.retransmitted += again
        self.late += late

    def fills(self, at: int, end: int) -> bool:
        """Whether nothing from `at` to `end` was seen so far; from now on it was."""
        unseen, holes = 0, []
        for left, right in self.holes:
            unseen += max(0, min(right, end) - max(left, at))
            holes += [part for part in ((left, min(right, at)), (max(left, end), right)) if part[0] < part[1]]
        self.holes = holes
        return unseen == end - at

    def acknowledged(self, answer: Answer) -> None:
        last = self.answers[-1] if self.answers else None
        if last is not None and not answer.flags and answer.ack == last.ack and answer.window == last.window:
            answer = answer._replace(duplicate=last.duplicate + 1)
        self.answers.append(answer)


def flows(source: Source) -> list[Flow]:
    """Every direction of every TCP connection of a capture that carries data, in the order of their first packets."""
    from csrc import ffi, lib
    from tools.pcapng import LINKTYPE_ETHERNET, RAW_TYPES, packets

    found: dict[tuple[Any, ...], Flow] = {}
    pkt = ffi.new("struct trl_pkt *")
    trusted = lib.TRL_PARSE_L4_TRUSTED | lib.TRL_PARSE_L3_TRUSTED
    for packet in packets(source):
        if packet.linktype == LINKTYPE_ETHERNET:
            flags = trusted | lib.TRL_PARSE_ETHERNET
        elif packet.linktype in RAW_TYPES:
            flags = trusted
        else:
            continue
        data = packet.data
        if len(data) < packet.length <= LONGEST:
            data += bytes(packet.length - len(data))  # only the headers were captured, and they are what counts
        if lib.trl_parse(ffi.from_buffer(data), len(data), flags, pkt) != lib.TRL_OK or pkt.proto != 6:
            continue
        size = 4 if pkt.ip_version == 4 else 16
        here = (ffi.buffer(pkt.src, size)[:], pkt.sport)
        there = (ffi.buffer(pkt.dst, size)[:], pkt.dport)
        key = (here, there)
        forth, back = found.get(key), found.get((there, here))
        if forth is None or (pkt.tcp_flags & (SYN | ACK) == SYN and forth.segments and finished(forth, pkt.seq)):
            forth, back = Flow(end(*here), end(*there)), Flow(end(*there), end(*here))
            at = sum(1 for k in found if k[0] == key)  # a later connection between the same ports
            if at or key in found:
                found[key, len(found)], found[(there, here), len(found)] = found.pop(key), found.pop((there, here))
            found[key], found[there, here] = forth, back
        assert back is not None
        take(forth, back, packet.time_ns, pkt, packet.comment)
    whole = [flow for flow in found.values() if flow.bytes and flow.segments]
    return sorted(whole, key=lambda flow: flow.start_ns)


def finished(flow: Flow, isn: int) -> bool:
    """A SYN of another connection between the same ports, and not the old one's again."""
    return flow.base != isn and bool(flow.segments[-1].flags & (FIN | RST) or flow.high > 1)


def take(forth: Flow, back: Flow, time_ns: int, pkt: Any, comment: str) -> None:
    """One segment: data of `forth`, and an acknowledgment of `back`."""
    from csrc import lib

    flags = pkt.tcp_flags
    if flags & SYN:
        forth.wscale = pkt.wscale if pkt.tcp_options & lib.TRL_OPT_WSCALE else None
        forth.syn = flags
    forth.sent(time_ns, pkt.seq, pkt.payload_len, flags, comment)
    if flags & ACK and back.base >= 0:
        window = pkt.window
        if not flags & SYN:
            shift = scale(forth, back)
            back.scaled = shift is not None
            window <<= shift or 0
        edges = [back.relative(pkt.sack[i]) for i in range(2 * pkt.nsack)]
        sacks = tuple(zip(edges[::2], edges[1::2], strict=True))
        marks = flags & (SYN | FIN | RST) or pkt.payload_len
        back.acknowledged(Answer(time_ns, back.relative(pkt.ack), window, sacks, 0, marks))


def scale(forth: Flow, back: Flow) -> int | None:
    """What the windows that `forth` offers are shifted by (RFC 7323 section 2.2); None: its SYN was not seen, or the
    answer to it."""
    if (forth.syn and forth.wscale is None) or (back.syn and back.wscale is None):
        return 0
    if forth.wscale is None:
        return None
    return min(forth.wscale, 14) if back.syn or forth.syn & ACK else None  # a SYN-ACK has it only where the SYN had


def end(address: bytes, port: int) -> str:
    from netstack.address import format_ip

    text = format_ip(address)
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


# The log of reasons.


class State(NamedTuple):
    """The sender's state at one moment."""

    time_ns: int
    cwnd: int
    ssthresh: int | None
    pipe: int
    phase: str
    event: str
    reason: str
    seq: int = -1


def states(path: str, flow: Flow) -> list[State]:
    """What the log says about the sender of a flow. A last line that is not over is still being written."""
    name = f"{flow.src}-{flow.dst}"
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                event = json.loads(line)
                if event["connection"] == name and "cwnd" in event:
                    found.append(State(*(event.get(field, -1) for field in State._fields)))
            except (ValueError, KeyError, TypeError) as why:
                if number > 1 and not line.endswith("\n"):
                    break
                raise CommandError(f"{path}:{number}: not a line of a log of reasons ({why})") from why
    return found


# Drawing.


class Axis:
    """From values to pixels."""

    __slots__ = ("first", "from_px", "last", "scale")

    def __init__(self, first: float, last: float, from_px: float, to_px: float) -> None:
        if last <= first:
            last = first + 1
        self.first, self.last = first, last
        self.from_px = from_px
        self.scale = (to_px - from_px) / (last - first)

    def __call__(self, value: float) -> float:
        return self.from_px + (value - self.first) * self.scale

    def ticks(self, most: int) -> list[float]:
        """At most about so many round values."""
        raw = (self.last - self.first) / most
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
        count = math.floor((self.last - self.first) / step) + 2
        first = math.ceil(self.first / step)
        found = [(first + i) * step for i in range(count)]
        return [value for value in found if self.first <= value <= self.last + step * 1e-9]


def draw(
    flow: Flow, canvas: Canvas, width: int, height: int, log: Sequence[State] = (), begin_ns: int | None = None,
    end_ns: int | None = None, title: str = "",
) -> None:  # fmt: skip
    """The graph, from `begin_ns` to `end_ns` after the flow's first packet (all of it by default)."""
    zero = flow.start_ns
    last = max(part[-1].time_ns for part in (flow.segments, flow.answers) if part)
    first_ns = zero + (begin_ns or 0)
    last_ns = zero + end_ns if end_ns is not None else last
    margin = (last_ns - first_ns) * 0.01
    panel = PANEL if log else 0
    bottom = height - BOTTOM - (panel + BETWEEN if panel else 0)
    x = Axis((first_ns - zero - margin) / SECOND, (last_ns - zero + margin) / SECOND, LEFT, width - RIGHT)
    segments = [s for s in flow.segments if first_ns <= s.time_ns <= last_ns]
    answers = flow.answers[max(0, at_or_before(flow.answers, first_ns)) : at_or_before(flow.answers, last_ns) + 1]
    if not segments and not any(first_ns <= answer.time_ns for answer in answers):
        raise CommandError("nothing of this flow was captured in that time")
    low, high = extent(segments, answers, flow.scaled)
    y = Axis(low, high, bottom, TOP)

    canvas.rect(0, 0, width, height, "#ffffff")
    canvas.text(LEFT, 24, title or f"{flow.src} → {flow.dst}", INK, 15, bold=True)
    legend(canvas, LEFT, 46, flow.scaled)
    grid(canvas, x, y, TOP, bottom, width, "sequence number (bytes)", "time (s)", time_labels=not panel)
    canvas.clip(LEFT, TOP, width - LEFT - RIGHT, bottom - TOP)
    draw_answers(canvas, answers, zero, x, y, flow.scaled)
    draw_segments(canvas, segments, zero, x, y, reasons(log))
    canvas.clip(0, 0, 0, 0)
    if panel:
        draw_states(canvas, log, zero, x, bottom + BETWEEN, height - BOTTOM, width)


def at_or_before(parts: Sequence[Any], time_ns: int) -> int:
    return bisect_right(parts, time_ns, key=lambda part: part.time_ns) - 1


def extent(segments: list[Segment], answers: list[Answer], scaled: bool) -> tuple[float, float]:
    """The lowest and the highest sequence number of the picture."""
    values = [s.seq for s in segments] + [s.end for s in segments] + [a.ack for a in answers]
    low, high = float(min(values)), float(max(values))
    edge = float(max((a.ack + a.window for a in answers if scaled), default=high))
    reach = max((high - low) * SEEN_ABOVE, 1)
    high = max(high, min(edge, high + reach))
    pad = max((high - low) * 0.03, 1)
    return low - 2 * pad, high + pad  # below the line of ACKs there are marks


def draw_answers(canvas: Canvas, answers: list[Answer], zero: int, x: Axis, y: Axis, scaled: bool) -> None:
    acks: list[tuple[float, float]] = []
    edges: list[tuple[float, float]] = []
    sacks: list[tuple[float, float, float, float]] = []
    marks: list[tuple[float, float, str]] = []
    ticks: list[tuple[float, float, float, float]] = []
    for answer in answers:
        at = x((answer.time_ns - zero) / SECOND)
        for line, value in ((acks, answer.ack), (edges, answer.ack + answer.window)):
            height = y(value)
            if line:
                line.append((at, line[-1][1]))
            line.append((at, height))
        for left, right in answer.sacks:
            sacks.append((at, y(left), at, y(right)))
        if answer.duplicate:
            ticks.append((at, y(answer.ack), at, y(answer.ack) + 4))
        if answer.duplicate == 3:
            marks.append((at, y(answer.ack) + 15, "3"))
        if not answer.window and not answer.flags & RST:
            marks.append((at, y(answer.ack) + 15, "Z"))
    for line, color in ((edges, EDGE), (acks, ACKED)):
        if line is edges and not scaled:
            continue  # where it is nobody knows
        if line:
            line.append((x(x.last), line[-1][1]))
        canvas.path(line, color, 1.3)
    canvas.lines(ticks, ACKED, 1)
    canvas.lines(sacks, SACKED, 1.6)
    for at, height, letter in marks:
        canvas.text(at, height, letter, ACKED, 11, "middle")


def draw_segments(
    canvas: Canvas, segments: list[Segment], zero: int, x: Axis, y: Axis, said: dict[tuple[int, int], str]
) -> None:
    fresh: list[tuple[float, float, float, float]] = []
    again: list[tuple[float, float, float, float]] = []
    late: list[tuple[float, float, float, float]] = []
    titles = []
    for segment in segments:
        at = x((segment.time_ns - zero) / SECOND)
        foot, head = y(segment.seq), y(segment.end)
        if foot - head < 1.2:
            foot, head = (foot + head) / 2 + 0.6, (foot + head) / 2 - 0.6
        bars = again if segment.again else late if segment.late else fresh
        bars.append((at, foot, at, head))
        if foot - head > 9:  # room for tcptrace's arrowheads
            for edge in (foot, head):
                bars.append((at - 2, edge, at + 2, edge))
        letter = "S" if segment.flags & SYN else "F" if segment.flags & FIN else "X" if segment.flags & RST else ""
        comment = segment.comment or said.get((segment.time_ns, segment.seq), "")
        if segment.again:
            titles.append((at, head - 4, "R", AGAIN, comment or "sent before"))
        elif segment.late:
            titles.append((at, head - 4, "O", LATE, comment or "out of order: overtaken, or lost before it got here"))
        elif letter:
            titles.append((at, head - 4, letter, MARK, comment))
        elif comment and foot - head > 3:
            canvas.rect(at - 3, head, 6, foot - head, "none", comment)
    canvas.lines(fresh, DATA, 1.5)
    canvas.lines(late, LATE, 1.8)
    canvas.lines(again, AGAIN, 1.8)
    for at, height, letter, color, comment in titles:
        canvas.text(at, height, letter, color, 11, "middle", bold=True, title=comment)


def reasons(log: Iterable[State]) -> dict[tuple[int, int], str]:
    """Reasons of a log by time and sequence number: a capture without comments shows them too."""
    return {(state.time_ns, state.seq): state.reason for state in log if state.event == "send"}


def draw_states(
    canvas: Canvas, log: Sequence[State], zero: int, x: Axis, top: float, bottom: float, width: int
) -> None:
    """cwnd, ssthresh and pipe in segments, over the phases of loss recovery."""
    begin, finish = zero + int(x.first * SECOND), zero + int(x.last * SECOND)
    i, j = max(0, at_or_before(log, begin)), at_or_before(log, finish) + 1
    shown = log[i:j]
    if not shown:
        canvas.text(LEFT, (top + bottom) / 2, "the log says nothing about this connection at this time", MARK)
        return
    finite = [state.ssthresh for state in shown if state.ssthresh is not None]
    high = max(max(state.cwnd for state in shown), max(state.pipe for state in shown), *finite, 1)
    y = Axis(0, high * 1.08, bottom, top)
    canvas.clip(LEFT, top, width - LEFT - RIGHT, bottom - top)
    for phase, start_ns, end_ns in phases(shown, finish):
        color = PHASE_COLORS.get(phase)
        if color is not None:
            from_px = x((start_ns - zero) / SECOND)
            canvas.rect(from_px, top, max(x((end_ns - zero) / SECOND) - from_px, 0.5), bottom - top, color, phase)
    canvas.clip(0, 0, 0, 0)
    grid(canvas, x, y, top, bottom, width, "segments", "time (s)")
    canvas.clip(LEFT, top, width - LEFT - RIGHT, bottom - top)
    for name, color, weight, dashed in (
        ("pipe", "#9aa7c0", 1.0, False), ("ssthresh", AGAIN, 1.2, True), ("cwnd", DATA, 1.6, False),
    ):  # fmt: skip
        for run in steps(shown, name, zero, x, y):
            canvas.path(run, color, weight, dashed)
    canvas.clip(0, 0, 0, 0)
    items = [("cwnd", DATA), ("ssthresh", AGAIN), ("pipe", "#7c8aa5")]
    at = LEFT + 0.0
    for name, color in items:
        canvas.text(at, top - 8, name, color, 11, bold=True)
        at += 12 + 7.2 * len(name)
    at += 12
    for phase in dict.fromkeys(state.phase for state in shown):
        if phase in PHASE_COLORS:
            canvas.rect(at, top - 17, 11, 11, PHASE_COLORS[phase])
            canvas.text(at + 15, top - 8, phase, MARK, 11)
            at += 30 + 6.6 * len(phase)


def phases(log: Sequence[State], finish: int) -> Iterator[tuple[str, int, int]]:
    """(phase, from, to), as long as each lasts."""
    start, phase = log[0].time_ns, log[0].phase
    for state in log:
        if state.phase != phase:
            yield phase, start, state.time_ns
            start, phase = state.time_ns, state.phase
    yield phase, start, finish


def steps(log: Sequence[State], name: str, zero: int, x: Axis, y: Axis) -> Iterator[list[tuple[float, float]]]:
    """A staircase of one variable; it is interrupted where the variable has no value."""
    run: list[tuple[float, float]] = []
    for state in log:
        value = getattr(state, name)
        at = x((state.time_ns - zero) / SECOND)
        if value is None:
            if run:
                yield run
            run = []
            continue
        height = y(value)
        if run and run[-1][1] == height:
            continue
        if run:
            run.append((at, run[-1][1]))
        run.append((at, height))
    if run:
        run.append((x(x.last), run[-1][1]))
        yield run


def grid(
    canvas: Canvas, x: Axis, y: Axis, top: float, bottom: float, width: int, up: str, right: str,
    time_labels: bool = True,
) -> None:  # fmt: skip
    ticks_x, ticks_y = x.ticks(10), y.ticks(max(3, int((bottom - top) / 45)))
    lines = [(x(value), top, x(value), bottom) for value in ticks_x]
    lines += [(LEFT, y(value), width - RIGHT, y(value)) for value in ticks_y]
    canvas.lines(lines, GRID, 1)
    box = [(LEFT, top), (width - RIGHT, top), (width - RIGHT, bottom), (LEFT, bottom), (LEFT, top)]
    canvas.path(box, FRAME, 1)
    for value in ticks_y:
        canvas.text(LEFT - 7, y(value) + 4, f"{value:,.0f}", MARK, 11, "end")
    canvas.text(8, top - 8, up, MARK, 11)
    if time_labels:
        places = max(0, -math.floor(math.log10(ticks_x[1] - ticks_x[0]))) if len(ticks_x) > 1 else 3
        for value in ticks_x:
            canvas.text(x(value), bottom + 16, f"{value:.{places}f}", MARK, 11, "middle")
        canvas.text(width - RIGHT, bottom + 34, right, MARK, 11, "end")


def legend(canvas: Canvas, at: float, height: float, scaled: bool) -> None:
    edge = "window" if scaled else "no window: the SYNs with its scale were not captured"
    for name, color in (
        ("data", DATA), ("R sent again", AGAIN), ("O out of order", LATE), ("acknowledged", ACKED), ("SACK", SACKED),
        (edge, EDGE),
    ):  # fmt: skip
        canvas.lines([(at, height - 4, at + 18, height - 4)], color, 3)
        canvas.text(at + 23, height, name, color, 12)
        at += 44 + 7 * len(name)


# The command.


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("capture", metavar="CAPTURE", help="pcapng or pcap")
    parser.add_argument("--flow", type=int, metavar="N", help="which of --list (default: the one with most data)")
    parser.add_argument("--list", action="store_true", help="say which flows there are, and draw nothing")
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    parser.add_argument("--why", metavar="FILE", help="a log of `terrella up --why`: adds cwnd, ssthresh, pipe")
    parser.add_argument("--from", dest="begin", metavar="TIME", type=moment, help="after the first packet, as 1.2 (s)")
    parser.add_argument("--to", dest="finish", metavar="TIME", type=moment, help="after the first packet, as 1500ms")
    parser.add_argument("-o", "--out", metavar="FILE", default="plot.svg", help=".svg, .png (matplotlib), - (stdout)")
    parser.add_argument("--size", type=pixels, default=(1200, 760), metavar="WxH", help="in pixels (default 1200x760)")


def moment(text: str) -> int:
    from drivers.net.impairments import parse_time

    try:
        return parse_time(f"{text}s" if text.strip()[-1:].isdigit() else text, "time")
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from why


def pixels(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 300 <= int(width) <= 20000 and 400 <= int(height) <= 20000):
        raise argparse.ArgumentTypeError(f"{text!r}: write width and height, at least 300x400, as 1200x760")
    return int(width), int(height)


def run(args: argparse.Namespace) -> int:
    from tools.pcapng import CaptureError

    if args.out != "-" and os.path.splitext(args.out)[1].lower() not in (".svg", ".png"):
        raise CommandError(f"-o {args.out}: name it .svg or .png, or - for SVG on standard output", 2)
    if args.begin is not None and args.finish is not None and args.begin >= args.finish:
        raise CommandError("--from has to be earlier than --to", 2)
    try:
        found = flows(args.capture)
    except (OSError, CaptureError) as why:
        raise CommandError(f"{args.capture}: {getattr(why, 'strerror', None) or why}") from why
    if args.list or args.json:
        print_list(found, args.json)
        return 0
    if not found:
        raise CommandError(f"{args.capture}: no TCP connection in it carries data")
    if args.flow is None:
        flow = max(found, key=lambda one: one.bytes)
    elif 1 <= args.flow <= len(found):
        flow = found[args.flow - 1]
    else:
        raise CommandError(f"--flow {args.flow}: there are {len(found)}; --list shows them")
    try:
        log = states(args.why, flow) if args.why else []
    except OSError as why:
        raise CommandError(f"--why {args.why}: {why.strerror}") from why
    if args.why and not log:
        raise CommandError(f"--why {args.why}: nothing about {flow.src}-{flow.dst}: is it the log of the sender?")
    plot(flow, "/dev/stdout" if args.out == "-" else args.out, log, args.size, args.begin, args.finish)
    said = f"{args.out}: {flow.src} → {flow.dst}, {flow.bytes:,} bytes in {len(flow.segments):,} segments{told(flow)}"
    print(said, file=sys.stderr if args.out == "-" else sys.stdout)
    return 0


def plot(
    flow: Flow, out: str, log: Sequence[State] = (), size: tuple[int, int] = (1200, 760), begin_ns: int | None = None,
    end_ns: int | None = None,
) -> None:  # fmt: skip
    """Draw into a file: PNG when its name ends so (needs matplotlib), else SVG."""
    from tools.canvas import Png, Svg

    canvas: Canvas
    if out.lower().endswith(".png"):
        try:
            canvas = Png(*size)
        except ImportError as why:
            raise CommandError(f"{out}: PNG needs matplotlib (pip install 'terrella[plot]'); .svg does not") from why
    else:
        canvas = Svg(*size)
    draw(flow, canvas, *size, log, begin_ns, end_ns)
    try:
        canvas.save(out)
    except OSError as why:
        raise CommandError(f"{out}: {why.strerror}") from why


def told(flow: Flow) -> str:
    """What was out of the ordinary in a flow."""
    numbers = ((flow.retransmitted, "sent again"), (flow.late, "out of order"))
    return "".join(f", {number:,} {what}" for number, what in numbers if number)


def print_list(found: list[Flow], as_json: bool) -> None:
    rows = [
        {
            "flow": n, "from": flow.src, "to": flow.dst, "bytes": flow.bytes, "segments": len(flow.segments),
            "retransmitted": flow.retransmitted, "out_of_order": flow.late,
        }
        for n, flow in enumerate(found, 1)
    ]  # fmt: skip
    if as_json:
        json.dump(rows, sys.stdout, indent=1)
        print()
        return
    for row, flow in zip(rows, found, strict=True):
        size = f"{row['bytes']:,} bytes, {row['segments']:,} segments"
        print(f"{row['flow']:>4}  {row['from']} → {row['to']}  {size}{told(flow)}")
