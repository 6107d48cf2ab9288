"""Segments out of order that overlap what is held: nothing is held twice, no piece is empty, and D-SACK says what came
again (RFC 2883)."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.netstack.tcp.kit import Peer

UNIT = 100


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), max_size=12))
@example([(2, 2), (2, 1)])  # the beginning of what is held
@example([(2, 2), (3, 1)])
@example([(1, 2), (2, 3), (2, 2)])  # what two that are held have between them
def test_what_is_held_is_a_set_of_ranges(pieces: list[tuple[int, int]]) -> None:
    """Against a set of units, the first of which is missing; when it comes, all is read up to the next gap."""
    peer = Peer()
    sock = peer.accept()
    c = sock.conn
    held: set[int] = set()
    for start, count in pieces:
        left, right = start * UNIT + 1, (start + count) * UNIT + 1
        peer.send(f". {left}:{right}({right - left}) ack 1")
        again = held & set(range(start, start + count))
        held |= set(range(start, start + count))
        assert all(a < b for a, b, *_ in c.ooo), "an empty piece"
        assert all(one[1] <= other[0] for one, other in zip(c.ooo, c.ooo[1:])), "held twice"
        assert sum(b - a for a, b, *_ in c.ooo) == UNIT * len(held)
        if not peer.queue:
            peer.wait(5)  # SACKs are compressed after the first few
        seen = peer.recv(". 1:1(0) ack 1")
        blocks = seen.options["sack"]
        assert all(a < b for a, b in blocks)
        if len(again) == count:
            assert blocks[0] == (left, right), "all of it came again"
        elif not again:
            assert blocks[0][0] <= left and right <= blocks[0][1], "the newest comes first"
    peer.send(f". 1:{UNIT + 1}({UNIT}) ack 1")
    whole = next(n for n in range(1, 20) if n not in held)
    got = sock.recv(1 << 16, peer.now)
    assert got == b"".join(bytes((i + 1 + n * UNIT) & 0xFF for i in range(UNIT)) for n in range(whole))
