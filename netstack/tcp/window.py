"""The receive window: how much to offer (RFC 9293 section 3.8.6.2.2, silly window avoidance; RFC 7323 section 2), and
how the buffer grows with what the application takes (dynamic right-sizing; Linux's).

Buffers are accounted as in Linux: each queued buffer costs what it would occupy there, `rcvbuf` bounds the sum, and
`scaling_ratio`/256 of the free space is offered as window. `rcv_ssthresh` starts small and rises with well-formed data,
`window_clamp` is what the whole buffer can offer. The right edge offered never moves left (RFC 9293 section 3.8.6),
unless tcp_shrink_window allows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp.segment import OPT_SACK
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import MS

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.segment import Segment
    from netstack.tcp.socket import TcpSocket

DEFAULT_RATIO = 128  # of 256
CLAMP_MIN = 1152  # half of the smallest receive buffer (SOCK_MIN_RCVBUF)
NO_MEMORY = 64  # a bit of ack_pending: what came was not taken, so the window is closed whatever was offered before
REMNANT = 0x2B  # FIN, SYN, PSH, URG: such a segment may well be shorter than the others


def truesize(length: int) -> int:
    """What a queued segment costs: Linux's skb->truesize for a packet that a TUN device handed up. The text, 40 bytes
    of headers, 64 of headroom and 320 of shared info are rounded up to a kmalloc size; the sk_buff itself adds 256.
    What does not fit into a page is in further pages. (So the offered window and its growth are Linux's to the byte.)
    """
    if 600 < length <= 1624:
        return 2304
    if length <= 280:
        return 960
    if length <= 600:
        return 1280
    if length <= 3672:
        return 4352
    if length < 3992:
        return 8448
    return 4352 + (length + 40 - 3712 + 4095 & ~4095)


def initial(
    space: int,
    mss: int,
    clamp: int,
    wscale_ok: bool,
    init_rwnd: int,
    rmem_max: int,
    core_max: int,
    signed: bool = False,
) -> tuple[int, int, int]:
    """Window, clamp and scale to begin with, from the free space (RFC 7323 section 2.3; Linux's
    tcp_select_initial_window). Returns (rcv_wnd, window_clamp, rcv_wscale)."""
    if not clamp:
        clamp = 65535 << 14
    space = min(max(space, 0), clamp)
    if space > mss:
        space = space // mss * mss
    rcv_wnd = min(space, 32767) if signed else space
    if init_rwnd:
        rcv_wnd = min(rcv_wnd, init_rwnd * mss)
    wscale = 0
    if wscale_ok:
        most = min(max(max(space, rmem_max), core_max), clamp)
        wscale = min(max(most.bit_length() - 16, 0), 14)
    return rcv_wnd, min(65535 << wscale, clamp), wscale


def locked_clamp(clamp: int, space: int, locked: bool) -> int:
    """A receive buffer that the user fixed (SO_RCVBUF) is all there will ever be: it bounds the window and its
    scale."""
    return space if locked and (not clamp or clamp > space) else clamp


def win_from_space(c: Connection, space: int) -> int:
    return int(space * c.scaling_ratio >> 8)


def space_from_win(c: Connection, win: int) -> int:
    return int((win << 8) // c.scaling_ratio)


def set_rcvlowat(sock: TcpSocket) -> None:
    """SO_RCVLOWAT (socket(7)): the buffer grows to hold so much, which is never more than half of it."""
    c = sock.conn
    if sock.rcvlowat == (c.rcvlowat if c is not None else 1):
        return
    locked = sock.rcvbuf_locked
    sock.rcvlowat = low = min(sock.rcvlowat, (sock.rcvbuf if locked else sock.stack.settings.tcp_rmem[2]) >> 1)
    if c is None:
        sock.rcvbuf = sock.rcvbuf if locked else max(sock.rcvbuf, low << 1)
        return
    c.rcvlowat = low
    space = space_from_win(c, low)
    if not locked and space > c.rcvbuf:
        c.rcvbuf = space
        if c.window_clamp and low > c.window_clamp:
            c.window_clamp = low


def candidate(c: Connection) -> int:
    """The window that would be offered now if the right edge were free to move left (Linux's __tcp_select_window). It
    grows by a segment or half the buffer at least (RFC 9293 section 3.8.6.2.2)."""
    mss = c.rcv_mss
    ratio = c.scaling_ratio
    rcvbuf = c.rcvbuf
    free = (rcvbuf - c.rmem) * ratio >> 8
    allowed = rcvbuf * ratio >> 8
    full = c.window_clamp
    if allowed < full:
        full = allowed
    if mss > full:
        mss = full
        if mss <= 0:
            return 0
    wscale = c.rcv_wscale
    if wscale and c.settings.tcp_shrink_window:
        # An offer may be taken back, so it is what there is room for, in units of the scale.
        free = free >> wscale << wscale
        if free < full >> 1:
            c.ack_quick = 0
            if free < allowed >> 4 or free < mss or not free:
                return 0
        most = c.rcv_ssthresh + (1 << wscale) - 1 >> wscale << wscale
        return most if free > c.rcv_ssthresh else free
    if free < full >> 1:
        c.ack_quick = 0
        free = free >> wscale << wscale
        if free < allowed >> 4 or free < mss:
            return 0
    if free > c.rcv_ssthresh:
        free = c.rcv_ssthresh
    if wscale:
        unit = (1 << wscale) - 1
        return int((free + unit) & ~unit)
    window = c.rcv_wnd
    if window <= free - mss or window > free:
        window = free // mss * mss
    elif mss == full and free > window + (full >> 1):
        window = free
    return int(window)


def select(c: Connection) -> int:
    """The window field of the segment about to be sent; the offer is noted (RCV.WND)."""
    wscale = c.rcv_wscale
    rcv_nxt = c.rcv_nxt
    if wscale and not c.rmem and not c.settings.tcp_shrink_window:
        # All has been read: what `candidate` would say, without its conditions.
        new = c.rcvbuf * c.scaling_ratio >> 8
        if new > c.rcv_ssthresh:
            new = c.rcv_ssthresh
        if new > 0 and c.rcv_wnd:
            unit = (1 << wscale) - 1
            new = (new + unit) & ~unit
            current = c.rcv_wup + c.rcv_wnd - rcv_nxt
            if new < current:
                new = (current + unit) & ~unit
            c.rcv_wnd = new
            c.rcv_wup = rcv_nxt
            most = 65535 << wscale
            return (new if new < most else most) >> wscale
    if c.ack_pending & NO_MEMORY:
        c.rcv_wnd = 0
        c.rcv_wup = rcv_nxt
        return 0
    current = c.rcv_wup + c.rcv_wnd - rcv_nxt
    if current < 0:
        current = 0
    new = candidate(c)
    if new < current and not (wscale and c.settings.tcp_shrink_window):
        if new == 0:
            c.counters.TCPWantZeroWindowAdv += 1
        unit = (1 << wscale) - 1
        new = (current + unit) & ~unit
    old = c.rcv_wnd
    c.rcv_wnd = new
    c.rcv_wup = c.rcv_nxt
    most = 32767 if not wscale and c.settings.tcp_workaround_signed_windows else 65535 << wscale
    if new > most:
        new = most
    new >>= wscale
    if not new:
        if old:
            c.counters.TCPToZeroWindowAdv += 1
    elif not old:
        c.counters.TCPFromZeroWindowAdv += 1
    return int(new)


def set_clamp(c: Connection, clamp: int) -> None:
    """No more than `clamp` is offered from now on (TCP_WINDOW_CLAMP)."""
    old = c.window_clamp
    clamp = max(clamp, CLAMP_MIN)
    if clamp == old:
        return
    c.window_clamp = clamp
    if clamp < old:
        c.rcv_ssthresh = min(c.rcv_ssthresh, clamp)
    else:
        c.rcv_ssthresh = max(min(c.rcv_wnd, clamp), c.rcv_ssthresh)


def measure_rcv_mss(c: Connection, seg: Segment) -> None:
    """Estimate the peer's segment size, which tells what a full-sized segment is (RFC 9293 section 3.8.6.3; Linux's
    tcp_measure_rcv_mss)."""
    length = seg.length
    size = seg.gso_size or length
    before = c.last_seg_size
    c.last_seg_size = 0
    if size >= c.rcv_mss:
        if size != c.rcv_mss:
            ratio = (length << 8) // truesize(length) or 1
            if ratio != c.scaling_ratio:
                c.scaling_ratio = ratio
                set_clamp(c, win_from_space(c, c.rcvbuf))
                if c.window_clamp < c.rcvq_space:
                    c.rcvq_space = c.window_clamp
        c.rcv_mss = size if size < c.advmss else c.advmss
        if seg.flags & 8:
            c.ack_pending |= 4
        return
    if seg.options & OPT_SACK:
        size += 4 + 8 * len(seg.sack)  # a full segment holds less text by what its SACK takes
    full = size + 20 + (12 if c.ts_ok else 0)
    if full >= 536 + 20 or (full >= 88 + 20 and not seg.flags & REMNANT):
        c.last_seg_size = size
        if size == before:
            c.rcv_mss = size
            return
    if c.ack_pending & 4:
        c.ack_pending |= 8
    c.ack_pending |= 4


def grow(c: Connection, length: int) -> None:
    """Well-formed data came: let the offer rise by two segments or twice the data, as far as the buffer has room
    (Linux's tcp_grow_window)."""
    free = (c.rcvbuf - c.rmem) * c.scaling_ratio >> 8
    clamp = c.window_clamp
    room = (free if free < clamp else clamp) - c.rcv_ssthresh
    if room <= 0:
        return
    size = truesize(length)
    if size * c.scaling_ratio >> 8 <= length:
        incr = 2 * c.advmss
    else:
        incr = _grow_by_parts(c, length, size)
    if incr:
        if incr < 2 * length:
            incr = 2 * length
        c.rcv_ssthresh += incr if incr < room else room
        c.ack_quick |= 1


def _grow_by_parts(c: Connection, length: int, size: int) -> int:
    """Small payloads take more buffer than they fill: let the offer rise only while it is small against the largest
    buffer (Linux's __tcp_grow_window)."""
    part = win_from_space(c, size) >> 1
    window = win_from_space(c, c.settings.tcp_rmem[2]) >> 1
    while c.rcv_ssthresh <= window:
        if part <= length:
            return int(2 * c.rcv_mss)
        part >>= 1
        window >>= 1
        if not window:
            break
    return 0


def rcv_rtt_sample(c: Connection, rtt_us: int, win_dep: bool) -> None:
    """A sample of the receiver's round trip. One that depends on the window (`win_dep`) can only lower it; others are
    smoothed."""
    if rtt_us <= 0:
        rtt_us = 1
    old = c.rcv_rtt_us
    if not old or rtt_us << 3 < old:
        c.rcv_rtt_us = rtt_us << 3
    elif not win_dep and c.rcv_nxt == c.copied_seq:  # if the reader lags, the sample is too long
        c.rcv_rtt_us = old - (old >> 3) + rtt_us


def rtt_from_ts(c: Connection, seg: Segment, now: int) -> None:
    """A sample of the receiver's round trip from the echoed timestamp of full-sized text; it sizes the buffer."""
    tsecr = seg.tsecr
    if tsecr == c.rcv_rtt_last_tsecr or not tsecr:
        return
    c.rcv_rtt_last_tsecr = tsecr
    if seg.length >= c.rcv_mss:
        delta = (now // MS + c.ts_offset - tsecr) & MASK
        if delta < 120_000:
            rcv_rtt_sample(c, (delta or 1) * 1000, False)


def rcv_rtt_measure(c: Connection, now: int) -> None:
    """Without timestamps: the time in which one window is received is taken for a round trip, which it is at least."""
    if c.rcv_rtt_ns:
        if c.rcv_nxt < c.rcv_rtt_seq:
            return
        rcv_rtt_sample(c, (now - c.rcv_rtt_ns) // 1000, True)
    c.rcv_rtt_seq = c.rcv_nxt + c.rcv_wnd
    c.rcv_rtt_ns = now


def grow_buffer(c: Connection, space: int) -> None:
    """Make the buffer fit what may come in the round trip after next, if `space` bytes came in the last one and the
    growth goes on, and what is held out of order (Linux's tcp_rcvbuf_grow)."""
    old = c.rcvq_space
    c.rcvq_space = space
    if not c.settings.tcp_moderate_rcvbuf or c.rcvbuf_locked:
        return
    want = space << 1
    want += (want * (space - old) // old) << 1 if old else want
    if c.ooo:
        want += c.ooo[-1][1] - c.rcv_nxt
    rcvbuf = min(space_from_win(c, want), c.settings.tcp_rmem[2])
    if rcvbuf > c.rcvbuf:
        c.rcvbuf = rcvbuf
        c.window_clamp = win_from_space(c, rcvbuf)


def space_adjust(c: Connection, now: int) -> None:
    """Dynamic right-sizing: once per round trip, make the buffer fit what the application took (`grow_buffer`)."""
    elapsed = (now - c.rcvq_space_ns) // 1000
    rtt = c.rcv_rtt_us
    if elapsed < rtt >> 3 or not rtt:
        return
    copied = c.copied_seq - c.rcvq_space_seq
    if copied > c.rcvq_space:
        grow_buffer(c, copied)
    c.rcvq_space_seq = c.copied_seq
    c.rcvq_space_ns = now
