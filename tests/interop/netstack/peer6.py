"""A machine on a TAP with IPv6, for test_linux6: echoes TCP and UDP on port 7, and fetches what Linux serves on port
9000. With "router" it is a router between two TAPs."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from drivers.capture import Pcapng
from drivers.clock import RealTimeline
from drivers.net.tap import TapDevice
from kernel.machine import Machine

AF_INET6, SOCK_STREAM, SOCK_DGRAM = 10, 1, 2


def echo_tcp(sys: Any) -> None:
    listener = sys.socket(AF_INET6, SOCK_STREAM)
    sys.bind(listener, ("::", 7))
    sys.listen(listener, 5)
    while True:
        fd, _ = sys.accept4(listener)
        sys.spawn(serve, fd)
        sys.close(fd)


def serve(sys: Any, fd: int) -> None:
    while data := sys.recvfrom(fd, 65536)[0]:
        sys.sendto(fd, data)


def echo_udp(sys: Any) -> None:
    fd = sys.socket(AF_INET6, SOCK_DGRAM)
    sys.bind(fd, ("::", 7))
    while True:
        data, peer = sys.recvfrom(fd, 65536)
        sys.sendto(fd, data, 0, peer)


def fetch(sys: Any, report: Any) -> None:
    """Connects out when told by a datagram to port 8, and answers with the hash of what came."""
    told = sys.socket(AF_INET6, SOCK_DGRAM)
    sys.bind(told, ("::", 8))
    while True:
        _, peer = sys.recvfrom(told, 100)
        fd = sys.socket(AF_INET6, SOCK_STREAM)
        sys.connect(fd, (peer[0], 9000, 0, peer[3]))
        digest = hashlib.sha256()
        while data := sys.recvfrom(fd, 65536)[0]:
            digest.update(data)
        sys.close(fd)
        sys.sendto(told, digest.hexdigest().encode(), 0, peer)


def main(mode: str, capture: str) -> None:
    timeline = RealTimeline(7)
    machine = Machine("six", timeline)
    settings = machine.stack.settings
    if mode == "router":
        settings.set("net.ipv4.ip_forward", 1)
        settings.set("net.ipv6.conf.all.forwarding", 1)
        devices = [TapDevice("tap0"), TapDevice("tap1", mtu=1400)]
        machine.attach(devices[0], "10.0.0.1/24", "fd00::1/64")
        machine.attach(devices[1], "10.0.1.1/24", "fd00:1::1/64")
    else:
        settings.set("net.ipv6.conf.all.accept_dad", 1)
        machine.attach(TapDevice("tap0"), "10.0.0.1/24", "fd00::1/64")
    pcap = Pcapng(capture, epoch_ns=timeline.epoch_ns)
    machine.network.capture("eth0", pcap)
    for task in (echo_tcp, echo_udp):
        machine.spawn(task)
    machine.spawn(fetch, None)
    print("ready", flush=True)

    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: timeline.post(lambda now: timeline.stop()))
    timeline.run()
    machine.close()
    pcap.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
