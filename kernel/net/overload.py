"""When more small frames come than can be looked at one by one (a flood, by intention or not).

A batch of nothing but small frames that did not empty the device's queue is a crowd; two of them close to each other
raise the guard (`netstack/tcp/guard.py`): from then on the device asks it about each frame as it reads. It is lowered
when a second passes in which it had little to do. What Linux has for this is SYN cookies in the stack, and the budget
and early drops of NAPI below it.

With a capture, what the guard deals with is written too, as packet blocks made in C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csrc import ffi
from netstack.tcp.guard import Guard

if TYPE_CHECKING:
    from kernel.net.netif import NetIf

CROWD = 200
"""Frames that were not coalesced in one batch."""
CLOSE_NS = 20_000_000
"""Two crowds no further apart than this are an overload."""
WINDOW_NS = 1_000_000_000
"""How long there must be little to do before the guard is lowered."""
LITTLE = 2_000
"""Frames that the guard dealt with in that time."""
BATCHES = 8
"""Batches taken before everybody else has a turn: most of their frames cost next to nothing."""
LOG_BYTES = 1 << 20
"""More than one batch of the longest frames and its answers."""


class Overload:
    """The guard of one interface."""

    __slots__ = ("_done", "_log", "_until_ns", "crowd_ns", "guard", "netif", "raised")

    def __init__(self, netif: NetIf) -> None:
        self.netif = netif
        self.crowd_ns = -CLOSE_NS
        self.raised = False
        self.guard: Guard | None = None
        self._log: Any = None
        self._until_ns = 0
        self._done = 0

    def crowd(self, now: int) -> None:
        """A batch of small frames that left more behind."""
        close = now - self.crowd_ns < CLOSE_NS
        self.crowd_ns = now
        set_guard = getattr(self.netif.device, "set_guard", None)
        if not close or self.raised or set_guard is None or len(self.netif.captures) > 1:
            return
        if self.guard is None:
            stack = self.netif.network.stack
            self.guard = Guard(stack, stack.interfaces[self.netif.name])
        self.raised = True
        self._until_ns, self._done = now + WINDOW_NS, 0
        self._prepare_log()
        set_guard(int(ffi.cast("uintptr_t", self.guard.pointer)))

    def lower(self) -> None:
        """Frames go up the stack unseen again."""
        if self.raised:
            self.raised = False
            self.netif.device.set_guard(0)  # type: ignore[attr-defined]

    def _prepare_log(self) -> None:
        assert self.guard is not None
        g = self.guard.pointer
        if self.netif.captures and self._log is None:
            self._log = ffi.new("uint8_t[]", LOG_BYTES)
        g.log = self._log if self.netif.captures else ffi.NULL
        g.log_cap, g.log_used = LOG_BYTES, 0

    def readable(self, now: int, batch: int) -> None:
        """Instead of `NetIf._readable` while the guard is raised."""
        guard, netif = self.guard, self.netif
        assert guard is not None
        timeline = netif.network.timeline
        for _ in range(BATCHES):
            guard.refresh(now)
            if netif.captures:
                capture, ident = netif.captures[0]
                guard.pointer.log_interface, guard.pointer.log_stamp = ident, now + capture.epoch_ns
            frames = netif.device.receive(batch)
            done = guard.settle()
            self._done += done
            if netif.captures and guard.pointer.log_used:
                g = guard.pointer
                netif.captures[0][0].blocks(ffi.buffer(g.log, g.log_used)[:], g.log_packets)
                g.log_used = g.log_packets = 0
            if frames:
                netif.up(frames, now)
            if done + sum([frame.gso_segs for frame in frames]) < batch:
                break
            now = timeline.now
        if now >= self._until_ns:
            if self._done < LITTLE:
                self.lower()
            self._until_ns, self._done = now + WINDOW_NS, 0
