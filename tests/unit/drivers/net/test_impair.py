"""Impairments around a device: a wire end in virtual time, and a socket pair in real time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from csrc.frame import Frame
from drivers.clock import RealTimeline, VirtualTimeline
from drivers.net.device import COUNTERS, new_counters
from drivers.net.impair import Impaired, Joined, impair
from drivers.net.impairments import Impairments
from drivers.net.wire import Wire

MS = 1_000_000


class Socket:
    """A NetDevice over one end of a datagram socket pair: it has a descriptor, as a TAP has."""

    def __init__(self, name: str, end: socket.socket) -> None:
        self.name, self.mac, self.mtu, self.gso = name, b"\x02" * 6, 1500, False
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.socket = end
        end.setblocking(False)

    def fileno(self) -> int | None:
        return self.socket.fileno()

    def receive(self, budget: int) -> list[Frame]:
        frames = []
        while len(frames) < budget:
            try:
                frames.append(Frame.of(self.socket.recv(65536)))
            except BlockingIOError:
                break
        self.counters["rx_frames"] += len(frames)
        return frames

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        for frame in frames:
            self.counters["tx_frames"] += 1
            self.socket.send(bytes(frame))

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def real() -> Iterator[RealTimeline]:
    line = RealTimeline(seed=3)
    yield line
    line.close()


@pytest.fixture
def pair() -> Iterator[tuple[Socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.settimeout(5)
    yield Socket("tap0", ours), theirs
    ours.close()
    theirs.close()


def numbered(i: int) -> bytes:
    return bytes([i]) * 60


def pump(line: RealTimeline, device: Impaired, interrupt: bool) -> list[tuple[int, int]]:
    """Bind the device as a kernel would, by watching and, if asked, by its interrupt; (time, number) received."""
    got: list[tuple[int, int]] = []

    def take(now: int = 0) -> None:
        while frames := device.receive(8):
            got.extend((line.now, frame.data[0]) for frame in frames)

    if interrupt:
        device.on_receive = take
    fd = device.fileno()
    assert fd is not None
    line.watch(fd, take)
    return got


def turn_until(line: RealTimeline, done: Callable[[], bool]) -> None:
    """Run the timeline until that holds, five seconds at most: the machine may be busy."""
    end = line.now + 5000 * MS
    while not done() and line.now < end:
        line.step(until=end)
    assert done()


@pytest.mark.parametrize("interrupt", [True, False])
def test_both_directions_are_delayed_in_real_time(
    real: RealTimeline, pair: tuple[Socket, socket.socket], interrupt: bool
) -> None:
    inner, far = pair
    device = impair(inner, real, Impairments(delay="3ms"), Impairments(delay="2ms"))
    got = pump(real, device, interrupt)
    start = real.now
    far.send(numbered(1))
    device.transmit([Frame.of(numbered(2)), Frame.of(numbered(3))], start)
    assert inner.counters["tx_frames"] == 0
    turn_until(real, lambda: bool(got) and device.out.delivered == 2)
    assert [n for _, n in got] == [1] and got[0][0] >= start + 2 * MS
    assert real.now >= start + 3 * MS and [far.recv(99)[0] for _ in range(2)] == [2, 3]
    real.unwatch(inner.socket.fileno())


@pytest.mark.parametrize("budget", [1, 3, 7, 8])
def test_what_a_receiver_leaves_behind_is_announced_again(
    real: RealTimeline, pair: tuple[Socket, socket.socket], budget: int
) -> None:
    """Nothing more comes from the device: eight frames arrive at once, and a call takes `budget` of them."""
    inner, far = pair
    device = impair(inner, real, Impairments(), Impairments(delay="2ms"))
    got: list[int] = []
    fd = device.fileno()
    assert fd is not None
    real.watch(fd, lambda now: got.extend(frame.data[0] for frame in device.receive(budget)))
    for i in range(8):
        far.send(numbered(i))
    assert device.receive(100) == [], "all are under way at once"
    turn_until(real, lambda: len(got) == 8)
    assert got == list(range(8))
    assert real.peek() is None, "no timer is left behind"
    real.unwatch(fd)


def test_without_impairments_frames_pass_within_the_call(
    real: RealTimeline, pair: tuple[Socket, socket.socket]
) -> None:
    inner, far = pair
    device = impair(inner, real, Impairments())
    device.transmit([Frame.of(numbered(1))], real.now)
    assert far.recv(99) == numbered(1)
    far.send(numbered(2))
    assert [bytes(frame) for frame in device.receive(8)] == [numbered(2)]
    assert real.peek() is None, "no timer is left behind"


def test_loss_in_each_direction_is_drawn_for_itself(real: RealTimeline, pair: tuple[Socket, socket.socket]) -> None:
    inner, far = pair
    device = impair(inner, real, Impairments(loss="50%"))
    received = 0
    for i in range(200):
        far.send(numbered(i))
        received += len(device.receive(8))
    for i in range(200):
        device.transmit([Frame.of(numbered(i))], real.now)
        far.setblocking(False)
        while True:
            try:
                far.recv(99)
            except BlockingIOError:
                break
    counters = device.counters
    assert 60 < received < 140 and received == 200 - counters["in_lost"]
    assert counters["tx_frames"] == 200 - counters["out_lost"] and 60 < counters["out_lost"] < 140
    assert counters["in_offered"] == counters["out_offered"] == 200
    assert set(COUNTERS) < set(counters)


def test_the_device_is_what_it_wraps(real: RealTimeline, pair: tuple[Socket, socket.socket]) -> None:
    inner, _ = pair
    device = impair(inner, real, Impairments(delay=1))
    assert (device.name, device.mac, device.mtu, device.gso) == ("tap0", inner.mac, 1500, True)
    assert device.fileno() == inner.fileno()
    device.transmit([Frame.of(numbered(1))], real.now)
    device.close()
    assert inner.socket.fileno() == -1 and real.peek() is None


def test_around_a_simulated_device_in_virtual_time() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="1ms"))
    device = impair(wire.b, line, Impairments(delay="10ms"), Impairments(delay="100ms", reorder="0%"))
    times: list[tuple[str, int]] = []
    device.on_receive = lambda: times.extend(("near", line.now) for _ in device.receive(9))
    wire.a.on_receive = lambda: times.extend(("far", line.now) for _ in wire.a.receive(9))
    wire.a.transmit([Frame.of(numbered(1))], 0)
    device.transmit([Frame.of(numbered(2))], 0)
    line.run()
    assert times == [("far", 11 * MS), ("near", 101 * MS)]


def test_a_receiver_that_never_comes_costs_bounded_memory() -> None:
    line = VirtualTimeline()
    wire = Wire(line)
    device = impair(wire.b, line, Impairments())
    for _ in range(5):
        wire.a.transmit([Frame.of(numbered(1))] * 1000, line.now)
        line.run()
    assert device.counters["rx_dropped"] == 5000 - 4096
    assert len(device.receive(9999)) == 4096


def test_two_devices_joined(real: RealTimeline) -> None:
    ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    a, b = (Socket(f"tap{i}", ends[i][0]) for i in range(2))
    joined = Joined(real, a, b, Impairments(delay="2ms"), Impairments())
    start = real.now
    ends[0][1].send(numbered(1))
    ends[1][1].send(numbered(2))
    turn_until(real, lambda: joined.a_to_b.delivered == joined.b_to_a.delivered == 1)
    assert real.now >= start + 2 * MS
    assert ends[1][1].recv(99) == numbered(1) and ends[0][1].recv(99) == numbered(2)
    joined.close()
    ends[0][1].send(numbered(3))
    assert not real.step(block=False)
    for end in ends:
        end[0].close()
        end[1].close()


def test_simulated_devices_are_not_joined(real: RealTimeline) -> None:
    wire = Wire(real)
    with pytest.raises(ValueError, match="use Wire"):
        Joined(real, wire.a, wire.b, Impairments())
