"""What `%{ ... }%` sees of a socket: the fields of `struct tcp_info`, of SO_MEMINFO, and the names of their values."""

from __future__ import annotations

import struct
import traceback

CODE_SYMBOLS: dict[str, int] = {
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4, "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8, "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11,
    "TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
    "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32, "TCPI_OPT_USEC_TS": 64,
}  # fmt: skip

_INFO_U32 = (
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent",
    "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh",
    "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space", "total_retrans",
)  # fmt: skip
_INFO_REST = (
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
    ("H", "total_rto total_rto_recoveries"),
    ("I", "total_rto_time received_ce delivered_e1_bytes delivered_e0_bytes delivered_ce_bytes"),
    ("I", "received_e1_bytes received_e0_bytes received_ce_bytes"),
    ("H", "accecn_fail_mode accecn_opt_seen"),
)


def tcp_info(data: bytes) -> dict[str, int]:
    """`struct tcp_info` of include/uapi/linux/tcp.h to {tcpi_name: value}; a shorter one gives fewer names."""
    out: dict[str, int] = {}
    if len(data) < 8:
        return out
    names = ("state", "ca_state", "retransmits", "probes", "backoff", "options")
    for i, name in enumerate(names):
        out["tcpi_" + name] = data[i]
    out["tcpi_snd_wscale"], out["tcpi_rcv_wscale"] = data[6] & 15, data[6] >> 4
    out["tcpi_delivery_rate_app_limited"] = data[7] & 1
    out["tcpi_fastopen_client_fail"] = data[7] >> 1 & 3
    at = 8
    plan = [("I", name) for name in _INFO_U32]
    for code, text in _INFO_REST:
        plan += [(code, name) for name in text.split()]
    for code, name in plan:
        size = struct.calcsize("=" + code)
        if at + size > len(data):
            break
        out["tcpi_" + name] = struct.unpack_from("=" + code, data, at)[0]
        at += size
    return out


MEMINFO = ("RMEM_ALLOC", "RCVBUF", "WMEM_ALLOC", "SNDBUF", "FWD_ALLOC", "WMEM_QUEUED", "OPTMEM", "BACKLOG", "DROPS")


def meminfo(data: bytes) -> dict[str, int]:
    """SO_MEMINFO as the SK_MEMINFO_* that code blocks may use."""
    values = struct.unpack(f"={len(data) // 4}I", data[: len(data) // 4 * 4])
    return {f"SK_MEMINFO_{name}": value for name, value in zip(MEMINFO, values)}


def failed_at(error: Exception, path: str, text: str) -> tuple[int, str]:
    """Where code of a script, compiled under the script's path, went wrong: the line (0: not known), and what stands
    there. `text` is the block that ran, on the script's own lines; of a function of an earlier block, the line only.
    """
    if isinstance(error, SyntaxError):
        line = error.lineno or 0
    else:
        frames = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        line = frames[-1] if frames else 0
    rows = text.split("\n")
    return line, rows[line - 1].strip() if 0 < line <= len(rows) else ""
