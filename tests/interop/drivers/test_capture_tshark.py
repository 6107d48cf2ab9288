"""tshark reads our captures: names, link types, directions, nanoseconds, comments, checksums."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrc import lib
from csrc.frame import Frame
from drivers.capture import Pcapng
from drivers.clock import EPOCH_NS

pytestmark = pytest.mark.interop


def tcp_packet(payload: int, gso_size: int, ethernet: bool) -> Frame:
    """A TCP/IPv4 packet with complete checksums, as a super-segment when gso_size is set."""
    data = bytes(i & 255 for i in range(payload))
    ip = bytearray(
        struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + payload, 7, 0x4000, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    )
    ip[10:12] = lib.trl_checksum(bytes(ip), 20, 0).to_bytes(2, "big")
    tcp = bytearray(struct.pack("!HHIIBBHHH", 1024, 4000, 100, 200, 0x50, 0x18, 1000, 0, 0))
    pseudo = bytes(ip[12:20]) + struct.pack("!HH", 6, 20 + payload)
    tcp[16:18] = lib.trl_checksum(pseudo + bytes(tcp) + data, 32 + payload, 0).to_bytes(2, "big")
    link = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" if ethernet else b""
    frame = Frame(link + bytes(ip) + bytes(tcp), (data,), ethernet=ethernet)
    frame.gso_size = gso_size
    return frame


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=|", "-o", "tcp.check_checksum:TRUE"]
    command += ["-o", "ip.check_checksum:TRUE", *(part for field in fields for part in ("-e", field))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "cut short" not in done.stderr and "damaged" not in done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


def test_tshark_reads_everything_back(need: Callable[..., None], tmp_path: Path) -> None:
    need("tshark")
    path = tmp_path / "a.pcapng"
    with Pcapng(path, EPOCH_NS) as capture:
        eth, raw = capture.add_interface("eth0"), capture.add_interface("tun7", ethernet=False)
        first = tcp_packet(2500, 1000, True)
        first.comment = "slow start, cwnd 10 → 11"
        capture.packet(eth, "out", first, 1)
        capture.packet(raw, "in", tcp_packet(7, 0, False), 1_234_567_891)
    rows = tshark(
        path, "frame.interface_name", "frame.packet_flags_direction", "frame.time_epoch", "frame.comment", "tcp.len",
        "tcp.checksum.status", "ip.checksum.status", "_ws.malformed",
    )  # fmt: skip
    epoch = EPOCH_NS // 10**9
    good = ["1", "1", ""]
    assert [[row[0], int(row[1], 0), *row[2:]] for row in rows] == [
        ["eth0", 2, f"{epoch}.000000001", "slow start, cwnd 10 → 11", "1000", *good],
        ["eth0", 2, f"{epoch}.000000001", "", "1000", *good],
        ["eth0", 2, f"{epoch}.000000001", "", "500", *good],
        ["tun7", 1, f"{epoch + 1}.234567891", "", "7", *good],
    ]


def test_tshark_sees_a_planted_bad_checksum(need: Callable[..., None], tmp_path: Path) -> None:
    """The negative control of the checksum columns."""
    need("tshark")
    path = tmp_path / "a.pcapng"
    bad = bytearray(bytes(tcp_packet(100, 0, True)))
    bad[-1] ^= 1
    with Pcapng(path) as capture:
        capture.packet(capture.add_interface("eth0"), "in", Frame.of(bad), 0)
    assert tshark(path, "tcp.checksum.status") == [["0"]]


def test_capinfos_agrees(need: Callable[..., None], tmp_path: Path) -> None:
    need("capinfos")
    path = tmp_path / "a.pcapng"
    with Pcapng(path) as capture:
        interface = capture.add_interface("eth0")
        for i in range(300):
            capture.packet(interface, "in", Frame.of(bytes(60 + i)), i)
    done = subprocess.run(["capinfos", "-T", "-m", str(path)], capture_output=True, text=True, check=True, timeout=60)
    names, values = (line.split(",") for line in done.stdout.splitlines()[:2])
    found: dict[str, Any] = dict(zip(names, values))
    assert json.loads(found["Number of packets"]) == 300
    assert found["File time precision"].startswith("nano")
