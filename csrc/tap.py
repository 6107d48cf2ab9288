"""A Linux TAP (or TUN) device in batches: one C call moves many frames, and Python pays per super-segment (Linux only).

With the virtio header (`vnet=True`) the kernel takes and gives super-segments and partial checksums. Without it
every frame on the device is a plain one, and the C call itself coalesces (GRO) and splits (GSO), checksums included.
Either way `receive` returns frames and `transmit` takes them.

Received bytes live in pooled buffers. A large frame's `data` is a view of such a buffer; the buffer is used again once
nobody holds a view of it any more, which its reference count tells. A small frame is copied out, so that a few bytes
kept in a queue never hold a big buffer. There is no policy here: naming, retries, addresses and interrupts are the
driver's.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from csrc._tap import ffi, lib
from csrc.frame import Buffer, Frame

OFFLOAD_ALL: int = lib.TRL_TAP_CSUM | lib.TRL_TAP_TSO4 | lib.TRL_TAP_TSO6 | lib.TRL_TAP_TSO_ECN
OFFLOAD_CSUM: int = lib.TRL_TAP_CSUM
BATCH = 64  # frames of one C call
VNET_BUFFER = 65536 + 64  # the largest IP packet, its Ethernet header, and the virtio header before it
VNET_BATCH = 16  # buffers of one C call with vnet
COPY_BELOW = 4096  # frames up to this size are copied out of the pooled buffer
HEAD_MAX = 2048  # linear parts up to this size are copied into one staging area instead of being pointed at
STAGING = BATCH * HEAD_MAX
FRAGS = 1024
SCRATCH = 1 << 18

_SLOT = struct.Struct("=IIHHHHBBH")  # struct trl_slot
_TX = struct.Struct("=IIIHHHH")  # struct trl_tx
assert _SLOT.size == ffi.sizeof("struct trl_slot") and _TX.size == ffi.sizeof("struct trl_tx")


class Pool:
    """Buffers of one size, with their C pointers, used again when no view of them is left."""

    __slots__ = ("_idle", "_size", "_waiting")

    KEEP = 64  # buffers remembered while somebody still holds them; others are left to the garbage collector

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[tuple[bytearray, Any]] = deque()
        entry = self._new()
        self._idle = getrefcount(entry[0])
        self._waiting.append(entry)

    def _new(self) -> tuple[bytearray, Any]:
        buffer = bytearray(self._size)
        return buffer, ffi.from_buffer("uint8_t[]", buffer)

    def take(self) -> tuple[bytearray, Any]:
        """A buffer that nobody looks at, and its pointer."""
        waiting = self._waiting
        for _ in range(min(4, len(waiting))):
            entry = waiting.popleft()
            if getrefcount(entry[0]) == self._idle:
                return entry
            waiting.append(entry)
        return self._new()

    def give(self, entry: tuple[bytearray, Any]) -> None:
        if len(self._waiting) < self.KEEP:
            self._waiting.append(entry)

    def is_idle(self, entry: tuple[bytearray, Any]) -> bool:
        return getrefcount(entry[0]) == self._idle


class Tap:
    """An open TAP. `OSError` with the kernel's errno when it cannot be opened (EBUSY: somebody else has it)."""

    __slots__ = (
        "_bufs", "_frag_lens", "_frag_ptrs", "_heads", "_heads_ptr", "_in", "_lent", "_pool", "_res", "_res_view",
        "_scratch", "_slot", "_tap", "_tx", "_tx_ptr", "_writing", "ethernet", "name", "vnet",
    )  # fmt: skip

    def __init__(
        self,
        name: str = "",
        *,
        vnet: bool = True,
        offload: int = OFFLOAD_ALL,
        vnet_bytes: int = 12,
        tun: bool = False,
        exclusive: bool = False,
        mtu: int = 1500,
    ) -> None:
        """Open the device `name` ("" or "tap%d": the kernel chooses), making it when it does not exist.

        `offload` (OFFLOAD_*) is what the kernel may hand us; without vnet it is 0. `mtu` sizes the buffers of plain
        frames.
        """
        flags = lib.TRL_TAP_VNET * vnet | lib.TRL_TAP_TUN * tun | lib.TRL_TAP_EXCL * exclusive
        self._tap = ffi.new("struct trl_tap *")
        actual = ffi.new("char[16]")
        error = lib.trl_tap_open(self._tap, name.encode(), flags, vnet_bytes, offload if vnet else 0, actual)
        if error < 0:
            raise OSError(-error, os.strerror(-error), name or "/dev/net/tun")
        self.name: str = ffi.string(actual).decode()
        self.vnet = vnet
        self.ethernet = not tun
        self._res = ffi.new("struct trl_slot[]", BATCH)
        self._res_view = memoryview(ffi.buffer(self._res))
        self._heads = bytearray(STAGING)
        self._heads_ptr = ffi.from_buffer("uint8_t[]", self._heads)
        self._tx = bytearray(BATCH * _TX.size)
        self._tx_ptr = ffi.cast("struct trl_tx *", ffi.from_buffer(self._tx))
        self._frag_ptrs = ffi.new("const uint8_t *[]", FRAGS)
        self._frag_lens = ffi.new("uint32_t[]", FRAGS)
        self._scratch = ffi.new("uint8_t[]", SCRATCH)
        self._writing: list[Any] = []
        self._lent: list[tuple[bytearray, Any]] = []
        if vnet:
            self._pool = Pool(VNET_BUFFER)
            self._lent = [self._pool.take() for _ in range(VNET_BATCH)]
            self._bufs = ffi.new("uint8_t *[]", [entry[1] for entry in self._lent])
            self._slot = 0
        else:
            self._slot = max(2048, -(-(mtu + 64) // 64) * 64)
            self._pool = Pool(BATCH * self._slot)
            self._lent = [self._pool.take()]
            self._bufs = ffi.new("uint8_t[]", BATCH * self._slot)
            self._in = ffi.new("struct trl_slot[]", BATCH)

    def fileno(self) -> int:
        """Readable when frames wait; -1 once closed."""
        return int(self._tap.fd)

    def receive(self, budget: int = BATCH, now: int = 0) -> list[Frame]:
        """What waits, up to about `budget` wire frames; [] when nothing does."""
        frames: list[Frame] = []
        if self.vnet:
            self._receive_vnet(frames, budget, now)
        else:
            self._receive_plain(frames, budget, now)
        return frames

    def _receive_vnet(self, frames: list[Frame], budget: int, now: int) -> None:
        lent, pool = self._lent, self._pool
        while budget > 0:
            n = lib.trl_tap_read(self._tap, self._bufs, VNET_BUFFER, self._res, VNET_BATCH, budget)
            for i in range(n):
                off, length, gso_size, segs, start, offset, ok, _, _ = _SLOT.unpack_from(self._res_view, i * _SLOT.size)
                entry = lent[i]
                data: Buffer = memoryview(entry[0])[off : off + length]
                if length <= COPY_BELOW:
                    data = bytes(data)
                else:
                    pool.give(entry)
                    lent[i] = entry = pool.take()
                    self._bufs[i] = entry[1]
                frame = Frame(data, (), length, self.ethernet, gso_size, start, offset)
                frame.gso_segs = segs
                frame.csum_ok = ok != 0
                frame.timestamp_ns = now
                frames.append(frame)
                budget -= segs
            if n < VNET_BATCH:
                return

    def _receive_plain(self, frames: list[Frame], budget: int, now: int) -> None:
        buffer, pointer = self._lent[0]
        want = min(budget, BATCH)
        n = lib.trl_tap_read_gro(self._tap, self._bufs, self._slot, self._in, want, pointer, len(buffer), self._res)
        held = False
        for i in range(n):
            off, length, gso_size, segs, start, offset, ok, _, _ = _SLOT.unpack_from(self._res_view, i * _SLOT.size)
            data: Buffer = memoryview(buffer)[off : off + length]
            if length <= COPY_BELOW:
                data = bytes(data)
            else:
                held = True
            frame = Frame(data, (), length, self.ethernet, gso_size, start, offset)
            frame.gso_segs = segs
            frame.csum_ok = ok != 0
            frame.timestamp_ns = now
            frames.append(frame)
        if held:
            self._pool.give(self._lent[0])
            self._lent[0] = self._pool.take()

    def transmit(self, frames: Sequence[Frame]) -> int:
        """Send them. How many were done with (sent, or dropped and counted); fewer than given: it would block."""
        heads, tx, ptrs, lens, pack = self._heads, self._tx, self._frag_ptrs, self._frag_lens, _TX.pack_into
        from_buffer, keep = ffi.from_buffer, self._writing
        keep.clear()
        done = i = at = k = 0
        for frame in frames:
            data, frags = frame.data, frame.frags
            n = len(data)
            if i == BATCH or k + len(frags) >= FRAGS:
                taken = self._write(i)
                done += taken
                if taken < i:
                    return done
                i = at = k = 0
            if n <= HEAD_MAX:
                end = at + n
                heads[at:end] = data
                pieces = len(frags)
            else:
                keep.append(pointer := from_buffer("uint8_t[]", data))
                ptrs[k] = pointer
                lens[k] = n
                k += 1
                end, n = at, 0
                pieces = len(frags) + 1
            if frags:
                if pieces > FRAGS:
                    frags = (b"".join(frags),)
                    pieces = 1 if n else 2
                for frag in frags:
                    keep.append(pointer := from_buffer("uint8_t[]", frag))
                    ptrs[k] = pointer
                    lens[k] = len(frag)
                    k += 1
            pack(tx, i * 20, at, n, pieces, frame.gso_size, frame.csum_start, frame.csum_offset, 0)
            at = end
            i += 1
        if i:
            done += self._write(i)
        return done

    def _write(self, n: int) -> int:
        taken: int = lib.trl_tap_write(
            self._tap, self._tx_ptr, n, self._heads_ptr, self._frag_ptrs, self._frag_lens, self._scratch, SCRATCH
        )
        self._writing.clear()
        return taken

    @property
    def counters(self) -> dict[str, int]:
        """What the C side counted since the device was opened."""
        t = self._tap
        return {
            "rx_frames": t.rx_frames, "rx_bytes": t.rx_bytes, "rx_truncated": t.rx_truncated,
            "tx_frames": t.tx_frames, "tx_bytes": t.tx_bytes,
            "tx_dropped": t.tx_dropped, "tx_malformed": t.tx_malformed,
        }  # fmt: skip

    def take_error(self) -> int:
        """The errno of the last refused read or write, and forget it; 0 when there was none."""
        error, self._tap.error = self._tap.error, 0
        return int(error)

    def close(self) -> None:
        """Close the device; one that is not persistent disappears."""
        fd, self._tap.fd = self._tap.fd, -1
        if fd >= 0:
            os.close(fd)
