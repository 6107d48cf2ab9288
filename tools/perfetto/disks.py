"""The disks of a trace: a row of requests for each, counters of its queue, and the arrows through it.

A request is a slice from its submission to its end; inside it one slice for the time that it was `queued` and one for
the time that the drive had it (`in service`). Requests overlap, so a disk has as many rows as it ever had requests at
once; they bear one name, which the viewer folds into one.

The arrow of a transfer begins at a mark on the thread that asked for it, passes through the request (or a mark there,
where the transfer was merged into a request that waited) and the completion, which is on a row of its own, and ends
at a mark on the thread that is woken, if any waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.block.request import OP_NAMES, SECTOR_SIZE
from tools.perfetto import proto
from tools.perfetto.proto import BEGIN, END, INSTANT

if TYPE_CHECKING:
    from kernel.block.queue import RequestQueue
    from kernel.block.request import Bio, Request
    from kernel.task import Task

FLUSHING = ((1, "preflush"), (2, "FUA"))


class Writer(Protocol):
    """What the rows need of the listener."""

    prefix: str

    def write(self, packet: bytes) -> None: ...

    def uuid(self) -> int: ...

    def flow(self) -> int: ...

    def thread(self, task: Task) -> int: ...

    def track(self, name: str) -> int: ...

    def count(self, name: str, unit: str, value: int, now: int) -> None: ...


class _Shown:
    """A request that has not ended: its row, and its transfers with their flows."""

    __slots__ = ("flows", "row")

    def __init__(self, row: int) -> None:
        self.row = row
        self.flows: list[tuple[Bio, int]] = []


class Disk:
    """One disk's part of the trace."""

    __slots__ = ("_free", "_name", "_rows", "_shown", "_writer")

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._name = name
        self._rows: list[int] = []
        """The tracks, by row."""
        self._free: list[int] = []
        self._shown: dict[int, _Shown] = {}

    def _row(self) -> int:
        """The first row that is free."""
        if self._free:
            row = min(self._free)
            self._free.remove(row)
            return row
        writer = self._writer
        parent = writer.track(self._name)
        uuid = writer.uuid()
        writer.write(proto.named_track(uuid, f"{writer.prefix}{self._name} requests", parent))
        self._rows.append(uuid)
        return len(self._rows) - 1

    def _counters(self, queue: RequestQueue, now: int) -> None:
        self._writer.count(f"{self._name} requests queued", "requests", queue.queued, now)
        self._writer.count(f"{self._name} requests in service", "requests", len(queue.issued), now)

    def queued(self, queue: RequestQueue, bio: Bio, request: Request, merged: bool, now: int) -> None:
        writer = self._writer
        flow = writer.flow()
        what = OP_NAMES[bio.op]
        notes = (("disk", self._name), ("sector", bio.sector), ("bytes", bio.count * SECTOR_SIZE))
        if bio.task is not None:
            asks = f"asks {self._name} to {what}"
            writer.write(proto.event(INSTANT, writer.thread(bio.task), now, asks, "block", (flow,), notes=notes))
        shown = self._shown.get(request.number)
        if shown is None:
            if merged:
                return  # into a request that was there before the listener
            shown = self._shown[request.number] = _Shown(self._row())
            track = self._rows[shown.row]
            extra = [("flags", "+".join(name for bit, name in FLUSHING if bio.flags & bit))] if bio.flags & 3 else []
            writer.write(proto.event(BEGIN, track, now, what, "block", (flow,), notes=(*notes, *extra)))
            writer.write(proto.event(BEGIN, track, now, "queued", "block"))
        else:
            track = self._rows[shown.row]
            writer.write(proto.event(INSTANT, track, now, "merged", "block", (flow,), notes=notes))
        shown.flows.append((bio, flow))
        self._counters(queue, now)

    def joined(self, queue: RequestQueue, request: Request, into: Request, now: int) -> None:
        shown, other = self._shown.pop(request.number, None), self._shown.get(into.number)
        if shown is None:
            return
        if other is not None:
            other.flows += shown.flows
        self._end(shown, now, 2, (("merged into sector", into.sector),))
        self._counters(queue, now)

    def issued(self, queue: RequestQueue, request: Request, now: int) -> None:
        shown = self._shown.get(request.number)
        if shown is None:
            return
        track = self._rows[shown.row]
        self._writer.write(proto.event(END, track, now))
        self._writer.write(proto.event(BEGIN, track, now, "in service", "block"))
        self._counters(queue, now)

    def done(self, queue: RequestQueue, request: Request, failed: int, now: int) -> None:
        shown = self._shown.pop(request.number, None)
        if shown is None:
            return
        issued = request.issued_ns or now
        result: list[tuple[str, str | int]] = [
            ("sector", request.sector), ("bytes", request.count * SECTOR_SIZE), ("transfers", len(request.bios)),
            ("queued ns", issued - request.start_ns), ("in service ns", now - issued),
        ]  # fmt: skip
        if failed:
            result.append(("errno", failed))
        self._end(shown, now, 2, result)
        writer = self._writer
        what = f"{OP_NAMES[request.op]} {'failed' if failed else 'done'}"
        woken = [(bio, flow) for bio, flow in shown.flows if bio.waiters]
        writer.write(proto.event(
            INSTANT, writer.track(f"{self._name} completes"), now, what, "block", [flow for _, flow in woken],
            [flow for bio, flow in shown.flows if not bio.waiters],
        ))  # fmt: skip
        for bio, flow in woken:
            assert bio.waiters is not None
            task = bio.waiters[0][0]
            name = f"woken by {self._name}"
            writer.write(proto.event(INSTANT, writer.thread(task), now, name, "block", ends=(flow,)))
        self._counters(queue, now)

    def _end(self, shown: _Shown, now: int, slices: int, notes: object = ()) -> None:
        track = self._rows[shown.row]
        for inner in range(slices - 1, -1, -1):
            self._writer.write(proto.event(END, track, now, notes=() if inner else notes))  # type: ignore[arg-type]
        self._free.append(shown.row)

    def close(self, now: int) -> None:
        """End what is open."""
        for number in sorted(self._shown):
            self._end(self._shown[number], now, 2)
        self._shown.clear()
