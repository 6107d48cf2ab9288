"""User memory as system calls see it: a `Source` (the kernel takes bytes from it) or a `Sink` (it puts bytes there).

Plain bytes for Python programs, here; ranges of the process's memory for ELF.
"""

from __future__ import annotations

from errno import EFAULT
from typing import Protocol

from csrc.frame import Buffer


class Sink(Protocol):
    """Where a system call puts bytes for its caller."""

    room: int
    """How many bytes it still takes."""

    def put(self, chunk: Buffer) -> int:
        """Take up to `room` bytes of the chunk; how many were taken. OSError(EFAULT) when none could be."""


class Source(Protocol):
    """Where a system call takes its caller's bytes from."""

    left: int
    """How many bytes are still to come."""

    def peek(self, n: int) -> Buffer:
        """The next up to `n` bytes, without consuming them."""

    def skip(self, n: int) -> None:
        """Consume `n` bytes."""

    def take(self, n: int) -> Buffer:
        """The next up to `n` bytes, consumed."""


class BytesSink:
    """Collects bytes for a Python program. One whole `bytes` chunk is passed on without a copy."""

    __slots__ = ("first", "more", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.first = b""
        """Everything that was put, while it is one chunk."""
        self.more: list[bytes] | None = None

    def put(self, chunk: Buffer) -> int:
        size = len(chunk)
        if size > self.room:
            size = self.room
            chunk = memoryview(chunk)[:size]
        self.room -= size
        if type(chunk) is not bytes:
            chunk = bytes(chunk)
        if self.more is not None:
            self.more.append(chunk)
        elif self.first:
            self.more = [chunk]
        else:
            self.first = chunk
        return size

    @property
    def chunks(self) -> list[bytes]:
        """What was put, piece by piece."""
        return [self.first, *(self.more or ())]

    def value(self) -> bytes:
        """Everything that was put."""
        return self.first if self.more is None else b"".join(self.chunks)


class WholeSource:
    """A `bytes` object as a source: given whole without a copy, and without the cost of a memoryview."""

    __slots__ = ("left", "whole")

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.left = len(whole)

    def peek(self, n: int) -> Buffer:
        whole = self.whole
        if n >= self.left == len(whole):
            return whole
        at = len(whole) - self.left
        return memoryview(whole)[at : at + n]

    def skip(self, n: int) -> None:
        self.left -= n

    def take(self, n: int) -> Buffer:
        whole = self.whole
        left = self.left
        if n >= left == len(whole):
            self.left = 0
            return whole
        at = len(whole) - left
        chunk = memoryview(whole)[at : at + n]
        self.left = left - len(chunk)
        return chunk


class BytesSource:
    """Gives the bytes of a buffer of a Python program, as memoryviews of it."""

    __slots__ = ("left", "whole")

    def __init__(self, data: Buffer) -> None:
        try:
            view = memoryview(data)
        except TypeError:
            raise OSError(EFAULT, f"bytes were expected, not {type(data).__name__}") from None
        if not view.contiguous:
            view = memoryview(bytes(view))
        self.whole = view.cast("B") if view.format != "B" or view.ndim != 1 else view
        self.left = len(self.whole)

    def peek(self, n: int) -> Buffer:
        whole = self.whole
        if n >= self.left:
            return whole if self.left == len(whole) else whole[len(whole) - self.left :]
        at = len(whole) - self.left
        return whole[at : at + n]

    def skip(self, n: int) -> None:
        self.left -= n

    def take(self, n: int) -> Buffer:
        chunk = self.peek(n)
        self.left -= len(chunk)
        return chunk
