"""Locks for threads and processes, on futexes: Mutex, Condition, Barrier, RWLock, Semaphore, Once.

A lock is a few words of memory at `addr` (a page of its own, shared with every child, when none is given); the object
holds only the address, so it can be passed to threads and children. Every method takes the caller's `sys` first:

    mutex = Mutex(sys)
    sys.clone(worker, mutex)
    mutex.lock(sys)
    ...
    mutex.unlock(sys)

or `with mutex.held(sys):`. Times are relative nanoseconds; what waits with one gives False when it has passed. A signal
handler that runs meanwhile does not end a wait. The algorithms are those of Drepper's "Futexes are tricky"; the kernel
is entered only where somebody has to wait or to be woken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kernel.abi import (
    CLOCK_MONOTONIC,
    EAGAIN,
    EINTR,
    ETIMEDOUT,
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAIT,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE,
    MAP_ANONYMOUS,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
)

Sys = Any
FREE, LOCKED, CONTENDED = 0, 1, 2
EVERYBODY = (1 << 31) - 1


def words(sys: Sys, addr: int, count: int) -> int:
    """Where `count` words are: at `addr`, or in a page of their own that children share."""
    if not addr:
        addr = sys.mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    if addr & 3:
        raise ValueError(f"a lock's words begin at a multiple of 4, not at {addr:#x}")
    if count * 4 > PAGE_SIZE:
        raise ValueError(f"{count} words do not fit into a page")
    return addr


def load(sys: Sys, addr: int) -> int:
    """The 32-bit word there."""
    return int.from_bytes(sys.mem[addr : addr + 4], "little")


def store(sys: Sys, addr: int, value: int) -> None:
    sys.mem[addr : addr + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")


def swap(sys: Sys, addr: int, value: int) -> int:
    """Store a value; what was there before. Atomic."""
    seen = load(sys, addr)
    while True:
        found: int = sys.cas(addr, seen, value)
        if found == seen:
            return seen
        seen = found


def deadline_of(sys: Sys, timeout_ns: int | None) -> int | None:
    now: int = sys.clock_gettime(CLOCK_MONOTONIC) if timeout_ns is not None else 0
    return None if timeout_ns is None else now + timeout_ns


def wait(sys: Sys, addr: int, value: int, deadline: int | None = None) -> bool:
    """Sleep while the word is `value`, until somebody wakes it. False when the deadline has passed."""
    try:
        if deadline is None:
            sys.futex(addr, FUTEX_WAIT, value)
        else:
            sys.futex(addr, FUTEX_WAIT_BITSET, value, max(deadline, 0), 0, FUTEX_BITSET_MATCH_ANY)
    except OSError as error:
        if error.errno == ETIMEDOUT:
            return False
        if error.errno not in (EAGAIN, EINTR):
            raise
    return True


class Mutex:
    """One holder at a time. The word is FREE, LOCKED, or CONTENDED when somebody may wait."""

    __slots__ = ("addr",)

    def __init__(self, sys: Sys, addr: int = 0) -> None:
        self.addr = words(sys, addr, 1)

    def try_lock(self, sys: Sys) -> bool:
        """Take it if it is free."""
        return bool(sys.cas(self.addr, FREE, LOCKED) == FREE)

    def lock(self, sys: Sys, timeout_ns: int | None = None) -> bool:
        """Take it, waiting for it if need be."""
        if sys.cas(self.addr, FREE, LOCKED) == FREE:
            return True
        return self.lock_contended(sys, deadline_of(sys, timeout_ns))

    def lock_contended(self, sys: Sys, deadline: int | None = None) -> bool:
        """As somebody who knows that others may wait: the word says so from now on."""
        while swap(sys, self.addr, CONTENDED) != FREE:
            if not wait(sys, self.addr, CONTENDED, deadline):
                return False
        return True

    def unlock(self, sys: Sys) -> None:
        """Give it up, and wake one who waits."""
        before = sys.fetch_add(self.addr, -1)
        if before == LOCKED:
            return
        if before == FREE:
            store(sys, self.addr, FREE)
            raise RuntimeError("a mutex that nobody holds was unlocked")
        store(sys, self.addr, FREE)
        sys.futex(self.addr, FUTEX_WAKE, 1)

    @contextmanager
    def held(self, sys: Sys) -> Iterator[None]:
        """`with mutex.held(sys):`"""
        self.lock(sys)
        try:
            yield
        finally:
            self.unlock(sys)


class Condition:
    """Waiting, with a mutex given up meanwhile, for what another holder of it makes true. The word counts notices."""

    __slots__ = ("addr", "mutex")

    def __init__(self, sys: Sys, mutex: Mutex, addr: int = 0) -> None:
        self.addr = words(sys, addr, 1)
        self.mutex = mutex

    def wait(self, sys: Sys, timeout_ns: int | None = None) -> bool:
        """Give the mutex up, sleep until noticed, take it again. It may return for no reason: look at the condition."""
        deadline = deadline_of(sys, timeout_ns)
        seen = load(sys, self.addr)
        self.mutex.unlock(sys)
        in_time = wait(sys, self.addr, seen, deadline)
        self.mutex.lock_contended(sys)
        return in_time

    def wait_for(self, sys: Sys, condition: Callable[[], bool], timeout_ns: int | None = None) -> bool:
        """Wait until the condition holds; False when the time passed first."""
        deadline = deadline_of(sys, timeout_ns)
        while not condition():
            left = None if deadline is None else deadline - sys.clock_gettime(CLOCK_MONOTONIC)
            if left is not None and left <= 0:
                return False
            self.wait(sys, left)
        return True

    def notify(self, sys: Sys) -> None:
        """Wake one who waits, if anybody does."""
        sys.fetch_add(self.addr, 1)
        sys.futex(self.addr, FUTEX_WAKE, 1)

    def notify_all(self, sys: Sys) -> None:
        """Wake one and let the others wait for the mutex instead: they could not all have it anyway."""
        while True:
            seen = (sys.fetch_add(self.addr, 1) + 1) & 0xFFFFFFFF
            try:
                sys.futex(self.addr, FUTEX_CMP_REQUEUE, 1, EVERYBODY, self.mutex.addr, seen)
                break
            except OSError as error:
                if error.errno != EAGAIN:
                    raise
        sys.cas(self.mutex.addr, LOCKED, CONTENDED)


class Semaphore:
    """So many at a time. Words: the count, how many wait."""

    __slots__ = ("addr",)

    def __init__(self, sys: Sys, value: int, addr: int = 0) -> None:
        self.addr = words(sys, addr, 2)
        store(sys, self.addr, value)

    def try_acquire(self, sys: Sys) -> bool:
        seen = load(sys, self.addr)
        while seen:
            found = sys.cas(self.addr, seen, seen - 1)
            if found == seen:
                return True
            seen = found
        return False

    def acquire(self, sys: Sys, timeout_ns: int | None = None) -> bool:
        """Take one, waiting for it if need be."""
        if self.try_acquire(sys):
            return True
        deadline = deadline_of(sys, timeout_ns)
        sys.fetch_add(self.addr + 4, 1)
        try:
            while not self.try_acquire(sys):
                if not wait(sys, self.addr, 0, deadline):
                    return self.try_acquire(sys)
        finally:
            sys.fetch_add(self.addr + 4, -1)
        return True

    def release(self, sys: Sys, n: int = 1) -> None:
        """Give `n` back."""
        sys.fetch_add(self.addr, n)
        if load(sys, self.addr + 4):
            sys.futex(self.addr, FUTEX_WAKE, n)


class Barrier:
    """`parties` wait for each other, again and again. Words: how many have come, how many rounds there were."""

    __slots__ = ("addr", "parties")

    def __init__(self, sys: Sys, parties: int, addr: int = 0) -> None:
        if parties < 1:
            raise ValueError(f"a barrier is for one at least, not for {parties}")
        self.addr = words(sys, addr, 2)
        self.parties = parties

    def wait(self, sys: Sys) -> bool:
        """Until everybody has come; True for the one who came last."""
        round_ = load(sys, self.addr + 4)
        if sys.fetch_add(self.addr, 1) + 1 == self.parties:
            store(sys, self.addr, 0)
            sys.fetch_add(self.addr + 4, 1)
            sys.futex(self.addr + 4, FUTEX_WAKE, EVERYBODY)
            return True
        while load(sys, self.addr + 4) == round_:
            wait(sys, self.addr + 4, round_)
        return False


class RWLock:
    """Many readers, or one writer. A writer who waits keeps new readers out. Words: a mutex, two conditions, how many
    read, whether somebody writes, how many want to.
    """

    __slots__ = ("_mutex", "_readers", "_reading", "_wanting", "_writers", "_writing")

    def __init__(self, sys: Sys, addr: int = 0) -> None:
        base = words(sys, addr, 6)
        self._mutex = Mutex(sys, base)
        self._readers = Condition(sys, self._mutex, base + 4)
        self._writers = Condition(sys, self._mutex, base + 8)
        self._reading, self._writing, self._wanting = base + 12, base + 16, base + 20

    def read_lock(self, sys: Sys) -> None:
        with self._mutex.held(sys):
            while load(sys, self._writing) or load(sys, self._wanting):
                self._readers.wait(sys)
            sys.fetch_add(self._reading, 1)

    def read_unlock(self, sys: Sys) -> None:
        with self._mutex.held(sys):
            if sys.fetch_add(self._reading, -1) == 1:
                self._writers.notify(sys)

    def write_lock(self, sys: Sys) -> None:
        with self._mutex.held(sys):
            sys.fetch_add(self._wanting, 1)
            while load(sys, self._writing) or load(sys, self._reading):
                self._writers.wait(sys)
            sys.fetch_add(self._wanting, -1)
            store(sys, self._writing, 1)

    def write_unlock(self, sys: Sys) -> None:
        with self._mutex.held(sys):
            store(sys, self._writing, 0)
            if load(sys, self._wanting):
                self._writers.notify(sys)
            else:
                self._readers.notify_all(sys)

    @contextmanager
    def reading(self, sys: Sys) -> Iterator[None]:
        """`with lock.reading(sys):`"""
        self.read_lock(sys)
        try:
            yield
        finally:
            self.read_unlock(sys)

    @contextmanager
    def writing(self, sys: Sys) -> Iterator[None]:
        """`with lock.writing(sys):`"""
        self.write_lock(sys)
        try:
            yield
        finally:
            self.write_unlock(sys)


NEW, RUNNING, DONE = 0, 1, 2


class Once:
    """Something that is done once, whoever comes first; the others wait until it is done."""

    __slots__ = ("addr",)

    def __init__(self, sys: Sys, addr: int = 0) -> None:
        self.addr = words(sys, addr, 1)

    def call(self, sys: Sys, function: Callable[[], Any]) -> None:
        """Call the function, unless somebody has. When it fails the next one tries."""
        while True:
            seen = sys.cas(self.addr, NEW, RUNNING)
            if seen == DONE:
                return
            if seen == RUNNING:
                wait(sys, self.addr, RUNNING)
                continue
            try:
                function()
            except BaseException:
                store(sys, self.addr, NEW)
                sys.futex(self.addr, FUTEX_WAKE, 1)
                raise
            store(sys, self.addr, DONE)
            sys.futex(self.addr, FUTEX_WAKE, EVERYBODY)
            return
