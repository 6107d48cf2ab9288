"""The native network device: a Linux TAP, read in batches and written by C (`csrc/tap.h`).

With a virtio header before each frame (`vnet`) the kernel hands over TCP super-segments of up to 64 KiB with their
checksums left open, and takes the same from us: one system call and one checksum less per 45 wire frames. Without it
(`vnet=False`, or a kernel that does not grant it) plain frames are coalesced (GRO) and split (GSO) in C, one call per
batch, so whoever is above sees super-segments either way. Where the kernel lets us (NAPI), it coalesces in turn what
we write, so that its TCP sees super-segments too.

Received bytes live in `bytearray`s that are lent out as memoryviews and used again once nobody holds a view of them:
each memoryview made from a buffer, and so each slice of one, counts as a reference to it. A frame of less than
`COPY_BELOW` bytes is copied out, so that a few bytes kept in a queue never hold a buffer of 64 KiB.

Transmitted payload goes to the kernel from the sender's own buffers (an iovec), each frame by a system call of its own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from errno import EBADFD, EBUSY, EINVAL, ENODEV
from sys import getrefcount
from typing import Any, Final

from csrc.frame import Frame
from csrc.tap import OFFLOAD_ALL, SLOT, TX, ffi, lib
from drivers.net import hostif
from drivers.net.device import new_counters

VNET_BYTES = 12
SUPER_BYTES = (
    65536 + 64
)  # the longest IP packet, an Ethernet header, a virtio header, and a byte to see truncation
SUPER_BATCH = 16  # super-segments per read
PLAIN_BATCH = 90  # plain frames per read: two super-segments of 45
COPY_BELOW = 4096
FRAGS = 1024  # pieces of a frame
POOL = 128  # lent buffers that are remembered; those beyond belong to whoever holds them
PROBES = 4  # how many of the lent buffers are looked at before a new one is made
SUPER_QUEUE = 4096  # frames that may wait for us: 40 ms of a flood of 100,000 a second
PLAIN_QUEUE = 8192  # frames that may wait for us: more than a TCP window of small frames (the kernel's 1000 are 1.5 MB)
WORK_BYTES = 4 * 65536
GRO_HOLD_NS = 20_000_000  # after the next tick of any kernel, so that its timer is not set anew for each frame

_BYTES: Final = ffi.typeof("uint8_t[]")
_from_buffer: Final = ffi.from_buffer
_copy: Final = ffi.unpack
_pack_tx: Final = TX.pack_into
_slot: Final = SLOT.unpack_from
_fields: Final = SLOT.unpack
_read: Final = lib.trl_tap_read
_read_gro: Final = lib.trl_tap_read_gro
_put: Final = lib.trl_tap_put
_pair: Final = lib.trl_tap_pair
_write: Final = lib.trl_tap_write
SLOT_SIZE = SLOT.size
_Held = tuple[bytearray, Any]  # a buffer, and the pointer that pins it


def _begin(buffer: Any) -> Any:
    """Where the frame begins in a buffer that one was read to."""
    return ffi.cast("char *", buffer) + VNET_BYTES


class Pool:
    """Buffers of one size. `take()` gives one that nobody else holds; `lend()` takes note that views of one are out."""

    __slots__ = ("_idle", "_lent", "made", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.made = 0
        first = self._make()
        self._idle = getrefcount(first[0])  # a buffer's count while no view of it exists
        self._lent: deque[_Held] = deque([first])

    def _make(self) -> _Held:
        self.made += 1
        buffer = bytearray(self.size)
        return buffer, ffi.from_buffer(_BYTES, buffer)

    def take(self) -> _Held:
        lent = self._lent
        for _ in range(min(PROBES, len(lent))):
            held = lent.popleft()
            if getrefcount(held[0]) == self._idle:
                return held
            lent.append(held)
        return self._make()

    def lend(self, held: _Held) -> None:
        if len(self._lent) < POOL:
            self._lent.append(held)


class TapDevice:
    """`NetDevice` over /dev/net/tun. It makes the TAP, which disappears with the descriptor, and sets up its host side.

    `vnet=None` takes offloads if the kernel grants them, True insists (OSError), False forces plain frames.
    `host_ip` is the host's address on the link, as "10.0.0.1/24". `mac` is this side's; it follows from the name.
    Opening waits, a second at most, while a previous holder is still letting go (EBUSY). With `fd` nothing is opened or
    set up: it is a TAP's, or one end of a pair of sockets that keeps frames apart, and `vnet` says what it carries.
    """

    gso = True

    def __init__(
        self,
        name: str = "tap0",
        mtu: int = 1500,
        vnet: bool | None = None,
        host_ip: str | None = None,
        mac: bytes | None = None,
        fd: int | None = None,
    ) -> None:
        hostif.check_name(name)
        self.mtu = mtu
        self.on_receive: Callable[[], None] | None = None
        self._final: dict[str, int] | None = None
        self._tap = ffi.new("struct trl_tap *")
        self._coalesced = True  # as long as nothing speaks against it
        self.name = hostif.when_free(lambda: self._open(name, vnet)) if fd is None else self._take(fd, name, vnet)
        self._fd = int(self._tap.fd)
        self.vnet = bool(self._tap.vnet)
        self.mac: bytes | None = mac or hostif.stable_mac(self.name)
        if fd is not None:
            self._prepare()
            return
        try:
            hostif.configure(self.name, mtu, host_ip, SUPER_QUEUE if self.vnet else PLAIN_QUEUE)
        except OSError as error:
            os.close(self._fd)
            reason = os.strerror(error.errno or 0)
            raise OSError(error.errno, f"setting up the host's side of {self.name}: {reason}") from error
        except BaseException:
            os.close(self._fd)
            raise
        self._prepare()

    def _open(self, name: str, vnet: bool | None) -> str:
        """Open with the most that the kernel grants: all offloads, checksums only, plain frames; these through GRO if
        it can be told to wait for the next frame (without that it only costs).
        """
        actual = ffi.new("char[16]")
        attempts = (
            [] if vnet is False else [(lib.TRL_TAP_VNET, OFFLOAD_ALL), (lib.TRL_TAP_VNET, lib.TRL_TAP_CSUM)]
        )
        if not vnet:
            attempts += [(lib.TRL_TAP_NAPI, 0)] * self._coalesced + [(0, 0)]
        error = 0
        for flags, offload in attempts:
            error = -lib.trl_tap_open(self._tap, name.encode(), flags, VNET_BYTES, offload, actual)
            if not error:
                given = ffi.string(actual).decode()
                if flags == lib.TRL_TAP_NAPI and not hostif.hold_for_gro(given, GRO_HOLD_NS):
                    self._coalesced = False
                    os.close(self._tap.fd)
                    raise OSError(EBUSY, f"{name!r} is opened again")
                return given
            if error != EINVAL:
                break
        raise OSError(error, f"cannot open the TAP {name!r} through /dev/net/tun: {os.strerror(error)}")

    def _take(self, fd: int, name: str, vnet: bool | None) -> str:
        self._tap.fd = fd
        self._tap.vnet = VNET_BYTES if vnet else 0
        self._tap.flags = lib.TRL_PARSE_ETHERNET
        return name

    def _prepare(self) -> None:
        """Everything that is allocated once."""
        self._slots = ffi.new("struct trl_slot[]", PLAIN_BATCH)
        self._slot_bytes = memoryview(ffi.buffer(self._slots))
        self._records = [self._slot_bytes[i * SLOT_SIZE : (i + 1) * SLOT_SIZE] for i in range(SUPER_BATCH)]
        self._frag_at = ffi.new("const uint8_t *[]", FRAGS)
        self._frag_lens = ffi.new("uint32_t[]", FRAGS)
        self._work = ffi.new("uint8_t[]", WORK_BYTES)
        self._tx = bytearray(TX.size)
        self._tx_at = ffi.cast("struct trl_tx *", ffi.from_buffer(_BYTES, self._tx))
        self._plain_bytes = max(2048, self.mtu + 64)
        if self.vnet:
            self._pool = Pool(SUPER_BYTES)
            self._held = [self._pool.take() for _ in range(SUPER_BATCH)]
            self._bufs = ffi.new("uint8_t *[]", [pointer for _, pointer in self._held])
            self._begins = [_begin(pointer) for _, pointer in self._held]
        else:
            self._pool = Pool(PLAIN_BATCH * self._plain_bytes)
            self._held = [self._pool.take()]

    def thin_acks(self, on: bool) -> None:
        """Whether of the pure acknowledgements that wait at once only the newest of a flow is handed up, and segments
        that follow each other as one (off at first; plain frames are coalesced always): for a stack that wants what
        they say, not for a wire or a capture that wants each.
        """
        flags = self._tap.flags & ~lib.TRL_GRO_ACKS
        self._tap.flags = flags | lib.TRL_GRO_ACKS if on else flags

    def set_guard(self, address: int) -> None:
        """Have every frame looked at by the `struct trl_guard` there (csrc/guard.c) as it is read; 0: by nobody. The
        caller keeps it alive until then.
        """
        self._tap.guard = ffi.cast("struct trl_guard *", address)

    def fileno(self) -> int | None:
        return self._fd if self._final is None else None

    def receive(self, budget: int) -> list[Frame]:
        """About `budget` wire frames, coalesced. OSError(ENODEV) when the interface was taken away from the host."""
        frames: list[Frame] = []
        if self._final is not None:
            return frames
        if self.vnet:
            self._receive_super(frames, budget)
        else:
            self._receive_plain(frames, budget)
        if not frames and self._tap.error in (EBADFD, ENODEV):
            raise OSError(ENODEV, f"the interface {self.name!r} was removed from the host")
        return frames

    def _receive_super(self, frames: list[Frame], budget: int) -> None:
        held, pool, begins, records = self._held, self._pool, self._begins, self._records
        while True:
            count: int = _read(self._tap, self._bufs, SUPER_BYTES, self._slots, SUPER_BATCH, budget)
            for i in range(count):
                _, length, gso_size, segs, csum_start, csum_offset, ok, _, _ = _fields(records[i])
                if length < COPY_BELOW:
                    data: Any = _copy(begins[i], length)
                else:
                    buffer = held[i]
                    data = memoryview(buffer[0])[VNET_BYTES : VNET_BYTES + length]
                    pool.lend(buffer)
                    held[i] = buffer = pool.take()
                    self._bufs[i] = buffer[1]
                    begins[i] = _begin(buffer[1])
                frame = Frame(data, (), length, True, gso_size, csum_start, csum_offset)
                frame.gso_segs = segs
                frame.csum_ok = ok != 0
                frames.append(frame)
                budget -= segs
            if count < SUPER_BATCH or budget <= 0:
                return

    def _receive_plain(self, frames: list[Frame], budget: int) -> None:
        slots, size = self._slot_bytes, self._plain_bytes
        while budget > 0:
            held = self._held[0]
            want = min(budget, PLAIN_BATCH)
            before = self._tap.rx_frames
            count: int = _read_gro(self._tap, want, size, held[1], PLAIN_BATCH * size, self._slots)
            lent = False
            for i in range(count):
                start, length, gso_size, segs, csum_start, csum_offset, ok, _, _ = _slot(slots, i * SLOT_SIZE)
                data: Any = memoryview(held[0])[start : start + length]
                if length < COPY_BELOW:
                    data = bytes(data)
                else:
                    lent = True
                frame = Frame(data, (), length, True, gso_size, csum_start, csum_offset)
                frame.gso_segs = segs
                frame.csum_ok = ok != 0
                frames.append(frame)
            if lent:
                self._pool.lend(held)
                self._held[0] = self._pool.take()
            if self._tap.rx_frames - before < want:
                return
            budget -= want

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        if self._final is not None:
            self._final["tx_dropped"] += sum(map(_wire_frames, frames))
            return
        tap, work = self._tap, self._work
        # Each takes a system call of its own, so also a call of C.
        for done, frame in enumerate(frames):
            data, frags = frame.data, frame.frags
            size = len(data)
            if data.__class__ is not bytes:
                data = _from_buffer(_BYTES, data)
            gso, start, offset = frame.gso_size, frame.csum_start, frame.csum_offset
            if not frags:
                sent: int = _put(tap, data, size, gso, start, offset, work, WORK_BYTES)
            elif len(frags) == 1:
                frag = frags[0]
                rest = frag if frag.__class__ is bytes else _from_buffer(_BYTES, frag)
                sent = _pair(tap, data, size, rest, len(frag), gso, start, offset, work, WORK_BYTES)
            else:
                sent = self._put_pieces(frame)
            if not sent:  # the device would block: nothing waits here, so the rest is lost
                tap.tx_dropped += sum(map(_wire_frames, frames[done:]))
                return

    def _put_pieces(self, frame: Frame) -> int:
        """A frame in more than two pieces: 1 when it is done with, 0 when the device would block."""
        frags = frame.frags
        if len(frags) >= FRAGS:
            frags = (b"".join(frags),)
        at, lens, records = self._frag_at, self._frag_lens, self._tx
        count = len(frags) + 1
        pinned = []  # pointers into the senders' buffers, alive until the call has returned
        for k, piece in enumerate((frame.data, *frags)):
            at[k] = pointer = _from_buffer(_BYTES, piece)
            lens[k] = len(piece)
            pinned.append(pointer)
        _pack_tx(records, 0, 0, 0, count, frame.gso_size, frame.csum_start, frame.csum_offset, 0)
        done: int = _write(self._tap, self._tx_at, 1, b"", at, lens, self._work, WORK_BYTES)
        return done

    @property
    def counters(self) -> dict[str, int]:
        """Counts so far. rx_dropped is what the kernel threw away because the TAP's queue was full."""
        if self._final is not None:
            return self._final
        counters = new_counters()
        tap = self._tap
        for field in ("rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "tx_dropped"):
            counters[field] = getattr(tap, field)
        counters["rx_dropped"] = hostif.missed_frames(self.name)
        counters["rx_errors"] = tap.rx_truncated
        counters["tx_errors"] = tap.tx_malformed
        return counters

    def close(self) -> None:
        """Close the descriptor, and with it the TAP. Received frames stay valid. Safe to call again."""
        if self._final is None:
            self._final = self.counters
            os.close(self._fd)


def _wire_frames(frame: Frame) -> int:
    return max(1, -(-frame.length // frame.gso_size)) if frame.gso_size else 1
