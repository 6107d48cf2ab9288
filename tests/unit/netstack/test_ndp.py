"""Neighbour discovery: who is believed about what (RFC 4861 section 7), and duplicate addresses (RFC 4862)."""

from __future__ import annotations

import random

import pytest
from scapy.all import (
    Ether,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    Raw,
)

from netstack import Frame, Stack
from netstack.neighbour import DELAY, INCOMPLETE, REACHABLE, STALE, Neighbour
from netstack.socket import SOCK_DGRAM
from tests.unit.netstack.net import MS, OUR_IP6, OUR_MAC, PEER_IP6, PEER_MAC, Host6, Net, S, pump

OTHER_MAC = "02:00:00:00:00:77"
GROUP, GROUP_MAC = "ff02::1:ff00:1", "33:33:ff:00:00:01"
PEER = bytes.fromhex("20010db8000000000000000000000002")


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def solicitation(
    src: str = PEER_IP6, dst: str = GROUP, target: str = OUR_IP6, hlim: int = 255, mac: str | None = PEER_MAC
) -> object:
    packet = IPv6(src=src, dst=dst, hlim=hlim) / ICMPv6ND_NS(tgt=target)
    if mac:
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return Ether(src=PEER_MAC, dst=GROUP_MAC if dst == GROUP else OUR_MAC) / packet


def advertisement(
    mac: str | None = PEER_MAC, s: int = 1, o: int = 1, dst: str = OUR_IP6, hlim: int = 255, target: str = PEER_IP6
) -> object:
    packet = IPv6(src=PEER_IP6, dst=dst, hlim=hlim) / ICMPv6ND_NA(tgt=target, R=0, S=s, O=o)
    if mac:
        packet /= ICMPv6NDOptDstLLAddr(lladdr=mac)
    return Ether(src=PEER_MAC, dst="33:33:00:00:00:01" if dst == "ff02::1" else OUR_MAC) / packet


def entry(host: Host6) -> Neighbour | None:
    table = host.stack.interface("eth0").neighbours6
    assert table is not None
    return table.lookup(PEER)


def asking(now: int = 0) -> Host6:
    """A host that has asked for its peer, with a datagram waiting."""
    host = Host6(resolve=False)
    host.stack.socket(10, SOCK_DGRAM).sendto(b"hello", (PEER_IP6, 9), now)
    [question] = host.take(now)
    solicit = Ether(question)
    assert (solicit.dst, solicit[IPv6].dst, solicit[IPv6].src, solicit[IPv6].hlim) == (
        "33:33:ff:00:00:02", "ff02::1:ff00:2", OUR_IP6, 255,
    )  # fmt: skip
    assert solicit[ICMPv6ND_NS].tgt == PEER_IP6 and solicit[ICMPv6NDOptSrcLLAddr].lladdr == OUR_MAC
    return host


def test_a_question_is_answered_and_the_asker_noted() -> None:
    host = Host6(resolve=False)
    host.give(solicitation())
    [frame] = host.take()
    reply = Ether(frame)
    assert (reply.dst, reply[IPv6].src, reply[IPv6].dst, reply[IPv6].hlim) == (PEER_MAC, OUR_IP6, PEER_IP6, 255)
    assert (reply[ICMPv6ND_NA].R, reply[ICMPv6ND_NA].S, reply[ICMPv6ND_NA].O) == (0, 1, 1)
    assert reply[ICMPv6NDOptDstLLAddr].lladdr == OUR_MAC
    noted = entry(host)
    assert noted is not None and noted.mac == mac_bytes(PEER_MAC) and noted.state in (STALE, DELAY)


def test_a_probe_from_nowhere_is_answered_to_all_and_not_noted() -> None:
    host = Host6(resolve=False)
    host.give(solicitation(src="::", mac=None))
    [frame] = host.take()
    assert (Ether(frame).dst, Ether(frame)[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")
    assert Ether(frame)[ICMPv6ND_NA].S == 0
    assert entry(host) is None


@pytest.mark.parametrize(
    "frame",
    [
        solicitation(hlim=254),
        advertisement(hlim=64),
        solicitation(src="::", mac=PEER_MAC),
        solicitation(src="::", dst=OUR_IP6, mac=None),
        solicitation(target="ff02::1"),
        advertisement(dst="ff02::1", s=1),
        Ether(src=PEER_MAC, dst=GROUP_MAC) / IPv6(src=PEER_IP6, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=OUR_IP6, code=1),
        solicitation(mac=None) / Raw(b"\1\0abcdef"),  # an option of length 0
        Ether(src=PEER_MAC, dst="33:33:00:00:00:01") / IPv6(src=PEER_IP6, dst="ff02::1", hlim=255) / ICMPv6ND_RA(),
    ],
)
def test_malformed_messages_are_dropped(frame: object) -> None:
    host = Host6(resolve=False)
    host.give(frame)
    assert host.take() == [] and host.rejects() == {"NdpBad": 1} and entry(host) is None


def test_nobody_is_learnt_unasked() -> None:
    host = Host6(resolve=False)
    for frame in (advertisement(), advertisement(s=0, dst="ff02::1"), solicitation(target="2001:db8::99")):
        host.give(frame)
    assert entry(host) is None
    assert host.rejects() == {"NdpUnsolicited": 2, "NdpNotForUs": 1}


def test_resolution_sends_what_waited() -> None:
    host = asking()
    host.give(advertisement())
    [frame] = host.take()
    assert Ether(frame).dst == PEER_MAC and Ether(frame)[Raw].load == b"hello"
    assert entry(host).state == REACHABLE


def test_an_answer_without_a_mac_does_not_resolve() -> None:
    host = asking()
    host.give(advertisement(mac=None))
    assert entry(host).state == INCOMPLETE and host.take() == []


@pytest.mark.parametrize(
    ("s", "o", "mac", "state", "believed"),
    [
        (1, 0, PEER_MAC, REACHABLE, PEER_MAC),
        (1, 1, OTHER_MAC, REACHABLE, OTHER_MAC),
        (0, 1, OTHER_MAC, STALE, OTHER_MAC),
        (1, 0, OTHER_MAC, STALE, PEER_MAC),  # without override a REACHABLE entry is only doubted
        (0, 0, OTHER_MAC, STALE, PEER_MAC),
        (0, 0, PEER_MAC, REACHABLE, PEER_MAC),
        (1, 1, None, REACHABLE, PEER_MAC),
    ],
)
def test_advertisements_on_a_reachable_entry(s: int, o: int, mac: str | None, state: int, believed: str) -> None:
    host = asking()
    host.give(advertisement())
    host.take()
    host.give(advertisement(mac=mac, s=s, o=o), 10 * MS)
    assert (entry(host).state, entry(host).mac) == (state, mac_bytes(believed))


def test_three_questions_then_unreachable() -> None:
    host = Host6(resolve=False)
    sock = host.stack.socket(10, SOCK_DGRAM)
    sock.connect((PEER_IP6, 9), 0)
    sock.setsockopt(41, 25, 1)  # IPV6_RECVERR
    sock.send(b"x", 0)
    host.take(0)
    assert [at for at, _ in pump(host, 10 * S)] == [1 * S, 2 * S]
    assert sock.getsockopt(1, 4) == 113


def test_doubt_is_resolved_by_a_unicast_question() -> None:
    host = asking()
    host.give(advertisement())
    host.take()
    pump(host, 100 * S)
    assert entry(host).state == STALE
    host.stack.socket(10, SOCK_DGRAM).sendto(b"again", (PEER_IP6, 9), 100 * S)
    host.take(100 * S)
    sent = pump(host, 106 * S)
    assert [at for at, _ in sent] == [105 * S, 106 * S]
    probe = Ether(sent[0][1])
    assert (probe.dst, probe[IPv6].dst, probe[ICMPv6ND_NS].tgt) == (PEER_MAC, PEER_IP6, PEER_IP6)
    host.give(advertisement(), 106 * S)
    assert entry(host).state == REACHABLE


# Duplicate address detection.

DAD = {"net__ipv6__conf__all__accept_dad": 1}


def test_an_address_is_tentative_until_nobody_answered() -> None:
    net = Net()
    a, b = net.stack(1, **DAD), net.stack(2, **DAD)
    net.link(a, "eth0", b, "eth0")
    a.add_address("eth0", OUR_IP6 + "/64")
    with pytest.raises(OSError, match="not an address of this host"):
        a.socket(10, SOCK_DGRAM).bind((OUR_IP6, 5))
    net.run(3 * S)
    a.socket(10, SOCK_DGRAM).bind((OUR_IP6, 5))
    probes = [Ether(f) for f in net.seen if ICMPv6ND_NS in Ether(f)]
    assert {(p[IPv6].src, p[ICMPv6ND_NS].tgt) for p in probes} == {
        ("::", "fe80::ff:fe00:101"), ("::", "fe80::ff:fe00:201"), ("::", OUR_IP6),
    }  # fmt: skip
    assert all(ICMPv6NDOptSrcLLAddr not in p for p in probes) and len(probes) == 3


@pytest.mark.parametrize("head_start", [0, 5 * S])
def test_two_with_one_address(head_start: int) -> None:
    """Who had it keeps it; of two that try at the same time, who asks first gets it."""
    net = Net()
    a, b = net.stack(1, **DAD), net.stack(2, **DAD)
    net.link(a, "eth0", b, "eth0")
    a.add_address("eth0", OUR_IP6 + "/64")
    net.run(head_start)
    b.now = net.now
    b.add_address("eth0", OUR_IP6 + "/64")
    net.run(head_start + 5 * S)
    mine = a.interface("eth0").find(bytes.fromhex("20010db8000000000000000000000001"))
    theirs = b.interface("eth0").find(bytes.fromhex("20010db8000000000000000000000001"))
    assert mine is not None and theirs is not None
    assert mine.usable != theirs.usable
    if head_start:
        assert theirs.duplicate


def test_without_it_an_address_serves_at_once() -> None:
    host = Host6()
    assert host.take() == []
    host.stack.socket(10, SOCK_DGRAM).bind((OUR_IP6, 5))
    host.stack.add_address("eth0", "2001:db8::5/64", dad=True)
    with pytest.raises(OSError, match="not an address"):
        host.stack.socket(10, SOCK_DGRAM).bind(("2001:db8::5", 5))
    pump(host, 5 * S)
    host.stack.socket(10, SOCK_DGRAM).bind(("2001:db8::5", 5))


def test_a_removed_address_leaves_its_group() -> None:
    host = Host6()
    interface = host.stack.interface("eth0")
    groups, macs = dict(interface.groups), dict(interface.mac_groups)
    host.stack.add_address("eth0", "2001:db8::abcd:1234/64")
    assert len(interface.groups) == len(groups) + 1
    host.stack.remove_address("eth0", "2001:db8::abcd:1234/64")
    assert (interface.groups, interface.mac_groups) == (groups, macs)
    host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER_IP6, dst="2001:db8::abcd:1234") / ICMPv6EchoRequest())
    assert host.rejects() == {"NotForUs": 1}


def test_who_asks_the_group_for_an_anycast_address_waits_a_little() -> None:
    """RFC 4861 section 7.2.7, RFC 4291 section 2.6.1; what is answered is compared in tests/interop."""
    for forwarding in (1, 0):
        stack = Stack(random.Random(1))
        stack.settings.conf6_forwarding = forwarding
        stack.add_interface("eth0", "02:00:00:00:00:01", mtu=1500)
        stack.add_address("eth0", "2001:db8::1/64")
        link = Ether(src="02:00:00:00:00:02", dst="33:33:ff:00:00:00")
        asked = link / IPv6(src="2001:db8::2", dst="ff02::1:ff00:0", hlim=255) / ICMPv6ND_NS(tgt="2001:db8::")
        asked /= ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:02")
        stack.receive("eth0", Frame.of(bytes(asked)), 0)
        assert not list(stack.transmit(0))
        at = stack.next_deadline()
        assert (at is not None and 0 < at < 800_000_000) == bool(forwarding)
        if at is not None:
            stack.on_deadline(at)
            ((_, frame),) = stack.transmit(at)
            told = Ether(bytes(frame))[ICMPv6ND_NA]
            assert (told.tgt, told.R, told.S, told.O) == ("2001:db8::", 1, 1, 0)
