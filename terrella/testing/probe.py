"""The sender's and receiver's state, as the oracles see it: one stable snapshot of a connection.

This is the only file of the kit that knows how `netstack.tcp` keeps its variables. A `State` has the
standards' names and does not change when the connection goes on. Windows, buffers and sequence numbers are
bytes; cwnd, ssthresh and the counts of the flight are segments; times are ns, round trips µs.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

from netstack.sockabi import SO_SNDBUF, SOL_SOCKET, UNPACED
from netstack.tcp.listener import Request
from netstack.tcp.scoreboard import LOST, RETRANS_OUT, SACKED
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import CA_CWR, CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, STATE_NAMES
from netstack.tcp.timewait import TimeWait
from netstack.tcp.window import truesize

PHASES = {
    CA_OPEN: "Open", CA_DISORDER: "Disorder", CA_CWR: "CWR", CA_RECOVERY: "Recovery", CA_LOSS: "Loss",
}  # fmt: skip
NOT_ALIVE = (0, 0, 0)
TIMERS = ("none", "retransmit", "probe", "reorder", "persist")

_SLOTS = (
    "state", "snd_una", "snd_nxt", "snd_wnd", "max_window", "write_seq", "unsent_bytes", "packets_out", "sacked_out",
    "lost_out", "retrans_out", "cwnd", "ssthresh", "ca_state", "high_seq", "prior_cwnd", "delivered", "mss_cache",
    "rto_ns", "srtt_us", "retransmits", "backoff", "pending", "rtx_ns", "delack_ns", "tlp_high_seq", "sack_ok",
    "ts_ok", "wscale_ok", "ecn_ok", "rcv_nxt", "rcv_wup", "rcv_wnd", "rcv_mss", "ts_recent", "ts_recent_ns", "iss",
    "irs", "nonagle", "fin_queued", "user_timeout_ms", "rcvbuf", "rcv_wscale", "rcv_ssthresh", "copied_seq",
    "snd_wl1", "min_rtt_us", "reord_seen", "reordering", "was_full", "snd_up", "fin_wait_ns", "keepalive_ns",
    "comp_sack_ns",
)  # fmt: skip
_get = attrgetter(*_SLOTS)


class State(NamedTuple):
    """A connection at one moment; the first fields are the TCB's variables of the same name."""

    state: int
    snd_una: int
    snd_nxt: int
    snd_wnd: int
    max_window: int
    write_seq: int
    unsent: int
    packets_out: int
    sacked_out: int
    lost_out: int
    retrans_out: int
    cwnd: int
    ssthresh: int
    phase: int
    high_seq: int
    prior_cwnd: int
    delivered: int
    mss: int
    rto_ns: int
    srtt_us: int
    retransmits: int
    backoff: int
    timer: int
    timer_at: int
    delayed_ack_at: int
    probe_out: int
    sack_ok: bool
    ts_ok: bool
    wscale_ok: bool
    ecn_ok: bool
    rcv_nxt: int
    rcv_wup: int
    rcv_wnd: int
    rcv_mss: int
    ts_recent: int
    ts_recent_ns: int
    iss: int
    irs: int
    nonagle: int
    fin_queued: bool
    user_timeout_ms: int
    rcvbuf: int
    rcv_wscale: int
    rcv_ssthresh: int
    copied_seq: int
    snd_wl1: int
    min_rtt_us: int
    reord_seen: int
    reordering: int
    was_full: bool  # a write met a full buffer
    snd_up: int  # the end of urgent data; 0: none
    fin_wait_ns: int  # when FIN-WAIT-2 of a socket that was closed ends
    keepalive_ns: int  # when the keepalive timer expires; 0: it does not run
    compressed_at: int  # when ACKs that are held back together leave; 0: none are
    out_of_order: tuple[tuple[int, int], ...]
    undos: int
    congestion: str
    receive_space: int
    retrans_kept: int  # of retrans_out: what is not deemed lost any more, because an undo said so
    pacing_most: int  # SO_MAX_PACING_RATE in bytes/s; 0: none
    keepalive: tuple[int, int, int]  # idle and interval in seconds, count; zeros where it is off
    urgent_at: int  # the urgent byte that was announced and not read past; -1: none
    head_marks: int  # of the first segment that is out: 0 when it was sent once, and nothing is known of it

    @property
    def pipe(self) -> int:
        """RFC 6675 section 4, in segments."""
        return self.packets_out - self.sacked_out - self.lost_out + self.retrans_out

    @property
    def head_sacked(self) -> bool:
        """Whether the first segment that is out was SACKed: the receiver has forgotten it."""
        return bool(self.head_marks & SACKED)

    @property
    def right_edge(self) -> int:
        """The greatest sequence number that our receiver has offered to take, exclusive."""
        return self.rcv_wup + self.rcv_wnd

    @property
    def recovering(self) -> bool:
        return self.phase >= CA_CWR

    @property
    def named(self) -> str:
        """One line for messages, in the standards' words."""
        ssthresh = "inf" if self.ssthresh > 1 << 24 else str(self.ssthresh)
        una, iss = self.snd_una - self.iss, self.iss
        return (
            f"{STATE_NAMES.get(self.state, self.state)} {PHASES.get(self.phase, self.phase)} SND.UNA {una} "
            f"SND.NXT {self.snd_nxt - iss} SND.WND {self.snd_wnd} cwnd {self.cwnd} ssthresh {ssthresh} "
            f"pipe {self.pipe} (out {self.packets_out} sacked {self.sacked_out} lost {self.lost_out} "
            f"retrans {self.retrans_out}) "
            f"RTO {self.rto_ns // 1_000_000} ms SRTT {self.srtt_us >> 3} us timer {TIMERS[self.timer]}"
        )


def connection(sock: Any) -> Any:
    """The connection behind a socket, or None."""
    return getattr(sock, "conn", None)


def snapshot(c: Any) -> State | None:
    """The state of a connection now; None when there is none (any more)."""
    if c is None:
        return None
    counters = c.counters
    undos = counters.TCPFullUndo + counters.TCPPartialUndo + counters.TCPDSACKUndo + counters.TCPLossUndo
    held = tuple((entry[0], entry[1]) for entry in c.ooo)
    space = min(c.window_clamp, c.rcvbuf * c.scaling_ratio >> 8)  # what of the buffer can be data
    kept = sum(r.pcount for r in c.rtx if r.marks & (RETRANS_OUT | LOST) == RETRANS_OUT) if c.retrans_out else 0
    pace = c.max_pacing_rate if c.paced and c.max_pacing_rate != UNPACED else 0
    alive = (c.keep_idle, c.keep_intvl, c.keep_cnt) if c.keepalive_on else NOT_ALIVE
    urgent = c.rcv_up if c.urg_data >= 0 else -1
    marks = c.rtx[0].marks if c.rtx else 0
    return State._make((*_get(c), held, undos, c.cc.name, space, kept, pace, alive, urgent, marks))


class Flight(NamedTuple):
    """What the retransmission queue holds, counted record by record, in segments; `gap`: not contiguous; `sacked`: what
    is deemed to have come, as (from, to), `missing`: what is not."""

    packets_out: int
    sacked_out: int
    lost_out: int
    retrans_out: int
    gap: bool
    first: int
    last: int
    sacked: tuple[tuple[int, int], ...]
    missing: tuple[tuple[int, int], ...]


def flight(c: Any) -> Flight:
    packets = sacked = lost = retrans = 0
    gap = False
    rtx = c.rtx
    came = tuple((rec.seq, rec.end) for rec in rtx if rec.marks & SACKED)
    missing = tuple((rec.seq, rec.end) for rec in rtx if not rec.marks & SACKED)
    for n, rec in enumerate(rtx):
        count, marks = rec.pcount, rec.marks
        packets += count
        if marks & SACKED:
            sacked += count
        if marks & LOST:
            lost += count
        if marks & RETRANS_OUT:
            retrans += count
        if n and rtx[n - 1].end != rec.seq:
            gap = True
    return Flight(
        packets, sacked, lost, retrans, gap, rtx[0].seq if rtx else c.snd_nxt, rtx[-1].end if rtx else c.snd_nxt, came,
        missing,
    )


def deadlines(c: Any) -> list[int]:
    """Every deadline of the connection that is set."""
    return [at for at in (c.rtx_ns, c.delack_ns, c.comp_sack_ns, c.keepalive_ns, c.fin_wait_ns) if at]


def readiness(sock: Any) -> int:
    """What poll(2) would say; whoever asks leaves no trace (poll itself notes that somebody waits for room)."""
    c = connection(sock)
    full = c.was_full if c is not None else False
    said: int = sock.readiness()
    if c is not None:
        c.was_full = full
    return said


def send_buffer(sock: Any) -> int:
    """What getsockopt(2) says of SO_SNDBUF."""
    return int(sock.getsockopt(SOL_SOCKET, SO_SNDBUF))


def unsent_limit(sock: Any) -> int:
    """TCP_NOTSENT_LOWAT, or the setting; enormous where there is none."""
    c = connection(sock)
    return int(c.notsent_lowat) if c is not None else 0


def time_wait(stack: Any, key: bytes) -> int | None:
    """When TIME-WAIT of this connection ends; None where it is not in that state."""
    held = stack.tcp.table.get(key)
    return held.deadline_ns if isinstance(held, TimeWait) else None


def renege(c: Any) -> bool:
    """Forget what is held out of order, as a receiver short of memory may (RFC 2018 section 8)."""
    if c is None or not c.ooo:
        return False
    for entry in c.ooo:
        c.rmem -= truesize(len(entry[2]))
    c.ooo.clear()
    c.sacks = []
    return True


def leaks(stack: Any) -> list[str]:
    """What a stack still holds: connections, ports, timers."""
    found = [f"{len(stack.tcp.table)} connections"] if stack.tcp.table else []
    if stack.tcp.bound:
        found.append(f"ports {sorted(stack.tcp.bound)}")
    if len(stack.timers):
        found.append(f"{len(stack.timers)} timers")
    return found


def initial_number(stack: Any, key: bytes, now: int) -> int:
    """The sequence number with which this stack would begin a connection now; it begins none."""
    return int(stack.tcp.isn(key, now)) & MASK


def gave_up(stack: Any) -> bool:
    """Whether a connection of the stack ended because nobody answered for too long (RFC 9293 section 3.8.3, R2)."""
    return bool(stack.counters.tcpext.TCPAbortOnTimeout)


def searches(c: Any) -> bool:
    """Whether the connection finds out by itself what the path takes (RFC 4821)."""
    return c is not None and c.mtup is not None


def asked(stack: Any, key: bytes) -> bool:
    """Whether a SYN was answered and waits for the end of its handshake."""
    return isinstance(stack.tcp.table.get(key), Request)


def unaccepted(c: Any) -> bool:
    """Whether a connection waits for accept(2)."""
    return c.listener is not None
