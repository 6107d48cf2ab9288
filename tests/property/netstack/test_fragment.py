"""Fragments in any order, with duplicates, give exactly the datagram; overlaps give nothing; memory ends at zero."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import IP, UDP, Ether, Raw, fragment

from netstack.socket import SOCK_DGRAM
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host, S, pump


@st.composite
def cut_datagram(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A UDP payload and its IP fragments, cut at arbitrary multiples of 8, in arbitrary order, with duplicates."""
    payload = draw(st.binary(min_size=1, max_size=400))
    whole = bytes(IP(src=PEER_IP, dst=OUR_IP, id=draw(st.integers(0, 65535))) / UDP(sport=5, dport=7) / Raw(payload))
    body = whole[20:]
    cuts = sorted(draw(st.sets(st.integers(1, max(1, (len(body) - 1) // 8)), min_size=1, max_size=8)))
    edges = [0, *[c * 8 for c in cuts if c * 8 < len(body)], len(body)]
    pieces = []
    for start, end in pairwise(edges):
        head = IP(whole[:20])
        del head.len, head.chksum
        head.frag, head.flags = start // 8, "MF" if end < len(body) else 0
        pieces.append(bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / head / Raw(body[start:end])))
    order = draw(st.permutations(pieces))
    doubled = draw(st.lists(st.sampled_from(pieces), max_size=4))
    for piece in doubled:
        # A duplicate after the datagram is complete would begin another one: that is another test's matter.
        order.insert(draw(st.integers(0, len(order) - 1)), piece)
    return payload, order


@given(cut_datagram())
@settings(max_examples=150, deadline=None)
def test_any_order_with_duplicates(case: tuple[bytes, list[bytes]]) -> None:
    payload, order = case
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.bind((OUR_IP, 7))
    for piece in order:
        host.give(piece)
        if sock.readiness() & 1:
            break
    assert sock.recvfrom(65535, 0) == (payload, (PEER_IP, 5))
    assert host.stack.ipv4.reassembler.memory == 0
    assert len(host.stack.ipv4.reassembler) == 0


@given(st.integers(1, 6), st.integers(1, 7), st.binary(min_size=120, max_size=120), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_overlap_discards_the_datagram(start: int, shift: int, payload: bytes, backwards: bool) -> None:
    """Two pieces that share bytes but neither contains the other: never anything delivered from them."""
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.bind((OUR_IP, 7))
    body = bytes(UDP(sport=5, dport=7) / Raw(payload))

    def piece(at: int, end: int, more: bool) -> bytes:
        head = IP(src=PEER_IP, dst=OUR_IP, id=9, proto=17, frag=at, flags="MF" if more else 0)
        return bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / head / Raw(body[at * 8 : end * 8]))

    middle = start + shift
    first, second = piece(start, middle + 1, True), piece(middle, middle + 2, True)  # one unit of overlap
    host.give(second if backwards else first)
    host.give(first if backwards else second)
    assert host.counter("IpExt", "ReasmOverlaps") == 1
    assert host.counter("Ip", "ReasmFails") == 1
    assert host.rejects() == {"FragmentOverlap": 1}
    assert len(host.stack.ipv4.reassembler) == 0


@given(st.binary(min_size=1, max_size=5000), st.integers(68, 1500))
@settings(max_examples=60, deadline=None)
def test_what_we_fragment_another_stack_of_ours_and_scapy_reassemble(payload: bytes, mtu: int) -> None:
    """Output against two readers: our own reassembler, and Scapy's for the headers."""
    host = Host(mtu=mtu)
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.bind((OUR_IP, 7))
    sock.sendto(payload, (PEER_IP, 8), 0)
    frames = host.take()
    assert all(len(frame) - 14 <= mtu for frame in frames)
    from scapy.all import defragment

    joined = defragment([Ether(frame)[IP] for frame in frames])
    assert len(joined) == 1
    assert bytes(joined[0][UDP].payload) == payload
    if len(frames) > 1:
        assert host.counter("Ip", "FragOKs") == 1
        assert host.counter("Ip", "FragCreates") == len(frames)


def test_scapy_fragments() -> None:
    """Scapy's own fragmenter, as an independent builder."""
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.bind((OUR_IP, 7))
    payload = bytes(range(256)) * 100
    for part in fragment(IP(src=PEER_IP, dst=OUR_IP, id=77) / UDP(sport=5, dport=7) / Raw(payload), fragsize=1480):
        host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / part)
    assert sock.recvfrom(65535, 0)[0] == payload
    assert host.counter("Ip", "ReasmOKs") == 1
    assert pump(host, 60 * S) == []
