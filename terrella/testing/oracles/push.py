"""PSH, and the pace at which segments leave: Linux's ways, that its peers and packetdrill's scripts count on."""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.sender import is_new, loss_probe
from terrella.testing.oracles.timers import NONE, PERSIST
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import FIN, PSH, SYN, Segment

GSO_MOST = 65_536
UNPACED_SEGMENTS = 10
SECOND = 1_000_000_000


class Push(Oracle):
    """PSH is on the segment that ends what was written and empties the queue (RFC 9293 asks for no more; not where
    the buffer was full before the write was done), and on a super-segment, of which the last segment has it. In the
    midst of a write no single segment has it, until half of the greatest window was written since the last (Linux);
    what the persist timer or a loss probe sends may.
    """

    section = "RFC 9293 section 3.9.1, MUST-61; Linux's tcp_push and tcp_mark_push"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.ends: dict[str, list[int]] = {"a": [], "b": []}  # of what was written, by call
        self.bare: dict[str, Segment | None] = {"a": None, "b": None}  # what a call sent last, without PSH
        self.least: dict[str, int] = {"a": 1 << 30, "b": 1 << 30}  # the smallest of the greatest windows there were

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        bare, self.bare[side.name] = self.bare[side.name], None
        if bare is not None and after is not None and after.snd_nxt == after.write_seq and not after.was_full:
            self.fail(side, f"{bare} is the last that was written, and has no PSH", after)
        if cause == "call" and before is not None and after is not None and after.write_seq > before.write_seq:
            ends = self.ends[side.name]
            ends.append(after.write_seq - after.iss)
            while len(ends) > 1 and ends[1] <= after.snd_una - after.iss - GSO_MOST:
                del ends[0]

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.length or seg.flags & SYN or not is_new(side, seg):
            return
        name, seq = side.name, side.flow.seq_out(seg.seq)
        end, written = seq + seg.length, state.write_seq - state.iss
        self.least[name] = min(self.least[name], state.max_window)
        last = end >= written - (1 if seg.flags & FIN or state.fin_queued else 0)
        called = self.pair.cause == "call"  # which may have more to write
        self.bare[name] = seg if called and not seg.flags & PSH else None
        if ((last and not called) or seg.segs > 1) and not seg.flags & PSH:
            what = "a super-segment" if seg.segs > 1 else "the last that was written"
            self.fail(side, f"{seg} is {what}, and has no PSH", state)
        if last or seg.segs > 1 or not seg.flags & PSH or self.pair.cause == "timer":
            return
        near = [at for at in self.ends[name] if seq - GSO_MOST <= at <= end]
        before = max((at for at in self.ends[name] if at <= seq), default=1)
        if not near and end - before <= self.least[name] >> 1:
            self.fail(side, f"{seg} is in the midst of a write, and has PSH", state)


class Pacing(Oracle):
    """With SO_MAX_PACING_RATE new data leaves no faster: each (super-)segment waits until the one before has had its
    time, of which half of what was lost by being late is made up for (Linux). The first ten segments go at once, and so
    do a window probe, a loss probe and what a timeout or a loss has sent again.
    """

    section = "RFC 9002 section 7.7; socket(7), SO_MAX_PACING_RATE; Linux's tcp_update_skb_after_send"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.ready: dict[str, int] = {"a": 0, "b": 0}  # when the next may leave
        self.count: dict[str, int] = {"a": 0, "b": 0}
        self.rate: dict[str, int] = {"a": 0, "b": 0}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.length or side.flow.iss is None:
            return
        name, now, rate = side.name, self.pair.now, state.pacing_most
        if rate != self.rate[name]:
            self.rate[name], self.ready[name] = rate, 0
        self.count[name] += seg.segs
        if not rate or (self.pair.cause == "timer" and state.timer in (NONE, PERSIST) and is_new(side, seg)):
            return  # the persist timer's own (or, of what had to wait while nothing was out, the first)
        ready = self.ready[name]
        if now < ready - 1000 and is_new(side, seg) and not loss_probe(state, seg, now) and state.phase < 4:
            self.fail(side, f"{seg} {(ready - now) / 1e6:.3f} ms before its turn at {rate} bytes/s", state)
        self.ready[name] = max(ready, now)
        if self.count[name] >= UNPACED_SEGMENTS:
            duration = seg.length * SECOND // rate
            self.ready[name] += duration - min(duration >> 1, max(now - ready, 0))
