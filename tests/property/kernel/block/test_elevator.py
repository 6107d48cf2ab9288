"""Schedulers of requests: everything comes out once, in a bounded time, the deadline one as it promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.block import elevator as module
from kernel.block.elevator import FIFO_BATCH, READ_EXPIRE_NS, WRITE_EXPIRE_NS, WRITES_STARVED, elevator
from kernel.block.request import READ, WRITE, Bio, Request

SERVICE_NS = 5_000_000
ARRIVALS = st.lists(
    st.tuples(st.sampled_from([READ, READ, WRITE]), st.integers(0, 100_000), st.integers(0, 3)),
    min_size=1, max_size=400,
)  # fmt: skip
"""(kind, sector, how many are issued before the next arrives)."""


def drive(name: str, arrivals: list[tuple[int, int, int]]) -> list[tuple[int, Request, list[Request]]]:
    """Everything issued: (when, what, those that waited then)."""
    queue = elevator(name)
    now = 0
    waiting: list[Request] = []
    issued: list[tuple[int, Request, list[Request]]] = []

    def issue() -> None:
        nonlocal now
        request = queue.next(now)
        if request is None:
            assert not waiting, "what waits is given"
            return
        assert request in waiting, "each once"
        issued.append((now, request, list(waiting)))
        waiting.remove(request)
        request.gone = True
        now += SERVICE_NS

    for number, (op, sector, gap) in enumerate(arrivals):
        request = Request(Bio(op, sector, 8), number, now)
        waiting.append(request)
        queue.add(request)
        for _ in range(gap):
            issue()
    while waiting:
        issue()
    assert queue.next(now) is None
    return issued


def check_bound(issued: list[tuple[int, Request, list[Request]]]) -> None:
    """Once it has expired, a request waits for those that are older, each with a batch of its own, and for what may go
    between two batches of its kind.
    """
    between = {READ: FIFO_BATCH, WRITE: FIFO_BATCH * WRITES_STARVED}
    expiry = {READ: READ_EXPIRE_NS, WRITE: WRITE_EXPIRE_NS}
    place = {request.number: i for i, (_, request, _) in enumerate(issued)}
    for request in [request for _, request, _ in issued]:
        expired = request.start_ns + expiry[request.op]
        late = [i for i, (now, _, _) in enumerate(issued) if now >= expired and i < place[request.number]]
        if not late:
            continue
        older = sum(r.op == request.op and r.number < request.number for r in issued[late[0]][2])
        assert len(late) <= 2 * FIFO_BATCH + (older + 1) * (FIFO_BATCH + between[request.op]), request


@given(ARRIVALS)
@settings(max_examples=80)
def test_deadline_gives_everything_once_and_nobody_starves(arrivals: list[tuple[int, int, int]]) -> None:
    issued = drive("deadline", arrivals)
    assert len(issued) == len(arrivals)
    check_bound(issued)


@given(ARRIVALS)
@settings(max_examples=30)
def test_none_is_first_come_first_served(arrivals: list[tuple[int, int, int]]) -> None:
    issued = [request.number for _, request, _ in drive("none", arrivals)]
    assert issued == sorted(issued) and len(issued) == len(arrivals)


@given(ARRIVALS)
@settings(max_examples=40)
def test_writes_wait_for_two_batches_of_reads_at_most(arrivals: list[tuple[int, int, int]]) -> None:
    issued = drive("deadline", arrivals)
    in_a_row = 0
    for _, request, waiting in issued:
        if request.op == READ and any(other.op == WRITE for other in waiting):
            in_a_row += 1
        elif request.op == WRITE:
            in_a_row = 0
        assert in_a_row <= FIFO_BATCH * (WRITES_STARVED + 1)


def flood() -> list[tuple[int, int, int]]:
    """One write far away, then reads without end beside each other."""
    return [(WRITE, 90_000, 0), *((READ, i * 8 % 4000, 1) for i in range(2500))]


def test_a_flood_of_reads_does_not_starve_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    check_bound(drive("deadline", flood()))
    monkeypatch.setattr(module, "WRITES_STARVED", 1 << 30)
    with pytest.raises(AssertionError):
        check_bound(drive("deadline", flood()))


def test_expiry_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read behind the arm, and always another one before it."""
    arrivals = [(READ, 50_000, 1), (READ, 10, 0), *((READ, 60_000 + i * 8, 1) for i in range(600))]
    check_bound(drive("deadline", arrivals))
    original = module._Direction.__init__

    def never(self: module._Direction, expire_ns: int) -> None:
        original(self, 1 << 60)

    monkeypatch.setattr(module._Direction, "__init__", never)
    with pytest.raises(AssertionError):
        check_bound(drive("deadline", arrivals))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="none, deadline"):
        elevator("cfq")
