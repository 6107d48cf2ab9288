"""inotify: the events of every change, masks, one shot, unlinked names, unmounting, overflow."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    import struct

    base = "/tmp/exi-in"
    sys.mkdir(base)
    sys.chdir(base)
    names = {
        v: k
        for k, v in list(globals().items())
        if k.startswith("IN_")
        and isinstance(v, int)
        and bin(v).count("1") == 1
        and k not in ("IN_CLOEXEC", "IN_NONBLOCK")
    }
    fd = sys.inotify_init1(IN_NONBLOCK)
    cook = {}

    def ev():
        out = []
        while not isinstance(b := e(sys.read, fd, 4096), str):
            at = 0
            while at < len(b):
                wd, mask, cookie, ln = struct.unpack_from("iIII", b, at)
                nm = b[at + 16 : at + 16 + ln].rstrip(b"\0").decode()
                at += 16 + ln
                out.append(
                    "%d:%s%s%s"
                    % (
                        wd,
                        "|".join(names.get(1 << i, hex(1 << i))[3:] for i in range(32) if mask >> i & 1),
                        "=" + nm if nm else "",
                        " c%d" % cook.setdefault(cookie, len(cook) + 1) if cookie else "",
                    )
                )
        return out

    def put(n, d=b"x", fl=O_CREAT | O_WRONLY):
        f = sys.open(n, fl, 0o644)
        sys.write(f, d)
        sys.close(f)

    sys.mkdir("d")
    sys.mkdir("d2")
    put("d/f")
    print(
        e(sys.inotify_add_watch, fd, "none", IN_ALL_EVENTS),
        e(sys.inotify_add_watch, fd, "d", 0),
        e(sys.inotify_add_watch, fd, "d/f", IN_ALL_EVENTS | IN_ONLYDIR),
        e(sys.inotify_add_watch, 0, "d", IN_CREATE),
        e(sys.inotify_rm_watch, fd, 99),
        e(sys.inotify_init1, 5),
        e(sys.read, fd, 10),
        e(sys.write, fd, b"x"),
    )
    a = sys.inotify_add_watch(fd, "d", IN_ALL_EVENTS)
    b = sys.inotify_add_watch(fd, "d/f", IN_ALL_EVENTS)
    print(a, b, sys.inotify_add_watch(fd, "./d", IN_ALL_EVENTS))
    put("d/f", b"more", O_WRONLY | O_APPEND)
    print(ev())
    sys.close(sys.open("d/f", O_RDONLY))
    print(ev())
    f = sys.open("d/f", O_RDONLY)
    sys.read(f, 10)
    sys.read(f, 10)
    sys.close(f)
    print(ev())
    sys.chmod("d/f", 0o600)
    sys.utimensat(AT_FDCWD, "d/f", (1, 2))
    sys.chown("d/f", 1, 1)
    sys.link("d/f", "d/g")
    sys.truncate("d/f", 1)
    sys.setxattr("d/f", "user.a", b"1")
    sys.removexattr("d/f", "user.a")
    print(ev())
    sys.rename("d/g", "d/h")
    sys.rename("d/h", "d2/h")
    sys.rename("d2/h", "d/i")
    sys.rename("d/f", "d/j")
    print(ev())
    sys.mkdir("d/sub")
    put("d/sub/x")
    sys.rmdir("d/sub") if False else None
    sys.symlink("j", "d/s")
    sys.mkfifo("d/ff")
    sys.unlink("d/s")
    sys.unlink("d/ff")
    sys.getdents64(sys.open("d", O_RDONLY))
    sys.unlink("d/sub/x")
    sys.rmdir("d/sub")
    print(ev())
    sys.unlink("d/i")
    print(ev())
    hold = sys.open("d/j", O_RDONLY)
    sys.unlink("d/j")
    print(ev())
    sys.close(hold)
    print(ev())
    print(e(sys.inotify_rm_watch, fd, b))
    sys.rename("d", "dd")
    print(ev())
    sys.rmdir("dd")
    print(ev(), e(sys.inotify_rm_watch, fd, a))
    w = sys.inotify_add_watch(fd, "d2", IN_CREATE)
    print(
        w,
        e(sys.inotify_add_watch, fd, "d2", IN_CREATE | IN_MASK_CREATE),
        sys.inotify_add_watch(fd, "d2", IN_DELETE | IN_MASK_ADD),
        e(sys.inotify_add_watch, fd, "d2", IN_MASK_ADD | IN_MASK_CREATE | IN_DELETE),
    )
    put("d2/a")
    sys.unlink("d2/a")
    print(ev())
    sys.inotify_add_watch(fd, "d2", IN_DELETE)
    put("d2/b")
    sys.unlink("d2/b")
    print(ev())
    print(sys.inotify_rm_watch(fd, w), ev())
    w = sys.inotify_add_watch(fd, "d2", IN_CREATE | IN_ONESHOT)
    put("d2/c")
    put("d2/d")
    print(ev(), e(sys.inotify_rm_watch, fd, w))
    w = sys.inotify_add_watch(fd, "d2", IN_MODIFY | IN_ACCESS | IN_EXCL_UNLINK)
    f = sys.open("d2/c", O_RDWR)
    sys.write(f, b"1")
    sys.unlink("d2/c")
    sys.write(f, b"2")
    sys.pread64(f, 1, 0)
    print(ev())
    sys.inotify_add_watch(fd, "d2", IN_MODIFY | IN_ACCESS)
    sys.write(f, b"3")
    print(ev())
    sys.close(f)
    # coalescing, FIONREAD, small buffers
    w = sys.inotify_add_watch(fd, "d2", IN_MODIFY | IN_OPEN | IN_CLOSE)
    f = sys.open("d2/d", O_WRONLY)
    [sys.write(f, b"x") for _ in range(5)]
    print(
        sys.ioctl(fd, FIONREAD),
        e(sys.read, fd, 16),
        sys.ppoll([(fd, POLLIN)], 0) == [(fd, POLLIN)],
        len(sys.read(fd, 40)),
        ev(),
    )
    sys.close(f)
    ev()
    sys.symlink("d2", "ln")
    print(sys.inotify_add_watch(fd, "ln", IN_OPEN) == w, sys.inotify_add_watch(fd, "ln", IN_OPEN | IN_DONT_FOLLOW) == w)
    sys.inotify_rm_watch(fd, w)
    ev()
    # unmount, exchange, O_TMPFILE, exec, mmap nothing
    sys.mkdir("m")
    sys.mount("x", "m", "tmpfs")
    w = sys.inotify_add_watch(fd, "m", IN_ALL_EVENTS)
    put("m/f")
    w2 = sys.inotify_add_watch(fd, "m/f", IN_ALL_EVENTS)
    ev()
    sys.umount2("m", 0)
    print(sorted(x.split(":")[1] for x in ev()))
    put("p")
    put("q")
    w = sys.inotify_add_watch(fd, ".", IN_ALL_EVENTS)
    wp = sys.inotify_add_watch(fd, "p", IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB)
    sys.renameat2(AT_FDCWD, "p", AT_FDCWD, "q", RENAME_EXCHANGE)
    print(len(ev()))
    sys.rename("p", "q")
    print([x.split(":")[1] for x in ev()])
    sys.close(sys.open(".", O_TMPFILE | O_RDWR))
    print([x.split(":")[1][:6] for x in ev()])
    f = sys.open("q", O_RDWR | O_TRUNC)
    sys.ftruncate(f, 0)
    sys.ftruncate(f, 10)
    sys.fallocate(f, 0, 0, 20)
    sys.splice(sys.open("/dev/zero", O_RDONLY), None, sys.pipe2()[1], None, 1)
    sys.sendfile(f, sys.open("/etc/passwd" if False else "q", O_RDONLY), 0, 5)
    print([x.split(":")[1] for x in ev()])
    s = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.bind(s, "sk")
    sys.unlink("sk")
    sys.mknod("nod", S_IFREG | 0o600)
    sys.chmod(".", 0o700)
    print([x.split(":")[1] for x in ev()])
    # overflow
    o = sys.inotify_init1(IN_NONBLOCK)
    sys.inotify_add_watch(o, ".", IN_CREATE | IN_DELETE)
    n = 0
    for i in range(8300):
        sys.close(sys.open("z", O_CREAT | O_WRONLY))
        sys.unlink("z")
    tot = 0
    last = None
    while not isinstance(x := e(sys.read, o, 65536), str):
        at = 0
        while at < len(x):
            wd, mask, ck, ln = struct.unpack_from("iIII", x, at)
            at += 16 + ln
            tot += 1
            last = (wd, hex(mask))
    print("overflow", tot, last)
    sys.chdir("/")
    rmtree(sys, base)


def rmtree(sys, d):
    for n, _, t in sys.getdents64(sys.open(d, O_RDONLY)):
        if n not in (".", ".."):
            if t == DT_DIR:
                rmtree(sys, d + "/" + n)
            else:
                sys.unlink(d + "/" + n)
    sys.rmdir(d)
