"""Memory as Python programs have it: `sys.mem[a]`, `sys.mem[a:b]`, `sys.cas`, `sys.fetch_add`.

A load or store is an instruction: it takes a tick, so a program may be preempted between any two of them, and what
faults is made again when a handler has mended it, as the processor does. The two atomics tick first and then do their
work with nothing in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import SIGKILL
from kernel.mm.space import Fault, OutOfMemory
from kernel.signal import SigInfo
from kernel.syscall.table import objects, python

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.task import Task


def faulted(task: Task, fault: Fault) -> None:
    """SIGSEGV or SIGBUS for the thread, delivered at once. It returns when a handler did."""
    machine = task.machine
    task.spend(machine.costs.fault)
    machine.signals.force(task, SigInfo(fault.signum, fault.code, si_addr=fault.address & 0xFFFFFFFFFFFFFFFF))
    machine.signals.user_return(task)


def exhausted(task: Task) -> None:
    """Out of memory: the process that asked is killed."""
    task.machine.ooms += 1
    task.machine.signals.send_process(task.group, SigInfo(SIGKILL))
    task.machine.signals.user_return(task)


def access(task: Task, action: Callable[..., Any], *args: Any) -> Any:
    """Do what user mode does with memory, again after each fault that was handled."""
    while True:
        task.machine.meter.tick()
        try:
            return action(*args)
        except Fault as fault:
            faulted(task, fault)
        except OutOfMemory:
            exhausted(task)


class UserMemory:
    """`sys.mem` of a task."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, where: int | slice) -> Any:
        task = self._task
        if isinstance(where, slice):
            start, stop = _range(where)
            return access(task, task.mm.load, start, stop - start) if stop > start else b""
        return access(task, task.mm.load, where, 1)[0]

    def __setitem__(self, where: int | slice, value: Any) -> None:
        task = self._task
        if isinstance(where, slice):
            start, stop = _range(where)
            data = bytes(value)
            if len(data) != stop - start:
                raise ValueError("a store to sys.mem[a:b] takes exactly b - a bytes")
            if data:
                access(task, task.mm.store, start, data)
        else:
            access(task, task.mm.store, where, bytes((value & 0xFF,)))


def _range(where: slice) -> tuple[int, int]:
    if where.step not in (None, 1) or where.start is None or where.stop is None:
        raise ValueError("sys.mem[a:b] has a beginning, an end and no step")
    return where.start, where.stop


objects["mem"] = UserMemory


def _cas(mm: Any, address: int, old: int, new: int) -> int:
    seen: int = mm.word(address)
    mm.page(address >> 12, True)
    if seen == old & 0xFFFFFFFF:
        mm.set_word(address, new)
    return seen


def _fetch_add(mm: Any, address: int, n: int) -> int:
    seen: int = mm.word(address)
    mm.set_word(address, seen + n)
    return seen


@python("cas")
def cas(task: Task, addr: int, old: int, new: int) -> int:
    """Store `new` in the 32-bit word if it is `old`; what it was. Atomic."""
    seen: int = access(task, _cas, task.mm, addr, old, new)
    return seen


@python("fetch_add")
def fetch_add(task: Task, addr: int, n: int) -> int:
    """Add `n` to the 32-bit word; what it was. Atomic."""
    seen: int = access(task, _fetch_add, task.mm, addr, n)
    return seen
