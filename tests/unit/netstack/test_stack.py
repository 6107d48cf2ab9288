"""The stack as a whole: configuration, routes, what leaves an interface with and without GSO, counters."""

from __future__ import annotations

import errno
import random
from typing import Any

import pytest
from scapy.all import IP, TCP, Ether, Raw

import netstack
from netstack import Frame, Stack
from netstack.counters import GROUPS
from netstack.route import Path
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host


def fails(code: int, call: Any, *args: Any, **kw: Any) -> None:
    with pytest.raises(OSError) as failure:
        call(*args, **kw)
    assert failure.value.errno == code


def test_the_contract_of_the_library() -> None:
    stack = netstack.Stack(random.Random(1), netstack.Settings(profile="linux", **{"net.ipv4.tcp_sack": 1}))
    stack.add_interface("tun0")
    stack.add_interface("eth0", mac=OUR_MAC, mtu=9000, gso=True)
    stack.add_address("eth0", "10.0.0.1/24")
    stack.add_route("0.0.0.0/0", via="10.0.0.254")
    stack.receive("tun0", b"", 0)
    stack.receive("eth0", b"", 0)
    assert list(stack.transmit(0)) == []
    assert stack.next_deadline() is None
    stack.on_deadline(5)


def test_configuration_errors() -> None:
    stack = Host().stack
    fails(errno.EEXIST, stack.add_interface, "eth0")
    fails(errno.EEXIST, stack.add_interface, "lo")
    fails(errno.EINVAL, stack.add_interface, "e1", mtu=20)
    fails(errno.EINVAL, stack.add_interface, "e1", mac="02:00")
    fails(errno.EADDRNOTAVAIL, stack.add_interface, "e1", mac="01:00:00:00:00:00")
    fails(errno.ENODEV, stack.add_address, "nope", "10.0.0.1/24")
    fails(errno.EINVAL, stack.add_address, "eth0", "10.0.0.1/33")
    fails(errno.EINVAL, stack.add_address, "eth0", "10.0.0.300/24")
    fails(errno.EEXIST, stack.add_address, "eth0", OUR_IP + "/24")
    fails(errno.EADDRNOTAVAIL, stack.add_address, "eth0", "224.0.0.1/24")
    fails(errno.ENETUNREACH, stack.add_route, "0.0.0.0/0", via="192.0.2.1")
    fails(errno.EINVAL, stack.add_route, "10.1.0.1/16", via=PEER_IP)
    fails(errno.ENODEV, stack.add_route, "10.1.0.0/16")
    fails(errno.ESRCH, stack.remove_route, "10.1.0.0/16")


def test_paths() -> None:
    stack = Host().stack
    stack.add_address("eth0", "192.168.7.1/24")
    path = stack.route(bytes([192, 168, 7, 9]))
    assert path.src == bytes([192, 168, 7, 1])  # of the same network
    assert (path.l3, path.version, path.mtu, path.local) == (14, 4, 1500, False)
    assert bytes(path.template[6:14]) == bytes.fromhex("020000000001") + b"\x08\x00"
    assert path.valid
    stack.add_route("0.0.0.0/0", via=PEER_IP, mtu=1400, initcwnd=20, rto_min=5)
    assert not path.valid
    far = stack.route(bytes([192, 0, 2, 1]))
    assert (far.mtu, far.metrics["initcwnd"], far.next_hop) == (1400, 20, bytes([10, 0, 0, 2]))
    own = stack.route(bytes([10, 0, 0, 1]))
    assert (own.local, own.src, own.mtu) == (True, bytes([10, 0, 0, 1]), 65535)
    fails(errno.ENETUNREACH, stack.route, b"\x20" + bytes(15))
    stack.remove_address("eth0", "192.168.7.1/24")
    assert stack.route(bytes([192, 168, 7, 9])).next_hop == bytes([10, 0, 0, 2])  # the default route now


def test_metric_decides_among_equals() -> None:
    stack = Host().stack
    stack.add_interface("eth1", mac="02:00:00:00:00:09")
    stack.add_address("eth1", "10.9.0.1/24")
    stack.add_route("0.0.0.0/0", via="10.9.0.2", metric=100)
    stack.add_route("0.0.0.0/0", via=PEER_IP, metric=50)
    assert stack.route(bytes([192, 0, 2, 1])).interface.name == "eth0"
    stack.remove_route("0.0.0.0/0", metric=50)
    assert stack.route(bytes([192, 0, 2, 1])).interface.name == "eth1"


def super_segment(payload: bytes, path: Path) -> Frame:
    """A TCP super-segment as the engine would emit it, built by Scapy but for its partial checksum."""
    packet = (
        Ether(src=OUR_MAC, dst=PEER_MAC) / IP(src=OUR_IP, dst=PEER_IP, flags="DF") / TCP(sport=1, dport=2, flags="PA")
    )
    packet[IP].len = 40 + len(payload)
    data = bytearray(bytes(packet))
    pseudo = path.src + path.dst + b"\0\x06" + (20 + len(payload)).to_bytes(2, "big")
    total = sum(int.from_bytes(pseudo[i : i + 2], "big") for i in range(0, 12, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[50:52] = total.to_bytes(2, "big")
    return Frame(data, (payload,), -1, True, gso_size=1460, csum_start=34, csum_offset=16)


@pytest.mark.parametrize("gso", [False, True])
def test_super_segments_are_split_only_without_gso(gso: bool) -> None:
    host = Host(gso=gso)
    path = host.stack.route(bytes([10, 0, 0, 2]))
    payload = bytes(range(256)) * 20
    assert path.output(super_segment(payload, path), 0)
    frames = [frame for _, frame in host.stack.transmit(0)]
    if gso:
        assert len(frames) == 1 and frames[0].gso_size == 1460
        return
    assert [len(f) - 54 for f in frames] == [1460, 1460, 1460, 740]
    assert all(not f.gso_size and not f.csum_start for f in frames)
    got = b""
    for frame in frames:
        packet = Ether(bytes(frame))
        checked = packet.copy()
        del checked[IP].chksum, checked[TCP].chksum
        assert bytes(checked) == bytes(packet)
        got += bytes(packet[TCP].payload)
    assert got == payload


def test_on_output_rings_once_per_batch() -> None:
    host = Host()
    rings: list[int] = []
    host.stack.on_output = lambda: rings.append(1)
    sock = host.stack.socket(2, 2)
    for _ in range(3):
        sock.sendto(b"x", (PEER_IP, 9), 0)
    assert len(rings) == 1 and host.stack.pending
    host.take()
    assert not host.stack.pending
    sock.sendto(b"x", (PEER_IP, 9), 0)
    assert len(rings) == 2


def test_raw_ip_interface() -> None:
    stack = Stack(random.Random(1))
    stack.add_interface("tun0")
    stack.add_address("tun0", "10.0.0.1/24")
    sock = stack.socket(2, 2)
    sock.bind(("10.0.0.1", 7))
    from scapy.all import ICMP

    stack.receive("tun0", bytes(IP(src=PEER_IP, dst=OUR_IP) / ICMP() / Raw(b"x")), 0)
    ((name, frame),) = stack.transmit(0)
    assert name == "tun0" and not frame.ethernet and IP(bytes(frame))[ICMP].type == 0


def test_memoryview_and_fragmented_frames_are_taken() -> None:
    host = Host()
    sock = host.stack.socket(2, 2)
    sock.bind((OUR_IP, 7))
    from scapy.all import UDP

    image = bytes(
        Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP) / UDP(sport=5, dport=7) / Raw(b"hello")
    )
    for frame in (image, bytearray(image), memoryview(image), Frame(image[:42], (image[42:],))):
        host.stack.receive("eth0", frame, 0)
        assert sock.recvfrom(10, 0) == (b"hello", (PEER_IP, 5))


def test_a_loop_on_lo_does_not_hang() -> None:
    """Two sockets that answer each other for ever: transmit does one backlog's worth and comes back."""
    host = Host()
    a, b = host.stack.socket(2, 2), host.stack.socket(2, 2)
    a.bind(("127.0.0.1", 1))
    b.bind(("127.0.0.1", 2))
    calls = []

    def answer(sock: Any) -> None:
        calls.append(1)
        data, source = sock.recvfrom(10, 0)
        sock.sendto(data, source, 0)

    a.on_ready = b.on_ready = answer
    a.sendto(b"x", ("127.0.0.1", 2), 0)
    assert host.take(7) == []
    assert 1 < len(calls) <= 1001
    assert host.stack.next_deadline() == 7


def test_counters_have_the_names_of_proc() -> None:
    host = Host()
    counters = host.stack.counters.as_dict()
    for group in ("Ip", "Icmp", "IcmpMsg", "Tcp", "Udp", "TcpExt", "IpExt"):
        assert group in counters
    try:
        with open("/proc/net/snmp") as snmp, open("/proc/net/netstat") as netstat:
            lines = [line.split() for line in (*snmp, *netstat)]
    except OSError:
        pytest.skip("no /proc/net/snmp here")
    for names in lines[::2]:
        group = names[0].rstrip(":")
        if group in GROUPS:
            missing = set(names[1:]) - set(counters[group])
            assert not missing, f"{group}: {missing}"
