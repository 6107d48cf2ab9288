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
from tools.packetdrill.info import tcp_info
from tools.packetdrill.script import Array, Dots, Expression, Number, Struct, SystemCall, Text, Word
from tools.packetdrill.signatures import SIGNATURES, near
from tools.packetdrill.values import (
    CallMismatch,
    Moment,
    Said,
    Stats,
    UnsupportedCall,
    address_of,
    control_list,
    control_room,
    describe,
    integer,
    is_null,
    option_bytes,
    pack,
    part,
    single,
    statistics,
)  # fmt: skip

NOBODYS = 1_000_000
STAMPS = {29: 1000, 63: 1000, 35: 1, 64: 1, 37: 1, 65: 1}
"""Time stamps among SOL_SOCKET's messages, and what the second number of each counts."""
LONG = {(8, 47), (8, 57)}
"""Options with a value of 64 bits for who asks for as many: SO_MAX_PACING_RATE, SO_COOKIE."""
FD_RESULTS = frozenset({"socket", "accept", "accept4", "open", "epoll_create", "epoll_create1", "eventfd", "dup"})


@dataclass
class Endpoints:
    """What `...` means for addresses: the side under test and its peer. And its clock: CLOCK_REALTIME at the script's
    begin, and how far a time stamp may lie from what is written."""

    v6: bool
    local: str
    remote: str
    bind_port: int
    connect_port: int
    mapped: bool = False
    """IPv6 sockets and IPv4 packets: `::ffff:192.168.0.1`."""
    begun_ns: int = 0
    slack_ns: int = 0


@dataclass
class Caller:
    """Makes calls on behalf of the script; `sys` is the process's Python ABI."""

    sys: Any
    ends: Endpoints
    fds: dict[int, int] = field(default_factory=dict)

    def fd(self, expression: Expression) -> int:
        """The live descriptor. One that the script has not got is nobody's: not by chance one of the runner's own."""
        number = integer(expression)
        return self.fds.get(number, number if number < 3 else NOBODYS + number)

    def perform(self, call: SystemCall) -> None:
        """Make the call and compare. Raises CallMismatch or UnsupportedCall. May block in virtual time."""
        maker: Callable[[SystemCall], int] | None = getattr(self, f"do_{call.name}", None)
        if maker is None:
            raise UnsupportedCall(f"system call {call.name}(){near(call.name, SIGNATURES)}")
        if call.name in FD_RESULTS and isinstance(call.result, Number) and call.result.value in self.fds:
            raise CallMismatch(f"{call.name}: the script has a descriptor {call.result} already, and did not close it")
        try:
            result = maker(call)
        except OSError as error:
            got = errnos.errorcode.get(error.errno or 0, str(error.errno))
            any_error = call.errno is None and call.result == Number(-1)
            if (call.errno is None or getattr(errnos, call.errno, None) != error.errno) and not any_error:
                unknown = f" (the script has no descriptor {integer(call.args[0])})" if self.unknown(call) else ""
                raise CallMismatch(f"{call.name}: expected {self.expected(call)}, got -1 {got}{unknown}") from None
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

    def unknown(self, call: SystemCall) -> bool:
        """Whether the call is about a descriptor that the script has not got."""
        number = call.args[0] if call.args and call.name not in ("socket", "poll", "pipe", "open") else None
        return isinstance(number, Number) and number.value > 2 and number.value not in self.fds

    @staticmethod
    def expected(call: SystemCall) -> str:
        if isinstance(call.result, Dots):
            return "..."
        return " ".join(filter(None, [str(integer(call.result)), call.errno]))

    # -- arguments

    def address(self, expression: Expression, port: int, host: str) -> tuple[str, int]:
        """A destination, or a name to bind: what a sockaddr leaves open is the test's own."""
        if self.ends.mapped:
            host = "::ffff:" + host
        if not isinstance(expression, Struct):
            return host, port
        text, number = address_of(expression)
        return text or host, port if number is None else number

    @staticmethod
    def check_address(call: SystemCall, at: int, got: Any) -> None:
        """A sockaddr that the call filled in, where the script writes one."""
        wanted = call.args[at] if len(call.args) > at else None
        if not isinstance(wanted, Struct):
            return
        text, port = address_of(wanted)
        here = (got[0], got[1]) if got else (None, None)
        if (text is not None and text != here[0]) or (port is not None and port != here[1]):
            raise CallMismatch(f"{call.name}: expected address {text or '...'} port {port or '...'}, got {here}")
        family = wanted.get("sa_family")
        if got and family is not None and not isinstance(family, Dots):
            is_one = abi.AF_INET6 if ":" in str(got[0]) else abi.AF_INET
            if integer(family) != is_one:
                raise CallMismatch(f"{call.name}: expected family {family}, got {is_one}")

    def iovec(self, expression: Expression) -> list[int]:
        if not isinstance(expression, Array):
            raise UnsupportedCall(f"expected an iovec [{{..., length}}, ...], not {expression}")
        return [integer(item.items[1]) for item in expression.items if isinstance(item, Struct)]

    @staticmethod
    def filled(buffer: Expression, length: int) -> Any:
        """What a buffer argument holds; None, which is no buffer, for NULL."""
        if is_null(buffer) and length:
            return None
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
        default = abi.AF_INET6 if self.ends.v6 or self.ends.mapped else abi.AF_INET
        family = default if isinstance(domain, Dots) else integer(domain)
        return int(self.sys.socket(family, integer(kind), integer(protocol)))

    def do_bind(self, call: SystemCall) -> int:
        self.sys.bind(self.fd(call.args[0]), self.address(call.args[1], self.ends.bind_port, self.ends.local))
        return 0

    def do_listen(self, call: SystemCall) -> int:
        self.sys.listen(self.fd(call.args[0]), integer(call.args[1]))
        return 0

    def do_accept(self, call: SystemCall) -> int:
        fd, peer = self.sys.accept4(self.fd(call.args[0]), self.flags(call, 3))
        self.check_address(call, 1, peer)
        return int(fd)

    do_accept4 = do_accept

    def do_connect(self, call: SystemCall) -> int:
        host = self.ends.remote
        where = call.args[1]
        named = (where.get("sa_family"), where.get("sin_family")) if isinstance(where, Struct) else (where,)
        if Word("AF_UNSPEC") in named:
            self.sys.connect(self.fd(call.args[0]), None)
            return 0
        self.sys.connect(self.fd(call.args[0]), self.address(where, self.ends.connect_port, host))
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

    def room(self, call: SystemCall, fd: int) -> int:
        """The size of a reading call. EFAULT for NULL when there is something to put there."""
        size = integer(call.args[2])
        if is_null(call.args[1]) and size and self.sys.recvfrom(fd, 1, abi.MSG_PEEK | abi.MSG_DONTWAIT)[0]:
            raise OSError(errnos.EFAULT, "a NULL buffer")
        return size

    def do_read(self, call: SystemCall) -> int:
        fd = self.fd(call.args[0])
        return self.received(call, call.args[1], self.sys.read(fd, self.room(call, fd)))

    def do_recv(self, call: SystemCall) -> int:
        fd = self.fd(call.args[0])
        data, peer = self.sys.recvfrom(fd, self.room(call, fd), self.flags(call, 3))
        self.check_address(call, 4, peer)
        return self.received(call, call.args[1], data)

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
        listed = control_list(header.get("msg_control"))
        control = [(a, b, c or b"") for a, b, c in listed if c is None or isinstance(c, bytes)]
        fd, flags = self.fd(call.args[0]), self.flags(call, 2)
        buffers = [bytes(size) for size in self.iovec(part(header, "msg_iov"))]
        name = header.get("msg_name")
        to = self.address(name, self.ends.connect_port, self.ends.remote) if isinstance(name, Struct) else None
        if flags & abi.MSG_ZEROCOPY and not control:
            return int(self.sys.sendmsg(fd, buffers, [], flags, to))
        if not control:
            return int(self.sys.sendto(fd, b"".join(buffers), flags, to))
        try:
            return int(self.sys.sendmsg(fd, buffers, control, flags, to))
        except OSError as error:
            if error.errno == errnos.EINVAL and call.errno != "EINVAL":
                raise UnsupportedCall("sendmsg() with this msg_control: the stack has none such") from None
            raise

    def do_recvmsg(self, call: SystemCall) -> int:
        header = self.message(call)
        wanted = control_list(header.get("msg_control"), self.ends.v6)
        size = sum(self.iovec(part(header, "msg_iov")))
        room = control_room(header.get("msg_control"), self.ends.v6)
        data, got, flags, peer = self.sys.recvmsg(self.fd(call.args[0]), size, room, self.flags(call, 2))
        expected = header.get("msg_flags")
        if expected is not None and not isinstance(expected, Dots) and integer(expected) != flags:
            raise CallMismatch(f"recvmsg: expected msg_flags {integer(expected):#x}, got {flags:#x}")
        name = header.get("msg_name")
        if isinstance(name, Struct):
            text, port = address_of(name)
            if (text is not None and text != peer[0]) or (port is not None and port != peer[1]):
                raise CallMismatch(f"recvmsg: expected msg_name {text} port {port}, got {peer}")
        same = len(wanted) == len(got) and all(
            (a, b) == (d, e) and self.says(c, bytes(f), e) for (a, b, c), (d, e, f) in zip(wanted, got)
        )
        if wanted and not same:
            found = [(a, b, self.readable(a, b, bytes(c))) for a, b, c in got]
            raise CallMismatch(f"recvmsg: expected control messages {wanted}, got {found}")
        return len(data)

    def says(self, wanted: Said, got: bytes, kind: int) -> bool:
        """Whether a control message's data is what is written."""
        if isinstance(wanted, Moment):
            return len(got) >= 16 and abs(self.moment(got, kind).ns - wanted.ns) <= self.ends.slack_ns
        if isinstance(wanted, Stats):
            found = statistics(got)
            return all(found.get(name) == value for name, value in wanted.values)
        return wanted is None or wanted == got[: len(wanted)]

    def readable(self, level: int, kind: int, data: bytes) -> object:
        if level == abi.SOL_SOCKET and kind in STAMPS:
            return self.moment(data, kind)
        if (level, kind) == (abi.SOL_SOCKET, 54):
            return Stats(tuple(statistics(data).items()))
        return data

    def moment(self, data: bytes, kind: int) -> Moment:
        """A struct timespec or timeval of CLOCK_REALTIME in the script's time."""
        seconds, rest = struct.unpack_from("=qq", data)
        return Moment(seconds * 1_000_000_000 + rest * STAMPS.get(kind, 1) - self.ends.begun_ns)

    # -- options and descriptors

    def do_fcntl(self, call: SystemCall) -> int:
        argument = integer(call.args[2]) if len(call.args) > 2 else 0
        return int(self.sys.fcntl(self.fd(call.args[0]), integer(call.args[1]), argument))

    def do_ioctl(self, call: SystemCall) -> int:
        got = self.sys.ioctl(self.fd(call.args[0]), integer(call.args[1]), 0)
        if len(call.args) > 2:
            self.compare(call, single(call.args[2]), got)
        return 0

    def do_dup(self, call: SystemCall) -> int:
        return int(self.sys.dup(self.fd(call.args[0])))

    def do_setsockopt(self, call: SystemCall) -> int:
        fd, level, name, value = self.fd(call.args[0]), integer(call.args[1]), integer(call.args[2]), call.args[3]
        size = integer(call.args[4]) if len(call.args) > 4 and not isinstance(call.args[4], Dots) else None
        self.sys.setsockopt(fd, level, name, option_bytes(value, size))
        return 0

    def do_getsockopt(self, call: SystemCall) -> int:
        fd, level, name = self.fd(call.args[0]), integer(call.args[1]), integer(call.args[2])
        value = single(call.args[3])
        given = single(call.args[4]) if len(call.args) > 4 else Dots()
        size = None if isinstance(given, Dots) else integer(given)
        if isinstance(value, Dots):
            self.sys.getsockopt(fd, level, name)
            return 0
        got: object
        wanted: object
        if isinstance(value, Text):
            raw = bytes(self.sys.getsockopt(fd, level, name, size or 16))
            self.check_length(size, len(raw))
            got = raw.rstrip(b"\0")
            wanted = value.value
        elif isinstance(value, Struct):
            if any(field.startswith("tcpi_") for field, _ in value.fields):
                info = bytes(self.sys.getsockopt(fd, level, name, 256))
                self.check_length(size, max(len(info), 256))
                return self.check_info(call, value, info)
            wanted = pack(value)
            got = bytes(self.sys.getsockopt(fd, level, name, len(wanted)))
            self.check_length(size, len(got))
        else:
            got, wanted = self.sys.getsockopt(fd, level, name), integer(value)
            if isinstance(got, int):
                if (size, name) not in LONG:
                    self.check_length(size, 4)
                got, wanted = got & 0xFFFFFFFF, wanted & 0xFFFFFFFF
                if size is not None and size < 4:
                    got, wanted = got & (1 << 8 * size) - 1, wanted & (1 << 8 * size) - 1
        if got != wanted:
            raise CallMismatch(f"getsockopt: expected {describe(wanted)}, got {describe(got)}")
        return 0

    @staticmethod
    def check_length(wanted: int | None, most: int) -> None:
        """What a value's length is, where the script has room for more."""
        if wanted is not None and wanted > most:
            raise CallMismatch(f"getsockopt: expected length {wanted}, got {most}")

    @staticmethod
    def check_info(call: SystemCall, wanted: Struct, data: bytes) -> int:
        """`{tcpi_state=1, tcpi_snd_cwnd=10}`: the fields that are written."""
        fields = tcp_info(bytes(data))
        for name, expected in wanted.fields:
            if name not in fields:
                raise UnsupportedCall(f"struct tcp_info has no field {name!r}")
            if not isinstance(expected, Dots) and integer(expected) != fields[name]:
                raise CallMismatch(f"{call.name}: expected {name} {integer(expected)}, got {fields[name]}")
        return 0

    def do_getsockname(self, call: SystemCall) -> int:
        self.check_address(call, 1, self.sys.getsockname(self.fd(call.args[0])))
        return 0

    def do_getpeername(self, call: SystemCall) -> int:
        self.check_address(call, 1, self.sys.getpeername(self.fd(call.args[0])))
        return 0

    @staticmethod
    def compare(call: SystemCall, wanted: Expression, got: int) -> None:
        if not isinstance(wanted, Dots) and integer(wanted) != got:
            raise CallMismatch(f"{call.name}: expected [{integer(wanted)}], got [{got}]")

    def do_cap_set(self, call: SystemCall) -> int:
        """libcap's cap_set_flag() and cap_set_proc(): one bit of one of the process's three sets."""
        which, bit, value = (integer(argument) for argument in call.args)
        sets = list(self.sys.capget(0))
        sets[which] = sets[which] | 1 << bit if value else sets[which] & ~(1 << bit)
        return int(self.sys.capset(*sets))

    # -- readiness

    def do_poll(self, call: SystemCall) -> int:
        listed = call.args[0].items if isinstance(call.args[0], Array) else ()
        entries = [item for item in listed if isinstance(item, Struct)]
        timeout = integer(call.args[2])
        asked = [(self.fd(part(e, "fd")), integer(part(e, "events"))) for e in entries]
        ready = dict(self.sys.ppoll(asked, None if timeout < 0 else timeout * 1_000_000))
        for entry, (fd, _) in zip(entries, asked):
            wanted = integer(entry.get("revents") or Number(0))
            if wanted != ready.get(fd, 0):
                raise CallMismatch(f"poll: expected revents {wanted:#x}, got {ready.get(fd, 0):#x}")
        return len([mask for mask in ready.values() if mask])

    def do_epoll_create(self, call: SystemCall) -> int:
        return int(self.sys.epoll_create1(0))

    def do_epoll_create1(self, call: SystemCall) -> int:
        return int(self.sys.epoll_create1(integer(call.args[0])))

    def do_epoll_ctl(self, call: SystemCall) -> int:
        event = call.args[3] if len(call.args) > 3 else None
        mask = integer(part(event, "events")) if isinstance(event, Struct) else 0
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
        written = [e for e in events if isinstance(e, Struct)]  # what is not filled in stays zeros
        for event in written[len(got) :]:
            data = [event.get(name) or Number(0) for name in ("ptr", "u32", "u64")]
            if any(integer(value) for value in (part(event, "events"), *data)):
                raise CallMismatch(f"epoll_wait: expected {event}, got {len(got)} events")
        for event, (cookie, mask) in zip(written, got):
            if (integer(part(event, "events")), self.cookie(event)) != (mask, cookie):
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

    def do_splice(self, call: SystemCall) -> int:
        source, into = self.fd(call.args[0]), self.fd(call.args[2])
        return int(self.sys.splice(source, None, into, None, integer(call.args[4]), self.flags(call, 5)))

    def do_sendfile(self, call: SystemCall) -> int:
        where = call.args[2]
        offset = integer(where.items[0]) if isinstance(where, Array) and where.items else None
        out, source = self.fd(call.args[0]), self.fd(call.args[1])
        return int(self.sys.sendfile(out, source, offset, integer(call.args[3])))
