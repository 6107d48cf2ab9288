"""`terrella wire`: Linux at both ends, in namespaces, across our cable."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.net.hostif import stable_mac

pytestmark = pytest.mark.interop

SERVER = """
import hashlib, socket, time
s = socket.create_server(("10.0.0.2", 7000)); print("ready", flush=True)
c, _ = s.accept(); h = hashlib.sha256(); n = 0; began = time.monotonic()
while d := c.recv(1 << 20): h.update(d); n += len(d)
print(n, time.monotonic() - began, flush=True)
c.sendall(h.hexdigest().encode()); c.close()
"""
CLIENT = """
import hashlib, socket, sys
data = bytes(i * i >> 8 & 255 for i in range(1 << 20)) * int(sys.argv[1])
s = socket.create_connection(("10.0.0.2", 7000)); s.sendall(data); s.shutdown(1)
print(s.makefile().read() == hashlib.sha256(data).hexdigest())
"""
SEND = """
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("tapa", 0x88B5))
for n in range(400):
    s.send(b"\\xff" * 6 + b"\\2terra" + b"\\x88\\xb5" + n.to_bytes(2, "big") + bytes(50))
    if n % 20 == 0: time.sleep(0.002)
time.sleep(0.2)
s.send(b"\\xff" * 6 + b"\\2terra" + b"\\x88\\xb5" + b"\\xff\\xff" + bytes(50))
"""
HEAR = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)); s.bind(("tapb", 0x88B5))
s.settimeout(2); print("ready", flush=True); heard = []
try:
    while True: heard.append(int.from_bytes(s.recv(100)[14:16], "big"))
except TimeoutError: print(heard)
"""


class Cable:
    """Namespaces near (10.0.0.1, tapa) and far (10.0.0.2, tapb), and the command between them."""

    def __init__(self, netns: Callable[[], Any], terrella: str, where: Path, *options: str, move: bool = False) -> None:
        self.near, self.far = netns(), netns()
        self.stats_file = where / "wire.json"
        self.errors = where / "wire.err"
        for namespace in (self.near, self.far):  # silence: only what the test sends is on the wire
            namespace.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        ends = [] if move else ["--netns-a", self.near.name, "--netns-b", self.far.name]
        command = [sys.executable, terrella, "wire", "tapa", "tapb", "--stats", str(self.stats_file), *ends, *options]
        with open(self.errors, "wb") as stderr:
            if move:
                self.process = self.near.popen(*command, stdout=subprocess.PIPE, stderr=stderr)
            else:
                self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        readable, _, _ = select.select([self.process.stdout], [], [], 30)
        said = self.process.stdout.readline().decode() if readable else "nothing within 30 s"
        assert said == "ready tapa tapb\n", said + self.errors.read_text()
        if move:
            self.near.run("ip", "link", "set", "tapb", "netns", self.far.name)
        for namespace, tap, address in ((self.near, "tapa", "10.0.0.1/24"), (self.far, "tapb", "10.0.0.2/24")):
            namespace.run("ip", "address", "add", address, "dev", tap)
            namespace.run("ip", "link", "set", tap, "up")

    def transfer(self, mebibytes: int) -> float:
        """Bytes per second of a transfer that must arrive intact."""
        server = self.far.popen(sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"ready\n"
        assert self.near.run(sys.executable, "-c", CLIENT, str(mebibytes)).stdout == "True\n"
        size, seconds = server.stdout.readline().split()
        assert int(size) == mebibytes << 20
        return int(size) / float(seconds)

    def numbers(self) -> list[int]:
        """Which of 400 numbered frames arrive, in the order in which they do."""
        hearer = self.far.popen(sys.executable, "-c", HEAR, stdout=subprocess.PIPE)
        assert hearer.stdout.readline() == b"ready\n"
        self.near.run(sys.executable, "-c", SEND)
        heard: list[int] = json.loads(hearer.stdout.readline())
        assert heard[-1] == 0xFFFF or 0xFFFF not in heard
        return heard

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        status: int = self.process.wait(timeout=20)
        assert "Traceback" not in self.errors.read_text()
        return status

    def stats(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = json.loads(self.stats_file.read_text())
        return found

    def taps(self) -> list[str]:
        links = [space.run("ip", "-o", "link").stdout for space in (self.near, self.far)]
        return [name for text in links for name in re.findall(r"\d+: (tap\w)", text)]


Start = Callable[..., Cable]


@pytest.fixture
def wire(netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path) -> Iterator[Start]:
    need("ip", "ping", root=True)
    started: list[Cable] = []

    def start(*options: str, move: bool = False) -> Cable:
        where = tmp_path / str(len(started))
        where.mkdir()
        started.append(Cable(netns, terrella, where, *options, move=move))
        return started[-1]

    yield start
    for cable in started:
        if cable.process.poll() is None:
            cable.stop()
        cable.process.stdout.close()


@pytest.mark.parametrize("move", [False, True], ids=["made-there", "moved-there"])
def test_ping_and_a_transfer_with_everything_wrong(wire: Start, move: bool) -> None:
    words = {"delay": "2ms", "jitter": "1ms", "loss": "1%", "reorder": "1%", "duplicate": "1%", "corrupt": "0.5%"}
    cable = wire(*(f"--{name}={value}" for name, value in words.items()), "--seed=3", move=move)
    said = cable.near.run("ping", "-q", "-c", "20", "-i", "0.01", "10.0.0.2", check=False).stdout
    shortest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
    assert shortest and 0.5 < float(shortest[1]) < 20
    cable.transfer(4)
    assert cable.taps() == ["tapa", "tapb"]
    assert cable.stop() == 0
    assert cable.taps() == [], "what the wire made goes with it"
    stats = cable.stats()
    forth = stats["a_to_b"]
    for name in ("lost", "reordered", "duplicated", "corrupted"):
        assert forth[name] > 0, name
    assert forth["offered"] > (4 << 20) // 1448, "super-segments were split"
    assert forth["offered"] + forth["duplicated"] == forth["delivered"] + forth["lost"]
    assert stats["tapa"]["rx_frames"] > 0 and stats["tapb"]["tx_frames"] > 0


def test_a_seed_decides_and_repeats(wire: Start) -> None:
    words = ("--loss", "10%", "--duplicate", "5%", "--delay", "5ms", "--reorder", "5%")
    heard = []
    for seed in ("11", "11", "12"):
        cable = wire(*words, "--seed", seed)
        heard.append(sorted(cable.numbers()))
        assert cable.stop() == 0
        assert cable.stats()["a_to_b"]["offered"] == 401
    assert heard[0] == heard[1] != heard[2]
    assert 320 < len(set(heard[0])) < 390, "a tenth is lost"
    assert len(heard[0]) > len(set(heard[0])), "some come twice"


def test_each_way_may_be_different(wire: Start) -> None:
    cable = wire("--delay", "1ms", "--back", "delay 20ms loss 0%")
    said = cable.near.run("ping", "-q", "-c", "10", "-i", "0.01", "10.0.0.2").stdout
    shortest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
    assert shortest and 21 <= float(shortest[1]) < 40
    assert cable.stop(signal.SIGINT) == 130


def test_unimpaired_it_carries_more_than_a_gigabit(wire: Start) -> None:
    cable = wire()
    assert cable.transfer(256) * 8 > 1e9
    assert cable.stop() == 0
    stats = cable.stats()
    assert stats["a_to_b"]["lost"] == stats["b_to_a"]["lost"] == 0
    assert stats["a_to_b"]["offered"] > (256 << 20) // 1460, "counted as what is on the wire"


def test_a_cut_wire_says_so(wire: Start) -> None:
    cable = wire()
    cable.far.run("ip", "link", "delete", "tapb")
    assert cable.process.wait(timeout=20) == 1
    said = cable.errors.read_text()
    assert "tapb" in said and "Traceback" not in said


def test_a_persistent_tap_stays(netns: Callable[[], Any], terrella: str) -> None:
    space = netns()
    space.run("ip", "tuntap", "add", "dev", "kept", "mode", "tap")
    space.run("ip", "link", "set", "kept", "mtu", "1400")
    process = space.popen(sys.executable, terrella, "wire", "kept", "made", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready kept made\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    links = space.run("ip", "-o", "link").stdout
    assert "kept" in links and "mtu 1400" in links and "made" not in links


PROGRAM = """
def main(sys, argv):
    s = sys.socket(2, 1)
    sys.bind(s, ("0.0.0.0", int(argv[1])))
    sys.listen(s, 4)
    fd, peer = sys.accept4(s)
    sys.write(fd, ("%s says %s" % (peer[0], argv[2])).encode())
    sys.close(fd)
"""


class Machine:
    """The command with a machine at the far end; the near end is 10.0.0.1."""

    def __init__(self, netns: Callable[[], Any], terrella: str, where: Path, *options: str) -> None:
        self.near = netns()
        self.stats_file, self.errors = where / "machine.json", where / "machine.err"
        with open(self.errors, "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, terrella, "wire", "tapa", "--machine", "10.0.0.2/24", "--netns-a", self.near.name,
                 "--stats", str(self.stats_file), *options], stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 120)
        if not readable:
            self.process.kill()
        assert self.process.stdout.readline() == b"ready 10.0.0.2 on tapa\n", self.errors.read_text()
        self.near.run("ip", "address", "add", "10.0.0.1/24", "dev", "tapa")
        self.near.run("ip", "link", "set", "tapa", "up")

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert "Traceback" not in self.errors.read_text()
        return status


def test_linux_to_a_machine(netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path) -> None:
    """At the far end is a machine with its services, and each way has its own impairments."""
    need("ip", "ping", "curl", root=True)
    machine = Machine(
        netns, terrella, tmp_path, "--seed", "3", "--delay", "2ms", "--loss", "3%", "--back", "delay 25ms loss 2%"
    )
    said = machine.near.run("ping", "-q", "-c", "10", "-i", "0.01", "10.0.0.2", check=False).stdout
    shortest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
    assert shortest and 27 <= float(shortest[1]) < 45
    page = tmp_path / "page"
    machine.near.run("curl", "-s", "-o", str(page), "http://10.0.0.2/bytes/500000")
    assert page.read_bytes() == bytes(range(256)) * (500000 // 256) + bytes(range(500000 % 256))
    assert machine.stop() == 0
    device = json.loads(machine.stats_file.read_text())["tapa"]
    assert device["in_lost"] > 0 and device["out_lost"] > 5, "what comes is impaired, and what goes"


@pytest.mark.parametrize("known", [True, False])
def test_a_program_and_a_neighbour(
    netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path, known: bool
) -> None:
    """The machine runs a program of the host's, and asks who 10.0.0.1 is only when it has not been told."""
    need("ip", root=True)
    program = tmp_path / "greet.py"
    program.write_text(PROGRAM)
    neighbour = ("--neighbour", "10.0.0.1=02:00:00:00:00:77") if known else ()
    machine = Machine(netns, terrella, tmp_path, *neighbour, "--program", str(program), "7000", "hello")
    machine.near.run("ip", "link", "set", "tapa", "address", "02:00:00:00:00:77")
    to_us = ("10.0.0.2", "lladdr", stable_mac("tapa").hex(":"), "dev", "tapa", "nud", "permanent")
    machine.near.run("ip", "neigh", "replace", *to_us)  # or we would learn from its question
    hear = "import socket; print(socket.create_connection(('10.0.0.2', 7000), 10).makefile().read())"
    assert machine.near.run(sys.executable, "-c", hear).stdout == "10.0.0.1 says hello\n"
    assert machine.stop() == 0
    assert json.loads(machine.stats_file.read_text())["Arp"]["OutRequests"] == (0 if known else 1)


def test_a_program_that_never_waits_is_ready_too(
    netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path
) -> None:
    need("ip", "ping", root=True)
    program = tmp_path / "busy.py"
    program.write_text("def main(sys, argv):\n    while True:\n        pass\n")
    machine = Machine(netns, terrella, tmp_path, "--program", str(program))
    assert " 0% packet loss" in machine.near.run("ping", "-c", "3", "-W", "30", "10.0.0.2").stdout
    assert machine.stop() == 0


def test_a_cut_machine_says_so(
    netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path
) -> None:
    need("ip", root=True)
    machine = Machine(netns, terrella, tmp_path)
    machine.near.run("ip", "link", "delete", "tapa")
    assert machine.process.wait(timeout=20) == 1
    assert "cut" in machine.errors.read_text()
    machine.stop()


def test_it_says_what_happened_so_far(wire: Start) -> None:
    cable = wire("--loss", "30%", "--seed", "5")
    cable.near.run("ping", "-q", "-c", "40", "-i", "0.01", "-W", "1", "10.0.0.2", check=False)
    cable.process.send_signal(signal.SIGUSR1)
    cable.process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 20
    while not (cable.stats_file.exists() and "b_to_a tapb" in cable.errors.read_text()):
        assert time.monotonic() < deadline, cable.errors.read_text()
    forth = cable.stats()["a_to_b"]
    said = "{offered} frames offered, {delivered} delivered, {lost} lost".format(**forth)
    assert f"a_to_b tapa → tapb: {said}\n" in cable.errors.read_text() and forth["lost"] > 0
    cable.near.run("ping", "-q", "-c", "40", "-i", "0.01", "-W", "1", "10.0.0.2", check=False)
    assert cable.stop(signal.SIGINT) == 130
    assert cable.stats()["a_to_b"]["offered"] > forth["offered"]
    assert [path.name for path in cable.stats_file.parent.iterdir() if path.suffix == ".new"] == []


def test_usage_and_privileges(terrella: str, netns: Callable[[], Any]) -> None:
    one = ("one", "--machine", "10.0.0.2/24")
    for words in (
        ("a", "b", *one[1:]), ("one", "--machine", "10.0.0.2"), (*one, "--neighbour", "10.0.0.1"),
        (*one, "--neighbour", "10.0.0.1=2:3"), ("a", "b", "--program", "x.py"), (*one, "--netns-b", "x"),
    ):  # fmt: skip
        done = subprocess.run([terrella, "wire", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "Traceback" not in done.stderr, words
    lost = [terrella, "wire", *one, "--program", "/no/such.py"]
    done = subprocess.run(lost, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "/no/such.py: No such file" in done.stderr, done.stderr
    wrong = [("--loss", "150%"), ("--back", "loss"), ("--mtu", "9"), ("--back", "speed 3"), ("--back", "loss 200%")]
    for words in (("one",), ("a", "a"), *(("a", "b", *words) for words in wrong)):
        done = subprocess.run([terrella, "wire", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "Traceback" not in done.stderr, words
    for words in (("a", "b", "--netns-b", f"none{os.getpid()}"), ("x" * 20, "b")):
        done = subprocess.run([terrella, "wire", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 1 and "terrella: " in done.stderr and "Traceback" not in done.stderr, words
    done = netns().run("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups",
                       terrella, "wire", "a", "b", check=False)  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr and "sudo terrella wire" in done.stderr, done.stderr
