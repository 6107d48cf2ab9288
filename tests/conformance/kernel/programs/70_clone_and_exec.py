"""clone with each flag, threads, what execve keeps, vfork, kill by group."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    # clone flags
    def st(p):
        return sys.wait4(p, 0x40000000)[1]

    f = sys.open("/tmp", O_RDONLY)

    def closer(sys):
        sys.close(f)
        return 0

    p = sys.clone(closer, flags=CLONE_FILES | SIGCHLD)
    st(p)
    print("CLONE_FILES", e(sys.fstat, f))
    f = sys.open("/tmp", O_RDONLY)
    p = sys.clone(closer, flags=SIGCHLD)
    st(p)
    print("copied", oct(sys.fstat(f).st_mode))

    def opener(sys):
        return sys.open("/", O_RDONLY | O_CLOEXEC)

    p = sys.clone(opener, flags=CLONE_FILES | SIGCHLD)
    n = st(p) >> 8
    print("opened by the child", sys.fcntl(n, F_GETFD))
    sys.close(n)

    def mover(sys):
        sys.chdir("/proc")
        sys.umask(0o055)

    sys.chdir("/tmp")
    p = sys.clone(mover, flags=CLONE_FS | SIGCHLD)
    st(p)
    print("CLONE_FS", sys.getcwd(), oct(sys.umask(0o022)))
    sys.chdir("/tmp")
    p = sys.clone(mover, flags=SIGCHLD)
    st(p)
    print(sys.getcwd(), oct(sys.umask(0o022)))
    for fl in (
        CLONE_THREAD,
        CLONE_SIGHAND,
        CLONE_THREAD | CLONE_SIGHAND,
        CLONE_NEWNS | CLONE_FS,
        CLONE_PIDFD | CLONE_DETACHED,
        CLONE_PARENT | CLONE_THREAD,
    ):
        print(hex(fl), e(sys.clone, lambda sys: 0, flags=fl | SIGCHLD))

    def parent(sys):
        def sib(sys):
            sys.write(w, b"%d" % (sys.getppid() == top))
            return 9

        k = sys.clone(sib, flags=CLONE_PARENT | SIGCHLD)
        sys.nanosleep(20 * MS)
        print("not my child", e(sys.wait4, k))
        return k & 0x7F

    top = sys.getpid()
    r, w = sys.pipe2()
    p = sys.spawn(parent)
    st(p)
    print("CLONE_PARENT", sys.read(r, 5), sys.wait4(-1)[1] >> 8, e(sys.wait4))
    W = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)

    def get(o):
        return struct.unpack("i", bytes(sys.mem[W + o : W + o + 4]))[0]

    p = sys.clone(
        lambda sys: sys.nanosleep(10 * MS),
        flags=CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
        parent_tid=W,
        child_tid=W + 4,
    )
    print("settid", get(0) == p)
    st(p)
    print(get(4) in (0, p))
    p = sys.clone(lambda sys: 3, flags=CLONE_PIDFD | SIGCHLD, parent_tid=W + 8)
    pf = get(8)
    print(
        "pidfd",
        sys.fcntl(pf, F_GETFD),
        sys.ppoll([(pf, POLLIN)], 2000 * MS) == [(pf, POLLIN)],
        sys.waitid(P_PIDFD, pf, WEXITED).si_status,
        e(sys.pidfd_send_signal, pf, 0),
        e(sys.waitid, P_PIDFD, pf, WEXITED),
    )
    # threads
    log = []
    me = sys.getpid()

    def th(sys, k):
        log.append((sys.getpid() == me, sys.gettid() != me, sys.getppid() == pp))
        sys.exit_thread(k)

    pp = sys.getppid()
    for k in range(3):
        sys.clone(th, k)
    sys.nanosleep(50 * MS)
    print("threads", log, e(sys.wait4))

    def grp(sys):
        def bad(sys):
            sys.exit_group(42)

        sys.clone(bad)
        sys.pause()

    print("exit_group in a thread", st(sys.spawn(grp)) >> 8)

    def thread_sig(sys):
        def t(sys):
            sys.nanosleep(2000 * MS)

        sys.clone(t)
        sys.nanosleep(20 * MS)
        sys.kill(sys.getpid(), SIGTERM)

    print("killed with threads", st(sys.spawn(thread_sig)))

    def fork_in_thread(sys):
        def t(sys):
            k = sys.spawn(lambda sys: (sys.getppid() == me2 and 6) or 7)
            sys.exit(sys.wait4(k)[1] >> 8)

        me2 = sys.getpid()
        sys.clone(t)
        sys.nanosleep(3000 * MS)

    print("fork in a thread", st(sys.spawn(fork_in_thread)) >> 8)

    # per-thread credentials are copied at clone, masks are per thread, dispositions shared
    def masks(sys):
        sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1])
        out = []

        def t(sys):
            out.append(sorted(sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR2])))
            sys.nanosleep(30 * MS)

        sys.clone(t)
        sys.nanosleep(15 * MS)
        print("masks", out, sorted(sys.rt_sigprocmask(SIG_BLOCK, [])), sys.rt_sigaction(SIGHUP))

    st(sys.spawn(masks))
    # exec: what goes and what stays
    fd = sys.open("/tmp/exg.py", O_CREAT | O_WRONLY | O_TRUNC, 0o755)
    sys.write(
        fd,
        b"""from userland.abi import *
def e(c, *a):
    try: return c(*a)
    except OSError as x: return errno_name(x.errno)
def main(sys, argv):
    print(argv[:1], argv[2:], dict(sys.environ), e(sys.fcntl, 20, F_GETFD), e(sys.fcntl, 21, F_GETFD), [sys.rt_sigaction(s) for s in (SIGHUP, SIGUSR1, SIGCHLD)], sorted(sys.rt_sigprocmask(SIG_BLOCK, [])), sorted(sys.rt_sigpending()), sys.getcwd(), oct(sys.umask(0)), sys.getpriority(0, 0), sys.getitimer(0)[0] > 0, sys.prctl(PR_GET_NAME), sys.sigaltstack(), sys.prlimit64(0, RLIMIT_CORE), sys.getpid() == int(argv[1]), sys.prctl(PR_GET_PDEATHSIG), e(sys.fcntl, 22, F_GETFL) == 'EBADF')
    return 17
""",
    )
    sys.close(fd)

    def ex(sys):
        sys.dup3(0, 20, 0)
        sys.dup3(0, 21, O_CLOEXEC)
        sys.fcntl(20, F_SETFD, 0)
        sys.dup2(sys.open("/tmp", O_RDONLY | O_NONBLOCK), 22)
        sys.rt_sigaction(SIGHUP, SIG_IGN)
        sys.rt_sigaction(SIGUSR1, lambda *a: None)
        sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR2, SIGTERM])
        sys.kill(sys.getpid(), SIGUSR2)
        sys.chdir("/")
        sys.umask(0o31)
        sys.setpriority(0, 0, 4)
        sys.setitimer(0, 90_000 * MS)
        sys.prlimit64(0, RLIMIT_CORE, (0, 4096))
        sys.prctl(PR_SET_PDEATHSIG, SIGHUP)
        sys.execve("/tmp/exg.py", ["a0", str(sys.getpid()), "x y"], {"K": "v=1"})

    print("exec", st(sys.spawn(ex)) >> 8)

    def ext(sys):
        def t(sys):
            sys.execve("/tmp/exg.py", ["thr", str(sys.getpid())], {})

        sys.clone(t)
        sys.pause()

    print("exec in a thread", st(sys.spawn(ext)) >> 8)
    sys.unlink("/tmp/exg.py")
    # vfork
    order = []

    def vf(sys):
        sys.nanosleep(30 * MS)
        sys.write(w, b"child ")
        return 0

    p = sys.vfork(vf)
    sys.write(w, b"parent")
    print("vfork", sys.read(r, 50), st(p))

    # setpgid, setsid, kill scopes
    def job(sys):
        sys.setpgid(0, 0)
        a = sys.spawn(lambda sys: sys.pause())
        b = sys.spawn(lambda sys: (sys.setpgid(0, 0), sys.pause()))
        sys.nanosleep(30 * MS)
        sys.rt_sigaction(SIGTERM, SIG_IGN)
        print(
            sys.kill(0, SIGTERM),
            sys.wait4(a)[1],
            sys.wait4(b, WNOHANG)[0],
            sys.kill(-b, SIGKILL),
            sys.wait4(b)[1],
            e(sys.kill, -b, 0),
            e(sys.setpgid, 0, b),
        )

    st(sys.spawn(job))
