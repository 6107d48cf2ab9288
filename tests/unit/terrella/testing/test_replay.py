# ruff: noqa: E501
"""A failing case is kept: as JSON, as a packetdrill script that the runner accepts, as a capture; and it fails again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from terrella.testing import cases, replay, script
from terrella.testing.apps import Application, Piece
from terrella.testing.cases import Case
from terrella.testing.links import (
    DELAY,
    DROP,
    DUPLICATE,
    MS,
    BleachEcn,
    Burst,
    ClampMss,
    Fate,
    Link,
    ShiftSequence,
    StripOptions,
    Way,
)
from terrella.testing.oracles import Oracle
from terrella.testing.pair import Violation
from terrella.testing.running import run

BUSY = Case.exchange(
    Link(
        Way(20 * MS, rate=10_000_000, queue=30, fates=(*[Fate()] * 12, Fate(DROP), Fate(), Fate(DELAY, 3 * MS), Fate(DUPLICATE, MS))),
        Way(20 * MS, boxes=(ClampMss(1000),)),
    ),
    Application((Piece(40_000), Piece(300, 50 * MS), Piece(5, MS))), Application((Piece(3000, 100 * MS),), read_every_ns=30 * MS),
    settings={"net.ipv4.tcp_congestion_control": "reno", "net.ipv4.tcp_rmem": (4096, 131072, 6291456)},
)  # fmt: skip


class NoLargeStreams(Oracle):
    """Nobody may read beyond byte 20,000 (a rule made up to be broken)."""

    section = "made up"

    def got(self, side: Any, offset: int, data: bytes) -> None:
        if offset + len(data) > 20_000:
            self.fail(side, "too much")


def test_a_case_has_a_json_form() -> None:
    way = Way(
        5 * MS, 1_000_000, 7, 3, Burst(0.1, 0.5), MS, 0.1, 0.2, 0.3,
        (StripOptions((4, 8), False), ClampMss(900), ShiftSequence(7, True), BleachEcn()), (Fate(DROP), Fate(DELAY, 9)),
    )  # fmt: skip
    case = BUSY.but(link=Link(way, Way(), 576, 9), each=(("a", (("net.ipv4.tcp_sack", 0),)),), seed=9)
    assert cases.from_json(cases.to_json(case)) == case
    assert json.loads(cases.to_json(case))["terrella-case"] == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"terrella-case": 2}'])
def test_what_is_no_case_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a case"):
        cases.from_json(text)


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(ValueError, match="no step 'explode'"):
        run(Case(steps=(("explode", "a"),)), artifacts="")


def test_same_case_same_run() -> None:
    first, second = run(BUSY, artifacts=""), run(BUSY, artifacts="")
    for name in "ab":
        assert first.sides[name].history == second.sides[name].history


def test_a_failure_is_kept_and_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the oracle that it was found by, which the file knows where to find."""
    with pytest.raises(Violation) as seen:
        run(BUSY, [NoLargeStreams], tmp_path, "unlucky test[1]")
    names = sorted(path.name for path in tmp_path.iterdir())
    stem = "unlucky-test-1--NoLargeStreams"
    assert names == [f"{stem}.json", f"{stem}.pcapng", f"{stem}.pkt"]
    assert f"python -m terrella.testing.replay {tmp_path / stem}.pkt" in "".join(seen.value.__notes__)
    for suffix in ("json", "pkt", "pcapng"):
        assert replay.load(f"{tmp_path / stem}.{suffix}") == BUSY
    assert replay.main([f"{tmp_path / stem}.pkt", "--save", str(tmp_path / "again")]) == 1
    assert "NoLargeStreams" in capsys.readouterr().err
    for suffix in ("json", "pkt", "pcapng"):
        again = tmp_path / "again" / next(p.name for p in (tmp_path / "again").iterdir() if p.suffix == f".{suffix}")
        assert again.read_bytes() == (tmp_path / f"{stem}.{suffix}").read_bytes()


class SmallPieces(Oracle):
    """No write takes more than 2000 bytes (a rule made up to be broken by what a call sends)."""

    section = "made up"

    def sent(self, side: Any, seg: Any, state: Any) -> None:
        if side.name == "b" and seg.length and side.written == 0:
            self.fail(side, "too much")


def test_a_rule_broken_within_a_call(tmp_path: Path) -> None:
    """The call has its result and what it sent, so the script runs; the packet that broke the rule is pointed at."""
    from tools.packetdrill.runner import run_text
    from tools.pcapng import packets

    with pytest.raises(Violation):
        run(BUSY, [SmallPieces], tmp_path)
    text = (tmp_path / "case-SmallPieces.pkt").read_text()
    verdict = run_text(text, "kept.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"
    lines = text.splitlines()
    at = lines.index("// here: SmallPieces")
    assert "write(4, ..., 3000) = 3000" in lines[at - 1]
    assert "> . 1:" in lines[at + 1]
    said = [packet for packet in packets(tmp_path / "case-SmallPieces.pcapng") if packet.comment]
    assert len(said) == 1 and "too much" in said[0].comment
    assert len(said[0].data) > 500


def test_where_nothing_can_be_kept_the_rule_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text(cases.to_json(BUSY))
    with pytest.raises(Violation) as seen:
        run(BUSY, [NoLargeStreams], file)
    assert "not saved: " in "".join(seen.value.__notes__)
    assert replay.main([str(file), "--save", str(file)]) == 2
    assert capsys.readouterr().err == f"--save {file}: File exists\n"


def test_the_command(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_text(cases.to_json(BUSY))
    command = [sys.executable, "-m", "terrella.testing.replay"]
    root = str(Path(__file__).resolve().parents[4])
    environ = os.environ | {"PYTHONPATH": root}
    done = subprocess.run([*command, str(good), "--side", "a"], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert "write(4, ..., 40000) = 40000" in done.stdout
    for wrong in (tmp_path / "missing.pkt", tmp_path):
        done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, env=environ)
        assert done.returncode == 2 and "Traceback" not in done.stderr


MINE = """
from netstack.tcp.congestion import register
from netstack.tcp.congestion.reno import Reno
from terrella.testing import EVERY, Application, Fate, Link, Oracle, Piece, Way, exchange

@register
class Greedy(Reno):
    name = "greedy"

    def ssthresh(self, c):
        return c.cwnd

class Small(Oracle):
    "cwnd stays small."
    section = "mine"

    def step(self, side, cause, seg, before, after):
        if after is not None and after.cwnd > 12:
            self.fail(side, "large")

def a_run(**kw):
    lossy = Link(Way(fates=(*[Fate()] * 10, Fate("drop"))))
    exchange(lossy, Application((Piece(100_000),)), artifacts="kept", name="mine", **kw)

if __name__ == "__main__":
    import sys
    if sys.argv[1] == "greedy":
        a_run(settings={"net.ipv4.tcp_congestion_control": "greedy"})
    else:
        from mine import Small as small
        a_run(oracles=[*EVERY, small])
"""


def test_what_is_the_users_own_is_found_again(tmp_path: Path) -> None:
    """A congestion control that does not answer loss, and a rule: the command imports them from where they were, or from
    where it is told they are now."""
    (tmp_path / "mine.py").write_text(MINE)
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[4])}

    def python(*arguments: str, where: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=where, env=environ)

    for what, rule in (("greedy", "Reduction"), ("small", "Small")):
        failed = python("mine.py", what)
        line = f"python -m terrella.testing.replay kept/mine-{rule}.pkt"
        assert failed.returncode == 1 and f"replay: {line}" in failed.stderr, failed.stderr
        again = python("-m", "terrella.testing.replay", str(tmp_path / f"kept/mine-{rule}.pkt"), where=tmp_path.parent)
        assert again.returncode == 1 and rule in again.stderr, again.stderr
    packetdrill = ("-m", "tools.cli", "packetdrill")
    kept = python(*packetdrill, "kept/mine-Reduction.pkt")
    assert kept.returncode == 1 and f"--import {tmp_path}/mine.py" in kept.stdout, kept.stdout
    assert "`python -m terrella.testing.replay kept/mine-Reduction.pkt`" in kept.stdout
    kept = python(*packetdrill, "--import", "mine.py", "kept/mine-Reduction.pkt")
    assert kept.returncode == 0 and kept.stdout == "ok    kept/mine-Reduction.pkt\n", kept.stdout
    (tmp_path / "mine.py").rename(tmp_path / "theirs.py")
    gone = python("-m", "terrella.testing.replay", "kept/mine-Reduction.json")
    assert gone.returncode == 2 and "mine.py" in gone.stderr and "--import" in gone.stderr
    again = python("-m", "terrella.testing.replay", "--import", "theirs.py", "kept/mine-Reduction.json")
    assert again.returncode == 1 and "Reduction" in again.stderr, again.stderr


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_script_runs_in_packetdrill(side: str, simultaneous: bool) -> None:
    """The stack alone, given the same calls and packets, sends the same packets at the same times."""
    from tools.packetdrill.runner import run_text

    case = BUSY
    if simultaneous:
        case = case.but(steps=(("connect", "a"), ("connect", "b"), *case.steps[2:]))
    pair = run(case, artifacts="")
    text = script.text(pair, side)
    verdict = run_text(text, "kit.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"
    lines = text.splitlines()
    at = next(n for n in range(len(lines) // 2, len(lines)) if " > " in lines[n] and " ack " in lines[n])
    lines[at] = lines[at].replace(" ack ", " ack 1")
    assert not run_text("\n".join(lines), "kit.pkt").passed


@pytest.mark.parametrize("side", ["a", "b"])
def test_what_a_stranger_sends_and_rare_calls_are_in_the_script(side: str) -> None:
    """Forged packets, ICMP among them; urgent data; MSG_PEEK; SO_LINGER."""
    from terrella.testing.forged import KINDS
    from tools.packetdrill.runner import run_text

    other = "b" if side == "a" else "a"
    steps: list[Any] = [("listen", "b"), ("connect", "a"), ("run", 100 * MS), ("accept", "b")]
    steps += [("setsockopt", side, "SO_LINGER", 5), ("send", other, 1000), ("urgent", other, 100), ("run", 100 * MS)]
    steps += [("peek", side, 2000), *[("recv", side, 2000)] * 2]
    steps += [step for kind in KINDS for step in (("forge", side, kind, 7), ("run", 600 * MS))]
    pair = run(Case(Link(Way(MS), Way(MS)), (*steps, ("close", side))), artifacts="")
    text = script.text(pair, side)
    assert "icmp unreachable" in text and " urg 100" in text and "MSG_PEEK" in text and "linger=5" in text
    verdict = run_text(text, "kit.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"
