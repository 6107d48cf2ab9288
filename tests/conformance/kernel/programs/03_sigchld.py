"""SIGCHLD is sent at the end, the stop and the continuation of a child; ignoring it reaps."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


NAMES = {1: "EXITED", 2: "KILLED", 3: "DUMPED", 4: "TRAPPED", 5: "STOPPED", 6: "CONTINUED"}


def sleeper(sys):
    while True:
        sys.pause()


def main(sys, argv):
    seen = []

    def handler(sys, signum, info):
        seen.append((signum, NAMES.get(info.si_code), info.si_pid, info.si_status, info.si_uid))

    def wait_for(n):
        for _ in range(2000):
            if len(seen) >= n:
                return
            try:
                sys.nanosleep(1_000_000)
            except InterruptedError:
                pass

    sys.rt_sigaction(SIGCHLD, handler, SA_RESTART)
    pid = sys.spawn(lambda sys: 4)
    wait_for(1)
    print([(s, c, p == pid, st, u) for s, c, p, st, u in seen])
    print(hex(sys.wait4(pid)[1]))
    seen.clear()
    pid = sys.spawn(sleeper)
    sys.kill(pid, SIGSTOP)
    wait_for(1)
    sys.kill(pid, SIGCONT)
    wait_for(2)
    sys.kill(pid, SIGKILL)
    wait_for(3)
    print([(c, p == pid, st) for s, c, p, st, u in seen])
    print(hex(sys.wait4(pid)[1]))

    seen.clear()
    sys.rt_sigaction(SIGCHLD, handler, SA_RESTART | SA_NOCLDSTOP)
    pid = sys.spawn(sleeper)
    sys.kill(pid, SIGSTOP)
    print("SA_NOCLDSTOP:", hex(sys.wait4(pid, WUNTRACED)[1]), seen)
    sys.kill(pid, SIGKILL)
    wait_for(1)
    print([(c, st) for s, c, p, st, u in seen])
    sys.wait4(pid)

    seen.clear()
    sys.rt_sigaction(SIGCHLD, handler, SA_RESTART | SA_NOCLDWAIT)
    pid = sys.spawn(lambda sys: 4)
    print("SA_NOCLDWAIT:", err(sys.wait4, pid, 0))
    wait_for(1)
    print("the signal is sent all the same:", [(c, st) for s, c, p, st, u in seen], err(sys.kill, pid, 0))

    sys.rt_sigaction(SIGCHLD, SIG_IGN)
    pids = [sys.spawn(lambda sys: (sys.nanosleep(5_000_000), 1)[1]) for _ in range(3)]
    print("ignored:", err(sys.wait4, -1, 0), [err(sys.kill, p, 0) for p in pids])
    sys.rt_sigaction(SIGCHLD, SIG_DFL)
    pid = sys.spawn(lambda sys: 1)
    sys.nanosleep(10_000_000)
    print("default keeps the zombie:", hex(sys.wait4(pid)[1]))

    # blocked: it stays pending, and coalesces
    sys.rt_sigaction(SIGCHLD, handler)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGCHLD])
    seen.clear()
    for n in range(3):
        sys.wait4(sys.spawn(lambda sys: 1))
    print("pending:", SIGCHLD in sys.rt_sigpending(), len(seen))
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGCHLD])
    print("once:", len(seen))

    # clone with another exit signal
    got = []
    sys.rt_sigaction(SIGCHLD, SIG_DFL)
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: got.append((n, info.si_code)))
    pid = sys.clone(lambda sys: sys.exit(2), flags=SIGUSR1)
    for _ in range(1000):
        if got:
            break
        err(sys.nanosleep, 1_000_000)
    print("exit signal SIGUSR1:", got, err(sys.wait4, pid, 0), hex(sys.wait4(pid, 0x40000000)[1]))
