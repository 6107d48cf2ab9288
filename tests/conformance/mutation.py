"""A script with one expectation changed: what the strictness of the runner is measured with.

`mutants` takes a parsed script and gives, for every field of every packet it expects, every result of a call it
expects, and every time it expects something at, a script that differs in that alone. What is left out is what a script
cannot mean otherwise: the first TS val of a connection only binds the clock, a time of `*` and options of `<...>`
expect nothing, and a descriptor's number is the script's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tools.packetdrill.calls import FD_RESULTS
from tools.packetdrill.script import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Event,
    IcmpPacket,
    Number,
    Option,
    Script,
    SystemCall,
    TcpPacket,
    TimeKind,
    UdpPacket,
)  # fmt: skip

MS = 1_000_000
FLAGS = {"SYN": SYN, "FIN": FIN, "RST": RST, "PSH": PSH, "ACK": ACK, "URG": URG, "ECE": ECE, "CWR": CWR}


def packets(wanted: TcpPacket, first_ts: bool) -> Iterator[tuple[str, TcpPacket]]:
    """The packet with one field changed. The length keeps its value: no payload can be compared with another."""
    yield "seq", replace(wanted, seq=wanted.seq + 1)
    yield "seq down", replace(wanted, seq=max(wanted.seq - 1, 0) if wanted.seq else 2)
    if wanted.flags & ACK:
        yield "ack", replace(wanted, ack=wanted.ack + 1)
    if wanted.window is not None:
        yield "window", replace(wanted, window=wanted.window + 1)
    yield "urgent pointer", replace(wanted, urgent=wanted.urgent + 1)
    for name, bit in FLAGS.items():
        yield f"flag {name}", replace(wanted, flags=wanted.flags ^ bit)
    if wanted.options is None:
        return
    options = wanted.options
    yield "an option more", replace(wanted, options=(*options, Option("nop")))
    for i, option in enumerate(options):
        rest = options[:i], options[i + 1 :]
        yield f"without {option.kind}", replace(wanted, options=(*rest[0], *rest[1]))
        for j, value in enumerate(option.values):
            if option.kind == "TS" and j == 0:
                if first_ts:
                    continue
                value += 10_000
            values = (*option.values[:j], value + 1, *option.values[j + 1 :])
            yield (
                f"{option.kind} value {j}",
                replace(wanted, options=(*rest[0], replace(option, values=values), *rest[1])),
            )
        if i and options[i - 1] != option:
            swapped = (*options[: i - 1], option, options[i - 1], *options[i + 1 :])
            yield f"{option.kind} earlier", replace(wanted, options=swapped)


def _with(script: Script, i: int, event: Event) -> Script:
    return replace(script, events=[*script.events[:i], event, *script.events[i + 1 :]])


def mutants(script: Script) -> Iterator[tuple[str, Script]]:
    """(what was changed, the changed script)."""
    tolerance = int(script.options.get("tolerance_usecs", "4000"), 0) * 1000
    ts_seen = asked = False
    for i, event in enumerate(script.events):
        action, when = event.action, event.when
        if isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound:
            if isinstance(action, TcpPacket):
                has_ts = any(option.kind == "TS" for option in action.options or ())
                for what, packet in packets(action, has_ts and (asked or not ts_seen)):
                    yield f"line {event.line}: {what}", _with(script, i, replace(event, action=packet))
                if action.length:
                    shorter = replace(action, length=action.length - 1)
                    yield f"line {event.line}: length", _with(script, i, replace(event, action=shorter))
                ts_seen = ts_seen or has_ts
                asked = asked and not action.flags & SYN
            if when.kind is not TimeKind.ANY:
                later = when.end - when.start + 2 * tolerance + 3 * MS
                moved = replace(when, start=when.start + later, end=when.end + later)
                yield f"line {event.line}: time", _with(script, i, replace(event, when=moved))
        elif isinstance(action, SystemCall):
            asked = asked or (action.name == "connect" and action.errno in (None, "EINPROGRESS"))
            if action.errno is not None:
                other = "EPIPE" if action.errno != "EPIPE" else "EAGAIN"
                yield f"line {event.line}: errno", _with(script, i, replace(event, action=replace(action, errno=other)))
            elif isinstance(action.result, Number) and action.name not in FD_RESULTS:
                result = Number(action.result.value + 1)
                changed = replace(action, result=result)
                yield f"line {event.line}: result", _with(script, i, replace(event, action=changed))
            if action.end is not None and not action.errno:
                changed = replace(action, end=action.end + 2 * tolerance + 3 * MS)
                yield f"line {event.line}: return", _with(script, i, replace(event, action=changed))
