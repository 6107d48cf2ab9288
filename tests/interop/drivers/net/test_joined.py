"""Two TAPs joined with impairments: Linux talks to Linux across our wire, in real time."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.up_machine import pings

pytestmark = pytest.mark.interop

JOINER = """
import json, signal, sys
from drivers.clock import RealTimeline
from drivers.net.impair import Joined
from drivers.net.impairments import Impairments
from drivers.net.tap import TapDevice
line = RealTimeline(seed=5)
signal.signal(signal.SIGTERM, lambda *_: line.stop())
a, b = TapDevice("tapa"), TapDevice("tapb")
joined = Joined(line, a, b, *(Impairments(**how) for how in json.loads(sys.argv[1])))
print("ready", flush=True)
line.run()
print(json.dumps([joined.a_to_b.counters, joined.b_to_a.counters]), flush=True)
joined.close(); a.close(); b.close(); line.close()
"""

SERVER = """
import hashlib, socket
s = socket.create_server(("10.0.0.2", 7000)); print("ready", flush=True)
c, _ = s.accept(); h = hashlib.sha256()
while d := c.recv(65536): h.update(d)
c.sendall(h.hexdigest().encode()); c.close()
"""
CLIENT = """
import hashlib, socket
data = bytes(i * i >> 8 & 255 for i in range(2_000_000))
s = socket.create_connection(("10.0.0.2", 7000)); s.sendall(data); s.shutdown(1)
print(s.makefile().read() == hashlib.sha256(data).hexdigest())
"""


class Cable:
    """Namespaces near (10.0.0.1) and far (10.0.0.2), and the process between them."""

    def __init__(self, netns: Callable[[], Any], *how: dict[str, str]) -> None:
        self.near, self.far = netns(), netns()
        self.child = self.near.popen(sys.executable, "-c", JOINER, json.dumps(how), stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == b"ready\n"
        self.near.run("ip", "link", "set", "tapb", "netns", self.far.name)
        for namespace, tap, address in ((self.near, "tapa", "10.0.0.1/24"), (self.far, "tapb", "10.0.0.2/24")):
            namespace.run("ip", "address", "add", address, "dev", tap)
            namespace.run("ip", "link", "set", tap, "up")

    def answers(self, count: int) -> int:
        received = re.search(r"(\d+) received", self.near.run(*pings(count, "10.0.0.2"), check=False).stdout)
        assert received
        return int(received[1])

    def round_trips(self) -> Iterator[float]:
        """The shortest of fifty in ms, again and again: a busy host may be late each time for a while."""
        for _ in range(20):
            done = self.near.run("ping", "-q", "-c", "50", "-i", "0.005", "10.0.0.2", check=False)
            shortest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", done.stdout)
            assert shortest, done.stdout
            yield float(shortest[1])

    def stop(self) -> list[dict[str, int]]:
        self.child.send_signal(signal.SIGTERM)
        counters = json.loads(self.child.communicate(timeout=120)[0])
        assert self.child.returncode == 0
        return counters


def test_round_trips_take_the_delay_of_both_directions(netns: Any, need: Any) -> None:
    need("ip", "ping", root=True)
    cable = Cable(netns, {"delay": "10ms"}, {"delay": "5ms"})
    assert cable.answers(20) == 20
    for shortest in cable.round_trips():
        assert shortest >= 15
        if shortest < 20:
            break
    assert shortest < 20
    forth, back = cable.stop()
    assert forth["lost"] == back["lost"] == 0


def test_without_impairments_nothing_is_lost_and_little_added(netns: Any, need: Any) -> None:
    need("ip", "ping", root=True)
    cable = Cable(netns, {})
    assert cable.answers(50) == 50
    assert any(shortest < 2 for shortest in cable.round_trips())
    cable.stop()


def test_a_file_crosses_loss_reordering_duplication_and_corruption_intact(netns: Any, need: Any) -> None:
    need("ip", root=True)
    how = {"delay": "1ms", "loss": "1%", "reorder": "2%", "duplicate": "1%", "corrupt": "0.5%", "rate": "200mbit"}
    cable = Cable(netns, how)
    server = cable.far.popen(sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    assert cable.near.run(sys.executable, "-c", CLIENT).stdout == "True\n"
    forth, back = cable.stop()
    for name in ("lost", "reordered", "duplicated", "corrupted"):
        assert forth[name] > 0, name
    assert forth["offered"] > 2_000_000 // 1448 and back["offered"] > 0, "super-segments were split"
