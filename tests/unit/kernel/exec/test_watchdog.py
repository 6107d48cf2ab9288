"""The watchdog names who holds the machine up, and keeps quiet about honest work."""

from __future__ import annotations

from typing import Any

from drivers.clock import VirtualTimeline
from kernel.exec.watchdog import Watchdog
from kernel.machine import Machine


def test_code_without_ticks_is_named_and_ticking_code_is_not() -> None:
    namespace: dict[str, Any] = {}
    exec(compile("def stuck(told):\n    while not told:\n        pass\n", "blob.py", "exec"), namespace)
    told: list[str] = []

    def good(sys: Any, rounds: int) -> None:
        for _ in range(rounds):
            sys.getpid()

    def bad(sys: Any) -> None:
        namespace["stuck"](told)

    with Machine("m", VirtualTimeline(1)) as machine, Watchdog([machine], told.append, patience_s=0.02):
        machine.spawn(good, 200_000)
        assert machine.run()
        assert told == []
        machine.spawn(bad)
        assert machine.run()
    assert len(told) == 1
    assert "pid 3 (bad)" in told[0] and "blob.py:" in told[0] and "in stuck" in told[0]
