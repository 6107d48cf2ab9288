"""Ethernet II framing (IEEE 802.3 clause 3, RFC 894): the classes of destination, and building a header.

What is not sent to this station's MAC, to everybody or to a group is not ours: `Stack.receive` drops and counts it.
Group frames are accepted without a membership filter; IP decides by its own destination address.
"""

from __future__ import annotations

HOST, BROADCAST, MULTICAST, LOOPBACK = range(4)  # of the packet being received, as Linux's PACKET_*

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
HEADER_LEN = 14
MIN_FRAME = 60  # without the FCS; the device pads


def header(dst: bytes, src: bytes, ethertype: int) -> bytes:
    return dst + src + ethertype.to_bytes(2, "big")
