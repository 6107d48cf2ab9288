"""The TCP_* options of setsockopt and getsockopt (tcp(7), <linux/tcp.h>), by Linux's numbers and with Linux's ranges.

Each acts on the socket, from which later connections inherit it, and on the connection that the socket has.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from netstack.socket import SO_OOBINLINE, error, option_int, option_text
from netstack.tcp import beside, congestion, delack, output, savesyn, sendbuf, timeouts, window
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import CLOSE_WAIT, CLOSED, ESTABLISHED, LISTEN, MS, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.socket import TcpSocket

SIOCINQ, SIOCATMARK, SIOCOUTQ, SIOCOUTQNSD = 0x541B, 0x8905, 0x5411, 0x894B
SOL_TCP = 6
(
    TCP_NODELAY,
    TCP_MAXSEG,
    TCP_CORK,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_KEEPCNT,
    TCP_SYNCNT,
    TCP_LINGER2,
    TCP_DEFER_ACCEPT,
    TCP_WINDOW_CLAMP,
    TCP_INFO,
    TCP_QUICKACK,
    TCP_CONGESTION,
) = range(1, 14)
TCP_THIN_LINEAR_TIMEOUTS, TCP_THIN_DUPACK, TCP_USER_TIMEOUT = 16, 17, 18
TCP_REPAIR, TCP_FASTOPEN, TCP_TIMESTAMP, TCP_NOTSENT_LOWAT, TCP_CC_INFO = 19, 23, 24, 25, 26
TCP_INQ, TCP_TX_DELAY, TCP_IS_MPTCP = beside.TCP_INQ, 37, 43
TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US = 44, 45, 46
BOUNDS = {
    TCP_RTO_MAX_MS: (timeouts.RTO_MAX_FLAG, 1000, 120_000),
    TCP_RTO_MIN_US: (timeouts.RTO_MIN_FLAG, 2000, 200_000),
    TCP_DELACK_MAX_US: (timeouts.DELACK_MAX_FLAG, 2000, 200_000),
}
"""Bounds of timers: where each is among the socket's flags, its least and its greatest value."""


def set_option(sock: TcpSocket, name: int, value: int | bytes) -> bool:
    """Set a TCP_* option; False when there is none of that number."""
    conn = sock.conn
    now = sock.stack.now
    if name == TCP_CONGESTION:
        set_congestion(sock, option_text(value))
        return True
    if name == TCP_TIMESTAMP:
        raise error(errno.EPERM, "the timestamp clock can only be set in repair mode")
    number = option_int(value)
    if name == TCP_NODELAY:
        set_nonagle(sock, output.NAGLE_OFF, number != 0, now, push=number != 0)
    elif name == TCP_CORK:
        set_nonagle(sock, output.NAGLE_CORK, number != 0, now, push=not number)
    elif name == TCP_MAXSEG:
        if number and not 88 <= number <= 32767:
            raise error(errno.EINVAL, "an MSS is 88 to 32767")
        sock.user_mss = number
        if conn is not None:
            conn.user_mss = number
    elif name == TCP_KEEPIDLE:
        set_keep(sock, 0, number, 32767)
        if conn is not None and conn.keepalive_on and conn.state not in (CLOSED, LISTEN):
            conn.start_keepalive(max(conn.rcv_tstamp_ns, conn.lrcvtime_ns))
    elif name == TCP_KEEPINTVL:
        set_keep(sock, 1, number, 32767)
    elif name == TCP_KEEPCNT:
        set_keep(sock, 2, number, 127)
    elif name == TCP_SYNCNT:
        if not 1 <= number <= 127:
            raise error(errno.EINVAL)
        sock.syn_retries = number
        if conn is not None:
            conn.syn_retries = number
    elif name == TCP_LINGER2:
        sock.linger2 = -1 if number < 0 else min(number, 120)
        if conn is not None:
            conn.linger2 = sock.linger2
    elif name == TCP_DEFER_ACCEPT:
        sock.defer_accept = retransmissions_of(number, sock.stack.settings)
    elif name == TCP_WINDOW_CLAMP:
        set_window_clamp(sock, number)
    elif name == TCP_QUICKACK:
        set_quickack(sock, number, now)
    elif name == TCP_USER_TIMEOUT:
        if number < 0:
            raise error(errno.EINVAL)
        sock.user_timeout_ms = number
        if conn is not None:
            conn.user_timeout_ms = number
    elif name == TCP_NOTSENT_LOWAT:
        sock.notsent_lowat = number & 0xFFFFFFFF
        if conn is not None:
            conn.notsent_lowat = sock.notsent_lowat or sock.stack.settings.tcp_notsent_lowat
            sendbuf.tell_room(conn)
    elif name == TCP_INQ:
        if number not in (0, 1):
            raise error(errno.EINVAL)
        sock.flags = {**sock.flags, beside.INQ_FLAG: number}
    elif name == savesyn.TCP_SAVE_SYN:
        if not 0 <= number <= 2:
            raise error(errno.EINVAL)
        sock.flags = {**sock.flags, savesyn.FLAG: number}
    elif name in (TCP_THIN_LINEAR_TIMEOUTS, TCP_THIN_DUPACK):
        if number not in (0, 1):
            raise error(errno.EINVAL)
        if name == TCP_THIN_LINEAR_TIMEOUTS:
            sock.flags = {**sock.flags, timeouts.THIN_FLAG: number}
    elif name in BOUNDS:
        flag, least, most = BOUNDS[name]
        if not least <= number <= most:
            raise error(errno.EINVAL, f"{least} to {most}")
        sock.flags = {**sock.flags, flag: number}
        if conn is not None:
            timeouts.bounds(conn, sock.flags)
    else:
        return False
    return True


def set_nonagle(sock: TcpSocket, bit: int, on: bool, now: int, push: bool) -> None:
    """TCP_NODELAY (MUST-17 of RFC 9293 section 3.7.4) or TCP_CORK: what waited because of it is sent."""
    sock.nonagle = sock.nonagle | bit if on else sock.nonagle & ~bit
    conn = sock.conn
    if conn is not None:
        conn.nonagle = sock.nonagle
        if push and conn.state in (ESTABLISHED, CLOSE_WAIT) and conn.unsent_bytes:
            output.write(conn, now, nagle=bit != output.NAGLE_OFF)
            if conn.wake_pending:
                conn.wake()


def set_keep(sock: TcpSocket, index: int, number: int, most: int) -> None:
    """TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT (RFC 9293 section 3.8.4)."""
    if not 1 <= number <= most:
        raise error(errno.EINVAL)
    keep = list(sock.keep)
    keep[index] = number
    sock.keep = (keep[0], keep[1], keep[2])
    conn = sock.conn
    if conn is not None:
        setattr(conn, ("keep_idle", "keep_intvl", "keep_cnt")[index], number)


def set_window_clamp(sock: TcpSocket, number: int) -> None:
    """TCP_WINDOW_CLAMP: no larger window is offered. 0 takes that back, if there is no connection."""
    conn = sock.conn
    if not number:
        if sock.listener is not None or (conn is not None and conn.state != CLOSED):
            raise error(errno.EINVAL)
        sock.window_clamp = 0
        if conn is not None:
            conn.window_clamp = 0
        return
    sock.window_clamp = max(number, window.CLAMP_MIN)
    if conn is not None:
        window.set_clamp(conn, number)


def set_quickack(sock: TcpSocket, number: int, now: int) -> None:
    """TCP_QUICKACK: an ACK that waits is sent; 0 delays the next ones. Neither lasts (see `delack`)."""
    sock.quickack = number
    conn = sock.conn
    if conn is None:
        return
    if not number:
        conn.ack_pingpong = sock.stack.settings.tcp_pingpong_thresh
        return
    conn.ack_pingpong = 0
    if conn.state in (ESTABLISHED, CLOSE_WAIT) and conn.ack_pending & delack.SCHED:
        conn.ack_pending |= delack.PUSHED
        delack.after_read(conn, 1, now)
        if not number & 1:
            conn.ack_pingpong = sock.stack.settings.tcp_pingpong_thresh


def set_congestion(sock: TcpSocket, name: str) -> None:
    """TCP_CONGESTION: another algorithm takes over, with cwnd and ssthresh as they are."""
    if not name:
        raise error(errno.EINVAL, "a name is wanted")
    if name not in congestion.available():
        raise error(errno.ENOENT, f"no congestion control {name!r}: there are {', '.join(congestion.available())}")
    sock.cc_name = name
    conn = sock.conn
    if conn is not None and conn.cc.name != name:
        conn.cc = congestion.create(name)
        conn.prior_ssthresh = 0  # a reduction made by the other algorithm cannot be undone by this one


def get_option(sock: TcpSocket, name: int) -> int | bytes:
    """The value of a TCP_* option; ENOPROTOOPT when there is none of that number."""
    conn = sock.conn
    settings = sock.stack.settings
    if name == TCP_INFO:
        return sock.info().pack()
    if name == TCP_CONGESTION:
        text = conn.cc.name if conn is not None else sock.cc_name or settings.tcp_congestion_control
        return text.encode().ljust(16, b"\0")
    if name == TCP_NODELAY:
        return int(bool(sock.nonagle & output.NAGLE_OFF))
    if name == TCP_CORK:
        return int(bool(sock.nonagle & output.NAGLE_CORK))
    if name == TCP_MAXSEG:
        if sock.user_mss and (conn is None or conn.state == CLOSED):
            return sock.user_mss
        if conn is not None:
            return int(conn.mss_cache)
        return 536 if sock.past is None else sock.past.fields.get("tcpi_snd_mss", 536)
    if name == TCP_KEEPIDLE:
        return sock.keep[0] or int(settings.tcp_keepalive_time)
    if name == TCP_KEEPINTVL:
        return sock.keep[1] or int(settings.tcp_keepalive_intvl)
    if name == TCP_KEEPCNT:
        return sock.keep[2] or int(settings.tcp_keepalive_probes)
    if name == TCP_SYNCNT:
        return sock.syn_retries or int(settings.tcp_syn_retries)
    if name == TCP_LINGER2:
        return sock.linger2 if sock.linger2 < 0 else sock.linger2 or int(settings.tcp_fin_timeout)
    if name == TCP_DEFER_ACCEPT:
        return seconds_of(sock.defer_accept, settings)
    if name == TCP_WINDOW_CLAMP:
        return int(conn.window_clamp) if conn is not None else sock.window_clamp
    if name == TCP_QUICKACK:
        return int(sock.quickack != 0 if conn is None else not delack.in_pingpong(conn))
    if name == TCP_USER_TIMEOUT:
        return sock.user_timeout_ms
    if name == TCP_NOTSENT_LOWAT:
        return sock.notsent_lowat
    if name == TCP_INQ:
        return sock.flags.get(beside.INQ_FLAG, 0)
    if name == TCP_TIMESTAMP:
        return (sock.stack.now // MS + (conn.ts_offset if conn is not None else 0)) & MASK
    if name == TCP_CC_INFO:
        return b""  # none of the algorithms has anything to say of itself
    if name == TCP_THIN_LINEAR_TIMEOUTS:
        return sock.flags.get(timeouts.THIN_FLAG, 0)
    if name in BOUNDS:
        default = (settings.tcp_rto_max_ms, settings.tcp_rto_min_us, settings.tcp_delack_max_ms * 1000)[name - 44]
        return sock.flags.get(BOUNDS[name][0], default)
    if name == savesyn.TCP_SAVE_SYN:
        return sock.flags.get(savesyn.FLAG, 0)
    if name in (TCP_THIN_DUPACK, TCP_REPAIR, TCP_FASTOPEN, TCP_TX_DELAY, TCP_IS_MPTCP):
        return 0
    raise error(errno.ENOPROTOOPT, f"no TCP option {name}")


def retransmissions_of(seconds: int, settings: Any) -> int:
    """How many SYN-ACK timeouts cover that time: TCP_DEFER_ACCEPT as it is kept."""
    if seconds <= 0:
        return 0
    timeout = settings.tcp_timeout_init_ms // 1000 or 1
    period, count = timeout, 1
    most = settings.tcp_rto_max_ms // 1000
    while seconds > period and count < 255:
        count += 1
        timeout = min(timeout << 1, most)
        period += timeout
    return count


def seconds_of(count: int, settings: Any) -> int:
    """How long so many SYN-ACK timeouts last: TCP_DEFER_ACCEPT as it is read."""
    if not count:
        return 0
    timeout = period = settings.tcp_timeout_init_ms // 1000 or 1
    most = settings.tcp_rto_max_ms // 1000
    for _ in range(count - 1):
        timeout = min(timeout << 1, most)
        period += timeout
    return int(period)


def ioctl(sock: TcpSocket, request: int) -> int:
    """SIOCINQ (FIONREAD): bytes to read; SIOCOUTQ (TIOCOUTQ): not acknowledged; SIOCOUTQNSD: not even sent;
    SIOCATMARK: whether the urgent byte is next."""
    conn = sock.conn
    if request == SIOCATMARK:
        return int(conn is not None and conn.urg_data >= 0 and conn.rcv_up == conn.copied_seq)
    if request not in (SIOCINQ, SIOCOUTQ, SIOCOUTQNSD):
        raise error(errno.ENOTTY)
    if sock.listener is not None:
        raise error(errno.EINVAL)
    if conn is None:
        past = sock.past
        if past is None or request == SIOCINQ:
            return 0
        return past.not_acked if request == SIOCOUTQ else past.not_sent
    if request == SIOCINQ:
        if conn.urg_data >= 0 and not sock.flags.get(SO_OOBINLINE) and conn.copied_seq <= conn.rcv_up < conn.rcv_nxt:
            return int(conn.rcv_up - conn.copied_seq)  # one read() goes no further
        return int(max(0, conn.rcv_nxt - conn.copied_seq - (1 if conn.fin_received else 0)))
    if conn.state in (SYN_SENT, SYN_RECEIVED):
        return 0
    return int(conn.write_seq - (conn.snd_una if request == SIOCOUTQ else conn.snd_nxt))
