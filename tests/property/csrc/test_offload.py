"""offload.c: GSO and GRO against plain Python, and against each other."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrc import Frame, ffi, lib

BASE = settings.default.max_examples  # 100; fewer in a brief run
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))
ETHER = bytes.fromhex("020000000001020000000002")


def exactly(data: bytes) -> Any:
    """A C array of just these bytes (`ffi.new` would add a NUL), so that the sanitizers see one byte too many."""
    array = ffi.new("uint8_t[]", len(data))
    ffi.buffer(array)[:] = data
    return array


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


# ---- frames ----


class Tcp(NamedTuple):
    """A TCP segment, or super-segment, by its fields."""

    version: int = 4
    ether: bytes = ETHER
    hosts: int = 0
    tos: int = 0
    ttl: int = 64
    ip_id: int = 1
    df: bool = True
    label: int = 0
    ip_options: bytes = b""
    ports: tuple[int, int] = (1000, 2000)
    seq: int = 0
    ack: int = 7
    flags: int = ACK
    window: int = 500
    urgent: int = 0
    options: bytes = b""
    payload: bytes = b""

    def image(self) -> bytes:
        alen = 4 if self.version == 4 else 16
        src, dst = bytes([10] * (alen - 1) + [1 + self.hosts]), bytes([10] * (alen - 1) + [100])
        word = (20 + len(self.options)) // 4 << 12 | self.flags
        tcp = struct.pack(
            ">HHIIHHHH", *self.ports, self.seq % 2**32, self.ack, word, self.window, 0, self.urgent
        )
        message = tcp + self.options + self.payload
        checksum = 0xFFFF ^ ones_sum(src + dst + struct.pack(">II", len(message), 6) + message)
        message = message[:16] + checksum.to_bytes(2, "big") + message[18:]
        if self.version == 4:
            ihl = 20 + len(self.ip_options)
            ip = struct.pack(
                ">BBHHHBBH", 0x40 | ihl // 4, self.tos, ihl + len(message), self.ip_id % 65536, self.df << 14,
                self.ttl, 6, 0,
            ) + src + dst + self.ip_options  # fmt: skip
            ip = ip[:10] + (0xFFFF ^ ones_sum(ip)).to_bytes(2, "big") + ip[12:]
            return self.ether + b"\x08\x00" + ip + message
        extra = bytes([6]) + self.ip_options[1:] if self.ip_options else b""
        first = 6 << 28 | self.tos << 20 | self.label
        ip = (
            struct.pack(">IHBB", first, len(extra + message), 0 if extra else 6, self.ttl) + src + dst + extra
        )
        return self.ether + b"\x86\xdd" + ip + message

    def split(self, size: int) -> list[bytes]:
        """The GSO oracle: FIN and PSH only on the last, CWR only on the first, ids counting up."""
        result = []
        for i, at in enumerate(range(0, max(1, len(self.payload)), size)):
            flags = self.flags
            if at + size < len(self.payload):
                flags &= ~(FIN | PSH)
            if i:
                flags &= ~CWR
            part = self._replace(
                flags=flags, seq=self.seq + at, ip_id=self.ip_id + i, payload=self.payload[at : at + size]
            )
            result.append(part.image())
        return result


TS = struct.pack(">BBBBII", 1, 1, 8, 10, 55, 66)


@st.composite
def super_segment(draw: st.DrawFn, most: int = 300) -> Tcp:
    version = draw(st.sampled_from([4, 6]))
    ip_options = draw(st.sampled_from([b"", b"", b"\1" * 8 if version == 4 else b"\0\0\1\4\0\0\0\0"]))
    return Tcp(
        version=version, hosts=draw(st.integers(0, 2)), tos=draw(st.integers(0, 255)),
        ip_id=draw(st.integers(0, 65535)),
        df=draw(st.booleans()), label=draw(st.integers(0, 2**20 - 1)), ip_options=ip_options,
        seq=draw(st.integers(0, 2**32 - 1)), flags=draw(st.integers(0, 0x1FF)), window=draw(st.integers(0, 65535)),
        urgent=draw(st.integers(0, 65535)), options=draw(st.sampled_from([b"", TS, b"\1" * 40])),
        payload=draw(st.binary(max_size=most)),
    )  # fmt: skip


# ---- GSO ----


def gso(image: bytes, size: int, flags: int, cap: int, most: int) -> list[bytes] | None:
    out = ffi.new("uint8_t[]", cap)
    lens = ffi.new("uint32_t[]", most)
    count = lib.trl_gso(exactly(image), len(image), flags, size, out, cap, lens, most)
    if count < 0:
        return None
    result, at = [], 0
    for i in range(count):
        result.append(bytes(ffi.buffer(out + at, lens[i])))
        at += lens[i]
    return result


@given(super_segment(), st.integers(1, 320), st.booleans(), st.binary(max_size=8))
def test_gso_is_the_oracle(t: Tcp, size: int, ethernet: bool, padding: bytes) -> None:
    skip = 0 if ethernet else 14
    want = [f[skip:] for f in t.split(size)]
    total = sum(map(len, want))
    image = t.image()[skip:] + padding
    assert gso(image, size, int(ethernet), total, len(want)) == want
    assert gso(image, size, int(ethernet), total - 1, len(want)) is None
    assert gso(image, size, int(ethernet), total, len(want) - 1) is None


@given(super_segment(), st.integers(1, 320), st.lists(st.integers(0, 120), max_size=5))
def test_gso_of_pieces(t: Tcp, size: int, cuts: list[int]) -> None:
    """Pieces of any length, odd and empty ones among them, in whatever places."""
    image, want = t.image(), t.split(size)
    at = len(image) - len(t.payload)
    pieces = [image[:at]]
    for cut in cuts:
        pieces.append(image[at : at + cut])
        at += cut
    pieces.append(image[at:])
    keep = [exactly(p) for p in pieces]
    iov = ffi.new("struct trl_iov[]", [(k, len(p)) for k, p in zip(keep, pieces)])
    total = sum(map(len, want))
    out, lens = ffi.new("uint8_t[]", total), ffi.new("uint32_t[]", len(want))
    assert lib.trl_gso_iov(iov, len(pieces), 1, size, out, total, lens, len(want)) == len(want)
    assert list(lens) == [len(f) for f in want]
    assert bytes(ffi.buffer(out)) == b"".join(want)
    frame = Frame(pieces[0], tuple(pieces[1:]), gso_size=size)
    assert frame.segments() == want
    assert Frame(image, gso_size=size).segments() == want
    assert Frame(memoryview(image)[14:], ethernet=False, gso_size=size).segments() == [f[14:] for f in want]


@settings(max_examples=3 * BASE)
@given(super_segment(60), st.integers(0, 70), st.data())
def test_gso_of_damaged_frames_keeps_inside_its_buffers(t: Tcp, size: int, choice: st.DataObject) -> None:
    image = bytearray(t.image())
    for _ in range(choice.draw(st.integers(0, 3))):
        image[choice.draw(st.integers(12, len(image) - 1))] = choice.draw(st.integers(0, 255))
    cut = bytes(image[: choice.draw(st.integers(0, len(image)))])
    result = gso(cut, size, choice.draw(st.integers(0, 1)), 6000, 64)
    if size == 0:
        assert result is None
    half = choice.draw(st.integers(0, len(cut)))
    lib.trl_gso_split(
        exactly(cut[:half]),
        half,
        exactly(cut[half:]),
        len(cut) - half,
        1,
        size,
        ffi.new("uint8_t[]", 900),
        900,
    )


def test_what_cannot_be_split_is_an_error() -> None:
    image = Tcp(payload=b"x" * 100).image()
    for bad in (image[:60], image + b"\0", b"", bytes(100)):
        with pytest.raises(ValueError, match="not a TCP super-segment"):
            Frame(bad, gso_size=10).segments()


# ---- Frame ----


@given(super_segment(), st.integers(0, 100))
def test_bytes_completes_the_checksum(t: Tcp, cut: int) -> None:
    image = t.image()
    l4 = len(image) - len(t.payload) - len(t.options) - 20
    src_dst = image[26:34] if t.version == 4 else image[22:54]
    partial = ones_sum(src_dst + struct.pack(">II", len(image) - l4, 6)).to_bytes(2, "big")
    linear = bytearray(image[: l4 + 16] + partial + image[l4 + 18 :])
    at = len(image) - min(cut, len(t.payload))
    frame = Frame(linear[:at], (memoryview(linear)[at:],) if cut else (), csum_start=l4, csum_offset=16)
    assert len(frame) == len(image)
    assert bytes(frame) == image
    assert frame.segments() == [image]
    assert bytes(Frame.of(image)) == image


def test_a_checksum_outside_the_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="outside a frame of 50 bytes"):
        bytes(Frame(bytes(50), csum_start=34, csum_offset=16))


# ---- GRO ----


class View(NamedTuple):
    """What GRO looks at in a good TCP frame."""

    flow: bytes
    l4: int
    header: int
    same: tuple[bytes, ...]
    ip_id: int | None
    df: bool
    seq: int
    flags: int
    payload: bytes
    plain: bool


def look(frame: bytes, trusted: bool) -> tuple[View | None, bool]:
    """(the view, None when this is no good TCP segment; whether its L4 checksum is good), for frames as below."""
    if len(frame) < 54:
        return None, trusted
    kind, ip = frame[12:14], frame[14:]
    if kind == b"\x08\x00":
        ihl, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
        if (
            ip[0] >> 4 != 4
            or ones_sum(ip[:ihl]) != 0xFFFF
            or ip[6] & 0x3F
            or ip[7]
            or not ihl + 20 <= total <= len(ip)
        ):
            return None, trusted
        addresses, proto = ip[12:20], ip[9]
        same: tuple[bytes, ...] = (frame[:15], ip[1:2], ip[8:9], bytes([ip[6] & 0x40]))
        ip_id, df, plain = int.from_bytes(ip[4:6], "big"), bool(ip[6] & 0x40), ihl == 20
    elif kind == b"\x86\xdd":
        total = 40 + int.from_bytes(ip[4:6], "big")
        plain = ip[6] == 6
        ihl = 40 if plain else 48
        if ip[0] >> 4 != 6 or not ihl + 20 <= total <= len(ip) or (not plain and (ip[6], ip[40]) != (0, 6)):
            return None, trusted
        addresses, proto = ip[8:40], 6
        same, ip_id, df = (frame[:18], ip[6:8]), None, False
    else:
        return None, trusted
    tcp = ip[ihl:total]
    header = (tcp[12] >> 4) * 4
    if proto != 6 or not 20 <= header <= len(tcp):
        return None, trusted
    if not trusted and ones_sum(addresses + struct.pack(">II", len(tcp), 6) + tcp) != 0xFFFF:
        return None, False
    word = int.from_bytes(tcp[12:14], "big")
    same += (
        bytes([tcp[12]]),
        tcp[8:12],
        tcp[14:16],
        tcp[20:header],
        bytes([word & 0xFF & ~(FIN | PSH | CWR)]),
    )
    view = View(
        addresses + tcp[:4], 14 + ihl, 14 + ihl + header, same, ip_id, df, int.from_bytes(tcp[4:8], "big"),
        word & 0x1FF, tcp[header:], plain,
    )  # fmt: skip
    return view, True


class Group:
    """The frames of one slot of the result."""

    def __init__(self, frame: bytes, view: View | None, good: bool) -> None:
        self.frames, self.views, self.good = [frame], [view], good
        self.open = (
            view is not None
            and view.plain
            and len(view.payload) > 0
            and not view.flags & (FIN | SYN | RST | PSH | URG)
        )
        self.fixed_id = False

    def takes(self, v: View) -> bool:
        first = self.views[0]
        assert first is not None
        size = sum(len(w.payload) for w in self.views if w)
        n = len(v.payload)
        if (
            not self.open
            or not v.plain
            or not 0 < n <= len(first.payload)
            or v.flags & CWR
            or v.same != first.same
        ):
            return False
        if v.seq != (first.seq + size) % 2**32 or first.header - 14 + size + n > 65535:
            return False
        if v.ip_id is None or first.ip_id is None:
            return True
        ahead = (v.ip_id - first.ip_id) % 65536
        if len(self.views) == 1 and v.df and ahead == 0:
            self.fixed_id = True
        return ahead == (0 if self.fixed_id else len(self.views))

    def add(self, frame: bytes, v: View) -> None:
        first = self.views[0]
        assert first is not None
        self.frames.append(frame)
        self.views.append(v)
        self.open = len(v.payload) == len(first.payload) and not v.flags & (FIN | PSH)

    def result(self) -> tuple[bytes, int, int, bool]:
        """(wire image of the whole, gso_size, gso_segs, csum_ok)."""
        first = self.views[0]
        if len(self.frames) == 1 or first is None:
            return self.frames[0], 0, 1, self.good
        image = bytearray(self.frames[0][: first.header])
        payload = b"".join(w.payload for w in self.views if w)
        for w in self.views:
            assert w is not None
            image[first.l4 + 13] |= w.flags & (FIN | PSH)
        whole = image + payload
        total = len(whole) - 14
        if whole[12:14] == b"\x08\x00":
            whole[16:18], whole[24:26] = total.to_bytes(2, "big"), b"\0\0"
            whole[24:26] = (0xFFFF ^ ones_sum(bytes(whole[14:34]))).to_bytes(2, "big")
            addresses = whole[26:34]
        else:
            whole[18:20] = (total - 40).to_bytes(2, "big")
            addresses = whole[22:54]
        at = first.l4 + 16
        whole[at : at + 2] = b"\0\0"
        tcp = bytes(whole[first.l4 :])
        whole[at : at + 2] = (
            0xFFFF ^ ones_sum(bytes(addresses) + struct.pack(">II", len(tcp), 6) + tcp)
        ).to_bytes(2, "big")
        return bytes(whole), len(first.payload), len(self.frames), True


class Acks(Group):
    """Successive frames that are nothing but an acknowledgement: the newest stands for all."""

    @staticmethod
    def pure(frame: bytes, v: View | None) -> bool:
        """No text, no other flag, no option but a timestamp."""
        if v is None or not v.plain or v.payload or v.flags != ACK:
            return False
        options = frame[v.l4 + 20 : v.header]
        return not options or (options[:4] == TS[:4] and len(options) == 12)

    def takes(self, v: View) -> bool:
        return False

    def superseded_by(self, frame: bytes, v: View) -> bool:
        return self.pure(frame, v) and self.later(frame, v, 1)

    def carried_by(self, frame: bytes, v: View) -> bool:
        """Whether a segment with text or FIN says what the last of these says (where the kernel's frames are read)."""
        stamped = frame[v.l4 + 20 : v.l4 + 24] == TS[:4] and v.header == v.l4 + 32
        carrier = v.flags & ~(PSH | FIN) == ACK and (v.payload or v.flags & FIN)
        long = len(frame) > 2048 or len(frame) < len(self.frames[-1])
        return bool(stamped and v.plain and carrier and not long and self.later(frame, v, 0))

    def later(self, frame: bytes, v: View, more: int) -> bool:
        old, last = self.views[0], self.frames[-1]
        assert old is not None
        if (v.seq, v.header, v.l4) != (old.seq, old.header, old.l4):
            return False
        if v.ip_id is None:
            alike = v.same[0] == old.same[0] and v.same[1][1:] == old.same[1][1:]
        else:
            alike = v.same[:3] == old.same[:3]
        ack, stamp = ((self.number(frame, v.l4 + at) - self.number(last, v.l4 + at)) % 2**32 for at in (8, 24))
        return alike and more <= ack < 2**31 and (v.header == v.l4 + 20 or stamp < 2**31)

    @staticmethod
    def number(frame: bytes, at: int) -> int:
        return int.from_bytes(frame[at : at + 4], "big")

    def result(self) -> tuple[bytes, int, int, bool]:
        return self.frames[-1], 0, len(self.frames), self.good


def gro_oracle(frames: list[bytes], trusted: list[bool], acks: bool = False) -> list[tuple[bytes, int, int, bool]]:
    groups: list[Group] = []
    newest: dict[bytes, Group] = {}
    for frame, trust in zip(frames, trusted):
        view, good = look(frame, trust)
        if view is not None:
            group = newest.get(view.flow)
            if group is not None and group.takes(view):
                group.add(frame, view)
                continue
            if isinstance(group, Acks) and group.superseded_by(frame, view):
                group.frames.append(frame)
                continue
            if group is not None:
                group.open = False
        groups.append((Acks if acks and Acks.pure(frame, view) else Group)(frame, view, good))
        if view is not None:
            newest[view.flow] = groups[-1]
    return [group.result() for group in groups]


def gro(frames: list[bytes], trusted: list[bool], acks: bool = False) -> list[tuple[bytes, int, int, bool]]:
    n, at = len(frames), 0
    flags = 1 | (lib.TRL_GRO_ACKS if acks else 0)
    slots, res = ffi.new("struct trl_slot[]", n), ffi.new("struct trl_slot[]", n)
    buf = exactly(b"".join(frames))
    for i, frame in enumerate(frames):
        slots[i].off, slots[i].len, slots[i].csum_ok = at, len(frame), trusted[i]
        at += len(frame)
    out = ffi.new("uint8_t[]", at)
    count = lib.trl_gro(buf, slots, n, flags, out, at, res, n)
    assert 0 <= count <= n
    result = []
    for s in res[0:count]:
        image = bytes(
            Frame(bytes(ffi.buffer(out + s.off, s.len)), (), s.len, True, 0, s.csum_start, s.csum_offset)
        )
        result.append((image, s.gso_size, s.gso_segs, bool(s.csum_ok)))
    if count:
        assert lib.trl_gro(buf, slots, n, flags, out, at, res, count - 1) < 0
        last = res[count - 1]
        assert lib.trl_gro(buf, slots, n, flags, out, last.off + last.len - 1, res, n) < 0
    return result


@settings(max_examples=2 * BASE)
@given(super_segment(), st.integers(1, 200))
def test_gro_undoes_gso(t: Tcp, size: int) -> None:
    t = t._replace(flags=(t.flags | ACK) & ~(SYN | RST | URG), ip_options=b"", payload=t.payload or b"x")
    frames = t.split(size)
    [(image, gso_size, segs, good)] = gro(frames, [False] * len(frames))
    assert image == t.image()
    assert (gso_size, segs, good) == (size if len(frames) > 1 else 0, len(frames), True)
    assert Frame(image, gso_size=size).segments() == frames


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[bytes], list[bool]]:
    """A few flows, each mostly in order, interleaved, now and then with a field changed, a duplicate, a gap, noise."""
    flows = []
    for host in range(draw(st.integers(1, 3))):
        version = draw(st.sampled_from([4, 4, 6]))
        mss = draw(st.integers(1, 9))
        fixed = draw(st.booleans())
        options = draw(st.sampled_from([b"", TS]))
        t = Tcp(
            version=version,
            hosts=host,
            options=options,
            seq=draw(st.sampled_from([0, 2**32 - 12, 5])),
            ip_id=65530,
        )
        frames = []
        for i in range(draw(st.integers(1, 8))):
            n = draw(st.sampled_from([mss, mss, mss, mss, mss - 1, mss + 1, 0]))
            part = t._replace(payload=bytes([65 + i] * n), ip_id=t.ip_id if fixed else t.ip_id + i)
            change = draw(st.integers(0, 30))
            part = part._replace(
                **{
                    1: {"flags": ACK | PSH}, 2: {"flags": ACK | FIN}, 3: {"flags": ACK | draw(st.integers(0, 511))},
                    4: {"ack": 8}, 5: {"window": 501}, 6: {"tos": 3}, 7: {"ttl": 63}, 8: {"df": False}, 9: {"label": 5},
                    10: {"options": TS[:-1] + b"x"}, 11: {"ip_id": 9}, 12: {"seq": t.seq + 1}, 13: {"ether": bytes(12)},
                    14: {"ip_options": b"\1" * 4 if version == 4 else b"\0\0\1\4\0\0\0\0"},
                    15: {"urgent": 1}, 16: {"flags": ACK | CWR},
                }.get(change, {})
            )  # fmt: skip
            frame = part.image()
            if change == 17:
                frame = frame[:-1] + bytes([frame[-1] ^ 1])
            if change == 18:
                frame += b"\0" * draw(st.integers(1, 9))
            if change == 19:
                frame = frame[: draw(st.integers(0, len(frame)))]
            frames.append(frame)
            if change == 20:
                frames.append(frame)
            t = t._replace(seq=t.seq + n)
        flows.append(frames)
    order = draw(st.permutations([i for i, frames in enumerate(flows) for _ in frames]))
    at = [0] * len(flows)
    result = []
    for i in order if draw(st.booleans()) else sorted(order):
        result.append(flows[i][at[i]])
        at[i] += 1
    return result, [draw(st.integers(0, 9)) == 0 for _ in result]


@settings(max_examples=5 * BASE)
@given(traffic())
def test_gro_is_the_oracle(case: tuple[list[bytes], list[bool]]) -> None:
    frames, trusted = case
    assert gro(frames, trusted) == gro_oracle(frames, trusted)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[bytes], list[bool]]:
    """What receivers of one or two flows send: mostly acknowledgements that advance, now and then something else."""
    flows = []
    for host in range(draw(st.integers(1, 2))):
        t = Tcp(version=draw(st.sampled_from([4, 6])), hosts=host, ack=draw(st.sampled_from([7, 2**32 - 9])))
        stamp = draw(st.sampled_from([None, 5, 2**32 - 2]))
        frames = []
        for i in range(draw(st.integers(1, 9))):
            ack = (t.ack + draw(st.sampled_from([5, 5, 5, 5, 0, -3]))) % 2**32
            t = t._replace(ip_id=t.ip_id + 1, window=500 + i, ack=ack)
            if stamp is not None:
                stamp = (stamp + draw(st.sampled_from([0, 0, 1, -1]))) % 2**32
                t = t._replace(options=TS[:4] + struct.pack(">II", stamp, 66 + i))
            changes: dict[int, dict[str, Any]] = {
                1: {"flags": ACK | draw(st.integers(0, 511))}, 2: {"payload": b"x"}, 3: {"seq": 1}, 4: {"tos": 3},
                5: {"ttl": 63}, 6: {"options": TS[:4] + TS[4:] + b"\1\1\5\12" + bytes(8)}, 7: {"options": b""},
                8: {"label": 5}, 9: {"ether": bytes(12)}, 10: {"df": False}, 11: {"ports": (1000, 2001)},
            }  # fmt: skip
            frame = t._replace(**changes.get(draw(st.integers(0, 40)), {})).image()
            if draw(st.integers(0, 30)) == 0:
                frame = frame[:-1] + bytes([frame[-1] ^ 1])
            frames.append(frame)
        flows.append(frames)
    order = draw(st.permutations([i for i, frames in enumerate(flows) for _ in frames]))
    at = [0] * len(flows)
    result = []
    for i in order if draw(st.booleans()) else sorted(order):
        result.append(flows[i][at[i]])
        at[i] += 1
    return result, [draw(st.integers(0, 9)) == 0 for _ in result]


@settings(max_examples=5 * BASE)
@given(st.one_of(answers(), traffic()))
def test_gro_of_acknowledgements_is_the_oracle(case: tuple[list[bytes], list[bool]]) -> None:
    frames, trusted = case
    assert gro(frames, trusted, acks=True) == gro_oracle(frames, trusted, acks=True)
    assert gro(frames, trusted) == gro_oracle(frames, trusted)


def test_only_what_acknowledges_more_stands_for_those_before() -> None:
    def sent(*acks: int, **fields: Any) -> list[tuple[int, int]]:
        frames = [Tcp(ack=ack, ip_id=i, **fields).image() for i, ack in enumerate(acks)]
        slots = gro(frames, [False] * len(acks), acks=True)
        return [(int.from_bytes(image[42:46], "big"), n) for image, _, n, _ in slots]

    assert sent(1, 2, 9) == [(9, 3)]
    assert sent(1, 2, 2, 2, 3) == [(2, 2), (2, 1), (3, 2)]
    assert sent(2**32 - 1, 4) == [(4, 2)]
    assert sent(4, 3) == [(4, 1), (3, 1)]
    assert sent(1, 2, flags=ACK | 64) == [(1, 1), (2, 1)]
    assert sent(1, 2, flags=ACK | PSH) == [(1, 1), (2, 1)]
    assert sent(1, 2, options=b"\1\1\5\12" + bytes(8)) == [(1, 1), (2, 1)]


def test_the_traffic_is_merged_and_refused() -> None:
    """A negative control of the strategy: it makes both super-segments and frames that must not join one."""
    seen = {"merged": 0, "single": 0}

    @settings(max_examples=60, database=None, derandomize=True)
    @given(traffic())
    def run(case: tuple[list[bytes], list[bool]]) -> None:
        for _, size, _, _ in gro_oracle(*case):
            seen["merged" if size else "single"] += 1

    run()
    assert seen["merged"] > 20 and seen["single"] > 20


def test_a_super_segment_stays_within_the_length_field() -> None:
    t = Tcp(options=TS)
    frames = [t._replace(seq=i * 1448, ip_id=i, payload=bytes([i]) * 1448).image() for i in range(60)]
    result = gro(frames, [False] * 60)
    assert [segs for _, _, segs, _ in result] == [45, 15]
    assert result == gro_oracle(frames, [False] * 60)


@pytest.mark.parametrize(("last", "slots"), [(323, 1), (324, 2)])
def test_the_last_byte_that_fits(last: int, slots: int) -> None:
    """45 * 1448 + 323 bytes of payload and 52 of headers are 65535."""
    frames = Tcp(options=TS, ip_id=0, payload=bytes(45 * 1448)).split(1448)
    frames.append(Tcp(options=TS, seq=45 * 1448, ip_id=45, payload=bytes(last)).image())
    result = gro(frames, [False] * 46)
    assert len(result) == slots
    assert result == gro_oracle(frames, [False] * 46)


@pytest.mark.parametrize("flags", [SYN | ACK, RST | ACK, URG | ACK, FIN | ACK, PSH | ACK])
def test_some_flags_never_start_a_super_segment(flags: int) -> None:
    frames = [Tcp(seq=i, ip_id=i, flags=flags, payload=b"x").image() for i in range(3)]
    assert [segs for _, _, segs, _ in gro(frames, [False] * 3)] == [1, 1, 1]


def test_a_batch_has_a_limit() -> None:
    most = lib.TRL_GRO_MAX
    frames = [Tcp(seq=i, ports=(i, 1), payload=b"x").image() for i in range(most)]
    assert len(gro(frames, [False] * most)) == most
    assert lib.trl_gro(ffi.NULL, ffi.NULL, most + 1, 1, ffi.NULL, 0, ffi.NULL, 0) < 0
    assert lib.trl_gro(ffi.NULL, ffi.NULL, 0, 1, ffi.NULL, 0, ffi.NULL, 0) == 0
