"""Super-segments that a link passes on whole are counted as the frames they stand for."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from drivers.net.direction import Direction
from drivers.net.impairments import Impairments


def segment(payload: int, gso: int, options: int) -> Frame:
    """An Ethernet frame with a TCP segment, as a TAP hands it over: the checksum is open."""
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, (5 + options) << 4, 16, 5, 0, 0) + b"\1" * (4 * options)
    size = 20 + len(tcp) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 1, 0, 64, 6, 0, bytes(4), bytes(4))
    data = bytes(12) + b"\x08\x00" + ip + tcp + bytes(payload)
    return Frame(data, (), len(data), True, gso if payload > gso else 0, 34, 16)


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(100, 9000), st.integers(0, 10)), min_size=1, max_size=8))
def test_counted_as_on_the_wire(shapes: list[tuple[int, int, int]]) -> None:
    passed: list[Frame] = []
    line = VirtualTimeline(1)
    direction = Direction(line, Impairments(), line.stream("x"), lambda frames, now: passed.extend(frames))
    frames = [segment(*shape) for shape in shapes]
    direction.relay(frames, line.now)
    images = [image for frame in frames for image in frame.segments()]
    assert passed == frames and direction.in_flight == 0
    assert (direction.offered, direction.delivered) == (len(images), len(images))
    assert direction.offered_bytes == direction.delivered_bytes == sum(map(len, images))
