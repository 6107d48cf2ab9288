"""compiled_run.py SEED DIRECTORY: a world with a bit of everything, and all that can be seen of it, in files.

tests/interop/test_compiled.py runs it in both forms and compares the files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from csrc import compiled
from kernel.strace import Strace
from terrella import Lab


class Switches:
    """Every decision of the schedulers."""

    def __init__(self, add: Any) -> None:
        self.add = add

    def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None:
        self.add(f"{now} cpu{cpu} {before} -> {after} {reason}\n")

    def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None:
        self.add(f"{now} {waker} wakes {task} {reason}\n")


def give(sys: Any, family: int, any_address: str, port: int, size: int, algorithm: str) -> int:
    """Sends `size` bytes to whoever connects."""
    from userland.abi import IPPROTO_TCP, SOCK_STREAM, TCP_CONGESTION

    listener = sys.socket(family, SOCK_STREAM)
    sys.setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, algorithm.encode())
    sys.bind(listener, (any_address, port))
    sys.listen(listener, 8)
    fd, _ = sys.accept4(listener)
    block = bytes(range(256)) * 128
    left = size
    while left > 0:
        left -= sys.sendto(fd, block[:left])
    sys.close(fd)
    return 0


def take(sys: Any, family: int, address: str, port: int) -> int:
    from userland.abi import SOCK_STREAM

    sys.nanosleep(1_000_000)
    fd = sys.socket(family, SOCK_STREAM)
    sys.connect(fd, (address, port))
    total = 0
    while data := sys.recvfrom(fd, 30_000)[0]:
        total += len(data)
        if total % 7 == 0:
            sys.cpu(200_000)
    sys.write(1, f"{port}: {total}\n".encode())
    return 0


def echo(sys: Any, port: int, rounds: int) -> int:
    """UDP and epoll."""
    from userland.abi import AF_INET, EPOLL_CTL_ADD, EPOLLIN, SOCK_DGRAM

    fd = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(fd, ("0.0.0.0", port))
    poll = sys.epoll_create1()
    sys.epoll_ctl(poll, EPOLL_CTL_ADD, fd, EPOLLIN, 7)
    for _ in range(rounds):
        if not sys.epoll_pwait(poll, 4, 3000):
            break
        data, peer = sys.recvfrom(fd, 9000)
        sys.sendto(fd, data, 0, peer)
    return 0


def ask(sys: Any, address: str, port: int, rounds: int) -> int:
    from userland.abi import AF_INET, POLLIN, SOCK_DGRAM

    fd = sys.socket(AF_INET, SOCK_DGRAM)
    heard = 0
    for i in range(rounds):
        sys.sendto(fd, bytes(100 * i % 5000), 0, (address, port))
        if sys.ppoll([(fd, POLLIN)], 200_000_000):
            heard += len(sys.recvfrom(fd, 9000)[0])
    sys.write(1, f"udp {heard}\n".encode())
    return 0


def crowd(sys: Any, n: int) -> int:
    def child(sys: Any, i: int) -> int:
        r, w = sys.pipe2()
        for j in range(i % 7):
            sys.nanosleep(100_000 * (i % 5 + 1))
            sys.cpu(300_000 * (j % 3))
            sys.write(w, bytes(j))
        sys.close(w)
        sys.setpriority(0, 0, i % 10)
        return len(sys.read(r, 100)) % 100

    for i in range(n):
        sys.spawn(child, i)
    for _ in range(n):
        sys.write(1, str(sys.wait4()[:2]).encode())
    return 0


def main() -> None:
    from userland.abi import AF_INET, AF_INET6

    seed, directory = int(sys.argv[1]), Path(sys.argv[2])
    print(f"compiled: {compiled.in_use}")
    policy = ("eevdf", "rr", "fixed")[seed % 3]
    texts: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    with Lab(seed=seed) as lab:
        a = lab.host("a", "10.0.0.1/24", "fd00::1/64", cpus=4, policy=policy)
        b = lab.host("b", "10.0.0.2/24", "fd00::2/64", cpus=2)
        c = lab.host("c", "10.0.0.3/24", settings={"net.ipv4.tcp_sack": seed % 2, "net.ipv4.tcp_ecn": 1})
        switch = lab.switch()
        lab.link(a, switch, rate="50Mbit", delay="3ms", jitter="1ms", loss="1%", reorder="1%", duplicate="1%")
        lab.link(b, switch, rate="100Mbit", delay="1ms", corrupt="0.1%", queue=50)
        lab.link(c, switch, rate="20Mbit", delay="5ms", loss="0.5%")
        for host in (a, b, c):
            lab.capture(host, str(directory / f"{host.name}.pcapng"), why=host is c and seed == 2)
            host.machine.trace.append(Strace(texts[host.name].append, follow=True, times=True))
            host.machine.trace.append(Switches(texts[host.name].append))
        a.spawn(give, AF_INET, "0.0.0.0", 5000, 1_500_000, "cubic")
        a.spawn(give, AF_INET6, "::", 5001, 700_000, "reno")
        b.spawn(give, AF_INET, "0.0.0.0", 5002, 400_000, "cubic")
        b.spawn(take, AF_INET, "10.0.0.1", 5000)
        b.spawn(take, AF_INET6, "fd00::1", 5001)
        c.spawn(take, AF_INET, "10.0.0.2", 5002)
        c.spawn(echo, 7, 30)
        a.spawn(ask, "10.0.0.3", 7, 30)
        a.spawn(crowd, 40)
        lab.run("20s")
        for host in (a, b, c):
            print(host.name, host.output)
            counters = json.dumps(host.machine.stack.counters.as_dict(), indent=1)
            (directory / f"{host.name}.json").write_text(counters)
            (directory / f"{host.name}.trace").write_text("".join(texts[host.name]))


if __name__ == "__main__":
    main()
