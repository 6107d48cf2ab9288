"""Demultiplexing (RFC 9293 section 3.10.7): which listener a SYN is for, what no route leads back to, bounds."""

from __future__ import annotations

import errno
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from netstack.settings import Settings
from netstack.socket import SO_REUSEPORT, SOL_SOCKET
from netstack.tcp import engine
from netstack.tcp.connection import Connection
from tests.unit.netstack.tcp.kit import LOCAL, REMOTE, Peer, checksum

SO_BINDTODEVICE = 25
SYN, ACK = 2, 16
FAR = bytes([192, 0, 2, 9])


def image(
    flags: int, src: bytes = REMOTE, sport: int = 40000, seq: int = 100, ack: int = 0, text: bytes = b""
) -> bytes:
    """A segment to port 80."""
    tcp = bytearray(struct.pack("!HHIIBBHHH", sport, 80, seq, ack, 0x50, flags, 65535, 0, 0) + text)
    tcp[16:18] = checksum(src + LOCAL + struct.pack("!BBH", 0, 6, len(tcp)) + bytes(tcp)).to_bytes(2, "big")
    ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0, src, LOCAL))
    ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    return bytes(ip + tcp)


def sent(peer: Peer) -> list[bytes]:
    return [bytes(frame) for _, frame in peer.stack.transmit(peer.now)]


def listener(peer: Peer, address: str = "0.0.0.0", device: str = "") -> Any:
    sock = peer.stack.socket(2, 1)
    sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
    if device:
        sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, device.encode())
    sock.bind((address, 80))
    sock.listen(50)
    return sock


def waiting(sock: Any) -> int:
    return int(sock.listener.waiting)


def test_the_closest_listener_is_asked() -> None:
    """socket(7): one bound to the device comes before one that is not, one of another device is passed over."""
    peer = Peer()
    peer.stack.add_interface("tun1")
    anywhere, here, elsewhere = listener(peer), listener(peer, device="tun0"), listener(peer, device="tun1")
    for sport in range(40010, 40020):
        peer.stack.receive("tun0", image(SYN, sport=sport), peer.now)
    assert [waiting(sock) for sock in (anywhere, here, elsewhere)] == [0, 10, 0]
    here.close(peer.now)
    peer.stack.receive("tun0", image(SYN, sport=40001), peer.now)
    assert [waiting(sock) for sock in (anywhere, elsewhere)] == [1, 0]


def test_equal_listeners_share() -> None:
    """SO_REUSEPORT: by a hash of the addresses and ports, so that each has some and a SYN again finds the same."""
    peer = Peer()
    both = [listener(peer), listener(peer)]
    for _ in range(2):
        for sport in range(40000, 40020):
            peer.stack.receive("tun0", image(SYN, sport=sport), peer.now)
    assert sum(map(waiting, both)) == 20
    assert all(map(waiting, both))


@pytest.mark.parametrize("cookies", [1, 2])
def test_what_no_route_leads_back_to(cookies: int) -> None:
    """No SYN-ACK, no RST; and a handshake whose peer has become unreachable is not completed."""
    peer = Peer(net__ipv4__tcp_syncookies=cookies)
    sock = listener(peer)
    peer.stack.receive("tun0", image(SYN, FAR), peer.now)
    (syn_ack,) = sent(peer)
    iss = int.from_bytes(syn_ack[24:28], "big")
    peer.stack.remove_route("default")
    peer.stack.receive("tun0", image(SYN, FAR, 40001), peer.now)
    peer.stack.receive("tun0", image(ACK, FAR, 40002, ack=7), peer.now)
    assert not sent(peer)
    assert waiting(sock) == 2 - cookies
    assert peer.stack.counters.tcpext.ListenDrops == 1
    if cookies == 2:
        peer.stack.receive("tun0", image(ACK, FAR, seq=101, ack=iss + 1), peer.now)
        with pytest.raises(BlockingIOError):
            sock.accept(peer.now)


@pytest.mark.parametrize("device", ["tun0", "eth0"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_frames_of_any_buffer(kind: Any, device: str) -> None:
    """What was read is the stack's own, also when the frame's buffer is written over afterwards."""
    peer = Peer()
    sock = peer.accept()
    peer.stack.add_interface("eth0", "02:00:00:00:00:01")
    header = bytes.fromhex("0200000000010200000000020800") if device == "eth0" else b""
    whole = bytearray(header + image(ACK, seq=peer.remote_isn + 1, ack=peer.local_isn + 1, text=b"hello"))
    frame = kind(whole)
    peer.stack.receive(device, frame, peer.now)
    for buffer in (whole, frame):
        if isinstance(buffer, bytearray):
            buffer[:] = bytes(len(buffer))
    assert sock.recv(100, peer.now) == b"hello"


def test_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATHS_MAX", 3)
    peer = Peer()
    for n in range(10):
        peer.stack.tcp.route(bytes([192, 0, 2, n]))
        assert len(peer.stack.tcp._paths) <= 3


def test_a_socket_whose_attempt_failed_connects_again() -> None:
    """connect(2): the failure is told of by the next call if by nothing else, and then forgotten."""
    peer = Peer()
    sock = peer.connect()
    first = peer.lport
    peer.queue.clear()
    peer.send("R. 0:0(0) ack 1")
    for wanted in (errno.ECONNREFUSED, errno.EINPROGRESS):
        with pytest.raises(OSError) as caught:
            sock.connect(("10.0.0.2", peer.rport), peer.now)
        assert caught.value.errno == wanted
    assert sock.local[1] != first


def test_a_connection_that_ended_before_accept_holds_no_port() -> None:
    peer = Peer()
    door = peer.listen()
    peer.send("S 0:0(0) win 65535 <mss 1000>")
    peer.send(". 1:1(0) ack 1 win 512")
    peer.send("R. 1:1(0) ack 1 win 0")
    sock, _ = door.accept(peer.now)
    door.close(peer.now)
    peer.listen().close(peer.now)
    sock.bind(("10.0.0.1", 4000))
    sock.close(peer.now)
    assert not peer.stack.tcp.bound


def test_a_connection_of_one_device_stays_there_when_routes_change() -> None:
    peer = Peer()
    stack = peer.stack
    stack.add_interface("tun1")
    stack.add_address("tun1", "10.1.0.1/24")
    stack.add_route("default", dev="tun1", metric=100)
    sock = stack.socket(2, 1)
    sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b"tun1")
    with pytest.raises(BlockingIOError):
        sock.connect(("192.0.2.9", 80), peer.now)
    assert [name for name, _ in stack.transmit(peer.now)] == ["tun1"]
    stack.routes.changed()
    again = stack.next_deadline()
    assert again is not None
    stack.on_deadline(again)
    assert [name for name, _ in stack.transmit(again)] == ["tun1"]


def test_answers_to_what_is_not_acceptable_are_limited_from_time_zero() -> None:
    """RFC 5961 section 7, Linux's tcp_invalid_ratelimit: the second within half a second gets none."""
    c: Any = SimpleNamespace(
        last_oow_ns=0, settings=Settings(), counters=SimpleNamespace(TCPACKSkippedSeq=0, TCPChallengeACK=0)
    )
    assert not Connection.oow_limited(c, 0, ACK, 0)
    assert Connection.oow_limited(c, 0, ACK, 0) and Connection.oow_limited(c, 0, ACK, 499_999_999)
    assert not Connection.oow_limited(c, 0, ACK, 500_000_001)
    assert c.counters.TCPACKSkippedSeq == 2
