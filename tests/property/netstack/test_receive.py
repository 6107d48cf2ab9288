"""Whatever arrives, the stack does not raise, stays within its bounds, and one counter says why it threw it away."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.all import (
    ICMP,
    IP,
    TCP,
    UDP,
    Ether,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Raw,
    fuzz,
    in6_chksum,
)

from tests.unit.netstack.net import OUR_IP, OUR_IP6, OUR_MAC, PEER_IP, PEER_IP6, PEER_MAC, Host, Host6, pump

HEAD = bytes.fromhex((OUR_MAC + PEER_MAC).replace(":", ""))


@given(st.lists(st.binary(max_size=100), max_size=20))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_never_raise(packets: list[bytes]) -> None:
    host = Host()
    for packet in packets:
        host.give(packet)
        host.give(HEAD + b"\x08\x00" + packet)
        host.give(HEAD + b"\x08\x06" + packet)
        host.give(HEAD + b"\x86\xdd" + packet)
    host.take()
    pump(host, 100_000_000_000)


@given(
    st.sampled_from(["tcp", "udp", "icmp", "frag", "opts"]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=6),
    st.integers(0, 90),
)
@example("icmp", [(20, 0x4F)], 90)
@settings(max_examples=300, deadline=None)
def test_damaged_packets_never_raise_and_are_counted_once(kind: str, edits: list[tuple[int, int]], cut: int) -> None:
    l3 = IP(src=PEER_IP, dst=OUR_IP)
    packet = {
        "tcp": l3 / TCP(dport=80, flags="S", options=[("MSS", 1460), ("SAckOK", b"")]) / Raw(b"x" * 20),
        "udp": l3 / UDP(dport=9) / Raw(b"y" * 20),
        "icmp": l3 / ICMP() / Raw(b"z" * 20),
        "frag": IP(src=PEER_IP, dst=OUR_IP, flags="MF", frag=3, proto=17) / Raw(b"f" * 32),
        "opts": IP(src=PEER_IP, dst=OUR_IP, options=b"\x07\x07\x04abcd\x00") / ICMP(),
    }[kind]
    data = bytearray(bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / packet))
    for at, value in edits:
        if at < len(data):
            data[at] = value
    host = Host()
    before = sum(host.rejects().values())
    host.give(bytes(data[: max(cut, 1)] if cut < 80 else data))
    assert sum(host.rejects().values()) - before <= 1
    host.take()
    pump(host, 100_000_000_000)
    assert host.stack.ipv4.reassembler.memory == 0


@given(
    st.sampled_from(["tcp", "udp", "echo", "frag", "options", "routing", "ns", "na", "too big", "unreachable"]),
    st.lists(st.tuples(st.integers(0, 110), st.integers(0, 255)), max_size=6),
    st.integers(0, 120),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_damaged_ipv6_packets_never_raise_and_are_counted_once(
    kind: str, edits: list[tuple[int, int]], cut: int, forwarding: bool
) -> None:
    """Also as a router; and with checksums made good again, so that the damage is met further in."""
    l3 = IPv6(src=PEER_IP6, dst=OUR_IP6)
    quoted = IPv6(src=OUR_IP6, dst=PEER_IP6) / UDP(sport=5, dport=9) / Raw(b"q" * 8)
    packet = {
        "tcp": l3 / TCP(dport=80, flags="S", options=[("MSS", 1460), ("SAckOK", b"")]) / Raw(b"x" * 20),
        "udp": l3 / UDP(dport=9) / Raw(b"y" * 20),
        "echo": l3 / ICMPv6EchoRequest(data=b"z" * 20),
        "frag": l3 / IPv6ExtHdrFragment(m=1, offset=3, nh=17) / Raw(b"f" * 32),
        "options": l3 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(),
        "routing": l3 / IPv6ExtHdrRouting(addresses=["2001:db8::7"], segleft=0) / ICMPv6EchoRequest(),
        "ns": IPv6(src=PEER_IP6, dst=OUR_IP6, hlim=255) / ICMPv6ND_NS(tgt=OUR_IP6) / ICMPv6NDOptSrcLLAddr(),
        "na": IPv6(src=PEER_IP6, dst=OUR_IP6, hlim=255) / ICMPv6ND_NA(tgt=PEER_IP6) / ICMPv6NDOptSrcLLAddr(),
        "too big": l3 / ICMPv6PacketTooBig(mtu=1300) / quoted,
        "unreachable": l3 / ICMPv6DestUnreach(code=4) / quoted,
    }[kind]
    data = bytearray(bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / packet))
    for at, value in edits:
        if at < len(data):
            data[at] = value
    if cut & 1 and data[20] == 58 and len(data) > 58:
        data[56:58] = b"\0\0"
        data[56:58] = in6_chksum(58, IPv6(bytes(data[14:54])), bytes(data[54:])).to_bytes(2, "big")
    host = Host6(net__ipv6__conf__all__forwarding=int(forwarding))
    before = sum(host.rejects().values())
    host.give(bytes(data[: max(cut, 1)] if cut < 80 else data))
    assert sum(host.rejects().values()) - before <= 1
    host.take()
    pump(host, 100_000_000_000)
    assert host.stack.ipv6.reassembler.memory == 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_scapy_fuzz(seed: int) -> None:
    import random

    random.seed(seed)  # Scapy's fuzz() draws from the module's generator
    host = Host()
    for layer in (IP(dst=OUR_IP) / TCP(), IP(dst=OUR_IP) / UDP(), IP(dst=OUR_IP) / ICMP()):
        host.give(bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / fuzz(layer)))
    host.take()
    pump(host, 100_000_000_000)
