"""Servers of userland on the host's own kernel: the same programs as inside, with a real client before them."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from tools.hostsystem import HostSystem


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """`serve("httpd", root)` runs the server in a process of its own and gives its port once it listens."""
    children: list[int] = []

    def run(name: str, *args: str) -> int:
        port = _free_port()
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

            class Telling(HostSystem):
                def listen(self, fd: int, backlog: int = 128) -> None:
                    super().listen(fd, backlog)
                    os.write(tell, b"!")

            try:
                import_module(f"userland.{name}").main(Telling(), [name, str(port), *args])
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        children.append(pid)
        os.close(tell)
        assert os.read(told, 1) == b"!", f"{name} did not start"
        os.close(told)
        return port

    yield run
    for pid in children:
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM, "a server ended by itself"
