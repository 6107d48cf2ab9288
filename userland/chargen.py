"""Character generator, port 19 (RFC 864): lines of 72 printing characters, each starting one character later, for ever.

Over UDP each datagram is answered with one of at most 512 bytes: the first lines of the pattern that fit.

    chargen [PORT]
"""

from __future__ import annotations

from typing import Any

from userland import abi
from userland.lib import System, listen_on
from userland.reactor import IN, OUT, SMALL_SERVERS, Flow, Reactor

RING = "".join(map(chr, range(32, 127)))  # the 95 printing characters, space among them
CYCLE = "".join((RING + RING)[i : i + 72] + "\r\n" for i in range(len(RING))).encode()
_BLOCK = CYCLE * 160  # some 1.1 MB: what one send may take


def tcp(sys: System, fd: int, peer: Any) -> Flow:
    """Sends until the peer goes; what the peer sends is thrown away."""
    sendto, nosignal, size = sys.sendto, abi.MSG_NOSIGNAL, len(CYCLE)
    block = memoryview(_BLOCK)
    at = 0
    interest = IN | OUT
    while True:
        try:
            sent = sendto(fd, block[at:], nosignal)  # one block, however much fits: then it is the others' turn
            at = (at + sent) % size
        except BlockingIOError:
            pass
        events = yield interest
        if events & IN & interest:
            try:
                if not sys.read(fd, 65536):
                    interest = OUT
            except BlockingIOError:
                pass


def udp(sys: System, fd: int) -> Flow:
    answer = CYCLE[: 512 // 74 * 74]
    while True:
        try:
            _, peer = sys.recvfrom(fd, 65535)
            if peer[1] not in SMALL_SERVERS:
                sys.sendto(fd, answer, 0, peer)
        except BlockingIOError:
            yield IN
        except OSError:
            continue


def main(sys: System, argv: list[str]) -> int:
    port = int(argv[1]) if len(argv) > 1 else 19
    reactor = Reactor(sys, "chargen")
    datagrams = sys.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC, 0)
    sys.bind(datagrams, ("0.0.0.0", port))
    reactor.start(datagrams, udp(sys, datagrams))
    reactor.listen(listen_on(sys, port, flags=abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC), tcp)
    reactor.run()
    return 0
