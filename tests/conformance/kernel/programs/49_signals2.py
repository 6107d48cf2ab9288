"""Signals once more: queues and their order, limits, masks of threads, siginfo, altstack rules, what exec and fork keep."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    me = sys.getpid()
    got = []

    def handler(sys, n, info):
        got.append((n, info.si_code, info.si_pid == me, info.si_value))

    every = [SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2]
    for n in every:
        sys.rt_sigaction(n, handler, 0, every)
    sys.rt_sigprocmask(SIG_BLOCK, every)
    for n, v in ((SIGRTMIN + 1, 1), (SIGUSR2, 2), (SIGRTMIN + 1, 3), (SIGRTMIN, 4), (SIGUSR1, 5), (SIGUSR2, 6), (SIGRTMIN + 1, 7)):
        sys.rt_sigqueueinfo(me, n, v)
    sys.kill(me, SIGRTMIN + 2)
    sys.tgkill(me, me, SIGUSR1)
    print(sorted(sys.rt_sigpending()))
    sys.rt_sigprocmask(SIG_UNBLOCK, every)
    print(got)
    got.clear()
    # taken one by one
    sys.rt_sigprocmask(SIG_BLOCK, every)
    for v in (1, 2, 3):
        sys.rt_sigqueueinfo(me, SIGRTMIN, v)
    sys.kill(me, SIGUSR1)
    taken = []
    for _ in range(4):
        info = sys.rt_sigtimedwait([SIGRTMIN, SIGUSR1], 0)
        taken.append((info.si_signo, info.si_code, info.si_value))
    print(taken, err(sys.rt_sigtimedwait, [SIGRTMIN], 0), err(sys.rt_sigtimedwait, [SIGRTMIN], 5 * MS), got)
    # limits
    def limited(sys):
        sys.rt_sigprocmask(SIG_BLOCK, every)
        sys.setuid(4321)
        sys.prlimit64(0, RLIMIT_SIGPENDING, (3, 3))
        print([err(sys.rt_sigqueueinfo, sys.getpid(), SIGRTMIN, v) for v in range(5)], err(sys.kill, sys.getpid(), SIGUSR1), len(sys.rt_sigpending()))
    sys.wait4(sys.spawn(limited))
    # ignored while pending: gone
    sys.kill(me, SIGUSR1)
    sys.rt_sigaction(SIGUSR1, SIG_IGN)
    sys.rt_sigaction(SIGUSR1, handler)
    print("ignored:", sys.rt_sigpending() & set(every))
    # blocked and ignored: SIGCHLD default is kept pending?
    sys.rt_sigprocmask(SIG_BLOCK, [SIGCHLD, SIGURG])
    sys.kill(me, SIGURG)
    print("default-ignored but blocked:", sorted(sys.rt_sigpending()))
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGCHLD, SIGURG])
    # child: pending not inherited, mask is
    sys.kill(me, SIGUSR2)
    def child(sys):
        print("child:", sorted(sys.rt_sigpending()), sorted(sys.rt_sigprocmask(SIG_BLOCK, [])), sys.rt_sigaction(SIGUSR2) is not None)
    sys.wait4(sys.spawn(child))
    sys.rt_sigtimedwait([SIGUSR2], 0)
    # errors
    print(err(sys.kill, me, 65), err(sys.kill, me, -1), err(sys.kill, 999999, 0), err(sys.kill, 999999, 99), err(sys.tgkill, me, 999999, 1),
          err(sys.tgkill, -1, 5, 1), err(sys.tgkill, me, 0, 1), err(sys.tkill, 0, 1), err(sys.rt_sigqueueinfo, me, 99, 0),
          err(sys.rt_sigaction, SIGKILL, SIG_IGN), err(sys.rt_sigaction, SIGSTOP, SIG_DFL), err(sys.rt_sigaction, 65), err(sys.rt_sigaction, 0),
          err(sys.rt_sigprocmask, 9, [1]), sys.rt_sigaction(SIGKILL))
    sys.rt_sigprocmask(SIG_SETMASK, [SIGKILL, SIGSTOP, SIGUSR1])
    print("unblockable:", sorted(sys.rt_sigprocmask(SIG_SETMASK, [])))
    # nesting
    trail = []
    def outer(sys, n, info):
        trail.append("in %d" % n)
        if len(trail) < 6:
            sys.kill(me, SIGUSR2 if n == SIGUSR1 else SIGUSR1)
        trail.append("out %d" % n)
    sys.rt_sigaction(SIGUSR1, outer)
    sys.rt_sigaction(SIGUSR2, outer)
    sys.kill(me, SIGUSR1)
    print(trail)
    deep = []
    def again(sys, n, info):
        deep.append(sorted(sys.rt_sigprocmask(SIG_BLOCK, [])))
        if len(deep) < 3:
            sys.kill(me, n)
    sys.rt_sigaction(SIGUSR1, again, SA_NODEFER, [SIGTERM])
    sys.kill(me, SIGUSR1)
    print("nodefer:", deep)
    once = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: once.append(sys.rt_sigaction(SIGUSR1)), SA_RESETHAND)
    sys.kill(me, SIGUSR1)
    print("resethand:", once, sys.rt_sigaction(SIGUSR1))
    # altstack
    a = sys.mmap(0, 65536, 3, 0x22)
    print(sys.sigaltstack(), err(sys.sigaltstack, (a, 0, 100)), err(sys.sigaltstack, (a, 9, 65536)))
    sys.sigaltstack((a, 0, 65536))
    def on_stack(sys, n, info):
        print("on it:", sys.sigaltstack()[1], err(sys.sigaltstack, (a, 0, 65536)))
    sys.rt_sigaction(SIGUSR1, on_stack, SA_ONSTACK)
    sys.kill(me, SIGUSR1)
    print(sys.sigaltstack()[1:], sys.sigaltstack((0, SS_DISABLE, 0))[1], sys.sigaltstack())
    # stop signals and SIGCONT cancel
    def stops(sys):
        sys.rt_sigprocmask(SIG_BLOCK, [SIGTSTP, SIGCONT])
        me = sys.getpid()
        sys.kill(me, SIGTSTP)
        print(sorted(sys.rt_sigpending()))
        sys.kill(me, SIGCONT)
        print(sorted(sys.rt_sigpending()))
        sys.kill(me, SIGTSTP)
        print(sorted(sys.rt_sigpending()))
    sys.wait4(sys.spawn(stops))
    # SIGCHLD with and without NOCLDSTOP
    told = []
    for flags in (0, SA_NOCLDSTOP):
        sys.rt_sigaction(SIGCHLD, lambda sys, n, info: told.append((info.si_code, info.si_status)), flags | SA_RESTART)
        pid = sys.spawn(lambda sys: sys.nanosleep(10**9))
        err(sys.nanosleep, 50 * MS)
        sys.kill(pid, SIGSTOP)
        sys.wait4(pid, WUNTRACED)
        sys.kill(pid, SIGCONT)
        sys.wait4(pid, WCONTINUED)
        err(sys.nanosleep, 100 * MS)
        sys.kill(pid, SIGKILL)
        sys.wait4(pid)
        print(told)
        told.clear()
