"""ICMP: echo, and errors by the rules of RFC 1122 section 3.2.2 and RFC 1812 section 4.3.2, in both directions."""

from __future__ import annotations

import errno

import pytest
from scapy.all import ICMP, IP, UDP, Ether, Raw

from netstack.socket import IP_MTU_DISCOVER, IP_RECVERR, IPPROTO_IP, SOCK_DGRAM, SOCK_RAW
from netstack.udpsocket import UdpSocket
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host, S


def give(host: Host, packet: IP, now: int = 0, dst: str = OUR_MAC) -> None:
    host.give(Ether(src=PEER_MAC, dst=dst) / packet, now)


def take(host: Host, now: int = 0) -> list[IP]:
    return [Ether(frame)[IP] for frame in host.take(now)]


def closed_port(**ip: object) -> IP:
    return IP(**{"src": PEER_IP, "dst": OUR_IP, **ip}) / UDP(sport=1, dport=9999) / Raw(b"q" * 600)


def test_echo() -> None:
    host = Host()
    give(host, IP(src=PEER_IP, dst=OUR_IP, tos=0x20, ttl=3) / ICMP(id=7, seq=8) / Raw(bytes(range(200))))
    (answer,) = take(host)
    assert (answer.src, answer.dst, answer.ttl, answer.tos) == (OUR_IP, PEER_IP, 64, 0x20)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 8)
    assert bytes(answer[ICMP].payload) == bytes(range(200))
    good = answer.copy()
    del good.chksum, good[ICMP].chksum
    assert bytes(IP(bytes(good))) == bytes(answer)
    assert (host.counter("Icmp", "InEchos"), host.counter("Icmp", "OutEchoReps")) == (1, 1)
    assert host.counter("IcmpMsg", "InType8") == 1


def test_large_echo_is_reassembled_and_answered_in_fragments() -> None:
    host = Host()
    from scapy.all import defragment, fragment

    payload = bytes(range(256)) * 250
    for part in fragment(IP(src=PEER_IP, dst=OUR_IP, id=5) / ICMP(id=1, seq=2) / Raw(payload), fragsize=1480):
        give(host, part)
    frames = take(host)
    (answer,) = defragment(frames)
    assert bytes(answer[ICMP].payload) == payload


def test_echo_to_broadcast_is_ignored_by_default() -> None:
    host = Host()
    give(host, IP(src=PEER_IP, dst="10.0.0.255") / ICMP(), dst="ff:ff:ff:ff:ff:ff")
    assert take(host) == [] and host.rejects() == {"IcmpBroadcast": 1}
    host = Host(net__ipv4__icmp_echo_ignore_broadcasts=0)
    give(host, IP(src=PEER_IP, dst="10.0.0.255") / ICMP(), dst="ff:ff:ff:ff:ff:ff")
    assert take(host)[0].src == OUR_IP


def test_timestamp() -> None:
    host = Host()
    give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=13, ts_ori=77), now=5 * S)
    (answer,) = take(host, 5 * S)
    assert (answer[ICMP].type, answer[ICMP].ts_ori, answer[ICMP].ts_rx) == (14, 77, 0x80000000 | 5000)


def test_port_unreachable_quotes_and_looks_like_linux() -> None:
    host = Host()
    give(host, closed_port(tos=0x10))
    (frame,) = host.take()
    answer = Ether(frame)[IP]
    assert (answer[ICMP].type, answer[ICMP].code, answer.tos) == (3, 3, 0xD0)
    assert answer.len == 576
    assert frame[14 + 28 :] == bytes(closed_port(tos=0x10))[:548]
    assert host.counter("Udp", "NoPorts") == 1


@pytest.mark.parametrize(
    ("packet", "dst"),
    [
        (closed_port(dst="10.0.0.255"), "ff:ff:ff:ff:ff:ff"),
        (closed_port(dst="224.0.0.1"), "01:00:5e:00:00:01"),
        (closed_port(), "ff:ff:ff:ff:ff:ff"),  # broadcast on the link, unicast in IP
        (closed_port(src="0.0.0.0"), OUR_MAC),
        (IP(src=PEER_IP, dst=OUR_IP, proto=99, frag=2) / Raw(b"12345678"), OUR_MAC),
        (
            IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=3) / IP(src=OUR_IP, dst=PEER_IP) / UDP(sport=1, dport=2),
            OUR_MAC,
        ),
        (IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=3) / Raw(b"short"), OUR_MAC),
    ],
)
def test_no_error_is_sent_about(packet: IP, dst: str) -> None:
    host = Host()
    give(host, packet, dst=dst)
    assert take(host) == []
    assert host.counter("Icmp", "OutDestUnreachs") == 0


def test_unknown_protocol() -> None:
    host = Host()
    give(host, IP(src=PEER_IP, dst=OUR_IP, proto=99) / Raw(b"hello"))
    (answer,) = take(host)
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 2)


def test_errors_are_rate_limited_per_destination_and_in_all() -> None:
    host = Host()
    for _ in range(100):
        give(host, closed_port())
    assert len(take(host)) == 6  # inet_peer's burst
    assert host.counter("Icmp", "OutRateLimitHost") > 0
    give(host, closed_port(), now=S)
    assert len(take(host, S)) == 1  # one a second from there
    assert len(take(host, S)) == 0
    # Echo replies are not limited (icmp_ratemask).
    for _ in range(100):
        give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(), now=S)
    assert len(take(host, S)) == 100


def test_flood_from_many_sources_is_limited_and_bounded() -> None:
    host = Host()
    host.stack.add_route("0.0.0.0/0", via=PEER_IP)
    for i in range(600):
        give(host, closed_port(src=f"192.0.{i // 250}.{i % 250 + 1}"), now=i)
    assert len(take(host)) <= 150  # a burst of 50 tokens, each message costing one on average
    assert host.counter("Icmp", "OutRateLimitGlobal") > 400
    for i in range(5000):
        host.stack.icmp_limit._credit = 50  # as if the global limit were not there
        host.stack.icmp._allowed(3, 3, (0x0B000000 + i).to_bytes(4, "big"), 0)
    assert len(host.stack.icmp_limit._peers) <= 1024


# Errors in.


def connected(host: Host) -> UdpSocket:
    sock = host.stack.socket(2, SOCK_DGRAM)
    assert isinstance(sock, UdpSocket)
    sock.bind((OUR_IP, 4000))
    sock.connect((PEER_IP, 5000), 0)
    return sock


def quote(sport: int = 4000, dport: int = 5000, src: str = OUR_IP, dst: str = PEER_IP) -> IP:
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(b"x" * 4)


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        (3, 2, errno.ENOPROTOOPT), (3, 3, errno.ECONNREFUSED), (3, 6, errno.ENETUNREACH), (3, 7, errno.EHOSTDOWN),
        (3, 8, errno.ENONET), (3, 10, errno.EHOSTUNREACH), (3, 13, errno.EHOSTUNREACH), (12, 0, errno.EPROTO),
        (3, 0, 0), (3, 1, 0), (3, 5, 0), (11, 0, 0), (11, 1, 0), (4, 0, 0), (5, 1, 0),
    ],
)  # fmt: skip
def test_errno_of_an_error(kind: int, code: int, expected: int) -> None:
    host = Host()
    sock = connected(host)
    give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=kind, code=code) / quote())
    assert sock.so_error == expected
    if expected:
        with pytest.raises(OSError) as failure:
            sock.send(b"x", 0)
        assert failure.value.errno == expected
        assert sock.send(b"x", 0) == 1  # reported once


def test_soft_errors_are_for_sockets_that_ask() -> None:
    host = Host()
    sock = connected(host)
    sock.setsockopt(IPPROTO_IP, IP_RECVERR, 1)
    give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=1) / quote())
    assert sock.so_error == errno.EHOSTUNREACH


def test_unconnected_sockets_do_not_hear_of_errors() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.bind((OUR_IP, 4000))
    give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=3) / quote())
    assert sock.so_error == 0 and host.rejects() == {}


@pytest.mark.parametrize(
    "inner",
    [
        quote(sport=4001),
        quote(dport=5001),
        quote(dst="10.0.0.3"),
        quote(src="10.0.0.9"),
        Raw(b"E\0\0\x14"),
        Raw(bytes(40)),
    ],
)
def test_a_quote_that_is_not_ours_touches_nobody(inner: IP) -> None:
    host = Host()
    sock = connected(host)
    give(host, IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=3) / inner)
    assert sock.so_error == 0
    assert sum(host.rejects().values()) == 1


def test_fragmentation_needed_lowers_the_path_mtu_for_ten_minutes() -> None:
    """RFC 1191; the socket with IP_PMTUDISC_WANT fragments from there on."""
    host = Host()
    sock = connected(host)
    sock.send(b"x" * 1400, 0)
    assert len(take(host)) == 1
    give(host, IP(src="10.0.0.3", dst=OUR_IP) / ICMP(type=3, code=4, nexthopmtu=1000) / quote())
    assert host.stack.route(bytes([10, 0, 0, 2])).mtu == 1000
    with pytest.raises(OSError) as failure:
        sock.send(b"x" * 1400, 0)
    assert failure.value.errno == errno.EMSGSIZE  # the pending error, once
    sock.send(b"x" * 1400, 0)
    assert [bool(f.flags.MF) for f in take(host)] == [True, False]
    sock.send(b"x" * 1400, 601 * S)
    assert len(take(host, 601 * S)) == 1


@pytest.mark.parametrize(("mtu", "after"), [(0, 552), (100, 552), (1500, 1500), (9000, 1500)])
def test_absurd_mtus(mtu: int, after: int) -> None:
    host = Host()
    connected(host)
    give(host, IP(src="10.0.0.3", dst=OUR_IP) / ICMP(type=3, code=4, nexthopmtu=mtu) / quote())
    assert host.stack.route(bytes([10, 0, 0, 2])).mtu == after


def test_a_forged_mtu_without_a_socket_changes_nothing() -> None:
    host = Host()
    give(host, IP(src="10.0.0.3", dst=OUR_IP) / ICMP(type=3, code=4, nexthopmtu=600) / quote())
    assert host.stack.route(bytes([10, 0, 0, 2])).mtu == 1500


def test_pmtudisc_dont_is_not_told() -> None:
    host = Host()
    sock = connected(host)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)
    give(host, IP(src="10.0.0.3", dst=OUR_IP) / ICMP(type=3, code=4, nexthopmtu=1000) / quote())
    assert sock.so_error == 0


def test_exceptions_of_path_mtu_are_bounded() -> None:
    host = Host()
    host.stack.add_route("0.0.0.0/0", via=PEER_IP)
    for i in range(5000):
        host.stack.routes.update_pmtu(i.to_bytes(4, "big"), 1000, 0, S)
    assert len(host.stack.routes.pmtu) <= 2048


def test_raw_icmp_socket_pings() -> None:
    host = Host()
    raw = host.stack.socket(2, SOCK_RAW, 1)
    raw.sendto(bytes(ICMP(id=3, seq=1) / Raw(b"abc")), (PEER_IP, 0), 0)
    (sent,) = take(host)
    assert (sent.proto, sent[ICMP].type, sent[ICMP].id) == (1, 8, 3)
    answer = IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=0, id=3, seq=1) / Raw(b"abc")
    give(host, answer)
    data, source = raw.recvfrom(2000, 0)
    assert data == bytes(answer) and source == (PEER_IP, 0)
    raw.setsockopt(255, 1, ~(1 << 8))  # ICMP_FILTER: only echo requests
    give(host, answer)
    with pytest.raises(BlockingIOError):
        raw.recvfrom(2000, 0)
