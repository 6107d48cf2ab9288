"""sigsuspend swaps the mask atomically; ppoll, pselect6 and epoll_pwait do so too."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    me = sys.getpid()
    log = []

    def mask():
        return sorted(sys.rt_sigprocmask(SIG_BLOCK, []))

    def handler(sys, signum, info):
        log.append((signum, mask()))

    sys.rt_sigaction(SIGUSR1, handler)
    sys.rt_sigaction(SIGUSR2, handler)
    sys.rt_sigprocmask(SIG_SETMASK, [SIGUSR1, SIGUSR2])
    sys.kill(me, SIGUSR1)
    print("pending already:", err(sys.rt_sigsuspend, [SIGUSR2]), log, "after:", mask())

    log.clear()
    pid = sys.spawn(
        lambda sys: (
            (sys.nanosleep(20_000_000), sys.kill(me, SIGUSR2), sys.nanosleep(20_000_000), sys.kill(me, SIGUSR1)) and 0
        )
    )
    print("waits for the right one:", err(sys.rt_sigsuspend, [SIGUSR2]), log, "pending", sorted(sys.rt_sigpending()))
    sys.wait4(pid)
    sys.rt_sigprocmask(SIG_SETMASK, [])
    print(log)

    r, w = sys.pipe2()
    ep = sys.epoll_create1(0)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 5)
    for what, call in (
        ("ppoll", lambda: sys.ppoll([(r, POLLIN)], 1_000_000_000, [SIGUSR2])),
        ("pselect6", lambda: sys.pselect6(r + 1, [r], [], [], 1_000_000_000, [SIGUSR2])),
        ("epoll_pwait", lambda: sys.epoll_pwait(ep, 1, 1000, [SIGUSR2])),
    ):
        log.clear()
        sys.rt_sigprocmask(SIG_SETMASK, [SIGUSR1, SIGUSR2])
        sys.kill(me, SIGUSR1)
        print(what, err(call), log, mask())
        sys.write(w, b"x")
        sys.kill(me, SIGUSR1)
        log.clear()
        print(what, "ready wins:", err(call), log, sorted(sys.rt_sigpending()))
        sys.read(r, 1)
        sys.rt_sigprocmask(SIG_SETMASK, [])

    # a ping-pong that loses no wakeup
    count = [0]
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: count.__setitem__(0, count[0] + 1))
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1])

    def ponger(sys):
        got = [0]
        sys.rt_sigaction(SIGUSR1, lambda sys, n, info: got.__setitem__(0, got[0] + 1))
        for i in range(50):
            while got[0] <= i:
                err(sys.rt_sigsuspend, [])
            sys.kill(me, SIGUSR1)
        return 0

    pid = sys.spawn(ponger)
    for i in range(50):
        sys.kill(pid, SIGUSR1)
        while count[0] <= i:
            err(sys.rt_sigsuspend, [])
    print("ping-pong:", count, sys.wait4(pid)[1])
