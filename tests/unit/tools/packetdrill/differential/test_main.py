"""What a campaign says when there is something that it could not compare."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tools.packetdrill.differential import __main__ as campaign
from tools.packetdrill.differential.__main__ import Late, Outcome, one, told, without
from tools.packetdrill.differential.judge import compare
from tools.packetdrill.differential.record import Came, Group, Scenario

TEXT = """--tolerance_usecs=0
+0.000000 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0.000000 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0.000000 bind(3, ..., ...) = 0
+0.010000 listen(3, 1) = 0
"""
SCENARIO = Scenario.read(TEXT)
OURS, THEIRS = ([Group(0, "first", [Came("call", 0, text)]), Group(10**9, "last")] for text in ("a", "b"))
DIFFERENCE = compare(OURS, THEIRS)


def outcome(monkeypatch: pytest.MonkeyPatch, *answers: Any, out: Path | None = None) -> tuple[Outcome, str]:
    """Of one scenario, when it is compared with these answers, one after the other."""
    left = list(answers)

    def differs(scenario: Scenario, tries: int = 3) -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    smaller = Scenario(SCENARIO.setup, SCENARIO.steps[:1])
    monkeypatch.setattr(campaign, "differs", differs)
    monkeypatch.setattr(campaign, "shrink", lambda scenario, found: smaller)
    args = argparse.Namespace(no_shrink=False, out=out)
    found = one(("x", SCENARIO), args)
    assert not left
    return found


def test_what_comes_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = DIFFERENCE, OURS, THEIRS
    assert outcome(monkeypatch, None) == (Outcome.SAME, "")
    assert outcome(monkeypatch, Late("late")) == (Outcome.SKIPPED, "x: late")
    assert outcome(monkeypatch, RuntimeError("no")) == (Outcome.DIFFERS, "x: no")
    assert outcome(monkeypatch, found, found)[0] is Outcome.DIFFERS


@pytest.mark.parametrize("again", [None, Late("late"), RuntimeError("no")], ids=repr)
def test_a_late_host_does_not_take_a_difference_away(
    again: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was made smaller cannot be shown to differ: the whole scenario is left, with the records that it had."""
    found = DIFFERENCE, OURS, THEIRS
    kind, said = outcome(monkeypatch, found, again, out=tmp_path)
    assert kind is Outcome.DIFFERS and "ours" in said
    assert (tmp_path / "x.txt").read_text().startswith(TEXT)
    assert outcome(monkeypatch, found, found, out=tmp_path)[0] is Outcome.DIFFERS
    assert not (tmp_path / "x.txt").read_text().startswith(TEXT), "otherwise the smaller one"


def test_scripts_that_cannot_be_read(tmp_path: Path) -> None:
    """Whatever the seed: it is no change's fault."""
    path = tmp_path / "bad.pkt"
    path.write_text("0 socket(..., SOCK_STREAM, IPPROTO_TCP = 3\n")
    for seed in (0, 1):
        kind, said = one(("bad", (str(path), seed)), argparse.Namespace())
        assert kind is Outcome.UNREADABLE and said.startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    ("counts", "said", "status"),
    [
        ({Outcome.SAME: 3}, "3 scenarios, 0 differ, 0 could not be compared", 0),
        ({Outcome.SAME: 3, Outcome.DIFFERS: 1}, "4 scenarios, 1 differ, 0 could not be compared", 1),
        ({Outcome.SAME: 1, Outcome.SKIPPED: 4}, "5 scenarios, 0 differ, 4 could not be compared", 0),
        ({Outcome.SAME: 3, Outcome.UNREADABLE: 1}, "4 scenarios, 0 differ, 1 could not be compared", 1),
        ({Outcome.SKIPPED: 2}, "2 scenarios, 0 differ, 2 could not be compared", 1),
        ({}, "0 scenarios, 0 differ, 0 could not be compared", 1),
    ],
)
def test_the_last_line(counts: dict[Outcome, int], said: str, status: int) -> None:
    assert told(Counter(counts)) == (said, status)


def test_what_is_left_out_takes_its_time_all_the_same() -> None:
    steps = [(0, "a"), (5, "b"), (7, "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0"), (9, "c"), (11, "d")]
    for at in range(1, 4):
        for size in range(1, 5 - at):
            rest = without(steps, at, size)
            assert sum(gap for gap, _ in rest) == sum(gap for gap, _ in steps)
            assert any("O_NONBLOCK" in line for _, line in rest), "nobody is to wait for ever"
            assert len(rest) == len(steps) - size + (at <= 2 < at + size)
