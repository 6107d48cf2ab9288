"""The host's end of a TAP: address, MTU, link state and queue, set with the classic ioctls of netdevice(7).

A TAP has two ends. Ours is a file descriptor; the other is an interface of the host's network namespace, and
this file is all that is done to it. No command is run and nothing is read from text, so it needs neither `ip`
nor, but for `hold_for_gro`, a mounted /sys. Linux only.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import select
import socket
import struct
from collections.abc import Callable
from errno import EBUSY
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
SIOCGIFMTU = 0x8921
SIOCSIFMTU = 0x8922
SIOCGIFHWADDR = 0x8927
SIOCGIFINDEX = 0x8933
SIOCSIFTXQLEN = 0x8943
IFF_UP = 0x1
IFF_RUNNING = 0x40
IFNAMSIZ = 16
SYS_NET = Path("/sys/class/net")

BUSY_ATTEMPTS = 50
BUSY_WAIT_S = 0.02


def check_name(name: str) -> bytes:
    """The interface name as the kernel takes it; ValueError says why it cannot be one."""
    raw = name.encode()
    if not 0 < len(raw) < IFNAMSIZ or "/" in name or any(c.isspace() for c in name) or name in (".", ".."):
        raise ValueError(f"{name!r} cannot name an interface: 1 to {IFNAMSIZ - 1} bytes, no slash, no blank")
    return raw


def stable_mac(name: str) -> bytes:
    """A unicast, locally administered address (IEEE 802 8.4) that depends on the name alone."""
    return b"\x02" + hashlib.sha256(b"mac\0" + name.encode()).digest()[:5]


def when_free(open_device: Callable[[], T], attempts: int = BUSY_ATTEMPTS, wait_s: float = BUSY_WAIT_S) -> T:
    """Call `open_device` until it stops failing with EBUSY, at most `attempts` times.

    The kernel lets go of a TAP a little after its last descriptor was closed, so opening it again at once may
    fail.
    """
    for attempt in range(attempts):
        if attempt:
            select.select([], [], [], wait_s)
        try:
            return open_device()
        except OSError as error:
            if error.errno != EBUSY:
                raise
            busy = error
    raise busy


def _request(family: int, request: int, argument: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as control:
        return fcntl.ioctl(control, request, argument)


def _ifreq(name: str, request: int, payload: bytes) -> bytes:
    return _request(socket.AF_INET, request, struct.pack("16s24s", check_name(name), payload))[16:]


def index(name: str) -> int:
    """The interface's number; OSError(ENODEV) when there is none of that name."""
    return int(struct.unpack_from("=i", _ifreq(name, SIOCGIFINDEX, b""))[0])


def exists(name: str) -> bool:
    try:
        index(name)
    except OSError:
        return False
    return True


def mac(name: str) -> bytes:
    """The Ethernet address of the host's end."""
    return _ifreq(name, SIOCGIFHWADDR, b"")[2:8]


def mtu(name: str) -> int:
    return int(struct.unpack_from("=i", _ifreq(name, SIOCGIFMTU, b""))[0])


def set_mtu(name: str, value: int) -> None:
    _ifreq(name, SIOCSIFMTU, struct.pack("=i", value))


def set_queue_length(name: str, frames: int) -> None:
    """How many frames wait for us before the kernel drops (a TAP starts with 1000)."""
    _ifreq(name, SIOCSIFTXQLEN, struct.pack("=i", frames))


def hold_for_gro(name: str, ns: int) -> bool:
    """Let the kernel's GRO keep a segment so long for the next to join it (gro_flush_timeout). False where that cannot
    be set: /sys is missing, read-only, or another network namespace's.
    """
    place = SYS_NET / name
    try:
        if int((place / "ifindex").read_text()) != index(name) or (place / "address").read_text().strip() != mac(
            name
        ).hex(":"):
            return False
        (place / "gro_flush_timeout").write_text(str(ns))
    except (OSError, ValueError):
        return False
    return True


def flags(name: str) -> int:
    return int(struct.unpack_from("=H", _ifreq(name, SIOCGIFFLAGS, b""))[0])


def set_up(name: str) -> None:
    _ifreq(name, SIOCSIFFLAGS, struct.pack("=H", flags(name) | IFF_UP | IFF_RUNNING))


def add_address(name: str, cidr: str) -> None:
    """Give the host's end an IPv4 or IPv6 address, as "10.0.0.1/24". IPv4 replaces an earlier one."""
    interface = ipaddress.ip_interface(cidr)
    if interface.version == 6:
        request = struct.pack("=16sIi", interface.packed, interface.network.prefixlen, index(name))
        _request(socket.AF_INET6, SIOCSIFADDR, request)
        return
    for request_number, address in ((SIOCSIFADDR, interface.packed), (SIOCSIFNETMASK, interface.netmask.packed)):
        _ifreq(name, request_number, struct.pack("=HH4s8x", socket.AF_INET, 0, address))


def missed_frames(name: str) -> int:
    """Frames the kernel dropped because the TAP's queue was full, since the interface was made
    (/proc/net/dev, "TX drop").
    """
    try:
        table = Path("/proc/thread-self/net/dev").read_text()
    except OSError:
        return 0
    for line in table.splitlines():
        label, _, fields = line.partition(":")
        if label.strip() == name:
            return int(fields.split()[11])
    return 0


def configure(name: str, mtu_bytes: int, host_ip: str | None, queue: int | None = None) -> None:
    """Bring the host's end up with its MTU and, if given, its address and its queue's length in frames."""
    if queue is not None:
        set_queue_length(name, queue)
    if mtu(name) != mtu_bytes:
        set_mtu(name, mtu_bytes)
    if host_ip is not None:
        add_address(name, host_ip)
    set_up(name)
