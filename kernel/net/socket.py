"""Sockets as files: blocking, timeouts and signals around sockets that never block.

Every kind of socket (those of the network stack, Unix ones) has the same calls, given the time, which answer at once or
raise BlockingIOError; `on_ready(sock)` tells when that may have changed. Here a task sleeps on the wait queues that
`on_ready` wakes and calls again. After each call the network is driven, so that what the stack wants to send leaves.
Where the same call stands twice, for a `TcpSocket` and for any other, the first is there for speed: with the class
known the compiled form calls the method itself, without looking it up.

Rules from socket(7), send(2), recv(2): O_NONBLOCK and MSG_DONTWAIT give EAGAIN; SO_RCVTIMEO and SO_SNDTIMEO bound a
sleep and make an interrupted call EINTR instead of restarting it; a stream send goes on until everything is taken,
and gives the number of bytes that were when it is stopped; EPIPE comes with SIGPIPE unless MSG_NOSIGNAL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from kernel import abi
from kernel.abi import (
    EAGAIN,
    EALREADY,
    EINPROGRESS,
    EINTR,
    EINVAL,
    EISCONN,
    ENOTCONN,
    EPIPE,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_WAITALL,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRNORM,
    SIGPIPE,
    SO_ERROR,
    SO_TIMESTAMPING,
    SOCK_STREAM,
    SOL_SOCKET,
)
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.poll import EpItem
from kernel.fs.vfs import Inode, error
from kernel.ipc.pipe import own
from kernel.sched.wait import ANY, Interrupted, WaitQueue, Watcher
from netstack.tcp import beside
from netstack.tcp.socket import SHUT_OPENING, TcpSocket
from netstack.tcp.tcb import CLOSED, CLOSING, FIN_WAIT_1, LAST_ACK, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from kernel.net.netif import Network
    from kernel.task import Task

_READ = POLLIN | POLLPRI | POLLRDHUP | POLLHUP | POLLERR
_WRITE = POLLOUT | POLLHUP | POLLERR
_DATA = POLLIN | POLLRDNORM
_NONBLOCKING = abi.O_RDWR | O_NONBLOCK
_ROOM = POLLOUT | POLLWRNORM
_SEND_CHUNK = 1 << 20
_WORTH_HOLDING = 4096


class AnySocket(Protocol):
    """What a socket of the stack and a Unix socket have in common."""

    family: int
    type: int
    proto: int
    on_ready: Callable[[Any], None] | None
    rcvtimeo_ns: int
    sndtimeo_ns: int

    def readiness(self) -> int: ...
    def ready_for(self, events: int) -> int:
        """`readiness`, of which only these events are wanted."""
        ...

    def starved(self) -> bool:
        """Whether a plain read would block for certain: cheaper to ask than to be told by an exception."""
        ...

    def served(self) -> bool:
        """Whether a plain read would be given data for certain, and nothing else is to be told of reading. Such a
        socket has `recv` and `send`."""
        ...

    def bind(self, addr: Any) -> None: ...
    def listen(self, n: int) -> None: ...
    def accept(self, now: int) -> tuple[Any, Any]: ...
    def connect(self, addr: Any, now: int) -> None: ...
    def sendto(self, data: Any, addr: Any, now: int, flags: int = 0) -> int: ...
    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, Any]: ...
    def shutdown(self, how: int, now: int) -> None: ...
    def close(self, now: int) -> None: ...
    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...
    def setsockopt(self, level: int, name: int, value: int | bytes) -> None: ...
    def getsockopt(self, level: int, name: int, n: int | None = None) -> int | bytes: ...


def steady(chunk: Any) -> Any:
    """`chunk` as a buffer that nobody will change. What is part of a `bytes` object is not copied, unless it is so
    little that it is not worth holding the whole.
    """
    if type(chunk) is memoryview and len(chunk) >= _WORTH_HOLDING and type(chunk.obj) is bytes:
        return chunk
    return own(chunk)


def condition(sock: TcpSocket) -> int:
    """What readiness follows from, besides data and room: a number that is another one when any of it is."""
    conn = sock.conn
    bits = (len(sock.errors) << 8 | sock.so_error) << 3 | sock.shutdown_mask  # with SHUT_OPENING
    return bits << 5 | conn.state << 1 | conn.fin_received if conn is not None else bits << 5


class SocketState(WaitQueue):
    """`file.private` of a socket: the socket, who waits for it, and whether a blocking connect is under way.

    It is itself the queue of those who wait to read, and of all who watch; who waits to write has a queue of its own,
    made when it is first needed.
    """

    __slots__ = ("_writers", "connecting", "known", "network", "sock")

    def __init__(self, network: Network, sock: Any) -> None:
        self.sleepers = None
        self.watchers = None
        self.network = network
        self.sock = sock
        self._writers: WaitQueue | None = None
        self.connecting = False
        self.known = 0
        sock.on_ready = self.ready

    @property
    def readers(self) -> WaitQueue:
        """Where a task sleeps that wants to read (or accept)."""
        return self

    @property
    def writers(self) -> WaitQueue:
        """Where a task sleeps that wants to write (or to be connected)."""
        writers = self._writers
        if writers is None:
            writers = self._writers = WaitQueue()
        return writers

    def ready(self, sock: Any) -> None:
        """The socket's readiness may have changed."""
        watchers, writers = self.watchers, self._writers
        tcp: TcpSocket | None = sock if isinstance(sock, TcpSocket) else None
        if writers is None or not writers.sleepers:
            # Mostly nobody cares for more than that there is data.
            if watchers is None:
                if not self.sleepers:
                    return
                if sock.served():
                    self.wake_all(_DATA)
                    return
            elif isinstance(watchers, EpItem) and watchers.events & (_ROOM | POLLIN) == POLLIN:
                conn = tcp.conn if tcp is not None else None
                if (conn is None or conn.room_at == -1) and (tcp.served() if tcp is not None else sock.served()):
                    if self.sleepers:
                        self.wake_all(_DATA)
                    else:
                        watchers.woken(_DATA)
                    return
        mask: int = tcp.readiness() if tcp is not None else sock.readiness()
        if mask & POLLIN:
            mask |= POLLRDNORM
        if mask & POLLOUT:
            mask |= POLLWRNORM
        if watchers is not None and tcp is not None:
            mask &= self.news(tcp)
            if mask & POLLIN:
                mask |= POLLPRI  # data is told with it, whether it is urgent or not (Linux's sock_def_readable)
        if mask & _READ:
            self.wake_all(mask)
        elif mask:
            self.wake(0, mask)
        if writers is not None and mask & _WRITE:
            writers.wake_all(mask)

    def subscribe(self, callback: Watcher, exclusive: bool = False) -> Watcher:
        sock = self.sock
        if self.watchers is None and isinstance(sock, TcpSocket):
            self.known = condition(sock)
            if sock.conn is not None:
                sock.conn.wake_all = False
                sock.conn.room_at = -1
        return super().subscribe(callback, exclusive)

    def news(self, sock: TcpSocket) -> int:
        """What there may be to tell who watches: data (Linux's sock_def_readable) or room (sk_stream_write_space), of
        which an edge-triggered watcher of the other is not told again; anything, where the state is another one.
        """
        conn = sock.conn
        if conn is None:
            return ANY
        before, room = self.known, conn.room_at
        if room == -3:
            conn.room_at = -1
            return _ROOM
        now = self.known = condition(sock)
        conn.room_at = -1
        if conn.wake_all or now > before or (now ^ before) & 255:  # that an error was taken is no news
            conn.wake_all = False
            return ANY
        if room == -1:
            return _DATA | POLLPRI
        return _ROOM if room == conn.rcv_nxt else _ROOM | _DATA | POLLPRI

    def wait(self, task: Task, queue: WaitQueue, deadline: int | None) -> None:
        """Sleep until the queue is woken. EAGAIN at the deadline; a signal is EINTR when there is a deadline."""
        if deadline is None:
            queue.sleep(task)
            return
        left = deadline - task.now
        try:
            if left <= 0 or not queue.sleep(task, left):
                raise error(EAGAIN, "timed out")
        except Interrupted:
            raise error(EINTR) from None


class SocketOps(FileOps):
    """Operations on an open socket."""

    __slots__ = ()
    asynchronous = True

    # ---- data ----

    def read(self, file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
        if not n:
            return 0
        state: SocketState = file.private
        sock, network = state.sock, state.network
        if isinstance(sock, TcpSocket):
            if sock.served():
                data = sock.recv(n, network.timeline.now)
                network.drive()
            elif sock.rcvlowat > 1:
                data, _ = self.receive(file, task, n, 0)
                return sink.put(data) if data else 0
            else:
                data, _ = self._receive_once(state, file, task, n, 0, 0, None)
        elif sock.served():
            data = sock.recv(n, network.timeline.now)
            network.drive()
        else:
            data, _ = self._receive_once(state, file, task, n, 0, 0, None)
        cost = len(data) * network.copy_kib >> 10
        if cost or network.virtual:
            task.spend(cost)
        return sink.put(data) if data else 0

    def write(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        return self.send(file, task, source, n, 0, None)

    def receive(self, file: File, task: Task, n: int, flags: int) -> tuple[bytes, Any]:
        """recvfrom(2): (data, where it came from)."""
        state: SocketState = file.private
        sock = state.sock
        below = flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL | abi.MSG_CMSG_CLOEXEC)
        if sock.type == abi.SOCK_DGRAM and (flags & MSG_DONTWAIT or file.flags & O_NONBLOCK):
            below |= MSG_DONTWAIT  # after shutdown(SHUT_RD) only who would wait is told of an end
        data, addr = self._receive_once(state, file, task, n, flags, below, None)
        least = n if flags & MSG_WAITALL else sock.rcvlowat if isinstance(sock, TcpSocket) else 1
        if sock.type == SOCK_STREAM and 0 < len(data) < min(least, n) and not flags & (abi.MSG_OOB | abi.MSG_ERRQUEUE):
            if flags & MSG_PEEK:
                return self._peek_all(state, file, task, n, flags, data), addr
            parts = [data]
            missing = n - len(data)
            deadline = task.now + sock.rcvtimeo_ns if sock.rcvtimeo_ns else None
            while n - missing < min(least, n) and not (isinstance(sock, TcpSocket) and sock.ioctl(abi.SIOCATMARK)):
                try:
                    more, _ = self._receive_once(state, file, task, missing, flags, below, deadline)
                except Interrupted:
                    break
                except OSError as failure:
                    if isinstance(sock, TcpSocket) and failure.errno not in (EAGAIN, EINTR):
                        sock.so_error = int(failure.errno or 0)  # the next call is told
                    break
                if not more:
                    break
                parts.append(more)
                missing -= len(more)
            data = b"".join(parts)
        task.spend(len(data) * state.network.copy_kib >> 10)
        return data, addr

    def _peek_all(self, state: SocketState, file: File, task: Task, n: int, flags: int, data: bytes) -> bytes:
        """MSG_PEEK that waits (MSG_WAITALL, SO_RCVLOWAT), where `data` is all that there is so far."""
        sock = state.sock
        if not isinstance(sock, TcpSocket) or file.flags & O_NONBLOCK or flags & MSG_DONTWAIT:
            return data
        deadline = task.now + sock.rcvtimeo_ns if sock.rcvtimeo_ns else None
        while len(data) < (n if flags & MSG_WAITALL else min(n, sock.rcvlowat)):
            conn = sock.conn
            if conn is None or sock.ended(conn) or conn.urg_data >= 0:
                break
            try:
                state.wait(task, state, deadline)
            except (OSError, Interrupted):
                break
            if sock.flags.get(abi.SO_PEEK_OFF, -1) < 0:
                data = sock.recvfrom(n, state.network.timeline.now, MSG_PEEK)[0]
                continue
            try:  # each look goes on where the last one ended
                data += sock.recvfrom(n - len(data), state.network.timeline.now, MSG_PEEK)[0]
            except BlockingIOError:
                pass
        return data

    def _receive_once(
        self, state: SocketState, file: File, task: Task, n: int, flags: int, below: int, deadline: int | None
    ) -> tuple[bytes, Any]:
        sock, timeline = state.sock, state.network.timeline
        tcp: TcpSocket | None = sock if isinstance(sock, TcpSocket) else None
        if not (flags or below or file.flags & O_NONBLOCK) and n > 0 and not sock.rcvtimeo_ns:
            while sock.starved():
                state.sleep(task)
        while True:
            try:
                aside = isinstance(sock, TcpSocket) or flags & abi.MSG_OOB
                if not n and sock.type == SOCK_STREAM and not aside and not sock.readiness() & _READ:
                    raise error(EAGAIN)  # of a stream nothing can be taken only when there is something
                result: tuple[bytes, Any]
                if tcp is not None:
                    result = tcp.recvfrom(n, timeline.now, below)
                else:
                    result = sock.recvfrom(n, timeline.now, below)
            except BlockingIOError:
                if file.flags & O_NONBLOCK or flags & (MSG_DONTWAIT | abi.MSG_OOB | abi.MSG_ERRQUEUE):
                    raise  # urgent data and errors are never waited for
                if deadline is None and sock.rcvtimeo_ns:
                    deadline = task.now + sock.rcvtimeo_ns
                state.wait(task, state, deadline)
                continue
            state.network.drive()
            return result

    def send(
        self, file: File, task: Task, source: Source, n: int, flags: int, addr: Any, stamping: int = -1
    ) -> int:
        """sendto(2). A stream takes parts until all is sent; a datagram goes whole. `stamping` is what SO_TIMESTAMPING
        asks for of this one call."""
        state: SocketState = file.private
        sock, network = state.sock, state.network
        below = flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)
        tcp: TcpSocket | None = sock if isinstance(sock, TcpSocket) else None
        stream = tcp is not None or sock.type == SOCK_STREAM
        timeline = network.timeline
        cost = n * network.copy_kib >> 10
        if cost or network.virtual:
            task.spend(cost)
        done = 0
        stamped = tcp is not None and (stamping >= 0 or SO_TIMESTAMPING in tcp.flags)
        deadline: int | None = None
        chunk: Any = source.peek(_SEND_CHUNK if stream else n)
        if type(chunk) is not bytes:
            chunk = steady(chunk) if stream else own(chunk)
        try:
            while True:
                try:
                    if tcp is not None:
                        sent = tcp.sendto(chunk, addr, timeline.now, below)
                    else:
                        sent = sock.sendto(chunk, addr, timeline.now, below)
                except BlockingIOError:
                    network.drive()
                    if file.flags & O_NONBLOCK or flags & MSG_DONTWAIT:
                        raise
                    if deadline is None and sock.sndtimeo_ns:
                        deadline = task.now + sock.sndtimeo_ns
                    state.wait(task, state.writers, deadline)
                    continue
                source.skip(sent)
                done += sent
                network.drive()
                if not stream or done >= n:
                    return done
                if sent < len(chunk) and (file.flags & O_NONBLOCK or flags & MSG_DONTWAIT):
                    return done  # it is full
                if sent == len(chunk):
                    chunk = steady(source.peek(_SEND_CHUNK))
                else:
                    chunk = memoryview(chunk)[sent:]
        except Interrupted:
            if done:
                return done
            raise
        except OSError as failure:
            if done:
                return done
            if failure.errno == EPIPE and stream and not flags & MSG_NOSIGNAL:
                task.send_signal(SIGPIPE)
            raise
        finally:
            if stamped and done and tcp is not None:
                beside.written(tcp, chunk, timeline.now, stamping)

    # ---- connections ----

    def connect(self, file: File, task: Task, addr: Any) -> None:
        """connect(2): waits for the handshake unless O_NONBLOCK."""
        state: SocketState = file.private
        sock = state.sock
        if addr is None and isinstance(sock, TcpSocket):  # AF_UNSPEC
            state.connecting = False
            sock.disconnect(task.now)
            state.network.drive()
            return
        deadline = task.now + sock.sndtimeo_ns if sock.sndtimeo_ns else None
        if state.connecting and sock.family != abi.AF_UNIX and sock.type == SOCK_STREAM:
            conn = sock.conn
            if conn is None:  # shutdown() took the attempt back
                state.connecting = False
            elif conn.state == CLOSED and not sock.shutdown_mask & SHUT_OPENING:  # failed: the next call says so
                state.connecting = False
                code = sock.getsockopt(SOL_SOCKET, SO_ERROR)
                sock.forget()
                state.ready(sock)
                raise error(int(code) or abi.ECONNABORTED)
        try:
            sock.connect(addr, task.now)
            state.network.drive()
            state.connecting = False
            return
        except OSError as failure:
            state.network.drive()
            if failure.errno == EISCONN and state.connecting:
                state.connecting = False
                return
            if failure.errno not in (EINPROGRESS, EALREADY, EAGAIN):
                state.connecting = False
                raise
            state.connecting = True
            if file.flags & O_NONBLOCK:
                raise
            if failure.errno == EAGAIN and sock.family != abi.AF_UNIX:
                raise
        while not sock.readiness() & (POLLOUT | POLLERR | POLLHUP):
            if deadline is None:
                state.writers.sleep(task)
                continue
            left = deadline - task.now
            try:
                if left <= 0 or not state.writers.sleep(task, left):
                    raise error(EINPROGRESS, "timed out")
            except Interrupted:
                raise error(EINTR) from None
        state.connecting = False
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR)
        if isinstance(code, int) and code:
            if isinstance(sock, TcpSocket):
                sock.forget()
                state.ready(sock)
            raise error(code)

    def accept(self, file: File, task: Task) -> tuple[Any, Any]:
        """accept4(2) without the descriptor: (socket, peer's address)."""
        state: SocketState = file.private
        sock = state.sock
        deadline: int | None = None
        while True:
            try:
                now = state.network.timeline.now
                if isinstance(sock, TcpSocket):
                    accepted: tuple[Any, Any] = sock.accept(now)
                else:
                    accepted = sock.accept(now)
            except BlockingIOError:
                if file.flags & O_NONBLOCK:
                    raise
                if deadline is None and sock.rcvtimeo_ns:
                    deadline = task.now + sock.rcvtimeo_ns
                state.wait(task, state.readers, deadline)
                continue
            state.network.drive()
            return accepted

    def shutdown(self, file: File, task: Task, how: int) -> None:
        state: SocketState = file.private
        conn = state.sock.conn if state.connecting and isinstance(state.sock, TcpSocket) else None
        if conn is not None and conn.state not in (CLOSED, SYN_SENT, SYN_RECEIVED):
            state.connecting = False  # nobody need ask any more whether the attempt came to its end
        state.known = -1  # all who watch are told, whatever comes of it
        try:
            state.sock.shutdown(how, task.now)
        finally:
            state.network.drive()

    # ---- files ----

    def make_inode(self, file: File) -> Inode:
        """fstat(2) of a socket: a number, and no times."""
        inode: Inode = file.private.network.machine.vfs.anon("sockfs", abi.SOCKFS_MAGIC).inode(abi.S_IFSOCK | 0o777)
        inode.atime = inode.mtime = inode.ctime = inode.btime = 0
        return inode

    def poll(self, file: File) -> int:
        mask: int = file.private.sock.readiness()
        if mask & POLLIN:
            mask |= POLLRDNORM
        if mask & POLLOUT:
            mask |= POLLWRNORM
        return mask

    def ready(self, file: File, events: int) -> int:
        state: SocketState = file.private
        sock = state.sock
        tcp: TcpSocket | None = sock if isinstance(sock, TcpSocket) else None
        mask: int = tcp.ready_for(events) if tcp is not None else sock.ready_for(events)
        if not mask:
            return 0
        if mask & POLLIN:
            mask |= POLLRDNORM
        if mask & POLLOUT:
            mask |= POLLWRNORM
        return mask & events

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private,)

    def ioctl(self, file: File, task: Task, request: int, arg: Any) -> Any:
        sock = file.private.sock
        if request in (abi.FIONREAD, abi.TIOCOUTQ, abi.SIOCOUTQNSD):
            ask = getattr(sock, "ioctl", None)
            if ask is not None:
                return ask(request)
            if request == abi.FIONREAD and sock.family == abi.AF_UNIX:
                return sock.inq()
            queue = getattr(sock, "queue", None)
            if request == abi.TIOCOUTQ and sock.type != SOCK_STREAM:
                return 0  # a datagram leaves at once
            if request == abi.FIONREAD and queue is not None:
                return len(queue[0][0]) if queue else 0
            raise error(EINVAL, f"ioctl {request:#x} on this socket")
        if request == abi.SIOCATMARK:
            ask = getattr(sock, "ioctl", None)
            return ask(request) if ask is not None else 0
        return super().ioctl(file, task, request, arg)

    def lingers(self, file: File) -> bool:
        """Whether the last close of this socket is to wait (SO_LINGER with a time; socket(7))."""
        sock = file.private.sock
        linger: tuple[int, int] = sock.linger if isinstance(sock, TcpSocket) else getattr(sock, "linger", (0, 0))
        return bool(file.count == 1 and linger[0] and linger[1])

    def linger(self, file: File, task: Task) -> None:
        """After close: sleep until the peer has acknowledged everything and FIN, or the time is over."""
        sock = file.private.sock
        conn = getattr(sock, "conn", None)
        if conn is None:
            return
        queue = WaitQueue()
        sock.on_ready = lambda _: queue.wake_all()
        deadline = task.now + sock.linger[1] * 1_000_000_000
        try:
            while conn.state in (FIN_WAIT_1, LAST_ACK, CLOSING) and task.now < deadline:
                queue.sleep(task, deadline - task.now)
        except Interrupted:
            pass  # the descriptor is gone all the same
        finally:
            sock.on_ready = None

    def release(self, file: File) -> None:
        state: SocketState = file.private
        sock = state.sock
        sock.on_ready = None
        network = state.network
        if isinstance(sock, TcpSocket):
            sock.close(network.timeline.now)
        else:
            sock.close(network.timeline.now)
        network.drive()


SOCKET: Final = SocketOps()


def socket_file(task: Task, sock: Any, flags: int) -> File:
    """A new description of a socket, with O_NONBLOCK from SOCK_NONBLOCK."""
    status = _NONBLOCKING if flags & abi.SOCK_NONBLOCK else abi.O_RDWR
    return File(SOCKET, status, None, None, SocketState(task.machine.network, sock))


def socket_of(file: File) -> Any:
    """The socket behind a description; ENOTSOCK."""
    state = file.private
    if not isinstance(state, SocketState):
        raise error(abi.ENOTSOCK)
    return state.sock


__all__ = ["ENOTCONN", "SOCKET", "AnySocket", "SocketState", "socket_file", "socket_of"]
