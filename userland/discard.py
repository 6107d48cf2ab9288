"""Discard, port 9 (RFC 863): what comes is thrown away.

    discard [PORT]
"""

from __future__ import annotations

from typing import Any

from userland import abi
from userland.lib import System, listen_on
from userland.reactor import IN, TURNS, Flow, Reactor

_READ = 1024 * 1024


def tcp(sys: System, fd: int, peer: Any) -> Flow:
    read = sys.read
    while True:
        yield IN
        try:
            for _ in range(TURNS):
                n = len(read(fd, _READ))
                if n < _READ:
                    if not n:
                        return
                    break  # that was all there is
        except BlockingIOError:
            pass


def udp(sys: System, fd: int) -> Flow:
    while True:
        try:
            sys.recvfrom(fd, 65535)
        except BlockingIOError:
            yield IN


def main(sys: System, argv: list[str]) -> int:
    port = int(argv[1]) if len(argv) > 1 else 9
    reactor = Reactor(sys, "discard")
    datagrams = sys.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC, 0)
    sys.bind(datagrams, ("0.0.0.0", port))
    reactor.start(datagrams, udp(sys, datagrams))
    reactor.listen(listen_on(sys, port, flags=abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC), tcp)
    reactor.run()
    return 0
