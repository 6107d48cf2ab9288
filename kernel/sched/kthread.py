"""Kernel threads: tasks without a user side, that do the kernel's own work under the scheduler's rules.

They have no process, no descriptors and no signals, are in no table of processes, and wait in plain sleeps; their ids
lie above those of processes. A thread ends with its machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel.sched.wait import Interrupted
from kernel.signal import SignalState
from kernel.task import SLEEPING, Killed, Task, ThreadGroup

if TYPE_CHECKING:
    from kernel.machine import Machine

FIRST_TID = 1 << 16


class Worker:
    """A kernel thread that does what it is given, one piece after the other, on one CPU."""

    __slots__ = ("_work", "task")

    def __init__(self, machine: Machine, name: str, cpu: int) -> None:
        self._work: deque[Callable[[Task], None]] = deque()
        threads = machine.scheduler.kthreads
        tid = FIRST_TID + len(threads)
        self.task = task = Task(machine, tid, ThreadGroup(tid, None, SignalState()), self._run)
        task.comm = name
        task.builtin = True
        task.cpu = machine.scheduler.cpus[cpu]
        task.affinity = 1 << cpu
        task.group.leader = task
        threads.append(task)
        machine.scheduler.enqueue(task)

    def give(self, work: Callable[[Task], None]) -> None:
        """Have `work(task)` done: it may spend time and sleep."""
        self._work.append(work)
        if self.task.state == SLEEPING:
            self.task.wakeup()

    def _run(self, task: Task) -> int:
        try:
            while True:
                if self._work:
                    self._work.popleft()(task)
                else:
                    task.block(None)
        except (Killed, Interrupted):  # the machine is closed; nobody sends it signals
            return 0
