"""The scoreboard's arithmetic: the counts of segments are the sums over the records, whatever is cut; and which blocks
are believed (RFC 2018, RFC 2883, RFC 3708).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.tcp.scoreboard import (
    EVER_RETRANS,
    LOST,
    RETRANS_OUT,
    SACKED,
    AckState,
    Head,
    Sent,
    link_last,
    sack_one,
    sack_valid,
    set_mss,
    split,
)  # fmt: skip

MSS = 1000


def flight(records: list[tuple[int, int]]) -> Any:
    """A connection with these records out: (length, marks)."""
    c: Any = SimpleNamespace(
        rtx=[], ts_head=Head(), packets_out=0, sacked_out=0, lost_out=0, retrans_out=0, snd_una=1, snd_nxt=1,
        undo_marker=0, undo_retrans=0, high_seq=1, highest_sack=1, max_window=60_000, min_rtt_us=0, rack_order=0,
    )  # fmt: skip
    for order, (length, marks) in enumerate(records, 1):
        rec = Sent(c.snd_nxt, c.snd_nxt + length, (bytes(length),), length, 16, MSS)
        rec.marks, rec.order = marks, order
        c.snd_nxt = rec.end
        c.rtx.append(rec)
        link_last(c, rec)
    c.packets_out, c.sacked_out, c.lost_out, c.retrans_out = counts(c)
    return c


def counts(c: Any) -> tuple[int, ...]:
    bits = (-1, SACKED, LOST, RETRANS_OUT)
    return tuple(sum(rec.pcount for rec in c.rtx if bit < 0 or rec.marks & bit) for bit in bits)


MARKS = st.sampled_from([0, SACKED, LOST, LOST | RETRANS_OUT | EVER_RETRANS, RETRANS_OUT | EVER_RETRANS, EVER_RETRANS])


@given(st.lists(st.tuples(st.integers(2, 9000), MARKS), min_size=1, max_size=6), st.data())
def test_counts_are_the_sums_over_the_records(records: list[tuple[int, int]], data: st.DataObject) -> None:
    c = flight(records)
    text = b"".join(bytes(frag) for rec in c.rtx for frag in rec.frags)
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(c.rtx) - 1))
        rec = c.rtx[i]
        if rec.length > 1 and data.draw(st.booleans()):
            split(c, i, data.draw(st.integers(1, rec.length - 1)))
        else:
            set_mss(c, rec, data.draw(st.integers(88, 2000)))
        assert (c.packets_out, c.sacked_out, c.lost_out, c.retrans_out) == counts(c)
    assert [a.end for a in c.rtx[:-1]] == [b.seq for b in c.rtx[1:]]
    assert b"".join(bytes(frag) for rec in c.rtx for frag in rec.frags) == text


@pytest.mark.parametrize(
    ("left", "right", "dup", "believed"),
    [
        (3001, 4001, False, True),
        (1001, 2001, False, False),  # what begins at SND.UNA the ACK would have said
        (9001, 9501, False, False),  # never sent
        (4001, 4001, False, False),  # empty
        (501, 1001, True, True),  # a D-SACK of what was sent since the marker
        (501, 1001, False, False),
        (501, 1501, True, False),  # neither below SND.UNA nor above
        (101, 201, True, False),  # from before the marker
    ],
)
def test_which_blocks_are_believed(left: int, right: int, dup: bool, believed: bool) -> None:
    c: Any = SimpleNamespace(snd_una=1001, snd_nxt=9001, undo_marker=501, max_window=60_000)
    assert sack_valid(c, left, right, dup) is believed


def test_a_d_sack_takes_the_retransmission_off() -> None:
    """RFC 3708: what arrived twice is not out any more, though the loss that it was sent again for was taken back."""
    c = flight([(MSS, RETRANS_OUT | EVER_RETRANS), (MSS, 0)])
    sack_one(c, AckState(0, c.snd_nxt), c.rtx[0], True, 10**9)
    assert c.rtx[0].marks == SACKED | EVER_RETRANS
    assert (c.packets_out, c.sacked_out, c.lost_out, c.retrans_out) == counts(c) == (2, 1, 0, 0)
