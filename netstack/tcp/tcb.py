"""The transmission control block: every variable of a connection (RFC 9293 section 3.3.1), in plain slots.

SND.* and RCV.* are unwrapped integers (see `seq`). Windows and buffers are in bytes; cwnd, ssthresh, packets_out and
the other counts of the flight are in segments, as in Linux. Times ending in `_ns` (the RTO and deadlines among them)
are nanoseconds, and round trips are microseconds (`srtt_us` is eight times the smoothed value).

The flight, in segments: packets_out were sent and not cumulatively acknowledged; of these sacked_out were SACKed (or,
without SACK, counted by duplicate ACKs) and lost_out are deemed lost; retrans_out retransmissions are still out:

    pipe = packets_out - (sacked_out + lost_out) + retrans_out       (RFC 6675 section 4, SetPipe, as Linux counts it)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections import deque

    from netstack.route import Path
    from netstack.stamps import Stamps
    from netstack.tcp.congestion import CongestionControl
    from netstack.tcp.mtuprobe import Search
    from netstack.tcp.scoreboard import Head, Sent
    from netstack.timers import Timer

# States (RFC 9293 section 3.3.2), numbered as Linux numbers them: tcpi_state shows them.
(
    ESTABLISHED,
    SYN_SENT,
    SYN_RECEIVED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    TIME_WAIT,
    CLOSED,
    CLOSE_WAIT,
    LAST_ACK,
    LISTEN,
    CLOSING,
) = range(1, 12)
STATE_NAMES = {
    ESTABLISHED: "ESTABLISHED", SYN_SENT: "SYN-SENT", SYN_RECEIVED: "SYN-RECEIVED", FIN_WAIT_1: "FIN-WAIT-1",
    FIN_WAIT_2: "FIN-WAIT-2", TIME_WAIT: "TIME-WAIT", CLOSED: "CLOSED", CLOSE_WAIT: "CLOSE-WAIT", LAST_ACK: "LAST-ACK",
    LISTEN: "LISTEN", CLOSING: "CLOSING",
}  # fmt: skip

# Phases of loss recovery, numbered as Linux numbers them: tcpi_ca_state shows them.
CA_OPEN, CA_DISORDER, CA_CWR, CA_RECOVERY, CA_LOSS = range(5)

# What the retransmission deadline stands for.
NO_TIMER, RETRANS, LOSS_PROBE, REO_TIMEOUT, PROBE0 = range(5)

INFINITE_SSTHRESH = 0x7FFFFFFF
EMPTY: Final[tuple[Any, ...]] = ()
"""What a connection has in place of lists that it does not need yet, or never."""
NO_RECORDS: Final[list[Any]] = []
"""The same where the type is a list. It is replaced by another, and never changed."""
SECOND = 1_000_000_000
MS = 1_000_000
URGENT_AHEAD = 0x100  # urg_data: the urgent byte is announced, and not here yet
NO_RATE: Final = (0, 0, False)  # see `rate`


class Tcb:
    """The variables. `connection.Connection` adds behaviour; nothing else has state of its own."""

    __slots__ = (  # noqa: RUF023
        # Who and where.
        "key", "state", "path", "ports", "out", "tmpl", "tmpl_len", "l3", "l4", "ip_id", "tos_now",
        # SND.* and what waits to be sent.
        "iss", "snd_una", "snd_nxt", "snd_wnd", "snd_wl1", "max_window", "write_seq", "pushed_seq", "snd_sml", "snd_up",
        "unsent", "unsent_bytes", "fin_queued", "rtx", "ts_head", "snd_wscale", "lsndtime_ns",
        # RCV.* and what waits to be read.
        "irs", "rcv_nxt", "rcv_wnd", "rcv_wup", "rcv_up", "copied_seq", "rcvq", "rcvq_offset", "rmem", "ooo",
        "rcv_wscale", "offered_wscale",
        "rcv_ssthresh", "window_clamp", "scaling_ratio", "rcvbuf", "rcvbuf_locked", "fin_received", "urg_data",
        "sacks", "dsack", "dup_ack_counter", "compressed_ack", "compressed_ack_rcv_nxt", "rcvq_space", "rcvq_space_seq",
        "rcvq_space_ns", "rcv_rtt_us", "rcv_rtt_seq", "rcv_rtt_ns", "rcv_rtt_last_tsecr", "rcvlowat", "last_oow_ns",
        # Sizes and options.
        "mss_cache", "advmss", "mss_clamp", "user_mss", "mtu", "mtup", "ts_ok", "sack_ok", "wscale_ok", "ts_offset",
        "ts_recent",
        "ts_recent_ns", "rcv_tsecr", "saw_ts", "ecn_ok", "ecn_demand_cwr", "ecn_queue_cwr", "ecn_seen", "ecn_received",
        "option_bytes",
        # Acknowledgments owed.
        "ack_pending", "ack_quick", "ack_pingpong", "ato_ns", "lrcvtime_ns", "rcv_mss", "last_seg_size", "delack_ns",
        "comp_sack_ns", "quickack_user", "early_ack_ns", "delack_max_ns",
        # Round trip and timers.
        "srtt_us", "mdev_us", "mdev_max_us", "rttvar_us", "rtt_seq", "min_rtt_us", "min_rtt_ns", "rto_ns", "backoff",
        "retransmits", "min_rtt_sacked",
        "rto_min_us", "rto_max_ns", "pending", "rtx_ns", "keepalive_ns", "fin_wait_ns", "timer", "deadline_ns",
        "rcv_tstamp_ns", "probes_out",
        "probes_stamp_ns", "user_timeout_ms", "keep_idle", "keep_intvl", "keep_cnt", "keepalive_on", "syn_retries",
        "linger2",
        "rehash", "total_rto", "total_rto_recoveries", "total_rto_ns", "rto_stamp_ns", "syn_stamp_ns",
        # The flight and its scoreboard.
        "packets_out", "sacked_out", "lost_out", "retrans_out", "ca_state", "high_seq", "highest_sack", "reordering",
        "reord_seen", "retrans_stamp_ns", "undo_marker", "undo_retrans", "prior_ssthresh", "prior_cwnd",
        "prr_delivered",
        "prr_out", "frto", "tlp_high_seq", "tlp_retrans", "dsack_dups", "sack_reneg", "sack_cache", "retransmit_hint",
        "tx_order", "rack_order", "rack_end",
        "rack_rtt_us", "rack_advanced", "rack_steps", "rack_persist", "rack_dsack_seen",
        "rack_last_delivered", "delivered", "delivered_ce", "delivered_ns", "lost", "total_retrans", "dsack_seen",
        # Congestion control.
        "cc", "cwnd", "cwnd_cnt", "ssthresh", "cwnd_stamp_ns", "cwnd_used", "max_packets_out",
        "cwnd_usage_seq",
        "is_cwnd_limited", "pacing_rate", "app_limited",
        # Pacing and the delivery rate.
        "paced", "max_pacing_rate", "wstamp_ns", "pace_ns", "rate", "rate_delivered",
        "rate_interval_us", "rate_app_limited",
        # Sender's user side.
        "chrono", "chrono_ns", "busy_ns", "rwnd_limited_ns", "sndbuf_limited_ns",  # see `chrono`
        "stamps", "zerocopy", "zerocopy_next",
        "nonagle", "eor", "push_marks", "ends", "tail_seq", "tso_ns", "sndbuf", "sndbuf_locked", "notsent_lowat",
        "wake_pending", "wake_all", "was_full", "room_at",
        # Counts for TCP_INFO.
        "bytes_acked", "bytes_received", "bytes_sent", "bytes_retrans", "segs_out", "segs_in", "data_segs_out",
        "data_segs_in",
        "rcv_ooopack", "soft_error", "icmp_mtu",
    )  # fmt: skip

    cc: CongestionControl
    ts_head: Head
    path: Path

    def __init__(self) -> None:
        # Who and where.
        self.ports = 0  # local << 16 | remote
        self.state = self.tmpl_len = self.l3 = self.l4 = self.ip_id = self.tos_now = 0
        self.key = b""
        self.out: Any = None  # struct trl_tcp_out, once a segment is out of the ordinary (see `emit`)
        self.tmpl: Any = None
        # SND.* and what waits to be sent.
        self.iss = self.snd_una = self.snd_nxt = self.snd_wnd = self.snd_wl1 = self.max_window = 0
        self.write_seq = self.pushed_seq = self.snd_sml = self.snd_up = self.unsent_bytes = self.snd_wscale = 0
        self.lsndtime_ns = 0
        self.fin_queued = False
        self.unsent: Any = EMPTY
        self.rtx: list[Sent] = NO_RECORDS
        # RCV.* and what waits to be read.
        self.irs = self.rcv_nxt = self.rcv_wnd = self.rcv_wup = self.rcv_up = self.copied_seq = 0
        self.rcvq_offset = self.rmem = self.rcv_wscale = self.offered_wscale = self.rcv_ssthresh = self.window_clamp = 0
        self.scaling_ratio = self.rcvbuf = self.dup_ack_counter = self.compressed_ack = 0
        self.compressed_ack_rcv_nxt = self.rcvq_space = self.rcvq_space_seq = self.rcvq_space_ns = 0
        self.rcv_rtt_us = self.rcv_rtt_seq = self.rcv_rtt_ns = self.rcv_rtt_last_tsecr = self.rcvlowat = 0
        self.last_oow_ns = 0
        self.rcvbuf_locked = self.fin_received = False
        self.rcvq: Any = EMPTY
        self.ooo: Any = EMPTY
        self.urg_data = -1
        self.sacks: list[tuple[int, int]] = NO_RECORDS
        self.dsack: tuple[int, int] | None = None
        # Sizes and options.
        self.mss_cache = self.advmss = self.mss_clamp = self.user_mss = self.mtu = self.ts_offset = 0
        self.mtup: Search | None = None
        self.ts_recent = self.ts_recent_ns = self.rcv_tsecr = self.option_bytes = 0
        self.ts_ok = self.sack_ok = self.wscale_ok = self.saw_ts = self.ecn_ok = self.ecn_demand_cwr = False
        self.ecn_queue_cwr = self.ecn_seen = False
        self.ecn_received: list[int] | None = None  # segments with CE, bytes with ECT(1), ECT(0), CE
        # Acknowledgments owed.
        self.ack_pending = self.ack_quick = self.ack_pingpong = self.ato_ns = self.lrcvtime_ns = self.rcv_mss = 0
        self.last_seg_size = self.delack_ns = self.comp_sack_ns = self.delack_max_ns = self.rto_max_ns = 0
        self.early_ack_ns = -1
        self.quickack_user = False
        # Round trip and timers.
        self.srtt_us = self.mdev_us = self.mdev_max_us = self.rttvar_us = self.rtt_seq = self.min_rtt_us = 0
        self.min_rtt_sacked = False  # what set it was SACKed: it may have overtaken others
        self.min_rtt_ns = self.rto_ns = self.backoff = self.retransmits = self.rto_min_us = self.pending = 0
        self.rtx_ns = self.keepalive_ns = self.fin_wait_ns = self.deadline_ns = self.rcv_tstamp_ns = 0
        self.probes_out = self.probes_stamp_ns = self.user_timeout_ms = self.keep_idle = self.keep_intvl = 0
        self.keep_cnt = self.syn_retries = self.linger2 = self.total_rto = self.syn_stamp_ns = 0
        self.total_rto_recoveries = self.total_rto_ns = self.rto_stamp_ns = self.rehash = 0
        self.keepalive_on = False
        self.timer: Timer | None = None
        # The flight and its scoreboard.
        self.packets_out = self.sacked_out = self.lost_out = self.retrans_out = self.ca_state = self.high_seq = 0
        self.highest_sack = self.reordering = self.reord_seen = self.retrans_stamp_ns = self.undo_marker = 0
        self.undo_retrans = self.prior_ssthresh = self.prior_cwnd = self.prr_delivered = self.prr_out = 0
        self.tlp_high_seq = self.dsack_dups = self.retransmit_hint = self.tx_order = self.rack_order = 0
        self.rack_end = self.rack_rtt_us = self.rack_steps = self.rack_persist = self.rack_last_delivered = 0
        self.delivered = self.delivered_ce = self.delivered_ns = self.lost = self.total_retrans = 0
        self.frto = self.tlp_retrans = self.sack_reneg = self.rack_advanced = self.rack_dsack_seen = False
        self.dsack_seen = False
        self.sack_cache: tuple[tuple[int, int], ...] = ()
        # Congestion control.
        self.cwnd = self.cwnd_cnt = self.ssthresh = self.cwnd_stamp_ns = self.cwnd_used = 0
        self.max_packets_out = self.cwnd_usage_seq = self.pacing_rate = self.app_limited = 0
        self.is_cwnd_limited = False
        # Pacing and the delivery rate (see `pacing`, `rate`).
        self.max_pacing_rate = self.wstamp_ns = self.pace_ns = self.rate_delivered = self.rate_interval_us = 0
        self.paced = False
        self.rate_app_limited = True  # without any sample nothing is known of the path
        self.rate = NO_RATE
        # Sender's user side.
        self.chrono = self.chrono_ns = self.busy_ns = self.rwnd_limited_ns = self.sndbuf_limited_ns = 0
        self.nonagle = self.tail_seq = self.tso_ns = self.sndbuf = self.notsent_lowat = 0
        self.sndbuf_locked = self.wake_pending = self.wake_all = self.was_full = False
        # What there is to tell who waits for room to send: -1 nothing, -2 room and data, -3 room alone, else room,
        # which came when RCV.NXT was this number.
        self.room_at = -1
        self.eor: tuple[int, ...] = ()
        self.push_marks: tuple[int, ...] = ()  # where PSH is due, within what is not sent
        self.ends: Any = EMPTY  # where each buffer that waits ends, except the last, which may still grow
        self.zerocopy: deque[tuple[int, int]] | None = None  # see `beside`
        self.zerocopy_next = 0
        self.stamps: Stamps | None = None
        # Counts for TCP_INFO.
        self.bytes_acked = self.bytes_received = self.bytes_sent = self.bytes_retrans = self.segs_out = 0
        self.segs_in = self.data_segs_out = self.data_segs_in = self.soft_error = self.rcv_ooopack = 0
        self.icmp_mtu = 0

    def in_flight(self) -> int:
        """pipe, in segments."""
        return self.packets_out - self.sacked_out - self.lost_out + self.retrans_out

    def receive_window(self) -> int:
        """What is left of the window last advertised."""
        left = self.rcv_wup + self.rcv_wnd - self.rcv_nxt
        return left if left > 0 else 0
