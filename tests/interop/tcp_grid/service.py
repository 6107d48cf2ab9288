"""The far end of every flow of the grid, one program for both kernels: `terrella run --on-linux service.py` on the
host's, a process of a machine inside.

A client sends 48 bytes, "VERB CONGESTION BYTES" padded with blanks. `send`: BYTES of the pattern come back.
`take`: BYTES are read, and their SHA-256 comes back. Either way the client then says one byte and gets this side's
TCP_INFO.
"""

from __future__ import annotations

import hashlib
from typing import Any

PORTS = {"cubic": 5201, "reno": 5202}
REQUEST = 48
INFO = 280
SOL_TCP, TCP_INFO, TCP_CONGESTION = 6, 11, 13
BLOCK = 65536


def pattern(length: int) -> bytes:
    """What is carried: bytes in which a shift or a hole is seen."""
    block = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(BLOCK // 32))
    return (block * (length // BLOCK + 1))[:length]


def read_exactly(sys: Any, fd: int, length: int) -> bytes:
    parts = []
    while length:
        part = sys.read(fd, min(length, 1 << 20))
        if not part:
            raise ConnectionError("the peer closed early")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def write_all(sys: Any, fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[sys.write(fd, bytes(view[: 1 << 18])) :]


def serve(sys: Any, fd: int) -> None:
    verb, congestion, count = read_exactly(sys, fd, REQUEST).decode().split()
    assert bytes(sys.getsockopt(fd, SOL_TCP, TCP_CONGESTION, 16)).rstrip(b"\0") == congestion.encode()
    length = int(count)
    if verb == "send":
        block = pattern(min(length, 1 << 24))
        for at in range(0, length, len(block)):
            write_all(sys, fd, block[: length - at])
    else:
        digest = hashlib.sha256()
        while length:
            part = sys.read(fd, 1 << 20)
            if not part:
                raise ConnectionError("the peer closed early")
            digest.update(part)
            length -= len(part)
        write_all(sys, fd, digest.digest())
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
