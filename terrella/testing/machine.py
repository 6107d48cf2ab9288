"""A Hypothesis state machine that drives two sockets through any interleaving of calls.

Listening and connecting (from either side, or from both: simultaneous open), accepting, sending, receiving,
both kinds of shutdown, close, socket options, time passing, schedules of faults, outages: whatever Hypothesis
comes up with, every oracle watches, and in the end (`teardown`) the network heals and everything has to come
to its end. Use it as it is,

    from terrella.testing.machine import TwoSockets
    TestTwoSockets = TwoSockets.TestCase

or derive from it, with other `oracles`, `links` or rules. A failure is shrunk by Hypothesis; the smallest is
what is left in the artifacts' directory (see `running.save`), for the machine notes every step as a `Case` does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from terrella.testing import running
from terrella.testing.cases import Case
from terrella.testing.forged import KINDS
from terrella.testing.links import DROP, RENEGE, SHAVE, Fate, Link
from terrella.testing.pair import OTHER, Pair
from terrella.testing.strangers import KINDS as CALLS
from terrella.testing.strategies import fault_schedules, first_numbers, links, socket_options, stack_settings

MS = 1_000_000
LIES = [kind for kind in KINDS if kind.startswith("sack")]
GAPS = st.sampled_from([0, 30, 600]).map(lambda ms: ms * MS)
FORGERIES = st.one_of(st.integers(0, 3), st.integers(0, 100_000))
SIDES = st.sampled_from("ab")
SIZES = st.one_of(st.integers(1, 3000), st.sampled_from([1448, 1460, 10_000, 65_521]))
PAUSES = st.one_of(
    st.sampled_from([0, 1, 10, 40, 100, 200, 1000]), st.integers(0, 5000), st.sampled_from([60_000, 200_000])
).map(lambda ms: ms * MS)


class TwoSockets(RuleBasedStateMachine):
    """`artifacts` None: where $TERRELLA_ARTIFACTS says."""

    oracles: ClassVar[Any] = None
    links: ClassVar[st.SearchStrategy[Link]] = links(faults=20)
    settings: ClassVar[st.SearchStrategy[dict[str, Any]]] = stack_settings()
    artifacts: ClassVar[str | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.case = Case()
        self.pair: Pair | None = None
        self.failed = False
        self.hasty = True

    # What is done, is noted; what fails, is kept.

    def do(self, *step: Any) -> Any:
        assert self.pair is not None
        self.case = self.case.but(steps=(*self.case.steps, step))
        try:
            return running.perform(self.pair, step)
        except Exception as why:
            self._keep(why)
            raise

    def _keep(self, why: Exception) -> None:
        assert self.pair is not None
        self.failed = True
        running.keep(self.pair, self.case, why, self.artifacts, type(self).__name__)

    # Opening: at once, unless the run is a hasty one, in which anything may come before anything.

    @initialize(
        data=st.data(),
        seed=st.integers(0, 255),
        how=st.sampled_from(["a", "b", "both"]),
        hasty=st.sampled_from([False, False, False, True]),
        backlog=st.sampled_from([8, 8, 1, 0]),
        options=st.lists(st.tuples(SIDES, socket_options()), max_size=3),
    )
    def begin(
        self, data: st.DataObject, seed: int, how: str, hasty: bool, backlog: int,
        options: list[tuple[str, tuple[str, Any]]],
    ) -> None:
        link = data.draw(type(self).links, label="link")
        settings = data.draw(type(self).settings, label="settings")
        self.case = Case(link, (), seed, tuple(sorted(settings.items())))
        self.pair = running.make(self.case, self.oracles)
        self.hasty = hasty
        for step in data.draw(first_numbers(), label="first numbers"):
            self.do(*step)
        if hasty:
            return
        if how == "both":
            self.do("connect", "a")
            self.do("connect", "b")
        else:
            self.do("listen", how, backlog)
            self.do("connect", OTHER[how])
        for name, option in options:
            if name in self.open():
                self.do("setsockopt", name, *option)
        self.do("run", 1000 * MS)
        if how != "both":
            self.do("accept", how)

    def side(self, name: str) -> Any:
        assert self.pair is not None
        return self.pair.sides[name]

    def unused(self) -> list[str]:
        return [name for name in "ab" if self.side(name).sock is None and not self.side(name).listening]

    def open(self) -> list[str]:
        return [name for name in "ab" if self.side(name).sock is not None and not self.side(name).closed]

    def may_end(self) -> bool:
        """Whether it is time for shutdown and close: not before something was said, unless in haste."""
        return bool(self.open()) and (self.hasty or any(self.side(name).written for name in "ab"))

    # The calls.

    @precondition(lambda self: len(self.unused()) == 2)
    @rule(server=SIDES, options=st.lists(socket_options(), max_size=2))
    def listen_and_connect(self, server: str, options: list[tuple[str, Any]]) -> None:
        self.do("listen", server)
        for name, value in options:
            self.do("setsockopt", server, name, value)
        self.do("connect", OTHER[server])

    @precondition(lambda self: len(self.unused()) == 2)
    @rule(first=SIDES, gap=PAUSES)
    def simultaneous_open(self, first: str, gap: int) -> None:
        self.do("connect", first)
        self.do("run", min(gap, 20 * MS))
        self.do("connect", OTHER[first])

    @precondition(lambda self: any(self.side(s).listening for s in "ab"))
    @rule()
    def accept(self) -> None:
        for name in "ab":
            if self.side(name).listening:
                self.do("accept", name)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, size=SIZES)
    def send(self, name: str, size: int) -> None:
        if name in self.open():
            self.do("send", name, size)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, size=SIZES)
    def recv(self, name: str, size: int) -> None:
        if name in self.open():
            self.do("recv", name, size)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, times=st.integers(1, 8), gap=st.sampled_from([0, 1, 30]).map(lambda ms: ms * MS), size=SIZES)
    def dialogue(self, name: str, times: int, gap: int, size: int) -> None:
        """Several writes, with the other side reading in between."""
        for _ in range(times):
            self.send(name, size)
            self.do("run", gap)
            self.recv(OTHER[name], 65_521)

    @precondition(lambda self: self.may_end())
    @rule(name=SIDES, how=st.sampled_from([1, 1, 0, 2]))
    def shutdown(self, name: str, how: int) -> None:
        if name in self.open():
            self.do("shutdown", name, how)

    @precondition(lambda self: self.may_end())
    @rule(name=SIDES)
    def close(self, name: str) -> None:
        if name in self.open():
            self.do("close", name)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, option=socket_options())
    def setsockopt(self, name: str, option: tuple[str, Any]) -> None:
        if name in self.open():
            self.do("setsockopt", name, *option)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, size=SIZES)
    def urgent(self, name: str, size: int) -> None:
        if name in self.open():
            self.do("urgent", name, size)
            self.do("run", 30 * MS)
            self.recv(OTHER[name], 65_521)
            self.recv(OTHER[name], 65_521)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, size=SIZES)
    def peek(self, name: str, size: int) -> None:
        if name in self.open():
            self.do("peek", name, size)

    @precondition(lambda self: any(self.side(s).listening for s in "ab"))
    @rule(
        callers=st.sampled_from([1, 3, 12]),
        kinds=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CALLS)), max_size=6),
        gap=st.sampled_from([0, 30, 1500, 70_000]).map(lambda ms: ms * MS), accepts=st.booleans(),
    )  # fmt: skip
    def strangers(self, callers: int, kinds: list[tuple[int, str]], gap: int, accepts: bool) -> None:
        """Others call on the side that listens, some to the end of the handshake."""
        name = next(s for s in "ab" if self.side(s).listening)
        for number in range(callers):
            self.do("stranger", name, number, "syn")
        for number, kind in kinds:
            self.do("run", gap)
            self.do("stranger", name, number, kind)
        if callers > 3:
            for number in range(callers):
                self.do("stranger", name, number, "ack")
        if accepts:
            self.do("accept", name)
        self.do("run", gap)

    # Time and trouble.

    @precondition(lambda self: self.pair is not None and any(self.side(s).connected for s in "ab"))
    @rule(name=SIDES, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), value=FORGERIES, gap=GAPS)
    def forgery(self, name: str, kinds: list[str], value: int, gap: int) -> None:
        for kind in kinds:
            self.do("forge", name, kind, value)
            self.do("run", gap)

    @precondition(lambda self: len(self.open()) == 2)
    @rule(name=SIDES, kinds=st.lists(st.sampled_from(LIES), min_size=1, max_size=3), value=FORGERIES)
    def lies(self, name: str, kinds: list[str], value: int) -> None:
        """SACK blocks that cannot be, to a side with data out."""
        self.dialogue(name, 1, 600 * MS, 65_521)
        self.send(name, 65_521)
        for kind in kinds:
            self.do("forge", name, kind, value)

    @precondition(lambda self: len(self.open()) == 2)
    @rule(
        name=SIDES, lost=st.integers(0, 3), held=st.integers(3, 8), forgets=st.booleans(), by=st.sampled_from([0, 700])
    )  # fmt: skip
    def holes(self, name: str, lost: int, held: int, forgets: bool, by: int) -> None:
        """Of a large write one packet is lost; the peer has what comes after it, says so, perhaps of a part, and may
        forget it."""
        fates = [Fate()] * lost + [Fate(DROP)] + [Fate()] * held + [Fate(RENEGE)] * forgets
        self.do("fault", name, tuple(fates))
        self.do("fault", OTHER[name], (Fate(SHAVE, by),) * 30 if by else ())
        self.send(name, 65_521)
        self.do("run", 3000 * MS)
        self.recv(OTHER[name], 65_521)

    @rule(duration=PAUSES)
    def time_passes(self, duration: int) -> None:
        self.do("run", duration)

    @rule(name=SIDES, fates=fault_schedules(20))
    def faults(self, name: str, fates: Any) -> None:
        self.do("fault", name, fates)

    @rule(duration=st.sampled_from([50, 300, 2000, 20_000]).map(lambda ms: ms * MS))
    def outage(self, duration: int) -> None:
        self.do("cut", duration)

    @precondition(lambda self: any(self.side(s).connected for s in "ab"))
    @rule(
        name=SIDES, idle=st.integers(1, 5), interval=st.integers(1, 3), count=st.integers(1, 3),
        full=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def silence(self, name: str, idle: int, interval: int, count: int, full: bool) -> None:
        """Keepalive, and then nobody is there: half a minute is more than it takes to find out (unless the window was
        full: then it is the persist timer that asks)."""
        if name not in self.open():
            return
        if full:
            self.standstill(name, 5)
        for option, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), (idle, interval, count)):
            self.do("setsockopt", name, option, value)
        self.do("setsockopt", name, "SO_KEEPALIVE", 1)
        self.do("run", 1000 * MS)
        self.do("cut", 30_000 * MS)
        self.do("run", 30_000 * MS)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, size=SIZES, ends=st.booleans(), seconds=st.sampled_from([150, 1200]))
    def abandonment(self, name: str, size: int, ends: bool, seconds: int) -> None:
        """Something is said, perhaps as the last, and nobody is there."""
        if name not in self.open():
            return
        self.do("run", 300 * MS)
        self.do("cut", seconds * 1000 * MS)
        self.do("send", name, size)
        if ends:
            self.do("close", name)
        self.do("run", seconds * 1000 * MS)

    @precondition(lambda self: self.open())
    @rule(name=SIDES, seconds=st.sampled_from([5, 60]))
    def standstill(self, name: str, seconds: int) -> None:
        """More is said than the other, who does not read, has room for."""
        if name not in self.open():
            return
        for _ in range(3):
            self.do("send", name, 65_521)
            self.do("run", 200 * MS)
        self.do("run", seconds * 1000 * MS)

    @precondition(lambda self: len(self.open()) == 2)
    @rule(name=SIDES, times=st.integers(1, 6), idle=st.sampled_from([300, 160, 1000, 4000]).map(lambda ms: ms * MS))
    def resumption(self, name: str, times: int, idle: int) -> None:
        """Much is said and read, then nothing for a while, then something again."""
        self.dialogue(name, times, 100 * MS, 65_521)
        self.do("run", idle)
        self.send(name, 65_521)

    @precondition(lambda self: len(self.open()) == 2)
    @rule(name=SIDES, pause=st.sampled_from([100, 160]).map(lambda ms: ms * MS))
    def sips(self, name: str, pause: int) -> None:
        """Much is said and read, then a little now and again, of which the other does not hear at first."""
        self.do("setsockopt", name, "TCP_NODELAY", 1)
        self.dialogue(name, 5, 100 * MS, 65_521)
        self.do("run", pause)
        self.do("cut", 300 * MS)
        for _ in range(9):
            self.send(name, 100)
            self.do("run", 40 * MS)

    @precondition(lambda self: len(self.open()) == 2 and self.may_end())
    @rule(first=SIDES, gap=st.sampled_from([0, 600]).map(lambda ms: ms * MS))
    def farewell(self, first: str, gap: int) -> None:
        """An orderly end, and then the SYN of the beginning once more."""
        for name in (first, OTHER[first]):
            self.recv(name, 65_521)
            self.shutdown(name, 1)
            self.do("run", 1000 * MS)
        for name in "abab":
            self.do("forge", name, "syn-again", 0)
            self.do("run", gap)

    def teardown(self) -> None:
        if self.pair is None or self.failed:
            return
        try:
            self.pair.finish()
        except Exception as why:
            self._keep(why)
            raise
