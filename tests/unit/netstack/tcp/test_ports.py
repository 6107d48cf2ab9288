"""Which sockets may share a local port."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netstack.tcp import ports
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


def test_bind_at_another_address_looks_at_no_accepted_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    stack, engine = loop.stack, loop.stack.tcp
    served = [loop.connection(80)[1] for _ in range(20)]
    looked: list[Any] = []

    def conflicts(*which: Any) -> bool:
        looked.append(which[2])
        return real(*which)

    real = ports.conflicts
    monkeypatch.setattr(ports, "conflicts", conflicts)
    assert not engine.port_conflict(stack.socket(2, 1, 0), bytes([127, 0, 0, 2]), 80)
    assert looked == [loop.listeners[80]]
    assert engine.port_conflict(stack.socket(2, 1, 0), bytes([127, 0, 0, 1]), 80)
    looked.clear()
    loop.listeners.pop(80).close(loop.now)
    assert engine.port_conflict(stack.socket(2, 1, 0), bytes([127, 0, 0, 1]), 80), "they hold it without the listener"
    assert looked == served[:1]


STEPS = st.lists(
    st.tuples(st.sampled_from(["bind", "connect", "accept", "close", "ask"]), st.integers(0, 7), st.booleans()),
    max_size=30,
)


@example([("accept", 1, False), ("close", 0, False), ("ask", 2, False), ("ask", 3, False), ("ask", 5, False)])
@given(STEPS)
def test_who_keeps_a_port_from_whom(steps: list[tuple[str, int, bool]]) -> None:
    """As if each socket of the port were asked; and in the end nobody holds any."""
    loop = Loop()
    stack, engine = loop.stack, loop.stack.tcp
    addresses = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::1", "::ffff:127.0.0.2", "127.0.0.3", "::ffff:127.0.0.1"]

    def socket(i: int, reuse: bool) -> tuple[Any, tuple[str, int]]:
        sock = stack.socket(10 if ":" in addresses[i] else 2, 1, 0)
        sock.setsockopt(1, 2, int(reuse))
        return sock, (addresses[i], 80)

    server = stack.socket(10, 1, 0)
    server.setsockopt(1, 2, 1)
    server.bind(("::", 90))
    server.listen(50)
    held = [server]
    gone: list[Any] = []  # a connection that closes holds its port until it is over
    for what, i, reuse in steps:
        if what == "bind":
            sock, where = socket(i, reuse)
            held.append(sock)
            with contextlib.suppress(OSError):
                sock.bind(where)
        elif what == "connect" and held and held[-1].conn is None and held[-1].listener is None:
            with contextlib.suppress(OSError):
                held[-1].connect(("127.0.0.1" if held[-1].family == 2 else "::1", 81), loop.now)
            loop.settle()
        elif what == "accept" and not server.closed:
            client = stack.socket(2 if i < 4 else 10, 1, 0)
            with contextlib.suppress(BlockingIOError):
                client.connect((f"127.0.0.{i + 1}" if i < 4 else "::1", 90), loop.now)
            loop.settle()
            held += [client, server.accept(loop.now)[0]]
        elif what == "close" and held:
            gone.append(held.pop(i % len(held)))
            gone[-1].close(loop.now)
            loop.settle()
        for port in (80, 90):
            sock, where = socket(i, reuse)
            address = sock.parse_address(where)[0]
            everybody = [*held, *gone, *loop.listeners.values()]
            everybody = [one for one in everybody if one.port_held and one.local[1] == port]
            wanted = any(ports.conflicts(sock, address, one, False) for one in everybody)
            group = engine.bound.get(port, {})
            assert ports.taken(sock, address, group, False) == wanted
    for sock in [*held, *loop.listeners.values()]:
        sock.close(loop.now)
        loop.settle()
    loop.wait(200_000_000_000)
    assert not engine.bound
