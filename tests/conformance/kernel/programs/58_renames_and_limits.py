"""renameat2 of everything onto everything, sticky directories, a tmpfs that is full."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    base = "/tmp/ex%d" % sys.getpid()
    sys.mkdir(base)
    sys.mount("none", base, "tmpfs", 0, "size=1m,nr_inodes=200")
    sys.chdir(base)

    def put(n, data=b"x"):
        fd = sys.open(n, O_CREAT | O_WRONLY | O_TRUNC, 0o644)
        sys.write(fd, data)
        sys.close(fd)

    def r(a, b, fl=0):
        return e(sys.renameat2, AT_FDCWD, a, AT_FDCWD, b, fl)

    def tree():
        out = []

        def walk(d):
            fd = sys.open(d, O_RDONLY | O_DIRECTORY)
            for n, _, t in sorted(sys.getdents64(fd)):
                if n not in (".", ".."):
                    out.append(
                        d[2:]
                        + "/"
                        + n
                        + {DT_DIR: "/", DT_LNK: "@"}.get(t, "")
                        + ":"
                        + str(sys.lstat(d + "/" + n).st_nlink)
                    )
                    if t == DT_DIR:
                        walk(d + "/" + n)
            sys.close(fd)

        walk(".")
        return " ".join(out)

    put("f", b"f")
    put("g", b"g")
    sys.link("f", "f2")
    sys.mkdir("d")
    sys.mkdir("d/e")
    sys.mkdir("empty")
    put("d/in")
    sys.symlink("d", "sd")
    sys.symlink("f", "sf")
    sys.symlink("nope", "dang")
    print(tree())
    for a, b in (
        ("f", "f"),
        ("f", "f2"),
        ("f", "d"),
        ("d", "f"),
        ("d", "empty"),
        ("empty", "d"),
        ("d", "d/e"),
        ("d", "d/e/x"),
        ("d", "d"),
        ("d/e", "d"),
        ("d/e", "."),
        (".", "x"),
        ("d/.", "x"),
        ("d/..", "x"),
        ("..", "x"),
        ("x", "y"),
        ("f", "x/y"),
        ("f", "f/y"),
        ("f/", "y"),
        ("f", "y/"),
        ("d/", "d3/"),
        ("d3", "d"),
        ("d", "sf"),
        ("sd/", "moved"),
        ("sd", "sd2"),
        ("sf", "sf3"),
        ("f", "dang"),
        ("", "x"),
        ("f", ""),
        ("f", "n" * 256),
        ("/", "x"),
        ("f", "/"),
        ("empty/", "g"),
        ("g", "empty/"),
        ("/proc/self", "x"),
        ("g", "/proc/x"),
        ("g", "/tmp/other-%d" % sys.getpid()),
    ):
        print(a[:10], "->", b[:10], r(a, b))
    print(tree())
    put("p", b"p")
    put("q", b"q")
    sys.mkdir("x1")
    put("x1/in1")
    sys.mkdir("x2")
    for a, b, fl in (
        ("p", "q", RENAME_NOREPLACE),
        ("p", "new", RENAME_NOREPLACE),
        ("new", "p", RENAME_NOREPLACE),
        ("p", "p", RENAME_NOREPLACE),
        ("p", "q", RENAME_EXCHANGE),
        ("p", "nope", RENAME_EXCHANGE),
        ("nope", "p", RENAME_EXCHANGE),
        ("p", "x1", RENAME_EXCHANGE),
        ("p", "x1", RENAME_EXCHANGE),
        ("x1", "x2", RENAME_EXCHANGE),
        ("x1", "x2/in1", RENAME_EXCHANGE),
        ("x2", "x2/in1", RENAME_EXCHANGE),
        ("x2/in1", "x2", RENAME_EXCHANGE),
        ("p", "q", RENAME_EXCHANGE | RENAME_NOREPLACE),
        ("p", "q", 8),
        ("p", "w", RENAME_WHITEOUT),
        ("p", "p/", RENAME_EXCHANGE),
        ("p", "x1/", RENAME_EXCHANGE),
        ("p", "p", RENAME_EXCHANGE),
        ("p", "zz", RENAME_WHITEOUT | RENAME_EXCHANGE),
    ):
        print(a, b, fl, r(a, b, fl))
    print(tree())
    if e(sys.lstat, "w") != "ENOENT":
        print("whiteout", oct(sys.lstat("p").st_mode), sys.lstat("p").st_rdev)
    # sticky and permissions in renames
    sys.mkdir("st")
    sys.chmod("st", 0o1777)
    put("st/root")
    sys.chmod(".", 0o755)
    sys.mkdir("rd")
    sys.chmod("rd", 0o755)
    fd = sys.open("st/mine", O_CREAT | O_WRONLY, 0o600)
    sys.fchown(fd, 1000, 1000)
    sys.mkdir("st/dmine")
    sys.chown("st/dmine", 1000, 1000)
    sys.mkdir("st/droot")
    sys.mkdir("free")
    sys.chmod("free", 0o777)
    sys.mkdir("free/noW")
    sys.chown("free/noW", 2000, 2000)

    def user(sys):
        sys.setgroups([])
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        print(
            "user:",
            r("st/mine", "st/mine2"),
            r("st/root", "st/x"),
            r("st/mine2", "st/root"),
            e(sys.unlink, "st/root"),
            e(sys.rmdir, "st/droot"),
            r("st/mine2", "rd/x"),
            r("st/mine2", "free/mine"),
            r("st/dmine", "free/dm"),
            r("free/noW", "free/dm/x"),
            r("free/noW", "free/renamed"),
            e(sys.rmdir, "st/none"),
            r("free/mine", "st/root"),
            r("free/mine", "st/mine", RENAME_NOREPLACE),
            r("st/mine", "st/root", RENAME_EXCHANGE),
            e(sys.link, "st/root", "free/hl"),
            e(sys.link, "st/mine", "free/hl"),
            e(sys.mkdir, "rd/z"),
            e(sys.open, "rd/z", O_CREAT),
            e(sys.open, "st/root", O_WRONLY),
            e(sys.chmod, "st/root", 0o777),
            e(sys.chown, "st/mine", 1000, 5),
            e(sys.chown, "st/mine", 1001, 1000),
            e(sys.chown, "st/mine", -1, 1000),
            e(sys.utimensat, AT_FDCWD, "st/root", None),
            e(sys.truncate, "st/root", 0),
        )

    sys.wait4(sys.spawn(user))
    print(tree())
    # limits of tmpfs
    print("space", e(put, "big", b"z" * (1 << 21)))
    st = sys.statfs(".")
    print(st.f_bfree, sys.stat("big").st_size, st.f_type == TMPFS_MAGIC, st.f_blocks, st.f_files)
    fd = sys.open("big", O_RDWR)
    print(
        e(sys.write, fd, b"a" * 10),
        sys.lseek(fd, 0, SEEK_END),
        e(sys.write, fd, b"more"),
        e(sys.pwrite64, fd, b"x" * 4096, 1 << 30),
        e(sys.ftruncate, fd, 1 << 40),
        e(sys.fallocate, fd, 0, 0, 1 << 22),
        e(sys.fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 4096),
        e(put, "another", b"1"),
        e(sys.mkdir, "adir"),
        e(sys.symlink, "a" * 200, "asym"),
    )
    sys.ftruncate(fd, 0)
    print(sys.statfs(".").f_bfree, e(put, "another", b"1"))
    n = 0
    while (x := e(sys.mkdir, "many%d" % n)) == 0:
        n += 1
    print(
        x,
        sys.statfs(".").f_ffree,
        e(sys.open, "last", O_CREAT | O_RDWR),
        e(sys.link, "another", "al"),
        e(sys.symlink, "a", "b"),
        e(sys.mknod, "fifo", S_IFIFO | 0o600),
    )
    print("mount opts", [l.split()[2:4] for l in open_text(sys, "/proc/self/mounts").splitlines() if base in l])
    sys.close(fd)
    sys.chdir("/")
    print(e(sys.umount2, base, 0), e(sys.umount2, base, 0), e(sys.rmdir, base))


def open_text(sys, p):
    fd = sys.open(p, O_RDONLY)
    out = b""
    while c := sys.read(fd, 4096):
        out += c
    sys.close(fd)
    return out.decode()
