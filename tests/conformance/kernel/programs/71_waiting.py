"""wait4 and waitid: what each option sees of stops, continuations, ends, pidfds, groups and other exit signals."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def until(sys, pid, state="S"):
    """It waits (S), is stopped (T), or has ended (Z)."""
    said = ""
    while said != state:
        sys.nanosleep(1_000_000)
        fd = sys.open("/proc/%d/stat" % pid, O_RDONLY)
        text = sys.read(fd, 1000).decode()
        sys.close(fd)
        said = text[text.rindex(")") + 2]


def main(sys, argv):
    def st(x):
        return x if isinstance(x, str) else (x[0] > 0 if x[0] else 0, hex(x[1]))

    def wi(x):
        if x is None or isinstance(x, str):
            return x
        return (x.si_signo, x.si_code, x.si_status, x.si_pid > 0, x.si_uid)

    def sleeper(sys):
        sys.nanosleep(10**12)

    def leaver(sys, n):
        sys.exit(n)

    print(
        "none",
        e(sys.wait4, -1, 0),
        e(sys.wait4, 1, WNOHANG),
        e(sys.wait4, 0, 0),
        e(sys.wait4, -99999, 0),
        e(sys.wait4, -2147483648, 0),
        e(sys.waitid, P_ALL, 0, 0),
        e(sys.waitid, P_ALL, 0, WEXITED),
        e(sys.waitid, 77, 0, WEXITED),
        e(sys.waitid, P_PID, -1, WEXITED),
        e(sys.waitid, P_PID, 0, WEXITED),
        e(sys.waitid, P_PGID, -1, WEXITED),
        e(sys.waitid, P_PIDFD, 99, WEXITED),
        e(sys.waitid, P_ALL, 0, 0x100),
        e(sys.wait4, -1, 0x100),
        e(sys.waitid, P_PGID, 0, WEXITED),
    )
    p = sys.spawn(sleeper)
    until(sys, p)
    for opts in (
        WNOHANG,
        WNOHANG | WUNTRACED,
        WNOHANG | WCONTINUED,
        WNOHANG | WUNTRACED | WCONTINUED,
        WNOHANG | 0x20000000,
        WNOHANG | 0x40000000,
        WNOHANG | 0x80000000,
        WNOHANG | WNOWAIT,
        WNOHANG | WEXITED,
    ):
        print(hex(opts), st(e(sys.wait4, p, opts)))
    for sig in (SIGSTOP, SIGCONT, SIGSTOP, SIGSTOP, SIGCONT, SIGCONT, SIGTSTP, SIGTTIN, SIGCONT):
        sys.kill(p, sig)
        until(sys, p, "S" if sig == SIGCONT else "T")
        print(
            sig,
            "waitid nowait",
            wi(e(sys.waitid, P_PID, p, WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT)),
            wi(e(sys.waitid, P_PID, p, WSTOPPED | WNOHANG | WNOWAIT)),
            wi(e(sys.waitid, P_PID, p, WCONTINUED | WNOHANG | WNOWAIT)),
            "wait4",
            st(sys.wait4(p, WNOHANG)),
            st(sys.wait4(p, WNOHANG | WCONTINUED)),
            st(sys.wait4(p, WNOHANG | WUNTRACED)),
            st(sys.wait4(p, WNOHANG | WUNTRACED)),
            wi(sys.waitid(P_ALL, 0, WEXITED | WNOHANG)),
        )
    sys.kill(p, SIGSTOP)
    until(sys, p, "T")
    sys.kill(p, SIGKILL)
    print("killed while stopped", st(sys.wait4(p, WUNTRACED)))
    p = sys.spawn(sleeper)
    fd = sys.pidfd_open(p)
    print("pidfd", wi(e(sys.waitid, P_PIDFD, fd, WEXITED | WNOHANG)))
    sys.kill(p, SIGSTOP)
    until(sys, p, "T")
    print(wi(e(sys.waitid, P_PIDFD, fd, WEXITED | WSTOPPED)), sys.ppoll([(fd, POLLIN)], 0))
    sys.kill(p, SIGTERM)
    sys.nanosleep(10 * MS)
    print("TERM while stopped", wi(e(sys.waitid, P_PIDFD, fd, WEXITED | WNOHANG)))
    sys.kill(p, SIGCONT)
    print(
        wi(e(sys.waitid, P_PIDFD, fd, WEXITED)),
        sys.ppoll([(fd, POLLIN)], 0) != [],
        e(sys.waitid, P_PIDFD, fd, WEXITED),
        e(sys.pidfd_send_signal, fd, 0),
    )
    # two groups
    a = sys.spawn(leaver, 1)
    sys.setpgid(a, a)
    b = sys.spawn(leaver, 2)
    c = sys.spawn(leaver, 300)
    for q in (a, b, c):
        until(sys, q, "Z")
    print(
        "groups",
        st(e(sys.wait4, -a, 0)),
        e(sys.wait4, -a, 0),
        wi(sys.waitid(P_PID, b, WEXITED | WNOWAIT)),
        wi(sys.waitid(P_PID, b, WEXITED | WNOWAIT)),
        st(sys.wait4(0, 0))[1] in ("0x200", "0x2c00"),
        st(sys.wait4(-1, 0))[1] in ("0x200", "0x2c00"),
        e(sys.wait4, -1, 0),
    )
    # signals with and without core, status of each
    for sig in (
        SIGHUP,
        SIGQUIT,
        SIGABRT,
        SIGSEGV,
        SIGUSR1,
        SIGPIPE,
        SIGALRM,
        SIGXCPU,
        SIGSYS,
        SIGRTMIN,
        SIGRTMAX,
        SIGPWR,
        SIGSTKFLT,
        SIGIO,
        SIGVTALRM,
    ):
        p = sys.spawn(sleeper)
        sys.nanosleep(5 * MS)
        sys.kill(p, sig)
        i = sys.waitid(P_PID, p, WEXITED | WNOWAIT)
        print(sig, wi(i), st(sys.wait4(p)))
    # clone with another exit signal
    got = []
    sys.rt_sigaction(SIGUSR1, lambda s, n, i: got.append((n, i.si_code, i.si_status)))
    sys.rt_sigaction(SIGCHLD, lambda s, n, i: got.append((n, i.si_code, i.si_status)))
    p = sys.clone(leaver, 3, flags=SIGUSR1)
    e(until, sys, p, "Z")
    e(sys.nanosleep, 30 * MS)
    print(
        "exit signal",
        got,
        st(e(sys.wait4, p, WNOHANG)),
        st(e(sys.wait4, p, WNOHANG | 0x80000000)),
        e(sys.wait4, -1, WNOHANG),
    )
    p = sys.clone(leaver, 4, flags=0)
    until(sys, p, "Z")
    e(sys.nanosleep, 30 * MS)
    print(
        "no signal",
        got,
        e(sys.waitid, P_PID, p, WEXITED | WNOHANG),
        wi(e(sys.waitid, P_PID, p, WEXITED | WNOHANG | 0x40000000)),
    )
    sys.rt_sigaction(SIGCHLD, SIG_IGN)
    p = sys.spawn(leaver, 5)
    print("ignored", e(sys.wait4, p))
    p = sys.clone(leaver, 6, flags=SIGUSR2)
    sys.rt_sigaction(SIGUSR2, SIG_IGN)
    e(sys.nanosleep, 30 * MS)
    print("ignored usr2", st(e(sys.wait4, p, 0x40000000)))
    # a thread's child may be waited for by another thread, not with __WNOTHREAD
    sys.rt_sigaction(SIGCHLD, SIG_DFL)
    p = sys.spawn(leaver, 7)
    out = []

    def th(sys):
        out.append(e(sys.wait4, p, 0x20000000))
        out.append(st(e(sys.wait4, p, 0)))
        sys.exit_thread(0)

    t = sys.clone(th, flags=CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
    sys.nanosleep(100 * MS)
    print("thread", out)
    # rusage of waited children
    r0 = sys.getrusage(RUSAGE_CHILDREN)

    def burn(sys):
        sys.cpu(30 * MS)

    p = sys.spawn(burn)
    _, _, ru = sys.wait4(p)
    r1 = sys.getrusage(RUSAGE_CHILDREN)
    print(
        "rusage",
        ru.ru_utime + ru.ru_stime >= 29 * MS,
        (r1.ru_utime + r1.ru_stime) - (r0.ru_utime + r0.ru_stime) >= 29 * MS,
    )
