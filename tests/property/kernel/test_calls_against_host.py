"""What one process does with its descriptors, signals and timers gives on our kernel what it gives on the host's."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings

from kernel import abi
from kernel.ipc.pipe import PipeOps
from tests.property.kernel.calls import Script, inside, outside, scripts

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and the same credentials as init inside"
)
LONG = int(os.environ.get("TERRELLA_SOAK_EXAMPLES", "3000"))
TOLD = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def compare(script: Script) -> None:
    ours = inside(script)
    for _ in range(3):  # a timer set to what has passed may be a moment late there
        theirs = outside(script)
        if ours == theirs:
            break
    for index, (here, there) in enumerate(zip(ours, theirs, strict=False)):
        assert here == there, f"call {index}: inside {here}, on the host {there}"
    assert len(ours) == len(theirs)


@settings(TOLD, max_examples=50)
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
    script: Script = [("pipe2", abi.O_NONBLOCK), ("write", 4, b"a"), ("ppoll", [(3, abi.POLLIN)], 0)]
    compare(script)
    poll = PipeOps.poll
    monkeypatch.setattr(PipeOps, "poll", lambda self, file: poll(self, file) & ~1)
    with pytest.raises(AssertionError, match="on the host"):
        compare(script)
