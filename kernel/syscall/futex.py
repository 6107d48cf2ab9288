"""System calls of futexes: futex, futex_waitv, the robust list, set_tid_address. What they do is in
`kernel/ipc/futex.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOSYS,
    EPERM,
    ESRCH,
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CLOCK_REALTIME,
    FUTEX_CMP_REQUEUE,
    FUTEX_LOCK_PI,
    FUTEX_LOCK_PI2,
    FUTEX_PRIVATE_FLAG,
    FUTEX_REQUEUE,
    FUTEX_TRYLOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_WAIT,
    FUTEX_WAIT_BITSET,
    FUTEX_WAIT_REQUEUE_PI,
    FUTEX_WAKE,
    FUTEX_WAKE_BITSET,
    FUTEX_WAKE_OP,
)
from kernel.ipc.futex import ROBUST_HEAD, key_of, set_word, word
from kernel.syscall.table import python, syscall

if TYPE_CHECKING:
    from kernel.task import Task

WAITV_MAX = 128
FUTEX2_SIZE_U32, FUTEX2_PRIVATE = 2, 128
LONGEST = (1 << 63) - 1


def _deadline(task: Task, timeout_ns: int | None, absolute: bool, realtime: bool) -> int | None:
    if timeout_ns is None:
        return None
    if not isinstance(timeout_ns, int):
        raise OSError(EFAULT, f"futex: {timeout_ns!r:.40} is no time")
    if not 0 <= timeout_ns <= LONGEST:
        raise OSError(EINVAL, f"futex: {timeout_ns} ns is no time to wait")
    if not absolute:
        return task.now + timeout_ns
    return timeout_ns - (task.machine.realtime_offset() if realtime else 0)


@syscall(98, "futex", "addr", "futex_op", "uint", "futex_timeout", "futex_addr2", "futex_val3", restart="sys")
def sys_futex(
    task: Task, addr: int, op: int, val: int, timeout_ns: Any = None, addr2: int = 0, val3: int = 0
) -> int:
    """`timeout_ns` is the second count where the operation has one (REQUEUE, CMP_REQUEUE, WAKE_OP)."""
    private = bool(op & FUTEX_PRIVATE_FLAG)
    realtime = bool(op & FUTEX_CLOCK_REALTIME)
    cmd = op & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)
    if realtime and cmd not in (FUTEX_WAIT_BITSET, FUTEX_LOCK_PI2, FUTEX_WAIT_REQUEUE_PI):
        raise OSError(ENOSYS, f"futex: operation {cmd} has no clock")
    futexes = task.machine.futexes
    if cmd in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        deadline = _deadline(task, timeout_ns, cmd == FUTEX_WAIT_BITSET, realtime)
        bitset = FUTEX_BITSET_MATCH_ANY if cmd == FUTEX_WAIT else val3 & 0xFFFFFFFF
        return futexes.wait(task, addr, private, val, deadline, bitset)
    if cmd in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
        bitset = FUTEX_BITSET_MATCH_ANY if cmd == FUTEX_WAKE else val3 & 0xFFFFFFFF
        if not bitset:
            raise OSError(EINVAL, "futex: an empty bitset")
        return futexes.wake(key_of(task, addr, private), _int(val), bitset)
    if cmd in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
        count = _int(timeout_ns or 0)
        if _int(val) < 0 or count < 0:
            raise OSError(EINVAL, "futex: negative counts")
        first, second = key_of(task, addr, private), key_of(task, addr2, private)
        if cmd == FUTEX_CMP_REQUEUE and word(task, addr) != val3 & 0xFFFFFFFF:
            raise OSError(EAGAIN, "futex: the word has another value")
        return futexes.requeue(first, second, val, count)
    if cmd == FUTEX_WAKE_OP:
        first, second = key_of(task, addr, private), key_of(task, addr2, private)
        hit = _operate(task, addr2, val3 & 0xFFFFFFFF)
        woken = futexes.wake(first, _int(val))
        return woken + (futexes.wake(second, _int(timeout_ns or 0)) if hit else 0)
    if cmd in (FUTEX_LOCK_PI, FUTEX_LOCK_PI2):
        deadline = _deadline(task, timeout_ns, True, realtime or cmd == FUTEX_LOCK_PI)
        return futexes.lock_pi(task, addr, private, deadline, False)
    if cmd == FUTEX_TRYLOCK_PI:
        return futexes.lock_pi(task, addr, private, None, True)
    if cmd == FUTEX_UNLOCK_PI:
        return futexes.unlock_pi(task, addr, private)
    raise OSError(ENOSYS, f"futex: operation {cmd}")


def _int(value: int) -> int:
    """As C's int."""
    if not isinstance(value, int):
        raise OSError(EINVAL, f"futex: {value!r:.40} is no count")
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _signed12(value: int) -> int:
    return value - 4096 if value & 0x800 else value


def _operate(task: Task, address: int, encoded: int) -> bool:
    """FUTEX_WAKE_OP: change the word, and whether its old value compares as asked."""
    op, compare = encoded >> 28 & 7, encoded >> 24 & 15
    argument, against = _signed12(encoded >> 12 & 0xFFF), _signed12(encoded & 0xFFF)
    if encoded >> 31:
        if not 0 <= argument < 32:
            argument &= 31
        argument = 1 << argument
    old = word(task, address)
    if op == 0:
        new = argument
    elif op == 1:
        new = old + argument
    elif op == 2:
        new = old | argument
    elif op == 3:
        new = old & ~argument
    elif op == 4:
        new = old ^ argument
    else:
        raise OSError(ENOSYS, f"futex: FUTEX_OP {op}")
    set_word(task, address, new)
    signed = _int(old)
    tests = (signed == against, signed != against, signed < against, signed <= against, signed > against,
             signed >= against)  # fmt: skip
    if compare >= len(tests):
        raise OSError(ENOSYS, f"futex: FUTEX_OP_CMP {compare}")
    return tests[compare]


@python("futex")
def futex(
    task: Task, addr: int, op: int, val: int, timeout_ns: int | None = None, addr2: int = 0, val3: int = 0
) -> int:
    done: int = sys_futex(task, addr, op, val, timeout_ns, addr2, val3)
    return done


@syscall(449, "futex_waitv", "futex_waiters", "int", "timespec", "clock", returns="int")
def sys_futex_waitv(
    task: Task, waiters: Any, flags: int = 0, timeout_ns: int | None = None, clock: int = CLOCK_MONOTONIC
) -> int:
    """`waiters` is [(value, address, flags), ...], the timeout absolute; the index of one that was woken."""
    try:
        words = [(int(value), int(address), int(how)) for value, address, how in waiters]
    except (TypeError, ValueError):
        raise OSError(EFAULT, "futex_waitv takes [(value, address, flags), ...]") from None
    if flags or not 1 <= len(words) <= WAITV_MAX:
        raise OSError(EINVAL, f"futex_waitv: {len(words)} words")
    if any(how & ~(FUTEX2_SIZE_U32 | FUTEX2_PRIVATE) or not how & FUTEX2_SIZE_U32 for _, _, how in words):
        raise OSError(EINVAL, "futex_waitv: flags of a word")
    if timeout_ns is not None and clock not in (CLOCK_MONOTONIC, CLOCK_REALTIME):
        raise OSError(EINVAL, f"futex_waitv: clock {clock}")
    deadline = _deadline(task, timeout_ns, True, clock == CLOCK_REALTIME)
    return task.machine.futexes.wait_any(
        task, [(value, address, bool(how & FUTEX2_PRIVATE)) for value, address, how in words], deadline
    )


def _address(value: Any) -> int:
    if not isinstance(value, int):
        raise OSError(EFAULT, f"{value!r:.40} is no address")
    return value


@syscall(96, "set_tid_address", "addr")
def sys_set_tid_address(task: Task, addr: int) -> int:
    """The word that becomes 0, and is woken, when the thread ends; gives the thread's id."""
    task.clear_tid = _address(addr)
    return task.tid


@syscall(99, "set_robust_list", "addr", "size")
def sys_set_robust_list(task: Task, head: int, size: int) -> int:
    if size != ROBUST_HEAD:
        raise OSError(EINVAL, f"set_robust_list: a head has {ROBUST_HEAD} bytes")
    task.robust_list = _address(head)
    return 0


@syscall(100, "get_robust_list", "int", "result:robust", returns="zero")
def sys_get_robust_list(task: Task, tid: int = 0) -> tuple[int, int]:
    """(head, size) of a thread."""
    target = task.machine.tasks.get(tid) if tid else task
    if target is None:
        raise OSError(ESRCH, f"no thread {tid}")
    if target.cred.uid != task.cred.uid and not task.cred.capable(19):
        raise OSError(EPERM, f"get_robust_list: {tid} belongs to somebody else")
    return target.robust_list, ROBUST_HEAD
