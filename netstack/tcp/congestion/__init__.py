"""Congestion control (RFC 9293 section 3.8.2, RFC 5681): the interface of an algorithm, and the registry of those that
can be chosen by name (`TCP_CONGESTION`, tcp_congestion_control).

An algorithm is a class with the five methods of `CongestionControl` and a `name`; one instance serves one connection
and keeps its own state. It is given the connection `c` and reads and writes there: `cwnd`, `ssthresh`, `cwnd_cnt`
(segments), `srtt_us`, `min_rtt_us`, `snd_una`, `snd_nxt`, `in_flight()`, `cwnd_limited()`. All arithmetic is on
integers.

One that must not send in bursts has a class attribute `paced = True` besides (see `pacing`).

During recovery cwnd belongs to PRR (RFC 6937); an algorithm only says where it should end (`ssthresh`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

# Events: the first segment after nothing was out; cwnd is about to be cut for having been idle; a timeout began.
TX_START, CWND_RESTART, LOSS = range(3)
CA_NAME_MAX: Final = 16
"""TCP_CA_NAME_MAX: what TCP_CONGESTION has room for, with a zero at its end."""
METHODS: Final = ("ssthresh", "cong_avoid", "undo_cwnd", "pkts_acked", "event")


class CongestionControl(Protocol):
    name: ClassVar[str]

    def ssthresh(self, c: Connection) -> int:
        """The slow start threshold after a loss, in segments (RFC 5681 equation 4)."""

    def cong_avoid(self, c: Connection, ack: int, acked: int, now: int) -> None:
        """`acked` segments were delivered outside of recovery: raise `c.cwnd`."""

    def undo_cwnd(self, c: Connection) -> int:
        """The window to go back to when a reduction turns out to have been unneeded."""

    def pkts_acked(self, c: Connection, acked: int, rtt_us: int, now: int) -> None:
        """A round-trip sample (-1: none) with what was acknowledged."""

    def event(self, c: Connection, kind: int, now: int) -> None:
        """TX_START, CWND_RESTART or LOSS."""


def slow_start(c: Connection, acked: int) -> int:
    """RFC 5681 section 3.1, slow start: cwnd grows by a segment for each one acknowledged, up to ssthresh. How many of
    the acknowledged segments are left over."""
    cwnd = c.cwnd
    new = cwnd + acked
    if new > c.ssthresh:
        new = c.ssthresh
    c.cwnd = new
    return int(acked - (new - cwnd))


def additive_increase(c: Connection, w: int, acked: int) -> None:
    """RFC 5681 section 3.1, congestion avoidance: one segment for every `w` acknowledged (equation 3 with w = cwnd)."""
    if c.cwnd_cnt >= w:
        c.cwnd_cnt = 0
        c.cwnd += 1
    c.cwnd_cnt += acked
    if c.cwnd_cnt >= w:
        grow = c.cwnd_cnt // w
        c.cwnd_cnt -= grow * w
        c.cwnd += grow


_registry: Final[dict[str, type[CongestionControl]]] = {}


def register(algorithm: type[CongestionControl]) -> type[CongestionControl]:
    """Class decorator: make an algorithm available under its `name`. TypeError says what the class lacks."""
    name = getattr(algorithm, "name", None)
    if not isinstance(name, str) or not 0 < len(name.encode()) < CA_NAME_MAX:
        raise TypeError(f"{algorithm!r}: a congestion control has a name of 1 to {CA_NAME_MAX - 1} bytes, not {name!r}")
    lacking = [method for method in METHODS if not callable(getattr(algorithm, method, None))]
    if lacking:
        raise TypeError(f"the congestion control {name!r} lacks {', '.join(lacking)}")
    _registry[name] = algorithm
    return algorithm


def create(name: str) -> CongestionControl:
    """A fresh instance; KeyError when there is none of that name."""
    return _registry[name]()


class Unused:
    """Stands for an algorithm while its connection has not sent anything yet. All connections with that algorithm share
    it; the first call makes an instance and puts it in its place, so that idle connections need none.
    """

    __slots__ = ("name", "paced")

    def __init__(self, name: str) -> None:
        self.name = name
        self.paced = bool(getattr(_registry[name], "paced", False))

    def begin(self, c: Connection) -> CongestionControl:
        made = c.cc = create(self.name)
        return made

    def ssthresh(self, c: Connection) -> int:
        return self.begin(c).ssthresh(c)

    def cong_avoid(self, c: Connection, ack: int, acked: int, now: int) -> None:
        self.begin(c).cong_avoid(c, ack, acked, now)

    def undo_cwnd(self, c: Connection) -> int:
        return self.begin(c).undo_cwnd(c)

    def pkts_acked(self, c: Connection, acked: int, rtt_us: int, now: int) -> None:
        self.begin(c).pkts_acked(c, acked, rtt_us, now)

    def event(self, c: Connection, kind: int, now: int) -> None:
        self.begin(c).event(c, kind, now)


_unused: Final[dict[type[CongestionControl], Unused]] = {}


def choose(name: str) -> Any:
    """An instance for a new connection, made when it is first called; KeyError when there is none of that name."""
    algorithm = _registry[name]
    found = _unused.get(algorithm)
    if found is None:
        found = _unused[algorithm] = Unused(name)
    return found


def available() -> list[str]:
    return list(_registry)


def lacking(setting: str, value: str) -> bool:
    """Whether that setting would name a congestion control that there is not."""
    return setting == "net.ipv4.tcp_congestion_control" and value not in _registry


from netstack.tcp.congestion import cubic, reno  # noqa: E402, F401  (they register themselves)
