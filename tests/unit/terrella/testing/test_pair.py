"""The world of a case: what the kit's wire does to packets, and that the sides see what they should."""

from __future__ import annotations

import errno

import pytest

from terrella.testing import wire
from terrella.testing.apps import Application, Piece
from terrella.testing.cases import Case
from terrella.testing.links import (
    CORRUPT,
    DELAY,
    DROP,
    DUPLICATE,
    MARK,
    MS,
    RENEGE,
    STALE,
    BleachEcn,
    Burst,
    ClampMss,
    Fate,
    Link,
    ShiftSequence,
    StripOptions,
    Way,
)
from terrella.testing.oracles import jain, shares
from terrella.testing.pair import Pair
from terrella.testing.running import exchange, make, perform

SEND = Application((Piece(30_000),))


def arrivals(pair: Pair, side: str) -> list[wire.Segment]:
    return [seg for _, kind, image in pair.sides[side].history if kind == "in" and (seg := wire.parse(image))]


def test_a_plain_exchange() -> None:
    pair = exchange(Link(), SEND, Application((Piece(500),)), artifacts="")
    assert (pair.sides["a"].read, pair.sides["b"].read) == (500, 30_000)
    assert all(side.eof and side.closed for side in pair.sides.values())


def test_simultaneous_open() -> None:
    pair = exchange(Link(), SEND, SEND, simultaneous=True, artifacts="")
    assert pair.sides["a"].read == pair.sides["b"].read == 30_000
    assert not pair.sides["a"].listening and not pair.sides["b"].listening


def one_fate(kind: str, value: int = 0, at: int = 2) -> Pair:
    return exchange(
        Link(Way(fates=(*[Fate()] * at, Fate(kind, value)))), SEND, settings={"net.ipv4.tcp_ecn": 1}, artifacts=""
    )


@pytest.mark.parametrize("kind", [DROP, DELAY, DUPLICATE, CORRUPT, MARK, STALE, RENEGE])
def test_every_fate_is_survived(kind: str) -> None:
    value = {DELAY: 30 * MS, DUPLICATE: 5 * MS, CORRUPT: 999}.get(kind, 0)
    assert one_fate(kind, value, at=5).sides["b"].read == 30_000


def test_fates_do_what_they_say() -> None:
    plain = len(arrivals(one_fate("deliver"), "b"))
    first = arrivals(one_fate(DUPLICATE), "b")
    assert len(first) > plain - 1 and first[2].seq in [seg.seq for seg in first[3:]]
    assert any(seg.ecn == 3 for seg in arrivals(one_fate(MARK), "b"))
    stale = arrivals(one_fate(STALE), "b")
    assert stale[2].seq == stale[3].seq and stale[2].tsval != stale[3].tsval
    late = [seg.seq for seg in arrivals(one_fate(DELAY, 15 * MS), "b")]
    assert late != sorted(late)


def test_a_peer_that_reneges() -> None:
    fates = tuple(Fate(DROP) if n == 4 else Fate(RENEGE) if n == 7 else Fate() for n in range(8))
    pair = exchange(Link(Way(fates=fates)), SEND, artifacts="")
    assert pair.sides["b"].reneged == 1 and pair.sides["b"].read == 30_000


def test_an_unknown_fate_is_refused() -> None:
    with pytest.raises(ValueError, match="no fate is called 'vanish'"):
        Fate("vanish")


def test_middleboxes() -> None:
    pair = exchange(Link(Way(boxes=(ClampMss(700), StripOptions((4, 8))))), SEND, artifacts="")
    syn = arrivals(pair, "b")[0]
    assert syn.mss == 700 and syn.tsval is None and not syn.options & wire.HAS_SACK_PERMITTED and syn.wscale is not None
    down = exchange(Link(Way(boxes=(ClampMss(700),))), Application(), SEND, artifacts="")
    assert max(seg.length for seg in arrivals(down, "a")) <= 700
    bleached = exchange(Link(Way(boxes=(BleachEcn(),))), SEND, settings={"net.ipv4.tcp_ecn": 1}, artifacts="")
    assert not any(seg.ecn for seg in arrivals(bleached, "b"))


@pytest.mark.parametrize("sack", [True, False])
def test_a_firewall_that_renumbers(sack: bool) -> None:
    """With SACK blocks that it forgets to renumber, recovery still gets there."""
    drops = tuple(Fate(DROP) if n in (5, 7) else Fate() for n in range(8))
    there = Way(boxes=(ShiftSequence(1_000_000, sack=sack),), fates=drops)
    pair = exchange(Link(there, Way(boxes=(ShiftSequence(1_000_000, back=True, sack=sack),))), SEND, artifacts="")
    assert pair.sides["b"].read == 30_000
    sent = [seg for _, kind, image in pair.sides["a"].history if kind == "out" and (seg := wire.parse(image))]
    assert arrivals(pair, "b")[0].seq == (sent[0].seq + 1_000_000) & wire.MASK


def test_bursts_and_marks_of_a_queue() -> None:
    way = Way(5 * MS, rate=10_000_000, queue=50, ecn=5, loss=Burst(0.02, 0.3))
    pair = exchange(
        Link(way, Way(5 * MS), until_ns=2000 * MS),
        Application((Piece(400_000),)),
        settings={"net.ipv4.tcp_ecn": 1},
        artifacts="",
    )
    assert pair.directions["a"].lost > 0 and pair.directions["a"].marked > 0 and pair.sides["b"].read == 400_000


def test_an_outage() -> None:
    case = Case.exchange(Link(), Application((Piece(2_000_000),)), Application())
    pair = make(case)
    for step in (*case.steps, ("run", 40 * MS), ("cut", 3000 * MS)):
        perform(pair, step)
    pair.finish()
    assert pair.sides["b"].read == 2_000_000 and pair.sides["a"].stack.counters.tcpext.TCPTimeouts


def test_calls_give_errors_as_sockets_do() -> None:
    pair = make(Case())
    assert pair.send("a", 10) == -errno.ENOTCONN
    assert pair.connect("a") == -errno.EINPROGRESS
    pair.run(100 * MS)
    assert pair.send("a", 10) == -errno.ECONNREFUSED
    assert pair.sides["a"].dead
    pair.finish()


def test_first_numbers_are_said_before_there_are_any() -> None:
    pair = make(Case())
    pair.listen("b")
    pair.connect("a")
    assert pair.numbers("a", 1, 1) == -errno.EINVAL
    pair.run(100 * MS)
    assert pair.numbers("b", 1, 1) == -errno.EINVAL
    pair.finish()


def test_equal_flows_share() -> None:
    way = Way(10 * MS, rate=10_000_000, queue=40)
    for algorithm in ("reno", "cubic"):
        assert jain(shares(Link(way, Way(10 * MS)), 15_000 * MS, (algorithm, algorithm))) > 0.9


def test_an_unfair_flow_is_seen() -> None:
    """A control: a window that never shrinks takes what there is."""
    from netstack.tcp import congestion
    from netstack.tcp.congestion.reno import Reno

    class Greedy(Reno):
        name = "greedy"

        def ssthresh(self, c: object) -> int:
            return 60

    congestion.register(Greedy)
    try:
        way = Way(10 * MS, rate=10_000_000, queue=20)
        assert jain(shares(Link(way, Way(10 * MS)), 8_000 * MS, ("greedy", "reno"))) < 0.8
    finally:
        del congestion._registry["greedy"]


def test_jain() -> None:
    assert jain([5, 5, 5]) == 1.0 and jain([1, 0]) == 0.5 and jain([]) == jain([0, 0]) == 1.0


def test_simultaneous_open_takes_the_window_and_the_round_trip_as_they_are() -> None:
    """The window of the peer's SYN-ACK is not scaled; what answers the first SYN is not measured from the second."""
    link = Link(Way(0), Way(20 * MS))
    pair = make(Case(link, (("connect", "a"), ("connect", "b"), ("run", 100 * MS))))
    for step in (("connect", "a"), ("connect", "b"), ("run", 100 * MS)):
        perform(pair, step)
    for name in "ab":
        state = pair.sides[name].state()
        assert state is not None and state.snd_wnd <= 65_535 and 20_000 <= state.srtt_us >> 3 <= 21_000
    pair.finish()
