"""Runs one script: keeps its clock, injects, makes calls, and gives the verdict.

Times. An absolute time counts from the start of the script; a relative one from the moment the event before it
happened, or, between two inbound packets, from when the earlier was due (so that small delays do not add up). An
outbound packet must come at its time, give or take the tolerance (4 ms unless the script sets one), or in its range.

Packets. What the stack sends is split into wire frames and queued in order; each expected packet is held against the
head of that queue. An expected packet longer than the frame there stands for several of them in a row, equal in
everything but sequence number, PSH, FIN and CWR, all full but the last.

Code. `%{ ... }%` is Python over TCP_INFO of the connection as it is at that moment; it is run then and there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.packetdrill import commands, wire
from tools.packetdrill.calls import Endpoints
from tools.packetdrill.compare import difference, packet_text
from tools.packetdrill.host import Call, Host
from tools.packetdrill.mapping import Flow
from tools.packetdrill.parser import parse
from tools.packetdrill.script import (
    ACK,
    CWR,
    FIN,
    PSH,
    SYN,
    Code,
    Command,
    Event,
    IcmpPacket,
    Packet,
    Script,
    ScriptError,
    SystemCall,
    TcpPacket,
    TimeKind,
    UdpPacket,
)

USEC = 1_000
SECOND = 1_000_000_000
GIVE_UP = 3_600 * SECOND
"""How long a packet without a time of its own may take before the script has failed."""

KNOWN_OPTIONS = frozenset({
    "tolerance_usecs", "tolerance_percent", "ip_version", "local_ip", "remote_ip", "gateway_ip", "netmask_ip",
    "connect_port", "bind_port", "mtu", "mss", "tcp_ts_tick_usecs", "tcp_ts_ecr_scaled", "speed", "verbose",
    "wire_protocol", "persistent_tun_dev", "strict_segments", "send_omit_free", "init_scripts",
})  # fmt: skip
IGNORED_OPTIONS = frozenset({"non_fatal", "dry_run", "code"})


@dataclass
class Verdict:
    """What came of one script. `events` is how many of its events were carried out."""

    path: str
    passed: bool
    events: int
    error: ScriptError | None = None
    capture: str | None = None
    history: list[tuple[int, str, bytes]] = field(default_factory=list)
    """Everything that crossed the device: time, "in" or "out", IP packet."""

    def as_dict(self) -> dict[str, object]:
        out: dict[str, object] = {"script": self.path, "passed": self.passed, "events": self.events}
        if self.error is not None:
            out["error"] = {
                "line": self.error.line, "kind": self.error.kind, "message": self.error.message,
                "expected": self.error.expected, "actual": self.error.actual,
            }  # fmt: skip
        if self.capture is not None:
            out["capture"] = self.capture
        return out


def run_file(path: str, capture_dir: str | None = None) -> Verdict:
    """Parse and run one file. Never raises for what a script says.

    With `capture_dir`, a failure leaves a pcapng there.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        return Verdict(path, False, 0, ScriptError(path, 0, f"cannot be read: {error}", "syntax"))
    return run_text(text, path, capture_dir)


def run_text(text: str, path: str = "<script>", capture_dir: str | None = None) -> Verdict:
    """Parse and run a script given as text."""
    try:
        script = parse(text, path)
        runner = Runner(script)
    except ScriptError as error:
        return Verdict(path, False, 0, error)
    try:
        return runner.run(capture_dir)
    finally:
        runner.host.close()


class Runner:
    """One run of one script on a fresh machine."""

    def __init__(self, script: Script) -> None:
        self.script = script
        options = script.options
        for name in options:
            if name not in KNOWN_OPTIONS | IGNORED_OPTIONS:
                raise ScriptError(script.path, 1, f"option --{name}", "unsupported")
        self.tolerance = self.option("tolerance_usecs", 4_000) * USEC
        self.percent = float(options.get("tolerance_percent", "0"))
        self.tick_us = self.option("tcp_ts_tick_usecs", 1_000)
        self.ecr_scaled = "tcp_ts_ecr_scaled" in options
        v6 = options.get("ip_version", "ipv4") == "ipv6"
        local = options.get("local_ip", "fd3d:0a0b:17d6::1" if v6 else "192.168.0.1")
        remote = options.get("remote_ip", "fd3d:fa7b:d17d::1" if v6 else "192.0.2.1")
        self.ends = Endpoints(v6, local, remote, self.option("bind_port", 8080), self.option("connect_port", 8080))
        self.local, self.remote = self.parse_address(local), self.parse_address(remote)
        self.flow: Flow | None = None
        self.listening = False
        self.connecting = False
        self.next_port = 40_000
        self.test_fd: int | None = None
        self.route = commands.Route()
        self.settings: dict[str, str] = {}
        for line, text in script.setup:
            self.command(line, text, self.settings.__setitem__)
        self.host = self.make_host()
        self.last: Event | None = None
        self.last_time = 0
        self.calls: list[tuple[Event, Call, int | None]] = []

    def make_host(self) -> Host:
        try:
            return Host(self.ends, self.option("mtu", 1500), self.settings, self.route)
        except (KeyError, ValueError) as error:
            line = self.script.setup[0][0] if self.script.setup else 1
            raise ScriptError(self.script.path, line, f"sysctl: {error}", "unsupported") from None

    def option(self, name: str, default: int) -> int:
        value = self.script.options.get(name)
        if value is None:
            return default
        try:
            return int(value, 0)
        except ValueError:
            raise ScriptError(self.script.path, 1, f"--{name}={value}: expected an integer", "syntax") from None

    def parse_address(self, text: str) -> bytes:
        try:
            return wire.address(text)
        except ValueError as error:
            raise ScriptError(self.script.path, 1, str(error), "syntax") from None

    # -- the clock

    def run(self, capture_dir: str | None = None) -> Verdict:
        done = 0
        error = None
        try:
            if self.script.events[0].when.start != 0:
                raise self.fault(self.script.events[0], "the first event must be at time 0", "syntax")
            for event in self.script.events:
                self.event(event)
                self.last = event
                done += 1
            self.finish_calls()
        except ScriptError as failure:
            error = failure
        capture = None
        if error is not None and capture_dir is not None:
            capture = str(Path(capture_dir) / (Path(self.script.path).stem + ".pcapng"))
            self.host.save_capture(capture)
        return Verdict(self.script.path, error is None, done, error, capture, list(self.host.history))

    def event(self, event: Event) -> None:
        base = self.base(event)
        due = base + event.when.start
        action = event.action
        if isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound:
            self.expect(event, action, due, base + event.when.end)
            self.last_time = self.host.now
            return
        self.host.advance(due)
        self.check_calls()
        self.check_time(event, due, due, self.host.now)
        self.last_time = due
        if isinstance(action, SystemCall):
            self.call(event, action, None if action.end is None else base + action.end)
        elif isinstance(action, Command):
            self.command(event.line, action.line, self.host.set_sysctl)
            self.host.update_route(self.route)
        elif isinstance(action, Code):
            self.code(event, action)
        else:
            self.inject(event, action)

    def base(self, event: Event) -> int:
        """What the event's times count from."""
        if event.when.kind in (TimeKind.ABSOLUTE, TimeKind.ABSOLUTE_RANGE):
            return 0
        if self.last is not None and _inbound(self.last.action) and _inbound(event.action):
            return self.last_time
        return self.host.now

    def check_time(self, event: Event, start: int, end: int, actual: int) -> None:
        if event.when.kind is TimeKind.ANY:
            return
        slack = max(self.tolerance, int((start - self.last_time) * self.percent / 100))
        if actual < start - slack or actual > end + slack:
            span = f"{start / SECOND:.6f}" if start == end else f"{start / SECOND:.6f} to {end / SECOND:.6f}"
            when = f"happened at {actual / SECOND:.6f} s (tolerance {slack / SECOND:.6f})"
            raise self.fault(event, f"timing: expected at {span} s, {when}")

    def fault(self, event: Event, message: str, kind: str = "mismatch", actual: str = "") -> ScriptError:
        return ScriptError(self.script.path, event.line, message, kind, event.source, actual)

    def command(self, line: int, text: str, set_sysctl: Callable[[str, str], None]) -> None:
        try:
            commands.run(text, set_sysctl, self.route)
        except (commands.UnsupportedCommand, KeyError, ValueError) as error:
            raise ScriptError(self.script.path, line, f"unsupported: {error}", "unsupported", text) from None

    # -- outbound

    def expect(self, event: Event, wanted: Packet, start: int, end: int) -> None:
        limit = self.host.now + GIVE_UP if event.when.kind is TimeKind.ANY else max(end + self.tolerance, self.host.now)
        if isinstance(wanted, TcpPacket) and self.flow is not None and wanted.flags & SYN:
            self.bind_script_isn(wanted)
        first = self.next_live(event, wanted, limit)
        parts = [first]
        if isinstance(wanted, TcpPacket) and isinstance(first.packet, TcpPacket):
            total = first.packet.length
            while total < wanted.length:
                part = self.next_live(event, wanted, limit)
                if not isinstance(part.packet, TcpPacket) or not self.continues(parts, part, wanted.length - total):
                    trouble = f"expected {wanted.length} bytes; what came after {total} of them does not continue them"
                    raise self.fault(event, trouble, actual=self.text(part))
                parts.append(part)
                total += part.packet.length
        self.compare(event, wanted, parts, start, end)

    def bind_script_isn(self, wanted: TcpPacket) -> None:
        assert self.flow is not None
        self.flow.script_local_isn = wanted.seq

    def continues(self, parts: list[wire.Live], part: wire.Live, missing: int) -> bool:
        before, now = parts[-1].packet, part.packet
        assert isinstance(before, TcpPacket) and isinstance(now, TcpPacket)
        if now.length == 0 or now.length > missing:
            return False
        if now.length != before.length and now.length != missing:
            return False
        loose = ~(PSH | FIN | CWR)
        follows = now.seq == before.seq + before.length & 0xFFFFFFFF
        same = (now.flags & loose, now.ack, now.window, now.options, now.urgent) == (
            before.flags & loose, before.ack, before.window, before.options, before.urgent,
        )  # fmt: skip
        return follows and same and now.ip.tos == before.ip.tos

    def next_live(self, event: Event, wanted: Packet, limit: int) -> wire.Live:
        """The next packet of the flow under test that the stack sends, waiting for it until `limit`."""
        while True:
            while self.host.sent:
                now, image = self.host.sent.popleft()
                live = wire.read(image, now)
                if live is not None and self.matches(live, wanted):
                    return live
            if not self.host.advance_to_packet(limit):
                # It did not come in time; say when it would have come, if it ever does.
                late = self.host.advance_to_packet(limit + 64 * SECOND)
                self.check_calls()
                after = f"; the next packet came at {self.host.now / SECOND:.6f} s" if late else "; none came"
                text = ""
                if late:
                    seen = wire.read(self.host.sent[0][1], self.host.now)
                    text = self.text(seen) if seen is not None else ""
                raise self.fault(event, f"timing: no packet until {limit / SECOND:.6f} s{after}", actual=text)
            self.check_calls()

    def matches(self, live: wire.Live, wanted: Packet) -> bool:
        """Whether the packet belongs to the flow under test; learns the local end of one that connects."""
        if live.dst != self.remote or live.src != self.local:
            return False
        flow = self.flow
        if isinstance(live.packet, IcmpPacket):
            return isinstance(wanted, IcmpPacket)
        if self.connecting and (isinstance(live.packet, UdpPacket) or live.packet.flags & (SYN | ACK) == SYN):
            self.connecting = False
            self.flow = flow = Flow(self.local, self.remote, live.sport, live.dport)
            if isinstance(live.packet, TcpPacket):
                flow.live_local_isn, flow.isn_seen = live.packet.seq, True
                flow.script_local_isn = wanted.seq if isinstance(wanted, TcpPacket) else 0
        if flow is None:
            return False
        if isinstance(wanted, (TcpPacket, UdpPacket)) and wanted.ports is not None:
            return (live.sport, live.dport) == wanted.ports
        if (live.sport, live.dport) != (flow.local_port, flow.remote_port):
            return False
        if isinstance(live.packet, TcpPacket) and live.packet.flags & SYN and not flow.isn_seen:
            flow.live_local_isn, flow.isn_seen = live.packet.seq, True
        return True

    def compare(self, event: Event, wanted: Packet, parts: list[wire.Live], start: int, end: int) -> None:
        live = parts[0]
        actual: Packet = live.packet
        if isinstance(actual, TcpPacket):
            assert self.flow is not None
            tail = parts[-1].packet
            assert isinstance(tail, TcpPacket)
            whole = sum(len(part.payload) for part in parts)
            actual = replace(actual, length=whole, flags=actual.flags | tail.flags & (PSH | FIN))
            if len(parts) > 1:
                actual = replace(actual, flags=actual.flags & ~(PSH | FIN) | tail.flags & (PSH | FIN))
            actual = self.flow.to_script(actual, wanted if isinstance(wanted, TcpPacket) else None)
        slack = self.tolerance // (self.tick_us * USEC) if self.tick_us else 1 << 32
        trouble = difference(wanted, actual, slack)
        if trouble is None and any(any(part.payload) for part in parts) and not isinstance(wanted, IcmpPacket):
            trouble = "payload: the bytes are not those that were written"
        if trouble is not None:
            raise self.fault(event, trouble, actual=f"{live.now / SECOND:.6f} {packet_text(actual)}")
        self.check_time(event, start, end, live.now)

    def text(self, live: wire.Live) -> str:
        packet = live.packet
        if isinstance(packet, TcpPacket) and self.flow is not None:
            packet = self.flow.to_script(packet, None)
        return f"{live.now / SECOND:.6f} {packet_text(packet)}"

    # -- inbound

    def inject(self, event: Event, packet: Packet) -> None:
        if isinstance(packet, TcpPacket):
            image = self.tcp_image(event, packet)
        elif isinstance(packet, UdpPacket):
            flow = self.udp_flow(event, packet)
            sport, dport = packet.ports or (flow.remote_port, flow.local_port)
            image = wire.build_udp(packet, self.remote, self.local, sport, dport, bytes(packet.length))
        else:
            image = self.icmp_image(event, packet)
        self.host.inject(image)

    def udp_flow(self, event: Event, packet: UdpPacket) -> Flow:
        if self.flow is None:
            self.flow = Flow(self.local, self.remote, self.ends.bind_port, self.next_port)
        return self.flow

    def tcp_image(self, event: Event, packet: TcpPacket) -> bytes:
        if self.flow is None or self.listening:
            self.listening = False
            self.flow = Flow(self.local, self.remote, self.ends.bind_port, self.next_port)
            self.flow.script_remote_isn = self.flow.live_remote_isn = packet.seq
            self.next_port += 1
        elif packet.flags & SYN and self.flow.isn_seen:
            self.flow.script_remote_isn = self.flow.live_remote_isn = packet.seq
        flow = self.flow
        try:
            live = flow.to_live(packet, self.ecr_scaled)
        except ValueError as error:
            raise self.fault(event, str(error), "syntax") from None
        sport, dport = packet.ports or (flow.remote_port, flow.local_port)
        return wire.build_tcp(live, self.remote, self.local, sport, dport, bytes(packet.length))

    def icmp_image(self, event: Event, packet: IcmpPacket) -> bytes:
        quoted = b""
        if packet.quoted is not None:
            if self.flow is None:
                raise self.fault(event, "an ICMP message quotes a packet, but nothing was sent yet", "syntax")
            protocol, seq, length = packet.quoted
            seq = seq + self.flow.live_local_isn & 0xFFFFFFFF
            ports = (self.flow.local_port, self.flow.remote_port)
            quoted = wire.quote(self.local, self.remote, protocol, *ports, seq, length)
        try:
            return wire.build_icmp(packet, self.remote, self.local, quoted)
        except (KeyError, ValueError) as error:
            raise self.fault(event, f"unknown ICMP type or code {error}", "unsupported") from None

    # -- calls and code

    def call(self, event: Event, call: SystemCall, end: int | None) -> None:
        if call.name == "listen":
            self.listening, self.flow = True, None
        elif call.name == "connect":
            self.connecting = True
        pending = self.host.call(call)
        if call.end is None:
            self.host.settle()
            if not pending.finished:
                raise self.fault(event, f"{call.name}() blocks, and the script does not say until when")
            self.judge(event, pending)
        else:
            self.calls.append((event, pending, end))
            self.check_calls()
        if call.name in ("accept", "accept4", "connect", "socket") and pending.finished and pending.error is None:
            self.adopt(call)

    def adopt(self, call: SystemCall) -> None:
        number = call.result if call.name != "connect" else call.args[0]
        value = getattr(number, "value", None)
        if isinstance(value, int) and value >= 0:
            self.test_fd = value

    def check_calls(self) -> None:
        """Judge the blocking calls that have come back."""
        for entry in list(self.calls):
            event, pending, end = entry
            if not pending.finished:
                continue
            self.calls.remove(entry)
            self.judge(event, pending)
            assert isinstance(event.action, SystemCall) and end is not None
            slack = self.tolerance
            if abs(pending.finished_at - end) > slack:
                raise self.fault(
                    event, f"timing: {event.action.name}() was to return at {end / SECOND:.6f} s, "
                    f"did at {pending.finished_at / SECOND:.6f} s",
                )  # fmt: skip
            if event.action.name in ("accept", "accept4", "connect"):
                self.adopt(event.action)

    def finish_calls(self) -> None:
        for event, _, end in list(self.calls):
            assert end is not None and isinstance(event.action, SystemCall)
            self.host.advance(end + self.tolerance)
            self.check_calls()
            if any(entry[0] is event for entry in self.calls):
                raise self.fault(event, f"{event.action.name}() did not return until {self.host.now / SECOND:.6f} s")

    def judge(self, event: Event, pending: Call) -> None:
        if pending.unsupported is not None:
            raise self.fault(event, f"unsupported: {pending.unsupported}", "unsupported")
        if pending.error is not None:
            raise self.fault(event, pending.error, actual=pending.error)

    def code(self, event: Event, code: Code) -> None:
        names: dict[str, object] = dict(CODE_SYMBOLS)
        if self.test_fd is not None:
            names.update(tcp_info(self.host.tcp_info(self.test_fd)))
        try:
            exec(compile(code.text, f"{self.script.path}:{event.line}", "exec"), names)
        except AssertionError as error:
            used = {n: v for n, v in names.items() if n.startswith("tcpi_") and n in code.text}
            values = ", ".join(f"{n} = {v}" for n, v in used.items())
            raise self.fault(event, f"assertion failed: {error or code.text}", actual=values) from None
        except Exception as error:
            raise self.fault(event, f"code: {type(error).__name__}: {error}", "syntax") from None


def _inbound(action: object) -> bool:
    return isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and action.inbound


CODE_SYMBOLS: dict[str, int] = {
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4, "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8, "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11,
    "TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
    "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
}  # fmt: skip

_INFO_U32 = (
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent",
    "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh",
    "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space", "total_retrans",
)  # fmt: skip
_INFO_REST = (
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
)


def tcp_info(data: bytes) -> dict[str, int]:
    """`struct tcp_info` of include/uapi/linux/tcp.h to {tcpi_name: value}; a shorter one gives fewer names."""
    out: dict[str, int] = {}
    names = ("state", "ca_state", "retransmits", "probes", "backoff", "options")
    for i, name in enumerate(names):
        out["tcpi_" + name] = data[i]
    out["tcpi_snd_wscale"], out["tcpi_rcv_wscale"] = data[6] & 15, data[6] >> 4
    out["tcpi_delivery_rate_app_limited"] = data[7] & 1
    at = 8
    plan = [("I", name) for name in _INFO_U32]
    for code, text in _INFO_REST:
        plan += [(code, name) for name in text.split()]
    for code, name in plan:
        size = 8 if code == "Q" else 4
        if at + size > len(data):
            break
        out["tcpi_" + name] = struct.unpack_from("=" + code, data, at)[0]
        at += size
    return out
