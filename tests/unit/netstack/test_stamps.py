"""When what waits in a stream came: by buffers of Linux's, in order whatever came first, and forgotten once read."""

from __future__ import annotations

from netstack.stamps import Stamps


def watched() -> Stamps:
    stamps = Stamps()
    stamps.arrivals = True
    return stamps


def test_nobody_asked() -> None:
    stamps = Stamps()
    stamps.queued(0, 100, 5, 0)
    stamps.held(200, 6)
    assert not stamps.came and not stamps.early and stamps.when(50) == -1


def test_what_fits_in_behind_joins() -> None:
    stamps = watched()
    seq = 0
    for now, size in enumerate((100, 52, 1, 599, 1, 5000, 1), 1):
        stamps.queued(seq, size, now, 0)
        seq += size
    assert [stamps.when(seq) for seq in (0, 151, 152, 751, 752, 753, 5752, 5753)] == [2, 2, 3, 5, 5, 6, 6, 7]


def test_what_was_out_of_order_came_when_it_came() -> None:
    stamps = watched()
    stamps.held(1000, 1)
    stamps.held(2000, 2)
    stamps.queued(0, 1000, 3, 0)
    stamps.drained(1000, 0, 1000, 3, 0)
    stamps.drained(2000, 10, 990, 3, 0)
    assert [stamps.when(seq) for seq in (0, 1000, 2500, 3000)] == [3, 1, 2, -1]
    assert not stamps.early


def test_what_was_read_is_forgotten() -> None:
    stamps = watched()
    for n in range(10_000):
        stamps.queued(1000 * n, 1000, n, max(0, 1000 * (n - 3)))
    assert len(stamps.came) <= 4
