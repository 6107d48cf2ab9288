"""LISTEN and the passive SYN-RECEIVED (RFC 9293 sections 3.10.7.2 and 3.10.7.4; RFC 4987).

A SYN makes a `Request`, which holds little state (RFC 4987 section 3.5) and sends its SYN-ACK again by a timer; their
number is bounded. When there are too many, SYN cookies (RFC 4987 section 3.6) keep the state in the SYN-ACK's sequence
number and in the low bits of its timestamp. The ACK that completes the handshake makes the connection and puts it into
the accept queue; when that is full the ACK is dropped and the SYN-ACK will be sent again, as in Linux.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from csrc import lib
from netstack.tcp import ack as acking
from netstack.tcp import fsm, inherit, options, savesyn, screen, window
from netstack.tcp.connection import Connection
from netstack.tcp.scoreboard import SYN_ACKED
from netstack.tcp.segment import (
    ACK,
    CWR,
    ECE,
    FIN,
    OPT_MSS,
    OPT_SACK_PERMITTED,
    OPT_TIMESTAMP,
    OPT_WSCALE,
    RST,
    SYN,
)  # fmt: skip
from netstack.tcp.seq import HALF, MASK, unwrap
from netstack.tcp.tcb import MS, SECOND, SYN_RECEIVED

if TYPE_CHECKING:
    from netstack.route import Path
    from netstack.tcp.engine import Tcp
    from netstack.tcp.segment import Segment
    from netstack.tcp.socket import TcpSocket
    from netstack.timers import Timer

COOKIE_MSS = {4: (536, 1300, 1440, 1460), 6: (536, 1220, 1420, 1440)}
COOKIE_PERIOD_NS = 60 * SECOND
TS_BITS = 6  # wscale 4, SACK 1, ECN 1
NO_WSCALE = 15


class Request:
    """A connection asked for: SYN received, SYN-ACK sent (SYN-RECEIVED)."""

    __slots__ = (
        "acked",
        "advmss",
        "clamp",
        "cookie",
        "deadline_ns",
        "ecn_ok",
        "engine",
        "irs",
        "iss",
        "key",
        "last_oow_ns",
        "listener",
        "lport",
        "mss",
        "path",
        "peer_window",
        "rcv_wnd",
        "rcv_wscale",
        "retrans",
        "rport",
        "sack_ok",
        "saved",
        "sent_ns",
        "snd_wscale",
        "state",
        "timeouts",
        "timer",
        "tos",
        "ts_first",
        "ts_last",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "tsecr",
        "wscale_ok",
    )  # fmt: skip

    def __init__(self, listener: Listener, seg: Segment, path: Path, iss: int, now: int) -> None:
        engine = self.engine = listener.engine
        sock = listener.sock
        settings = engine.settings
        metrics = path.metrics
        self.listener = listener
        self.key = seg.key
        self.path = path
        self.lport, self.rport = ports(seg.key)
        self.state = SYN_RECEIVED
        self.irs = seg.seq
        self.iss = iss
        self.tos = seg.tos
        opts = seg.options
        self.mss = options.peer_mss(seg, sock.user_mss, path.version)
        self.advmss = self.offered_mss()
        self.ts_ok = bool(opts & OPT_TIMESTAMP and settings.tcp_timestamps)
        self.ts_recent = seg.tsval if self.ts_ok else 0
        self.ts_offset = engine.ts_offset(seg.key)
        self.sack_ok = bool(opts & OPT_SACK_PERMITTED and settings.tcp_sack)
        self.wscale_ok = bool(opts & OPT_WSCALE and settings.tcp_window_scaling)
        self.snd_wscale = min(seg.wscale, options.WSCALE_MAX) if self.wscale_ok else 0
        self.ecn_ok = False
        if seg.flags & (ECE | CWR) == ECE | CWR and not seg.tos & 3:
            self.ecn_ok = bool(settings.tcp_ecn in (1, 2) or metrics.get("features", 0) & 1)
        self.init_window()
        self.peer_window = seg.window
        self.sent_ns = now
        self.retrans = 0
        self.timeouts = 0
        self.acked = False
        self.cookie = False
        self.last_oow_ns = 0
        self.ts_first = self.ts_last = -1  # the timestamps of our SYN-ACKs
        self.tsecr = 0  # what the last ACK of the handshake echoes
        self.saved = b""  # the SYN's headers, where the listener has TCP_SAVE_SYN
        self.timer: Timer | None = None  # once the SYN-ACK was sent again; before that, the engine's one serves all
        self.deadline_ns = 0

    def offered_mss(self) -> int:
        """Our MSS, by the path."""
        path = self.path
        least = self.engine.settings.route_min_adv_mss
        return options.advertised_mss(path.version, path.mtu, path.metrics, self.listener.sock.user_mss, least)

    def renew_path(self) -> None:
        """What is sent again offers what fits the path now, of which a router may have said something, and what the
        listener's TCP_MAXSEG now allows."""
        path = self.path
        if path.generation != path.stack.routes.generation:
            with suppress(OSError):
                self.path = self.engine.route(path.dst, path.src)
        self.advmss = self.offered_mss()

    def init_window(self, mss: int = 0) -> None:
        """The window to offer, in whole segments of our MSS (or of `mss`: all that a cookie tells)."""
        sock = self.listener.sock
        settings = self.engine.settings
        metrics = self.path.metrics
        space = sock.rcvbuf * window.DEFAULT_RATIO >> 8
        clamp = sock.window_clamp or (metrics.get("window", 0) if metrics else 0)
        self.rcv_wnd, self.clamp, self.rcv_wscale = window.initial(
            space,
            mss or self.advmss - (options.TIMESTAMP_BYTES if self.ts_ok else 0),
            window.locked_clamp(clamp, space, sock.rcvbuf_locked),
            self.wscale_ok,
            metrics.get("initrwnd", 0) if metrics else 0,
            settings.tcp_rmem[2],
            settings.rmem_max,
            settings.tcp_workaround_signed_windows != 0,
        )

    def send_syn_ack(self, now: int, tsval: int = -1) -> None:
        """<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>."""
        if self.retrans or self.path.generation != self.path.stack.routes.generation:
            self.renew_path()
        bits = OPT_MSS
        if self.sack_ok:
            bits |= OPT_SACK_PERMITTED
        if self.wscale_ok:
            bits |= OPT_WSCALE
        flags = SYN | ACK | (ECE if self.ecn_ok else 0)
        ts = None
        if self.ts_ok:
            ts = (tsval if tsval >= 0 else (now // MS + self.ts_offset) & MASK, self.ts_recent)
            self.ts_last = ts[0]
            if self.ts_first < 0:
                self.ts_first = self.ts_last
        tos, ttl = self.listener.sock.marks(self.path.version)
        if self.engine.settings.tcp_reflect_tos:
            tos = self.tos
        self.engine.reply(
            self.path, self.lport, self.rport, self.iss, self.irs + 1, flags, min(self.rcv_wnd, 65535), now, ts=ts,
            options=bits, mss=self.advmss, wscale=self.rcv_wscale, tos=tos & 0xFC, ttl=ttl,
        )  # fmt: skip

    def arm(self, now: int) -> None:
        engine = self.engine
        rto = engine.settings.tcp_timeout_init_ms * MS << self.timeouts
        at = now + min(rto, engine.settings.tcp_rto_max_ms * MS)
        if self.timer is None:
            if not self.timeouts and engine.queue_request(self, at):
                return
            self.deadline_ns = 0
            self.timer = engine.timers.timer(self.on_timer)
        self.timer.arm(at)

    def on_timer(self, now: int) -> None:
        """Send the SYN-ACK again: tcp_synack_retries times, and not while TCP_DEFER_ACCEPT only waits for data."""
        listener = self.listener
        defer = listener.sock.defer_accept
        retries = listener.sock.syn_retries or self.engine.settings.tcp_synack_retries
        expired = self.timeouts >= retries
        resend = True
        if defer:
            expired = self.timeouts >= retries and (not self.acked or self.timeouts >= defer)
            resend = not self.acked or self.timeouts >= defer - 1
        if expired:
            self.engine.counters.AttemptFails += 1
            self.drop()
            return
        self.timeouts += 1
        if resend:
            self.retrans += 1
            self.engine.counters.RetransSegs += 1
            self.engine.tcpext.TCPSynRetrans += 1
            self.send_syn_ack(now)
        self.arm(now)

    def drop(self) -> None:
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        engine = self.engine
        if self.deadline_ns:
            self.deadline_ns = 0
            engine.request_over()
        table = engine.table
        if table.get(self.key) is self:
            del table[self.key]
            self.listener.waiting -= 1

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.4 for SYN-RECEIVED: what a request can answer. The rest is the connection's."""
        flags = seg.flags
        engine = self.engine
        ext = engine.tcpext
        seq = unwrap(seg.seq, self.irs + 1)
        end = seq + seg.length + (flags & FIN) + (1 if flags & SYN else 0)
        ts = self.ts_ok and seg.options & OPT_TIMESTAMP
        paws_reject = tsecr_reject = False
        if ts:
            if seg.tsecr:  # it echoes one of our SYN-ACKs (RFC 7323 section 3.2)
                tsecr_reject = (seg.tsecr - self.ts_first) & MASK > (self.ts_last - self.ts_first) & MASK
            behind = (self.ts_recent - seg.tsval) & MASK
            # RFC 7323 section 5.3, R1. As in Linux, a TS.Recent of 0 rejects nothing.
            paws_reject = self.ts_recent != 0 and 0 < behind < HALF and not flags & RST
        # The same SYN again: the SYN-ACK is sent again.
        if flags & (SYN | RST | ACK) == SYN and seq == self.irs and not paws_reject:
            if not self.limited(now):
                self.retrans += 1
                engine.counters.RetransSegs += 1
                self.send_syn_ack(now)
                self.arm(now)
            return
        if flags & (ACK | RST) == ACK and unwrap(seg.ack, self.iss) != self.iss + 1:
            frame = engine.arriving
            if not engine.screens or frame is None or screen.takes(self.listener.sock, frame, seg.interface):
                engine.reset_for(seg, now)  # it is the listener that answers (Linux)
            return
        left, right = self.irs + 1, self.irs + 1 + min(self.rcv_wnd, 65535)  # as offered
        inside = seq == left or (end > left and seq < right) or seq == end == right
        if paws_reject or tsecr_reject or not inside:
            if not flags & RST:
                self.acknowledge(seg, now, bool(seg.length or flags & FIN) and not flags & SYN)
            if paws_reject:
                ext.PAWSEstab += 1
            elif tsecr_reject:
                ext.TSEcrRejected += 1
            return
        if flags & (RST | SYN):
            if seq == self.irs and flags & (SYN | ACK | RST) == SYN | ACK:
                self.acknowledge(seg, now)  # the peer's SYN again: as in a synchronized state (RFC 5961 section 4.2)
                return
            if flags & RST and seq != self.irs + 1:
                self.acknowledge(seg, now)  # RFC 5961 section 3.2: only the exact sequence number resets
                return
            ext.EmbryonicRsts += 1
            if not flags & RST:
                engine.reset_for(seg, now)
            engine.counters.AttemptFails += 1
            self.drop()
            return
        if not flags & ACK:
            return
        defer = self.listener.sock.defer_accept
        if defer and self.timeouts < defer and not seg.length and not flags & FIN:
            self.acked = True
            ext.TCPDeferAcceptDrop += 1
            return
        self.listener.complete(self, seg, now)

    def acknowledge(self, seg: Segment, now: int, text: bool = False) -> None:
        """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, with the TOS of the segment that is not acceptable. Rate limited, unless
        that has text."""
        if not text and self.limited(now):
            return
        window = min(self.rcv_wnd, 65535) >> self.rcv_wscale
        ts = ((now // MS + self.ts_offset) & MASK, self.ts_recent) if self.ts_ok else None
        self.engine.reply(
            self.path, self.lport, self.rport, self.iss + 1, self.irs + 1, ACK, window, now, ts=ts, tos=seg.tos & 0xFC
        )

    def limited(self, now: int) -> bool:
        """Answers are limited as a connection's are (net.ipv4.tcp_invalid_ratelimit)."""
        last = self.last_oow_ns
        if last and now - last < self.engine.settings.tcp_invalid_ratelimit * MS:
            self.engine.tcpext.TCPACKSkippedSynRecv += 1
            return True
        self.last_oow_ns = now or 1
        return False

    def icmp(self, error: Any, now: int) -> None:
        """Hard errors end a request silently, since no user knows of it yet. As in Linux those of IPv4 are: network or
        host unreachable, time exceeded, parameter problem."""
        seq = int.from_bytes(error.l4[4:8], "big")
        if seq != self.iss & MASK:
            self.engine.tcpext.OutOfWindowIcmps += 1
        elif error.fatal if error.version == 6 else error.type in (11, 12) or (error.type == 3 and error.code < 2):
            self.drop()
            self.engine.tcpext.ListenDrops += 1


def ports(key: bytes) -> tuple[int, int]:
    """(local, remote) port of a demultiplexing key."""
    n = len(key)
    return key[n - 4] << 8 | key[n - 3], key[n - 2] << 8 | key[n - 1]


class Listener:
    """The queues of a listening socket."""

    __slots__ = ("accept_queue", "backlog", "engine", "local", "sock", "waiting")

    def __init__(self, engine: Tcp, sock: TcpSocket, backlog: int) -> None:
        self.engine = engine
        self.sock = sock
        self.backlog = backlog
        self.waiting = 0  # requests
        self.accept_queue: deque[Connection] = deque()
        self.local: tuple[bytes, int] = sock.local
        """The local address of the last connection: the next one's is mostly the same."""

    def accept_full(self) -> bool:
        return len(self.accept_queue) > self.backlog

    def segment_arrives(self, seg: Segment, now: int, isn: int | None = None) -> None:
        """RFC 9293 section 3.10.7.2: LISTEN."""
        flags = seg.flags
        engine = self.engine
        if flags & RST:
            return
        if flags & ACK:
            if not flags & SYN and self.cookie_ack(seg, now):
                return
            engine.reset_for(seg, now)
            return
        if not flags & SYN or flags & FIN:
            return
        if not engine.unicast(seg):
            return
        settings = engine.settings
        ext = engine.tcpext
        cookie = settings.tcp_syncookies == 2
        if isn is None and (cookie or self.waiting > self.backlog):
            if not settings.tcp_syncookies:
                ext.TCPReqQFullDrop += 1
                ext.ListenDrops += 1
                return
            ext.TCPReqQFullDoCookies += 1
            cookie = True
        if self.accept_full():
            ext.ListenOverflows += 1
            ext.ListenDrops += 1
            return
        n = (len(seg.key) - 4) // 2
        try:
            path = engine.route(seg.key[n : 2 * n], seg.key[:n])
        except OSError:
            ext.ListenDrops += 1
            return
        if cookie:
            self.send_cookie(seg, path, now)
            return
        if (
            not settings.tcp_syncookies
            and settings.tcp_max_syn_backlog - self.waiting < settings.tcp_max_syn_backlog >> 2
        ):
            ext.ListenDrops += 1
            return
        request = Request(self, seg, path, isn if isn is not None else engine.isn(seg.key, now), now)
        self.waiting += 1
        engine.table[seg.key] = request
        if self.sock.flags:
            savesyn.record(engine, request)
        request.arm(now)
        request.send_syn_ack(now)

    def complete(self, request: Request, seg: Segment, now: int) -> None:
        """The handshake's last ACK: make the connection, and let it have the segment."""
        engine = self.engine
        ext = engine.tcpext
        if self.accept_full():
            ext.ListenOverflows += 1
            ext.ListenDrops += 1
            if engine.settings.tcp_abort_on_overflow and not request.cookie:
                ext.EmbryonicRsts += 1
                request.drop()
                engine.reset_for(seg, now)
            else:
                request.acked = True
            return
        request.drop()
        if request.ts_ok and seg.options & OPT_TIMESTAMP:
            request.tsecr = seg.tsecr
            if unwrap(seg.seq, request.irs + 1) <= request.irs + 1:  # RFC 7323 section 4.3 (2)
                request.ts_recent = seg.tsval
        child = self.make(request, now)
        engine.table[child.key] = child
        engine.counters.PassiveOpens += 1
        self.accept_queue.append(child)
        if engine.told is not None:
            child.segment_arrives(seg, now)
            self.sock.wake()
        else:  # whoever is woken may accept and answer before the ACK of this segment's text is due
            engine.told = []
            try:
                child.segment_arrives(seg, now)
                self.sock.wake()
            finally:
                engine.settle(now)

    def make(self, request: Request, now: int) -> Connection:
        """A connection in SYN-RECEIVED with everything the request knows."""
        sock = self.sock
        engine = self.engine
        if request.path.generation != request.path.stack.routes.generation:
            request.renew_path()
        if engine.connection is Connection:
            c = Connection(engine, request.key, request.path, request.lport, request.rport)
        else:
            c = engine.connection(engine, request.key, request.path, request.lport, request.rport)
        c.listener = self
        inherit.from_socket(sock, c)
        if engine.settings.tcp_reflect_tos:
            c.tos_now = c.tos_now & ~0xFF | request.tos & 0xFC
        c.iss = request.iss
        c.snd_una = c.snd_sml = c.rtt_seq = request.iss
        c.snd_nxt = c.write_seq = c.pushed_seq = request.iss + 1
        c.irs = request.irs
        c.rcv_nxt = c.rcv_wup = c.copied_seq = request.irs + 1
        c.snd_wl1 = request.irs
        c.snd_wscale = request.snd_wscale
        c.wscale_ok = request.wscale_ok
        c.sack_ok = request.sack_ok
        c.ts_ok = request.ts_ok
        c.ts_offset = request.ts_offset
        c.ts_recent = request.ts_recent
        c.ts_recent_ns = now
        c.ecn_ok = request.ecn_ok
        c.user_mss = sock.user_mss
        c.mss_clamp = request.mss
        c.advmss = request.offered_mss() - (options.TIMESTAMP_BYTES if request.ts_ok else 0)
        c.option_bytes = options.TIMESTAMP_BYTES if request.ts_ok else 0
        c.rcv_wnd = c.rcv_ssthresh = request.rcv_wnd
        c.window_clamp = request.clamp
        c.rcv_wscale = request.rcv_wscale
        c.app_limited = 1  # until the first ACK of what it sends
        c.total_retrans = request.retrans
        if request.timeouts:
            c.total_rto = request.timeouts
            c.total_rto_recoveries = 1
            c.total_rto_ns = now - request.sent_ns
            c.syn_stamp_ns = request.sent_ns
        c.segs_in = 1  # the SYN
        if request.saved:
            engine.saved[c] = request.saved
        fsm.move(c, fsm.OPEN_PASSIVE)
        fsm.move(c, fsm.RCV_SYN)
        c.sync_mss()
        c.snd_una = request.iss
        c.max_window = request.peer_window
        if request.tsecr:  # the only round-trip sample when the SYN-ACK was sent more than once, or was a cookie
            c.saw_ts = True
            c.rcv_tsecr = request.tsecr
        rtt = (now - request.sent_ns) // 1000 if not request.retrans and not request.cookie else -1
        acking.update_rtt(c, SYN_ACKED, rtt, -1, rtt, now)
        c.delivered = 1  # the SYN-ACK
        c.bytes_acked = -1  # the SYN, which the first ACK covers, does not count
        return c

    def close(self, now: int) -> None:
        """CLOSE in LISTEN (RFC 9293 section 3.10.4): requests are forgotten, connections not accepted are reset."""
        for request in self.engine.connections():
            if isinstance(request, Request) and request.listener is self:
                request.drop()
        while self.accept_queue:
            child = self.accept_queue.popleft()
            child.listener = None
            child.orphan = True
            child.abort(now)

    # SYN cookies.

    def send_cookie(self, seg: Segment, path: Path, now: int) -> None:
        """RFC 4987 section 3.6: the state goes into the SYN-ACK's sequence number, and (as in Linux) the options into
        the low bits of its timestamp."""
        engine = self.engine
        request = Request(self, seg, path, 0, now)
        index = 0
        for i, mss in enumerate(COOKIE_MSS[path.version]):
            if mss <= request.mss:
                index = i
        request.iss = cookie(engine, seg.key, seg.seq, index, now)
        tsval = -1
        if request.ts_ok:
            low = (request.snd_wscale if request.wscale_ok else NO_WSCALE) | request.sack_ok << 4 | request.ecn_ok << 5
            clock = (now // MS + request.ts_offset) & MASK
            tsval = clock & ~((1 << TS_BITS) - 1) | low
            if tsval > clock:
                tsval = (tsval - (1 << TS_BITS)) & MASK
        else:
            request.wscale_ok = request.sack_ok = request.ecn_ok = False
            request.init_window()
        engine.tcpext.SyncookiesSent += 1
        request.send_syn_ack(now, tsval)

    def cookie_ack(self, seg: Segment, now: int) -> bool:
        """An ACK without a request: does it return a cookie? True when a connection came of it (or it was dropped)."""
        engine = self.engine
        settings = engine.settings
        if not settings.tcp_syncookies or seg.flags & RST:
            return False
        if settings.tcp_syncookies != 2 and not engine.tcpext.SyncookiesSent:
            return False
        irs = (seg.seq - 1) & MASK
        index = check_cookie(engine, seg.key, irs, (seg.ack - 1) & MASK, now)
        if index < 0:
            engine.tcpext.SyncookiesFailed += 1
            return False
        n = (len(seg.key) - 4) // 2
        try:
            path = engine.route(seg.key[n : 2 * n], seg.key[:n])
        except OSError:
            return True
        engine.tcpext.SyncookiesRecv += 1
        request = Request(self, seg, path, (seg.ack - 1) & MASK, now)
        request.cookie = True
        request.irs = irs
        request.mss = COOKIE_MSS[path.version][index]
        request.sent_ns = 0
        request.ecn_ok = request.wscale_ok = request.sack_ok = False
        request.snd_wscale = 0
        if request.ts_ok:
            low = seg.tsecr & ((1 << TS_BITS) - 1)
            wscale = low & 15
            request.wscale_ok = wscale != NO_WSCALE and bool(settings.tcp_window_scaling)
            request.snd_wscale = min(wscale, options.WSCALE_MAX) if request.wscale_ok else 0
            request.sack_ok = bool(low & 16 and settings.tcp_sack)
            request.ecn_ok = bool(low & 32 and settings.tcp_ecn)
        request.init_window(request.mss)
        self.complete(request, seg, now)
        return True


def cookie(engine: Tcp, key: bytes, irs: int, index: int, now: int) -> int:
    """The ISN that carries the state: a keyed hash, the minute, and the index of the MSS."""
    return int(lib.trl_cookie(engine.secret, key, len(key), irs, index, now // COOKIE_PERIOD_NS & MASK))


def check_cookie(engine: Tcp, key: bytes, irs: int, value: int, now: int) -> int:
    """The MSS index of a cookie at most two periods old, or -1."""
    return int(lib.trl_cookie_check(engine.secret, key, len(key), irs, value, now // COOKIE_PERIOD_NS & MASK))
