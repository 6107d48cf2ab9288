"""Random scenarios and their records, without Linux: made the same each time, judged strictly, kept as scripts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.packetdrill.differential.asscript import write
from tools.packetdrill.differential.judge import compare
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


def test_a_connections_clock_begins_anywhere() -> None:
    """TS vals are compared from the first one of each connection, whose clock depends on its ports."""
    setup = "socket(..., SOCK_STREAM, IPPROTO_TCP) = {0}\n+0.000000 fcntl({0}, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
    connect = f"+0.010000 {setup}+0.000000 connect({{0}}, ..., ...) = -1 EINPROGRESS\n"
    text = "--tolerance_usecs=0\n" + "".join(connect.format(fd) for fd in (3, 4)) + "+1.000000 %{ }%\n"
    stamps = [came.stamps for group in replay(Scenario.read(text), Host) for came in group.came if came.stamps]
    assert stamps == [(0,), (0,), (1000,), (1000,)]


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
