"""timerfds, interval timers, POSIX timers by signal and thread, timers and sleeps on CPU time, clocks of others."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def burn(sys, ns, done):
    """So much, and more until it is done: the host counts at its ticks, of which a busy one has fewer."""
    sys.cpu(ns)
    for _ in range(2000):
        if done():
            break
        sys.cpu(5 * MS)


def main(sys, argv):
    M, RT = CLOCK_MONOTONIC, CLOCK_REALTIME

    def left(x, of):
        """Of that much, most."""
        return x if isinstance(x, str) else of // 2 < x <= of

    def expired(since, first, interval, at):
        """How often a timer of the time `since` has at the time `at`."""
        return (at - since - first) // interval + 1

    sys.nanosleep(100 * MS)
    print(
        "create",
        [
            e(sys.timerfd_create, c, f) if isinstance(e(sys.timerfd_create, c, f), str) else "fd"
            for c, f in (
                (0, 0),
                (1, 0),
                (7, 0),
                (8, 0),
                (9, 0),
                (2, 0),
                (3, 0),
                (4, 0),
                (5, 0),
                (11, 0),
                (1, 1),
                (1, O_NONBLOCK | O_CLOEXEC),
                (99, 0),
            )
        ],
    )
    t = sys.timerfd_create(M, O_NONBLOCK)
    print(
        "set",
        e(sys.timerfd_settime, t, 0, 100 * MS, 0),
        left(sys.timerfd_gettime(t)[0], 100 * MS),
        e(sys.read, t, 8),
        e(sys.read, t, 7),
        e(sys.write, t, b"x" * 8),
        e(sys.timerfd_settime, t, 4, 1, 0),
        e(sys.timerfd_settime, t, 8, 1, 0),
        e(sys.timerfd_settime, t, 0, -1, 0),
        e(sys.timerfd_settime, t, 0, 1, -1),
        e(sys.timerfd_settime, 0, 0, 1, 0),
        e(sys.timerfd_gettime, sys.pipe2()[0]),
    )
    now = sys.clock_gettime(M)
    print("abs past", sys.timerfd_settime(t, 1, max(now - 55 * MS, 2000), 20 * MS)[1], end=" ")
    sys.nanosleep(5 * MS)
    before = sys.clock_gettime(M)
    n = struct.unpack("Q", sys.read(t, 8))[0]
    after = sys.clock_gettime(M)
    print(3 <= expired(now, -55 * MS, 20 * MS, before) <= n <= expired(now, -55 * MS, 20 * MS, after), end=" ")
    sys.timerfd_settime(t, 0, 200 * MS, 200 * MS)
    print(left(sys.timerfd_gettime(t)[0], 200 * MS), e(sys.read, t, 8))
    early = sys.clock_gettime(M)
    sys.timerfd_settime(t, 0, 20 * MS, 30 * MS)
    late = sys.clock_gettime(M)
    sys.nanosleep(95 * MS)
    before = sys.clock_gettime(M)
    n = struct.unpack("Q", sys.read(t, 100))[0]
    after = sys.clock_gettime(M)
    print(
        "count",
        3 <= expired(late, 20 * MS, 30 * MS, before) <= n <= expired(early, 20 * MS, 30 * MS, after),
        [x > 0 for x in sys.timerfd_gettime(t)],
        sys.timerfd_settime(t, 0, 0, 10 * MS)[1] == 30 * MS,
        sys.timerfd_gettime(t),
        e(sys.read, t, 8),
    )
    tc = sys.timerfd_create(RT, O_NONBLOCK)
    print(
        "cancel flag",
        e(sys.timerfd_settime, tc, 3, sys.clock_gettime(RT) + 10**11, 0) != 0,
        e(sys.timerfd_settime, tc, 2, 10**11, 0) != 0,
        e(sys.read, tc, 8),
    )
    sys.timerfd_settime(tc, 3, sys.clock_gettime(RT) + 10**11, 0)
    save = sys.clock_gettime(RT)

    def go():
        ep = sys.epoll_create1()
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, tc, EPOLLIN, 5)
        return ep

    ep = go()
    print("not yet", sys.epoll_pwait(ep, 5, 0))
    # itimers
    got = []
    sys.rt_sigaction(SIGALRM, lambda s, n, i: got.append((n, i.si_code)))
    print(
        "itimer",
        sys.setitimer(ITIMER_REAL, 50 * MS, 0),
        left(sys.getitimer(ITIMER_REAL)[0], 50 * MS),
        left(sys.setitimer(ITIMER_REAL, 20 * MS, 30 * MS)[0], 50 * MS),
        sys.getitimer(ITIMER_REAL)[1],
        e(sys.setitimer, 5, 1, 1),
        e(sys.getitimer, 5),
        e(sys.setitimer, 0, -1, 0),
        e(sys.setitimer, 0, 1, -5000),
    )
    for _ in range(3):
        e(sys.pause)
    print(got[:3], sys.setitimer(ITIMER_REAL, 0, 0)[1], sys.getitimer(0))
    print("alarm", sys.alarm(100), sys.alarm(50), sys.alarm(0), sys.alarm(0))
    # POSIX timers
    del got[:]
    missed = []
    sys.rt_sigaction(
        SIGRTMIN, lambda s, n, i: (got.append((n, i.si_code, i.si_value)), missed.append(e(s.timer_getoverrun, a)))
    )
    sys.rt_sigaction(SIGUSR1, lambda s, n, i: got.append((n, i.si_code, i.si_value)))
    a = sys.timer_create(M, (0, SIGRTMIN, 77))
    b = sys.timer_create(RT, None)
    c = sys.timer_create(M, (1, 0, 0))
    d = sys.timer_create(M, (4, SIGUSR1, 5, sys.gettid()))
    print(
        "ids",
        [x - a for x in (a, b, c, d)],
        [
            e(sys.timer_create, *x)
            for x in (
                (M, (0, 0, 0)),
                (M, (0, 65, 0)),
                (M, (3, SIGUSR1, 0)),
                (M, (4, SIGUSR1, 0, 1)),
                (99, None),
                (M, (5, 1, 1)),
                (CLOCK_MONOTONIC_RAW, None),
                (CLOCK_MONOTONIC_COARSE, None),
                (8, None) if False else (99, None),
            )
        ],
    )
    early = sys.clock_gettime(M)
    sys.timer_settime(a, 0, 10 * MS, 20 * MS)
    while not got:
        e(sys.nanosleep, 12 * MS)
    print(got[:1], missed[0] == 0 or sys.clock_gettime(M) - early >= 30 * MS)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN])
    del got[:], missed[:]
    sys.nanosleep(95 * MS)
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGRTMIN])
    print(
        "overrun",
        got[:1],
        3 <= missed[0] <= expired(early, 10 * MS, 20 * MS, sys.clock_gettime(M)) - 2,
        sys.timer_settime(a, 0, 0, 0)[1],
        sys.timer_gettime(a),
        sys.timer_delete(a),
        e(sys.timer_delete, a),
        e(sys.timer_gettime, a),
        e(sys.timer_getoverrun, 99),
        e(sys.timer_settime, 99, 0, 1, 0),
    )
    sys.timer_settime(c, 0, 10 * MS, 0)
    sys.nanosleep(20 * MS)
    print("none", sys.timer_gettime(c), sys.timer_getoverrun(c))
    sys.timer_settime(c, 0, 10 * MS, 15 * MS)
    sys.nanosleep(20 * MS)
    print(0 < sys.timer_gettime(c)[0] <= 15 * MS, sys.timer_gettime(c)[1])
    del got[:]
    sys.timer_settime(d, 0, 10 * MS, 0)
    e(sys.nanosleep, 30 * MS)
    print("thread", got)
    # pending signal of a deleted timer
    sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN, SIGUSR1])
    del got[:]
    a = sys.timer_create(M, (0, SIGRTMIN, 1))
    sys.timer_settime(a, 0, MS, 0)
    sys.timer_settime(d, 0, MS, 0)
    sys.nanosleep(5 * MS)
    print(
        "pending",
        sorted(sys.rt_sigpending()),
        sys.timer_delete(a),
        sorted(sys.rt_sigpending()),
        sys.timer_settime(d, 0, 0, 0),
        sorted(sys.rt_sigpending()),
    )
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGRTMIN, SIGUSR1])
    print(got)

    # not inherited; gone at exec
    def kid(sys):
        print("kid", e(sys.timer_gettime, d), sys.getitimer(0), e(sys.timerfd_gettime, t) != 0)

    sys.setitimer(0, 10**10, 0)
    sys.wait4(sys.spawn(kid))
    sys.setitimer(0, 0, 0)
    # CPU clocks
    P, T = CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID
    del got[:]
    a = e(sys.timer_create, P, (0, SIGRTMIN, 9))
    if not isinstance(a, str):
        print("cpu timer", sys.timer_settime(a, 0, 20 * MS, 0))
        sys.nanosleep(50 * MS)
        print(got, 0 < sys.timer_gettime(a)[0] <= 20 * MS)
        burn(sys, 40 * MS, lambda: got)
        print(got, sys.timer_gettime(a))
        sys.timer_settime(a, 0, 10 * MS, 10 * MS)
        burn(sys, 55 * MS, lambda: len(got) >= 4)
        print(len(got) >= 4, sys.timer_gettime(a)[1], sys.timer_settime(a, 0, 0, 0)[1])
        del got[:]
        sys.timer_settime(a, 1, sys.clock_gettime(P) + 10 * MS, 0)
        burn(sys, 25 * MS, lambda: got)
        print(len(got))
        b2 = sys.timer_create(T, (0, SIGUSR1, 4))
        del got[:]
        sys.timer_settime(b2, 0, 15 * MS, 0)

        def th(sys):
            sys.cpu(40 * MS)
            sys.exit_thread(0)

        tt = sys.clone(th, flags=CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
        sys.nanosleep(100 * MS)
        print("other thread's time does not count", got)
        burn(sys, 20 * MS, lambda: got)
        print(got)
        sys.timer_settime(b2, 1, 1, 0)
        e(sys.nanosleep, MS)
        print("past", got[1:])
    print(
        "nanosleep cpu",
        e(sys.clock_nanosleep, T, 0, 10),
        e(sys.clock_nanosleep, M + 90, 0, 10),
        e(sys.clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, 10),
        e(sys.clock_nanosleep, CLOCK_REALTIME_COARSE, 0, 10),
        e(sys.clock_nanosleep, 7, 0, 10),
        e(sys.clock_nanosleep, 11, 0, 10),
        e(sys.clock_nanosleep, M, 0, -1),
        e(sys.clock_nanosleep, RT, 1, 5),
        e(sys.nanosleep, -1),
        e(sys.nanosleep, 0),
    )

    def th2(sys):
        sys.nanosleep(20 * MS)
        while not woken:  # a busy host may give it all its time before the other sleeps
            sys.cpu(5 * MS)
        sys.exit_thread(0)

    woken = []
    tt = sys.clone(th2, flags=CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
    t0 = sys.clock_gettime(P)
    print("process cpu sleep", e(sys.clock_nanosleep, P, 0, 30 * MS), sys.clock_gettime(P) - t0 >= 29 * MS)
    woken.append(1)
    sys.nanosleep(100 * MS)
    pid = sys.getpid()

    def dyn(p, k):
        return ((~p) << 3) | k

    print(
        "dynamic",
        [
            e(lambda: sys.clock_gettime(x) >= 0)
            for x in (
                dyn(pid, 2),
                dyn(0, 2),
                dyn(1, 2),
                dyn(sys.gettid(), 6),
                dyn(1, 6),
                dyn(99999, 2),
                dyn(pid, 0),
                dyn(pid, 1),
                dyn(pid, 3),
            )
        ],
        e(sys.clock_settime, M, 5),
        e(sys.clock_settime, P, 5),
        e(sys.clock_settime, 99, 5),
    )
    print("res", [e(sys.clock_getres, x) for x in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 99)])
