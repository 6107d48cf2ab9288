"""Bulk flows of one process share a device evenly, also where it takes super-segments whole, as a TAP does.

There the peer sees, and acknowledges, 64 KiB at a time, and what a flow gets is decided by how much each may have
queued: by its congestion window and its send buffer, which are to grow alike (Linux's tcp_should_expand_sndbuf).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from drivers.net.device import new_counters
from netstack.tcp.connection import Connection
from terrella import Lab
from userland import abi, chargen
from userland.lib import System, listen_on
from userland.reactor import Flow, Reactor

MS = 1_000_000


class End:
    """One end of a cable that carries frames as they are, one after the other, at `ns_per_byte` / 1024."""

    gso = True
    mtu = 1500

    def __init__(self, name: str, mac: bytes, timeline: VirtualTimeline, pace: int) -> None:
        self.name = name
        self.mac: bytes | None = mac
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.peer: End = self
        self._pace = pace
        self._line: deque[Frame] = deque()
        self._ring: list[Frame] = []
        self._timer = timeline.timer(self._sent)

    def fileno(self) -> int | None:
        return None

    def receive(self, budget: int) -> list[Frame]:
        ring, self._ring = self._ring, []
        return ring

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        for frame in frames:
            whole = Frame(b"".join((frame.data, *frame.frags)), (), frame.length)
            whole.csum_ok = True
            whole.gso_size = frame.gso_size
            whole.gso_segs = -(-frame.length // frame.gso_size) if frame.gso_size else 1
            self._line.append(whole)
        self._next(now)

    def _next(self, now: int) -> None:
        if self._line and self._timer.deadline is None:
            self._timer.arm(now + 1_000 + (self._line[0].length * self._pace >> 10))

    def _sent(self, now: int) -> None:
        peer = self.peer
        peer._ring.append(self._line.popleft())
        if len(peer._ring) == 1 and peer.on_receive is not None:
            peer.on_receive()
        self._next(now)

    def close(self) -> None:
        self._timer.disarm()


def serve(sys: System, work_ns: int) -> None:
    """chargen, which has something to do before each of its turns."""

    def tcp(sys: System, fd: int, peer: Any) -> Flow:
        flow = chargen.tcp(sys, fd, peer)
        interest = next(flow)
        while True:
            events = yield interest
            sys.cpu(work_ns)
            interest = flow.send(events)

    reactor = Reactor(sys, "chargen")
    reactor.listen(listen_on(sys, 19, flags=abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC), tcp)
    reactor.run()


def read(sys: System, late_ns: int, end_ns: int, got: list[int]) -> None:
    """Takes what comes until `end_ns`; counts what comes in the second half."""
    sys.nanosleep(late_ns)
    fd = sys.socket(abi.AF_INET, abi.SOCK_STREAM, 0)
    sys.connect(fd, ("10.0.0.1", 19))
    mine = len(got)
    got.append(0)
    while (now := sys.clock_gettime(abi.CLOCK_MONOTONIC)) < end_ns:
        n = len(sys.read(fd, 1 << 20))
        if now > end_ns >> 1:
            got[mine] += n


def shares(late_ms: int, pace: int, work_us: int, flows: int = 2) -> list[int]:
    """How much each of the flows got. Each begins so much after the one before; the server works so long a turn."""
    got: list[int] = []
    with Lab(seed=3) as lab:
        a = lab.host("a", "10.0.0.1/24")
        b = lab.host("b", "10.0.0.2/24", cpus=flows)
        ends = [End(host.name, host.mac(), lab.timeline, pace) for host in (a, b)]
        for host, end, peer in zip((a, b), ends, reversed(ends)):
            end.peer = peer
            host.plug(end)
        a.spawn(serve, work_us * 1000)
        for i in range(flows):
            b.spawn(read, (1 + i * late_ms) * MS, 200 * MS, got)
        lab.run(until="210ms")
    return got


CASES = [(0, 300, 0), (2, 300, 200), (10, 300, 200), (5, 300, 300)]


@pytest.mark.parametrize("case", CASES)
def test_equal_flows_share(case: tuple[int, int, int]) -> None:
    got = shares(*case)
    assert min(got) > 0.8 * max(got), got


def test_a_send_buffer_that_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: where buffers grow only while the congestion window is full, one that began small stays
    small, and so does its share: not always, for it depends on when the first ACKs come."""

    def check_space(self: Any, now: int) -> None:
        if self.was_full:
            if self.cwnd <= self.packets_out + 2 * self.reordering + 1:
                self.expand_sndbuf()
            if self.writable():
                self.was_full = False
                self.wake_pending = self.wake_all = True

    monkeypatch.setattr(Connection, "check_space", check_space)
    found = [shares(*case) for case in CASES]
    assert min(min(got) / max(got) for got in found) < 0.2, found
