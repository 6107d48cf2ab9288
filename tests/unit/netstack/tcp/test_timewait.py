"""TIME-WAIT: how long it waits, and what the wait costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from netstack.tcp.segment import ACK
from tests.unit.netstack.tcp.kit import Loop

WAIT_NS = 60_000_000_000


def loop_of_two() -> Loop:
    """The other end is gone at once, and its RSTs end no wait (RFC 1337 section 3)."""
    loop = Loop()
    loop.stack.settings.tcp_rfc1337 = 1
    return loop


def old_ack(tw: Any) -> Any:
    """Far outside the window: it is answered, and the wait begins anew (RFC 9293 section 3.10.7.4)."""
    seq = (tw.rcv_nxt + 5000) & 0xFFFFFFFF
    return SimpleNamespace(flags=ACK, seq=seq, length=0, options=0, tsval=0)


def test_old_segments_leave_nothing_behind() -> None:
    loop = loop_of_two()
    loop.close(*loop.connection(80))
    engine = loop.stack.tcp
    (tw,) = engine.time_waits(next(iter(engine.tw_ports)))
    for _ in range(1000):
        loop.now += 10_000
        tw.segment_arrives(old_ack(tw), loop.now)
        loop.settle()
    assert len(engine._tw_queue) == engine.tw_count == 1
    loop.wait(WAIT_NS)
    assert not engine._tw_queue and not engine.tw_count


@example(begins=[0, 5], again=[(0, 7)], lengths=[])
@example(begins=[0, 5], again=[], lengths=[(3, 10)])
@example(begins=[0], again=[(0, 20), (0, 25)], lengths=[(10, 10)])
@given(
    begins=st.lists(st.integers(0, 70), min_size=1, max_size=6),
    again=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 70)), max_size=8),
    lengths=st.lists(st.tuples(st.integers(0, 70), st.integers(1, 100)), max_size=3),
)
def test_each_ends_a_wait_after_its_last_segment(
    begins: list[int], again: list[tuple[int, int]], lengths: list[tuple[int, int]]
) -> None:
    """Whichever of them segments restart, and when (in seconds), and however long those that begin from then on are to
    wait: not one ends early or late."""
    loop = loop_of_two()
    engine = loop.stack.tcp
    blocks: list[Any] = []
    ends: list[int] = []
    wait_ns = WAIT_NS
    steps = [(at, -1, 0) for at in begins] + [(at, i, 0) for i, at in again] + [(at, -2, s) for at, s in lengths]
    for second, which, length in sorted(steps):
        loop.wait(1 + second * 1_000_000_000 - loop.now)
        alive = [tw for tw in blocks if engine.table.get(tw.key) is tw]
        assert alive == [tw for tw, end in zip(blocks, ends, strict=True) if end > loop.now]
        if which == -2:
            loop.stack.settings.set("terrella.tcp_timewait_len_ms", length * 1000)
            wait_ns = length * 1_000_000_000
        elif which == -1:
            loop.close(*loop.connection(80))
            (new,) = [tw for port in engine.tw_ports for tw in engine.time_waits(port) if tw not in blocks]
            blocks.append(new)
            ends.append(loop.now + wait_ns)
        elif which < len(blocks) and blocks[which] in alive:
            blocks[which].segment_arrives(old_ack(blocks[which]), loop.now)
            loop.settle()
            ends[which] = loop.now + wait_ns
    for end in sorted(end for end in ends if end > loop.now):
        loop.wait(max(end - 1 - loop.now, 0))
        assert engine.tw_count == sum(other > loop.now for other in ends)
        loop.wait(end - loop.now)
        assert engine.tw_count == sum(other > loop.now for other in ends)
