"""A network device whose frames Scapy carries: any `SuperSocket`, by default Scapy's own TAP
(`TunTapInterface`).

Scapy is handed raw bytes and gives raw bytes (`recv_raw`); nothing is dissected, so the cost of a frame is
one system call and a little Python. Super-segments are split here, for no Scapy socket takes them. Scapy is
imported when a port is made, not when this module is.

A socket with a descriptor is read without blocking, and the owner waits on `fileno()`. A socket without one
is read by a helper thread, which does nothing but append bytes to a queue and ring an eventfd; `fileno()` is
that eventfd.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EBADFD, ENODEV
from typing import Any

from csrc.frame import Frame
from drivers.net import hostif
from drivers.net.device import new_counters

POLL_S = 0.1  # how soon the helper thread notices that the port was closed
BACKLOG = 4096  # raw frames the helper thread may hold; beyond that they are dropped and counted
QUEUE = 8192  # frames that may wait in the kernel for a TAP made here
LINK_HEADERS = 18  # Ethernet and one VLAN tag
ANY = 65535 + LINK_HEADERS  # somebody else's socket may give more than its MTU (offloads)


class ScapyPort:
    """`NetDevice` over a Scapy SuperSocket.

    `socket=None` makes a TAP called `name` and sets up the host's end (`host_ip` as "10.0.0.1/24"). A socket
    that is given is used as it is, and its host side is left alone (on a veth a packet socket sees
    checksums that were never filled in: `ethtool -K IF tx off` at the other end). Names starting with "tun" carry
    IP without Ethernet.
    """

    gso = True

    def __init__(
        self,
        socket: Any = None,
        name: str = "tap0",
        mtu: int = 1500,
        host_ip: str | None = None,
        mac: bytes | None = None,
    ) -> None:
        self.name = name
        self.mtu = mtu
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.closed = False
        self._most = ANY if socket is not None else mtu + LINK_HEADERS
        if socket is None:
            socket = _open_tap(name)
            try:
                hostif.configure(name, mtu, host_ip, QUEUE)
            except BaseException:
                socket.close()
                raise
        self.socket = socket
        ethernet = not getattr(socket, "mode_tun", False)
        self.ethernet = ethernet
        self.mac = (mac or hostif.stable_mac(name)) if ethernet else None
        self._send = self._sender()
        self._queue: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._bell = -1
        descriptor = _descriptor(socket)
        if descriptor is None:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._thread = threading.Thread(target=self._pump, name=f"scapy-{name}", daemon=True)
            self._thread.start()
        else:
            os.set_blocking(descriptor, False)

    def fileno(self) -> int | None:
        if self.closed:
            return None
        return self._bell if self._thread is not None else _descriptor(self.socket)

    def receive(self, budget: int) -> list[Frame]:
        """Up to `budget` frames, one per wire frame. OSError(ENODEV) when the interface was taken away."""
        frames: list[Frame] = []
        if self.closed:
            return frames
        total = 0
        ethernet = self.ethernet
        for data in self._waiting(budget):
            frames.append(Frame(data, (), len(data), ethernet))
            total += len(data)
        if frames:
            self.counters["rx_frames"] += len(frames)
            self.counters["rx_bytes"] += total
        return frames

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        send = self._send
        sent = size = dropped = errors = 0
        for frame in frames:
            for image in frame.segments():
                if self.closed:
                    dropped += 1
                    continue
                try:
                    send(image)
                except BlockingIOError:
                    dropped += 1
                except OSError:
                    errors += 1
                else:
                    sent += 1
                    size += len(image)
        counters = self.counters
        counters["tx_frames"] += sent
        counters["tx_bytes"] += size
        counters["tx_dropped"] += dropped
        counters["tx_errors"] += errors

    def close(self) -> None:
        """Close Scapy's socket; a TAP made here goes with it. Safe to call again."""
        if self.closed:
            return
        self.closed = True
        if self._thread is not None:
            self._thread.join()
        self.socket.close()
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1

    def _waiting(self, budget: int) -> Iterator[bytes]:
        if self._thread is not None:
            yield from self._handed_over(budget)
            return
        recv_raw, most = self._receiver(), self._most
        for _ in range(budget):
            try:
                kind, data, _ = recv_raw(most)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (EBADFD, ENODEV):
                    raise OSError(ENODEV, f"the interface {self.name!r} was removed from the host") from error
                self.counters["rx_errors"] += 1
                return
            if data:
                yield data
            elif kind is not None:  # nothing waits; (None, None, None) is a frame that Scapy's socket skipped
                return

    def _receiver(self) -> Callable[[int], tuple[Any, bytes | None, Any]]:
        """Scapy's recv_raw; but for a TUN, where that cannot stand a read that finds nothing, the file behind it."""
        overhead = getattr(self.socket, "mtu_overhead", 0)
        if not overhead:
            return self.socket.recv_raw
        read = self.socket.ins.read

        def recv_raw(most: int) -> tuple[Any, bytes | None, Any]:
            data = read(most + overhead)
            return bytes, data and data[overhead:], None

        return recv_raw

    def _handed_over(self, budget: int) -> Iterator[bytes]:
        """What the helper thread left. The bell stays rung while anything remains."""
        queue = self._queue
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        for _ in range(budget):
            if not queue:
                return
            yield queue.popleft()
        if queue:
            os.eventfd_write(self._bell, 1)

    def _pump(self) -> None:
        """The helper thread: waits in Scapy's own select, hands bytes over, touches nothing else of the port.
        """
        socket, queue, counters = self.socket, self._queue, self.counters
        most = self._most
        while not self.closed:
            try:
                if not socket.select([socket], POLL_S):
                    continue
                _, data, _ = socket.recv_raw(most)
            except (OSError, EOFError, ValueError):
                counters["rx_errors"] += 1
                return
            if not data:
                continue
            if len(queue) >= BACKLOG:
                counters["rx_dropped"] += 1
                continue
            queue.append(data)
            os.eventfd_write(self._bell, 1)

    def _sender(self) -> Callable[[bytes], object]:
        """How one wire image leaves. Scapy's TAP would put a second Ethernet header before bytes it has not
        dissected, so its file is written to; every other socket sends a `Raw` as it is.
        """
        outs = getattr(self.socket, "outs", None)
        if hasattr(self.socket, "kernel_packet_class") and outs is not None:
            write = outs.write
            if not getattr(self.socket, "mtu_overhead", 0):
                return _checked(write)
            return _checked(lambda image: write(_PACKET_INFO[image[0] >> 4] + image))
        from scapy.packet import Raw

        send = self.socket.send
        return lambda image: send(Raw(image))


_PACKET_INFO = {4: b"\0\0\x08\x00", 6: b"\0\0\x86\xdd"}  # struct tun_pi: flags, EtherType


def _checked(write: Callable[[bytes], int | None]) -> Callable[[bytes], None]:
    """An unbuffered file's write returns None where a socket raises EAGAIN."""

    def send(image: bytes) -> None:
        if write(image) is None:
            raise BlockingIOError

    return send


def _descriptor(socket: Any) -> int | None:
    try:
        number = socket.fileno()
    except (AttributeError, OSError, ValueError, NotImplementedError):
        return None
    return number if isinstance(number, int) and number >= 0 else None


@contextmanager
def _only_errors() -> Iterator[None]:
    """Scapy warns about every TAP it opens that Linux gives it no packet information, as it should be."""
    logger = logging.getLogger("scapy.runtime")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _open_tap(name: str) -> Any:
    hostif.check_name(name)
    with _only_errors():
        from scapy.layers.tuntap import TunTapInterface

        return hostif.when_free(lambda: TunTapInterface(name, mode_tun=name.startswith("tun")))
