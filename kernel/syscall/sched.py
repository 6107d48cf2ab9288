"""System calls of the scheduler: nice, policies, real-time priorities, affinity (sched(7), setpriority(2)).

Who may do what is Linux's: anybody may become nicer, lower a real-time priority and give up SCHED_IDLE within
RLIMIT_NICE and RLIMIT_RTPRIO; the rest takes CAP_SYS_NICE, and so does anything done to somebody else's threads.
SCHED_DEADLINE is not there (EINVAL).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kernel.abi import (
    CAP_SYS_NICE,
    E2BIG,
    EACCES,
    EFAULT,
    EINVAL,
    EPERM,
    ESRCH,
    PRIO_PGRP,
    PRIO_PROCESS,
    PRIO_USER,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)
from kernel.syscall.table import python, syscall
from kernel.task import Task

MAX_CPUS = 1024
BEST_NICE, WORST_NICE = -20, 19
MAX_PRIORITY = 99
REAL_TIME = (SCHED_FIFO, SCHED_RR)
FAIR = (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE)
LEAST_REQUEST, GREATEST_REQUEST = 100_000, 100_000_000
SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS = 1, 8, 16
SCHED_FLAG_ALL = 0x7F
SCHED_ATTR_SIZE = 56


class SchedParam(NamedTuple):
    """struct sched_param."""

    sched_priority: int


class SchedAttr(NamedTuple):
    """struct sched_attr. For the fair policies `sched_runtime` is the length of a request, 0 the usual one."""

    sched_policy: int = SCHED_OTHER
    sched_flags: int = 0
    sched_nice: int = 0
    sched_priority: int = 0
    sched_runtime: int = 0
    sched_deadline: int = 0
    sched_period: int = 0


def thread(task: Task, pid: int, name: str) -> Task:
    """The thread with that id, 0 being the caller's; EINVAL, ESRCH."""
    if pid < 0:
        raise OSError(EINVAL, f"{name}: thread {pid}")
    target = task.machine.tasks.get(pid) if pid else task
    if target is None:
        raise OSError(ESRCH, f"{name}: no thread {pid}")
    return target


def same_owner(task: Task, target: Task) -> bool:
    """Whether the effective user of `task` is the real or effective one of `target`."""
    return task.cred.euid in (target.cred.euid, target.cred.uid)


# ---- nice ----


def can_nice(task: Task, target: Task, nice: int) -> bool:
    """Whether the thread may be given this nice by RLIMIT_NICE, or by capability."""
    soft = target.group.rlimits.get(RLIMIT_NICE, (0, 0))[0]
    return soft < 0 or 20 - nice <= soft or task.cred.capable(CAP_SYS_NICE)


def chosen(task: Task, which: int, who: int, name: str) -> list[Task]:
    """The threads that getpriority and setpriority speak of."""
    tasks = task.machine.tasks
    if which == PRIO_PROCESS:
        found = tasks.get(who) if who else task
        return [found] if found is not None else []
    ordered = [tasks[tid] for tid in sorted(tasks)]
    if which == PRIO_PGRP:
        pgid = who or task.group.pgid
        return [t for t in ordered if t.group.pgid == pgid]
    if which == PRIO_USER:
        uid = who or task.cred.uid
        return [t for t in ordered if t.cred.uid == uid]
    raise OSError(EINVAL, f"{name}: neither a process, a group nor a user: {which}")


@syscall(140, "setpriority", "prio_which", "int", "int")
def sys_setpriority(task: Task, which: int, who: int, prio: int) -> int:
    nice = min(max(prio, BEST_NICE), WORST_NICE)
    fault = ESRCH
    for target in chosen(task, which, who, "setpriority"):
        allowed = task.cred.euid in (target.cred.uid, target.cred.euid) or task.cred.capable(CAP_SYS_NICE)
        if not allowed:
            fault = EPERM
        elif nice < target.nice and not can_nice(task, target, nice):
            fault = EACCES
        else:
            fault = 0 if fault == ESRCH else fault
            task.machine.scheduler.set_scheduler(target, nice=nice)
    if fault:
        raise OSError(fault, f"setpriority: {which}, {who}, {prio}")
    return 0


@syscall(141, "getpriority", "prio_which", "int")
def sys_getpriority(task: Task, which: int, who: int) -> int:
    """20 - nice of the least nice: never negative, so that it is no error."""
    found = chosen(task, which, who, "getpriority")
    if not found:
        raise OSError(ESRCH, f"getpriority: nobody is {which}, {who}")
    return max(20 - target.nice for target in found)


@python("getpriority")
def getpriority(task: Task, which: int = PRIO_PROCESS, who: int = 0) -> int:
    """The nice value, as the C library gives it."""
    return 20 - sys_getpriority(task, which, who)


@python("nice")
def nice(task: Task, increment: int) -> int:
    """nice(3): the new value."""
    if not isinstance(increment, int):
        raise OSError(EINVAL, f"nice takes a number, not {increment!r:.40}")
    now = 20 - sys_getpriority(task, PRIO_PROCESS, 0)
    wanted = min(max(now + increment, BEST_NICE), WORST_NICE)
    try:
        sys_setpriority(task, PRIO_PROCESS, 0, wanted)
    except OSError as fault:
        raise OSError(EPERM if fault.errno == EACCES else fault.errno, f"nice: {wanted}") from None
    return 20 - sys_getpriority(task, PRIO_PROCESS, 0)


# ---- policies ----


def change(task: Task, target: Task, attr: SchedAttr, keep_reset: bool = False) -> None:
    """__sched_setscheduler of Linux: check and do."""
    policy, reset = attr.sched_policy, bool(attr.sched_flags & SCHED_FLAG_RESET_ON_FORK)
    if keep_reset:
        reset = target.reset_on_fork
    priority = attr.sched_priority
    if policy not in FAIR and policy not in REAL_TIME:
        raise OSError(EINVAL, f"no scheduling policy {policy}")
    if not 0 <= priority <= MAX_PRIORITY or (policy in REAL_TIME) != (priority != 0):
        raise OSError(EINVAL, f"policy {policy} with priority {priority}")
    if not task.cred.capable(CAP_SYS_NICE) and not may_change(task, target, attr, reset):
        raise OSError(EPERM, f"thread {target.tid}: policy {policy}, priority {priority}")
    fair = policy in FAIR
    request = min(max(attr.sched_runtime, LEAST_REQUEST), GREATEST_REQUEST) if attr.sched_runtime else 0
    target.reset_on_fork = reset
    task.machine.scheduler.set_scheduler(
        target, policy, attr.sched_nice if fair else None, priority, request if fair else None
    )


def may_change(task: Task, target: Task, attr: SchedAttr, reset: bool) -> bool:
    """What is allowed without CAP_SYS_NICE."""
    policy = attr.sched_policy
    if policy in FAIR and attr.sched_nice < target.nice and not can_nice(task, target, attr.sched_nice):
        return False
    if policy in REAL_TIME:
        limit = target.group.rlimits.get(RLIMIT_RTPRIO, (0, 0))[0]
        if policy != target.policy and not limit:
            return False
        if attr.sched_priority > target.rt_priority and 0 <= limit < attr.sched_priority:
            return False
    if target.policy == SCHED_IDLE and policy != SCHED_IDLE and not can_nice(task, target, target.nice):
        return False
    return same_owner(task, target) and not (target.reset_on_fork and not reset)


def priority_in(param: Any, name: str) -> int:
    """`sched_priority` of what a program passes: an int, or anything like os.sched_param."""
    value = getattr(param, "sched_priority", param)
    if value is None:
        raise OSError(EINVAL, f"{name}: no sched_param")
    if not isinstance(value, int):
        raise OSError(EFAULT, f"{name} takes a priority, not {param!r:.40}")
    return value


@syscall(119, "sched_setscheduler", "int", "sched_policy", "sched_param")
def sys_sched_setscheduler(task: Task, pid: int, policy: int, param: Any) -> int:
    priority = priority_in(param, "sched_setscheduler")
    if policy < 0:
        raise OSError(EINVAL, f"sched_setscheduler: policy {policy}")
    target = thread(task, pid, "sched_setscheduler")
    flags = SCHED_FLAG_RESET_ON_FORK if policy & SCHED_RESET_ON_FORK else 0
    policy &= ~SCHED_RESET_ON_FORK
    change(task, target, SchedAttr(policy, flags, target.nice, priority, target.custom_slice))
    return 0


@python("sched_setscheduler")
def sched_setscheduler(task: Task, pid: int, policy: int, param: Any = 0) -> int:
    """`param`: the priority, or anything that has `sched_priority`."""
    done: int = sys_sched_setscheduler(task, pid, policy, param)
    return done


@syscall(120, "sched_getscheduler", "int")
def sys_sched_getscheduler(task: Task, pid: int = 0) -> int:
    target = thread(task, pid, "sched_getscheduler")
    return target.policy | (SCHED_RESET_ON_FORK if target.reset_on_fork else 0)


@syscall(118, "sched_setparam", "int", "sched_param")
def sys_sched_setparam(task: Task, pid: int, param: Any) -> int:
    priority = priority_in(param, "sched_setparam")
    target = thread(task, pid, "sched_setparam")
    attr = SchedAttr(target.policy, 0, target.nice, priority, target.custom_slice)
    change(task, target, attr, keep_reset=True)
    return 0


@syscall(121, "sched_getparam", "int", "result:sched_param", returns="zero")
def sys_sched_getparam(task: Task, pid: int = 0) -> SchedParam:
    target = thread(task, pid, "sched_getparam")
    return SchedParam(target.rt_priority if target.policy in REAL_TIME else 0)


@syscall(125, "sched_get_priority_max", "sched_policy")
def sys_sched_get_priority_max(task: Task, policy: int) -> int:
    if policy not in REAL_TIME and policy not in (*FAIR, SCHED_DEADLINE):
        raise OSError(EINVAL, f"no scheduling policy {policy}")
    return MAX_PRIORITY if policy in REAL_TIME else 0


@syscall(126, "sched_get_priority_min", "sched_policy")
def sys_sched_get_priority_min(task: Task, policy: int) -> int:
    if policy not in REAL_TIME and policy not in (*FAIR, SCHED_DEADLINE):
        raise OSError(EINVAL, f"no scheduling policy {policy}")
    return 1 if policy in REAL_TIME else 0


@syscall(127, "sched_rr_get_interval", "int", "result:timespec", returns="zero")
def sys_sched_rr_get_interval(task: Task, pid: int = 0) -> int:
    """Nanoseconds: the quantum of SCHED_RR, 0 for SCHED_FIFO, else the request under way."""
    target = thread(task, pid, "sched_rr_get_interval")
    costs = task.machine.costs
    if target.policy == SCHED_RR:
        return costs.rt_quantum
    if target.policy == SCHED_FIFO:
        return 0
    return costs.slice if task.machine.scheduler.policy_name == "rr" else target.request


@syscall(274, "sched_setattr", "int", "sched_attr", "hex")
def sys_sched_setattr(task: Task, pid: int, attr: Any, flags: int = 0) -> int:
    if attr is None or flags:
        raise OSError(EINVAL, f"sched_setattr: {attr!r:.40}, flags {flags:#x}")
    given = attribute(attr)
    target = thread(task, pid, "sched_setattr")
    if given.sched_flags & ~SCHED_FLAG_ALL or given.sched_policy < 0:
        raise OSError(EINVAL, f"sched_setattr: {given}")
    if given.sched_flags & SCHED_FLAG_KEEP_POLICY:
        given = given._replace(sched_policy=target.policy)
    if given.sched_flags & SCHED_FLAG_KEEP_PARAMS:
        given = given._replace(
            sched_nice=target.nice, sched_priority=target.rt_priority, sched_runtime=target.custom_slice
        )
    change(task, target, given._replace(sched_nice=min(max(given.sched_nice, BEST_NICE), WORST_NICE)))
    return 0


def attribute(attr: Any) -> SchedAttr:
    """A SchedAttr of what a program passes: one of these, a dict, or an object with the fields."""
    values: dict[str, int] = {}
    for name in SchedAttr._fields:
        value = attr.get(name) if isinstance(attr, dict) else getattr(attr, name, None)
        if value is not None:
            if not isinstance(value, int):
                raise OSError(EFAULT, f"sched_setattr: {name} is {value!r:.40}")
            values[name] = value
    if isinstance(attr, dict) and any(name not in SchedAttr._fields and name != "size" for name in attr):
        raise OSError(E2BIG, f"sched_setattr: unknown fields in {sorted(map(str, attr))}")
    if not values:
        raise OSError(EFAULT, f"sched_setattr takes a sched_attr, not {attr!r:.40}")
    return SchedAttr(**values)


@python("sched_setattr")
def sched_setattr(task: Task, pid: int, attr: Any, flags: int = 0) -> int:
    """`attr`: a dict, or an object, with fields of struct sched_attr (sched_policy, sched_nice, sched_runtime ...)."""
    done: int = sys_sched_setattr(task, pid, attr, flags)
    return done


@syscall(275, "sched_getattr", "int", "result:sched_attr", "int", "hex", returns="zero")
def sys_sched_getattr(task: Task, pid: int, size: int = SCHED_ATTR_SIZE, flags: int = 0) -> SchedAttr:
    if flags or not 48 <= size <= 4096:
        raise OSError(EINVAL, f"sched_getattr: size {size}, flags {flags:#x}")
    target = thread(task, pid, "sched_getattr")
    real_time = target.policy in REAL_TIME
    return SchedAttr(
        target.policy,
        SCHED_FLAG_RESET_ON_FORK if target.reset_on_fork else 0,
        0 if real_time else target.nice,
        target.rt_priority if real_time else 0,
        0 if real_time else target.custom_slice or target.request,
    )


@python("sched_getattr")
def sched_getattr(task: Task, pid: int = 0, size: int = SCHED_ATTR_SIZE, flags: int = 0) -> SchedAttr:
    """struct sched_attr."""
    result: SchedAttr = sys_sched_getattr(task, pid, size, flags)
    return result


@syscall(124, "sched_yield")
def sys_sched_yield(task: Task) -> int:
    task.machine.scheduler.yield_cpu(task)
    return 0


# ---- CPUs ----


@syscall(122, "sched_setaffinity", "int", "mask")
def sys_sched_setaffinity(task: Task, pid: int, cpus: int) -> int:
    machine = task.machine
    target = thread(task, pid, "sched_setaffinity") if pid >= 0 else None
    if target is None:
        raise OSError(ESRCH, f"sched_setaffinity: no thread {pid}")
    if not same_owner(task, target) and not task.cred.capable(CAP_SYS_NICE):
        raise OSError(EPERM, f"sched_setaffinity: thread {pid} belongs to somebody else")
    mask = cpus & (1 << len(machine.scheduler.cpus)) - 1
    if not mask:
        raise OSError(EINVAL, f"sched_setaffinity: none of this machine's CPUs is in {cpus:#x}")
    machine.scheduler.set_affinity(target, mask)
    return 0


@python("sched_setaffinity")
def sched_setaffinity(task: Task, pid: int, cpus: Any) -> int:
    """`cpus`: the numbers of the CPUs that the thread may run on, or a bit mask."""
    if isinstance(cpus, int):
        mask = cpus
    else:
        try:
            mask = sum(1 << c for c in {*cpus} if 0 <= c < MAX_CPUS)
        except TypeError:
            raise OSError(EFAULT, f"sched_setaffinity takes numbers of CPUs, not {cpus!r:.40}") from None
    done: int = sys_sched_setaffinity(task, pid, mask)
    return done


@syscall(123, "sched_getaffinity", "int", "result:mask", returns="zero")
def sys_sched_getaffinity(task: Task, pid: int) -> int:
    target = thread(task, pid, "sched_getaffinity") if pid >= 0 else None
    if target is None:
        raise OSError(ESRCH, f"sched_getaffinity: no thread {pid}")
    whole: int = (1 << len(task.machine.scheduler.cpus)) - 1
    return whole if target.affinity is None else target.affinity


@python("sched_getaffinity")
def sched_getaffinity(task: Task, pid: int = 0) -> list[int]:
    """The numbers of the CPUs that the thread may run on, ascending."""
    mask: int = sys_sched_getaffinity(task, pid)
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


@syscall(168, "getcpu", "result:ptr", "=NULL", "=NULL", returns="zero")
def sys_getcpu(task: Task) -> int:
    return task.cpu.id


@python("cpu")
def cpu(task: Task, ns: int) -> None:
    """Use `ns` of CPU time, in user mode. Not a system call."""
    if not isinstance(ns, int):
        raise OSError(EINVAL, f"cpu takes nanoseconds, not {ns!r:.40}")
    task.machine.meter.burn(ns)
