"""IPv6 fragments in any order, with duplicates, give exactly the packet; and what we fragment, Scapy puts together."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import UDP, Ether, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, Raw, defragment6

from netstack.socket import SOCK_DGRAM
from tests.unit.netstack.net import OUR_IP6, OUR_MAC, PEER_IP6, PEER_MAC, Host6


@st.composite
def cut_packet(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A UDP payload and its fragments, cut at arbitrary multiples of 8 behind the first headers, in arbitrary order."""
    payload = draw(st.binary(min_size=16, max_size=400))
    plain = bytes(IPv6(src=PEER_IP6, dst=OUR_IP6) / UDP(sport=5, dport=7) / Raw(payload))
    body = plain[40:]
    front = IPv6(src=PEER_IP6, dst=OUR_IP6)
    if draw(st.booleans()):
        front /= IPv6ExtHdrDestOpt()
    cuts = sorted(draw(st.sets(st.integers(1, (len(body) - 1) // 8), min_size=1, max_size=8)))
    edges = [0, *[c * 8 for c in cuts], len(body)]
    ident = draw(st.integers(0, 2**32 - 1))
    pieces = []
    for start, end in pairwise(edges):
        more = int(end < len(body))
        piece = front / IPv6ExtHdrFragment(nh=17, id=ident, offset=start // 8, m=more) / Raw(body[start:end])
        pieces.append(bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / piece))
    order = draw(st.permutations(pieces))
    for piece in draw(st.lists(st.sampled_from(pieces), max_size=4)):
        order.insert(draw(st.integers(0, len(order) - 1)), piece)
    return payload, order


@given(cut_packet())
@settings(max_examples=120, deadline=None)
def test_any_order_with_duplicates(case: tuple[bytes, list[bytes]]) -> None:
    payload, order = case
    host = Host6()
    sock = host.stack.socket(10, SOCK_DGRAM)
    sock.bind((OUR_IP6, 7))
    for piece in order:
        host.give(piece)
        if sock.readiness() & 1:
            break
    assert sock.recvfrom(65535, 0) == (payload, (PEER_IP6, 5, 0, 0))
    assert host.stack.ipv6.reassembler.memory == 0 == len(host.stack.ipv6.reassembler)


@given(st.integers(1300, 1500), st.integers(1, 9000))
@settings(max_examples=60, deadline=None)
def test_what_is_cut_is_whole_again(mtu: int, size: int) -> None:
    host = Host6(mtu=mtu)
    payload = (bytes(range(256)) * 40)[:size]
    host.stack.socket(10, SOCK_DGRAM).sendto(payload, (PEER_IP6, 9), 0)
    frames = host.take()
    assert all(len(frame) <= mtu + 14 for frame in frames)
    packets = [IPv6(frame[14:]) for frame in frames]
    whole = packets[0] if len(packets) == 1 else defragment6(packets)
    whole = IPv6(bytes(whole))
    assert whole[UDP].load == payload
    sent = whole[UDP].chksum
    del whole[UDP].chksum
    assert IPv6(bytes(whole))[UDP].chksum == sent
