"""Random scenarios and their records, without Linux: made the same each time, judged strictly, kept as scripts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.packetdrill.differential.__main__ import without
from tools.packetdrill.differential.asscript import write
from tools.packetdrill.differential.judge import compare
from tools.packetdrill.differential.mutants import mutant, stimulus
from tools.packetdrill.differential.record import Came, Group, Scenario, replay
from tools.packetdrill.differential.scenario import KINDS, make
from tools.packetdrill.host import Host
from tools.packetdrill.runner import run_text

PLAIN = """--tolerance_usecs=0
+0.000000 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0.000000 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0.000000 bind(3, ..., ...) = 0
+0.000000 listen(3, 1) = 0
+0.010000 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 1000 ecr 0,nop,wscale 7>
+0.050000 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 1050 ecr 0>
+0.000000 accept(3, ..., ...) = 4
+0.000000 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0.010000 write(4, ..., 3000) = -99
+0.050000 < . 1:1(0) ack 2977 win 512 <nop,nop,TS val 1100 ecr 0>
+0.010000 %{ }%
+0.010000 read(4, ..., 10) = -99
+0.010000 ioctl(4, SIOCOUTQ, [-99]) = 0
"""


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_one_scenario(kind: str) -> None:
    one, other = make(7, kind, 20), make(7, kind, 20)
    assert one.text() == other.text()
    assert one.text() != make(8, kind, 20).text()
    assert Scenario.read(one.text()).text() == one.text()
    assert compare(replay(one, Host), replay(other, Host)) is None


def test_what_differs_is_seen() -> None:
    """Each packet, result and field, changed or left out, is a difference."""
    scenario = Scenario.read(PLAIN)
    ours = replay(scenario, Host)
    assert compare(ours, replay(scenario, Host)) is None
    kinds = set()
    for at, group in enumerate(ours[:-1]):
        for n, came in enumerate(group.came):
            kinds.add(came.kind)
            for changed in ([], [replace(came, text=came.text + "0")], [came, came]):
                other = Group(group.due, group.line, [*group.came[:n], *changed, *group.came[n + 1 :]])
                found = compare(ours, [*ours[:at], other, *ours[at + 1 :]])
                assert found is not None and found.group == at, (came, changed)
    assert kinds == {"packet", "call", "info"}


def test_times_count_but_for_what_a_kernel_is_late() -> None:
    def record(*times: int) -> list[Group]:
        return [Group(0, "first", [Came("packet", at, "> . 1:1(0) ack 1") for at in times]), Group(10**9, "last")]

    assert compare(record(0, 200_000_000), record(1_000_000, 230_000_000)) is None
    assert compare(record(0, 200_000_000), record(0, 300_000_000)) is not None
    assert compare(record(0), record(90_000_000)) is not None


def test_a_record_is_a_script() -> None:
    """What came, written as what is expected, passes; and with one number changed it does not."""
    scenario = Scenario.read(PLAIN)
    text = write(replay(scenario, Host, 0), scenario.setup, "a test", ("snd_cwnd", "unacked"))
    assert run_text(text).passed, run_text(text).error
    assert not run_text(text.replace("ack 1 win 255", "ack 1 win 254")).passed
    assert not run_text(text.replace("= 3000", "= 2999")).passed


def test_what_is_left_out_takes_its_time_all_the_same() -> None:
    steps = Scenario.read(PLAIN).steps
    rest = without(steps, 5, 3)
    assert sum(gap for gap, _ in rest) == sum(gap for gap, _ in steps)
    assert len(rest) == len(steps) - 2  # what makes a socket non-blocking stays: nobody is to wait for ever
    assert any("O_NONBLOCK" in line for _, line in without(steps, 1, 2))


SCRIPTS = sorted((Path(__file__).parents[3] / "conformance" / "tcp").rglob("*.pkt"))


@pytest.mark.parametrize("path", SCRIPTS[::40], ids=lambda path: path.stem)
def test_what_a_script_does_and_nothing_that_it_expects(path: Path) -> None:
    """Seed 0 leaves it as it is, any other seed changes it, each time to the same; and it runs."""
    plain = stimulus(path.read_text(), str(path))
    assert not any(line.startswith(">") or "assert" in line for _, line in plain.steps)
    made = [mutant(str(path), seed) for seed in range(6)]
    assert [scenario.text() for scenario in made] == [mutant(str(path), seed).text() for seed in range(6)]
    assert len({scenario.text() for scenario in made}) > 3
    assert not any(line.startswith("//") for line in made[0].setup)
    for scenario in made:
        assert compare(replay(scenario, Host), replay(scenario, Host)) is None
        assert scenario.steps == Scenario.read(scenario.text()).steps


def test_an_echo_is_of_the_segment_that_the_script_means() -> None:
    """TS ecr 210 is that of the data, the second TS val that comes out."""
    script = """--tolerance_usecs=0
 0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+.1 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 1000 ecr 0>
+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 100 ecr 1000>
+.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 1100 ecr 100>
+0 accept(3, ..., ...) = 4
+.01 write(4, ..., 10) = 10
+0 > P. 1:11(10) ack 1 <nop,nop,TS val 210 ecr 1100>
+.1 < . 1:1(0) ack 11 win 512 <nop,nop,TS val 1200 ecr 210>
"""
    lines = [line for _, line in stimulus(script).steps if line.startswith("<")]
    assert [line.partition("ecr ")[2][0] for line in lines] == ["0", "1", "2"]
