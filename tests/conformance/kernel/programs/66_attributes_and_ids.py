"""Extended attributes, user and group ids, single capabilities, chroot."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    n = "/tmp/exx-in"
    sys.mkdir(n)
    sys.mount("t", n, "tmpfs")
    sys.chdir(n)
    f = sys.open("f", O_CREAT | O_RDWR, 0o644)
    sys.mkdir("d")
    sys.symlink("f", "l")
    sys.mkfifo("p")
    for name in (
        "user.a",
        "user.",
        "user",
        "trusted.t",
        "security.s",
        "system.x",
        "foo.bar",
        "",
        "user." + "n" * 250,
        "user." + "n" * 251,
        "a" * 300,
    ):
        print(
            name[:14],
            len(name),
            e(sys.setxattr, "f", name, b"v"),
            e(sys.getxattr, "f", name),
            e(sys.removexattr, "f", name),
            e(sys.removexattr, "f", name),
        )
    print(
        e(sys.setxattr, "f", "user.a", b"1", XATTR_REPLACE),
        e(sys.setxattr, "f", "user.a", b"1", XATTR_CREATE),
        e(sys.setxattr, "f", "user.a", b"2", XATTR_CREATE),
        e(sys.setxattr, "f", "user.a", b"", XATTR_REPLACE),
        sys.getxattr("f", "user.a"),
        e(sys.setxattr, "f", "user.a", b"1", 3),
        e(sys.setxattr, "f", "user.a", b"1", 4),
        e(sys.setxattr, "f", "user.big", b"x" * 65536),
        e(sys.setxattr, "f", "user.big2", b"x" * 65537),
        sorted(sys.listxattr("f")),
    )
    print(
        "link",
        e(sys.setxattr, "l", "user.l", b"1"),
        e(sys.lsetxattr, "l", "user.l", b"1"),
        e(sys.lsetxattr, "l", "trusted.l", b"1"),
        e(sys.llistxattr, "l"),
        e(sys.setxattr, "p", "user.p", b"1"),
        e(sys.setxattr, "d", "user.d", b"1"),
        e(sys.fsetxattr, sys.open("f", O_RDONLY), "user.ro", b"1"),
        e(sys.getxattr, "none", "user.a"),
        e(sys.getxattr, "f", "user.none"),
        e(sys.fgetxattr, 999, "user.a"),
    )
    sys.chmod("f", 0o640)

    def user(sys):
        sys.setgroups([])
        sys.setresgid(500, 500, 500)
        sys.setresuid(500, 500, 500)
        print(
            "user",
            e(sys.getxattr, "f", "user.a"),
            e(sys.setxattr, "f", "user.a", b"1"),
            e(sys.listxattr, "f"),
            e(sys.getxattr, "l", "trusted.l"),
            e(sys.lgetxattr, "l", "trusted.l"),
            e(sys.llistxattr, "l"),
            e(sys.setxattr, "d", "trusted.z", b"1"),
            e(sys.setxattr, "d", "user.z", b"1"),
            e(sys.setxattr, "d", "security.z", b"1"),
        )

    sys.wait4(sys.spawn(user))
    sys.mkdir("st")
    sys.chmod("st", 0o1777)

    def user2(sys):
        sys.setresuid(500, 500, 500)
        print("sticky", e(sys.setxattr, "st", "user.z", b"1"))

    sys.wait4(sys.spawn(user2))
    sys.rename("f", "f2")
    sys.link("f2", "f3")
    print(len(sys.getxattr("f3", "user.big")))

    # credentials
    def ids(tag, s):
        print(tag, s.getresuid(), s.getresgid(), [bin(c).count("1") > 30 for c in s.capget()])

    def t(fn):
        sys.wait4(sys.spawn(fn))

    def a1(sys):
        sys.setuid(5)
        ids("setuid root", sys)
        print(
            e(sys.setuid, 0),
            e(sys.setuid, 5),
            e(sys.setreuid, -1, 0),
            e(sys.setresuid, 0, -1, -1),
            e(sys.setgid, 3),
            e(sys.setgroups, [1]),
            e(sys.setresuid, 5, 5, 5),
        )

    def a2(sys):
        sys.setresuid(-1, 5, -1)
        ids("seteuid", sys)
        print(e(sys.setuid, 7), e(sys.setuid, 0), sys.getresuid(), e(sys.setresuid, 5, 0, 5))
        ids("back", sys)

    def a3(sys):
        sys.setreuid(5, 6)
        ids("setreuid", sys)
        print(e(sys.setreuid, 6, 5), sys.getresuid(), e(sys.setreuid, -1, 6), sys.getresuid(), e(sys.setreuid, 7, -1))

    def a4(sys):
        sys.setreuid(0, 5)
        ids("reuid 0 5", sys)
        print(e(sys.setreuid, 5, 0), sys.getresuid())
        ids("swap", sys)

    def a5(sys):
        sys.setresuid(1, 2, 3)
        print(
            [
                (k, e(sys.setresuid, *k), sys.getresuid())
                for k in ((2, 3, 1), (-1, -1, 4), (3, -1, -1), (3, 3, 3), (1, 1, 1))
            ]
        )

    def a6(sys):
        print(
            sys.setfsuid(9),
            sys.setfsuid(-1),
            sys.setfsuid(-1),
            e(sys.open, "f2", O_RDONLY),
            sys.setfsuid(0),
            e(sys.open, "f2", O_RDONLY) > 0,
        )
        sys.setresuid(4, 4, 0)
        print(sys.setfsuid(0), sys.setfsuid(7), sys.setfsuid(-1))

    def a7(sys):
        sys.prctl(PR_SET_KEEPCAPS, 1)
        sys.setresuid(5, 5, 5)
        ids("keepcaps", sys)
        eff, per, inh = sys.capget()
        print(
            e(sys.capset, per, per, 0),
            e(sys.setuid, 0),
            sys.getresuid(),
            e(sys.capset, 0, 0, 0),
            e(sys.capset, 1, 1, 0),
            e(sys.capset, 0, 1, 0),
            e(sys.setuid, 9),
            sys.prctl(PR_GET_KEEPCAPS),
        )

    def a8(sys):
        print(
            "groups",
            sys.setgroups([7, 3, 7, 1]),
            sys.getgroups(),
            e(sys.setgroups, list(range(65537))),
            e(sys.setgroups, [-1]),
            sys.setgroups([]),
        )
        sys.chown("f2", 1, 77)
        sys.chmod("f2", 0o060)
        sys.setgroups([77])
        sys.setresuid(8, 8, 8)
        print(
            e(sys.open, "f2", O_RDWR) > 0,
            e(sys.access, "f2", R_OK | W_OK),
            e(sys.access, "f2", X_OK),
            e(sys.faccessat2, AT_FDCWD, "f2", R_OK, AT_EACCESS),
            e(sys.access, "f2", 8),
            e(sys.chmod, "f2", 0),
        )

    def a9(sys):
        sys.setresuid(0, 8, 0)
        print(
            "access uses real",
            e(sys.access, "f2", W_OK),
            e(sys.faccessat2, AT_FDCWD, "f2", W_OK, AT_EACCESS),
            e(sys.open, "f2", O_WRONLY),
        )

    def b1(sys):
        print(
            "nnp",
            sys.prctl(PR_SET_NO_NEW_PRIVS, 1),
            sys.prctl(PR_GET_NO_NEW_PRIVS),
            e(sys.prctl, PR_SET_NO_NEW_PRIVS, 0),
            e(sys.prctl, PR_SET_NO_NEW_PRIVS, 1, 1),
            e(sys.prctl, 99999),
            e(sys.prctl, PR_SET_DUMPABLE, 2),
            sys.prctl(PR_GET_DUMPABLE),
            e(sys.prctl, PR_SET_DUMPABLE, 0),
            sys.prctl(PR_GET_DUMPABLE),
            sys.prctl(PR_SET_NAME, "a-name-that-is-too-long"),
            sys.prctl(PR_GET_NAME),
            sys.prctl(PR_CAPBSET_READ, CAP_CHOWN),
            sys.prctl(PR_CAPBSET_DROP, CAP_CHOWN),
            sys.prctl(PR_CAPBSET_READ, CAP_CHOWN),
            e(sys.prctl, PR_CAPBSET_READ, 99),
            sys.prctl(PR_GET_TIMERSLACK),
            sys.prctl(PR_SET_TIMERSLACK, 777),
            sys.prctl(PR_GET_TIMERSLACK),
        )

    for fn in (a1, a2, a3, a4, a5, a6, a7, a8, a9, b1):
        t(fn)

    # dropping single capabilities
    def drop(*caps):
        eff, per, inh = sys.capget()
        m = ~sum(1 << c for c in caps)
        sys.capset(eff & m, per & m, 0)

    def c1(sys):
        drop(CAP_CHOWN)
        print("chown", e(sys.chown, "f2", 5, 5), e(sys.chown, "f2", -1, -1))

    def c2(sys):
        drop(CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER)
        sys.setfsuid(0)
        print("dac", e(sys.open, "f2", O_RDONLY), e(sys.chmod, "f2", 0o777), e(sys.utimensat, AT_FDCWD, "f2", (1, 1)))

    def c3(sys):
        drop(
            CAP_KILL,
            CAP_SYS_ADMIN,
            CAP_SYS_CHROOT,
            CAP_MKNOD,
            CAP_SETUID,
            CAP_SETGID,
            CAP_SYS_NICE,
            CAP_NET_RAW,
            CAP_NET_BIND_SERVICE,
            CAP_SYS_TIME,
            CAP_SYS_TTY_CONFIG,
        )
        print(
            "many",
            e(sys.chroot, "d"),
            e(sys.mknod, "dev", S_IFCHR | 0o600, 0x103),
            e(sys.mknod, "ff", S_IFIFO | 0o600),
            e(sys.setuid, 5),
            e(sys.setgid, 5),
            e(sys.setgroups, []),
            e(sys.setpriority, PRIO_PROCESS, 0, -5),
            e(sys.socket, AF_INET, SOCK_RAW, 1),
            e(sys.bind, sys.socket(AF_INET, SOCK_STREAM), ("127.0.0.1", 81)),
            e(sys.mount, "t", "d", "tmpfs"),
            e(sys.umount2, n, 0),
            e(sys.sethostname, "x"),
            e(sys.clock_settime, CLOCK_REALTIME, 0),
            e(sys.sched_setscheduler, 0, SCHED_FIFO, 1),
            e(sys.setresuid, -1, -1, -1),
            e(sys.kill, 1, 0) in (0, "EPERM"),
        )

    def c4(sys):
        drop(CAP_FSETID)
        f = sys.open("sg", O_CREAT | O_RDWR, 0o755)
        sys.fchmod(f, 0o6755)
        sys.write(f, b"x")
        a = oct(sys.fstat(f).st_mode)
        sys.fchmod(f, 0o6755)
        sys.ftruncate(f, 0)
        b = oct(sys.fstat(f).st_mode)
        sys.fchmod(f, 0o2644)
        sys.write(f, b"x")
        print("setid cleared", a, b, oct(sys.fstat(f).st_mode))
        sys.fchmod(f, 0o6777)
        sys.fchown(f, 3, 3)
        print(oct(sys.fstat(f).st_mode))

    for fn in (c1, c2, c3, c4):
        t(fn)
    # setgid directory, umask
    sys.umask(0o027)
    sys.mkdir("sgd")
    sys.chown("sgd", 0, 99)
    sys.chmod("sgd", 0o2777)
    sys.mkdir("sgd/in", 0o777)
    sys.close(sys.open("sgd/file", O_CREAT, 0o2777))
    st = sys.stat("sgd/in")
    s2 = sys.stat("sgd/file")
    print(oct(st.st_mode), st.st_gid, oct(s2.st_mode), s2.st_gid, oct(sys.umask(0o77777)), oct(sys.umask(0)))

    # chroot escapes
    def cr(sys):
        sys.mkdir("jail")
        sys.mkdir("jail/a")
        out = sys.open("/", O_RDONLY)
        sys.chroot("jail")
        sys.chdir("/")
        print(
            "jail",
            sys.getcwd(),
            e(sys.stat, "/f2"),
            e(sys.stat, "../../../f2"),
            sorted(x for x, _, _ in sys.getdents64(sys.open("/..", O_RDONLY))),
        )
        sys.chdir("/a")
        sys.chroot("/a") if False else None
        sys.mkdir("/b")
        sys.chroot("/b")
        print(e(sys.getcwd))
        sys.chdir("..")
        print(e(sys.getcwd), e(sys.stat, "f2") != "ENOENT")
        sys.fchdir(out)
        print(e(sys.getcwd))

    t(cr)
    sys.chdir("/")
    sys.umount2(n, MNT_DETACH)
    sys.rmdir(n)
