"""The user's side of TCP (RFC 9293 sections 3.9.1 and 3.10.1 to 3.10.6) as Linux's system calls (tcp(7), socket(2)).

A `TcpSocket` is unconnected, listening (it has a `Listener`) or has a `Connection`. Calls never block: what would block
raises `BlockingIOError`. Data given to `send` is kept by reference if it is `bytes` or a large part of one, and is
copied once otherwise. bind(2), listen(2) and connect(2) are in `opening`, options in `sockopt`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from netstack import bpf
from netstack.socket import (
    MSG_DONTWAIT,
    MSG_EOR,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    MSG_ZEROCOPY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_MAX_PACING_RATE,
    SO_PEEK_OFF,
    SOCK_STREAM,
    SockAddr,
    Socket,
    error,
    would_block,
)  # fmt: skip
from netstack.tcp import (
    beside,
    delack,
    fsm,
    info,
    inherit,
    opening,
    pacing,
    pmtu,
    ports,
    recvbuf,
    savesyn,
    screen,
    sendbuf,
    sockopt,
    window,
)
from netstack.tcp.connection import Connection
from netstack.tcp.listener import Listener
from netstack.tcp.opening import SHUT_OPENING
from netstack.tcp.tcb import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_2,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)  # fmt: skip
from netstack.tcp.timeouts import set_keepalive

if TYPE_CHECKING:
    from netstack.stack import Stack

COALESCE = 16_384  # a small write joins the one before it when both are still unsent and this small

IPPROTO_TCP = 6


class TcpSocket(Socket):
    __slots__ = (
        "cc_name", "conn", "defer_accept", "filter", "keep", "linger2", "listener", "nonagle", "notsent_lowat",
        "oob_inline", "past", "pinned", "port_held", "quickack", "scaling_ratio", "soft_error", "syn_retries",
        "user_mss", "user_timeout_ms", "window_clamp",
    )  # fmt: skip

    def __init__(self, stack: Stack, family: int, proto: int = IPPROTO_TCP) -> None:
        super().__init__(stack, family, SOCK_STREAM, proto)
        settings = stack.tcp.settings
        self.conn: Connection | None = None
        self.filter: bpf.Filter | None = None
        self.past: info.Past | None = None  # what is still to be seen of the connection before
        self.soft_error = 0  # what an ICMP error said to that one
        self.scaling_ratio = window.DEFAULT_RATIO  # that of the connection before
        self.listener: Listener | None = None
        self.port_held = False
        self.pinned = False  # the port was asked for by bind
        self.rcvbuf = settings.tcp_rmem[1]
        self.sndbuf = settings.tcp_wmem[1]
        self.nonagle = 0
        self.user_mss = 0
        self.syn_retries = 0
        self.linger2 = 0
        self.defer_accept = 0  # in SYN-ACK retransmissions
        self.window_clamp = 0
        self.user_timeout_ms = 0
        self.notsent_lowat = 0
        self.quickack = 1
        self.oob_inline = False
        self.cc_name: str = ""
        self.keep = (0, 0, 0)

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None, int, int]:
        return beside.receive(self, n, now, flags)

    def beside_data(self, size: int, flags: int) -> None:
        beside.note(self, size, flags)

    @property
    def state(self) -> int:
        """The connection's state (tcb's numbers); CLOSED without one."""
        if self.listener is not None:
            return LISTEN
        return self.conn.state if self.conn is not None else CLOSED

    def info(self, now: int | None = None) -> info.TcpInfo:
        """TCP_INFO as an object with the fields of `struct tcp_info`."""
        listener = self.listener
        queue = (0, 0) if listener is None else (len(listener.accept_queue), listener.backlog)
        reordering = self.stack.settings.tcp_reordering
        at = self.stack.now if now is None else now
        return info.collect(self.conn, self.state, at, queue, reordering, self.past)

    # Opening.

    def bind(self, addr: SockAddr) -> None:
        opening.bind(self, addr)

    def listen(self, n: int) -> None:
        opening.listen(self, n)

    def connect(self, addr: SockAddr, now: int) -> None:
        """Always BlockingIOError(EINPROGRESS) when the SYN has gone out; the outcome is in SO_ERROR and readiness."""
        opening.connect(self, addr, now)

    def disconnect(self, now: int) -> None:
        opening.disconnect(self, now)

    def forget(self) -> None:
        opening.forget(self)

    def is_listening(self) -> bool:
        return self.listener is not None

    def stop_listening(self, now: int) -> None:
        """CLOSE in LISTEN (RFC 9293 section 3.10.4): what was not accepted is reset."""
        listener = self.listener
        if listener is None:
            return
        self.listener = None
        group = self.stack.tcp.listeners[self.local[1]]
        group.remove(listener)
        if not group:
            del self.stack.tcp.listeners[self.local[1]]
        listener.close(now)

    def accept(self, now: int) -> tuple[TcpSocket, SockAddr]:
        """The next connection: (socket, peer). EAGAIN when there is none, EINVAL when not listening."""
        self.check_open()
        listener = self.listener
        if listener is None:
            raise error(errno.EINVAL, "the socket is not listening")
        if not listener.accept_queue:
            raise would_block()
        conn = listener.accept_queue.popleft()
        conn.listener = None
        path = conn.path
        local = listener.local
        if local[0] != path.src:
            local = listener.local = (path.src, local[1])
        sock = TcpSocket(self.stack, self.family)
        sock.conn = conn
        sock.local = local
        sock.remote = (path.dst, conn.ports & 0xFFFF)
        inherit.from_listener(sock, self)
        if conn.state == CLOSED:
            sock.so_error, conn.soft_error = conn.soft_error, 0
            sock.shutdown_mask = 3
        else:
            ports.hold_accepted(sock)
            sock.shutdown_mask = 1 if conn.fin_received else 0
        conn.sock = sock
        return sock, sock.format_address(sock.remote)

    # Sending.

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        """How many bytes were taken. EAGAIN when none fit; EPIPE after shutdown or without a connection."""
        return self.sendto(data, None, now, flags)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0) -> int:
        """The same: the address is ignored, as Linux does on a connected stream."""
        if self.closed:
            self.check_open()
        conn = self.conn
        if (
            conn is None
            or (conn.state != ESTABLISHED and conn.state != CLOSE_WAIT)
            or self.so_error
            or self.shutdown_mask & 2
        ):
            sendbuf.refuse(self, conn)
        size = len(data)
        if not size:
            return 0
        if flags & (MSG_OOB | MSG_ZEROCOPY):
            if flags & MSG_ZEROCOPY:
                return beside.send(self, data, now, flags)
            return sendbuf.fill(conn, memoryview(data), now, flags & (MSG_OOB | MSG_MORE))
        held = conn.memory() if conn.snd_una != conn.write_seq else 0
        if (
            held + size + (size >> 4) >= conn.sndbuf
            or conn.unsent_bytes + size > conn.notsent_lowat
            or conn.mss_cache < size > conn.max_window >> 1
            or (conn.unsent_bytes and not sendbuf.joins(conn, size))
        ):
            return sendbuf.fill(conn, memoryview(data), now, flags)
        if data.__class__ is not bytes and not (
            data.__class__ is memoryview and data.obj.__class__ is bytes and size >= COALESCE
        ):
            data = bytes(data)
        if not flags & (MSG_EOR | MSG_MORE) and conn.send_plain(data, size, now):
            return size
        sendbuf.begin(conn, now)
        if conn.push_marks and conn.push_marks[-1] == conn.write_seq:
            conn.push_marks = conn.push_marks[:-1]  # the buffer with that PSH grows
        unsent = conn.unsent
        if size < 2048 and unsent and len(unsent[-1]) + size <= COALESCE:
            unsent[-1] = bytes(unsent[-1]) + data
            conn.unsent_bytes += size
            conn.write_seq += size
        else:
            conn.queue(data)
        if flags & MSG_EOR:
            conn.end_record(flags & MSG_MORE)
        conn.push(now, bool(flags & MSG_MORE))
        if conn.unsent_bytes > conn.mss_cache < size:
            sendbuf.divide(conn, conn.write_seq - size)
        if conn.wake_pending:
            conn.wake()
        return size

    # Receiving.

    def recv(self, n: int, now: int, flags: int = 0) -> bytes:
        """Up to n bytes; b"" at the end of the stream. EAGAIN when there is nothing yet, ENOTCONN without a
        connection."""
        if self.closed:
            self.check_open()
        conn = self.conn
        if flags and flags & recvbuf.ASIDE:
            return recvbuf.aside(self, conn, n, flags)
        if conn is None:
            if self.listener is None:
                self.take_error()
                if self.shutdown_mask & 1:
                    return b""
            raise error(errno.ENOTCONN)
        queue = conn.rcvq
        if len(queue) == 1 and not flags and conn.urg_data < 0 and not conn.rcvq_offset and len(queue[0]) <= n:
            chunk = queue[0]  # all there is
            size = len(chunk)
            queue.clear()
            conn.rmem -= window.truesize(size)
            conn.copied_seq += size
            if conn.state != CLOSED:
                if conn.rcv_rtt_us:
                    window.space_adjust(conn, now)
                delack.after_read(conn, size, now)
            return chunk if chunk.__class__ is bytes else bytes(chunk)
        if not queue or n <= 0:
            return self.nothing(conn) if not queue else b""
        if conn.urg_data >= 0 and conn.rcv_up >= conn.copied_seq:
            if flags & MSG_PEEK:
                return recvbuf.peek_to_mark(self, conn, n) or self.nothing(conn)
            n = recvbuf.up_to_mark(self, conn, n)
            if not n or not queue:
                return self.nothing(conn)
        available = conn.rcv_nxt - conn.copied_seq - (1 if conn.fin_received else 0)
        if flags & MSG_WAITALL and not flags & MSG_DONTWAIT and available < n and not self.ended(conn):
            low = min(n, conn.rcvbuf >> 1)
            if available < low:
                raise would_block()
        if flags & MSG_PEEK:
            return recvbuf.look(self, conn, n, flags)
        return recvbuf.take(conn, n, now, flags)

    def starved(self) -> bool:
        conn = self.conn
        return (
            conn is not None and not conn.rcvq and conn.state == ESTABLISHED
            and not (conn.fin_received or self.so_error or self.shutdown_mask or self.closed)
        )  # fmt: skip

    def served(self) -> bool:
        conn = self.conn
        return conn is not None and bool(conn.rcvq) and conn.rcvlowat <= 1 and conn.urg_data < 0

    def ready_for(self, events: int) -> int:
        """`readiness` as far as poll(2) needs it for these events: a short way for established connections."""
        conn = self.conn
        if conn is None or conn.state != ESTABLISHED or self.shutdown_mask or self.so_error or conn.urg_data >= 0:
            return self.readiness()
        mask = POLLERR if self.errors else 0
        ready = conn.rcv_nxt - conn.copied_seq
        if ready and (ready >= conn.rcvlowat or conn.rmem > conn.rcvbuf >> 1):
            mask |= POLLIN
        if events & POLLOUT:
            if conn.writable():
                mask |= POLLOUT
            else:
                conn.was_full = True
        return mask

    def ended(self, conn: Connection) -> bool:
        return bool(conn.fin_received or self.so_error or self.shutdown_mask & 1 or conn.state == CLOSED)

    def nothing(self, conn: Connection) -> bytes:
        """No data: the end of the stream, an error, or not yet."""
        if conn.fin_received:
            return b""
        if self.so_error:
            self.take_error()
        if self.shutdown_mask & 1:  # (also when the connection has ended)
            return b""
        raise would_block()

    def getpeername(self) -> SockAddr:
        if self.state in (SYN_SENT, CLOSED):
            raise error(errno.ENOTCONN)
        return super().getpeername()

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        return self.recv(n, now, flags), None

    # Closing.

    def shutdown(self, how: int, now: int) -> None:
        """SHUT_WR sends FIN after what is queued; SHUT_RD only makes reads end. ENOTCONN without a connection."""
        self.check_open()
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise error(errno.EINVAL)
        if self.listener is not None:
            if how != SHUT_WR:
                self.stop_listening(now)
                self.wake()
            return
        conn = self.conn
        if conn is None or conn.state == CLOSED:
            self.shutdown_mask |= how + 1  # it takes effect all the same, as in Linux
            if conn is not None and (self.remote is None or not conn.rcv_nxt):
                self.shutdown_mask |= SHUT_OPENING
            self.wake()
            raise error(errno.ENOTCONN)
        if conn.state == SYN_SENT:  # the attempt is given up, whichever direction was to be shut
            self.disconnect(now)
            return
        if how in (SHUT_RD, SHUT_RDWR):
            self.shutdown_mask |= 1
        if conn.state == SYN_RECEIVED:
            self.shutdown_mask |= SHUT_OPENING
        if how in (SHUT_WR, SHUT_RDWR):
            self.shutdown_mask |= 2  # it may have been before the connection was
            if conn.state in (ESTABLISHED, CLOSE_WAIT):  # in SYN-RECEIVED the FIN waits for the peer's ACK
                fsm.move(conn, fsm.CLOSE)
                conn.send_fin(now)
        conn.wake_all = True
        self.wake()

    def close(self, now: int) -> None:
        """The descriptor is gone. The connection closes in the background, or is reset (unread data,
        SO_LINGER of 0)."""
        if self.closed:
            return
        self.closed = True
        self.on_ready = None
        if self.listener is not None:
            self.stop_listening(now)
            ports.release(self)
            return
        conn = self.conn
        if self.stack.tcp.saved and conn is not None:
            self.stack.tcp.saved.pop(conn, None)
        if conn is None or conn.state in (CLOSED, TIME_WAIT):
            if conn is not None:
                conn.sock = None
            ports.release(self)
            return
        conn.orphan = True
        unread = conn.rcv_nxt - conn.copied_seq - (1 if conn.fin_received else 0)
        state = conn.state
        if unread > 0 and state not in (SYN_SENT,):
            # Data was lost, and the peer has to know (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
            conn.counters.TCPAbortOnClose += 1
            conn.abort(now)
        elif self.linger[0] and not self.linger[1]:
            conn.counters.TCPAbortOnData += 1
            fsm.abort(conn, now)
        elif state == SYN_SENT:
            conn.done(now)
        elif state in (ESTABLISHED, SYN_RECEIVED, CLOSE_WAIT):
            fsm.move(conn, fsm.CLOSE)
            conn.send_fin(now)
        elif state == FIN_WAIT_2:
            if conn.linger2 < 0:
                conn.counters.TCPAbortOnLinger += 1
                conn.abort(now)
            else:
                conn.fin_wait_timeout(now)
        if conn.state == CLOSED:
            ports.release(self)

    # Readiness.

    def readiness(self) -> int:
        """The events of poll(2), as Linux's tcp_poll has them for each state."""
        listener = self.listener
        if listener is not None:
            return POLLIN if listener.accept_queue else 0
        conn = self.conn
        state = conn.state if conn is not None else CLOSED
        mask = 0
        shut = self.shutdown_mask & 3
        if conn is not None and conn.fin_received:
            shut |= 1
        if shut == 3 or state == CLOSED:
            mask |= POLLHUP
        if shut & 1:
            mask |= POLLIN | POLLRDHUP
        if conn is not None and state not in (SYN_SENT, SYN_RECEIVED):
            ready = conn.rcv_nxt - conn.copied_seq - (1 if conn.fin_received else 0)
            ready -= 1 if conn.urg_data >= 0 and recvbuf.at_mark(self, conn) else 0
            if ready > 0 and (ready >= conn.rcvlowat or mask & POLLIN or conn.rmem > conn.rcvbuf >> 1):
                mask |= POLLIN
            if shut & 2 or conn.writable():
                mask |= POLLOUT
            else:
                conn.was_full = True
            if conn.urg_data & 0x200 and conn.urg_data > 0:
                mask |= POLLPRI
        elif conn is None or state == CLOSED:
            mask |= POLLOUT
        if self.so_error or self.errors:
            mask |= POLLERR
        return mask

    def getsockopt(self, level: int, name: int, n: int | None = None) -> int | bytes:
        if level == sockopt.SOL_TCP and name == savesyn.TCP_SAVED_SYN:
            return savesyn.take(self, n)
        return super().getsockopt(level, name, n)

    def ioctl(self, request: int) -> int:
        return sockopt.ioctl(self, request)

    # Options.

    def buffers_changed(self) -> None:
        """SO_RCVBUF, SO_SNDBUF or SO_RCVLOWAT was set (socket(7), tcp(7))."""
        window.set_rcvlowat(self)
        conn = self.conn
        if conn is not None:
            if self.rcvbuf_locked:
                conn.rcvbuf = self.rcvbuf
                conn.rcvbuf_locked = True
            if self.sndbuf_locked:
                sendbuf.resize(conn, self.sndbuf)

    def set_filter(self, code: bytes) -> None:
        self.filter = bpf.Filter(code) if code else None
        screen.asked_for(self)

    def filter_code(self) -> bytes:
        return self.filter.code if self.filter is not None else b""

    def ip_changed(self) -> None:
        screen.asked_for(self)
        if self.conn is not None:
            self.conn.set_ip(*pmtu.ip_fields(self, self.conn.path))

    def _get_socket(self, name: int, n: int | None = None) -> int | bytes:
        conn = self.conn
        if name == SO_PEEK_OFF:
            return recvbuf.peek_offset(self)
        if conn is not None:
            self.rcvbuf, self.sndbuf = conn.rcvbuf, conn.sndbuf
            self.soft_error = conn.soft_error
        if name == SO_ERROR and not self.so_error:
            self.so_error, self.soft_error = self.soft_error, 0  # who asks is told of what is no end yet, too
            if conn is not None:
                conn.soft_error = 0
        return super()._get_socket(name, n)

    def memory_use(self) -> tuple[int, int, int, int, int, int, int, int, int]:
        c = self.conn
        if c is None:
            return super().memory_use()
        return c.rmem, c.rcvbuf, 0, c.sndbuf, 0, c.memory(), 0, 0, 0

    def flag_changed(self, name: int) -> None:
        """SO_MAX_PACING_RATE or SO_KEEPALIVE was set."""
        conn = self.conn
        if name == SO_PEEK_OFF:
            recvbuf.peek_from(self, self.flags[name])
        if name == SO_MAX_PACING_RATE and conn is not None:
            pacing.configure(conn)
        if name == SO_KEEPALIVE and conn is not None:
            set_keepalive(conn, bool(self.flags.get(SO_KEEPALIVE)), self.stack.now)

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        if level != sockopt.SOL_TCP or not sockopt.set_option(self, name, value):
            super().set_protocol_option(level, name, value)

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        if level == sockopt.SOL_TCP:
            return sockopt.get_option(self, name)
        return super().get_protocol_option(level, name)
