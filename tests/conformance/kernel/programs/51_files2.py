"""Files and directories once more: flags of open, names, times, links, sparse files, sticky and set-group directories."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    top = "/tmp/trl-f2-%d" % sys.getpid()
    sys.umask(0o22)
    sys.mkdir(top)
    sys.chdir(top)
    # open
    print(err(sys.open, "f", O_CREAT | O_EXCL | O_RDWR, 0o644), err(sys.open, "f", O_CREAT | O_EXCL), err(sys.open, "f/", O_RDONLY), err(sys.open, "f/x", O_RDONLY),
          err(sys.open, "", O_RDONLY), err(sys.open, "d/", O_CREAT | O_WRONLY), err(sys.open, ".", O_WRONLY), err(sys.open, ".", O_RDWR | O_CREAT),
          err(sys.open, "f", O_DIRECTORY), err(sys.open, "n" * 256, O_CREAT | O_WRONLY), err(sys.open, "n/" * 2100, O_RDONLY),
          err(sys.open, "f", O_CREAT | O_DIRECTORY), err(sys.open, "x", O_TMPFILE | O_RDWR), err(sys.open, ".", O_TMPFILE | O_RDONLY))
    sys.symlink("loop", "loop")
    sys.symlink("f", "s")
    sys.symlink("none", "dangling")
    print(err(sys.open, "loop", O_RDONLY), err(sys.open, "s", O_NOFOLLOW), err(sys.open, "s", O_NOFOLLOW | O_PATH) > 0, err(sys.open, "s", O_NOFOLLOW | O_DIRECTORY),
          err(sys.open, "dangling", O_RDONLY), err(sys.open, "dangling", O_CREAT | O_EXCL | O_WRONLY), err(sys.open, "s/", O_RDONLY), err(sys.unlink, "s/"))
    fd = sys.open("dangling", O_CREAT | O_WRONLY, 0o600)
    print(sys.stat("none").st_size, sys.write(fd, b"x" * 10), sys.lstat("dangling").st_size, sys.readlink("dangling"), err(sys.readlink, "f"))
    # O_TRUNC and O_APPEND, offsets
    a = sys.open("f", O_RDWR | O_APPEND)
    b = sys.open("f", O_RDWR)
    print(sys.write(a, b"aaaa"), sys.write(b, b"B"), sys.write(a, b"c"), sys.read(b, 10), sys.lseek(a, 0, 1), sys.pwrite64(a, b"dd", 0), sys.pread64(b, 20, 0))
    sys.open("f", O_RDONLY | O_TRUNC)
    print(sys.fstat(a).st_size, sys.write(b, b"late"), sys.pread64(b, 20, 0))
    print(err(sys.lseek, b, -1, 0), err(sys.lseek, b, -100, 1), err(sys.lseek, b, 0, 9), sys.lseek(b, 5, 2),
          err(sys.pread64, b, 1, -1), err(sys.read, b, 5))
    # O_PATH
    p = sys.open("f", O_PATH)
    print(err(sys.read, p, 1), err(sys.write, p, b"x"), err(sys.fchmod, p, 0o600), err(sys.ftruncate, p, 0), sys.fstat(p).st_nlink, err(sys.ioctl, p, FIONREAD), err(sys.fcntl, p, F_SETFL, 0))
    # sparse
    h = sys.open("holes", O_CREAT | O_RDWR, 0o644)
    sys.pwrite64(h, b"data", 100000)
    print(sys.fstat(h).st_size, sys.pread64(h, 4, 50000), sys.lseek(h, 0, SEEK_DATA) // 4096, sys.lseek(h, 0, SEEK_HOLE), sys.lseek(h, 100000, SEEK_HOLE), err(sys.lseek, h, 100004, SEEK_DATA), err(sys.lseek, h, 200000, SEEK_HOLE))
    print(sys.fallocate(h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 98304, 4096), sys.pread64(h, 4, 100000), err(sys.fallocate, h, FALLOC_FL_PUNCH_HOLE, 0, 10), err(sys.fallocate, h, 0, -1, 5),
          err(sys.fallocate, h, 0, 0, 0), sys.fallocate(h, FALLOC_FL_KEEP_SIZE, 0, 300000), sys.fstat(h).st_size, sys.fallocate(h, 0, 0, 200000), sys.fstat(h).st_size)
    # links
    print(sys.link("f", "hard"), sys.stat("f").st_nlink, err(sys.link, "f", "hard"), err(sys.link, ".", "dir"), err(sys.link, "none2", "x"), err(sys.linkat, AT_FDCWD, "s", AT_FDCWD, "ls", 0),
          oct(sys.lstat("ls").st_mode), sys.linkat(AT_FDCWD, "s", AT_FDCWD, "lf", AT_SYMLINK_FOLLOW), oct(sys.lstat("lf").st_mode), sys.stat("f").st_nlink)
    # rename
    sys.mkdir("d")
    sys.mkdir("d/e")
    sys.mkdir("other")
    print(err(sys.rename, "d", "d/e/x"), err(sys.rename, "d/e", "d"), err(sys.rename, "f", "d"), err(sys.rename, "d", "f"), err(sys.rename, "other", "d"), err(sys.rename, "d", "other"),
          err(sys.rename, "f", "hard"), sys.stat("f").st_nlink, err(sys.rename, "none2", "x"), err(sys.rename, "f", "f/"), err(sys.rename, "other", "new/"), err(sys.rename, ".", "x"), err(sys.rename, "other/..", "x"))
    print(sorted(n for n, i, t in sys.getdents64(sys.open(".", O_RDONLY))))
    # rmdir, unlink
    print(err(sys.rmdir, "other"), err(sys.rmdir, "new"), err(sys.rmdir, "f"), err(sys.rmdir, "."), err(sys.rmdir, "new/.."), err(sys.unlink, "new"), err(sys.unlink, "/"), err(sys.rmdir, "/"), err(sys.unlinkat, AT_FDCWD, "f", 77),
          err(sys.mkdir, "f"), err(sys.mkdir, "no/x"), err(sys.mkdir, "f/x"), err(sys.mkdir, "dangling2/"), err(sys.mkdir, "s"))
    # a removed working directory
    sys.mkdir("gone")
    sys.chdir("gone")
    sys.rmdir("../gone")
    print(err(sys.getcwd), err(sys.open, "x", O_CREAT | O_WRONLY), err(sys.mkdir, "x"), err(sys.stat, ".") and sys.stat(".").st_nlink, err(sys.chdir, ".."))
    sys.chdir(top)
    # times
    sys.utimensat(AT_FDCWD, "f", (1_000_000_001, 2_000_000_002))
    st = sys.stat("f")
    print(st.st_atime_ns, st.st_mtime_ns, err(sys.utimensat, AT_FDCWD, "none2", None), sys.utimensat(AT_FDCWD, "f", (UTIME_OMIT, 5)), sys.stat("f").st_atime_ns, sys.stat("f").st_mtime_ns)
    before = sys.stat("f").st_ctime_ns
    sys.chmod("f", 0o640)
    print(sys.stat("f").st_ctime_ns >= before, sys.stat("f").st_mtime_ns)
    # set-group directories, sticky
    sys.mkdir("d")
    sys.chown("d", 0, 1234)
    sys.chmod("d", 0o2777)
    sys.mkdir("d/sub")
    sys.close(sys.open("d/file", O_CREAT | O_WRONLY, 0o2755))
    print(sys.stat("d/sub").st_gid, oct(sys.stat("d/sub").st_mode), sys.stat("d/file").st_gid, oct(sys.stat("d/file").st_mode))
    sys.mkdir("sticky")
    sys.chmod("sticky", 0o1777)
    sys.chmod(top, 0o755)
    sys.close(sys.open("sticky/root", O_CREAT | O_WRONLY, 0o666))

    def user(sys):
        sys.setgid(1000)
        sys.setuid(1000)
        sys.close(sys.open("sticky/mine", O_CREAT | O_WRONLY, 0o600))
        print(err(sys.unlink, "sticky/root"), err(sys.rename, "sticky/root", "sticky/x"), err(sys.rename, "sticky/mine", "sticky/root"), sys.unlink("sticky/mine"))
        print(err(sys.open, "f", O_RDONLY), err(sys.open, "new2", O_CREAT | O_WRONLY), err(sys.chmod, "f", 0o777), err(sys.chown, "f", 1000, 1000), err(sys.utimensat, AT_FDCWD, "f", None),
              err(sys.access, "f", R_OK), err(sys.link, "f", "sticky/l"), err(sys.mknod, "sticky/dev", S_IFCHR | 0o600, 0x103), err(sys.mkdir, "d/u"), sys.stat("d/u").st_gid)
        sys.chmod("d/u", 0o2755)
        print(oct(sys.stat("d/u").st_mode))
    sys.wait4(sys.spawn(user))
    sys.chmod("f", 0o6755)
    fd = sys.open("f", O_WRONLY)
    def writes(sys):
        sys.setuid(1000)
        sys.write(fd, b"x")
    sys.wait4(sys.spawn(writes))
    print(oct(sys.stat("f").st_mode), sys.chown("f", 5, 6), oct(sys.stat("f").st_mode))

    def clean(path):
        fd = sys.open(path, O_RDONLY | O_DIRECTORY)
        for n, _, t in sys.getdents64(fd):
            if n not in (".", ".."):
                clean(path + "/" + n) if t == 4 else sys.unlink(path + "/" + n)
        sys.close(fd)
        sys.rmdir(path)
    sys.chdir("/")
    clean(top)
