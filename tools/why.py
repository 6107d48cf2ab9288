"""The connections of a stack in words: `ss -ti`, from TCP_INFO (ss(8) of iproute2, which prints what the kernel's
sock_diag gives).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netstack.address import format_ip
from netstack.tcp.info import collect
from netstack.tcp.tcb import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.stack import Stack
    from netstack.tcp.info import TcpInfo

STATES = {
    ESTABLISHED: "ESTAB", SYN_SENT: "SYN-SENT", SYN_RECEIVED: "SYN-RECV", FIN_WAIT_1: "FIN-WAIT-1",
    FIN_WAIT_2: "FIN-WAIT-2", TIME_WAIT: "TIME-WAIT", CLOSED: "UNCONN", CLOSE_WAIT: "CLOSE-WAIT",
    LAST_ACK: "LAST-ACK", LISTEN: "LISTEN", CLOSING: "CLOSING",
}  # fmt: skip
HEAD = ("State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port")
FLAGS = ((1, "ts"), (2, "sack"), (8, "ecn"), (16, "ecnseen"))  # of tcpi_options
NO_SSTHRESH = 0xFFFF  # from here on ss shows none
UNLIMITED = (1 << 64) - 1


def ss(stack: Stack, now: int | None = None) -> str:
    """All TCP sockets of a stack as `ss -tia` prints them: listeners, then connections in the order of their making.

    `now` is the time that "lastsnd" and its kin are counted from; by default the stack's own, of its last event.
    """
    now = stack.now if now is None else now
    rows = [*_listeners(stack), *_connections(stack, now)]
    table = [HEAD, *(row for row, _ in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    lines = []
    for row, info in [(HEAD, ""), *rows]:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        lines.append(" ".join((*left, row[3].rjust(widths[3]), row[4].rjust(widths[4]))).rstrip())
        if info:
            lines.append("\t " + info)
    return "\n".join(lines) + "\n"


def _end(address: bytes, port: int | str) -> str:
    text = format_ip(address)
    return f"{f'[{text}]' if len(address) == 16 else text}:{port}"


def _listeners(stack: Stack) -> Iterator[tuple[tuple[str, ...], str]]:
    for port in sorted(stack.tcp.listeners):
        for listener in stack.tcp.listeners[port]:
            address = listener.sock.local[0]
            queue, backlog = str(len(listener.accept_queue)), str(listener.backlog)
            yield (STATES[LISTEN], queue, backlog, _end(address, port), _end(bytes(len(address)), "*")), ""


def _connections(stack: Stack, now: int) -> Iterator[tuple[tuple[str, ...], str]]:
    for entry in stack.tcp.connections():
        key = bytes(entry.key)
        size = (len(key) - 4) // 2
        local = _end(key[:size], int.from_bytes(key[-4:-2], "big"))
        remote = _end(key[size : 2 * size], int.from_bytes(key[-2:], "big"))
        state = getattr(entry, "state", SYN_RECEIVED)
        if not hasattr(entry, "cwnd"):  # a request, or a block in TIME-WAIT
            yield (STATES[state], "0", "0", local, remote), ""
            continue
        unread = entry.rcv_nxt - entry.copied_seq - (1 if entry.fin_received else 0) if entry.irs else 0
        row = (STATES[state], str(max(0, unread)), str(entry.write_seq - entry.snd_una), local, remote)
        yield row, details(collect(entry, state, now, (0, 0), 0), entry.cc.name)


def details(info: TcpInfo, algorithm: str) -> str:
    """The second line: what ss prints, in its order, from `struct tcp_info`."""
    i: Any = info
    words = [name for bit, name in FLAGS if i.tcpi_options & bit]
    words.append(algorithm)
    if i.tcpi_options & 4:
        words.append(f"wscale:{i.tcpi_snd_wscale},{i.tcpi_rcv_wscale}")
    if i.tcpi_rto and i.tcpi_rto != 3_000_000:
        words.append(f"rto:{_ms(i.tcpi_rto)}")
    if i.tcpi_backoff:
        words.append(f"backoff:{i.tcpi_backoff}")
    if i.tcpi_rtt:
        words.append(f"rtt:{_ms(i.tcpi_rtt)}/{_ms(i.tcpi_rttvar)}")
    if i.tcpi_ato:
        words.append(f"ato:{_ms(i.tcpi_ato)}")
    for name, value in (
        ("mss", i.tcpi_snd_mss), ("pmtu", i.tcpi_pmtu), ("rcvmss", i.tcpi_rcv_mss), ("advmss", i.tcpi_advmss),
        ("cwnd", i.tcpi_snd_cwnd), ("ssthresh", i.tcpi_snd_ssthresh if i.tcpi_snd_ssthresh < NO_SSTHRESH else 0),
        ("bytes_sent", i.tcpi_bytes_sent), ("bytes_retrans", i.tcpi_bytes_retrans),
        ("bytes_acked", i.tcpi_bytes_acked), ("bytes_received", i.tcpi_bytes_received), ("segs_out", i.tcpi_segs_out),
        ("segs_in", i.tcpi_segs_in), ("data_segs_out", i.tcpi_data_segs_out), ("data_segs_in", i.tcpi_data_segs_in),
    ):  # fmt: skip
        if value:
            words.append(f"{name}:{value}")
    if i.tcpi_rtt and i.tcpi_snd_mss and i.tcpi_snd_cwnd:
        words.append(f"send {_rate(i.tcpi_snd_cwnd * i.tcpi_snd_mss * 8e6 / i.tcpi_rtt)}")
    for name, value in (
        ("lastsnd", i.tcpi_last_data_sent), ("lastrcv", i.tcpi_last_data_recv), ("lastack", i.tcpi_last_ack_recv),
    ):  # fmt: skip
        if value:
            words.append(f"{name}:{value}")
    if i.tcpi_pacing_rate and i.tcpi_pacing_rate != UNLIMITED:
        most = f"/{_rate(i.tcpi_max_pacing_rate * 8)}" if i.tcpi_max_pacing_rate != UNLIMITED else ""
        words.append(f"pacing_rate {_rate(i.tcpi_pacing_rate * 8)}{most}")
    if i.tcpi_delivery_rate:
        words.append(f"delivery_rate {_rate(i.tcpi_delivery_rate * 8)}")
    if i.tcpi_delivered:
        words.append(f"delivered:{i.tcpi_delivered}")
    if i.tcpi_delivered_ce:
        words.append(f"delivered_ce:{i.tcpi_delivered_ce}")
    if i.tcpi_delivery_rate_app_limited:
        words.append("app_limited")
    busy = i.tcpi_busy_time
    if busy:
        words.append(f"busy:{busy // 1000}ms")
        for name, part in (("rwnd_limited", i.tcpi_rwnd_limited), ("sndbuf_limited", i.tcpi_sndbuf_limited)):
            if part:
                words.append(f"{name}:{part // 1000}ms({100 * part / busy:.1f}%)")
    if i.tcpi_unacked:
        words.append(f"unacked:{i.tcpi_unacked}")
    if i.tcpi_retrans or i.tcpi_total_retrans:
        words.append(f"retrans:{i.tcpi_retrans}/{i.tcpi_total_retrans}")
    for name, value in (
        ("lost", i.tcpi_lost), ("sacked", i.tcpi_sacked), ("dsack_dups", i.tcpi_dsack_dups),
        ("reordering", i.tcpi_reordering if i.tcpi_reordering != 3 else 0), ("reord_seen", i.tcpi_reord_seen),
    ):  # fmt: skip
        if value:
            words.append(f"{name}:{value}")
    if i.tcpi_rcv_rtt:
        words.append(f"rcv_rtt:{_ms(i.tcpi_rcv_rtt)}")
    for name, value in (
        ("rcv_space", i.tcpi_rcv_space), ("rcv_ssthresh", i.tcpi_rcv_ssthresh), ("notsent", i.tcpi_notsent_bytes),
    ):  # fmt: skip
        if value:
            words.append(f"{name}:{value}")
    if i.tcpi_min_rtt and i.tcpi_min_rtt != 0xFFFFFFFF:
        words.append(f"minrtt:{_ms(i.tcpi_min_rtt)}")
    for name, value in (("rcv_ooopack", i.tcpi_rcv_ooopack), ("snd_wnd", i.tcpi_snd_wnd), ("rcv_wnd", i.tcpi_rcv_wnd)):
        if value:
            words.append(f"{name}:{value}")
    return " ".join(words)


def _ms(us: int) -> str:
    """Microseconds as C's %g prints milliseconds."""
    return f"{us / 1000:g}"


def _rate(bits: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if bits > size:
            return f"{bits / size:.1f}{letter}bps"
    return f"{bits:g}bps"
