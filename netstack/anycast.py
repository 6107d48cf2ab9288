"""The subnet-router anycast address (RFC 4291 section 2.6.1): of each of its IPv6 networks a router has the first
address, too. It answers pings to it and solicitations for it (without the override flag, RFC 4861 section 7.2.7, and to
those sent to the group after a random delay), takes datagrams, and no connection: as Linux does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.address import is_link_local, solicited_node

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

LONGEST = 126  # RFC 6164: a link of two routers has none
DELAY_NS = 800_000_000  # Linux's proxy_delay; RFC 4861's MAX_ANYCAST_DELAY_TIME is a second
GROUP = solicited_node(bytes(16))  # of those of networks of up to 104 bits


def on(interface: Interface, address: bytes) -> bool:
    """Whether it is that of one of the interface's networks."""
    return not address[15] & 3 and any(
        entry.network == address and any(address) and entry.prefix <= LONGEST and entry.usable
        for entry in interface.addresses
    )


def ours(stack: Stack, interface: Interface, address: bytes) -> bool:
    """The same, of a packet that has come by that interface: of a link-local network it is good on its link only."""
    if address[15] & 3:
        return False
    links = (interface,) if is_link_local(address) else stack.interfaces.values()
    return any(on(link, address) for link in links)
