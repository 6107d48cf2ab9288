"""Eight kinds of directories, everybody's files in them: what a user may do to each."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    sys.umask(0)
    base = "/tmp/exp%d" % sys.getpid()
    sys.mkdir(base, 0o755)
    sys.mount("none", base, "tmpfs", 0, "size=4m")
    sys.chmod(base, 0o755)
    sys.chdir(base)

    def put(n, mode=0o644, uid=0, gid=0):
        fd = sys.open(n, O_CREAT | O_WRONLY, 0o644)
        sys.close(fd)
        sys.chown(n, uid, gid)
        sys.chmod(n, mode)

    def dirs():
        for d, mode, uid, gid in (
            ("own", 0o755, 33, 33),
            ("open", 0o777, 0, 0),
            ("sticky", 0o1777, 0, 0),
            ("mysticky", 0o1777, 33, 33),
            ("ro", 0o555, 33, 33),
            ("nox", 0o666, 33, 33),
            ("grp", 0o2775, 0, 44),
            ("other", 0o700, 1, 1),
        ):
            sys.mkdir(d)
            for f, u in (("mine", 33), ("yours", 1), ("roots", 0)):
                put(d + "/" + f, 0o644, u, u)
                sys.mkdir(d + "/d" + f, 0o755)
                sys.chown(d + "/d" + f, u, u)
            sys.chown(d, uid, gid)
            sys.chmod(d, mode)

    dirs()

    def user(sys):
        sys.setgroups([44])
        sys.setresgid(33, 33, 33)
        sys.setresuid(33, 33, 33)
        for d in ("own", "open", "sticky", "mysticky", "ro", "nox", "grp", "other"):
            row = []
            row.append(e(sys.open, d, O_RDONLY) if isinstance(e(sys.open, d, O_RDONLY), str) else "ok")
            for f in ("mine", "yours", "roots", "none"):
                n = d + "/" + f
                row.append(
                    (
                        f,
                        e(lambda: sys.stat(n).st_uid),
                        e(sys.rename, n, d + "/x" + f),
                        e(sys.rename, d + "/x" + f, n),
                        e(sys.link, n, d + "/l" + f),
                        e(sys.unlink, d + "/l" + f),
                        e(sys.chmod, n, 0o600),
                        e(sys.chown, n, 33, 44),
                        e(sys.chown, n, 33, 1),
                        e(sys.chown, n, 1, -1),
                        e(sys.utimensat, AT_FDCWD, n, None),
                        e(sys.utimensat, AT_FDCWD, n, (5, 5)),
                        e(sys.utimensat, AT_FDCWD, n, (UTIME_OMIT, UTIME_NOW)),
                        e(sys.truncate, n, 0),
                        e(sys.access, n, R_OK),
                        e(sys.access, n, W_OK),
                        e(sys.access, n, X_OK),
                        e(sys.setxattr, n, "user.a", b"1"),
                        e(sys.rename, d + "/d" + f, d + "/z" + f),
                        e(sys.rename, d + "/z" + f, d + "/d" + f),
                        e(sys.rename, d + "/d" + f, "open/moved"),
                        e(sys.rename, "open/moved", d + "/d" + f),
                        e(sys.rmdir, d + "/d" + f),
                        e(sys.unlink, n),
                    )
                )
            nf = e(sys.open, d + "/new", O_CREAT | O_RDWR, 0o666)
            row.append(nf if isinstance(nf, str) else (sys.stat(d + "/new").st_gid, oct(sys.stat(d + "/new").st_mode)))
            row.append(e(sys.mkdir, d + "/nd"))
            x = e(sys.stat, d + "/nd")
            row.append(x if isinstance(x, str) else (x.st_gid, oct(x.st_mode)))
            row.append(
                (
                    e(sys.symlink, "q", d + "/sl"),
                    e(sys.mkfifo, d + "/ff"),
                    e(sys.mknod, d + "/dev", S_IFCHR | 0o666, 0x103),
                    e(sys.chdir, d) == 0 and e(sys.getdents64, sys.open("/", O_RDONLY)) != 0,
                    e(sys.chdir, base),
                )
            )
            for cell in row:
                print(d, cell)
        # set-gid bits when changed by a user
        fd = sys.open("open/s", O_CREAT | O_RDWR, 0o666)
        print(
            "setid",
            e(sys.fchmod, fd, 0o6777),
            oct(sys.fstat(fd).st_mode),
            sys.write(fd, b"x"),
            oct(sys.fstat(fd).st_mode),
            e(sys.fchmod, fd, 0o6766),
            oct(sys.fstat(fd).st_mode),
            sys.write(fd, b"x"),
            oct(sys.fstat(fd).st_mode),
            e(sys.fchmod, fd, 0o6777),
            e(sys.fchown, fd, -1, 44),
            oct(sys.fstat(fd).st_mode),
            e(sys.fchmod, fd, 0o7777),
            oct(sys.fstat(fd).st_mode),
            e(sys.ftruncate, fd, 0),
            oct(sys.fstat(fd).st_mode),
            e(sys.fchmod, fd, 0o6777),
            e(sys.fallocate, fd, 0, 0, 4096),
            oct(sys.fstat(fd).st_mode),
        )
        print(
            e(sys.mkdir, "grp/a"),
            oct(sys.stat("grp/a").st_mode),
            e(sys.chmod, "grp/a", 0o755),
            oct(sys.stat("grp/a").st_mode),
            e(sys.chmod, "grp/a", 0o2755),
            oct(sys.stat("grp/a").st_mode),
        )
        # protected fifos / regular in sticky
        print("sticky open", e(sys.open, "sticky/yours2", O_CREAT | O_RDWR) != 0, e(sys.open, "sticky/y3", O_RDWR) != 0)
        print(
            "chroot",
            e(sys.chroot, "open"),
            e(sys.mount, "none", "open", "tmpfs"),
            e(sys.umount2, base),
            e(sys.sethostname, "x"),
            e(sys.setgroups, []),
            e(sys.setuid, 0),
            e(sys.setgid, 0),
            e(sys.setpriority, PRIO_PROCESS, 0, -1),
            e(sys.clock_settime, CLOCK_REALTIME, 0),
            e(sys.kill, 1, 0),
            e(sys.prlimit64, 1, RLIMIT_NOFILE),
            e(sys.prlimit64, 0, RLIMIT_NOFILE, (1024, 10**7)),
        )
        print(
            e(sys.open, "/proc/1/environ", O_RDONLY),
            e(sys.readlink, "/proc/1/cwd"),
            e(sys.open, "/proc/1/fd", O_RDONLY),
            e(sys.readlink, "/proc/1/exe"),
        )

    put("sticky/yours2", 0o666, 1, 1)
    put("sticky/y3", 0o666, 1, 1)
    p = sys.spawn(user)
    print(sys.wait4(p)[1])
    sys.chdir("/")
    sys.umount2(base, MNT_DETACH)
    sys.rmdir(base)
