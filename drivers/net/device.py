"""What a network device is: the seam between drivers and whoever binds them to a stack.

A device receives and transmits `Frame`s (csrc/frame.py) and knows nothing of protocols above the frame.
`receive` and `transmit` move whole batches and never block. A device that cannot take a frame drops it and
counts it; a device whose receive queue is full does the same on the other side. It never keeps a reference
into a transmitted frame's buffers after `transmit` has returned, so senders may reuse them.

`on_receive` is the interrupt line of a simulated device: it is called when the receive queue stops being
empty, and not again before the queue has been emptied by `receive`. A real device has a descriptor (`fileno`)
that is readable instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from csrc.frame import Frame

COUNTERS = (
    "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "rx_dropped", "tx_dropped", "rx_errors", "tx_errors",
)  # fmt: skip
"""What every device counts: wire frames and their bytes (super-segments count as what they are split into),
frames dropped for want of room or by an impairment, and frames that could not be read or sent at all."""


class NetDevice(Protocol):
    """A network interface: TAP, Scapy port, end of a wire, port of a switch."""

    name: str
    mac: bytes | None
    """6 bytes, or None for a device of bare IP packets."""
    mtu: int
    """Greatest IP packet, without the Ethernet header."""
    gso: bool
    """Whether `transmit` takes super-segments and partial checksums."""
    on_receive: Callable[[], None] | None

    @property
    def counters(self) -> dict[str, int]:
        """Read it; a device may make it anew each time."""
        ...

    def fileno(self) -> int | None:
        """A descriptor that is readable when frames wait; None for a simulated device."""

    def receive(self, budget: int) -> list[Frame]:
        """Up to about `budget` wire frames, oldest first; [] when none wait."""
        ...

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        """Send all of them, in order, or drop and count."""

    def close(self) -> None:
        """Give back what it holds. Idempotent; afterwards `receive` gives [] and `transmit` drops."""


def new_counters() -> dict[str, int]:
    """All of COUNTERS at zero, in order."""
    return dict.fromkeys(COUNTERS, 0)
