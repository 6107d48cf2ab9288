"""Initial sequence numbers (RFC 6528 section 3): ISN = M + F(addresses, ports, secret). For one pair of ports they
follow the clock, and from one to the next nothing can be told.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from netstack.settings import Settings
from netstack.stack import Stack
from netstack.tcp.engine import Tcp
from tests.unit.netstack.tcp.kit import MASK, Peer

TICK_NS = 64
"""One step of M, on Linux and here (RFC 9293 section 3.4.1 wants some 4 us; faster is further from a reused number)."""
REMOTE = "10.0.0.2"
times = st.integers(1, 2**44)
ports = st.integers(1, 65535)
seeds = st.integers(0, 2**32)


def asked(seed: int, port: int, now: int, local: int = 0) -> int:
    """The sequence number of the SYN of a connection that a fresh machine opens at `now`."""
    stack = Stack(random.Random(seed), Settings())
    stack.add_interface("tun0")
    stack.add_address("tun0", "10.0.0.1/24")
    stack.now = now
    sock = stack.socket(2, 1)
    sock.bind(("", local or 40_000))
    with pytest.raises(BlockingIOError):
        sock.connect((REMOTE, port), now)
    [(_, frame)] = stack.transmit(now)
    return int.from_bytes(bytes(frame)[24:28], "big")


def answered(port: int, wait_ms: int) -> int:
    """The sequence number of a server's SYN-ACK to a client at that port, after so long."""
    peer = Peer()
    peer.listen()
    peer.wait(wait_ms)
    peer.rport = port
    peer.send("S 0:0(0) win 65535 <mss 1000>")
    peer.queue.clear()
    return peer.local_isn


def follows_the_clock() -> None:
    @settings(max_examples=40, phases=(Phase.generate,), database=None)
    @given(seeds, ports, times, times)
    def check(seed: int, port: int, first: int, second: int) -> None:
        moved = (asked(seed, port, second) - asked(seed, port, first)) & MASK
        assert moved == (second // TICK_NS - first // TICK_NS) & MASK

    check()


def says_nothing_of_others() -> None:
    found = [asked(1, port, 10**9) for port in range(1, 200)]
    steps = {(b - a) & MASK for a, b in itertools.pairwise(found)}
    assert len(set(found)) == len(found) and len(steps) == len(found) - 1
    # Of 199 numbers about as many lie in each quarter of all there are.
    assert all(25 < sum(number >> 30 == quarter for number in found) < 75 for quarter in range(4))
    assert len({asked(1, 80, 10**9, local) for local in range(1000, 1050)}) == 50
    assert len({asked(seed, 80, 10**9) for seed in range(50)}) == 50, "the secret is the machine's own"


def servers_have_them_too() -> None:
    assert (answered(5000, 700) - answered(5000, 200)) & MASK == 500_000_000 // TICK_NS
    found = [answered(port, 100) for port in range(1, 100)]
    assert len({(b - a) & MASK for a, b in itertools.pairwise(found)}) == len(found) - 1


CHECKS = (follows_the_clock, says_nothing_of_others, servers_have_them_too)


@pytest.mark.parametrize("check", CHECKS)
def test_initial_sequence_numbers(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (lambda self, key, now: 0, follows_the_clock),
        (lambda self, key, now: now // TICK_NS & MASK, says_nothing_of_others),
        (lambda self, key, now: (now // TICK_NS + key[-1] * 64_000) & MASK, servers_have_them_too),
    ],
)
def test_other_numbers_are_noticed(
    broken: Callable[[Tcp, bytes, int], int], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tcp, "isn", broken)
    with pytest.raises(AssertionError):
        check()
