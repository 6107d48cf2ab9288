"""One run of a scenario: what goes in is given, what comes out is noted and not judged.

A scenario is packetdrill text without expectations: `+gap action` lines whose times count from the line before, so
that a late host does not put off what follows. Each line begins a group, and what comes out until the next belongs to
it: packets in the script's numbers, results of calls, fields of TCP_INFO.

Two things are written otherwise than in a script. `= -99` is no result that is expected but asks for the one that
comes; and the `ecr` of an inbound segment counts the outbound TS vals (1 is the first one, 0 the newest).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tools.packetdrill import wire
from tools.packetdrill.compare import packet_text
from tools.packetdrill.host import Host
from tools.packetdrill.info import tcp_info
from tools.packetdrill.linuxhost import LinuxHost
from tools.packetdrill.mapping import Flow
from tools.packetdrill.parser import parse
from tools.packetdrill.runner import Runner
from tools.packetdrill.script import ACK, RST, SYN, Code, Command, Event, IcmpPacket, SystemCall, TcpPacket, UdpPacket
from tools.packetdrill.values import integer

SECOND = 1_000_000_000

FIELDS = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "snd_wscale", "rcv_wscale", "snd_mss",
    "rcv_mss", "unacked", "sacked", "lost", "retrans", "pmtu", "rcv_ssthresh", "snd_ssthresh", "snd_cwnd", "advmss",
    "reordering", "total_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in", "notsent_bytes",
    "data_segs_in", "data_segs_out", "delivered", "delivered_ce", "bytes_sent", "bytes_retrans", "dsack_dups",
    "reord_seen", "rcv_ooopack", "snd_wnd", "rcv_wnd", "total_rto", "total_rto_recoveries",
)  # fmt: skip
"""What of TCP_INFO depends on what happened, and not on how long it took to the microsecond."""


CLOSED = 7
OF_THE_DEAD = ("state", "total_retrans", "bytes_acked", "bytes_received", "data_segs_in", "data_segs_out")


@dataclass(frozen=True)
class Came:
    """Something that came out, `after_ns` after its group began. `stamps`: its TS vals, for a comparison with slack."""

    kind: str
    after_ns: int
    text: str
    stamps: tuple[int, ...] = ()
    packet: TcpPacket | None = None


@dataclass
class Group:
    """A line of the scenario and what came of it."""

    due: int
    line: str
    came: list[Came] = field(default_factory=list)
    late_ns: int = 0
    """How long after it was due the line was carried out: a busy host's doing."""


@dataclass
class Scenario:
    """Set-up lines (`--option` and back-quoted ones), and (gap in ns, action) for each event."""

    setup: list[str] = field(default_factory=list)
    steps: list[tuple[int, str]] = field(default_factory=list)

    def text(self) -> str:
        lines = [f"+{gap / SECOND:.6f} {line}" for gap, line in self.steps]
        return "\n".join([*self.setup, *lines]) + "\n"

    @staticmethod
    def read(text: str) -> Scenario:
        out = Scenario()
        for line in text.splitlines():
            match = re.match(r"\+([\d.]+) (.*)", line)
            if match:
                out.steps.append((round(float(match.group(1)) * 1e6) * 1000, match.group(2)))
            elif line.strip() and not line.startswith("//"):
                out.setup.append(line)
        return out


class Recorder(Runner):
    """A machine that takes a scenario step by step."""

    def __init__(self, setup: list[str], machine: type[Host] | type[LinuxHost]) -> None:
        super().__init__(parse("\n".join([*setup, "0 socket(..., SOCK_STREAM, 0) = 3"])), machine)
        self.groups: list[Group] = []
        self.due = 0
        self.stamps: list[int] = []
        self.clocks: dict[tuple[int, int], int] = {}

    def step(self, gap: int, line: str) -> Group:
        """Wait `gap` after the step before was due, and do it."""
        self.due += gap
        self.host.advance(self.due)
        self.drain()
        event = parse("0 " + line).events[0]
        group = Group(self.due, line, late_ns=self.host.now - self.due)
        self.groups.append(group)
        action = event.action
        if isinstance(action, SystemCall):
            self.make(event, action)
        elif isinstance(action, Code):
            info = {} if self.test_fd is None else tcp_info(self.host.tcp_info(self.test_fd))
            names = FIELDS if info.get("tcpi_state") != CLOSED else OF_THE_DEAD
            self.note("info", " ".join(f"{name}={info.get('tcpi_' + name)}" for name in names) if info else "none")
        elif isinstance(action, Command):
            self.command(event.line, action.line, self.host.set_sysctl)
            self.host.update_route(self.route)
        else:
            if isinstance(action, TcpPacket):
                action = self.echoed(action)
            super().inject(event, action)
        self.host.settle()
        self.drain()
        return group

    def finish(self, wait: int) -> list[Group]:
        self.due += wait
        self.host.advance(self.due)
        self.drain()
        return self.groups

    def note(self, kind: str, text: str, at: int | None = None, **more: object) -> None:
        group = self.groups[-1]
        group.came.append(Came(kind, (self.host.now if at is None else at) - group.due, text, **more))  # type: ignore[arg-type]

    def make(self, event: Event, call: SystemCall) -> None:
        if call.name == "listen":
            self.listening, self.flow = True, None
        elif call.name == "connect":
            self.connecting = True
        pending = self.host.call(call)
        self.host.settle()
        if not pending.finished:
            self.note("call", "blocks")
        elif pending.error or pending.unsupported:
            said = re.sub(r"expected .*?, got", "", pending.error or str(pending.unsupported))
            said = re.sub(r"((?:socket|accept4?): +)\d+$", r"\1a descriptor", said)  # its number is the host's
            self.note("call", re.sub(r"Moment\(ns=\d+\)", "a moment", said))  # the host's, to the nanosecond
        elif call.name in ("socket", "accept") and integer(call.result) >= 0:
            self.adopt(call)
        if call.name == "connect":
            self.adopt(call)

    def echoed(self, packet: TcpPacket) -> TcpPacket:
        """TS ecr by the number of the outbound segment it echoes."""
        flow = self.inbound_flow(packet)
        options = []
        for option in packet.options or ():
            if option.kind == "TS" and packet.flags & ACK:
                which = option.values[1]
                live = self.stamps[which - 1] if self.stamps and which <= len(self.stamps) else 0
                flow.live_ts[live] = live
                option = replace(option, values=(option.values[0], live))
            options.append(option)
        return replace(packet, options=tuple(options))

    def drain(self) -> None:
        """Note what was sent."""
        while self.host.sent:
            now, image = self.host.sent.popleft()
            live = wire.read(image, now)
            if live is None or live.dst != self.remote or live.src != self.local or not self.groups:
                continue
            packet = live.packet
            if not isinstance(packet, TcpPacket):
                self.note("packet", packet_text(packet), now)
                continue
            if self.connecting and packet.flags & (SYN | ACK) == SYN:
                self.connecting = False
                self.flow = Flow(self.local, self.remote, live.sport, live.dport)
                self.flows[live.sport, live.dport] = self.flow
            flow = self.flows.get((live.sport, live.dport))
            if flow is None:
                self.note("packet", "stray " + packet_text(packet), now)
                continue
            if packet.flags & (SYN | ACK) == SYN | ACK and flow.isn_seen and packet.seq != flow.live_local_isn:
                flow.isn_seen = False  # the ports are used again, and the ISN is anybody's guess
            flow.saw_outbound(packet)
            bare = packet.flags & RST and not packet.seq
            packet = flow.to_script(packet, None)
            if bare:
                packet = replace(packet, seq=0)  # a RST of nobody's connection counts from no ISN
            stamps = []
            options = []
            for option in packet.options or ():
                if option.kind == "TS":
                    self.stamps.append(option.values[0])
                    # Each connection's clock begins anywhere (RFC 7323 section 5.4).
                    began = self.clocks.setdefault((live.sport, live.dport), option.values[0])
                    stamps.append((option.values[0] - began) & 0xFFFFFFFF)
                    option = replace(option, values=(0, option.values[1]))
                options.append(option)
            packet = replace(packet, options=tuple(options))
            tos = f"tos {packet.ip.tos} " if packet.ip.tos else ""
            self.note("packet", tos + packet_text(packet), now, stamps=tuple(stamps), packet=packet)


def replay(scenario: Scenario, machine: type[Host] | type[LinuxHost], wait: int = SECOND // 2) -> list[Group]:
    """Run a scenario whole."""
    recorder = Recorder(scenario.setup, machine)
    try:
        for gap, line in scenario.steps:
            recorder.step(gap, line)
        return recorder.finish(wait)
    finally:
        recorder.host.close()


__all__ = ["FIELDS", "Came", "Group", "IcmpPacket", "Recorder", "Scenario", "UdpPacket", "replay"]
