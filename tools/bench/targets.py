"""What each figure is, and what it has to reach: `--check` fails where one does not.

Ratios are ours divided by the peer's in the same run, so more is better for rates and less is better for times. They
carry from one host to another; a target in seconds or bytes is meant for two cores that do nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    what: str
    unit: str
    more_is_better: bool
    value: float | None = None  # in `unit`
    ratio: float | None = None  # to `peer`
    lwip: float | None = None  # to lwIP
    peer: str = "veth"

    def text(self) -> str:
        sign = ">=" if self.more_is_better else "<="
        per_second = "/s" if self.unit == "/s" else f" {self.unit}"
        wanted = [f"{sign} {self.value:,g}{per_second}"] if self.value is not None else []
        wanted += [f"{sign} {self.ratio:g}x {self.peer}"] if self.ratio is not None else []
        wanted += [f"{sign} {self.lwip:g}x lwIP"] if self.lwip is not None else []
        return ", ".join(wanted)

    def misses(self, value: float, ratio: float | None, lwip: float | None) -> list[str]:
        """Which of its targets the figure does not reach, or cannot be held to; empty when it meets them."""
        found = []
        for had, target, what in (
            (value, self.value, self.unit),
            (ratio, self.ratio, f"times {self.peer}"),
            (lwip, self.lwip, "times lwIP"),
        ):
            if target is None:
                continue
            if had is None:
                found.append(f"{self.name}: {what.removeprefix('times ')} was not measured, target {target:g} {what}")
            elif had < target if self.more_is_better else had > target:
                found.append(f"{self.name}: {had:.4g} {what}, target {target:g}")
        return found


TARGETS = (
    Target("bulk-in", "received over a TAP with vnet headers", "GB/s", True, ratio=0.5, lwip=4),
    Target("bulk-out", "sent over a TAP with vnet headers", "GB/s", True, ratio=0.5, lwip=4),
    Target("bulk-in-plain", "received over a TAP in frames of 1514 bytes", "GB/s", True, lwip=1.65),
    Target("bulk-out-plain", "sent over a TAP in frames of 1514 bytes", "GB/s", True, lwip=1.35),
    Target("echo", "one byte there and back, median, both ends on one core", "us", False, 25),
    Target("echo-busy", "one byte there and back, median, beside three processes that loop for ever", "us", False, 200),
    Target("connect", "connect, one byte there and back, close; both ends on one core", "/s", True, 8200),
    Target("echo-stack", "echo of a bare stack on a TAP: no kernel, sockets driven by callback", "us", False, 25),
    Target("connect-stack", "connect of a bare stack", "/s", True, 8200),
    Target("idle-rate", "a busy connection's rate beside 10,000 idle ones, over its rate alone", "x", True, 0.95),
    Target("idle-memory", "memory per idle connection: with its socket, its descriptor and the server's flow",
           "bytes", False, 4096),
    Target("ready", "from the start of `terrella up` to its being ready", "s", False, 2),
    Target("simulate", "data segments of one simulated flow per second of real time, capture on", "/s", True,
           ratio=1, peer="ns-3"),
    Target("simulate-100", "the same with 100 flows that share the link", "/s", True, ratio=0.8, peer="ns-3"),
    Target("getpid", "system calls that do nothing, in virtual time", "/s", True, 600_000),
    Target("readwrite", "pairs of a write and a read of 4 KiB, on a pipe", "/s", True, 150_000),
    Target("readwrite-file", "the same in a file of /tmp", "/s", True, 150_000),
    Target("switch", "switches between two processes that hand a byte to and fro", "/s", True, ratio=1, peer="Linux"),
    Target("spawn", "spawn, exit and wait", "/s", True, ratio=1, peer="Linux"),
    Target("pipe", "bytes through a pipe in blocks of 64 KiB, between two processes", "GB/s", True, ratio=1,
           peer="Linux"),
    Target("sleepers", "the rate of switches beside 10,000 sleeping processes, over that beside 10", "x", True, 0.9),
)  # fmt: skip

BY_NAME = {target.name: target for target in TARGETS}
