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
# How long headers may be: Ethernet, IP and TCP with all their options; and the same with IPv6 extension headers.
HEADERS_MOST = (14 + 60 + 60, 14 + 40 + 8 * 2048 + 60)

uncleared = ffi.new_allocator(should_clear_after_alloc=False)

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
        image = bytearray(b"").join((self.data, *self.frags)) if self.frags else bytearray(self.data)
        if lib.trl_checksum_complete(ffi.from_buffer(image), len(image), self.csum_start, self.csum_offset) < 0:
            raise ValueError(
                f"checksum field at {self.csum_start}+{self.csum_offset} lies outside a frame of {len(image)} bytes"
            )
        return bytes(image)

    def complete(self) -> None:
        """Become the wire image of a single frame: one buffer, checksum complete."""
        self.data = bytes(self)
        self.frags = ()
        self.csum_start = self.csum_offset = 0

    def segments(self) -> list[bytes]:
        """What goes on the wire: the frame itself, or its GSO split, with complete headers and checksums."""
        if not self.gso_size:
            return [bytes(self)]
        data, frags, size = self.data, self.frags, self.gso_size
        payload = frags[0] if len(frags) == 1 else b"".join(frags)
        flags = PARSE_ETHERNET if self.ethernet else 0
        head = ffi.from_buffer(data)
        tail = ffi.from_buffer(payload)
        for most in HEADERS_MOST:
            cap = self.length + (self.length // size + 1) * most
            out = uncleared("uint8_t[]", cap)
            header: int = lib.trl_gso_split(head, len(head), tail, len(tail), flags, size, out, cap)
            if header > 0:
                break
        else:
            raise ValueError(
                f"not a TCP super-segment that can be split: {self.length} bytes, gso_size {size}, "
                f"{len(data)} of them linear"
            )
        image = ffi.buffer(out)
        full = header + size
        count = max(1, -(-(self.length - header) // size))
        end = self.length + (count - 1) * header
        last = (count - 1) * full
        result = [image[at : at + full] for at in range(0, last, full)]
        result.append(image[last:end])
        return result

    def __repr__(self) -> str:
        gso = f" gso_size={self.gso_size}" if self.gso_size else ""
        return f"<Frame {self.length} bytes{gso}{' partial' if self.csum_start else ''}>"
