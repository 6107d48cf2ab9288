"""Scapy on an emulated wire against a whole stack: what its users do on a real network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from drivers.clock import SECOND, VirtualTimeline
from drivers.net.impairments import Impairments
from drivers.net.scapy_socket import ScapySocket
from drivers.net.wire import Wire
from netstack.stack import Stack

scapy_all = pytest.importorskip("scapy.all")
IP, TCP, UDP, ICMP, ARP, Ether = (getattr(scapy_all, n) for n in ("IP", "TCP", "UDP", "ICMP", "ARP", "Ether"))
DELAY = 10_000_000
pytestmark = pytest.mark.interop


class Host:
    """A stack bound to a port of a wire: what a kernel does, without one."""

    def __init__(self, timeline: VirtualTimeline, port: Any) -> None:
        self.timeline = timeline
        self.port = port
        self.stack = Stack(timeline.stream("host"))
        self.stack.add_interface("eth0", mac=port.mac, mtu=port.mtu)
        self.stack.add_address("eth0", "10.0.0.2/24")
        self.timer = timeline.timer(self.deadline)
        port.on_receive = self.interrupt

    def interrupt(self) -> None:
        while frames := self.port.receive(64):
            for frame in frames:
                self.stack.receive("eth0", frame, self.timeline.now)
        self.drive()

    def deadline(self, now: int) -> None:
        self.stack.on_deadline(now)
        self.drive()

    def drive(self) -> None:
        now = self.timeline.now
        for _, frame in self.stack.transmit(now):
            self.port.transmit([frame], now)
        at = self.stack.next_deadline()
        if at is None:
            self.timer.disarm()
        else:
            self.timer.arm(at)


@pytest.fixture
def world() -> Any:
    timeline = VirtualTimeline(seed=5)
    macs = (b"\x02\0\0\0\0\x09", b"\x02\0\0\0\0\x02")
    wire = Wire(timeline, Impairments(delay="10ms"), Impairments(delay="10ms"), macs=macs)
    host = Host(timeline, wire.b)
    return timeline, host, ScapySocket(wire.a, timeline, address="10.0.0.9/24")


def test_ping(world: Any) -> None:
    timeline, _, sock = world
    answer = sock.sr1(IP(dst="10.0.0.2") / ICMP(id=7, seq=1) / b"abcdefgh", timeout=5)
    assert answer[ICMP].type == 0 and bytes(answer[ICMP].payload)[:8] == b"abcdefgh"
    assert 4 * DELAY <= timeline.now < 5 * DELAY


def test_who_has(world: Any) -> None:
    _, host, sock = world
    answered, _ = sock.srp(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=["10.0.0.2", "10.0.0.3"]), timeout=1)
    assert [got[ARP].psrc for _, got in answered] == ["10.0.0.2"]
    assert answered[0][1][ARP].hwsrc == host.port.mac.hex(":")


def test_an_open_and_a_closed_port(world: Any) -> None:
    timeline, host, sock = world
    listener = host.stack.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    listener.bind(("10.0.0.2", 80))
    listener.listen(8)
    answered, unanswered = sock.sr(IP(dst="10.0.0.2") / TCP(sport=4000, dport=[80, 81], seq=100), timeout=0.5)
    assert {sent.dport: str(got[TCP].flags) for sent, got in answered} == {80: "SA", 81: "RA"}
    assert not unanswered
    syn_ack = next(got for sent, got in answered if sent.dport == 80)
    sock.send(IP(dst="10.0.0.2") / TCP(sport=4000, dport=80, seq=101, ack=syn_ack.seq + 1, flags="A"))
    hello = IP(dst="10.0.0.2") / TCP(sport=4000, dport=80, seq=101, ack=syn_ack.seq + 1, flags="PA") / b"hello"
    acked = sock.sr1(hello, timeout=1)
    assert acked[TCP].ack == 106
    connection, _ = listener.accept(timeline.now)
    assert connection.recv(100, timeline.now) == b"hello"


def test_sniffing_what_the_stack_sends_by_itself(world: Any) -> None:
    """A SYN+ACK that nobody acknowledges is sent again, a second later at first (RFC 6298)."""
    timeline, host, sock = world
    listener = host.stack.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    listener.bind(("10.0.0.2", 80))
    listener.listen(8)
    sock.send(IP(dst="10.0.0.2") / TCP(sport=4000, dport=80, seq=100))
    is_syn_ack: Callable[[Any], bool] = lambda p: TCP in p and p[TCP].flags == "SA"  # noqa: E731
    seen = sock.sniff(lfilter=is_syn_ack, count=3, timeout=30)
    gaps = [round(float(b.time - a.time), 2) for a, b in pairwise(seen)]
    assert len(seen) == 3 and gaps == [1.0, 2.0]
    assert timeline.now < 10 * SECOND


def test_a_place_at_a_switch_of_a_lab() -> None:
    from terrella.lab import Lab

    with Lab(seed=3) as lab:
        host = lab.host("a", "10.0.0.2/24")
        switch = lab.switch()
        lab.link(host, switch, delay="5ms")
        sock = ScapySocket(switch.attach(b"\x02\0\0\0\0\x77"), lab, address="10.0.0.9/24")
        answer = sock.sr1(IP(dst="10.0.0.2") / ICMP(), timeout=2)
        assert answer[ICMP].type == 0
        assert 20_000_000 <= lab.now < 21_000_000  # ARP and the ping, each twice through 5 ms
        assert sock.sr1(IP(dst="10.0.0.2") / TCP(dport=81), timeout=2)[TCP].flags == "RA"
