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
        for _ in range(5):  # somebody else may take the port in between
            port = _free_port()
            if listening(name, port, *args):
                return port
        raise AssertionError(f"{name} did not start")

    def listening(name: str, port: int, *args: str) -> bool:
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
        os.close(tell)
        said = os.read(told, 1)
        os.close(told)
        if said:
            children.append(pid)
        else:
            os.waitpid(pid, 0)
        return bool(said)

    yield run
    for pid in children:
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM, "a server ended by itself"
