"""What SOF_TIMESTAMPING_OPT_STATS sends along with a stream's time stamp: figures of TCP_INFO as netlink attributes
(Linux's TCP_NLA_*, <linux/tcp.h>: two bytes of length, two of type, the value, padding to four bytes).

They are taken at the moment of the time stamp: a segment's own bytes count as sent but are not yet below SND.NXT, and
an acknowledgment has moved SND.UNA, but has not yet changed the round trip or cwnd.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from netstack.tcp.info import collect

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

BUSY, RWND_LIMITED, SNDBUF_LIMITED, DATA_SEGS_OUT, TOTAL_RETRANS, PACING_RATE, DELIVERY_RATE = range(1, 8)
SND_CWND, REORDERING, MIN_RTT, RECUR_RETRANS, DELIVERY_RATE_APP_LMT, SNDQ_SIZE, CA_STATE, SND_SSTHRESH = range(8, 16)
DELIVERED, DELIVERED_CE, BYTES_SENT, BYTES_RETRANS, DSACK_DUPS, REORD_SEEN, SRTT, TIMEOUT_REHASH = range(16, 24)
BYTES_NOTSENT, EDT, TTL, REHASH = range(24, 28)


def attribute(kind: int, code: str, value: int) -> bytes:
    size = struct.calcsize(code)
    whole = struct.pack("=HH" + code, 4 + size, kind, value & (1 << 8 * size) - 1)
    return whole + bytes(-len(whole) % 4)


def counters(
    c: Connection, now: int, left_ns: int, begun: int, segments: int = 0, length: int = 0, ttl: int = -1
) -> bytes:
    """The attributes, in Linux's order. The segment left at `left_ns`; what begins at `begun` is not sent yet;
    `segments` and `length` are to be counted besides; `ttl` of the segment that acknowledged it."""
    i = collect(c, c.state, now, (0, 0), c.settings.tcp_reordering)
    figures = [
        (BUSY, "Q", i.tcpi_busy_time), (RWND_LIMITED, "Q", i.tcpi_rwnd_limited),
        (SNDBUF_LIMITED, "Q", i.tcpi_sndbuf_limited), (DATA_SEGS_OUT, "Q", i.tcpi_data_segs_out + segments),
        (TOTAL_RETRANS, "Q", i.tcpi_total_retrans), (PACING_RATE, "Q", i.tcpi_pacing_rate),
        (DELIVERY_RATE, "Q", i.tcpi_delivery_rate), (SND_CWND, "I", i.tcpi_snd_cwnd),
        (REORDERING, "I", i.tcpi_reordering), (MIN_RTT, "I", i.tcpi_min_rtt), (RECUR_RETRANS, "B", i.tcpi_retransmits),
        (DELIVERY_RATE_APP_LMT, "B", i.tcpi_delivery_rate_app_limited), (SND_SSTHRESH, "I", i.tcpi_snd_ssthresh),
        (DELIVERED, "I", i.tcpi_delivered), (DELIVERED_CE, "I", i.tcpi_delivered_ce),
        (SNDQ_SIZE, "I", max(0, c.write_seq - c.snd_una)), (CA_STATE, "B", i.tcpi_ca_state),
        (BYTES_SENT, "Q", i.tcpi_bytes_sent + length), (BYTES_RETRANS, "Q", i.tcpi_bytes_retrans),
        (DSACK_DUPS, "I", i.tcpi_dsack_dups), (REORD_SEEN, "I", i.tcpi_reord_seen), (SRTT, "I", i.tcpi_rtt),
        (TIMEOUT_REHASH, "H", i.tcpi_rehash), (BYTES_NOTSENT, "I", max(0, c.write_seq - begun)), (EDT, "Q", left_ns),
    ]  # fmt: skip
    if ttl >= 0:
        figures.append((TTL, "B", ttl))
    figures.append((REHASH, "I", i.tcpi_rehash))
    return b"".join(attribute(*figure) for figure in figures)
