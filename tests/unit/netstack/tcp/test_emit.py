"""What leaves, and with what: acknowledgments with answers, settings that change."""

from __future__ import annotations

from typing import Any

import pytest

from netstack.settings import Settings
from tests.unit.netstack.tcp.kit import Peer


def served(peer: Peer, sock: Any) -> None:
    """An echo that is called back."""

    def echo(ready: Any) -> None:
        if ready.served():
            ready.send(ready.recv(100, peer.now), peer.now)

    sock.on_ready = echo


def test_an_answer_given_at_once_carries_the_acknowledgment() -> None:
    peer = Peer()
    served(peer, peer.accept())
    peer.send("P. 1:2(1) ack 1 win 512", b"x")
    peer.recv("P. 1:2(1) ack 2")
    peer.silent()
    peer.send("P. 2:3(1) ack 2 win 512", b"y")
    peer.recv("P. 2:3(1) ack 3")
    peer.wait(300)
    assert not any(seen.flags == 16 for _, seen in peer.queue)


def test_without_an_answer_it_goes_at_once() -> None:
    peer = Peer()
    sock = peer.accept()
    read: list[bytes] = []
    sock.on_ready = lambda ready: read.append(ready.recv(100, peer.now)) if ready.served() else None
    peer.send("P. 1:2(1) ack 1 win 512", b"x")
    peer.recv(". 1:1(0) ack 2")
    peer.silent()
    assert read == [b"x"]


@pytest.mark.parametrize("linger", [False, True])
def test_who_closes_while_it_is_told_is_not_acknowledged_for(linger: bool) -> None:
    """Data and a close in the same call: FIN, or RST, and no ACK of its own behind it."""
    peer = Peer()
    sock = peer.accept()
    if linger:
        sock.linger = (1, 0)

    def done(ready: Any) -> None:
        if ready.served():
            ready.recv(100, peer.now)
            ready.close(peer.now)

    sock.on_ready = done
    peer.send("P. 1:2(1) ack 1 win 512", b"x")
    peer.recv("R. 1:1(0) ack 2" if linger else "F. 1:1(0) ack 2")
    peer.silent()


def test_a_setting_is_in_force_when_it_is_set() -> None:
    settings = Settings()
    peer = Peer()
    tcp = peer.stack.tcp
    peer.stack.settings.tcp_init_cwnd = 3
    peer.stack.settings.set("net.ipv4.tcp_rmem", "4096 8192 16384")
    peer.stack.settings.set("net.ipv4.tcp_congestion_control", "cubic")
    assert (tcp.settings.tcp_init_cwnd, tcp.settings.tcp_rmem) == (3, (4096, 8192, 16384))
    conn = peer.accept().conn
    assert conn.cwnd == 3 and conn.cc.name == "cubic"
    copied = peer.stack.settings.copy()
    copied.tcp_init_cwnd = 4
    assert copied.tcp_init_cwnd == 4 and tcp.settings.tcp_init_cwnd == 3 and settings.tcp_init_cwnd == 10
