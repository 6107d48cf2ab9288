"""Futexes of every operation; scheduling classes, niceness, limits."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    W = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    mem = sys.mem

    def w(a, v):
        mem[a : a + 4] = struct.pack("i", v)

    def g(a):
        return struct.unpack("I", bytes(mem[a : a + 4]))[0]

    print(
        "wait",
        e(sys.futex, W, FUTEX_WAIT, 1, 0),
        e(sys.futex, W, FUTEX_WAIT, 0, 10 * MS),
        e(sys.futex, W, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, 5 * MS),
        e(sys.futex, W + 1, FUTEX_WAIT, 0, 1),
        e(sys.futex, 0, FUTEX_WAIT, 0, 1),
        e(sys.futex, W, 99, 0),
        e(sys.futex, W, FUTEX_WAKE, 1),
        e(sys.futex, W, FUTEX_WAIT, 0, -1),
        e(sys.futex, W, FUTEX_WAIT_BITSET, 0, sys.clock_gettime(CLOCK_MONOTONIC) + 5 * MS, 0, 0xFF),
        e(sys.futex, W, FUTEX_WAIT_BITSET, 0, None, 0, 0),
        e(sys.futex, W, FUTEX_WAKE_BITSET, 1, None, 0, 0),
        e(sys.futex, W, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, sys.clock_gettime(CLOCK_REALTIME) + 5 * MS, 0, 1),
        e(sys.futex, W, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1),
    )

    def waiter(sys, addr, bits=None, code=0):
        r = (
            e(sys.futex, addr, FUTEX_WAIT, 0, 3000 * MS)
            if bits is None
            else e(sys.futex, addr, FUTEX_WAIT_BITSET, 0, None, 0, bits)
        )
        return code if r == 0 else 99

    def start(n, addr=W, bits=None):
        ps = [sys.spawn(waiter, addr, bits if not isinstance(bits, list) else bits[i], i + 1) for i in range(n)]
        sys.nanosleep(60 * MS)
        return ps

    ps = start(4)
    print(
        "wake",
        sys.futex(W, FUTEX_WAKE, 2),
        sys.futex(W, FUTEX_WAKE, 0x7FFFFFFF),
        sys.futex(W, FUTEX_WAKE, 1),
        sorted(sys.wait4(p)[1] >> 8 for p in ps),
    )
    ps = start(3, W, [1, 2, 3])
    print(
        "bitset",
        sys.futex(W, FUTEX_WAKE_BITSET, 9, None, 0, 4),
        sys.futex(W, FUTEX_WAKE_BITSET, 9, None, 0, 2),
        sys.futex(W, FUTEX_WAKE_BITSET, 9, None, 0, FUTEX_BITSET_MATCH_ANY),
        sorted(sys.wait4(p)[1] >> 8 for p in ps),
    )
    ps = start(4)
    print(
        "requeue",
        e(sys.futex, W, FUTEX_CMP_REQUEUE, 1, 2, W + 4, 7),
        sys.futex(W, FUTEX_CMP_REQUEUE, 1, 2, W + 4, 0),
        sys.futex(W + 4, FUTEX_WAKE, 9),
        sys.futex(W, FUTEX_WAKE, 9),
        sorted(sys.wait4(p)[1] >> 8 for p in ps),
    )
    ps = start(3)
    print(
        sys.futex(W, FUTEX_REQUEUE, 0, 9, W + 4),
        sys.futex(W, FUTEX_WAKE, 9),
        sys.futex(W + 4, FUTEX_WAKE, 9),
        e(sys.futex, W, FUTEX_REQUEUE, -1, 1, W + 4),
    )
    [sys.wait4(p) for p in ps]
    ps = start(2) + start(2, W + 4)
    w(W + 4, 0)
    print("wake_op", sys.futex(W, FUTEX_WAKE_OP, 1, 1, W + 4, (1 << 28) | (5 << 12) | (0 << 24) | 0), g(W + 4))
    sys.futex(W, FUTEX_WAKE, 9)
    sys.futex(W + 4, FUTEX_WAKE, 9)
    [sys.wait4(p) for p in ps]

    # EINTR and restart
    def intr(sys, fl):
        sys.rt_sigaction(SIGALRM, lambda *x: None, fl)
        sys.setitimer(ITIMER_REAL, 20 * MS)
        return {"EINTR": 1, "ETIMEDOUT": 2}.get(e(sys.futex, W, FUTEX_WAIT, 0, 200 * MS), 3)

    print("eintr", [sys.wait4(sys.spawn(intr, f))[1] >> 8 for f in (0, SA_RESTART)])
    # PI
    w(W, 0)
    tid = sys.gettid()
    print(
        "pi",
        sys.futex(W, FUTEX_LOCK_PI, 0),
        g(W) == tid,
        e(sys.futex, W, FUTEX_LOCK_PI, 0),
        e(sys.futex, W, FUTEX_TRYLOCK_PI, 0),
        sys.futex(W, FUTEX_UNLOCK_PI, 0),
        g(W),
        e(sys.futex, W, FUTEX_UNLOCK_PI, 0),
    )
    w(W, 999999)
    print(e(sys.futex, W, FUTEX_LOCK_PI, 0))
    w(W, 0)
    sys.futex(W, FUTEX_LOCK_PI, 0)

    def lk(sys):
        r = e(sys.futex, W, FUTEX_LOCK_PI, 0)
        ok = g(W) & FUTEX_TID_MASK == sys.gettid()
        sys.futex(W, FUTEX_UNLOCK_PI, 0)
        return 1 if r == 0 and ok else 2

    p = sys.spawn(lk)
    sys.nanosleep(40 * MS)
    print(
        bool(g(W) & FUTEX_WAITERS),
        e(sys.wait4, p, WNOHANG)[0],
        sys.futex(W, FUTEX_UNLOCK_PI, 0),
        sys.wait4(p)[1] >> 8,
        g(W),
        e(sys.futex, W, FUTEX_LOCK_PI, 0, sys.clock_gettime(CLOCK_REALTIME) + 5 * MS),
    )
    # robust list
    head = W + 1024
    lockw = W + 1100

    def rob(sys):
        w(lockw, sys.gettid())
        mem[head : head + 24] = struct.pack("QqQ", W + 1096 - 0, 4, 0)
        mem[W + 1096 : W + 1104] = struct.pack("Q", head) if False else mem[W + 1096 : W + 1104]
        return 0

    # sched
    print(
        "sched",
        sys.sched_getscheduler(0),
        [(p, e(sys.sched_get_priority_min, p), e(sys.sched_get_priority_max, p)) for p in (0, 1, 2, 3, 5, 6, 4)],
        sys.getpriority(PRIO_PROCESS, 0),
        sys.setpriority(PRIO_PROCESS, 0, 5),
        sys.getpriority(PRIO_PROCESS, 0),
        sys.setpriority(PRIO_PROCESS, 0, 100),
        sys.getpriority(PRIO_PROCESS, 0),
        e(sys.setpriority, 9, 0, 0),
        e(sys.getpriority, PRIO_PROCESS, 999999),
        e(sys.getpriority, PRIO_PGRP, 0),
        e(sys.setpriority, PRIO_PROCESS, 0, -100),
        sys.getpriority(PRIO_PROCESS, 0),
        sys.setpriority(PRIO_PROCESS, 0, 0),
    )
    print(
        e(sys.sched_setscheduler, 0, SCHED_FIFO, 0),
        e(sys.sched_setscheduler, 0, SCHED_FIFO, 100),
        e(sys.sched_setscheduler, 0, SCHED_OTHER, 1),
        e(sys.sched_setscheduler, 0, 77, 0),
        e(sys.sched_setscheduler, 999999, SCHED_OTHER, 0),
        e(sys.sched_setscheduler, -1, SCHED_OTHER, 0),
        e(sys.sched_setscheduler, 0, SCHED_RR, 10),
        sys.sched_getscheduler(0),
        sys.sched_getparam(0).sched_priority,
        e(sys.sched_setparam, 0, 20),
        e(sys.sched_setparam, 0, 0),
        e(lambda: sys.sched_rr_get_interval(0) > 0),
        sys.sched_setscheduler(0, SCHED_BATCH, 0),
        sys.sched_getscheduler(0),
        sys.sched_setscheduler(0, SCHED_IDLE, 0),
        sys.sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0),
        hex(sys.sched_getscheduler(0)),
        e(sys.sched_setaffinity, 0, []),
        e(sys.sched_setaffinity, 0, [0]),
        sys.sched_getaffinity(0),
        e(sys.sched_setaffinity, 999999, [0]),
        e(sys.sched_getaffinity, 999999),
    )

    def u(sys):
        sys.setresuid(88, 88, 88)
        print(
            "user",
            e(sys.setpriority, PRIO_PROCESS, 0, 3),
            e(sys.setpriority, PRIO_PROCESS, 0, 2),
            e(sys.setpriority, PRIO_PROCESS, sys.getppid(), 5),
            e(sys.sched_setscheduler, 0, SCHED_FIFO, 1),
            e(sys.sched_setscheduler, 0, SCHED_BATCH, 0),
            e(sys.sched_setscheduler, 0, SCHED_IDLE, 0),
            e(sys.sched_setscheduler, 0, SCHED_OTHER, 0),
            e(sys.sched_setaffinity, sys.getppid(), [0]),
            sys.prlimit64(0, RLIMIT_NICE),
            sys.prlimit64(0, RLIMIT_RTPRIO),
        )

    sys.wait4(sys.spawn(u))
    print("nice", sys.nice(3), sys.nice(-1), sys.nice(0))
    # rlimits
    for r in range(17):
        x = e(sys.prlimit64, 0, r)
        print(r, "ok" if isinstance(x, tuple) else x, e(sys.prlimit64, 0, r, (5, 4)), end=" ")
    print(
        e(sys.prlimit64, 999999, 0),
        e(sys.prlimit64, 0, RLIMIT_NOFILE, (1 << 30, 1 << 30)),
        e(sys.prlimit64, 0, RLIMIT_CORE, (-1, -1)),
    )
    print(sys.prlimit64(sys.spawn(lambda sys: sys.nanosleep(50 * MS)), RLIMIT_CORE))
    # misc
    ru = sys.getrusage(RUSAGE_SELF)
    t = sys.times()
    print(
        ru.ru_utime >= 0,
        len(t),
        e(sys.getrusage, 7),
        e(sys.getrusage, RUSAGE_THREAD) is not None,
        len(sys.getrandom(10)),
        e(sys.getrandom, 5, 8),
        e(sys.getrandom, 0),
        e(sys.getrandom, 5, GRND_NONBLOCK | GRND_RANDOM) != 0,
        sys.sysinfo().mem_unit > 0,
        sys.uname().sysname,
        e(sys.sethostname, "x" * 65),
        e(sys.getpgid, -1),
        e(sys.getsid, -1),
        e(sys.kcmp, sys.getpid(), sys.getpid(), 0, 0, 0),
        e(sys.personality, 0xFFFFFFFF),
        e(sys.unshare, 0x10),
    )
