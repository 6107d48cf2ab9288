"""A router between the two sides: a stack with two interfaces that forwards (`netstack/forward.py`), and says what it
cannot.

What a side sends takes that side's way, is there at the router, and at once with the other side; so the router's link
to either side is the end of a way. What it has to say to a sender takes as long as the way back, without its faults:
those of ICMP errors are the router's own (`Router.icmp`). A firewall before it that renumbers a connection knows what
errors quote (RFC 5508 section 4.2 asks this of address translators).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from netstack.settings import Settings
from netstack.stack import Stack
from terrella.testing import icmp
from terrella.testing.links import CORRUPT, DELAY, DROP, DUPLICATE, STALE, Fate, Link, Router, ShiftSequence
from terrella.testing.side import OTHER, addresses

OWN = {4: {"a": "10.0.0.253", "b": "10.0.0.254"}, 6: {"a": "fd00::fd", "b": "fd00::fe"}}
FAR = 1 << 30
"""How far from the truth the sequence number of a forged quotation is, at the least."""


class Between:
    """`deliver(side, image, now)` is told of what reaches a side; `passed(side, image, forwarded, errors)` of what
    became of a packet of this side's."""

    __slots__ = ("deliver", "errors", "link", "passed", "stack", "timeline")

    def __init__(
        self, router: Router, link: Link, timeline: VirtualTimeline,
        deliver: Callable[[str, bytes, int], None], passed: Callable[[str, bytes, list[bytes], list[bytes]], None],
    ) -> None:  # fmt: skip
        self.link, self.timeline, self.deliver, self.passed = link, timeline, deliver, passed
        self.errors: Iterator[Fate] = iter(router.icmp)
        forwards: dict[str, Any] = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
        self.stack = Stack(timeline.stream("router/stack"), Settings(**forwards))
        bits = 32 if link.version == 4 else 128
        for name, mtu in (("b", router.mtu), ("a", router.back or link.mtu)):
            self.stack.add_interface(name, mtu=mtu)
            self.stack.add_address(name, f"{OWN[link.version][name]}/{bits}")
            self.stack.add_route(f"{addresses(link.version)[name]}/{bits}", dev=name)

    def mtu_to(self, name: str) -> int:
        """Of the link to this side."""
        return self.stack.interface(name).mtu

    def carry(self, name: str, image: bytes, now: int) -> None:
        """A packet of this side's is there."""
        self.stack.receive(name, Frame.of(image, ethernet=False), now)
        out = [(to, bytes(frame)) for to, frame in self.stack.transmit(now)]
        onward = [sent for to, sent in out if to != name]
        errors = [sent for to, sent in out if to == name]
        self.passed(name, image, onward, errors)
        for sent in errors:
            self._tell(name, sent, now)
        for sent in onward:
            self.deliver(OTHER[name], sent, now)

    def _tell(self, name: str, image: bytes, now: int) -> None:
        fate = next(self.errors, Fate())
        back = self.link.way(OTHER[name]).delay_ns
        for box in self.link.way(name).boxes:
            if isinstance(box, ShiftSequence) and not box.back and icmp.parse(image) is not None:
                image = icmp.misquoting(image, -box.offset)
        if fate.kind == DROP:
            return
        if fate.kind == CORRUPT:
            damaged = bytearray(image)
            bit = fate.value % (8 * len(damaged))
            damaged[bit >> 3] ^= 1 << (bit & 7)
            image = bytes(damaged)
        elif fate.kind == DELAY:
            back += fate.value
        elif fate.kind == DUPLICATE:
            self._later(name, image, now + back + fate.value)
        elif fate.kind == STALE and icmp.parse(image) is not None:
            self._later(name, icmp.misquoting(image, FAR + fate.value), now + back)
        self._later(name, image, now + back)

    def _later(self, name: str, image: bytes, at: int) -> None:
        self.timeline.timer(partial(self.deliver, name, image)).arm(at)

    def heal(self) -> None:
        self.errors = iter(())
