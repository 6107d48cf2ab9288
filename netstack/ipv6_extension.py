"""Extension headers of IPv6 (RFC 8200 section 4), as this host has to look at them after `trl_parse` has walked a
packet's chain: finding the upper layer in a packet quoted by ICMPv6 or in a first fragment, and what an unknown
option asks for. """

from __future__ import annotations

from typing import Any

from netstack.socket import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP

HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DESTINATION)
HEADER_LEN = 40
FRAGMENT_LEN = 8
SILENT = 255  # as the code of a problem: the sender is not told (TRL_SILENT)
MOST = 8  # headers in a row, as trl_parse allows

# The top bits of an unknown option's type (RFC 8200 section 4.2).
SKIP, DISCARD, TELL, TELL_UNLESS_MULTICAST = range(4)

# How much of an upper-layer header a first fragment has to hold (RFC 8200 section 4.5, as Linux counts).
UPPER_HEADER = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_ICMPV6: 8}


def upper_layer(packet: Any, proto: int = -1, at: int = HEADER_LEN) -> tuple[int, int, int] | None:
    """(protocol, offset, fragment offset) of what follows the extension headers of a packet, or of a chain that begins
    with `proto` at `at`. None when the chain does not end within the packet. What follows a fragment header other than
    the first's is data: the walk stops there."""
    if proto < 0:
        if len(packet) < HEADER_LEN:
            return None
        proto = packet[6]
    for _ in range(MOST + 1):
        if proto not in EXTENSIONS:
            return proto, at, 0
        if at + 8 > len(packet):
            return None
        following = packet[at]
        if proto == FRAGMENT:
            offset = (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF8
            if offset:
                return following, at + FRAGMENT_LEN, offset
            at += FRAGMENT_LEN
        elif proto == AUTH:
            at += (packet[at + 1] + 2) * 4
        else:
            at += (packet[at + 1] + 1) * 8
        proto = following
    return None


def whole_chain(packet: Any, proto: int, at: int) -> bool:
    """Whether a first fragment holds every header up to the upper layer's (RFC 7112, RFC 8200 section 4.5)."""
    found = upper_layer(packet, proto, at)
    if found is None:
        return False
    upper, where, _ = found
    return len(packet) >= where + UPPER_HEADER.get(upper, 1)
