"""Machines full of programs that call everything with anything, beside those that want too much of something: the
machine stays up, and a witness beside them goes on.

The hour is behind `make soak`; TERRELLA_SOAK_SECONDS sets another time, TERRELLA_SOAK_SEED the first seed.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.syscall.table import BY_NAME
from tests.property.kernel.fuzzer import GREEDY, campaign


@pytest.fixture(autouse=True)
def never_for_ever() -> Iterator[None]:
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("seed", range(20))
def test_campaign(seed: int) -> None:
    faulthandler.dump_traceback_later(120, exit=True)
    assert not campaign(seed, steps=40)


@pytest.mark.soak
def test_an_hour_of_campaigns() -> None:
    seconds = float(os.environ.get("TERRELLA_SOAK_SECONDS", "3600"))
    seed = int(os.environ.get("TERRELLA_SOAK_SEED", "1000"))
    end = time.monotonic() + seconds
    wrong: dict[int, list[str]] = {}
    first = seed
    while time.monotonic() < end:
        faulthandler.dump_traceback_later(300, exit=True)
        found = campaign(seed)
        if found:
            wrong[seed] = found
            print(f"seed {seed}: {found}", flush=True)
        seed += 1
    print(f"{seed - first} campaigns from seed {first}")
    assert not wrong


def test_a_mistake_of_the_kernel_is_seen() -> None:
    """Negative control: a call that raises what is no OSError, or starves everybody, is reported."""

    def broken(task: Any, *args: Any) -> int:
        raise KeyError("a mistake of ours")

    before = BY_NAME["getppid"]
    entry = before.entry
    try:
        before.entry = lambda task, *args: broken(task)
        assert any("a mistake of ours" in line for seed in range(40) for line in campaign(seed, steps=60))
    finally:
        before.entry = entry


def test_every_greedy_one_is_met() -> None:
    assert len(GREEDY) == len({function.__name__ for function in GREEDY}) == 6


