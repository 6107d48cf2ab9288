"""Options every socket has, by Linux's numbers, with the values Linux itself gives for the same calls."""

from __future__ import annotations

import errno
import socket as host_socket
import struct
import sys

import pytest

from netstack import socket as net
from netstack.socket import Socket
from tests.unit.netstack.net import Host

LINUX = sys.platform == "linux"


def make(host: Host | None = None) -> Socket:
    return (host or Host()).stack.socket(2, 2)


@pytest.mark.skipif(not LINUX, reason="compares with the host's Linux")
@pytest.mark.parametrize(
    ("level", "name", "values"),
    [
        (net.SOL_SOCKET, net.SO_TYPE, []),
        (net.SOL_SOCKET, net.SO_DOMAIN, []),
        (net.SOL_SOCKET, net.SO_PROTOCOL, []),
        (net.SOL_SOCKET, net.SO_ERROR, []),
        (net.SOL_SOCKET, net.SO_ACCEPTCONN, []),
        (net.SOL_SOCKET, net.SO_REUSEADDR, [1, 0, 7, -1]),
        (net.SOL_SOCKET, net.SO_BROADCAST, [1, 0, 5]),
        (net.SOL_SOCKET, net.SO_KEEPALIVE, [1, 0]),
        (net.SOL_SOCKET, net.SO_RCVBUF, [1, 2000, 50_000, 0, -1]),
        (net.SOL_SOCKET, net.SO_SNDBUF, [1, 2000, 50_000, 0, -1]),
        (net.SOL_SOCKET, net.SO_RCVLOWAT, [0, 5, -1]),
        (net.SOL_SOCKET, net.SO_LINGER, [struct.pack("=ii", 1, 5), struct.pack("=ii", 0, 9), b"1234", 1]),
        (net.SOL_SOCKET, net.SO_RCVTIMEO, [struct.pack("=qq", 2, 500_000), struct.pack("=qq", 2, -1), b"12345678"]),
        (net.SOL_SOCKET, net.SO_TYPE, [1]),
        (net.SOL_SOCKET, net.SO_ERROR, [1]),
        (net.SOL_SOCKET, 200, [1]),
        (net.IPPROTO_IP, net.IP_TTL, [0, 1, 255, 256, -1, 9]),
        (net.IPPROTO_IP, net.IP_TOS, [0x10, 0xFF, 0x3]),
        (net.IPPROTO_IP, net.IP_MTU_DISCOVER, [0, 1, 2, 3, 5, 6, -1]),
        (net.IPPROTO_IP, net.IP_RECVERR, [1, 0]),
        (net.IPPROTO_IP, net.IP_MTU, []),
        (net.IPPROTO_IP, 199, [1]),
        (250, 1, [1]),
    ],
)
def test_same_as_the_host(level: int, name: int, values: list[int | bytes]) -> None:
    """Each set and get on a socket of ours and on one of the host's kernel: same errno, same value."""
    ours = make()
    with host_socket.socket(host_socket.AF_INET, host_socket.SOCK_DGRAM) as theirs:
        for value in [None, *values]:
            if value is not None:
                assert outcome(lambda v=value: ours.setsockopt(level, name, v)) == outcome(
                    lambda v=value: theirs.setsockopt(level, name, v)
                ), value
            n = 16 if name in (net.SO_RCVTIMEO, net.SO_LINGER) and level == net.SOL_SOCKET else 4
            assert outcome(lambda n=n: ours.getsockopt(level, name, n)) == outcome(
                lambda n=n: theirs.getsockopt(level, name, n)
            ), value


def outcome(call: object) -> object:
    try:
        return call()  # type: ignore[operator]
    except OSError as failure:
        return errno.errorcode[failure.errno or 0]


def test_a_length_cuts_the_value() -> None:
    sock = make()
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_TYPE) == 2
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_TYPE, 4) == struct.pack("=i", 2)
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_TYPE, 2) == struct.pack("=i", 2)[:2]


def test_limits_of_the_buffers() -> None:
    sock = make()
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_RCVBUF) == 212_992
    sock.setsockopt(net.SOL_SOCKET, net.SO_RCVBUF, 100 << 20)
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_RCVBUF) == 8 << 20  # rmem_max doubled
    sock.setsockopt(net.SOL_SOCKET, net.SO_RCVBUFFORCE, 100 << 20)
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_RCVBUF) == 200 << 20


def test_bind_to_device() -> None:
    host = Host()
    sock = make(host)
    sock.setsockopt(net.SOL_SOCKET, net.SO_BINDTODEVICE, b"eth0\0")
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_BINDTODEVICE) == b"eth0\0"
    with pytest.raises(OSError) as failure:
        sock.setsockopt(net.SOL_SOCKET, net.SO_BINDTODEVICE, b"nope\0")
    assert failure.value.errno == errno.ENODEV
    sock.setsockopt(net.SOL_SOCKET, net.SO_BINDTODEVICE, b"")
    assert sock.getsockopt(net.SOL_SOCKET, net.SO_BINDTODEVICE) == b""


@pytest.mark.skipif(not LINUX, reason="compares with the host's Linux")
@pytest.mark.parametrize(
    ("family", "type", "proto"),
    [(2, 2, 6), (2, 1, 17), (2, 2, 0), (2, 2, 17), (2, 3, 0), (2, 5, 0), (2, 11, 0), (2, 2, 300), (2, 2, -1)],
)
def test_socket_errors_same_as_the_host(family: int, type: int, proto: int) -> None:
    stack = Host().stack

    def theirs() -> None:
        host_socket.socket(family, type, proto if proto >= 0 else 0x7FFFFFFF).close()

    def ours() -> None:
        stack.socket(family, type, proto)

    assert outcome(ours) == outcome(theirs)
