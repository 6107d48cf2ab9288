"""Credentials: set-id execve, no_new_privs, capabilities across uid changes, dumpable and parent-death signals."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    def drops(sys):
        print("start", [m != 0 for m in sys.capget()], sys.prctl(PR_GET_DUMPABLE))
        sys.setresuid(-1, 1000, -1)
        print("euid", [m != 0 for m in sys.capget()], sys.prctl(PR_GET_DUMPABLE), err(sys.setgroups, [1]))
        sys.setresuid(-1, 0, -1)
        print("back", [m != 0 for m in sys.capget()], sys.prctl(PR_GET_DUMPABLE))
        sys.setuid(1000)
        print("gone", [m != 0 for m in sys.capget()], err(sys.setuid, 0), err(sys.setresuid, 0, -1, -1), sys.getresuid())
        print(err(sys.setgid, 5), err(sys.setgroups, []), err(sys.kill, sys.getppid(), 0), err(sys.chroot, "/"), err(sys.sethostname, "x"))

    sys.wait4(sys.spawn(drops))

    def keeps(sys):
        sys.prctl(PR_SET_KEEPCAPS, 1)
        sys.setresuid(1000, 1000, 1000)
        e, p, i = sys.capget()
        print("keep", e == 0, p != 0, sys.capset(p, p, 0), err(sys.setgid, 7), sys.getgid())

    sys.wait4(sys.spawn(keeps))

    def ids(sys):
        print(sys.setreuid(1, 2), sys.getresuid(), err(sys.setreuid, 3, -1), sys.setreuid(2, 1), sys.getresuid())
        print(sys.setfsuid(5), sys.setfsuid(-1), err(sys.setregid, 1, 1))

    sys.wait4(sys.spawn(ids))

    def parent_dies(sys):
        r, w = sys.pipe2()
        def grandchild(sys):
            sys.rt_sigaction(SIGUSR1, lambda sys, n, info: sys.write(w, b"told %d" % n))
            sys.prctl(PR_SET_PDEATHSIG, SIGUSR1)
            sys.write(w, b"ready")
            try:
                sys.nanosleep(2_000_000_000)
            except OSError:
                pass
        def middle(sys):
            sys.spawn(grandchild)
            sys.read(r, 10)
        sys.wait4(sys.spawn(middle))
        print(sys.read(r, 10))

    sys.wait4(sys.spawn(parent_dies))
    print(err(sys.prctl, PR_SET_PDEATHSIG, 99), err(sys.prctl, 9999), err(sys.prctl, PR_SET_NO_NEW_PRIVS, 0), err(sys.prctl, PR_SET_DUMPABLE, 5))
