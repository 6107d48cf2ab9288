"""Names and flags of open: slashes, links, O_PATH, O_TMPFILE, what may not be made or removed."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    base = "/tmp/ex%d" % sys.getpid()
    sys.mkdir(base)
    sys.chdir(base)

    def put(n, data=b"x"):
        fd = sys.open(n, O_CREAT | O_WRONLY | O_TRUNC, 0o644)
        sys.write(fd, data)
        sys.close(fd)

    put("f")
    sys.mkdir("d")
    sys.symlink("f", "lf")
    sys.symlink("d", "ld")
    sys.symlink("nowhere", "dang")
    sys.symlink("loop", "loop")
    sys.symlink("../" * 3, "up")
    sys.symlink("/", "root")
    sys.symlink("f/", "lfs")
    for p in (
        "f/",
        "lf/",
        "ld/",
        "dang/",
        "loop",
        "loop/x",
        "f/.",
        "f/..",
        "d/.",
        "d/..",
        "ld/..",
        "lfs",
        "",
        "/",
        "//",
        "/./..",
        "d//",
        "x" * 255,
        "x" * 256,
        "d/" + "x" * 256,
        "./" * 2047 + "f",
        "./" * 2048,
        "./" * 2046 + "d",
    ):
        print(p[:12], len(p), e(lambda: oct(sys.stat(p).st_mode)), e(lambda: oct(sys.lstat(p).st_mode)))
    for fl, name in (
        (O_RDONLY, "R"),
        (O_WRONLY, "W"),
        (O_RDWR, "RW"),
        (O_PATH, "PATH"),
        (O_DIRECTORY, "DIR"),
        (O_NOFOLLOW, "NOF"),
        (O_PATH | O_NOFOLLOW, "PN"),
        (O_DIRECTORY | O_NOFOLLOW, "DN"),
        (O_CREAT | O_DIRECTORY, "CD"),
        (O_CREAT | O_EXCL, "CX"),
        (O_CREAT, "C"),
        (O_TRUNC, "T"),
        (O_PATH | O_CREAT | O_EXCL, "PCX"),
        (O_ACCMODE, "3"),
        (O_ACCMODE | O_CREAT, "3C"),
        (O_TMPFILE | O_RDWR, "TMP"),
        (O_TMPFILE, "TMPR"),
        (O_EXCL, "X"),
        (O_APPEND | O_TRUNC, "AT"),
        (O_CREAT | O_NOFOLLOW | O_WRONLY, "CNW"),
    ):
        out = []
        for p in ("f", "d", "lf", "ld", "dang", "loop", "f/", "d/", "lf/", "new/", "dang/", "f/x", ""):
            fd = e(sys.open, p, fl, 0o600)
            if isinstance(fd, int):
                out.append(oct(sys.fcntl(fd, F_GETFL) & ~O_LARGEFILE))
                sys.close(fd)
                if e(sys.lstat, "nowhere") != "ENOENT":
                    sys.unlink("nowhere")
                    out.append("made")
            else:
                out.append(fd)
        print(name, out)
    # O_PATH descriptors
    p = sys.open("f", O_PATH)
    print(
        "opath",
        e(sys.read, p, 1),
        e(sys.write, p, b"x"),
        e(sys.fchmod, p, 0),
        e(sys.fchown, p, 0, 0),
        e(sys.fsync, p),
        e(sys.ftruncate, p, 0),
        e(sys.lseek, p, 0),
        e(sys.ioctl, p, FIONREAD),
        e(lambda: sys.fstat(p).st_size),
        e(sys.fcntl, p, F_GETFD),
        e(sys.fcntl, p, F_SETFL, O_NONBLOCK),
        e(sys.fgetxattr, p, "user.a"),
        e(sys.flock, p, LOCK_SH),
        e(sys.getdents64, p),
        e(sys.fchdir, p),
        e(sys.fallocate, p, 0, 0, 1),
        e(sys.ppoll, [(p, POLLIN)], 0) == [(p, POLLNVAL)],
        e(sys.epoll_ctl, sys.epoll_create1(), EPOLL_CTL_ADD, p, EPOLLIN),
        e(sys.mmap, 0, 4096, PROT_READ, MAP_PRIVATE, p),
        e(lambda: sys.fstatfs(p).f_bsize > 0),
        e(sys.fcntl, p, F_DUPFD, 10),
        e(sys.fcntl, p, F_SETLK, (F_RDLCK, 0, 0, 0)),
        e(sys.pread64, p, 1, 0),
        e(sys.sendfile, 1, p, 0, 1),
    )
    q = sys.open("/proc/self/fd/%d" % p, O_RDONLY)
    print(
        sys.read(q, 5),
        e(sys.linkat, AT_FDCWD, "/proc/self/fd/%d" % p, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW),
        sys.stat("linked").st_nlink,
        e(sys.linkat, p, "", AT_FDCWD, "linked2", AT_EMPTY_PATH),
    )
    pl = sys.open("lf", O_PATH | O_NOFOLLOW)
    print(
        e(sys.readlinkat, pl, ""),
        oct(sys.fstat(pl).st_mode),
        e(sys.open, "/proc/self/fd/%d" % pl, O_RDONLY),
        e(sys.readlinkat, p, ""),
    )
    pd = sys.open("d", O_PATH)
    print(
        e(sys.fchdir, pd),
        e(sys.openat, pd, "x", O_CREAT | O_WRONLY, 0o600) > 0,
        e(sys.mkdirat, pd, "sub"),
        e(sys.getdents64, pd),
        e(sys.unlinkat, pd, "x"),
        e(sys.unlinkat, pd, "sub"),
        e(sys.unlinkat, pd, "sub", AT_REMOVEDIR),
        e(sys.openat, p, "x", O_RDONLY),
    )
    sys.chdir(base)
    # O_TMPFILE
    t = sys.open(".", O_TMPFILE | O_RDWR, 0o640)
    print(
        "tmpfile",
        sys.fstat(t).st_nlink,
        oct(sys.fstat(t).st_mode),
        sys.write(t, b"hello"),
        e(sys.linkat, AT_FDCWD, "/proc/self/fd/%d" % t, AT_FDCWD, "named", AT_SYMLINK_FOLLOW),
        sys.fstat(t).st_nlink,
    )
    t2 = sys.open(".", O_TMPFILE | O_RDWR | O_EXCL, 0o640)
    print(
        e(sys.linkat, AT_FDCWD, "/proc/self/fd/%d" % t2, AT_FDCWD, "named2", AT_SYMLINK_FOLLOW),
        e(sys.open, "f", O_TMPFILE | O_RDWR),
        e(sys.open, "zzz", O_TMPFILE | O_RDWR),
    )
    # links
    print(
        "link",
        e(sys.link, "d", "d2"),
        e(sys.link, "lf", "lf2"),
        oct(sys.lstat("lf2").st_mode),
        e(sys.link, "f", "d"),
        e(sys.link, "f", "f"),
        e(sys.link, "f", "zz/"),
        e(sys.link, "f/", "zz"),
        e(sys.link, "f", "f/x"),
        e(sys.linkat, AT_FDCWD, "lf", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW),
        oct(sys.lstat("hard").st_mode),
        e(sys.linkat, AT_FDCWD, "f", AT_FDCWD, "q", 0x8000),
        e(sys.link, "dang", "dl"),
        e(sys.linkat, AT_FDCWD, "dang", AT_FDCWD, "dl2", AT_SYMLINK_FOLLOW),
    )
    print(
        "symlink",
        e(sys.symlink, "", "empty"),
        e(sys.symlink, "a", "f"),
        e(sys.symlink, "a", "zz/"),
        e(sys.symlink, "a" * 4095, "long1"),
        e(sys.symlink, "a" * 4096, "long2"),
        sys.lstat("long1").st_size,
        e(sys.stat, "long1"),
        e(sys.readlink, "f"),
        e(sys.readlinkat, AT_FDCWD, "lf", 0),
        e(sys.readlink, "d"),
        e(sys.readlinkat, AT_FDCWD, "long1", 3),
    )
    print(
        "mkdir",
        e(sys.mkdir, "f"),
        e(sys.mkdir, "f/x"),
        e(sys.mkdir, "dang"),
        e(sys.mkdir, "nd/"),
        e(sys.mkdir, "a/b"),
        e(sys.mkdir, "."),
        e(sys.mkdir, ".."),
        e(sys.mkdir, "/"),
        e(sys.mkdir, "ld/sub"),
        e(sys.mkdir, "x" * 256),
        e(sys.mkdir, ""),
        e(sys.mkdir, "dang/"),
    )
    print(
        "rmdir",
        e(sys.rmdir, "."),
        e(sys.rmdir, ".."),
        e(sys.rmdir, "d/."),
        e(sys.rmdir, "d/.."),
        e(sys.rmdir, "f"),
        e(sys.rmdir, "ld"),
        e(sys.rmdir, "ld/"),
        e(sys.rmdir, "d"),
        e(sys.rmdir, "d/sub/"),
        e(sys.rmdir, "/"),
        e(sys.rmdir, "nd"),
        e(sys.rmdir, "f/"),
        e(sys.rmdir, ""),
        e(sys.rmdir, "/tmp"),
    )
    print(
        "unlink",
        e(sys.unlink, "d"),
        e(sys.unlink, "f/"),
        e(sys.unlink, "lf/"),
        e(sys.unlink, "ld/"),
        e(sys.unlink, "."),
        e(sys.unlink, "/"),
        e(sys.unlink, "lf2"),
        e(sys.unlink, "loop"),
        e(sys.unlink, "d/"),
        e(sys.unlink, ""),
        e(sys.unlink, ".."),
        e(sys.unlinkat, AT_FDCWD, "f", 1),
    )
    print(
        "mknod",
        e(sys.mknod, "f", S_IFREG | 0o600),
        e(sys.mknod, "m1", S_IFREG | 0o7777),
        oct(sys.stat("m1").st_mode),
        e(sys.mknod, "m2", 0o600),
        oct(sys.stat("m2").st_mode),
        e(sys.mknod, "m3", S_IFDIR | 0o700),
        e(sys.mknod, "m4", S_IFLNK | 0o700),
        e(sys.mknod, "m5", S_IFSOCK | 0o700),
        oct(sys.stat("m5").st_mode),
        e(sys.mknod, "m6", S_IFCHR | 0o600, 0x103),
        sys.stat("m6").st_rdev,
        e(sys.mknod, "m7/", S_IFREG),
        e(sys.mknod, "m8", 0o170000),
        e(sys.open, "m5", O_RDONLY),
        e(sys.mknod, "m9", S_IFBLK | 0o600, 0x700),
    )
    print(sorted(n for n, _, t in sys.getdents64(sys.open(".", O_RDONLY)) if len(n) < 20))

    def clean(sys):
        for n, _, t in sys.getdents64(sys.open(".", O_RDONLY)):
            if n not in (".", ".."):
                if t == DT_DIR:
                    sys.chdir(n)
                    clean(sys)
                    sys.chdir("..")
                    sys.rmdir(n)
                else:
                    sys.unlink(n)

    clean(sys)
    sys.chdir("/")
    sys.rmdir(base)
