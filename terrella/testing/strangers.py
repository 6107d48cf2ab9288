"""Others who call on a side that listens: from other ports of the peer's address, one packet at a time.

A stranger is a number; what it may send is in KINDS. What the side sends it goes nowhere but into what is remembered
here: the SYN-ACK that an ACK answers. It never sends data.
"""

from __future__ import annotations

from terrella.testing.wire import ACK, MASK, RST, SYN, Segment, packet

KINDS = ("syn", "ack", "ack-wrong", "rst", "rst-outside")
"""`syn`: the stranger's SYN, each time the same; `ack`: the end of the handshake, for a SYN-ACK that came, or else made
up; `ack-wrong`: of one number more; `rst`: at RCV.NXT; `rst-outside`: one above."""

FIRST = 5000
MOST = 100
MSS = bytes((2, 4, 5, 180))


class Stranger:
    """`isn`: of the side that it called, in the last SYN-ACK; -1 before."""

    __slots__ = ("isn", "iss", "port")

    def __init__(self, number: int) -> None:
        self.port = FIRST + number
        self.iss = (number * 0x9E3779B1 + 12345) & MASK
        self.isn = -1

    def image(self, kind: str, addresses: tuple[bytes, bytes], port: int) -> bytes:
        seq, ack, flags, options = (self.iss + 1) & MASK, 0, RST, b""
        if kind == "syn":
            seq, flags, options = self.iss, SYN, MSS
        elif kind in ("ack", "ack-wrong"):
            ack, flags = (self.isn if self.isn >= 0 else self.iss ^ 0x5A5A5A5A) + 1, ACK
            ack += kind == "ack-wrong"
        elif kind == "rst-outside":
            seq += 1
        return packet(addresses, (self.port, port), seq & MASK, ack & MASK, flags, 64240, options)

    def hears(self, seg: Segment) -> None:
        if seg.flags & (SYN | ACK) == SYN | ACK:
            self.isn = seg.seq


class Strangers:
    """All that called on one side."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[int, Stranger] = {}

    def called(self, number: int) -> Stranger:
        return self.known.setdefault(FIRST + number, Stranger(number))

    def of(self, image: bytes) -> Stranger | None:
        """Whom a packet of the side's is for, if it is one of them."""
        at = 42 if image[0] >> 4 == 6 else 22
        return self.known.get(int.from_bytes(image[at : at + 2], "big"))
