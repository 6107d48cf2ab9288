"""SEND (RFC 9293 section 3.9.1.2) near the limit of the send buffer: it is filled buffer by buffer, as Linux's
tcp_sendmsg does. What has room is taken in `socket.TcpSocket.sendto`.

A write first tops up the last buffer that waits to be sent. Another is begun only while what is queued, bytes and
overheads, lies below SO_SNDBUF (and what is unsent below TCP_NOTSENT_LOWAT); once begun it is filled, so that a write
may exceed the limit by one buffer. Each full buffer is pushed, which sends what may be sent and so makes room.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from netstack.socket import MSG_EOR, MSG_MORE, MSG_OOB, error, would_block
from netstack.tcp import burst, chrono, output, rate
from netstack.tcp.tcb import EMPTY, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.socket import TcpSocket

KEPT = 16_384  # buffers of the application that are at least this large are queued without a copy


def refuse(sock: TcpSocket, conn: Connection | None) -> NoReturn:
    """Raise the reason why nothing can be sent now."""
    sock.take_error()
    opening = conn is not None and conn.state in (SYN_SENT, SYN_RECEIVED)
    if opening and sock.listener is None:  # shut or not: it is not looked at before
        raise would_block("the connection is not established yet")
    raise error(errno.EPIPE)


def joins(conn: Connection, size: int) -> bool:
    """Whether `size` bytes fit into the last buffer that waits, so that no other one is needed."""
    if conn.eor and conn.eor[-1] == conn.write_seq:
        return False
    had = conn.write_seq - max(conn.tail_seq, conn.snd_nxt)
    return had + size <= conn.mss_cache or had + size <= conn.size_goal()


def close(conn: Connection, end: int) -> None:
    """Nothing joins the buffer that ends there any more."""
    if conn.ends is EMPTY:
        conn.ends = [end]
    else:
        conn.ends.append(end)


def divide(conn: Connection, begun: int) -> None:
    """Divide what was queued whole from `begun` on, and is not sent yet, into buffers such as `fill` makes."""
    goal = conn.size_goal()
    end = begun + goal
    if end >= conn.write_seq:
        return
    while end < conn.write_seq:
        if end > conn.snd_nxt:
            close(conn, end)
        end += goal
    conn.tail_seq = end - goal


def begin(conn: Connection, now: int) -> None:
    """Data is about to be queued: note whether the connection has been idle (unless a buffer waits that the data joins,
    as in Linux) and whether the application was the limit."""
    if not conn.unsent_bytes and not conn.packets_out:
        conn.restart(now)
    rate.check_app_limited(conn)


def fill(conn: Connection, data: memoryview, now: int, flags: int) -> int:
    """Take what has room. Returns how many bytes that was; BlockingIOError if none."""
    urgent = flags & MSG_OOB
    goal = output.current_mss(conn) if urgent else conn.size_goal()
    size = len(data)
    kept = data.obj.__class__ is bytes and goal >= KEPT
    taken = 0
    due = 0  # full buffers that are sent together
    together = burst.room(conn, goal) if size > goal else 1
    rate.check_app_limited(conn)
    while taken < size:
        begun = max(conn.tail_seq, conn.snd_nxt)
        room = goal - (conn.write_seq - begun) if begun < conn.write_seq else 0
        if room <= 0 or (conn.eor and conn.eor[-1] == conn.write_seq):
            if conn.memory() >= conn.sndbuf or conn.unsent_bytes >= conn.notsent_lowat:
                conn.was_full = True
                if not taken:
                    raise would_block("the send buffer is full")
                flags &= ~(MSG_MORE | MSG_EOR)
                break
            if begun < conn.write_seq and conn.pushed_seq >= conn.write_seq > conn.snd_nxt and not taken:
                conn.push_marks = (*conn.push_marks, conn.write_seq)  # what was pushed keeps its PSH
            if begun < conn.write_seq:
                close(conn, conn.write_seq)
            if not conn.packets_out:
                conn.restart(now)
                together = burst.room(conn, goal) if size > goal else 1
            conn.tail_seq = conn.write_seq
            room = goal
        elif conn.push_marks and conn.push_marks[-1] == conn.write_seq:
            # The buffer that ends there grows, and its PSH moves along, unless an earlier call asked for it.
            moved = (conn.write_seq + min(room, size - taken),) if taken else ()
            conn.push_marks = conn.push_marks[:-1] + moved
        piece = data[taken : taken + room]
        taken += len(piece)
        if not conn.chrono:
            chrono.start(conn, chrono.BUSY, now)
        conn.queue(piece if kept else bytes(piece))
        if len(piece) < room or taken == size or urgent:
            continue
        if conn.write_seq > conn.pushed_seq + (conn.max_window >> 1):
            if due:
                output.write(conn, now, push_one=1, nagle=False, most=due)
                due = 0
            conn.push_marks = (*conn.push_marks, conn.write_seq)  # half a window since the last PSH: another
            conn.pushed_seq = conn.write_seq
            output.write(conn, now, nagle=False)  # of what is pushed also the part that a window still takes
            together = burst.room(conn, goal)
        elif conn.tail_seq <= conn.snd_nxt + due * goal:
            due += 1
            if due >= together:
                output.write(conn, now, push_one=1, nagle=False, most=due)
                due = 0
                together = 1
    if due:
        output.write(conn, now, push_one=1, nagle=False, most=due)
    if urgent:
        conn.snd_up = conn.write_seq  # the last byte is urgent: SND.UP is the number after it (RFC 9293 section 3.8.5)
    if flags & MSG_EOR:
        conn.end_record(flags & MSG_MORE)
    conn.push(now, bool(flags & MSG_MORE))
    if conn.wake_pending:  # what was sent made room for whoever waits for that
        conn.wake()
    return taken


def resize(conn: Connection, size: int) -> None:
    """SO_SNDBUF."""
    if size != conn.sndbuf or not conn.sndbuf_locked:
        conn.sndbuf = size
        conn.sndbuf_locked = True
        tell_room(conn)


def tell_room(conn: Connection) -> None:
    """A limit was changed: whoever waits for room is told if there is some now, as Linux does for SO_SNDBUF and
    TCP_NOTSENT_LOWAT."""
    if conn.writable():
        conn.was_full = False
        conn.room_at = -3
        conn.wake()
