"""IPv4 and IPv6 UDP sockets side by side, IPV6_V6ONLY or not, over mapped addresses of 127/8: as the host's
Linux has it."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.socket import IPPROTO_IPV6, IPV6_V6ONLY
from tests.property.netstack import test_udp_like_linux as plain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's Linux")

CALL = st.one_of(plain.CALL, st.tuples(st.just("v6only"), plain.WHO, st.integers(0, 1)))


def mapped(verb: str, arg: Any) -> Any:
    """The arguments of a call as an IPv6 socket has them."""
    if verb in ("bind", "connect"):
        return ("::" if arg[0] == "0.0.0.0" else "::ffff:" + arg[0], arg[1])
    return (arg[0], mapped("bind", arg[1])) if verb == "sendto" else arg


class Theirs(plain.Theirs):
    def __init__(self, families: list[int]) -> None:
        self.families = families
        self.socks = [self.of(family) for family in families]

    @staticmethod
    def of(family: int) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        return sock

    def call(self, verb: str, who: int, arg: Any) -> Any:
        six = self.families[who] == 10
        if verb == "close":
            self.socks[who].close()
            self.socks[who] = self.of(self.families[who])
            return None
        if verb == "v6only":
            return self.socks[who].setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, arg) if six else None
        return super().call(verb, who, mapped(verb, arg) if six else arg)


class Ours(plain.Ours):
    def __init__(self, families: list[int]) -> None:
        super().__init__()
        self.families = families
        self.socks = [self.host.stack.socket(family, 2) for family in families]

    def call(self, verb: str, who: int, arg: Any) -> Any:
        six = self.families[who] == 10
        if verb == "close":
            self.socks[who].close(0)
            self.socks[who] = self.host.stack.socket(self.families[who], 2)
            return None
        if verb == "v6only":
            return self.socks[who].setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, arg) if six else None
        return super().call(verb, who, mapped(verb, arg) if six else arg)


def comparable(value: Any) -> Any:
    """Ports that the kernel chose are only known to be such."""
    if isinstance(value, tuple):
        if len(value) in (2, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            return (value[0], "chosen" if value[1] not in (0, *plain.PORTS) else value[1], *value[2:])
        return tuple(comparable(item) for item in value)
    return value


@given(st.lists(st.sampled_from([2, 10]), min_size=3, max_size=3), st.lists(CALL, max_size=25))
@settings(max_examples=300, deadline=None)
def test_dual_like_linux(families: list[int], calls: list[tuple[str, int, Any]]) -> None:
    assert plain.difference(calls, lambda: (Ours(families), Theirs(families)), comparable) is None
