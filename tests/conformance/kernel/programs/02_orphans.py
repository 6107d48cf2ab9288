"""Orphans go to init or to the nearest subreaper."""

from userland.abi import *


def orphan(sys, out, parent):
    while sys.getppid() == parent:
        sys.nanosleep(1_000_000)
    sys.write(out, b"%d\n" % sys.getppid())


def middle(sys, out):
    sys.spawn(orphan, out, sys.getpid())


def read_number(sys, fd):
    return int(sys.read(fd, 100))


def grandparent(sys, out):
    sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
    print("subreaper:", sys.prctl(PR_GET_CHILD_SUBREAPER))
    pid = sys.spawn(lambda sys: sys.exit(sys.prctl(PR_GET_CHILD_SUBREAPER)))
    print("not inherited:", sys.wait4(pid)[1] >> 8)
    r, w = sys.pipe2()
    pid = sys.spawn(middle, w)
    sys.wait4(pid)
    print("to the subreaper:", read_number(sys, r) == sys.getpid())
    got, status, _ = sys.wait4()
    print("which reaps it:", got != pid, status)
    try:
        sys.wait4()
    except ChildProcessError:
        print("nothing left")


def with_two(sys, first, second):
    """Two generations at once: a zombie and a living child are handed on."""
    sys.spawn(lambda sys: 9)
    sys.spawn(lambda sys: (sys.nanosleep(30_000_000), 8)[1])
    sys.nanosleep(10_000_000)


def main(sys, argv):
    r, w = sys.pipe2()
    pid = sys.spawn(grandparent, w)
    print("status", sys.wait4(pid)[1])
    sys.prctl(PR_SET_CHILD_SUBREAPER, 1)
    pid = sys.spawn(with_two, 0, 0)
    sys.wait4(pid)
    print(sorted(sys.wait4()[1] >> 8 for _ in range(2)))

    # PR_SET_PDEATHSIG
    def child(sys, out):
        def handler(sys, signum, info):
            sys.write(out, b"parent died: %d\n" % signum)
        sys.rt_sigaction(SIGUSR1, handler)
        sys.prctl(PR_SET_PDEATHSIG, SIGUSR1)
        sys.write(out, b"%d\n" % sys.prctl(PR_GET_PDEATHSIG))
        try:
            sys.pause()
        except InterruptedError:
            pass

    def parent(sys, out, r):
        sys.spawn(child, out)
        sys.nanosleep(30_000_000)

    r, w = sys.pipe2()
    sys.wait4(sys.spawn(parent, w, r))
    sys.wait4()
    print(sys.read(r, 100))
