"""prctl; capabilities across set*id with securebits, the ambient and the bounding set; ids by every call."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    P = sys.prctl

    def fork(f):
        p = sys.spawn(f)
        return hex(sys.wait4(p)[1])

    print(
        "name",
        e(P, PR_SET_NAME, "a-very-long-name-indeed"),
        e(P, PR_GET_NAME),
        sys.read(sys.open("/proc/self/comm", O_RDONLY), 50),
    )
    fd = sys.open("/proc/self/comm", O_WRONLY)
    print(sys.write(fd, b"by-proc\n"), e(P, PR_GET_NAME))
    print(
        "pdeath",
        e(P, PR_GET_PDEATHSIG),
        e(P, PR_SET_PDEATHSIG, SIGUSR1),
        e(P, PR_GET_PDEATHSIG),
        e(P, PR_SET_PDEATHSIG, 65),
        e(P, PR_SET_PDEATHSIG, -1),
        e(P, PR_SET_PDEATHSIG, 0),
    )
    print(
        "dumpable",
        e(P, PR_GET_DUMPABLE),
        e(P, PR_SET_DUMPABLE, 2),
        e(P, PR_SET_DUMPABLE, 0),
        e(P, PR_GET_DUMPABLE),
        e(P, PR_SET_DUMPABLE, 1),
    )
    print(
        "subreaper",
        e(P, PR_GET_CHILD_SUBREAPER),
        e(P, PR_SET_CHILD_SUBREAPER, 5),
        e(P, PR_GET_CHILD_SUBREAPER),
        e(P, PR_SET_CHILD_SUBREAPER, 0),
    )

    def nnp(sys):
        P = sys.prctl
        print(
            "nnp",
            e(P, PR_GET_NO_NEW_PRIVS),
            e(P, PR_SET_NO_NEW_PRIVS, 0),
            e(P, PR_SET_NO_NEW_PRIVS, 2),
            e(P, PR_SET_NO_NEW_PRIVS, 1, 1),
            e(P, PR_SET_NO_NEW_PRIVS, 1),
            e(P, PR_GET_NO_NEW_PRIVS),
            e(P, PR_GET_NO_NEW_PRIVS, 1),
        )
        fd = sys.open("/proc/self/status", O_RDONLY)
        print([l for l in sys.read(fd, 9999).decode().split("\n") if l.startswith(("NoNewPrivs", "CapInh", "CapAmb"))])

        def kid(sys):
            print("inherited", sys.prctl(PR_GET_NO_NEW_PRIVS))

        sys.wait4(sys.spawn(kid))

    fork(nnp)
    print(
        "keepcaps",
        e(P, PR_GET_KEEPCAPS),
        e(P, PR_SET_KEEPCAPS, 2),
        e(P, PR_SET_KEEPCAPS, 1),
        e(P, PR_GET_KEEPCAPS),
        e(P, PR_SET_KEEPCAPS, 0),
        "secbits",
        e(P, 27),
        "tslack",
        e(P, PR_GET_TIMERSLACK),
        e(P, PR_SET_TIMERSLACK, 1000),
        e(P, PR_GET_TIMERSLACK),
        e(P, PR_SET_TIMERSLACK, 0),
        e(P, PR_GET_TIMERSLACK),
    )
    print("capbset", [e(P, PR_CAPBSET_READ, c) for c in (0, 7, 40, 41, 64, -1)], e(P, 9999))
    whole = sys.capget(0)[1]

    def caps(sys):
        return [
            "none" if not x else "all" if x == whole else "all but %#x" % (whole & ~x) if x > 1 << 30 else hex(x)
            for x in sys.capget(0)
        ]

    print("caps", caps(sys))

    def drop(sys):
        P = sys.prctl
        e(P, PR_SET_KEEPCAPS, 1)
        sys.setresuid(33, 33, 33)
        print("kept", caps(sys), e(P, PR_GET_KEEPCAPS), e(sys.setuid, 0))
        c = sys.capget(0)
        print(e(sys.capset, c[1] & (1 << CAP_SETUID), c[1], 0), caps(sys), e(sys.setuid, 0), caps(sys))

    print(fork(drop))

    def drop2(sys):
        sys.setresuid(33, 33, 0)
        print("eff", caps(sys))
        sys.setresuid(-1, 0, -1)
        print(caps(sys))
        sys.setresuid(33, 33, 33)
        print(caps(sys), e(sys.capset, 1, 1, 0), e(sys.capset, 0, 0, 1), e(sys.capset, 0, 0, 0))

    print(fork(drop2))

    def fsuid(sys):
        print("fsuid", sys.setfsuid(33), caps(sys), sys.setfsuid(-1), sys.setfsuid(0), caps(sys), sys.setfsuid(0))

    print(fork(fsuid))

    def secb(sys):
        P = sys.prctl
        print(
            "securebits",
            e(P, 28, 1 << 0 | 1 << 2),
            e(P, 27),
            e(P, 28, 1 << 2 | 1 << 3),
            e(P, 28, 0),
            e(P, 27),
            e(P, 28, 1 << 20),
        )
        sys.setresuid(33, 33, 33)
        print("no fixup", caps(sys))
        print(e(P, PR_GET_KEEPCAPS), e(P, PR_SET_KEEPCAPS, 1))

    print(fork(secb))

    def keeplock(sys):
        P = sys.prctl
        print("keep lock", e(P, 28, 1 << 5), e(P, PR_SET_KEEPCAPS, 1), e(P, 28, 1 << 4 | 1 << 5), e(P, 28, 0))

    print(fork(keeplock))

    def amb(sys):
        P = sys.prctl
        A = 47
        print(
            "ambient",
            e(P, A, 1, 10, 0, 0),
            e(P, A, 2, 10, 0, 0),
            e(P, A, 9, 10, 0, 0),
            e(P, A, 1, 99, 0, 0),
            e(P, A, 4, 0, 0, 0),
            e(P, A, 4, 1, 0, 0),
        )
        c = sys.capget(0)
        print(
            e(sys.capset, c[0], c[1], 1 << 10),
            e(P, A, 2, 10, 0, 0),
            e(P, A, 1, 10, 0, 0),
            e(P, A, 3, 10, 0, 0),
            e(P, A, 1, 10, 0, 0),
            e(P, A, 2, 10, 0, 0),
            e(P, A, 4, 0, 0, 0),
            e(P, A, 1, 10, 0, 0),
        )
        e(P, A, 2, 10, 0, 0)
        sys.capset(c[0], c[1], 0)
        print("inheritable dropped", e(P, A, 1, 10, 0, 0))
        sys.capset(c[0], c[1], 1 << 10)
        e(P, A, 2, 10, 0, 0)
        P(PR_SET_KEEPCAPS, 1)
        sys.setresuid(33, 33, 33)
        print("setuid", e(P, A, 1, 10, 0, 0), caps(sys))

    print(fork(amb))

    def bset(sys):
        P = sys.prctl
        print("drop", e(P, PR_CAPBSET_DROP, 5), e(P, PR_CAPBSET_READ, 5), e(P, PR_CAPBSET_DROP, 99), caps(sys))
        sys.setresuid(33, 33, 33)
        print(e(P, PR_CAPBSET_DROP, 6))

    print(fork(bset))

    # ids: matrices
    def ids(sys):
        sys.setresuid(1, 2, 3)
        for call, args in (
            ("setreuid", (3, -1)),
            ("setreuid", (2, 1)),
            ("setreuid", (-1, 5)),
            ("setresuid", (3, 2, 1)),
            ("setresuid", (-1, -1, 9)),
            ("setuid", (2,)),
            ("setuid", (9,)),
            ("setreuid", (-1, -1)),
            ("setfsuid", (1,)),
            ("setfsuid", (8,)),
            ("setuid", (-1,)),
            ("setresuid", (1, 1, 1)),
            ("setreuid", (2, -1)),
        ):
            print(call, args, e(getattr(sys, call), *args), sys.getresuid(), sys.setfsuid(-1))

    print(fork(ids))

    def gids(sys):
        sys.setgroups([5, 6, 5, 7])
        print("groups", sys.getgroups(), e(sys.setgroups, list(range(65537))), e(sys.setgroups, [-1]))
        sys.setresgid(1, 2, 3)
        sys.setresuid(9, 9, 9)
        for call, args in (
            ("setregid", (3, -1)),
            ("setregid", (2, 1)),
            ("setregid", (-1, 5)),
            ("setresgid", (3, 2, 1)),
            ("setgid", (2,)),
            ("setgid", (9,)),
            ("setgid", (5,)),
            ("setfsgid", (1,)),
            ("setgroups", ([],)),
        ):
            print(call, args, e(getattr(sys, call), *args), sys.getresgid(), sys.setfsgid(-1), sys.getgroups())

    print(fork(gids))
