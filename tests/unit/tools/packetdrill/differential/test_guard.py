"""Events of a scenario keep away from the stack's timers."""

from __future__ import annotations

import pytest

from tools.packetdrill.differential.guard import GUARD_NS, MS
from tools.packetdrill.differential.mutants import clear
from tools.packetdrill.differential.record import Recorder, Scenario
from tools.packetdrill.differential.scenario import KINDS, make
from tools.packetdrill.host import Host

CLOSE = """--tolerance_usecs=0
+0.000000 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0.000000 bind(3, ..., ...) = 0
+0.000000 listen(3, 1) = 0
+0.010000 < S 0:0(0) win 65535 <mss 1000>
+0.050000 < . 1:1(0) ack 1 win 512
+0.000000 accept(3, ..., ...) = 4
+0.000000 write(4, ..., 1000) = -99
+0.{} write(4, ..., 1000) = -99
"""


def room(scenario: Scenario) -> int:
    """How long before a timer an event came, at the least; what comes with the event before it is not asked."""
    recorder = Recorder(scenario.setup, Host)
    least = 1 << 62
    try:
        for gap, line in scenario.steps:
            if gap:
                recorder.host.advance(recorder.due + gap)
                recorder.drain()
                assert isinstance(recorder.host, Host)
                deadline = recorder.host.timeline.peek()
                if deadline is not None:
                    least = min(least, deadline - recorder.due - gap)
            recorder.step(gap, line)
    finally:
        recorder.host.close()
    return least


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_is_close_to_a_timer(kind: str) -> None:
    for seed in range(3):
        assert room(make(seed, kind, 25)) >= GUARD_NS - MS


def test_what_is_close_is_put_off() -> None:
    """Not what is far before a timer, or far enough after it for a host that is late; and nothing comes earlier."""
    rooms, stayed = [], []
    for ms in range(60, 600, 15):
        scenario = Scenario.read(CLOSE.format(f"{ms:03}000"))
        rooms.append(room(scenario))
        out = clear(scenario)
        assert room(out) >= GUARD_NS - MS
        assert all(gap >= before for (gap, _), (before, _) in zip(out.steps, scenario.steps, strict=True))
        stayed.append(out.steps == scenario.steps)
        assert not stayed[-1] or rooms[-1] >= GUARD_NS
    assert stayed[0] and not all(stayed) and stayed[-1]
    assert min(rooms) < GUARD_NS, "some were close"
