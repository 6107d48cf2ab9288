"""TCP_INFO: a connection's state as `struct tcp_info` of Linux's <linux/tcp.h>, as an object and as bytes. It serves as
STATUS (RFC 9293 section 3.9.1.5); its fields are Linux's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from netstack.tcp import chrono, rate
from netstack.tcp.options import MSS_DEFAULT
from netstack.tcp.tcb import INFINITE_SSTHRESH, LISTEN, MS, SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

# Name and struct format, in the order of the C struct (padding included).
FIELDS: tuple[tuple[str, str], ...] = (
    ("tcpi_state", "B"), ("tcpi_ca_state", "B"), ("tcpi_retransmits", "B"), ("tcpi_probes", "B"), ("tcpi_backoff", "B"),
    ("tcpi_options", "B"), ("_wscale", "B"), ("_flags", "B"),
    ("tcpi_rto", "I"), ("tcpi_ato", "I"), ("tcpi_snd_mss", "I"), ("tcpi_rcv_mss", "I"),
    ("tcpi_unacked", "I"), ("tcpi_sacked", "I"), ("tcpi_lost", "I"), ("tcpi_retrans", "I"), ("tcpi_fackets", "I"),
    ("tcpi_last_data_sent", "I"), ("tcpi_last_ack_sent", "I"), ("tcpi_last_data_recv", "I"),
    ("tcpi_last_ack_recv", "I"),
    ("tcpi_pmtu", "I"), ("tcpi_rcv_ssthresh", "I"), ("tcpi_rtt", "I"), ("tcpi_rttvar", "I"), ("tcpi_snd_ssthresh", "I"),
    ("tcpi_snd_cwnd", "I"), ("tcpi_advmss", "I"), ("tcpi_reordering", "I"), ("tcpi_rcv_rtt", "I"),
    ("tcpi_rcv_space", "I"),
    ("tcpi_total_retrans", "I"),
    ("tcpi_pacing_rate", "Q"), ("tcpi_max_pacing_rate", "Q"), ("tcpi_bytes_acked", "Q"), ("tcpi_bytes_received", "Q"),
    ("tcpi_segs_out", "I"), ("tcpi_segs_in", "I"), ("tcpi_notsent_bytes", "I"), ("tcpi_min_rtt", "I"),
    ("tcpi_data_segs_in", "I"), ("tcpi_data_segs_out", "I"), ("tcpi_delivery_rate", "Q"),
    ("tcpi_busy_time", "Q"), ("tcpi_rwnd_limited", "Q"), ("tcpi_sndbuf_limited", "Q"),
    ("tcpi_delivered", "I"), ("tcpi_delivered_ce", "I"), ("tcpi_bytes_sent", "Q"), ("tcpi_bytes_retrans", "Q"),
    ("tcpi_dsack_dups", "I"), ("tcpi_reord_seen", "I"), ("tcpi_rcv_ooopack", "I"), ("tcpi_snd_wnd", "I"),
    ("tcpi_rcv_wnd", "I"), ("tcpi_rehash", "I"), ("tcpi_total_rto", "H"), ("tcpi_total_rto_recoveries", "H"),
    ("tcpi_total_rto_time", "I"), ("tcpi_received_ce", "I"), ("tcpi_delivered_e1_bytes", "I"),
    ("tcpi_delivered_e0_bytes", "I"), ("tcpi_delivered_ce_bytes", "I"), ("tcpi_received_e1_bytes", "I"),
    ("tcpi_received_e0_bytes", "I"), ("tcpi_received_ce_bytes", "I"), ("tcpi_accecn_fail_mode", "H"),
    ("tcpi_accecn_opt_seen", "H"),
)  # fmt: skip
FORMAT = "=" + "".join(code for _, code in FIELDS)

INIT_CWND, RCV_MSS_MIN = 10, 88
OPT_TIMESTAMPS, OPT_SACK, OPT_WSCALE, OPT_ECN, OPT_ECN_SEEN = 1, 2, 4, 8, 16


class TcpInfo:
    """The fields of `struct tcp_info` as attributes; the two bit-field pairs are apart (tcpi_snd_wscale,
    tcpi_rcv_wscale)."""

    if __debug__:

        def __getattr__(self, name: str) -> int:
            raise AttributeError(f"struct tcp_info has no field {name!r}")

    def as_dict(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if name.startswith("tcpi_")}

    def pack(self) -> bytes:
        """The C struct, little endian as the host's."""
        values = vars(self)
        out = []
        for name, code in FIELDS:
            value = values.get(name, 0)
            if name == "_wscale":
                value = self.tcpi_snd_wscale | self.tcpi_rcv_wscale << 4
            elif name == "_flags":
                value = self.tcpi_delivery_rate_app_limited
            bits = {"B": 8, "H": 16, "I": 32, "Q": 64}[code]
            out.append(value & ((1 << bits) - 1))
        return struct.pack(FORMAT, *out)


class Past:
    """What a socket goes on showing of a connection that it no longer has: what Linux's tcp_disconnect leaves in it."""

    __slots__ = ("fields", "not_acked", "not_sent")

    def __init__(self, c: Connection | None, before: Past | None, now: int) -> None:
        # SND.NXT moves beyond the window of the old connection (RFC 9293 section 3.4.3), as if so much were queued.
        beyond = 2
        if c is not None:
            beyond += c.max_window
            shown = vars(collect(c, c.state, now, (0, 0), c.reordering))
            self.fields: dict[str, int] = {name: shown[name] for name in KEPT}
            self.not_acked = c.write_seq - c.snd_una + beyond
            self.not_sent = c.write_seq - c.snd_nxt + beyond
        else:
            self.fields = {} if before is None else before.fields
            self.not_acked = beyond if before is None else before.not_acked + beyond
            self.not_sent = beyond if before is None else before.not_sent + beyond
        self.fields["tcpi_rcv_mss"] = RCV_MSS_MIN
        self.fields["tcpi_notsent_bytes"] = self.not_sent


KEPT = (
    "tcpi_snd_mss", "tcpi_pmtu", "tcpi_rcv_ssthresh", "tcpi_advmss", "tcpi_reordering", "tcpi_rcv_rtt",
    "tcpi_rcv_space", "tcpi_pacing_rate", "tcpi_max_pacing_rate", "tcpi_min_rtt", "tcpi_delivery_rate",
    "tcpi_busy_time", "tcpi_rwnd_limited", "tcpi_sndbuf_limited", "tcpi_snd_wnd", "tcpi_rcv_wnd", "tcpi_rehash",
    "tcpi_total_rto", "tcpi_total_rto_recoveries", "tcpi_total_rto_time",
)  # fmt: skip


def collect(
    c: Connection | None, state: int, now: int, queue: tuple[int, int], reordering: int, past: Past | None = None
) -> TcpInfo:
    """TCP_INFO of a connection. Without one it is what a connection begins with (`reordering` is a setting), and what
    is left of the one before. A listening socket shows `queue`: how many connections wait for accept(), and how many
    may."""
    info: Any = TcpInfo()
    for name, _ in FIELDS:
        if name.startswith("tcpi_"):
            setattr(info, name, 0)
    info.tcpi_snd_wscale = info.tcpi_rcv_wscale = 0
    info.tcpi_delivery_rate_app_limited = info.tcpi_fastopen_client_fail = 0
    info.tcpi_state = state
    if c is None or state == LISTEN:
        info.tcpi_reordering, info.tcpi_snd_cwnd = reordering, INIT_CWND
        info.tcpi_pacing_rate = info.tcpi_max_pacing_rate = (1 << 64) - 1
        if state == LISTEN:
            info.tcpi_unacked, info.tcpi_sacked = queue
            return info
        info.tcpi_snd_mss, info.tcpi_snd_ssthresh = MSS_DEFAULT, INFINITE_SSTHRESH
        info.tcpi_rto, info.tcpi_rttvar, info.tcpi_min_rtt = 1_000_000, 250_000, (1 << 32) - 1
        info.tcpi_delivery_rate_app_limited = 1
        if past is not None:
            vars(info).update(past.fields)
        return info
    info.tcpi_ca_state = c.ca_state
    info.tcpi_retransmits = c.retransmits
    info.tcpi_probes = c.probes_out
    info.tcpi_backoff = c.backoff
    options = 0
    asked = state == SYN_SENT  # options are offered, and not agreed on yet
    if c.ts_ok:
        options |= OPT_TIMESTAMPS
    if c.sack_ok:
        options |= OPT_SACK
    if c.wscale_ok:
        options |= OPT_WSCALE
        info.tcpi_snd_wscale = c.snd_wscale
        info.tcpi_rcv_wscale = c.rcv_wscale
    if c.ecn_ok:
        options |= OPT_ECN
    if c.ecn_seen:
        options |= OPT_ECN_SEEN
    info.tcpi_options = options & OPT_ECN if asked else options
    if asked:
        info.tcpi_rcv_wscale = 0
    info.tcpi_rto = c.rto_ns // 1000
    info.tcpi_ato = min(c.ato_ns, c.delack_max_ns) // 1000
    info.tcpi_snd_mss = c.mss_cache
    info.tcpi_rcv_mss = c.rcv_mss if not asked else RCV_MSS_MIN
    info.tcpi_unacked = c.packets_out
    info.tcpi_sacked = c.sacked_out
    info.tcpi_lost = c.lost_out
    info.tcpi_retrans = c.retrans_out
    info.tcpi_last_data_sent = (now - c.lsndtime_ns) // MS
    info.tcpi_last_data_recv = (now - c.lrcvtime_ns) // MS
    info.tcpi_last_ack_recv = (now - c.rcv_tstamp_ns) // MS
    info.tcpi_pmtu = c.mtu
    info.tcpi_rcv_ssthresh = c.rcv_ssthresh
    info.tcpi_rtt = c.srtt_us >> 3
    info.tcpi_rttvar = c.mdev_us >> 2
    info.tcpi_snd_ssthresh = c.ssthresh
    info.tcpi_snd_cwnd = c.cwnd
    info.tcpi_advmss = c.advmss
    info.tcpi_reordering = c.reordering
    info.tcpi_rcv_rtt = c.rcv_rtt_us >> 3
    info.tcpi_rcv_space = c.rcvq_space
    info.tcpi_total_retrans = c.total_retrans
    info.tcpi_pacing_rate = c.pacing_rate or (1 << 64) - 1
    info.tcpi_max_pacing_rate = c.max_pacing_rate or (1 << 64) - 1
    info.tcpi_bytes_acked = c.bytes_acked
    info.tcpi_bytes_received = c.bytes_received
    info.tcpi_segs_out = c.segs_out
    info.tcpi_segs_in = c.segs_in
    info.tcpi_notsent_bytes = max(0, c.write_seq - c.snd_nxt)
    info.tcpi_min_rtt = c.min_rtt_us
    info.tcpi_data_segs_in = c.data_segs_in
    info.tcpi_data_segs_out = c.data_segs_out
    info.tcpi_delivered = c.delivered
    info.tcpi_delivery_rate = rate.bytes_per_second(c)
    info.tcpi_delivery_rate_app_limited = int(c.rate_app_limited)
    info.tcpi_delivered_ce = c.delivered_ce
    info.tcpi_bytes_sent = c.bytes_sent
    info.tcpi_bytes_retrans = c.bytes_retrans
    info.tcpi_busy_time, info.tcpi_rwnd_limited, info.tcpi_sndbuf_limited = (t // 1000 for t in chrono.totals(c, now))
    info.tcpi_dsack_dups = c.dsack_dups
    info.tcpi_reord_seen = c.reord_seen
    info.tcpi_rcv_ooopack = c.rcv_ooopack
    info.tcpi_snd_wnd = c.snd_wnd
    info.tcpi_rcv_wnd = c.rcv_wnd
    info.tcpi_rehash = c.rehash
    info.tcpi_total_rto = c.total_rto
    info.tcpi_total_rto_recoveries = c.total_rto_recoveries
    info.tcpi_total_rto_time = (c.total_rto_ns + (now - c.rto_stamp_ns if c.rto_stamp_ns else 0)) // MS
    received = c.ecn_received or (0, 0, 0, 0)
    info.tcpi_received_ce, info.tcpi_received_e1_bytes = received[0], received[1]
    info.tcpi_received_e0_bytes, info.tcpi_received_ce_bytes = received[2], received[3]
    return info
