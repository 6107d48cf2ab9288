"""Symbolic links: ELOOP at 40, trailing slashes, O_NOFOLLOW, O_CREAT and O_EXCL."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    here = "/tmp/trl-links-%d" % sys.getpid()
    sys.mkdir(here)
    sys.chdir(here)
    sys.close(sys.open("file", O_CREAT | O_WRONLY, 0o644))
    sys.mkdir("dir")
    previous = "file"
    for n in range(1, 42):
        sys.symlink(previous, "l%d" % n)
        previous = "l%d" % n
    print(
        "forty:",
        err(sys.stat, "l40") != "ELOOP",
        err(sys.stat, "l41"),
        err(sys.open, "l41", O_RDONLY),
        sys.lstat("l41").st_size,
    )
    sys.symlink("dir", "ld0")
    path = "/".join(["."] * 3)
    sys.symlink("loop", "loop")
    print(
        "loop:",
        err(sys.stat, "loop"),
        err(sys.open, "loop", O_CREAT | O_WRONLY),
        err(sys.open, "loop", O_CREAT | O_EXCL | O_WRONLY),
        err(sys.chdir, "loop"),
        err(sys.mkdir, "loop"),
        err(sys.unlink, "loop"),
    )
    sys.symlink("nowhere", "dangling")
    print(
        "dangling:",
        err(sys.stat, "dangling"),
        sys.lstat("dangling").st_size,
        err(sys.open, "dangling", O_CREAT | O_EXCL | O_RDWR),
        err(sys.mkdir, "dangling"),
        err(sys.mkdir, "dangling/"),
    )
    fd = sys.open("dangling", O_CREAT | O_WRONLY, 0o600)
    print("O_CREAT through it:", sys.stat("nowhere").st_size, sys.readlink("dangling"))
    sys.close(fd)
    sys.unlink("nowhere")
    print(
        "O_NOFOLLOW:",
        err(sys.open, "l1", O_RDONLY | O_NOFOLLOW),
        err(sys.open, "ld0", O_RDONLY | O_NOFOLLOW),
        err(sys.open, "ld0/", O_RDONLY | O_NOFOLLOW) not in ("ELOOP", "ENOTDIR"),
        err(sys.open, "ld0", O_RDONLY | O_NOFOLLOW | O_DIRECTORY),
        err(sys.open, "l1", O_CREAT | O_NOFOLLOW | O_RDWR),
    )
    p = sys.open("l1", O_PATH | O_NOFOLLOW)
    print(
        "O_PATH of the link:",
        sys.fstat(p).st_mode >> 12,
        sys.readlinkat(p, ""),
        err(sys.read, p, 1),
        err(sys.fchmod, p, 0o600),
    )
    print(
        "trailing slashes:",
        err(sys.stat, "file/"),
        err(sys.open, "file/", O_RDONLY),
        err(sys.open, "new/", O_CREAT | O_WRONLY),
        err(sys.unlink, "file/"),
        err(sys.unlink, "dir/"),
        err(sys.unlink, "ld0/"),
        err(sys.rmdir, "ld0"),
        err(sys.rmdir, "ld0/"),
        sys.mkdir("made/"),
        sys.rmdir("made/"),
        err(sys.mkdir, "dir/"),
        err(sys.symlink, "x", "y/"),
        err(sys.link, "file", "z/"),
    )
    print("lstat:", sys.lstat("ld0").st_mode >> 12, sys.lstat("ld0/").st_mode >> 12, sys.lstat("ld0/.").st_mode >> 12)
    print(
        "dots:",
        err(sys.rmdir, "dir/."),
        err(sys.rmdir, "dir/.."),
        err(sys.mkdir, "."),
        err(sys.unlink, ".."),
        err(sys.rmdir, "/"),
    )
    print(
        "empty:",
        err(sys.stat, ""),
        err(sys.open, "", O_RDONLY),
        err(sys.symlink, "", "e"),
        err(sys.readlink, ""),
        err(sys.mkdir, ""),
    )
    print(
        "through a file:",
        err(sys.stat, "file/x"),
        err(sys.mkdir, "file/x"),
        err(sys.open, "file/x", O_CREAT | O_WRONLY),
    )
    print(
        "names:",
        err(sys.stat, "n" * 255),
        err(sys.stat, "n" * 256),
        err(sys.mkdir, "n" * 256),
        err(sys.stat, "/" + "a/" * 2047 + "a"),
        err(sys.stat, "x" * 4096),
    )
    print(
        "O_DIRECTORY:",
        err(sys.open, "file", O_RDONLY | O_DIRECTORY),
        err(sys.open, "dir", O_RDWR),
        err(sys.open, "dir", O_RDONLY | O_CREAT),
        err(sys.open, "dir", O_RDONLY | O_TRUNC),
        err(sys.open, "file", O_CREAT | O_EXCL | O_WRONLY),
        err(sys.open, "new", O_CREAT | O_DIRECTORY),
    )
    print(
        "readlink:",
        err(sys.readlink, "file"),
        err(sys.readlink, "none"),
        sys.readlinkat(AT_FDCWD, "l1", 2),
        err(sys.readlinkat, AT_FDCWD, "l1", 0),
    )
    print(
        "hard links:",
        err(sys.link, "dir", "hd"),
        err(sys.link, "none", "x"),
        err(sys.link, "file", "l1"),
        sys.link("l1", "hl"),
        sys.lstat("hl").st_mode >> 12,
        sys.linkat(AT_FDCWD, "l1", AT_FDCWD, "hf", AT_SYMLINK_FOLLOW),
        sys.lstat("hf").st_nlink,
    )
    d = sys.open("dir", O_RDONLY | O_DIRECTORY)
    f = sys.open("file", O_RDONLY)
    print(
        "dirfd:",
        sys.close(sys.openat(d, "in", O_CREAT | O_WRONLY, 0o644)),
        sys.stat("dir/in").st_size,
        err(sys.openat, f, "x", O_RDONLY),
        err(sys.openat, 999, "x", O_RDONLY),
        sys.openat(999, here + "/file", O_RDONLY) > 0,
        sys.newfstatat(d, "", AT_EMPTY_PATH).st_mode >> 12,
        sys.unlinkat(d, "in", 0),
        err(sys.unlinkat, AT_FDCWD, "dir", 0),
        err(sys.unlinkat, AT_FDCWD, "file", AT_REMOVEDIR),
    )
    print(
        "above the root:",
        sys.stat("/..").st_ino == sys.stat("/").st_ino,
        sys.stat("/../../tmp").st_ino == sys.stat("/tmp").st_ino,
    )
    for n in range(1, 42):
        sys.unlink("l%d" % n)
    for name in ("file", "ld0", "dangling", "hl", "hf"):
        sys.unlink(name)
    sys.rmdir("dir")
    sys.chdir("/")
    sys.rmdir(here)
