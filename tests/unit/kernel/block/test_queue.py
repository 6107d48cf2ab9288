"""Requests: merging, depth, order, interrupts, who sleeps meanwhile, and what /proc says of it."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.clock import RealTimeline
from drivers.disk.drive import HDD, SSD
from drivers.disk.ram import RamDisk
from kernel.block.request import FLUSH, FUA, MAX_SECTORS, READ, WRITE, Bio
from kernel.machine import Machine
from kernel.task import Task
from tests.unit.kernel.block.inside import Inside
from userland.abi import CLOCK_MONOTONIC, O_DIRECT, O_RDONLY, O_RDWR, WNOHANG

READ_NS = SSD.read + SSD.kib * 4


class Heard:
    """What the trace says of requests."""

    def __init__(self, inside: Inside) -> None:
        self.lines: list[tuple[str, int, int]] = []
        self.deepest = 0
        inside.machine.trace.append(self)

    def bio_queued(self, queue: Any, bio: Bio, request: Any, merged: bool, now: int) -> None:
        self.lines.append(("merged" if merged else "queued", request.sector, request.count))

    def requests_joined(self, queue: Any, request: Any, into: Any, now: int) -> None:
        self.lines.append(("joined", into.sector, into.count))

    def request_issued(self, queue: Any, request: Any, now: int) -> None:
        self.lines.append(("issued", request.sector, request.count))
        self.deepest = max(self.deepest, len(queue.issued))

    def request_done(self, queue: Any, request: Any, failed: int, now: int) -> None:
        self.lines.append(("done", request.sector, request.count))


def submit(inside: Inside, *bios: Bio) -> None:
    """In one batch, and wait."""

    def work(sys: Any) -> None:
        task: Task = sys._task
        inside.device.queue.submit(task, *bios)
        for bio in bios:
            bio.wait(task)

    inside.run(work)


def writes(*sectors: int, count: int = 8) -> list[Bio]:
    return [Bio(WRITE, sector, data=bytes([sector % 251]) * 512 * count) for sector in sectors]


def test_neighbours_of_a_batch_are_merged_behind_before_and_between() -> None:
    with Inside(depth=1) as inside:
        heard = Heard(inside)
        submit(inside, *writes(0, 8, 24, 16, 100, 92, 400))
        assert heard.lines == [
            ("queued", 0, 8), ("merged", 0, 16), ("queued", 24, 8), ("joined", 0, 32), ("merged", 0, 32),
            ("queued", 100, 8), ("merged", 92, 16), ("queued", 400, 8), ("issued", 0, 32), ("done", 0, 32),
            ("issued", 92, 16), ("done", 92, 16), ("issued", 400, 8), ("done", 400, 8),
        ]  # fmt: skip
        stat = inside.device.queue.stat
        assert (stat.ios[WRITE], stat.merges[WRITE], stat.sectors[WRITE]) == (3, 4, 56)
        data = inside.disk.read(0, 32)
        assert [data[i * 4096] for i in range(4)] == [0, 8, 16, 24]


def test_what_differs_or_is_too_long_is_not_merged() -> None:
    with Inside(RamDisk(3 * MAX_SECTORS), depth=1) as inside:
        heard = Heard(inside)
        long = MAX_SECTORS - 4
        safe = Bio(WRITE, long + 16, data=bytes(512), flags=FUA)
        submit(inside, *writes(0, count=long), *writes(long), Bio(READ, long + 8, 8), safe)
        assert [line[0] for line in heard.lines[:4]] == ["queued"] * 4


def test_the_drive_is_given_as_many_as_its_depth_and_works_on_as_many_as_it_can() -> None:
    reads = [Bio(READ, i * 64, 8) for i in range(32)]
    for depth, rounds in ((1, 32), (4, 8), (32, 4)):
        with Inside(depth=depth) as inside:
            heard = Heard(inside)
            begin = inside.timeline.now
            submit(inside, *[Bio(READ, bio.sector, 8) for bio in reads])
            assert heard.deepest == depth
            took = inside.timeline.now - begin
            assert rounds * READ_NS <= took < rounds * (READ_NS + 12_000) + 60_000


def test_flushes_that_wait_are_one() -> None:
    with Inside(depth=1) as inside:
        heard = Heard(inside)
        submit(inside, *writes(0), Bio(FLUSH), Bio(FLUSH), Bio(FLUSH))
        assert inside.device.queue.stat.ios[FLUSH] == 1 and inside.disk.counters["flushes"] == 1
        assert [line[0] for line in heard.lines].count("merged") == 2


def test_an_arm_takes_the_near_one_first_and_the_elevator_sorts() -> None:
    sectors = (900_000, 100, 500_000, 200_000)
    nearest = [900_000, 500_000, 200_000, 100]  # it begins with what it is given first
    for depth, scheduler, order in ((4, "none", nearest), (1, "deadline", sorted(sectors)), (1, "none", list(sectors))):
        with Inside(RamDisk(1_000_000), drive=HDD, depth=depth, scheduler=scheduler) as inside:
            heard = Heard(inside)
            submit(inside, *writes(*sectors))
            assert [sector for what, sector, _ in heard.lines if what == "done"] == order, (depth, scheduler)


def test_a_sleeper_is_in_state_d_and_its_cpu_waits_for_it() -> None:
    seen: list[str] = []

    def reader(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR | O_DIRECT)
        for i in range(40):
            sys.pread64(fd, 512, i * 512)

    def watcher(sys: Any) -> None:
        pid = sys.spawn(reader)
        while not sys.wait4(pid, WNOHANG)[0]:
            fd = sys.open(f"/proc/{pid}/stat", O_RDONLY)
            state = sys.read(fd, 1000).split(b") ")[1][:1].decode()
            sys.close(fd)
            fd = sys.open("/proc/stat", O_RDONLY)
            text = sys.read(fd, 1000).decode()
            sys.close(fd)
            blocked = text.partition("procs_blocked ")[2].split()[0]
            if state == "D":
                assert blocked == "1"
                fd = sys.open(f"/proc/{pid}/wchan", O_RDONLY)
                assert sys.read(fd, 100) == b"request.Bio.wait"
                sys.close(fd)
            seen.append(state)
            sys.nanosleep(300_000)

    with Inside(drive=HDD) as inside:
        inside.run(watcher)
        cpu = inside.machine.scheduler.cpus[0]
        now = inside.timeline.now
        user, nice, system, idle, iowait, irq, softirq = cpu.times(now)
        assert "D" in seen and cpu.io_sleepers == 0
        waited = inside.device.queue.stat.busy_ns
        assert iowait > 0.8 * waited and iowait <= waited + 100_000
        assert user + nice + system + idle + iowait + irq + softirq == pytest.approx(now, abs=200_000)


def test_who_computes_on_the_cpu_leaves_it_nothing_to_wait_for() -> None:
    def reader(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR | O_DIRECT)
        for i in range(20):
            sys.pread64(fd, 512, i * 512)

    def worker(sys: Any) -> None:
        sys.cpu(10_000_000)

    with Inside() as inside:
        inside.run(reader, worker)
        assert inside.machine.scheduler.cpus[0].times(inside.timeline.now)[4] < 300_000


def test_signals_do_not_end_the_wait() -> None:
    def victim(sys: Any) -> None:
        sys.pread64(sys.open("/dev/vda", O_RDWR | O_DIRECT), 512, 1000 * 512)

    def killer(sys: Any) -> list[Any]:
        pid = sys.spawn(victim)
        sys.nanosleep(1_000_000)
        sys.kill(pid, 9)
        begin = sys.clock_gettime(CLOCK_MONOTONIC)
        status = sys.wait4(pid)[1]
        return [status, sys.clock_gettime(CLOCK_MONOTONIC) - begin]

    with Inside(drive=HDD) as inside:
        [[status, waited]] = inside.run(killer)
        assert status == 9 and waited > 500_000


def test_diskstats_and_partitions() -> None:
    def use(sys: Any) -> list[str]:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pread64(fd, 4096, 400_000)
        sys.pwrite64(fd, bytes(8192), 65536)
        sys.fsync(fd)
        said = []
        for name in ("diskstats", "partitions", "devices"):
            said.append(sys.read(sys.open(f"/proc/{name}", O_RDONLY), 4096).decode())
        return said

    with Inside(drive=HDD) as inside:
        [[stats, parts, devices]] = inside.run(use)
        words = stats.split()
        assert stats.startswith(" 254       0 vda ") and len(words) == 20
        figures = [int(word) for word in words[3:]]
        assert figures[4:7] == [1, 0, 16] and figures[8] == 0 and figures[15] == 1
        assert figures[0] >= 1 and figures[2] >= 8 and figures[3] > 0 and figures[9] >= figures[16] > 0
        assert parts == "major minor  #blocks  name\n\n 254        0       1024 vda\n"
        assert "254 virtblk\n" in devices.partition("Block devices:\n")[2]


def test_a_machine_without_a_disk_has_no_lines() -> None:
    said: list[bytes] = []

    def look(sys: Any) -> None:
        for name in ("diskstats", "partitions"):
            said.append(sys.read(sys.open(f"/proc/{name}", O_RDONLY), 99))

    with Machine() as machine:
        machine.spawn(look)
        machine.run()
        assert said == [b"", b""] and not machine.scheduler.kthreads


def test_when_there_is_no_room_who_submits_waits() -> None:
    with Inside(depth=1) as inside:
        inside.device.queue.limit = 3
        most = 0

        def look(sys: Any) -> None:
            nonlocal most
            for _ in range(200):
                sys.nanosleep(10_000)
                most = max(most, inside.device.queue.queued)

        def many(sys: Any) -> None:
            task = sys._task
            bios = [Bio(READ, i * 64, 8) for i in range(20)]
            inside.device.queue.submit(task, *bios)
            assert inside.timeline.now > 10 * READ_NS
            for bio in bios:
                bio.wait(task)

        inside.run(look, many)
        assert most == 3


def test_real_time_takes_no_time_of_its_own() -> None:
    timeline = RealTimeline(1)
    said: list[Any] = []

    def use(sys: Any) -> None:
        fd = sys.open("/dev/vda", O_RDWR)
        sys.pwrite64(fd, b"real", 100)
        sys.fsync(fd)
        said.append(sys.pread64(sys.open("/dev/vda", O_RDWR | O_DIRECT), 512, 0)[100:104])

    with Machine("m", timeline) as machine:
        device = machine.attach_disk(RamDisk(64), drive=None)
        group = machine.spawn(use)
        machine.run(process=group)
        assert said == [b"real"] and device.queue.stat.ios == [2, 1, 1, 0]
    timeline.close()


def test_beyond_the_end_is_an_error_and_a_line() -> None:
    with Inside() as inside:
        bio = Bio(READ, 2047, 2)
        submit(inside, bio)
        assert bio.error == 5 and "attempt to access beyond end of device" in inside.log[0]
