"""What the applications see: the stream, whole and in order, and an end."""

from __future__ import annotations

from terrella.testing import probe
from terrella.testing.apps import MOST, stream
from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import OTHER, Side


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
            if probe.gave_up(side.stack) or probe.gave_up(other.stack) or side.aborted or other.aborted:
                continue
            if side.connected and other.connected and not runner.ended:
                self.fail(side, "the application never came to the end of what it had to write")
            if side.connected and other.connected and not side.eof and not other.shut_rd:
                self.fail(side, f"never saw the end of the stream; read {side.read} of {other.written} bytes")
