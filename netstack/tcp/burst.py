"""A run of full super-segments, sent in one go.

When one full super-segment has left and more data waits than fits into the next, those that follow differ only in
sequence number and IPv4 identification: acknowledgment, window and options stay, because no time passes. `run` sends as
many as the peer's window and cwnd allow (RFC 9293 section 3.8.6.2.1, RFC 5681 section 3.1). It does for each what the
loop of `output.write` does, and once for all of them what would come out the same each time.

It leaves to that loop whatever is not plain: pacing, ECN, SACK blocks to report, urgent data, MSG_EOR and PSH marks,
packet sockets, a neighbour whose MAC is not known, and anybody who watches what is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csrc import Frame, ffi, lib
from netstack.neighbour import SENDABLE
from netstack.tcp import output
from netstack.tcp.emit import JOIN_BELOW
from netstack.tcp.scoreboard import Sent

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

MOST = 64
HEADER_MOST = 128

_headers: Final = ffi.new("uint8_t[]", MOST * HEADER_MOST)
_window: Final = ffi.buffer(_headers)


def plain(c: Connection) -> bool:
    """Whether the next super-segment's header is that of the one about to be sent, but for its place in the stream."""
    return not (
        c.paced or c.sacks or c.dsack is not None or c.ecn_ok or c.snd_up or c.eor or c.push_marks or c.stamps
    )


def room(c: Connection, goal: int) -> int:
    """How many buffers of `goal` bytes can certainly be sent as soon as they are full, and so may be sent together; 1
    if that is not certain."""
    mss = output.current_mss(c)
    segs = goal // mss
    if c.paced or c.notsent_lowat <= c.sndbuf or c.cwnd >> 1 < segs or output.tso_segs(c, mss) != segs:
        return 1
    window = c.snd_una + c.snd_wnd - c.snd_nxt
    return min(window // goal, (c.cwnd - c.in_flight()) // segs, MOST)


def run(c: Connection, rec: Sent, header: bytes, wnd_end: int, now: int, most: int) -> int:
    """Send what may follow `rec`, which was just sent with `header`, in super-segments of its size: how many."""
    size, pcount = rec.length, rec.pcount
    snd_nxt = c.snd_nxt
    n = min(
        (c.unsent_bytes - 1) // size,
        (wnd_end - snd_nxt) // size,
        (c.cwnd - (c.packets_out - c.sacked_out - c.lost_out + c.retrans_out)) // pcount,
        most,
        MOST,
    )
    if n <= 0 or c.cwnd >> 1 < pcount or size <= JOIN_BELOW:
        return 0  # (text of up to JOIN_BELOW bytes is sent in one piece with its header)
    path = c.path
    interface = path.interface
    queue = interface.queue
    stack = path.stack
    if not queue or len(queue) + n > interface.txqueuelen or stack.watched or c.send is not stack.send:
        return 0
    if interface.mac is not None and (path.neighbour is None or path.neighbour.state not in SENDABLE):
        return 0
    length = len(header)
    l3 = c.l3
    if lib.trl_tcp_repeat(header, length, l3, n, size, pcount, _headers) < 0:
        return 0
    whole = length + size
    ethernet, l4, mss = l3 != 0, c.l4, rec.mss
    flags, rate, delivered = rec.flags, c.rate, c.delivered
    order = c.tx_order
    unsent, rtx, ends = c.unsent, c.rtx, c.ends
    head = c.ts_head
    last = head.prev
    at = 0
    for _ in range(n):
        chunk = unsent[0]
        have = len(chunk)
        end = snd_nxt + size
        if ends and ends[0] <= end:
            if len(ends) > 1 and ends[1] < end:
                break
            while ends and ends[0] <= end:
                del ends[0]
        if have == size:
            frags = (unsent.pop(0),)
        elif have > size:
            view = memoryview(chunk)
            frags = (view[:size],)
            unsent[0] = view[size:]
        else:
            break
        one = Sent(snd_nxt, end, frags, size, flags, mss)
        order += 1
        one.order = order
        one.xmit_ns = now
        one.sends = 1
        one.delivered = delivered
        one.rate = rate
        last.next = one
        one.prev = last
        last = one
        rtx.append(one)
        queue.append(Frame(_window[at : at + length], frags, whole, ethernet, mss, l4, 16))
        at += length
        snd_nxt = end
    last.next = head
    head.prev = last
    done = at // length
    c.tx_order = order
    c.unsent_bytes -= done * size
    c.snd_nxt = snd_nxt
    segs = done * pcount
    c.packets_out += segs
    c.segs_out += segs
    c.data_segs_out += segs
    c.bytes_sent += done * size
    c.ip_id = (c.ip_id + segs) & 0xFFFF
    c.tcp_counters.OutSegs += segs
    c.counters.TCPOrigDataSent += segs
    if now - c.lrcvtime_ns < c.ato_ns:
        c.ack_pingpong += done
    counters = stack.counters
    if path.version == 4:
        counters.ip.OutRequests += done
        counters.ip.OutTransmits += done
        counters.ipext.OutOctets += done * (whole - l3)
    else:
        counters.ip6.OutRequests += done
        counters.ip6.OutTransmits += done
        counters.ip6.OutOctets += done * (whole - l3)
    return done
