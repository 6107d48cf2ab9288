"""What the applications on both ends do, as plain values, and the small machine that does it in virtual time.

An `Application` is reactive: it writes its pieces one after the other as fast as the socket takes them, and
reads what there is whenever the socket is readable, slowly or in small bites if it is told so. It ends its
stream when the last piece is written, and closes when it has seen the end of the other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrella.testing.pair import Pair, Side

PERIOD = 65_521  # prime: no shift of the stream by a power of two, an MSS or a window looks the same
_alphabet = bytes(((i * 167 + (i >> 7) * 29 + (i * i >> 11)) & 0xFF) for i in range(PERIOD))
STREAMS = {"a": _alphabet * 2, "b": _alphabet[::-1] * 2}
MOST = PERIOD


def stream(side: str, offset: int, size: int) -> bytes:
    """The bytes `offset` to `offset + size` (at most MOST) of what this side always says."""
    start = offset % PERIOD
    return STREAMS[side][start : start + size]


@dataclass(frozen=True, slots=True)
class Piece:
    """Write `size` bytes, `after_ns` after the piece before it was taken whole."""

    size: int
    after_ns: int = 0


@dataclass(frozen=True, slots=True)
class Application:
    """`read_every_ns` 0: at once whenever something is there. `reads` False: never, until its own stream has ended.

    Two that do not read can wait for each other for ever, with more to write than the buffers between them hold.
    """

    pieces: tuple[Piece, ...] = ()
    read_size: int = 65_536
    read_every_ns: int = 0
    reads: bool = True
    ends: bool = True
    options: tuple[tuple[str, int | str], ...] = ()

    @property
    def total(self) -> int:
        return sum(piece.size for piece in self.pieces)


class Runner:
    """One application at work on a side. It acts when its timer fires or its socket says so."""

    __slots__ = ("_at", "_left", "_next_read", "_timer", "_write_at", "app", "done", "ended", "pair", "reads", "side")

    def __init__(self, pair: Pair, side: Side, app: Application) -> None:
        self.pair, self.side, self.app = pair, side, app
        self._at = 0  # the piece being written
        self._left = app.pieces[0].size if app.pieces else 0
        self._next_read = 0
        self.reads = app.reads
        self.ended = False  # our stream
        self.done = False  # everything
        self._timer = pair.timeline.timer(self.turn)
        self._write_at = pair.now + (app.pieces[0].after_ns if app.pieces else 0)
        self._timer.arm(pair.now)

    def poke(self) -> None:
        """The socket may be ready: act in an event of its own, at this instant."""
        if not self.done and (self._timer.deadline is None or self._timer.deadline > self.pair.now):
            self._timer.arm(self.pair.now)

    @property
    def withholds(self) -> bool:
        """It does not read, and has not done writing."""
        return not (self.reads or self.ended or self.done)

    def relent(self) -> None:
        """Read from now on."""
        self.reads = True
        self.poke()

    def stop(self) -> None:
        self.done = True
        self._timer.disarm()

    def turn(self, now: int) -> None:
        side, pair = self.side, self.pair
        if self.done:
            return
        if side.sock is None or not side.connected:
            if side.listening:
                pair.accept(side.name)
            if side.sock is None or not side.connected:
                if side.dead:
                    self.stop()
                return
        if side.opening:
            return  # the socket will say when the connection is there
        again: list[int] = []
        self._write(now, again)
        self._read(now, again)
        if side.dead or (self.ended and side.eof):
            if not side.closed:
                pair.close(side.name)
            self.stop()
        elif again:
            self._timer.arm(min(again))

    def _write(self, now: int, again: list[int]) -> None:
        side, pair, pieces = self.side, self.pair, self.app.pieces
        while self._at < len(pieces) and not side.dead:
            if now < self._write_at:
                again.append(self._write_at)
                return
            if self._left:
                taken = pair.send(side.name, min(self._left, MOST))
                if taken <= 0:
                    return
                self._left -= taken
                continue
            self._at += 1
            if self._at < len(pieces):
                self._left = pieces[self._at].size
                self._write_at = now + pieces[self._at].after_ns
        if self._at >= len(pieces) and not self.ended and not side.dead:
            self.ended = True
            if self.app.ends and not side.shut_wr:
                pair.shutdown(side.name, 1)

    def _read(self, now: int, again: list[int]) -> None:
        side, app = self.side, self.app
        if not (self.reads or self.ended):
            return
        while not side.eof and not side.dead:
            if app.read_every_ns and now < self._next_read:
                again.append(self._next_read)
                return
            if self.pair.recv(side.name, app.read_size) <= 0:
                return
            if app.read_every_ns:
                self._next_read = now + app.read_every_ns
