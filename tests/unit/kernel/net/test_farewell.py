"""A machine stops: what was sent arrives, and nobody is left waiting for it."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.net import farewell
from terrella import Lab
from userland import abi
from userland.lib import System

MS = 1_000_000
BLOCK = bytes(range(256)) * 4096


def serve(sys: System, taken: list[int]) -> None:
    """Sends as much as the send buffer takes, and holds on to the connection."""
    fd = sys.socket(abi.AF_INET, abi.SOCK_STREAM, 0)
    sys.bind(fd, ("0.0.0.0", 80))
    sys.listen(fd, 8)
    while True:
        peer, _ = sys.accept4(fd, abi.SOCK_NONBLOCK)
        n = 0
        try:
            while True:
                n += sys.sendto(peer, BLOCK)
        except BlockingIOError:
            taken.append(n)


def read(sys: System, after_ns: int, got: list[Any]) -> None:
    """Connects, reads nothing until then, and after that all there is. What it got, and how it ended."""
    fd = sys.socket(abi.AF_INET, abi.SOCK_STREAM, 0)
    sys.setsockopt(fd, abi.SOL_SOCKET, abi.SO_RCVBUF, 20_000)
    sys.connect(fd, ("10.0.0.1", 80))
    sys.nanosleep(after_ns)
    n = 0
    try:
        while data := sys.read(fd, 65536):
            n += len(data)
        got.extend((n, "end"))
        sys.close(fd)
    except ConnectionResetError:
        got.extend((n, "reset"))


def stopped(after_ms: int, close: bool = False, **link: Any) -> tuple[int, list[Any], float]:
    """A server stopped 100 ms after it began: bytes that it sent, what its client says, and how long it took (ms)."""
    taken: list[int] = []
    got: list[Any] = []
    with Lab(seed=4) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, **link)
        a.spawn(serve, taken)
        b.spawn(read, after_ms * MS, got)
        lab.run(until="100ms")
        begin = lab.now
        if close:
            a.machine.close()
        else:
            a.machine.shut_down()
            a.machine.close()
        took = lab.now - begin
        lab.run(until="20s")
    return taken[0], got, took / MS


@pytest.mark.parametrize(("after_ms", "most_ms"), [(20, 10), (200, 200)])
def test_what_was_sent_arrives(after_ms: int, most_ms: int) -> None:
    """Also where the peer begins to read only while the machine stops."""
    sent, got, took = stopped(after_ms, rate="1Gbit", delay="1ms")
    assert got == [sent, "end"]
    assert took <= most_ms


def test_a_loss_on_the_way() -> None:
    sent, got, took = stopped(150, rate="1Gbit", delay="1ms", loss="5%")
    assert got == [sent, "end"]
    assert took < 5000


def test_a_window_that_stays_full() -> None:
    """After a second without news the peer gets a RST, and what it has not read stays readable."""
    sent, got, took = stopped(3000, rate="1Gbit", delay="1ms")
    assert 0 < got[0] < sent and got[1] == "reset"
    assert 1000 <= took < 1100


def test_a_peer_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it acknowledges, there is an end."""
    monkeypatch.setattr(farewell, "MOST_NS", 300 * MS)
    sent, got, took = stopped(20, rate="100kbit", delay="1ms")
    assert 0 < got[0] < sent and got[1] == "reset"
    assert 300 <= took < 320


def test_somebody_is_in_a_hurry() -> None:
    asked = iter([False, False, False])
    got: list[Any] = []
    with Lab(seed=4) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b)
        a.spawn(serve, [])
        b.spawn(read, 500 * MS, got)
        lab.run(until="100ms")
        assert a.machine.shut_down(lambda: next(asked, True)) == 1
        assert lab.now <= 120 * MS
        lab.run(until="2s")
    assert got[1] == "reset"


def test_without_it_the_peer_hangs() -> None:
    """The negative control: devices that go at once leave a client that never hears of it."""
    assert stopped(200, close=True, rate="1Gbit", delay="1ms")[1] == []
