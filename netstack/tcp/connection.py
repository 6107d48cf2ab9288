"""A connection: the TCB (RFC 9293 section 3.3.1) with everything that acts on it. This is the only file that knows all
the parts: its path, the calls of sections 3.10.1 to 3.10.5, how it ends, and the timeouts of section 3.10.8. What is
settled once, when it is established, is in `handshake`.

It is driven by `segment_arrives`, by user calls (`socket`), and by `on_timer`. Its deadlines are slots (`rtx_ns`,
`delack_ns`, `comp_sack_ns`, `keepalive_ns`, `fin_wait_ns`, `pace_ns`; 0 is off). One timer of the stack is set to the
earliest of them, or before that: it is moved only when a new deadline is earlier, and one that was put off is noticed
when the timer fires.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from csrc import ffi
from netstack.tcp import (
    beside,
    chrono,
    congestion,
    delack,
    fsm,
    handshake,
    mtuprobe,
    output,
    pacing,
    pmtu,
    predict,
    rack,
    rto,
    timeouts,
    validation,
    window,
)
from netstack.tcp import options as opt
from netstack.tcp.emit import emit_syn
from netstack.tcp.scoreboard import NOTHING_SENT, Head, Sent, cut
from netstack.tcp.segment import FIN, SYN
from netstack.tcp.tcb import (
    CLOSE_WAIT,
    CLOSED,
    EMPTY,
    ESTABLISHED,
    FIN_WAIT_2,
    INFINITE_SSTHRESH,
    LOSS_PROBE,
    MS,
    PROBE0,
    REO_TIMEOUT,
    RETRANS,
    SECOND,
    SYN_RECEIVED,
    SYN_SENT,
    Tcb,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.route import Path
    from netstack.tcp.engine import Tcp
    from netstack.tcp.listener import Listener
    from netstack.tcp.segment import Segment
    from netstack.tcp.socket import TcpSocket

_from_buffer: Final = ffi.from_buffer
NEVER = (1 << 62) - 1
GSO_MAX = 65_215  # bytes in one buffer: 64 KiB less the headers
WRITE_OVERHEAD = 832  # what a buffer counts for beyond its bytes, as in Linux
EVER = (1 << 32) - 1  # min_rtt of a path not measured yet, in microseconds


class Connection(Tcb):
    """One connection. `sock` is its socket, or None before accept and after close (`orphan`)."""

    __slots__ = (
        "counters",
        "engine",
        "fin_out",
        "listener",
        "log",
        "orphan",
        "send",
        "settings",
        "sock",
        "tcp_counters",
    )

    def __init__(self, engine: Tcp, key: bytes, path: Path, lport: int, rport: int) -> None:
        super().__init__()
        self.engine = engine
        settings = self.settings = engine.settings
        self.counters = engine.tcpext
        self.tcp_counters = engine.counters
        self.send = engine.send
        self.sock: TcpSocket | None = None
        self.listener: Listener | None = None
        self.orphan = False
        self.log: Callable[..., None] | None = engine.log
        self.fin_out = False
        self.ts_head = NOTHING_SENT
        self.key = key
        self.state = CLOSED
        self.ports = lport << 16 | rport
        self.ip_id = engine.below(65536)
        self.set_path(path)
        self.cc = congestion.choose(settings.tcp_congestion_control)
        self.cwnd = settings.tcp_init_cwnd
        self.ssthresh = INFINITE_SSTHRESH
        self.reordering = settings.tcp_reordering
        self.min_rtt_us = EVER
        self.rto_ns = settings.tcp_timeout_init_ms * MS
        self.mdev_us = settings.tcp_timeout_init_ms * 1000
        self.rack_steps = 1
        self.retransmit_hint = -1
        self.rcvlowat = 1
        self.scaling_ratio = window.DEFAULT_RATIO
        self.rcvbuf = settings.tcp_rmem[1]
        self.sndbuf = settings.tcp_wmem[1]
        self.notsent_lowat = settings.tcp_notsent_lowat
        self.keep_idle = settings.tcp_keepalive_time
        self.keep_intvl = settings.tcp_keepalive_intvl
        self.keep_cnt = settings.tcp_keepalive_probes
        self.mss_cache = opt.MSS_DEFAULT
        self.mss_clamp = opt.MSS_DEFAULT

    def segment_arrives(self, seg: Segment, now: int) -> None:
        fsm.segment_arrives(self, seg, now)

    def send_plain(self, data: Any, size: int, now: int) -> bool:
        return predict.send(self, data, size, now)

    # The path.

    def set_path(self, path: Path) -> None:
        """Use this path: its template, MTU and metrics (ip-route(8)), unless the socket has bounds of its own."""
        self.path = path
        self.tmpl = path.pin()
        self.tmpl_len = len(path.template)
        self.l3 = path.l3
        self.l4 = path.l3 + (20 if path.version == 4 else 40)
        self.mtu = path.mtu
        metrics = path.metrics
        rto_min: int = metrics.get("rto_min", 0) if metrics else 0
        self.quickack_user = bool(metrics and metrics.get("quickack"))
        self.rto_min_us = rto_min * 1000 if rto_min else self.settings.tcp_rto_min_us
        self.rto_max_ns = self.settings.tcp_rto_max_ms * MS
        self.delack_max_ns = self.settings.tcp_delack_max_ms * MS
        sock = self.sock
        if sock is None and self.listener is not None:
            sock = self.listener.sock
        if sock is not None:
            timeouts.bounds(self, sock.flags)
            tos, ttl = pmtu.ip_fields(sock, path)
            if self.sock is None:  # not accepted yet: its TOS is its own already (tcp_reflect_tos)
                tos = tos & ~0xFF | self.tos_now & 0xFF
            self.set_ip(tos, ttl)

    def set_ip(self, tos: int, ttl: int) -> None:
        """IP_TOS (see `pmtu.ip_fields`) and IP_TTL of the socket, or what IPv6 calls them."""
        self.tos_now = tos
        self.out = None
        if ttl >= 0:
            template = bytearray(self.path.template)
            template[self.l3 + (8 if self.path.version == 4 else 7)] = ttl
            self.tmpl = _from_buffer(template)

    def reroute(self, now: int) -> None:
        """The routes changed: look the path up again, and keep the old one if there is none any more."""
        path, sock = self.path, self.sock
        device = sock.bound_device if sock is not None else None
        try:
            if device is None:
                new = self.engine.route(path.dst, path.src)
            else:
                new = path.stack.route(path.dst, path.src, device)
        except OSError as why:
            path.generation = path.stack.routes.generation
            self.soft_error = why.errno or 0
            return
        mtu = self.mtu
        self.set_path(new)
        if new.mtu != mtu:
            self.sync_mss()

    def init_cwnd(self) -> int:
        """The initial window (RFC 6928 section 2), unless the route sets one."""
        metrics = self.path.metrics
        wanted: int = metrics.get("initcwnd", 0) if metrics else 0
        return wanted or self.settings.tcp_init_cwnd

    def sync_mss(self) -> None:
        """The MSS to send with, after path, window or options changed."""
        self.mss_cache = opt.effective_mss(
            self.path.version,
            self.mtu,
            self.mss_clamp,
            self.option_bytes,
            self.max_window,
            self.settings.tcp_min_snd_mss,
        )
        search = self.mtup
        if search is not None:
            search.high = min(search.high, self.mtu)
            self.mss_cache = min(self.mss_cache, mtuprobe.mss_of(self, search.low))

    # User calls.

    def connect(self, now: int) -> None:
        """OPEN, active (RFC 9293 section 3.10.1): <SEQ=ISS><CTL=SYN>."""
        handshake.offer(self, now)
        self.syn_stamp_ns = now
        rec = Sent(self.iss, self.iss + 1, (), 0, SYN, self.mss_cache)
        fsm.move(self, fsm.OPEN_ACTIVE)
        self.retrans_stamp_ns = now or 1
        self.begin_flight()
        self.rtx.append(rec)
        self.packets_out = 1
        emit_syn(self, rec, now, again=False)
        rto.arm(self, RETRANS, self.rto_ns, now)

    def queue(self, data: Any) -> None:
        """SEND: data waits to be sent. The buffer is kept, not copied: it must not change."""
        size = len(data)
        if self.ts_head is NOTHING_SENT:
            self.begin_flight()
        if self.unsent:
            self.unsent.append(data)
        else:
            self.unsent = [data]
        self.unsent_bytes += size
        self.write_seq += size

    def begin_flight(self) -> None:
        """Something is about to be sent for the first time."""
        self.rtx = []
        self.ts_head = Head()

    def restart(self, now: int) -> None:
        """A buffer is begun while nothing is in flight: the connection may have been idle."""
        if self.lsndtime_ns:
            validation.after_idle(self, now)

    def push(self, now: int, more: bool = False) -> None:
        """SEND (RFC 9293 section 3.9.1.2): PSH is due at the end of what was written, and in a long write (as in Linux)
        after each half of the largest window."""
        if not self.chrono:
            chrono.start(self, chrono.BUSY, now)
        if not more:
            self.pushed_seq = self.write_seq
        elif self.write_seq > self.pushed_seq + (self.max_window >> 1):
            self.pushed_seq = self.write_seq
            self.push_marks = (*self.push_marks, self.write_seq)
        output.write(self, now, cork=more)

    def end_record(self, more: int) -> None:
        """MSG_EOR: nothing is joined to what was written so far; and PSH, unless the user said MSG_MORE as well."""
        self.eor = (*self.eor, self.write_seq)
        if not more and self.push_marks[-1:] != (self.write_seq,):
            self.push_marks = (*self.push_marks, self.write_seq)

    def send_fin(self, now: int) -> None:
        """CLOSE (RFC 9293 section 3.10.4): FIN goes after all the data."""
        self.fin_queued = True
        self.fin_out = True
        chrono.start(self, chrono.BUSY, now)
        if self.ts_head is NOTHING_SENT:
            self.begin_flight()
        self.write_seq += 1
        output.write(self, now, nagle=False)

    def abort(self, now: int) -> None:
        """ABORT (RFC 9293 section 3.10.5): a RST, if the peer may know of the connection, and it is gone."""
        if self.state not in (CLOSED, SYN_SENT):
            output.send_reset(self, now)
        self.done(now)

    # What follows from a change of state.

    def state_changed(self, old: int, new: int) -> None:
        """CurrEstab, AttemptFails and EstabResets (RFC 4022)."""
        counters = self.tcp_counters
        if new == ESTABLISHED:
            counters.CurrEstab += 1
        elif old in (ESTABLISHED, CLOSE_WAIT) and new not in (ESTABLISHED, CLOSE_WAIT):
            counters.CurrEstab -= 1
        if new == CLOSED:
            if old in (SYN_SENT, SYN_RECEIVED):
                counters.AttemptFails += 1
            elif old in (ESTABLISHED, CLOSE_WAIT):
                counters.EstabResets += 1

    def fin_arrives(self, now: int) -> None:
        fsm.fin_arrives(self, now)

    def reset_by_peer(self, now: int) -> None:
        """RST (RFC 9293 section 3.10.7): all queues are flushed and the user is told."""
        state = self.state
        if state == SYN_SENT:
            self.fail(errno.ECONNREFUSED, now)
        elif state == CLOSE_WAIT:
            self.fail(errno.EPIPE, now)
        else:
            self.fail(errno.ECONNRESET, now)

    def fail(self, code: int, now: int) -> None:
        """The connection ends with an error."""
        if self.sock is not None:
            self.sock.so_error = code
        else:
            self.soft_error = code  # for who accepts it later
        self.done(now)

    def timed_out(self, now: int) -> None:
        """Retransmission was given up (R2 of RFC 9293 section 3.8.3)."""
        self.counters.TCPAbortOnTimeout += 1
        self.fail(self.soft_error or errno.ETIMEDOUT, now)

    def done(self, now: int) -> None:
        """CLOSED: the TCB is deleted; what was received stays readable."""
        if self.state != CLOSED:
            fsm.move(self, fsm.ABORT)
        self.engine.forget(self)
        self.unsent = self.ends = EMPTY
        self.unsent_bytes = 0
        for rec in self.rtx:
            rec.prev = rec.next = None
        self.rtx.clear()
        self.packets_out = self.sacked_out = self.lost_out = self.retrans_out = self.backoff = 0
        self.pace_ns = 0
        self.pending = self.rtx_ns = self.delack_ns = self.comp_sack_ns = self.keepalive_ns = self.fin_wait_ns = 0
        self.let_go()
        if self.zerocopy:
            beside.completed(self, everything=True)
        sock = self.sock
        if sock is not None:
            sock.shutdown_mask |= 3
            self.wake_pending = True
            self.wake()

    def let_go(self) -> None:
        """Undo the references that lead back here, so that the memory is freed with the last reference from outside,
        and not when the garbage collector next looks for cycles."""
        head = self.ts_head
        if head is not NOTHING_SENT:
            head.prev = head.next = None
            self.ts_head = NOTHING_SENT
        if self.timer is not None:
            self.timer.close()
            self.timer = None
            self.deadline_ns = 0
        sock = self.sock
        if sock is not None and sock.closed:
            self.sock = None

    def time_wait(self, now: int) -> None:
        """Enter TIME-WAIT: a small block takes over (`timewait`), and this one is gone."""
        fsm.move(self, fsm.RCV_FIN if self.state == FIN_WAIT_2 else fsm.ACK_OF_FIN)
        self.engine.start_time_wait(self, now)
        self.done(now)

    def fin_wait_timeout(self, now: int) -> None:
        """FIN-WAIT-2 ends by a timeout once nobody holds the socket any more (Linux's tcp_fin_timeout)."""
        seconds = self.linger2 or self.settings.tcp_fin_timeout
        self.keepalive_ns = 0
        self.last_oow_ns = 0  # what Linux keeps of it from here on has a rate limit of its own
        self.fin_wait_ns = now + max(seconds * SECOND, self.rto_ns * 7 // 2)
        self.rearm(self.fin_wait_ns)

    def wake(self) -> None:
        self.wake_pending = False
        sock = self.sock
        if sock is not None:
            on_ready = sock.on_ready
            if on_ready is not None:
                on_ready(sock)

    def expand_sndbuf(self) -> None:
        """Room for twice the congestion window (Linux's tcp_sndbuf_expand)."""
        per_mss = max(self.mss_clamp, self.mss_cache) + 320 + 320
        per_mss = (1 << (per_mss - 1).bit_length()) + 256
        segs = max(max(self.cwnd, 10), self.reordering + 1)
        size = min(2 * segs * per_mss, self.settings.tcp_wmem[2])
        if size > self.sndbuf:
            self.sndbuf = size

    def check_space(self, now: int) -> None:
        """The send buffer may have room again."""
        if self.was_full:
            if not self.sndbuf_locked and self.in_flight() < self.cwnd:
                self.expand_sndbuf()
                self.cwnd_stamp_ns = now
            if self.writable():
                self.was_full = False
                self.room_at = -2 if self.wake_pending else self.rcv_nxt
                self.wake_pending = True
                if self.chrono == chrono.SNDBUF_LIMITED:
                    chrono.stop(self, chrono.SNDBUF_LIMITED, now)

    def writable(self) -> bool:
        used = self.memory()
        return bool(self.sndbuf - used >= used >> 1 and self.unsent_bytes << 1 < self.notsent_lowat)

    def memory(self) -> int:
        """What counts against the send buffer: the bytes in it, and an overhead for each buffer (Linux's
        sk_wmem_queued)."""
        buffers = len(self.rtx) + (self.unsent_bytes + GSO_MAX - 1) // GSO_MAX
        return int(self.write_seq - self.snd_una + buffers * WRITE_OVERHEAD)

    def size_goal(self) -> int:
        """How much of a write goes into one buffer: whole segments, at most half the largest window seen (Linux's
        tcp_send_mss)."""
        goal = GSO_MAX
        half = self.max_window >> 1 if self.max_window > opt.MSS_DEFAULT else self.max_window
        if half and goal > half:
            goal = max(half, 48)
        mss = output.current_mss(self)
        return max(goal // mss, 1) * mss

    def cwnd_limited(self) -> bool:
        """Whether cwnd may grow: only while it is the limit (Linux's tcp_is_cwnd_limited; see `validation`)."""
        if self.is_cwnd_limited:
            return True
        return bool(self.cwnd < self.ssthresh and self.cwnd < 2 * self.max_packets_out)

    def trim_head(self, rec: Sent) -> None:
        """Take off the first record what was acknowledged of it."""
        gone = self.snd_una - rec.seq
        if gone > 0 and gone <= rec.length:
            rec.frags = cut(rec.frags, gone)[1]
            rec.length -= gone
            rec.seq += gone

    # Received signals.

    def oow_limited(self, length: int, flags: int, now: int) -> bool:
        """Whether an answer to a segment out of the window is over the limit (Linux's tcp_invalid_ratelimit). Segments
        with text are always answered."""
        if (length or flags & FIN) and not flags & SYN:
            return False
        last = self.last_oow_ns
        if last and now - last < self.settings.tcp_invalid_ratelimit * MS:
            self.counters.TCPACKSkippedSeq += 1
            return True
        self.last_oow_ns = now or 1
        return False

    def challenge_ack(self, now: int, syn: bool = False) -> None:
        """RFC 5961: an ACK that a live peer answers and a blind attacker cannot use. Rate limited (its section 7)."""
        if syn:
            self.counters.TCPSYNChallenge += 1
        last = self.last_oow_ns
        if last and now - last < self.settings.tcp_invalid_ratelimit * MS:
            self.counters.TCPACKSkippedChallenge += 1
            return
        self.last_oow_ns = now or 1
        if self.engine.challenge_allowed(now):
            self.counters.TCPChallengeACK += 1
            output.send_ack(self, now)

    def icmp_frag_needed(self, mtu: int, now: int) -> None:
        pmtu.frag_needed(self, mtu, now)

    # Time.

    def rearm(self, at: int) -> None:
        """A deadline was set: move the timer if that is earlier."""
        timer = self.timer
        if timer is None:
            timer = self.timer = self.engine.timers.timer(self.on_timer)
        if not self.deadline_ns or at < self.deadline_ns:
            self.deadline_ns = at
            timer.arm(at)

    def on_timer(self, now: int) -> None:
        """Run what is due, then set the timer to the earliest deadline that remains."""
        self.deadline_ns = NEVER
        if self.comp_sack_ns and self.comp_sack_ns <= now:
            self.comp_sack_ns = 0
            if self.compressed_ack:
                output.send_ack(self, now)
        if self.delack_ns and self.delack_ns <= now:
            delack.expired(self, now)
        if self.rtx_ns and self.rtx_ns <= now:
            self.rtx_ns = 0
            kind = self.pending
            self.pending = 0
            if kind == RETRANS:
                timeouts.retransmit_timeout(self, now)
            elif kind == LOSS_PROBE:
                self.pending = LOSS_PROBE
                rack.send_probe(self, now)
            elif kind == REO_TIMEOUT:
                self.pending = REO_TIMEOUT
                rack.reo_timeout(self, now)
            elif kind == PROBE0:
                timeouts.probe_timeout(self, now)
        if self.pace_ns and self.pace_ns <= now:
            pacing.release(self, now)
        if self.keepalive_ns and self.keepalive_ns <= now and self.state != CLOSED:
            timeouts.keepalive_timeout(self, now)
        if self.fin_wait_ns and self.fin_wait_ns <= now and self.state == FIN_WAIT_2:
            self.done(now)
        if self.wake_pending:
            self.wake()
        if self.state == CLOSED:
            self.deadline_ns = 0
            return
        at = NEVER
        for deadline in (
            self.rtx_ns, self.delack_ns, self.comp_sack_ns, self.keepalive_ns, self.fin_wait_ns, self.pace_ns
        ):  # fmt: skip
            if deadline and deadline < at:
                at = deadline
        self.deadline_ns = 0
        if at < NEVER:
            self.rearm(at)

    def start_keepalive(self, now: int) -> None:
        self.keepalive_ns = now + self.keep_idle * SECOND
        self.rearm(self.keepalive_ns)
