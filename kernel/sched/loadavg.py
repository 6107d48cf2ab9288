"""The load average: how many tasks run, could run, or wait uninterruptibly, averaged over 1, 5 and 15 minutes.

Linux's arithmetic to the bit (kernel/sched/loadavg.c): 11 bits of fraction, a sample every 5 s and one tick, rounded
up while the load rises. Nothing wakes up for the samples: the number of tasks changes only when one comes or goes, so
whoever changes it first takes the samples that have fallen due, with the number as it was.
"""

from __future__ import annotations

FSHIFT = 11
FIXED_1 = 1 << FSHIFT
EXP = (1884, 2014, 2037)
"""FIXED_1 x e^(-5 s/1 min), 5 min, 15 min."""
SAMPLE_NS = 5_004_000_000
"""5 * HZ + 1 ticks, at 250 Hz."""
MANY = 4096
"""So many samples with the same load: what was before does not matter any more."""


def step(load: int, exp: int, active: int) -> int:
    """One sample: `load` and `active` with FSHIFT bits of fraction."""
    new = load * exp + active * (FIXED_1 - exp)
    if active >= load:
        new += FIXED_1 - 1
    return new >> FSHIFT


class LoadAverage:
    """The three averages of one machine."""

    __slots__ = ("averages", "sample_at", "uninterruptible")

    def __init__(self, now: int) -> None:
        self.averages = [0, 0, 0]
        self.sample_at = now + SAMPLE_NS
        self.uninterruptible = 0
        """Tasks in sleeps that no signal ends."""

    def sample(self, now: int, runnable: int) -> None:
        """Take the samples that are due; `runnable` has been so since the last change."""
        due = (now - self.sample_at) // SAMPLE_NS + 1
        self.sample_at += due * SAMPLE_NS
        active = (runnable + self.uninterruptible) << FSHIFT
        for _ in range(min(due, MANY)):
            self.averages = [step(load, exp, active) for load, exp in zip(self.averages, EXP)]

    def hundredths(self) -> tuple[float, float, float]:
        """The three, cut to the hundredth as /proc/loadavg shows them."""
        one, five, fifteen = ((load + FIXED_1 // 200) * 100 >> FSHIFT for load in self.averages)
        return one / 100, five / 100, fifteen / 100
