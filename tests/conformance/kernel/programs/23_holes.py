"""Seeking past the end, holes, SEEK_DATA and SEEK_HOLE, truncation."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    here = "/tmp/trl-holes-%d" % sys.getpid()
    sys.mkdir(here)
    sys.mount("none", here, "tmpfs", 0, "size=8m")
    name = here + "/f"
    fd = sys.open(name, O_CREAT | O_RDWR, 0o644)
    print("past the end:", sys.lseek(fd, 10_000, SEEK_SET), sys.read(fd, 10), sys.fstat(fd).st_size)
    sys.write(fd, b"data")
    print(
        "zeros between:",
        sys.pread64(fd, 10_000, 0) == bytes(10_000),
        sys.fstat(fd).st_size,
        sys.pread64(fd, 100, 9_998),
    )
    st = sys.fstat(fd)
    print("blocks:", st.st_blocks * 512 < st.st_size, st.st_blocks)
    sys.ftruncate(fd, 1 << 20)
    print("extended:", sys.fstat(fd).st_size, sys.pread64(fd, 10, (1 << 20) - 5))
    sys.pwrite64(fd, b"end", 500_000)
    print(
        "data:",
        [
            err(sys.lseek, fd, at, SEEK_DATA)
            for at in (0, 8192, 10_000, 12_288, 500_000, 503_808, (1 << 20) - 1, 1 << 20)
        ],
    )
    print(
        "hole:",
        [err(sys.lseek, fd, at, SEEK_HOLE) for at in (0, 8192, 10_000, 12_288, 499_712, (1 << 20) - 1, 1 << 20, -1)],
    )
    sys.ftruncate(fd, 10_002)
    sys.ftruncate(fd, 10_004)
    print("cut and extended:", sys.pread64(fd, 10, 9_998))
    print(
        "SEEK_END:",
        sys.lseek(fd, -4, SEEK_END),
        sys.read(fd, 10),
        err(sys.lseek, fd, -1, SEEK_SET),
        err(sys.lseek, fd, 0, 9),
    )
    sys.lseek(fd, 3, SEEK_SET)
    print("the offset stays:", sys.ftruncate(fd, 0), sys.lseek(fd, 0, SEEK_CUR), sys.read(fd, 5))
    sys.write(fd, b"x")
    print("after it:", sys.pread64(fd, 10, 0))
    print(
        "large:",
        sys.lseek(fd, (1 << 62), SEEK_SET),
        err(sys.read, fd, 1),
        err(sys.ftruncate, fd, -1),
        err(sys.lseek, fd, (1 << 63) - 1, SEEK_SET) in ((1 << 63) - 1, "EINVAL"),
    )
    ro = sys.open(name, O_RDONLY)
    print(
        "read only:",
        err(sys.ftruncate, ro, 0),
        err(sys.write, ro, b"x"),
        err(sys.truncate, here, 0),
        err(sys.truncate, "/none", 0),
    )
    # fallocate
    g = sys.open(here + "/g", O_CREAT | O_RDWR, 0o644)
    print("fallocate:", sys.fallocate(g, 0, 0, 100_000), sys.fstat(g).st_size, sys.fstat(g).st_blocks)
    print("keep size:", sys.fallocate(g, FALLOC_FL_KEEP_SIZE, 100_000, 100_000), sys.fstat(g).st_size)
    sys.pwrite64(g, b"y" * 100_000, 0)
    print(
        "punch:",
        sys.fallocate(g, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4_000, 10_000),
        sys.pread64(g, 3, 3_999),
        sys.pread64(g, 3, 13_999),
        sys.pread64(g, 10_000, 4_000) == bytes(10_000),
    )
    print(
        "bad:",
        err(sys.fallocate, g, 0, -1, 5),
        err(sys.fallocate, g, 0, 0, 0),
        err(sys.fallocate, ro, 0, 0, 5),
        err(sys.fallocate, g, FALLOC_FL_PUNCH_HOLE, 0, 5),
        err(sys.fallocate, g, 0, 0, 1 << 30),
    )
    print("O_TRUNC:", sys.close(sys.open(here + "/g", O_WRONLY | O_TRUNC)), sys.fstat(g).st_size)
    # sendfile, copy_file_range, splice, tee
    sys.pwrite64(g, b"0123456789" * 1000, 0)
    r, w = sys.pipe2()
    print(
        "sendfile:",
        sys.sendfile(w, g, 5, 10),
        sys.read(r, 20),
        sys.lseek(g, 0, SEEK_CUR),
        sys.sendfile(w, g, None, 3),
        sys.lseek(g, 0, SEEK_CUR),
        sys.read(r, 20),
    )
    print(
        "past the end:",
        sys.sendfile(w, g, 20_000, 10),
        err(sys.sendfile, w, r, None, 5),
        err(sys.sendfile, g, 999, None, 5),
    )
    print("splice in:", sys.splice(g, 7, w, None, 6, 0), "tee:", sys.write(w, b"more"), end=" ")
    r2, w2 = sys.pipe2()
    print(
        sys.tee(r, w2, 8, 0),
        sys.read(r2, 20),
        "splice out:",
        sys.splice(r, None, g, 100, 6, 0),
        sys.pread64(g, 8, 99),
        sys.splice(r, None, w2, None, 100, 0),
        sys.read(r2, 20),
    )
    print(
        "bad:",
        err(sys.splice, g, None, fd, None, 5, 0),
        err(sys.splice, r, 0, g, None, 5, 0),
        err(sys.tee, g, w, 5, 0),
        err(sys.tee, r, w, 5, 0),
    )
    print(
        "nothing there:",
        err(sys.splice, r, None, g, None, 5, SPLICE_F_NONBLOCK),
        err(sys.tee, r, w2, 5, SPLICE_F_NONBLOCK),
    )
    print(
        "copy_file_range:",
        sys.copy_file_range(g, 0, fd, 0, 10, 0),
        sys.pread64(fd, 10, 0),
        err(sys.copy_file_range, g, 0, g, 5, 10, 0),
        err(sys.copy_file_range, r, None, g, None, 1, 0),
    )
    for x in (fd, ro, g):
        sys.close(x)
    sys.umount2(here, 0)
    sys.rmdir(here)
