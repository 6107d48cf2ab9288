"""TIME-WAIT (RFC 9293 sections 3.6.1 and 3.10.7.4; RFC 1337; RFC 6191): a small block stands in for a connection that
is over.

It answers what still arrives from the old connection, and lets a new one begin early when timestamps or sequence
numbers prove the SYN to be newer. Blocks wait equally long, so one queue and one timer serve them all (when the setting
changes, the engine takes those that wait already out of it). A FIN-WAIT-2 whose socket is closed follows rules as few
(`fin_wait_2`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.socket import SO_REUSEPORT
from netstack.tcp import output, screen
from netstack.tcp.segment import ACK, FIN, OPT_TIMESTAMP, RST, SYN
from netstack.tcp.seq import HALF, MASK, unwrap
from netstack.tcp.tcb import MS, SECOND, TIME_WAIT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.engine import Tcp
    from netstack.tcp.segment import Segment


PAWS_MSL_NS = 60 * SECOND
"""For so long a timestamp tells an old RST from that of a peer that has begun anew (Linux's TCP_PAWS_MSL)."""


def rejected(behind: int, flags: int, age_ns: int) -> bool:
    """PAWS (RFC 7323 section 5.3) as Linux applies it to a connection that is over: the timestamp is `behind` the
    newest one, which was seen `age_ns` ago. A RST is checked as well, for a minute."""
    return 0 < behind < HALF and not (flags & RST and age_ns >= PAWS_MSL_NS)


def fin_wait_2(c: Connection, seg: Segment, now: int) -> None:
    """FIN-WAIT-2 of a socket that nobody holds any more: only the peer's FIN is still of use. Linux keeps no more of it
    than of TIME-WAIT and sends no challenge ACKs: a RST in the window ends it, a SYN or text is answered with a RST."""
    flags = seg.flags
    if c.sacks:
        c.ooo = []  # nobody will read it, so it is not reported any more
        c.sacks = []
    c.ecn_demand_cwr = False  # and neither are CE marks
    seq = unwrap(seg.seq, c.rcv_nxt)
    end = seq + seg.length + (flags & FIN) + (1 if flags & SYN else 0)
    ts = c.ts_ok and seg.options & OPT_TIMESTAMP
    behind = (c.ts_recent - seg.tsval) & MASK if ts else 0
    right = c.rcv_nxt + c.receive_window()
    inside = seq == c.rcv_nxt or (end > c.rcv_nxt and seq < right) or seq == end == right
    if not inside or (ts and c.ts_recent and rejected(behind, flags, now - c.ts_recent_ns)):
        if not c.oow_limited(seg.length, flags, now):
            output.send_ack(c, now)
    elif flags & RST:
        c.done(now)
    elif flags & SYN and seq >= c.rcv_nxt:
        c.engine.reset_for(seg, now)
        c.done(now)
    elif not flags & ACK or end <= c.rcv_nxt or seq == end:
        pass
    elif not flags & FIN or end != c.rcv_nxt + 1:
        c.counters.TCPAbortOnData += 1
        c.engine.reset_for(seg, now)
        c.done(now)
    else:
        c.rcv_nxt = end
        if ts:
            c.ts_recent = seg.tsval
            c.ts_recent_ns = now
        output.send_ack(c, now)
        c.time_wait(now)


class TimeWait:
    """What must be remembered of a connection for two maximum segment lifetimes."""

    __slots__ = (
        "deadline_ns",
        "engine",
        "key",
        "last_oow_ns",
        "lport",
        "newer",
        "older",
        "path",
        "rcv_nxt",
        "reuse_addr",
        "reuse_port",
        "rport",
        "since_ns",
        "snd_nxt",
        "state",
        "tos",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "ts_recent_ns",
        "window",
    )  # fmt: skip

    def __init__(self, c: Connection, now: int) -> None:
        self.engine: Tcp = c.engine
        self.key: bytes = c.key
        self.path = c.path
        self.lport = c.ports >> 16
        self.rport = c.ports & 0xFFFF
        self.state = TIME_WAIT
        self.rcv_nxt: int = c.rcv_nxt
        self.snd_nxt: int = c.snd_nxt
        sock = c.sock
        self.reuse_addr: bool = sock is None or sock.reuse_addr
        self.reuse_port = sock is None or bool(sock.flags.get(SO_REUSEPORT))
        self.window = min(c.receive_window() >> c.rcv_wscale, 65535)
        self.ts_ok: bool = c.ts_ok
        self.ts_offset: int = c.ts_offset
        self.ts_recent: int = c.ts_recent
        self.ts_recent_ns: int = c.ts_recent_ns
        self.tos: int = c.tos_now & 0xFC
        self.last_oow_ns = 0
        self.since_ns = now
        self.deadline_ns = 0
        self.older: TimeWait | None = None  # of the same local port: a list that the engine keeps
        self.newer: TimeWait | None = None

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.4 for TIME-WAIT: the peer's FIN is acknowledged again, and 2 MSL begin anew; a new
        SYN is let in (RFC 6191 section 2)."""
        flags = seg.flags
        engine = self.engine
        seq = unwrap(seg.seq, self.rcv_nxt)
        end = seq + seg.length + (flags & FIN) + (1 if flags & SYN else 0)
        ts = self.ts_ok and seg.options & OPT_TIMESTAMP
        behind = (self.ts_recent - seg.tsval) & MASK if ts else 0
        paws_reject = bool(ts and self.ts_recent and rejected(behind, flags, now - self.ts_recent_ns))
        if not paws_reject and seq == self.rcv_nxt and (end == seq or flags & RST):
            if flags & RST:
                if not engine.settings.tcp_rfc1337:  # RFC 1337 section 3: else a RST is ignored
                    engine.end_time_wait(self)
                return
            self.restart(now)
            if ts:
                self.ts_recent = seg.tsval
                self.ts_recent_ns = now
            return
        if (
            flags & SYN
            and not flags & (RST | ACK)
            and not paws_reject
            and (seq > self.rcv_nxt or (ts and behind >= HALF))
        ):
            listener = engine.find_listener(seg)
            if listener is None:
                self.acknowledge(now)  # nobody would take it: TIME-WAIT goes on, and answers it as an old segment
                return
            # A new incarnation. Its ISN is larger than every number that the old one sent (RFC 9293 section 3.6.1).
            engine.end_time_wait(self)
            engine.tcpext.TWRecycled += 1
            frame = engine.arriving
            if engine.screens and frame is not None and not screen.takes(listener.sock, frame, seg.interface):
                return
            listener.segment_arrives(seg, now, (self.snd_nxt + 65537) & MASK or 1)
            return
        if paws_reject:
            engine.tcpext.PAWSEstab += 1
        if flags & RST:
            return
        if paws_reject or flags & ACK:
            self.restart(now)
        if not (seg.length or flags & FIN) or flags & SYN:
            last = self.last_oow_ns
            if last and now - last < engine.settings.tcp_invalid_ratelimit * MS:
                engine.tcpext.TCPACKSkippedTimeWait += 1
                return
            self.last_oow_ns = now or 1
        self.acknowledge(now)

    def acknowledge(self, now: int) -> None:
        """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
        tsval = (now // MS + self.ts_offset) & MASK
        self.engine.reply(
            self.path, self.lport, self.rport, self.snd_nxt, self.rcv_nxt, ACK, self.window, now,
            ts=(tsval, self.ts_recent) if self.ts_ok else None, tos=self.tos,
        )  # fmt: skip

    def restart(self, now: int) -> None:
        self.deadline_ns = now + self.engine.settings.tcp_timewait_len_ms * MS
        self.engine.queue_time_wait(self)

    def reusable_at(self, now: int, named: bool = False) -> bool:
        """Whether an active open may take over the port pair: once its timestamps will be newer, so that the peer lets
        its SYN in by RFC 6191 (Linux's tcp_tw_reuse); at once where the user named the port."""
        if named and self.ts_ok:
            return True
        mode = self.engine.settings.tcp_tw_reuse
        if not mode or not self.ts_ok or (mode == 2 and not self.path.local):
            return False
        return now - self.since_ns > min(self.engine.settings.tcp_tw_reuse_delay * MS, SECOND * 60)
