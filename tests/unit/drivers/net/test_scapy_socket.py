"""Scapy's own sr1, srp and sniff against a tiny responder, in virtual time."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from csrc import Frame
from csrc.frame import ffi, lib
from drivers.clock import SECOND, VirtualTimeline
from drivers.net.device import new_counters
from drivers.net.scapy_socket import ScapySocket

scapy_all = pytest.importorskip("scapy.all")
IP, TCP, UDP, ICMP, ARP, Ether = (getattr(scapy_all, n) for n in ("IP", "TCP", "UDP", "ICMP", "ARP", "Ether"))
sndrcv = scapy_all.sndrcv

DELAY = 20_000_000
PEER_MAC = b"\x02\0\0\0\0\x02"
PEER = bytes([10, 0, 0, 2])


class Port:
    """A NetDevice at the end of a delay line; `peer` answers each image with images."""

    gso = False
    mtu = 1500

    def __init__(
        self,
        timeline: VirtualTimeline,
        peer: Callable[[bytes], list[bytes]],
        mac: bytes | None = b"\x02\0\0\0\0\x09",
    ):
        self.name = "port0"
        self.mac = mac
        self.timeline = timeline
        self.peer = peer
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.waiting: list[Frame] = []
        self.sent: list[tuple[int, bytes]] = []

    def fileno(self) -> None:
        return None

    def later(self, delay: int, action: Callable[[int], None]) -> None:
        self.timeline.timer(action).arm(self.timeline.now + delay)

    def receive(self, budget: int) -> list[Frame]:
        taken, self.waiting = self.waiting[:budget], self.waiting[budget:]
        return taken

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        for frame in frames:
            image = bytes(frame)
            self.sent.append((now, image))
            self.later(DELAY, lambda _, image=image: [self.reply(a) for a in self.peer(image)])

    def reply(self, image: bytes) -> None:
        self.later(DELAY, lambda _: self.deliver(image))

    def deliver(self, image: bytes) -> None:
        frame = Frame.of(image, self.mac is not None)
        frame.timestamp_ns = self.timeline.now
        self.waiting.append(frame)
        if len(self.waiting) == 1 and self.on_receive:
            self.on_receive()

    def close(self) -> None:
        pass


def sealed(image: bytearray, start: int, offset: int, pseudo: bytes = b"") -> bytes:
    struct.pack_into("!H", image, start + offset, 0)
    part = pseudo + bytes(image[start:])
    struct.pack_into("!H", image, start + offset, lib.trl_checksum(ffi.from_buffer(part), len(part), 0))
    return bytes(image)


def responder(image: bytes) -> list[bytes]:
    """10.0.0.2: answers ARP, echo requests, SYNs to port 80 with SYN+ACK and others with RST. Silent otherwise."""
    kind = image[12:14]
    if kind == b"\x08\x06" and image[38:42] == PEER and image[20:22] == b"\0\x01":
        return [image[6:12] + PEER_MAC + image[12:20] + b"\0\x02" + PEER_MAC + PEER + image[22:32]]
    if kind != b"\x08\x00" or image[30:34] != PEER:
        return []
    answer = bytearray(image)
    answer[0:6], answer[6:12] = image[6:12], PEER_MAC
    answer[26:30], answer[30:34] = PEER, image[26:30]
    if image[23] == 1 and image[34] == 8:
        answer[34] = 0
        return [sealed(answer, 34, 2)]
    if image[23] == 6 and image[47] == 2:
        sport, dport, seq = struct.unpack_from("!HHI", image, 34)
        flags = 0x12 if dport == 80 else 0x14
        answer[34:50] = struct.pack(
            "!HHIIBBH", dport, sport, 7000 if dport == 80 else 0, seq + 1, 0x50, flags, 8192
        )
        pseudo = bytes(answer[26:34]) + struct.pack("!HH", 6, len(image) - 34)
        return [sealed(answer, 34, 16, pseudo)]
    return []


@pytest.fixture
def timeline() -> VirtualTimeline:
    return VirtualTimeline(seed=1)


@pytest.fixture
def port(timeline: VirtualTimeline) -> Port:
    return Port(timeline, responder)


@pytest.fixture
def sock(port: Port, timeline: VirtualTimeline) -> object:
    return ScapySocket(port, timeline, address="10.0.0.9/24")


def test_ping_resolves_and_comes_back_after_one_round_trip(sock, timeline):
    answer = sock.sr1(IP(dst="10.0.0.2") / ICMP(id=5, seq=9) / b"hello", timeout=2)
    assert answer[ICMP].type == 0 and answer[ICMP].id == 5 and bytes(answer[ICMP].payload) == b"hello"
    assert timeline.now == 4 * DELAY  # ARP, then the ping
    assert answer.time == timeline.now / SECOND


def test_an_unanswered_probe_ends_exactly_at_its_virtual_timeout(sock, timeline):
    started = time.monotonic()
    assert sock.sr1(Ether(dst="02:00:00:00:00:02") / IP(dst="10.0.0.2") / UDP(dport=9), timeout=3600) is None
    assert timeline.now == 3600 * SECOND
    assert time.monotonic() - started < 5


def test_each_try_waits_its_own_timeout(sock, timeline, port):
    probe = Ether(dst="02:00:00:00:00:02") / IP(dst="10.0.0.2") / UDP(dport=9)
    assert sock.sr1(probe, timeout=0.25, retry=2) is None
    assert [at for at, _ in port.sent] == [0, SECOND // 4, SECOND // 2]
    assert timeline.now == 3 * SECOND // 4


def test_syn_to_a_listening_and_to_a_closed_port(sock):
    answered, unanswered = sock.sr(IP(dst="10.0.0.2") / TCP(sport=4000, dport=[80, 81], seq=100), timeout=2)
    flags = {sent.dport: str(got[TCP].flags) for sent, got in answered}
    assert flags == {80: "SA", 81: "RA"} and not unanswered
    assert all(got[TCP].ack == 101 for _, got in answered)


def test_arp_through_srp_and_through_scapys_own_function(sock, timeline):
    request = Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.0.0.2")
    for answered, unanswered in (
        sock.srp(request, timeout=2),
        scapy_all.srp(request, iface=sock.iface, timeout=2, threaded=False, verbose=0),
    ):
        assert [got[ARP].hwsrc for _, got in answered] == ["02:00:00:00:00:02"] and not unanswered
    assert sock.srp1(request, timeout=2)[ARP].psrc == "10.0.0.2"


def test_scapys_functions_end_by_virtual_time_too(sock, timeline):
    started = time.monotonic()
    answered, _ = sndrcv(sock, Ether(dst="02:00:00:00:00:02") / IP(src="10.0.0.9", dst="10.0.0.2") / UDP(), timeout=60,
                         threaded=False, verbose=0)  # fmt: skip
    assert not answered and timeline.now == 60 * SECOND
    assert len(scapy_all.sniff(opened_socket=sock, timeout=60)) == 0
    assert timeline.now == 120 * SECOND and time.monotonic() - started < 5


def test_scapys_threads_are_refused_with_a_reason(sock):
    caught: list[str] = []

    def body() -> None:
        try:
            sock.send(b"x" * 60)
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert "threaded=False" in caught[0]


def test_sniff_filters_with_a_function_and_counts(sock, timeline, port):
    for i in range(10):
        port.later(i * SECOND, lambda _, i=i: port.deliver(bytes(
            Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:09")
            / IP(src="10.0.0.2", dst="10.0.0.9") / (UDP(dport=i) if i % 2 else ICMP()))))  # fmt: skip
    got = sock.sniff(lfilter=lambda p: UDP in p, count=2, timeout=60)
    assert [(p[UDP].dport, float(p.time)) for p in got] == [(1, 1.0), (3, 3.0)]
    assert timeline.now == 3 * SECOND
    rest = sock.sniff(timeout=60)
    assert len(rest) == 6 and timeline.now == 63 * SECOND


def test_sniff_ends_when_nothing_can_happen_any_more_and_the_socket_stays_open(sock, timeline, port):
    port.later(SECOND, lambda _: port.deliver(b"\xff" * 12 + b"\x88\xb5" + bytes(46)))
    assert len(sock.sniff()) == 1
    assert timeline.now == SECOND
    assert sock.sr1(IP(dst="10.0.0.2") / ICMP(), timeout=1)[ICMP].type == 0


def test_a_kernel_filter_is_refused_rather_than_ignored(sock):
    with pytest.raises(ValueError, match="lfilter"):
        sock.sniff(filter="tcp", timeout=1)


def test_it_answers_arp_for_its_address_and_for_no_other(sock, timeline, port):
    for target in (9, 10):
        port.deliver(b"\xff" * 6 + PEER_MAC + b"\x08\x06\0\x01\x08\0\x06\x04\0\x01" + PEER_MAC + PEER + bytes(6)
                     + bytes([10, 0, 0, target]))  # fmt: skip
    assert len(port.sent) == 1
    answer = Ether(port.sent[0][1])
    assert (answer.dst, answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc) == (
        "02:00:00:00:00:02", 2, "10.0.0.9", "02:00:00:00:00:09",
    )  # fmt: skip


def test_a_hop_that_does_not_answer_is_asked_three_times(sock, timeline, port):
    assert sock.sr1(IP(dst="10.0.0.77") / ICMP(), timeout=1) is None
    assert [at // SECOND for at, image in port.sent if image[12:14] == b"\x08\x06"] == [0, 1, 2]
    assert timeline.now == 4 * SECOND


def test_inter_is_virtual_time_between_packets(sock, port):
    sock.sr(
        Ether(dst="02:00:00:00:00:02") / IP(dst="10.0.0.2") / UDP(dport=[1, 2, 3]), inter=0.5, timeout=0.1
    )
    assert [at for at, _ in port.sent] == [0, SECOND // 2, SECOND]


def test_a_port_without_ethernet_carries_bare_ip(timeline):
    def echo(image: bytes) -> list[bytes]:
        return responder(PEER_MAC + PEER_MAC + b"\x08\x00" + image)

    port = Port(timeline, lambda image: [a[14:] for a in echo(image)], mac=None)
    sock = ScapySocket(port, timeline, address="10.0.0.9/24")
    answer = sock.sr1(IP(dst="10.0.0.2") / ICMP() / b"abc", timeout=1)
    assert answer[ICMP].type == 0 and timeline.now == 2 * DELAY


def test_two_runs_send_the_same_bytes_at_the_same_times():
    def run() -> list[tuple[int, bytes]]:
        timeline = VirtualTimeline(seed=3)
        port = Port(timeline, responder)
        sock = ScapySocket(port, timeline, address="10.0.0.9/24")
        sock.sr(IP(dst="10.0.0.2") / TCP(sport=4000, dport=[80, 81, 82], seq=1), timeout=2)
        sock.sr1(IP(dst="10.0.0.2") / UDP(), timeout=0.3333)
        sock.sniff(timeout=1)
        port.sent.append((timeline.now, b""))
        return port.sent

    assert run() == run()


def test_the_methods_are_exact_even_where_the_simulation_is_slower_than_the_host(sock, timeline, port):
    def slow(i: int) -> Callable[[int], None]:
        def act(_: int) -> None:
            end = time.monotonic() + 0.002
            while time.monotonic() < end:
                pass
            port.deliver(bytes(12) + b"\x88\xb5" + bytes([i]) * 46)

        return act

    for i in range(10):
        port.later(i * 100_000, slow(i))
    assert len(sock.sniff(timeout=0.001)) == 10  # a millisecond that takes the host twenty
    assert timeline.now == 1_000_000


def test_ethernet_on_a_wire_of_bare_ip_is_an_error(timeline):
    sock = ScapySocket(Port(timeline, responder, mac=None), timeline)
    with pytest.raises(ValueError, match="bare IP"):
        sock.send(Ether(dst="02:00:00:00:00:02") / IP(dst="10.0.0.2") / ICMP())
