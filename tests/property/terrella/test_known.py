"""Cases that campaigns reported, made small. Some found a fault of the stack, some an oracle that asked too much."""

from __future__ import annotations

import pytest

from terrella.testing.apps import Application, Piece
from terrella.testing.cases import PATIENT, Case
from terrella.testing.links import (
    DELAY,
    DROP,
    DUPLICATE,
    MS,
    RENEGE,
    ClampMss,
    Fate,
    Link,
    Router,
    ShiftSequence,
    StripOptions,
    Way,
)
from terrella.testing.running import run

PIECES = (Piece(214), Piece(1448, 3000 * MS), Piece(5000, 300 * MS))


def only(text: str) -> tuple[Fate, ...]:
    """`....xx`: the fates of the first packets; x is dropped."""
    return tuple(Fate(DROP) if letter == "x" else Fate() for letter in text)


def exchange(link: Link, a: Application, b: Application, seed: int, both: bool = True, **names: object) -> Case:
    settings = PATIENT | {f"net.ipv4.{name}": value for name, value in names.items()}
    return Case.exchange(link, a, b, seed=seed, settings=settings, simultaneous=both)


MARKED_AND_UNDONE = exchange(
    Link(
        Way(150 * MS, boxes=(ClampMss(580),), fates=only("." * 29 + "xxxxx")),
        Way(rate=100_000_000, queue=3, ecn=1, boxes=(ClampMss(580),), fates=only("." * 23 + "xxxx")),
    ),
    Application((*PIECES, Piece(30_000))),
    Application((*PIECES, Piece(5000)), read_size=1000, options=(("SO_RCVBUF", 4096),)),
    178, both=False, tcp_ecn=1,
)  # fmt: skip
"""An ACK shows that a timeout was spurious and carries ECE: cwnd stays at one, and is reduced to an ssthresh of two."""

UNDONE_AND_REDUCED = exchange(
    Link(
        Way(MS, 10_000_000, duplicate=0.05, boxes=(ClampMss(603),), fates=only("." * 17 + "xx")),
        Way(150 * MS, jitter_ns=10 * MS, fates=only("." * 13 + "xxxxxx")),
    ),
    Application(read_every_ns=200 * MS, options=(("SO_RCVBUF", 4096),)),
    Application((Piece(7214), Piece(100, 3000 * MS))), 138, tcp_early_retrans=0, tcp_timestamps=0,
)  # fmt: skip
"""One ACK undoes a timeout and finds other losses: cwnd is what PRR gives."""

SENT_AGAIN_AND_FOUND_WELL = exchange(
    Link(
        Way(0, 1_000_000, corrupt=0.05, fates=only("." * 15 + "xxxxxxx")),
        Way(MS, fates=only("." * 18 + "xxxxxxxxx")),
    ),
    Application((Piece(30_000),), options=(("SO_RCVBUF", 4096),)), Application((Piece(30_000),)), 1,
)  # fmt: skip
"""A timeout while a retransmission is out whose loss an undo took back: it stays in the pipe, as Linux counts it."""

ROUNDED_UP = exchange(
    Link(Way(0), Way(0)), Application((Piece(30_000), Piece(2847, 30 * MS)), reads=False), Application((Piece(5000),)),
    11, tcp_rmem=(4096, 8192, 16384), tcp_timestamps=0,
)  # fmt: skip
"""What is left of a window that shuts is rounded up to the unit of its scale, once for each segment that comes."""

NEITHER_READS = exchange(
    Link(Way(rate=100_000_000, queue=3)), Application((Piece(250_000),), reads=False),
    Application((Piece(500_000),), reads=False), 39,
)  # fmt: skip
"""Both have more to write than the buffers hold, and read nothing before: the applications wait for each other."""

SIZED_FOR_A_DSACK = Case(
    Link(Way(MS, loss=0.05, jitter_ns=MS), Way(MS, 1_000_000, 3, 1, jitter_ns=MS)),
    (
        ("listen", "a"), ("connect", "b"), ("run", 1000 * MS), ("accept", "a"), ("cut", 2000 * MS),
        ("send", "b", 65_521), ("send", "a", 1460), ("run", 90 * MS), ("cut", 20_000 * MS), ("run", 90 * MS),
        ("send", "a", 65_521), ("run", 30 * MS), ("fault", "a", only("." * 31 + "xxxxxx")),
    ),
    200, (("net.ipv4.tcp_ecn", 1),),
)  # fmt: skip
"""A burst is cut for segments that carry two SACK blocks; only the first has the D-SACK."""

FALSE_BLOCKS = exchange(
    Link(
        Way(0, 10_000_000, 50, 5, 0.01, 0, 0.05, 0.01, 0.05, (ShiftSequence(4191),), only("." * 18 + "xx")),
        Way(0, 10_000_000, 50, 5, boxes=(ShiftSequence(4191, back=True),), fates=only("." * 8 + "xxxxxxxx")),
    ),
    Application((Piece(30_000),), read_every_ns=5 * MS),
    Application((Piece(1208), Piece(1, 300 * MS)), 1000, 5 * MS, options=(("TCP_QUICKACK", 0),)), 0, both=False,
)  # fmt: skip
"""A firewall renumbers and leaves the SACK blocks as they were: it looks as if the receiver had reneged."""

NEW_DATA_OF_FRTO_TO_THE_EDGE = exchange(
    Link(
        Way(0, duplicate=0.05, corrupt=0.01),
        Way(0, 100_000_000, boxes=(StripOptions(kinds=(2,), syn_only=True),)),
    ),
    Application(
        (Piece(500_000, 3000 * MS), *[Piece(500_000)] * 11), read_every_ns=200 * MS, options=(("TCP_NODELAY", 0),)
    ),
    Application(
        (
            Piece(11_034), Piece(5000, 3000 * MS), Piece(2896, MS), Piece(500_000, 300 * MS), Piece(159),
            Piece(2026, 3000 * MS), Piece(412, 30 * MS),
        ),
        options=(("TCP_CORK", 0), ("SO_SNDBUF", 20_000)),
    ),
    92, tcp_rmem=(4096, 8192, 16384), tcp_sack=0, tcp_slow_start_after_idle=0,
)  # fmt: skip
"""New data after a timeout fills the window to its edge behind a small segment: Nagle's algorithm is off for it."""

BLOCKS_OF_WHAT_JUST_LEFT = exchange(
    Link(
        Way(boxes=(ShiftSequence(1448),), fates=only(".xxx")),
        Way(20 * MS, boxes=(ShiftSequence(1448, back=True),)),
    ),
    Application((Piece(500_000),)), Application(()), 0, both=False,
)  # fmt: skip
"""A firewall's SACK blocks are one segment too far: for one that left a moment ago, and SRTT with it."""

TO_THE_EDGE_WITHIN_A_CALL = Case(
    Link(Way(150 * MS), Way(150 * MS), mtu=576),
    (
        ("listen", "a"), ("connect", "b"), ("run", 1000 * MS), ("accept", "a"),
        ("send", "a", 3000), ("send", "a", 3000),
    ),
    settings=(("net.ipv4.tcp_rmem", (4096, 8192, 16384)),),
)  # fmt: skip
"""A call that is not done fills the window to its edge behind a small segment: Nagle's algorithm is off for it."""

HELD_FIN = exchange(
    Link(
        Way(MS, queue=3, loss=0.01, jitter_ns=MS, reorder=0.05, corrupt=0.01, fates=only("." * 14 + "x")),
        Way(20 * MS, 100_000_000, 50, 1, fates=only("." * 14 + "x")),
    ),
    Application((Piece(30_000), Piece(30_000)), read_every_ns=5 * MS),
    Application((Piece(1460, 30 * MS), Piece(15_000), Piece(1460, 30 * MS))), 0, both=False,
)  # fmt: skip
"""What was missing comes, and with it a FIN that was held: the ACK in FIN-WAIT has the blocks of before (Linux)."""

SYN_TWICE = Link(Way(20 * MS, fates=(Fate(DUPLICATE, 300 * MS),)), Way(20 * MS))
TAKEN = (("listen", "b"), ("connect", "a"), ("run", 100 * MS), ("accept", "b"), ("send", "a", 1000), ("run", 50 * MS))

OLD_SYN_AFTER_A_RESET = Case(
    SYN_TWICE, (*TAKEN, ("recv", "b", 2000), ("setsockopt", "a", "SO_LINGER", 0), ("close", "a"), ("run", 1000 * MS))
)
"""The connection was reset when its SYN comes again, to a socket that still listens: it begins another connection."""

OLD_SYN_AFTER_AN_END = Case(
    SYN_TWICE,
    (*TAKEN, ("shutdown", "a", 1), ("run", 50 * MS), ("recv", "b", 2000), ("shutdown", "b", 1), ("run", 1000 * MS)),
)
"""The same after an orderly end: the answer meets TIME-WAIT, and is refused."""

LONG_TIME_WAIT = exchange(
    Link(Way(MS), Way(MS)), Application((Piece(1000),)), Application(), 0, both=False,
).but(settings=(("terrella.tcp_timewait_len_ms", 240_000),))  # fmt: skip
"""TIME-WAIT is as long as the setting says."""

CLOSED_FIRST = Case(steps=(("listen", "b"), ("close", "b"), ("connect", "b"), ("listen", "b")))
"""A side that has closed opens nothing any more."""

OPENED = Case(Link(Way(0), Way(0)), (("listen", "a"), ("connect", "b")))

FORGED_AT_ZERO = OPENED.but(
    steps=(*OPENED.steps, ("forge", "b", "ack-old", 3), ("run", 0), ("forge", "b", "rst", 3)), seed=35
)
"""Answers to what is not acceptable are limited from the first instant on."""

IDLE_TIME_IN_THE_PAST = OPENED.but(
    steps=(
        *OPENED.steps, ("run", 1000 * MS), ("accept", "a"), ("setsockopt", "a", "SO_KEEPALIVE", 1), ("run", 3000 * MS),
        ("send", "b", 10_000), ("setsockopt", "a", "TCP_KEEPIDLE", 3), ("run", 1000 * MS),
    )
)  # fmt: skip
"""The call names a moment that is over, and a segment comes before the timer that is due at once."""

UNDONE_WITH_NEW_DATA = Case(
    Link(Way(10 * MS, fates=only("." * 15 + "x.x.x")), Way(150 * MS, fates=only("." * 8 + "xxx"))),
    (
        ("listen", "b"), ("connect", "a"), ("run", 1000 * MS), ("cut", 300 * MS), ("send", "a", 65_521),
        ("run", 5000 * MS),
    ),
    settings=(("net.ipv4.tcp_ecn", 1),),
)  # fmt: skip
"""An ACK takes back the reduction that CWR was to tell of, and lets new data out: it has no CWR."""

COOKIES = exchange(
    Link(Way(MS), Way(MS)), Application((Piece(1000), Piece(30_000, 30 * MS))), Application((Piece(100),)), 0,
    both=False, tcp_syncookies=2,
)  # fmt: skip
"""A cookie is no initial sequence number, and the window beside it is rounded otherwise than the next (Linux)."""

COOKIES_FOR_SMALL_SEGMENTS = COOKIES.but(link=Link(Way(MS, boxes=(ClampMss(505),)), Way(MS))).but(
    steps=Case.exchange(Link(), Application(), Application((Piece(3000),))).steps
)
"""The least MSS that a cookie can say is 536 (Linux)."""

TOO_BIG_AND_LATE = Case(
    Link(Way(50 * MS, fates=(Fate(), Fate(), Fate(DELAY, 150 * MS))), Way(50 * MS), router=Router(1400)),
    (
        *TAKEN[:2], ("run", 1000 * MS), ("accept", "b"), ("setsockopt", "a", "TCP_NODELAY", 1), ("send", "a", 55),
        ("send", "a", 1448), ("run", 3000 * MS),
    ),
)  # fmt: skip
"""What a router found too big is sent again, which no echo of a timestamp from before can undo."""

TOO_BIG_AND_PACED = Case(
    Link(router=Router(1400)),
    (
        *TAKEN[:2], ("setsockopt", "a", "SO_MAX_PACING_RATE", 1_000_000), ("run", 1000 * MS), ("accept", "b"),
        ("send", "a", 65_521), ("run", 1000 * MS),
    ),
)  # fmt: skip
"""Pacing puts off what is sent again."""

BEYOND_A_CLOSED_WINDOW = Case(
    Link(Way(0, 1_000_000), Way(10 * MS, jitter_ns=MS), mtu=576),
    (
        ("cut", 300 * MS), ("connect", "a"), ("run", 20 * MS), ("connect", "b"),
        ("setsockopt", "b", "SO_RCVBUF", 4096), ("run", 4000 * MS), ("send", "a", 65_521),
        ("fault", "b", (*only("..x..."), Fate(RENEGE))), ("send", "b", 65_521), ("run", 3000 * MS),
    ),
    44,
)  # fmt: skip
"""Text beyond the window, while other waits to be read, makes an ACK unacceptable: what it SACKs does not count."""

CUT_ANEW = Case(
    Link(
        Way(boxes=(ShiftSequence(105),), fates=only("." * 44 + "x")),
        Way(corrupt=0.05, boxes=(ShiftSequence(105, True),)),
    ),
    (
        ("connect", "a"), ("connect", "b"), ("setsockopt", "a", "SO_SNDBUF", 4096), ("run", 1000 * MS),
        ("send", "a", 65_521), ("run", 600 * MS), ("send", "a", 65_521), ("send", "b", 65_521),
    ),
    101,
)  # fmt: skip
"""A retransmission with SACK blocks of its own is cut in two: a block that covers but a part then covers one of them,
and is looked at no more (Linux)."""

NO_ROUND_TRIP = Case(
    Link(
        Way(MS, jitter_ns=MS, reorder=0.05, corrupt=0.05),
        Way(MS, jitter_ns=MS, reorder=0.05, corrupt=0.05, fates=only("..xxxxx.xxxxxx")), version=6,
    ),
    (
        ("connect", "a"), ("connect", "b"), ("setsockopt", "b", "TCP_NOTSENT_LOWAT", 4096), ("run", 1000 * MS),
        ("send", "b", 65_521), ("send", "a", 65_521), ("run", 100 * MS), ("recv", "b", 65_521), ("send", "a", 65_521),
        ("run", 100 * MS), ("send", "a", 65_521), ("run", 100 * MS), ("send", "a", 65_521),
    ),
    137,
)  # fmt: skip
"""Jitter takes all of the delay away: what is SACKed left in the same instant."""

SHIFTED = (ShiftSequence(356, sack=True),), (ShiftSequence(356, True, sack=True),)
ANOTHER_BY_COOKIE = Case(
    Link(Way(boxes=SHIFTED[0], fates=only(".xx")), Way(boxes=SHIFTED[1])),
    (
        ("listen", "a"), ("connect", "b"), ("run", 1000 * MS), ("accept", "a"), ("send", "b", 510),
        ("shutdown", "a", 0), ("shutdown", "a", 1), ("run", 1000 * MS),
    ),
    settings=(("net.ipv4.tcp_syncookies", 2),),
)  # fmt: skip
"""The RST of a connection is lost, and the peer's data, sent again, is the ACK of a cookie: what becomes of it is reset
with the listener, with a number of its own."""

KNOWN = {name: case for name, case in globals().items() if isinstance(case, Case)}


@pytest.mark.parametrize("name", KNOWN)
def test_nobody_objects(name: str) -> None:
    run(KNOWN[name], artifacts="")
