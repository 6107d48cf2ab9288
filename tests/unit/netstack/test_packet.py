"""Packet sockets: what they see, what they send, and whether Linux's tell the same."""

from __future__ import annotations

import socket

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether, IPv6, Raw

from netstack.packet import AF_PACKET, ETH_P_ALL, ETH_P_IP
from netstack.socket import SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host

PING = Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP) / ICMP() / Raw(b"hello")
PEER = bytes.fromhex(PEER_MAC.replace(":", ""))
OURS = bytes.fromhex(OUR_MAC.replace(":", ""))


def packet_socket(host: Host, type: int = SOCK_RAW, protocol: int = ETH_P_ALL) -> object:
    return host.stack.socket(AF_PACKET, type, socket.htons(protocol))


def drain(sock: object) -> list[tuple[bytes, tuple[object, ...]]]:
    found = []
    while sock.readiness() & 1:  # type: ignore[attr-defined]
        found.append(sock.recvfrom(65535, 0))  # type: ignore[attr-defined]
    return found


def test_all_sees_both_directions() -> None:
    host = Host()
    sock = packet_socket(host)
    host.give(PING)
    [reply] = host.take()
    assert drain(sock) == [
        (bytes(PING), ("eth0", 0x800, 0, 1, PEER)),
        (reply, ("eth0", 0x800, 4, 1, OURS)),
    ]


def test_one_protocol_sees_only_what_comes_in() -> None:
    host = Host()
    sock = packet_socket(host, protocol=ETH_P_IP)
    arp = Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=PEER_IP, pdst=OUR_IP, hwsrc=PEER_MAC)
    host.give(arp)
    host.give(PING)
    host.take()
    assert [data for data, _ in drain(sock)] == [bytes(PING)]


@pytest.mark.parametrize(
    ("dst", "kind"), [(OUR_MAC, 0), ("ff:ff:ff:ff:ff:ff", 1), ("01:00:5e:00:00:05", 2), ("02:00:00:00:00:99", 3)]
)
def test_packet_types(dst: str, kind: int) -> None:
    """Frames that the stack itself drops are seen all the same."""
    host = Host()
    sock = packet_socket(host, SOCK_DGRAM)
    packet = Ether(src=PEER_MAC, dst=dst) / IP(src=PEER_IP, dst="10.0.0.77") / UDP()
    host.give(packet)
    assert drain(sock) == [(bytes(packet)[14:], ("eth0", 0x800, kind, 1, PEER))]


def test_bound_to_an_interface() -> None:
    host = Host()
    host.stack.add_interface("eth1", "02:00:00:00:00:11")
    sock = packet_socket(host)
    sock.bind(("eth1", ETH_P_ALL))
    host.give(PING)
    assert drain(sock) == []
    host.stack.receive("eth1", bytes(PING), 0)
    assert drain(sock)[0][1] == ("eth1", 0x800, 3, 1, PEER)
    assert sock.getsockname() == ("eth1", ETH_P_ALL, 0, 1, bytes.fromhex("020000000011"))


def test_protocol_0_hears_nothing_until_bound() -> None:
    host = Host()
    sock = host.stack.socket(AF_PACKET, SOCK_RAW, 0)
    host.give(PING)
    assert drain(sock) == []
    sock.bind(("eth0", ETH_P_IP))
    host.give(PING)
    assert len(drain(sock)) == 1
    sock.close(0)
    host.give(PING)
    assert not host.stack.watched


def test_sending() -> None:
    host = Host()
    raw = packet_socket(host)
    frame = bytes(Ether(src=OUR_MAC, dst=PEER_MAC) / IP(src=OUR_IP, dst=PEER_IP) / UDP())
    assert raw.sendto(frame, ("eth0", 0), 0) == len(frame)
    datagram = packet_socket(host, SOCK_DGRAM)
    datagram.sendto(frame[14:], ("eth0", 0x800, 0, 0, PEER), 0)
    assert host.take() == [frame, frame]


@pytest.mark.parametrize(
    ("data", "addr", "name"),
    [
        (b"x" * 60, None, "ENXIO"),
        (b"x" * 60, ("eth9", 0), "ENODEV"),
        (b"x" * 13, ("eth0", 0), "EINVAL"),
        (b"x" * 1515, ("eth0", 0), "EMSGSIZE"),
    ],
)
def test_errors_of_sending(data: bytes, addr: tuple[object, ...] | None, name: str) -> None:
    import errno

    sock = packet_socket(Host())
    with pytest.raises(OSError) as refused:
        sock.sendto(data, addr, 0)
    assert errno.errorcode[refused.value.errno] == name


def test_no_stream_of_packets() -> None:
    with pytest.raises(OSError, match="packet sockets"):
        packet_socket(Host(), SOCK_STREAM)


def test_the_receive_buffer_is_bounded() -> None:
    host = Host()
    sock = packet_socket(host)
    for _ in range(2000):
        host.give(PING)
        host.take()
    seen = len(drain(sock))
    import struct

    packets, drops = struct.unpack("=II", sock.getsockopt(263, 6))
    assert packets == 4000 and drops == 4000 - seen and 0 < seen < 1000


def test_loopback_has_a_link_header_of_zeros() -> None:
    host = Host()
    sock = packet_socket(host)
    sock.bind(("lo", ETH_P_ALL))
    udp = host.stack.socket(10, SOCK_DGRAM)
    udp.sendto(b"x", ("::1", 9), 0)
    host.take()
    seen = drain(sock)
    assert [address[2] for _, address in seen] == [4, 0, 4, 0]  # out and in, of the datagram and of the error
    assert seen[0][0][:14] == bytes(12) + b"\x86\xdd" and IPv6(seen[0][0][14:])[UDP].dport == 9
