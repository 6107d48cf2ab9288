"""What a block device answers: run inside on /dev/vda, and on the host's kernel on a loop device. argv: the device, its
size, another one that is read-only.
"""

import struct

from userland.abi import *


def main(sys, argv):
    device, size, readonly = argv[1], int(argv[2]), argv[3]

    def say(what, function, *args):
        try:
            print(what, function(*args))
        except OSError as why:
            print(what, errno_name(why.errno))

    def aligned(function, *args):
        """A direct transfer of one sector: the host's fails too where Python's buffer crosses a page."""
        junk = []  # of the same sizes: it takes the place of the buffer that crossed a page
        for i in range(100):
            try:
                return function(*args)
            except OSError as why:
                if why.errno != EINVAL:
                    raise
                junk += [bytes(b"%d" % i * 512)[:512], bytes(bytearray(512)), bytes(bytearray(4096))]
        raise OSError(EINVAL, "each time")

    kept = []

    def another(data):
        """A copy somewhere else in memory."""
        kept.append(bytes(bytearray(data)))
        return kept[-1]

    fd = sys.open(device, O_RDWR)
    st = sys.fstat(fd)
    print(st.st_mode & S_IFMT == S_IFBLK, st.st_size, st.st_blocks)
    for name in (
        "BLKGETSIZE64 BLKGETSIZE BLKSSZGET BLKPBSZGET BLKBSZGET BLKROGET BLKSECTGET BLKIOMIN BLKIOOPT BLKALIGNOFF "
        "BLKDISCARDZEROES"
    ).split():
        say(name, sys.ioctl, fd, globals()[name])
    say("flush", sys.ioctl, fd, BLKFLSBUF, 0)
    say("partitions", sys.ioctl, fd, BLKRRPART, 0)
    for what, args in {
        "end": (0, SEEK_END), "beyond": (size + 1, 0), "negative": (-1, 0), "data": (0, SEEK_DATA),
        "hole": (0, SEEK_HOLE), "set": (size, 0), "cur": (-5, SEEK_CUR),
    }.items():
        say(what, sys.lseek, fd, *args)
    say("write at the end", sys.pwrite64, fd, b"x", size)
    say("write nothing at the end", sys.pwrite64, fd, b"", size)
    say("write beyond", sys.pwrite64, fd, b"x", size + 9999)
    say("write across", sys.pwrite64, fd, b"y" * 100, size - 36)
    say("read across", sys.pread64, fd, 100, size - 36)
    say("read at the end", sys.pread64, fd, 10, size)
    say("read beyond", sys.pread64, fd, 10, size + 9999)
    say("ftruncate", sys.ftruncate, fd, 0)
    say("getdents", sys.getdents64, fd)
    say("fsync", sys.fsync, fd)
    say("fdatasync", sys.fdatasync, fd)
    say("sync_file_range", sys.sync_file_range, fd, 0, 0, 7)
    say("readahead", sys.readahead, fd, 0, 4096)
    end = sys.open(device, O_WRONLY | O_APPEND)
    say("append", sys.write, end, b"begin")
    say("where", sys.lseek, end, 0, SEEK_CUR)
    say("read", sys.pread64, fd, 6, 0)
    say("not readable", sys.read, end, 1)
    say("trunc", lambda: sys.close(sys.open(device, O_RDWR | O_TRUNC)))
    say("still there", sys.pread64, fd, 5, 0)
    say("create", lambda: sys.close(sys.open(device, O_RDWR | O_CREAT, 0o600)))
    say("create exclusively", sys.open, device, O_RDWR | O_CREAT | O_EXCL, 0o600)
    say("directory", sys.open, device, O_RDONLY | O_DIRECTORY)
    exclusive = sys.open(device, O_RDWR | O_EXCL)
    say("exclusive", sys.open, device, O_RDONLY | O_EXCL)
    sys.close(exclusive)
    direct = sys.open(device, O_RDWR | O_DIRECT)
    for count, pos in ((512, 0), (100, 0), (512, 100), (4096, size - 512), (512, size), (100, size), (512, 512)):
        say(f"direct read {count} {pos}", lambda: len(aligned(lambda: sys.pread64(direct, count, pos))))
        say(f"direct write {count} {pos}", aligned, lambda: sys.pwrite64(direct, another(b"z" * count), pos))
    say("what direct wrote", sys.pread64, fd, 6, 0)
    for request in ("BLKZEROOUT", "BLKDISCARD"):
        for start, length in ((0, 100), (100, 512), (size, 512), (0, size + 512)):
            say(f"{request} {start} {length}", sys.ioctl, fd, globals()[request], struct.pack("QQ", start, length))
    say("zero", sys.ioctl, fd, BLKZEROOUT, struct.pack("QQ", 512, 1024))
    say("zeroed", sys.pread64, fd, 1026, 511)
    reader = sys.open(device, O_RDONLY)
    say("discard by a reader", sys.ioctl, reader, BLKDISCARD, struct.pack("QQ", 0, 512))
    say("fadvise", sys.fadvise64, reader, 0, 0, 4)
    say("flags", lambda: sys.fcntl(reader, F_GETFL) & O_DIRECT)
    say("set direct", sys.fcntl, reader, F_SETFL, O_DIRECT)
    say("direct now", sys.pread64, reader, 7, 0)
    say("poll", lambda: sys.ppoll([(reader, POLLIN | POLLOUT)], 0)[0][1])
    other = sys.open(readonly, O_RDWR)
    say("read-only", sys.ioctl, other, BLKROGET)
    say("write", sys.write, other, b"x")
    say("write nothing", sys.write, other, b"")
    say("zero", sys.ioctl, other, BLKZEROOUT, struct.pack("QQ", 0, 512))
    say("fsync", sys.fsync, other)
    # a walk of reads and writes, each judged by what it gives
    state = 12345
    fds = [fd, sys.open(device, O_RDWR | O_DSYNC), direct]
    for _ in range(400):
        state = (state * 1103515245 + 12345) % (1 << 31)
        which, kind = fds[state // 7 % 3], state // 64 % 2
        grain = 512 if which == direct and state // 1024 % 8 else 1
        pos = state // 4096 % (size + 2000) // grain * grain
        count = state // 97 % 9000 // grain * grain
        if grain > 1:
            count = 512
        data = (b"%05d" % (state % 100000) * (count // 5 + 1))[:count]
        if kind:
            say("w", aligned, lambda: sys.pwrite64(which, another(data), pos))
        else:
            say("r", aligned, lambda: sys.pread64(which, count, pos))
    data = sys.pread64(fd, size, 0)
    print(len(data), sum(byte * (i % 251) for i, byte in enumerate(data)))
