"""The native TAP against the host's kernel, with and without the virtio header."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.interop.up_machine import pings

pytestmark = pytest.mark.interop
MODES = pytest.mark.parametrize("vnet", ["on", "off"])


@MODES
def test_ping_is_answered_and_nothing_is_lost(link: Any, vnet: str) -> None:
    link.start("--vnet", vnet)
    for size in ("0", "56", "1472"):
        assert " 0% packet loss" in link.run(*pings(5, "-s", size, "10.0.0.2"))
    report = link.stop()
    assert report["vnet"] is (vnet == "on")
    assert report["saw"]["pinned"] == 0
    assert all(report["counters"][n] == 0 for n in ("tx_dropped", "rx_dropped", "tx_errors", "rx_errors"))


@MODES
def test_both_directions_travel_as_super_segments(link: Any, vnet: str) -> None:
    link.start("--vnet", vnet)
    assert link.fetch() == "1000000 True\n"
    link.send()
    report = link.stop()
    saw, counters = report["saw"], report["counters"]
    assert report["bytes"]["9"] == 4_000_000
    assert saw["super_segments"] > 20 and saw["largest"] > 16_000
    assert saw["segments"] >= 4_000_000 // 1460 and saw["frames"] < saw["segments"] // 2
    assert saw["pinned"] == 0
    assert saw["verified"] >= saw["super_segments"]
    assert counters["rx_frames"] == saw["segments"]
    assert counters["tx_frames"] > 1_000_000 // 1448
    assert all(counters[n] == 0 for n in ("tx_dropped", "rx_dropped", "tx_errors", "rx_errors"))


def test_without_vnet_whole_segments_reach_the_host_with_good_checksums(link: Any, need: Any) -> None:
    need("tshark", root=True)
    link.start("--vnet", "off")
    link.run("sh", "-c", "echo 0 > /sys/class/net/tap0/gro_flush_timeout")  # the kernel takes each frame alone
    tap = link.namespace.popen(
        "tshark", "-i", "tap0", "-c", "200", "-a", "duration:60", "-o", "tcp.check_checksum:TRUE", "-T", "fields",
        "-e", "frame.len", "-e", "tcp.checksum.status", "-Y", "ip.src == 10.0.0.2 && tcp.len > 0",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while b"Capturing" not in (line := tap.stderr.readline()):
        assert line, "tshark did not start"
    for _ in range(5):  # capturing starts a little after it is announced
        assert link.fetch() == "1000000 True\n"
        if tap.poll() is not None:
            break
    seen = [line.split() for line in tap.communicate(timeout=120)[0].decode().splitlines()]
    link.stop()
    assert len(seen) > 50
    lengths = [int(length) for length, _ in seen]
    assert max(lengths) <= 1503 and lengths.count(1502) > 40  # 14 + 20 + 20 + 1448, and perhaps one of padding
    assert {status for _, status in seen} == {"1"}


@MODES
def test_closing_removes_it_and_it_can_be_made_again_at_once(link: Any, vnet: str) -> None:
    for _ in range(3):
        link.start("--vnet", vnet)
        assert link.has("tap0")
        link.stop()
        assert not link.has("tap0")


def test_a_killed_process_leaves_no_tap(link: Any) -> None:
    child = link.start()
    child.kill()
    child.wait()
    assert not link.has("tap0")


def inside(namespace: Any, script: str) -> Any:
    done = namespace.run(sys.executable, "-c", script, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_opening_waits_for_a_holder_to_let_go_and_gives_up_with_ebusy(netns: Any, need: Any) -> None:
    need(root=True)
    script = """
import errno, json, threading
from drivers.net import hostif
from drivers.net.tap import TapDevice
first = TapDevice("tap5")
waits = []
real = hostif.select.select
class Select:
    @staticmethod
    def select(r, w, x, t):
        waits.append(t)
        if len(waits) == 3:
            first.close()
        return real(r, w, x, 0)
hostif.select = Select
second = TapDevice("tap5")
retries = len(waits)
try:
    TapDevice("tap5")
except OSError as error:
    third = [error.errno == errno.EBUSY, "tap5" in str(error)]
second.close()
print(json.dumps([retries, third, len(waits) - retries]))
"""
    assert inside(netns(), script) == [3, [True, True], 49]


def test_the_hosts_side_is_set_up_and_errors_leave_nothing_behind(netns: Any, need: Any) -> None:
    need(root=True)
    script = """
import errno, json
from drivers.net import hostif
from drivers.net.tap import TapDevice
tap = TapDevice("tap6", mtu=9000, host_ip="192.168.7.1/30")
hostif.add_address("tap6", "fd00::1/64")
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(("192.168.7.2", 9)); bound = [s.getsockname()[0]]
bound += [line.split()[0] for line in open("/proc/net/if_inet6") if line.startswith("fd")]
up = [hostif.mtu("tap6"), bool(hostif.flags("tap6") & hostif.IFF_UP), len(tap.mac), tap.mac[0] & 3]
again = TapDevice("tap7"); same = TapDevice("tap8").mac == tap.mac; again.close()
tap.close()
tap.close()
gone = hostif.exists("tap6")
try:
    TapDevice("tap9", mtu=9000, host_ip="10.0.0.300/24")
except ValueError as error:
    bad = "10.0.0.300" in str(error)
try:
    TapDevice("tap9", mtu=10)
except OSError as error:
    small = error.errno == errno.EINVAL
print(json.dumps([up, bound, gone, bad, small, hostif.exists("tap9"), same, tap.receive(4), tap.fileno()]))
"""
    assert inside(netns(), script) == [
        [9000, True, 6, 2], ["192.168.7.1", "fd" + "0" * 29 + "1"], False, True, True, False, False, [], None,
    ]  # fmt: skip


def test_an_interface_taken_away_is_an_error_and_not_a_spin(netns: Any, need: Any) -> None:
    need(root=True)
    script = """
import errno, json, select, subprocess
from drivers.net.tap import TapDevice
tap = TapDevice("tap4")
subprocess.run(["ip", "link", "del", "tap4"], check=True)
select.select([tap.fileno()], [], [], 60)
try:
    while tap.receive(64): pass
    said = None
except OSError as error:
    said = [error.errno == errno.ENODEV, "tap4" in str(error)]
tap.close()
print(json.dumps(said))
"""
    assert inside(netns(), script) == [True, True]


def test_drops_are_counted_on_both_sides(netns: Any, need: Any) -> None:
    """Nobody reads: the queue (SUPER_QUEUE frames) fills. The link goes down: what is sent is refused."""
    need(root=True)
    script = """
import json, socket
from csrc import Frame
from drivers.net import hostif
from drivers.net.tap import TapDevice
tap = TapDevice("tap3", host_ip="10.3.0.1/24")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for i in range(4600): s.sendto(b"x" * 100, ("10.3.0.255", 9))
before = tap.counters["rx_dropped"]
got = 0
while frames := tap.receive(64): got += len(frames)
hostif._ifreq("tap3", hostif.SIOCSIFFLAGS, (hostif.flags("tap3") & ~hostif.IFF_UP).to_bytes(2, "little"))
tap.transmit([Frame.of(bytes(60))] * 5, 0)
down = tap.counters["tx_dropped"]
tap.close()
tap.transmit([Frame.of(bytes(60))] * 2, 0)
print(json.dumps([before >= 450, got <= 4150, down, tap.counters["tx_dropped"] - down]))
"""
    assert inside(netns(), script) == [True, True, 5, 2]
