"""The published cost model: what each thing the kernel does costs, in virtual nanoseconds.

CPU time in a simulation is (ticks of the Python program) x `tick` + `sys.cpu` + these. The figures are those of an
ordinary server core of the 2020s, rounded; they are constants of the machine, so two runs agree to the nanosecond. In
real time they pass no time and only feed rusage.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Costs:
    """All times in nanoseconds."""

    tick: int = 80
    """One tick of a Python program: a turn of a loop, an element of a comprehension, a call of one of its functions."""
    trap: int = 120
    """Into the kernel and back: one system call that does nothing."""
    copy_kib: int = 64
    """Copying 1024 bytes between user and kernel (16 GB/s); see `copy`."""
    path_component: int = 150
    """Looking up one component of a path."""
    fault: int = 500
    """A page fault that needs no disk."""
    switch: int = 1_000
    """Switching a CPU from one task to another."""
    wakeup: int = 400
    """Making a sleeping task runnable: paid by whoever wakes it."""
    interrupt: int = 800
    """Taking a device interrupt and coming back."""
    timer: int = 300
    """Running an expired timer of the network stack."""
    poll: int = 200
    """Looking whether a device that does not interrupt has anything."""
    packet: int = 900
    """Protocol work for one frame or super-segment received."""
    transmit: int = 500
    """Handing one frame or super-segment to a device."""
    block: int = 1_200
    """Submitting one transfer to a disk's queue. What the disk then takes: drivers/disk/drive.py."""
    block_done: int = 800
    """Ending one request of a disk: the deferred half of its interrupt."""
    spawn: int = 5_000
    """A new process: tables, no memory. Small, so that a handful of them does not blur what they then do."""
    thread: int = 4_000
    """A new thread."""
    execve: int = 150_000
    """Replacing a program."""
    exit: int = 20_000
    """Tearing a task down."""
    slice: int = 10_000_000
    """Round robin: how long a task runs while another waits for its CPU."""
    request: int = 700_000
    """EEVDF: the base request of a machine with one CPU; one more of it for each doubling, up to 8."""
    wake_request: int = 100_000
    """EEVDF: the first request after a sleep."""
    rt_quantum: int = 100_000_000
    """SCHED_RR: how long a task runs while another of its priority waits."""
    rt_period: int = 1_000_000_000
    """Within so much real-time CPU time the others get ..."""
    fair_server: int = 50_000_000
    """... so much, when they wait. 0: nothing."""
    balance: int = 4_000_000
    """How often queues of different lengths are evened out."""

    def copy(self, length: int) -> int:
        """What copying `length` bytes costs."""
        return length * self.copy_kib >> 10


def table(costs: Costs | None = None) -> list[tuple[str, int]]:
    """(name, nanoseconds) of every entry, for the documentation and for reports."""
    costs = costs or Costs()
    return [(field.name, getattr(costs, field.name)) for field in fields(costs)]
