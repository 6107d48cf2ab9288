"""Between the script's numbers and the live ones: initial sequence numbers, ports and the timestamp clock.

A script counts sequence numbers from each side's ISN and writes timestamps as it likes. Only SYN segments carry ISNs as
written; every other number is relative. The first outbound `TS val` binds the script's clock to the stack's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tools.packetdrill.script import ACK, SYN, Option, TcpPacket

_MASK = 0xFFFFFFFF


@dataclass
class Flow:
    """The connection under test: live addresses and ports, and the offsets between script and live numbers."""

    local: bytes
    remote: bytes
    local_port: int
    remote_port: int
    script_local_isn: int = 0
    live_local_isn: int = 0
    script_remote_isn: int = 0
    live_remote_isn: int = 0
    isn_seen: bool = False
    remote_seen: bool = False
    last_syn: int | None = None
    named: bool = False
    """Packets of the script name its ports: the test has several connections, and all of them count."""
    first_script_ts: int | None = None
    first_live_ts: int = 0
    live_ts: dict[int, int] = field(default_factory=dict)
    labels: tuple[int, int] | None = None
    """The IPv6 flow label as the script wrote it last, and the live one that it stands for."""

    def saw_inbound(self, packet: TcpPacket) -> None:
        """The first inbound SYN (or, without one, the first packet) of a connection says what the remote ISN is."""
        syn = bool(packet.flags & SYN)
        if not self.remote_seen and (syn or not self.isn_seen):
            self.remote_seen = True
            self.script_remote_isn = self.live_remote_isn = packet.seq
        if syn and not packet.flags & ACK:
            self.last_syn = packet.seq

    def saw_outbound(self, live: TcpPacket) -> None:
        """The stack's ISN, from its SYN; scripts write it 0. Another one is taken only for an answer to a new SYN:
        the ports are used again."""
        if not live.flags & SYN:
            return
        syn = self.last_syn
        again = live.flags & ACK and syn is not None and syn != self.live_remote_isn
        if again and syn is not None and live.seq != self.live_local_isn and live.ack == syn + 1 & _MASK:
            self.script_remote_isn = self.live_remote_isn = syn
            self.isn_seen = False
        if not self.isn_seen:
            self.isn_seen = True
            self.live_local_isn = live.seq

    def script_label(self, wanted: int | None, live: int) -> int:
        """A flow label in the script's terms: what is written there only says whether it is that of the packet before
        or another one. 0, which no label is, stays."""
        if not wanted or not live:
            return live
        if self.labels is None or (wanted != self.labels[0] and live != self.labels[1]):
            self.labels = wanted, live
        written, bound = self.labels
        return written if live == bound else live

    def _local_offset(self, syn: bool) -> int:
        return self.live_local_isn - self.script_local_isn if syn else self.live_local_isn

    def _remote_offset(self, syn: bool) -> int:
        return self.live_remote_isn - self.script_remote_isn if syn else self.live_remote_isn

    def to_live(self, packet: TcpPacket, ts_scaled: bool = False) -> TcpPacket:
        """An inbound packet of the script with live numbers. ValueError when its TS ecr answers nothing sent."""
        syn = bool(packet.flags & SYN)
        seq = packet.seq + self._remote_offset(syn) & _MASK
        ack = packet.ack + self._local_offset(syn) & _MASK if packet.flags & ACK else packet.ack
        options = []
        for option in packet.options or ():
            if option.kind == "sack":
                edges = tuple(edge + self._local_offset(syn) & _MASK for edge in option.values)
                option = replace(option, values=edges)
            elif option.kind == "TS" and packet.flags & ACK:
                option = replace(option, values=(option.values[0], self._live_ecr(option.values[1], ts_scaled)))
            options.append(option)
        return replace(packet, seq=seq, ack=ack, options=tuple(options))

    def _live_ecr(self, script: int, scaled: bool) -> int:
        live = self.live_ts.get(script)
        if live is not None:
            return live
        if scaled and self.first_script_ts is not None:
            return script - self.first_script_ts + self.first_live_ts & _MASK
        raise ValueError(f"TS ecr {script} echoes no TS val that an outbound packet of the script carried")

    def from_live(self, packet: TcpPacket) -> TcpPacket:
        """What was injected, in the script's numbers again; TS ecr stays as it went out."""
        syn = bool(packet.flags & SYN)
        seq = packet.seq - self._remote_offset(syn) & _MASK
        ack = packet.ack - self._local_offset(syn) & _MASK if packet.flags & ACK else packet.ack
        options = []
        for option in packet.options or ():
            if option.kind == "sack":
                edges = tuple(edge - self._local_offset(syn) & _MASK for edge in option.values)
                option = replace(option, values=edges)
            options.append(option)
        return replace(packet, seq=seq, ack=ack, options=tuple(options))

    def to_script(self, live: TcpPacket, expected: TcpPacket | None) -> TcpPacket:
        """An outbound packet of the stack in the script's numbers; binds the timestamp clock to `expected`'s."""
        syn = bool(live.flags & SYN)
        seq = live.seq - self._local_offset(syn) & _MASK
        ack = live.ack - self._remote_offset(syn) & _MASK if live.flags & ACK else live.ack
        wanted = {option.kind: option for option in (expected.options or ())} if expected else {}
        options = []
        for option in live.options or ():
            if option.kind == "sack":
                edges = tuple(edge - self._remote_offset(syn) & _MASK for edge in option.values)
                option = replace(option, values=edges)
            elif option.kind == "TS":
                option = self._script_ts(option, wanted.get("TS"))
            options.append(option)
        return replace(live, seq=seq, ack=ack, options=tuple(options))

    def _script_ts(self, option: Option, wanted: Option | None) -> Option:
        value, echo = option.values
        if wanted is not None:
            if self.first_script_ts is None:
                self.first_script_ts, self.first_live_ts = wanted.values[0], value
            self.live_ts[wanted.values[0]] = value
        if self.first_script_ts is not None:
            value = value - self.first_live_ts + self.first_script_ts & _MASK
        return replace(option, values=(value, echo))
