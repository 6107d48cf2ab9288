"""Queued signals: order, values, RLIMIT_SIGPENDING, who may send to whom."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    # real-time ordering, queue and values
    log = []

    def h(sys, n, i):
        log.append((n - SIGRTMIN if n >= SIGRTMIN else -n, i.si_code, i.si_value))

    for s in (SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2, SIGUSR1, SIGUSR2):
        sys.rt_sigaction(s, h, 0, [SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2, SIGUSR1, SIGUSR2])
    me = sys.getpid()
    sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2, SIGUSR1, SIGUSR2])
    for s, v in (
        (SIGRTMIN + 2, 1),
        (SIGRTMIN, 2),
        (SIGRTMIN + 1, 3),
        (SIGRTMIN, 4),
        (SIGUSR2, 5),
        (SIGUSR1, 6),
        (SIGUSR1, 7),
    ):
        sys.rt_sigqueueinfo(me, s, v)
    sys.kill(me, SIGRTMIN)
    sys.tgkill(me, sys.gettid(), SIGRTMIN)
    print(sorted(sys.rt_sigpending()))
    sys.rt_sigprocmask(SIG_SETMASK, [])
    print(log)
    # sigtimedwait takes the lowest
    sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN + 3, SIGRTMIN + 4, SIGHUP])
    sys.rt_sigqueueinfo(me, SIGRTMIN + 4, 1)
    sys.rt_sigqueueinfo(me, SIGRTMIN + 3, 2)
    sys.kill(me, SIGHUP)
    for _ in range(3):
        i = sys.rt_sigtimedwait([SIGRTMIN + 3, SIGRTMIN + 4, SIGHUP])
        print(i.si_signo, i.si_code, i.si_value, i.si_pid == me, i.si_uid)

    sys.setresuid(7654, 7654, 0)
    sys.prlimit64(0, RLIMIT_SIGPENDING, (3, 3))
    print([e(sys.rt_sigqueueinfo, me, SIGRTMIN + 3, v) for v in range(6)])
    print(e(sys.kill, me, SIGRTMIN + 3), e(sys.rt_sigqueueinfo, me, SIGHUP, 9), e(sys.kill, me, SIGHUP))
    out = []
    while not isinstance(i := e(sys.rt_sigtimedwait, [SIGRTMIN + 3, SIGHUP], 0), str):
        out.append((i.si_signo, i.si_code, i.si_value))
    print(out, i)
    sys.setresuid(0, 0, 0)
    print(
        e(sys.rt_sigqueueinfo, 999999, 0, 1),
        e(sys.rt_sigqueueinfo, me, 65, 1),
        e(sys.rt_sigqueueinfo, me, -1, 1),
        e(sys.kill, me, 65),
        e(sys.kill, me, -1),
        e(sys.tgkill, me, 0, 1),
        e(sys.tgkill, -1, me, 0),
        e(sys.tgkill, 1, me, 0),
        e(sys.tkill, 0, 0),
        e(sys.tkill, me, 0),
        e(sys.kill, 999999, 0),
        e(sys.kill, -999999, 0),
    )
    kid = sys.spawn(lambda sys: sys.nanosleep(5000 * MS))

    def weak(sys):
        sys.setuid(4321)
        print(
            e(sys.kill, kid, 0),
            e(sys.kill, kid, SIGCONT),
            e(sys.rt_sigqueueinfo, kid, SIGUSR1, 0),
            e(sys.kill, 1, 0),
            e(sys.kill, -1, 0),
            e(sys.kill, me, SIGCONT),
        )

    sys.wait4(sys.spawn(weak))

    def weak2(sys):
        sys.setresuid(4321, 4322, 4323)

        def sender(sys, r, ee, s):
            sys.setresuid(r, ee, s)
            return 0 if e(sys.kill, t, 0) == 0 else 1

        t = sys.getpid()

    # kill rule: sender's real or effective against target's real or saved
    def target(sys):
        sys.setresuid(100, 200, 300)
        sys.nanosleep(5000 * MS)

    t = sys.spawn(target)
    sys.nanosleep(20 * MS)
    for ids in ((100, 1, 1), (200, 1, 1), (300, 1, 1), (1, 100, 1), (1, 200, 1), (1, 300, 1), (1, 1, 100), (1, 1, 300)):

        def sender(sys, ids):
            sys.setresuid(*ids)
            print(ids, e(sys.kill, t, 0))

        sys.wait4(sys.spawn(sender, ids))
    sys.kill(t, SIGKILL)
    sys.kill(kid, SIGKILL)
    sys.wait4(t)
    sys.wait4(kid)
