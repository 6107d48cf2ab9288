"""SIGKILL and SIGSTOP; coalescing; real-time signals in order."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    me = sys.getpid()
    for signum in (SIGKILL, SIGSTOP):
        print(
            signum,
            err(sys.rt_sigaction, signum, SIG_IGN),
            err(sys.rt_sigaction, signum, SIG_DFL),
            err(sys.rt_sigaction, signum, lambda *a: None),
            sys.rt_sigaction(signum),
        )
    sys.rt_sigprocmask(SIG_BLOCK, range(1, 65))
    held = sys.rt_sigprocmask(SIG_SETMASK, [])
    print("never blocked:", SIGKILL in held, SIGSTOP in held, SIGTERM in held, 64 in held)

    def all_blocked(sys):
        sys.rt_sigprocmask(SIG_BLOCK, range(1, 65))
        while True:
            sys.nanosleep(1_000_000_000)

    pid = sys.spawn(all_blocked)
    sys.nanosleep(10_000_000)
    sys.kill(pid, SIGTERM)
    sys.kill(pid, SIGSTOP)
    print(hex(sys.wait4(pid, WUNTRACED)[1]))
    sys.kill(pid, SIGCONT)
    print("SIGCONT works though blocked:", hex(sys.wait4(pid, WCONTINUED)[1]))
    sys.kill(pid, SIGKILL)
    print(hex(sys.wait4(pid)[1]))

    log = []

    def handler(sys, signum, info):
        log.append((signum, info.si_value))

    for signum in (SIGUSR1, SIGUSR2, 40, 41):
        sys.rt_sigaction(signum, handler)
    block = [SIGUSR1, SIGUSR2, 40, 41]
    sys.rt_sigprocmask(SIG_BLOCK, block)
    for n in range(3):
        sys.rt_sigqueueinfo(me, SIGUSR1, n)
    for n in range(5):
        sys.rt_sigqueueinfo(me, 40, n)
    print("pending:", sorted(sys.rt_sigpending()))
    sys.rt_sigprocmask(SIG_UNBLOCK, block)
    print(log)

    # taken synchronously: lowest first, the queue in order
    sys.rt_sigprocmask(SIG_BLOCK, block)
    for n, signum in enumerate((41, 40, SIGUSR2, 40, SIGUSR1, 41)):
        sys.rt_sigqueueinfo(me, signum, n)
    for _ in range(6):
        info = sys.rt_sigtimedwait(block, 0)
        print(info.si_signo, info.si_value, info.si_code, info.si_pid == me)
    print("none left:", err(sys.rt_sigtimedwait, block, 0), err(sys.rt_sigtimedwait, block, 5_000_000))

    # stop signals and SIGCONT cancel each other
    sys.rt_sigprocmask(SIG_BLOCK, [SIGTSTP, SIGCONT])
    sys.rt_sigaction(SIGCONT, handler)
    sys.kill(me, SIGTSTP)
    print(sorted(sys.rt_sigpending()))
    sys.kill(me, SIGCONT)
    print(sorted(sys.rt_sigpending()))
    sys.kill(me, SIGTSTP)
    print(sorted(sys.rt_sigpending()))
    sys.rt_sigaction(SIGTSTP, SIG_IGN)
    print("ignoring drops what is pending:", sorted(sys.rt_sigpending()))
    sys.rt_sigaction(SIGTSTP, SIG_DFL)

    # blocked and ignored: kept while blocked? (Linux keeps it)
    sys.rt_sigaction(SIGUSR1, SIG_IGN)
    sys.kill(me, SIGUSR1)
    print("blocked and ignored:", sorted(sys.rt_sigpending()))
    sys.rt_sigaction(SIGUSR1, SIG_DFL)
    print("kept over SIG_DFL:", sorted(sys.rt_sigpending()))
    print("taken:", sys.rt_sigtimedwait([SIGUSR1], 0).si_signo)

    # default actions
    for signum in (SIGCHLD, SIGURG, SIGWINCH, SIGCONT):
        sys.rt_sigaction(signum, SIG_DFL)
        sys.kill(me, signum)
    print("ignored by default")

    # limits
    sys.prlimit64(0, RLIMIT_SIGPENDING, (3, 3))
    sent = []
    for n in range(5):
        sent.append(err(sys.rt_sigqueueinfo, me, 40, n))
    print("RLIMIT_SIGPENDING:", sent[-1], err(sys.kill, me, 40))
    print(
        err(sys.rt_sigqueueinfo, me, 65, 0),
        err(sys.rt_sigqueueinfo, 1 << 22, 40, 0),
        err(sys.tgkill, me, 0, 1),
        err(sys.tgkill, me, 1 << 22, SIGTERM),
    )
