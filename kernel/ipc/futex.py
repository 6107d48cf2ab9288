"""Futexes: sleeping on a word of memory (futex(2), futex(7)).

The kernel keeps only the sleepers, by what the word *is*: the address space and the address for private memory, the
shared pages or the file and the place in it for shared memory (`Mm.key`). Whether to sleep is decided by comparing the
word, and nothing passes between that look and the entry in the queue: no wakeup is lost. Sleepers of a word wake first
come, first woken; those that wait for a priority-inheriting lock by priority.

A waiter whose `queue` is None has been woken. Requeueing moves it to another word without waking it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    EAGAIN,
    EDEADLK,
    EFAULT,
    EINVAL,
    EPERM,
    ESRCH,
    ETIMEDOUT,
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_OWNER_DIED,
    FUTEX_TID_MASK,
    FUTEX_WAITERS,
)
from kernel.mm.space import TASK_SIZE, Fault, Mm, OutOfMemory
from kernel.sched.wait import Interrupted

if TYPE_CHECKING:
    from kernel.task import Task

Key = tuple[Any, int]
ROBUST_LIST_LIMIT = 2048
ROBUST_HEAD = 24
"""struct robust_list_head: the first entry, the futex's offset in an entry, the entry under way."""


class Waiter:
    """A thread that sleeps on a word. `owner` of the lock it waits for, when it is a priority-inheriting one."""

    __slots__ = ("bitset", "key", "pi", "task")

    def __init__(self, task: Task, key: Key, bitset: int, pi: bool = False) -> None:
        self.task = task
        self.key: Key | None = key
        self.bitset = bitset
        self.pi = pi


class Futexes:
    """Everybody who sleeps on a futex of the machine."""

    __slots__ = ("queues",)

    def __init__(self) -> None:
        self.queues: dict[Key, list[Waiter]] = {}

    # ---- queues ----

    def _enter(self, waiter: Waiter, key: Key) -> None:
        waiter.key = key
        self.queues.setdefault(key, []).append(waiter)

    def _leave(self, waiter: Waiter) -> None:
        """No more on any queue."""
        key = waiter.key
        if key is None:
            return
        waiter.key = None
        queue = self.queues[key]
        queue.remove(waiter)
        if not queue:
            del self.queues[key]

    def _wake(self, waiter: Waiter) -> None:
        self._leave(waiter)
        waiter.task.wakeup()

    def sleep(self, task: Task, waiter: Waiter, deadline: int | None) -> bool:
        """Until the waiter is woken (True) or the timeline's time `deadline` (False). Interrupted."""
        try:
            while waiter.key is not None:
                left = None if deadline is None else deadline - task.now
                if left is not None and left <= 0:
                    return False
                task.block(left)
        except Interrupted:
            if waiter.key is not None:
                raise
        finally:
            self._leave(waiter)
        return True

    # ---- wait and wake ----

    def wait(
        self, task: Task, address: int, private: bool, value: int, deadline: int | None,
        bitset: int = FUTEX_BITSET_MATCH_ANY,
    ) -> int:  # fmt: skip
        """FUTEX_WAIT: sleep if the word is `value`, else EAGAIN. ETIMEDOUT."""
        if not bitset:
            raise OSError(EINVAL, "futex: an empty bitset")
        if word(task, address) != value & 0xFFFFFFFF:
            raise OSError(EAGAIN, "futex: the word has another value")
        key = key_of(task, address, private)
        waiter = Waiter(task, key, bitset)
        self._enter(waiter, key)
        try:
            if not self.sleep(task, waiter, deadline):
                raise OSError(ETIMEDOUT, "futex: nobody woke it in time")
        except Interrupted:
            if deadline is None:
                raise
            raise Interrupted(lambda: self.wait(task, address, private, value, deadline, bitset)) from None
        return 0

    def wait_any(self, task: Task, words: list[tuple[int, int, bool]], deadline: int | None) -> int:
        """futex_waitv: sleep on several words (value, address, private); the index of one that was woken."""
        waiters: list[Waiter] = []
        try:
            for value, address, private in words:
                if word(task, address) != value & 0xFFFFFFFF:
                    raise OSError(EAGAIN, "futex_waitv: a word has another value")
                key = key_of(task, address, private)
                waiters.append(Waiter(task, key, FUTEX_BITSET_MATCH_ANY))
                self._enter(waiters[-1], key)
            while True:
                woken = next((i for i, waiter in enumerate(waiters) if waiter.key is None), None)
                if woken is not None:
                    return woken
                left = None if deadline is None else deadline - task.now
                if left is not None and left <= 0:
                    raise OSError(ETIMEDOUT, "futex_waitv: nobody woke it in time")
                try:
                    task.block(left)
                except Interrupted:
                    if all(waiter.key is not None for waiter in waiters):
                        if deadline is None:
                            raise
                        raise Interrupted(lambda: self.wait_any(task, words, deadline)) from None
        finally:
            for waiter in waiters:
                self._leave(waiter)

    def wake(self, key: Key, n: int, bitset: int = FUTEX_BITSET_MATCH_ANY) -> int:
        """Wake up to `n` sleepers of the word (one at least: Linux's quirk); how many it were."""
        woken = 0
        for waiter in list(self.queues.get(key, ())):
            if waiter.pi:
                raise OSError(EINVAL, "futex: somebody waits for a priority-inheriting lock there")
            if waiter.bitset & bitset:
                self._wake(waiter)
                woken += 1
                if woken >= n:
                    break
        return woken

    def requeue(self, first: Key, second: Key, wake: int, move: int) -> int:
        """Wake up to `wake` sleepers of the first word, move up to `move` others to the second; how many in all."""
        done = 0
        for waiter in list(self.queues.get(first, ())):
            if done - wake >= move:
                break
            if waiter.pi:
                raise OSError(EINVAL, "futex: somebody waits for a priority-inheriting lock there")
            done += 1
            if done <= wake:
                self._wake(waiter)
            elif first != second:
                self._leave(waiter)
                self._enter(waiter, second)
        return done

    # ---- priority-inheriting locks ----

    def lock_pi(self, task: Task, address: int, private: bool, deadline: int | None, trying: bool) -> int:
        """FUTEX_LOCK_PI: the word is the owner's tid, with FUTEX_WAITERS while somebody waits."""
        found = word(task, address)
        owner = found & FUTEX_TID_MASK
        key = key_of(task, address, private)
        if owner == task.tid:
            raise OSError(EDEADLK, "futex: the caller has the lock")
        waiting = [w for w in self.queues.get(key, ()) if w.pi]
        if not owner and not waiting:
            set_word(task, address, task.tid | found & FUTEX_OWNER_DIED)
            return 0
        if self.queues.get(key) and not waiting:
            raise OSError(EINVAL, "futex: somebody waits there without a priority-inheriting lock")
        holder = task.machine.tasks.get(owner)
        if owner and holder is None:
            raise OSError(ESRCH, f"futex: no thread {owner} holds the lock")
        if trying:
            raise OSError(EAGAIN, "futex: locked")
        if self._cycle(task, holder):
            raise OSError(EDEADLK, "futex: a circle of locks")
        set_word(task, address, found | FUTEX_WAITERS)
        waiter = Waiter(task, key, FUTEX_BITSET_MATCH_ANY, pi=True)
        self._enter(waiter, key)
        try:
            if not self.sleep(task, waiter, deadline):
                self._nobody_waits(task, address, key)
                raise OSError(ETIMEDOUT, "futex: the lock was not given up in time")
        except Interrupted:
            self._nobody_waits(task, address, key)
            raise
        return 0

    def _nobody_waits(self, task: Task, address: int, key: Key) -> None:
        if key not in self.queues:
            set_word(task, address, word(task, address) & ~FUTEX_WAITERS)

    def _cycle(self, task: Task, holder: Task | None) -> bool:
        """Whether the holder waits, perhaps through others, for a lock of `task`."""
        blocked = {w.task.tid: w for queue in self.queues.values() for w in queue if w.pi}
        seen: set[int] = set()
        while holder is not None and holder.tid not in seen:
            seen.add(holder.tid)
            waiter = blocked.get(holder.tid)
            if waiter is None or waiter.key is None:
                return False
            place, at = waiter.key
            value = holder.mm.word(at) if isinstance(place, Mm) else 0
            holder = task.machine.tasks.get(value & FUTEX_TID_MASK)
            if holder is task:
                return True
        return False

    def unlock_pi(self, task: Task, address: int, private: bool) -> int:
        """FUTEX_UNLOCK_PI: to the waiter with the highest priority, the first of them."""
        found = word(task, address)
        if found & FUTEX_TID_MASK != task.tid:
            raise OSError(EPERM, "futex: the caller does not have the lock")
        self._hand_over(task, address, key_of(task, address, private), 0)
        return 0

    def _hand_over(self, task: Task, address: int, key: Key, bits: int) -> None:
        waiting = [w for w in self.queues.get(key, ()) if w.pi]
        if not waiting:
            set_word(task, address, bits)
            return
        heir = min(waiting, key=lambda w: w.task.nice)
        set_word(task, address, heir.task.tid | FUTEX_WAITERS | bits)  # as Linux does, whoever else waits
        self._wake(heir)

    # ---- the end of a thread ----

    def thread_ends(self, task: Task) -> None:
        """Robust locks of a dying thread get FUTEX_OWNER_DIED and wake somebody; CLEARTID's word becomes 0."""
        mm = task.mm
        try:
            if task.robust_list:
                self._robust(task)
        except (Fault, OutOfMemory):
            task.machine.lost_reports += 1
        task.robust_list = 0
        if task.clear_tid:
            address, task.clear_tid = task.clear_tid, 0
            if mm.users > 1:
                try:
                    mm.set_word(address, 0)
                    self.wake(mm.key(address, True), 1)
                    self.wake(mm.key(address, False), 1)
                except (Fault, OutOfMemory, OSError):
                    task.machine.lost_reports += 1

    def _robust(self, task: Task) -> None:
        head = task.robust_list
        raw = task.mm.load(head, ROBUST_HEAD)
        entry = int.from_bytes(raw[:8], "little")
        offset = int.from_bytes(raw[8:16], "little", signed=True)
        pending = int.from_bytes(raw[16:24], "little")
        for _ in range(ROBUST_LIST_LIMIT):
            if entry & ~1 == head:
                break
            following = int.from_bytes(task.mm.load(entry & ~1, 8), "little")
            if entry & ~1 != pending & ~1:
                self._died(task, (entry & ~1) + offset, bool(entry & 1))
            entry = following
        if pending:
            self._died(task, (pending & ~1) + offset, bool(pending & 1))

    def _died(self, task: Task, address: int, pi: bool) -> None:
        found = task.mm.word(address)
        if found & FUTEX_TID_MASK != task.tid:
            return
        key = task.mm.key(address, True)
        if key not in self.queues:
            key = task.mm.key(address, False)
        if pi or any(w.pi for w in self.queues.get(key, ())):
            self._hand_over(task, address, key, FUTEX_OWNER_DIED)
            return
        task.mm.set_word(address, found & FUTEX_WAITERS | FUTEX_OWNER_DIED)
        if found & FUTEX_WAITERS:
            self.wake(key, 1)


def word(task: Task, address: int) -> int:
    """The word of the calling thread's memory; EFAULT."""
    check(address)
    try:
        found: int = task.mm.word(address)
        return found
    except (Fault, OutOfMemory):
        raise OSError(EFAULT, f"futex: no memory is at {address:#x}") from None


def set_word(task: Task, address: int, value: int) -> None:
    try:
        task.mm.set_word(address, value)
    except (Fault, OutOfMemory):
        raise OSError(EFAULT, f"futex: {address:#x} can't be changed") from None


def check(address: int) -> None:
    """EINVAL unless the address is one of a word, EFAULT unless it is one of user space."""
    if address & 3:
        raise OSError(EINVAL, f"futex: {address:#x} is no multiple of 4")
    if not 0 <= address < TASK_SIZE:
        raise OSError(EFAULT, f"futex: {address:#x} is outside of user space")


def key_of(task: Task, address: int, private: bool) -> Key:
    check(address)
    try:
        found: Key = task.mm.key(address, private)
        return found
    except Fault:
        raise OSError(EFAULT, f"futex: no memory is at {address:#x}") from None
