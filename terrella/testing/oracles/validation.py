"""Congestion window validation: what cwnd does when the application, not cwnd, holds the sender back."""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.congestion import INITIAL_WINDOW, both, calm
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import Segment


class Usage:
    """How much of cwnd was used: `limited`, that it was full since what was out then came to be acknowledged (and
    something was sent after); `most`, segments out at once in that time; `last`, when something was sent last;
    `fell`, when cwnd did."""

    __slots__ = ("edge", "fell", "last", "limited", "most", "sent")

    def __init__(self) -> None:
        self.limited = True
        self.edge = self.most = 0
        self.last = -1
        self.fell = -(1 << 60)
        self.sent = False  # something, in the event under way

    def holds(self, state: State) -> bool:
        """Whether cwnd may grow."""
        return self.limited or (state.cwnd < state.ssthresh and state.cwnd < 2 * self.most)


class WindowValidation(Oracle):
    """cwnd grows only where it was full: by the newest data that was out when it was, and what was sent before that was
    acknowledged (Linux); in slow start also up to twice of what was out at once. cwnd falls without a loss only as
    tcp_slow_start_after_idle allows: once in an RTO by half of what is beyond the initial window at most; after an RTO
    without anything sent by half for each of them, and not below the initial window. Then ssthresh remembers three
    quarters of it.
    """

    section = "RFC 2861 section 3; RFC 7661 section 4; RFC 5681 section 4.1"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.usage = {"a": Usage(), "b": Usage()}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        usage = self.usage[side.name]
        usage.sent |= seg.room > 0
        if state is not None and state.pipe + seg.segs >= state.cwnd:
            usage.limited, usage.edge = True, max(usage.edge, state.snd_nxt)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        usage = self.usage[side.name]
        sent, usage.sent = usage.sent, False
        idle_from = usage.last
        if sent:
            usage.last = self.pair.now
        if after is None or not both(before, after):
            return
        assert before is not None
        if not calm(before, after):
            usage.limited, usage.edge, usage.most = True, after.snd_nxt, after.packets_out
            return
        if after.cwnd > before.cwnd and not usage.holds(before):
            told = f"cwnd grew from {before.cwnd} to {after.cwnd}, and {usage.most} segments at most were out of late"
            self.fail(side, told, after)
        if after.cwnd < before.cwnd:
            self._fell(side, idle_from if sent else -1, before, after)
        self._used(side, cause, before, after)

    def _fell(self, side: Side, idle_from: int, before: State, after: State) -> None:
        now = self.pair.now
        told = f"cwnd fell from {before.cwnd} to {after.cwnd}, and nothing was lost"
        if not side.stack.settings.tcp_slow_start_after_idle:
            self.fail(side, told, after)
        least = (before.cwnd + INITIAL_WINDOW) >> 1
        idle = now - idle_from
        if not before.packets_out and idle_from < 0:
            least = INITIAL_WINDOW  # (each buffer that a closed window holds back halves it again, as in Linux)
        elif not before.packets_out and idle > before.rto_ns:
            halved = before.cwnd >> -(-(idle - before.rto_ns) // before.rto_ns)
            least = (max(halved, INITIAL_WINDOW) + INITIAL_WINDOW) >> 1
        if after.cwnd < min(least, before.cwnd) or after.cwnd < min(INITIAL_WINDOW, before.cwnd):
            self.fail(side, f"{told}: {least} were left", after)
        usage = self.usage[side.name]
        if before.packets_out and now - usage.fell < min(before.rto_ns, after.rto_ns):
            self.fail(side, f"{told}: it fell twice within an RTO", after)
        usage.fell = now
        if after.ssthresh < (before.cwnd >> 1) + (before.cwnd >> 2):
            self.fail(side, f"{told}; ssthresh is {after.ssthresh}", after)

    def _used(self, side: Side, cause: str, before: State, after: State) -> None:
        usage = self.usage[side.name]
        usage.most = max(usage.most, after.packets_out)
        if after.pipe >= after.cwnd or after.unsent:
            usage.limited, usage.edge = True, max(usage.edge, after.snd_nxt)
        elif after.snd_nxt > before.snd_nxt and cause != "timer" and after.snd_una >= usage.edge:
            usage.limited, usage.edge, usage.most = False, after.snd_nxt, after.packets_out
