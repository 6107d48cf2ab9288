"""A machine with a disk and tasks that read and write it as a case says: what the properties of the block layer run.

Each task owns blocks of the disk (those whose number is its own, modulo the number of tasks) and keeps, for each
sector of these, what it last wrote, and every version that may be on the medium after a power cut: the one that was
made durable last, and those written since. The buffered tasks also share blocks, of which each owns one sector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drivers.clock import VirtualTimeline
from drivers.disk.drive import HDD, SSD, DriveCosts
from drivers.disk.faulty import FaultyDisk
from drivers.disk.ram import RamDisk
from kernel.block.device import BlockDevice
from kernel.machine import Machine
from userland.abi import BLKFLSBUF, O_DIRECT, O_DSYNC, O_RDWR

SECTOR = 512
BLOCK = 4096
DRIVES = {"ssd": SSD, "hdd": HDD, "none": None}


@dataclass
class Case:
    """How the machine is, and what each task does: [(verb, where, length, pause)]."""

    tasks: list[list[tuple[str, int, int, int]]]
    drive: str = "ssd"
    scheduler: str = "none"
    depth: int = 4
    limit: int = 256
    cpus: int = 2
    seed: int = 1
    cache: int = 64
    cut_at: int | None = None
    blocks: int = 150


@dataclass
class Ran:
    """What came of it."""

    medium: bytes
    finished: bool
    owners: list[Owner]
    events: list[tuple[Any, ...]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    device: BlockDevice | None = None
    longest_wait: int = 0


class Owner:
    """One task's view of its sectors."""

    def __init__(self, case: Case, number: int) -> None:
        self.number = number
        self.count = len(case.tasks)
        shared = [(case.blocks - 1) * 8 + number] if number < 8 else []
        mine = list(range(number, case.blocks - 1, self.count))
        self.runs = mine
        self.shared = shared
        self.now: dict[int, bytes] = {}
        self.durable: dict[int, bytes] = {}
        self.versions: dict[int, list[bytes]] = {}
        """Since the sector was durable last."""

    def wrote(self, sector: int, data: bytes) -> None:
        self.now[sector] = data
        self.versions.setdefault(sector, []).append(data)

    def snapshot(self) -> dict[int, int]:
        return {sector: len(found) for sector, found in self.versions.items()}

    def made_durable(self, before: dict[int, int]) -> None:
        """What had been written when the flush began is on the medium now."""
        for sector, count in before.items():
            if count:
                self.durable[sector] = self.versions[sector][count - 1]
                del self.versions[sector][:count]

    def possible(self, sector: int) -> list[bytes]:
        return [self.durable.get(sector, bytes(SECTOR)), *self.versions.get(sector, ())]


class Medium(RamDisk):
    """Keeps what is on it when it is closed."""

    last = b""

    def close(self) -> None:
        if not self.last:
            self.last = self.image()
        super().close()


def stamp(owner: int, serial: int, sector: int) -> bytes:
    """A sector's contents that no other write has."""
    return f"{owner:03d}.{serial:06d}.{sector:06d}.".encode().ljust(SECTOR, b"%d" % (serial % 10))


def task(sys: Any, case: Case, owner: Owner, ran: Ran) -> None:
    flags = {"d": O_RDWR | O_DIRECT, "b": O_RDWR, "s": O_RDWR | O_DSYNC, "ds": O_RDWR | O_DIRECT | O_DSYNC}
    fds = {kind: sys.open("/dev/vda", how) for kind, how in flags.items()}
    serial = 0
    for verb, where, length, pause in case.tasks[owner.number]:
        if pause:
            sys.nanosleep(pause)
        kind, _, what = verb.partition(" ")
        block = owner.runs[where % len(owner.runs)]
        first = block * 8 + where // 7 % 8
        count = min(1 + length % 8, (block + 1) * 8 - first)
        if what == "shared":
            if not owner.shared:
                continue
            first, count, kind = owner.shared[0], 1, "b"
            what = "write" if length % 2 else "read"
        sectors = range(first, first + count)
        if what == "write":
            serial += 1
            data = b"".join(stamp(owner.number, serial, sector) for sector in sectors)
            for i, sector in enumerate(sectors):
                owner.wrote(sector, data[i * SECTOR : (i + 1) * SECTOR])
            before = {sector: len(owner.versions[sector]) for sector in sectors}
            done = sys.pwrite64(fds[kind], data, first * SECTOR)
            if done != len(data):
                ran.wrong.append(f"wrote {done} of {len(data)}")
            if kind in ("s", "ds"):
                owner.made_durable(before)
        elif what == "read":
            data = sys.pread64(fds[kind], count * SECTOR, first * SECTOR)
            right = b"".join(owner.now.get(sector, bytes(SECTOR)) for sector in sectors)
            if data != right:
                ran.wrong.append(f"task {owner.number} read {data[:20]!r} at sector {first}, not {right[:20]!r}")
        elif what == "fsync":
            before = owner.snapshot()
            sys.fsync(fds["b"])
            owner.made_durable(before)
        elif what == "sync":
            before = owner.snapshot()
            sys.sync()
            owner.made_durable(before)
        elif what == "drop":
            sys.ioctl(fds["b"], BLKFLSBUF, 0)
        elif what == "scan":  # readahead over everybody's blocks
            sys.pread64(fds["b"], 16 * BLOCK, 0)
            for at in range(16, min(length % 64 + 16, case.blocks - 8), 8):
                sys.pread64(fds["b"], 8 * BLOCK, at * BLOCK)
    return None


class Listener:
    """Writes down what happens in the queue."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran

    def bio_queued(self, queue: Any, bio: Any, request: Any, merged: bool, now: int) -> None:
        self.ran.events.append(("queued", now, bio.op, bio.sector, bio.count, request.number, merged))
        if len(queue.issued) > queue.depth or queue.queued < 0:
            self.ran.wrong.append("the drive holds more than the depth")

    def requests_joined(self, queue: Any, request: Any, into: Any, now: int) -> None:
        self.ran.events.append(("joined", now, request.number, into.number))

    def request_issued(self, queue: Any, request: Any, now: int) -> None:
        self.ran.events.append(("issued", now, request.number, request.op, request.sector, request.count))
        self.ran.longest_wait = max(self.ran.longest_wait, now - request.start_ns)

    def request_done(self, queue: Any, request: Any, failed: int, now: int) -> None:
        self.ran.events.append(("done", now, request.number, failed))
        if sum(bio.count for bio in request.bios) != request.count:
            self.ran.wrong.append(f"{request} has {request.bios}")
        at = request.sector
        for bio in request.bios:
            if bio.sector != at and bio.count:
                self.ran.wrong.append(f"{request} has {request.bios}, out of order")
            at += bio.count


def run(case: Case) -> Ran:
    """Until the end, or until the power cut."""
    timeline = VirtualTimeline(case.seed)
    ram = Medium(case.blocks * 8)
    disk = FaultyDisk(ram, timeline.stream("disk"))
    owners = [Owner(case, number) for number in range(len(case.tasks))]
    ran = Ran(b"", False, owners)
    costs: DriveCosts | None = DRIVES[case.drive]
    machine = Machine("m", timeline, cpus=case.cpus)
    device = machine.attach_disk(disk, drive=costs, scheduler=case.scheduler, depth=case.depth)
    device.queue.limit = case.limit
    device.cache.size = case.cache
    machine.trace.append(Listener(ran))
    groups = [machine.spawn(task, case, owner, ran, name=f"t{owner.number}") for owner in owners]
    if case.cut_at is None:
        ran.finished = machine.run()
        for group in groups:
            if group.exit_status != 0:
                said = bytes(machine.console.output)  # type: ignore[attr-defined]
                ran.wrong.append(f"{group.pid}: {group.exit_status} {said!r}")
        if device.queue.queued or device.queue.issued or device.cache.writing:
            timeline.run(timeline.now + 10_000_000_000)
        if device.queue.queued or device.queue.issued or device.cache.writing:
            ran.wrong.append("something is left in the queue")
    else:
        machine.run(until=case.cut_at)
        device.power_cut()
        ram.last = ram.image()
    ran.device = device
    machine.close()
    ran.medium = ram.last
    return ran
