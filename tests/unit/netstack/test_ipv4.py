"""IPv4 input and output: what is accepted, what is refused and under which counter (RFC 1122 section 3.2.1)."""

from __future__ import annotations

import errno

import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, IPOption_LSRR, IPOption_RR, Raw

from netstack import Frame
from netstack.socket import IP_MTU_DISCOVER, IPPROTO_IP, SOCK_DGRAM
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host, S, pump, refit


def eth(dst: str = OUR_MAC) -> Ether:
    return Ether(src=PEER_MAC, dst=dst)


def ping(**ip: object) -> IP:
    return IP(**{"src": PEER_IP, "dst": OUR_IP, **ip}) / ICMP() / Raw(b"data")


def edited(packet: Ether, at: int, value: int, checksum: bool = True) -> bytes:
    """The packet with one byte of its IP header replaced, the header checksum made good again."""
    data = bytearray(bytes(packet))
    data[14 + at] = value
    return refit(data) if checksum else bytes(data)


GOOD = eth() / ping()

REFUSED = [
    # packet, the reason, and Linux's own counter where it has one
    (b"\x02", "EthShort", None),
    (eth("02:00:00:00:00:99") / ping(), "EthOtherHost", None),
    (eth() / Raw(b"x" * 40), "EthTypeUnknown", None),
    (bytes(GOOD)[:30], "IpShort", ("Ip", "InHdrErrors")),
    (bytes(GOOD)[:-2], "IpTruncated", ("IpExt", "InTruncatedPkts")),
    (edited(GOOD, 0, 0x55), "IpVersion", ("Ip", "InHdrErrors")),
    (edited(GOOD, 0, 0x44), "IpHeaderLen", ("Ip", "InHdrErrors")),
    (edited(GOOD, 10, 0x12, checksum=False), "IpChecksum", ("IpExt", "InCsumErrors")),
    (eth() / ping(dst="10.0.0.77"), "NotForUs", ("Ip", "InAddrErrors")),
    (eth() / ping(src="255.255.255.255"), "MartianSource", None),
    (eth() / ping(src="224.0.0.5"), "MartianSource", None),
    (eth() / ping(src="127.0.0.1"), "MartianSource", None),
    (eth() / ping(src="0.1.2.3"), "MartianSource", None),
    (eth() / ping(src=OUR_IP), "MartianSource", None),
    (eth() / ping(src="10.0.0.255"), "MartianSource", None),
    (eth() / ping(dst="127.0.0.1"), "MartianDestination", None),
    (eth() / ping(dst="0.0.0.1"), "MartianDestination", None),
    (eth("01:00:5e:01:02:03") / ping(dst="224.1.2.3"), "NotForUs", None),
    (eth() / ping(options=[IPOption_LSRR(routers=["1.2.3.4"])]), "SourceRoute", None),
    (eth() / IP(src=PEER_IP, dst=OUR_IP, options=b"\x07\x01\x04\x00") / ICMP(), "IpOptions", ("Ip", "InHdrErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP, proto=99) / Raw(b"x"), "ProtocolUnknown", ("Ip", "InUnknownProtos")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / UDP(dport=9, chksum=1) / Raw(b"x"), "UdpChecksum", ("Udp", "InCsumErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / UDP(dport=9, len=4), "UdpShort", ("Udp", "InErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / TCP(dport=9, chksum=1), "TcpChecksum", ("Tcp", "InCsumErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / TCP(dport=9, dataofs=4), "TcpOffset", ("Tcp", "InErrs")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP, proto=6) / Raw(b"x" * 12), "TcpShort", ("Tcp", "InErrs")),
    (eth("ff:ff:ff:ff:ff:ff") / IP(src=PEER_IP, dst="10.0.0.255") / TCP(dport=9), "TransportNotHost", None),
    (eth("ff:ff:ff:ff:ff:ff") / IP(src=PEER_IP, dst=OUR_IP) / TCP(dport=9), "TransportNotHost", None),
    (eth() / IP(src=PEER_IP, dst=OUR_IP, proto=1) / Raw(b"\x08\x00\xff"), "IcmpShort", ("Icmp", "InErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / ICMP(chksum=1), "IcmpChecksum", ("Icmp", "InCsumErrors")),
    (eth() / IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=77), "IcmpTypeUnknown", ("Icmp", "InErrors")),
]


@pytest.mark.parametrize(("packet", "reason", "linux"), REFUSED)
def test_refused_and_counted_once(packet: object, reason: str, linux: tuple[str, str] | None) -> None:
    host = Host()
    host.give(packet)
    assert host.rejects() == {reason: 1}
    if linux is not None:
        assert host.counter(*linux) == 1


def test_accepted_is_not_counted_as_refused() -> None:
    """The negative control of the table above."""
    host = Host()
    host.give(GOOD)
    assert host.rejects() == {}
    assert len(host.take()) == 1
    assert host.counter("Ip", "InDelivers") == 1


def test_padding_is_not_payload() -> None:
    host = Host()
    host.give(bytes(GOOD) + b"\0" * 14)
    assert len(host.take()[0]) == len(bytes(GOOD))


def test_harmless_options_are_tolerated() -> None:
    host = Host()
    host.give(eth() / ping(options=[IPOption_RR(length=7, routers=["0.0.0.0"])]))
    assert host.rejects() == {}
    assert Ether(host.take()[0])[ICMP].type == 0


def test_malformed_option_draws_a_parameter_problem() -> None:
    host = Host()
    host.give(eth() / IP(src=PEER_IP, dst=OUR_IP, options=b"\x01\x07\x01\x00") / ICMP())
    answer = Ether(host.take()[0])
    assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].ptr) == (12, 0, 21)


def test_wrong_kind_of_frame_is_refused() -> None:
    host = Host()
    host.stack.receive("eth0", Frame.of(bytes(ping()), ethernet=False), 0)
    assert host.rejects() == {"FrameType": 1}


def test_reverse_path_filter() -> None:
    host = Host(net__ipv4__conf__all__rp_filter=1)
    host.give(eth() / ping(src="192.0.2.1"))
    assert host.counter("TcpExt", "IPReversePathFilter") == 1
    host.give(GOOD)
    assert len(host.take()) == 1


def test_the_cache_of_accepted_addresses_is_bounded_and_follows_changes() -> None:
    host = Host()
    host.stack.add_route("0.0.0.0/0", via=PEER_IP)
    packet = bytearray(bytes(GOOD))
    for i in range(10_000):
        packet[26:30] = (0x0B000000 + i).to_bytes(4, "big")
        host.give(refit(packet))
        host.take()
    assert len(host.stack.interfaces["eth0"].accepted) <= 4096
    host.stack.remove_address("eth0", OUR_IP + "/24")
    before = host.counter("Ip", "InAddrErrors")
    host.give(GOOD)
    assert host.counter("Ip", "InAddrErrors") == before + 1


# Fragments.


def piece(ident: int, at: int, data: bytes, more: bool, **ip: object) -> Ether:
    head = IP(
        **{"src": PEER_IP, "dst": OUR_IP, "id": ident, "proto": 17, "frag": at, "flags": "MF" if more else 0, **ip}
    )
    return eth() / head / Raw(data)


def test_timeout_tells_the_sender_only_if_the_first_piece_came() -> None:
    host = Host()
    first = bytes(UDP(sport=5, dport=7, len=100)) + b"x" * 8
    host.give(piece(1, 0, first, True), now=0)
    host.give(piece(2, 2, b"y" * 16, True), now=S)
    assert pump(host, 30 * S - 1) == []
    sent = pump(host, 40 * S)
    assert len(sent) == 1 and sent[0][0] == 30 * S
    answer = Ether(sent[0][1])
    assert (answer[ICMP].type, answer[ICMP].code) == (11, 1)
    assert bytes(answer[ICMP].payload)[:20] == bytes(piece(1, 0, first, True))[14:34]
    assert host.counter("Ip", "ReasmTimeout") == 2
    assert host.rejects() == {"FragmentTimeout": 2}
    assert host.stack.ipv4.reassembler.memory == 0


def test_ping_of_death() -> None:
    host = Host()
    host.give(piece(1, 8189, b"x" * 24, False))  # 65512 + 24 > 65535 - 20
    assert host.rejects() == {"FragmentTooLong": 1}
    host.give(piece(2, 0, b"x" * 8, True))
    host.give(piece(2, 8188, b"x" * 11, False))  # just fits
    assert host.rejects() == {"FragmentTooLong": 1}


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([(0, 16, True), (4, 8, False), (6, 8, False)], "FragmentInconsistent"),  # two ends
        ([(0, 16, True), (3, 8, False), (8, 8, True)], "FragmentInconsistent"),  # beyond the end
        ([(0, 16, True), (4, 8, True), (2, 8, False)], "FragmentInconsistent"),  # an end before what is there
        ([(0, 0, True)], "FragmentEmpty"),
        ([(1, 5, True)], "FragmentEmpty"),  # less than 8 bytes and more to come
        ([(2, 16, True), (1, 16, True)], "FragmentOverlap"),
        ([(2, 16, True), (1, 32, True)], "FragmentOverlap"),  # covers what is there
    ],
)
def test_inconsistent_fragments_kill_the_datagram(pieces: list[tuple[int, int, bool]], reason: str) -> None:
    host = Host()
    for at, size, more in pieces:
        host.give(piece(7, at, b"x" * size, more))
    assert host.rejects() == {reason: 1}
    assert len(host.stack.ipv4.reassembler) == 0
    assert host.stack.ipv4.reassembler.memory == 0


def test_fragments_are_told_apart_by_source_id_and_protocol() -> None:
    host = Host()
    body = bytes(UDP(sport=5, dport=7, len=16)) + b"12345678"
    host.give(piece(1, 0, body[:8], True))
    host.give(piece(2, 1, body[8:], False))
    host.give(piece(1, 1, body[8:], False, src="10.0.0.3"))
    host.give(piece(1, 1, body[8:], False, proto=99))
    assert host.counter("Ip", "ReasmOKs") == 0
    assert len(host.stack.ipv4.reassembler) == 4


def test_flood_of_fragments_is_bounded() -> None:
    host = Host()
    packet = bytearray(bytes(piece(0, 3, b"z" * 1000, True)))
    for i in range(5000):
        packet[18:20] = i.to_bytes(2, "big")
        host.give(refit(packet))
    reassembler = host.stack.ipv4.reassembler
    assert 0 < reassembler.memory <= 4 << 20
    assert host.rejects()["FragmentMemory"] == 5000 - len(reassembler) > 0
    pump(host, 60 * S)
    assert reassembler.memory == 0 and len(reassembler) == 0


def test_flood_of_one_datagram_is_bounded() -> None:
    host = Host(net__ipv4__ipfrag_high_thresh=100_000)
    for at in range(1, 1000, 2):
        host.give(piece(1, at, b"z" * 8, True))
        assert host.stack.ipv4.reassembler.memory <= 100_000
    assert host.rejects()["FragmentMemory"] > 0


def test_ecn_of_fragments() -> None:
    """RFC 3168 section 5.3: one CE marks the whole; CE on some and not-ECT on others is refused."""
    body = bytes(UDP(sport=5, dport=7, len=16, chksum=0)) + b"12345678"
    host = Host()
    host.give(piece(1, 0, body[:8], True, tos=2))
    host.give(piece(1, 1, body[8:], False, tos=3))
    assert host.counter("Ip", "ReasmOKs") == 1
    assert host.stack.pkt.tos & 3 == 3
    host.give(piece(2, 0, body[:8], True, tos=0))
    host.give(piece(2, 1, body[8:], False, tos=3))
    assert host.counter("Ip", "ReasmOKs") == 1


# Output.


def test_dont_fragment_and_emsgsize() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.sendto(b"x" * 100, (PEER_IP, 9), 0)
    frame = Ether(host.take()[0])
    assert frame[IP].flags == "DF" and frame[IP].ttl == 64
    sock.sendto(b"x" * 1473, (PEER_IP, 9), 0)
    assert [Ether(f)[IP].flags for f in host.take()] == ["MF", 0]
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 2)  # DO
    with pytest.raises(OSError) as failure:
        sock.sendto(b"x" * 1473, (PEER_IP, 9), 0)
    assert failure.value.errno == errno.EMSGSIZE
    assert host.counter("Ip", "FragFails") == 0  # no packet was made, as on Linux


def test_ids_differ_per_destination_and_count_up() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)
    for _ in range(3):
        sock.sendto(b"x", (PEER_IP, 9), 0)
    first, second, third = [Ether(f)[IP].id for f in host.take()]
    assert second == (first + 1) & 0xFFFF and third == (first + 2) & 0xFFFF


def test_the_transmit_queue_is_bounded() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    for _ in range(3000):
        sock.sendto(b"x", (PEER_IP, 9), 0)
    assert host.rejects() == {"TxQueue": 2000}
    assert host.counter("Ip", "OutDiscards") == 2000
    assert len(host.take()) == 1000


def test_no_route() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    with pytest.raises(OSError) as failure:
        sock.sendto(b"x", ("192.0.2.1", 9), 0)
    assert failure.value.errno == errno.ENETUNREACH
    assert host.counter("Ip", "OutNoRoutes") == 1
