"""Longest-prefix match against a brute-force search of the list of routes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.interface import Interface
from netstack.route import Route, RouteTable

BITS = st.integers(0, 32)
# Few distinct high bits, so that prefixes nest.
ADDRESS = st.builds(
    lambda a, b: (a << 24 | b).to_bytes(4, "big"), st.sampled_from([10, 11, 192]), st.integers(0, 2**24 - 1)
)


@given(st.lists(st.tuples(ADDRESS, BITS, st.integers(0, 3)), max_size=30), st.lists(ADDRESS, min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_lookup_equals_brute_force(routes: list[tuple[bytes, int, int]], probes: list[bytes]) -> None:
    table = RouteTable()
    interface = Interface("eth0", 1, None, 1500, False)
    kept: list[Route] = []
    for address, prefix, metric in routes:
        value = int.from_bytes(address, "big") >> (32 - prefix) << (32 - prefix)
        route = Route(value.to_bytes(4, "big"), prefix, interface, metric=metric)
        try:
            table.add(route)
        except OSError:
            continue
        kept.append(route)

    def brute(dst: bytes) -> Route | None:
        best = None
        for route in kept:
            shift = 32 - route.prefix
            if int.from_bytes(dst, "big") >> shift != int.from_bytes(route.network, "big") >> shift:
                continue
            if best is None or (route.prefix, -route.metric) > (best.prefix, -best.metric):
                best = route
        return best

    for dst in probes + [route.network for route in kept]:
        assert table.lookup(dst) is brute(dst)
    while kept:
        gone = kept.pop()
        table.remove(gone.network, gone.prefix, gone.metric)
        for dst in probes:
            assert table.lookup(dst) is brute(dst)
    assert table.all() == []


def test_changes_change_the_generation() -> None:
    table = RouteTable()
    interface = Interface("eth0", 1, None, 1500, False)
    before = table.generation
    table.add(Route(bytes(4), 0, interface))
    assert table.generation > before
    with pytest.raises(OSError):
        table.add(Route(bytes(4), 0, interface))
