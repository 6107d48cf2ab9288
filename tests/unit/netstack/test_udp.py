"""UDP sockets: datagrams, addresses, ports, buffers, errors as udp(7) says, on the wire and over loopback."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from scapy.all import IP, UDP, Ether, Raw

from netstack.socket import (
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    SO_BROADCAST,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOL_SOCKET,
)
from netstack.udpsocket import UdpSocket
from tests.unit.netstack.net import OUR_IP, OUR_MAC, PEER_IP, PEER_MAC, Host


def udp(host: Host, port: int | None = None, address: str = OUR_IP, **options: int) -> UdpSocket:
    sock = host.stack.socket(2, 2)
    assert isinstance(sock, UdpSocket)
    for name, value in options.items():
        sock.setsockopt(SOL_SOCKET, {"reuseaddr": SO_REUSEADDR, "reuseport": SO_REUSEPORT}[name], value)
    if port is not None:
        sock.bind((address, port))
    return sock


def give(
    host: Host, data: bytes, dport: int = 7, sport: int = 5, src: str = PEER_IP, dst: str = OUR_IP, mac: str = OUR_MAC
) -> None:
    host.give(Ether(src=PEER_MAC, dst=mac) / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(data))


def fails(code: int, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as failure:
        call(*args)
    assert failure.value.errno == code


def test_a_datagram_each_way() -> None:
    host = Host()
    sock = udp(host, 7)
    woken: list[object] = []
    sock.on_ready = woken.append
    give(host, b"hello")
    assert woken == [sock]
    assert sock.readiness() & 1
    assert sock.recvfrom(100, 0) == (b"hello", (PEER_IP, 5))
    assert not sock.readiness() & 1
    assert sock.sendto(b"world", (PEER_IP, 5), 0) == 5
    sent = Ether(host.take()[0])
    assert (sent[IP].src, sent[UDP].sport, sent[UDP].dport, sent[UDP].len) == (OUR_IP, 7, 5, 13)
    again = sent.copy()
    del again[UDP].chksum
    assert Ether(bytes(again))[UDP].chksum == sent[UDP].chksum
    assert (host.counter("Udp", "InDatagrams"), host.counter("Udp", "OutDatagrams")) == (1, 1)


@pytest.mark.parametrize("first", range(0, 65536, 4369))
def test_checksum_is_never_sent_as_zero(first: int) -> None:
    """RFC 768: the payload is chosen so that the sum comes out as anything, zero among them."""
    host = Host()
    sock = udp(host, 7)
    sock.sendto(first.to_bytes(2, "big"), (PEER_IP, 5), 0)
    sent = Ether(host.take()[0])
    target = (first + sent[UDP].chksum) % 65535  # this payload makes the sum all ones
    sock.sendto(target.to_bytes(2, "big"), (PEER_IP, 5), 0)
    assert Ether(host.take()[0])[UDP].chksum == 0xFFFF


def test_datagrams_keep_their_boundaries_and_truncate() -> None:
    host = Host()
    sock = udp(host, 7)
    for data in (b"abcdef", b"", b"xyz"):
        give(host, data)
    assert sock.recvmsg(3, 0, MSG_PEEK) == (b"abc", (PEER_IP, 5), MSG_TRUNC, 6)
    assert sock.recv(3, 0) == b"abc"  # the rest is lost
    assert sock.recv(10, 0) == b""
    assert sock.recv(10, 0) == b"xyz"
    fails(errno.EAGAIN, sock.recv, 10, 0)
    assert sock.rmem == 0


def test_the_receive_buffer_is_bounded() -> None:
    host = Host()
    sock = udp(host, 7)
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 10_000)
    for _ in range(1000):
        give(host, b"x" * 100)
    waiting = len(sock.queue)
    assert 20 <= waiting <= 30
    assert host.rejects() == {"UdpRcvbuf": 1000 - waiting}
    assert host.counter("Udp", "RcvbufErrors") == 1000 - waiting == host.counter("Udp", "InErrors")


def test_connected_sockets_come_first_and_hear_only_their_peer() -> None:
    host = Host()
    anyone = udp(host, 7, reuseaddr=1)
    mine = udp(host, 7, reuseaddr=1)
    mine.connect((PEER_IP, 5), 0)
    give(host, b"from 5")
    give(host, b"from 6", sport=6)
    assert mine.recv(10, 0) == b"from 5"
    assert anyone.recv(10, 0) == b"from 6"
    fails(errno.EAGAIN, mine.recv, 10, 0)
    mine.close(0)
    give(host, b"later")
    assert anyone.recv(10, 0) == b"later"


def test_the_more_exact_address_wins() -> None:
    host = Host()
    wild = udp(host, 7, "0.0.0.0", reuseaddr=1)
    exact = udp(host, 7, OUR_IP, reuseaddr=1)
    give(host, b"x")
    assert exact.recv(10, 0) == b"x"
    assert not wild.readiness() & 1


def test_reuseport_spreads_flows_and_keeps_each_with_one_socket() -> None:
    host = Host()
    group = [udp(host, 7, reuseport=1) for _ in range(4)]
    for _ in range(2):
        for sport in range(1000, 1100):
            give(host, sport.to_bytes(2, "big"), sport=sport)
    seen: list[set[int]] = []
    for sock in group:
        seen.append(set())
        while sock.readiness() & 1:
            seen[-1].add(int.from_bytes(sock.recv(10, 0), "big"))
    assert sum(len(s) for s in seen) == 100 and all(len(s) > 5 for s in seen)


def test_bind_rules() -> None:
    host = Host()
    udp(host, 7)
    fails(errno.EADDRINUSE, udp(host).bind, (OUR_IP, 7))
    fails(errno.EADDRINUSE, udp(host).bind, ("0.0.0.0", 7))
    fails(errno.EADDRINUSE, udp(host, reuseaddr=1).bind, (OUR_IP, 7))  # both would have to
    udp(host, 7, "127.0.0.1")
    fails(errno.EADDRNOTAVAIL, udp(host).bind, ("192.0.2.1", 7))
    fails(errno.EINVAL, udp(host, 8).bind, (OUR_IP, 9))
    fails(errno.EAFNOSUPPORT, udp(host).bind, ("::1", 9))
    fails(errno.EINVAL, udp(host).bind, ("nonsense", 9))
    fails(errno.EINVAL, udp(host).bind, (OUR_IP, 65536))
    first = udp(host, 10, reuseaddr=1)
    udp(host, 10, reuseaddr=1).close(0)
    first.close(0)
    udp(host, 10)


def test_ephemeral_ports_are_random_distinct_and_may_run_out() -> None:
    host = Host(net__ipv4__ip_local_port_range="40000 40099")
    socks = [udp(host, 0) for _ in range(100)]
    ports = [s.getsockname()[1] for s in socks]
    assert sorted(ports) == list(range(40000, 40100))
    assert ports != sorted(ports)
    fails(errno.EADDRINUSE, udp(host).bind, (OUR_IP, 0))
    socks[3].close(0)
    assert udp(host, 0).getsockname()[1] == ports[3]


def test_send_errors() -> None:
    host = Host()
    sock = udp(host)
    fails(errno.EDESTADDRREQ, sock.send, b"x", 0)
    fails(errno.EINVAL, sock.sendto, b"x", (PEER_IP, 0), 0)
    fails(errno.EMSGSIZE, sock.sendto, bytes(65508), (PEER_IP, 9), 0)
    assert sock.sendto(bytes(65507), (PEER_IP, 9), 0) == 65507
    fails(errno.EACCES, sock.sendto, b"x", ("10.0.0.255", 9), 0)
    fails(errno.EACCES, sock.sendto, b"x", ("255.255.255.255", 9), 0)
    sock.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
    host.take()
    sock.sendto(b"x", ("10.0.0.255", 9), 0)
    sock.sendto(b"x", ("255.255.255.255", 9), 0)
    assert {Ether(f).dst for f in host.take()} == {"ff:ff:ff:ff:ff:ff"}
    fails(errno.ENOTCONN, sock.getpeername)
    fails(errno.EOPNOTSUPP, sock.listen, 5)
    sock.close(0)
    fails(errno.EBADF, sock.send, b"x", 0)


def test_shutdown() -> None:
    host = Host()
    sock = udp(host)
    sock.connect((PEER_IP, 5), 0)
    sock.shutdown(1, 0)
    fails(errno.EPIPE, sock.send, b"x", 0)
    sock.shutdown(0, 0)
    assert sock.recv(10, 0) == b""
    assert sock.readiness() & 16
    fails(errno.EINVAL, sock.shutdown, 3, 0)
    fails(errno.ENOTCONN, udp(host).shutdown, 2, 0)


def test_connect_picks_the_source_and_disconnect_gives_it_back() -> None:
    host = Host()
    sock = udp(host)
    sock.connect((PEER_IP, 5), 0)
    address, port = sock.getsockname()
    assert address == OUR_IP and 32768 <= port <= 60999
    assert sock.getpeername() == (PEER_IP, 5)
    sock.connect(None, 0)
    assert sock.getsockname() == ("0.0.0.0", 0)
    fails(errno.ENOTCONN, sock.getpeername)
    assert host.stack.udp.connected == {} and host.stack.udp.bound == {}


def test_msg_more_makes_one_datagram() -> None:
    host = Host()
    sock = udp(host, 7)
    sock.sendto(b"one ", (PEER_IP, 5), 0, MSG_MORE)
    assert host.take() == []
    sock.sendto(b"two", (PEER_IP, 5), 0)
    assert bytes(Ether(host.take()[0])[UDP].payload)[:7] == b"one two"


def test_broadcast_goes_to_every_socket_of_the_port() -> None:
    host = Host()
    socks = [udp(host, 7, "0.0.0.0", reuseaddr=1) for _ in range(3)]
    give(host, b"all", dst="10.0.0.255", mac="ff:ff:ff:ff:ff:ff")
    assert [s.recv(10, 0) for s in socks] == [b"all"] * 3


def test_loopback_and_own_address() -> None:
    host = Host()
    for address in ("127.0.0.1", "127.1.2.3", OUR_IP):
        server = udp(host, 9, address)
        client = udp(host)
        client.sendto(b"ping" * 5000, (address, 9), 0)
        assert host.stack.next_deadline() is not None
        assert host.take() == []  # nothing on the wire
        data, source = server.recvfrom(65535, 0)
        assert data == b"ping" * 5000
        server.sendto(b"pong", source, 0)
        host.take()
        assert client.recv(10, 0) == b"pong"
        server.close(0)
    assert host.rejects() == {}


def test_refused_over_loopback() -> None:
    host = Host()
    sock = udp(host)
    sock.connect(("127.0.0.1", 9), 0)
    sock.send(b"x", 0)
    host.take()
    fails(errno.ECONNREFUSED, sock.recv, 10, 0)
    sock.send(b"x", 0)


def test_closing_while_a_wakeup_runs() -> None:
    host = Host()
    sock = udp(host, 7)
    sock.on_ready = lambda s: s.close(0)
    give(host, b"x")
    give(host, b"y")
    assert host.counter("Udp", "NoPorts") == 1


def test_a_device_that_takes_nothing() -> None:
    """As Linux's pfifo with limit 0: lost without a word, ENOBUFS for who has an error queue."""
    host = Host()
    sock = udp(host, 7)
    host.stack.set_queue("eth0", 0)
    assert sock.sendto(b"x", (PEER_IP, 5), 0) == 1
    sock.setsockopt(0, 11, 1)  # IP_RECVERR
    fails(errno.ENOBUFS, sock.sendto, b"x", (PEER_IP, 5), 0)
    assert (host.counter("Udp", "SndbufErrors"), host.counter("Udp", "OutDatagrams")) == (2, 0)
    assert not host.take()
    host.stack.set_queue("eth0", 10)
    assert sock.sendto(b"x", (PEER_IP, 5), 0) == 1
    assert len(host.take()) == 1
