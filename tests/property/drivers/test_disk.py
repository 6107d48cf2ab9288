"""Disks against a plain bytearray; power cuts against the contract of drivers/disk/device.py."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from drivers.clock import Stream
from drivers.disk.device import SECTOR_SIZE, Disk
from drivers.disk.faulty import FaultyDisk, WriteLog
from drivers.disk.image import ImageDisk
from drivers.disk.ram import RamDisk

SECTORS = 12


def filled(number: int, count: int) -> bytes:
    """`count` sectors, each saying which write and which of its sectors it was."""
    return b"".join(bytes([number, i]) * (SECTOR_SIZE // 2) for i in range(count))


operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SECTORS - 1), st.integers(0, 4)),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, SECTORS - 1), st.integers(0, 4)),
    ),
    max_size=30,
)


def perform(disk: Disk, script: list[tuple[str, int, int]]) -> bytes:
    """Run the script, compare each read with a bytearray; what the disk must hold at the end."""
    model = bytearray(SECTORS * SECTOR_SIZE)
    for number, (name, sector, count) in enumerate(script, 1):
        count = min(count, SECTORS - sector)
        span = slice(sector * SECTOR_SIZE, (sector + count) * SECTOR_SIZE)
        if name == "write":
            disk.write(sector, filled(number, count))
            model[span] = filled(number, count)
        elif name == "flush":
            disk.flush()
        else:
            assert disk.read(sector, count) == model[span]
    assert disk.read(0, SECTORS) == model
    return bytes(model)


@given(operations)
def test_every_disk_reads_what_was_written(script: list[tuple[str, int, int]]) -> None:
    perform(RamDisk(SECTORS), script)
    perform(WriteLog(RamDisk(SECTORS)), script)
    medium = RamDisk(SECTORS)
    faulty = FaultyDisk(medium, Stream(0, "disk"))
    model = perform(faulty, script)
    faulty.flush()
    assert medium.image() == model
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "disk.img"
        image = ImageDisk(path, create=SECTORS)
        model = perform(image, script)
        image.close()
        assert path.read_bytes() == model


def history(script: list[tuple[str, int, int]]) -> list[list[bytes]]:
    """What each sector may hold after a power cut: its last flushed contents, or those of a later write."""
    options = [[bytes(SECTOR_SIZE)] for _ in range(SECTORS)]
    for number, (name, sector, count) in enumerate(script, 1):
        count = min(count, SECTORS - sector)
        if name == "write":
            data = filled(number, count)
            for i in range(count):
                options[sector + i].append(data[i * SECTOR_SIZE : (i + 1) * SECTOR_SIZE])
        elif name == "flush":
            options = [held[-1:] for held in options]
    return options


@given(operations, st.integers(0, 100))
def test_a_power_cut_keeps_what_was_flushed_and_any_whole_sectors_of_the_rest(
    script: list[tuple[str, int, int]], seed: int
) -> None:
    medium = RamDisk(SECTORS)
    disk = FaultyDisk(medium, Stream(seed, "disk"))
    perform(disk, script)
    options = history(script)
    assert sorted(disk.unflushed) == sorted(i for i, held in enumerate(options) for _ in held[1:])
    disk.power_cut()
    disk.power_on()
    for i in range(SECTORS):
        assert disk.read(i, 1) in options[i]


@given(operations, st.data())
def test_replay_is_the_same_cut_for_the_same_survivors(script: list[tuple[str, int, int]], data: st.DataObject) -> None:
    log = WriteLog(RamDisk(SECTORS))
    perform(log, script)
    upto = data.draw(st.integers(0, len(log.operations)))
    doubtful = log.uncertain(upto)
    kept = {place: data.draw(st.booleans()) for place in doubtful}
    replayed = RamDisk(SECTORS)
    log.replay(replayed, upto, lambda k, sector: kept[k, sector])

    medium = RamDisk(SECTORS)
    faulty = FaultyDisk(medium, Stream(0, "disk"))
    for operation in log.operations[:upto]:
        if operation is None:
            faulty.flush()
        else:
            faulty.write(*operation)
    choices = [kept[place] for place in doubtful]
    faulty.power_cut(lambda number, sector: choices[number])
    assert replayed.image() == medium.image()


@given(operations)
def test_crashes_try_every_point_and_stay_within_the_contract(script: list[tuple[str, int, int]]) -> None:
    log = WriteLog(RamDisk(SECTORS))
    perform(log, script)
    points = set()
    for upto, survives in log.crashes(Stream(1, "crash")):
        points.add(upto)
        disk = RamDisk(SECTORS)
        log.replay(disk, upto, survives)
        before = RamDisk(SECTORS)
        log.replay(before, log.certain(upto))
        touched = {sector for _, sector in log.uncertain(upto)}
        for i in range(SECTORS):
            assert i in touched or disk.read(i, 1) == before.read(i, 1)
    assert points == set(range(len(log.operations) + 1))
