"""Scenarios made of scripts: what a script does, nothing that it expects, and the same changes each time."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from tools.packetdrill.differential.judge import compare
from tools.packetdrill.differential.mutants import Senseless, mutant, stimulus
from tools.packetdrill.differential.record import Scenario, replay
from tools.packetdrill.host import Host
from tools.packetdrill.script import ScriptError

SCRIPTS = [
    path for path in sorted((Path(__file__).parents[4] / "conformance" / "tcp").rglob("*.pkt"))
    if zlib.crc32(path.stem.encode()) % 40 == 0  # by its name: another script changes none of these
]  # fmt: skip
SERVER = """--tolerance_usecs=0
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


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) > 5


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_other_expectations_are_the_same_scenario(path: Path) -> None:
    """And something else that comes in is another one."""
    text = path.read_text()
    other = re.sub(r"^([^<>%`(]*> [^<\n]*ack \d+)(?: win \d+)?", r"\1 win 54321", text, flags=re.MULTILINE)
    assert stimulus(other, "x").text() == stimulus(text, "x").text()
    changed = re.sub(r"( < .* win )(\d+)", lambda match: f"{match[1]}{int(match[2]) ^ 1}", text)
    if changed != text:
        assert stimulus(changed, "x").text() != stimulus(text, "x").text()


def test_an_echo_is_of_the_segment_that_the_script_means() -> None:
    """TS ecr 210 is that of the data, the second TS val that comes out."""
    lines = [line for _, line in stimulus(SERVER).steps if line.startswith("<")]
    assert [line.partition("ecr ")[2][0] for line in lines] == ["0", "1", "2"]


def test_code_before_there_is_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "early.pkt"
    path.write_text("0 %{ x = 1 }%\n" + SERVER.partition("\n")[2].replace(" 0 socket", "+0 socket"))
    scenario = mutant(str(path), 0)
    record = replay(scenario, Host)
    assert [came.text for came in record[0].came] == ["none"]
    assert any(came.kind == "info" and "state=1" in came.text for group in record for came in group.came)


def test_what_is_wrong_with_a_script_is_not_its_changes_fault(tmp_path: Path) -> None:
    """An ICMP message before any packet: the script's own, or what is left when the packet goes."""
    path = tmp_path / "icmp.pkt"
    early = " 0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+.1 < icmp unreachable port_unreachable [1:1(0)]\n"
    path.write_text(early)
    for seed in (0, 1):
        with pytest.raises(ScriptError):
            mutant(str(path), seed)
    lines = SERVER.splitlines(True)
    path.write_text("".join(lines[:5]) + "+.01 < icmp unreachable port_unreachable [1:1(0)]\n")
    mutant(str(path), 0)
    said = []
    for seed in range(1, 40):
        try:
            mutant(str(path), seed)
        except Senseless as why:
            said.append(str(why))
    assert said and all("ICMP message" in why for why in said)
