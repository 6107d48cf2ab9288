"""Flows that share a bottleneck, and how evenly they do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from drivers.net.direction import Direction
from netstack.settings import Settings
from netstack.stack import Stack
from terrella.testing.links import Link
from terrella.testing.pair import LINK_HEADER, OTHER, SECOND
from terrella.testing.side import ADDRESSES

CHUNK = bytes(65_536)


def jain(goodputs: Sequence[float]) -> float:
    """Jain's index (RFC 5166 section 2.3.3): 1 when all are equal, 1/n when one has everything."""
    squares = sum(x * x for x in goodputs)
    return sum(goodputs) ** 2 / (len(goodputs) * squares) if squares else 1.0


def shares(
    link: Link,
    duration_ns: int = 30 * SECOND,
    congestion: Sequence[str] = ("cubic", "cubic"),
    seed: int = 0,
    start_ns: int = 0,
    **settings: Any,
) -> list[int]:
    """Bytes that each of several bulk flows from a to b delivered over one link in `duration_ns`; the n-th begins at
    n * `start_ns`, and all are counted from when the last has begun. RFC 9438 section 5.3: equal flows share equally.
    """
    timeline = VirtualTimeline(seed)
    stacks: dict[str, Stack] = {}
    timers: dict[str, Any] = {}
    ways: dict[str, Direction] = {}
    sources: list[Any] = []
    sinks: list[Any] = []
    counts = [0] * len(congestion)

    def follow(name: str) -> None:
        frames = [frame for _, frame in stacks[name].transmit(timeline.now)]
        if frames:
            ways[name].transmit(frames, timeline.now)
        deadline = stacks[name].next_deadline()
        if deadline is None:
            timers[name].disarm()
        else:
            timers[name].arm(max(deadline, timeline.now))

    def pump(now: int) -> None:
        for sock in sources:
            try:
                while True:
                    sock.send(CHUNK, now)
            except BlockingIOError:
                continue

    def drain(now: int) -> None:
        while True:
            try:
                sinks.append(listener.accept(now)[0])
            except BlockingIOError:
                break
        for sock in sinks:
            try:
                while True:
                    counts[order[sock.remote[1]]] += len(sock.recv(1 << 20, now))
            except BlockingIOError:
                continue

    def arrived(name: str, frames: list[Frame], now: int) -> None:
        for frame in frames:
            stacks[name].receive("eth0", frame, now)
        (pump if name == "a" else drain)(now)
        follow(name)

    def due(name: str, now: int) -> None:
        stacks[name].on_deadline(now)
        follow(name)

    for name in "ab":
        stack = stacks[name] = Stack(timeline.stream(f"{name}/stack"), Settings(**settings))
        stack.add_interface("eth0", mtu=link.mtu, gso=True)
        stack.add_address("eth0", f"{ADDRESSES[name]}/24")
        timers[name] = timeline.timer(partial(due, name))
        ways[name] = Direction(
            timeline, link.way(name).impairments(), timeline.stream(f"wire/{name}"),
            partial(arrived, OTHER[name]), link.mtu + LINK_HEADER,
        )  # fmt: skip
    listener = stacks["b"].socket(2, 1)
    listener.bind((ADDRESSES["b"], 80))
    listener.listen(len(congestion))
    order: dict[int, int] = {}
    for n, algorithm in enumerate(congestion):
        sock = stacks["a"].socket(2, 1)
        sock.setsockopt(6, 13, algorithm.encode())
        sock.bind((ADDRESSES["a"], 4000 + n))
        order[4000 + n] = n
        try:
            sock.connect((ADDRESSES["b"], 80), timeline.now)
        except BlockingIOError:
            sources.append(sock)
        follow("a")
        timeline.run(timeline.now + start_ns)
    begun = list(counts)
    timeline.run(timeline.now + duration_ns)
    return [count - before for count, before in zip(counts, begun)]
