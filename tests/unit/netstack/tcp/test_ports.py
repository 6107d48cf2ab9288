"""Which sockets may share a local port."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.tcp.ports import waits_in_the_way
from netstack.tcp.timewait import TimeWait
from tests.unit.netstack.tcp.kit import Loop

FOUR, SIX, ANY4, ANY6 = bytes([10, 0, 0, 1]), bytes.fromhex("fd00" + 28 * "0"), bytes(4), bytes(16)


def socket(reuse: bool = False, v6only: bool = False) -> Any:
    return SimpleNamespace(reuse_addr=reuse, flags={}, v6only=v6only)


def waiting(address: bytes, reuse: bool = False) -> Any:
    return SimpleNamespace(reuse_addr=reuse, reuse_port=False, key=address + address + b"\1\2\3\4")


@pytest.mark.parametrize(
    ("address", "v6only", "theirs", "wanted"),
    [
        (FOUR, False, FOUR, True), (FOUR, False, bytes([10, 0, 0, 2]), False), (FOUR, False, SIX, False),
        (ANY4, False, FOUR, True), (ANY4, False, SIX, False), (ANY6, False, FOUR, True), (ANY6, True, FOUR, False),
        (ANY6, True, SIX, True), (SIX, False, SIX, True),
    ],
)  # fmt: skip
def test_a_connection_in_time_wait_keeps_the_port_of_its_address(
    address: bytes, v6only: bool, theirs: bytes, wanted: bool
) -> None:
    assert waits_in_the_way(socket(v6only=v6only), address, waiting(theirs)) == wanted
    assert not waits_in_the_way(socket(True, v6only), address, waiting(theirs, True)), "SO_REUSEADDR on both sides"


KINDS = st.sampled_from(["client", "server", "wait", "again"])


@given(st.lists(st.tuples(KINDS, st.sampled_from([80, 81])), max_size=30))
def test_time_wait_is_found_by_its_port(steps: list[tuple[str, int]]) -> None:
    """Whoever closes first, when they expire, and where a connection takes over the ports of one that is over."""
    loop = Loop()
    engine = loop.stack.tcp
    for what, port in steps:
        if what == "wait":
            loop.wait(23_000_000_000)
        else:
            loop.now += 1_000_000
            client, server = loop.connection(port, 5000 if what == "again" else 0)
            loop.close(*((server, client) if what == "server" else (client, server)))
        waiting: dict[int, list[Any]] = {}
        for entry in engine.table.values():
            if isinstance(entry, TimeWait):
                waiting.setdefault(entry.lport, []).append(entry)
        assert engine.tw_count == sum(map(len, waiting.values()))
        assert {port: set(engine.time_waits(port)) for port in engine.tw_ports} == {
            p: set(w) for p, w in waiting.items()
        }
    loop.wait(120_000_000_000)
    assert not engine.tw_ports and not engine.tw_count


class Unscanned(dict[bytes, Any]):
    """A table that nobody may walk through."""

    def values(self) -> Any:
        raise AssertionError("every connection is looked at")

    __iter__ = items = keys = values


def test_bind_does_not_look_at_every_connection() -> None:
    loop = Loop()
    idle = [loop.connection(80) for _ in range(20)]
    loop.close(*loop.connection(80))
    loop.stack.tcp.table = Unscanned(loop.stack.tcp.table)
    assert loop.stack.tcp.tw_count == 1 and len(idle) == 20
    for port in (0, 5000):
        loop.bound(port).close(loop.now)
    with pytest.raises(AssertionError):
        list(loop.stack.tcp.table.values())
