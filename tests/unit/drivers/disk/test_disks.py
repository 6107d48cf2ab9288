"""Errors, locks and faults of the disks."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.clock import Stream
from drivers.disk.device import SECTOR_SIZE
from drivers.disk.faulty import FaultyDisk, WriteLog
from drivers.disk.image import ImageDisk
from drivers.disk.ram import RamDisk

ONE, TWO = b"\x11" * SECTOR_SIZE, b"\x22" * SECTOR_SIZE


def fails(code: int, call, *args: object) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == code
    return str(caught.value)


@pytest.fixture(params=["ram", "image", "faulty", "log"])
def disk(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    made = {
        "ram": lambda: RamDisk(8),
        "image": lambda: ImageDisk(tmp_path / "disk.img", create=8),
        "faulty": lambda: FaultyDisk(RamDisk(8), Stream(0, "d")),
        "log": lambda: WriteLog(RamDisk(8)),
    }[request.param]()
    yield made
    made.close()


def test_what_lies_outside_or_is_not_whole_is_einval_and_changes_nothing(disk) -> None:  # type: ignore[no-untyped-def]
    assert "[7, 9)" in fails(errno.EINVAL, disk.read, 7, 2)
    fails(errno.EINVAL, disk.read, -1, 1)
    fails(errno.EINVAL, disk.read, 0, -1)
    fails(errno.EINVAL, disk.write, 8, ONE)
    fails(errno.EINVAL, disk.write, 7, ONE + TWO)
    assert "511" in fails(errno.EINVAL, disk.write, 0, ONE[1:])
    assert disk.read(0, 8) == bytes(8 * SECTOR_SIZE)
    assert disk.read(8, 0) == b"" and disk.write(8, b"") is None


def test_any_buffer_can_be_written_and_is_copied(disk) -> None:  # type: ignore[no-untyped-def]
    buffer = bytearray(ONE + TWO)
    disk.write(1, buffer)
    disk.write(4, memoryview(buffer)[SECTOR_SIZE:])
    buffer[:] = bytes(len(buffer))
    assert (disk.read(1, 2), disk.read(4, 1)) == (ONE + TWO, TWO)
    assert disk.counters["written_sectors"] == 3 and disk.counters["reads"] == 2
    disk.flush()


def test_a_closed_disk_says_so(tmp_path: Path) -> None:
    for disk in (RamDisk(2), ImageDisk(tmp_path / "a.img", create=2)):
        disk.close()
        disk.close()
        fails(errno.ENODEV, disk.read, 0, 1)


def test_ram_disk_from_an_image_is_padded() -> None:
    disk = RamDisk(image=b"abc")
    assert disk.sectors == 1 and disk.read(0, 1) == b"abc" + bytes(509)
    assert RamDisk(4, b"abc").sectors == 4


def test_an_image_is_exclusive_across_processes_and_shared_read_only(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    first = ImageDisk(path, create=4)
    first.write(2, ONE)
    assert "another machine" in fails(errno.EBUSY, ImageDisk, path)
    fails(errno.EBUSY, lambda: ImageDisk(path, readonly=True))
    code = "import sys\nfrom drivers.disk.image import ImageDisk\nImageDisk(sys.argv[1])"
    assert subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True).returncode == 1
    first.close()
    assert subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True).returncode == 0
    readers = [ImageDisk(path, readonly=True) for _ in range(2)]
    assert readers[1].read(2, 1) == ONE
    fails(errno.EROFS, readers[0].write, 0, ONE)
    for reader in readers:
        reader.flush()
        reader.close()


def test_what_is_no_image_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert "truncate" in fails(errno.EINVAL, ImageDisk, path)
    fails(errno.EINVAL, ImageDisk, path, 8)
    assert path.read_bytes() == b"abc"
    fails(errno.ENOENT, ImageDisk, tmp_path / "none")
    (tmp_path / "empty").touch()
    assert "truncate -s 64M" in fails(errno.EINVAL, ImageDisk, tmp_path / "empty")
    fails(errno.EISDIR, ImageDisk, tmp_path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        fails(errno.EINVAL, ImageDisk, path)
    assert not before or len(os.listdir("/proc/self/fd")) == before, "no descriptor leaks"


def test_create_keeps_an_image_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    disk = ImageDisk(path, create=4)
    disk.write(0, ONE)
    disk.close()
    again = ImageDisk(path, create=100)
    assert again.sectors == 4 and again.read(0, 1) == ONE
    os.truncate(path, 600)
    assert "truncated" in fails(errno.EIO, again.read, 1, 1)
    again.close()


# -- faults


def test_reads_see_unflushed_writes_and_the_medium_does_not() -> None:
    medium = RamDisk(4)
    disk = FaultyDisk(medium, Stream(0, "d"))
    disk.write(1, ONE)
    assert disk.read(0, 3) == bytes(512) + ONE + bytes(512)
    assert medium.image() == bytes(2048)
    disk.flush()
    assert medium.read(1, 1) == ONE


def test_a_torn_write_is_torn_between_sectors() -> None:
    medium = RamDisk(4)
    disk = FaultyDisk(medium, Stream(0, "d"))
    disk.write(0, ONE + ONE + ONE)
    disk.power_cut(lambda number, sector: sector != 1)
    assert medium.image() == ONE + bytes(512) + ONE + bytes(512)
    assert disk.counters["lost_sectors"] == 1
    assert "power" in fails(errno.EIO, disk.read, 0, 1)
    fails(errno.EIO, disk.write, 0, ONE)
    fails(errno.EIO, disk.flush)
    disk.power_on()
    assert disk.read(0, 1) == ONE and disk.unflushed == []


def test_power_cuts_sometimes_keep_all_and_sometimes_nothing() -> None:
    seen = set()
    for seed in range(60):
        medium = RamDisk(8)
        disk = FaultyDisk(medium, Stream(seed, "d"))
        disk.write(0, ONE * 8)
        disk.power_cut()
        seen.add(medium.image().count(0x11) // SECTOR_SIZE)
    assert {0, 8} < seen and len(seen) > 4


def test_a_flush_that_lies_loses_what_was_flushed() -> None:
    """The negative control of every power test: with this disk they have to fail."""
    medium = RamDisk(4)
    disk = FaultyDisk(medium, Stream(0, "d"), honest=False)
    disk.write(0, ONE)
    disk.flush()
    disk.power_cut(lambda number, sector: False)
    assert medium.image() == bytes(2048)


def test_errors_on_a_range_for_a_while_and_for_good() -> None:
    disk = FaultyDisk(RamDisk(8), Stream(0, "d"))
    disk.write(0, ONE * 8)
    disk.fail(2, 2, write=False, times=1)
    assert disk.read(0, 2) == ONE * 2
    disk.write(2, TWO)
    assert "sector 2" in fails(errno.EIO, disk.read, 1, 5)
    assert disk.read(2, 1) == TWO
    disk.fail(7, 1, read=False)
    for _ in range(3):
        fails(errno.EIO, disk.write, 6, ONE * 2)
    assert disk.read(7, 1) == ONE
    disk.mend()
    disk.write(7, TWO)
    assert (disk.counters["read_errors"], disk.counters["write_errors"]) == (1, 3)
    fails(errno.EINVAL, disk.fail, 7, 2)


def test_bits_rot_on_the_medium_where_it_says() -> None:
    medium = RamDisk(8)
    disk = FaultyDisk(medium, Stream(5, "d"))
    ((sector, bit),) = disk.rot(3, 2)
    assert sector in (3, 4)
    expected = bytearray(8 * SECTOR_SIZE)
    expected[sector * SECTOR_SIZE + bit // 8] = 1 << bit % 8
    assert disk.read(0, 8) == medium.image() == expected


def test_the_log_knows_what_a_flush_made_certain() -> None:
    log = WriteLog(RamDisk(4))
    log.write(0, ONE + ONE)
    log.flush()
    log.write(1, TWO)
    assert (log.certain(1), log.certain(2), log.certain(3)) == (0, 2, 2)
    assert log.uncertain(3) == [(2, 1)] and log.uncertain(1) == [(0, 0), (0, 1)]
    disk = RamDisk(4)
    log.replay(disk, 3, lambda k, sector: False)
    assert disk.image() == ONE + ONE + bytes(1024)
    log.replay(disk)
    assert disk.image() == ONE + TWO + bytes(1024)


def test_the_log_does_not_keep_what_was_refused() -> None:
    log = WriteLog(RamDisk(4))
    fails(errno.EINVAL, log.write, 4, ONE)
    assert log.operations == []
