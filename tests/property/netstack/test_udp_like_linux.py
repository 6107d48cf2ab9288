"""The same calls on UDP sockets of this stack and of the host's Linux, over 127/8: same results, same errors."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.socket import (
    MSG_DONTWAIT,
    MSG_PEEK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SO_ERROR,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOL_SOCKET,
)
from tests.unit.netstack.net import Host

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's Linux")

# Addresses of this process's own, so that nothing else on the machine is met.
PREFIX = f"127.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}."
ADDRESSES = [PREFIX + "1", PREFIX + "2"]
PORTS = [20001, 20002]
POLLED = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP

WHERE = st.tuples(st.sampled_from([*ADDRESSES, "0.0.0.0"]), st.sampled_from(PORTS))
PEER = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(PORTS))
WHO = st.integers(0, 2)
CALL = st.one_of(
    st.tuples(st.just("bind"), WHO, WHERE),
    st.tuples(st.just("connect"), WHO, PEER),
    st.tuples(st.just("send"), WHO, st.binary(max_size=20)),
    st.tuples(st.just("sendto"), WHO, st.tuples(st.binary(max_size=20), PEER)),
    st.tuples(st.just("recv"), WHO, st.integers(0, 30)),
    st.tuples(st.just("peek"), WHO, st.integers(0, 30)),
    st.tuples(st.just("shutdown"), WHO, st.integers(0, 2)),
    st.tuples(st.just("close"), WHO, st.none()),
    st.tuples(st.just("names"), WHO, st.none()),
    st.tuples(st.just("error"), WHO, st.none()),
    st.tuples(st.just("reuseaddr"), WHO, st.integers(0, 1)),
    st.tuples(st.just("reuseport"), WHO, st.integers(0, 1)),
    st.tuples(st.just("poll"), WHO, st.none()),
)


class Theirs:
    def __init__(self) -> None:
        self.socks = [self.make() for _ in range(3)]

    @staticmethod
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        return sock

    def call(self, verb: str, who: int, arg: Any) -> Any:
        sock = self.socks[who]
        if verb == "close":
            sock.close()
            self.socks[who] = self.make()
            return None
        if verb == "names":
            return sock.getsockname(), outcome(sock.getpeername)
        if verb == "error":
            return sock.getsockopt(SOL_SOCKET, SO_ERROR)
        if verb in ("reuseaddr", "reuseport"):
            return sock.setsockopt(SOL_SOCKET, SO_REUSEADDR if verb == "reuseaddr" else SO_REUSEPORT, arg)
        if verb == "poll":
            poll = select.poll()
            poll.register(sock, POLLED)
            return sum(mask for _, mask in poll.poll(0)) & POLLED
        if verb == "recv":
            return sock.recvfrom(arg)
        if verb == "peek":
            return sock.recvfrom(arg, socket.MSG_PEEK)
        if verb == "sendto":
            return sock.sendto(*arg)
        return getattr(sock, verb)(arg)

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


class Ours:
    def __init__(self) -> None:
        self.host = Host()
        self.socks = [self.host.stack.socket(2, 2) for _ in range(3)]

    def call(self, verb: str, who: int, arg: Any) -> Any:
        sock = self.socks[who]
        try:
            if verb == "close":
                sock.close(0)
                self.socks[who] = self.host.stack.socket(2, 2)
                return None
            if verb == "names":
                return sock.getsockname(), outcome(sock.getpeername)
            if verb == "error":
                return sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if verb in ("reuseaddr", "reuseport"):
                return sock.setsockopt(SOL_SOCKET, SO_REUSEADDR if verb == "reuseaddr" else SO_REUSEPORT, arg)
            if verb == "poll":
                return sock.readiness() & POLLED
            if verb == "recv":
                return sock.recvfrom(arg, 0, MSG_DONTWAIT)
            if verb == "peek":
                return sock.recvfrom(arg, 0, MSG_DONTWAIT | MSG_PEEK)
            if verb == "sendto":
                return sock.sendto(*arg, 0)
            if verb == "bind":
                return sock.bind(arg)
            return getattr(sock, verb)(arg, 0)
        finally:
            self.host.take()


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as failure:
        return errno.errorcode[failure.errno or 0]


def without_ephemeral(value: Any) -> Any:
    """Ports that the kernel chose are only known to be such."""
    if isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
            return (value[0], "chosen" if value[1] not in (0, *PORTS) else value[1])
        return tuple(without_ephemeral(item) for item in value)
    return value


def difference(
    calls: list[tuple[str, int, Any]], make: Callable[[], tuple[Ours, Theirs]], comparable: Callable[[Any], Any]
) -> Any:
    """The first call that gives something else, and what on each side. A busy kernel may hand a datagram on later:
    what differs, differs every time.
    """
    found = None
    for _ in range(4):
        ours, theirs = make()
        try:
            for step, (verb, who, arg) in enumerate(calls):
                got, want = (comparable(outcome(partial(side.call, verb, who, arg))) for side in (ours, theirs))
                if got != want:
                    found = (step, verb, who, arg, got, want)
                    break
            else:
                return None
        finally:
            theirs.close()
    return found


@given(st.lists(CALL, max_size=25))
@settings(max_examples=300, deadline=None)
def test_udp_like_linux(calls: list[tuple[str, int, Any]]) -> None:
    assert difference(calls, lambda: (Ours(), Theirs()), without_ephemeral) is None
