"""System V message queues, semaphores and shared memory: order, limits, undo, removal under waiters."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    base = 0x7E000000 + (sys.getpid() & 0xFFFF) * 64
    P = IPC_PRIVATE
    # message queues
    print(
        "msgget",
        e(sys.msgget, base, 0),
        e(sys.msgget, base, IPC_EXCL),
        isinstance(sys.msgget(base, IPC_CREAT | 0o600), int),
        e(sys.msgget, base, IPC_CREAT | IPC_EXCL),
        sys.msgget(base, 0) == sys.msgget(base, IPC_CREAT | 0o666),
        sys.msgget(P, 0o600) != sys.msgget(P, 0o600),
    )
    q = sys.msgget(base, 0)
    S, R = sys.msgsnd, sys.msgrcv

    def st():
        s = sys.msgctl(q, IPC_STAT)
        return (
            s.msg_qnum,
            s.msg_cbytes,
            s.msg_qbytes,
            oct(s.mode),
            s.key == base,
            s.msg_lspid == sys.getpid(),
            s.msg_lrpid == sys.getpid(),
            s.uid,
            s.cgid,
        )

    print(
        st(),
        [
            e(S, q, t, d)
            for t, d in (
                (1, b"one"),
                (2, b"two"),
                (3, b"three"),
                (1, b"uno"),
                (0, b"x"),
                (-1, b"x"),
                (1, b"x" * 8193),
                (5, b""),
            )
        ],
        st(),
    )
    print(
        [
            e(R, q, n, t, IPC_NOWAIT | f)
            for n, t, f in (
                (100, 2, 0),
                (100, 2, 0),
                (2, 3, 0),
                (2, 3, MSG_NOERROR),
                (100, 1, MSG_EXCEPT),
                (100, -5, 0),
                (100, 0, 0),
                (100, 0, 0),
                (-1, 0, 0),
                (0, 0, 0),
            )
        ],
        st(),
    )
    for t in (5, 3, 4, 3):
        S(q, t, b"%d" % t)
    print([e(R, q, 10, -4, IPC_NOWAIT) for _ in range(4)], e(R, q, 10, 0, IPC_NOWAIT))
    print(
        "ctl",
        e(sys.msgctl, q, IPC_SET, (0, 0, 0o640, 10)),
        st()[2:4],
        e(S, q, 1, b"12345678"),
        e(S, q, 1, b"123", IPC_NOWAIT),
        e(sys.msgctl, q, 99),
        e(sys.msgctl, -1, IPC_STAT),
        e(sys.msgctl, 99999999, IPC_STAT),
        e(S, 99999999, 1, b""),
        e(R, -1, 5),
    )
    log_r, log_w = sys.pipe2(O_NONBLOCK)

    def say(t):
        sys.write(log_w, (t + ";").encode())

    def heard():
        sys.nanosleep(30 * MS)
        x = e(sys.read, log_r, 9999)
        return x if isinstance(x, str) else sorted(x.decode().split(";"))

    def sender(sys, t, d):
        say("sent %s" % e(sys.msgsnd, q, t, d))

    def getter(sys, n, *a):
        say("%s got %s" % (n, e(sys.msgrcv, q, *a)))

    p = sys.spawn(sender, 9, b"waits")
    print("full", heard(), R(q, 10), heard(), R(q, 10))
    sys.wait4(p)
    ps = []
    for n, a in (("a", (10, 7)), ("b", (10, 0)), ("c", (2, 8)), ("d", (10, -8)), ("e", (10, 7, MSG_EXCEPT))):
        ps.append(sys.spawn(getter, n, *a))
        sys.nanosleep(5 * MS)
    S(q, 8, b"eight")
    print(heard())
    S(q, 7, b"seven")
    print(heard())
    S(q, 8, b"88888")
    print(heard())
    S(q, 9, b"n")
    print(heard())
    p = sys.spawn(getter, "z", 10, 1)
    sys.nanosleep(20 * MS)
    print("rmid", sys.msgctl(q, IPC_RMID), heard(), e(S, q, 1, b"x"), e(sys.msgget, base, 0))
    for _ in range(6):
        while isinstance(e(sys.wait4, -1, WNOHANG), tuple) and sys.wait4(-1, WNOHANG)[0]:
            pass
    q = sys.msgget(P, 0o600)
    got = []

    def eintr(sys, flags):
        sys.rt_sigaction(SIGUSR1, lambda s, n, i: got.append(n), flags)
        say(str(e(sys.msgrcv, q, 5)))
        sys.rt_sigaction(SIGUSR1, SIG_DFL)

    for f in (0, SA_RESTART):
        p = sys.spawn(eintr, f)
        sys.nanosleep(20 * MS)
        sys.kill(p, SIGUSR1)
        print("eintr", heard())
        sys.wait4(p)
    p = sys.spawn(eintr, 0)
    sys.nanosleep(20 * MS)
    sys.kill(p, SIGSTOP)
    sys.nanosleep(5 * MS)
    sys.kill(p, SIGCONT)
    print("stop", heard(), S(q, 1, b"m"), heard())
    sys.wait4(p)

    def other(sys):
        sys.setresuid(33, 33, 33)
        print(
            "other",
            e(sys.msgsnd, q, 1, b""),
            e(sys.msgrcv, q, 1, 0, IPC_NOWAIT),
            e(sys.msgctl, q, IPC_STAT),
            e(sys.msgctl, q, IPC_RMID),
            e(sys.msgctl, q, IPC_SET, (33, 33, 0o666)),
        )

    sys.wait4(sys.spawn(other))
    sys.msgctl(q, IPC_RMID)
    # semaphores
    G, C, O = sys.semget, sys.semctl, sys.semop
    print(
        "semget",
        e(G, base, 0, 0),
        e(G, base, 0, IPC_CREAT),
        e(G, base, 33000, IPC_CREAT),
        e(G, base, -1, IPC_CREAT),
        e(G, base, 3, IPC_CREAT | 0o600) >= 0,
        e(G, base, 4, 0),
        e(G, base, 2, 0) >= 0,
        e(G, base, 3, IPC_CREAT | IPC_EXCL),
    )
    s = G(base, 0, 0)
    print(
        C(s, 0, GETALL),
        C(s, 0, SETALL, [1, 2, 3]),
        C(s, 0, GETALL),
        C(s, 1, GETVAL),
        C(s, 1, SETVAL, 9),
        [e(C, s, 1, SETVAL, v) for v in (-1, 32768, 32767)],
        e(C, s, 3, GETVAL),
        e(C, s, -1, GETVAL),
        e(C, s, 0, 77),
        C(s, 2, GETPID) == sys.getpid(),
        C(s, 1, GETNCNT),
        C(s, 1, GETZCNT),
        C(s, 0, IPC_STAT).sem_nsems,
        e(C, s, 3, SETVAL, 1),
    )
    C(s, 0, SETALL, [1, 0, 3])
    print(
        "semop",
        [
            e(O, s, o)
            for o in (
                [(0, -1, 0)],
                [(0, -1, IPC_NOWAIT)],
                [(0, 0, 0)],
                [(1, 0, IPC_NOWAIT)],
                [(2, 0, IPC_NOWAIT)],
                [(2, -3, IPC_NOWAIT), (0, -1, IPC_NOWAIT)],
                [(2, 32767, 0)],
                [],
                [(0, 1, 0)] * 501,
                [(3, 1, 0)],
                [(0, 5, 0), (0, -2, 0), (0, 0, IPC_NOWAIT)],
                [(0, 5, 0), (0, -5, 0), (0, 0, 0)],
            )
        ],
        C(s, 0, GETALL),
        e(O, 99999999, [(0, 1, 0)]),
        e(sys.semtimedop, s, [(1, -1, 0)], 10 * MS),
        e(sys.semtimedop, s, [(1, -1, 0)], -1),
        e(sys.semtimedop, s, [(1, -1, 0)], 0),
    )

    def w(sys, n, ops):
        say("%s %s" % (n, e(sys.semop, s, ops)))

    C(s, 0, SETALL, [0, 0, 1])
    ps = []
    for n, o in (
        ("a", [(0, -2, 0)]),
        ("b", [(0, -1, 0)]),
        ("c", [(0, -1, 0), (1, -1, 0)]),
        ("z", [(2, 0, 0)]),
        ("d", [(0, -1, 0)]),
    ):
        ps.append(sys.spawn(w, n, o))
        sys.nanosleep(5 * MS)
    print("counts", C(s, 0, GETNCNT), C(s, 2, GETZCNT), C(s, 1, GETNCNT))
    O(s, [(0, 1, 0)])
    print(heard(), C(s, 0, GETALL))
    O(s, [(2, -1, 0)])
    print(heard())
    O(s, [(0, 2, 0)])
    print(heard(), C(s, 0, GETALL))
    O(s, [(0, 1, 0), (1, 1, 0)])
    print(heard(), C(s, 0, GETALL))
    C(s, 0, SETVAL, 1)
    print(heard(), C(s, 0, GETALL))
    for p in ps:
        sys.wait4(p)

    def undo(sys):
        sys.semop(s, [(0, 3, SEM_UNDO), (1, 1, 0)])
        sys.semop(s, [(2, 2, SEM_UNDO)])
        sys.semop(s, [(2, -1, SEM_UNDO)])
        say(str(sys.semctl(s, 0, GETALL)))

    C(s, 0, SETALL, [1, 1, 1])
    sys.wait4(sys.spawn(undo))
    print("undo", heard(), C(s, 0, GETALL))

    def undo2(sys):
        sys.semop(s, [(0, -1, SEM_UNDO)])
        sys.kill(sys.getpid(), SIGKILL)

    p = sys.spawn(w, "heir", [(0, -2, 0)])
    sys.nanosleep(5 * MS)
    C(s, 0, SETVAL, 1)
    sys.wait4(sys.spawn(undo2))
    print("killed", heard(), C(s, 0, GETALL))
    O(s, [(0, 1, 0)])
    sys.wait4(p)

    def ei(sys):
        sys.rt_sigaction(SIGUSR1, lambda a, b, c: None, SA_RESTART)
        say(str(e(sys.semop, s, [(1, -9, 0)])))

    p = sys.spawn(ei)
    sys.nanosleep(10 * MS)
    sys.kill(p, SIGUSR1)
    print(heard())
    sys.wait4(p)
    p = sys.spawn(ei)
    sys.nanosleep(10 * MS)
    sys.kill(p, SIGSTOP)
    sys.nanosleep(5 * MS)
    sys.kill(p, SIGCONT)
    print(heard())
    sys.wait4(p)
    p = sys.spawn(ei)
    sys.nanosleep(10 * MS)
    C(s, 0, IPC_RMID)
    print("rmid", heard(), e(O, s, [(0, 1, 0)]))
    sys.wait4(p)
    # shared memory
    print(
        "shmget",
        e(sys.shmget, base, 0, IPC_CREAT),
        e(sys.shmget, base, 5000, IPC_CREAT | 0o600) >= 0,
        e(sys.shmget, base, 5001, 0),
        e(sys.shmget, base, 1, 0) >= 0,
        e(sys.shmget, base, 9, IPC_CREAT | IPC_EXCL),
    )
    m = sys.shmget(base, 0, 0)
    a = sys.shmat(m)
    b = sys.shmat(m, 0, SHM_RDONLY)

    def ss():
        x = sys.shmctl(m, IPC_STAT)
        return (
            x.shm_segsz,
            x.shm_nattch,
            x.shm_cpid == sys.getpid(),
            x.shm_lpid == sys.getpid(),
            oct(x.mode),
            x.key == base,
        )

    sys.mem[a : a + 4] = b"seen"
    print(bytes(sys.mem[b : b + 4]), bytes(sys.mem[b + 5000 : b + 5004]), ss())

    def kid(sys):
        sys.mem[a : a + 4] = b"kid!"
        print(sys.shmctl(m, IPC_STAT).shm_nattch)
        print(e(sys.shmdt, b), sys.shmctl(m, IPC_STAT).shm_nattch)

    sys.wait4(sys.spawn(kid))
    print(
        bytes(sys.mem[b : b + 4]),
        ss()[:2],
        e(sys.shmdt, a + 4096),
        e(sys.shmdt, a + 1),
        e(sys.shmdt, b),
        e(sys.shmdt, b),
        ss()[1],
        e(sys.shmat, 99999999),
        e(sys.shmat, m, 5),
        e(sys.shmat, m, a),
        e(sys.shmat, m, 0, SHM_REMAP),
    )
    c = sys.shmat(m, a + 100, SHM_RND | SHM_REMAP)
    print(c == a, ss()[1])
    print(
        "rmid",
        sys.shmctl(m, IPC_RMID),
        ss(),
        e(sys.shmget, base, 0, 0),
        e(sys.shmat, m) > 0,
        ss()[1],
        bytes(sys.mem[a : a + 4]),
    )
    sys.shmdt(a)
    print(ss()[1])

    def last(sys):
        pass

    x = sys.shmget(P, 100, 0o600)
    sys.shmctl(x, IPC_RMID)
    print(e(sys.shmctl, x, IPC_STAT))
    y = sys.shmget(P, 100, 0o400)

    def o2(sys):
        sys.setresuid(33, 33, 33)
        print(e(sys.shmat, y), e(sys.shmat, y, 0, SHM_RDONLY), e(sys.shmctl, y, IPC_RMID))

    sys.wait4(sys.spawn(o2))
    sys.shmctl(y, IPC_RMID)
