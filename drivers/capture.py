"""Captures in pcapng, the format Wireshark writes (draft-ietf-opsawg-pcapng).

A file is a section header block, an interface description block per interface (name, nanosecond resolution,
link type Ethernet or RAW), and an enhanced packet block per frame on the wire, with its direction (epb_flags)
and the frame's comment (opt_comment). A super-segment is written as the frames it stands for, with complete
checksums; its comment goes to the first.

Blocks are gathered and handed to the file whole, at most `BUFFER` bytes or `INTERVAL` of capture time late, so
that what is on disk can be read at any moment, also when the process was killed. Nothing but the arguments goes
into the bytes: same packets, same file.

Frames pass while programs make calls, and what the host says of the file is none of those calls' results: `packet`
and `blocks` raise no OSError. The capture ends with the first one, and `close` raises it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from csrc.frame import Frame

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
BUFFER = 1 << 16
INTERVAL = 1_000_000_000

SHB, IDB, EPB = 0x0A0D0D0A, 1, 6
OPT_COMMENT, SHB_USERAPPL, IF_NAME, IF_TSRESOL, EPB_FLAGS = 1, 4, 2, 9, 2
DIRECTIONS = {"in": 1, "out": 2}
MAX_OPTION = 0xFFFF

_EPB_HEAD = struct.Struct("<IIIIIII").pack
"""Type, total length, interface, time high, time low, captured length, original length."""


def option(code: int, value: bytes) -> bytes:
    """An option: code, length, value padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes) -> bytes:
    """A block: type, total length, body, total length again."""
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


class Pcapng:
    """A capture being written to a path, or to a binary file object (which stays the caller's).

    `epoch_ns` is added to every time (a timeline's `epoch_ns` makes calendar dates of them).
    """

    __slots__ = (
        "_failure", "_file", "_flushed_at", "_mine", "_parts", "_size", "_tails", "epoch_ns", "interfaces", "packets",
    )  # fmt: skip

    def __init__(self, path_or_file: str | os.PathLike[str] | IO[bytes], epoch_ns: int = 0) -> None:
        self._mine = isinstance(path_or_file, str | os.PathLike)
        self._file: IO[bytes] | None
        if isinstance(path_or_file, str | os.PathLike):
            self._file = open(path_or_file, "wb", buffering=0)  # noqa: SIM115
        else:
            self._file = path_or_file
        self.epoch_ns = epoch_ns
        self.interfaces = 0
        self.packets = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._tails: dict[int, tuple[int, bytes]] = {}
        self._flushed_at = 0
        self._failure: OSError | None = None
        head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._put(block(SHB, head + option(SHB_USERAPPL, b"terrella") + option(0, b"")))
        self.flush()

    def add_interface(self, name: str, ethernet: bool = True) -> int:
        """Declare an interface; its id for `packet`."""
        head = struct.pack("<HHI", LINKTYPE_ETHERNET if ethernet else LINKTYPE_RAW, 0, 0)
        options = option(IF_NAME, name.encode()) + option(IF_TSRESOL, b"\x09") + option(0, b"")
        self._put(block(IDB, head + options))
        self.interfaces += 1
        return self.interfaces - 1

    def packet(self, interface_id: int, direction: str, frame: Frame, now: int) -> None:
        """Write a frame that went `"in"` or `"out"` at `now`, as it was on the wire."""
        way = DIRECTIONS[direction]
        if not 0 <= interface_id < self.interfaces:
            raise ValueError(f"the capture has no interface {interface_id}: add_interface() gives the ids")
        if self._file is None:
            return
        stamp = now + self.epoch_ns
        high, low = stamp >> 32, stamp & 0xFFFFFFFF
        comment = frame.comment
        images: Sequence[bytes]
        if frame.gso_size:
            images = frame.segments()
        elif frame.data.__class__ is bytes and not frame.frags and not frame.csum_start:
            images = (frame.data,)
        else:
            images = (bytes(frame),)
        for image in images:
            size = len(image)
            if comment is None:
                total, tail = self._tails.get(size << 2 | way) or self._tail(size, way, b"")
            else:
                text = comment.encode("utf-8", "replace")[:MAX_OPTION].decode("utf-8", "ignore").encode()
                total, tail = self._tail(size, way, option(OPT_COMMENT, text))
                comment = None
            self._parts += (_EPB_HEAD(EPB, total, interface_id, high, low, size, size), image, tail)
            self._size += total
        self.packets += len(images)
        if self._size >= BUFFER or now - self._flushed_at >= INTERVAL:
            self._flushed_at = now
            self._spill()

    def blocks(self, data: bytes, packets: int) -> None:
        """Write packet blocks that were formatted elsewhere (`trl_pcapng_packet`)."""
        if self._file is None:
            return
        self._put(data)
        self.packets += packets
        if self._size >= BUFFER:
            self._spill()

    def _tail(self, size: int, way: int, comment: bytes) -> tuple[int, bytes]:
        """The length of a frame's block, and what follows the frame in it: padding, options, total length. Kept for
        frames without a comment.
        """
        options = option(EPB_FLAGS, struct.pack("<I", way)) + comment + option(0, b"")
        padding = bytes(-size % 4)
        total = 28 + size + len(padding) + len(options) + 4
        tail = total, padding + options + struct.pack("<I", total)
        if not comment:
            self._tails[size << 2 | way] = tail
        return tail

    def _put(self, whole_block: bytes) -> None:
        self._parts.append(whole_block)
        self._size += len(whole_block)

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        if self._file is None or not self._parts:
            return
        data = memoryview(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        while data:
            written = self._file.write(data)
            data = data[len(data) if written is None else written :]
        if not self._mine:
            self._file.flush()

    def _spill(self) -> None:
        """Flush, or end the capture here."""
        try:
            self.flush()
        except OSError as why:
            self._failure = why
            with suppress(OSError):
                self._end()

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None and self._mine:
            file.close()

    def close(self) -> None:
        """Complete the file. Idempotent; later packets are ignored. OSError when it is not complete."""
        try:
            self.flush()
        finally:
            self._end()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> Pcapng:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
