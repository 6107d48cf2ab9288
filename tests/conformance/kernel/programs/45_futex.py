"""Futexes: value check, wake counts, bitsets, requeue, WAKE_OP, timeouts, shared and private keys, errors."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def word(sys, at):
    return int.from_bytes(sys.mem[at : at + 4], "little")


def put(sys, at, value):
    sys.mem[at : at + 4] = value.to_bytes(4, "little")


def main(sys, argv):
    s = sys.mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    p = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
    print("value:", err(sys.futex, p, FUTEX_WAIT, 1), err(sys.futex, p, FUTEX_WAIT, 0, 5 * MS))
    print("odd:", err(sys.futex, p + 1, FUTEX_WAIT, 0), err(sys.futex, p + 2, FUTEX_WAKE, 1))
    print("nothing there:", err(sys.futex, 16, FUTEX_WAIT, 0), err(sys.futex, 4096, FUTEX_WAKE, 1))
    print("private wake needs no memory:", err(sys.futex, 4096, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1))
    print("bitset 0:", err(sys.futex, p, FUTEX_WAIT_BITSET, 0, None, 0, 0), err(sys.futex, p, FUTEX_WAKE_BITSET, 1, None, 0, 0))
    print("ops:", err(sys.futex, p, 99, 0), err(sys.futex, p, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1))
    print("times:", err(sys.futex, p, FUTEX_WAIT, 0, -1), err(sys.futex, p, FUTEX_WAIT, 0, 0))
    before = sys.clock_gettime(CLOCK_MONOTONIC)
    print(err(sys.futex, p, FUTEX_WAIT_BITSET, 0, before + 20 * MS, 0, 0xFFFFFFFF))
    print(sys.clock_gettime(CLOCK_MONOTONIC) - before >= 20 * MS)
    now = sys.clock_gettime(CLOCK_REALTIME)
    print(err(sys.futex, p, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, now + 20 * MS, 0, 0xFFFFFFFF))
    print(sys.clock_gettime(CLOCK_REALTIME) - now >= 20 * MS)
    print("past:", err(sys.futex, p, FUTEX_WAIT_BITSET, 0, 1, 0, 0xFFFFFFFF))

    def waits(sys, at, bits):
        return err(sys.futex, at, FUTEX_WAIT_BITSET, word(sys, at), None, 0, bits) == 0

    def start(n, at=s, bits=0xFFFFFFFF):
        pids = [sys.spawn(waits, at, bits) for _ in range(n)]
        sys.nanosleep(80 * MS)
        return pids

    def reap(pids):
        return sorted(sys.wait4(pid)[1] >> 8 for pid in pids)

    pids = start(4)
    print("wake:", sys.futex(s, FUTEX_WAKE, 2), sys.futex(s, FUTEX_WAKE, 100), sys.futex(s, FUTEX_WAKE, 1), reap(pids))
    pids = start(2)
    print("wake of 0 wakes one:", sys.futex(s, FUTEX_WAKE, 0), sys.futex(s, FUTEX_WAKE, -1), reap(pids))
    pids = start(2, bits=1) + start(2, bits=6)
    print("bits:", sys.futex(s, FUTEX_WAKE_BITSET, 9, None, 0, 8), sys.futex(s, FUTEX_WAKE_BITSET, 9, None, 0, 2),
          sys.futex(s, FUTEX_WAKE_BITSET, 9, None, 0, 1), reap(pids))
    pids = start(4)
    print("requeue:", sys.futex(s, FUTEX_REQUEUE, 1, 2, s + 4), sys.futex(s, FUTEX_WAKE, 9), sys.futex(s + 4, FUTEX_WAKE, 9), reap(pids))
    pids = start(3)
    print("cmp:", err(sys.futex, s, FUTEX_CMP_REQUEUE, 1, 9, s + 4, 77), sys.futex(s, FUTEX_CMP_REQUEUE, 0, 2, s + 4, 0),
          sys.futex(s + 4, FUTEX_WAKE, 9), sys.futex(s, FUTEX_WAKE, 9), reap(pids))
    print(err(sys.futex, s, FUTEX_REQUEUE, -1, 1, s + 4), err(sys.futex, s, FUTEX_REQUEUE, 1, -1, s + 4))
    put(sys, s + 4, 5)
    pids = start(2) + start(2, s + 4)
    # *(s+4) += 3; wake 1 at s, and if the old value was > 4 wake 2 at s + 4
    op = 1 << 28 | 4 << 24 | 3 << 12 | 4
    print("wake_op:", sys.futex(s, FUTEX_WAKE_OP, 1, 2, s + 4, op), word(sys, s + 4), sys.futex(s, FUTEX_WAKE, 9), reap(pids))
    for op in (0 << 28 | 0 << 24 | 7 << 12 | 8, 2 << 28 | 5 << 24 | 0x10 << 12 | 1, 3 << 28 | 7 << 12, 4 << 28 | 0xFFF << 12,
               8 << 28 | 1 << 28 | 3 << 12):
        put(sys, s + 4, 6)
        print(err(sys.futex, s, FUTEX_WAKE_OP, 1, 1, s + 4, op), hex(word(sys, s + 4)))
    # private words of two processes are two words
    def private(sys):
        return err(sys.futex, p, FUTEX_WAIT, 0, 60 * MS) == "ETIMEDOUT"
    pid = sys.spawn(private)
    sys.nanosleep(20 * MS)
    print("private:", sys.futex(p, FUTEX_WAKE, 1), sys.wait4(pid)[1] >> 8)
    # through a file, at two addresses
    fd = sys.memfd_create("word")
    sys.ftruncate(fd, 4096)
    a = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd)
    b = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd)
    pids = start(1, a + 8)
    print("file:", sys.futex(b + 8, FUTEX_WAKE, 1), reap(pids))
    # signals
    seen = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: seen.append(n))
    me = sys.getpid()

    def teaser(sys):
        sys.nanosleep(30 * MS)
        sys.kill(me, SIGUSR1)
        sys.nanosleep(30 * MS)
        put(sys, s, 1)
        sys.futex(s, FUTEX_WAKE, 1)

    pid = sys.spawn(teaser)
    print("signal:", err(sys.futex, s, FUTEX_WAIT, 0), seen)
    sys.wait4(pid)
    put(sys, s, 0)
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: seen.append(n), SA_RESTART)
    pid = sys.spawn(teaser)
    print("restarted:", err(sys.futex, s, FUTEX_WAIT, 0), seen)
    sys.wait4(pid)
    put(sys, s, 0)
    pid = sys.spawn(teaser)
    print("not with a time:", err(sys.futex, s, FUTEX_WAIT, 0, 500 * MS), seen)
    sys.wait4(pid)
    # PI
    put(sys, s, 0)
    tid = sys.gettid()
    print("pi:", sys.futex(s, FUTEX_LOCK_PI, 0), word(sys, s) == tid, err(sys.futex, s, FUTEX_LOCK_PI, 0), err(sys.futex, s, FUTEX_TRYLOCK_PI, 0))
    def contender(sys):
        print("try:", err(sys.futex, s, FUTEX_TRYLOCK_PI, 0), err(sys.futex, s, FUTEX_UNLOCK_PI, 0))
        got = sys.futex(s, FUTEX_LOCK_PI, 0)
        sys.nanosleep(50 * MS)
        print("mine:", got, word(sys, s) == sys.gettid() | FUTEX_WAITERS, sys.futex(s, FUTEX_UNLOCK_PI, 0), word(sys, s))
    pid = sys.spawn(contender)
    sys.nanosleep(80 * MS)
    print(word(sys, s) == tid | FUTEX_WAITERS, sys.futex(s, FUTEX_UNLOCK_PI, 0))
    sys.wait4(pid)
    print(err(sys.futex, s, FUTEX_UNLOCK_PI, 0), word(sys, s))
    print("waitv:", err(sys.futex_waitv, [(0, s, 2), (0, s + 64, 2)], 0, sys.clock_gettime(1) + 10 * MS), err(sys.futex_waitv, [(5, s, 2)]),
          err(sys.futex_waitv, []), err(sys.futex_waitv, [(0, s, 0)]))
    def both(sys):
        return sys.futex_waitv([(0, s + 64, 2), (0, s + 128, 2)])
    pid = sys.spawn(both)
    sys.nanosleep(50 * MS)
    print(sys.futex(s + 128, FUTEX_WAKE, 1), sys.wait4(pid)[1] >> 8)
