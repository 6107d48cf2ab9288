"""`Frame`: the one type that devices and the stack exchange, in the manner of Linux's skb.

A frame is a linear part (`data`, which holds at least every header) followed by zero or more fragments (`frags`,
payload that is sent straight from the application's buffers). A super-segment has `gso_size` set: it stands for several
wire frames and is split as late as possible. A frame whose `csum_start` is not 0 has a partial checksum, with virtio's
meaning: the field at `csum_start + csum_offset` holds the pseudo-header sum, and
whoever puts it on the wire completes it.
"""

from __future__ import annotations

from typing import Any

from csrc._leaves import ffi, lib

PARSE_ETHERNET: int = lib.TRL_PARSE_ETHERNET

Buffer = Any  # bytes, bytearray or memoryview (typing has no name for the buffer protocol before Python 3.12)


class Frame:
    """One frame or super-segment. Slots are described in docs/architecture.md, "Frames"."""

    __slots__ = (
        "comment", "csum_offset", "csum_ok", "csum_start", "data", "ethernet",
        "frags", "gso_segs", "gso_size", "length", "timestamp_ns",
    )  # fmt: skip

    def __init__(
        self,
        data: Buffer,
        frags: tuple[Buffer, ...] = (),
        length: int = -1,
        ethernet: bool = True,
        gso_size: int = 0,
        csum_start: int = 0,
        csum_offset: int = 0,
    ) -> None:
        self.data = data
        self.frags = frags
        if length < 0:
            length = len(data)
            for frag in frags:
                length += len(frag)
        self.length = length
        self.ethernet = ethernet
        self.gso_size = gso_size
        self.gso_segs = 1
        self.csum_start = csum_start
        self.csum_offset = csum_offset
        self.csum_ok = False
        self.timestamp_ns = 0
        self.comment: str | None = None

    @classmethod
    def of(cls, buffer: Buffer, ethernet: bool = True) -> Frame:
        """Wrap bytes that came from a wire: complete, one frame, nothing verified."""
        return cls(buffer, (), len(buffer), ethernet)

    def __len__(self) -> int:
        return self.length

    def __bytes__(self) -> bytes:
        """The wire image: joined, checksum completed; of a super-segment, the image of the whole."""
        if not self.csum_start:
            return b"".join((self.data, *self.frags)) if self.frags else bytes(self.data)
        image = bytearray().join((self.data, *self.frags))
        if lib.trl_checksum_complete(ffi.from_buffer(image), len(image), self.csum_start, self.csum_offset) < 0:
            raise ValueError(
                f"checksum field at {self.csum_start}+{self.csum_offset} lies outside a frame of {len(image)} bytes"
            )
        return bytes(image)

    def segments(self) -> list[bytes]:
        """What goes on the wire: the frame itself, or its GSO split, with complete headers and checksums."""
        if not self.gso_size:
            return [bytes(self)]
        image = b"".join((self.data, *self.frags))
        size = self.gso_size
        most = len(image) // size + 2
        cap = len(image) + most * 128
        out = bytearray(cap)
        lens = ffi.new("uint32_t[]", most)
        flags = PARSE_ETHERNET if self.ethernet else 0
        count = lib.trl_gso(ffi.from_buffer(image), len(image), flags, size, ffi.from_buffer(out), cap, lens, most)
        if count < 0:
            raise ValueError(f"not a TCP super-segment that can be split: {len(image)} bytes, gso_size {size}")
        result = []
        at = 0
        for i in range(count):
            end = at + lens[i]
            result.append(bytes(out[at:end]))
            at = end
        return result

    def __repr__(self) -> str:
        gso = f" gso_size={self.gso_size}" if self.gso_size else ""
        return f"<Frame {self.length} bytes{gso}{' partial' if self.csum_start else ''}>"
