"""CUBIC against RFC 9438's formulas, Reno against RFC 5681's, and HyStart's two reasons to stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.counters import Counters
from netstack.tcp import congestion
from netstack.tcp.congestion import LOSS, TX_START, cubic
from netstack.tcp.tcb import ESTABLISHED, INFINITE_SSTHRESH, MS, SECOND, SYN_SENT
from tests.property.netstack.tcp.world import Flow

C, BETA = 0.4, 0.7


def flow(cwnd: int, ssthresh: int = INFINITE_SSTHRESH) -> Any:
    """What a congestion control sees of a connection that always has something to send."""
    return SimpleNamespace(
        cwnd=cwnd, ssthresh=ssthresh, cwnd_cnt=0, prior_cwnd=0, snd_una=0, snd_nxt=cwnd,
        pacing_rate=0, paced=False, srtt_us=0, lsndtime_ns=0, state=ESTABLISHED,
        counters=Counters().tcpext, cwnd_limited=lambda: True,
    )  # fmt: skip


def rounds(cc: Any, c: Any, rtt_ns: int, seconds: float, start: int = SECOND) -> list[tuple[int, int]]:
    """A round trip at a time: as many ACKs as cwnd; (time, cwnd) after each."""
    now, seen = start, []
    c.srtt_us = rtt_ns // 125
    while now < start + seconds * SECOND:
        now += rtt_ns
        for _ in range(c.cwnd):
            cc.pkts_acked(c, 1, rtt_ns // 1000, now)
            cc.cong_avoid(c, 0, 1, now)
        seen.append((now - start, c.cwnd))
    return seen


def after_loss(w_max: int) -> tuple[cubic.Cubic, Any]:
    cc, c = cubic.Cubic(), flow(w_max)
    c.ssthresh = c.cwnd = cc.ssthresh(c)
    return cc, c


@given(st.integers(10, 100_000))
def test_the_reduction(cwnd: int) -> None:
    """Section 4.6: ssthresh = beta * cwnd, at least two."""
    cc, c = cubic.Cubic(), flow(cwnd)
    assert abs(cc.ssthresh(c) - BETA * cwnd) <= 1 + cwnd / 4000
    assert cc.last_max_cwnd == cwnd


@given(st.integers(20, 10_000))
def test_fast_convergence(cwnd: int) -> None:
    """Section 4.7: a loss below the last W_max lets others have some: W_max = cwnd (1 + beta) / 2."""
    cc, c = cubic.Cubic(), flow(cwnd)
    cc.ssthresh(c)
    c.cwnd = lower = cwnd * 3 // 4
    cc.ssthresh(c)
    assert abs(cc.last_max_cwnd - lower * (1 + BETA) / 2) <= 1 + lower / 1000


@pytest.mark.parametrize("w_max", [200, 1000, 5000])
def test_the_cubic(w_max: int) -> None:
    """Section 4.2: W(t) = C (t - K)^3 + W_max with K = cbrt(W_max (1 - beta) / C), on a path so long that Reno would
    be slower."""
    cc, c = after_loss(w_max)
    k = (w_max * (1 - BETA) / C) ** (1 / 3)
    seen = rounds(cc, c, 200 * MS, 2 * k)
    at_k = False
    for when, cwnd in seen[2:]:
        t = when / SECOND
        reno = BETA * w_max + 3 * (1 - BETA) / (1 + BETA) * t / 0.2
        wanted = max(C * (t - k) ** 3 + w_max, reno)
        nextone = max(C * (t + 0.4 - k) ** 3 + w_max, reno + 2)
        assert wanted - 0.06 * w_max - 3 <= cwnd <= nextone + 0.06 * w_max + 3, (t, k, wanted, cwnd)
        at_k = at_k or abs(cwnd - w_max) <= 0.02 * w_max + 2
    assert at_k, "it comes back to W_max, and dwells there"


def test_it_is_never_slower_than_reno() -> None:
    """Section 4.3: on a short path the cubic is flat and Reno's line decides."""
    cc, c = after_loss(40)
    seen = rounds(cc, c, 5 * MS, 1)
    start = 28
    alpha = 3 * (1 - BETA) / (1 + BETA)
    assert seen[-1][1] >= start + 0.8 * alpha * len(seen) * 0.9, seen[-1]


def test_growth_is_bounded() -> None:
    """At most one segment for two acknowledged: 1.5 times a round trip."""
    cc, c = after_loss(100)
    for before, after in zip(pairs := rounds(cc, c, 500 * MS, 60), pairs[1:]):
        assert after[1] <= before[1] * 1.5 + 1


def test_idle_time_is_not_time_of_growth() -> None:
    """Section 4.2: t does not go on while nothing is sent."""
    grown, idle = after_loss(1000), after_loss(1000)
    for cc, c in (grown, idle):
        rounds(cc, c, 100 * MS, 1)
    cc, c = idle
    c.lsndtime_ns = 2 * SECOND
    cc.event(c, TX_START, 62 * SECOND)
    rounds(cc, c, 100 * MS, 1, 62 * SECOND)
    cc, c = grown
    rounds(cc, c, 100 * MS, 1, 2 * SECOND)
    assert abs(idle[1].cwnd - grown[1].cwnd) <= 5, "a minute later it goes on where it was"


def test_a_timeout_forgets_the_epoch() -> None:
    cc, c = after_loss(1000)
    rounds(cc, c, 100 * MS, 1)
    cc.event(c, LOSS, 2 * SECOND)
    assert not cc.epoch_ns and not cc.last_max_cwnd


@given(st.integers(0, 10**21))
def test_cube_root(n: int) -> None:
    root = cubic.cube_root(n)
    assert root**3 <= n < (root + 1) ** 3


# HyStart.


def slow_start(delays_us: list[int], gap_us: int, cwnd: int = 10, paced: bool = False) -> tuple[Any, Any]:
    """Rounds of slow start, each with its delay and its ACKs `gap_us` apart."""
    cc, c = cubic.Cubic(), flow(cwnd)
    c.paced = paced
    now, sent = SECOND, cwnd
    c.snd_nxt = sent
    for delay in delays_us:
        now += delay * 1000
        for _ in range(c.cwnd):
            now += gap_us * 1000
            c.snd_una += 1
            cc.pkts_acked(c, 1, delay, now)
            if c.cwnd >= c.ssthresh:
                return cc, c
            cc.cong_avoid(c, 0, 1, now)
            sent += 2
            c.snd_nxt = sent
    return cc, c


def test_a_train_of_half_the_round_trip_ends_slow_start() -> None:
    _, c = slow_start([100_000] * 8, gap_us=1000)
    assert c.ssthresh < INFINITE_SSTHRESH and 50 <= c.ssthresh <= 140
    assert c.counters.TCPHystartTrainDetect == 1


def test_a_train_of_a_paced_flow_may_take_a_whole_round_trip() -> None:
    """It is pacing that spreads it (Linux's hystart_update)."""
    _, c = slow_start([100_000] * 4, gap_us=1000, paced=True)
    assert c.ssthresh == INFINITE_SSTHRESH and c.cwnd == 160
    _, c = slow_start([100_000] * 8, gap_us=1000, paced=True)
    assert 200 <= c.ssthresh <= 280 and c.counters.TCPHystartTrainDetect == 1


def test_a_delay_that_rises_ends_slow_start() -> None:
    """By an eighth of the smallest, but by 4 ms at least."""
    _, c = slow_start([40_000] * 3 + [44_900] * 5, gap_us=1)
    assert c.ssthresh == INFINITE_SSTHRESH
    _, c = slow_start([40_000] * 3 + [45_200] * 5, gap_us=1)
    assert c.ssthresh < INFINITE_SSTHRESH and c.counters.TCPHystartDelayDetect == 1


def test_below_sixteen_segments_nothing_ends_it() -> None:
    _, c = slow_start([10_000, 60_000], gap_us=1, cwnd=4)
    assert c.ssthresh == INFINITE_SSTHRESH


def test_a_syn_is_no_measure_of_the_delay() -> None:
    cc, c = cubic.Cubic(), flow(10)
    c.state = SYN_SENT
    cc.pkts_acked(c, 1, 5_000, SECOND)
    assert cc.delay_min == 0


# Reno.


@given(st.integers(2, 5_000))
def test_reno_is_rfc_5681(cwnd: int) -> None:
    """Equations 3 and 4: one segment a round trip, half after a loss."""
    reno, c = congestion.create("reno"), flow(cwnd, ssthresh=2)
    for _ in range(cwnd):
        reno.cong_avoid(c, 0, 1, SECOND)  # type: ignore[arg-type]
    assert c.cwnd == cwnd + 1
    assert reno.ssthresh(c) == max((cwnd + 1) // 2, 2)  # type: ignore[arg-type]


@given(st.integers(1, 100), st.integers(1, 300))
def test_slow_start_stops_at_ssthresh(acked: int, ssthresh: int) -> None:
    c = flow(10, ssthresh=10 + ssthresh)
    left = congestion.slow_start(c, acked)
    assert c.cwnd == min(10 + acked, c.ssthresh) and left == max(0, acked - ssthresh)


def test_a_cubic_of_another_scale_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: C of 0.8."""
    monkeypatch.setattr(cubic, "RTT_SCALE", 2 * cubic.RTT_SCALE)
    with pytest.raises(AssertionError):
        test_the_cubic(5000)


def short_path(congestion: str) -> float:
    """Goodput over two milliseconds with a loss in a hundred, in sum over some seeds."""
    way = {"delay": "1ms", "loss": "1%"}
    return sum(Flow(way, way, 2_000_000, congestion, seed).goodput for seed in (1, 2, 3))


def test_on_a_short_path_it_is_no_slower_than_reno() -> None:
    """RFC 9438 section 4.3: Reno's estimate follows every ACK."""
    assert short_path("cubic") > 0.85 * short_path("reno")


def test_an_estimate_that_stands_still_with_cwnd_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: looking again only every 31 ms while cwnd is the same."""
    inner = cubic.Cubic.update

    def seldom(self: cubic.Cubic, cwnd: int, acked: int, now: int, rtt_us: int = 0) -> None:
        if self.epoch_ns and self.last_cwnd == cwnd and now - self.last_ns <= 31 * cubic.MS:
            self.ack_cnt += acked
        else:
            inner(self, cwnd, acked, now)

    reno = short_path("reno")
    monkeypatch.setattr(cubic.Cubic, "update", seldom)
    assert short_path("cubic") < 0.85 * reno


def far_below_a_millisecond() -> float:
    way = {"delay": "120us"}
    return sum(Flow(way | {"loss": "1%"}, way, 2_000_000, "cubic", seed).goodput for seed in (1, 2, 3))


def test_below_a_millisecond_the_cube_is_asked_once_in_many_round_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Linux with a clock of 4 ms; asked each millisecond, it stands still where Linux grows."""
    good = far_below_a_millisecond()
    monkeypatch.setattr(cubic, "JIFFY", MS)
    assert good > 1.1 * far_below_a_millisecond()


@pytest.mark.parametrize(("later", "cnt"), [(93, 7), (97, 3)])
def test_the_round_trip_counts_in_whole_ticks(later: int, cnt: int) -> None:
    """Section 4.2: W(t + RTT), the round trip rounded up to ticks of Linux's usual clock: 149.3 ms are 152."""
    cc = cubic.Cubic()
    cc.last_max_cwnd, cc.delay_min = 10, 149_300
    cc.update(7, 1, SECOND, 150_000)
    cc.update(7, 1, SECOND + later * MS, 150_000)
    assert cc.cnt == cnt
