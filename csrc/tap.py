"""The C face of a Linux TAP: `from csrc.tap import SLOT, TX, ffi, lib` (Linux only; `csrc/tap.h` is the contract).

One C call reads or writes a batch of frames. From Python a batch is cheapest when its records are packed and unpacked
at once instead of field by field: `SLOT` and `TX` are the layouts of `struct trl_slot` and `struct trl_tx`.

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

if SLOT.size != ffi.sizeof("struct trl_slot") or TX.size != ffi.sizeof("struct trl_tx"):
    raise ImportError("csrc/tap.py describes other records than the compiled csrc/tap.h: rebuild the extensions")

__all__ = ["OFFLOAD_ALL", "SLOT", "TX", "ffi", "lib"]
