"""What the compiled form is trained with: `python -m tools.training DIRECTORY` (tools/compile.py runs it).

DIRECTORY holds a build that counts which way each branch went; the counts are written when the process ends. What runs
here decides what the compiler takes for the usual way, so it is what machines are used for: servers on a TAP, with
small questions, whole connections and bulk both ways; the bare stack; system calls; simulated flows with loss, other
protocols and captures. No root, no network: a pair of sockets carries the frames of a TAP.

What is answered is checked, as a build that answers wrongly must not be learnt from.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SERVER, CLIENT = "10.0.0.2", "10.0.0.1"
ECHO, DISCARD, CHARGEN, HTTP = 7, 9, 19, 80
TURNS = 200_000
"""More than any wait takes: what does not come by then will never come."""
ECHOES, CONNECTIONS, BULK = 3_000, 800, 24 << 20


def use(directory: Path) -> None:
    """Have the modules of the build imported from now on. The loader is one of its own: that of csrc would begin with
    a choice."""
    spec = importlib.util.spec_from_file_location("training_loader", ROOT / "csrc" / "compiled.py")
    assert spec is not None and spec.loader is not None
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    loader.use("1", directory)


# ---- a wire ----


def taps(vnet: bool) -> tuple[Any, Any]:
    """Two TAP devices, each the other's host."""
    from drivers.net.tap import TapDevice

    made = []
    for number, end in enumerate(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        mac = bytes([2, 0, 0, 0, 0, number + 1])
        made.append(TapDevice(f"tap{number}", vnet=vnet, mac=mac, fd=end.detach()))
    return made[0], made[1]


class Host:
    """A bare stack at one end of the wire, and what it asks of the other."""

    def __init__(self, device: Any, address: str, other: Callable[[bool], object]) -> None:
        from drivers.clock import VirtualTimeline
        from netstack.stack import Stack

        self.device = device
        self.stack: Any = Stack(VirtualTimeline(1).stream("training"))
        self.other = other
        mac = ":".join(f"{byte:02x}" for byte in device.mac)
        self.stack.add_interface(device.name, mac=mac, mtu=device.mtu, gso=device.gso)
        self.stack.add_address(device.name, f"{address}/24")
        device.thin_acks(True)
        self.now = 0

    def turn(self, sends: bool = True) -> bool:
        """What has come, what is due, what is to leave. Whether anything left."""
        from drivers.clock import wall_ns

        stack, device = self.stack, self.device
        self.now = now = wall_ns()
        for frame in device.receive(270):
            stack.receive(device.name, frame, now)
        deadline = stack.next_deadline()
        if deadline is not None and deadline <= now:
            stack.on_deadline(now)
        sent = False
        for _, frames in stack.batches(now):
            device.transmit(frames, now)
            sent = True
        return sent

    def until(self, met: Callable[[], object]) -> None:
        """Take turns with the other end until the condition is met."""
        for _ in range(TURNS):
            if met():
                return
            self.other(self.turn())
        raise SystemExit("training: an answer has not come")

    def dial(self, port: int) -> Any:
        sock = self.stack.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((SERVER, port), self.now)
        except BlockingIOError:
            pass
        self.until(lambda: sock.readiness() & 4)
        return sock

    def echo(self, sock: Any, data: bytes) -> None:
        sock.sendto(data, None, self.now)
        got = b""
        while len(got) < len(data):
            self.until(sock.served)
            got += sock.recv(1 << 18, self.now)
        if got != data:
            raise SystemExit("training: an echo is not what was sent")

    def close(self, sock: Any) -> None:
        sock.close(self.now)
        self.other(self.turn())
        self.other(self.turn())

    def give(self, sock: Any, total: int) -> None:
        """As fast as it is taken."""
        chunk = bytes(range(256)) * 1024
        while total > 0:
            self.until(lambda: sock.readiness() & 4)
            total -= sock.sendto(chunk, None, self.now)
        sock.shutdown(socket.SHUT_WR, self.now)
        for _ in range(20):
            self.other(self.turn())

    def take(self, sock: Any, total: int) -> None:
        while total > 0:
            self.until(sock.served)
            while sock.served():
                total -= len(sock.recv(1 << 18, self.now))

    def load(self, kernel: bool) -> None:
        """Everything that is asked of servers, in the proportions in which it matters."""
        sock = self.dial(ECHO)
        for _ in range(ECHOES):
            self.echo(sock, b"x")
        for size in (100, 1000, 3000, 20_000, 60_000):
            for _ in range(10):
                self.echo(sock, bytes(size))
        self.close(sock)
        for _ in range(CONNECTIONS):
            sock = self.dial(ECHO)
            self.echo(sock, b"x")
            self.close(sock)
        sock = self.dial(DISCARD)
        self.give(sock, BULK)
        self.close(sock)
        if kernel:
            sock = self.dial(CHARGEN)
            self.take(sock, BULK)
            self.close(sock)
            for _ in range(30):
                sock = self.dial(HTTP)
                sock.sendto(b"GET /bytes/20000 HTTP/1.1\r\nHost: a\r\n\r\n", None, self.now)
                self.take(sock, 20_000)
                self.close(sock)


# ---- what is trained ----


def machine(vnet: bool) -> None:
    """A machine in real time with its services, as `terrella up` starts it."""
    from drivers.clock import RealTimeline
    from drivers.console import MemoryConsole
    from kernel.machine import Machine
    from terrella.lab import rare_collections
    from userland.init import boot

    near, far = taps(vnet)
    timeline = RealTimeline(1)
    with Machine("a", timeline, console=MemoryConsole()) as served, rare_collections():
        served.attach(far, f"{SERVER}/24", name=far.name)
        served.boot_program(boot)
        listeners = served.stack.tcp.listeners
        for _ in range(TURNS):
            if all(port in listeners for port in (ECHO, DISCARD, CHARGEN, HTTP)):
                break
            timeline.step(block=False)

        def turn(sent: bool) -> None:
            timeline.step(block=sent)

        Host(near, CLIENT, turn).load(kernel=True)
    timeline.close()
    near.close()


def bare(vnet: bool) -> None:
    """The stack alone, its sockets driven by callback."""
    from tools.bench.stack_peer import Services

    near, far = taps(vnet)
    server = Host(far, SERVER, lambda sent: None)
    services = Services(server.stack)

    def turn(sent: bool) -> None:
        from drivers.clock import wall_ns

        services.now = wall_ns()
        server.turn()

    Host(near, CLIENT, turn).load(kernel=False)
    for device in (near, far):
        device.close()


def calls() -> None:
    """System calls, switches and processes, in virtual time."""
    from tools.bench.kernel import run

    for name, count in (
        ("getpid", 60_000), ("readwrite", 10_000), ("readwrite-file", 3_000), ("switch", 6_000), ("spawn", 400),
        ("pipe", 500),
    ):  # fmt: skip
        run(name, count, on_linux=False)


def flows(directory: str) -> None:
    """Simulated flows with loss, and a small world with a bit of everything."""
    from tools.bench.simulate import flow

    flow(6_000_000, f"{directory}/one.pcapng")
    flow(4_000_000, f"{directory}/many.pcapng", 20)
    world()


def world() -> None:
    """UDP, IPv6, a switch, several CPUs, reordering, duplicates and broken frames."""
    from terrella import Lab
    from tools.bench.simulate import sink, source

    def ask(sys: Any, address: str, rounds: int) -> int:
        from userland.abi import AF_INET, POLLIN, SOCK_DGRAM

        fd = sys.socket(AF_INET, SOCK_DGRAM)
        for i in range(rounds):
            sys.sendto(fd, bytes(100 * i % 5000), 0, (address, 7))
            if sys.ppoll([(fd, POLLIN)], 200_000_000):
                sys.recvfrom(fd, 9000)
        return 0

    def echo(sys: Any, rounds: int) -> int:
        from userland.abi import AF_INET, EPOLL_CTL_ADD, EPOLLIN, SOCK_DGRAM

        fd = sys.socket(AF_INET, SOCK_DGRAM)
        sys.bind(fd, ("0.0.0.0", 7))
        poll = sys.epoll_create1()
        sys.epoll_ctl(poll, EPOLL_CTL_ADD, fd, EPOLLIN, 7)
        for _ in range(rounds):
            if not sys.epoll_pwait(poll, 4, 3000):
                break
            data, peer = sys.recvfrom(fd, 9000)
            sys.sendto(fd, data, 0, peer)
        return 0

    def late_sink(sys: Any, address: str, port: int, report: list[int]) -> int:
        sys.nanosleep(1_000_000)
        return sink(sys, address, port, report)

    def crowd(sys: Any, n: int) -> int:
        def child(sys: Any, i: int) -> int:
            for j in range(i % 7):
                sys.nanosleep(100_000 * (i % 5 + 1))
                sys.cpu(300_000 * (j % 3))
            return i

        for i in range(n):
            sys.spawn(child, i)
        for _ in range(n):
            sys.wait4()
        return 0

    received: list[int] = []
    with Lab(seed=3) as lab:
        a = lab.host("a", "10.0.0.1/24", "fd00::1/64", cpus=4)
        b = lab.host("b", "10.0.0.2/24", "fd00::2/64", cpus=2)
        switch = lab.switch()
        lab.link(a, switch, rate="50Mbit", delay="3ms", jitter="1ms", loss="1%", reorder="1%", duplicate="1%")
        lab.link(b, switch, rate="100Mbit", delay="1ms", corrupt="0.1%", queue=50)
        a.spawn(source, 5001, 1_000_000)
        b.spawn(late_sink, "10.0.0.1", 5001, received)
        a.spawn(echo, 100)
        b.spawn(ask, "10.0.0.1", 100)
        a.spawn(crowd, 60)
        lab.run("30s")
    if received != [1_000_000]:
        raise SystemExit(f"training: a flow of 1,000,000 bytes brought {received}")


def main() -> int:
    use(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="terrella-training-") as directory:
        if sys.platform == "linux":
            for vnet in (True, False):
                machine(vnet)
                bare(vnet)
        calls()
        flows(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
