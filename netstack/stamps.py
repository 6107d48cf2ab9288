"""Time stamps of packets: SO_TIMESTAMPING (Linux's Documentation/networking/timestamping.rst), SO_TIMESTAMP and
SO_TIMESTAMPNS (socket(7)).

The user is told of what was sent through the error queue: one entry when it enters the device's queue (TX_SCHED), one
when the device takes it (TX_SOFTWARE), and, for a stream, one when its last byte is acknowledged (TX_ACK). An entry has
a number, if OPT_ID asks for it: that of the datagram, or the place in the stream of the last byte of a write. With
OPT_TSONLY the text is not returned (Linux returns it with the headers). Here a device takes at once what enters its
queue.

OPT_STATS sends counters of the connection along (`netstack.tcp.stats`). One call of sendmsg may ask for other moments
than the socket does. A stream's recvmsg says when the last segment came of which it returns anything; where Linux has
several segments in one buffer, when the last of these came.

Times are those of CLOCK_REALTIME. There are no time stamps of hardware.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netstack.socket import Socket

SOL_SOCKET = 1
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING = 29, 35, 37
SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPING_NEW = 63, 64, 65
NEWER = {SO_TIMESTAMP_NEW: SO_TIMESTAMP, SO_TIMESTAMPNS_NEW: SO_TIMESTAMPNS, SO_TIMESTAMPING_NEW: SO_TIMESTAMPING}
"""The names whose times are of 64 bits everywhere: on a machine of 64 bits the same, but for the messages' type."""
OPTIONS = frozenset((*NEWER, *NEWER.values()))

TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 8, 1 << 9
OPT_TSONLY, OPT_STATS, BIND_PHC, OPT_ID_TCP, OPT_RX_FILTER = 1 << 11, 1 << 12, 1 << 15, 1 << 16, 1 << 17
MASK = (1 << 19) - 1
SENT = TX_SOFTWARE | TX_SCHED | TX_ACK
"""What asks for something to be told of what is sent."""
RECORD = SENT | 1 << 0 | 1 << 18
"""What one call may ask for; a device's moments, which there are none of, too."""
SCM_TIMESTAMPING_OPT_STATS, SCM_TS_OPT_ID = 54, 81
TSTAMP_SND, TSTAMP_SCHED, TSTAMP_ACK = 0, 1, 2
"""sock_extended_err's ee_info: which of its moments."""
ORIGIN_TIMESTAMPING = 4
NEXT, NEW = -1, -2
"""Among a socket's flags: the next datagram's number; whether messages are of the newer types."""
BUFFERS = (152, 600, 1624, 3672)
"""Bytes of text that a buffer of Linux's for a small packet holds: what fits in behind the first is joined to it."""
CLOSED = 7
"""The state of a connection that is gone."""
OVERHEAD = 832
"""Of an entry, towards SO_RCVBUF: an empty buffer of Linux's."""


def memory(sock: Socket, data: bytes) -> int:
    """What an entry counts for: of a stream a buffer's head and the text; a datagram lies behind its headers in
    memory of a power of two."""
    if sock.type == 1:
        return OVERHEAD + len(data)
    needed = len(data) + (60 if sock.family == 2 else 80) + 320 if data else 0
    return OVERHEAD if needed <= 576 else (1 << (needed - 1).bit_length()) + 256


class Stamps:
    """What a connection whose socket asked for time stamps keeps: where its numbers begin, and the writes that wait for
    something, in their order; and, where it is asked when something came, the buffers that wait to be read, as (end,
    when, length), and when came what is out of order, by its place."""

    __slots__ = ("arrivals", "came", "early", "origin", "waiting")

    def __init__(self) -> None:
        self.origin = 0
        self.waiting: list[Stamp] = []
        self.arrivals = False
        self.came: deque[tuple[int, int, int]] = deque()
        self.early: dict[int, int] = {}

    def queued(self, seq: int, size: int, now: int, copied: int) -> None:
        """Text goes behind what waits to be read; what is before `copied` has been."""
        if not self.arrivals:
            return
        came = self.came
        while came and came[0][0] <= copied:
            came.popleft()
        if came:
            end, _, length = came[-1]
            if end == seq and length + size <= next((room for room in BUFFERS if length <= room), 0):
                came[-1] = (seq + size, now, length + size)
                return
        came.append((seq + size, now, size))

    def held(self, seq: int, now: int) -> None:
        """Text is out of order."""
        if self.arrivals:
            self.early[seq] = now

    def drained(self, seq: int, skip: int, size: int, now: int, copied: int) -> None:
        """And is in order now, but for its first `skip` bytes, that came twice."""
        if self.arrivals:
            self.queued(seq + skip, size, self.early.get(seq, now), copied)
            self.early = {place: at for place, at in self.early.items() if place > seq}

    def when(self, last: int) -> int:
        """When the byte came that lies there; -1 where nobody noted it."""
        for end, at, length in self.came:
            if end > last:
                return at if end - length <= last else -1
        return -1


class Stamp:
    """A write that is to be told of: the place behind its last byte, what is asked for, and the text of the segment
    that it left in, and when."""

    __slots__ = ("end", "flags", "sent_ns", "text")

    def __init__(self, end: int, flags: int) -> None:
        self.end = end
        self.flags = flags
        self.text = b""
        self.sent_ns = 0


def set_option(sock: Socket, name: int, value: int | bytes) -> None:
    """SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING (flags, or struct so_timestamping). EINVAL for flags that are not
    known or not together, and for numbers of a stream that has no connection yet."""
    number = value if isinstance(value, int) else int.from_bytes(value[:4], "little")
    flags = dict(sock.flags)
    if number or NEWER.get(name, name) == SO_TIMESTAMPING:
        flags[NEW] = int(name in NEWER)
    name = NEWER.get(name, name)
    if name != SO_TIMESTAMPING:
        flags.pop(SO_TIMESTAMP, None)  # of the two the last one holds
        flags.pop(SO_TIMESTAMPNS, None)
        flags[name] = int(bool(number))
        sock.flags = flags
        watch(sock, getattr(sock, "conn", None))
        return
    number &= 0xFFFFFFFF
    if number & ~MASK:
        raise OSError(errno.EINVAL, f"SO_TIMESTAMPING has no flags {number & ~MASK:#x}")
    if number & OPT_ID_TCP and not number & OPT_ID:
        raise OSError(errno.EINVAL, "OPT_ID_TCP says what OPT_ID counts from: both are needed")
    if number & OPT_STATS and not number & OPT_TSONLY:
        raise OSError(errno.EINVAL, "OPT_STATS comes with OPT_TSONLY only")
    if number & BIND_PHC:
        raise OSError(errno.EOPNOTSUPP, "there is no hardware clock")
    begins = number & OPT_ID and not sock.flags.get(SO_TIMESTAMPING, 0) & OPT_ID
    connection: Any = getattr(sock, "conn", None)
    if sock.type == 1:
        if begins and (connection is None or connection.state == CLOSED):
            raise OSError(errno.EINVAL, "the bytes of a stream are numbered once it is connected")
        if begins and connection.stamps is None:
            connection.stamps = Stamps()
        if begins:
            connection.stamps.origin = connection.write_seq if number & OPT_ID_TCP else connection.snd_una
    elif begins:
        flags[NEXT] = 0
    flags[SO_TIMESTAMPING] = number
    sock.flags = flags
    watch(sock, connection)


def watch(sock: Socket, connection: Any) -> None:
    """What comes on this connection is noted from now on, where its socket asks for it."""
    if connection is not None and wants_arrivals(sock.flags):
        if connection.stamps is None:
            connection.stamps = Stamps()
        connection.stamps.arrivals = True


def get_option(sock: Socket, name: int, room: int) -> int | bytes:
    """Where there is room for more than an int, SO_TIMESTAMPING's is struct so_timestamping: flags and a clock, 0. What
    was set by the other name is 0, but for SO_TIMESTAMPING's old one. SO_TIMESTAMP_NEW's is 1 with SO_TIMESTAMPNS_NEW,
    too."""
    new = bool(sock.flags.get(NEW))
    value = sock.flags.get(NEWER.get(name, name), 0) if (name in NEWER) == new or name == SO_TIMESTAMPING else 0
    if name == SO_TIMESTAMP_NEW and new:
        value = value or sock.flags.get(SO_TIMESTAMPNS, 0)
    return struct.pack("=II", value, 0) if NEWER.get(name, name) == SO_TIMESTAMPING and room > 4 else value


def kind(sock: Socket, name: int) -> int:
    """The type of the message that answers to the option."""
    return next(new for new, old in NEWER.items() if old == name) if sock.flags.get(NEW) else name


def message(sock: Socket, ns: int) -> tuple[int, int, bytes]:
    """The control message SCM_TIMESTAMPING: three times, of which the first is software's."""
    times = struct.pack("=6q", ns // 1_000_000_000, ns % 1_000_000_000, 0, 0, 0, 0)
    return SOL_SOCKET, kind(sock, SO_TIMESTAMPING), times


def wants_arrivals(flags: dict[int, int]) -> bool:
    """Whether it is to be noted for a socket with these flags when something came."""
    return bool(flags.get(SO_TIMESTAMP) or flags.get(SO_TIMESTAMPNS) or flags.get(SO_TIMESTAMPING, 0) & RX_SOFTWARE)


def arrived(sock: Socket, ns: int) -> Sequence[tuple[int, int, bytes]]:
    """The control messages that tell when something came, as far as they are asked for."""
    flags = sock.flags
    seconds, rest = divmod(ns, 1_000_000_000)
    found = []
    if flags.get(SO_TIMESTAMP):
        found.append((SOL_SOCKET, kind(sock, SO_TIMESTAMP), struct.pack("=qq", seconds, rest // 1000)))
    elif flags.get(SO_TIMESTAMPNS):
        found.append((SOL_SOCKET, kind(sock, SO_TIMESTAMPNS), struct.pack("=qq", seconds, rest)))
    asked = flags.get(SO_TIMESTAMPING, 0)
    if asked & SOFTWARE and (asked & RX_SOFTWARE or not asked & OPT_RX_FILTER):
        found.append(message(sock, ns))
    return found


def asked_of_call(sock: Socket, name: int, data: bytes) -> int:
    """SO_TIMESTAMPING among the control messages of one send: what is told of it, in place of what the socket asks
    for. EINVAL for what is no such moment."""
    if len(data) != 4 or int.from_bytes(data, "little") & ~RECORD:
        raise OSError(errno.EINVAL, f"SO_TIMESTAMPING of one call takes four bytes of flags {RECORD:#x}")
    return sock.flags.get(SO_TIMESTAMPING, 0) & ~RECORD | int.from_bytes(data, "little")
