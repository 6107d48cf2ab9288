"""Redirects, to Linux in a namespace and to this stack: what each believes, step by step, shows in where its echo
replies go; and as routers both send the same."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, Raw
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptRedirectedHdr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

from netstack import Stack
from tests.interop.netstack.test_same_answers import (
    A4,
    A6,
    OURS,
    P4,
    P6,
    PEER,
    PORT,
    datagram,
    differences,
    seen,
    v4,
    v6,
)

pytestmark = pytest.mark.interop

NEAR4, NEAR6, NEAR_MAC = "10.7.0.5", "fe80::5", "02:00:00:00:00:05"
THIRD4, THIRD6, THIRD_MAC = "10.7.0.6", "fe80::6", "02:00:00:00:00:06"
GATE6 = "fe80::2"
FAR4, FAR6 = "192.0.2.9", "2001:db8:9::9"
MACS = {P4: PEER, NEAR4: NEAR_MAC, THIRD4: THIRD_MAC, GATE6: PEER, NEAR6: NEAR_MAC, THIRD6: THIRD_MAC}


def commands(routes: Iterable[tuple[str, str]], *settings: str) -> list[str]:
    lines = [f"ip neigh replace {host} lladdr {mac} dev t0 nud permanent" for host, mac in MACS.items()]
    lines += [f"ip {'-6 ' if ':' in via else ''}route add {to} via {via} dev t0" for to, via in routes]
    return [*(f"sysctl -qw {one}" for one in settings), *lines]


def prepared(routes: Iterable[tuple[str, str]], **settings: int) -> Callable[[Stack], None]:
    def prepare(stack: Stack) -> None:
        for name, value in settings.items():
            setattr(stack.settings, name, value)
        interface = stack.interfaces["t0"]
        for host, mac in MACS.items():
            six = ":" in host
            table: Any = interface.neighbours6 if six else interface.neighbours
            address = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host)
            table.add_permanent(address, bytes.fromhex(mac.replace(":", "")), 0)
        for to, via in routes:
            stack.add_route(to, via=via, dev="t0")

    return prepare


def plainly(frame: bytes) -> str | None:
    return None if frame[12:14] == b"\x08\x06" else seen(frame)


def redirect4(gateway: str, quote: Any, sender: str = P4, code: int = 1) -> bytes:
    quote.chksum = 0  # which nobody looks at
    return v4(ICMP(type=5, code=code, gw=gateway) / Raw(bytes(quote)), src=sender)


def redirect6(target: str, to: str = FAR6, sender: str = GATE6, quote: Any = None, **fields: Any) -> bytes:
    message = ICMPv6ND_Redirect(tgt=target, dst=to)
    if mac := fields.pop("lladdr", None):
        message /= ICMPv6NDOptDstLLAddr(lladdr=mac)
    if quote is not None:
        packet = bytes(quote)
        message /= ICMPv6NDOptRedirectedHdr(pkt=packet + bytes(-len(packet) % 8))
    return v6(message, src=sender, hlim=fields.pop("hlim", 255), **fields)


def believed4() -> dict[str, list[bytes]]:
    ask = v4(ICMP(id=1), src=FAR4)
    reply = IP(src=A4, dst=FAR4) / ICMP(type=0, id=1)
    text = IP(src=A4, dst=FAR4) / UDP(sport=PORT, dport=9) / Raw(b"text")
    steps: dict[str, list[bytes]] = {"before": [ask]}
    for gateway in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "10.7.0.255", "127.0.0.1", P4, A4):
        steps[f"to {gateway}"] = [redirect4(gateway, reply.copy()), ask]
    steps |= {
        "from another": [redirect4(NEAR4, reply.copy(), THIRD4), ask],
        "code 4": [redirect4(NEAR4, reply.copy(), code=4), ask],
        "of a request": [redirect4(NEAR4, IP(src=A4, dst=FAR4) / ICMP(type=8)), ask],
        "of a stranger": [redirect4(NEAR4, IP(src=P4, dst=FAR4) / ICMP(type=0)), ask],
        "of no socket": [redirect4(NEAR4, IP(src=A4, dst=FAR4) / UDP(sport=PORT + 1, dport=9)), ask],
        "of no segment": [redirect4(NEAR4, IP(src=A4, dst=FAR4, proto=6) / Raw(bytes(20))), ask],
        "of no protocol": [redirect4(NEAR4, IP(src=A4, dst=FAR4, proto=254) / Raw(bytes(20))), ask],
        "cut short": [redirect4(NEAR4, IP(src=A4, dst=FAR4, proto=1) / Raw(bytes(4))), ask],
        "of a neighbour": [redirect4(NEAR4, IP(src=A4, dst=P4) / ICMP(type=0)), v4(ICMP(id=1))],
        "of a datagram": [redirect4(NEAR4, text.copy()), ask],
        "for one host": [v4(ICMP(id=1), src="192.0.2.8")],
        "no longer the gateway": [redirect4(THIRD4, reply.copy()), ask],
        "by the new one, back": [redirect4(P4, reply.copy(), NEAR4), ask],
        "of a reply": [redirect4(THIRD4, reply.copy()), ask],
        "for a network": [
            redirect4(NEAR4, IP(src=A4, dst="198.51.100.1") / ICMP(type=0), code=0),
            v4(ICMP(id=1), src="198.51.100.1"), v4(ICMP(id=1), src="198.51.100.2"),
        ],
    }  # fmt: skip
    return steps


def believed6() -> dict[str, list[bytes]]:
    ask = v6(ICMPv6EchoRequest(id=1), src=FAR6)
    reply = IPv6(src=A6, dst=FAR6) / ICMPv6EchoReply(id=1)
    steps: dict[str, list[bytes]] = {"before": [ask]}
    for target in ("::", "ff02::1", "2001:db8:7::5", "::1"):
        steps[f"to {target}"] = [redirect6(target, quote=reply), ask]
    steps |= {
        "for a group": [redirect6(NEAR6, to="ff02::1", quote=reply), ask],
        "from another": [redirect6(NEAR6, sender=THIRD6, quote=reply), ask],
        "not link-local": [redirect6(NEAR6, sender="2001:db8:7::2", quote=reply), ask],
        "hop limit": [redirect6(NEAR6, hlim=254, quote=reply), ask],
        "of a stranger": [redirect6(NEAR6, quote=IPv6(src="2001:db8:7::2", dst=FAR6) / ICMPv6EchoReply()), ask],
        "of no socket": [redirect6(NEAR6, quote=IPv6(src=A6, dst=FAR6) / UDP(sport=PORT + 1)), ask],
        "nearer": [redirect6(NEAR6, quote=reply), ask],
        "for one host": [v6(ICMPv6EchoRequest(id=1), src="2001:db8:9::8")],
        "no longer the gateway": [redirect6(THIRD6, quote=reply), ask],
        "by the new one": [redirect6(THIRD6, sender=NEAR6, quote=reply), ask],
        "on the link": [redirect6(FAR6, sender=THIRD6, quote=reply, lladdr="02:00:00:00:00:09"), ask],
        "no header": [
            redirect6(NEAR6, to="2001:db8:9::7"), v6(ICMPv6EchoRequest(id=1), src="2001:db8:9::7"),
        ],
        "of a datagram": [
            redirect6(THIRD6, to="2001:db8:9::6", quote=IPv6(src=A6, dst="2001:db8:9::6") / UDP(sport=PORT, dport=9)),
            v6(ICMPv6EchoRequest(id=1), src="2001:db8:9::6"),
        ],
        "a new MAC": [
            redirect6("fe80::7", to="2001:db8:9::5", lladdr="02:00:00:00:00:07"),
            v6(ICMPv6EchoRequest(id=1), src="2001:db8:9::5"),
        ],
    }  # fmt: skip
    return steps


def through() -> dict[str, list[bytes]]:
    steps = {
        "over there": [v4(datagram(20), dst=FAR4)], "again": [v4(datagram(20), dst=FAR4)],
        "to a neighbour": [v4(datagram(20), src=THIRD4, dst=NEAR4)],
        "from far away": [v4(datagram(20), src="198.51.100.1", dst=FAR4)],
        "dying": [v4(datagram(20), src="10.7.0.7", dst=FAR4, ttl=1)],
        "an error": [v4(ICMP(type=3) / Raw(bytes(IP(src=FAR4, dst=P4) / UDP())), src="10.7.0.8", dst=FAR4)],
        "long": [v4(datagram(1400), src=NEAR4, dst=FAR4)],
        "six": [v6(datagram(20), dst=FAR6)], "six again": [v6(datagram(20), dst=FAR6)],
        "six to a neighbour": [v6(datagram(20), src="2001:db8:7::3", dst="2001:db8:7::5")],
        "six from far away": [v6(datagram(20), src="2001:db8:99::1", dst=FAR6)],
        "six link-local": [v6(datagram(20), src=THIRD6, dst=FAR6)],
        "six dying": [v6(datagram(20), dst=FAR6, hlim=1)],
        "six long": [v6(datagram(1400), src="2001:db8:7::4", dst=FAR6)],
    }  # fmt: skip
    for name, target in (("global", "2001:db8:7::"), ("link-local", "fe80::")):
        asked = IPv6(src=P6, dst=target, hlim=255) / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=PEER)
        steps |= {
            f"anycast {name}": [v6(ICMPv6EchoRequest(id=1), dst=target)],
            f"anycast {name} from the link": [v6(ICMPv6EchoRequest(id=1), src=GATE6, dst=target)],
            f"anycast {name} closed": [v6(datagram(20, 9), dst=target)],
            f"anycast {name} open": [v6(datagram(20), dst=target)],
            f"anycast {name} connection": [v6(TCP(sport=5000, dport=PORT), dst=target)],
            f"anycast {name} asked for": [bytes(Ether(src=PEER, dst=OURS) / asked)],
        }
    for count in range(8):
        steps[f"six, many {count}"] = [v6(datagram(20), src="2001:db8:7::6", dst="2001:db8:9::1")]
    return steps


OTHERWISE = {"6 no longer the gateway", "6 of a datagram"}
"""Linux believes the gateway of the route even when another has taken its place (against RFC 4861 section 8.1), and
of an unbound UDP socket's datagrams no redirect at all."""
NOT_FROM_THERE = {f"anycast {where} {what}" for where in ("global", "link-local") for what in ("open", "closed")}
"""An error about what went to an anycast address Linux sends from that (against RFC 4443 section 2.2)."""

HOST = (("default", P4), ("default", GATE6))
ROUTER = (("192.0.2.0/24", NEAR4), ("198.51.100.0/24", P4), ("2001:db8:9::/64", NEAR6), ("2001:db8:99::/64", GATE6))


def test_a_host_believes_the_same(netns: Callable[[], Any], tmp_path: Path) -> None:
    on = [f"net.ipv{n}.conf.{name}.accept_redirects=1" for n in (4, 6) for name in ("all", "t0")]
    off = [f"net.ipv4.conf.{name}.rp_filter=0" for name in ("all", "t0")]
    steps = {**{f"4 {k}": v for k, v in believed4().items()}, **{f"6 {k}": v for k, v in believed6().items()}}
    different, answers = differences(netns(), tmp_path, steps, commands(HOST, *on, *off), prepared(HOST), plainly)
    assert set(different) == OTHERWISE
    assert answers > len(steps) - 4


def test_a_router_tells_the_same(netns: Callable[[], Any], tmp_path: Path) -> None:
    on = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.t0.send_redirects=1")
    off = [f"net.ipv4.conf.{name}.rp_filter=0" for name in ("all", "t0")]
    own = "ip -6 addr add fe80::ff:fe00:1/64 dev t0 nodad"
    prepare = prepared(ROUTER, ip_forward=1, conf6_forwarding=1)
    extra = f"ip -6 neigh replace 2001:db8:7::5 lladdr {NEAR_MAC} dev t0 nud permanent"

    def ready(stack: Stack) -> None:
        prepare(stack)
        table: Any = stack.interfaces["t0"].neighbours6
        near = socket.inet_pton(socket.AF_INET6, "2001:db8:7::5")
        table.add_permanent(near, bytes.fromhex(NEAR_MAC.replace(":", "")), 0)
        for host, mac in (("2001:db8:7::3", THIRD_MAC), ("2001:db8:7::4", THIRD_MAC), ("2001:db8:7::6", THIRD_MAC)):
            table.add_permanent(socket.inet_pton(socket.AF_INET6, host), bytes.fromhex(mac.replace(":", "")), 0)
        other: Any = stack.interfaces["t0"].neighbours
        for host in ("10.7.0.7", "10.7.0.8"):
            other.add_permanent(socket.inet_aton(host), bytes.fromhex(THIRD_MAC.replace(":", "")), 0)

    more = [
        f"ip neigh replace {host} lladdr {THIRD_MAC} dev t0 nud permanent"
        for host in ("2001:db8:7::3", "2001:db8:7::4", "2001:db8:7::6", "10.7.0.7", "10.7.0.8")
    ]
    different, answers = differences(
        netns(), tmp_path, through(), [own, *commands(ROUTER, *on, *off), extra, *more], ready, plainly
    )
    assert not {name: both for name, both in different.items() if name not in NOT_FROM_THERE}
    assert set(different) == NOT_FROM_THERE
    assert all(len(ours[0]) == len(theirs[0]) for ours, theirs in different.values())
    assert answers > 25
