"""pcapng as written, read back by a reader written from the specification, which shares no code with the writer."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrc import lib
from csrc.frame import Frame
from drivers.capture import Pcapng


def read_options(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert at + 4 == len(data) and length == 0, "opt_endofopt is the last"
            break
        assert code not in options
        options[code] = data[at + 4 : at + 4 + length]
        assert not any(data[at + 4 + length : at + 4 + -(-length // 4) * 4]), "padding is zero"
        at += 4 + -(-length // 4) * 4
    return options


def read(data: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(interfaces, packets); any deviation from the format fails."""
    interfaces: list[dict[str, Any]] = []
    packets: list[dict[str, Any]] = []
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size
        body = data[at + 8 : at + size - 4]
        if at == 0:
            assert kind == 0x0A0D0D0A
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            read_options(body[16:])
        elif kind == 1:
            linktype, reserved, snaplen = struct.unpack_from("<HHI", body)
            options = read_options(body[8:])
            assert (reserved, snaplen, options[9]) == (0, 0, b"\x09")
            interfaces.append({"linktype": linktype, "name": options[2].decode()})
        else:
            assert kind == 6
            interface, high, low, captured, original = struct.unpack_from("<IIIII", body)
            assert interface < len(interfaces) and captured == original
            options = read_options(body[20 + -(-captured // 4) * 4 :])
            packets.append(
                {
                    "interface": interface, "time": high << 32 | low, "data": body[20 : 20 + captured],
                    "flags": struct.unpack("<I", options[2])[0], "comment": options.get(1, b"").decode() or None,
                }
            )  # fmt: skip
        at += size
    assert at == len(data)
    return interfaces, packets


def tcp_packet(payload: int, gso_size: int) -> Frame:
    """A TCP/IPv4 packet with complete checksums, as a super-segment when gso_size is set."""
    data = bytes(i & 255 for i in range(payload))
    ip = bytearray(
        struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + payload, 7, 0x4000, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    )
    ip[10:12] = lib.trl_checksum(bytes(ip), 20, 0).to_bytes(2, "big")
    tcp = bytearray(struct.pack("!HHIIBBHHH", 1024, 4000, 100, 200, 0x50, 0x18, 1000, 0, 0))
    pseudo = bytes(ip[12:20]) + struct.pack("!HH", 6, 20 + payload)
    tcp[16:18] = lib.trl_checksum(pseudo + bytes(tcp) + data, 32 + payload, 0).to_bytes(2, "big")
    frame = Frame(bytes(ip) + bytes(tcp), (data,), ethernet=False)
    frame.gso_size = gso_size
    return frame


FLAGS = {"in": 1, "out": 2}
packets = st.tuples(
    st.integers(0, 1), st.sampled_from(["in", "out"]), st.binary(max_size=70), st.none() | st.text(max_size=9),
    st.integers(0, 1 << 62),
)  # fmt: skip


@given(st.lists(packets, max_size=20), st.integers(0, 1 << 61))
def test_everything_written_reads_back(rows: list[tuple[int, str, bytes, str | None, int]], epoch: int) -> None:
    file = io.BytesIO()
    capture = Pcapng(file, epoch)
    assert [capture.add_interface("eth0"), capture.add_interface("täp", ethernet=False)] == [0, 1]
    for interface, direction, data, comment, now in rows:
        frame = Frame.of(data)
        frame.comment = comment
        capture.packet(interface, direction, frame, now)
    capture.close()
    interfaces, got = read(file.getvalue())
    assert interfaces == [{"linktype": 1, "name": "eth0"}, {"linktype": 101, "name": "täp"}]
    assert got == [
        {"interface": i, "time": now + epoch, "data": data, "flags": FLAGS[way], "comment": comment or None}
        for i, way, data, comment, now in rows
    ]
    assert capture.packets == len(rows)


def test_the_reader_notices_a_wrong_byte() -> None:
    """The oracle's negative control: change any one byte outside the packet data, and it is not the same any more."""
    file = io.BytesIO()
    capture = Pcapng(file)
    capture.packet(capture.add_interface("e"), "in", Frame.of(b"abcd"), 5)
    capture.close()
    good = file.getvalue()
    same = read(good)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x11
        try:
            assert read(bytes(bad)) != same or good[at : at + 1].isalpha(), at
        except (AssertionError, struct.error, KeyError, UnicodeDecodeError):
            continue


def test_super_segments_are_split_and_the_comment_goes_to_the_first() -> None:
    packet = tcp_packet(2500, 1000)
    packet.comment = "cwnd 10"
    file = io.BytesIO()
    capture = Pcapng(file)
    capture.packet(capture.add_interface("e", ethernet=False), "out", packet, 5)
    capture.flush()
    _, got = read(file.getvalue())
    assert [p["data"] for p in got] == packet.segments() and len(got) == 3
    assert [p["comment"] for p in got] == ["cwnd 10", None, None]


def test_a_comment_of_any_length_fits() -> None:
    file = io.BytesIO()
    capture = Pcapng(file)
    interface = capture.add_interface("e")
    for comment in ("x" * 100_000, "é" * 40_000, "\ud800"):
        frame = Frame.of(b"abc")
        frame.comment = comment
        capture.packet(interface, "in", frame, 0)
    capture.close()
    _, got = read(file.getvalue())
    assert [len(p["comment"]) for p in got] == [65535, 32767, 1]


def test_what_is_in_the_file_is_whole_blocks_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    capture = Pcapng(path)
    assert read(path.read_bytes()) == ([], [])
    interface = capture.add_interface("e")
    sizes = set()
    for i in range(400):
        capture.packet(interface, "in", Frame.of(bytes(1000)), i)
        sizes.add(len(read(path.read_bytes())[1]))
    assert 3 < len(sizes) < 20, "written in batches"
    capture.packet(interface, "in", Frame.of(bytes(10)), 2_000_000_000)
    assert len(read(path.read_bytes())[1]) == 401, "not more than a second late"
    capture.close()
    capture.close()
    capture.packet(interface, "in", Frame.of(b""), 0)


def test_a_killed_process_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    code = (
        "import os, signal, sys\nfrom csrc.frame import Frame\nfrom drivers.capture import Pcapng\n"
        "c = Pcapng(sys.argv[1])\ni = c.add_interface('e')\n"
        "for n in range(1000): c.packet(i, 'in', Frame.of(bytes(500)), n)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert 700 < len(read(path.read_bytes())[1]) < 1000


def test_the_same_packets_make_the_same_file() -> None:
    def write() -> bytes:
        file = io.BytesIO()
        with Pcapng(file, 7) as capture:
            capture.packet(capture.add_interface("e"), "in", Frame.of(b"abcd"), 5)
        return file.getvalue()

    assert write() == write()


def test_mistakes_and_a_full_disk_are_errors() -> None:
    capture = Pcapng(io.BytesIO())
    with pytest.raises(ValueError, match="add_interface"):
        capture.packet(0, "in", Frame.of(b""), 0)
    with pytest.raises(KeyError):
        capture.packet(0, "sideways", Frame.of(b""), 0)
    with pytest.raises(FileNotFoundError):
        Pcapng("/no/such/place/a.pcapng")
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError) as caught:
            Pcapng("/dev/full")
        assert caught.value.errno == errno.ENOSPC


class Filling(io.BytesIO):
    """A file on a disk that is full after so many writes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.refused = 0

    def write(self, data: Any) -> int:
        if self.room <= 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        return super().write(data)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["packet", "blocks"])
@pytest.mark.parametrize("room", [1, 2, 1000])
def test_a_disk_that_fills_up_is_said_at_the_end(room: int, elsewhere: bool) -> None:
    """Whoever sends the packet has nothing to do with it; the file is written no more."""
    file = Filling(room)
    capture = Pcapng(file)
    ident = capture.add_interface("tap0")
    for number in range(3000):
        if elsewhere:
            capture.blocks(bytes(100), 1)
        else:
            capture.packet(ident, "out", Frame(bytes(60)), number)
    if room == 1000:
        capture.close()
        assert not file.refused
    else:
        assert file.refused == 1
        with pytest.raises(OSError, match="No space left"):
            capture.close()
    capture.close()
    capture.packet(ident, "out", Frame(bytes(60)), 0)
    assert file.refused <= 1 and not file.closed, "it stays the caller's"
