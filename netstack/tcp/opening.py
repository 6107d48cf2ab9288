"""OPEN (RFC 9293 sections 3.9.1.1 and 3.10.1) as bind(2), listen(2) and connect(2), and what becomes of a socket whose
attempt to connect has failed or was taken back.

From here on a `TcpSocket` has a local name (`local`, a port it holds), and then a `Listener` or a `Connection`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netstack.address import format_ip
from netstack.socket import SockAddr, error
from netstack.tcp import fsm, info, inherit, ports
from netstack.tcp.listener import Listener
from netstack.tcp.tcb import CLOSED, SYN_RECEIVED, SYN_SENT
from netstack.tcp.timewait import TimeWait

if TYPE_CHECKING:
    from netstack.tcp.socket import TcpSocket

SHUT_OPENING = 4  # in shutdown_mask: shut before it was open, which bars connect() (Linux's SS_DISCONNECTING)


def bind(sock: TcpSocket, addr: SockAddr) -> None:
    """bind(2): a local address, and a port; 0 is any that is free."""
    sock.check_open()
    address, port = sock.parse_address(addr, errno.EINVAL)
    over = sock.conn is not None and sock.conn.state == CLOSED and not sock.pinned
    if (sock.local[1] or sock.conn is not None or sock.listener is not None) and not over:
        raise error(errno.EINVAL, "the socket is bound already")
    link = sock.link_of(addr, address, "binding to") if len(address) == 16 else None
    sock.check_local(address)
    sock.bound_device = link or sock.bound_device
    engine = sock.stack.tcp
    if not port:
        port = engine.pick_bind_port(sock, address)
        if not port:
            raise error(errno.EADDRINUSE, "no ephemeral port is free")
    elif engine.port_conflict(sock, address, port):
        raise error(errno.EADDRINUSE, f"{format_ip(address)}:{port} is in use")
    sock.local = (address, port)
    sock.v6only = sock.v6only or (len(address) == 16 and any(address))  # which no IPv4 address is
    sock.pinned = True
    ports.hold(sock)


def listen(sock: TcpSocket, n: int) -> None:
    """OPEN, passive (RFC 9293 section 3.9.1.1; listen(2)): at most `n` connections wait for accept(), or
    somaxconn."""
    sock.check_open()
    if sock.conn is not None:
        raise error(errno.EINVAL, "a socket that is connected, or was, cannot listen")
    engine = sock.stack.tcp
    somaxconn = sock.stack.settings.somaxconn
    backlog = somaxconn if n < 0 or n > somaxconn else n
    if sock.listener is not None:
        sock.listener.backlog = backlog
        return
    if not sock.local[1]:
        port = engine.pick_bind_port(sock, sock.local[0])
        if not port:
            raise error(errno.EADDRINUSE, "no ephemeral port is free")
        sock.local = (sock.local[0], port)
        ports.hold(sock)
    if engine.port_conflict(sock, sock.local[0], sock.local[1], listening=True):
        raise error(errno.EADDRINUSE, f"{format_ip(sock.local[0])}:{sock.local[1]} has a listener")
    sock.conn = None
    sock.shutdown_mask, sock.quickack = 0, 1  # delayed ACKs begin anew, too
    sock.listener = Listener(engine, sock, backlog)
    engine.listeners.setdefault(sock.local[1], []).append(sock.listener)


def connect(sock: TcpSocket, addr: SockAddr, now: int) -> None:
    """Always BlockingIOError(EINPROGRESS) when the SYN has gone out; the outcome is in SO_ERROR and readiness."""
    sock.check_open()
    if sock.listener is not None:
        raise error(errno.EISCONN, "a listening socket cannot connect")
    if sock.shutdown_mask & SHUT_OPENING:
        raise error(errno.EINVAL, "shut down before it was open: connect to AF_UNSPEC first")
    old = sock.conn
    if old is not None:
        if old.state in (SYN_SENT, SYN_RECEIVED):
            raise error(errno.EALREADY)
        if old.state != CLOSED or (sock.remote is not None and old.rcv_nxt):
            raise error(errno.EISCONN)  # also when it was, and has ended
        forget(sock)
        sock.take_error()
    stack = sock.stack
    engine = stack.tcp
    address, port = sock.parse_address(addr)
    wanted = sock.local[0] if any(sock.local[0]) else None
    link = sock.link_of(addr, address, "connecting to") if len(address) == 16 else sock.bound_device
    path = engine.route(address, wanted) if link is None else stack.route(address, wanted, link)
    sock.bound_device = link
    remote = path.dst
    if len(remote) == 4 and (remote[0] >= 224 or stack.is_broadcast(remote)):
        raise error(errno.ENETUNREACH, "TCP has no broadcast or multicast")
    lport = sock.local[1]
    if not lport:
        lport = engine.pick_connect_port(path.src, remote, port, now)
        if not lport:
            raise error(errno.EADDRNOTAVAIL, "no ephemeral port is free for this destination")
    key = path.src + remote + lport.to_bytes(2, "big") + port.to_bytes(2, "big")
    taken = engine.table.get(key)
    reused = None
    if taken is not None:
        if taken.__class__ is not TimeWait or not taken.reusable_at(now, sock.local[1] != 0):
            raise error(errno.EADDRNOTAVAIL, "this connection exists already")
        engine.end_time_wait(taken)
        reused = taken
    conn = engine.connection(engine, key, path, lport, port)
    conn.sock = sock
    inherit.from_socket(sock, conn)
    conn.soft_error, conn.scaling_ratio = sock.soft_error, sock.scaling_ratio
    sock.conn, sock.so_error = conn, 0  # how the connection before it ended is forgotten
    sock.local = (path.src, lport)
    sock.remote = (remote, port)
    if not sock.port_held:
        ports.hold(sock)
    engine.table[key] = conn
    engine.counters.ActiveOpens += 1
    if reused is not None:
        conn.ts_recent = reused.ts_recent
    conn.connect(now)
    raise BlockingIOError(errno.EINPROGRESS, "Operation now in progress")


def forget(sock: TcpSocket) -> None:
    """After an attempt to connect that has failed, and of which the caller was told: the socket is as it was before
    (tcp_disconnect), but for its buffers, what an ICMP error said and what `info.Past` keeps; the next attempt is from
    another port."""
    conn = sock.conn
    if conn is not None:
        sock.soft_error, sock.scaling_ratio = conn.soft_error, conn.scaling_ratio
        sock.rcvbuf, sock.sndbuf = conn.rcvbuf, conn.sndbuf
        sock.stack.tcp.saved.pop(conn, None)
    sock.past = info.Past(conn, sock.past, sock.stack.now)
    sock.window_clamp = 0
    sock.conn = sock.remote = None
    sock.shutdown_mask = 0
    if not sock.pinned:
        ports.release(sock)
        sock.local = (bytes(len(sock.local[0])), 0)


def disconnect(sock: TcpSocket, now: int) -> None:
    """connect(2) with AF_UNSPEC: ABORT (RFC 9293 section 3.10.5), and the socket may connect or listen again."""
    sock.check_open()
    sock.stop_listening(now)
    if sock.conn is not None and fsm.abort(sock.conn, now):
        sock.so_error = errno.ECONNRESET
    forget(sock)
    sock.wake()
