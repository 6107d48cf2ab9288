"""Every table and queue that the outside, or a busy program, could make grow: flooded.

Those of ARP, fragments, ICMP and UDP's receive buffer are flooded in their own files.
"""

from __future__ import annotations

import errno

import pytest
from scapy.all import ICMP, IP, Ether, Raw

from netstack.ipv4 import IDENT_BUCKETS
from netstack.socket import IP_MTU_DISCOVER, IPPROTO_IP, MSG_MORE, SOCK_DGRAM, SOCK_RAW
from netstack.udp import PATHS_MAX
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host


def test_paths_and_identifications_of_many_destinations() -> None:
    host = Host()
    host.stack.add_route("0.0.0.0/0", via=PEER_IP)
    sock = host.stack.socket(2, SOCK_DGRAM)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)
    for i in range(3000):
        sock.sendto(b"x", (f"192.0.{i // 250}.{i % 250 + 1}", 9), 0)
        host.take()
    assert len(host.stack.udp._paths) <= PATHS_MAX
    assert len(host.stack.ipv4._idents) <= IDENT_BUCKETS


def test_the_queue_of_lo() -> None:
    host = Host()
    server = host.stack.socket(2, SOCK_DGRAM)
    server.bind(("127.0.0.1", 9))
    client = host.stack.socket(2, SOCK_DGRAM)
    for _ in range(2500):
        client.sendto(b"", ("127.0.0.1", 9), 0)
    assert host.rejects() == {"LoopbackQueue": 1500}
    host.take()
    assert host.rejects()["UdpRcvbuf"] + server.stack.counters.udp.InDatagrams == 1000


def test_the_receive_buffer_of_a_raw_socket() -> None:
    host = Host()
    raw = host.stack.socket(2, SOCK_RAW, 1)
    packet = bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP) / ICMP() / Raw(bytes(1000)))
    for _ in range(1000):
        host.give(packet)
        host.take()
    assert host.rejects()["RawRcvbuf"] > 800
    count = 0
    while raw.readiness() & 1:
        raw.recv(2000, 0)
        count += 1
    assert count + host.rejects()["RawRcvbuf"] == 1000


def test_a_corked_datagram() -> None:
    host = Host()
    sock = host.stack.socket(2, SOCK_DGRAM)
    with pytest.raises(OSError) as failure:
        for _ in range(100):
            sock.sendto(bytes(1000), (PEER_IP, 9), 0, MSG_MORE)
    assert failure.value.errno == errno.EMSGSIZE


def test_sockets_opened_and_closed_leave_nothing() -> None:
    host = Host()
    for i in range(3000):
        sock = host.stack.socket(2, SOCK_DGRAM)
        sock.connect((PEER_IP, 9 + i % 3), 0)
        sock.close(0)
        host.stack.socket(2, SOCK_RAW, 1).close(0)
    assert host.stack.udp.bound == {} and host.stack.udp.connected == {}
    assert host.stack.raw.count == 0
    assert host.stack.next_deadline() is None
