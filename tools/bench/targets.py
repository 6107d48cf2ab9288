"""What each figure is, and what it has to reach.

`floor` is checked by `--check` and says "not broken": it has room for a slow, busy machine. `next` is the aim of the
work that follows, shown beside the figure and not checked. Ratios are ours divided by the peer's in the same run, so
more is better for rates and less is better for times.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    what: str
    unit: str
    more_is_better: bool
    floor: float  # of the value, in `unit`
    floor_ratio: float | None  # of the ratio to the peer, where there is one
    next: str

    def misses(self, value: float, ratio: float | None) -> list[str]:
        """Why the figure fails its floors; empty when it meets them."""
        sign = 1 if self.more_is_better else -1
        found = []
        if sign * value < sign * self.floor:
            found.append(f"{self.name}: {value:.4g} {self.unit}, floor {self.floor:g}")
        if ratio is not None and self.floor_ratio is not None and sign * ratio < sign * self.floor_ratio:
            found.append(f"{self.name}: {ratio:.3g} times the peer, floor {self.floor_ratio:g}")
        return found


TARGETS = (
    Target("bulk-in", "received over a TAP with vnet headers", "GB/s", True, 0.25, 0.04,
           ">= 0.5x veth, >= 4x lwIP"),
    Target("bulk-out", "sent over a TAP with vnet headers", "GB/s", True, 0.25, 0.04,
           ">= 0.5x veth, >= 4x lwIP"),
    Target("bulk-in-plain", "received over a TAP in frames of 1514 bytes", "GB/s", True, 0.03, None,
           ">= 1.65x lwIP"),
    Target("bulk-out-plain", "sent over a TAP in frames of 1514 bytes", "GB/s", True, 0.03, None,
           ">= 1.35x lwIP"),
    Target("echo", "one byte there and back, median, both ends on one core", "us", False, 600, None,
           "<= 25 us"),
    Target("echo-busy", "one byte there and back, median, beside three processes that loop for ever", "us", False, 2000,
           None, "<= 200 us"),
    Target("connect", "connect, one byte there and back, close; both ends on one core", "/s", True, 300, None,
           ">= 8200/s"),
    Target("echo-stack", "echo of a bare stack on a TAP: no kernel, sockets driven by callback", "us", False, 400, None,
           "<= 25 us"),
    Target("connect-stack", "connect of a bare stack", "/s", True, 400, None, ">= 8200/s"),
    Target("idle-rate", "a busy connection's rate beside 10,000 idle ones, over its rate alone", "x", True, 0.6, None,
           ">= 0.95"),
    Target("idle-memory", "memory per idle connection: with its socket, its descriptor and the server's flow",
           "bytes", False, 20_000, None, "<= 4096"),
    Target("ready", "from the start of `terrella up` to its being ready", "s", False, 5, None, "<= 2 s"),
    Target("simulate", "data segments of one simulated flow per second of real time, capture on", "/s", True,
           2000, None, ">= 1x ns-3"),
    Target("simulate-100", "the same with 100 flows that share the link", "/s", True, 2000, None, ">= 0.8x ns-3"),
    Target("getpid", "system calls that do nothing, in virtual time", "/s", True, 200_000, None, ">= 600,000/s"),
    Target("readwrite", "pairs of a write and a read of 4 KiB, on a pipe", "/s", True, 50_000, None, ">= 150,000/s"),
    Target("readwrite-file", "the same in a file of /tmp", "/s", True, 40_000, None, ">= 150,000/s"),
    Target("switch", "switches between two processes that hand a byte to and fro", "/s", True, 30_000, None,
           "more than Linux's"),
    Target("spawn", "spawn, exit and wait", "/s", True, 2_000, None, "more than Linux's"),
    Target("pipe", "bytes through a pipe in blocks of 64 KiB, between two processes", "GB/s", True, 0.5, None,
           "more than Linux's"),
    Target("sleepers", "the rate of switches beside 10,000 sleeping processes, over that beside 10", "x", True, 0.6,
           None, ">= 0.9"),
)  # fmt: skip

BY_NAME = {target.name: target for target in TARGETS}
