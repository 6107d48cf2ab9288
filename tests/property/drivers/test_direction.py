"""The link model, for any impairments and any schedule of frames."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from csrc.frame import Frame
from drivers.clock import SECOND, Stream, VirtualTimeline
from drivers.net.direction import Direction
from drivers.net.impairments import GilbertElliott, Impairments
from drivers.net.wire import Wire

shares = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])
rates = st.sampled_from([None, 1, 7_777, 1_000_003, 10**8, 10**11])
impairments = st.builds(
    Impairments,
    rate=rates,
    delay=st.integers(0, 1000),
    jitter=st.integers(0, 1500),
    loss=st.one_of(shares, st.builds(GilbertElliott, shares, shares)),
    reorder=shares,
    duplicate=shares,
    corrupt=shares,
    queue=st.sampled_from([None, 0, 1, 5]),
    ecn=st.sampled_from([None, 0, 3]),
    overhead=st.sampled_from([0, 24]),
    transforms=st.sampled_from([(), (lambda image, now: [image, image],), (lambda image, now: [],)]),
)
schedules = st.lists(st.tuples(st.integers(0, 800), st.integers(20, 90)), max_size=40)


class Run:
    """One direction, driven by a schedule of (gap before it, size) frames."""

    def __init__(self, how: Impairments, schedule: list[tuple[int, int]], seed: int = 0) -> None:
        self.line = VirtualTimeline(seed)
        self.arrived: list[tuple[int, bytes]] = []
        self.direction = Direction(self.line, how, self.line.stream("link"), self.deliver, max_frame=80)
        self.sent: list[tuple[int, bytes]] = []
        at = 0
        for number, (gap, size) in enumerate(schedule):
            at += gap
            self.line.run(until=at)
            image = (number.to_bytes(2, "big") * size)[:size]
            self.sent.append((at, image))
            self.direction.transmit([Frame.of(image, False)], at)
            assert self.conserved()

    def deliver(self, frames: list[Frame], now: int) -> None:
        for frame in frames:
            assert frame.timestamp_ns == now == self.line.now
            assert frame.comment is None
            self.arrived.append((now, bytes(frame)))

    def conserved(self) -> bool:
        d = self.direction
        gone = d.delivered + d.lost + d.overflowed + d.swallowed + d.refused
        return d.offered + d.duplicated + d.injected == gone + d.in_flight and d.delivered == len(self.arrived)


@given(impairments, schedules, st.integers(0, 3))
def test_nothing_is_gained_or_lost_unaccounted_and_a_run_repeats(
    how: Impairments, schedule: list[tuple[int, int]], seed: int
) -> None:
    run = Run(how, schedule, seed)
    run.line.run()
    assert run.conserved() and run.direction.in_flight == 0
    again = Run(how, schedule, seed)
    again.line.run()
    assert again.arrived == run.arrived and again.direction.counters == run.direction.counters
    assert [at for at, _ in run.arrived] == sorted(at for at, _ in run.arrived)


@given(impairments, schedules)
def test_frames_arrive_as_sent_or_with_one_bit_flipped_and_not_too_early(
    how: Impairments, schedule: list[tuple[int, int]]
) -> None:
    run = Run(how, schedule)
    run.line.run()
    sent = [(at, int.from_bytes(image, "big"), len(image)) for at, image in run.sent]
    flipped = 0
    earliest = 0 if how.reorder or how.jitter > how.delay else how.delay - how.jitter
    for now, image in run.arrived:
        value, size = int.from_bytes(image, "big"), len(image)
        distances = [(value ^ v).bit_count() for at, v, s in sent if s == size and now >= at + earliest]
        assert min(distances) <= 1
        flipped += min(distances)
    assert flipped <= run.direction.corrupted <= len(run.sent) * 4


def plain_link(
    how: Impairments, sent: list[tuple[int, bytes]]
) -> tuple[list[tuple[int, bytes]], int]:
    """The oracle for a link that only queues: exact fractions, and a list of the starts that are still to come."""
    assert how.rate is not None
    free, starts, out, dropped = Fraction(0), [], [], 0
    for at, image in sent:
        if len(image) > 80:
            continue
        waiting = sum(1 for start in starts if int(start) > at)
        if int(free) > at and how.queue is not None and waiting >= how.queue:
            dropped += 1
            continue
        start = max(free, Fraction(at))
        starts.append(start)
        free = start + Fraction((len(image) + how.overhead) * 8 * SECOND, how.rate)
        out.append((-(-free.numerator // free.denominator) + how.delay, image))
    return out, dropped


@given(
    st.builds(
        Impairments, rate=rates.filter(bool), delay=st.integers(0, 10**6), queue=st.sampled_from([None, 0, 1, 5]),
        overhead=st.sampled_from([0, 24]),
    ),
    st.one_of(schedules, st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(20, 90)), max_size=40)),
)  # fmt: skip
def test_the_line_is_exact_to_the_bit_and_first_in_first_out(
    how: Impairments, schedule: list[tuple[int, int]]
) -> None:
    run = Run(how, schedule)
    run.line.run()
    expected, dropped = plain_link(how, run.sent)
    assert run.arrived == expected
    assert run.direction.overflowed == dropped


@given(st.integers(1, 10**6), schedules, impairments)
def test_never_faster_than_the_rate(rate: int, schedule: list[tuple[int, int]], how: Impairments) -> None:
    how = how.but(rate=rate, jitter=0, reorder=0.0, overhead=0)
    run = Run(how, schedule)
    run.line.run()
    bits = 0
    for now, image in run.arrived[1:]:
        bits += 8 * len(image)
        assert (now - run.arrived[0][0] + 1) * rate >= bits * SECOND


@given(schedules, st.sampled_from(["loss", "corrupt", "duplicate", "reorder"]), st.integers(0, 5))
def test_one_more_impairment_does_not_disturb_the_others(
    schedule: list[tuple[int, int]], more: str, seed: int
) -> None:
    """With loss added, what still arrives arrives when it did; and so on for the others."""
    how = Impairments(delay=1000, jitter=700)
    before, after = Run(how, schedule, seed), Run(how.but(**{more: 0.4}), schedule, seed)
    before.line.run()
    after.line.run()
    if more == "loss":
        assert not Counter(after.arrived) - Counter(before.arrived)
    elif more == "duplicate":
        assert not Counter(before.arrived) - Counter(after.arrived)
    elif more == "corrupt":
        assert [at for at, _ in after.arrived] == [at for at, _ in before.arrived]
    else:
        kept = Counter(after.arrived) & Counter(before.arrived)
        assert kept.total() >= len(before.arrived) - after.direction.reordered


@given(schedules, impairments)
def test_reading_a_port_in_any_portions_gives_what_arrived(schedule: list[tuple[int, int]], how: Impairments) -> None:
    def run(budget: int) -> list[bytes]:
        line = VirtualTimeline(3)
        wire = Wire(line, how.but(ecn=None))
        got: list[bytes] = []

        def interrupt() -> None:
            while frames := wire.b.receive(budget):
                assert len(frames) <= budget
                got.extend(map(bytes, frames))

        wire.b.on_receive = interrupt
        at = 0
        for number, (gap, size) in enumerate(schedule):
            at += gap
            line.run(until=at)
            wire.a.transmit([Frame.of(bytes([number]) * size, False)], at)
        line.run()
        assert wire.b.counters["rx_frames"] == len(got) and wire.b.counters["rx_bytes"] == sum(map(len, got))
        assert wire.a.counters["tx_frames"] == len(schedule)
        return got

    assert run(1) == run(7) == run(1000)


def test_shares_come_out_as_asked() -> None:
    """Five standard deviations around 5,000 draws of 10 %: a generator that is stuck or biased fails."""
    how = Impairments(loss="10%", duplicate="10%", corrupt="10%", reorder="10%", delay="1ms")
    run = Run(how, [(1, 40)] * 5000)
    run.line.run()
    d = run.direction
    for name in ("lost", "duplicated", "corrupted", "reordered"):
        assert abs(getattr(d, name) - 500) < 5 * 24, name


def test_jitter_is_uniform_and_symmetric() -> None:
    run = Run(Impairments(delay=10_000, jitter=4_000), [(100_000, 40)] * 2000)
    run.line.run()
    delays = [now - at for (now, _), (at, _) in zip(run.arrived, run.sent)]
    assert min(delays) >= 6_000 and max(delays) < 14_000
    assert abs(sum(delays) / 2000 - 10_000) < 5 * 2310 / 2000**0.5
    quarters = Counter((delay - 6_000) // 2_000 for delay in delays)
    assert all(abs(quarters[i] - 500) < 100 for i in range(4))


def test_gilbert_elliott_loses_in_bursts() -> None:
    model = GilbertElliott(p=0.01, r=0.2)
    lost = model.start(Stream(1, "ge"))
    draws = [lost() for _ in range(50_000)]
    bursts = [len(run) for run in "".join(" x"[one] for one in draws).split()]
    assert abs(sum(draws) / len(draws) - 0.01 / 0.21) < 0.008
    assert abs(sum(bursts) / len(bursts) - 5) < 0.6
