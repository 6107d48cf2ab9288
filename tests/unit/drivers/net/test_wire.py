"""A wire on an explicit timeline: who receives what, and when."""

from __future__ import annotations

import struct

import pytest

from csrc import lib
from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from drivers.net.direction import mark_congestion
from drivers.net.impairments import Impairments
from drivers.net.wire import Port, Wire

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
US, MS = 1_000, 1_000_000


def frame(size: int, fill: int = 0) -> Frame:
    return Frame.of(bytes([fill]) * size, False)


def collect(line: VirtualTimeline, port: Port) -> list[tuple[int, int]]:
    """(time, first byte) of each frame that arrives at the port from now on."""
    got: list[tuple[int, int]] = []
    port.on_receive = lambda: got.extend((line.now, f.data[0]) for f in port.receive(1 << 20))
    return got


def tcp_frame(payload: int, gso_size: int, tos: int = 0) -> Frame:
    """A TCP/IPv4 packet with complete checksums, as a super-segment when gso_size is set."""
    data = bytes(i & 255 for i in range(payload))
    ip = bytearray(
        struct.pack("!BBHHHBBH4s4s", 0x45, tos, 40 + payload, 7, 0x4000, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    )
    ip[10:12] = lib.trl_checksum(bytes(ip), 20, 0).to_bytes(2, "big")
    tcp = bytearray(struct.pack("!HHIIBBHHH", 1024, 4000, 100, 200, 0x50, 0x18, 1000, 0, 0))
    pseudo = bytes(ip[12:20]) + struct.pack("!HH", 6, 20 + payload)
    tcp[16:18] = lib.trl_checksum(pseudo + bytes(tcp) + data, 32 + payload, 0).to_bytes(2, "big")
    frame = Frame(bytes(ip) + bytes(tcp), (data,), ethernet=False)
    frame.gso_size = gso_size
    return frame


def test_serialization_then_delay() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(rate="8Mbit", delay="1ms"))  # a byte per microsecond
    got = collect(line, wire.b)
    wire.a.transmit([frame(100, 1), frame(50, 2)], 0)
    line.run(until=500 * US)
    wire.a.transmit([frame(10, 3)], 500 * US)
    line.run()
    assert got == [(100 * US + MS, 1), (150 * US + MS, 2), (510 * US + MS, 3)]


def test_directions_are_independent() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="1ms"), Impairments(delay="7ms", loss="100%"))
    a, b = collect(line, wire.a), collect(line, wire.b)
    wire.a.transmit([frame(60, 1)], 0)
    wire.b.transmit([frame(60, 2)], 0)
    line.run()
    assert (a, b) == ([], [(MS, 1)])
    assert wire.b_to_a.counters["lost"] == 1 and wire.a_to_b.counters["delivered"] == 1


def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(rate="8Mbit", queue=2))
    got = collect(line, wire.b)
    wire.a.transmit([frame(100, i) for i in range(5)], 0)  # one on the line, two wait, two are dropped
    line.run(until=100 * US)
    wire.a.transmit([frame(100, 9)], line.now)  # one has left the queue for the line
    line.run()
    assert [first for _, first in got] == [0, 1, 2, 9]
    assert wire.a.counters["tx_dropped"] == wire.a_to_b.overflowed == 2
    assert wire.a.counters["tx_frames"] == 6 and wire.b.counters["rx_frames"] == 4


def test_a_frame_never_arrives_inside_transmit() -> None:
    line = VirtualTimeline()
    wire = Wire(line)
    got = collect(line, wire.b)
    wire.a.transmit([frame(60, 1)], 0)
    assert got == []
    line.run()
    assert got == [(0, 1)]


def test_reordered_frames_skip_the_delay() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="5ms"))
    got = collect(line, wire.b)
    wire.a.transmit([frame(60, 1)], 0)
    wire.change(Impairments(delay="5ms", reorder="100%"))
    line.run(until=MS)
    wire.a.transmit([frame(60, 2)], MS)
    line.run()
    assert got == [(MS, 2), (5 * MS, 1)]


def test_duplicates_follow_and_of_a_lost_frame_the_copy_is_left() -> None:
    """As in netem: a frame that is both lost and duplicated goes through once, and is not thrown for again."""
    for loss, copies in (("0%", 2), ("100%", 1)):
        line = VirtualTimeline()
        wire = Wire(line, Impairments(duplicate="100%", loss=loss))
        got = collect(line, wire.b)
        wire.a.transmit([frame(60, 1)], 0)
        line.run()
        assert got == [(0, 1)] * copies, loss


def test_a_super_segment_travels_as_its_frames_each_with_its_arrival() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(rate="8Mbit"))
    arrived: list[tuple[int, int]] = []
    wire.b.on_receive = lambda: arrived.extend((line.now, f.length) for f in wire.b.receive(99))
    packet = tcp_frame(2500, 1000)
    packet.comment = "for the sender's capture only"
    wire.a.transmit([packet], 0)
    line.run()
    assert arrived == [(1040 * US, 1040), (2080 * US, 1040), (2620 * US, 540)]
    assert wire.a.counters["tx_frames"] == 3 and wire.a.counters["tx_bytes"] == 2620


def test_received_frames_carry_their_time_and_no_comment() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="3us"), macs=(A, B))
    sent = Frame.of(bytes(60))
    sent.comment = "why"
    wire.a.transmit([sent], 0)
    line.run()
    (received,) = wire.b.receive(1)
    assert (received.timestamp_ns, received.comment, received.ethernet) == (3000, None, True)
    assert bytes(received) == bytes(60)
    assert (wire.a.mac, wire.b.mac, wire.a.fileno()) == (A, B, None)


def test_buffers_may_be_reused_after_transmit() -> None:
    line = VirtualTimeline()
    wire = Wire(line)
    buffer = bytearray(b"x" * 60)
    wire.a.transmit([Frame.of(buffer, False)], 0)
    buffer[:] = b"y" * 60
    line.run()
    assert bytes(wire.b.receive(1)[0]) == b"x" * 60


def test_the_interrupt_comes_once_until_the_queue_has_been_emptied() -> None:
    line = VirtualTimeline()
    wire = Wire(line)
    calls: list[int] = []
    wire.b.on_receive = lambda: calls.append(line.now)
    for at in (10, 20):
        wire.a.transmit([frame(60)], at)
        line.run(until=at)
    assert calls == [10]
    assert len(wire.b.receive(64)) == 2 and wire.b.receive(64) == []
    wire.a.transmit([frame(60)], 30)
    line.run()
    assert len(calls) == 2


def test_a_receiver_that_never_comes_costs_bounded_memory() -> None:
    line = VirtualTimeline()
    wire = Wire(line)
    for _ in range(10):
        wire.a.transmit([frame(60)] * 1000, line.now)
        line.run()
    assert wire.b.counters["rx_dropped"] == 10_000 - wire.b.ring_size
    assert len(wire.b.receive(1 << 20)) == wire.b.ring_size


def test_an_endless_delay_line_is_bounded() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="3600s"))
    many = [frame(1)] * 20_000
    for _ in range(8):
        wire.a.transmit(many, 0)
    assert wire.a_to_b.in_flight == 1 << 17 and wire.a_to_b.overflowed == 160_000 - (1 << 17)


def test_frames_beyond_the_mtu_are_refused() -> None:
    line = VirtualTimeline()
    wire = Wire(line, mtu=1500)
    wire.a.transmit([frame(1518), frame(1519), frame(0)], 0)
    line.run()
    assert wire.b.counters["rx_frames"] == 1 and wire.a.counters["tx_errors"] == 2


def test_a_closed_port_drops_and_a_cut_wire_loses_what_is_under_way() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="1ms"))
    wire.a.transmit([frame(60)], 0)
    wire.b.close()
    wire.b.close()
    wire.b.transmit([frame(60)], 0)
    line.run()
    assert wire.b.receive(9) == [] and wire.b.counters["rx_dropped"] == 1 and wire.b.counters["tx_dropped"] == 1
    wire.a.transmit([frame(60)], line.now)
    wire.close()
    assert wire.a_to_b.in_flight == 0 and wire.a_to_b.lost == 1
    line.run()


def test_changes_keep_what_is_under_way_and_the_order_of_the_rest() -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(delay="10ms"))
    got = collect(line, wire.b)
    wire.a.transmit([frame(60, 1)], 0)
    wire.change(Impairments(delay="2ms"))
    wire.a.transmit([frame(60, 2), frame(60, 3)], 0)
    line.run()
    assert got == [(2 * MS, 2), (2 * MS, 3), (10 * MS, 1)]


def test_middleboxes_rewrite_drop_and_inject() -> None:
    def box(image: bytes, now: int) -> list[bytes]:
        return {1: [], 2: [image, b"\x09" * 20]}.get(image[0], [image])

    def stamp(image: bytes, now: int) -> list[bytes]:
        return [image[:-1] + b"!"]

    line = VirtualTimeline()
    wire = Wire(line, Impairments(transforms=(box, stamp)))
    wire.a.transmit([frame(60, 1), frame(60, 2), frame(60, 3)], 0)
    line.run()
    got = [bytes(f) for f in wire.b.receive(9)]
    assert [(f[0], f[-1:]) for f in got] == [(2, b"!"), (9, b"!"), (3, b"!")]
    assert (wire.a_to_b.swallowed, wire.a_to_b.injected) == (1, 1)


@pytest.mark.parametrize(("tos", "marked"), [(0, False), (1, True), (2, True), (3, True), (0xB8, False), (0xBA, True)])
def test_ecn_marks_above_the_threshold_only_what_is_capable(tos: int, marked: bool) -> None:
    line = VirtualTimeline()
    wire = Wire(line, Impairments(rate="8Mbit", ecn=1))
    wire.a.transmit([tcp_frame(10, 0, tos)] * 3, 0)  # the third finds one waiting
    line.run()
    got = [bytes(f) for f in wire.b.receive(9)]
    assert [f[1] for f in got] == [tos, tos, tos | 3 if marked else tos]
    assert all(lib.trl_checksum(f, 20, 0) == 0 for f in got)
    assert wire.a_to_b.marked == marked


def test_ecn_leaves_everything_but_capable_ip_alone() -> None:
    arp = bytes(12) + b"\x08\x06" + b"\x45\x03" + bytes(40)
    assert mark_congestion(arp, True) is None
    assert mark_congestion(b"\x45\x02" + bytes(8), False) is None
    assert mark_congestion(b"\x60\x00" + bytes(40), False) is None
    assert mark_congestion(b"\x60\x20" + bytes(40), False) == b"\x60\x30" + bytes(40)
    v6 = bytes(12) + b"\x86\xdd\x60\x10" + bytes(40)
    assert mark_congestion(v6, True) == bytes(12) + b"\x86\xdd\x60\x30" + bytes(40)


def test_wires_of_different_names_draw_differently_and_one_name_repeats() -> None:
    def losses(name: str, seed: int) -> list[int]:
        line = VirtualTimeline(seed)
        wire = Wire(line, Impairments(loss="50%"), name=name)
        wire.a.transmit([frame(60, i) for i in range(64)], 0)
        line.run()
        return [f.data[0] for f in wire.b.receive(99)]

    assert losses("x", 1) == losses("x", 1)
    assert losses("x", 1) != losses("y", 1) != losses("x", 2)
