"""What a redirect does, how long, and how many are sent. What is believed, and what is said, is compared with Linux in
tests/interop/netstack/test_redirects.py."""

from __future__ import annotations

import random
import socket
from typing import Any

from scapy.all import ARP, ICMP, IP, UDP, Ether, Raw
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_Redirect, ICMPv6NDOptRedirectedHdr, IPv6

from netstack import Frame, Stack

SECOND = 1_000_000_000
OURS, GATE, NEAR = (f"02:00:00:00:00:0{n}" for n in (1, 2, 5))
FAR, FAR6 = "192.0.2.9", "2001:db8:9::9"


def host(**settings: int) -> Stack:
    stack = Stack(random.Random(1))
    for name, value in settings.items():
        setattr(stack.settings, name, value)
    interface = stack.add_interface("eth0", OURS, mtu=1500)
    stack.add_address("eth0", "10.0.0.1/24")
    stack.add_address("eth0", "2001:db8::1/64")
    stack.add_route("default", via="10.0.0.2", dev="eth0")
    stack.add_route("default", via="fe80::2", dev="eth0")
    for table, gate in ((interface.neighbours, "10.0.0.2"), (interface.neighbours6, "fe80::2")):
        assert table is not None
        family = socket.AF_INET6 if ":" in gate else socket.AF_INET
        table.add_permanent(socket.inet_pton(family, gate), bytes.fromhex(GATE.replace(":", "")), 0)
    return stack


def give(stack: Stack, packet: Any, now: int, src: str = GATE) -> list[Any]:
    stack.receive("eth0", Frame.of(bytes(Ether(src=src, dst=OURS) / packet)), now)
    return [Ether(bytes(frame)) for _, frame in stack.transmit(now)]


def wait(stack: Stack, until: int) -> None:
    while (at := stack.next_deadline()) is not None and at <= until:
        stack.on_deadline(at)
        stack.transmit(at)


def redirect() -> Any:
    return (
        IP(src="10.0.0.2", dst="10.0.0.1")
        / ICMP(type=5, code=1, gw="10.0.0.5")
        / IP(src="10.0.0.1", dst=FAR)
        / ICMP(type=0)
    )


def way(stack: Stack, now: int) -> str:
    (answer,) = give(stack, IP(src=FAR, dst="10.0.0.1") / ICMP(), now)
    return str(answer.dst)


def test_a_gateway_that_is_not_known_yet_is_asked_for_and_the_next_redirect_counts() -> None:
    stack = host()
    (question,) = give(stack, redirect(), 0)
    assert question[ARP].pdst == "10.0.0.5"
    assert way(stack, 1) == GATE
    give(stack, ARP(op=2, hwsrc=NEAR, psrc="10.0.0.5", hwdst=OURS, pdst="10.0.0.1"), 2, NEAR)
    assert way(stack, 3) == GATE
    give(stack, redirect(), 4)
    assert way(stack, 5) == NEAR


def known(stack: Stack) -> None:
    near = bytes.fromhex(NEAR.replace(":", ""))
    interface = stack.interfaces["eth0"]
    assert interface.neighbours is not None
    assert interface.neighbours6 is not None
    interface.neighbours.add_permanent(socket.inet_aton("10.0.0.5"), near, 0)
    interface.neighbours6.add_permanent(socket.inet_pton(socket.AF_INET6, "fe80::5"), near, 0)


def test_it_is_forgotten_after_300_seconds_and_with_its_route() -> None:
    stack = host()
    known(stack)
    give(stack, redirect(), 0)
    wait(stack, 299 * SECOND)
    assert way(stack, 299 * SECOND) == NEAR
    wait(stack, 300 * SECOND)
    assert way(stack, 300 * SECOND) == GATE
    assert not stack.routes.redirects
    give(stack, redirect(), 301 * SECOND)
    assert way(stack, 301 * SECOND) == NEAR
    stack.remove_route("0.0.0.0/0")
    stack.add_route("default", via="10.0.0.2", dev="eth0")
    assert way(stack, 302 * SECOND) == GATE


def test_of_ipv6_it_is_forgotten_when_it_was_not_used_for_a_minute() -> None:
    stack = host()
    known(stack)
    quote = IPv6(src="2001:db8::1", dst=FAR6) / ICMPv6EchoReply()
    told = IPv6(src="fe80::2", dst="2001:db8::1", hlim=255) / ICMPv6ND_Redirect(tgt="fe80::5", dst=FAR6)
    give(stack, told / ICMPv6NDOptRedirectedHdr(pkt=bytes(quote)), 0)

    def way6(now: int) -> str:
        wait(stack, now)
        (answer,) = give(stack, IPv6(src=FAR6, dst="2001:db8::1") / ICMPv6EchoRequest(), now)
        return str(answer.dst)

    for at in (1, 50, 100, 150, 200):
        assert way6(at * SECOND) == NEAR
    assert way6(300 * SECOND) == GATE
    assert not stack.routes.redirects
    assert stack.next_deadline() is None or not stack.redirects.timer.deadline


def test_not_believed_where_a_setting_says_so() -> None:
    for settings in ({"conf_accept_redirects": 0}, {"ip_forward": 1}):
        stack = host(**settings)
        known(stack)
        give(stack, redirect(), 0)
        assert way(stack, 1) == GATE
        assert stack.counters.reject.IcmpIgnored == 1


def sent(stack: Stack, at: int) -> int:
    packet = IP(src="10.0.0.7", dst=FAR) / UDP(sport=1, dport=9) / Raw(b"text")
    return sum(1 for frame in give(stack, packet, at) if ICMP in frame and frame[ICMP].type == 5)


def test_nine_are_sent_ever_more_slowly_and_then_none_until_there_was_silence() -> None:
    stack = host(ip_forward=1)
    interface = stack.interfaces["eth0"]
    assert interface.neighbours is not None
    interface.neighbours.add_permanent(socket.inet_aton("10.0.0.7"), bytes((2, 0, 0, 0, 0, 7)), 0)
    times = [at for at in range(0, 30_000, 10) if sent(stack, at * 1_000_000)]
    assert times == [0, 50, 140, 310, 640, 1290, 2580, 5150, 10280]
    assert not sent(stack, 30 * SECOND)
    assert sent(stack, 51 * SECOND)


def test_none_is_sent_where_a_setting_says_so() -> None:
    assert not sent(host(ip_forward=1, conf_send_redirects=0), 0)
