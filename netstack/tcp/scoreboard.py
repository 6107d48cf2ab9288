"""The retransmission queue and its scoreboard (RFC 6675 section 3, RFC 2018 section 5, RFC 2883 section 4), in the
shape that RACK needs (RFC 8985 section 5).

A `Sent` record stands for one transmitted segment or super-segment, as an skb does in Linux: its range, its payload
(the application's own buffers), when it was last sent, and its marks: SACKED, LOST, RETRANS_OUT (a retransmission of it
is out) and EVER_RETRANS. `order` numbers transmissions, because time alone does not tell which of two was first:
everything that a batch of ACKs clocks out is sent in one instant. Records are in `c.rtx` in sequence order without
gaps; those not SACKed and not waiting to be retransmitted are also in a linked list in order of transmission
(`ts_head`), which is what RACK walks. A record is split where a SACK edge, a retransmission or a new MSS cuts it.

Invariants, after every call: packets_out is the sum of `pcount` over the queue; sacked_out (with SACK), lost_out and
retrans_out are the sums over the records so marked; SACKED and LOST exclude each other.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from netstack.tcp.segment import FIN, PSH, SYN
from netstack.tcp.tcb import CA_LOSS, NO_RATE

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

SACKED, RETRANS_OUT, LOST, EVER_RETRANS = 1, 2, 4, 8
RETRANS_ANY = RETRANS_OUT | EVER_RETRANS

# What an acknowledgment turned out to do (the names of Linux's FLAG_*).
DATA, WIN_UPDATE, DATA_ACKED, RETRANS_DATA_ACKED, SYN_ACKED, DATA_SACKED, ECE_SEEN, LOST_RETRANS = (
    1 << n for n in range(8)
)
ORIG_SACK_ACKED, SND_UNA_ADVANCED, DSACKING, SACK_RENEGING, DSACK_TLP, SET_XMIT_TIMER, MAYBE_DELAYED = (
    1 << n for n in range(8, 15)
)
ACKED = DATA_ACKED | SYN_ACKED
NOT_DUP = DATA | WIN_UPDATE | ACKED
CA_ALERT = DATA_SACKED | ECE_SEEN | DSACKING
FORWARD_PROGRESS = ACKED | DATA_SACKED

_seq_of = attrgetter("seq")


class Link:
    """A place in the list of records by transmission time: a record, or the list's head. Its neighbours are links."""

    __slots__ = ("next", "prev")

    next: Any
    prev: Any


class Sent(Link):
    """One transmitted (super-)segment: [seq, end), SYN and FIN counted, with the payload in `frags`."""

    __slots__ = (
        "delivered",
        "end",
        "flags",
        "frags",
        "length",
        "marks",
        "mss",
        "order",
        "pcount",
        "rate",
        "sends",
        "seq",
        "xmit_ns",
    )  # fmt: skip

    def __init__(self, seq: int, end: int, frags: tuple[Any, ...], length: int, flags: int, mss: int) -> None:
        self.seq = seq
        self.end = end
        self.frags = frags
        self.length = length
        self.flags = flags
        self.mss = mss
        self.pcount = (length + mss - 1) // mss if length > mss else 1
        self.marks = 0
        self.xmit_ns = 0
        self.order = 0
        self.sends = 0
        self.delivered = 0
        self.rate = NO_RATE
        self.prev = self.next = None


class Head(Link):
    """The list of records by transmission time; empty at first."""

    __slots__ = ()

    def __init__(self) -> None:
        self.prev = self.next = self


NOTHING_SENT: Final = Head()
"""The list of a connection that has not sent anything yet: `Connection.begin_flight` makes its own."""


def link_last(c: Connection, rec: Sent) -> None:
    """`rec` was just sent: it goes to the end of the list in order of transmission."""
    head = c.ts_head
    if rec.next is not None:
        rec.prev.next = rec.next
        rec.next.prev = rec.prev
    last: Link = head.prev
    last.next = rec
    rec.prev = last
    rec.next = head
    head.prev = rec


def unlink(rec: Sent) -> None:
    if rec.next is not None:
        rec.prev.next = rec.next
        rec.next.prev = rec.prev
        rec.prev = rec.next = None


def cut(frags: tuple[Any, ...], at: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Divide buffers at byte `at`, without copying."""
    head: list[Any] = []
    for i, frag in enumerate(frags):
        size = len(frag)
        if at < size:
            if at == 0:
                return tuple(head), frags[i:]
            view = memoryview(frag)
            return (*head, view[:at]), (view[at:], *frags[i + 1 :])
        head.append(frag)
        at -= size
    return tuple(head), ()


def index_of(c: Connection, seq: int) -> int:
    """Index of the record that holds `seq`, which must be in the queue."""
    return bisect_right(c.rtx, seq, key=_seq_of) - 1


def split(c: Connection, i: int, size: int) -> Sent:
    """Cut record i after `size` payload bytes; the second half becomes record i + 1 and is returned."""
    rec = c.rtx[i]
    old = rec.pcount
    first, second = cut(rec.frags, size)
    start = rec.seq + size + (1 if rec.flags & SYN else 0)
    new = Sent(start, rec.end, second, rec.length - size, rec.flags & ~SYN, rec.mss)
    rec.end = start
    rec.frags = first
    rec.length = size
    rec.flags &= ~(FIN | PSH)
    mss = rec.mss
    rec.pcount = (size + mss - 1) // mss if size > mss else 1
    new.marks = rec.marks
    new.xmit_ns = rec.xmit_ns
    new.order = rec.order
    new.sends = rec.sends
    new.delivered = rec.delivered
    new.rate = rec.rate
    if rec.next is not None:
        after = rec.next
        rec.next = new
        new.prev = rec
        new.next = after
        after.prev = new
    c.rtx.insert(i + 1, new)
    adjust(c, rec.marks, rec.pcount + new.pcount - old)
    return new


def adjust(c: Connection, marks: int, delta: int) -> None:
    """The number of segments in records with these marks changed."""
    if delta:
        c.packets_out += delta
        if marks & SACKED:
            c.sacked_out += delta
        if marks & LOST:
            c.lost_out += delta
        if marks & RETRANS_OUT:
            c.retrans_out += delta


def set_mss(c: Connection, rec: Sent, mss: int) -> None:
    """The record will be sent with another MSS: count its segments again."""
    if rec.mss != mss:
        old = rec.pcount
        rec.mss = mss
        rec.pcount = (rec.length + mss - 1) // mss if rec.length > mss else 1
        adjust(c, rec.marks, rec.pcount - old)


def mark_lost(c: Connection, rec: Sent) -> None:
    """Deem the record lost. If it was lost before, it is the retransmission that is lost now, and no longer out."""
    marks = rec.marks
    if marks & SACKED:
        return
    if c.retransmit_hint < 0 or rec.seq < c.retransmit_hint:
        c.retransmit_hint = rec.seq
    if marks & LOST:
        if marks & RETRANS_OUT:
            rec.marks = marks & ~RETRANS_OUT
            c.retrans_out -= rec.pcount
            c.counters.TCPLostRetransmit += rec.pcount
            c.lost += rec.pcount
    else:
        rec.marks = marks | LOST
        c.lost_out += rec.pcount
        c.lost += rec.pcount


def join_sacked(c: Connection) -> None:
    """Make one record of neighbours that were SACKed, as Linux does whenever a SACK comes. So what the receiver has
    dropped after all (RFC 2018 section 8) is sent again in super-segments, with the send time of the first record."""
    kept: list[Sent] = []
    for rec in c.rtx:
        size = rec.length if rec.pcount == 1 else rec.mss
        last = kept[-1] if kept else rec
        if (
            last is rec
            or last.marks & ~EVER_RETRANS != SACKED
            or rec.marks & ~EVER_RETRANS != SACKED
            or size != (last.length if last.pcount == 1 else last.mss)
            or last.end in c.eor
        ):
            kept.append(rec)
            continue
        last.frags += rec.frags
        last.length += rec.length
        last.end = rec.end
        last.flags |= rec.flags
        last.marks |= rec.marks
        last.pcount += rec.pcount
        last.mss = size
    c.rtx[:] = kept


class AckState:
    """What the processing of one ACK has found so far."""

    __slots__ = (
        "delivered", "first_order", "first_sack_ns", "flag", "last_sack_ns", "newest", "prior_delivered", "reord",
    )  # fmt: skip

    def __init__(self, flag: int, reord: int) -> None:
        self.flag = flag
        self.reord = reord
        self.delivered = 0
        self.first_sack_ns = -1
        self.first_order = 0
        self.last_sack_ns = -1
        self.prior_delivered = 0
        self.newest: Sent | None = None  # of the records delivered, the one sent last


def sack_one(c: Connection, st: AckState, rec: Sent, dup: bool, now: int) -> None:
    """A SACK block covers the whole record: tag it."""
    marks = rec.marks
    pcount = rec.pcount
    if dup and marks & RETRANS_ANY:
        if c.undo_marker and c.undo_retrans > 0 and rec.end > c.undo_marker:
            c.undo_retrans = max(0, c.undo_retrans - pcount)
        if marks & SACKED and rec.seq < st.reord:
            st.reord = rec.seq
    if rec.end <= c.snd_una:
        return  # this ACK covers it, and `ack.clean` takes it off; that a copy arrived too is no reordering
    if not marks & SACKED:
        rack_advance(c, rec, marks, now)
        if marks & RETRANS_OUT:
            # If it is not marked lost, believe that the retransmission is still out, and leave RETRANS_OUT.
            if marks & LOST:
                marks &= ~(LOST | RETRANS_OUT)
                c.lost_out -= pcount
                c.retrans_out -= pcount
        else:
            if not marks & RETRANS_ANY:
                # It was in a hole and never retransmitted: reordering (RFC 8985 section 6.2 step 3).
                if rec.seq < c.highest_sack and rec.seq < st.reord:
                    st.reord = rec.seq
                if rec.end <= c.high_seq:
                    st.flag |= ORIG_SACK_ACKED
                if st.first_sack_ns < 0:
                    st.first_sack_ns = rec.xmit_ns
                    st.first_order = rec.order
                st.last_sack_ns = rec.xmit_ns
            if marks & LOST:
                marks &= ~LOST
                c.lost_out -= pcount
        marks |= SACKED
        st.flag |= DATA_SACKED
        c.sacked_out += pcount
        st.delivered += pcount
        if rec.delivered > st.prior_delivered:
            st.prior_delivered = rec.delivered
        if st.newest is None or rec.order > st.newest.order:
            st.newest = rec
        unlink(rec)
        if rec.end > c.highest_sack:
            c.highest_sack = rec.end
    if dup and marks & RETRANS_OUT:
        marks &= ~RETRANS_OUT
        c.retrans_out -= pcount
    rec.marks = marks


def rack_advance(c: Connection, rec: Sent, marks: int, now: int) -> None:
    """RFC 8985 section 6.2 step 2: the most recently sent segment that has been delivered, and its round trip."""
    rtt_us = (now - rec.xmit_ns) // 1000
    if rtt_us < c.min_rtt_us and marks & RETRANS_ANY:
        return  # it is more likely that the ACK is for the original
    c.rack_advanced = True
    c.rack_rtt_us = rtt_us
    order = rec.order
    if order > c.rack_order or (order == c.rack_order and rec.end > c.rack_end):
        c.rack_order = order
        c.rack_end = rec.end


def walk(c: Connection, st: AckState, left: int, right: int, dup: bool, now: int, begin: int = 0) -> None:
    """Tag the records that [left, right) covers, beginning with the one that holds `begin`. A record that is covered in
    part is split at a multiple of its MSS."""
    rtx = c.rtx
    begin = max(left, begin)
    if not rtx or right <= rtx[0].seq or begin >= c.snd_nxt:
        return
    i = index_of(c, begin) if begin > rtx[0].seq else 0
    while i < len(rtx):
        rec = rtx[i]
        if rec.seq >= right:
            break
        if left <= rec.seq and rec.end <= right:
            sack_one(c, st, rec, dup, now)
        elif rec.pcount > 1:
            mss = rec.mss
            if rec.seq < left:
                skip = (left - rec.seq + mss - 1) // mss * mss  # only whole segments count as received
                if skip >= rec.length:
                    i += 1
                    continue
                split(c, i, skip)
                i += 1
                continue
            size = (right - rec.seq) // mss * mss
            if size <= 0:
                break
            split(c, i, size)
            sack_one(c, st, rec, dup, now)
        i += 1


def dsack_seen(c: Connection, st: AckState, left: int, right: int) -> int:
    """A D-SACK came for [left, right) (RFC 2883 section 4): how many segments arrived twice, or 0 when it is not to be
    believed (Linux's tcp_dsack_seen)."""
    if left >= right or right - left > c.max_window:
        c.counters.TCPDSACKIgnoredDubious += 1
        return 0
    dups = 1
    if right - left > c.mss_cache:
        dups = -(-(right - left) // c.mss_cache)
    elif c.tlp_high_seq and c.tlp_high_seq == right:
        st.flag |= DSACK_TLP
    c.dsack_dups += dups
    if c.dsack_dups > c.total_retrans:
        return 0
    c.dsack_seen = True
    if c.reord_seen and not st.flag & DSACK_TLP:
        c.rack_dsack_seen = True
    st.flag |= DSACKING
    st.delivered += dups
    c.counters.TCPDSACKRecvSegs += dups
    return dups


def sack_valid(c: Connection, left: int, right: int, dup: bool) -> bool:
    """Whether a block can be about something that was sent. One below SND.UNA can be so only as a D-SACK, for what was
    sent since the reduction that may be undone (Linux's tcp_is_sackblock_valid)."""
    if right > c.snd_nxt or left >= right or left >= c.snd_nxt:
        return False
    if left > c.snd_una:
        return True  # (of a block that begins at SND.UNA, SEG.ACK itself would tell)
    if not dup or not c.undo_marker:
        return False
    if right > c.snd_una:
        return False  # a D-SACK is either wholly below SND.UNA or wholly above
    if left >= c.undo_marker:
        return True
    return right > c.undo_marker and left >= right - c.max_window


def tag(c: Connection, st: AckState, blocks: list[tuple[int, int]], ack: int, prior_una: int, now: int) -> None:
    """Process the SACK option of one ACK (RFC 6675 Update(), RFC 2883 section 4)."""
    first_left, first_right = blocks[0]
    dup = False
    if first_left < ack:
        dup = True
        c.counters.TCPDSACKRecv += 1
    elif len(blocks) > 1 and blocks[1][0] <= first_left and first_right <= blocks[1][1]:
        dup = True
        c.counters.TCPDSACKOfoRecv += 1
    if dup:
        dups = dsack_seen(c, st, first_left, first_right)
        if dups and c.undo_marker and c.undo_retrans > 0 and first_right <= prior_una and first_right > c.undo_marker:
            c.undo_retrans = max(0, c.undo_retrans - dups)
        if not dups:
            blocks = blocks[1:]
            dup = False
    if not c.packets_out:
        return
    if not c.sacked_out:
        c.highest_sack = c.snd_una
        c.sack_cache = ()
    known = c.sack_cache
    fresh = []
    for n, (left, right) in enumerate(blocks):
        is_dup = dup and n == 0
        if not sack_valid(c, left, right, is_dup):
            if is_dup and c.undo_marker:
                c.counters.TCPDSACKIgnoredOld += 1
            elif is_dup:
                c.counters.TCPDSACKIgnoredNoUndo += 1
            elif ack == c.snd_una or right > c.snd_una:  # else the ACK was overtaken, and its block is merely old
                c.counters.TCPSACKDiscard += 1
            continue
        if is_dup:
            walk(c, st, left, right, True, now)
            if right <= c.snd_una:
                continue
        fresh.append((left, right))
    fresh.sort()
    for left, right in fresh:
        # Walk only what the last ACK did not report already.
        begin = left
        for old_left, old_right in known:
            if old_left <= begin < old_right:
                begin = old_right
        if begin < right:
            walk(c, st, left, right, False, now, begin)
    c.sack_cache = tuple(fresh)
    if st.reord < c.highest_sack and (c.ca_state != CA_LOSS or c.undo_marker):
        check_sack_reordering(c, st.reord)


def check_sack_reordering(c: Connection, low_seq: int, by_timestamp: bool = False) -> None:
    """A segment at `low_seq`, below the highest SACKed one, arrived without having been retransmitted: the distance is
    the degree of reordering, which replaces DupThresh (RFC 6675; its adaptation is Linux's)."""
    mss = c.mss_cache
    metric = (c.highest_sack if c.sacked_out and c.sack_ok else c.snd_una) - low_seq
    if metric <= 0:
        return
    if mss and metric > c.reordering * mss:
        c.reordering = min(-(-metric // mss), c.settings.tcp_max_reordering)
    c.reord_seen += 1
    if by_timestamp:
        c.counters.TCPTSReorder += 1
    else:
        c.counters.TCPSACKReorder += 1
