"""IPv6 input and output: what is accepted, what extension headers do, fragments, and what the sender is told."""

from __future__ import annotations

import errno

import pytest
from scapy.all import (
    AH,
    UDP,
    Ether,
    HBHOptUnknown,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
    PadN,
    Raw,
    RouterAlert,
    fragment6,
)

from netstack.socket import IPPROTO_IPV6, IPV6_DONTFRAG, IPV6_MTU_DISCOVER, SOCK_DGRAM
from tests.unit.netstack.net import OUR_IP6, OUR_MAC, PEER_IP6, PEER_MAC, Host6, S, pump

ECHO = ICMPv6EchoRequest(id=1, seq=1, data=b"data")


def v6(**fields: object) -> IPv6:
    return IPv6(**{"src": PEER_IP6, "dst": OUR_IP6, **fields})


def answer(host: Host6, packet: object, dst: str = OUR_MAC) -> IPv6 | None:
    """What comes back for a packet, or None."""
    host.give(Ether(src=PEER_MAC, dst=dst) / packet)
    out = host.take()
    assert len(out) <= 1
    return Ether(out[0])[IPv6] if out else None


@pytest.mark.parametrize(
    "packet",
    [
        v6() / ECHO,
        v6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / ECHO,
        v6() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ECHO,
        v6() / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"abcd")]) / ECHO,  # 00: skip over it
        v6() / IPv6ExtHdrRouting(type=0, segleft=0, addresses=["2001:db8::9"]) / ECHO,
        v6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / ECHO,
        v6() / IPv6ExtHdrFragment(id=7) / ECHO,  # atomic: RFC 6946
    ],
)
def test_packets_that_are_answered(packet: object) -> None:
    host = Host6()
    reply = answer(host, packet)
    assert reply is not None and reply[ICMPv6EchoReply].data == b"data"
    assert host.rejects() == {}


@pytest.mark.parametrize(
    ("otype", "unicast", "group"), [(0x3E, None, None), (0x7E, None, None), (0xBE, 42, 42), (0xFE, 42, None)]
)
def test_unknown_options_by_their_top_bits(otype: int, unicast: int | None, group: int | None) -> None:
    """RFC 8200 section 4.2: 00 skip, 01 discard, 10 discard and tell, 11 tell unless it was sent to a group."""
    for dst, mac, pointer in ((OUR_IP6, OUR_MAC, unicast), ("ff02::1", "33:33:00:00:00:01", group)):
        for header in (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt):
            host = Host6()
            option = HBHOptUnknown(otype=otype, optdata=b"abcd")
            reply = answer(host, v6(dst=dst) / header(options=[option]) / ECHO, mac)
            if otype >> 6 == 0:
                assert reply is not None and ICMPv6EchoReply in reply
                continue
            assert host.rejects() == {"Ip6Option": 1}
            if pointer is None:
                assert reply is None
            else:
                assert reply is not None
                assert (reply[ICMPv6ParamProblem].code, reply[ICMPv6ParamProblem].ptr) == (2, pointer)


@pytest.mark.parametrize("forwarding", [0, 1])
def test_a_router_is_among_all_routers(forwarding: int) -> None:
    """RFC 4291 section 2.8."""
    host = Host6(net__ipv6__conf__all__forwarding=forwarding)
    for group, mac in (("ff02::2", "33:33:00:00:00:02"), ("ff05::2", "33:33:00:00:00:02")):
        assert (answer(host, v6(dst=group) / ECHO, mac) is not None) == bool(forwarding)


@pytest.mark.parametrize(
    "options",
    [
        b"\1\4\0\0\1\0", bytes(14), b"\1\7" + bytes(12), b"\x1e\5\0\0\0\0", b"\x9e\x09\0\0\0\0",
        b"\x1e\0" * 9 + bytes(4),
    ],
)  # fmt: skip
def test_malformed_options_are_dropped_in_silence(options: bytes) -> None:
    """As Linux has it: padding that is not zeros or longer than 7 (RFC 4942 section 2.1.9.5), options past the header's
    end, more than 8 of them."""
    for header in (0, 60):
        host = Host6()
        extension = bytes((58, (len(options) + 2) // 8 - 1)) + options
        assert answer(host, v6(nh=header) / Raw(extension + b"\x80\0" + bytes(6))) is None
        assert host.rejects() == {"Ip6Extension": 1}


@pytest.mark.parametrize(
    ("packet", "code", "pointer", "reason"),
    [
        (v6() / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["2001:db8::9"]) / ECHO, 0, 42, "Ip6Extension"),
        (v6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / ECHO, 1, 40, "Ip6NextHeader"),
        (v6(nh=199) / Raw(b"what is this"), 1, 6, "ProtocolUnknown"),
        (v6() / IPv6ExtHdrDestOpt(nh=198) / Raw(b"what is this"), 1, 40, "ProtocolUnknown"),
        (v6() / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=99999)]) / ECHO, 0, 42, "Ip6Extension"),
        (v6() / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=99)]) / ECHO, 0, 44, "Ip6Extension"),
        (v6(nh=44) / Raw(b"\x3a\0\0"), 0, 40, "Ip6Extension"),
        (v6(nh=51) / Raw(bytes(16)), 1, 6, "ProtocolUnknown"),
        (v6() / IPv6ExtHdrFragment(id=1, m=1, nh=58) / Raw(b"\x80" * 13), 0, 4, "FragmentInconsistent"),
        (v6() / IPv6ExtHdrFragment(id=1, offset=8191, nh=58) / Raw(b"x" * 8), 0, 42, "FragmentTooLong"),
        (v6() / IPv6ExtHdrFragment(id=1, m=1, nh=6) / Raw(b"x" * 16), 3, 0, "FragmentHeaders"),
        (v6() / IPv6ExtHdrFragment(id=1, m=1, nh=60) / Raw(b"\x3a\x04" + b"\0" * 14), 3, 0, "FragmentHeaders"),
    ],
)
def test_parameter_problems(packet: object, code: int, pointer: int, reason: str) -> None:
    host = Host6()
    reply = answer(host, packet)
    assert reply is not None
    assert (reply[ICMPv6ParamProblem].code, reply[ICMPv6ParamProblem].ptr) == (code, pointer)
    assert host.rejects() == {reason: 1}
    assert bytes(reply[ICMPv6ParamProblem].payload)[:40] == bytes(packet)[:40]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (v6(src="ff02::1") / ECHO, "MartianSource"),
        (v6(src="::1") / ECHO, "MartianSource"),
        (v6(src="::ffff:10.0.0.2") / ECHO, "MartianSource"),
        (v6(dst="::1") / ECHO, "MartianDestination"),
        (v6(dst="ff00::1") / ECHO, "MartianDestination"),
        (v6(dst="ff01::1") / ECHO, "MartianDestination"),
        (v6(dst="2001:db8::77") / ECHO, "NotForUs"),
        (v6(dst="ff02::77") / ECHO, "NotForUs"),
        (v6(nh=59) / Raw(b"nothing"), "Ip6NoNextHeader"),
        (v6() / UDP(dport=9, chksum=0), "UdpChecksum"),
        (v6() / ICMPv6EchoRequest(cksum=1), "IcmpChecksum"),
        (v6(plen=500) / ECHO, "IpTruncated"),
        (v6(src="::") / ECHO, "IcmpIgnored"),
    ],
)
def test_dropped_in_silence(packet: object, reason: str) -> None:
    host = Host6()
    assert answer(host, packet) is None
    assert host.rejects() == {reason: 1}


def test_groups_of_others_end_at_the_mac() -> None:
    host = Host6()
    assert answer(host, v6(dst="ff02::1:ff77:7777") / ECHO, "33:33:ff:77:77:77") is None
    assert host.rejects() == {"EthOtherHost": 1}
    assert answer(host, v6(dst="ff02::1") / ECHO, "33:33:00:00:00:01") is not None


def test_reassembly_needs_all_and_any_order_serves() -> None:
    host = Host6()
    pieces = fragment6(v6() / IPv6ExtHdrFragment(id=5) / ICMPv6EchoRequest(data=b"0123456789" * 300), 1280)
    assert len(pieces) == 3
    for piece in (pieces[2], pieces[0]):
        assert answer(host, piece) is None
    host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / pieces[1])
    out = [Ether(frame)[IPv6] for frame in host.take()]
    assert len(out) == 3 and all(IPv6ExtHdrFragment in p for p in out)
    assert len({p[IPv6ExtHdrFragment].id for p in out}) == 1
    assert host.stack.ipv6.reassembler.memory == 0
    assert (host.counter("Ip6", "ReasmOKs"), host.counter("Ip6", "FragCreates")) == (1, 3)


def test_headers_before_the_fragment_header_stay() -> None:
    """The unfragmentable part of the first fragment is the whole packet's; a header behind it is looked at last."""
    host = Host6()
    body = bytes(ICMPv6EchoRequest(data=b"z" * 30))
    whole = v6() / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(data=b"z" * 30)
    body = bytes(whole)[48:]
    front = v6() / IPv6ExtHdrDestOpt(nh=44)
    for offset, more, data in ((0, 1, body[:16]), (2, 0, body[16:])):
        piece = front / IPv6ExtHdrFragment(nh=58, id=9, offset=offset, m=more) / Raw(data)
        host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / piece)
    [out] = host.take()
    assert Ether(out)[ICMPv6EchoReply].data == b"z" * 30


def test_overlaps_discard_the_whole_packet() -> None:
    """RFC 5722; exact duplicates are ignored, as Linux does."""
    host = Host6()
    frag = IPv6ExtHdrFragment
    body = bytes(v6() / ICMPv6EchoRequest(data=b"q" * 56))[40:]
    answer(host, v6() / frag(nh=58, id=1, m=1) / Raw(body[:32]))
    answer(host, v6() / frag(nh=58, id=1, m=1) / Raw(body[:32]))
    assert host.rejects() == {"FragmentDuplicate": 1}
    answer(host, v6() / frag(nh=58, id=1, m=1, offset=3) / Raw(body[24:40]))
    assert host.rejects() == {"FragmentDuplicate": 1, "FragmentOverlap": 1}
    assert answer(host, v6() / frag(nh=58, id=1, offset=4) / Raw(body[32:])) is None
    assert len(host.stack.ipv6.reassembler) == 1  # what came later begins anew, and will never be complete


def test_an_atomic_fragment_is_no_part_of_others() -> None:
    """RFC 6946: it neither completes nor harms fragments with the same identification."""
    host = Host6()
    body = bytes(v6() / ICMPv6EchoRequest(data=b"q" * 56))[40:]
    answer(host, v6() / IPv6ExtHdrFragment(nh=58, id=1, m=1) / Raw(body[:32]))
    assert answer(host, v6() / IPv6ExtHdrFragment(nh=58, id=1) / ECHO) is not None
    assert answer(host, v6() / IPv6ExtHdrFragment(nh=58, id=1, offset=4) / Raw(body[32:])) is not None


def test_time_exceeded_after_sixty_seconds() -> None:
    host = Host6()
    body = bytes(v6() / ICMPv6EchoRequest(data=b"q" * 56))[40:]
    answer(host, v6() / IPv6ExtHdrFragment(nh=58, id=1, m=1) / Raw(body[:32]))
    assert [at for at, _ in pump(host, 59 * S)] == []
    [(at, frame)] = pump(host, 61 * S)
    assert at == 60 * S and Ether(frame)[ICMPv6TimeExceeded].code == 1
    # Without the first fragment nobody is told.
    other = Host6()
    answer(other, v6() / IPv6ExtHdrFragment(nh=58, id=1, offset=4) / Raw(body[32:]))
    assert pump(other, 61 * S) == [] and other.counter("Ip6", "ReasmTimeout") == 1


def test_nothing_is_sent_about_authentication_headers() -> None:
    host = Host6()
    answer(host, v6() / AH(nh=58, icv=b"\0" * 12) / ECHO)  # taken or refused, but no exception


@pytest.mark.parametrize(("option", "value"), [(IPV6_DONTFRAG, 1), (IPV6_MTU_DISCOVER, 2)])
def test_too_big_to_send(option: int, value: int) -> None:
    host = Host6()
    sock = host.stack.socket(10, SOCK_DGRAM)
    sock.sendto(b"x" * 3000, (PEER_IP6, 9), 0)
    assert len(host.take()) == 3
    sock.setsockopt(IPPROTO_IPV6, option, value)
    with pytest.raises(OSError) as refused:
        sock.sendto(b"x" * 3000, (PEER_IP6, 9), 0)
    assert refused.value.errno == errno.EMSGSIZE
    sock.sendto(b"x" * 1452, (PEER_IP6, 9), 0)
    [frame] = host.take()
    assert len(frame) == 1514


def test_ipv6_can_be_switched_off() -> None:
    host = Host6(net__ipv6__conf__all__disable_ipv6=1)
    assert answer(host, v6() / ECHO) is None
    assert host.rejects() == {"Ip6Disabled": 1}


def test_a_link_below_1280_has_no_ipv6() -> None:
    host = Host6()
    host.stack.add_interface("eth9", "02:00:00:00:00:09", mtu=1279)
    assert host.stack.interface("eth9").addresses == []
    with pytest.raises(OSError, match="IPv6 needs an MTU"):
        host.stack.add_address("eth9", "2001:db8:9::1/64")
