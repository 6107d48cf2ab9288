"""What a stream tells its user beside the data: control messages of recvmsg, and the error queue (<linux/tcp.h> and
Linux's documentation of MSG_ZEROCOPY and SO_TIMESTAMPING; no RFC has any of this).

TCP_INQ: each recvmsg says how much waits behind what it returned (1 at the end of the stream: a read will not block).

MSG_ZEROCOPY, where SO_ZEROCOPY is set: the sender is told when its buffer is no longer needed, that is when the last
byte of the call is acknowledged (or the connection is gone). Calls are numbered. A notification names a range of them,
and is joined to the one before if nobody has read that yet. This stack keeps the application's buffers by reference and
copies nothing, but no page is pinned either: so a notification says COPIED, as Linux's does if a device had to copy. A
buffer of Linux's holds MAX_SKB_FRAGS pieces of the user's memory: a full one is pushed, and the next is begun.

SO_TIMESTAMPING: the user is told of the last byte of each write (`written` is called after a write) when the segment
with that byte leaves, whenever it is sent again, and when it is acknowledged. Of several writes in one segment, or in a
buffer that has not left yet, it is told of the last only. An entry's data is the segment's text, or `stats.counters`
(OPT_STATS). Each recvmsg says when the last byte that it returned came.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netstack import stamps
from netstack.control import QueuedError, queue_stamp, take_error
from netstack.socket import (
    MSG_EOR,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_ZEROCOPY,
    SO_ZEROCOPY,
    SockAddr,
    error,
)
from netstack.tcp import stats
from netstack.tcp.tcb import CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.socket import TcpSocket

SOL_TCP = 6
TCP_INQ = TCP_CM_INQ = 36
ORIGIN_ZEROCOPY = 5
CODE_COPIED = 1
SKB_FRAGS = 17
SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
INQ_FLAG = SOL_TCP << 16 | TCP_INQ
"""Its place among the socket's flags, which accepted sockets inherit."""


def begin(sock: TcpSocket, c: Connection) -> None:
    """A connection takes over its socket's options."""
    if sock.flags:
        stamps.watch(sock, c)


def inq(c: Connection | None) -> int:
    """What waits to be read; the peer's FIN counts as one byte, which is never read (Linux's tcp_inq_hint)."""
    return int(c.rcv_nxt - c.copied_seq) if c is not None else 0


def receive(sock: TcpSocket, n: int, now: int, flags: int) -> tuple[bytes, SockAddr | None, int, int]:
    """recvmsg: (data, no address, message flags, length); then `sock.ancillary` has the control messages."""
    if flags & MSG_ERRQUEUE:
        return take_error(sock, n)
    data = sock.recv(n, now, flags)
    note(sock, len(data), flags)
    return data, None, 0, len(data)


def note(sock: TcpSocket, size: int, flags: int) -> None:
    """Make the control messages that go with what was just received."""
    told: list[tuple[int, int, bytes]] = []
    c = sock.conn
    if c is not None and c.stamps is not None and size and not flags & MSG_OOB:
        when = c.stamps.when(c.copied_seq + (size if flags & MSG_PEEK else 0) - 1)
        if when >= 0:
            told.extend(stamps.arrived(sock, when + sock.stack.realtime_offset()))
    if sock.flags.get(INQ_FLAG):
        told.append((SOL_TCP, TCP_CM_INQ, struct.pack("=i", inq(c))))
    sock.ancillary = told


def wish(sock: TcpSocket, ancillary: Any) -> int:
    """The flags of SO_TIMESTAMPING that sendmsg's control messages ask for in this call, or -1."""
    asked = -1
    for level, kind, data in ancillary:
        if level == stamps.SOL_SOCKET and stamps.NEWER.get(kind, kind) == stamps.SO_TIMESTAMPING:
            asked = stamps.asked_of_call(sock, kind, bytes(data))
        elif level == stamps.SOL_SOCKET and kind not in (SCM_RIGHTS, SCM_CREDENTIALS):
            raise error(errno.EINVAL, f"ancillary data {kind} of SOL_SOCKET")
    return asked


def send(sock: TcpSocket, data: Any, now: int, flags: int) -> int:
    """send() with MSG_ZEROCOPY."""
    taken = sock.send(data, now, flags & ~MSG_ZEROCOPY)
    number(sock)
    return taken


def send_pieces(sock: TcpSocket, data: bytes, lengths: Sequence[int], now: int, flags: int) -> int:
    """The same with memory in pieces of these lengths. 0 if that makes no difference, or if not everything has room:
    then the caller sends as usual."""
    c = sock.conn
    below = flags & ~MSG_ZEROCOPY
    if c is None or len(lengths) <= SKB_FRAGS or not data or below & ~MSG_MORE or not sock.flags.get(SO_ZEROCOPY):
        return 0
    if c.state not in (ESTABLISHED, CLOSE_WAIT) or sock.so_error or sock.shutdown_mask & 2:
        return 0
    if c.memory() + 2 * len(data) >= c.sndbuf or c.unsent_bytes + len(data) > c.notsent_lowat:
        return 0
    at = 0
    for first in range(0, len(lengths), SKB_FRAGS):
        size = sum(lengths[first : first + SKB_FRAGS])
        last = first + SKB_FRAGS >= len(lengths)
        at += sock.send(data[at : at + size], now, below if last else MSG_EOR)
    number(sock)
    written(sock, data, now)
    return at


def number(sock: TcpSocket) -> None:
    """Give this call a number, by which the user will be told of it."""
    c = sock.conn
    if c is None or not sock.flags.get(SO_ZEROCOPY):
        return
    if c.zerocopy is None:
        c.zerocopy = deque()
        c.zerocopy_next = 0
    c.zerocopy.append((c.write_seq, c.zerocopy_next))
    c.zerocopy_next += 1
    completed(c)


def completed(c: Connection, everything: bool = False) -> None:
    """Tell of the calls whose last byte is acknowledged."""
    waiting = c.zerocopy
    sock = c.sock
    una = c.snd_una
    while waiting and (everything or waiting[0][0] <= una):
        number = waiting.popleft()[1]
        if sock is None:
            continue
        last = sock.errors[-1] if sock.errors else None
        if last is not None and last.origin == ORIGIN_ZEROCOPY and last.high == number - 1:
            last.high = number
        else:
            if not isinstance(sock.errors, deque) or sock.errors.maxlen == 0:
                sock.errors = deque()
            sock.errors.append(QueuedError(0, ORIGIN_ZEROCOPY, 0, CODE_COPIED, number, b"", None, b"", number))
        sock.wake()


# Time stamps.


def written(sock: TcpSocket, text: Any, now: int, asked: int = -1) -> None:
    """A write is over, and `text` was the last of it: with SO_TIMESTAMPING the user will be told of its last byte.
    `asked` is what this one call asks for (`wish`), or -1."""
    c = sock.conn
    flags = sock.flags.get(stamps.SO_TIMESTAMPING, 0) if asked < 0 else asked
    if c is None or not flags & stamps.SENT:
        return
    if c.stamps is None:
        c.stamps = stamps.Stamps()
    end, sent, una = c.write_seq, c.snd_nxt, c.snd_una
    begun = max(c.tail_seq, sent)  # where the buffer begins that has the last byte
    goal = c.size_goal()
    begun += max(end - 1 - begun, 0) // goal * goal
    c.stamps.waiting = [one for one in c.stamps.waiting if una < one.end <= max(begun, sent)]
    stamp = stamps.Stamp(end, flags)
    c.stamps.waiting.append(stamp)
    for rec in c.rtx:
        if rec.seq < end <= rec.seq + rec.length:
            told(c, stamp, rec.frags, now, rec.seq)
    if end <= una:  # all the way there and back within the call
        told(c, stamp, (text,), now, end)
        acknowledged(c, una, now)


def told(
    c: Connection, stamp: stamps.Stamp, frags: Sequence[Any], now: int, begun: int, segments: int = 0, length: int = 0
) -> None:
    """The segment with a write's last byte leaves. What begins at `begun` counts as not sent; `segments` and `length`
    are sent and not counted yet."""
    if not stamp.flags & stamps.OPT_TSONLY:
        stamp.text = b"".join(frags)
    stamp.sent_ns = now
    counted = stats.counters(c, now, now, begun, segments, length) if stamp.flags & stamps.OPT_STATS else b""
    for flag, moment in ((stamps.TX_SCHED, stamps.TSTAMP_SCHED), (stamps.TX_SOFTWARE, stamps.TSTAMP_SND)):
        if stamp.flags & flag and c.sock is not None and c.stamps is not None:
            queue_stamp(c.sock, moment, stamp.end - 1 - c.stamps.origin, stamp.text, now, counted)


def left(c: Connection, seq: int, frags: tuple[Any, ...], length: int, now: int) -> None:
    """A segment leaves, for the first time or again: tell of the last write that ends in it."""
    if c.stamps is None:
        return
    ends = [stamp for stamp in c.stamps.waiting if seq < stamp.end <= seq + length]
    for stamp in ends[:-1]:
        c.stamps.waiting.remove(stamp)
    fresh = seq >= c.snd_nxt
    for stamp in ends[-1:]:
        told(c, stamp, frags, now, seq if fresh else c.snd_nxt, -(-length // c.mss_cache) * fresh, length * fresh)


def acknowledged(c: Connection, una: int, now: int) -> None:
    """Tell of the writes whose last byte has arrived."""
    if c.stamps is None:
        return
    for stamp in c.stamps.waiting:
        if stamp.end <= una and stamp.flags & stamps.TX_ACK and c.sock is not None:
            counted = b""
            if stamp.flags & stamps.OPT_STATS:
                counted = stats.counters(c, now, stamp.sent_ns, c.snd_nxt, ttl=c.engine.arriving_ttl())
            queue_stamp(c.sock, stamps.TSTAMP_ACK, stamp.end - 1 - c.stamps.origin, stamp.text, now, counted)
    c.stamps.waiting = [stamp for stamp in c.stamps.waiting if stamp.end > una]
