"""Schedulers of requests: which one the drive is given next.

- `none`: as they come. Right where the drive orders by itself, or where there is nothing to order.
- `deadline` (Linux's mq-deadline): in the order of sectors, in batches of one direction; reads before writes, because
  somebody waits for a read, but writes after `WRITES_STARVED` batches of reads; and whoever has waited past its
  expiry begins the next batch of its direction. So no request starves.

An elevator holds only what was not issued. A request that was issued or merged into another is `gone`, and passed
over when it is met.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Protocol

from kernel.block.request import READ, Request

READ_EXPIRE_NS = 500_000_000
WRITE_EXPIRE_NS = 5_000_000_000
WRITES_STARVED = 2
"""So many batches of reads go before writes that wait."""
FIFO_BATCH = 16
"""Requests of one batch."""


class Elevator(Protocol):
    """A scheduler of one queue."""

    name: str

    def add(self, request: Request) -> None: ...

    def moved(self, request: Request, before: int) -> None:
        """A bio was merged in front of it: it began at the sector `before`, and begins lower now."""

    def merged(self, request: Request) -> None:
        """It was merged into another, and is `gone`."""

    def next(self, now: int) -> Request | None:
        """The request to be issued now, no longer held; None when there is none."""
        ...

    def share(self, op: int, limit: int) -> int:
        """How many of the queue's `limit` places requests of this kind may fill."""
        ...


class NoElevator:
    """First come, first served."""

    __slots__ = ("_queue",)
    name = "none"

    def __init__(self) -> None:
        self._queue: deque[Request] = deque()

    def add(self, request: Request) -> None:
        self._queue.append(request)

    def moved(self, request: Request, before: int) -> None:
        """Its turn stays."""

    def merged(self, request: Request) -> None:
        """It is passed over when it is met."""

    def next(self, now: int) -> Request | None:
        queue = self._queue
        while queue:
            request = queue.popleft()
            if not request.gone:
                return request
        return None

    def share(self, op: int, limit: int) -> int:
        return limit


class _Direction:
    """The requests of one direction, by sector and by age."""

    __slots__ = ("by_age", "by_sector", "expire_ns", "position")

    def __init__(self, expire_ns: int) -> None:
        self.expire_ns = expire_ns
        self.by_sector: list[tuple[int, int, Request]] = []
        self.by_age: deque[Request] = deque()
        self.position = 0
        """Where the last request of this direction ended."""

    def add(self, request: Request) -> None:
        insort(self.by_sector, (request.sector, request.number, request))
        self.by_age.append(request)

    def remove(self, sector: int, request: Request) -> None:
        at = bisect_left(self.by_sector, (sector, request.number))
        if at < len(self.by_sector) and self.by_sector[at][2] is request:
            del self.by_sector[at]

    def oldest(self) -> Request | None:
        by_age = self.by_age
        while by_age and by_age[0].gone:
            by_age.popleft()
        return by_age[0] if by_age else None

    def following(self) -> Request | None:
        """The next one at or after the position."""
        at = bisect_left(self.by_sector, (self.position,))
        return self.by_sector[at][2] if at < len(self.by_sector) else None

    def take(self, request: Request) -> Request:
        self.remove(request.sector, request)
        self.position = request.end
        request.gone = True
        return request


class DeadlineElevator:
    """See the module's docstring."""

    __slots__ = ("_batch", "_directions", "_reading", "_starved")
    name = "deadline"

    def __init__(self) -> None:
        self._directions = (_Direction(READ_EXPIRE_NS), _Direction(WRITE_EXPIRE_NS))
        self._reading = True
        self._batch = 0
        """Requests issued of the batch under way; 0 before the first."""
        self._starved = 0
        """Batches of reads begun while writes waited."""

    def _of(self, request: Request) -> _Direction:
        return self._directions[request.op != READ]

    def add(self, request: Request) -> None:
        self._of(request).add(request)

    def moved(self, request: Request, before: int) -> None:
        direction = self._of(request)
        direction.remove(before, request)
        insort(direction.by_sector, (request.sector, request.number, request))

    def merged(self, request: Request) -> None:
        self._of(request).remove(request.sector, request)

    def next(self, now: int) -> Request | None:
        reads, writes = self._directions
        if 0 < self._batch < FIFO_BATCH:
            going = reads if self._reading else writes
            following = going.following()
            if following is not None:
                self._batch += 1
                return going.take(following)
        oldest_read, oldest_write = reads.oldest(), writes.oldest()
        if oldest_read is None and oldest_write is None:
            self._batch = 0
            return None
        if oldest_read is not None and (oldest_write is None or self._starved < WRITES_STARVED):
            self._starved += oldest_write is not None
            self._reading, going, oldest = True, reads, oldest_read
        else:
            assert oldest_write is not None
            self._starved = 0
            self._reading, going, oldest = False, writes, oldest_write
        self._batch = 1
        chosen: Request | None = oldest
        if now - oldest.start_ns < going.expire_ns:
            chosen = going.following() or oldest
        assert chosen is not None
        return going.take(chosen)

    def share(self, op: int, limit: int) -> int:
        """Writes leave a quarter of the places to reads, or nobody could get past a flood of them."""
        return limit if op == READ else max(limit * 3 // 4, 1)


ELEVATORS: dict[str, type[NoElevator] | type[DeadlineElevator]] = {
    "none": NoElevator, "deadline": DeadlineElevator, "mq-deadline": DeadlineElevator,
}  # fmt: skip


def elevator(name: str) -> Elevator:
    """A new scheduler by name. ValueError."""
    if name not in ELEVATORS:
        raise ValueError(f"no scheduler of requests {name!r}: there are none, deadline")
    return ELEVATORS[name]()
