"""Interfaces: where frames come from and go to. An interface has a name, an optional MAC, addresses, the groups it
listens to, a neighbour table per IP version and one outgoing queue, which the owner of the stack drains with
`Stack.transmit`.

The queue is bounded (`txqueuelen`, frames or super-segments); what does not fit is dropped and counted, as a full
qdisc does.

A new IPv6 address may be tentative (RFC 4862 section 5.4): then it is on the interface, but not yet this host's; ndp.py
finds out whether somebody else has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.address import broadcast_of, is_link_local, multicast_mac, network_of

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.neighbour import NeighbourTable
    from netstack.timers import Timer


class Address:
    """One address of an interface. `tentative`: not ours yet; `duplicate`: not ours, for another has it; `deprecated`:
    still ours, but no source for what is new (RFC 4862 section 5.5.4)."""

    __slots__ = (
        "address", "broadcast", "deprecated", "duplicate", "network", "prefix", "probes", "tentative", "timer",
        "version",
    )  # fmt: skip

    def __init__(self, address: bytes, prefix: int) -> None:
        self.address = address
        self.prefix = prefix
        self.version = 4 if len(address) == 4 else 6
        self.network = network_of(address, prefix)
        # A /31 or /32 has no broadcast address (RFC 3021).
        self.broadcast = broadcast_of(address, prefix) if self.version == 4 and prefix < 31 else None
        self.tentative = False
        self.duplicate = False
        self.deprecated = False
        self.probes = 0  # of duplicate address detection, still to be sent
        self.timer: Timer | None = None

    @property
    def usable(self) -> bool:
        return not (self.tentative or self.duplicate)


class Interface:
    """A link. `ethernet` is whether its frames start with an Ethernet header (it has a MAC)."""

    __slots__ = (
        "accepted", "addresses", "dropped", "ethernet", "groups", "gso", "index", "loopback", "mac", "mac_groups",
        "met", "mtu", "name", "neighbours", "neighbours6", "queue", "txqueuelen",
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
        self.queue: list[Frame] = []
        self.txqueuelen = txqueuelen
        self.dropped = 0
        # src + dst of recent packets that passed the address checks: what Linux's early demux saves. Emptied when
        # addresses or routes change.
        self.accepted: dict[bytes, bool] = {}
        self.met = b""
        """Those of the last plain packet, which were among them."""
        # IPv6 groups and how many wish for each, and the same for the MACs they are sent to.
        self.groups: dict[bytes, int] = {}
        self.mac_groups: dict[bytes, int] = {}
        self.neighbours: NeighbourTable | None = None
        self.neighbours6: NeighbourTable | None = None

    def forget(self) -> None:
        """The address checks are made again."""
        self.accepted.clear()
        self.met = b""

    def address_of(self, version: int) -> bytes | None:
        """The primary address of that IP version, or None."""
        for address in self.addresses:
            if address.version == version and address.usable:
                return address.address
        return None

    def find(self, address: bytes) -> Address | None:
        """The entry of that address, tentative or not."""
        for entry in self.addresses:
            if entry.address == address:
                return entry
        return None

    @property
    def link_local(self) -> bytes | None:
        """The IPv6 link-local address in use, or None."""
        for entry in self.addresses:
            if entry.version == 6 and entry.usable and is_link_local(entry.address):
                return entry.address
        return None

    def join(self, group: bytes) -> None:
        """Listen to an IPv6 group. Each join wants a leave."""
        self.groups[group] = self.groups.get(group, 0) + 1
        mac = multicast_mac(group)
        self.mac_groups[mac] = self.mac_groups.get(mac, 0) + 1

    def leave(self, group: bytes) -> None:
        for table, key in ((self.groups, group), (self.mac_groups, multicast_mac(group))):
            left = table.get(key, 0) - 1
            if left > 0:
                table[key] = left
            else:
                table.pop(key, None)

    def __repr__(self) -> str:
        return f"<Interface {self.name}>"
