"""What a datagram socket says beside the data: who is told how a datagram came, and an error queue that is full."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from scapy.all import IP, UDP, Ether, Raw

from netstack import stamps
from netstack.socket import IP_RECVERR, IP_RECVTTL, IPPROTO_IP, MSG_ERRQUEUE, SO_BROADCAST, SO_RCVBUF, SOL_SOCKET
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host

SENT = stamps.TX_SOFTWARE | stamps.SOFTWARE | stamps.OPT_TSONLY


def bound(host: Host) -> Any:
    sock = host.stack.socket(2, 2)
    sock.bind((OUR_IP, 7))
    return sock


def give(host: Host) -> None:
    host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP) / UDP(sport=5, dport=7) / Raw(b"x"))


@pytest.mark.parametrize(
    "level, name, value, told",
    [
        (SOL_SOCKET, SO_BROADCAST, 1, False),
        (SOL_SOCKET, stamps.SO_TIMESTAMPING, stamps.TX_SOFTWARE | stamps.SOFTWARE, False),
        (SOL_SOCKET, stamps.SO_TIMESTAMPING, stamps.RX_SOFTWARE | stamps.SOFTWARE, True),
        (SOL_SOCKET, stamps.SO_TIMESTAMP, 1, True),
        (SOL_SOCKET, stamps.SO_TIMESTAMPNS, 1, True),
        (IPPROTO_IP, IP_RECVTTL, 1, True),
    ],
)
def test_how_a_datagram_came_is_kept_for_who_asks(level: int, name: int, value: int, told: bool) -> None:
    host = Host()
    sock = bound(host)
    sock.setsockopt(level, name, value)
    give(host)
    assert (sock.queue[0][2] is not None) is told
    assert sock.recvmsg(9, 0)[0] == b"x" and bool(sock.ancillary) is told


def test_time_stamps_that_have_no_room_are_counted() -> None:
    host = Host()
    sock = bound(host)
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 2304)
    sock.setsockopt(SOL_SOCKET, stamps.SO_TIMESTAMPING, SENT)
    for _ in range(20):
        sock.sendto(b"x", (PEER_IP, 5), 0)
    assert len(sock.errors) == 5  # buffers of 832 bytes in less than 4608
    assert host.stack.counters.as_dict()["ErrQueue"] == {"ErrorsDropped": 0, "StampsDropped": 15}
    while sock.errors:
        sock.recvmsg(9, 0, MSG_ERRQUEUE)
    sock.sendto(b"x", (PEER_IP, 5), 0)
    assert len(sock.errors) == 1


def test_errors_that_have_no_room_are_counted() -> None:
    host = Host()
    sock = bound(host)
    sock.setsockopt(IPPROTO_IP, IP_RECVERR, 1)
    sock.sendto(b"x", (PEER_IP, 5), 0)
    quoted = IP(bytes(Ether(host.take()[0])[IP]))
    for _ in range(200):
        icmp = struct.pack(">BBHI", 3, 1, 0, 0)
        host.give(Ether(src=PEER_MAC, dst=OUR_MAC) / IP(src=PEER_IP, dst=OUR_IP, proto=1) / Raw(checked(icmp, quoted)))
    assert len(sock.errors) == 128
    assert host.stack.counters.errqueue.ErrorsDropped == 72


def checked(icmp: bytes, quoted: Any) -> bytes:
    from scapy.utils import checksum

    whole = icmp + bytes(quoted)
    return whole[:2] + struct.pack(">H", checksum(whole)) + whole[4:]
