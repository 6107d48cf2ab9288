"""Priorities on the kernel's own scale, and what they weigh (sched(7), setpriority(2)).

`task.prio` is the effective priority, lower is better: 0 to 98 for the real-time policies (99 - rt_priority), 100 to
139 for all others (120 + nice). `normal_prio` is what the task's own policy and nice give; `prio` is better than that
while the task holds a lock that somebody better waits for (`kernel/sched/mutex.py`).

A step of nice is a tenth of a CPU beside one competitor: the weights are powers of 1.25, Linux's table to the unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.abi import SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR

if TYPE_CHECKING:
    from kernel.task import Task

MAX_RT_PRIO = 100
"""Below it: real time. Best first, as everywhere on this scale."""
DEFAULT_PRIO = 120
NO_BOOST = 1 << 30
"""Worse than every priority."""
NICE_0_WEIGHT = 1024
IDLE_WEIGHT = 3
"""SCHED_IDLE: less than nice 19."""
WEIGHTS = (
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
    9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277,
    1024, 820, 655, 526, 423, 335, 272, 215, 172, 137,
    110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
)  # fmt: skip
"""By nice + 20."""


def normal_prio(policy: int, nice: int, rt_priority: int) -> int:
    """The priority that a task has by itself."""
    return MAX_RT_PRIO - 1 - rt_priority if policy in (SCHED_FIFO, SCHED_RR) else DEFAULT_PRIO + nice


def weight_of(policy: int, prio: int) -> int:
    """Its share beside others of the fair class. A boosted task that is not real time has its booster's weight."""
    if prio < MAX_RT_PRIO:
        return NICE_0_WEIGHT
    return IDLE_WEIGHT if policy == SCHED_IDLE else WEIGHTS[prio - MAX_RT_PRIO]


def inherit(child: Task, parent: Task) -> None:
    """A new task has its creator's policy and priority, unless SCHED_RESET_ON_FORK says that it must not keep what is
    better than ordinary.
    """
    policy, nice, rt_priority = parent.policy, parent.nice, parent.rt_priority
    if parent.reset_on_fork:
        if policy in (SCHED_FIFO, SCHED_RR):
            policy, nice, rt_priority = SCHED_OTHER, 0, 0
        nice = max(nice, 0)
    else:
        child.custom_slice = parent.custom_slice
    child.policy, child.nice, child.rt_priority = policy, nice, rt_priority
    child.normal_prio = child.prio = normal_prio(policy, nice, rt_priority)
    child.weight = weight_of(policy, child.prio)
