"""Routers between hosts: hop by hop as traceroute sees it, MTUs as path MTU discovery does, and what no router
passes."""

from __future__ import annotations

import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6, Raw

from netstack import Frame, Stack
from netstack.socket import IPPROTO_IP, IPPROTO_IPV6, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from tests.unit.netstack.net import Net, S

INET, INET6 = 2, 10
IP_TTL, IP_MTU_DISCOVER, IP_MTU, IPV6_UNICAST_HOPS, IPV6_MTU = 2, 10, 14, 16, 24
FORWARDING = {"net__ipv4__ip_forward": 1, "net__ipv6__conf__all__forwarding": 1}


def line(mtu: int = 1500, gso: bool = False, middle: int = 1500) -> tuple[Net, Stack, Stack, Stack, Stack]:
    """a --- r1 --- r2 --- b, each link a network of its own; `middle` is the MTU between the routers."""
    net = Net()
    a, r1, r2, b = net.stack(1), net.stack(2, **FORWARDING), net.stack(3, **FORWARDING), net.stack(4)
    net.link(a, "eth0", r1, "eth0", mtu, gso)
    net.link(r1, "eth1", r2, "eth0", middle, gso)
    net.link(r2, "eth1", b, "eth0", mtu, gso)
    for number, (left, name_l, right, name_r) in enumerate(
        [(a, "eth0", r1, "eth0"), (r1, "eth1", r2, "eth0"), (r2, "eth1", b, "eth0")]
    ):
        for stack, name, host in ((left, name_l, 1), (right, name_r, 2)):
            stack.add_address(name, f"10.0.{number}.{host}/24")
            if stack.interface(name).mtu >= 1280:
                stack.add_address(name, f"2001:db8:{number}::{host}/64")
    a.add_route("default", via="10.0.0.2")
    b.add_route("default", via="10.0.2.1")
    r1.add_route("10.0.2.0/24", via="10.0.1.2")
    r2.add_route("10.0.0.0/24", via="10.0.1.1")
    a.add_route("default", via="2001:db8:0::2")
    b.add_route("default", via="2001:db8:2::1")
    if middle >= 1280:
        r1.add_route("2001:db8:2::/64", via="2001:db8:1::2")
        r2.add_route("2001:db8:0::/64", via="2001:db8:1::1")
    return net, a, r1, r2, b


def hops(net: Net, a: Stack, family: int, to: str) -> list[str]:
    """The traceroute(8) of the host: who answers a probe with 1, 2, 3 ... hops to live."""
    icmp = a.socket(family, SOCK_RAW, 1 if family == INET else 58)
    answers = []
    for ttl in range(1, 5):
        probe = a.socket(family, SOCK_DGRAM)
        if family == INET:
            probe.setsockopt(IPPROTO_IP, IP_TTL, ttl)
        else:
            probe.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl)
        probe.sendto(b"probe", (to, 33434 + ttl), net.now)
        net.settle()
        while icmp.readiness() & 1:
            data, who = icmp.recvfrom(2000, net.now)
            kind = data[20] if family == INET else data[0]
            if kind in (11, 3) if family == INET else kind in (3, 1):
                answers.append(who[0])
    return answers


def test_traceroute_ipv4() -> None:
    net, a, _, _, _ = line()
    assert hops(net, a, INET, "10.0.2.2") == ["10.0.0.2", "10.0.1.2", "10.0.2.2", "10.0.2.2"]


def test_traceroute_ipv6() -> None:
    net, a, _, _, _ = line()
    expected = ["2001:db8::2", "2001:db8:1::2", "2001:db8:2::2", "2001:db8:2::2"]
    assert hops(net, a, INET6, "2001:db8:2::2") == expected


def test_a_host_does_not_forward() -> None:
    """The control: without the setting the probe ends at the first machine, in silence."""
    net, a, r1, _, _ = line()
    r1.settings.set("net.ipv4.ip_forward", 0)
    r1.settings.set("net.ipv6.conf.all.forwarding", 0)
    assert hops(net, a, INET, "10.0.2.2") == []
    assert hops(net, a, INET6, "2001:db8:2::2") == []
    assert r1.counters.ip.InAddrErrors == 4
    assert r1.counters.ip6.InAddrErrors == 4


@pytest.mark.parametrize("family", [INET, INET6])
@pytest.mark.parametrize("gso", [False, True])
def test_tcp_through_two_routers(family: int, gso: bool) -> None:
    """Super-segments stay super-segments where the links take them; the bytes arrive."""
    net, a, r1, _, b = line(gso=gso)
    server = b.socket(family, SOCK_STREAM)
    server.bind(("", 80))
    server.listen(1)
    client = a.socket(family, SOCK_STREAM)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.2.2" if family == INET else "2001:db8:2::2", 80), net.now)
    net.settle()
    conn, _ = server.accept(net.now)
    data = bytes(range(256)) * 800
    got = b""
    sent = 0
    while len(got) < len(data):
        if sent < len(data):
            sent += client.send(data[sent:], net.now)
        net.run(net.now + S // 100)
        while conn.readiness() & 1:
            got += conn.recv(1 << 20, net.now)
    assert got == data
    forwarded = r1.counters.ip.ForwDatagrams if family == INET else r1.counters.ip6.OutForwDatagrams
    assert (forwarded < 100) == gso
    assert not any(n for name, n in r1.counters.reject.as_dict().items())


def test_frames_of_a_super_segment_that_do_not_fit_are_reported() -> None:
    net, a, r1, _, b = line(gso=True, middle=1400)
    server = b.socket(INET, SOCK_STREAM)
    server.bind(("", 80))
    server.listen(1)
    client = a.socket(INET, SOCK_STREAM)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.2.2", 80), net.now)
    net.settle()
    conn, _ = server.accept(net.now)
    client.send(b"z" * 20000, net.now)
    net.run(net.now + 3 * S)
    got = b""
    while conn.readiness() & 1:
        got += conn.recv(1 << 20, net.now)
        net.settle()
    assert got == b"z" * 20000
    assert r1.counters.ip.FragFails >= 1
    assert client.getsockopt(IPPROTO_IP, IP_MTU) == 1400


def udp_pair(net: Net, a: Stack, b: Stack, family: int) -> tuple[object, object, tuple[str, int]]:
    there = b.socket(family, SOCK_DGRAM)
    there.bind(("", 7))
    return a.socket(family, SOCK_DGRAM), there, ("10.0.2.2" if family == INET else "2001:db8:2::2", 7)


def test_too_big_ipv4_without_df_is_fragmented_on_the_way() -> None:
    net, a, r1, _, b = line(middle=600)
    here, there, to = udp_pair(net, a, b, INET)
    here.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)  # IP_PMTUDISC_DONT
    payload = bytes(range(256)) * 5
    here.sendto(payload, to, net.now)
    net.settle()
    assert there.recvfrom(2000, net.now)[0] == payload
    assert (r1.counters.ip.FragOKs, r1.counters.ip.FragCreates) == (1, 3)


def test_fragments_are_fragmented_again() -> None:
    """What the first router cut, the second cuts smaller; offsets and the last piece's flag survive."""
    net, a, _, r2, b = line(middle=1400)
    r2.set_mtu("eth1", 500)
    here, there, to = udp_pair(net, a, b, INET)
    here.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)
    payload = bytes(range(251)) * 20
    here.sendto(payload, to, net.now)
    net.settle()
    assert there.recvfrom(9000, net.now)[0] == payload
    assert r2.counters.ip.FragCreates > 8


def test_too_big_with_df_teaches_the_sender() -> None:
    net, a, r1, _, b = line(middle=1300)
    here, there, to = udp_pair(net, a, b, INET)
    here.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 2)  # IP_PMTUDISC_DO
    here.connect(to, net.now)
    here.send(b"x" * 1400, net.now)
    net.settle()
    assert r1.counters.ip.FragFails == 1
    assert here.getsockopt(IPPROTO_IP, IP_MTU) == 1300
    assert here.getsockopt(1, 4) == 90  # EMSGSIZE
    with pytest.raises(OSError, match="at most 1272 bytes here, the path's MTU is 1300"):
        here.send(b"x" * 1400, net.now)
    here.send(b"x" * 1272, net.now)
    net.settle()
    assert len(there.recvfrom(2000, net.now)[0]) == 1272


def test_too_big_ipv6_is_never_cut_by_a_router_but_by_the_sender() -> None:
    net, a, r1, _, b = line(middle=1300)
    here, there, to = udp_pair(net, a, b, INET6)
    here.connect(to, net.now)
    here.send(b"x" * 1400, net.now)
    net.settle()
    assert (r1.counters.ip6.InTooBigErrors, r1.counters.icmp6.OutPktTooBigs) == (1, 1)
    assert not there.readiness() & 1
    assert here.getsockopt(IPPROTO_IPV6, IPV6_MTU) == 1300
    assert here.getsockopt(1, 4) == 90  # EMSGSIZE is its pending error, as on Linux
    here.send(b"y" * 1400, net.now)
    net.settle()
    assert there.recvfrom(2000, net.now)[0] == b"y" * 1400
    assert a.counters.ip6.FragCreates == 2


def test_longest_prefix_decides() -> None:
    net = Net()
    a, r, b, c = net.stack(1), net.stack(2, **FORWARDING), net.stack(3), net.stack(4)
    for name, other in (("eth0", a), ("eth1", b), ("eth2", c)):
        net.link(r, name, other, "eth0")
    r.add_address("eth0", "10.0.0.1/24")
    r.add_address("eth1", "10.0.1.1/24")
    r.add_address("eth2", "10.0.2.1/24")
    a.add_address("eth0", "10.0.0.2/24")
    a.add_route("default", via="10.0.0.1")
    for host, own in ((b, "10.0.1.2"), (c, "10.0.2.2")):
        host.add_address("eth0", own + "/24")
        host.add_address("lo", "192.0.2.77/32")
    r.add_route("192.0.2.0/24", via="10.0.1.2")
    r.add_route("192.0.2.77/32", via="10.0.2.2")
    r.add_route("192.0.2.78/32", via="10.0.2.2")
    sock = a.socket(INET, SOCK_DGRAM)
    for address in ("192.0.2.77", "192.0.2.1"):
        sock.sendto(b"?", (address, 9), 0)
        net.settle()
    assert (b.counters.ip.InAddrErrors, c.counters.udp.NoPorts) == (1, 1)
    r.remove_route("192.0.2.77/32")
    sock.sendto(b"?", ("192.0.2.77", 9), 0)
    net.settle()
    assert b.counters.udp.NoPorts == 1


def test_no_route_and_no_neighbour_are_told() -> None:
    net, a, _r1, _, _ = line()
    sock = a.socket(INET, SOCK_DGRAM)
    sock.setsockopt(IPPROTO_IP, 11, 1)  # IP_RECVERR
    sock.connect(("203.0.113.1", 9), net.now)
    sock.send(b"?", net.now)
    net.settle()
    assert sock.getsockopt(1, 4) == 101  # ENETUNREACH
    sock.connect(("10.0.1.99", 9), net.now)
    sock.send(b"?", net.now)
    net.run(net.now + 5 * S)
    assert sock.getsockopt(1, 4) == 113  # EHOSTUNREACH, from the router's ARP
    six = a.socket(INET6, SOCK_DGRAM)
    six.setsockopt(IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR
    for to, code in (("2001:db8:77::1", 101), ("2001:db8:1::99", 113)):
        six.connect((to, 9), net.now)
        six.send(b"?", net.now)
        net.run(net.now + 5 * S)
        assert six.getsockopt(1, 4) == code


ROUTER_MAC = "02:00:00:00:01:01"


def router() -> Stack:
    """A router with two links and a route to 10.0.1.0/24 and 2001:db8:1::/64."""
    import random

    from netstack import Settings

    stack = Stack(random.Random(5), Settings(**{k.replace("__", "."): v for k, v in FORWARDING.items()}))
    for number in (0, 1):
        name = f"eth{number}"
        stack.add_interface(name, f"02:00:00:00:01:0{number + 1}")
        stack.add_address(name, f"10.0.{number}.1/24")
        stack.add_address(name, f"2001:db8:{number}::1/64")
        for table, host in (
            (stack.interface(name).neighbours, bytes([10, 0, number, 2])),
            (stack.interface(name).neighbours6, bytes.fromhex(f"20010db8000{number}0000") + bytes(7) + b"\x02"),
        ):
            assert table is not None
            table.add_permanent(host, b"\x02\0\0\0\x09" + bytes([number]), 0)
    return stack


def passed(stack: Stack, packet: object, dst: str = ROUTER_MAC) -> list[bytes]:
    """What leaves through eth1 when the packet comes in through eth0."""
    stack.receive("eth0", Frame.of(bytes(Ether(src="02:00:00:00:09:00", dst=dst) / packet)), 0)
    return [bytes(frame) for name, frame in stack.transmit(0) if name == "eth1"]


def test_only_hop_limit_checksum_and_macs_change() -> None:
    stack = router()
    packet = IP(src="10.0.0.2", dst="10.0.1.2", ttl=9, id=77, tos=0x28) / UDP(sport=1, dport=2) / Raw(b"hello")
    before = bytes(packet)
    [out] = passed(stack, packet)
    assert Ether(out).src == "02:00:00:00:01:02" and Ether(out).dst == "02:00:00:00:09:01"
    expected = IP(before)
    expected.ttl = 8
    del expected.chksum
    assert out[14:] == bytes(expected)
    packet6 = IPv6(src="2001:db8::2", dst="2001:db8:1::2", hlim=9, tc=5, fl=77) / UDP(sport=1, dport=2, chksum=0xBAD)
    [out] = passed(stack, packet6)
    expected6 = bytearray(bytes(packet6))
    expected6[7] = 8
    assert out[14:] == bytes(expected6)  # the checksum is wrong, and none of the router's business


@pytest.mark.parametrize(
    ("packet", "dst", "reason"),
    [
        (IP(src="10.0.0.2", dst="10.0.1.255") / ICMP(), ROUTER_MAC, None),  # a directed broadcast: taken, not passed
        (IP(src="10.0.0.2", dst="224.0.1.1") / UDP(), "01:00:5e:00:01:01", "NotForUs"), (IP(src="10.0.0.2",
        dst="10.0.1.2") / UDP(), "ff:ff:ff:ff:ff:ff", "NotForwarded"), (IP(src="127.0.0.1", dst="10.0.1.2") / UDP(),
        ROUTER_MAC, "MartianSource"), (IP(src="10.0.1.1", dst="10.0.1.2") / UDP(), ROUTER_MAC, "MartianSource"),
        (IP(src="255.255.255.255", dst="10.0.1.2") / UDP(), ROUTER_MAC, "MartianSource"), (IP(src="10.0.0.2",
        dst="10.0.1.2", ttl=1) / UDP(), ROUTER_MAC, "HopLimit"), (IP(src="10.0.0.2", dst="10.0.1.2",
        options=b"\x83\x07\x04\x0a\x00\x01\x02\x00") / UDP(), ROUTER_MAC, "SourceRoute"), (IP(src="10.0.0.2",
        dst="10.0.1.2", options=b"\x07\x00\x04\x00") / UDP(), ROUTER_MAC, "IpOptions"), (IPv6(src="2001:db8::2",
        dst="ff0e::1") / UDP(), ROUTER_MAC, "NotForUs"), (IPv6(src="fe80::2", dst="2001:db8:1::2") / UDP(),
        ROUTER_MAC, "NotForwarded"), (IPv6(src="2001:db8::2", dst="fe80::99") / UDP(), ROUTER_MAC, "NotForUs"),
        (IPv6(src="::", dst="2001:db8:1::2") / UDP(), ROUTER_MAC, "NotForwarded"), (IPv6(src="::1",
        dst="2001:db8:1::2") / UDP(), ROUTER_MAC, "MartianSource"), (IPv6(src="2001:db8::2", dst="2001:db8:1::2",
        hlim=1) / ICMPv6EchoRequest(), ROUTER_MAC, "HopLimit"),
    ],
)
def test_what_is_not_forwarded(packet: object, dst: str, reason: str | None) -> None:
    stack = router()
    assert passed(stack, packet, dst) == []
    counted = {name: n for name, n in stack.counters.reject.as_dict().items() if n}
    assert counted == ({reason: 1} if reason else {"IcmpBroadcast": 1})


def test_partial_checksums_move_with_the_link_header() -> None:
    """From a link without Ethernet headers to one with them: csum_start is counted from the frame's start."""
    stack = router()
    stack.add_interface("tun0", None, gso=True)
    stack.add_address("tun0", "10.0.3.1/24")
    whole = bytes(IP(src="10.0.3.2", dst="10.0.1.2", flags="DF") / TCP(sport=1, dport=2, flags="A") / Raw(b"q" * 3000))
    partial = bytearray(whole)
    pseudo = IP(src="10.0.3.2", dst="10.0.1.2")
    del pseudo.chksum
    from csrc import ffi, lib

    words = whole[12:20] + b"\0\x06" + (len(whole) - 20).to_bytes(2, "big")
    partial[36:38] = lib.trl_sum(ffi.from_buffer(words), len(words), 0).to_bytes(2, "big")
    frame = Frame(bytes(partial), (), len(partial), False, 1000, 20, 16)
    stack.receive("tun0", frame, 0)
    out = [bytes(f) for name, f in stack.transmit(0) if name == "eth1"]
    assert len(out) == 3
    for image in out:
        segment = Ether(image)
        sent = segment[TCP].chksum
        del segment[TCP].chksum
        assert Ether(bytes(segment))[TCP].chksum == sent
        assert segment[IP].ttl == 63
