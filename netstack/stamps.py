"""Time stamps of packets: SO_TIMESTAMPING (Linux's Documentation/networking/timestamping.rst), SO_TIMESTAMP and
SO_TIMESTAMPNS (socket(7)).

What is sent is told of through the error queue: one entry when it enters the device's queue (TX_SCHED), one when the
device takes it (TX_SOFTWARE), and, of a stream, one when its last byte is acknowledged (TX_ACK). An entry names what it
is about by a number that OPT_ID asks for: the datagrams since then, or the place in the stream of the last byte of a
write. With OPT_TSONLY the text sent does not come back (Linux gives the headers with it). Here a device takes at once
what enters its queue.

Times are CLOCK_REALTIME's. There are none of hardware, none of what comes in a stream, and OPT_STATS' counters are not
sent along.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netstack.socket import Socket

SOL_SOCKET = 1
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING = 29, 35, 37
SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPING_NEW = 63, 64, 65
NEWER = {SO_TIMESTAMP_NEW: SO_TIMESTAMP, SO_TIMESTAMPNS_NEW: SO_TIMESTAMPNS, SO_TIMESTAMPING_NEW: SO_TIMESTAMPING}
"""The names whose times are of 64 bits everywhere: on a machine of 64 bits the same."""
OPTIONS = frozenset((*NEWER, *NEWER.values()))

TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 8, 1 << 9
OPT_TSONLY, OPT_STATS, BIND_PHC, OPT_ID_TCP = 1 << 11, 1 << 12, 1 << 15, 1 << 16
MASK = (1 << 19) - 1
SENT = TX_SOFTWARE | TX_SCHED | TX_ACK
"""What asks for something to be told of what is sent."""
TSTAMP_SND, TSTAMP_SCHED, TSTAMP_ACK = 0, 1, 2
"""sock_extended_err's ee_info: which of its moments."""
ORIGIN_TIMESTAMPING = 4
NEXT = -1
"""The next datagram's number, among a socket's flags."""
CLOSED = 7
"""The state of a connection that is gone."""
OVERHEAD = 832
"""Of an entry, towards SO_RCVBUF: an empty buffer of Linux's."""


def memory(sock: Socket, data: bytes) -> int:
    """What an entry counts for: of a stream a buffer's head and the text; a datagram lies behind its headers in memory of
    a power of two."""
    if sock.type == 1:
        return OVERHEAD + len(data)
    needed = len(data) + (60 if sock.family == 2 else 80) + 320 if data else 0
    return OVERHEAD if needed <= 576 else (1 << (needed - 1).bit_length()) + 256


class Stamps:
    """What a connection whose socket asked for time stamps of what it sends keeps: where its numbers begin, and the
    writes that wait for something, in their order."""

    __slots__ = ("origin", "waiting")

    def __init__(self) -> None:
        self.origin = 0
        self.waiting: list[Stamp] = []


class Stamp:
    """A write that is to be told of: the place behind its last byte, what is asked for, and the text of the segment
    that it left in."""

    __slots__ = ("end", "flags", "text")

    def __init__(self, end: int, flags: int) -> None:
        self.end = end
        self.flags = flags
        self.text = b""


def set_option(sock: Socket, name: int, value: int | bytes) -> None:
    """SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING (flags, or struct so_timestamping). EINVAL for flags that are not
    known or not together, and for numbers of a stream that has no connection yet."""
    number = value if isinstance(value, int) else int.from_bytes(value[:4], "little")
    name = NEWER.get(name, name)
    flags = dict(sock.flags)
    if name != SO_TIMESTAMPING:
        flags.pop(SO_TIMESTAMP, None)  # of the two the last one holds
        flags.pop(SO_TIMESTAMPNS, None)
        flags[name] = int(bool(number))
        sock.flags = flags
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


def get_option(sock: Socket, name: int, room: int) -> int | bytes:
    """Where there is room for more than an int, SO_TIMESTAMPING's is struct so_timestamping: flags and a clock, 0."""
    name = NEWER.get(name, name)
    value = sock.flags.get(name, 0)
    return struct.pack("=II", value, 0) if name == SO_TIMESTAMPING and room > 4 else value


def message(ns: int) -> tuple[int, int, bytes]:
    """The control message SCM_TIMESTAMPING: three times, of which the first is software's."""
    return SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=6q", ns // 1_000_000_000, ns % 1_000_000_000, 0, 0, 0, 0)


def wants_arrivals(flags: dict[int, int]) -> bool:
    """Whether a socket with these flags will say when something came."""
    asked = RX_SOFTWARE | SOFTWARE
    return bool(flags.get(SO_TIMESTAMP) or flags.get(SO_TIMESTAMPNS)) or flags.get(SO_TIMESTAMPING, 0) & asked == asked


def arrived(sock: Socket, ns: int) -> Sequence[tuple[int, int, bytes]]:
    """The control messages that tell when something came, as far as they are asked for."""
    flags = sock.flags
    seconds, rest = divmod(ns, 1_000_000_000)
    found = []
    if flags.get(SO_TIMESTAMP):
        found.append((SOL_SOCKET, SO_TIMESTAMP, struct.pack("=qq", seconds, rest // 1000)))
    elif flags.get(SO_TIMESTAMPNS):
        found.append((SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("=qq", seconds, rest)))
    if flags.get(SO_TIMESTAMPING, 0) & (RX_SOFTWARE | SOFTWARE) == RX_SOFTWARE | SOFTWARE:
        found.append(message(ns))
    return found
