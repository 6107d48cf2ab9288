"""DF and what an ICMP error changes, by IP_MTU_DISCOVER, the route's lock and ip_no_pmtu_disc (ip(7), ip-route(8),
ip-sysctl). On the wire of lo `tests/conformance/kernel/programs/95_dont_fragment.py` compares it with Linux."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from netstack.icmp import IcmpError
from netstack.socket import IP_MTU_DISCOVER, IP_TTL, IPPROTO_IP, SO_ERROR, SOL_SOCKET
from tests.unit.netstack.tcp.kit import LOCAL, MASK, MS, REMOTE, Peer, checksum

SYN = "S 0:0(0) win 65535 <mss 1460,sackOK,nop,wscale 7>"
DONT, WANT, DO, PROBE, INTERFACE, OMIT = range(6)


def fragile(peer: Peer) -> list[tuple[int, bool]]:
    """(text, DF) of what was sent."""
    found = [(seen.length, bool(seen.image[6] & 0x40)) for _, seen in peer.queue]
    peer.queue.clear()
    return found


def too_big(peer: Peer, mtu: int, to: bytes = REMOTE) -> None:
    quoted = peer.lport.to_bytes(2, "big") + peer.rport.to_bytes(2, "big")
    quoted += ((1 + peer.local_isn) & MASK).to_bytes(4, "big")
    peer.stack.tcp.icmp_error(IcmpError(4, 3, 4, LOCAL, to, 6, quoted, mtu, to), peer.now)
    peer.drain()


@pytest.mark.parametrize("mode", range(6))
def test_who_acts_on_it(mode: int) -> None:
    peer = Peer()
    sock = peer.accept(SYN)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, mode)
    sock.send(bytes(1460), peer.now)
    peer.drain()
    whole = mode in (WANT, DO)
    assert fragile(peer) == [(1460, whole)]
    too_big(peer, 1000)
    again = [(960, whole), (500, whole)]
    assert fragile(peer) == (again if mode in (WANT, DO, PROBE) else [])
    assert not sock.getsockopt(SOL_SOCKET, SO_ERROR)
    peer.send(". 1:1(0) ack 1461 win 512")
    sock.send(bytes(1000), peer.now)
    peer.drain()
    assert fragile(peer)[0][0] == 960, "what follows is smaller in any case"


def test_below_the_least_the_path_is_locked() -> None:
    peer = Peer()
    sock = peer.accept(SYN)
    sock.send(bytes(1460), peer.now)
    peer.drain()
    assert fragile(peer) == [(1460, True)]
    too_big(peer, 300)
    assert fragile(peer) == [(512, False), (512, False), (436, False)]
    assert sock.info(peer.now).tcpi_pmtu == 552 and not sock.getsockopt(SOL_SOCKET, SO_ERROR)
    sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, DO)
    too_big(peer, 300)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EMSGSIZE
    peer.send(". 1:1(0) ack 1461 win 512")
    sock.send(b"x", peer.now)
    peer.drain()
    assert fragile(peer) == [(1, True)]


def test_a_lock_of_the_route() -> None:
    peer = Peer()
    peer.stack.remove_route("default")
    peer.stack.add_route("10.9.0.0/16", dev="tun0", mtu=1400, mtu_lock=True)
    udp = peer.stack.socket(2, 2)
    path: Any = peer.stack.route(bytes([10, 9, 0, 1]))
    assert path.locked and path.update_pmtu(600, peer.now) == 1400
    udp.sendto(b"x", ("10.9.0.1", 9), peer.now)
    (frame,) = [bytes(frame) for _, frame in peer.stack.transmit(peer.now)]
    assert not frame[6] & 0x40
    udp.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, DO)
    udp.sendto(b"x", ("10.9.0.1", 9), peer.now)
    (frame,) = [bytes(frame) for _, frame in peer.stack.transmit(peer.now)]
    assert frame[6] & 0x40


@pytest.mark.parametrize(("mode", "learnt"), [(0, 1000), (1, 552), (2, 1500), (3, 1000)])
def test_no_pmtu_disc(mode: int, learnt: int) -> None:
    """Of TCP; UDP's are passed over with 2 and 3. All but 0 have new sockets begin with IP_PMTUDISC_DONT."""
    peer = Peer(net__ipv4__ip_no_pmtu_disc=mode)
    sock = peer.accept(SYN)
    assert sock.getsockopt(IPPROTO_IP, IP_MTU_DISCOVER) == (DONT if mode else WANT)
    sock.send(bytes(1460), peer.now)
    peer.drain()
    (_, sent), *_ = peer.queue
    message = bytes([3, 4, 0, 0, 0, 0]) + (1000).to_bytes(2, "big")

    def say(quoted: bytes) -> None:
        body = bytearray(message + quoted[:28])
        body[2:4] = checksum(bytes(body)).to_bytes(2, "big")
        ip = bytearray(b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + bytes(4) + b"\x40\1\0\0" + REMOTE + LOCAL)
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        peer.stack.receive("tun0", bytes(ip + body), peer.now)

    say(sent.image)
    assert peer.stack.route(REMOTE).mtu == learnt
    udp = peer.stack.socket(2, 2)
    udp.connect(("10.0.0.9", 9), peer.now)
    udp.send(bytes(1200), peer.now)
    say(next(bytes(frame) for _, frame in peer.stack.transmit(peer.now) if bytes(frame)[9] == 17))
    assert peer.stack.route(bytes([10, 0, 0, 9])).mtu == (1500 if mode == 3 else learnt)
    peer.wait(601_000)
    assert peer.stack.route(REMOTE).mtu == 1500 and peer.now > 600_000 * MS


def test_the_path_may_know_already() -> None:
    """Two connections to one host: the error about the second finds the MTU that the first one's has brought."""
    peer = Peer()
    sock = peer.accept(SYN)
    sock.send(bytes(1460), peer.now)
    peer.drain()
    assert fragile(peer) == [(1460, True)]
    assert peer.stack.route(REMOTE).update_pmtu(1000, peer.now) == 1000
    too_big(peer, 1000)
    assert fragile(peer) == [(960, True), (500, True)]
    too_big(peer, 1000)
    assert fragile(peer) == []


def test_less_than_the_least_locks_a_path_that_has_no_more() -> None:
    peer = Peer()
    assert peer.stack.route(REMOTE).update_pmtu(552, peer.now) == 552
    path = peer.stack.tcp.route(REMOTE)
    assert not path.locked and path.update_pmtu(552, peer.now) == 552 and path.valid
    assert path.update_pmtu(551, peer.now) == 552
    path = peer.stack.tcp.route(REMOTE)
    assert path.locked and path.mtu == 552
    peer.wait(601_000)
    path = peer.stack.tcp.route(REMOTE)
    assert not path.locked and path.mtu == 1500


def test_before_accept_the_options_of_the_listener_outlast_a_change_of_routes() -> None:
    peer = Peer()
    listener = peer.listen()
    listener.setsockopt(IPPROTO_IP, IP_TTL, 255)
    listener.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, DONT)
    peer.send(SYN)
    peer.send(". 1:1(0) ack 1 win 512")
    peer.stack.routes.changed()
    peer.queue.clear()
    peer.send("P. 1:11(10) ack 1 win 512")
    peer.wait(100)
    (_, seen), *_ = peer.queue
    assert seen.image[8] == 255 and not seen.image[6] & 0x40
