"""The Scapy port against the host's kernel, with a responder instead of a stack behind it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import pings

pytestmark = pytest.mark.interop
RESPONDER = str(Path(__file__).with_name("responder.py"))


def test_ping_and_streams_through_scapys_tap(link: Any) -> None:
    link.start("--driver", "scapy")
    assert "20 received, 0% packet loss" in link.run(*pings(20, "-s", "1000", "10.0.0.2"))
    assert link.fetch() == "1000000 True\n"
    link.send()
    report = link.stop()
    assert report["counters"]["tx_frames"] > 700  # the super-segments were split
    assert report["bytes"]["9"] == 4_000_000 and report["saw"]["super_segments"] == 0
    assert report["counters"]["tx_dropped"] == report["counters"]["tx_errors"] == 0
    assert not link.has("tap0")


def test_a_tun_carries_bare_ip(netns: Any, need: Any) -> None:
    need("ping", root=True)
    namespace = netns()
    script = """
import select, subprocess
from csrc import Frame
from drivers.net.scapy_port import ScapyPort
port = ScapyPort(name="tun7", host_ip="10.7.0.1/24")
assert port.mac is None and not port.ethernet
child = subprocess.Popen(["ping", "-c", "1", "-W", "60", "10.7.0.2"], stdout=subprocess.DEVNULL)
answered = False
for _ in range(100):
    select.select([port.fileno()], [], [], 1)
    for frame in port.receive(64):
        data = bytearray(frame.data)
        if data[0] >> 4 == 4 and data[9] == 1 and not answered:
            data[12:20] = data[16:20] + data[12:16]
            data[20] = 0
            data[22:24] = (int.from_bytes(data[22:24], "big") + 0x800).to_bytes(3, "big")[-2:]
            port.transmit([Frame.of(bytes(data), ethernet=False)], 0)
            answered = True
    if answered:
        break
print(child.wait(100), port.counters["tx_errors"])
port.close()
"""
    assert namespace.run(sys.executable, "-c", script).stdout == "0 0\n"


def test_a_packet_socket_of_scapy_carries_frames_too(netns: Any, need: Any) -> None:
    """One end of a veth pair is the machine's, through Scapy's L2socket; the host's kernel pings it from the other."""
    need("ping", "ip", root=True)
    near, far = netns(), netns()
    near.run("ip", "link", "add", "veth1", "type", "veth", "peer", "name", "veth2", "netns", far.name)
    near.run("ip", "link", "set", "veth1", "up")
    far.run("ip", "link", "set", "veth2", "up")
    far.run("ip", "address", "add", "10.0.0.1/24", "dev", "veth2")
    child = near.popen(sys.executable, RESPONDER, "--driver", "packet", "--tap", "veth1", stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    assert "5 received, 0% packet loss" in far.run(*pings(5, "10.0.0.2")).stdout
    child.send_signal(signal.SIGTERM)
    counters = json.loads(child.communicate(timeout=120)[0])["counters"]
    assert counters["tx_errors"] == counters["rx_errors"] == 0 and counters["tx_frames"] >= 6
