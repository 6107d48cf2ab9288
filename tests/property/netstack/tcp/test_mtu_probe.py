"""A path that swallows what is too large for it and says nothing (RFC 4821): the bytes arrive, and the search ends with
what the path takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstack.tcp import mtuprobe
from tests.property.netstack.tcp.pair import MS, Pair, S
from tests.property.netstack.tcp.test_delivery import FATES, exchange, payload


class Narrow(Pair):
    """A wire (without Ethernet) that carries packets of at most `takes` bytes."""

    def __init__(self, takes: int, *rest: Any, **named: Any) -> None:
        self.takes = takes
        super().__init__(*rest, **named)

    def carry(self, side: str, other: str, image: bytes) -> None:
        if len(image) <= self.takes:
            super().carry(side, other, image)

    def not_silly(self, c: Any, seq: int, length: int) -> None:
        """A probe has a length of its own."""
        if c.mtup is None or not c.mtup.size or seq != c.mtup.begin:
            super().not_silly(c, seq, length)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    takes=st.integers(600, 1500), probing=st.sampled_from([1, 2]), fates=FATES, sack=st.integers(0, 1),
    stamps=st.integers(0, 1), up=st.integers(0, 150_000), gso=st.booleans(),
)  # fmt: skip
def test_a_narrow_path_delivers(
    takes: int, probing: int, fates: Any, sack: int, stamps: int, up: int, gso: bool
) -> None:
    pair = Narrow(
        takes, 10 * MS, fates, gso=gso, net__ipv4__tcp_mtu_probing=probing, net__ipv4__tcp_base_mss=536,
        net__ipv4__tcp_sack=sack, net__ipv4__tcp_timestamps=stamps, net__ipv4__tcp_syn_retries=100,
        net__ipv4__tcp_synack_retries=100, net__ipv4__tcp_retries2=100,
    )  # fmt: skip
    exchange(pair, payload(up), payload(3000), 20_000, 200_000)


def search(takes: int, sack: int) -> Any:
    """The connection after two megabytes."""
    pair = Narrow(
        takes, 10 * MS, net__ipv4__tcp_mtu_probing=2, net__ipv4__tcp_base_mss=536, net__ipv4__tcp_sack=sack,
        terrella__tcp_init_cwnd=20, net__ipv4__tcp_rmem=(4096, 131072, 131072),
    )  # fmt: skip
    client, server = pair.established()
    left = 2_000_000
    for _ in range(20_000):
        try:
            left -= client.send(bytes(min(left, 30_000)), pair.now) if left else 0
        except BlockingIOError:
            pass
        if not pair.step(pair.now + S):
            break
        try:
            server.recv(1 << 20, pair.now)
        except BlockingIOError:
            pass
    assert not left
    return client.conn


@settings(max_examples=15, deadline=None)
@given(takes=st.integers(600, 1500), sack=st.integers(0, 1))
def test_the_search_ends_with_what_the_path_takes(takes: int, sack: int) -> None:
    c = search(takes, sack)
    assert c.mtup.low <= takes <= c.mtup.high
    assert c.mtup.high - c.mtup.low < c.settings.tcp_probe_threshold
    assert c.mss_cache == mtuprobe.mss_of(c, c.mtup.low)


def test_a_search_that_does_not_see_losses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the loss of a probe counts as congestion, and the search stays where it is."""
    monkeypatch.setattr(mtuprobe, "failed", lambda c, now: False)
    c = search(900, 1)
    assert c.mtup.high > 1400
