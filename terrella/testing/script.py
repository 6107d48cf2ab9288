"""A run as a packetdrill script and as a capture.

The script is one side's view: the calls it made, the packets that reached it and those it sent, each at its
time. It runs with `terrella packetdrill`, which puts that side's stack alone into the same situation. Not in
it: damaged packets (the language cannot say them, and they change nothing) and what payloads contain. Comment
lines at its end hold the case, from which `python -m terrella.testing.replay` runs both sides again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from csrc.frame import Frame
from drivers.capture import Pcapng
from netstack.settings import Settings
from terrella.testing import icmp, wire
from terrella.testing.pair import Pair, Side
from terrella.testing.side import Event

CASE = "// case "
NAMES = {"a": "opened first, {}, port 4000", "b": "{}, port 80"}


def text(pair: Pair, name: str, why: BaseException | None = None) -> str:
    """The script of one side."""
    side = pair.sides[name]
    lines = [f"// what side {name} saw ({NAMES[name].format(side.address)})"]
    if why is not None:
        lines += [f"// {line}" for line in str(why).splitlines()]
    lines += ["--tolerance_usecs=1000"]
    if side.version == 6:
        lines.append("--ip_version=ipv6")
    if pair.link.mtu != 1500:
        lines.append(f"--mtu={pair.link.mtu}")
    setup = settings_lines(side.settings)
    lines += [f"`{setup[0]}" if n == 0 else line for n, line in enumerate(setup)]
    if setup:
        lines[-1] += "`"
    view = View(side)
    here = culprit(side, why)
    for n, event in enumerate(side.history):
        line = view.line(event)
        if n == here:
            lines.append(f"// here: {getattr(why, 'oracle', type(why).__name__)}")
        if line is not None:
            lines.append(f"{seconds(event[0]):>12} {line}")
    return "\n".join(lines) + "\n"


def culprit(side: Side, why: BaseException | None) -> int:
    """The place in a side's history of the packet that broke the rule, or of the last before it was found broken; -1
    for none, or when it was the other side."""
    if why is None or getattr(why, "side", side.name) != side.name:
        return -1
    at = getattr(why, "at", -1)
    if at < 0:
        at = next((n for n in range(len(side.history) - 1, -1, -1) if side.history[n][1] != "call"), -1)
    return at


def holding(case: str) -> str:
    """The lines at a script's end that hold a case, given as JSON."""
    return f"\n{CASE}{case}\n"


def case_text(script: str) -> str | None:
    """The JSON of the case that a script holds, or None."""
    for line in script.splitlines():
        if line.startswith(CASE):
            return line[len(CASE) :]
    return None


def seconds(now: int) -> str:
    """A time in seconds, to the microsecond: packetdrill's own resolution."""
    return f"{now // 1_000_000_000}.{now % 1_000_000_000 // 1000:06d}"


def settings_lines(settings: dict[str, Any]) -> list[str]:
    """The settings that differ from the stack's own, as sysctl lines."""
    plain = Settings()
    found = []
    for name, value in sorted(settings.items()):
        if plain.get(name) != value:
            said = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
            found.append(f"sysctl -q {name}={chr(34) + said + chr(34) if ' ' in said else said}")
    return found


class View:
    """One side's numbers: relative to the ISNs it saw."""

    __slots__ = ("irs", "iss", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.iss = side.flow.iss or 0
        self.irs = side.flow.irs or 0

    def line(self, event: Event) -> str | None:
        _, kind, what = event
        if kind == "call":
            return None if what.startswith("close(5)") else str(what)
        if kind not in ("in", "out"):
            return None  # strangers: the language knows one connection
        seg = wire.parse(what, trusted=True)
        return icmp.described(what, self.iss) if seg is None else self.packet(seg, kind == "in")

    def packet(self, seg: wire.Segment, inbound: bool) -> str:
        here, there = (self.irs, self.iss) if inbound else (self.iss, self.irs)
        letters = "".join(
            letter
            for bit, letter in (
                (wire.SYN, "S"), (wire.FIN, "F"), (wire.RST, "R"), (wire.PSH, "P"), (wire.URG, "U"), (wire.ECE, "E"),
                (wire.CWR, "W"), (wire.ACK, "."),
            )
            if seg.flags & bit
        )  # fmt: skip
        seq = seg.seq - here & wire.MASK
        ecn = ("", "[ect1] ", "[ect0] ", "[ce] ")[seg.ecn]
        said = f"{'<' if inbound else '>'} {ecn}{letters or '-'} {seq}:{seq + seg.length & wire.MASK}({seg.length})"
        if seg.flags & wire.ACK:
            said += f" ack {seg.ack - there & wire.MASK}"
        if inbound or not seg.flags & wire.RST:
            said += f" win {seg.window}"
        if seg.flags & wire.URG:
            said += f" urg {seg.urgent}"
        options = self.options(seg, there)
        return f"{said} <{options}>" if options else said

    @staticmethod
    def options(seg: wire.Segment, there: int) -> str:
        """In Linux's order and padding, which is how this stack writes them."""
        found = []
        if seg.mss is not None:
            found.append(f"mss {seg.mss}")
        permitted = bool(seg.options & wire.HAS_SACK_PERMITTED)
        if seg.tsval is not None:
            found += ["sackOK"] if permitted else ["nop", "nop"]
            found.append(f"TS val {seg.tsval} ecr {seg.tsecr}")
        elif permitted:
            found += ["nop", "nop", "sackOK"]
        if seg.wscale is not None:
            found += ["nop", f"wscale {seg.wscale}"]
        if seg.sack:
            edges = " ".join(f"{a - there & wire.MASK}:{b - there & wire.MASK}" for a, b in seg.sack)
            found += ["nop", "nop", f"sack {edges}"]
        return ",".join(found)


def capture(pair: Pair, path: str | os.PathLike[str], why: BaseException | None = None) -> Path:
    """Both sides' packets as pcapng: an interface for each; the failure is the comment of the packet that broke the
    rule, or of that side's last."""
    guilty = getattr(why, "side", "a")
    here = culprit(pair.sides[guilty], why)
    events = [
        (now, name, n, kind, image)
        for name, side in pair.sides.items()
        for n, (now, kind, image) in enumerate(side.history)
        if kind != "call"
    ]
    events.sort(key=lambda event: (event[0], event[3] == "out", event[1], event[2]))
    with Pcapng(path, epoch_ns=pair.timeline.epoch_ns) as file:
        interfaces = {name: file.add_interface(name, ethernet=False) for name in pair.sides}
        for now, name, n, kind, image in events:
            frame = Frame.of(image, ethernet=False)
            if n == here and name == guilty:
                frame.comment = str(why)
            file.packet(interfaces[name], {"of others": "in", "to others": "out"}.get(kind, kind), frame, now)
    return Path(path)
