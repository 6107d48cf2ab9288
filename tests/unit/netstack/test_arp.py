"""ARP and the neighbour table as a timeline of frames: who is asked, who is believed, what is bounded."""

from __future__ import annotations

import errno

import pytest
from scapy.all import ARP, IP, TCP, UDP, Ether, Raw

from netstack.neighbour import DELAY, FAILED, INCOMPLETE, PROBE, REACHABLE, STALE, Neighbour
from netstack.socket import SO_ERROR, SOCK_DGRAM, SOL_SOCKET
from netstack.udpsocket import UdpSocket
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host, S, pump

EVIL = "02:00:00:00:00:66"


def udp(host: Host) -> UdpSocket:
    sock = host.stack.socket(2, SOCK_DGRAM)
    assert isinstance(sock, UdpSocket)
    return sock


def entry(host: Host, address: str = PEER_IP) -> Neighbour | None:
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None
    return table.lookup(bytes(int(x) for x in address.split(".")))


def arp(
    op: int, smac: str, sip: str, tip: str, dst: str = "ff:ff:ff:ff:ff:ff", tmac: str = "00:00:00:00:00:00"
) -> Ether:
    return Ether(src=smac, dst=dst) / ARP(op=op, hwsrc=smac, psrc=sip, hwdst=tmac, pdst=tip)


def test_resolve_then_send_in_order() -> None:
    host = Host(resolve=False)
    sock = udp(host)
    for payload in (b"one", b"two"):
        sock.sendto(payload, (PEER_IP, 9), 0)
    (ask,) = [Ether(f) for f in host.take()]
    assert (ask.dst, ask.src, ask[ARP].op) == ("ff:ff:ff:ff:ff:ff", OUR_MAC, 1)
    assert (ask[ARP].psrc, ask[ARP].pdst, ask[ARP].hwdst) == (OUR_IP, PEER_IP, "00:00:00:00:00:00")
    host.give(arp(2, PEER_MAC, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), now=1)
    sent = [Ether(f) for f in host.take(1)]
    assert [bytes(f[UDP].payload)[:3] for f in sent] == [b"one", b"two"]
    assert {f.dst for f in sent} == {PEER_MAC}
    found = entry(host)
    assert found is not None and found.state == REACHABLE
    assert host.stack.neighbour_queued == 0


def test_three_probes_a_second_apart_then_ehostunreach() -> None:
    host = Host(resolve=False)
    sock = udp(host)
    sock.connect((PEER_IP, 9), 0)
    sock.send(b"x" * 20, 0)
    assert len(host.take()) == 1
    sent = pump(host, 10 * S)
    assert [when for when, _ in sent] == [1 * S, 2 * S]
    found = entry(host)
    assert found is not None and found.state == FAILED
    assert host.rejects() == {"NeighbourFailed": 1}
    # EHOSTUNREACH is not hard, so UDP keeps it from the socket unless IP_RECVERR is on (udp(7)); see the next test.
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0
    sock.send(b"again", 10 * S)  # a new attempt asks again
    assert Ether(host.take(10 * S)[0])[ARP].op == 1


def test_failure_reaches_a_socket_that_wants_to_know() -> None:
    host = Host(resolve=False)
    sock = udp(host)
    sock.setsockopt(0, 11, 1)  # IP_RECVERR
    sock.connect((PEER_IP, 9), 0)
    sock.send(b"", 0)
    pump(host, 10 * S)
    assert sock.readiness() & 8
    with pytest.raises(OSError) as failure:
        sock.recv(10, 10 * S)
    assert failure.value.errno == errno.EHOSTUNREACH


def test_a_tcp_connect_to_nobody_fails_after_three_seconds() -> None:
    host = Host(resolve=False)
    sock = host.stack.socket(2, 1)
    with pytest.raises(BlockingIOError):
        sock.connect((PEER_IP, 9), 0)
    host.take()
    pump(host, 3 * S - 1)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0
    pump(host, 3 * S)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EHOSTUNREACH


def test_a_request_for_us_is_answered_and_learnt_as_stale() -> None:
    host = Host(resolve=False)
    host.give(arp(1, PEER_MAC, PEER_IP, OUR_IP))
    (answer,) = [Ether(f) for f in host.take()]
    assert (answer.dst, answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (PEER_MAC, 2, OUR_MAC, OUR_IP)
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (PEER_MAC, PEER_IP)
    found = entry(host)
    assert found is not None and found.state == STALE and found.mac == b"\x02\0\0\0\0\x02"
    assert host.rejects() == {}


def test_stale_delay_probe_failed() -> None:
    """RFC 4861 section 7.3.3: use of a STALE entry, 5 s of hope, then three unicast probes."""
    host = Host(resolve=False)
    host.give(arp(1, PEER_MAC, PEER_IP, OUR_IP))
    host.take()
    sock = udp(host)
    sock.sendto(b"x", (PEER_IP, 9), 0)
    assert Ether(host.take()[0]).dst == PEER_MAC  # sent at once
    found = entry(host)
    assert found is not None and found.state == DELAY
    sent = pump(host, 5 * S)
    assert found.state == PROBE
    assert [Ether(f).dst for _, f in sent] == [PEER_MAC]
    sent = pump(host, 20 * S)
    assert [when for when, _ in sent] == [6 * S, 7 * S]
    assert found.state == FAILED


def test_an_answer_to_a_probe_or_progress_of_tcp_confirms() -> None:
    host = Host(resolve=False)
    host.give(arp(1, PEER_MAC, PEER_IP, OUR_IP))
    udp(host).sendto(b"x", (PEER_IP, 9), 0)
    pump(host, 5 * S)
    found = entry(host)
    assert found is not None and found.state == PROBE
    host.give(arp(2, PEER_MAC, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), 5 * S)
    assert found.state == REACHABLE
    pump(host, 200 * S)
    assert found.state == STALE  # reachable for 15 to 45 s, then not used any more
    udp(host).sendto(b"x", (PEER_IP, 9), 200 * S)
    assert found.state == DELAY
    path = host.stack.route(bytes([10, 0, 0, 2]))
    path.neighbour = found
    path.confirm(200 * S)
    assert found.state == REACHABLE


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (arp(2, EVIL, PEER_IP, OUR_IP, dst=OUR_MAC), "ArpUnsolicited"),
        (arp(1, EVIL, PEER_IP, PEER_IP), "ArpNotForUs"),  # announcement of somebody unknown
        (arp(1, EVIL, PEER_IP, "10.0.0.77"), "ArpNotForUs"),
        (arp(1, "ff:ff:ff:ff:ff:ff", PEER_IP, OUR_IP), "ArpSender"),
        (arp(1, "01:00:5e:00:00:01", PEER_IP, OUR_IP), "ArpSender"),
        (arp(1, "00:00:00:00:00:00", PEER_IP, OUR_IP), "ArpSender"),
        (arp(1, EVIL, OUR_IP, OUR_IP), "ArpSender"),
        (arp(2, EVIL, OUR_IP, PEER_IP), "ArpSender"),
        (arp(1, EVIL, "224.0.0.1", OUR_IP), "ArpSender"),
        (arp(1, EVIL, "127.0.0.1", OUR_IP), "ArpSender"),
        (arp(1, EVIL, "255.255.255.255", OUR_IP), "ArpSender"),
        (arp(1, EVIL, "10.0.0.255", OUR_IP), "ArpSender"),
        (arp(2, EVIL, "0.0.0.0", OUR_IP), "ArpSender"),
        (arp(1, OUR_MAC, PEER_IP, OUR_IP), "ArpSender"),
        (arp(3, EVIL, PEER_IP, OUR_IP), "ArpFormat"),
        (Ether(src=EVIL, dst=OUR_MAC) / ARP(hwtype=6, hwlen=6, plen=4, psrc=PEER_IP, pdst=OUR_IP), "ArpFormat"),
        (Ether(src=EVIL, dst=OUR_MAC, type=0x806) / Raw(b"\0\1\10\0\6\4\0\1" + b"x" * 19), "ArpShort"),
    ],
)
def test_junk_teaches_nothing(packet: Ether, reason: str) -> None:
    host = Host(resolve=False)
    host.give(packet)
    assert host.rejects() == {reason: 1}
    assert host.take() == []
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None and table.entries == {}


def test_a_probe_is_answered_but_not_learnt() -> None:
    """RFC 5227 section 2.1.1."""
    host = Host(resolve=False)
    host.give(arp(1, EVIL, "0.0.0.0", OUR_IP))
    assert Ether(host.take()[0])[ARP].op == 2
    assert entry(host, "0.0.0.0") is None


def test_our_address_claimed_is_a_conflict() -> None:
    host = Host(resolve=False)
    host.give(arp(1, EVIL, OUR_IP, OUR_IP))
    assert host.counter("Arp", "Conflicts") == 1


def test_locktime_the_first_of_two_answers_wins() -> None:
    host = Host(resolve=False)
    udp(host).sendto(b"x", (PEER_IP, 9), 0)
    host.give(arp(2, PEER_MAC, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), now=1)
    found = entry(host)
    assert found is not None
    host.give(arp(2, EVIL, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), now=S // 2)
    assert found.mac == b"\x02\0\0\0\0\x02"
    assert host.rejects() == {"ArpLocked": 1}
    # An announcement moves it, and so does an answer after locktime (1 s).
    host.give(arp(1, "02:00:00:00:00:03", PEER_IP, PEER_IP), now=S // 2)
    assert found.mac == b"\x02\0\0\0\0\x03" and found.state == STALE
    host.give(arp(2, "02:00:00:00:00:04", PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), now=2 * S)
    assert found.mac == b"\x02\0\0\0\0\x04" and found.state == REACHABLE


def test_flood_of_one_unresolved_neighbour_is_bounded() -> None:
    host = Host(resolve=False)
    sock = udp(host)
    for i in range(500):
        sock.sendto(i.to_bytes(2, "big") + b"x" * 998, (PEER_IP, 9), 0)
    found = entry(host)
    assert found is not None and found.state == INCOMPLETE
    assert found.queued_bytes <= 212_992
    dropped = host.rejects()["NeighbourQueue"]
    assert dropped + len(found.queue) == 500
    assert len(host.take()) == 1  # one probe, however many packets
    host.give(arp(2, PEER_MAC, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC), now=1)
    got = [int.from_bytes(bytes(Ether(f)[UDP].payload)[:2], "big") for f in host.take(1)]
    assert got == list(range(dropped, 500))  # the newest are kept
    assert host.stack.neighbour_queued == 0


def test_flood_of_many_unresolved_neighbours_is_bounded() -> None:
    host = Host(resolve=False)
    host.stack.add_address("eth0", "10.1.0.1/16")
    sock = udp(host)
    for i in range(3000):
        sock.sendto(b"x" * 1400, (f"10.1.{i // 200 + 1}.{i % 200 + 1}", 9), 0)
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None and len(table.entries) <= 1024
    assert host.stack.neighbour_queued <= 4 << 20
    assert host.rejects()["NeighbourFull"] == 3000 - len(table.entries)
    pump(host, 10 * S)
    assert host.stack.neighbour_queued == 0
    # Failed entries make room.
    sock.sendto(b"x", ("10.1.99.99", 9), 20 * S)
    assert entry(host, "10.1.99.99") is not None


def test_flood_of_requests_does_not_grow_the_table() -> None:
    host = Host(resolve=False)
    host.stack.add_address("eth0", "10.1.0.1/16")
    for i in range(1300):
        host.give(arp(1, EVIL, f"10.1.{i // 200 + 1}.{i % 200 + 1}", OUR_IP), now=i * 1000)
        host.take(i * 1000)
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None and len(table.entries) <= 1024
    assert host.counter("Arp", "Evicted") > 0


def test_an_evicted_neighbour_is_resolved_again_by_the_same_socket() -> None:
    host = Host(resolve=False)
    sock = udp(host)
    sock.sendto(b"x", (PEER_IP, 9), 0)
    host.give(arp(2, PEER_MAC, PEER_IP, OUR_IP, dst=OUR_MAC, tmac=OUR_MAC))
    host.take()
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None
    table.remove(bytes([10, 0, 0, 2]))
    sock.sendto(b"x", (PEER_IP, 9), S)
    assert Ether(host.take(S)[0])[ARP].op == 1
    assert entry(host) is not None


def test_ageing_forgets_what_is_not_used() -> None:
    host = Host(resolve=False)
    host.stack.settings.neigh_gc_thresh1 = 2
    for i in range(2, 7):
        host.give(arp(1, EVIL, f"10.0.0.{i}", OUR_IP))
    host.give(arp(1, EVIL, "10.0.0.9", OUR_IP), now=100 * S)
    table = host.stack.interfaces["eth0"].neighbours
    assert table is not None and list(table.entries) == [bytes([10, 0, 0, 9])]


def test_packets_to_a_gateway_go_to_its_mac() -> None:
    host = Host()
    host.stack.add_route("0.0.0.0/0", via=PEER_IP)
    udp(host).sendto(b"x", ("192.0.2.1", 9), 0)
    frame = Ether(host.take()[0])
    assert (frame.dst, frame[IP].dst) == (PEER_MAC, "192.0.2.1")


def test_a_connection_follows_its_neighbour_to_another_station() -> None:
    """The MAC stands in what a path's headers are made from: a new one has to get there, at once and for good."""
    host = Host(resolve=False)
    host.give(arp(1, PEER_MAC, PEER_IP, OUR_IP))
    host.take()
    listener = host.stack.socket(2, 1)
    listener.bind((OUR_IP, 80))
    listener.listen(1)
    link = Ether(dst=OUR_MAC, src=PEER_MAC) / IP(src=PEER_IP, dst=OUR_IP)
    host.give(link / TCP(sport=9, dport=80, flags="S", seq=0))
    (syn_ack,) = [Ether(f) for f in host.take()]
    assert syn_ack.dst == PEER_MAC
    host.give(link / TCP(sport=9, dport=80, flags="A", seq=1, ack=syn_ack[TCP].seq + 1))
    sock, _ = listener.accept(0)
    sock.setsockopt(6, 1, 1)  # TCP_NODELAY
    found = entry(host)
    assert found is not None
    where = []
    for mac in (PEER_MAC, EVIL, EVIL, PEER_MAC):
        found.update(bytes.fromhex(mac.replace(":", "")), REACHABLE, True, 0)
        for _ in range(2):
            sock.send(b"x", 0)
            where += [(mac, Ether(f).dst) for f in host.take()]
    assert len(where) == 8 and all(meant == got for meant, got in where)
    found.state = FAILED  # and where nobody answers any more nothing goes to the old one
    sock.send(b"x", 0)
    assert all(Ether(f).type == 0x0806 for f in host.take())
