"""Runs one script: keeps its clock, injects, makes calls, and gives the verdict.

Times. An absolute time counts from the start of the script; a relative one from the moment the event before it
happened, or, between two inbound packets, from when the earlier was due (so that small delays do not add up). An
outbound packet must come at its time, give or take the tolerance (4 ms unless the script sets one), or in its range.

Packets. What the stack sends is split into wire frames and queued in order; each expected packet is held against the
head of that queue. An expected packet longer than the frame there stands for several of them in a row, equal in
everything but sequence number, PSH, FIN and CWR, all full but the last.

Timestamps. The first outbound TS val binds the script's clock (a tick of 1 ms) to the stack's; later ones must come at
their tick, give or take the tolerance. Many public scripts write them carelessly, since packetdrill itself does not
look at them unless told to: where no --tcp_ts_tick_usecs is given, and most values of a script (two at least) do not
fit its own times, they are taken for careless and not checked. One wrong value that only
repeats the one before is no failure by itself: many scripts go on with a copy.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tools.packetdrill import commands, imports, wire
from tools.packetdrill.calls import Endpoints
from tools.packetdrill.captures import remark
from tools.packetdrill.codeblocks import CodeBlocks, say
from tools.packetdrill.compare import difference, packet_text
from tools.packetdrill.host import Call, Host
from tools.packetdrill.linuxhost import LinuxHost, in_child
from tools.packetdrill.mapping import Flow
from tools.packetdrill.options import trouble
from tools.packetdrill.parser import parse, script_text
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
from tools.packetdrill.verdict import Verdict

USEC = 1_000
SECOND = 1_000_000_000
GIVE_UP = 3_600 * SECOND
"""How long a packet without a time of its own may take before the script has failed."""
MIN_MTU6 = 1280  # RFC 8200 section 5


def run_file(
    path: str, capture_dir: str | None = None, options: dict[str, str] | None = None, on_linux: bool = False
) -> Verdict:
    """Parse and run one file. Never raises for what a script says. `on_linux`: against the host's own kernel.

    With `capture_dir`, a failure leaves a pcapng there. `options` hold against the `--name=value` lines of the file.
    `-` is standard input.
    """
    try:
        image = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        path = imports.STDIN if path == "-" else path
        text = script_text(image)
    except IsADirectoryError:
        return Verdict(path, False, 0, ScriptError(path, 0, "is a directory: name the scripts in it", "syntax"))
    except OSError as error:
        return Verdict(path, False, 0, ScriptError(path, 0, f"cannot be read: {error.strerror}", "syntax"))
    except ValueError as error:
        return Verdict(path, False, 0, ScriptError(path, 0, f"cannot be read: {error}", "syntax"))
    if not on_linux:
        return run_text(text, path, capture_dir, options)
    try:
        verdict: Verdict | None = in_child(lambda: run_text(text, path, capture_dir, options, LinuxHost))
    except TimeoutError as error:
        return Verdict(path, False, 0, ScriptError(path, 0, str(error), "crash"))
    return verdict or Verdict(path, False, 0, ScriptError(path, 0, "the run broke off", "crash"))


def run_text(
    text: str,
    path: str = "<script>",
    capture_dir: str | None = None,
    options: dict[str, str] | None = None,
    machine: type[Host] | type[LinuxHost] = Host,
) -> Verdict:
    """Parse and run a script given as text, on a machine of that kind."""
    given = dict(options or {})
    if (why := imports.missing(text, path, machine is LinuxHost)) is not None:
        return Verdict(path, False, 0, ScriptError(path, 0, why, "unsupported"))
    try:
        script = parse(text, path, dict(item.split("=", 1) for item in given.pop("define", "").split("\n") if item))
        script.options = {**script.options, **given}
        if "dry_run" in script.options:
            return Verdict(path, True, 0)
        runner = Runner(script, machine)
    except ScriptError as error:
        return Verdict(path, False, 0, error)
    except OSError as error:
        return Verdict(path, False, 0, ScriptError(path, 0, f"no machine: {error.strerror or error}", "unsupported"))
    try:
        return runner.run(capture_dir)
    finally:
        runner.host.close()


class Runner:
    """One run of one script on a fresh machine."""

    def __init__(self, script: Script, machine: type[Host] | type[LinuxHost] = Host) -> None:
        self.script = script
        self.machine = machine
        options = script.options
        for name, value in options.items():
            if (why := trouble(name, value)) is not None:
                raise ScriptError(script.path, script.option_lines.get(name, 1), why, "unsupported")
        self.forgiven = frozenset(options.get("non_fatal", "").replace(",", " ").split())
        self.warnings: list[ScriptError] = []
        self.verbose = "verbose" in options
        self.told = 0  # so much of the history has been said
        self.tolerance = self.option("tolerance_usecs", 4_000) * USEC
        self.tolerance = max(self.tolerance, getattr(machine, "slack_usecs", 0) * USEC)
        self.percent = self.share("tolerance_percent")
        self.tick_us = self.option("tcp_ts_tick_usecs", 1_000)
        self.careless_ts = "tcp_ts_tick_usecs" not in options
        self.ts_seen = 0
        self.ts_off = 0
        self.ts_written = -1
        self.ts_wrong: list[ScriptError] = []
        self.strict = "strict_segments" in options
        self.mss = self.option("mss", 0)
        self.ecr_scaled = "tcp_ts_ecr_scaled" in options
        version = options.get("ip_version", "ipv4")
        v6 = version == "ipv6"
        local = options.get("local_ip", "fd3d:0a0b:17d6::1" if v6 else "192.168.0.1")
        remote = options.get("remote_ip", "fd3d:fa7b:d17d::1" if v6 else "192.0.2.1").partition("/")[0]
        bind_port, connect_port = self.option("bind_port", 8080), self.option("connect_port", 8080)
        self.ends = Endpoints(v6, local, remote, bind_port, connect_port, version == "ipv4-mapped-ipv6")
        self.ends.slack_ns = self.tolerance
        self.local, self.remote = self.parse_address("local_ip", local), self.parse_address("remote_ip", remote)
        self.flow: Flow | None = None
        self.flows: dict[tuple[int, int], Flow] = {}  # those that packets with ports name
        self.blocks = CodeBlocks(script.path)
        self.listening = False
        self.connecting = False
        self.next_port = 40_000
        self.test_fd: int | None = None
        self.route = commands.Route()
        self.settings: dict[str, str] = {}
        first = [(script.option_lines.get("init_scripts", 1), p) for p in options.get("init_scripts", "").split(",")]
        for line, text in first + script.setup:
            self.command(line, text, self.prepare, started=False)
        if v6 and self.option("mtu", 1500) < MIN_MTU6:
            at = script.option_lines.get("mtu", 1)
            raise ScriptError(script.path, at, f"option --mtu={options['mtu']}: IPv6 needs {MIN_MTU6}", "unsupported")
        self.host = self.make_host()
        self.last: Event | None = None
        self.last_time = 0
        self.calls: list[tuple[Event, Call, int | None]] = []

    def prepare(self, name: str, value: str) -> None:
        """A setting with which the machine is to begin."""
        self.machine.check(name, value)
        self.settings[name] = value

    def make_host(self) -> Host | LinuxHost:
        try:
            return self.machine(self.ends, self.option("mtu", 1500), self.settings, self.route, self.strict)
        except (KeyError, ValueError) as error:
            line = self.script.setup[0][0] if self.script.setup else 1
            raise ScriptError(self.script.path, line, f"sysctl: {error.args[0]}", "unsupported") from None

    def option(self, name: str, default: int) -> int:
        value = self.script.options.get(name)
        if value is None:
            return default
        try:
            return int(value, 0)
        except ValueError:
            raise ScriptError(self.script.path, 1, f"--{name}={value}: expected an integer", "syntax") from None

    def share(self, name: str) -> float:
        """An option that is a percentage; 0 where it is not given."""
        value = self.script.options.get(name, "0")
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not math.isfinite(share):
            raise ScriptError(self.script.path, 1, f"--{name}={value}: expected a number", "syntax")
        return share

    def parse_address(self, name: str, text: str) -> bytes:
        path, line = self.script.path, self.script.option_lines.get(name, 1)
        try:
            address = wire.address(text)
        except ValueError as error:
            raise ScriptError(path, line, f"--{name}: {error}", "syntax") from None
        if len(address) != (16 if self.ends.v6 else 4):
            wanted = f"the test speaks IPv{6 if self.ends.v6 else 4}: see --ip_version"
            raise ScriptError(path, line, f"--{name}={text}: {wanted}", "syntax")
        return address

    # -- the clock

    def run(self, capture_dir: str | None = None) -> Verdict:
        done = 0
        error = None
        if capture_dir is not None:
            self.host.explain()
        try:
            if self.script.events[0].when.start != 0:
                raise self.fault(self.script.events[0], "the first event must be at time 0", "syntax")
            for event in self.script.events:
                try:
                    self.event(event)
                except ScriptError as failure:
                    self.forgive(event, failure)
                    self.last_time = self.host.now
                self.tell(event)
                self.last = event
                done += 1
            self.finish_calls()
            if self.ts_wrong and not (self.ts_off > 1 and 2 * self.ts_off > self.ts_seen):
                raise self.ts_wrong[0]
            for line, text in self.script.cleanup:
                self.command(line, text, self.host.set_sysctl)
        except ScriptError as failure:
            error = failure
        except Exception as crash:  # the stack's own failure: a verdict on it, not the end of the other scripts
            last = traceback.extract_tb(crash.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            event = self.script.events[min(done, len(self.script.events) - 1)]
            error = self.fault(event, f"the stack failed at {where}: {type(crash).__name__}: {crash}", "crash")
        capture, unsaved = None, ""
        if error is not None and capture_dir is not None:
            capture = str(Path(capture_dir) / (Path(self.script.path).stem + ".pcapng"))
            if any(_packet(event.action) and event.line == error.line for event in self.script.events):
                remark(error, self.host.history, self.host.comments, len(self.host.sent))
            try:
                self.host.save_capture(capture)
            except OSError as why:
                capture, unsaved = None, f"{capture}: {why.strerror or why}"
        if error is not None:
            self.tell(None)
        history = list(self.host.history)
        return Verdict(self.script.path, error is None, done, error, capture, unsaved, self.warnings, history)

    def forgive(self, event: Event, failure: ScriptError) -> None:
        """A warning, where --non_fatal says so; raised again where it does not."""
        kind = "syscall" if isinstance(event.action, SystemCall) else "packet" if _packet(event.action) else ""
        if failure.kind != "mismatch" or kind not in self.forgiven:
            raise failure
        self.warnings.append(failure)

    def tell(self, event: Event | None) -> None:
        """--verbose: what crossed the device since the last time, and the event that was carried out."""
        if not self.verbose:
            return
        for now, way, image in self.host.history[self.told :]:
            seen = wire.read(image, now)
            text = "no packet that a script speaks of" if seen is None else self.text(seen, inbound=way == "in")
            say(f"{way:>3} {text if seen is not None else f'{now / SECOND:.6f} {text}'}")
        self.told = len(self.host.history)
        if event is not None:
            say(f"    {self.host.now / SECOND:.6f} line {event.line}: {event.source}")

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
            self.blocks.run(event, action, self.host, self.test_fd)
        else:
            self.inject(event, action)

    def base(self, event: Event) -> int:
        """What the event's times count from."""
        if event.when.kind in (TimeKind.ABSOLUTE, TimeKind.ABSOLUTE_RANGE):
            return 0
        if self.last is not None and _inbound(self.last.action) and _inbound(event.action):
            return self.last_time
        return self.host.now

    def check_time(self, event: Event, start: int, end: int, actual: int, came: str = "") -> None:
        if event.when.kind is TimeKind.ANY:
            return
        slack = max(self.tolerance, int((start - self.last_time) * self.percent / 100))
        if actual < start - slack or actual > end + slack:
            span = f"{start / SECOND:.6f}" if start == end else f"{start / SECOND:.6f} to {end / SECOND:.6f}"
            when = f"happened at {actual / SECOND:.6f} s (tolerance {slack / SECOND:.6f})"
            raise self.fault(event, f"timing: expected at {span} s, {when}", actual=came)

    def fault(self, event: Event, message: str, kind: str = "mismatch", actual: str = "") -> ScriptError:
        return ScriptError(self.script.path, event.line, message, kind, event.source, actual)

    def command(self, line: int, text: str, set_sysctl: Callable[[str, str], None], started: bool = True) -> None:
        inside = getattr(self.host, "shell", None) if started else None
        try:
            commands.run(text, set_sysctl, self.route, str(Path(self.script.path).parent), inside)
        except commands.CommandFailed as error:
            raise ScriptError(self.script.path, line, str(error), "mismatch", text, str(error)) from None
        except (commands.UnsupportedCommand, KeyError, ValueError) as error:
            why = error.args[0] if isinstance(error, KeyError) else error
            raise ScriptError(self.script.path, line, f"unsupported: {why}", "unsupported", text) from None
        except OSError as error:
            raise ScriptError(self.script.path, line, str(error.strerror or error), "mismatch", text) from None

    # -- outbound

    def expect(self, event: Event, wanted: Packet, start: int, end: int) -> None:
        limit = self.host.now + GIVE_UP if event.when.kind is TimeKind.ANY else max(end + self.tolerance, self.host.now)
        first = self.next_live(event, wanted, limit)
        parts = [first]
        if isinstance(wanted, TcpPacket) and isinstance(first.packet, TcpPacket) and not self.strict:
            total = first.packet.length
            while total < wanted.length:
                part = self.next_live(event, wanted, limit)
                if not isinstance(part.packet, TcpPacket) or not self.continues(parts, part, wanted.length - total):
                    trouble = f"expected {wanted.length} bytes; what came after {total} of them does not continue them"
                    raise self.fault(event, trouble, actual=self.text(part))
                parts.append(part)
                total += part.packet.length
        self.compare(event, wanted, parts, start, end)

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
                if live is not None and self.matches(event, live, wanted):
                    return live
            if not self.host.advance_to_packet(limit):
                # It did not come in time; say when it would have come, if it ever does.
                late = "packet" not in self.forgiven and self.host.advance_to_packet(limit + 64 * SECOND)
                self.check_calls()
                after = f"; the next packet came at {self.host.now / SECOND:.6f} s" if late else "; none came"
                text = ""
                if late:
                    seen = wire.read(self.host.sent[0][1], self.host.now)
                    text = self.text(seen) if seen is not None else ""
                trouble = self.fault(event, f"timing: no packet until {limit / SECOND:.6f} s{after}", actual=text)
                trouble.late = late
                raise trouble
            self.check_calls()

    def matches(self, event: Event, live: wire.Live, wanted: Packet) -> bool:
        """Whether the packet belongs to the flow under test; learns the local end of one that connects."""
        if live.dst != self.remote or live.src != self.local:
            return False
        if isinstance(live.packet, IcmpPacket):
            return isinstance(wanted, IcmpPacket)
        if self.connecting and (isinstance(live.packet, UdpPacket) or live.packet.flags & (SYN | ACK) == SYN):
            self.connecting = False
            self.flow = Flow(self.local, self.remote, live.sport, live.dport)
            self.flows[live.sport, live.dport] = self.flow
        flow = self.expected_flow(wanted)
        if flow is None:
            return False
        if (live.sport, live.dport) != (flow.local_port, flow.remote_port):
            other = self.flows.get((live.sport, live.dport))
            if other is not None and other.named and flow.named:
                raise self.fault(event, "a packet of another connection came", actual=self.text(live, other))
            return False
        if isinstance(live.packet, TcpPacket):
            flow.saw_outbound(live.packet)
        return True

    def expected_flow(self, wanted: Packet) -> Flow | None:
        """The connection a packet of the script speaks of: the one whose ports it has, else the one under test."""
        if isinstance(wanted, IcmpPacket) or wanted.ports is None:
            return self.flow
        ports = wanted.ports[::-1] if wanted.inbound else wanted.ports
        flow = self.flows.get(ports)
        if flow is not None:
            flow.named = True
        return flow

    def compare(self, event: Event, wanted: Packet, parts: list[wire.Live], start: int, end: int) -> None:
        live = parts[0]
        actual: Packet = live.packet
        if isinstance(actual, TcpPacket):
            flow = self.expected_flow(wanted)
            assert flow is not None
            tail = parts[-1].packet
            assert isinstance(tail, TcpPacket)
            whole = sum(len(part.payload) for part in parts)
            actual = replace(actual, length=whole, flags=actual.flags | tail.flags & (PSH | FIN))
            if isinstance(actual.ip.flowlabel, int):
                label = flow.script_label(wanted.ip.flowlabel, actual.ip.flowlabel)
                actual = replace(actual, ip=replace(actual.ip, flowlabel=label))
            if len(parts) > 1:
                actual = replace(actual, flags=actual.flags & ~(PSH | FIN) | tail.flags & (PSH | FIN))
            bound = flow.first_script_ts is not None
            actual = flow.to_script(actual, wanted if isinstance(wanted, TcpPacket) else None)
            if bound and isinstance(wanted, TcpPacket):
                self.check_clock(event, wanted, actual, live)
        elif isinstance(actual, IcmpPacket):
            actual = self.icmp_to_script(event, wanted, actual)
        came = f"{live.now / SECOND:.6f} {packet_text(actual, self.ports(live))}"
        trouble = difference(wanted, actual)
        if trouble is None and any(any(part.payload) for part in parts) and not isinstance(wanted, IcmpPacket):
            trouble = "payload: the bytes are not those that were written"
        if trouble is not None:
            raise self.fault(event, trouble, actual=came)
        self.check_time(event, start, end, live.now, came)

    def icmp_to_script(self, event: Event, wanted: Packet, actual: IcmpPacket) -> IcmpPacket:
        """An ICMP message of the stack with the script's names for type and code, and what it quotes in the script's
        numbers; or only how long the message is."""
        if not isinstance(wanted, IcmpPacket) or actual.quoted is None:
            return actual
        try:
            if wire.icmp_numbers(wanted, self.ends.v6) == wire.icmp_numbers(actual, self.ends.v6):
                actual = replace(actual, type=wanted.type, code=wanted.code)
        except ValueError as error:
            raise self.fault(event, str(error), "syntax") from None
        assert actual.quoted is not None
        protocol, seq, length = actual.quoted
        if protocol == "tcp" and self.flow is not None:
            seq = seq - (self.flow.live_remote_isn if seq != self.flow.live_remote_isn else 0) & 0xFFFFFFFF
        return replace(actual, quoted=(protocol, seq, length))

    def check_clock(self, event: Event, wanted: TcpPacket, actual: TcpPacket, live: wire.Live) -> None:
        """TS val: at its tick, or noted for a judgement on the whole script."""
        values = [option.values[0] for side in (wanted, actual) for option in side.options or () if option.kind == "TS"]
        if len(values) != 2 or not self.tick_us:
            return
        repeated, self.ts_written = values[0] == self.ts_written, values[0]
        self.ts_seen += 1
        apart = (values[1] - values[0] + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if abs(apart) * 1_000_000 <= self.tolerance * (1000 / self.tick_us):
            return
        message = f"option: expected TS val {values[0]}, got {values[1]} (tolerance {self.tolerance / 1e6:g} ms)"
        trouble = self.fault(event, message, actual=f"{live.now / SECOND:.6f} {packet_text(actual)}")
        if not self.careless_ts:
            raise trouble
        self.ts_off += 1
        if not repeated:
            self.ts_wrong.append(trouble)

    def text(self, live: wire.Live, flow: Flow | None = None, inbound: bool = False) -> str:
        packet = live.packet
        if inbound:
            flow = self.flows.get((live.dport, live.sport))
            packet = replace(packet, inbound=True)
            if isinstance(packet, TcpPacket) and flow is not None:
                packet = flow.from_live(packet)
            return f"{live.now / SECOND:.6f} {packet_text(packet, self.ports(live))}"
        flow = flow or self.flows.get((live.sport, live.dport)) or self.flow
        if isinstance(packet, TcpPacket) and packet.flags & SYN and (flow is None or not flow.isn_seen):
            packet = replace(packet, seq=0, ack=flow.to_script(packet, None).ack if flow else packet.ack)
        elif isinstance(packet, TcpPacket) and flow is not None:
            packet = flow.to_script(packet, None)
        return f"{live.now / SECOND:.6f} {packet_text(packet, self.ports(live))}"

    def ports(self, live: wire.Live) -> tuple[int, int] | None:
        """Of a packet, where the script names ports: it has several connections."""
        return (live.sport, live.dport) if any(flow.named for flow in self.flows.values()) else None

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
        self.host.inject(image, self.mss, packet.length if isinstance(packet, TcpPacket) else 0)

    def udp_flow(self, event: Event, packet: UdpPacket) -> Flow:
        if self.flow is None:
            self.flow = Flow(self.local, self.remote, self.ends.bind_port, self.ends.connect_port)
        return self.flow

    def tcp_image(self, event: Event, packet: TcpPacket) -> bytes:
        flow = self.inbound_flow(packet)
        flow.saw_inbound(packet)
        try:
            live = flow.to_live(packet, self.ecr_scaled)
        except ValueError as error:
            raise self.fault(event, str(error), "syntax") from None
        payload = bytes(packet.length)
        return wire.build_tcp(live, self.remote, self.local, flow.remote_port, flow.local_port, payload)

    def inbound_flow(self, packet: TcpPacket) -> Flow:
        """The connection an inbound packet is for; the first one to a listener makes a new one."""
        if packet.ports is not None:
            remote_port, local_port = packet.ports
            flow = self.flows.get((local_port, remote_port))
            if flow is None:
                flow = self.flows[local_port, remote_port] = Flow(self.local, self.remote, local_port, remote_port)
                if self.flow is None:
                    self.flow, self.listening = flow, False
            flow.named = True
            return flow
        if self.flow is None or self.listening:
            self.listening = False
            self.flow = Flow(self.local, self.remote, self.ends.bind_port, self.next_port)
            self.flows[self.ends.bind_port, self.next_port] = self.flow
            self.next_port += 1
        return self.flow

    def icmp_image(self, event: Event, packet: IcmpPacket) -> bytes:
        quoted = b""
        what = packet.quoted
        if what is None and packet.type in wire.QUOTING and self.flow is not None:
            what = ("tcp", 0, 0)  # as packetdrill does where the script does not say
        if what is not None and what[0] == "raw":
            return self.built_icmp(event, packet, bytes(max(what[2] - 8, 0)))
        if what is not None:
            if self.flow is None:
                raise self.fault(event, "an ICMP message quotes a packet, but nothing was sent yet", "syntax")
            protocol, seq, length = what
            seq = seq + self.flow.live_local_isn - self.flow.script_local_isn * (seq == self.flow.script_local_isn)
            seq &= 0xFFFFFFFF
            ports = (self.flow.local_port, self.flow.remote_port)
            quoted = wire.quote(self.local, self.remote, protocol, *ports, seq, length)
        return self.built_icmp(event, packet, quoted)

    def built_icmp(self, event: Event, packet: IcmpPacket, body: bytes) -> bytes:
        try:
            return wire.build_icmp(packet, self.remote, self.local, body)
        except ValueError as error:
            raise self.fault(event, str(error), "syntax") from None

    # -- calls and code

    def call(self, event: Event, call: SystemCall, end: int | None) -> None:
        if call.name == "listen" and call.errno is None:
            self.listening, self.flow = True, None
        elif call.name == "connect":
            self.connecting = True
        pending = self.host.call(call)
        if call.end is None:
            self.host.settle()
            if not pending.finished:
                self.forgiven = frozenset()  # there is nobody any more to make a call
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
            assert isinstance(event.action, SystemCall) and end is not None
            try:
                self.judge(event, pending)
                assert event.action.end is not None
                slack = max(self.tolerance, int((event.action.end - event.when.start) * self.percent / 100))
                if abs(pending.finished_at - end) > slack:
                    raise self.fault(
                        event, f"timing: {event.action.name}() was to return at {end / SECOND:.6f} s, "
                        f"did at {pending.finished_at / SECOND:.6f} s",
                    )  # fmt: skip
            except ScriptError as failure:
                self.forgive(event, failure)
            if event.action.name in ("accept", "accept4", "connect"):
                self.adopt(event.action)

    def finish_calls(self) -> None:
        for event, _, end in list(self.calls):
            assert end is not None and isinstance(event.action, SystemCall)
            self.host.advance(end + self.tolerance)
            self.check_calls()
            if any(entry[0] is event for entry in self.calls):
                until = f"until {self.host.now / SECOND:.6f} s"
                self.forgive(event, self.fault(event, f"{event.action.name}() did not return {until}"))

    def judge(self, event: Event, pending: Call) -> None:
        if pending.unsupported is not None:
            raise self.fault(event, f"unsupported: {pending.unsupported}", "unsupported")
        if pending.error is not None:
            call, (_, got, came) = pending.error.partition(":")[0], pending.error.rpartition(", got ")
            raise self.fault(event, pending.error, actual=f"{call}: {came}" if got else "")


def _packet(action: object) -> bool:
    return isinstance(action, (TcpPacket, UdpPacket, IcmpPacket))


def _inbound(action: object) -> bool:
    return isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and action.inbound
