"""What the kernel's GRO makes of the frames that a plain TAP is written: super-segments, and nothing left waiting."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

CHILD = r"""
import select, socket, struct
from pathlib import Path
from csrc import Frame
from csrc.tap import ffi, lib
from drivers.net import hostif
from drivers.net.tap import TapDevice

device = TapDevice("tap0", vnet=False)
assert device._tap.napi == 1
Path("/proc/sys/net/ipv6/conf/tap0/disable_ipv6").write_text("1")
place = Path("/sys/class/net/tap0/gro_flush_timeout")
assert int(place.read_text()) > 0
place.write_text(str(10**13))  # hours: what the kernel holds now, it keeps
host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
host.bind(("tap0", 0))
host.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING


def tcp(version, port, size, flags, gso_size=0):
    segment = ffi.new("struct trl_tcp_out *", {
        "sport": 9, "dport": port, "seq": 2**32 - 1000, "ack": 77, "tcp_flags": flags, "window": 500,
        "tcp_options": lib.TRL_OPT_TIMESTAMP, "tsval": 5, "payload_len": size, "ip_id": 65530, "dont_fragment": 1})
    if version == 4:
        ip = b"\x45" + bytes(7) + b"\x40\6\0\0" + bytes([10, 0, 0, 2, 10, 0, 0, 1])
    else:
        ip = b"\x60" + bytes(6) + b"\x40" + b"\xfd" + bytes(14) + b"\2" + b"\xfd" + bytes(14) + b"\1"
    head = hostif.mac("tap0") + device.mac + struct.pack(">H", 0x0800 if version == 4 else 0x86DD) + ip
    out = bytearray(200)
    n = lib.trl_tcp_emit(ffi.from_buffer(out), 200, head, len(head), 14, segment)
    return Frame(out[:n], (b"x" * size,), gso_size=gso_size, csum_start=n - 32, csum_offset=16)


def sent(*frames, comes=1):  # what the kernel hands up: its side runs within the write, or soon on a busy host
    device.transmit(frames, 0)
    got = []
    while select.select([host], [], [], 0 if len(got) >= comes else 60)[0]:
        got.append(len(host.recv(1 << 17)))
    return got


ACK, PSH, FIN, SIZE = 16, 8, 1, 1448
for version, head in ((4, 66), (6, 86)):
    for flags in (ACK, ACK | PSH, ACK | FIN):
        padding = flags == ACK
        assert sent(tcp(version, 1, SIZE, flags)) == [head + SIZE + padding]
        assert sent(tcp(version, 1, 3, flags)) == [head + 3 + padding]
        assert sent(tcp(version, 1, 0, flags)) == [head]
    assert sent(tcp(version, 2, 9 * SIZE + 7, ACK | PSH, SIZE)) == [head + 9 * SIZE + 7], "not coalesced"
    ended = sent(tcp(version, 3, 9 * SIZE, ACK, SIZE), comes=2)
    assert ended == [head + 8 * SIZE, head + SIZE + 1], "not ended by padding"
    frames = [tcp(version, 4, SIZE, ACK), tcp(version, 5, SIZE, ACK | PSH), tcp(version, 6, 2 * SIZE, ACK | PSH, SIZE)]
    assert sorted(sent(*frames, comes=3)) == [head + SIZE, head + SIZE + 1, head + 2 * SIZE]
    device._tap.napi = 0  # negative control: without padding, the segment stays in the kernel
    assert sent(tcp(version, 7, SIZE, ACK), comes=0) == []
    device._tap.napi = 1
    while head + SIZE not in sent(tcp(version, 8, 0, ACK)):  # it comes behind another, in a later tick of the kernel's
        pass
assert device.counters["tx_errors"] == device.counters["tx_dropped"] == 0
print("done")
"""


def test_the_kernel_coalesces_what_is_written_and_holds_nothing(need: Any, netns: Any) -> None:
    need("ip", root=True)
    namespace = netns()
    assert namespace.run(sys.executable, "-c", CHILD).stdout == "done\n"


def test_without_sys_plain_frames_are_written_one_by_one(need: Any, netns: Any) -> None:
    need("ip", root=True)
    script = """
from pathlib import Path
from drivers.net import hostif
from drivers.net.tap import TapDevice
hostif.SYS_NET = Path("/nowhere")
device = TapDevice("tap0", vnet=False)
print(device.vnet, device._tap.napi, device.name, hostif.exists("tap0"))
device.close()
"""
    assert netns().run(sys.executable, "-c", script).stdout == "False 0 tap0 True\n"


def test_another_namespaces_interface_of_that_name_is_left_alone(need: Any, tmp_path: Path) -> None:
    from drivers.net import hostif

    need("ip", root=True)
    place = tmp_path / "lo"
    place.mkdir()
    (place / "gro_flush_timeout").write_text("0")
    before = hostif.SYS_NET
    hostif.SYS_NET = tmp_path
    try:
        for number, address, right in ((hostif.index("lo"), "02:00:00:00:00:09", False),
                                       (hostif.index("lo") + 1, hostif.mac("lo").hex(":"), False),
                                       (hostif.index("lo"), hostif.mac("lo").hex(":"), True)):  # fmt: skip
            (place / "ifindex").write_text(f"{number}\n")
            (place / "address").write_text(f"{address}\n")
            assert hostif.hold_for_gro("lo", 7) is right
            assert (place / "gro_flush_timeout").read_text() == ("7" if right else "0")
    finally:
        hostif.SYS_NET = before
