"""Futexes: wake order, bitsets, requeueing, wake-op, priority inheritance, waitv, robust lists."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    m = sys.mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    F = sys.futex
    TH = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD

    def put(a, v):
        sys.mem[a : a + 4] = struct.pack("I", v & 0xFFFFFFFF)

    def get(a):
        return struct.unpack("I", bytes(sys.mem[a : a + 4]))[0]

    log_r, log_w = sys.pipe2(O_NONBLOCK)

    def drain():
        sys.nanosleep(30 * MS)
        x = e(sys.read, log_r, 9999)
        return x if isinstance(x, str) else ";".join(sorted(x.decode().rstrip(";").split(";")))

    def waiter(sys, name, op, val, *rest):
        r = e(sys.futex, m, op, val, *rest)
        sys.write(log_w, ("%s:%s;" % (name, r)).encode())
        sys.exit_thread(0)

    def W(name, op=FUTEX_WAIT, val=0, *rest, th=True):
        p = sys.clone(waiter, name, op, val, *rest, flags=TH) if th else sys.spawn(waiter, name, op, val, *rest)
        sys.nanosleep(5 * MS)
        return p

    print(
        "errors",
        e(F, m, FUTEX_WAIT, 1, 0),
        e(F, m + 1, FUTEX_WAIT, 0, 0),
        e(F, m, FUTEX_WAIT, 0, 0),
        e(F, m, FUTEX_WAIT, 0, -1),
        e(F, m, 99, 0),
        e(F, 8, FUTEX_WAIT, 0, 0),
        e(F, m, FUTEX_WAIT_BITSET, 0, 0, 0, 0),
        e(F, m, FUTEX_WAKE_BITSET, 1, None, 0, 0),
        e(F, m + 2, FUTEX_WAKE, 1),
        e(F, m, FUTEX_WAKE, 1),
        e(F, m, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, 0),
        e(F, m, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1),
        e(F, m, FUTEX_WAKE, 0),
        e(F, m, FUTEX_WAKE, -1),
        e(F, m, FUTEX_FD if "FUTEX_FD" in globals() else 2, 1),
    )
    for n in "abcd":
        W(n)
    print(
        "wake order",
        F(m, FUTEX_WAKE, 1),
        drain(),
        F(m, FUTEX_WAKE, 2),
        drain(),
        F(m, FUTEX_WAKE, 100),
        drain(),
        F(m, FUTEX_WAKE, 1),
    )
    for n, b in (("x", 1), ("y", 2), ("z", 3)):
        W(n, FUTEX_WAIT_BITSET, 0, None, 0, b)
    W("all")
    print(
        "bitset",
        F(m, FUTEX_WAKE_BITSET, 9, None, 0, 4),
        drain(),
        F(m, FUTEX_WAKE_BITSET, 9, None, 0, 2),
        drain(),
        F(m, FUTEX_WAKE, 9),
        drain(),
    )
    m2 = m + 64
    put(m2, 0)
    for n in "abcde":
        W(n)
    print(
        "requeue",
        e(F, m, FUTEX_CMP_REQUEUE, 1, 2, m2, 5),
        F(m, FUTEX_CMP_REQUEUE, 1, 2, m2, 0),
        drain(),
        F(m2, FUTEX_WAKE, 9),
        drain(),
        F(m, FUTEX_REQUEUE, 0, 1, m2),
        F(m2, FUTEX_WAKE, 9),
        F(m, FUTEX_WAKE, 9),
        drain(),
        e(F, m, FUTEX_CMP_REQUEUE, -1, 1, m2, 0),
        e(F, m, FUTEX_CMP_REQUEUE, 1, -1, m2, 0),
        e(F, m, FUTEX_CMP_REQUEUE, 1, 1, m2 + 1, 0),
        e(F, m, FUTEX_CMP_REQUEUE, 1, 1, m, 0),
    )

    # wake op
    def op(o, c, oa, ca):
        return (o << 28) | (c << 24) | (oa << 12) | ca

    put(m, 0)
    put(m2, 5)
    res = []
    for o, c, oa, ca in (
        (0, 0, 7, 5),
        (1, 1, 3, 7),
        (2, 2, 0x10, 11),
        (3, 3, 2, 30),
        (4, 4, 0xF, 25),
        (0, 5, 1, 6),
        (8, 0, 4, 1),
        (9, 0, 2, 17),
        (0, 6, 0, 0),
        (5, 0, 0, 0),
        (0, 0, 0xFFF, 21),
    ):
        before = get(m2)
        r = e(F, m, FUTEX_WAKE_OP, 1, 1, m2, op(o, c, oa, ca))
        res.append((r, before, get(m2)))
    print("wake_op", res)
    # private against shared; other processes
    put(m, 0)
    W("proc", th=False)
    W("priv", FUTEX_WAIT | FUTEX_PRIVATE_FLAG)
    print("keys", F(m, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9), drain(), F(m, FUTEX_WAKE, 9), drain())
    # timeouts: absolute for bitset
    t0 = sys.clock_gettime(1)
    print(
        "abs",
        e(F, m, FUTEX_WAIT_BITSET, 0, t0 + 20 * MS, 0, 1),
        19 <= (sys.clock_gettime(1) - t0) // MS < 60,
        e(F, m, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, sys.clock_gettime(0) + 10 * MS, 0, 1),
        e(F, m, FUTEX_WAIT_BITSET, 0, 1, 0, 1),
    )
    # PI
    tid = sys.gettid()
    put(m, 0)
    print(
        "pi",
        e(F, m, FUTEX_LOCK_PI, 0),
        get(m) == tid,
        e(F, m, FUTEX_LOCK_PI, 0),
        e(F, m, FUTEX_TRYLOCK_PI, 0),
        e(F, m, FUTEX_UNLOCK_PI, 0),
        get(m),
        e(F, m, FUTEX_UNLOCK_PI, 0),
    )
    put(m, 99999)
    print(e(F, m, FUTEX_LOCK_PI, 0), e(F, m, FUTEX_TRYLOCK_PI, 0), e(F, m, FUTEX_UNLOCK_PI, 0))
    put(m, 0)
    F(m, FUTEX_LOCK_PI, 0)
    W("p1", FUTEX_LOCK_PI)
    print(
        "waiters bit",
        hex(get(m) & 0xC0000000),
        e(F, m, FUTEX_WAKE, 1),
        e(F, m, FUTEX_UNLOCK_PI, 0),
        drain(),
        hex(get(m) & 0xC0000000),
        (get(m) & 0x3FFFFFFF) != 0,
        e(F, m, FUTEX_TRYLOCK_PI, 0),
    )
    put(m, 0)
    F(m, FUTEX_LOCK_PI, 0)
    W("pt", FUTEX_LOCK_PI, 0, sys.clock_gettime(0) + 20 * MS)
    print("pi timeout", drain(), e(F, m, FUTEX_UNLOCK_PI, 0))
    put(m, 0)
    put(m2, 0)
    # waitv
    V = sys.futex_waitv
    put(m, 1)
    put(m2, 2)
    print(
        "waitv",
        e(V, [], 0),
        e(V, [(1, m, 2)], 1),
        e(V, [(5, m, 2)], 0),
        e(V, [(1, m, 2), (9, m2, 2)], 0),
        e(V, [(1, m, 7)], 0),
        e(V, [(1, m + 1, 2)], 0),
        e(V, [(1, m, 2)] * 129, 0),
        e(V, [(1, m, 2), (2, m2, 2)], 0, sys.clock_gettime(1) + 10 * MS),
        e(V, [(1, m, 2)], 0, 5, 9),
    )

    def vw(sys):
        r = e(sys.futex_waitv, [(1, m, 2), (2, m2, 2)], 0)
        sys.write(log_w, ("v%s;" % r).encode())
        sys.exit_thread(0)

    sys.clone(vw, flags=TH)
    sys.nanosleep(10 * MS)
    print(F(m2, FUTEX_WAKE, 1), drain())
    # robust list: owner dies
    put(m, 0)
    base = m + 1024

    def robust(sys):
        t = sys.gettid()
        sys.mem[base : base + 24] = struct.pack("QqQ", base + 64, -4 - 0 + 8, 0)
        sys.mem[base + 64 : base + 72] = struct.pack("Q", base)
        put(base + 68 + 0, t) if False else None
        sys.mem[base + 64 + 4 : base + 64 + 4] = b""
        sys.set_robust_list(base, 24)
        sys.mem[base : base + 24] = struct.pack("QqQ", base + 64, 16, 0)
        put(base + 80, t | 0x80000000)
        sys.exit_thread(0)

    put(base + 80, 0)
    sys.clone(robust, flags=TH)
    sys.nanosleep(30 * MS)
    print("robust", hex(get(base + 80)), e(sys.set_robust_list, base, 23), e(sys.get_robust_list, 99999))
    # EINTR of wait in thread by signal
    got = []
    sys.rt_sigaction(SIGUSR1, lambda s, n, i: got.append(n))
    put(m, 0)
    t = W("sig")
    sys.tgkill(sys.getpid(), t, SIGUSR1)
    print("signal", drain().replace("sig:", "") in ("EINTR", "EAGAIN"), got)
    F(m, FUTEX_WAKE, 5)
    drain()
    # CLEARTID
    put(m + 128, 5)

    def bye(sys):
        sys.exit_thread(0)

    x = e(sys.clone, bye, flags=TH | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID, child_tid=m + 128, parent_tid=m + 132)
    if not isinstance(x, str):
        sys.nanosleep(20 * MS)
        print("cleartid", get(m + 128), get(m + 132) == x)
