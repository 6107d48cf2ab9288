"""Signals of one process against a plain model: two queues, a mask, dispositions.

A program makes the calls that Hypothesis drew; after each the model says which handlers have run, in which order and
with which values, what is pending, and what rt_sigtimedwait gives.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.abi import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_UNBLOCK, SIGCHLD, SIGRTMIN, SIGUSR1, SIGUSR2
from kernel.machine import Machine
from kernel.signal import Signals

SIGNALS = (SIGUSR1, SIGUSR2, SIGCHLD, SIGRTMIN, SIGRTMIN + 1)
"""SIGCHLD's default is to be ignored; the others always have a handler or are ignored."""
signals = st.sampled_from(SIGNALS)
sets = st.sets(signals, max_size=4)
steps = st.one_of(
    st.tuples(st.just("process"), signals, st.integers(1, 9)),
    st.tuples(st.just("thread"), signals, st.integers(1, 9)),
    st.tuples(st.just("block"), sets, st.just(0)),
    st.tuples(st.just("unblock"), sets, st.just(0)),
    st.tuples(st.just("handle"), signals, st.just(0)),
    st.tuples(st.just("ignore"), signals, st.just(0)),
    st.tuples(st.just("take"), sets, st.just(0)),
)


class Model:
    def __init__(self) -> None:
        self.queues: dict[str, list[tuple[int, int]]] = {"thread": [], "process": []}
        self.mask: set[int] = set()
        self.how: dict[int, str] = dict.fromkeys(SIGNALS, "handle")
        self.ran: list[tuple[int, int]] = []

    def send(self, where: str, signum: int, value: int) -> None:
        ignored = self.how[signum] == "ignore"
        if ignored and signum not in self.mask:
            return
        if signum < 32 and any(n == signum for n, _ in self.queues[where]):
            return
        self.queues[where].append((signum, value))
        self.deliver()

    def next(self, among: Any) -> tuple[int, int] | None:
        """The thread's queue first; in each the lowest number, and of one number the first."""
        for where in ("thread", "process"):
            wanted = [entry for entry in self.queues[where] if entry[0] in among]
            if wanted:
                found = min(wanted, key=lambda entry: entry[0])
                self.queues[where].remove(found)
                return found
        return None

    def deliver(self) -> None:
        """Every handler blocks all signals while it runs, so they run one after the other."""
        while (entry := self.next([n for n in SIGNALS if n not in self.mask])) is not None:
            if self.how[entry[0]] == "handle":
                self.ran.append(entry)

    def dispose(self, signum: int, how: str) -> None:
        self.how[signum] = how
        if how == "ignore":
            for queue in self.queues.values():
                queue[:] = [entry for entry in queue if entry[0] != signum]

    def pending(self) -> set[int]:
        return {n for queue in self.queues.values() for n, _ in queue} & self.mask


def play(script: list[tuple[str, Any, int]]) -> list[str]:
    """Where kernel and model differ."""
    wrong: list[str] = []

    def main(sys: Any) -> None:
        model, ran = Model(), []
        me, tid = sys.getpid(), sys.gettid()

        def handler(sys: Any, signum: int, info: Any) -> None:
            ran.append((signum, info.si_value))

        for n in SIGNALS:
            sys.rt_sigaction(n, handler, 0, SIGNALS)
        for what, which, value in script:
            if what == "process":
                sys.rt_sigqueueinfo(me, which, value)
                model.send("process", which, value)
            elif what == "thread":
                sys.rt_tgsigqueueinfo(me, tid, which, value)
                model.send("thread", which, value)
            elif what == "block":
                sys.rt_sigprocmask(SIG_BLOCK, which)
                model.mask |= which
            elif what == "unblock":
                sys.rt_sigprocmask(SIG_UNBLOCK, which)
                model.mask -= which
                model.deliver()
            elif what == "handle":
                sys.rt_sigaction(which, handler, 0, SIGNALS)
                model.dispose(which, "handle")
            elif what == "ignore":
                sys.rt_sigaction(which, SIG_DFL if which == SIGCHLD else SIG_IGN)
                model.dispose(which, "ignore")
            else:
                try:
                    info = sys.rt_sigtimedwait(which, 0)
                    taken = (info.si_signo, info.si_value)
                except BlockingIOError:
                    taken = None
                expected = model.next(which)
                if taken != expected:
                    wrong.append(f"took {taken}, not {expected}")
            if ran != model.ran:
                wrong.append(f"after {what} {which}: ran {ran}, not {model.ran}")
            if sys.rt_sigpending() != model.pending():
                wrong.append(f"after {what} {which}: pending {sys.rt_sigpending()}, not {model.pending()}")
            if wrong:
                return

    with Machine("m", VirtualTimeline(1)) as machine:
        process = machine.spawn(main)
        assert machine.run(until=10**10, process=process)
        assert process.exit_status == 0
    return wrong


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25))
def test_signals_are_those_of_the_model(script: list[tuple[str, Any, int]]) -> None:
    assert not play(script)


def test_a_wrong_order_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the queue's last of a number before its first."""
    take = Signals.take

    def backwards(self: Signals, task: Any, mask: int) -> Any:
        task.group.pending.reverse()
        try:
            return take(self, task, mask)
        finally:
            task.group.pending.reverse()

    script: list[tuple[str, Any, int]] = [
        ("block", {SIGRTMIN}, 0), ("process", SIGRTMIN, 1), ("process", SIGRTMIN, 2), ("unblock", {SIGRTMIN}, 0),
    ]  # fmt: skip
    assert not play(script)
    monkeypatch.setattr(Signals, "take", backwards)
    assert play(script)
