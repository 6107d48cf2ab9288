"""openat2's ways of walking; execveat; close_range; file calls with rare flags."""

from userland.abi import *

NO_XDEV, NO_MAGIC, NO_SYM, BENEATH, IN_ROOT = 1, 2, 4, 8, 16


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    top = "/tmp/trl-o2-%d" % sys.getpid()
    for d in (top, top + "/d", top + "/d/e"):
        sys.mkdir(d)
    sys.close(sys.open(top + "/d/f", O_CREAT | O_WRONLY, 0o644))
    sys.symlink("f", top + "/d/s")
    sys.symlink("/f", top + "/d/abs")
    sys.symlink("../out", top + "/d/up")
    sys.symlink("e/../f", top + "/d/inside")
    sys.close(sys.open(top + "/out", O_CREAT | O_WRONLY, 0o644))
    d = sys.open(top + "/d", O_RDONLY | O_DIRECTORY)

    def way(name, resolve, flags=O_RDONLY, mode=0):
        fd = err(sys.openat2, d, name, flags, mode, resolve)
        if isinstance(fd, int):
            sys.close(fd)
            return "ok"
        return fd

    for name in ("f", "s", "abs", "up", "inside", "../out", "e/../f", "..", ".", "/", "/f", top + "/d/f", "e/../../out", "none"):
        print(name.replace(top, "TOP"), [way(name, r) for r in (0, NO_SYM, BENEATH, IN_ROOT)])
    print(way("/proc/self/fd/0", NO_MAGIC), way("/proc/self/exe", BENEATH), way("/proc/self/cwd", NO_MAGIC))
    print(way("f", 0, O_RDONLY, 0o644), way("new", 0, O_CREAT | O_RDWR, 0o17777), way("f", 1 << 20), way("f", BENEATH | IN_ROOT),
          way("f", 0, 1 << 40), way("made", BENEATH, O_CREAT | O_RDWR, 0o600), way("../made", BENEATH, O_CREAT | O_RDWR, 0o600),
          way("/made2", IN_ROOT, O_CREAT | O_RDWR, 0o600))
    print(sorted(n for n, i, t in sys.getdents64(d) if n[0] != "."))
    # close_range
    fds = [sys.dup(0) for _ in range(6)]
    print(err(sys.close_range, 5, 4), err(sys.close_range, fds[0], fds[1], 99))
    sys.close_range(fds[1], fds[2])
    sys.close_range(fds[3], 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
    print([err(sys.fcntl, fd, F_GETFD) for fd in fds])
    # execveat
    program = "from userland.abi import *\ndef main(sys, argv):\n    print('ran', argv)\n    return 4\n"
    fd = sys.open(top + "/d/p.py", O_CREAT | O_WRONLY, 0o755)
    sys.write(fd, program.encode())
    sys.close(fd)
    sys.symlink("p.py", top + "/d/link.py")
    p = sys.open(top + "/d/p.py", O_RDONLY)

    def runs(sys, *args):
        print(err(sys.execveat, *args))
        return 99

    for args in ((d, "p.py", ["one"], {}), (p, "", ["two"], {}, AT_EMPTY_PATH), (d, "link.py", ["three"], {}, AT_SYMLINK_NOFOLLOW),
                 (d, "none.py", ["x"], {}), (p, "", ["x"], {}), (999, "p.py", ["x"], {}), (d, "p.py", ["x"], {}, 77), (p, "p.py", ["x"], {})):
        print(sys.wait4(sys.spawn(runs, *args))[1] >> 8)
    # files
    f = sys.open(top + "/d/f", O_RDWR)
    print(sys.sync_file_range(f, 0, 0, 2), err(sys.sync_file_range, f, -1, 0, 0), err(sys.sync_file_range, f, 0, 0, 99),
          err(sys.sync_file_range, sys.pipe2()[0], 0, 0, 2), sys.fadvise64(f, 0, 0, 3), err(sys.fadvise64, f, 0, 0, 99),
          err(sys.fadvise64, sys.pipe2()[0], 0, 0, 0), sys.readahead(f, 0, 100), err(sys.readahead, d, 0, 1))
    r, w = sys.pipe2()
    print(sys.vmsplice(w, [b"abc", b"def"]), sys.read(r, 10), err(sys.vmsplice, f, [b"x"]))
    x = sys.statx(d, "f", 0, STATX_ALL)
    print(oct(x.stx_mode), x.stx_size, x.stx_nlink, x.stx_mask & STATX_BASIC_STATS == STATX_BASIC_STATS, x.stx_ino == sys.fstat(f).st_ino)
    print(err(sys.statx, d, "none"), err(sys.statx, d, "f", 0x6000), err(sys.statx, d, "f", 0, 0x80000000), sys.statx(f, "", AT_EMPTY_PATH).stx_size)
    print(err(sys.renameat2, d, "f", d, "s", RENAME_NOREPLACE), err(sys.renameat2, d, "f", d, "s", RENAME_EXCHANGE), sys.lstat(top + "/d/f").st_mode >> 12,
          err(sys.renameat2, d, "f", d, "none", RENAME_EXCHANGE), err(sys.renameat2, d, "f", d, "s", 3), err(sys.renameat2, d, "f", d, "s", 64))
    print(sys.faccessat2(d, "s", R_OK, AT_EACCESS), err(sys.faccessat2, d, "s", 9), err(sys.faccessat2, d, "s", R_OK, 77))

    def clean(path):
        fd = sys.open(path, O_RDONLY | O_DIRECTORY)
        for n, _, t in sys.getdents64(fd):
            if n not in (".", ".."):
                clean(path + "/" + n) if t == 4 else sys.unlink(path + "/" + n)
        sys.close(fd)
        sys.rmdir(path)
    clean(top)
