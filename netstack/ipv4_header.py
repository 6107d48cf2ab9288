"""The IPv4 header's checksum (RFC 791 section 3.1, RFC 1071)."""

from __future__ import annotations

from csrc import ffi, lib

_checksum = lib.trl_checksum
_from_buffer = ffi.from_buffer


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """The Internet checksum field of a header or message whose field is zero."""
    value: int = _checksum(_from_buffer(data), len(data), initial)
    return value
