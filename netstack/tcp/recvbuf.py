"""Receiving: taking from the queue, looking without taking, and urgent data (RFC 9293 sections 3.9.1.3 and 3.8.5, RFC
6093 section 3; recv(2) with MSG_PEEK and MSG_OOB, as in Linux).

Urgent data is a single byte here, as RFC 6093 section 3.3 found everywhere: `rcv_up` is its sequence number, and
`urg_data` is -1 without any, URGENT_AHEAD while it is announced, 0x200 and the byte once it is here, 0x400 once read.
"""

from __future__ import annotations

import errno
from itertools import islice
from typing import TYPE_CHECKING

from netstack.control import take_error
from netstack.socket import MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC, SO_OOBINLINE, SO_PEEK_OFF, error, would_block
from netstack.tcp import delack, window
from netstack.tcp.segment import URG
from netstack.tcp.tcb import CLOSED, URGENT_AHEAD

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.segment import Segment
    from netstack.tcp.socket import TcpSocket

ASIDE = MSG_OOB | MSG_ERRQUEUE
"""Flags of recv(2) with which something other than the stream is read."""


def take(conn: Connection, n: int, now: int, flags: int) -> bytes:
    """RECEIVE (RFC 9293 section 3.9.1.3): up to n bytes of the queue, which is not empty; this may open the window
    (section 3.8.6.2.2). With MSG_TRUNC the bytes are passed over, and zeros are returned (tcp(7))."""
    queue = conn.rcvq
    chunk = queue[0]
    offset = conn.rcvq_offset
    have = len(chunk) - offset
    freed = 0
    if have > n:
        data = bytes(memoryview(chunk)[offset : offset + n])
        conn.rcvq_offset = offset + n
        size = n
    elif have == n or len(queue) == 1:
        del queue[0]
        conn.rcvq_offset = 0
        data = bytes(chunk) if not offset else bytes(memoryview(chunk)[offset:])
        size = have
        freed = window.truesize(len(chunk))
    else:
        parts = [memoryview(chunk)[offset:] if offset else chunk]
        freed = window.truesize(len(chunk))
        size = have
        conn.rcvq_offset = 0
        whole = 1
        for chunk in islice(queue, 1, None):
            have = len(chunk)
            if size + have > n:
                left = n - size
                if left:
                    parts.append(memoryview(chunk)[:left])
                    conn.rcvq_offset = left
                    size = n
                break
            parts.append(chunk)
            whole += 1
            freed += window.truesize(have)
            size += have
        del queue[:whole]
        data = b"".join(parts)
    if flags & MSG_TRUNC:
        data = bytes(size)
    conn.rmem -= freed
    conn.copied_seq += size
    if conn.state != CLOSED:
        window.space_adjust(conn, now)
        delack.after_read(conn, size, now)
    return data


def peek(conn: Connection, n: int, skip: int = 0) -> bytes:
    """MSG_PEEK: up to n bytes, which stay in the queue, after the first `skip` ones."""
    parts = []
    offset = conn.rcvq_offset + skip
    for chunk in conn.rcvq:
        if offset >= len(chunk):
            offset -= len(chunk)
            continue
        part = memoryview(chunk)[offset : offset + n]
        offset = 0
        parts.append(part)
        n -= len(part)
        if not n:
            break
    return b"".join(parts)


def taken(sock: TcpSocket) -> int:
    """How many bytes of the stream have been read."""
    conn = sock.conn
    return conn.copied_seq - conn.irs - 1 if conn is not None and conn.irs else 0


def peek_from(sock: TcpSocket, offset: int) -> None:
    """SO_PEEK_OFF: remember the offset, and how much has been read by now. `peek_offset` subtracts what is read later,
    so that reading itself does not have to know of it."""
    sock.flags = {**sock.flags, SO_PEEK_OFF: offset, -SO_PEEK_OFF: taken(sock)}


def peek_offset(sock: TcpSocket) -> int:
    """Where the next peek begins, counted from what is read next; negative if SO_PEEK_OFF is not set."""
    offset = sock.flags.get(SO_PEEK_OFF, -1)
    return offset if offset < 0 else max(offset - taken(sock) + sock.flags.get(-SO_PEEK_OFF, 0), 0)


def look(sock: TcpSocket, conn: Connection, n: int, flags: int) -> bytes:
    """MSG_PEEK at the offset of SO_PEEK_OFF, which moves on."""
    offset = peek_offset(sock) if sock.flags else -1
    data = peek(conn, n, max(offset, 0))
    if not data:
        return sock.nothing(conn)
    if offset >= 0:
        peek_from(sock, offset + len(data))
    return bytes(len(data)) if flags & MSG_TRUNC else data


def up_to_mark(sock: TcpSocket, conn: Connection, n: int) -> int:
    """How much may be read: a read stops before the urgent byte. The next read begins after it (or with it, under
    SO_OOBINLINE), and then it is too late for MSG_OOB."""
    distance = conn.rcv_up - conn.copied_seq
    if distance:
        return int(min(n, distance))
    if not (sock.oob_inline or sock.flags.get(SO_OOBINLINE)):
        step_over(conn)
    conn.urg_data = -1
    return n


def peek_to_mark(sock: TcpSocket, conn: Connection, n: int) -> bytes:
    """MSG_PEEK while urgent data lies ahead: what a read up to the mark would give. Nothing changes."""
    if at_mark(sock, conn):
        return peek(conn, n, 1)
    return peek(conn, min(n, conn.rcv_up - conn.copied_seq) or n)


def at_mark(sock: TcpSocket, conn: Connection) -> bool:
    """Whether the urgent byte is next, and is not part of the stream."""
    return bool(conn.rcv_up == conn.copied_seq and not (sock.oob_inline or sock.flags.get(SO_OOBINLINE)))


def step_over(conn: Connection) -> None:
    """Pass over the next byte, which is the urgent one."""
    chunk = conn.rcvq[0]
    conn.rcvq_offset += 1
    conn.copied_seq += 1
    if conn.rcvq_offset >= len(chunk):
        del conn.rcvq[0]
        conn.rcvq_offset = 0
        conn.rmem -= window.truesize(len(chunk))


def passed_mark(conn: Connection) -> None:
    """A new urgent pointer came. If the reader stands before the old urgent byte, that is lost."""
    if conn.urg_data >= 0 and conn.copied_seq == conn.rcv_up < conn.rcv_nxt:
        sock = conn.sock
        if sock is None or not (sock.oob_inline or sock.flags.get(SO_OOBINLINE)):
            step_over(conn)


def urgent_arrives(c: Connection, seg: Segment, seq: int) -> None:
    """The urgent pointer points to the byte after the urgent one (RFC 9293 section 3.8.5, RFC 6093)."""
    pointer = seg.urgent
    if pointer and not c.settings.tcp_stdurg:
        pointer -= 1
    at = seq + pointer
    if not seg.flags & URG:
        at = c.rcv_up  # announced by an earlier segment
    elif at < c.copied_seq or at < c.rcv_nxt or (c.urg_data >= 0 and at <= c.rcv_up):
        at = c.rcv_up
    else:
        passed_mark(c)
        c.rcv_up = at
        c.urg_data = URGENT_AHEAD
        c.wake_pending = True
    if c.urg_data == URGENT_AHEAD and 0 <= at - seq < seg.length:
        c.urg_data = 0x200 | seg.payload[at - seq]
        c.wake_pending = True


def aside(sock: TcpSocket, conn: Connection | None, n: int, flags: int) -> bytes:
    """Read what MSG_ERRQUEUE or MSG_OOB ask for."""
    if flags & MSG_ERRQUEUE:
        return take_error(sock, n)[0]
    if conn is None:
        raise error(errno.EINVAL if sock.listener is None else errno.ENOTCONN, "no urgent data")
    return urgent(sock, conn, flags)


def urgent(sock: TcpSocket, conn: Connection, flags: int) -> bytes:
    """MSG_OOB: the urgent byte. EINVAL if there is none (or it is inline), EAGAIN if it is only announced."""
    if sock.flags.get(SO_OOBINLINE) or conn.urg_data < 0 or conn.urg_data & 0x400:
        raise error(errno.EINVAL, "no urgent data")
    if conn.state == CLOSED and not conn.fin_received:
        raise error(errno.ENOTCONN)
    if conn.urg_data & 0x200:
        byte = bytes([conn.urg_data & 0xFF])
        if not flags & MSG_PEEK:
            conn.urg_data = 0x400
        return byte
    if conn.fin_received or sock.shutdown_mask & 1:
        return b""
    raise would_block()
