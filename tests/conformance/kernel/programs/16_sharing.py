"""dup and fork share offset and status flags; FD_CLOEXEC is the descriptor's own; /proc/self/fd makes a new one."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    name = "/tmp/trl-share-%d" % sys.getpid()
    a = sys.open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
    sys.write(a, b"0123456789")
    b = sys.dup(a)
    c = sys.open(name, O_RDONLY)
    sys.lseek(a, 4, SEEK_SET)
    print("dup shares:", sys.read(b, 2), sys.lseek(a, 0, SEEK_CUR), "open does not:", sys.read(c, 2))
    print("cloexec:", sys.fcntl(a, F_GETFD), sys.fcntl(b, F_GETFD))
    sys.fcntl(b, F_SETFD, FD_CLOEXEC)
    sys.fcntl(a, F_SETFD, 0)
    print("cloexec:", sys.fcntl(a, F_GETFD), sys.fcntl(b, F_GETFD))
    sys.fcntl(a, F_SETFL, O_APPEND)
    print("flags are shared:", oct(sys.fcntl(b, F_GETFL) & O_APPEND), oct(sys.fcntl(c, F_GETFL) & O_APPEND))
    sys.fcntl(a, F_SETFL, 0)

    def child(sys):
        sys.lseek(a, 7, SEEK_SET)
        sys.close(b)
        sys.fcntl(a, F_SETFD, FD_CLOEXEC)
        return 0

    sys.wait4(sys.spawn(child))
    print("fork shares the offset:", sys.read(a, 1), "not the table:", sys.fcntl(b, F_GETFD), sys.fcntl(a, F_GETFD))

    def sharer(sys):
        sys.close(c)
        sys.dup3(a, 50, 0)
        return 0

    sys.wait4(sys.clone(sharer, flags=CLONE_FILES | SIGCHLD))
    print("CLONE_FILES shares the table:", err(sys.read, c, 1), sys.fcntl(50, F_GETFD))
    sys.close(50)

    def mover(sys):
        sys.chdir("/")
        sys.umask(0o77)
        return 0

    here = sys.getcwd()
    sys.chdir("/tmp")
    sys.umask(0o22)
    sys.wait4(sys.clone(mover, flags=SIGCHLD))
    print("copied:", sys.getcwd(), oct(sys.umask(0o22)))
    sys.wait4(sys.clone(mover, flags=CLONE_FS | SIGCHLD))
    print("CLONE_FS:", sys.getcwd(), oct(sys.umask(0o22)))
    sys.chdir(here)

    d = sys.open("/proc/self/fd/%d" % a, O_RDONLY)
    print("a new description:", sys.lseek(d, 0, SEEK_CUR), sys.read(d, 3), sys.lseek(a, 0, SEEK_CUR))
    e = sys.open("/dev/fd/%d" % a, O_RDONLY)
    print("/dev/fd:", sys.read(e, 3))
    print("readlink:", sys.readlink("/proc/self/fd/%d" % a) == name)
    sys.unlink(name)
    print("after unlink:", sys.readlink("/proc/self/fd/%d" % a) == name + " (deleted)")
    f = sys.open("/proc/self/fd/%d" % a, O_RDWR)
    print("opens it all the same:", sys.read(f, 3), sys.fstat(f).st_nlink)
    r, w = sys.pipe2()
    g = sys.open("/proc/self/fd/%d" % r, O_WRONLY)
    sys.write(g, b"by name")
    print("a pipe:", sys.read(r, 10), oct(sys.fcntl(g, F_GETFL) & O_ACCMODE))
    print(
        "bad:",
        err(sys.dup, 999),
        err(sys.dup3, a, a, 0),
        err(sys.dup3, a, 70, 1),
        err(sys.dup2, 999, 999),
        sys.dup2(a, a) == a,
    )
    print(
        "dup3:",
        sys.dup3(a, 70, O_CLOEXEC),
        sys.fcntl(70, F_GETFD),
        sys.fcntl(a, F_DUPFD, 60),
        sys.fcntl(a, F_DUPFD_CLOEXEC, 60),
    )
    print(
        "close_range:",
        sys.close_range(60, 69, 0),
        err(sys.fcntl, 60, F_GETFD),
        sys.fcntl(70, F_GETFD),
        err(sys.close_range, 5, 4, 0),
    )
