"""O_APPEND writes at the current end, atomically; pwrite appends too."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    name = "/tmp/trl-append-%d" % sys.getpid()
    a = sys.open(name, O_CREAT | O_RDWR | O_APPEND, 0o644)
    b = sys.open(name, O_RDWR)
    sys.write(a, b"one ")
    sys.write(b, b"ONE TWO ")
    print("offset before:", sys.lseek(a, 0, SEEK_CUR))
    sys.write(a, b"three")
    print(sys.pread64(b, 100, 0), sys.lseek(a, 0, SEEK_CUR), sys.lseek(b, 0, SEEK_CUR))
    sys.lseek(a, 0, SEEK_SET)
    print("reads where it is:", sys.read(a, 3))
    sys.write(a, b"!")
    print("after a write it is at the end:", sys.lseek(a, 0, SEEK_CUR), sys.read(a, 10))
    print("pwrite appends:", sys.pwrite64(a, b"PW", 0), sys.pread64(b, 100, 0), sys.lseek(a, 0, SEEK_CUR))
    print("pwritev too:", sys.pwritev(a, [b"v", b"w"], 1), sys.pread64(b, 100, 0))
    sys.fcntl(a, F_SETFL, 0)
    sys.lseek(a, 0, SEEK_SET)
    sys.write(a, b"X")
    print("cleared:", sys.pread64(b, 100, 0), oct(sys.fcntl(a, F_GETFL)))
    sys.fcntl(a, F_SETFL, O_APPEND)
    sys.write(a, b"Y")
    print("set:", sys.pread64(b, 100, 0))
    sys.ftruncate(a, 3)
    sys.write(a, b"Z")
    print("after truncate:", sys.pread64(b, 100, 0))
    sys.ftruncate(a, 0)

    def appender(sys, letter):
        fd = sys.open(name, O_WRONLY | O_APPEND)
        for _ in range(50):
            sys.write(fd, letter * 100)
        return 0

    pids = [sys.spawn(appender, letter) for letter in (b"p", b"q", b"r")]
    for pid in pids:
        sys.wait4(pid)
    data = b""
    while len(data) < 15_000:
        data += sys.pread64(b, 20_000, len(data))
    print(
        "nothing lost:",
        len(data),
        [data.count(x) for x in (b"p", b"q", b"r")],
        all(len(set(data[i : i + 100])) == 1 for i in range(0, 15_000, 100)),
    )
    print("negative:", err(sys.pwrite64, a, b"x", -1), err(sys.pread64, a, 1, -1), err(sys.lseek, a, -1, SEEK_SET))
    print("RWF_APPEND:", sys.pwritev2(b, [b"end"], 0, 0x10), sys.fstat(b).st_size)
    print("preadv2 at the offset:", sys.lseek(b, 0, SEEK_SET), [len(x) for x in sys.preadv2(b, [1, 2], -1, 0)], sys.lseek(b, 0, SEEK_CUR))
    print("bad flags:", err(sys.preadv2, b, [1], 0, 1 << 20))
    sys.unlink(name)
