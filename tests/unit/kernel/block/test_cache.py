"""The buffers of a disk: what is read ahead, when what is written gets to the disk, and what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from drivers.disk.drive import HDD
from drivers.disk.faulty import FaultyDisk
from drivers.disk.ram import RamDisk
from kernel.block.cache import BLOCK, EXPIRE_NS, PERIOD_NS, runs
from kernel.block.request import FLUSH, READ, WRITE
from tests.unit.kernel.block.inside import Inside
from userland.abi import CLOCK_MONOTONIC, O_DSYNC, O_RDONLY, O_RDWR

SECOND = 1_000_000_000


def test_runs() -> None:
    assert runs([]) == [] and runs([1, 2, 3, 7, 8, 10]) == [[1, 2, 3], [7, 8], [10]]
    assert [len(run) for run in runs(list(range(600)))] == [256, 256, 88]


def test_reads_in_a_row_are_read_ahead_and_others_are_not() -> None:
    def in_a_row(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDONLY)
        for _ in range(64):
            sys.read(fd, BLOCK)

    def here_and_there(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDONLY)
        for i in range(64):
            sys.pread64(fd, BLOCK, (i * 37 % 64 + 1) * BLOCK)

    with Inside(RamDisk(4096)) as inside:
        stat = inside.device.queue.stat
        begin = inside.timeline.now
        inside.run(in_a_row)
        row = inside.timeline.now - begin
        assert stat.ios[READ] < 12 and stat.sectors[READ] <= (64 + 32) * 8
        inside.timeline.run(inside.timeline.now + SECOND)  # until nothing is on its way
        before = stat.sectors[READ], stat.ios[READ]
        begin = inside.timeline.now
        inside.run(here_and_there)
        assert stat.ios[READ] - before[1] == 64 and stat.sectors[READ] - before[0] == 64 * 8
        assert row < (inside.timeline.now - begin) / 3


def test_a_second_read_is_from_memory() -> None:
    def twice(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        for _ in range(2):
            sys.pread64(fd, 20_000, 4 * BLOCK)

    with Inside() as inside:
        inside.run(twice)
        assert inside.device.cache.misses == 5 and inside.device.cache.hits == 5
        assert inside.device.cache.buffers == {}, "the last close lets go"


def test_what_is_written_gets_to_the_disk_after_half_a_minute_by_itself() -> None:
    def write(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"later", 5000)
        sys.nanosleep(60 * SECOND)

    with Inside() as inside:
        inside.machine.spawn(write)
        inside.machine.run(until=EXPIRE_NS - SECOND)
        assert inside.disk.counters["writes"] == 0 and len(inside.device.cache.dirty) == 1
        inside.machine.run(until=EXPIRE_NS + PERIOD_NS + SECOND)
        assert inside.disk.read(9, 2)[5000 - 9 * 512 :][:5] == b"later" and not inside.device.cache.dirty
        assert inside.device.queue.stat.ios == [1, 1, 0, 0], "one block was read to be changed, one written"
        assert inside.machine.scheduler.kthreads[0].comm == "flush-254:0"
        assert inside.timeline.peek() is not None
        inside.machine.run(until=59 * SECOND)
        assert inside.device.cache._timer.deadline is None, "nothing is dirty: it sleeps"


def test_sync_and_syncfs_and_close() -> None:
    def write(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"s", 0)
        sys.sync()
        assert inside.disk.read(0, 1)[:1] == b"s" and inside.disk.counters["flushes"] == 1
        sys.pwrite64(fd, b"c", 0)
        sys.close(fd)
        assert inside.disk.read(0, 1)[:1] == b"c", "the last close writes back"
        fd = sys.open("/dev/vda", O_RDWR | O_DSYNC)
        sys.pwrite64(fd, b"d", 0)
        assert inside.disk.read(0, 1)[:1] == b"d" and inside.disk.counters["flushes"] == 2

    with Inside() as inside:
        inside.run(write)
        assert inside.device.queue.stat.ios[FLUSH] == 2


def test_a_whole_block_is_written_without_being_read() -> None:
    def write(sys: Any) -> None:
        sys.pwrite64(sys.open("/dev/vda", O_RDWR), bytes(3 * BLOCK), BLOCK)

    with Inside() as inside:
        inside.run(write)
        assert inside.device.queue.stat.ios == [0, 1, 0, 0]


def test_a_disk_may_end_within_a_block() -> None:
    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        assert sys.pread64(fd, 99999, 0) == bytes(13 * 512)
        assert sys.pwrite64(fd, b"e" * 99999, 100) == 13 * 512 - 100
        sys.fsync(fd)
        assert sys.pread64(fd, 99999, 8 * 512) == b"e" * 5 * 512

    with Inside(RamDisk(13)) as inside:
        inside.run(use)
        assert inside.disk.image() == bytes(100) + b"e" * (13 * 512 - 100)


def test_a_writer_is_as_fast_as_the_disk_once_the_cache_is_full_of_dirt() -> None:
    most = 0

    def write(sys: Any) -> int:
        nonlocal most
        fd = sys.open("/dev/vda", O_RDWR)
        begin: int = sys.clock_gettime(CLOCK_MONOTONIC)
        for i in range(600):
            sys.pwrite64(fd, bytes(BLOCK), i * BLOCK)
            most = max(most, len(inside.device.cache.dirty) + len(inside.device.cache.writing))
        return sys.clock_gettime(CLOCK_MONOTONIC) - begin

    with Inside(RamDisk(8000), drive=HDD, memory=4 * 200) as inside:
        assert inside.device.cache.size == 200
        [took] = inside.run(write)
        assert most <= 200 // 5 + 1
        assert took > 500 * HDD.kib * 4
        assert inside.device.queue.stat.ios[WRITE] < 120, "neighbours go together"


def test_the_cache_keeps_its_size() -> None:
    def scan(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        while sys.read(fd, 65536):
            assert len(inside.device.cache.buffers) <= 64 + 32 + 32
        sys.pread64(fd, 1, 0)
        text = sys.read(sys.open("/proc/meminfo", 0), 4096).decode()
        assert int(text.partition("Buffers:")[2].split()[0]) == 4 * len(inside.device.cache.buffers)

    with Inside(RamDisk(16000), memory=256) as inside:
        inside.run(scan)


def test_two_tasks_want_the_same_block() -> None:
    def read(sys: Any) -> bytes:
        return bytes(sys.pread64(sys.open("/dev/vda", O_RDONLY), 100, 5 * BLOCK))

    with Inside(RamDisk(image=b"z" * 65536), cpus=3) as inside:
        assert inside.run(read, read, read) == [b"z" * 100] * 3
        assert inside.device.queue.stat.ios[READ] == 1


@pytest.mark.parametrize("honest", [True, False])
def test_fsync_is_worth_what_the_disk_is(honest: bool) -> None:
    medium = RamDisk(2048)
    disk = FaultyDisk(medium, VirtualTimeline(1).stream("x"), honest=honest)

    def write(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"safe?", 0)
        sys.fsync(fd)
        inside.device.power_cut(lambda number, sector: False)

    with Inside(disk) as inside:
        inside.run(write)
        assert (medium.image()[:5] == b"safe?") is honest
