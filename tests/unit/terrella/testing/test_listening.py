# ruff: noqa: E501
"""Callers that are not the pair's own, windows that are not used, and what SACK blocks say: what the oracles object to."""

from __future__ import annotations

from typing import Any

import pytest

from netstack.tcp import connection, listener, recovery, scoreboard, validation
from terrella.testing import cases, oracles
from terrella.testing.cases import PATIENT, Case
from terrella.testing.links import DROP, MS, RENEGE, SHAVE, Fate, Link, Way
from terrella.testing.pair import Violation
from terrella.testing.running import make, perform, run
from tests.unit.terrella.testing.breaking import Breaker, mutate, replace

NEAR = Way(20 * MS)


def calls(*steps: tuple[Any, ...], backlog: int = 1, version: int = 4, **settings: int) -> Case:
    """b listens, and others call."""
    names = {f"net.ipv4.{name}": value for name, value in settings.items()}
    return Case(Link(NEAR, NEAR, version=version), (("listen", "b", backlog), *steps), settings=tuple(sorted(names.items())))


def syns(*numbers: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(("stranger", "b", n, "syn") for n in numbers)


def acks(*numbers: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(("stranger", "b", n, "ack") for n in numbers)


WAIT = ("run", 70_000 * MS)
ONE = calls(*syns(0), WAIT)
MANY = calls(*syns(0, 1, 2, 3), WAIT, tcp_syncookies=0)
WITH_COOKIES = calls(*syns(0, 1, 2, 3, 4), *acks(4, 3), ("accept", "b"), WAIT)
FULL = calls(*syns(0), *acks(0), *syns(1), *acks(1), *syns(2), ("run", 10 * MS), ("accept", "b"))
ACCEPTED = calls(*syns(0), *acks(0, 0), *syns(1), *acks(1), ("accept", "b"), backlog=4)
LATE = calls(("connect", "a"), ("run", 100 * MS), ("accept", "b"), *syns(0), *acks(0), *syns(1), *acks(1), ("accept", "b"), backlog=4)
TWO_FULL = calls(*syns(0, 1, 2), *acks(0, 1, 2), ("run", 10 * MS), backlog=1, tcp_syncookies=0)
FREED = calls(*syns(0, 1), ("stranger", "b", 0, "rst"), *syns(2), WAIT, tcp_syncookies=0)
STRAY = calls(*syns(0), ("stranger", "b", 0, "ack-wrong"), *acks(7), ("stranger", "b", 0, "rst-outside"), ("run", 10 * MS), *acks(0))


def used(*steps: tuple[Any, ...], **settings: Any) -> Case:
    names = PATIENT | {f"net.ipv4.{name}": value for name, value in settings.items()}
    opened = (("listen", "b"), ("connect", "a"), ("run", 1000 * MS), ("accept", "b"))
    return Case(Link(NEAR, NEAR), (*opened, *steps), settings=tuple(sorted(names.items())))


BURST = tuple(step for _ in range(5) for step in (("send", "a", 65_521), ("run", 100 * MS), ("recv", "b", 65_521)))
SIPS = tuple(step for _ in range(9) for step in (("send", "a", 100), ("run", 40 * MS)))
UNHEARD = (*BURST, *BURST, ("setsockopt", "a", "TCP_NODELAY", 1), ("run", 100 * MS), ("cut", 300 * MS), *SIPS)
SPARING = used(*BURST, *BURST, *[step for _ in range(30) for step in (("send", "a", 3000), ("run", 50 * MS), ("recv", "b", 65_521))])
PAUSE = used(*BURST, *BURST, ("run", 400 * MS), ("send", "a", 65_521), ("run", 300 * MS))
HOLES = used(*BURST, ("fault", "a", (Fate(), Fate(DROP), Fate(), Fate(), Fate(DROP), *[Fate()] * 5)), ("send", "a", 65_521), ("run", 2000 * MS))
SHAVED = HOLES.but(steps=(*HOLES.steps[:-3], ("fault", "b", (Fate(SHAVE, 700),) * 30), *HOLES.steps[-3:]))
LIED_TO = used(*BURST, ("send", "a", 65_521), *[("forge", "a", kind, 7) for kind in ("sack-ahead", "sack-behind", "sack-head")], ("run", 100 * MS))

CONTROLS: list[tuple[str, str, Breaker, Case]] = [
    ("the SYN-ACK once more", "SynQueue", mutate(listener.Request, "on_timer", ("expired = self.timeouts >= retries\n    resend", "expired = self.timeouts > retries\n    resend")), calls(*syns(0), ("run", 140_000 * MS))),
    ("the SYN-ACK never again", "SynQueue", mutate(listener.Request, "on_timer", ("if resend:", "if False:")), ONE),
    ("no backing off", "SynQueue", mutate(listener.Request, "arm", ("<< self.timeouts", "<< 0")), ONE),
    ("one more than the backlog", "SynQueue", mutate(listener.Listener, "segment_arrives", ("self.waiting > self.backlog", "self.waiting > self.backlog + 1")), MANY),
    ("half-open for ever", "SynQueue", mutate(listener.Request, "drop", ("self.listener.waiting -= 1", "pass")), FREED),
    ("room for as many as may wait, and no more", "SynQueue", replace(listener.Listener, "accept_full", lambda self: len(self.accept_queue) >= self.backlog), FULL),
    ("room for any number", "SynQueue", replace(listener.Listener, "accept_full", lambda self: False), calls(*syns(0), *acks(0), *syns(1), *acks(1), *syns(2))),
    ("any cookie", "SynQueue", replace(listener, "check_cookie", lambda *_: 0), calls(*syns(0, 1, 2, 3), *acks(9), ("run", MS))),
    ("no cookie", "SynQueue", replace(listener, "check_cookie", lambda *_: -1), WITH_COOKIES),
    ("any ACK", "SynQueue", mutate(listener.Request, "segment_arrives", ("if not engine.screens or frame is None or", "if False and")), STRAY),
    ("any RST", "SynQueue", mutate(listener.Request, "segment_arrives", ("if flags & RST and seq != self.irs + 1:", "if False:")), STRAY.but(steps=(*STRAY.steps, ("run", 3000 * MS)))),
    ("the last first", "SynQueue", mutate(listener.Listener, "complete", ("accept_queue.append(", "accept_queue.appendleft(")), ACCEPTED),
    ("the last first, of those behind the pair's own", "SynQueue", mutate(listener.Listener, "complete", ("accept_queue.append(", "accept_queue.appendleft(")), LATE),
    ("grows, used or not", "WindowValidation", replace(connection.Connection, "cwnd_limited", lambda self: True), SPARING),
    ("gives all of it up", "WindowValidation", mutate(validation, "application_limited", ("(c.cwnd + used) >> 1", "used // 2")), used(*UNHEARD)),
    ("falls though it should not", "WindowValidation", mutate(validation, "validate", ("c.settings.tcp_slow_start_after_idle and", "True and")), used(*UNHEARD, tcp_slow_start_after_idle=0)),
    ("begins anew after a pause", "WindowValidation", mutate(validation, "after_idle", ("cwnd >>= 1", "cwnd = restart")), PAUSE),
    ("begins with one after a pause", "WindowValidation", mutate(validation, "after_idle", ("restart = min(restart, cwnd)", "restart = 1"), ("cwnd >>= 1", "cwnd = 1")), PAUSE),
    ("rounds a part up", "Scoreboard", mutate(scoreboard, "walk", ("size = (right - rec.seq) // mss * mss", "size = min(-(-(right - rec.seq) // mss) * mss, rec.length - 1)")), SHAVED),
    ("believes what was never sent", "ForgedSegments", mutate(scoreboard, "sack_valid", ("right > c.snd_nxt or", "")), LIED_TO),
    ("believes what it knows better", "ForgedSegments", mutate(scoreboard, "sack_valid", ("if not dup or not c.undo_marker:\n        return False", "if not dup:\n        return True")), LIED_TO),
]  # fmt: skip


@pytest.mark.parametrize(("oracle", "breaker", "case"), [c[1:] for c in CONTROLS], ids=[f"{c[1]}: {c[0]}" for c in CONTROLS])
def test_a_broken_rule_is_seen(oracle: str, breaker: Breaker, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    run(case, artifacts="")
    breaker(monkeypatch)
    with pytest.raises(Violation) as seen:
        run(case, [getattr(oracles, oracle)], artifacts="")
    assert seen.value.oracle == oracle and "RFC" in str(seen.value)


@pytest.mark.parametrize("case", [WITH_COOKIES, FULL, TWO_FULL, calls(*syns(0, 1, 2, 3), *acks(3, 0), WAIT, version=6)], ids=str)
def test_nobody_objects_to_callers(case: Case) -> None:
    run(case, artifacts="")
    assert cases.from_json(cases.to_json(case)) == case


def test_a_connection_beside_those_of_others() -> None:
    """Others call before and after; accept gives the pair's own, and resets theirs; they are in the capture only."""
    from terrella.testing import script
    from tools.packetdrill.runner import run_text

    pair = make(calls(backlog=8))
    for step in (
        ("listen", "b"), *syns(0, 1), *acks(0, 1), ("connect", "a"), ("run", 100 * MS), ("accept", "b"), ("send", "a", 1000), ("run", 100 * MS),
        ("recv", "b", 2000), *syns(2), ("stranger", "b", 2, "rst"),
    ):  # fmt: skip
        perform(pair, step)
    pair.finish()
    assert pair.sides["b"].read == 1000 and pair.sides["b"].connected
    others = [kind for _, kind, _ in pair.sides["b"].history if "others" in kind]
    assert others.count("to others") == 5 and others.count("of others") == 6
    verdict = run_text(script.text(pair, "a"), "kit.pkt")
    assert verdict.passed, verdict.error


def test_a_window_that_falls_is_remembered() -> None:
    pair = make(used(*BURST, *BURST), [])
    for step in used(*BURST, *BURST).steps:
        perform(pair, step)
    side = pair.sides["a"]
    state = side.state()
    assert state is not None
    before = state._replace(cwnd=40, ssthresh=20, packets_out=3, unsent=0)
    watch = oracles.WindowValidation(pair)
    watch.step(side, "call", None, before, before._replace(cwnd=25, ssthresh=30))
    with pytest.raises(Violation, match="fell twice within an RTO"):
        watch.step(side, "call", None, before, before._replace(cwnd=25, ssthresh=30))
    watch.usage["a"].fell = -(1 << 60)
    for after, said in ((before._replace(cwnd=25), "ssthresh is 20"), (before._replace(cwnd=24, ssthresh=30), "25 were left")):
        watch.usage["a"].fell = -(1 << 60)
        with pytest.raises(Violation, match=said):
            watch.step(side, "call", None, before, after)


def test_strangers_do_what_there_is() -> None:
    with pytest.raises(ValueError, match="no stranger does 'fin'"):
        run(calls(("stranger", "b", 0, "fin")), artifacts="")
    pair = make(Case())
    assert pair.stranger("a", 0, "syn") < 0


def test_a_peer_that_forgets_what_it_held() -> None:
    case = used(*BURST, ("fault", "a", (Fate(), Fate(DROP), *[Fate()] * 4, Fate(RENEGE))), ("send", "a", 65_521), ("run", 3000 * MS))
    pair = run(case, artifacts="")
    assert pair.sides["b"].reneged == 1 and recovery is not None
