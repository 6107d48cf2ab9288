"""The receive window: what is offered, that the right edge stays, silly windows, and the growth of offer and buffer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netstack.settings import Settings
from netstack.tcp import window
from tests.unit.netstack.tcp.kit import Peer

MSS = 1448


def connection(**names: Any) -> Any:
    """The part of a TCB that the window is reckoned from."""
    c = SimpleNamespace(
        settings=Settings(),
        counters=SimpleNamespace(TCPWantZeroWindowAdv=0, TCPToZeroWindowAdv=0, TCPFromZeroWindowAdv=0),
        rcv_mss=MSS, advmss=1460, scaling_ratio=128, rcvbuf=131072, rmem=0, window_clamp=65536, rcv_ssthresh=65536,
        rcv_wscale=7, rcv_wnd=65536, rcv_wup=1000, rcv_nxt=1000, ack_quick=0, ack_pending=0, last_seg_size=0,
        rcvq_space=14480, rcvq_space_seq=0, rcvq_space_ns=0, rcv_rtt_us=0, rcv_rtt_ns=0, rcv_rtt_seq=0, copied_seq=0,
        rcvbuf_locked=False, ooo=[], ts_ok=True,
    )  # fmt: skip
    vars(c).update(names)
    return c


# What a SYN offers (RFC 7323 section 2).


@example(space=65536, mss=536, scaled=True, segments=0, rmem=4096, core=4096)
@example(space=33_554_136, mss=536, scaled=True, segments=0, rmem=4096, core=4096)
@given(
    space=st.integers(0, 1 << 30), mss=st.integers(536, 9000), scaled=st.booleans(), segments=st.integers(0, 100),
    rmem=st.integers(4096, 1 << 30), core=st.integers(4096, 1 << 30),
)  # fmt: skip
def test_the_first_offer_fits_the_buffer_and_its_scale(
    space: int, mss: int, scaled: bool, segments: int, rmem: int, core: int
) -> None:
    offer, clamp, scale = window.initial(space, mss, 0, scaled, segments, rmem, core)
    assert 0 <= offer <= space and 0 <= scale <= 14
    # The last unit of the scale is more than a header can say (a SYN says 65535 at most): it is only reckoned with.
    assert offer <= clamp or offer < 65536 << scale or not scaled
    assert scaled or scale == 0
    if segments:
        assert offer <= segments * mss
    largest = max(space // mss * mss if space > mss else space, rmem, core)  # of the buffers there may ever be
    if scale < 14:
        assert not scaled or largest >> scale <= 65535
    if scale:
        assert largest >> (scale - 1) > 65535  # and it is no coarser than that


@pytest.mark.parametrize(
    ("space", "expected"),
    [(65536, 45 * 1448), (1000, 1000), (1448, 1448), (1449, 1448)],
)
def test_the_first_offer_is_whole_segments(space: int, expected: int) -> None:
    assert window.initial(space, 1448, 0, True, 0, 6 << 20, 212992)[0] == expected


def test_a_locked_buffer_bounds_the_clamp() -> None:
    assert window.locked_clamp(0, 5000, True) == 5000
    assert window.locked_clamp(0, 5000, False) == 0
    assert window.locked_clamp(3000, 5000, True) == 3000


# The window of a segment (RFC 9293 section 3.8.6.2.2).


@given(
    st.integers(1, 255), st.integers(4096, 1 << 22), st.integers(0, 1 << 22), st.integers(0, 10),
    st.integers(0, 1 << 20), st.integers(0, 1 << 20),
)  # fmt: skip
def test_the_right_edge_never_moves_left(
    ratio: int, rcvbuf: int, rmem: int, scale: int, offered: int, arrived: int
) -> None:
    """Whatever the buffer holds, the edge that was offered stays, and what is left of it is not below zero."""
    c = connection(
        scaling_ratio=ratio, rcvbuf=rcvbuf, rmem=rmem, rcv_wscale=scale, window_clamp=65535 << scale,
        rcv_ssthresh=min(65535 << scale, rcvbuf), rcv_wnd=min(offered, 65535 << scale) >> scale << scale,
    )  # fmt: skip
    edge = c.rcv_wup + c.rcv_wnd
    c.rcv_nxt = min(c.rcv_nxt + arrived, edge)
    field = window.select(c)
    assert 0 <= field <= 65535
    assert c.rcv_nxt + (field << scale) >= edge - (c.rcv_wnd > 65535 << scale)
    assert c.rcv_wup == c.rcv_nxt


@given(st.integers(0, 262144), st.integers(0, 6))
def test_no_silly_window_is_offered(rmem: int, scale: int) -> None:
    """Nothing at all rather than less than a segment, or than a sixteenth of the buffer once it is half full."""
    c = connection(rmem=rmem, rcv_wscale=scale, rcv_wnd=0, window_clamp=65536)
    found = window.candidate(c)
    free = (c.rcvbuf - rmem) * c.scaling_ratio >> 8
    allowed = c.rcvbuf * c.scaling_ratio >> 8
    if free < allowed >> 1:
        assert found == 0 or found >= allowed >> 4
    assert found == 0 or found >= MSS
    assert found <= max(free, 0) + (1 << scale)


def test_a_full_buffer_closes_the_window_and_counts_it() -> None:
    c = connection(rcv_wnd=0, rmem=131072)
    assert window.select(c) == 0
    assert c.counters.TCPToZeroWindowAdv == 0  # it was closed before
    c = connection(rmem=131072, rcv_wnd=4096)
    c.rcv_nxt += 4096
    assert window.select(c) == 0
    assert c.counters.TCPToZeroWindowAdv == 1
    c.rmem = 0
    assert window.select(c) > 0
    assert c.counters.TCPFromZeroWindowAdv == 1


# Growth.


@given(st.lists(st.integers(128, 65160), min_size=1, max_size=50))
def test_the_offer_grows_within_the_buffer(sizes: list[int]) -> None:
    """Two segments or twice the data at a time, never beyond the clamp or what is free."""
    c = connection(rcv_ssthresh=14480)
    for size in sizes:
        before = c.rcv_ssthresh
        window.grow(c, size)
        assert before <= c.rcv_ssthresh <= c.window_clamp
        assert c.rcv_ssthresh - before <= max(2 * c.advmss, 2 * size, 2 * c.rcv_mss)


def test_a_full_buffer_does_not_raise_the_offer() -> None:
    c = connection(rcv_ssthresh=14480, rmem=131072)
    window.grow(c, MSS)
    assert c.rcv_ssthresh == 14480


def test_tiny_payloads_do_not_raise_the_offer() -> None:
    """What costs far more than it brings is no reason to ask for more (`tcp_rmem[2]` is what it is held against)."""
    c = connection(rcv_ssthresh=60000, scaling_ratio=200, window_clamp=1 << 20, rcvbuf=1 << 21)
    c.settings.set("net.ipv4.tcp_rmem", "4096 131072 131072")
    window.grow(c, 128)
    assert c.rcv_ssthresh == 60000


def test_the_buffer_follows_the_application() -> None:
    """Dynamic right-sizing: twice what was copied in a round trip, more when that grows; not beyond tcp_rmem[2], nor
    when the user has fixed it."""
    rtt = 20_000
    c = connection(rcv_rtt_us=rtt << 3)
    window.space_adjust(c, (rtt - 1) * 1000)
    assert c.rcvbuf == 131072 and c.rcvq_space_ns == 0  # the round trip is not over
    c.copied_seq = 60_000
    window.space_adjust(c, rtt * 1000)
    assert c.rcvbuf > 131072 and c.rcvq_space == 60_000
    assert c.window_clamp == c.rcvbuf * c.scaling_ratio >> 8
    grown = c.rcvbuf
    c.copied_seq += 30_000
    window.space_adjust(c, 2 * rtt * 1000)
    assert c.rcvbuf == grown  # less than before: it stays
    for turn in range(3, 40):
        c.copied_seq += 60_000 << turn
        window.space_adjust(c, turn * rtt * 1000)
    assert c.rcvbuf == c.settings.tcp_rmem[2]
    c = connection(rcv_rtt_us=rtt << 3, rcvbuf_locked=True, copied_seq=60_000)
    window.space_adjust(c, rtt * 1000)
    assert c.rcvbuf == 131072


def test_the_round_trip_of_a_receiver() -> None:
    """The least counts at once; more only smoothed by an eighth, from timestamps, and while the reader keeps up."""
    c = connection(copied_seq=1000)
    window.rcv_rtt_sample(c, 8000, False)
    assert c.rcv_rtt_us == 8 * 8000
    window.rcv_rtt_sample(c, 16000, False)
    assert c.rcv_rtt_us == 7 * 8000 + 16000
    window.rcv_rtt_sample(c, 50000, True)
    assert c.rcv_rtt_us == 72000
    c.rcv_nxt += 1
    window.rcv_rtt_sample(c, 50000, False)
    assert c.rcv_rtt_us == 72000
    window.rcv_rtt_sample(c, 1000, True)
    assert c.rcv_rtt_us == 8000


@given(st.integers(0, 70_000))
def test_what_a_segment_costs_rises_with_its_length(length: int) -> None:
    assert window.truesize(length) > length
    assert window.truesize(length + 1) >= window.truesize(length)


# Through the stack.


def test_full_segments_set_the_ratio_and_the_peer_sees_it() -> None:
    """Segments of 1448 bytes fill their buffers to five eighths: the offer may use as much of the buffer."""
    peer = Peer()
    sock = peer.accept("S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>")
    c = sock.conn
    assert c.scaling_ratio == 128
    for n in range(4):
        at = 1 + n * MSS
        peer.send(f". {at}:{at + MSS}({MSS}) ack 1 win 512 <nop,nop,TS val 2 ecr 1>")
    assert c.scaling_ratio == (MSS << 8) // window.truesize(MSS) == 160
    assert c.rcv_mss == MSS


@given(size=st.integers(536, 1459), segments=st.integers(1, 40), sack=st.integers(0, 3))
def test_a_run_of_smaller_segments_is_measured_by_one_of_them(size: int, segments: int, sack: int) -> None:
    """However many the device has joined (GRO): the second of one size says how long the peer's segments are."""
    c = connection(rcv_mss=1460)
    blocks = ((1, 2),) * sack
    for _ in range(2):
        text = size - (4 + 8 * sack if sack else 0)
        seg = SimpleNamespace(length=text * segments, gso_size=text if segments > 1 else 0, sack=blocks, flags=16)
        seg.options = window.OPT_SACK if sack else 0
        window.measure_rcv_mss(c, seg)
    assert c.rcv_mss == size
