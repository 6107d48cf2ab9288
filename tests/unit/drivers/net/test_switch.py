"""The learning switch: who sees which frame."""

from __future__ import annotations

from csrc.frame import Frame
from drivers.clock import SECOND, VirtualTimeline
from drivers.net.impairments import Impairments
from drivers.net.switch import Switch

MACS = [bytes([2, 0, 0, 0, 0, i]) for i in range(8)]
BROADCAST = b"\xff" * 6


class Net:
    """A switch with hosts; `send` says which hosts get the frame."""

    def __init__(self, hosts: int = 3, **options: int) -> None:
        self.line = VirtualTimeline()
        self.switch = Switch(self.line, **options)  # type: ignore[arg-type]
        self.hosts = [self.switch.attach(MACS[i]) for i in range(hosts)]

    def send(self, host: int, source: bytes, target: bytes) -> list[int]:
        self.hosts[host].transmit([Frame.of(target + source + b"\x08\x00" + bytes(46))], self.line.now)
        self.line.run(until=self.line.now + 1)
        return [i for i, port in enumerate(self.hosts) if port.receive(9)]


def test_floods_what_it_does_not_know_and_forwards_what_it_does() -> None:
    net = Net()
    assert net.send(0, MACS[0], MACS[1]) == [1, 2]
    assert net.send(1, MACS[1], MACS[0]) == [0]
    assert net.send(0, MACS[0], MACS[1]) == [1]
    assert net.send(2, MACS[2], BROADCAST) == [0, 1]
    assert net.send(0, MACS[0], bytes.fromhex("01005e000001")) == [1, 2]


def test_a_host_that_moves_is_found_at_its_new_port() -> None:
    net = Net()
    net.send(0, MACS[5], BROADCAST)
    net.send(2, MACS[5], BROADCAST)
    assert net.send(1, MACS[1], MACS[5]) == [2]


def test_frames_for_the_port_they_came_from_are_filtered() -> None:
    net = Net()
    net.send(0, MACS[5], BROADCAST)
    assert net.send(0, MACS[0], MACS[5]) == [] and net.switch.counters["filtered"] == 1


def test_silent_addresses_age_and_heard_ones_do_not() -> None:
    net = Net(ageing_ns=10 * SECOND)
    net.send(0, MACS[0], BROADCAST)
    net.line.run(until=9 * SECOND)
    net.send(1, MACS[1], BROADCAST)
    assert net.send(2, MACS[2], MACS[0]) == [0]
    net.line.run(until=12 * SECOND)
    assert net.send(2, MACS[2], MACS[0]) == [0, 1]
    assert net.send(2, MACS[2], MACS[1]) == [1]


def test_group_sources_reserved_targets_and_runts_go_nowhere() -> None:
    net = Net()
    assert net.send(0, BROADCAST, MACS[1]) == []
    assert net.send(0, MACS[0], bytes.fromhex("0180c200000e")) == []
    assert net.send(0, MACS[0], bytes.fromhex("0180c2000010")) == [1, 2]
    net.hosts[0].transmit([Frame.of(b"short")], net.line.now)
    net.line.run()
    assert net.switch.counters["invalid"] == 3 and net.switch.where(BROADCAST) is None


def test_the_table_is_bounded_and_makes_room_by_age_only() -> None:
    net = Net(table_size=2, ageing_ns=10 * SECOND)
    for i in (3, 4, 5):
        net.send(0, MACS[i], BROADCAST)
    assert [net.switch.where(MACS[i]) for i in (3, 4, 5)] == [0, 0, None]
    assert net.switch.counters["table_full"] == 1
    net.line.run(until=11 * SECOND)
    net.send(0, MACS[5], BROADCAST)
    assert [net.switch.where(MACS[i]) for i in (3, 4, 5)] == [None, None, 0]


def test_room_is_made_by_the_longest_silent_address() -> None:
    net = Net(table_size=2, ageing_ns=10 * SECOND)
    net.send(0, MACS[3], BROADCAST)
    net.send(0, MACS[4], BROADCAST)
    net.line.run(until=9 * SECOND)
    net.send(0, MACS[3], BROADCAST)
    net.line.run(until=12 * SECOND)
    net.send(0, MACS[5], BROADCAST)
    assert [net.switch.where(MACS[i]) for i in (3, 4, 5)] == [0, None, 0]


def test_each_cable_has_its_impairments() -> None:
    line = VirtualTimeline()
    switch = Switch(line)
    a = switch.attach(MACS[0], Impairments(delay=100), Impairments(delay=7))
    b = switch.attach(MACS[1], None, Impairments(delay=20))
    at: list[int] = []
    b.on_receive = lambda: at.append(line.now)
    a.transmit([Frame.of(MACS[1] + MACS[0] + bytes(48))], 0)
    line.run()
    assert at == [120]
    switch.close()
