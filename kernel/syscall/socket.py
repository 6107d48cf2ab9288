"""System calls on sockets."""

from __future__ import annotations

import array
import struct
from typing import Any

from kernel import abi
from kernel.abi import AF_INET, AF_INET6, AF_UNIX, EAFNOSUPPORT, ECONNREFUSED, EFAULT, EINVAL, EMFILE, EOPNOTSUPP
from kernel.fs import operations
from kernel.fs.fdtable import FdTable
from kernel.fs.file import File
from kernel.fs.namei import MAY_WRITE, check
from kernel.fs.user import file_of, install, lookup, nofile, pathname, text
from kernel.fs.vfs import error
from kernel.mm.space import Fault
from kernel.net.inflight import InFlight
from kernel.net.socket import SOCKET, SocketState, socket_file, socket_of
from kernel.net.unix import Parcel, UnixSocket, join
from kernel.sched.wait import Interrupted
from kernel.syscall.buffers import BytesSink, BytesSource, Sink, Source, WholeSource
from kernel.syscall.file import Gathered, gather, room
from kernel.syscall.table import python, syscall
from kernel.task import Task
from netstack import options
from netstack.tcp import beside
from netstack.tcp.socket import TcpSocket
from netstack.tcp.tcb import CLOSED, TIME_WAIT

SCM_MAX_FD = 253
_PRIVILEGED = frozenset((
    (abi.SOL_SOCKET, options.SO_PREFER_BUSY_POLL), (abi.SOL_SOCKET, options.SO_BUSY_POLL_BUDGET),
    (0, options.IP_TRANSPARENT), (41, options.IPV6_TRANSPARENT),
))  # fmt: skip
_TYPE_FLAGS = abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC
Address = Any  # (text, port) or (text, port, flowinfo, scope); str or bytes for Unix sockets


def _socket(task: Task, fd: int) -> tuple[File, Any]:
    file = file_of(task, fd)
    return file, socket_of(file)


def _make(task: Any, domain: int, kind: int, proto: int) -> Any:
    if domain == AF_UNIX:
        if proto not in (0, AF_UNIX):
            raise error(abi.EPROTONOSUPPORT)
        if kind == abi.SOCK_RAW:
            kind = abi.SOCK_DGRAM
        if kind not in (abi.SOCK_STREAM, abi.SOCK_DGRAM, abi.SOCK_SEQPACKET):
            raise error(abi.ESOCKTNOSUPPORT)
        cred = task.cred
        vfs = task.machine.vfs
        if vfs.in_flight is None:
            vfs.in_flight = InFlight()
        sock = UnixSocket(kind, (task.group.pid, cred.euid, cred.egid), vfs.unix_names, vfs.in_flight)
        machine = task.machine

        def whoami() -> tuple[int, int, int]:
            sender = machine.scheduler.running
            return (0, 65534, 65534) if sender is None else (sender.group.pid, sender.cred.uid, sender.cred.gid)

        sock.whoami = whoami
        return sock
    if not isinstance(domain, int) or not 0 <= domain < abi.AF_MAX:
        raise error(EAFNOSUPPORT)
    if not 0 <= kind <= abi.SOCK_PACKET:
        raise error(EINVAL, "socket type")
    if domain not in (AF_INET, AF_INET6, abi.AF_PACKET):
        raise error(EAFNOSUPPORT)
    if kind == abi.SOCK_RAW and not task.cred.capable(abi.CAP_NET_RAW):
        raise error(abi.EPERM, "raw sockets need CAP_NET_RAW")
    if kind == abi.SOCK_DGRAM and (domain, proto) in ((AF_INET, 1), (AF_INET6, 58)):
        raise error(abi.EACCES, "net.ipv4.ping_group_range is empty")
    return task.machine.stack.socket(domain, kind, proto)


@syscall(198, "socket", "domain", "socktype", "proto")
def sys_socket(task: Any, domain: int, type: int, proto: int = 0) -> int:
    if type & ~(abi.SOCK_TYPE_MASK | _TYPE_FLAGS):
        raise error(EINVAL, "socket type")
    sock = _make(task, domain, type & abi.SOCK_TYPE_MASK, proto)
    return install(task, socket_file(task, sock, type), bool(type & abi.SOCK_CLOEXEC))


@syscall(199, "socketpair", "domain", "socktype", "proto", returns="fds")
def sys_socketpair(task: Any, domain: int, type: int, proto: int = 0) -> tuple[int, int]:
    if type & ~(abi.SOCK_TYPE_MASK | _TYPE_FLAGS):
        raise error(EINVAL, "socket type")
    if domain != AF_UNIX:
        raise error(EOPNOTSUPP if domain in (AF_INET, AF_INET6) else EAFNOSUPPORT)
    a = _make(task, domain, type & abi.SOCK_TYPE_MASK, proto)
    b = _make(task, domain, type & abi.SOCK_TYPE_MASK, proto)
    join(a, b)
    a.peercred = b.peercred = a.cred
    cloexec = bool(type & abi.SOCK_CLOEXEC)
    one, two = socket_file(task, a, type), socket_file(task, b, type)
    try:
        first = install(task, one, cloexec)
    except OSError:
        two.put()
        raise
    try:
        return first, install(task, two, cloexec)
    except OSError:
        task.files.close(first)
        raise


# ---- addresses ----


def _unix_name(addr: Address) -> bytes:
    if not isinstance(addr, (str, bytes)):
        raise error(EINVAL, "a Unix address is a path")
    name = addr.encode("utf-8", "surrogateescape") if isinstance(addr, str) else bytes(addr)
    if len(name) > 108:
        raise error(EINVAL, "a Unix address holds 108 bytes")
    return name


def _unix_target(task: Any, addr: Address) -> UnixSocket:
    """The socket that has the name; ECONNREFUSED when nobody has it."""
    name = _unix_name(addr)
    if not name:
        raise error(EINVAL, "empty address")
    if name[:1] == b"\0":
        found: UnixSocket | None = task.machine.vfs.unix_names.get(name)
    else:
        inode = lookup(task, abi.AT_FDCWD, pathname(name)).inode
        check(inode, task.cred, MAY_WRITE)
        found = inode.socket
    if found is None:
        raise error(ECONNREFUSED, addr)
    return found


def _inet(addr: Address) -> Address:
    if not isinstance(addr, (tuple, list)):
        raise error(EFAULT if addr is None or isinstance(addr, (int, float)) else EINVAL, "an address is (text, port)")
    return tuple(addr)


@syscall(200, "bind", "fd", "sockaddr")
def sys_bind(task: Any, fd: int, addr: Address) -> int:
    _, sock = _socket(task, fd)
    if sock.family == AF_UNIX:
        name = _unix_name(addr)
        if sock.name:
            raise error(EINVAL, "bound already")
        if not name or name[:1] == b"\0":
            sock.bind(name or b"\0%05x" % (len(task.machine.vfs.unix_names) + 1))
        else:
            path = pathname(name)
            sock.bind_inode(operations.make_socket(task, path, 0o777), text(path))
        return 0
    addr = _inet(addr)
    low = len(addr) > 1 and isinstance(addr[1], int) and 0 < addr[1] < 1024
    if low and not task.cred.capable(abi.CAP_NET_BIND_SERVICE):
        raise error(abi.EACCES, "ports below 1024 need CAP_NET_BIND_SERVICE")
    sock.bind(addr)
    return 0


@syscall(201, "listen", "fd", "int")
def sys_listen(task: Any, fd: int, backlog: int = 128) -> int:
    _, sock = _socket(task, fd)
    sock.listen(backlog)
    task.machine.network.drive()
    return 0


@syscall(242, "accept4", "fd", "sockaddr_out", "accept_flags")
def sys_accept4(task: Task, fd: int, addr: Any = None, flags: int = 0) -> tuple[int, Address]:
    if flags & ~_TYPE_FLAGS:
        raise error(EINVAL, "accept4 flags")
    file = file_of(task, fd)
    if file.ops is not SOCKET:
        socket_of(file)
    most = nofile(task)
    table: FdTable = task.files
    if 0 <= most <= table.lowest():
        raise error(EMFILE, f"limit of {most} descriptors")
    new, peer = SOCKET.accept(file, task)
    return install(task, socket_file(task, new, flags), bool(flags & abi.SOCK_CLOEXEC)), peer


@python("accept4")
def accept4(task: Any, fd: Any, flags: Any = 0) -> tuple[int, Address]:
    result: tuple[int, Address] = sys_accept4(task, fd, None, flags)
    return result


@syscall(202, "accept", "fd", "sockaddr_out")
def sys_accept(task: Any, fd: int, addr: Any = None) -> tuple[int, Address]:
    result: tuple[int, Address] = sys_accept4.handler(task, fd, addr, 0)  # type: ignore[attr-defined]
    return result


@syscall(203, "connect", "fd", "sockaddr")
def sys_connect(task: Any, fd: int, addr: Address) -> int:
    file, sock = _socket(task, fd)
    if sock.family == AF_UNIX:
        while True:
            target = None if addr is None and sock.type == abi.SOCK_DGRAM else _unix_target(task, addr)
            try:
                sock.connect(target, task.now)
                return 0
            except BlockingIOError:
                if file.flags & abi.O_NONBLOCK:
                    raise
                file.private.wait(task, file.private.writers, None)
    SOCKET.connect(file, task, None if addr is None else _inet(addr))
    return 0


@syscall(204, "getsockname", "fd", returns="sockaddr")
def sys_getsockname(task: Any, fd: int) -> Address:
    return _socket(task, fd)[1].getsockname()


@syscall(205, "getpeername", "fd", returns="sockaddr")
def sys_getpeername(task: Any, fd: int) -> Address:
    sock = _socket(task, fd)[1]
    conn = getattr(sock, "conn", None)
    if conn is not None and conn.state in (CLOSED, TIME_WAIT):
        raise error(abi.ENOTCONN, "the connection is over")
    return sock.getpeername()


# ---- data ----


def _target(task: Any, sock: Any, addr: Address) -> Any:
    if addr is None:
        return None
    return _unix_target(task, addr) if sock.family == AF_UNIX else _inet(addr)


@syscall(206, "sendto", "fd", "source", "size", "msg_flags", "sockaddr")
def sys_sendto(task: Task, fd: int, source: Source, count: int, flags: int = 0, addr: Address = None) -> int:
    table: FdTable = task.files
    file = table.get(fd)
    state = file.private
    if not isinstance(state, SocketState):
        file, _ = _socket(task, fd)
    file.count += 1
    try:
        return SOCKET.send(file, task, source, count, flags, None if addr is None else _target(task, state.sock, addr))
    finally:
        if file.count > 1:
            file.count -= 1
        else:
            file.put()


@python("sendto")
def sendto(task: Any, fd: Any, data: Any, flags: Any = 0, addr: Any = None) -> int:
    source = WholeSource(data) if type(data) is bytes else BytesSource(data)
    sent: int = sys_sendto(task, fd, source, source.left, flags, addr)
    return sent


@python("send")
def send(task: Any, fd: Any, data: Any, flags: Any = 0) -> int:
    return sendto(task, fd, data, flags)


@syscall(207, "recvfrom", "fd", "sink", "size", "msg_flags", "sockaddr_out")
def sys_recvfrom(task: Task, fd: int, sink: Sink, count: int, flags: int = 0, addr: Any = None) -> tuple[int, Address]:
    """(bytes put, where they came from)."""
    file = file_of(task, fd)
    if file.ops is not SOCKET:
        socket_of(file)
    file.count += 1
    try:
        data, peer = SOCKET.receive(file, task, count, flags)
        return sink.put(data), peer
    finally:
        file.put()


@python("recvfrom")
def recvfrom(task: Any, fd: Any, n: Any, flags: Any = 0) -> tuple[bytes, Address]:
    if not isinstance(n, int) or n < 0:
        raise error(EINVAL, "count")
    sink = BytesSink(room(task, n))
    _, peer = sys_recvfrom(task, fd, sink, sink.room, flags, None)
    return sink.value(), peer


@python("recv")
def recv(task: Any, fd: Any, n: Any, flags: Any = 0) -> bytes:
    return recvfrom(task, fd, n, flags)[0]


@syscall(211, "sendmsg", "fd", "msghdr", "msg_flags")
def sys_sendmsg(task: Any, fd: int, message: tuple[Source, Any, Address], flags: int = 0) -> int:
    """`message` is (source, ancillary data, address)."""
    source, ancillary, addr = message
    file, sock = _socket(task, fd)
    target = _target(task, sock, addr)
    count = source.left
    if flags & abi.MSG_ZEROCOPY and not ancillary and isinstance(source, Gathered) and isinstance(sock, TcpSocket):
        below = flags & ~(abi.MSG_DONTWAIT | abi.MSG_NOSIGNAL)
        sent = beside.send_pieces(sock, bytes(source.peek(count)), source.lengths, task.now, below)
        if sent:
            file.private.network.drive()
            return sent
    if not ancillary:
        return SOCKET.send(file, task, source, count, flags, target)
    if sock.family != AF_UNIX:
        return _send_beside(task, file, sock, bytes(source.peek(count)), ancillary, flags, target)
    parcel = _pack_ancillary(task, sock, ancillary)
    below = flags & ~(abi.MSG_DONTWAIT | abi.MSG_NOSIGNAL)
    data = bytes(source.peek(count))
    try:
        while True:
            try:
                sent = int(sock.sendto(data, target, task.now, below, parcel))
                break
            except BlockingIOError:
                if file.flags & abi.O_NONBLOCK or flags & abi.MSG_DONTWAIT:
                    raise
                file.private.wait(task, file.private.writers, None)
    except BaseException as failure:
        parcel.drop()
        if isinstance(failure, BrokenPipeError) and sock.type == abi.SOCK_STREAM and not flags & abi.MSG_NOSIGNAL:
            task.send_signal(abi.SIGPIPE)
        raise
    if not data:
        parcel.drop()
    if sent < count and not (file.flags & abi.O_NONBLOCK or flags & abi.MSG_DONTWAIT):
        source.skip(sent)
        try:
            sent += SOCKET.send(file, task, source, count - sent, flags | abi.MSG_NOSIGNAL, target)
        except (OSError, Interrupted):
            pass  # the first part is on its way
    return sent


def _send_beside(task: Any, file: Any, sock: Any, data: bytes, ancillary: Any, flags: int, target: Any) -> int:
    """What the stack understands of control messages: IP_TTL, IP_PKTINFO ..., SO_TIMESTAMPING of this one call."""
    if isinstance(sock, TcpSocket):
        asked = beside.wish(sock, ancillary)
        return SOCKET.send(file, task, BytesSource(data), len(data), flags, target, asked)
    wanted = [
        (level, kind, bytes(body))
        for level, kind, body in ancillary
        if level != abi.SOL_SOCKET or kind not in (abi.SCM_RIGHTS, abi.SCM_CREDENTIALS)
    ]
    if not wanted or sock.type == abi.SOCK_STREAM:
        return SOCKET.send(file, task, BytesSource(data), len(data), flags, target)
    sent = int(sock.sendto(data, target, task.now, flags & ~abi.MSG_DONTWAIT & ~abi.MSG_NOSIGNAL, wanted))
    task.machine.network.drive()
    return sent


def _pack_ancillary(task: Any, sock: UnixSocket, ancillary: Any) -> Parcel:
    """SCM_RIGHTS with descriptors as an array or bytes of ints: each description gains a holder, in flight.
    SCM_CREDENTIALS (pid, uid, gid): one's own, unless root says otherwise.
    """
    wanted: list[Any] = []
    said: bytes | None = None
    for level, kind, payload in ancillary:
        if level != abi.SOL_SOCKET:
            continue
        raw = bytes(payload)
        if kind == abi.SCM_CREDENTIALS:
            if len(raw) != 12:
                raise error(EINVAL, "credentials are three ints")
            pid, uid, gid = struct.unpack("=iii", raw)
            cred = task.cred
            own = pid == task.group.pid or cred.capable(abi.CAP_SYS_ADMIN)
            own = own and (uid in (cred.uid, cred.euid, cred.suid) or cred.capable(abi.CAP_SETUID))
            if not own or not (gid in (cred.gid, cred.egid, cred.sgid) or cred.capable(abi.CAP_SETGID)):
                raise error(abi.EPERM, "somebody else's credentials")
            if pid not in task.machine.processes.groups:
                raise error(abi.ESRCH, f"no process {pid}")
            said = raw
        elif kind == abi.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(raw[: len(raw) & ~3])
            if len(fds) + len(wanted) > SCM_MAX_FD:
                raise error(EINVAL, f"more than {SCM_MAX_FD} descriptors")
            wanted += [task.files.get(fd) for fd in fds]
        else:
            raise error(EINVAL, "ancillary data")
    return Parcel(sock.flights, [file.get() for file in wanted], said)


@python("sendmsg")
def sendmsg(task: Any, fd: int, buffers: Any, ancdata: Any = (), flags: int = 0, addr: Address = None) -> int:
    sent: int = sys_sendmsg(task, fd, (gather(buffers), ancdata, addr), flags)
    return sent


@syscall(212, "recvmsg", "fd", "msghdr_out", "msg_flags")
def sys_recvmsg(task: Any, fd: int, message: tuple[Sink, int], flags: int = 0) -> tuple[int, Any, int, Address]:
    """`message` is (sink, room for ancillary data); gives (bytes, ancillary data, message flags, address)."""
    sink, room = message
    file, sock = _socket(task, fd)
    if sock.type == abi.SOCK_STREAM and sock.family != AF_UNIX and not flags & abi.MSG_ERRQUEUE:
        data, peer = SOCKET.receive(file, task, sink.room, flags)
        sock.beside_data(len(data), flags)
        ancillary, cut = _fitting(sock.ancillary, room)
        told = abi.MSG_CMSG_CLOEXEC | abi.MSG_OOB if data else abi.MSG_CMSG_CLOEXEC  # of what was asked for
        return sink.put(data), ancillary, cut | flags & told, peer
    below = flags & ~(abi.MSG_DONTWAIT | abi.MSG_CMSG_CLOEXEC | abi.MSG_WAITALL)
    if sock.type == abi.SOCK_DGRAM and (flags & abi.MSG_DONTWAIT or file.flags & abi.O_NONBLOCK):
        below |= abi.MSG_DONTWAIT
    deadline = task.now + sock.rcvtimeo_ns if sock.rcvtimeo_ns else None
    while True:
        try:
            result = sock.recvmsg(sink.room, task.now, below)
            break
        except BlockingIOError:
            if file.flags & abi.O_NONBLOCK or flags & (abi.MSG_DONTWAIT | abi.MSG_ERRQUEUE):
                raise
            file.private.wait(task, file.private.readers, deadline)
    task.machine.network.drive()
    if sock.family == AF_UNIX:
        data, passed, cred, message_flags, peer = result
        received, cut = _unpack_ancillary(task, passed, cred, room, flags)
        return sink.put(data), received, message_flags | cut | flags & abi.MSG_CMSG_CLOEXEC, peer
    data, peer, message_flags, _ = result
    ancillary, cut = _fitting(sock.ancillary, room)
    return sink.put(data), ancillary, message_flags | cut | flags & abi.MSG_CMSG_CLOEXEC, peer


def _fitting(messages: Any, room: int) -> tuple[list[tuple[int, int, bytes]], int]:
    """As many control messages as there is room for, each with its header of 16 bytes; MSG_CTRUNC when one is cut."""
    given: list[tuple[int, int, bytes]] = []
    for level, kind, body in messages:
        if room < 16:
            return given, abi.MSG_CTRUNC
        given.append((level, kind, body[: room - 16]))
        if len(body) > room - 16:
            return given, abi.MSG_CTRUNC
        room -= 16 + len(body) + -len(body) % 8
    return given, 0


def _unpack_ancillary(
    task: Any, passed: list[Any], cred: bytes | None, room: int, flags: int
) -> tuple[list[tuple[int, int, bytes]], int]:
    """Gives the receiver descriptors for what was passed; what there is no room for is closed (MSG_CTRUNC)."""
    received: list[tuple[int, int, bytes]] = []
    cut = 0
    if cred is not None:
        if room < 16:
            cut = abi.MSG_CTRUNC
        else:
            received.append((abi.SOL_SOCKET, abi.SCM_CREDENTIALS, cred[: room - 16]))
            cut = abi.MSG_CTRUNC if room - 16 < len(cred) else 0
            room = max(0, room - 32)
    fds = array.array("i")
    space = max(0, room - 16) // 4
    for file in passed:
        if len(fds) >= space:
            cut = abi.MSG_CTRUNC
            file.put()
            continue
        try:
            fds.append(install(task, file, bool(flags & abi.MSG_CMSG_CLOEXEC)))
        except OSError:  # the table is full: install has let go of it
            cut = abi.MSG_CTRUNC
            space = 0
    if fds:
        received.append((abi.SOL_SOCKET, abi.SCM_RIGHTS, fds.tobytes()))
    return received, cut


@python("recvmsg")
def recvmsg(task: Any, fd: Any, n: Any, ancbufsize: Any = 0, flags: Any = 0) -> tuple[bytes, Any, int, Address]:
    if not isinstance(n, int) or n < 0:
        raise error(EINVAL, "count")
    sink = BytesSink(room(task, n))
    _, ancillary, message_flags, peer = sys_recvmsg(task, fd, (sink, ancbufsize), flags)
    return sink.value(), ancillary, message_flags, peer


@syscall(269, "sendmmsg", "fd", "msgvec", "int", "msg_flags")
def sys_sendmmsg(task: Any, fd: int, messages: Any, count: int, flags: int = 0) -> int:
    """Each of `messages` is what sendmsg takes. How many were sent; an error only when none was."""
    _socket(task, fd)
    done = 0
    for message in messages:
        try:
            sys_sendmsg.handler(task, fd, message, flags)  # type: ignore[attr-defined]
        except OSError:
            if not done:
                raise
            break
        done += 1
    return done


@python("sendmmsg")
def sendmmsg(task: Any, fd: Any, messages: Any, flags: Any = 0) -> int:
    """`messages` are (buffers, ancillary data, address)."""
    try:
        wanted = [(gather(buffers), ancillary, addr) for buffers, ancillary, addr in messages][: abi.IOV_MAX]
    except (TypeError, ValueError):
        raise error(EFAULT, "sendmmsg takes [(buffers, ancillary data, address), ...]") from None
    done: int = sys_sendmmsg(task, fd, wanted, len(wanted), flags)
    return done


@syscall(243, "recvmmsg", "fd", "msgvec", "int", "msg_flags", "timespec")
def sys_recvmmsg(
    task: Any, fd: int, sinks: Any, count: int, flags: int = 0, timeout_ns: int | None = None
) -> list[tuple[int, Address]]:
    """One message into each sink, until there is none (after the first with MSG_WAITFORONE), or the time is up."""
    _socket(task, fd)
    got: list[tuple[int, Address]] = []
    deadline = None if timeout_ns is None else task.now + timeout_ns
    for sink in sinks:
        once = abi.MSG_DONTWAIT if got and flags & abi.MSG_WAITFORONE else 0
        try:
            size, _, _, peer = sys_recvmsg.handler(  # type: ignore[attr-defined]
                task, fd, (sink, 0), flags & ~abi.MSG_WAITFORONE | once
            )
        except (OSError, Interrupted):
            if not got:
                raise
            break
        got.append((size, peer))
        if deadline is not None and task.now >= deadline:
            break
    return got


@python("recvmmsg")
def recvmmsg(
    task: Any, fd: Any, sizes: Any, flags: Any = 0, timeout_ns: Any = None
) -> list[tuple[bytes, Address]]:
    """One message into each buffer of the sizes given: (data, address) of those that came."""
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise error(EFAULT, "recvmmsg takes a list of sizes")
    sinks = [BytesSink(room(task, n)) for n in sizes[: abi.IOV_MAX]]
    got = sys_recvmmsg(task, fd, sinks, len(sinks), flags, timeout_ns)
    return [(sink.value(), peer) for sink, (_, peer) in zip(sinks, got)]


# ---- the rest ----


@syscall(210, "shutdown", "fd", "shutdown_how")
def sys_shutdown(task: Any, fd: int, how: int) -> int:
    file, _ = _socket(task, fd)
    SOCKET.shutdown(file, task, how)
    return 0


def _program(task: Any, value: Any) -> bytes:
    """struct sock_fprog: how many instructions, and where in the process's memory."""
    if isinstance(value, int) or len(value) != 16:
        raise error(EINVAL, "struct sock_fprog has 16 bytes")
    count, address = struct.unpack("=H6xQ", bytes(value))
    if not count or count > 4096 or not address:
        raise error(EINVAL, "a filter has 1 to 4096 instructions")
    try:
        program: bytes = task.mm.load(address, count * 8)
    except Fault:
        raise error(EFAULT, "the program is not in memory") from None
    return program


@syscall(208, "setsockopt", "fd", "sol", "sockopt", "optval")
def sys_setsockopt(task: Any, fd: int, level: int, name: int, value: int | bytes) -> int:
    _, sock = _socket(task, fd)
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, (int, bytes, bytearray, memoryview)):
        raise error(EFAULT, "an option value is an int or bytes")
    if isinstance(value, int) and not -(1 << 31) <= value < 1 << 32:
        raise error(EINVAL, "an int option has 32 bits")
    if isinstance(value, int) and value >= 1 << 31:
        value -= 1 << 32
    forced = level == abi.SOL_SOCKET and name in (abi.SO_RCVBUFFORCE, abi.SO_SNDBUFFORCE, abi.SO_MARK)
    if forced and not task.cred.capable(abi.CAP_NET_ADMIN):
        raise error(abi.EPERM, "this option needs CAP_NET_ADMIN")
    if level == abi.SOL_SOCKET and isinstance(value, int) and not task.cred.capable(abi.CAP_NET_ADMIN):
        if name == abi.SO_PRIORITY and not 0 <= value <= 6:
            raise error(abi.EPERM, "a priority above 6 needs CAP_NET_ADMIN")
        if name == abi.SO_DEBUG and value:
            raise error(abi.EACCES, "SO_DEBUG needs CAP_NET_ADMIN")
    if (level, name) in _PRIVILEGED and (level != 41 or sock.family == AF_INET6):
        number = value if isinstance(value, int) else int.from_bytes(bytes(value[:4]), "little", signed=True)
        wanted = number > 0 if name == options.SO_BUSY_POLL_BUDGET else number != 0
        if wanted and not task.cred.capable(abi.CAP_NET_ADMIN):
            raise error(abi.EPERM, "this option needs CAP_NET_ADMIN")
    if level == abi.SOL_SOCKET and name == abi.SO_ATTACH_FILTER:
        value = _program(task, value)
    task.machine.stack.now = task.machine.timeline.now  # options that are about time
    sock.setsockopt(level, name, int(value) if isinstance(value, int) else bytes(value))
    task.machine.network.drive()
    return 0


@syscall(209, "getsockopt", "fd", "sol", "sockopt", "int", returns="optval")
def sys_getsockopt(task: Any, fd: int, level: int, name: int, n: int | None = None) -> int | bytes:
    _, sock = _socket(task, fd)
    if n is not None and n < 0:
        raise error(EINVAL, "length")
    task.machine.stack.now = task.machine.timeline.now  # options that are about time
    value: int | bytes = sock.getsockopt(level, name, n)
    return value
