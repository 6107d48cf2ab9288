"""What an oracle is: hooks that a pair calls, each doing nothing until an oracle says what to look for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from terrella.testing.pair import Violation

if TYPE_CHECKING:
    from terrella.testing.pair import Pair, Side
    from terrella.testing.probe import State
    from terrella.testing.strangers import Stranger
    from terrella.testing.wire import Segment


class Oracle:
    """The rule is the docstring of the class; `section` says where it stands."""

    section = ""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        """A (super-)segment leaves TCP; `side.flow` does not know of it yet. `state` is the sender's at that moment."""

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        """A good segment reached this side, which has not looked at it yet."""

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        """An event is over, and what it made the side send has left. `cause` is "arrival" (of `seg`, good), "icmp" (an
        error about this connection, `pair.error`), "noise" (a packet of no connection, or damaged), "forged" (see
        `terrella.testing.forged`), "timer" or "call"."""

    def passed(self, side: Side, image: bytes, forwarded: list[bytes], errors: list[bytes]) -> None:
        """A packet of this side's came to the router, which sent these on, and back."""

    def calls(self, side: Side, kind: str, stranger: Stranger) -> None:
        """A stranger's packet of this kind is about to reach a side that listens (see `strangers`): a step follows, of
        cause "stranger"."""

    def answered(self, side: Side, stranger: Stranger, seg: Segment) -> None:
        """This was sent to a stranger."""

    def accepted(self, side: Side, stranger: Stranger) -> None:
        """accept(2) gave a stranger's connection."""

    def got(self, side: Side, offset: int, data: bytes) -> None:
        """The application read `data`, or looked at it (MSG_PEEK), which begins at this offset of the stream."""

    def end_of_stream(self, side: Side) -> None:
        """The application read b""."""

    def ended(self) -> None:
        """The network healed, both sides closed, and enough time has passed."""

    def fail(self, side: Side, message: str, state: State | None = None) -> NoReturn:
        name = type(self).__name__
        lines = [f"{name} ({self.section}): {message}", f"at {self.pair.now / 1e6:.3f} ms, side {side.name}"]
        if state is None:
            state = side.state()
        if state is not None:
            lines.append(state.named)
        raise Violation(name, side.name, "\n  ".join(lines))
