"""struct msghdr, for sendmsg and recvmsg on the host: the layout of 64-bit Linux."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

from tools.sockaddr import Address, unpack_address

_HEADER = struct.Struct("=QI4xQQQQi4x")
_CMSG = struct.Struct("=Qii")


def iovec(buffers: Sequence[Any]) -> tuple[Any, int]:
    """(struct iovec[], how many) over copies of the buffers; the array keeps them alive."""
    vector = (ctypes.c_size_t * (2 * max(len(buffers), 1)))()
    held = [ctypes.create_string_buffer(bytes(b), len(bytes(b)) or 1) for b in buffers]
    for i, (buffer, data) in enumerate(zip(held, buffers)):
        vector[2 * i], vector[2 * i + 1] = ctypes.addressof(buffer), len(bytes(data))
    vector.held = held  # type: ignore[attr-defined]
    return vector, len(buffers)


class Message:
    """A msghdr and the buffers it points to."""

    __slots__ = ("control", "data", "name", "raw", "vector")

    def __init__(self, vector: Any, count: int, name: Any, control: Any, control_size: int, name_size: int) -> None:
        self.vector = vector
        self.name = name
        self.control = control
        self.data: Any = None
        self.raw = ctypes.create_string_buffer(
            _HEADER.pack(
                ctypes.addressof(name) if name_size else 0, name_size, ctypes.addressof(vector), count,
                ctypes.addressof(control) if control_size else 0, control_size, 0,
            ),
            56,
        )  # fmt: skip

    @classmethod
    def to_send(cls, buffers: Sequence[Any], ancdata: Any, name: bytes) -> Message:
        vector, count = iovec(buffers)
        control = b""
        for level, kind, payload in ancdata:
            body = bytes(payload)
            control += _CMSG.pack(16 + len(body), level, kind) + body + bytes(-len(body) % 8)
        return cls(
            vector, count, ctypes.create_string_buffer(name, len(name) or 1),
            ctypes.create_string_buffer(control, len(control) or 1), len(control), len(name),
        )  # fmt: skip

    @classmethod
    def to_receive(cls, n: int, room: int) -> Message:
        vector, count = iovec([bytes(n)])
        message = cls(
            vector, count, ctypes.create_string_buffer(128), ctypes.create_string_buffer(max(room, 1)), room, 128
        )
        message.data = vector.held[0]
        return message

    def received(self, got: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        """(data, ancillary data, message flags, address)."""
        _, name_size, _, _, _, control_size, flags = _HEADER.unpack_from(self.raw.raw)
        control = self.control.raw[:control_size]
        found, at = [], 0
        while at + 16 <= len(control):
            size, level, kind = _CMSG.unpack_from(control, at)
            if size < 16:
                break
            found.append((level, kind, control[at + 16 : at + size]))
            at += (size + 7) & ~7
        peer = unpack_address(self.name.raw[:name_size]) if name_size else None
        return self.data.raw[:got], found, flags, peer
