"""tap.c against the kernel: what a packet socket on the same device sees and sends, with and without virtio headers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

CHILD = r"""
import errno, os, select, socket, struct, subprocess, sys
from csrc import Frame
from csrc.tap import OFFLOAD_ALL, SLOT, TX, ffi, lib

MODE, VERSION = sys.argv[1], int(sys.argv[2])
VNET = MODE != "plain"
VNET_BYTES = 10 if MODE == "vnet10" else 12
ME, HOST = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
SIZE, BATCH = 1448 if VERSION == 4 else 1428, 64
ETHERTYPE = 0x0800 if VERSION == 4 else 0x86DD


def opened(name, flags=0, offload=0):
    tap = ffi.new("struct trl_tap *")
    actual = ffi.new("char[16]")
    error = lib.trl_tap_open(tap, name, flags, VNET_BYTES, offload, actual)
    return tap, -error, ffi.string(actual)


tap, error, name = opened(b"tap%d", VNET * lib.TRL_TAP_VNET, VNET * OFFLOAD_ALL)
assert error == 0 and name == b"tap0", (error, name)
assert tap.vnet == (VNET_BYTES if VNET else 0)
assert opened(b"tap0", VNET * lib.TRL_TAP_VNET)[1] == errno.EBUSY
assert opened(b"a-name-that-is-too-long")[1] == errno.ENAMETOOLONG
assert opened(b"lo")[1] == errno.EINVAL

scratch = ffi.new("uint8_t[]", 1 << 18)


def write(frames):
    heads, frags, records = b"", [], b""
    for f in frames:
        records += TX.pack(len(heads), len(f.data), len(f.frags), f.gso_size, f.csum_start, f.csum_offset, 0)
        heads += bytes(f.data)
        frags += f.frags
    keep = [ffi.from_buffer("uint8_t[]", f) for f in frags]
    ptrs = ffi.new("const uint8_t *[]", keep or 1)
    lens = ffi.new("uint32_t[]", [len(f) for f in frags] or 1)
    tx = ffi.cast("struct trl_tx *", ffi.from_buffer(records))
    return lib.trl_tap_write(tap, tx, len(frames), heads, ptrs, lens, scratch, 1 << 18)


def tcp(payload, gso_size=0, flags=16, seq=2**32 - 1000, cuts=()):
    seg = ffi.new("struct trl_tcp_out *", {
        "sport": 9, "dport": 9, "seq": seq, "ack": 77, "tcp_flags": flags, "window": 500,
        "tcp_options": lib.TRL_OPT_TIMESTAMP, "tsval": 5, "payload_len": len(payload), "ip_id": 65530,
        "dont_fragment": 1})
    if VERSION == 4:
        ip = b"\x45" + bytes(7) + b"\x40\6\0\0" + bytes([10, 0, 0, 2, 10, 0, 0, 1])
    else:
        ip = b"\x60" + bytes(6) + b"\x40" + b"\xfd" + bytes(14) + b"\2" + b"\xfd" + bytes(14) + b"\1"
    template = HOST + ME + struct.pack(">H", ETHERTYPE) + ip
    out = bytearray(200)
    n = lib.trl_tcp_emit(ffi.from_buffer(out), 200, template, len(template), 14, seg)
    assert n == len(template) + 32
    pieces, at = [], 0
    for cut in (*cuts, len(payload)):
        pieces.append(payload[at : at + cut])
        at += cut
    return Frame(out[:n], tuple(pieces), gso_size=gso_size, csum_start=n - 32, csum_offset=16)


payload = os.urandom(20 * SIZE + 77)
frames = [
    tcp(payload, SIZE, flags=0x99, cuts=(1, 0, 1001, 7, 20000)),       # CWR, ACK, PSH, FIN
    tcp(payload[: SIZE * 2], SIZE), tcp(b"abc"), tcp(b""), tcp(payload[:300], cuts=(1,) * 150),
    Frame.of(HOST + ME + b"\x88\xb5" + bytes(range(60))),
    Frame(HOST + ME + b"\x88\xb5", (b"a" * 50, b"b")),
    tcp(payload[:100], SIZE, cuts=(1,) * 99),
]

# While the device is down every frame is refused, and counted as wire frames.
assert write(frames) == len(frames)
down = 21 + 2 + 6
assert (tap.tx_frames, tap.tx_dropped, tap.error) == (0, down, errno.EIO), (tap.tx_frames, tap.tx_dropped, tap.error)

subprocess.run(["sysctl", "-qw", "net.ipv6.conf.tap0.disable_ipv6=1"], check=False)
subprocess.run(["ip", "link", "set", "tap0", "up"], check=True)
host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
host.bind(("tap0", 0))
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
host.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
host.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
host.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
host.settimeout(60)

# Out: the kernel sees super-segments (vnet), or the wire frames that Frame.segments() gives.
want = [f for frame in frames for f in frame.segments()]


def received():
    got = []
    while len(got) < len(want):
        data = host.recv(1 << 17)
        flags, kind, _, size, start, offset = struct.unpack("=BBHHHH", data[:10])
        if size:
            assert VNET and kind & 0x7F == (1 if VERSION == 4 else 4), kind
        got += Frame(data[10:], (), -1, True, size, start if flags & 1 else 0, offset if flags & 1 else 0).segments()
    return got


assert write(frames) == len(frames)
assert received() == want
assert (tap.tx_frames, tap.tx_malformed) == (len(want), 0), (tap.tx_frames, tap.tx_malformed)


# One by one, each in one piece: the same.
def put(f):
    data = b"".join((f.data, *f.frags))
    return lib.trl_tap_put(tap, data, len(data), f.gso_size, f.csum_start, f.csum_offset, scratch, 1 << 18)


assert all(put(frame) == 1 for frame in frames)
assert received() == want
assert (tap.tx_frames, tap.tx_malformed) == (2 * len(want), 0), (tap.tx_frames, tap.tx_malformed)
assert put(Frame(b"", ())) == put(Frame(bytes(100), gso_size=10)) == 1
assert tap.tx_malformed == 2
tap.tx_malformed = 0


# In two pieces, wherever the payload is cut: the same, and either piece may have nothing in it.
def pair(f, cut):
    data = b"".join((f.data, *f.frags))
    cut = max(0, cut + len(f.data))
    first, rest = data[:cut], data[cut:]
    how = f.gso_size, f.csum_start, f.csum_offset
    return lib.trl_tap_pair(tap, first, len(first), rest, len(rest), *how, scratch, 1 << 18)


for turn, cut in enumerate((0, 1, SIZE, 1 << 20, -1 << 20)):
    assert all(pair(frame, cut) == 1 for frame in frames)
    assert received() == want, cut
    assert (tap.tx_frames, tap.tx_malformed) == ((3 + turn) * len(want), 0), (tap.tx_frames, tap.tx_malformed)
assert pair(Frame(b"", ()), 0) == pair(Frame(bytes(100), gso_size=10), 0) == 1
assert tap.tx_malformed == 2
tap.tx_malformed = 0

# A frame that cannot be split, or completed, is dropped and counted; the next one goes.
bad = [Frame(bytes(100), gso_size=10), Frame(b"", ()), tcp(b"next")]
if not VNET:
    bad.insert(0, Frame(bytes(60), csum_start=59, csum_offset=16))
assert write(bad) == len(bad)
assert tap.tx_malformed == len(bad) - 1
assert host.recv(1 << 17)[10:][-4:] == b"next"

# In: the kernel hands over super-segments, or splits them and GRO puts them together again.
res = ffi.new("struct trl_slot[]", BATCH)
cap = 65536 + 64
bufs = [ffi.new("uint8_t[]", cap) for _ in range(4)]
ptrs = ffi.new("uint8_t *[]", bufs)
out = ffi.new("uint8_t[]", BATCH * 2048)


def read(budget=BATCH):
    if VNET:
        n = lib.trl_tap_read(tap, ptrs, cap, res, 4, budget)
        slots = [(bufs[i], s) for i, s in enumerate(SLOT.iter_unpack(bytes(ffi.buffer(res, n * SLOT.size))))]
    else:
        n = lib.trl_tap_read_gro(tap, budget, 2048, out, BATCH * 2048, res)
        slots = [(out, s) for s in SLOT.iter_unpack(bytes(ffi.buffer(res, n * SLOT.size)))]
    frames = []
    for buf, (off, length, size, segs, start, offset, ok, _, _) in slots:
        data = bytes(ffi.buffer(buf + off, length))
        if data[6:12] != ME:  # the host's own chatter
            continue
        frame = Frame(data, (), length, True, size, start, offset)
        frame.gso_segs, frame.csum_ok = segs, bool(ok)
        frames.append(frame)
    return frames


def host_sends(frame):
    kind = (1 if VERSION == 4 else 4) if frame.gso_size else 0
    image = b"".join((frame.data, *frame.frags))
    header = struct.pack("=BBHHHH", 1, kind, len(frame.data), frame.gso_size, frame.csum_start, frame.csum_offset)
    host.send(header + image)


assert lib.trl_tap_read(tap, ptrs, cap, res, 4, 0) == 0
while read():
    pass
base = tap.rx_frames
big = tcp(payload, SIZE, flags=0x18)
host_sends(big)
host_sends(tcp(b"one", flags=0x18, seq=5))
seen = []
while len(seen) < 2:
    assert select.select([tap.fd], [], [], 60)[0]
    seen += read()
assert read() == []
assert [f.gso_segs for f in seen] == [21, 1] and seen[0].gso_size == SIZE and seen[1].gso_size == 0
assert all(f.csum_ok for f in seen)
assert tap.rx_frames - base == 22
if VERSION == 6:
    assert seen[0].segments() == big.segments()
else:  # the host may number IPv4 packets as it likes under DF
    rest = [[s[:18] + s[20:24] + s[34:] for s in frame.segments()] for frame in (seen[0], big)]
    assert rest[0] == rest[1]
assert bytes(seen[1]) == bytes(tcp(b"one", flags=0x18, seq=5))

# A budget counts wire frames; a frame too long for its buffer is dropped and counted.
for i in range(6):
    host_sends(tcp(b"x" * 10, flags=0x18, seq=i))
first = read(budget=3)
assert len(first) == 3 and len(read()) == 3
host_sends(tcp(b"y" * 1000))
before = tap.rx_truncated
if VNET:
    assert lib.trl_tap_read(tap, ptrs, 500, res, 4, BATCH) == 0
else:
    assert lib.trl_tap_read_gro(tap, BATCH, 500, out, BATCH * 500, res) == 0
    assert lib.trl_tap_read_gro(tap, BATCH, 500, out, BATCH * 500 - 1, res) < 0
    assert lib.trl_tap_read_gro(tap, 1025, 500, out, BATCH * 2048, res) < 0
assert tap.rx_truncated == before + 1

# The name is free again once the device is closed (the kernel needs a moment: EBUSY until then).
os.close(tap.fd)
assert lib.trl_tap_read(tap, ptrs, cap, res, 4, BATCH) == 0 and tap.error == errno.EBADF
print("all good")
"""


@pytest.mark.interop
@pytest.mark.parametrize("version", ["4", "6"])
@pytest.mark.parametrize("mode", ["plain", "vnet10", "vnet12"])
def test_frames_to_and_from_the_kernel(netns: Callable[[], Any], mode: str, version: str) -> None:
    done = netns().run(sys.executable, "-c", CHILD, mode, version, check=False)
    assert done.returncode == 0 and "all good" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="TAPs are Linux's")
def test_the_records_are_laid_out_as_in_c() -> None:
    from csrc.tap import SLOT, TX, ffi

    values = (1, 2, 3, 4, 5, 6, 7, 8, 9)
    slot = ffi.cast("struct trl_slot *", ffi.from_buffer(packed := SLOT.pack(*values)))
    names = ("off", "len", "gso_size", "gso_segs", "csum_start", "csum_offset", "csum_ok", "hdr_len", "pad")
    assert tuple(getattr(slot, name) for name in names) == values and packed
    tx = ffi.cast("struct trl_tx *", ffi.from_buffer(packed := TX.pack(*values[:7])))
    names = ("head", "head_len", "nfrags", "gso_size", "csum_start", "csum_offset", "pad")
    assert tuple(getattr(tx, name) for name in names) == values[:7] and packed
