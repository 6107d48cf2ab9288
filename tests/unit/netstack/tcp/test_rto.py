"""The retransmission timeout against RFC 6298's formulas, and how long one goes on trying."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.settings import Settings
from netstack.tcp import rto
from netstack.tcp.tcb import ESTABLISHED, MS, SECOND, SYN_SENT
from tests.unit.netstack.tcp.kit import Peer

US = 1_000
SAMPLES = st.lists(st.integers(1, 20_000_000), min_size=1, max_size=60)


def connection(**names: Any) -> Any:
    """The part of a TCB that the estimator reads and writes; each sample is a round trip of its own."""
    settings = Settings(**names)
    return SimpleNamespace(
        settings=settings, srtt_us=0, mdev_us=0, mdev_max_us=0, rttvar_us=0, rtt_seq=0, snd_una=0, snd_nxt=1,
        rto_min_us=settings.tcp_rto_min_us, rto_max_ns=settings.tcp_rto_max_ms * 1_000_000,
        rto_ns=SECOND, retransmits=0, retrans_stamp_ns=0, rtx=[], state=ESTABLISHED,
        user_timeout_ms=0, min_rtt_us=1 << 32, min_rtt_ns=0,
    )  # fmt: skip


def feed(c: Any, samples: list[int]) -> None:
    for sample in samples:
        c.snd_una += 1
        c.snd_nxt += 1
        rto.sample(c, sample)


def test_the_first_measurement() -> None:
    """RFC 6298 (2.2): SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR."""
    for sample in (100_000, 250_000, 1_000_000):
        c = connection()
        feed(c, [sample])
        assert c.srtt_us >> 3 == sample and c.mdev_us >> 2 == sample // 2
        assert rto.computed_ns(c) == 3 * sample * US


@given(SAMPLES)
def test_the_smoothed_round_trip_is_the_rfcs(samples: list[int]) -> None:
    """RFC 6298 (2.3): SRTT = 7/8 SRTT + 1/8 R', to the microsecond that shifting loses a sample."""
    c = connection()
    feed(c, samples)
    exact = float(samples[0])
    for sample in samples[1:]:
        exact += (sample - exact) / 8
    assert abs((c.srtt_us >> 3) - exact) <= 8


@given(SAMPLES)
def test_bounds(samples: list[int]) -> None:
    """Never below SRTT + the floor, never above the ceiling (2.5)."""
    c = connection()
    for sample in samples:
        feed(c, [sample])
        timeout = rto.computed_ns(c)
        assert timeout >= min((c.srtt_us >> 3) * US + 200 * MS, 120 * SECOND)
        assert timeout <= 120 * SECOND
        assert c.srtt_us > 0 and c.mdev_us >= 0


@given(st.integers(1, 2_000_000), st.integers(50, 100))
def test_a_steady_path_comes_to_rest_at_the_floor(sample: int, count: int) -> None:
    c = connection()
    feed(c, [sample] * (4 * count))
    assert c.srtt_us >> 3 in range(sample - 8, sample + 1)
    assert rto.computed_ns(c) <= (sample + 200_000 + max(sample // 50, 8)) * US


@given(st.lists(st.integers(1_000, 1_000_000), min_size=20, max_size=20))
def test_at_least_what_the_rfc_would_wait(samples: list[int]) -> None:
    """The variance taken is the greatest of a round trip and decays slowly, so the timeout is not below the RFC's by
    more than what a falling round trip is discounted: against rising samples it is never below."""
    rising = sorted(samples)
    c = connection()
    feed(c, rising)
    srtt, var = float(rising[0]), rising[0] / 2
    for sample in rising[1:]:
        var += (abs(srtt - sample) - var) / 4
        srtt += (sample - srtt) / 8
    assert rto.computed_ns(c) / US >= srtt + 4 * var - 64


def test_the_profile_of_the_rfcs_waits_a_second() -> None:
    c = connection(profile="rfc")
    feed(c, [10_000] * 50)
    assert rto.computed_ns(c) >= SECOND


def test_a_falling_round_trip_does_not_inflate_the_timeout() -> None:
    c = connection()
    feed(c, [1_000_000] * 100)
    before = rto.computed_ns(c)
    feed(c, [100_000])
    assert rto.computed_ns(c) <= before


@pytest.mark.parametrize(("boundary", "seconds"), [(0, 0.2), (1, 0.6), (3, 3.0), (9, 204.6), (15, 924.6)])
def test_how_long_so_many_timeouts_last(boundary: int, seconds: float) -> None:
    """RFC 9293 3.8.3, R2: tcp_retries2 of 15 is 924.6 s, as Linux documents it."""
    assert rto.model_ns(connection(), boundary, 200 * MS) == int(seconds * SECOND)


def test_the_user_timeout_cuts_the_last_wait_short() -> None:
    c = connection()
    c.rto_ns, c.user_timeout_ms, c.retrans_stamp_ns = 8 * SECOND, 10_000, SECOND
    assert rto.clamp_to_user_timeout(c, 2 * SECOND) == 8 * SECOND
    assert rto.clamp_to_user_timeout(c, 9 * SECOND) == 2 * SECOND
    assert rto.clamp_to_user_timeout(c, 12 * SECOND) == 1
    c.retransmits = 3
    assert rto.timed_out(c, 15, 10_000, 11 * SECOND) and not rto.timed_out(c, 15, 10_000, 11 * SECOND - 1)
    assert not rto.timed_out(c, 15, 0, 11 * SECOND)
    c.state, c.syn_stamp_ns = SYN_SENT, SECOND
    assert rto.timed_out(c, 1, 0, 4 * SECOND) and not rto.timed_out(c, 2, 0, 4 * SECOND)


def test_backoff_doubles_and_an_answer_ends_it() -> None:
    """RFC 6298 (5.5) and (5.7), with Karn: the ACK of a retransmission is no sample."""
    peer = Peer()
    sock = peer.accept(rtt=100)
    sock.send(bytes(1000), peer.now)
    peer.drain()
    peer.recv("P. 1:1001(1000) ack 1")
    peer.wait(30_000)
    times = []
    while peer.queue:
        times.append((peer.queue[0][0] - peer.zero) // MS)
        peer.recv("P. 1:1001(1000) ack 1")
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[0] >= 200 and gaps == [gaps[0] * 2**n for n in range(len(gaps))], times
    before = sock.info(peer.now).tcpi_rtt
    peer.send(". 1:1(0) ack 1001 win 512")
    after = sock.info(peer.now)
    assert after.tcpi_rtt == before and after.tcpi_backoff > 0, "kept until there is a sample again"


def test_an_estimator_of_other_gains_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: 1/4 for 1/8."""

    def hasty(c: Any, rtt_us: int) -> None:
        c.srtt_us = c.srtt_us + (rtt_us * 8 - c.srtt_us) // 4 if c.srtt_us else rtt_us * 8

    monkeypatch.setattr(rto, "sample", hasty)
    with pytest.raises(AssertionError):
        test_the_smoothed_round_trip_is_the_rfcs.hypothesis.inner_test([1000, 9000, 100_000])  # type: ignore[attr-defined]
