"""The transmission control block: every variable of a connection (RFC 9293 section 3.3.1), in plain slots.

SND.* and RCV.* are unwrapped integers (see `seq`). Windows and buffers are bytes; cwnd, ssthresh, packets_out and its
kin count segments, as Linux does; times ending in `_ns` are nanoseconds, round trips are microseconds (`srtt_us` is
eight times the smoothed value, `RTO` and deadlines are nanoseconds).

The flight, in segments: packets_out sent and not cumulatively acknowledged, of which sacked_out are SACKed (or
counted by duplicate ACKs), lost_out deemed lost, and retrans_out retransmissions still out:

    pipe = packets_out - (sacked_out + lost_out) + retrans_out          (RFC 6675 section 4)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netstack.tcp.congestion import CongestionControl
    from netstack.tcp.scoreboard import Head, Sent

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
SECOND = 1_000_000_000
MS = 1_000_000


class Tcb:
    """The variables. `connection.Connection` adds behaviour; nothing else has state of its own."""

    __slots__ = (  # noqa: RUF023
        # Who and where.
        "key", "state", "path", "out", "tmpl", "tmpl_len", "l3", "l4", "ip_id", "tos_now",
        # SND.* and what waits to be sent.
        "iss", "snd_una", "snd_nxt", "snd_wnd", "snd_wl1", "max_window", "write_seq", "pushed_seq", "snd_sml", "snd_up",
        "unsent", "unsent_bytes", "fin_queued", "rtx", "ts_head", "snd_wscale", "lsndtime_ns",
        # RCV.* and what waits to be read.
        "irs", "rcv_nxt", "rcv_wnd", "rcv_wup", "rcv_up", "copied_seq", "rcvq", "rcvq_offset", "rmem", "ooo",
        "rcv_wscale",
        "rcv_ssthresh", "window_clamp", "scaling_ratio", "rcvbuf", "rcvbuf_locked", "fin_received", "urg_data",
        "sacks", "dsack", "dup_ack_counter", "compressed_ack", "compressed_ack_rcv_nxt", "rcvq_space", "rcvq_space_seq",
        "rcvq_space_ns", "rcv_rtt_us", "rcv_rtt_seq", "rcv_rtt_ns", "rcv_rtt_last_tsecr", "rcvlowat", "last_oow_ns",
        # Sizes and options.
        "mss_cache", "advmss", "mss_clamp", "user_mss", "mtu", "ts_ok", "sack_ok", "wscale_ok", "ts_offset",
        "ts_recent",
        "ts_recent_ns", "rcv_tsecr", "saw_ts", "ecn_ok", "ecn_demand_cwr", "ecn_queue_cwr", "ecn_seen", "option_bytes",
        # Acknowledgments owed.
        "ack_pending", "ack_quick", "ack_pingpong", "ato_ns", "lrcvtime_ns", "rcv_mss", "last_seg_size", "delack_ns",
        "comp_sack_ns", "quickack_user",
        # Round trip and timers.
        "srtt_us", "mdev_us", "mdev_max_us", "rttvar_us", "rtt_seq", "min_rtt_us", "min_rtt_ns", "rto_ns", "backoff",
        "retransmits",
        "rto_min_us", "pending", "rtx_ns", "keepalive_ns", "fin_wait_ns", "timer", "deadline_ns", "rcv_tstamp_ns",
        "probes_out",
        "probes_stamp_ns", "user_timeout_ms", "keep_idle", "keep_intvl", "keep_cnt", "keepalive_on", "syn_retries",
        "linger2",
        "total_rto", "syn_stamp_ns",
        # The flight and its scoreboard.
        "packets_out", "sacked_out", "lost_out", "retrans_out", "ca_state", "high_seq", "highest_sack", "reordering",
        "reord_seen", "retrans_stamp_ns", "undo_marker", "undo_retrans", "prior_ssthresh", "prior_cwnd",
        "prr_delivered",
        "prr_out", "frto", "tlp_high_seq", "tlp_retrans", "dsack_dups", "sack_reneg", "sack_cache", "retransmit_hint",
        "tx_order", "rack_order", "rack_end",
        "rack_rtt_us", "rack_advanced", "rack_steps", "rack_persist", "rack_dsack_seen",
        "rack_last_delivered", "delivered", "delivered_ce", "delivered_ns", "lost", "total_retrans", "dsack_seen",
        # Congestion control.
        "cc", "cwnd", "cwnd_cnt", "ssthresh", "cwnd_clamp", "cwnd_stamp_ns", "cwnd_used", "max_packets_out",
        "cwnd_usage_seq",
        "is_cwnd_limited", "pacing_rate", "app_limited",
        # Sender's user side.
        "chrono", "chrono_ns", "busy_ns", "rwnd_limited_ns", "sndbuf_limited_ns",  # see `chrono`
        "nonagle", "eor", "tail_seq", "tso_ns", "sndbuf", "sndbuf_locked", "notsent_lowat", "wake_pending", "was_full",
        # Counts for TCP_INFO.
        "bytes_acked", "bytes_received", "bytes_sent", "bytes_retrans", "segs_out", "segs_in", "data_segs_out",
        "data_segs_in",
        "soft_error", "reord_events", "icmp_mtu",
    )  # fmt: skip

    if TYPE_CHECKING:
        path: Any
        unsent: Any
        rtx: list[Sent]
        ts_head: Head
        cc: CongestionControl
        sacks: list[tuple[int, int]]
        dsack: tuple[int, int] | None
        tx_order: int

        def __getattr__(self, name: str) -> Any: ...  # every other slot is an integer or a flag

        def __setattr__(self, name: str, value: Any) -> None: ...

    def in_flight(self) -> int:
        """pipe, in segments."""
        return self.packets_out - self.sacked_out - self.lost_out + self.retrans_out

    def wnd_end(self) -> int:
        """The greatest sequence number that may be sent: SND.UNA + SND.WND."""
        return int(self.snd_una + self.snd_wnd)

    def receive_window(self) -> int:
        """What is left of the window last advertised."""
        left = self.rcv_wup + self.rcv_wnd - self.rcv_nxt
        return int(left) if left > 0 else 0


_OBJECTS = (
    "key",
    "path",
    "out",
    "tmpl",
    "unsent",
    "rtx",
    "ts_head",
    "rcvq",
    "ooo",
    "sacks",
    "dsack",
    "timer",
    "cc",
    "sack_cache",
    "urg_data",
    "eor",
)
ZEROS = tuple(name for name in Tcb.__slots__ if name not in _OBJECTS)


def _zeroing() -> Callable[[Any], None]:
    """A function that sets every integer slot to 0. Compiled from the names, once: setattr by name costs eight times
    more, and a server makes thousands of these blocks a second."""
    namespace: dict[str, Any] = {}
    exec("def zero(c):\n    " + " = ".join(f"c.{name}" for name in ZEROS) + " = 0\n", namespace)
    made: Callable[[Any], None] = namespace["zero"]
    return made


zero = _zeroing()
