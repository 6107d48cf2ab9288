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
from terrella.testing.links import Link
from terrella.testing.pair import OTHER, Pair
from terrella.testing.strategies import fault_schedules, links, socket_options, stack_settings

MS = 1_000_000
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
        options=st.lists(st.tuples(SIDES, socket_options()), max_size=3),
    )
    def begin(
        self, data: st.DataObject, seed: int, how: str, hasty: bool, options: list[tuple[str, tuple[str, Any]]]
    ) -> None:
        link = data.draw(type(self).links, label="link")
        settings = data.draw(type(self).settings, label="settings")
        self.case = Case(link, (), seed, tuple(sorted(settings.items())))
        self.pair = running.make(self.case, self.oracles)
        self.hasty = hasty
        if hasty:
            return
        if how == "both":
            self.do("connect", "a")
            self.do("connect", "b")
        else:
            self.do("listen", how)
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

    @precondition(lambda self: any(self.side(s).listening and not self.side(s).connected for s in "ab"))
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

    # Time and trouble.

    @rule(duration=PAUSES)
    def time_passes(self, duration: int) -> None:
        self.do("run", duration)

    @rule(name=SIDES, fates=fault_schedules(20))
    def faults(self, name: str, fates: Any) -> None:
        self.do("fault", name, fates)

    @rule(duration=st.sampled_from([50, 300, 2000, 20_000]).map(lambda ms: ms * MS))
    def outage(self, duration: int) -> None:
        self.do("cut", duration)

    def teardown(self) -> None:
        if self.pair is None or self.failed:
            return
        try:
            self.pair.finish()
        except Exception as why:
            self._keep(why)
            raise
