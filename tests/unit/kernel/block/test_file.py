"""/dev/vda: opening, reading, writing, offsets, ioctls, errors. The answers are those of Linux 6.18's loop device and
virtio-blk (tests/interop/kernel/block asks the former).
"""

from __future__ import annotations

import struct
from errno import (
    EACCES,
    EBADF,
    EBUSY,
    EFAULT,
    EINVAL,
    EIO,
    ENODEV,
    ENOSPC,
    ENOTDIR,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    ESPIPE,
)  # fmt: skip
from pathlib import Path
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from drivers.disk.faulty import FaultyDisk
from drivers.disk.image import ImageDisk
from drivers.disk.ram import RamDisk
from tests.unit.kernel.block.inside import Inside, fails
from userland.abi import (
    BLKBSZGET,
    BLKDISCARD,
    BLKFLSBUF,
    BLKGETSIZE,
    BLKGETSIZE64,
    BLKPBSZGET,
    BLKRAGET,
    BLKRASET,
    BLKROGET,
    BLKROSET,
    BLKRRPART,
    BLKSECTGET,
    BLKSSZGET,
    BLKZEROOUT,
    F_GETFL,
    F_SETFL,
    O_APPEND,
    O_DIRECT,
    O_DSYNC,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    S_IFBLK,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
)  # fmt: skip

SIZE = 2048 * 512


def test_what_it_is() -> None:
    def look(sys: Any) -> tuple[Any, ...]:
        st = sys.stat("/dev/vda")
        return oct(st.st_mode), st.st_rdev >> 8, st.st_rdev & 255, st.st_gid, st.st_size, st.st_blocks

    with Inside() as inside:
        assert inside.run(look) == [(oct(S_IFBLK | 0o660), 254, 0, 6, 0, 0)]
        second = inside.machine.attach_disk(RamDisk(8))
        assert (second.name, second.rdev) == ("vdb", 254 << 8 | 16)
        assert inside.run(lambda sys: sys.stat("/dev/vdb").st_rdev) == [254 << 8 | 16]


def test_offsets_and_the_end() -> None:
    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        assert sys.lseek(fd, 0, SEEK_END) == SIZE
        assert sys.read(fd, 10) == b""
        assert fails(sys.write, fd, b"x") == ENOSPC
        assert fails(sys.lseek, fd, SIZE + 1) == fails(sys.lseek, fd, -1) == EINVAL
        assert fails(sys.lseek, fd, 0, SEEK_DATA) == fails(sys.lseek, fd, 0, SEEK_HOLE) == EINVAL
        assert sys.pwrite64(fd, b"y" * 100, SIZE - 36) == 36
        assert sys.pread64(fd, 100, SIZE - 36) == b"y" * 36
        assert sys.pread64(fd, 10, SIZE + 99) == b"" and fails(sys.pwrite64, fd, b"x", SIZE + 99) == ENOSPC
        assert sys.pwrite64(fd, b"", SIZE) == 0
        sys.lseek(fd, 5)
        assert sys.write(fd, b"abc") == 3 and sys.lseek(fd, 0, SEEK_CUR) == 8
        assert sys.pread64(fd, 4, 4) == b"\0abc"
        assert fails(sys.ftruncate, fd, 0) == EINVAL
        assert fails(sys.fallocate, fd, 0, 0, 4096) in (ENODEV, EOPNOTSUPP, ESPIPE)
        assert fails(sys.getdents64, fd) == ENOTDIR
        assert fails(sys.epoll_ctl, sys.epoll_create1(), 1, fd, 1) == EPERM
        assert sys.ppoll([(fd, 5)], 0) == [(fd, 5)]
        end = sys.open("/dev/vda", O_WRONLY | O_APPEND | O_TRUNC)
        assert sys.write(end, b"begin") == 5 and sys.pread64(fd, 5, 0) == b"begin", "O_APPEND means nothing"

    with Inside() as inside:
        inside.run(use)


def test_direct_transfers_are_whole_sectors() -> None:
    def use(sys: Any) -> None:
        fd, cached = sys.open("/dev/vda", O_RDWR | O_DIRECT), sys.open("/dev/vda", O_RDWR)
        for count, pos in ((100, 0), (512, 100), (513, 512)):
            assert fails(sys.pread64, fd, count, pos) == fails(sys.pwrite64, fd, bytes(count), pos) == EINVAL
        assert sys.pread64(fd, 4096, SIZE - 512) == bytes(512)
        assert sys.pread64(fd, 100, SIZE) == b"" and fails(sys.pwrite64, fd, bytes(100), SIZE) == ENOSPC
        sys.pwrite64(cached, b"cached", 1000)
        assert sys.pread64(fd, 512, 512)[488:494] == b"cached", "what is dirty is written first"
        assert sys.pwrite64(fd, b"d" * 1024, 512) == 1024
        assert sys.pread64(cached, 4, 1000) == b"dddd", "and what was cached is read again"
        assert sys.pwrite64(fd, bytes(3 << 20), 0) == SIZE
        assert len(sys.pread64(fd, 3 << 20, 0)) == SIZE
        assert fails(sys.fcntl, cached, F_SETFL, O_DIRECT) == 0 and sys.fcntl(cached, F_GETFL) & O_DIRECT
        assert fails(sys.pread64, cached, 1, 0) == EINVAL

    with Inside() as inside:
        inside.run(use)


def test_exclusive_opens() -> None:
    def use(sys: Any) -> None:
        first = sys.open("/dev/vda", O_RDONLY | O_EXCL)
        assert fails(sys.open, "/dev/vda", O_RDWR | O_EXCL) == EBUSY
        assert sys.open("/dev/vda", O_RDWR) > first
        sys.close(first)
        sys.close(sys.open("/dev/vda", O_RDWR | O_EXCL))

    with Inside() as inside:
        inside.run(use)


def test_the_group_may() -> None:
    def use(sys: Any) -> None:
        sys.setgroups([6])
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        sys.close(sys.open("/dev/vda", O_RDWR))
        assert fails(sys.ioctl, sys.open("/dev/vda", O_RDWR), BLKFLSBUF, 0) == EACCES

    def nobody(sys: Any) -> None:
        sys.setgroups([])
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        assert fails(sys.open, "/dev/vda", O_RDONLY) == EACCES

    with Inside() as inside:
        inside.run(use, nobody)


def test_ioctls() -> None:
    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        answers = {
            BLKGETSIZE64: SIZE, BLKGETSIZE: 2048, BLKSSZGET: 512, BLKPBSZGET: 512, BLKBSZGET: 4096, BLKROGET: 0,
            BLKSECTGET: 2560, BLKRAGET: 256,
        }  # fmt: skip
        for request, answer in answers.items():
            assert sys.ioctl(fd, request) == answer, hex(request)
        sys.ioctl(fd, BLKRASET, 8)
        assert sys.ioctl(fd, BLKRAGET) == 8
        assert fails(sys.ioctl, fd, BLKRRPART) == EINVAL
        assert fails(sys.ioctl, fd, 0x5401) == fails(sys.ioctl, fd, 0x12FF) == fails(sys.ioctl, fd, 0x541B) == ENOTTY
        sys.pwrite64(fd, b"x" * 8192, 0)
        assert sys.ioctl(fd, BLKFLSBUF, 0) == 0
        assert sys.ioctl(fd, BLKZEROOUT, struct.pack("QQ", 512, 1024)) == 0
        assert sys.pread64(fd, 3072, 0) == b"x" * 512 + bytes(1024) + b"x" * 1536
        assert sys.ioctl(fd, BLKDISCARD, struct.pack("QQ", 4096, 512)) == 0
        assert sys.pread64(fd, 513, 4096) == bytes(512) + b"x"
        for start, length in ((0, 100), (7, 512), (SIZE, 512), (0, SIZE + 512)):
            assert fails(sys.ioctl, fd, BLKZEROOUT, struct.pack("QQ", start, length)) == EINVAL
        assert fails(sys.ioctl, fd, BLKDISCARD, 5) == EFAULT
        assert fails(sys.ioctl, sys.open("/dev/vda", O_RDONLY), BLKDISCARD, struct.pack("QQ", 0, 512)) == EBADF
        sys.ioctl(fd, BLKROSET, 1)
        assert sys.ioctl(fd, BLKROGET) == 1 and fails(sys.write, fd, b"x") == EPERM
        sys.ioctl(fd, BLKROSET, 0)
        assert sys.write(fd, b"x") == 1

    with Inside() as inside:
        inside.run(use)


def test_a_disk_without_discard_says_so() -> None:
    with Inside(FaultyDisk(RamDisk(64), VirtualTimeline(1).stream("x"))) as inside:
        arg = struct.pack("QQ", 0, 512)
        assert inside.run(lambda sys: fails(sys.ioctl, sys.open("/dev/vda", O_RDWR), BLKDISCARD, arg)) == [EOPNOTSUPP]


def test_a_read_only_image(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"r" * 4096)

    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        assert sys.ioctl(fd, BLKROGET) == 1
        direct = sys.open("/dev/vda", O_RDWR | O_DIRECT)
        assert fails(sys.write, fd, b"x") == fails(sys.write, direct, bytes(512)) == EPERM
        assert fails(sys.ioctl, fd, BLKZEROOUT, struct.pack("QQ", 0, 512)) == EPERM
        assert sys.read(fd, 9000) == b"r" * 4096
        sys.fsync(fd)

    with Inside(ImageDisk(image, readonly=True)) as inside:
        inside.run(use)
    assert image.read_bytes() == b"r" * 4096


def test_an_image_is_complete_when_the_machine_is_closed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(8192))

    def leave(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"not synced", 4090)
        sys.nanosleep(1 << 60)

    inside = Inside(ImageDisk(image))
    inside.machine.spawn(leave)
    inside.machine.run(until=1_000_000)
    assert image.read_bytes() == bytes(8192)
    inside.machine.close()
    assert image.read_bytes()[4090:4100] == b"not synced"


def test_an_image_that_was_cut_short_gives_errors(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"i" * 65536)
    disk = ImageDisk(image)
    with open(image, "r+b") as file:
        file.truncate(32768)

    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        assert sys.pread64(fd, 65536, 0) == b"i" * 32768, "what can be read"
        assert fails(sys.pread64, fd, 10, 40000) == EIO

    with Inside(disk) as inside:
        inside.run(use)
        assert any(line.startswith("I/O error, dev vda, sector 64 op 0x0:(READ)") for line in inside.log)
        assert inside.device.queue.stat.errors[0] >= 2


@pytest.mark.parametrize("direct", [0, O_DIRECT])
def test_one_bad_sector_is_one_error(direct: int) -> None:
    faulty = FaultyDisk(RamDisk(2048, b"g" * SIZE), VirtualTimeline(1).stream("x"))
    faulty.fail(100, 1)

    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR | direct)
        good = 100 * 512 if direct else 12 * 4096
        assert fails(sys.pread64, fd, 512, 100 * 512) == EIO
        assert sys.pread64(fd, 512, 99 * 512 if direct else 95 * 512) == b"g" * 512
        assert sys.pread64(fd, 512, 104 * 512) == b"g" * 512
        if not direct:
            assert sys.pread64(fd, 131072, 0) == b"g" * good, "up to the block with the bad sector"
            assert sys.pread64(fd, 8192, 13 * 4096) == b"g" * 8192

    with Inside(faulty) as inside:
        inside.run(use)


def test_fsync_tells_every_description_of_a_lost_write_once() -> None:
    faulty = FaultyDisk(RamDisk(2048), VirtualTimeline(1).stream("x"))

    def use(sys: Any) -> None:
        one, other = sys.open("/dev/vda", O_RDWR), sys.open("/dev/vda", O_RDWR)
        faulty.fail(0, 8, read=False)
        sys.pwrite64(one, b"lost", 0)
        assert fails(sys.fsync, one) == EIO and fails(sys.fsync, one) == 0
        assert fails(sys.fsync, other) == EIO and fails(sys.fsync, other) == 0
        assert fails(sys.fsync, sys.open("/dev/vda", O_RDWR)) == 0, "it was told"
        sys.pwrite64(sys.open("/dev/vda", O_RDWR | O_DSYNC), b"fine", 8192)
        assert fails(sys.pwrite64, sys.open("/dev/vda", O_RDWR | O_DSYNC), b"lost", 0) == EIO
        faulty.mend()
        sys.pwrite64(one, b"kept", 0)
        assert fails(sys.fsync, one) == EIO and fails(sys.fsync, one) == 0
        assert fails(sys.fsync, one) == 0

    with Inside(faulty) as inside:
        inside.run(use)
        assert any(line.startswith("Buffer I/O error on dev vda, logical block 0, lost async page write")
                   for line in inside.log)  # fmt: skip


def test_a_disk_without_power() -> None:
    faulty = FaultyDisk(RamDisk(2048), VirtualTimeline(1).stream("x"))

    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"k" * 512, 0)
        sys.fsync(fd)
        sys.pwrite64(fd, b"l" * 512, 512)
        inside.device.power_cut(lambda number, sector: False)
        assert fails(sys.fsync, fd) == fails(sys.pread64, fd, 1, 8192) == EIO
        assert sys.pread64(fd, 1, 0) == b"k", "memory has power"
        faulty.power_on()
        sys.ioctl(fd, BLKFLSBUF, 0)
        assert sys.pread64(fd, 513, 0) == b"k" * 512 + b"\0"

    with Inside(faulty) as inside:
        inside.run(use)
