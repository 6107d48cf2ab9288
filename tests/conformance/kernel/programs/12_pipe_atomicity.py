"""A write of PIPE_BUF bytes or fewer is atomic; longer ones may interleave but keep their bytes."""

from userland.abi import *

PIPE_BUF = 4096


def main(sys, argv):
    r, w = sys.pipe2()

    def writer(sys, letter, size, count):
        sys.close(r)
        for _ in range(count):
            assert sys.write(w, letter * size) == size
        return 0

    sizes = [(b"a", 4096), (b"b", 4095), (b"c", 1000), (b"d", 1)]
    pids = [sys.spawn(writer, letter, size, 40) for letter, size in sizes]
    sys.close(w)
    stream = b""
    while True:
        chunk = sys.read(r, 3000)
        if not chunk:
            break
        stream += chunk
    for pid in pids:
        assert sys.wait4(pid)[1] == 0
    print("total", len(stream) == sum(size * 40 for _, size in sizes))
    # Every run of a letter must be a whole number of its writes.
    runs = []
    for byte in stream:
        if runs and runs[-1][0] == byte:
            runs[-1][1] += 1
        else:
            runs.append([byte, 1])
    print("whole writes only:", all(length % dict((l[0], s) for l, s in sizes)[byte] == 0 for byte, length in runs))

    # one page is free: PIPE_BUF fits, more than that waits or is partial
    r, w = sys.pipe2(O_NONBLOCK)
    total = 0
    try:
        while True:
            total += sys.write(w, b"x" * 4096)
    except BlockingIOError:
        pass
    print("capacity", total, sys.fcntl(w, F_GETPIPE_SZ))
    sys.read(r, 4096)
    print("partial:", sys.write(w, b"y" * 10000))
    sys.read(r, 100)
    for size in (1, 100, 4096, 5000):
        try:
            print(size, sys.write(w, b"z" * size))
        except BlockingIOError:
            print(size, "EAGAIN")
    print("ready to write:", sys.ppoll([(w, POLLOUT)], 0))
    sys.read(r, 3996)
    print("ready to write:", sys.ppoll([(w, POLLOUT)], 0) == [(w, POLLOUT)])

    # F_SETPIPE_SZ
    r, w = sys.pipe2()
    print("sizes", sys.fcntl(w, F_SETPIPE_SZ, 1), sys.fcntl(w, F_SETPIPE_SZ, 5000), sys.fcntl(w, F_SETPIPE_SZ, 1 << 20))
    sys.write(w, b"q" * 100_000)
    try:
        sys.fcntl(w, F_SETPIPE_SZ, 4096)
    except OSError as error:
        print("shrink:", errno_name(error.errno))
    print("FIONREAD", sys.ioctl(r, FIONREAD))

    # O_DIRECT: packets
    r, w = sys.pipe2(O_DIRECT)
    sys.write(w, b"one")
    sys.write(w, b"three")
    sys.write(w, b"five!")
    print("packets:", sys.read(r, 100), sys.read(r, 2), sys.read(r, 100))
