"""The C face of a Linux TAP: `from csrc.tap import SLOT, TX, ffi, lib` (Linux only; `csrc/tap.h` is the contract).

One C call reads or writes a batch of frames. From Python a batch is cheapest when its records are packed and unpacked
at once instead of field by field: `SLOT` and `TX` are the layouts of `struct trl_slot` and `struct trl_tx`.

`many(n)` describes n slots of which only `len`, what is left to be done (the four fields from gso_size on, as one
number) and `csum_ok` matter; `SINGLE` and `SINGLE_TCP4` are the commonest values of the second.

    tap = ffi.new("struct trl_tap *")
    error = lib.trl_tap_open(tap, b"tap0", lib.TRL_TAP_VNET, 12, OFFLOAD_ALL, ffi.new("char[16]"))    # 0 or -errno
"""

from __future__ import annotations

import struct

from csrc._tap import ffi, lib

OFFLOAD_ALL: int = lib.TRL_TAP_CSUM | lib.TRL_TAP_TSO4 | lib.TRL_TAP_TSO6 | lib.TRL_TAP_TSO_ECN

# off, len, gso_size, gso_segs, csum_start, csum_offset, csum_ok, hdr_len, pad
SLOT = struct.Struct("=IIHHHHBBH")
# head, head_len, nfrags, gso_size, csum_start, csum_offset, pad
TX = struct.Struct("=IIIHHHH")


def many(n: int) -> struct.Struct:
    return struct.Struct("=" + n * "4xIQB3x")


def _offload(*fields: int) -> int:
    """The four fields as the number that `many` reads."""
    number: int = struct.unpack("=Q", struct.pack("=HHHH", *fields))[0]
    return number


SINGLE = _offload(0, 1, 0, 0)  # a frame that is complete
SINGLE_TCP4 = _offload(0, 1, 34, 16)  # Ethernet, IPv4 and TCP, its checksum partial

if SLOT.size != ffi.sizeof("struct trl_slot") or TX.size != ffi.sizeof("struct trl_tx"):
    raise ImportError("csrc/tap.py describes other records than the compiled csrc/tap.h: rebuild the extensions")

__all__ = ["OFFLOAD_ALL", "SINGLE", "SINGLE_TCP4", "SLOT", "TX", "ffi", "lib", "many"]
