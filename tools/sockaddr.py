"""`struct sockaddr` and back: addresses as Python's `socket` writes them, but never resolved."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

# (host, port) for IPv4, (host, port, flowinfo, scope) for IPv6, str or bytes for Unix sockets: as `socket` has them.
Address = Any


def pack_address(family: int, address: Address) -> bytes:
    """A `struct sockaddr`. Names are not resolved: hosts are numeric, and "" is the wildcard; None is AF_UNSPEC."""
    if address is None:
        return struct.pack("=H14x", socket.AF_UNSPEC)
    if family == socket.AF_UNIX:
        path = os.fsencode(address)
        if not path:
            return struct.pack("=H", family)
        if len(path) > 107:
            raise OSError(errno.EINVAL, "AF_UNIX path too long")
        return struct.pack("=H", family) + path + (b"" if path[:1] == b"\0" else b"\0")
    host, port, *rest = address
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_aton(host or "0.0.0.0") + bytes(8)
    if family == socket.AF_INET6:
        flow, scope = (*rest, 0, 0)[:2]
        raw = socket.inet_pton(family, host or "::")
        return struct.pack("=H", family) + struct.pack("!HI", port, flow) + raw + struct.pack("=I", scope)
    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))


def unpack_address(raw: bytes) -> Address:
    """The reverse of `pack_address`; None when the kernel gave no address."""
    if len(raw) < 2:
        return None
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_INET:
        return socket.inet_ntoa(raw[4:8]), struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_INET6:
        port, flow = struct.unpack_from("!HI", raw, 2)
        return socket.inet_ntop(family, raw[8:24]), port, flow, struct.unpack_from("=I", raw, 24)[0]
    if family == socket.AF_UNIX:
        path = raw[2:]
        return path if path[:1] == b"\0" else os.fsdecode(path.split(b"\0", 1)[0])
    return raw
