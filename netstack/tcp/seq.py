"""Sequence numbers (RFC 9293 section 3.4).

On the wire they are 32 bits and wrap. Inside a connection they do not: SND.* and RCV.* are plain integers that start
at the ISS or IRS and grow without bound, so that every comparison is `<` and every length a difference. A number from
the wire is unwrapped once, next to a number already known (within 2^31 of it), and cut to 32 bits again when a header
is written.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
HALF = 0x80000000


def unwrap(wire: int, near: int) -> int:
    """The integer congruent to `wire` modulo 2^32 in [near - 2^31, near + 2^31)."""
    return near + ((wire - near + HALF) & MASK) - HALF
