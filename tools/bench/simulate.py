"""Simulated TCP flows: 100 Mbit/s, 20 ms each way, 0.1 % loss, with a capture of every frame at the receiver.

    python -m tools.bench.simulate [MEGABYTES [FLOWS]]

All flows go from one machine to another over one link and share the megabytes; each end is a process of its own.

Prints one line of JSON. `segments` is the stream in units of the MSS, so retransmissions do not make it look faster.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MSS = 1448
PORT = 5001


def source(sys: Any, port: int, total: int) -> int:
    from userland.abi import AF_INET, SOCK_STREAM

    listener = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(listener, ("0.0.0.0", port))
    sys.listen(listener, 1)
    fd, _ = sys.accept4(listener)
    block = bytes(65536)
    left = total
    while left > 0:
        left -= sys.sendto(fd, block[:left])
    sys.close(fd)
    return 0


def sink(sys: Any, address: str, port: int, report: list[int]) -> int:
    from userland.abi import AF_INET, SOCK_STREAM

    fd = sys.socket(AF_INET, SOCK_STREAM)
    sys.connect(fd, (address, port))
    total = 0
    while True:
        data, _ = sys.recvfrom(fd, 65536)
        if not data:
            break
        total += len(data)
    report.append(total)
    return 0


def flow(total: int, capture: str, flows: int = 1) -> dict[str, float]:
    """Carry `total` bytes in so many flows; wall and virtual seconds, and what was received."""
    from terrella import Lab

    received: list[int] = []
    with Lab(seed=1) as lab:
        a = lab.host("a", "10.0.0.1/24")
        b = lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="100Mbit", delay="20ms", loss="0.1%", queue=1000)
        lab.capture(b, capture)
        share = total // flows
        for i in range(flows):
            a.spawn(source, PORT + i, share if i else total - share * (flows - 1))
            b.spawn(sink, "10.0.0.1", PORT + i, received)
        if callable(signal.getsignal(signal.SIGURG)):
            signal.raise_signal(signal.SIGURG)  # a sampler waits for this
        start = time.perf_counter()
        lab.run()
        wall = time.perf_counter() - start
        virtual = lab.now / 1e9
    if len(received) != flows or sum(received) != total:
        raise SystemExit(f"the simulated flows delivered {received} of {total} bytes")
    return {"bytes": total, "segments": total / MSS, "wall_s": wall, "virtual_s": virtual}


def main() -> None:
    total = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 100_000_000
    flows = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory(prefix="terrella-bench-") as directory:
        print(json.dumps(flow(total, str(Path(directory) / "flow.pcapng"), flows)))


if __name__ == "__main__":
    main()
