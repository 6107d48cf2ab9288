"""A script with one expectation changed: what the strictness of the runner is measured with.

`mutants` takes a parsed script and gives, for every field of every packet it expects, every result of a call it
expects, every number that its code wants, and every time it expects something at (later and earlier by a microsecond
more than it may be), a script that differs in that alone. What is left out is what a script
cannot mean otherwise: the first TS val of a connection only binds the clock, a time of `*` and options of `<...>`
expect nothing, and a descriptor's number is the script's own.
"""

from __future__ import annotations

import re
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
    Array,
    Code,
    Event,
    Expression,
    Function,
    IcmpPacket,
    Number,
    Option,
    Or,
    Script,
    Struct,
    SystemCall,
    TcpPacket,
    Text,
    TimeKind,
    UdpPacket,
    When,
    Word,
)  # fmt: skip

USEC = 1_000
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


def others(wanted: UdpPacket | IcmpPacket) -> Iterator[tuple[str, UdpPacket | IcmpPacket]]:
    """A packet that is no TCP segment, with one field changed."""
    if isinstance(wanted, UdpPacket):
        yield "length", replace(wanted, length=wanted.length + 1)
        return
    yield "type", replace(wanted, type="type_200")
    yield "code", replace(wanted, code="code_99")
    yield "mtu", replace(wanted, mtu=(wanted.mtu or 0) + 1)
    yield "id", replace(wanted, ident=(wanted.ident or 0) + 1)
    if wanted.quoted is not None:
        protocol, seq, length = wanted.quoted
        yield "quoted length", replace(wanted, quoted=(protocol, seq, length + 1))
        yield "quoted protocol", replace(wanted, quoted=("udp" if protocol != "udp" else "tcp", seq, length))
        if protocol == "tcp":
            yield "quoted seq", replace(wanted, quoted=(protocol, seq + 1, length))


def _with(script: Script, i: int, event: Event) -> Script:
    return replace(script, events=[*script.events[:i], event, *script.events[i + 1 :]])


def mutants(script: Script) -> Iterator[tuple[str, Script]]:
    """(what was changed, the changed script)."""
    tolerance = int(script.options.get("tolerance_usecs", "4000"), 0) * 1000
    ts_seen = asked = False
    for i, event in enumerate(script.events):
        action, when = event.action, event.when
        if _expects(event):
            if isinstance(action, (UdpPacket, IcmpPacket)):
                for what, other in others(action):
                    yield f"line {event.line}: {what}", _with(script, i, replace(event, action=other))
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
                apart = when.end - when.start + tolerance + USEC
                for shift in (apart, -apart) if when.start >= apart else (apart,):
                    moved = replace(when, start=when.start + shift, end=when.end + shift)
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
                for shift in (tolerance + USEC, -tolerance - USEC):
                    if action.end + shift >= when.start:
                        changed = replace(action, end=action.end + shift)
                        yield f"line {event.line}: return", _with(script, i, replace(event, action=changed))
        elif isinstance(action, Code):
            for match in re.finditer(r"== *(\d+)", action.text):
                text = f"{action.text[: match.start(1)]}{int(match[1]) + 1}{action.text[match.end(1) :]}"
                yield (
                    f"line {event.line}: {match[0]}",
                    _with(script, i, replace(event, action=replace(action, text=text))),
                )


ANSWERS = {
    "getsockopt": (3, 4), "epoll_wait": (1,), "poll": (0,), "recvmsg": (1,), "recvfrom": (4,), "getsockname": (1,),
    "getpeername": (1,), "accept": (1,), "accept4": (1,), "ioctl": (2,),
}  # fmt: skip
"""Which arguments a call fills in."""
GIVEN = {"poll": ("fd", "events"), "recvmsg": ("msg_iov", "msg_namelen", "msg_controllen")}
"""Fields of them that are the script's own."""


def _changed(value: Expression, given: tuple[str, ...] = ()) -> Iterator[tuple[str, Expression]]:
    """The expression with one number, name or text in it changed."""
    if isinstance(value, Number):
        yield str(value), Number(value.value + 1)
    elif isinstance(value, Word) and value.name != "NULL":
        yield str(value), Number(1 << 30)
    elif isinstance(value, Or):
        yield str(value), Or(value, Number(1 << 14))
        yield str(value), value.left
    elif isinstance(value, Text) and value.value:
        yield str(value), replace(value, value=bytes([value.value[0] ^ 1]) + value.value[1:])
    elif isinstance(value, Array):
        for i, item in enumerate(value.items):
            for what, other in _changed(item, given):
                yield what, replace(value, items=(*value.items[:i], other, *value.items[i + 1 :]))
    elif isinstance(value, Function):
        for i, item in enumerate(value.args[-1:], len(value.args) - 1):
            for what, other in _changed(item):
                yield what, replace(value, args=(*value.args[:i], other))
    elif isinstance(value, Struct):
        for i, (name, item) in enumerate(value.fields):
            for what, other in _changed(item, given) if name not in given else ():
                fields = (*value.fields[:i], (name, other), *value.fields[i + 1 :])
                yield f"{name}={what}", replace(value, fields=fields)


def answers(script: Script) -> Iterator[tuple[str, Script]]:
    """Scripts that differ in one value that a call gives back besides its result, or in a packet's bracketed IP
    field or its ports."""
    for i, event in enumerate(script.events):
        action = event.action
        if isinstance(action, SystemCall):
            answered = ANSWERS.get(action.name, ()) if action.errno is None else ()
            for at in (at for at in answered if at < len(action.args)):
                for what, other in _changed(action.args[at], GIVEN.get(action.name, ())):
                    if at == 4 and action.name == "getsockopt":  # a length: as much as there is, if there is so much
                        other = Array((Number(1000),))
                    changed = replace(action, args=(*action.args[:at], other, *action.args[at + 1 :]))
                    yield f"line {event.line}: {action.name} {what}", _with(script, i, replace(event, action=changed))
        elif isinstance(action, TcpPacket) and not action.inbound:
            ip = action.ip
            others = []
            if ip.ecn is not None:
                other_mark = "ect0" if ip.ecn in ("ce", "ect1") else "ce"
                others.append(("ecn", replace(action, ip=replace(ip, ecn=other_mark))))
            if ip.tos is not None:
                others.append(("tos", replace(action, ip=replace(ip, tos=ip.tos ^ 4))))
            if ip.ttl is not None:
                others.append(("ttl", replace(action, ip=replace(ip, ttl=ip.ttl - 1))))
            if action.ports is not None:
                others.append(("ports", replace(action, ports=(action.ports[0], action.ports[1] + 1))))
            for what, packet in others:
                yield f"line {event.line}: {what}", _with(script, i, replace(event, action=packet))


def _expects(event: Event) -> bool:
    return isinstance(event.action, (TcpPacket, UdpPacket, IcmpPacket)) and not event.action.inbound


def orders(script: Script) -> Iterator[tuple[str, Script]]:
    """Scripts that expect a packet twice, or two of an instant the other way round."""
    events = script.events
    for i, event in enumerate(events):
        if not _expects(event):
            continue
        twice = [*events[: i + 1], replace(event, when=When(TimeKind.RELATIVE)), *events[i + 1 :]]
        yield f"line {event.line}: once more", replace(script, events=twice)
        after = events[i + 1] if i + 1 < len(events) else event
        if _expects(after) and after.action != event.action and after.when == When(TimeKind.RELATIVE):
            pair = [replace(event, action=after.action), replace(after, action=event.action)]
            yield f"line {event.line}: later", replace(script, events=[*events[:i], *pair, *events[i + 2 :]])
