"""Record locks, open-file-description locks and flock of three processes against a plain model: one dictionary of bytes
to holders for each kind.

The model knows nothing of ranges that split and join; F_GETLK is asked for every byte after each step.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kernel import abi
from kernel.abi import EAGAIN, F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
from kernel.fs import locks
from tests.property.kernel.fs.plain import lone_machine, lone_task

PROCESSES, FDS, BYTES = 3, 2, 12
starts = st.integers(0, BYTES - 1)
lengths = st.integers(0, 6)
processes, fds = st.integers(0, PROCESSES - 1), st.integers(0, FDS - 1)
kinds = st.sampled_from([F_RDLCK, F_WRLCK])


class LockModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        machine = lone_machine()
        self.tasks: list[Any] = []
        self.sys: list[Any] = []
        self.fd: list[list[int]] = []
        for number in range(PROCESSES):
            task, sys = lone_task(machine)
            task.group.pid = number + 1
            self.tasks.append(task)
            self.sys.append(sys)
            self.fd.append([sys.open("/f", abi.O_CREAT | abi.O_RDWR, 0o600) for _ in range(FDS)])
        self.records: dict[int, dict[Any, int]] = {n: {} for n in range(BYTES)}
        """By byte: owner (a process, or a process and its descriptor) to kind."""
        self.flocks: dict[tuple[int, int], int] = {}
        """By (process, descriptor): LOCK_SH or LOCK_EX."""

    def range(self, start: int, length: int) -> range:
        return range(start, BYTES if not length else min(start + length, BYTES))

    def apply(self, owner: Any, span: range, kind: int) -> bool:
        """Whether the lock can be had; then it is."""
        for n in span:
            for other, held in self.records[n].items():
                if kind != F_UNLCK and other != owner and F_WRLCK in (held, kind):
                    return False
        for n in span:
            self.records[n].pop(owner, None)
            if kind != F_UNLCK:
                self.records[n][owner] = kind
        return True

    def ask(self, p: int, f: int, ofd: bool, kind: int, start: int, length: int) -> None:
        owner = ("ofd", p, f) if ofd else ("process", p)
        got = True
        try:
            command = abi.F_OFD_SETLK if ofd else abi.F_SETLK
            self.sys[p].fcntl(self.fd[p][f], command, (kind, 0, start, length))
        except OSError as error:
            assert error.errno == EAGAIN
            got = False
        assert got == self.apply(owner, self.range(start, length), kind)

    @rule(p=processes, f=fds, ofd=st.booleans(), kind=kinds, start=starts, length=lengths)
    def lock(self, p: int, f: int, ofd: bool, kind: int, start: int, length: int) -> None:
        self.ask(p, f, ofd, kind, start, length)

    @rule(p=processes, f=fds, ofd=st.booleans(), start=starts, length=lengths)
    def unlock(self, p: int, f: int, ofd: bool, start: int, length: int) -> None:
        self.ask(p, f, ofd, F_UNLCK, start, length)

    @rule(p=processes, f=fds, kind=st.sampled_from([LOCK_SH, LOCK_EX, LOCK_UN]))
    def flock(self, p: int, f: int, kind: int) -> None:
        """Converting gives the old lock up first, also when the new one can't be had."""
        mine = self.flocks.get((p, f))
        others = [held for who, held in self.flocks.items() if who != (p, f)]
        free = kind in (LOCK_UN, mine) or not ((kind == LOCK_EX and others) or LOCK_EX in others)
        got = True
        try:
            self.sys[p].flock(self.fd[p][f], kind | LOCK_NB)
        except OSError as error:
            assert error.errno == EAGAIN
            got = False
        assert got == free
        self.flocks.pop((p, f), None)
        if free and kind != LOCK_UN:
            self.flocks[p, f] = kind

    @rule(p=processes, f=fds)
    def reopen(self, p: int, f: int) -> None:
        """Any close gives up all record locks of the process, and the description's own."""
        self.sys[p].close(self.fd[p][f])
        self.fd[p][f] = self.sys[p].open("/f", abi.O_RDWR)
        for held in self.records.values():
            held.pop(("process", p), None)
            held.pop(("ofd", p, f), None)
        self.flocks.pop((p, f), None)

    @rule(p=processes, f=fds)
    def another_open_and_close(self, p: int, f: int) -> None:
        """Also the close of a descriptor that never locked anything."""
        fd = self.sys[p].open("/f", abi.O_RDONLY)
        self.sys[p].close(fd)
        for held in self.records.values():
            held.pop(("process", p), None)

    @invariant()
    def every_byte_is_held_by_whom_the_model_says(self) -> None:
        for p in range(PROCESSES):
            for n in range(BYTES):
                found = self.sys[p].fcntl(self.fd[p][0], abi.F_GETLK, (F_WRLCK, 0, n, 1))
                others = {who: kind for who, kind in self.records[n].items() if who != ("process", p)}
                assert (found[0] == F_UNLCK) == (not others)
                if others:
                    pids = {-1 if who[0] == "ofd" else who[1] + 1: kind for who, kind in others.items()}
                    assert found[4] in pids and found[0] in others.values()


def run(phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink)) -> None:
    run_state_machine_as_test(
        LockModel, settings=settings(max_examples=30, stateful_step_count=25, deadline=None, phases=phases,
                                       suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
    )  # fmt: skip


def test_locks_are_those_of_the_model() -> None:
    run()


def test_locks_that_survive_a_close_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(locks.Locks, "release_owner", lambda self, owner: None)
    with pytest.raises(AssertionError):
        run((Phase.generate,))
