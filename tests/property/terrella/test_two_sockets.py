"""Two sockets, any interleaving of calls, any faults: no oracle objects. The suite's examples are the same in
every run; the campaigns behind `soak` look further.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import run_state_machine_as_test

from terrella.testing import strategies
from terrella.testing.cases import Case
from terrella.testing.machine import TwoSockets
from terrella.testing.running import run

ANYTHING = list(HealthCheck)
LONG = int(os.environ.get("TERRELLA_SOAK_EXAMPLES", "3000"))


class TestTwoSockets(TwoSockets.TestCase):
    settings = settings(
        max_examples=40, stateful_step_count=20, derandomize=True, deadline=None, suppress_health_check=ANYTHING
    )


@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=ANYTHING)
@given(case=strategies.cases(app=strategies.applications(most=10_000)))
def test_applications(case: Case) -> None:
    run(case, name="applications")


@pytest.mark.soak
def test_two_sockets_for_long() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        TwoSockets,
        settings=settings(max_examples=LONG, stateful_step_count=60, deadline=None, suppress_health_check=ANYTHING),
    )


@pytest.mark.soak
@settings(max_examples=LONG // 5, deadline=None, suppress_health_check=ANYTHING)
@given(case=strategies.cases(app=strategies.applications(most=1_000_000, pieces=12)))
def test_applications_for_long(case: Case) -> None:
    run(case, name="applications-long")
