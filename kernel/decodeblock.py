"""How strace shows the ioctls of block devices: numbers that they answer with in brackets, ranges as two numbers."""

from __future__ import annotations

import struct
from typing import Any

from kernel import abi

ANSWERS = frozenset({
    abi.BLKROGET, abi.BLKGETSIZE, abi.BLKRAGET, abi.BLKFRAGET, abi.BLKSECTGET, abi.BLKSSZGET, abi.BLKBSZGET,
    abi.BLKGETSIZE64, abi.BLKIOMIN, abi.BLKIOOPT, abi.BLKALIGNOFF, abi.BLKPBSZGET, abi.BLKDISCARDZEROES,
    abi.BLKROTATIONAL, abi.BLKGETDISKSEQ,
})  # fmt: skip
"""Requests that fill in a number: C's return value is 0 then."""
_NONE = frozenset({abi.BLKRRPART, abi.BLKFLSBUF})
_RANGES = frozenset({abi.BLKDISCARD, abi.BLKZEROOUT})
_NUMBERS = frozenset({abi.BLKRASET, abi.BLKFRASET})


def ioctl_argument(args: tuple[Any, ...], result: Any) -> str | None:
    """The third argument of a block device's ioctl, "" when it has none; None for other ioctls."""
    request = args[1] if len(args) > 1 else None
    if not isinstance(request, int):
        return None
    arg = args[2] if len(args) > 2 else 0
    if request in ANSWERS:
        return f"[{result}]" if isinstance(result, int) else "NULL"
    if request in _NONE:
        return ""
    if request in _RANGES and isinstance(arg, bytes | bytearray) and len(arg) >= 16:
        start, length = struct.unpack_from("=QQ", arg)
        return f"[{start}, {length}]"
    if request == abi.BLKROSET and isinstance(arg, int):
        return f"[{arg}]"
    return str(arg) if request in _NUMBERS and isinstance(arg, int) else None
