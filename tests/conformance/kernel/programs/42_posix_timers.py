"""POSIX timers: signals with their values, overrun, one shot and periodic, exec and fork do not keep them."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    seen = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: seen.append((n, info.si_code)))
    t = sys.timer_create(CLOCK_MONOTONIC, (0, SIGUSR1, 42))
    print(t, sys.timer_gettime(t), sys.timer_settime(t, 0, 20 * MS))
    print(err(sys.nanosleep, 500 * MS), seen, sys.timer_gettime(t))
    sys.timer_settime(t, 0, 20 * MS, 10 * MS)
    left, interval = sys.timer_gettime(t)
    print(0 < left <= 20 * MS, interval)
    for _ in range(3):
        err(sys.nanosleep, 500 * MS)
    print(len(seen) >= 4)
    old = sys.timer_settime(t, 0, 0)
    print(0 < old[0] <= 10 * MS, old[1])
    # blocked: it is pending once, the rest is overrun
    sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN + 2])
    q = sys.timer_create(CLOCK_REALTIME, (0, SIGRTMIN + 2, 7))
    sys.timer_settime(q, 0, 10 * MS, 10 * MS)
    sys.nanosleep(55 * MS)
    info = sys.rt_sigtimedwait([SIGRTMIN + 2], 0)
    print(info.si_signo, info.si_code, sys.timer_getoverrun(q) >= 3)
    print(sys.timer_delete(q), err(sys.timer_delete, q), err(sys.timer_gettime, 99))
    # absolute
    now = sys.clock_gettime(CLOCK_MONOTONIC)
    sys.timer_settime(t, TIMER_ABSTIME, now + 15 * MS)
    err(sys.nanosleep, 500 * MS)
    print(sys.clock_gettime(CLOCK_MONOTONIC) - now >= 15 * MS)
    sys.timer_settime(t, TIMER_ABSTIME, 1)
    print("in the past:", err(sys.nanosleep, 5 * MS) in (0, "EINTR"), len(seen) > 4)
    # none
    n = sys.timer_create(CLOCK_MONOTONIC, (1, 0, 0))
    sys.timer_settime(n, 0, 30 * MS)
    print(0 < sys.timer_gettime(n)[0] <= 30 * MS, sys.nanosleep(40 * MS), sys.timer_gettime(n)[0])
    # default event
    d = sys.timer_create(CLOCK_MONOTONIC)
    sys.rt_sigaction(SIGALRM, lambda sys, n, info: seen.append((n, info.si_code)))
    sys.timer_settime(d, 0, MS)
    err(sys.nanosleep, 50 * MS)
    print(seen[-1])
    print(err(sys.timer_create, 55), err(sys.timer_create, 1, (0, 77, 0)), err(sys.timer_create, 1, (9, 1, 0)),
          err(sys.timer_settime, t, 0, -1))

    def child(sys):
        print("child:", err(sys.timer_gettime, t))

    sys.wait4(sys.spawn(child))
