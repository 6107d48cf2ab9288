"""Interfaces: where frames come from and go to. An interface has a name, an optional MAC, addresses, a neighbour
table and one outgoing queue, which the owner of the stack drains with `Stack.transmit`.

The queue is bounded (`txqueuelen`, frames or super-segments); what does not fit is dropped and counted, as a full
qdisc does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from netstack.address import broadcast_of, network_of

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.neighbour import NeighbourTable


class Address:
    """One address of an interface."""

    __slots__ = ("address", "broadcast", "network", "prefix", "version")

    def __init__(self, address: bytes, prefix: int) -> None:
        self.address = address
        self.prefix = prefix
        self.version = 4 if len(address) == 4 else 6
        self.network = network_of(address, prefix)
        # A /31 or /32 has no broadcast address (RFC 3021).
        self.broadcast = broadcast_of(address, prefix) if self.version == 4 and prefix < 31 else None


class Interface:
    """A link. `ethernet` is whether its frames start with an Ethernet header (it has a MAC)."""

    __slots__ = (
        "accepted", "addresses", "dropped", "ethernet", "gso", "index", "loopback", "mac", "mtu", "name", "neighbours",
        "neighbours6", "queue", "txqueuelen",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        index: int,
        mac: bytes | None,
        mtu: int,
        gso: bool,
        txqueuelen: int = 1000,
        loopback: bool = False,
    ) -> None:
        self.name = name
        self.index = index
        self.mac = mac
        self.mtu = mtu
        self.gso = gso
        self.ethernet = mac is not None
        self.loopback = loopback
        self.addresses: list[Address] = []
        self.queue: deque[Frame] = deque()
        self.txqueuelen = txqueuelen
        self.dropped = 0
        # (dst + src) of recent IPv4 packets that passed the address checks: what Linux's early demux saves. Emptied
        # when addresses or routes change.
        self.accepted: dict[bytes, bool] = {}
        self.neighbours: NeighbourTable | None = None
        self.neighbours6: NeighbourTable | None = None

    def address_of(self, version: int) -> bytes | None:
        """The primary address of that IP version, or None."""
        for address in self.addresses:
            if address.version == version:
                return address.address
        return None

    def __repr__(self) -> str:
        return f"<Interface {self.name}>"
