"""What the applications see: the stream, whole and in order, and an end."""

from __future__ import annotations

from itertools import pairwise

from terrella.testing import probe
from terrella.testing.apps import MOST, stream
from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import OTHER, Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import FIN, MASK, RST, SYN, Segment

FIN_WAIT_1, CLOSE_WAIT = 4, 8
UNREAD = (1, FIN_WAIT_1, 5, CLOSE_WAIT)  # ESTABLISHED to CLOSE-WAIT: where data may wait to be read
MS = 1_000_000


def keys(side: Side) -> list[bytes]:
    """What names the connection of this side, and three of other ports to the same peer."""
    here, there = side.key[:-4], side.key[-2:]
    return [here + (side.port + n).to_bytes(2, "big") + there for n in (0, 1000, 1001, 1002)]


def said(side: Side) -> str:
    """The last call, with its result."""
    return next((str(text) for _, kind, text in reversed(side.history) if kind == "call"), "")


class StreamEquality(Oracle):
    """The bytes read are the bytes written by the other side, in order, none twice, none missing, none else; and the
    end of the stream is only told when the other side ended it, after all of its bytes.
    """

    section = "RFC 9293 sections 2.2 and 3.4, MUST-5"

    def got(self, side: Side, offset: int, data: bytes) -> None:
        other = self.pair.sides[OTHER[side.name]]
        at = 0
        while at < len(data):
            want = stream(other.name, offset + at, min(MOST, len(data) - at))
            if data[at : at + len(want)] != want:
                n = next(i for i, (x, y) in enumerate(zip(data[at:], want)) if x != y)
                self.fail(side, f"byte {offset + at + n} of the stream is not the one written")
            at += len(want)
        if offset + len(data) > other.written:
            self.fail(side, f"read up to byte {offset + len(data)}, but only {other.written} were written")

    def end_of_stream(self, side: Side) -> None:
        other = self.pair.sides[OTHER[side.name]]
        if side.shut_rd or side.closed or side.dead:
            return
        if not (other.shut_wr or other.closed):
            self.fail(side, "the end of a stream that the other side did not end")
        if side.read != other.written:
            self.fail(side, f"the stream ended after {side.read} of {other.written} bytes")


class ItEnds(Oracle):
    """Once the network is well, both applications reach their end, and nothing stays behind: no connection, no port, no
    timer. A stream that nobody cut short (no reset, no early close, no timeout) has arrived whole.
    """

    section = "RFC 9293 sections 3.6 and 3.8.3; RFC 6298 section 5"

    def ended(self) -> None:
        for side in self.pair.sides.values():
            other = self.pair.sides[OTHER[side.name]]
            held = probe.leaks(side.stack)
            if held:
                self.fail(side, f"the stack still holds {', '.join(held)}")
            runner = side.runner
            if runner is None or side.error or other.error or side.shut_rd or side.dead or other.dead:
                continue
            if any(s.sock is not None and s.sock.linger == (1, 0) for s in (side, other)):
                continue  # in CLOSING and LAST-ACK, without a word (Linux)
            if probe.gave_up(side.stack) or probe.gave_up(other.stack) or side.aborted or other.aborted:
                continue
            if side.connected and other.connected and not runner.ended:
                self.fail(side, "the application never came to the end of what it had to write")
            if side.connected and other.connected and not side.eof and not other.shut_rd:
                self.fail(side, f"never saw the end of the stream; read {side.read} of {other.written} bytes")


class InitialNumbers(Oracle):
    """A connection between the same two ports begins as much higher as a clock has gone on in the meantime (of 4 us, or
    of 64 ns, which is Linux's): what is left of the one before is not taken for its own. Those of other ports tell
    nothing of each other. (The stack is asked with what others would begin, when the connection is over.) Exception:
    what a SYN cookie says is a number of another kind (RFC 4987 section 3.6).
    """

    section = "RFC 6528 section 3; RFC 9293 section 3.4.1, MUST-8 and MUST-9"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.first: dict[str, tuple[int, int]] = {}  # the number, when

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if seg.flags & SYN and not side.stack.counters.tcpext.SyncookiesSent:
            self.first.setdefault(side.name, (seg.seq, self.pair.now))

    def ended(self) -> None:
        now = self.pair.now
        for name, side in self.pair.sides.items():
            if name in self.pair.numbered or name not in self.first:
                continue
            number, at = self.first[name]
            again, *others = (probe.initial_number(side.stack, key, now) for key in keys(side))
            due = [(number + (now - at) // tick) & MASK for tick in (64, 4000)]
            if all((again - this + 1) & MASK > 2 for this in due):
                self.fail(side, f"{(now - at) / 1e9:.3f} s after {number} a connection of the same ports has {again}")
            steps = [(b - a) & MASK for a, b in pairwise([again, *others])]
            if len(set(steps)) < len(steps) or any((step + 16) & MASK <= 32 for step in steps):
                self.fail(side, f"connections of other ports begin with {others}, that of this one with {again}")


class ResetsUnread(Oracle):
    """Who closes a socket with data that came and was not read says so by RST: the peer must not take it for read."""

    section = "RFC 9293 section 3.6.1; RFC 2525 section 2.17"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.reset: dict[str, bool] = {"a": False, "b": False}  # in the event under way

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        self.reset[side.name] |= bool(seg.flags & RST)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        reset, self.reset[side.name] = self.reset[side.name], False
        if cause != "call" or reset or before is None or before.state not in UNREAD or side.closed:
            return
        unread = before.rcv_nxt - before.copied_seq - (1 if before.state == CLOSE_WAIT else 0)
        if said(side).startswith("close(4)") and unread > 0:
            self.fail(side, f"closed with {unread} bytes unread, and no RST was sent", before)


class TimeWait(Oracle):
    """Who ended its stream first keeps the connection's end in mind for 2 MSL (a minute, as in Linux): the peer's FIN
    again, and anything else that is late, is not answered by RST. Exception: a RST ended it (RFC 1337, as in Linux).
    """

    section = "RFC 9293 sections 3.3.2 and 3.6.1, MUST-13"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.first: set[str] = set()  # who ended first, or at the same time
        self.over: dict[str, int] = {}  # when both ends were there

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if seg.flags & RST:
            self.over[side.name] = -1 << 60

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        name, flow = side.name, side.flow
        if seg.flags & FIN and state is not None and state.state == FIN_WAIT_1:
            self.first.add(name)
        whole = side.stack.settings.tcp_timewait_len_ms * MS
        if seg.flags & RST and name in self.over and self.pair.now - self.over[name] < whole:
            self.fail(side, f"{seg}, {(self.pair.now - self.over[name]) / 1e6:.3f} ms after an orderly end", state)
        done = flow.fin_sent is not None and flow.acked >= flow.fin_sent
        if not done or name not in self.first or flow.fin_arrived is None or seg.flags & RST:
            return
        if flow.seq_in(seg.ack) >= flow.fin_arrived:
            self.over.setdefault(name, self.pair.now)
