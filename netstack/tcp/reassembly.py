"""In-order and out-of-order data (RFC 9293 section 3.10.7.4, seventh step), and the SACK blocks that report it (RFC
2018 section 4, RFC 2883 section 4).

`rcvq` holds buffers ready to be read; `ooo` holds (seq, end, payload, fin), disjoint and sorted, beyond RCV.NXT.
`sacks` are up to four blocks, the most recently changed first; `dsack` is the duplicate range to report first, once.
How much memory all this may take, and what is dropped first when there is too much, are Linux's rules. Here also is
what text says beside its bytes: that it met congestion (`check_ce`, RFC 3168).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from netstack.tcp import delack, output, window
from netstack.tcp.segment import COPY_BELOW, CWR, FIN, URG
from netstack.tcp.tcb import EMPTY
from netstack.tcp.window import truesize

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.segment import Segment

BLOCKS_EXPECTED = 2
JOINED_BELOW = 3_673  # a buffer of more bytes than this does not fit into a page, and is kept apart
MAX_OOO = 20_000  # entries; rcvbuf bounds the memory long before that


def set_dsack(c: Connection, seq: int, end: int) -> None:
    """RFC 2883 section 4: a duplicate is reported in the first block of the next ACK."""
    if c.sack_ok and c.settings.tcp_dsack:
        if seq < c.rcv_nxt:
            c.counters.TCPDSACKOldSent += 1
        else:
            c.counters.TCPDSACKOfoSent += 1
        c.dsack = (seq, end)


def extend_dsack(c: Connection, seq: int, end: int) -> None:
    """More of a duplicate came before it was reported: one D-SACK reports both, if they touch."""
    if c.dsack is None:
        set_dsack(c, seq, end)
    else:
        left, right = c.dsack
        if seq <= right and left <= end:
            c.dsack = (min(left, seq), max(right, end))


def add_sack(c: Connection, seq: int, end: int) -> None:
    """RFC 2018 section 4: the block that has the segment just received comes first."""
    sacks = c.sacks
    kept = []
    for left, right in sacks:
        if left <= end and seq <= right:
            seq = left if left < seq else seq
            end = right if right > end else end
        else:
            kept.append((left, right))
    kept.insert(0, (seq, end))
    del kept[4:]
    c.sacks = kept


def report(c: Connection, seq: int, end: int, now: int) -> None:
    """Note a block to be reported. If an ACK is being held back (compressed) and this block is not among the two that
    an ACK is expected to have room for, that ACK goes out first. Otherwise the peer might never hear of the block that
    is pushed out, and would send those segments again."""
    if c.compressed_ack:
        at = 0
        for left, right in c.sacks:
            if left <= end and seq <= right:
                break
            at += 1
        if at >= BLOCKS_EXPECTED:
            output.send_ack(c, now)
            c.ack_pending |= delack.SCHED
    add_sack(c, seq, end)


def make_room(c: Connection, seq: int, size: int) -> bool:
    """Whether a segment of `size` bytes at `seq` may be queued. If there is no room, grow the buffer, then join what is
    queued, then drop what is out of order. Only the bytes have to have room, and not the segment's overhead (Linux's
    tcp_try_rmem_schedule)."""
    if c.rmem + size <= c.rcvbuf:
        return True
    counters = c.counters
    counters.PruneCalled += 1
    most = c.settings.tcp_rmem[2]
    if c.rcvbuf < most and not c.rcvbuf_locked and c.settings.tcp_moderate_rcvbuf:
        c.rcvbuf = max(min(c.rmem + truesize(size), most), c.rcvbuf)
    if c.rmem > c.rcvbuf:
        c.rcv_ssthresh = min(c.window_clamp, 2 * c.advmss)
    if c.rmem + size > c.rcvbuf and len(c.rcvq) > 1:
        collapse(c)
    if c.rmem + size > c.rcvbuf:
        prune(c, seq, size)
    if c.rmem + size <= c.rcvbuf:
        return True
    counters.RcvPruned += 1
    return False


def prune(c: Connection, seq: int, size: int) -> None:
    """Drop what lies farthest ahead (RFC 2018 section 8 allows it), an eighth of the buffer at a time, but nothing that
    comes before the segment at `seq`. The blocks, some of which may be gone, are no longer reported."""
    goal = c.rcvbuf >> 3
    held = len(c.ooo)
    while c.ooo and seq <= c.ooo[-1][0]:
        cost = truesize(len(c.ooo.pop()[2]))
        c.rmem -= cost
        goal -= cost
        if goal <= 0 or not c.ooo:
            if c.rmem + size <= c.rcvbuf:
                break
            goal = c.rcvbuf >> 3
    if len(c.ooo) < held:
        c.counters.OfoPruned += 1
        c.sacks = []


def collapse(c: Connection) -> None:
    """Join the queue into one buffer, which has less overhead than many small ones."""
    queue = c.rcvq
    for chunk in queue:
        c.rmem -= truesize(len(chunk))
    joined = b"".join(queue)[c.rcvq_offset :]
    c.rcvq_offset = 0
    queue.clear()
    queue.append(joined)
    c.rmem += truesize(len(joined))
    c.counters.TCPRcvCollapsed += 1


def enqueue(c: Connection, payload: Any, size: int) -> None:
    """Put text behind what is queued: into the last buffer if the memory of that has room for it, so that a flow of
    small segments costs no more than its bytes (Linux's tcp_try_coalesce)."""
    cost = truesize(size)
    if size < JOINED_BELOW and c.rcvq:
        have = len(c.rcvq[-1])
        if have + size < JOINED_BELOW and truesize(have + size) == truesize(have):
            c.rcvq[-1] = b"".join((c.rcvq[-1], payload))
            return
    c.rcvq.append(payload)
    c.rmem += cost


def in_order(c: Connection, seg: Segment, now: int, skip: int = 0) -> None:
    """Text that begins at RCV.NXT is appended without a copy. If the segment began with old text, those `skip` bytes
    have been cut off; they count only towards how large the peer's segments are."""
    length = whole = seg.length
    if skip:
        length -= skip
    if c.stamps is not None and length:
        c.stamps.queued(c.rcv_nxt, length, now, c.copied_seq)
    if c.rcvq and length:
        enqueue(c, seg.payload, length)
    elif length:
        if c.rcvq is EMPTY:
            c.rcvq = [seg.payload]
        else:
            c.rcvq.append(seg.payload)
        c.rmem += truesize(length)
    c.rcv_nxt += length
    c.bytes_received += length
    window.measure_rcv_mss(c, seg)
    if not c.ts_ok:
        window.rcv_rtt_measure(c, now)
    delack.data_received(c, now)
    if c.ecn_ok or seg.tos & 3:
        check_ce(c, seg)
    if whole >= 128:
        window.grow(c, whole)
    c.wake_pending = True


def receive(c: Connection, seg: Segment, seq: int, now: int) -> None:
    """Text and FIN of an acceptable segment, which has one of them at least."""
    length = seg.length
    fin = seg.flags & FIN
    end = seq + length + (1 if fin else 0)
    rcv_nxt = c.rcv_nxt
    if c.dsack is not None and (seq != rcv_nxt or c.ooo or seg.flags & (URG | FIN)):
        c.dsack = None  # no ACK has reported it yet; like Linux's slow path, forget it
    if seq == rcv_nxt or (seq < rcv_nxt < end):
        room = c.receive_window()
        if seq < rcv_nxt:
            set_dsack(c, seq, rcv_nxt)
        if room == 0 and length and end > rcv_nxt + (1 if fin else 0):
            c.counters.TCPZeroWindowDrop += 1
            out_of_window(c)
            return
        skip = rcv_nxt - seq
        if not make_room(c, seq, length):
            c.ack_pending |= delack.SCHED | delack.NOW | window.NO_MEMORY  # the peer has to know at once
            if c.rcvq and length > skip:
                c.counters.TCPRcvQDrop += 1
                return
        if length:  # all of it may be old, and only the FIN new
            if skip:
                view = memoryview(seg.payload)[skip:]
                seg.payload = bytes(view) if len(view) < COPY_BELOW else view
            in_order(c, seg, now, skip)
        if fin:
            if c.stamps is not None and not length:
                c.stamps.queued(c.rcv_nxt, 0, now, c.copied_seq)
            if not length and seg.flags & CWR and c.ecn_ok:
                check_ce(c, seg)
            c.rcv_nxt = end
            c.fin_arrives(now)
        if c.ooo:
            drain(c, now)
            if not c.ooo:
                c.ack_pending |= delack.NOW  # RFC 5681 section 4.2: an ACK at once, since a gap was filled
        if c.sacks:
            nxt = c.rcv_nxt
            c.sacks = [block for block in c.sacks if block[0] > nxt] if c.ooo else []
        return
    if end <= rcv_nxt:
        # All of it came before: report that at once (RFC 9293 section 3.10.7.4, first step; RFC 2883).
        c.counters.DelayedACKLost += 1
        set_dsack(c, seq, end)
        out_of_window(c)
        return
    if seq >= rcv_nxt + c.receive_window():
        out_of_window(c)
        return
    out_of_order(c, seg, seq, end, bool(fin), now)


def out_of_window(c: Connection) -> None:
    """What came is not in the window: it is acknowledged at once (RFC 9293 section 3.10.7.4, first step)."""
    delack.enter_quickack(c)
    c.ack_pending |= delack.SCHED


def out_of_order(c: Connection, seg: Segment, seq: int, end: int, fin: bool, now: int) -> None:
    """Hold the segment until the gap before it is filled, without what is held already."""
    counters = c.counters
    if c.ecn_ok or seg.tos & 3:
        check_ce(c, seg)
    if not make_room(c, seq, seg.length) or len(c.ooo) >= MAX_OOO:
        counters.TCPOFODrop += 1
        return
    c.ack_pending |= delack.SCHED
    counters.TCPOFOQueue += 1
    c.rcv_ooopack += seg.gso_segs
    window.measure_rcv_mss(c, seg)
    ooo = c.ooo
    if ooo is EMPTY:
        ooo = c.ooo = []
    payload: Any = seg.payload
    left, right = seq, end
    i = bisect_left(ooo, (seq,))
    at = i if i < len(ooo) and ooo[i][0] == seq else i - 1  # what is held where this begins
    if at >= 0 and ooo[at][1] >= end:
        counters.TCPOFOMerge += 1
        set_dsack(c, seq, end)
        if c.sack_ok:
            report(c, seq, end, now)
        return
    if i and ooo[i - 1][1] > seq:
        left = ooo[i - 1][1]
        set_dsack(c, seq, left)
    j = i
    while j < len(ooo) and ooo[j][1] <= right:
        extend_dsack(c, ooo[j][0], ooo[j][1])
        c.rmem -= truesize(len(ooo[j][2]))
        counters.TCPOFOMerge += 1
        j += 1
    del ooo[i:j]
    if i < len(ooo) and ooo[i][0] < right:
        extend_dsack(c, ooo[i][0], right)
        right = ooo[i][0]
        fin = False
    if left >= right:  # all of it is held already
        counters.TCPOFOMerge += 1
        if c.sack_ok:
            report(c, seq, end, now)
        return
    if left != seq or right != end:
        payload = memoryview(payload)[left - seq : right - seq]
        if len(payload) < COPY_BELOW:
            payload = bytes(payload)
    ooo.insert(i, (left, right, payload, fin))
    if c.stamps is not None:
        c.stamps.held(left, now)
    if c.sack_ok:  # without SACK the window must not change, or the ACK would not count as a duplicate
        window.grow(c, seg.length)
    c.rmem += truesize(len(payload))
    if c.sack_ok:
        report(c, seq, end, now)
    if c.sock is not None:  # while the connection is not accepted yet, or closed, nobody reads and nothing grows
        window.grow_buffer(c, c.rcvq_space)


def drain(c: Connection, now: int) -> None:
    """A gap was filled: move what is in order now to the receive queue."""
    ooo = c.ooo
    duplicate_end = c.rcv_nxt
    n = 0
    while n < len(ooo):
        seq, end, payload, fin = ooo[n]
        rcv_nxt = c.rcv_nxt
        if seq > rcv_nxt:
            break
        n += 1
        if seq < duplicate_end:
            extend_dsack(c, seq, min(end, duplicate_end))
        size = len(payload)
        c.rmem -= truesize(size)
        if end <= rcv_nxt:
            continue
        skip = rcv_nxt - seq
        if skip < size:
            if skip:
                payload = memoryview(payload)[skip:]
                size -= skip
            enqueue(c, payload, size)
            if c.stamps is not None:
                c.stamps.drained(seq, skip, size, now, c.copied_seq)
            c.rcv_nxt += size
            c.bytes_received += size
            c.wake_pending = True
        if fin:
            c.rcv_nxt = end
            del ooo[:n]
            c.fin_arrives(now)
            return
    del ooo[:n]


def check_ce(c: Connection, seg: Segment) -> None:
    """RFC 3168 section 6.1.3: CE is echoed until CWR comes."""
    if seg.flags & CWR and c.ecn_ok:
        c.ecn_demand_cwr = False
        c.ack_pending |= delack.NOW  # the peer's cwnd may now be one segment: do not delay the ACK (Linux)
    mark = seg.tos & 3
    if mark == 3 and c.ecn_ok and not c.ecn_demand_cwr:
        delack.enter_quickack(c)
        c.ecn_demand_cwr = True
    elif not mark and c.ecn_seen and c.ecn_ok and seg.length:
        delack.enter_quickack(c)  # no ECT where earlier text had it: Linux takes it for a retransmission
    if mark:
        c.ecn_seen = True
        got = c.ecn_received = c.ecn_received or [0, 0, 0, 0]
        got[mark] += seg.length
        got[0] += seg.gso_segs if mark == 3 else 0
