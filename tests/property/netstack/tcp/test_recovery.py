"""Loss recovery: what is retransmitted was lost, whatever the clock is like."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netstack.tcp import rack, recovery, scoreboard
from tests.property.netstack.tcp.pair import MS, Mover, Pair, S
from tests.property.netstack.tcp.test_delivery import consistent, payload

DROPS = st.lists(st.integers(3, 200), max_size=12)
"""Which of the sender's packets vanish; 0 to 2 are the handshake's."""


def bulk(pair: Pair, size: int) -> dict[str, int]:
    """`size` bytes from a to b; how it went."""
    client, server = pair.established()
    mover = Mover(client, server, payload(size), 65536, 1 << 20)
    end = pair.now + 600 * S
    while not mover.done and pair.now < end:
        mover.turn(pair.now)
        consistent(pair)
        if not pair.step(end):
            break
    assert bytes(mover.got) == payload(size)
    counters = pair.stacks["a"].counters
    heard = pair.stacks["b"].counters.tcpext
    return {
        "retransmitted": counters.tcp.RetransSegs,
        "timeouts": counters.tcpext.TCPTimeouts,
        "probes": counters.tcpext.TCPLossProbes,
        "duplicates": heard.TCPDSACKOldSent + heard.TCPDSACKOfoSent,
    }


def dropping(drops: list[int], **names: Any) -> Pair:
    fates = [("drop", 0) if n in drops else ("deliver", 0) for n in range(201)]
    return Pair(10 * MS, {"a": fates, "b": []}, **names)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(drops=DROPS, congestion=st.sampled_from(["reno", "cubic"]), gso=st.booleans())
@example(drops=[80, 82, 88, 123, 144, 169, 170, 174], congestion="reno", gso=False)  # more holes than SACK has blocks
def test_only_what_was_lost_is_sent_again(drops: list[int], congestion: str, gso: bool) -> None:
    """A wire that drops data and does nothing else: without a timeout nothing but probes arrives twice, however many
    ACKs one instant brings."""
    seen = bulk(dropping(drops, gso=gso, net__ipv4__tcp_congestion_control=congestion), 250_000)
    if not seen["timeouts"]:
        assert seen["duplicates"] <= seen["probes"], seen
        assert seen["retransmitted"] <= len(set(drops)) + seen["probes"], seen


def test_a_rack_that_goes_by_sequence_numbers_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: of two transmissions in one instant, the one with the higher number taken for the later."""
    inner = rack.detect_loss

    def by_time(c: Any, now: int) -> int:
        for rec in c.rtx:
            rec.order = rec.xmit_ns
        return inner(c, now)

    def advance(c: Any, rec: Any, marks: int, now: int) -> None:
        c.rack_advanced = True
        c.rack_rtt_us = (now - rec.xmit_ns) // 1000
        if rec.xmit_ns > c.rack_order or (rec.xmit_ns == c.rack_order and rec.end > c.rack_end):
            c.rack_order, c.rack_end = rec.xmit_ns, rec.end

    monkeypatch.setattr(rack, "detect_loss", by_time)
    monkeypatch.setattr(scoreboard, "rack_advance", advance)
    from netstack.tcp import ack

    monkeypatch.setattr(ack, "rack_advance", advance)
    with pytest.raises(AssertionError):
        for n in range(40, 80):
            test_only_what_was_lost_is_sent_again.hypothesis.inner_test([n], "reno", False)  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(
    cwnd=st.integers(1, 40), beta=st.sampled_from([(1, 2), (717, 1024)]), pipe=st.integers(1, 60),
    delivered=st.lists(st.integers(1, 6), max_size=20),
)
@example(cwnd=1, beta=(1, 2), pipe=9, delivered=[3])  # a timeout left one; of that, the least ssthresh is the double
def test_a_reduction_sends_no_more_than_was_delivered(
    cwnd: int, beta: tuple[int, int], pipe: int, delivered: list[int]
) -> None:
    """RFC 6937: but for the fast retransmit, and for what brings a pipe that is below ssthresh up to it."""
    ssthresh = max(2, cwnd * beta[0] // beta[1])
    c: Any = SimpleNamespace(cwnd=cwnd, prior_cwnd=cwnd, ssthresh=ssthresh, prr_delivered=0, prr_out=0)
    c.in_flight = lambda: pipe
    arrived = 0
    for count in delivered:
        arrived += count
        pipe = max(0, pipe - count)
        recovery.cwnd_reduction(c, count, 0, 0, 0)
        sent = max(0, c.cwnd - pipe)
        pipe += sent
        c.prr_out += sent
        assert c.prr_out <= max(1, arrived) or pipe <= ssthresh, (c.cwnd, pipe)
