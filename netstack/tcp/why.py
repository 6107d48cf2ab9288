"""Why did it send that? Connections that give a reason for each segment, if that is asked for before they are made.

After `observe(stack)` every new connection is an `Observed` one. It follows what drives the connection (a segment, a
deadline, a user call), looks at the TCB before and after, and gives each segment that leaves a reason in words. The
reason becomes the frame's `comment`, which captures write beside the packet. Each acknowledgment that is processed,
each segment sent and each change of phase becomes an event (a dict of plain values, see `Observed.event`) for the
observer's sinks. A stack that nobody observes pays nothing for this: its connections are of another class.

Comments are put on what is out of the ordinary: retransmissions, probes, bare ACKs, resets, the FIN, data sent because
of duplicate ACKs or in a recovery. Ordinary new data has only an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netstack.address import format_ip
from netstack.tcp.connection import Connection
from netstack.tcp.delack import in_pingpong
from netstack.tcp.scoreboard import (
    DATA_SACKED,
    ECE_SEEN,
    LOST,
    NOT_DUP,
    RETRANS_OUT,
    SACKED,
    SND_UNA_ADVANCED,
    index_of,
)  # fmt: skip
from netstack.tcp.segment import ACK, FIN, RST, SYN, flag_text
from netstack.tcp.seq import unwrap
from netstack.tcp.tcb import (
    CA_CWR,
    CA_DISORDER,
    CA_LOSS,
    CA_OPEN,
    CA_RECOVERY,
    INFINITE_SSTHRESH,
    LOSS_PROBE,
    MS,
    PROBE0,
    REO_TIMEOUT,
    RETRANS,
    SECOND,
    STATE_NAMES,
    SYN_RECEIVED,
    SYN_SENT,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.stack import Stack
    from netstack.tcp.engine import Tcp
    from netstack.tcp.segment import Segment

Event = dict[str, Any]
Sink = Callable[[Event], None]

PHASES = {
    CA_OPEN: "Open", CA_DISORDER: "Disorder", CA_CWR: "CWR", CA_RECOVERY: "Recovery", CA_LOSS: "Loss",
}  # fmt: skip
KINDS = {RETRANS: "rto", LOSS_PROBE: "tlp", REO_TIMEOUT: "rack", PROBE0: "persist"}
UNDOS = (  # counter, what it means; the first one that has moved tells what happened
    ("TCPSpuriousRTOs", "F-RTO: the timeout was spurious"),
    ("TCPDSACKUndo", "D-SACK: every retransmission was unnecessary"),
    ("TCPLossUndo", "Eifel: the originals arrived, the timeout was spurious"),
    ("TCPFullUndo", "Eifel: the originals arrived, nothing was lost"),
    ("TCPPartialUndo", "Eifel: the original filled the hole"),
)  # fmt: skip
RUNS = 16  # so many runs of the scoreboard are in an event at most


def ordinal(n: int) -> str:
    if 10 <= n % 100 <= 20:
        return f"{n}th"
    return f"{n}{({1: 'st', 2: 'nd', 3: 'rd'}).get(n % 10, 'th')}"


def duration(ns: int) -> str:
    """In words, with three digits, which is enough for a reason."""
    if ns >= 10 * SECOND:
        return f"{ns / SECOND:.0f} s"
    if ns >= SECOND:
        return f"{ns / SECOND:.3g} s"
    if ns >= MS:
        return f"{ns / MS:.3g} ms"
    return f"{ns / 1000:.3g} µs"


class Observer:
    """The observer of one stack: where reasons go, other than into frames."""

    __slots__ = ("engine", "explained", "send", "sinks")

    def __init__(self, engine: Tcp) -> None:
        self.engine = engine
        self.explained = False  # a connection's segment is passing through, with its reason
        self.send = engine.send
        self.sinks: list[Sink] = []
        engine.send = self.reply

    def reply(self, path: Any, frame: Any, now: int) -> Any:
        """A segment of no connection: an answer to a SYN, or to a segment that nobody wants."""
        if self.explained:
            return self.send(path, frame, now)
        engine = self.engine
        header = bytes(frame.data[len(path.template) :])
        flags = header[13]
        key = path.src + path.dst + header[:4]
        owner = engine.table.get(key)
        if flags & RST:
            reason = "RST: no connection has these addresses and ports, and nobody listens"
            if owner is not None:
                reason = "RST: the segment is not acceptable in this state"
        elif flags & SYN:
            again = getattr(owner, "retrans", 0)
            if owner is None:
                reason = "SYN-ACK with a cookie: too many handshakes are open"
            elif again:
                reason = f"SYN-ACK again ({ordinal(again)} retransmission): its ACK has not come"
            else:
                reason = "SYN-ACK: a SYN came to a listening socket"
        elif owner is not None and hasattr(owner, "listener"):
            reason = "ACK: the handshake's segment is not acceptable"
        else:
            reason = "ACK from TIME-WAIT: the peer's segment came again"
        frame.comment = reason
        if self.sinks:
            event = {
                "time_ns": now, "connection": name_of(key), "event": "send", "seq": 0, "length": 0,
                "flags": flag_text(flags), "reason": reason,
            }  # fmt: skip
            self.tell(event)
        return self.send(path, frame, now)

    def tell(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)


def observe(stack: Stack, sink: Sink | None = None) -> Observer:
    """Have connections that are made from now on give their reasons; `sink` is called with each event."""
    engine = stack.tcp
    observer: Observer | None = engine.why
    if observer is None:
        observer = engine.why = Observer(engine)
        engine.connection = Observed
    if sink is not None:
        observer.sinks.append(sink)
    return observer


def name_of(key: bytes) -> str:
    """LOCAL:PORT-REMOTE:PORT of a demultiplexing key."""
    n = (len(key) - 4) // 2
    ends = []
    for address, port in ((key[:n], key[-4:-2]), (key[n : 2 * n], key[-2:])):
        text = format_ip(address)
        ends.append(f"{f'[{text}]' if n == 16 else text}:{int.from_bytes(port, 'big')}")
    return "-".join(ends)


class Before:
    """The connection as it was before the event that drives it now."""

    __slots__ = (
        "ack_quick", "ato_ns", "ca_state", "cwnd", "end", "flags", "length", "lsndtime_ns", "ooo", "rcv_nxt",
        "rcv_ssthresh", "rcv_wup", "right", "seq", "snd_wnd", "state", "undos",
    )  # fmt: skip

    def __init__(self, c: Connection, seg: Segment | None = None) -> None:
        self.state = c.state
        self.ca_state = c.ca_state
        self.cwnd = c.cwnd
        self.snd_wnd = c.snd_wnd
        self.rcv_nxt = c.rcv_nxt
        self.rcv_wup = c.rcv_wup
        self.right = c.rcv_nxt + c.receive_window()
        self.ack_quick = 0 if in_pingpong(c) else c.ack_quick
        self.ato_ns = c.ato_ns
        self.rcv_ssthresh = c.rcv_ssthresh
        self.ooo = bool(c.ooo)
        self.lsndtime_ns = max(c.lsndtime_ns, c.rtx[-1].xmit_ns) if c.rtx else c.lsndtime_ns
        counters = c.counters
        self.undos = [getattr(counters, name) for name, _ in UNDOS]
        self.seq = self.end = self.length = self.flags = 0
        if seg is not None:
            self.flags = seg.flags
            self.length = seg.length
            self.seq = unwrap(seg.seq, c.rcv_nxt)
            self.end = self.seq + seg.length + (seg.flags & FIN)


class Observed(Connection):
    """A connection that gives reasons."""

    __slots__ = (
        "acked_to", "before", "cause", "counted", "dupacks", "dupacks_sent", "idle_cwnd", "notes", "observer", "onward",
        "other_log", "right",
    )  # fmt: skip

    def __init__(self, engine: Tcp, key: bytes, path: Any, lport: int, rport: int) -> None:
        super().__init__(engine, key, path, lport, rport)
        observer = engine.why
        assert observer is not None
        self.observer: Observer = observer
        self.onward = self.send  # others may have put something of theirs there
        self.other_log = self.log
        self.send = self.told
        self.log = self.processed
        self.cause = ""
        self.before = Before(self)
        self.dupacks = 0  # received in a row
        self.dupacks_sent = 0
        self.acked_to = -1  # the last RCV.NXT that was sent, and the right edge that went with it
        self.right = -1
        self.notes: list[str] = []  # for the comment of the next segment
        self.counted = False
        self.idle_cwnd = 0  # cwnd before it restarted for what is about to be written

    # What drives it.

    def segment_arrives(self, seg: Segment, now: int) -> None:
        self.before = before = Before(self, seg)
        self.cause = "segment"
        self.counted = False
        try:
            super().segment_arrives(seg, now)
            if not self.counted and self.snd_wnd != before.snd_wnd and before.flags & (ACK | SYN) == ACK:
                self.event("ack", now, reason=f"window {before.snd_wnd}→{self.snd_wnd}")
        finally:
            self.cause = ""

    def on_timer(self, now: int) -> None:
        self.before = Before(self)
        causes = []
        if self.comp_sack_ns and self.comp_sack_ns <= now:
            causes.append("compress")
        if self.delack_ns and self.delack_ns <= now:
            causes.append("delack")
        if self.rtx_ns and self.rtx_ns <= now and self.pending:
            causes.append(KINDS[self.pending])
        if self.keepalive_ns and self.keepalive_ns <= now:
            causes.append("keepalive")
        self.cause = " ".join(causes)
        phase = self.ca_state
        try:
            super().on_timer(now)
        finally:
            self.cause = ""
        if self.ca_state != phase:
            timer = "RACK's reordering timer" if "rack" in causes else "the RTO expired"
            self.event("timer", now, reason=f"{PHASES[phase]}→{PHASES[self.ca_state]}; {timer}")

    def restart(self, now: int) -> None:
        cwnd = self.cwnd
        super().restart(now)
        if self.cwnd < cwnd:
            self.idle_cwnd = cwnd

    def push(self, now: int, more: bool = False) -> None:
        self.drive("write", super().push, now, more)

    def connect(self, now: int) -> None:
        self.drive("open", super().connect, now)

    def send_fin(self, now: int) -> None:
        self.drive("close", super().send_fin, now)

    def abort(self, now: int) -> None:
        self.drive("abort", super().abort, now)

    def icmp_frag_needed(self, mtu: int, now: int) -> None:
        self.drive("icmp", super().icmp_frag_needed, mtu, now)

    def challenge_ack(self, now: int, syn: bool = False) -> None:
        outer, self.cause = self.cause, "challenge syn" if syn else "challenge"
        super().challenge_ack(now, syn)
        self.cause = outer

    def drive(self, cause: str, call: Callable[..., None], *args: Any) -> None:
        self.before = Before(self)
        if self.idle_cwnd:
            self.before.cwnd, self.idle_cwnd = self.idle_cwnd, 0
        self.cause = cause
        try:
            call(*args)
        finally:
            self.cause = ""

    def timed_out(self, now: int) -> None:
        self.event("give up", now, reason=f"no answer to {self.retransmits or self.probes_out} attempts")
        super().timed_out(now)

    # Acknowledgments.

    def processed(self, c: Connection, ack: int, flag: int, acked: int, prior_in_flight: int, now: int) -> None:
        """`ack.process` has processed one: cwnd and the scoreboard are up to date, nothing has been sent yet."""
        if self.other_log is not None:
            self.other_log(c, ack, flag, acked, prior_in_flight, now)
        before = self.before
        self.counted = True
        if flag & SND_UNA_ADVANCED:
            self.dupacks = 0
        elif not flag & NOT_DUP or flag & DATA_SACKED:
            self.dupacks += 1
        said = []
        undo = self.undone()
        if undo:
            said.append(f"{undo}, cwnd {before.cwnd}→{self.cwnd}")
            self.notes.append("undo: " + said[-1])
        old, new = before.ca_state, self.ca_state
        if new != old:
            said.append(f"{PHASES[old]}→{PHASES[new]}")
            if new == CA_RECOVERY:
                said.append(self.loss_seen())
            elif new == CA_CWR:
                said.append("the peer echoes congestion (ECE)" if flag & ECE_SEEN else "the probe repaired a loss")
                self.notes.append(f"{said[-1]} → cwnd {before.cwnd}→{self.cwnd}, {self.threshold()}")
            elif new == CA_OPEN and not undo:
                said.append("all that was out is acknowledged")
        if self.dupacks and f"{ordinal(self.dupacks)} dupACK" not in said:
            said.append(f"{ordinal(self.dupacks)} dupACK")
        self.event("ack", now, ack=ack - self.iss, acked=acked, reason="; ".join(said))

    def undone(self) -> str:
        counters = self.counters
        for (name, meaning), was in zip(UNDOS, self.before.undos, strict=True):
            if getattr(counters, name) != was:
                self.before.undos = [getattr(counters, other) for other, _ in UNDOS]
                return meaning
        return ""

    def loss_seen(self) -> str:
        """The evidence by which the sender deems something lost."""
        if self.dupacks >= 3:
            return f"{ordinal(self.dupacks)} dupACK"
        if not self.sack_ok:
            return f"{self.sacked_out} dupACKs"
        if self.sacked_out >= self.reordering:
            return f"{self.sacked_out} segments SACKed above the hole"
        return "RACK: one sent later has arrived"

    def threshold(self) -> str:
        return "no ssthresh" if self.ssthresh >= INFINITE_SSTHRESH else f"ssthresh {self.ssthresh}"

    # Segments that leave.

    def told(self, path: Any, frame: Any, now: int) -> Any:
        """This stands in for `send`: find the reason, then send."""
        header = bytes(frame.data[len(path.template) :][:20])
        flags = header[13]
        length = frame.length - len(path.template) - (header[12] >> 4) * 4
        seq = unwrap(int.from_bytes(header[4:8], "big"), self.snd_nxt)
        reason, special = self.reason(seq, length, flags, now)
        comment = reason if special else ""
        if self.notes:
            comment = "; ".join((*self.notes, comment) if comment else self.notes)
            reason = "; ".join((*self.notes, reason))
            self.notes.clear()
        if comment:
            frame.comment = comment
        if flags & ACK:
            self.dupacks_sent = self.dupacks_sent + 1 if self.rcv_nxt == self.acked_to and not length else 0
            self.acked_to = self.rcv_nxt
            self.right = self.rcv_nxt + self.rcv_wnd
        if self.observer.sinks:
            self.event("send", now, seq=seq - self.iss, length=length, flags=flag_text(flags), reason=reason)
        observer = self.observer
        observer.explained = True
        try:
            return self.onward(path, frame, now)
        finally:
            observer.explained = False

    def reason(self, seq: int, length: int, flags: int, now: int) -> tuple[str, bool]:
        """The reason in words, and whether it is out of the ordinary."""
        if flags & RST:
            return self.why_reset(), True
        if flags & SYN:
            return self.why_syn(flags), True
        if length or flags & FIN:
            if seq < self.snd_nxt:
                return self.why_again(seq, now), True
            reason, special = self.why_new(length, now)
            if flags & FIN:
                return f"FIN: the application closed{f'; {reason}' if special else ''}", True
            return reason, special
        if "persist" in self.cause and seq < self.snd_una:
            return f"window probe {self.probes_out + 1}: the peer's window is {self.snd_wnd}", True
        if "keepalive" in self.cause and seq < self.snd_una:
            idle = duration(now - max(self.lrcvtime_ns, self.rcv_tstamp_ns))
            return f"keepalive probe {self.probes_out + 1} of {self.keep_cnt}: nothing heard for {idle}", True
        return self.why_ack(), True

    def why_reset(self) -> str:
        if "keepalive" in self.cause:
            return "RST: keepalive probes were not answered"
        unread = self.rcv_nxt - self.copied_seq - (1 if self.fin_received else 0)
        if unread > 0:
            return f"RST: closed with {unread} bytes unread"
        return "RST: the application gave the connection up"

    def why_syn(self, flags: int) -> str:
        name = "SYN-ACK" if flags & ACK else "SYN"
        if "rto" in self.cause:
            return f"{name}: RTO {duration(self.rto_ns)} expired → again ({ordinal(self.retransmits)} retransmission)"
        if flags & ACK:
            return "SYN-ACK: both ends opened at once"
        return "SYN: the application connects"

    def why_again(self, seq: int, now: int) -> str:
        """A retransmission. Its record has been marked, and counts in pipe."""
        cause, before = self.cause, self.before
        rec = self.rtx[max(0, index_of(self, seq))] if self.rtx else None
        change = f"cwnd {before.cwnd}→{self.cwnd}, {self.threshold()}"
        if "rto" in cause:
            if not self.snd_wnd:
                return "the peer took its window back: probe with the first segment out"
            times = f" ({ordinal(self.retransmits)} in a row)" if self.retransmits > 1 else ""
            return f"RTO {duration(self.rto_ns)} expired{times} → retransmit, {change}"
        if "tlp" in cause:
            return f"TLP: no ACK for {duration(now - before.lsndtime_ns)} → the last segment again"
        if "icmp" in cause:
            return f"path MTU is {self.mtu} → again, in smaller segments"
        if "rack" in cause:
            first = before.ca_state < CA_RECOVERY
            reason = "RACK: the reordering window is over → lost, retransmit"
            return f"{reason}, {change}" if first else reason
        pipe = self.in_flight() - (rec.pcount if rec is not None else 1)
        room = f"pipe {pipe} < cwnd {self.cwnd}"
        if self.ca_state == CA_LOSS:
            return f"lost before the timeout → retransmit, {room}"
        if rec is not None and rec.sends > 2:
            return f"RACK: the retransmission was lost too → again, {room}"
        if before.ca_state < CA_RECOVERY:
            before.ca_state = CA_RECOVERY  # the next one is not the first
            return f"{self.loss_seen()} → fast retransmit, {change}"
        if not self.sack_ok:
            return f"partial ACK → the next hole, {room}"
        return f"lost (RACK) → retransmit, {room}"

    def why_new(self, length: int, now: int) -> tuple[str, bool]:
        """New data. It does not count in pipe yet."""
        cause, before = self.cause, self.before
        if "tlp" in cause:
            return f"TLP: no ACK for {duration(now - before.lsndtime_ns)} → new data as the probe", True
        if "persist" in cause:
            return f"persist timer → {length} bytes into a window of {self.snd_wnd}", True
        room = f"pipe {self.in_flight()} < cwnd {self.cwnd}"
        phase = self.ca_state
        if phase == CA_DISORDER:
            heard = f"{ordinal(self.dupacks)} dupACK" if self.dupacks else f"{self.sacked_out} SACKed"
            return f"limited transmit: {heard} → new data, {room}", True
        if phase in (CA_RECOVERY, CA_CWR):
            return f"new data in {PHASES[phase]} (PRR), {room}", True
        if phase == CA_LOSS:
            if self.frto:
                return "F-RTO: new data, to tell whether the timeout was spurious", True
            return f"new data after the timeout, {room}", True
        known = before.state not in (SYN_SENT, SYN_RECEIVED)  # else there was no window yet
        if known and before.snd_wnd < min(length, self.mss_cache) <= self.snd_wnd:
            return f"window opened, {before.snd_wnd}→{self.snd_wnd} → new data", True
        if cause == "write":
            if self.cwnd < before.cwnd:
                idle = duration(now - before.lsndtime_ns)
                before.cwnd = self.cwnd
                return f"idle for {idle} → cwnd restarts at {self.cwnd} (RFC 2861); new data", True
            return f"new data: written by the application, {room}", False
        if cause == "close":
            return "new data: the close lets the rest go", False
        return f"new data: the ACK made room, {room}", False

    def why_ack(self) -> str:
        """A bare ACK."""
        cause, before = self.cause, self.before
        if cause.startswith("challenge"):
            what = "a SYN" if "syn" in cause else "what a blind attacker might send"
            return f"challenge ACK (RFC 5961): {what} came in a synchronized state"
        if "compress" in cause:
            return "compressed duplicate ACKs: their timer expired"
        if "delack" in cause:
            return "delayed ACK timer"
        if cause != "segment":
            right = self.rcv_nxt + self.rcv_wnd
            if self.rcv_nxt == self.acked_to:
                return f"window update: the application read, the edge moves by {right - self.right}"
            return "ACK: the application has read what came"
        if before.state == SYN_SENT:
            return "ACK of the SYN-ACK: established"
        if before.end > before.seq and before.end <= before.rcv_nxt:
            return "ACK at once: this came before (D-SACK)" if self.sack_ok else "ACK at once: this came before"
        if before.end < before.rcv_wup or before.seq > before.right or before.end - before.right > 0:
            return "ACK: the segment lies outside of the window"
        if before.seq > before.rcv_nxt:
            missing = before.seq - self.rcv_nxt
            return f"{ordinal(self.dupacks_sent + 1)} dupACK: {missing} bytes are missing before what came"
        if before.flags & FIN and self.fin_received:
            return "ACK of FIN"
        if before.ooo and self.rcv_nxt > before.rcv_nxt:
            return "ACK at once: " + ("a part of the gap is filled" if self.ooo else "the gap is filled")
        ahead = self.rcv_nxt - before.rcv_wup
        if ahead > self.rcv_mss:
            if ahead <= 2 * self.rcv_mss:
                return "ACK: second full segment"
            return f"ACK: {-(-ahead // self.rcv_mss)} segments at once"
        if self.ecn_demand_cwr:
            return "ACK at once: congestion was experienced (CE)"
        if before.ack_quick:
            return f"quick ACK: {before.ack_quick - 1} more follow at once"
        if before.length and not before.ato_ns:
            return "quick ACK: the connection begins"
        if self.rcv_ssthresh > before.rcv_ssthresh:
            return "ACK at once: the window to offer grew"
        if before.length:
            return "ACK at once"
        return "ACK: the peer's segment asks for one"

    # Events.

    def event(self, kind: str, now: int, **what: Any) -> None:
        """Tell the sinks. Sequence numbers are relative to the first, windows in bytes, the flight in segments."""
        sinks = self.observer.sinks
        if not sinks:
            return
        iss = self.iss
        event: Event = {
            "time_ns": now,
            "connection": name_of(self.key),
            "event": kind,
            **what,
            "state": STATE_NAMES[self.state],
            "phase": PHASES[self.ca_state],
            "cwnd": self.cwnd,
            "ssthresh": None if self.ssthresh >= INFINITE_SSTHRESH else self.ssthresh,
            "pipe": self.in_flight(),
            "packets_out": self.packets_out,
            "sacked": self.sacked_out,
            "lost": self.lost_out,
            "retrans": self.retrans_out,
            "rto_us": self.rto_ns // 1000,
            "srtt_us": self.srtt_us >> 3,
            "rttvar_us": self.rttvar_us >> 2,
            "snd_una": self.snd_una - iss,
            "snd_nxt": self.snd_nxt - iss,
            "snd_wnd": self.snd_wnd,
            "mss": self.mss_cache,
        }
        if self.sacked_out or self.lost_out or self.retrans_out:
            event["scoreboard"] = self.scoreboard()
        for sink in sinks:
            sink(event)

    def scoreboard(self) -> list[list[Any]]:
        """Runs of the flight, as [mark, from, to]: "S" SACKed, "L" lost, "R" sent again, "" out; the first RUNS."""
        runs: list[list[Any]] = []
        iss = self.iss
        for rec in self.rtx:
            marks = rec.marks
            mark = "S" if marks & SACKED else "R" if marks & RETRANS_OUT else "L" if marks & LOST else ""
            if runs and runs[-1][0] == mark:
                runs[-1][2] = rec.end - iss
            elif len(runs) == RUNS:
                break
            else:
                runs.append([mark, rec.seq - iss, rec.end - iss])
        return runs


__all__ = ["Event", "Observed", "Observer", "observe"]
