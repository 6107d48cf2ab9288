"""What the wires of the grid do: a cell is a wire and how much is carried across it.

Where chance decides how a flow goes (losses, overtaking) it is long enough for tens to hundreds of such events, so that
nine pairs say something of the cell and not of its dice.
"""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True)
class Cell:
    name: str
    wire: str
    bytes: int

    @property
    def busy(self) -> bool:
        """Whether processors are what limits it, so that it has to be measured alone: no delay or a millisecond, or
        some hundred Mbit/s. The others may be measured some at a time.
        """
        return self.name in BUSY


BUSY = frozenset((
    "clean, no delay", "clean, 1 ms", "clean, 10 ms", "clean, 50 ms", "loss 0.1 %, no delay", "loss 1 %, no delay",
    "loss 0.1 %, 10 ms", "loss 1 %, 1 ms", "reorder 1 %, 10 ms",
    "jitter 3 ms of 10 ms", "duplicate 1 %, 10 ms", "100 Mbit/s, 10 ms", "100 Mbit/s, 50 us", "50 us",
    "50 us, reordering",
))  # fmt: skip


CELLS = (
    Cell("clean, no delay", "", 100 * MB),
    Cell("clean, 1 ms", "--delay 1ms", 50 * MB),
    Cell("clean, 10 ms", "--delay 10ms", 20 * MB),
    Cell("clean, 50 ms", "--delay 50ms", 8 * MB),
    Cell("clean, 200 ms", "--delay 200ms", 4 * MB),
    Cell("loss 0.1 %, no delay", "--loss 0.1%", 100 * MB),
    Cell("loss 1 %, no delay", "--loss 1%", 100 * MB),
    Cell("loss 10 %, no delay", "--loss 10%", 8 * MB),
    Cell("loss 0.1 %, 10 ms", "--loss 0.1% --delay 10ms", 16 * MB),
    Cell("loss 0.3 %, 50 ms", "--loss 0.3% --delay 50ms", 9 * MB),
    Cell("loss 1 %, 1 ms", "--loss 1% --delay 1ms", 10 * MB),
    Cell("loss 1 %, 10 ms", "--loss 1% --delay 10ms", 8 * MB),
    Cell("loss 1 %, 50 ms", "--loss 1% --delay 50ms", 4 * MB),
    Cell("loss 1 %, 200 ms", "--loss 1% --delay 200ms", 3 * MB // 2),
    Cell("loss 3 %, 10 ms", "--loss 3% --delay 10ms", 4 * MB),
    Cell("loss 3 %, 50 ms", "--loss 3% --delay 50ms", 2 * MB),
    Cell("loss 10 %, 10 ms", "--loss 10% --delay 10ms", 2 * MB),
    Cell("loss 10 %, 50 ms", "--loss 10% --delay 50ms", 3 * MB // 4),
    Cell("reorder 1 %, 10 ms", "--reorder 1% --delay 10ms", 20 * MB),
    Cell("reorder 25 %, 10 ms", "--reorder 25% --delay 10ms", 8 * MB),
    Cell("reorder 5 %, 50 ms", "--reorder 5% --delay 50ms", 40 * MB),
    Cell("jitter 3 ms of 10 ms", "--delay 10ms --jitter 3ms", 8 * MB),
    Cell("duplicate 1 %, 10 ms", "--duplicate 1% --delay 10ms", 5 * MB),
    Cell("corrupt 1 %, 10 ms", "--corrupt 1% --delay 10ms", 8 * MB),
    Cell("1 Mbit/s, 20 ms", "--rate 1Mbit --delay 20ms --queue 50", MB // 4),
    Cell("10 Mbit/s, 10 ms", "--rate 10Mbit --delay 10ms --queue 50", 3 * MB),
    Cell("10 Mbit/s, 50 ms, loss 0.3 %", "--rate 10Mbit --delay 50ms --queue 100 --loss 0.3%", 6 * MB),
    Cell("100 Mbit/s, 10 ms", "--rate 100Mbit --delay 10ms --queue 200", 10 * MB),
    Cell("100 Mbit/s, 50 us", "--rate 100Mbit --delay 50us --queue 100", 10 * MB),
    Cell("all at once", "--loss 1% --delay 20ms --jitter 2ms --reorder 1% --duplicate 1% --corrupt 0.1%", 6 * MB),
)
"""The whole grid."""

SPURIOUS = (
    Cell("reorder 25 %, 10 ms", "--reorder 25% --delay 10ms", 2 * MB),
    Cell("reorder 5 %, 50 ms", "--reorder 5% --delay 50ms", 2 * MB),
    Cell("jitter 3 ms of 10 ms", "--delay 10ms --jitter 3ms", 2 * MB),
    Cell("lost ACKs 20 %, 10 ms", "--delay 10ms --loss 20% --back 'loss 0%'", 2 * MB),
    Cell("lost ACKs 20 %, 20 Mbit/s", "--rate 20Mbit --queue 50 --delay 10ms --loss 20% --back 'loss 0%'", 4 * MB),
    Cell("50 us", "--delay 25us --loss 0.5%", 4 * MB),
    Cell("50 us, reordering", "--delay 25us --jitter 20us --reorder 1%", 4 * MB),
)
"""Where the far end, when it sends, is tempted to send again what has arrived."""

SMALL = (
    Cell("loss 1 %, 10 ms", "--loss 1% --delay 10ms", MB // 2),
    Cell("reorder 5 %, 10 ms", "--reorder 5% --delay 10ms", MB // 2),
    Cell("10 Mbit/s, 10 ms", "--rate 10Mbit --delay 10ms --queue 50", MB),
    Cell("all at once", "--loss 1% --delay 5ms --jitter 1ms --reorder 1% --duplicate 1% --corrupt 0.1%", MB // 4),
)
"""What `make test` runs."""
