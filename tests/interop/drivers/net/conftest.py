"""A responder (responder.py) at the far end of a TAP, in a namespace of the test's own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RESPONDER = str(Path(__file__).with_name("responder.py"))

FETCH = """
import socket
s = socket.create_connection(("10.0.0.2", 19)); got = bytearray()
while d := s.recv(65536): got += d
print(len(got), bytes(got) == bytes(i % 251 for i in range(len(got))))
"""
SEND = """
import socket, struct
s = socket.create_connection(("10.0.0.2", 9)); s.setsockopt(6, 13, b"reno"); s.sendall(bytes(4_000_000))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 20)); s.close()
"""


class Link:
    """A namespace and the responder that runs in it."""

    def __init__(self, namespace: Any) -> None:
        self.namespace = namespace
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self.child = self.namespace.popen(sys.executable, RESPONDER, *options, stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == b"ready\n"
        return self.child

    def stop(self) -> dict[str, Any]:
        """Ask it to end; what it saw."""
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        report = json.loads(self.child.communicate(timeout=120)[0])
        assert self.child.returncode == 0
        return report

    def run(self, *command: str, **kw: Any) -> str:
        return self.namespace.run(*command, **kw).stdout

    def fetch(self) -> str:
        """Everything chargen sends: how much, and whether it was right."""
        return self.run(sys.executable, "-c", FETCH)

    def send(self) -> None:
        """4 MB to discard; returns when all is acknowledged."""
        self.run(sys.executable, "-c", SEND)

    def has(self, name: str) -> bool:
        return self.namespace.run("ip", "link", "show", name, check=False).returncode == 0


@pytest.fixture
def link(netns: Callable[[], Any], need: Callable[..., None]) -> Link:
    need("ping", root=True)
    return Link(netns())
