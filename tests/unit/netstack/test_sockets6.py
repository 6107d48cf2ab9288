"""IPv6 sockets: mapped addresses, scopes, options, ancillary data, and errors that come back; TCP and raw ICMPv6."""

from __future__ import annotations

import errno
import struct

import pytest
from scapy.all import ICMP, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6PacketTooBig, IPerror, IPv6, UDPerror

from netstack import Stack
from netstack.socket import (
    IP_MTU_DISCOVER,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TTL,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_HOPLIMIT,
    IPV6_MTU,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    MSG_ERRQUEUE,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
)
from tests.unit.netstack.net import OUR_IP, OUR_IP6, OUR_MAC, PEER_IP, PEER_IP6, PEER_MAC, Host6, Net, S

INET, INET6 = 2, 10
LL_A, LL_B = "fe80::ff:fe00:101", "fe80::ff:fe00:201"


def pair() -> tuple[Net, Stack, Stack]:
    net = Net()
    a, b = net.stack(1), net.stack(2)
    net.link(a, "eth0", b, "eth0")
    for stack, host in ((a, 1), (b, 2)):
        stack.add_address("eth0", f"10.0.0.{host}/24")
        stack.add_address("eth0", f"2001:db8::{host}/64")
    return net, a, b


def connect(net: Net, sock: object, addr: tuple[object, ...]) -> int:
    """The errno of the attempt."""
    with pytest.raises(BlockingIOError):
        sock.connect(addr, net.now)  # type: ignore[attr-defined]
    net.run(net.now + S // 10)
    return int(sock.getsockopt(1, 4))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("to", "peer", "mine"),
    [
        ((INET6, ("2001:db8::2", 80)), ("2001:db8::1", 0), ("2001:db8::2", 80, 0, 0)),
        ((INET, ("10.0.0.2", 80)), ("::ffff:10.0.0.1", 0), ("::ffff:10.0.0.2", 80, 0, 0)),
        ((INET6, ("::ffff:10.0.0.2", 80)), ("::ffff:10.0.0.1", 0), ("::ffff:10.0.0.2", 80, 0, 0)),
        ((INET6, (LL_B, 80, 0, 2)), (LL_A, 2), (LL_B, 80, 0, 2)),
        ((INET6, (LL_B + "%eth0", 80)), (LL_A, 2), (LL_B, 80, 0, 2)),
    ],
)
def test_one_listener_for_both_versions(to: tuple[int, tuple[object, ...]], peer: object, mine: object) -> None:
    net, a, b = pair()
    server = b.socket(INET6, SOCK_STREAM)
    server.bind(("::", 80))
    server.listen(5)
    client = a.socket(to[0], SOCK_STREAM)
    assert connect(net, client, to[1]) == 0
    conn, who = server.accept(net.now)
    assert (who[0], who[3]) == peer and conn.getsockname() == mine
    for sender, receiver in ((client, conn), (conn, client)):
        sender.send(b"x" * 5000, net.now)
        net.settle()
        assert receiver.recv(9000, net.now) == b"x" * 5000
    client.close(net.now)
    net.run(net.now + S)
    assert conn.recv(10, net.now) == b""


def test_v6only_leaves_the_port_to_ipv4() -> None:
    net, a, b = pair()
    six = b.socket(INET6, SOCK_STREAM)
    six.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    six.bind(("::", 80))
    six.listen(5)
    assert connect(net, a.socket(INET, SOCK_STREAM), ("10.0.0.2", 80)) == errno.ECONNREFUSED
    four = b.socket(INET, SOCK_STREAM)
    four.bind(("0.0.0.0", 80))
    four.listen(5)
    assert connect(net, a.socket(INET, SOCK_STREAM), ("10.0.0.2", 80)) == 0
    assert connect(net, a.socket(INET6, SOCK_STREAM), ("2001:db8::2", 80)) == 0
    assert [bool(s.readiness() & 1) for s in (four, six)] == [True, True]
    with pytest.raises(OSError, match="IPV6_V6ONLY"):
        six.parse_address(("::ffff:1.2.3.4", 1))
    with pytest.raises(OSError, match="bound already"):
        six.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)


@pytest.mark.parametrize("type", [SOCK_STREAM, SOCK_DGRAM])
@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ((INET6, "::", 0), (INET, "0.0.0.0", 0), True),
        ((INET6, "::", 1), (INET, "0.0.0.0", 0), False),
        ((INET6, "::", 0), (INET, "10.0.0.2", 0), True),
        ((INET6, "2001:db8::2", 0), (INET, "0.0.0.0", 0), False),
        ((INET6, "::", 0), (INET6, "2001:db8::2", 0), True),
        ((INET6, "::ffff:10.0.0.2", 0), (INET, "10.0.0.2", 0), True),
        ((INET6, "::ffff:10.0.0.2", 0), (INET, "127.0.0.1", 0), False),
    ],
)
def test_who_shares_a_port(type: int, first: tuple[int, str, int], second: tuple[int, str, int], clash: bool) -> None:
    for one, other in ((first, second), (second, first)):
        _, _, b = pair()
        socks = []
        for family, address, v6only in (one, other):
            sock = b.socket(family, type)
            if family == INET6:
                sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, v6only)
            socks.append((sock, address))
        socks[0][0].bind((socks[0][1], 80))
        if clash:
            with pytest.raises(OSError) as refused:
                socks[1][0].bind((socks[1][1], 80))
            assert refused.value.errno == errno.EADDRINUSE
        else:
            socks[1][0].bind((socks[1][1], 80))


def test_udp_both_ways_and_by_which_socket() -> None:
    net, a, b = pair()
    dual = b.socket(INET6, SOCK_DGRAM)
    dual.bind(("::", 7))
    four, six = a.socket(INET, SOCK_DGRAM), a.socket(INET6, SOCK_DGRAM)
    for sock, data, to in (
        (four, b"4", ("10.0.0.2", 7)), (six, b"6", ("2001:db8::2", 7)), (six, b"m", ("::ffff:10.0.0.2", 7)),
        (six, b"l", (LL_B, 7, 0, 2)), (six, b"g", ("ff02::1", 7, 0, 2)),
    ):  # fmt: skip
        sock.sendto(data, to, 0)
        net.settle()
    got = [dual.recvfrom(10, 0) for _ in range(5)]
    assert [(data, addr[0], addr[3]) for data, addr in got] == [
        (b"4", "::ffff:10.0.0.1", 0), (b"6", "2001:db8::1", 0), (b"m", "::ffff:10.0.0.1", 0), (b"l", LL_A, 2),
        (b"g", LL_A, 2),
    ]  # fmt: skip
    dual.sendto(b"back", got[0][1], 0)
    dual.sendto(b"back", got[3][1], 0)
    net.settle()
    assert four.recvfrom(10, 0) == (b"back", ("10.0.0.2", 7))
    assert six.recvfrom(10, 0) == (b"back", (LL_B, 7, 0, 2))


def test_link_local_addresses_need_a_scope() -> None:
    _, a, _ = pair()
    for type in (SOCK_STREAM, SOCK_DGRAM):
        with pytest.raises(OSError) as refused:
            a.socket(INET6, type).connect((LL_B, 80), 0)
        assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="number 9"):
        a.socket(INET6, SOCK_DGRAM).connect((LL_B, 80, 0, 9), 0)


def test_options_have_linux_defaults_and_limits() -> None:
    _, a, _ = pair()
    sock = a.socket(INET6, SOCK_DGRAM)
    defaults = ((IPV6_V6ONLY, 0), (IPV6_UNICAST_HOPS, 64), (18, 1), (19, 1), (IPV6_TCLASS, 0), (23, 1), (62, 0))
    for name, default in defaults:
        assert sock.getsockopt(IPPROTO_IPV6, name) == default
    sock.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9)
    sock.setsockopt(IPPROTO_IPV6, IPV6_TCLASS, 0xA5)
    assert (sock.getsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS), sock.getsockopt(IPPROTO_IPV6, IPV6_TCLASS)) == (9, 0xA5)
    for name, value in ((IPV6_UNICAST_HOPS, 256), (IPV6_UNICAST_HOPS, -2), (IPV6_TCLASS, 256), (23, 6)):
        with pytest.raises(OSError) as refused:
            sock.setsockopt(IPPROTO_IPV6, name, value)
        assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError) as refused:
        sock.getsockopt(IPPROTO_IPV6, IPV6_MTU)
    assert refused.value.errno == errno.ENOTCONN
    with pytest.raises(OSError) as refused:
        a.socket(INET, SOCK_DGRAM).setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    assert refused.value.errno == errno.ENOPROTOOPT


def test_ancillary_data() -> None:
    net, a, b = pair()
    sock = b.socket(INET6, SOCK_DGRAM)
    sock.bind(("::", 7))
    for name in (IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS):
        sock.setsockopt(IPPROTO_IPV6, name, 1)
    six = a.socket(INET6, SOCK_DGRAM)
    hops, tclass = struct.pack("=i", 33), struct.pack("=i", 0x48)
    asked = [(IPPROTO_IPV6, IPV6_HOPLIMIT, hops), (IPPROTO_IPV6, IPV6_TCLASS, tclass)]
    six.sendto(b"x", ("2001:db8::2", 7), 0, 0, asked)
    net.settle()
    sock.recvmsg(10, 0)
    where = bytes.fromhex("20010db8000000000000000000000002") + struct.pack("=i", 2)
    assert list(sock.ancillary) == [
        (IPPROTO_IPV6, IPV6_PKTINFO, where), (IPPROTO_IPV6, IPV6_HOPLIMIT, hops), (IPPROTO_IPV6, IPV6_TCLASS, tclass),
    ]  # fmt: skip
    four = b.socket(INET, SOCK_DGRAM)
    four.bind(("10.0.0.2", 9))
    for name in (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS):
        four.setsockopt(IPPROTO_IP, name, 1)
    sender = a.socket(INET, SOCK_DGRAM)
    sender.setsockopt(IPPROTO_IP, IP_TTL, 77)
    sender.sendto(b"x", ("10.0.0.2", 9), 0)
    net.settle()
    four.recvmsg(10, 0)
    mine = bytes([10, 0, 0, 2])
    assert list(four.ancillary) == [
        (0, IP_PKTINFO, struct.pack("=i", 2) + mine + mine), (0, IP_TTL, struct.pack("=i", 77)), (0, 1, b"\0"),
    ]  # fmt: skip


def test_the_source_asked_for_by_ancillary_data() -> None:
    net, a, b = pair()
    a.add_address("eth0", "10.0.0.55/24")
    there = b.socket(INET, SOCK_DGRAM)
    there.bind(("", 7))
    info = struct.pack("=i", 0) + bytes([10, 0, 0, 55]) + bytes(4)
    a.socket(INET, SOCK_DGRAM).sendto(b"x", ("10.0.0.2", 7), 0, 0, [(IPPROTO_IP, IP_PKTINFO, info)])
    net.settle()
    assert there.recvfrom(10, 0)[1][0] == "10.0.0.55"


@pytest.mark.parametrize("family", [INET, INET6])
def test_a_closed_port_is_heard_of(family: int) -> None:
    net, a, _ = pair()
    to = ("10.0.0.2", 9) if family == INET else ("2001:db8::2", 9, 0, 0)
    sock = a.socket(family, SOCK_DGRAM)
    sock.connect(to, 0)
    sock.send(b"anybody?", 0)
    net.settle()
    assert sock.readiness() & 8
    with pytest.raises(ConnectionRefusedError):
        sock.recvfrom(10, 0)
    # And through the error queue, with what was sent and who refused it.
    sock.setsockopt(*((IPPROTO_IP, IP_RECVERR) if family == INET else (IPPROTO_IPV6, IPV6_RECVERR)), 1)
    sock.send(b"anybody?", 0)
    net.settle()
    assert sock.readiness() & 8
    data, target, flags, _ = sock.recvmsg(100, 0, MSG_ERRQUEUE)
    assert (data, target, flags) == (b"anybody?", to, MSG_ERRQUEUE)
    [(level, kind, raw)] = sock.ancillary
    code, origin, type, number = struct.unpack_from("=IBBB", raw)
    assert (level, kind) == ((IPPROTO_IP, IP_RECVERR) if family == INET else (IPPROTO_IPV6, IPV6_RECVERR))
    assert (code, origin, type, number) == (errno.ECONNREFUSED, *((2, 3, 3) if family == INET else (3, 1, 4)))
    assert raw[16:].find(bytes([10, 0, 0, 2]) if family == INET else bytes.fromhex("20010db8")) > 0
    with pytest.raises(BlockingIOError):
        sock.recvmsg(100, 0, MSG_ERRQUEUE)
    assert not sock.readiness() & 8


def test_too_big_is_queued_locally() -> None:
    _, a, _ = pair()
    sock = a.socket(INET, SOCK_DGRAM)
    sock.setsockopt(IPPROTO_IP, IP_RECVERR, 1)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 2)
    with pytest.raises(OSError):
        sock.sendto(b"x" * 3000, ("10.0.0.2", 9), 0)
    sock.recvmsg(0, 0, MSG_ERRQUEUE)
    assert struct.unpack_from("=IBBBBI", sock.ancillary[0][2]) == (errno.EMSGSIZE, 1, 0, 0, 0, 1500)


def too_big(mtu: int, sport: int, dport: int = 9) -> object:
    quoted = IPv6(src=OUR_IP6, dst=PEER_IP6, nh=17, plen=1400) / UDPerror(sport=sport, dport=dport, len=1400)
    return Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER_IP6, dst=OUR_IP6) / ICMPv6PacketTooBig(mtu=mtu) / quoted


def test_packet_too_big_is_believed_only_about_packets_of_ours() -> None:
    """RFC 8201: not below 1280; and a message that no socket recognises changes nothing."""
    host = Host6()
    sock = host.stack.socket(INET6, SOCK_DGRAM)
    sock.connect((PEER_IP6, 9), 0)
    port = sock.getsockname()[1]
    for packet, mtu in (
        (too_big(1279, port), 1500), (too_big(1300, port ^ 1), 1500), (too_big(1300, port, 10), 1500),
        (too_big(2000, port), 1500), (too_big(1400, port), 1400), (too_big(1450, port), 1400),
        (too_big(1280, port), 1280),
    ):  # fmt: skip
        host.give(packet)
        assert sock.getsockopt(IPPROTO_IPV6, IPV6_MTU) == mtu
    host.stack.on_deadline(601 * S)
    host.stack.now = 601 * S
    assert sock.getsockopt(IPPROTO_IPV6, IPV6_MTU) == 1500


def test_raw_icmpv6_pings() -> None:
    """Checksums are the stack's, the filter blocks, and what comes has no IP header."""
    net, a, b = pair()
    sock = a.socket(INET6, SOCK_RAW, IPPROTO_ICMPV6)
    block_all_but_replies = bytearray(b"\xff" * 32)
    block_all_but_replies[129 >> 5 << 2] &= ~(1 << (129 & 7))
    sock.setsockopt(58, 1, bytes(block_all_but_replies))
    sock.sendto(bytes([128, 0, 0, 0]) + b"\0\1\0\2payload", ("2001:db8::2", 0), 0)
    net.settle()
    data, who = sock.recvfrom(100, 0)
    assert (data[0], data[4:], who) == (129, b"\0\1\0\2payload", ("2001:db8::2", 0, 0, 0))
    assert not sock.readiness() & 1
    replies = [Ether(f) for f in net.seen if ICMPv6EchoReply in Ether(f)]
    assert len(replies) == 1 and b.counters.icmp6.InCsumErrors == 0


def test_errors_are_limited() -> None:
    """RFC 4443 section 2.4 (f): a flood of datagrams to a closed port is answered at the pace of icmp.ratelimit."""
    host = Host6()
    from scapy.all import UDP

    frame = bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER_IP6, dst=OUR_IP6) / UDP(sport=5, dport=9))
    answers = 0
    for ms in range(1000):
        host.give(frame, ms * 1_000_000)
        answers += sum(ICMPv6DestUnreach in Ether(f) for f in host.take(ms * 1_000_000))
    assert 6 <= answers <= 6 + 40 + 1  # a burst of 6, then one per 100 ms shifted by the route's prefix (64: 25 ms)


def test_mapped_errors_of_ipv4_reach_an_ipv6_socket() -> None:
    host = Host6()
    sock = host.stack.socket(INET6, SOCK_DGRAM)
    sock.connect(("::ffff:" + PEER_IP, 9), 0)
    sock.send(b"x", 0)
    [frame] = host.take()
    from scapy.all import IP, UDP

    sent = Ether(frame)[IP]
    quoted = IPerror(bytes(sent))
    host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP) / ICMP(type=3, code=3) / quoted)
    assert sent[UDP].dport == 9 and sock.getsockopt(1, 4) == errno.ECONNREFUSED


def test_what_goes_to_everybody_comes_to_us_too() -> None:
    net, a, b = pair()
    for family, to, options in (
        (INET, ("10.0.0.255", 7), [(1, 6, 1)]), (INET, ("255.255.255.255", 7), [(1, 6, 1)]),
        (INET6, ("ff02::1", 7, 0, 2), [(IPPROTO_IPV6, 19, 1)]), (INET6, ("ff02::1", 7, 0, 2), [(IPPROTO_IPV6, 19, 0)]),
    ):  # fmt: skip
        here, there = a.socket(family, SOCK_DGRAM), b.socket(family, SOCK_DGRAM)
        for sock in (here, there):
            sock.bind(("", 7))
        for level, name, value in options:
            here.setsockopt(level, name, value)
        here.sendto(b"all", to, 0)
        net.settle()
        assert there.recvfrom(10, 0)[0] == b"all"
        assert bool(here.readiness() & 1) == (options[0][1:] != (19, 0))
        here.close(0)
        there.close(0)
