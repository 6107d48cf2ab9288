"""A bare stack on a TAP: no kernel, no processes. Sockets are driven by callback, and this loop is all there is.

    python -m tools.bench.stack_peer TAP CIDR HOST_CIDR [--plain]

What lwIP's raw API or gVisor's netstack is measured by: 7 echoes, 9 discards, until SIGTERM. It is also the smallest
complete program around `Stack`: frames in, frames out, time in, and the next deadline out.
"""

from __future__ import annotations

import gc
import random
import select
import signal
import sys
from typing import Any

from drivers.clock import wall_ns
from drivers.net.tap import TapDevice
from netstack.socket import POLLHUP, POLLRDHUP
from netstack.stack import Stack
from terrella.lab import rare_collections

AF_INET, SOCK_STREAM = 2, 1
ECHO, DISCARD = 7, 9
BUDGET = 270  # wire frames taken at once
READ = 256 * 1024


class Services:
    """The sockets of one stack and what is done when they are ready."""

    __slots__ = ("now", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.now = 0
        for port, serve in ((ECHO, self.echo), (DISCARD, self.discard)):
            listener: Any = stack.socket(AF_INET, SOCK_STREAM)
            listener.bind(("0.0.0.0", port))
            listener.listen(1024)
            listener.on_ready = self.accepting(serve)

    def accepting(self, serve: Any) -> Any:
        def accept(listener: Any) -> None:
            while listener.readiness():
                sock, _ = listener.accept(self.now)
                sock.on_ready = serve
                serve(sock)

        return accept

    def echo(self, sock: Any) -> None:
        """What comes goes back. What the send buffer does not take is lost: the load waits for each byte."""
        now = self.now
        if sock.served():
            sock.sendto(sock.recv(READ, now), None, now)
        elif sock.readiness() & (POLLHUP | POLLRDHUP):
            sock.close(now)

    def discard(self, sock: Any) -> None:
        while sock.served():
            sock.recv(READ, self.now)
        if sock.readiness() & (POLLHUP | POLLRDHUP):
            sock.close(self.now)


def run(device: TapDevice, address: str) -> None:
    """Until SIGTERM."""
    stack = Stack(random.Random(1))
    name = device.name
    mac = ":".join(f"{byte:02x}" for byte in device.mac or b"")
    stack.add_interface(name, mac=mac, mtu=device.mtu, gso=device.gso)
    stack.add_address(name, address)
    device.thin_acks(True)
    services = Services(stack)
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    poll = select.epoll()
    poll.register(device.fileno() or 0, select.EPOLLIN)
    print("ready", flush=True)
    receive, transmit, wait = device.receive, device.transmit, poll.poll
    deadline: int | None = None
    while running:
        timeout = -1.0 if deadline is None else max(0.0, (deadline - wall_ns()) / 1e9)
        events = wait(timeout)
        services.now = now = wall_ns()
        if events:
            for frame in receive(BUDGET):
                stack.receive(name, frame, now)
        if deadline is not None and deadline <= now:
            stack.on_deadline(now)
        for _, frames in stack.batches(now):
            transmit(frames, now)
        deadline = stack.next_deadline()


def main() -> int:
    tap, address, host = sys.argv[1:4]
    device = TapDevice(tap, host_ip=host, vnet=False if "--plain" in sys.argv else None)
    gc.collect()
    gc.freeze()
    try:
        with rare_collections():
            run(device, address)
    finally:
        device.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
