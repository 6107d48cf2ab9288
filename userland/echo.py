"""Echo, port 7 (RFC 862): over TCP what comes goes back until the peer closes; over UDP each datagram goes back.

    echo [PORT]
"""

from __future__ import annotations

from typing import Any

from userland import abi
from userland.lib import System, listen_on
from userland.reactor import IN, OUT, SMALL_SERVERS, TURNS, Flow, Reactor

_READ = 256 * 1024
_NOSIGNAL = abi.MSG_NOSIGNAL


def tcp(sys: System, fd: int, peer: Any) -> Flow:
    """One connection. Reading waits while the peer does not take what is already read; others get their turn. A flow
    never waits inside `except`, or it would keep the error and all that its traceback holds.
    """
    del peer  # what a flow holds, it holds as long as the connection lasts
    read, sendto = sys.read, sys.sendto
    turns = 0
    while True:  # whoever connects to it mostly has sent something by now
        try:
            data: Any = read(fd, _READ)
        except BlockingIOError:
            data = None
        if data is None:
            yield IN
            continue
        if not data:
            return
        size = len(data)
        try:
            taken = sendto(fd, data, _NOSIGNAL)
        except BlockingIOError:
            taken = 0
        while taken != len(data):
            if not taken:
                yield OUT
            data = memoryview(data)[taken:]
            try:
                taken = sendto(fd, data, _NOSIGNAL)
            except BlockingIOError:
                taken = 0
        data = None  # nothing is held while it waits
        if size < _READ:
            yield IN  # that was all there is
            continue
        turns += 1
        if turns % TURNS == 0:
            yield OUT


def udp(sys: System, fd: int) -> Flow:
    while True:
        try:
            data, peer = sys.recvfrom(fd, 65535)
            if peer[1] not in SMALL_SERVERS:
                sys.sendto(fd, data, 0, peer)
        except BlockingIOError:
            yield IN
        except OSError:
            continue  # an ICMP error of an earlier answer; the next datagram is another matter


def main(sys: System, argv: list[str]) -> int:
    port = int(argv[1]) if len(argv) > 1 else 7
    reactor = Reactor(sys, "echo")
    datagrams = sys.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC, 0)
    sys.bind(datagrams, ("0.0.0.0", port))
    reactor.start(datagrams, udp(sys, datagrams))
    reactor.listen(listen_on(sys, port, flags=abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC), tcp)
    reactor.run()
    return 0
