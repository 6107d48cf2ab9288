"""The part of `HostSystem` that is about sockets. Addresses are Python's: (text, port), a path, bytes."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

from tools.hostmessage import Message
from tools.hostsignal import libc
from tools.sockaddr import Address, pack_address, unpack_address

for _name in ("sendto", "recvfrom", "sendmsg", "recvmsg"):
    getattr(libc, _name).restype = ctypes.c_ssize_t
_SIZED: list[Any] = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p]
_send, _receive = libc.sendto, libc.recvfrom
_send.argtypes = [*_SIZED, ctypes.c_uint]
_receive.argtypes = [*_SIZED, ctypes.c_void_p]


class HostSockets:
    """Calls on sockets."""

    _call: Callable[..., int]
    """Makes a call of the C library, and again after EINTR where Linux restarts it."""

    def socket(self, domain: int, type: int, proto: int = 0) -> int:
        return self._call(libc.socket, domain, type, proto)

    def socketpair(self, domain: int, type: int, proto: int = 0) -> tuple[int, int]:
        pair = (ctypes.c_int * 2)()
        self._call(libc.socketpair, domain, type, proto, pair)
        return pair[0], pair[1]

    def _family(self, fd: int) -> int:
        family, size = ctypes.c_int(), ctypes.c_uint(4)
        self._call(libc.getsockopt, fd, 1, 39, ctypes.byref(family), ctypes.byref(size))  # SO_DOMAIN
        return family.value

    def bind(self, fd: int, addr: Address) -> None:
        raw = pack_address(self._family(fd), addr)
        self._call(libc.bind, fd, raw, len(raw))

    def listen(self, fd: int, backlog: int = 128) -> None:
        self._call(libc.listen, fd, backlog)

    def accept4(self, fd: int, flags: int = 0) -> tuple[int, Address]:
        buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        new = self._call(libc.accept4, fd, buffer, ctypes.byref(size), flags)
        return new, unpack_address(buffer.raw[: size.value])

    def accept(self, fd: int) -> tuple[int, Address]:
        return self.accept4(fd)

    def connect(self, fd: int, addr: Address) -> None:
        raw = pack_address(self._family(fd), addr)
        self._call(libc.connect, fd, raw, len(raw), restart=False)

    def _named(self, function: Any, fd: int) -> Address:
        buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        self._call(function, fd, buffer, ctypes.byref(size))
        return unpack_address(buffer.raw[: size.value])

    def getsockname(self, fd: int) -> Address:
        return self._named(libc.getsockname, fd)

    def getpeername(self, fd: int) -> Address:
        return self._named(libc.getpeername, fd)

    def sendto(self, fd: int, data: Any, flags: int = 0, addr: Address = None) -> int:
        raw = data if isinstance(data, bytes) else bytes(data)
        to = b"" if addr is None else pack_address(self._family(fd), addr)
        return self._call(_send, fd, raw, len(raw), flags, to or None, len(to))

    def recvfrom(self, fd: int, n: int, flags: int = 0) -> tuple[bytes, Address]:
        buffer = ctypes.create_string_buffer(n)
        name, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        got = self._call(_receive, fd, buffer, n, flags, name, ctypes.byref(size))
        return ctypes.string_at(buffer, min(got, n)), unpack_address(name.raw[: size.value])

    def send(self, fd: int, data: Any, flags: int = 0) -> int:
        return self.sendto(fd, data, flags)

    def recv(self, fd: int, n: int, flags: int = 0) -> bytes:
        return self.recvfrom(fd, n, flags)[0]

    def sendmsg(self, fd: int, buffers: Any, ancdata: Any = (), flags: int = 0, addr: Address = None) -> int:
        message = Message.to_send(buffers, ancdata, b"" if addr is None else pack_address(self._family(fd), addr))
        return self._call(libc.sendmsg, fd, message.raw, flags)

    def recvmsg(self, fd: int, n: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, Any, int, Address]:
        message = Message.to_receive(n, ancbufsize)
        got = self._call(libc.recvmsg, fd, message.raw, flags)
        return message.received(got)

    def sendmmsg(self, fd: int, messages: Sequence[Any], flags: int = 0) -> int:
        """`messages` are (buffers, ancillary data, address), each as for sendmsg; how many were sent."""
        family = self._family(fd)
        made = [Message.to_send(b, a, b"" if to is None else pack_address(family, to)) for b, a, to in messages]
        vector = ctypes.create_string_buffer(b"".join(bytes(m.raw) + bytes(8) for m in made), 64 * len(made))
        return self._call(libc.sendmmsg, fd, vector, len(made), flags)

    def recvmmsg(
        self, fd: int, sizes: Sequence[int], flags: int = 0, timeout_ns: int | None = None
    ) -> list[tuple[bytes, Address]]:
        """One message into each buffer of the sizes given: (data, address) of those that came."""
        made = [Message.to_receive(n, 0) for n in sizes]
        vector = ctypes.create_string_buffer(b"".join(bytes(m.raw) + bytes(8) for m in made), 64 * len(made))
        limit = None if timeout_ns is None else struct.pack("=qq", *divmod(timeout_ns, 10**9))
        count = self._call(libc.recvmmsg, fd, vector, len(made), flags, limit)
        result = []
        for i in range(count):
            message = made[i]
            ctypes.memmove(message.raw, ctypes.addressof(vector) + 64 * i, 56)
            data, _, _, peer = message.received(struct.unpack_from("=I", vector, 64 * i + 56)[0])
            result.append((data, peer))
        return result

    def shutdown(self, fd: int, how: int) -> None:
        self._call(libc.shutdown, fd, how)

    def setsockopt(self, fd: int, level: int, name: int, value: Any) -> None:
        raw = struct.pack("=i", value) if isinstance(value, int) else bytes(value)
        self._call(libc.setsockopt, fd, level, name, raw, len(raw))

    def getsockopt(self, fd: int, level: int, name: int, n: int | None = None) -> Any:
        buffer, size = ctypes.create_string_buffer(n or 4), ctypes.c_uint(n or 4)
        self._call(libc.getsockopt, fd, level, name, buffer, ctypes.byref(size))
        return struct.unpack("=i", buffer.raw)[0] if n is None else buffer.raw[: size.value]
