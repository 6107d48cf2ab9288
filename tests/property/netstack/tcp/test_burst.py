"""A run of super-segments is only a shorter way: with `burst.run` and without it, buffer by buffer, the same frames
leave and the connection is in the same state.
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrc import Frame, ffi, lib
from netstack import Settings, Stack
from netstack.tcp import burst, segment
from netstack.tcp.tcb import MS

OURS, THEIRS = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
MAC, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
STATE = """snd_una snd_nxt write_seq pushed_seq tail_seq unsent_bytes packets_out segs_out data_segs_out bytes_sent cwnd
    ip_id tx_order ack_pingpong snd_sml lsndtime_ns tso_ns pending is_cwnd_limited max_packets_out cwnd_usage_seq
    delivered chrono was_full push_marks snd_wnd rcv_wnd"""


class Sender:
    """A stack that sends into nothing; its peer exists as ACKs."""

    def __init__(self, **values: Any) -> None:
        self.stack = Stack(random.Random(4), Settings(**{f"net.ipv4.{name}": value for name, value in values.items()}))
        interface = self.stack.add_interface("eth0", "02:00:00:00:00:01", gso=True)
        self.stack.add_address("eth0", "10.0.0.1/24")
        assert interface.neighbours is not None
        interface.neighbours.add_permanent(THEIRS, PEER, 0)
        listener = self.stack.socket(2, 1, 0)
        listener.bind(("0.0.0.0", 19))
        listener.listen(1)
        self.now = 1_000 * MS
        self.sent: list[tuple[int, bytes, int]] = []
        self.give(100, 0, 2, b"\2\4\5\xb4\4\2\x08\x0a" + struct.pack("!II", 1, 0) + b"\1\3\3\x0a", 65535)
        first = bytes(self.drain()[0])
        self.iss, self.stamp = (struct.unpack_from("!I", first, at)[0] for at in (38, 62))
        self.acked = self.iss + 1
        self.window = 3000
        self.acknowledge(0)
        self.sock, _ = listener.accept(self.now)
        self.conn = self.sock.conn

    def give(self, seq: int, ack: int, flags: int, options: bytes, window: int) -> None:
        tcp = struct.pack(
            "!HHIIBBHHH", 5000, 19, seq, ack & 0xFFFFFFFF, 5 + len(options) // 4 << 4, flags, window, 0, 0
        )
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(options), 0, 0x4000, 64, 6, 0, THEIRS, OURS)
        ip = ip[:10] + int(lib.trl_checksum(ip, 20, 0)).to_bytes(2, "big") + ip[12:]
        frame = Frame(MAC + PEER + b"\x08\0" + ip + tcp + options)
        frame.csum_ok = True
        self.stack.receive("eth0", frame, self.now)

    def acknowledge(self, count: int) -> None:
        """`count` more bytes of what was sent."""
        self.acked += count
        stamps = struct.pack("!BBBBII", 1, 1, 8, 10, self.now // MS, self.stamp)
        self.give(101, self.acked, 16, stamps, self.window)

    def drain(self) -> list[Frame]:
        frames = [frame for _, batch in self.stack.batches(self.now) for frame in batch]
        self.sent += [(self.now, bytes(frame), frame.gso_size) for frame in frames]
        return frames

    def step(self, kind: str, amount: int) -> None:
        self.now += 20_000
        out = self.conn.snd_nxt - self.conn.snd_una
        if kind == "send":
            try:
                self.sock.send(bytes(amount % 251 + i % 5 for i in range(100)) * (amount // 100 + 1), self.now)
            except BlockingIOError:
                pass
        elif kind == "ack":
            self.acknowledge(out * (amount % 11) // 10)
        elif kind == "window":
            self.window = amount % 4000
            self.acknowledge(0)
        elif kind == "push":
            self.sock.setsockopt(6, 1, amount & 1)
        else:
            self.now += amount * 1000
            self.stack.on_deadline(self.now)
        self.drain()

    def state(self) -> dict[str, Any]:
        found = {name: getattr(self.conn, name) for name in STATE.split()}
        found["rtx"] = [
            (r.seq, r.end, b"".join(map(bytes, r.frags)), r.flags, r.pcount, r.order, r.xmit_ns, r.sends, r.delivered)
            for r in self.conn.rtx
        ]
        found["by time"] = []
        rec = self.conn.ts_head.next
        while rec is not self.conn.ts_head:
            found["by time"].append((rec.seq, rec.prev.next is rec and rec.next.prev is rec))
            rec = rec.next
        found["counters"] = self.stack.counters.as_dict()
        return found


STEP = st.one_of(
    st.tuples(
        st.just("send"),
        st.one_of(st.integers(1, 3000), st.integers(1, 900_000), st.integers(1, 14).map((65160).__mul__)),
    ),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.sampled_from(["window", "push", "wait"]), st.integers(0, 4000)),
)
OPENING = [("send", 900_000), ("ack", 10)] * 8


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from([0, 0, 1]))
def test_the_same_with_and_without(steps: list[tuple[str, int]], ecn: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        one, other = Sender(tcp_ecn=ecn), Sender(tcp_ecn=ecn)
        for kind, amount in OPENING + steps:
            one.step(kind, amount)
        patch.setattr(burst, "run", lambda *_: 0)
        patch.setattr(burst, "room", lambda *_: 1)  # each buffer is pushed when it is full
        for kind, amount in OPENING + steps:
            other.step(kind, amount)
    assert one.sent == other.sent
    assert one.state() == other.state()


def test_runs_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above compares nothing. And a header that is one further on is seen."""
    lengths: list[int] = []
    inner = burst.run
    monkeypatch.setattr(burst, "run", lambda *a: lengths.append(inner(*a)) or lengths[-1])
    one, other = Sender(), Sender()
    for kind, amount in OPENING:
        one.step(kind, amount)
    assert max(lengths) > 5 and sum(lengths) > 20
    repeat = lib.trl_tcp_repeat

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def trl_tcp_repeat(self, header: Any, n: int, l3: int, count: int, step: int, ids: int, out: Any) -> int:
            return int(repeat(header, n, l3, count, step, ids + 1, out))

    monkeypatch.setattr(burst, "lib", Wrong())
    for kind, amount in OPENING:
        other.step(kind, amount)
    assert one.sent != other.sent


@given(st.binary(min_size=20, max_size=40).map(lambda b: b[: len(b) // 4 * 4]), st.booleans(), st.integers(0, 8))
def test_headers_again(options: bytes, ethernet: bool, count: int) -> None:
    """trl_tcp_repeat against trl_tcp_emit with the numbers moved on."""
    for version in (4, 6):
        ip = b"\x45" + bytes(7) + b"\x40\6" + bytes(2) + OURS + THEIRS if version == 4 else b"\x60" + bytes(39)
        link = MAC + PEER + (b"\x08\0" if version == 4 else b"\x86\xdd") if ethernet else b""
        l3 = len(link)
        fields: dict[str, Any] = {"tcp_options": segment.OPT_TIMESTAMP, "seq": 0xFFFFFF00, "ip_id": 0xFFF0}
        seg = ffi.new("struct trl_tcp_out *", fields | {"payload_len": 60_000, "tsval": options[0], "dont_fragment": 1})
        out = ffi.new("uint8_t[128]")
        images = []
        for i in range(count + 1):
            seg.seq, seg.ip_id = (0xFFFFFF00 + i * 60_000) & 0xFFFFFFFF, (0xFFF0 + i * 42) & 0xFFFF
            n = lib.trl_tcp_emit(out, 128, link + ip, len(link + ip), l3, seg)
            images.append(ffi.buffer(out, n)[:])
        again = ffi.new("uint8_t[]", max(1, count * n))
        assert lib.trl_tcp_repeat(images[0], n, l3, count, 60_000, 42, again) == count
        assert ffi.buffer(again, count * n)[:] == b"".join(images[1:])
        assert lib.trl_tcp_repeat(b"\x46" + bytes(59), 60, 0, count, 1, 1, again) == -1
