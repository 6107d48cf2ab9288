"""The capture reader: what our writer and others write comes back, and nothing else gets through."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrc.frame import Frame
from drivers.capture import Pcapng
from tools.pcapng import CaptureError, packets

PACKETS = st.lists(
    st.tuples(
        st.integers(0, 1 << 60), st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=30),
        st.booleans(),
    ),
    max_size=8,
)  # fmt: skip


def written(several: list[tuple[int, bytes, str, bool]]) -> bytes:
    file = io.BytesIO()
    with Pcapng(file, epoch_ns=5) as capture:
        capture.add_interface("eth0")
        tun = capture.add_interface("tun0", ethernet=False)
        for time_ns, data, comment, out in several:
            frame = Frame.of(data, ethernet=False)
            frame.comment = comment or None
            capture.packet(tun, "out" if out else "in", frame, time_ns)
    return file.getvalue()


@given(PACKETS)
def test_what_the_writer_wrote_is_read(several: list[tuple[int, bytes, str, bool]]) -> None:
    read = list(packets(io.BytesIO(written(several))))
    assert [(p.time_ns - 5, p.data, p.comment, p.outgoing) for p in read] == [
        (time_ns, data, comment, out) for time_ns, data, comment, out in several
    ]
    assert all(p.linktype == 101 and p.interface == 1 for p in read)


@given(PACKETS, st.data())
def test_a_file_that_ends_early(several: list[tuple[int, bytes, str, bool]], data: st.DataObject) -> None:
    image = written(several)
    cut = data.draw(st.integers(4, len(image)))
    assert len(list(packets(io.BytesIO(image[:cut])))) <= len(several)


@given(st.binary(max_size=300), st.integers(0, 60))
def test_damage_is_said_and_ends(noise: bytes, at: int) -> None:
    image = bytearray(written([(1, b"x" * 40, "y", True)]))
    image[at : at + len(noise)] = noise
    try:
        list(packets(io.BytesIO(bytes(image))))
    except CaptureError as why:
        assert str(why)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_pcap(order: str, magic: int, unit: int) -> None:
    image = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    image += struct.pack(order + "IIII", 7, 9, 3, 3) + b"abc"
    (packet,) = packets(io.BytesIO(image))
    assert packet.time_ns == 7_000_000_000 + 9 * unit and packet.data == b"abc" and packet.linktype == 1


def test_other_resolutions_and_byte_orders() -> None:
    def block(kind: int, body: bytes) -> bytes:
        size = 12 + len(body)
        return struct.pack(">II", kind, size) + body + struct.pack(">I", size)

    micro = struct.pack(">HHI", 1, 0, 0)
    binary = micro + struct.pack(">HHB3xHHqHH", 9, 1, 0x80 | 10, 14, 8, 100, 0, 0)
    image = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, micro) + block(1, binary)
    image += block(6, struct.pack(">IIIII", 0, 0, 1_500_000, 4, 4) + b"abcd")
    image += block(99, b"unknown!") + block(6, struct.pack(">IIIII", 1, 0, 512, 2, 2) + b"ab\0\0")
    read = [(p.time_ns, p.data) for p in packets(io.BytesIO(image))]
    assert read == [(1_500_000_000, b"abcd"), (100_500_000_000, b"ab")]


@pytest.mark.parametrize("image", [b"", b"no", b"GIF89a and so on", bytes(100)])
def test_no_capture(image: bytes) -> None:
    with pytest.raises(CaptureError):
        list(packets(io.BytesIO(image)))
