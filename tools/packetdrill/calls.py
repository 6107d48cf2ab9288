"""System calls of a script, made by a process of the machine through the Python ABI, and their results compared.

The script's descriptors are its own numbers: the result of socket(), accept(), open() and the like binds the written
number to the live one. `...` stands for what the runner fills in: the test's addresses and ports, buffers of zeros.
"""

from __future__ import annotations

import errno as errnos
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel import abi
from tools.packetdrill.script import (
    Array,
    Dots,
    Expression,
    Function,
    Number,
    Or,
    Struct,
    SystemCall,
    Text,
    Word,
)

_SYMBOLS: dict[str, int] = {
    "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IP": 0, "SOL_IPV6": 41, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17,
    "IPPROTO_ICMP": 1, "IPPROTO_ICMPV6": 58, "INADDR_ANY": 0, "NULL": 0,
}  # fmt: skip

FD_RESULTS = frozenset({"socket", "accept", "accept4", "open", "epoll_create", "epoll_create1", "eventfd", "dup"})


class CallMismatch(Exception):
    """A call's result or an argument it filled in is not what the script says."""


class UnsupportedCall(Exception):
    """The script calls something, or names a constant, that the runner does not know."""


def symbol(name: str) -> int:
    """The number behind a constant's name, with Linux's value. Raises UnsupportedCall."""
    value = getattr(abi, name, _SYMBOLS.get(name))
    if value is None:
        value = getattr(errnos, name, None)
    if not isinstance(value, int):
        raise UnsupportedCall(f"unknown constant {name!r}")
    return int(value)


def integer(expression: Expression) -> int:
    """The value of an integer expression: numbers, constants, `|`, htons()."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Word):
        return symbol(expression.name)
    if isinstance(expression, Or):
        return integer(expression.left) | integer(expression.right)
    if isinstance(expression, Function) and expression.name in ("htons", "htonl") and len(expression.args) == 1:
        return integer(expression.args[0])
    raise UnsupportedCall(f"expected an integer, not {expression}")


def describe(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


@dataclass
class Endpoints:
    """What `...` means for addresses: the side under test and its peer."""

    v6: bool
    local: str
    remote: str
    bind_port: int
    connect_port: int


@dataclass
class Caller:
    """Makes calls on behalf of the script; `sys` is the process's Python ABI."""

    sys: Any
    ends: Endpoints
    fds: dict[int, int] = field(default_factory=dict)

    def fd(self, expression: Expression) -> int:
        number = integer(expression)
        return self.fds.get(number, number)

    def perform(self, call: SystemCall) -> None:
        """Make the call and compare. Raises CallMismatch or UnsupportedCall. May block in virtual time."""
        maker: Callable[[SystemCall], int] | None = getattr(self, f"do_{call.name}", None)
        if maker is None:
            raise UnsupportedCall(f"system call {call.name}()")
        try:
            result = maker(call)
        except OSError as error:
            got = errnos.errorcode.get(error.errno or 0, str(error.errno))
            if call.errno != got:
                raise CallMismatch(f"{call.name}: expected {self.expected(call)}, got -1 {got}") from None
            return
        if call.errno is not None:
            raise CallMismatch(f"{call.name}: expected {self.expected(call)}, got {result}")
        if isinstance(call.result, Dots):
            return
        wanted = integer(call.result)
        if call.name in FD_RESULTS and wanted >= 0:
            self.fds[wanted] = result
        elif wanted != result:
            raise CallMismatch(f"{call.name}: expected {wanted}, got {result}")

    @staticmethod
    def expected(call: SystemCall) -> str:
        if isinstance(call.result, Dots):
            return "..."
        return " ".join(filter(None, [str(integer(call.result)), call.errno]))

    # -- arguments

    def address(self, expression: Expression, port: int, host: str) -> tuple[str, int]:
        if not isinstance(expression, Struct):
            return host, port
        wanted = expression.get("sin_port") or expression.get("sin6_port")
        return host, integer(wanted) if wanted is not None else port

    def iovec(self, expression: Expression) -> list[int]:
        if not isinstance(expression, Array):
            raise UnsupportedCall(f"expected an iovec [{{..., length}}, ...], not {expression}")
        return [integer(item.items[1]) for item in expression.items if isinstance(item, Struct)]

    @staticmethod
    def filled(buffer: Expression, length: int) -> bytes:
        return buffer.value[:length].ljust(length, b"\0") if isinstance(buffer, Text) else bytes(length)

    @staticmethod
    def received(call: SystemCall, buffer: Expression, data: bytes) -> int:
        if isinstance(buffer, Text) and not data.startswith(buffer.value):
            raise CallMismatch(f"{call.name}: expected {describe(buffer.value)!r}, got {describe(data)!r}")
        return len(data)

    def flags(self, call: SystemCall, at: int) -> int:
        return integer(call.args[at]) if len(call.args) > at else 0

    # -- sockets

    def do_socket(self, call: SystemCall) -> int:
        domain, kind, protocol = call.args
        default = abi.AF_INET6 if self.ends.v6 else abi.AF_INET
        family = default if isinstance(domain, Dots) else integer(domain)
        return int(self.sys.socket(family, integer(kind), integer(protocol)))

    def do_bind(self, call: SystemCall) -> int:
        self.sys.bind(self.fd(call.args[0]), self.address(call.args[1], self.ends.bind_port, self.ends.local))
        return 0

    def do_listen(self, call: SystemCall) -> int:
        self.sys.listen(self.fd(call.args[0]), integer(call.args[1]))
        return 0

    def do_accept(self, call: SystemCall) -> int:
        return int(self.sys.accept4(self.fd(call.args[0]), self.flags(call, 3))[0])

    do_accept4 = do_accept

    def do_connect(self, call: SystemCall) -> int:
        host = self.ends.remote
        if isinstance(call.args[1], Struct) and call.args[1].get("sa_family") == Word("AF_UNSPEC"):
            raise UnsupportedCall("connect() with AF_UNSPEC")
        self.sys.connect(self.fd(call.args[0]), self.address(call.args[1], self.ends.connect_port, host))
        return 0

    def do_shutdown(self, call: SystemCall) -> int:
        self.sys.shutdown(self.fd(call.args[0]), integer(call.args[1]))
        return 0

    def do_close(self, call: SystemCall) -> int:
        fd = self.fd(call.args[0])
        self.fds.pop(integer(call.args[0]), None)
        self.sys.close(fd)
        return 0

    # -- data

    def do_read(self, call: SystemCall) -> int:
        return self.received(call, call.args[1], self.sys.read(self.fd(call.args[0]), integer(call.args[2])))

    def do_recv(self, call: SystemCall) -> int:
        fd, size = self.fd(call.args[0]), integer(call.args[2])
        return self.received(call, call.args[1], self.sys.recvfrom(fd, size, self.flags(call, 3))[0])

    do_recvfrom = do_recv

    def do_readv(self, call: SystemCall) -> int:
        return len(self.sys.read(self.fd(call.args[0]), sum(self.iovec(call.args[1]))))

    def do_write(self, call: SystemCall) -> int:
        data = self.filled(call.args[1], integer(call.args[2]))
        return int(self.sys.write(self.fd(call.args[0]), data))

    def do_send(self, call: SystemCall) -> int:
        data = self.filled(call.args[1], integer(call.args[2]))
        return int(self.sys.sendto(self.fd(call.args[0]), data, self.flags(call, 3)))

    def do_sendto(self, call: SystemCall) -> int:
        fd, data = self.fd(call.args[0]), self.filled(call.args[1], integer(call.args[2]))
        to = None
        named = len(call.args) > 4 and isinstance(call.args[4], (Dots, Struct))
        if named and self.sys.getsockopt(fd, abi.SOL_SOCKET, abi.SO_TYPE) == abi.SOCK_DGRAM:
            to = self.address(call.args[4], self.ends.connect_port, self.ends.remote)
        return int(self.sys.sendto(fd, data, self.flags(call, 3), to))

    def do_writev(self, call: SystemCall) -> int:
        return int(self.sys.write(self.fd(call.args[0]), bytes(sum(self.iovec(call.args[1])))))

    def message(self, call: SystemCall) -> Struct:
        header = call.args[1]
        if not isinstance(header, Struct) or header.get("msg_iov") is None:
            raise UnsupportedCall(f"{call.name}: expected a msghdr, not {header}")
        return header

    def do_sendmsg(self, call: SystemCall) -> int:
        header = self.message(call)
        control = header.get("msg_control")
        if isinstance(control, Array) and control.items:
            raise UnsupportedCall("sendmsg() with msg_control")
        iov = header.get("msg_iov")
        assert iov is not None
        return int(self.sys.sendto(self.fd(call.args[0]), bytes(sum(self.iovec(iov))), self.flags(call, 2)))

    def do_recvmsg(self, call: SystemCall) -> int:
        header = self.message(call)
        control = header.get("msg_control")
        if isinstance(control, Array) and control.items:
            raise UnsupportedCall("recvmsg() with msg_control")
        iov = header.get("msg_iov")
        assert iov is not None
        data, _ = self.sys.recvfrom(self.fd(call.args[0]), sum(self.iovec(iov)), self.flags(call, 2))
        return len(data)

    # -- options and descriptors

    def do_fcntl(self, call: SystemCall) -> int:
        argument = integer(call.args[2]) if len(call.args) > 2 else 0
        return int(self.sys.fcntl(self.fd(call.args[0]), integer(call.args[1]), argument))

    def do_ioctl(self, call: SystemCall) -> int:
        got = self.sys.ioctl(self.fd(call.args[0]), integer(call.args[1]), 0)
        if len(call.args) > 2 and isinstance(call.args[2], Array):
            self.compare(call, call.args[2].items[0], got)
            return 0
        return int(got)

    def do_setsockopt(self, call: SystemCall) -> int:
        fd, level, name, value = self.fd(call.args[0]), integer(call.args[1]), integer(call.args[2]), call.args[3]
        self.sys.setsockopt(fd, level, name, self.option(value))
        return 0

    def option(self, value: Expression) -> int | bytes:
        if isinstance(value, Array):
            value = value.items[0]
        if isinstance(value, Text):
            return value.value
        if isinstance(value, Struct):
            return self.linger(value)
        return integer(value)

    @staticmethod
    def linger(value: Struct) -> bytes:
        onoff, seconds = value.get("onoff"), value.get("linger")
        if onoff is None or seconds is None:
            raise UnsupportedCall(f"structure {value}")
        return struct.pack("=ii", integer(onoff), integer(seconds))

    def do_getsockopt(self, call: SystemCall) -> int:
        fd, level, name, value = self.fd(call.args[0]), integer(call.args[1]), integer(call.args[2]), call.args[3]
        if isinstance(value, Dots):
            self.sys.getsockopt(fd, level, name)
            return 0
        if isinstance(value, Array) and value.items:
            value = value.items[0]
        if isinstance(value, Text):
            got: object = bytes(self.sys.getsockopt(fd, level, name, 16)).rstrip(b"\0")
            wanted: object = value.value
        elif isinstance(value, Struct):
            got, wanted = self.sys.getsockopt(fd, level, name, 8), self.linger(value)
        else:
            got, wanted = self.sys.getsockopt(fd, level, name), integer(value)
        if got != wanted:
            raise CallMismatch(f"getsockopt: expected {describe(wanted)}, got {describe(got)}")
        return 0

    @staticmethod
    def compare(call: SystemCall, wanted: Expression, got: int) -> None:
        if not isinstance(wanted, Dots) and integer(wanted) != got:
            raise CallMismatch(f"{call.name}: expected [{integer(wanted)}], got [{got}]")

    # -- readiness

    def do_poll(self, call: SystemCall) -> int:
        listed = call.args[0].items if isinstance(call.args[0], Array) else ()
        entries = [item for item in listed if isinstance(item, Struct)]
        timeout = integer(call.args[2])
        asked = [(self.fd(self.part(e, "fd")), integer(self.part(e, "events"))) for e in entries]
        ready = dict(self.sys.ppoll(asked, None if timeout < 0 else timeout * 1_000_000))
        for entry, (fd, _) in zip(entries, asked):
            wanted = entry.get("revents")
            if wanted is not None and integer(wanted) != ready.get(fd, 0):
                raise CallMismatch(f"poll: expected revents {integer(wanted):#x}, got {ready.get(fd, 0):#x}")
        return len([mask for mask in ready.values() if mask])

    @staticmethod
    def part(value: Struct, name: str) -> Expression:
        part = value.get(name)
        if part is None:
            raise UnsupportedCall(f"structure without {name}: {value}")
        return part

    def do_epoll_create(self, call: SystemCall) -> int:
        return int(self.sys.epoll_create1(0))

    def do_epoll_create1(self, call: SystemCall) -> int:
        return int(self.sys.epoll_create1(integer(call.args[0])))

    def do_epoll_ctl(self, call: SystemCall) -> int:
        event = call.args[3] if len(call.args) > 3 else None
        mask = integer(self.part(event, "events")) if isinstance(event, Struct) else 0
        cookie = self.cookie(event) if event else 0
        self.sys.epoll_ctl(self.fd(call.args[0]), integer(call.args[1]), self.fd(call.args[2]), mask, cookie)
        return 0

    @staticmethod
    def cookie(event: Expression) -> int:
        if isinstance(event, Struct):
            for name in ("fd", "ptr", "u32", "u64"):
                value = event.get(name)
                if value is not None:
                    return integer(value)
        return 0

    def do_epoll_wait(self, call: SystemCall) -> int:
        wanted = call.args[1]
        events = list(wanted.items) if isinstance(wanted, Array) else [wanted]
        got = self.sys.epoll_pwait(self.fd(call.args[0]), integer(call.args[2]), integer(call.args[3]))
        for event, (cookie, mask) in zip([e for e in events if isinstance(e, Struct)], got):
            if (integer(self.part(event, "events")), self.cookie(event)) != (mask, cookie):
                raise CallMismatch(f"epoll_wait: expected {event}, got events {mask:#x} data {cookie}")
        return len(got)

    # -- other files

    def do_pipe(self, call: SystemCall) -> int:
        ends = self.sys.pipe2(0)
        if isinstance(call.args[0], Array):
            for wanted, live in zip(call.args[0].items, ends):
                self.fds[integer(wanted)] = live
        return 0

    def do_open(self, call: SystemCall) -> int:
        path = call.args[0]
        name = path.value.decode("latin-1") if isinstance(path, Text) else "/tmp/packetdrill"
        return int(self.sys.open(name, integer(call.args[1]) | (abi.O_CREAT if isinstance(path, Dots) else 0)))

    def do_sendfile(self, call: SystemCall) -> int:
        where = call.args[2]
        offset = integer(where.items[0]) if isinstance(where, Array) and where.items else None
        out, source = self.fd(call.args[0]), self.fd(call.args[1])
        return int(self.sys.sendfile(out, source, offset, integer(call.args[3])))
