"""SIGTERM while connections are open: Linux at the other end gets what was sent, and does not hang."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import Up

pytestmark = pytest.mark.interop

SERVER = """
from userland import abi

def main(sys, argv):
    fd = sys.socket(abi.AF_INET, abi.SOCK_STREAM, 0)
    sys.bind(fd, ("0.0.0.0", 4000))
    sys.listen(fd, 8)
    held = []
    while True:
        peer, _ = sys.accept4(fd, abi.SOCK_NONBLOCK)
        held.append(peer)
        n = 0
        try:
            while True:
                n += sys.sendto(peer, bytes(65536))
        except BlockingIOError:
            sys.sendto(sys.accept4(fd)[0], str(n).encode())
"""

CLIENT = """
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
s.connect(("10.0.0.2", 4000))
told = socket.create_connection(("10.0.0.2", 4000))
print(told.recv(100).decode(), flush=True)
sys.stdin.readline()  # until then nothing is read, and the window is full
s.settimeout(20)
n = 0
try:
    while data := s.recv(65536):
        n += len(data)
    print(n, "end", flush=True)
except OSError as why:
    print(n, type(why).__name__, flush=True)
"""


@pytest.mark.parametrize(("delay", "reads"), [("0ms", True), ("20ms", True), ("0ms", False), ("20ms", False)])
def test_a_full_window(
    netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path, delay: str, reads: bool
) -> None:
    """A peer that begins to read gets everything and the end; one that does not is reset, and hears of it."""
    need("ip", root=True)
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    machine = Up(netns(), terrella, tmp_path, "--delay", delay, "--program", str(program))
    client = machine.namespace.popen(sys.executable, "-c", CLIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sent = int(client.stdout.readline())
    if reads:
        client.stdin.write(b"\n")
        client.stdin.flush()
        assert machine.stop() == 0
        assert client.stdout.readline().split() == [b"%d" % sent, b"end"]
    else:
        assert machine.stop() == 0
        client.stdin.write(b"\n")
        client.stdin.flush()
        read, how = client.stdout.readline().split()
        assert int(read) < sent and how == b"ConnectionResetError"
    assert machine.complaints() == ""
