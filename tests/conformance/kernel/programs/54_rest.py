"""Calls that the other programs do not make: descriptors' attributes, vectors, identities, robust futexes, locked memory."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def word(sys, at):
    return int.from_bytes(sys.mem[at : at + 4], "little")


def main(sys, argv):
    name = "/tmp/trl-rest-%d" % sys.getpid()
    fd = sys.open(name, O_CREAT | O_RDWR, 0o644)
    print(sys.fchown(fd, 7, 8), sys.fstat(fd).st_uid, sys.fstat(fd).st_gid, err(sys.fchown, 99, 1, 1), sys.fdatasync(fd), sys.syncfs(fd), sys.fsync(fd), err(sys.fdatasync, 99), err(sys.syncfs, 99))
    print(sys.fstatfs(fd).f_bsize, sys.fstatfs(fd).f_namelen, err(sys.fstatfs, 99), sys.fchmodat2(AT_FDCWD, name, 0o600, 0), oct(sys.fstat(fd).st_mode), err(sys.fchmodat2, AT_FDCWD, name, 0o600, 77))
    print(sys.pwritev(fd, [b"one", b"two", b""], 1), sys.preadv(fd, [2, 0, 10], 0), err(sys.preadv, fd, [1], -1), err(sys.pwritev, fd, [b"x"], -1), err(sys.preadv, sys.pipe2()[0], [1], 0),
          sys.preadv2(fd, [4], 0), sys.pwritev2(fd, [b"end"], -1, RWF_APPEND), sys.preadv(fd, [100], 0), err(sys.preadv2, fd, [1], 0, 1 << 20), sys.readv(fd, [3, 3]), sys.writev(fd, [b"a", b"b"]))
    sys.symlink(name, name + "-l")
    print(err(sys.lsetxattr, name + "-l", "user.x", b"1"), err(sys.lremovexattr, name + "-l", "user.x"), err(sys.fremovexattr, fd, "user.none"), err(sys.fremovexattr, 99, "user.x"))
    sys.unlink(name + "-l")
    sys.unlink(name)
    print(sys.geteuid(), sys.getegid(), sys.getuid(), sys.getgid(), sys.setfsgid(5), sys.setfsgid(0), sys.setfsgid(-1))
    # accept without flags
    listener = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.bind(listener, name)
    sys.listen(listener, 1)
    client = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.connect(client, name)
    conn, _ = sys.accept(listener)
    print(sys.write(client, b"hello"), sys.read(conn, 10), sys.fcntl(conn, F_GETFD), err(sys.accept, client))
    sys.unlink(name)
    # memory
    a = sys.mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    print(sys.mlock2(a, 4096), sys.mlock2(a, 4096, MLOCK_ONFAULT), err(sys.mlock2, a, 4096, 9), err(sys.mlockall, 0), err(sys.mlockall, 99), sys.mlockall(MCL_CURRENT), sys.munlockall(),
          sys.membarrier(0) & 1, err(sys.membarrier, 1 << 20), err(sys.membarrier, 0, 1))
    # robust futexes: one that a thread holds when it ends
    def held(sys, pending):
        head, entry, lock = a, a + 64, a + 128

        def put(at, value):
            sys.mem[at : at + 8] = value.to_bytes(8, "little")

        put(head, head if pending else entry)
        put(head + 8, 64)
        put(head + 16, entry if pending else 0)
        put(entry, head)
        sys.mem[lock : lock + 4] = (sys.gettid() | FUTEX_WAITERS).to_bytes(4, "little")
        print("robust:", sys.set_robust_list(head, 24), err(sys.set_robust_list, head, 23), sys.get_robust_list() == (head, 24))
        sys.nanosleep(60 * MS)
        if pending:
            sys.kill(sys.getpid(), SIGKILL)

    for pending in (False, True):
        pid = sys.spawn(held, pending)
        sys.nanosleep(30 * MS)
        value = word(sys, a + 128)
        print(value & FUTEX_TID_MASK == pid, err(sys.futex, a + 128, FUTEX_WAIT, value), hex(word(sys, a + 128)), hex(sys.wait4(pid)[1]))
    print(err(sys.get_robust_list, 999999), sys.set_tid_address(a + 256) == sys.gettid())
