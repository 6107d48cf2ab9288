"""The request queue of one device: from `submit` to the wakeup of who waits.

    task --submit--> [merge] --> elevator --dispatch--> drive (time passes) --interrupt--> deferred half --> task

A task submits bios in batches (a batch is what Linux calls a plug): each costs `costs.block` of its CPU time, finds a
neighbour among the requests that wait and is merged with it, or becomes a request. While the drive holds fewer than
`depth`, the elevator gives it the next one. When `limit` requests wait, whoever wants to submit another sleeps until
there is room.

The drive (drivers/disk/drive.py) only takes time. When it is done, the transfer is made, on the disk of drivers/disk,
which is synchronous; the interrupt takes the CPU (`costs.interrupt`), and its deferred half (`costs.block_done` for
each request) ends the bios. Without a drive (in real time, where devices take what they take) a request is done at
once.

A request of several bios that fails is made again bio by bio, so that one bad sector fails nobody else. Flushes that
wait become one: each flush makes durable what has ended before it is issued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from errno import EIO, EOPNOTSUPP, EROFS
from typing import TYPE_CHECKING

from drivers.disk.device import SECTOR_SIZE, Disk
from drivers.disk.drive import DEPTH, Command, Drive
from kernel.block.elevator import Elevator, elevator
from kernel.block.request import (
    DISCARD,
    FLUSH,
    FUA,
    MAX_SECTORS,
    OP_NAMES,
    PREFLUSH,
    READ,
    WRITE,
    Bio,
    Request,
)
from kernel.block.stat import DiskStat
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task

LIMIT = 256
"""Requests that may wait, as Linux's nr_requests for a virtio disk."""


class RequestQueue:
    """See the module's docstring."""

    __slots__ = (
        "_done", "_ends", "_flush", "_number", "_paid", "_starts", "_timer", "_urgent", "depth", "disk", "drive",
        "elevator", "issued", "limit", "machine", "merging", "name", "queued", "readonly", "room", "stat",
    )  # fmt: skip

    def __init__(
        self, machine: Machine, name: str, disk: Disk, drive: Drive | None, scheduler: str = "none",
        depth: int = DEPTH, limit: int = LIMIT,
    ) -> None:  # fmt: skip
        if depth < 1 or limit < 1:
            raise ValueError("a queue has a depth of at least 1, and room for one request")
        self.machine = machine
        self.name = name
        self.disk = disk
        self.drive = drive
        self.readonly = bool(getattr(disk, "readonly", False))
        self.elevator: Elevator = elevator(scheduler)
        self.depth = depth
        """So many requests the drive is given at once."""
        self.limit = limit
        self.merging = True
        self.stat = DiskStat(machine.timeline.now)
        self.queued = 0
        """Requests that wait to be issued; by kind in `stat`."""
        self.issued: dict[int, Request] = {}
        """What the drive has, by number."""
        self.room = WaitQueue()
        self._number = 0
        self._starts: dict[tuple[int, int], Request] = {}
        """Requests that wait and may be merged with, by kind and first sector."""
        self._ends: dict[tuple[int, int], Request] = {}
        """The same, by kind and the sector after the last."""
        self._urgent: deque[Request] = deque()
        """Flushes: they are not sorted, and go first."""
        self._flush: Request | None = None
        """The flush that waits, which others join."""
        self._done: list[Request] = []
        """What the drive has done and the deferred half has not seen."""
        self._paid = 0
        """How many of these the deferred half under way has been paid for."""
        self._timer = machine.timeline.timer(self._softirq)
        if drive is not None:
            drive.on_done = self._interrupt

    # ---- submission ----

    def submit(self, task: Task, *bios: Bio) -> None:
        """Start these transfers, on behalf of the running task; does not wait for their end, but may sleep for room."""
        costs = self.machine.costs
        for bio in bios:
            task.spend(costs.block)
            bio.task = task
            why = self._refused(bio)
            if why:
                bio.end(why, task.now)
            elif self.drive is None:
                self._at_once(bio, task.now)
            else:
                self._enter(task, bio)
        self.dispatch()

    def _refused(self, bio: Bio) -> int:
        """An errno, for what no drive is asked to do."""
        if bio.op == FLUSH:
            return 0
        if bio.sector < 0 or bio.sector + bio.count > self.disk.sectors:
            self.machine.printk(
                f"{self.name}: attempt to access beyond end of device: {OP_NAMES[bio.op]} of sectors"
                f" {bio.sector} to {bio.sector + bio.count}, of {self.disk.sectors}"
            )
            return EIO
        if bio.op == DISCARD and getattr(self.disk, "discard", None) is None:
            return EOPNOTSUPP
        return EROFS if self.readonly and bio.op != READ else 0

    def _at_once(self, bio: Bio, now: int) -> None:
        request = self._request(bio, now)
        self.stat.begins(request.op, now)
        self._tell_queued(bio, request, False, now)
        request.issued_ns = now
        self._tell_issued(request, now)
        self._finish(request, self._transfer(request), now)

    def _request(self, bio: Bio, now: int) -> Request:
        self._number += 1
        return Request(bio, self._number, now)

    def _enter(self, task: Task, bio: Bio) -> None:
        """Into a request that waits, or into one of its own."""
        if self._merge(bio, task.now):
            return
        waits = self.queued >= self.elevator.share(bio.op, self.limit)
        while waits:
            self.dispatch()
            if self.queued < self.elevator.share(bio.op, self.limit):
                break
            cpu = task.cpu
            cpu.io_begins()
            try:
                self.room.sleep(task, interruptible=False)
            finally:
                cpu.io_ends()
        now = task.now
        if waits and self._merge(bio, now):
            return
        if bio.op == FLUSH and self._flush is not None:
            self._flush.bios.append(bio)
            self._tell_queued(bio, self._flush, True, now)
            return
        request = self._request(bio, now)
        self.queued += 1
        self.stat.begins(bio.op, now)
        self._tell_queued(bio, request, False, now)
        if bio.op == FLUSH:
            self._urgent.append(request)
            self._flush = request
            return
        if request.mergeable and self.merging:
            self._index(request)
        self.elevator.add(request)

    # ---- merging ----

    def _index(self, request: Request) -> None:
        self._starts[request.op, request.sector] = request
        self._ends[request.op, request.end] = request

    def _forget(self, request: Request) -> None:
        """It can't be merged with any more, or is about to change its ends."""
        for index, sector in ((self._starts, request.sector), (self._ends, request.end)):
            if index.get((request.op, sector)) is request:
                del index[request.op, sector]

    def _merge(self, bio: Bio, now: int) -> bool:
        """Behind or before a neighbour that waits; and when that closes a gap, the two around it become one."""
        if not self.merging or bio.op not in (READ, WRITE) or bio.flags & (PREFLUSH | FUA):
            return False
        op = bio.op
        request = self._ends.get((op, bio.sector))
        if request is not None and request.count + bio.count <= MAX_SECTORS:
            self._forget(request)
            request.bios.append(bio)
            request.count += bio.count
            behind = self._starts.get((op, request.end))
            if behind is not None and request.count + behind.count <= MAX_SECTORS:
                self._forget(behind)
                behind.gone = True
                self.elevator.merged(behind)
                request.bios += behind.bios
                request.count += behind.count
                request.start_ns = min(request.start_ns, behind.start_ns)
                self.queued -= 1
                self.stat.joined(op, now)
                self._tell_joined(behind, request, now)
        else:
            request = self._starts.get((op, bio.sector + bio.count))
            if request is None or request.count + bio.count > MAX_SECTORS:
                return False
            self._forget(request)
            before = request.sector
            request.bios.insert(0, bio)
            request.sector -= bio.count
            request.count += bio.count
            self.elevator.moved(request, before)
        self._index(request)
        self.stat.merges[op] += 1
        self._tell_queued(bio, request, True, now)
        return True

    # ---- to the drive ----

    def dispatch(self) -> None:
        """Give the drive what it has room for."""
        drive = self.drive
        if drive is None:
            return
        now = self.machine.timeline.now
        while len(self.issued) < self.depth and self.queued:
            if self._urgent:
                request = self._urgent.popleft()
                if request is self._flush:
                    self._flush = None
            else:
                chosen = self.elevator.next(now)
                if chosen is None:
                    break
                request = chosen
                self._forget(request)
            request.gone = True
            request.issued_ns = now
            self.queued -= 1
            self.issued[request.number] = request
            self._tell_issued(request, now)
            drive.start(request, now)

    # ---- from the drive ----

    def _interrupt(self, command: Command, now: int) -> None:
        """The top half: a request is done. The deferred half follows when its cost has elapsed."""
        assert isinstance(command, Request)
        self._done.append(command)
        if len(self._done) > 1:
            return
        self._paid = 1
        costs = self.machine.costs
        self.machine.network.cpu.steal(costs.interrupt + costs.block_done, costs.block_done)
        self._timer.arm(now + costs.interrupt + costs.block_done)

    def _softirq(self, now: int) -> None:
        """The deferred half: what has been paid for ends; what was done meanwhile is next."""
        batch = self._done[: self._paid]
        for request in batch:
            del self.issued[request.number]
            self._finish(request, self._transfer(request), now)
        del self._done[: len(batch)]
        self.dispatch()
        room = self.limit - self.queued
        if len(self.room) and room > 0:
            self.room.wake(room)
        self._paid = len(self._done)
        if self._done:
            cost = self._paid * self.machine.costs.block_done
            self.machine.network.cpu.steal(cost, cost)
            self._timer.arm(now + cost)

    def _transfer(self, request: Request) -> list[int]:
        """Make the transfer; for each bio an errno or 0."""
        disk, bios = self.disk, request.bios
        try:
            if request.flags & PREFLUSH:
                disk.flush()
            if request.op == READ:
                data = disk.read(request.sector, request.count)
                if len(bios) == 1:
                    bios[0].data = data
                else:
                    at = 0
                    for bio in bios:
                        bio.data = data[at : at + bio.count * SECTOR_SIZE]
                        at += bio.count * SECTOR_SIZE
            elif request.op == WRITE:
                disk.write(request.sector, bios[0].data if len(bios) == 1 else b"".join([bio.data for bio in bios]))
            elif request.op == DISCARD:
                disk.discard(request.sector, request.count)  # type: ignore[attr-defined]
            if request.op == FLUSH or request.flags & FUA:
                disk.flush()
        except OSError as why:
            if len(bios) > 1 and request.op != FLUSH:
                return [self._transfer(Request(bio, request.number, request.start_ns))[0] for bio in bios]
            self._failed(request, why)
            return [why.errno or EIO] * len(bios)
        return [0] * len(bios)

    def _failed(self, request: Request, why: OSError) -> None:
        """A counter and a line for an error of the medium."""
        self.stat.errors[request.op] += 1
        self.machine.printk(
            f"I/O error, dev {self.name}, sector {request.sector} op {request.op:#x}:({OP_NAMES[request.op].upper()})"
            f" flags {request.flags:#x}: {why.strerror}"
        )

    def _finish(self, request: Request, errors: Sequence[int], now: int) -> None:
        stat = self.stat
        stat.ends(request.op, request.count, now - request.start_ns, now)
        trace = self.machine.trace
        if trace.blocks:
            trace.request_done(self, request, max(errors), now)
        for bio, failed in zip(request.bios, errors):
            bio.end(EIO if failed and failed not in (EOPNOTSUPP, EROFS) else failed, now)

    # ---- power ----

    def power_cut(self) -> None:
        """The power goes while requests are under way: what the drive was writing may or may not have got into its
        cache, and is handed to the disk for it to decide; everything that was asked for fails.
        """
        now = self.machine.timeline.now
        held: list[Request] = [*self._done]
        if self.drive is not None:
            held += [command for command in self.drive.drop() if isinstance(command, Request)]
        for request in held:
            if request.op == WRITE:
                for bio in request.bios:
                    self.disk.write(bio.sector, bio.data)
        self._done.clear()
        self._paid = 0
        self._timer.disarm()
        while self._urgent:
            held.append(self._urgent.popleft())
        self._flush = None
        while (request_ := self.elevator.next(now)) is not None:
            held.append(request_)
        self._starts.clear()
        self._ends.clear()
        self.queued = 0
        self.issued.clear()
        for request in held:
            self._finish(request, [EIO] * len(request.bios), now)
        self.room.wake_all()

    def close(self) -> None:
        """Nothing happens any more."""
        self._timer.disarm()
        if self.drive is not None:
            self.drive.drop()

    # ---- what the trace is told ----

    def _tell_queued(self, bio: Bio, request: Request, merged: bool, now: int) -> None:
        trace = self.machine.trace
        if trace.blocks:
            trace.bio_queued(self, bio, request, merged, now)

    def _tell_joined(self, request: Request, into: Request, now: int) -> None:
        trace = self.machine.trace
        if trace.blocks:
            trace.requests_joined(self, request, into, now)

    def _tell_issued(self, request: Request, now: int) -> None:
        trace = self.machine.trace
        if trace.blocks:
            trace.request_issued(self, request, now)
