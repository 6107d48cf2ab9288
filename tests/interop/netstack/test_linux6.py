"""Linux as the peer over a TAP: IPv6 by ping, UDP and TCP both ways, link-local too; and this stack between two
Linuxes, as their router."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import pings

pytestmark = pytest.mark.interop

ROOT = Path(__file__).resolve().parents[3]

ECHO = """
import socket, sys, hashlib
host, kind, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
addr = socket.getaddrinfo(host, 7)[0][4]
data = bytes(range(256)) * (size // 256)
if kind == "udp":
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(60)
    s.sendto(data, addr)
    assert s.recvfrom(70000)[0] == data
else:
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(120)
    s.connect(addr)
    import threading
    def send():
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send)
    t.start()
    got = b"".join(iter(lambda: s.recv(65536), b""))
    t.join()
    assert got == data, (len(got), len(data))
print("ok")
"""

SERVE = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", 9000))
s.listen(5)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.settimeout(120)
u.sendto(b"go", socket.getaddrinfo(sys.argv[1], 8)[0][4])
s.settimeout(120)
c, _ = s.accept()
c.sendall(bytes(range(256)) * 8000)
c.close()
print(u.recv(100).decode())
"""


def wait_for(space: Any, *command: str) -> None:
    for _ in range(100):
        if space.run(*command, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{command} never succeeded")


def start(space: Any, mode: str, pcap: Path) -> subprocess.Popen[bytes]:
    child = space.popen(
        sys.executable, str(Path(__file__).with_name("peer6.py")), mode, str(pcap), stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert child.stdout.readline() == b"ready\n"
    return child  # type: ignore[no-any-return]


@pytest.fixture
def peer(need: Callable[..., None], netns: Callable[[], Any], tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    need("ip", "ping", root=True)
    space = netns()
    pcap = tmp_path / "six.pcapng"
    child = start(space, "host", pcap)
    space.run("ip", "addr", "add", "10.0.0.2/24", "dev", "tap0")
    space.run("ip", "addr", "add", "fd00::2/64", "dev", "tap0", "nodad")
    space.run("ip", "link", "set", "tap0", "up")
    wait_for(space, "ping", "-6", "-c", "1", "-W", "1", "fd00::1")
    yield space, pcap
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=120)


def link_local(space: Any) -> str:
    """The machine's link-local address, as Linux has learnt it of its neighbours or by asking all nodes."""
    wait_for(space, "bash", "-c", "! ip -6 addr show dev tap0 tentative | grep -q fe80")
    said = space.run("ping", "-6", "-c", "4", "-i", "0.5", "ff02::1%tap0", check=False).stdout
    mine = space.run("ip", "-6", "-o", "addr", "show", "dev", "tap0", "scope", "link").stdout.split()[3].split("/")[0]
    for word in said.replace("%tap0", "").split():
        address = word.rstrip(":")
        if address.startswith("fe80::") and address != mine:
            return str(address) + "%tap0"
    raise AssertionError(f"nobody answered to ff02::1:\n{said}")


def test_ping_of_every_size(peer: tuple[Any, Path]) -> None:
    space, _ = peer
    for size in ("0", "1452", "1453", "5000", "65000"):
        done = space.run(*pings(3, "-6", "-s", size, "fd00::1"))
        assert " 0% packet loss" in done.stdout
    assert " 0% packet loss" in space.run(*pings(3, "-6", link_local(space))).stdout


def test_udp_and_tcp_both_ways_and_a_clean_capture(peer: tuple[Any, Path], need: Callable[..., None]) -> None:
    space, pcap = peer
    near = link_local(space)
    for host in ("fd00::1", near, "10.0.0.1"):
        for kind, size in (("udp", "1280"), ("udp", "40960"), ("tcp", "2560000")):
            assert space.run(sys.executable, "-c", ECHO, host, kind, size).stdout == "ok\n", (host, kind, size)
    expected = hashlib.sha256(bytes(range(256)) * 8000).hexdigest()
    for host in ("fd00::1", near):
        assert space.run(sys.executable, "-c", SERVE, host).stdout.strip() == expected
    need("tshark")
    bad = subprocess.run(
        ["tshark", "-r", str(pcap), "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-Y", "_ws.malformed or tcp.checksum.status == 0 or udp.checksum.status == 0 or icmpv6.checksum.status == 0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Linux leaves the checksums of what it sends to the device: only ours are judged.
    ours = [line for line in bad.stdout.splitlines() if " fd00::1 → " in line or " 10.0.0.1 → " in line]
    assert ours == [], ours[:5]


def test_linux_routes_through_us(need: Callable[..., None], netns: Callable[[], Any], tmp_path: Path) -> None:
    """Two Linux hosts, this stack between them: hop limits, and path MTU discovery over a link of 1400 bytes."""
    need("ip", "ping", root=True)
    left, right = netns(), netns()
    child = start(left, "router", tmp_path / "router.pcapng")
    left.run("ip", "link", "set", "tap1", "netns", right.name)
    for space, tap, number in ((left, "tap0", 0), (right, "tap1", 1)):
        six = "fd00" if number == 0 else "fd00:1"
        space.run("ip", "addr", "add", f"10.0.{number}.2/24", "dev", tap)
        space.run("ip", "addr", "add", f"{six}::2/64", "dev", tap, "nodad")
        space.run("ip", "link", "set", tap, "up")
        space.run("ip", "route", "add", "default", "via", f"10.0.{number}.1")
        space.run("ip", "-6", "route", "add", "default", "via", f"{six}::1")
    wait_for(left, "ping", "-6", "-c", "1", "-W", "1", "fd00:1::2")
    for version, near, far in (("-4", "10.0.0.1", "10.0.1.2"), ("-6", "fd00::1", "fd00:1::2")):
        assert " 0% packet loss" in left.run(*pings(3, version, far)).stdout
        said = left.run("ping", version, "-c", "1", "-W", "30", "-t", "1", far, check=False).stdout
        assert near in said and ("exceeded" in said), said
        probe = ("-c", "2", "-i", "0.2", "-W", "30", "-M", "do", "-s", "1430")
        said = left.run("ping", version, *probe, far, check=False).stdout
        assert "mtu" in said and "1400" in said, said
    server = right.popen(
        sys.executable, "-c",
        "import socket\ns = socket.create_server(('::', 7), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "print('up', flush=True)\nwhile 1:\n c, _ = s.accept()\n while d := c.recv(65536): c.sendall(d)\n c.close()\n",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout.readline()
    for host in ("fd00:1::2", "10.0.1.2"):
        assert left.run(sys.executable, "-c", ECHO, host, "tcp", "1280000").stdout == "ok\n"
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=120)
