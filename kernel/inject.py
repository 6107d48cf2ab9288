"""strace's `-e inject=`: calls that fail, give a made-up value, take longer, or bring a signal, where a rule says so.

A subscriber of the machine's trace: `tamper(task, call)` is asked before each call of a traced task. Calls are counted
for each task and rule, as strace counts them for each tracee.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.straceopts import Injection
    from kernel.syscall.table import Call
    from kernel.task import Task


class Injector:
    """See the module's docstring."""

    __slots__ = ("_counts", "_rules")

    def __init__(self, rules: Iterable[Injection]) -> None:
        self._rules = list(rules)
        self._counts: dict[tuple[int, int], int] = {}

    def tamper(self, task: Task, call: Call) -> Injection | None:
        """What is to be done to this call; the last rule that means it counts."""
        verdict: Injection | None = None
        for number, rule in enumerate(self._rules):
            if call.name in rule.calls:
                key = task.tid, number
                count = self._counts[key] = self._counts.get(key, 0) + 1
                if rule.when.meant(count):
                    verdict = rule
        return verdict
