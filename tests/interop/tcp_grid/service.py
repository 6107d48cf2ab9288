"""The far end of every flow of the grid, one program for both kernels: `terrella run --on-linux service.py` on the
host's, a process of a machine inside.

A client sends 48 bytes, "VERB CONGESTION BYTES" padded with blanks. `send`: BYTES of the pattern come back.
`take`: BYTES are read and compared with the pattern, and how many were right up to the first wrong one comes back in
32 bytes. Either way the client then says one byte and gets this side's TCP_INFO.
"""

from __future__ import annotations

import hashlib
from typing import Any

PORTS = {"cubic": 5201, "reno": 5202}
REQUEST = 48
VERDICT = 32
INFO = 280
SOL_TCP, TCP_INFO, TCP_CONGESTION = 6, 11, 13
BLOCK = 65536
MOST = 1 << 20
"""Bytes of one read."""


def pattern(length: int) -> bytes:
    """What is carried: bytes in which a shift or a hole is seen."""
    block = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(BLOCK // 32))
    return (block * (length // BLOCK + 1))[:length]


PATTERN = pattern(BLOCK + MOST)
"""From each of its first BLOCK places on it is the pattern for as long as one read or write is."""


def read_exactly(sys: Any, fd: int, length: int) -> bytes:
    parts = []
    while length:
        part = sys.read(fd, min(length, MOST))
        if not part:
            raise ConnectionError("the peer closed early")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def write_all(sys: Any, fd: int, data: bytes) -> None:
    done = sys.write(fd, data)  # all of it, but for a signal
    while done < len(data):
        done += sys.write(fd, data[done:])


def compare(sys: Any, fd: int, length: int) -> int:
    """Read `length` bytes; how many of them were the pattern's, up to the first that was not.

    On a fast path a digest of all takes as long as the transfer does, and inside a machine nobody else works meanwhile.
    """
    at = 0
    intact = length
    while at < length:
        part = sys.read(fd, min(length - at, MOST))
        if not part:
            raise ConnectionError("the peer closed early")
        if intact == length and not PATTERN.startswith(part, at % BLOCK):
            right = PATTERN[at % BLOCK :]
            intact = at + next(n for n, (one, other) in enumerate(zip(part, right, strict=False)) if one != other)
        at += len(part)
    return intact


def serve(sys: Any, fd: int) -> None:
    verb, congestion, count = read_exactly(sys, fd, REQUEST).decode().split()
    assert bytes(sys.getsockopt(fd, SOL_TCP, TCP_CONGESTION, 16)).rstrip(b"\0") == congestion.encode()
    length = int(count)
    if verb == "send":
        block = PATTERN[:MOST]
        for at in range(0, length, MOST):
            write_all(sys, fd, block[: length - at])
    else:
        write_all(sys, fd, (b"%d" % compare(sys, fd, length)).ljust(VERDICT))
    read_exactly(sys, fd, 1)
    info = sys.getsockopt(fd, SOL_TCP, TCP_INFO, INFO)
    write_all(sys, fd, bytes(info).ljust(INFO, b"\0"))
    sys.close(fd)


def child(sys: Any, listener: int, fd: int) -> int:
    sys.close(listener)
    try:
        serve(sys, fd)
    except OSError:
        return 1
    return 0


def listen(sys: Any, address: str, congestion: str) -> int:
    """One port for each congestion control: on Linux a connection that began with another one keeps traces of it."""
    listener: int = sys.socket(2, 1)
    sys.setsockopt(listener, 1, 2, 1)
    sys.setsockopt(listener, SOL_TCP, TCP_CONGESTION, congestion.encode())
    sys.bind(listener, (address, PORTS[congestion]))
    sys.listen(listener, 64)
    return listener


def accept(sys: Any, listener: int) -> int:
    while True:
        fd, _ = sys.accept4(listener)
        sys.spawn(child, listener, fd)
        sys.close(fd)
        try:
            while sys.wait4(-1, 1)[0]:
                pass
        except OSError:
            pass


def main(sys: Any, argv: list[str]) -> int:
    listeners = [listen(sys, argv[1] if len(argv) > 1 else "0.0.0.0", name) for name in sorted(PORTS)]
    sys.write(1, b"listening\n")
    for listener in listeners[1:]:
        sys.spawn(accept, listener)
    return accept(sys, listeners[0])
