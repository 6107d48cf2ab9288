"""Keeps the events of a scenario out of the way of this stack's timers: a host that is late must not decide what comes
first.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tools.packetdrill.differential.record import Recorder
from tools.packetdrill.host import Host
from tools.packetdrill.script import FIN, SYN, TcpPacket

MS = 1_000_000
GUARD_NS = 16 * MS
FIN_COMES = re.compile(r"< (\[.*?\] )?(\d+ > \d+ )?[A-Z]*F")


class Guard:
    """Looks at what comes out of one recorder, on this stack; `saw` is given each segment."""

    def __init__(self, recorder: Recorder, saw: Callable[[TcpPacket], object] = lambda packet: None) -> None:
        self.recorder = recorder
        self.saw = saw
        self.quiet = 0  # when the stack last sent what sets a timer: an ACK puts none off
        self._group = self._came = 0  # what was looked at

    def due(self, gap: int) -> int:
        """When a line may come, `gap` after the one before or a little later where a timer is about to end. What comes
        until then has come.
        """
        recorder = self.recorder
        host = recorder.host
        assert isinstance(host, Host)
        if recorder.groups and FIN_COMES.match(recorder.groups[-1].line):
            gap = max(gap, 10 * MS)  # its ACK may be due at the kernel's next tick
        due = recorder.due + gap
        while gap:
            deadline = host.timeline.peek()
            if deadline is None or deadline - GUARD_NS >= due:
                break
            # The kernel's timers are late by up to an eighth of what they were set to.
            late = GUARD_NS + max(52 * MS, (deadline - self.quiet) // 6)
            due = max(due, deadline + late + MS)
            host.advance(deadline)
            recorder.drain()
            self.look()
        return due

    def look(self) -> None:
        """At what came since last time."""
        groups = self.recorder.groups
        while self._group < len(groups):
            group = groups[self._group]
            for came in group.came[self._came :]:
                if came.packet is not None:
                    if came.packet.length or came.packet.flags & (SYN | FIN):
                        self.quiet = group.due + came.after_ns
                    self.saw(came.packet)
            self._came = len(group.came)
            if self._group == len(groups) - 1:
                return
            self._group += 1
            self._came = 0


__all__ = ["MS", "Guard"]
