"""What one process does with its descriptors, signals and timers gives on our kernel what it gives on the host's."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kernel.ipc.pipe import PipeOps
from tests.property.kernel.calls import Script, inside, outside, scripts

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and the same credentials as init inside"
)
LONG = int(os.environ.get("TERRELLA_SOAK_EXAMPLES", "3000"))
TOLD = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def compare(script: Script) -> None:
    ours, theirs = inside(script), outside(script)
    for index, (here, there) in enumerate(zip(ours, theirs, strict=False)):
        assert here == there, f"call {index}: inside {here}, on the host {there}"
    assert len(ours) == len(theirs)


@settings(TOLD, max_examples=80)
@given(scripts)
def test_calls_of_one_process(script: Script) -> None:
    compare(script)


@pytest.mark.soak
@settings(TOLD, max_examples=LONG)
@given(scripts)
def test_calls_of_one_process_for_long(script: Script) -> None:
    compare(script)


def test_a_wrong_pipe_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a pipe that is never readable for poll."""
    poll = PipeOps.poll
    monkeypatch.setattr(PipeOps, "poll", lambda self, file: poll(self, file) & ~1)

    @settings(TOLD, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])
    @given(scripts)
    def run(script: Any) -> None:
        compare(script)

    with pytest.raises(AssertionError, match="on the host"):
        run()
