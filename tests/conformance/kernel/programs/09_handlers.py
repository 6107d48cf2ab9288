"""The mask of a handler, SA_NODEFER, nesting, SA_RESETHAND, sigaltstack, and what is restored."""

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

    def show(sys, signum, info):
        log.append((signum, mask()))

    sys.rt_sigaction(SIGUSR1, show, 0, [SIGTERM, SIGHUP])
    sys.kill(me, SIGUSR1)
    print("mask of a handler:", log, "after:", mask())

    log.clear()
    sys.rt_sigaction(SIGUSR1, show, SA_NODEFER, [SIGTERM])
    sys.kill(me, SIGUSR1)
    print("SA_NODEFER:", log)

    log.clear()
    depth = [0]

    def nested(sys, signum, info):
        depth[0] += 1
        log.append(("in", depth[0]))
        if depth[0] < 3:
            sys.kill(me, signum)
        log.append(("out", depth[0]))
        depth[0] -= 1

    sys.rt_sigaction(SIGUSR1, nested, SA_NODEFER)
    sys.kill(me, SIGUSR1)
    print("nested:", log)

    log.clear()

    def deferred(sys, signum, info):
        log.append("in")
        if len(log) < 3:
            sys.kill(me, signum)
        log.append("out")

    sys.rt_sigaction(SIGUSR1, deferred)
    sys.kill(me, SIGUSR1)
    print("deferred:", log)

    log.clear()
    sys.rt_sigaction(SIGUSR1, show, SA_RESETHAND)
    sys.kill(me, SIGUSR1)
    print("SA_RESETHAND:", log, sys.rt_sigaction(SIGUSR1))

    # what a handler does to the mask is undone when it returns
    def blocker(sys, signum, info):
        sys.rt_sigprocmask(SIG_SETMASK, [SIGALRM, SIGQUIT])

    sys.rt_sigprocmask(SIG_SETMASK, [SIGWINCH])
    sys.rt_sigaction(SIGUSR1, blocker)
    sys.kill(me, SIGUSR1)
    print("restored:", mask())
    sys.rt_sigprocmask(SIG_SETMASK, [])

    # two at once: the frame of the second lies over the first's
    log.clear()

    def order(sys, signum, info):
        log.append(("begin", signum))
        sys.getpid()
        log.append(("end", signum))

    for signum in (SIGUSR1, SIGUSR2, 40, 41):
        sys.rt_sigaction(signum, order)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2, 40, 41])
    for signum in (41, SIGUSR2, 40, SIGUSR1):
        sys.kill(me, signum)
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGUSR1, SIGUSR2, 40, 41])
    print("together:", log)

    log.clear()
    for signum in (SIGUSR1, SIGUSR2):
        sys.rt_sigaction(signum, order, 0, [SIGUSR1, SIGUSR2])
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2])
    sys.kill(me, SIGUSR2)
    sys.kill(me, SIGUSR1)
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGUSR1, SIGUSR2])
    print("with masks:", log)

    # who sent it, and what with
    log.clear()

    def info_of(sys, signum, info):
        log.append((signum, info.si_signo, info.si_code, info.si_pid == me, info.si_uid, info.si_value))

    sys.rt_sigaction(SIGUSR1, info_of, SA_SIGINFO)
    sys.rt_sigaction(40, info_of, SA_SIGINFO)
    sys.kill(me, SIGUSR1)
    sys.tgkill(me, sys.gettid(), SIGUSR1)
    sys.rt_sigqueueinfo(me, SIGUSR1, 77)
    sys.rt_sigqueueinfo(me, 40, -5)
    print("info:", log)
    log.clear()
    sys.rt_sigaction(SIGALRM, lambda sys, n, info: log.append((n, info.si_code)))
    sys.setitimer(ITIMER_REAL, 5_000_000)
    err(sys.pause)
    print("timer:", log)

    # dispositions
    print(
        "old:",
        sys.rt_sigaction(SIGALRM, SIG_IGN) is not None,
        sys.rt_sigaction(SIGALRM, SIG_DFL),
        sys.rt_sigaction(SIGALRM),
    )
    print("numbers:", err(sys.rt_sigaction, 0, SIG_DFL), err(sys.rt_sigaction, 65, SIG_DFL), err(sys.rt_sigaction, -1))
    print("how:", err(sys.rt_sigprocmask, 9, [SIGUSR1]))

    # sigaltstack
    print("none:", sys.sigaltstack())
    print("too small:", err(sys.sigaltstack, (0x10000, 0, 100)), "bad flags:", err(sys.sigaltstack, (0x10000, 8, 9000)))
    sys.sigaltstack((0x10000, 0, 9000))
    print("set:", sys.sigaltstack())
    log.clear()

    def stacked(sys, signum, info):
        log.append((sys.sigaltstack(), err(sys.sigaltstack, (0, SS_DISABLE, 0))))

    sys.rt_sigaction(SIGUSR2, stacked, SA_ONSTACK)
    sys.kill(me, SIGUSR2)
    sys.rt_sigaction(SIGUSR2, lambda sys, n, i: log.append(sys.sigaltstack()), 0)
    sys.kill(me, SIGUSR2)
    print(log)
    sys.sigaltstack((0, SS_DISABLE, 0))
    print("off:", sys.sigaltstack())

    # a handler that raises ends what was under way
    def thrower(sys, signum, info):
        raise KeyError("out of a handler")

    sys.rt_sigaction(SIGUSR1, thrower)
    try:
        sys.kill(me, SIGUSR1)
    except KeyError as error:
        print("thrown:", error, mask())
    return 0
