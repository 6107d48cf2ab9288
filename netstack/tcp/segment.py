"""A received segment as TCP sees it: the header's fields, its options, and a view of the payload (RFC 9293 section
3.1).

C parses the packet (`struct trl_pkt`); this is the typed view that the rest of the package reads. The engine loads the
same instance for every packet, so whoever keeps something of it copies it. Sequence numbers here are as on the wire.
Parsed options are those of RFC 9293 section 3.2 (MSS), RFC 7323 (window scale, timestamps) and RFC 2018 (SACK).
"""

from __future__ import annotations

from typing import Any, Final

from csrc import Frame, ffi, lib

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = 1, 2, 4, 8, 16, 32, 64, 128, 256

OPT_MSS: int = lib.TRL_OPT_MSS
OPT_WSCALE: int = lib.TRL_OPT_WSCALE
OPT_SACK_PERMITTED: int = lib.TRL_OPT_SACK_PERMITTED
OPT_TIMESTAMP: int = lib.TRL_OPT_TIMESTAMP
OPT_SACK: int = lib.TRL_OPT_SACK
OPT_MD5: int = lib.TRL_OPT_MD5

# A payload shorter than this is copied out of its frame, so that it does not keep the frame in memory.
COPY_BELOW = 4096

_buffer: Final = ffi.buffer

Plain = tuple[bytes, bytes, int, int, int, int, int, int, int, int, int]
"""The fields of `struct trl_plain`, in their order."""


class Segment:
    """Wire view of one segment. `sack` is a tuple of (left, right); `gso_segs` counts the wire segments it stands for;
    `mss`, `wscale`, `tsval`, `tsecr` and `sack` mean something only where `options` has the option's bit."""

    __slots__ = (
        "ack", "flags", "gso_segs", "gso_size", "interface", "key", "length", "mss", "options", "payload", "sack",
        "seq", "tos", "tsecr", "tsval", "ttl", "urgent", "window", "wscale",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seq = 0
        self.ack = 0
        self.flags = 0
        self.window = 0
        self.length = 0
        self.payload: Any = b""
        self.options = 0
        self.mss = 0
        self.wscale = 0
        self.tsval = 0
        self.tsecr = 0
        self.sack: tuple[tuple[int, int], ...] = ()
        self.urgent = 0
        self.tos = 0
        self.ttl = 0
        self.gso_size = 0
        self.gso_segs = 1
        self.key = b""
        self.interface: Any = None

    def load(self, pkt: Any, frame: Frame, interface: Any) -> None:
        """Take over what the parser found in `frame`."""
        self.key = _buffer(pkt.key, pkt.key_len)[:]
        self.seq = pkt.seq
        self.ack = pkt.ack
        self.flags = pkt.tcp_flags
        self.window = pkt.window
        self.tos = pkt.tos
        self.interface = interface
        options = self.options = pkt.tcp_options
        if options:
            if options & OPT_TIMESTAMP:
                self.tsval = pkt.tsval
                self.tsecr = pkt.tsecr
            if options != OPT_TIMESTAMP:
                if options & OPT_SACK:
                    sack = pkt.sack
                    self.sack = tuple((sack[i], sack[i + 1]) for i in range(0, 2 * pkt.nsack, 2))
                self.mss = pkt.mss
                self.wscale = pkt.wscale
        length = self.length = pkt.payload_len
        if length:
            start = pkt.payload
            if length < COPY_BELOW:
                self.payload = bytes(memoryview(frame.data)[start : start + length])
            else:
                self.payload = memoryview(frame.data)[start : start + length]
            self.gso_size = frame.gso_size
            self.gso_segs = frame.gso_segs
        else:
            self.payload = b""
            self.gso_size = 0
            self.gso_segs = 1
        if self.flags & URG:
            self.urgent = pkt.urgent
        self.ttl = pkt.ttl


def flag_text(flags: int) -> str:
    """Flags as packetdrill writes them: S F R P . U E W."""
    letters = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."), (URG, "U"), (ECE, "E"), (CWR, "W"))
    return "".join(letter for bit, letter in letters if flags & bit) or "-"
