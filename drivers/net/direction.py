"""One direction of a link: what becomes of each frame, and when it arrives.

A frame is offered, meets its impairments, waits for the line, is sent at the line's rate, travels, and
arrives. All of it is decided when it is offered (nothing later can change it), so a frame costs no event
until it arrives, and one timer serves the direction.

- Draws. Each impairment has a generator of its own, and draws exactly once per frame offered, whatever
becomes of the
  frame; copies have a second set. So making one impairment stronger changes what that impairment does and no
  more.
- The line. `_free` and `_owed` are the time at which it falls idle, exactly: nanoseconds and a remainder in
1/rate of one.
  The remainder is carried along while the line is busy, so a full line runs at its rate to the bit, and no
  frame arrives before its last bit was sent. Frames that wait are known by the times at which their sending
  starts.
- Arrivals. `_fifo` holds frames whose arrival times rise; a frame that overtakes the last of them goes to
`_overtakers`, a heap.
  An overtaker arrives before the fifo's last frame, so the heap runs empty before the fifo does, and among
  equal times the fifo's frame was sent first.

Conservation: offered + duplicated + injected = delivered + lost + overflowed + swallowed + refused + in
flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from csrc import lib
from csrc.frame import Frame
from drivers.clock import FOREVER, SECOND, Callback, Stream, Timer
from drivers.net.impairments import Impairments, Losses

COUNTERS = (
    "offered", "offered_bytes", "delivered", "delivered_bytes", "lost", "overflowed", "duplicated",
    "corrupted", "reordered", "marked", "swallowed", "injected", "refused",
)  # fmt: skip


EIGHT_SECONDS = 8 * SECOND
MAX_IN_FLIGHT = 1 << 17
"""Bound on the memory of a link without a rate, which has no queue."""


class Clock(Protocol):
    """The part of a timeline that a direction needs."""

    def timer(self, callback: Callback) -> Timer: ...


def never() -> bool:
    return False


class _Dice:
    """The draws of one set of frames (originals or copies), each impairment from a generator of its own."""

    __slots__ = ("_loss", "bit", "corrupt", "duplicate", "jitter", "lost", "random", "reorder", "share")

    def __init__(self, rng: Stream) -> None:
        self._loss = rng.stream("loss")
        self.duplicate, self.corrupt, self.bit = rng.stream("duplicate"), rng.stream("corrupt"), rng.stream("bit")
        self.reorder, self.jitter = rng.stream("reorder"), rng.stream("jitter")
        self.lost: Callable[[], bool] = never
        self.random: Callable[[], float] | None = None
        self.share = 0.0
        """What `lost` compares, where it is a plain probability."""

    def load(self, loss: float | Losses) -> None:
        """Throw for this probability or model from now on."""
        self.random = None
        if isinstance(loss, int | float):
            random = self._loss.random
            if loss:
                self.random, self.share = random, loss
            self.lost = (lambda: random() < loss) if loss else never
        else:
            self.lost = loss.start(self._loss)


class Direction:
    """Frames are offered by `transmit`; `deliver(frames, now)` is called as they arrive, each a `Frame` of
    its own with its arrival time.
    """

    __slots__ = (
        *COUNTERS, "_copies", "_deliver", "_delay", "_fifo", "_free", "_last", "_originals", "_overtakers",
        "_owed", "_queue", "_rate", "_sent", "_starts", "_straight", "_timer", "_touches", "impairments", "max_frame",
    )  # fmt: skip

    offered: int
    offered_bytes: int
    delivered: int
    delivered_bytes: int
    lost: int
    overflowed: int
    duplicated: int
    corrupted: int
    reordered: int
    marked: int
    swallowed: int
    injected: int
    refused: int

    def __init__(
        self,
        timeline: Clock,
        impairments: Impairments,
        rng: Stream,
        deliver: Callable[[list[Frame], int], None],
        max_frame: int = 1 << 16,
    ) -> None:
        self.max_frame = max_frame
        self._deliver = deliver
        self._timer = timeline.timer(self.arrive)
        self._originals, self._copies = _Dice(rng), _Dice(rng.stream("copies"))
        self._fifo: deque[Frame] = deque()
        self._overtakers: list[tuple[int, int, Frame]] = []
        self._last = 0
        self._sent = 0
        self._starts: deque[int] = deque()
        self._free = 0
        self._owed = 0
        for name in COUNTERS:
            setattr(self, name, 0)
        self.change(impairments)

    def waiting(self, now: int) -> int:
        """How many frames have not begun to be sent."""
        return sum(start > now for start in self._starts)

    def change(self, impairments: Impairments) -> None:
        """Other impairments from now on. What is under way arrives as decided."""
        self.impairments = impairments
        self._rate = impairments.rate
        self._queue = impairments.queue
        self._delay = impairments.delay
        self._touches = impairments.touches
        harmless = impairments.ecn is None and not impairments.but(loss=0).touches
        self._straight = harmless and impairments.rate is not None
        self._owed = 0  # it was counted in the old rate's units
        self._originals.load(impairments.loss)
        self._copies.load(impairments.loss)

    @property
    def counters(self) -> dict[str, int]:
        """What happened to frames so far, by name."""
        return {name: getattr(self, name) for name in COUNTERS}

    @property
    def in_flight(self) -> int:
        """Frames offered that have not arrived: waiting, being sent or travelling."""
        return len(self._fifo) + len(self._overtakers)

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        """Offer frames, in order; super-segments as the frames they stand for."""
        if self._straight and not self._overtakers:
            self._straight_on(frames, now)
            return
        touches = self._touches
        for frame in frames:
            ethernet = frame.ethernet
            for image in frame.segments() if frame.gso_size else (bytes(frame),):
                self.offered += 1
                self.offered_bytes += len(image)
                if touches:
                    self._impair(image, ethernet, now)
                else:
                    self._send(image, ethernet, now, self._delay)

    def relay(self, frames: list[Frame], now: int) -> None:
        """Pass frames on at once, super-segments whole: for a link whose impairments let everything pass, and on which
        nothing is under way.
        """
        if not frames:
            return
        count = size = 0
        for frame in frames:
            segs = 1
            size += frame.length
            if frame.gso_size:
                l4 = frame.csum_start
                header = l4 + (frame.data[l4 + 12] >> 4) * 4
                segs = max(1, -(-(frame.length - header) // frame.gso_size))
                size += (segs - 1) * header
            count += segs
        self.offered += count
        self.offered_bytes += size
        self.delivered += count
        self.delivered_bytes += size
        self._deliver(frames, now)

    def _straight_on(self, frames: Sequence[Frame], now: int) -> None:
        """What `_throw` and `_send` do, for a line with a rate that does nothing to frames but lose and delay them:
        they arrive in the order in which they are offered.
        """
        dice = self._originals
        random, share, lost = dice.random, dice.share, dice.lost
        fifo, starts = self._fifo, self._starts
        rate, queue, delay = self._rate, self._queue, self._delay
        overhead, most = self.impairments.overhead, self.max_frame
        assert rate is not None
        free, owed, last = self._free, self._owed, self._last
        while starts and starts[0] <= now:
            starts.popleft()
        offered = 0
        for parcel in frames:
            ethernet = parcel.ethernet
            images: Sequence[bytes]
            if parcel.gso_size:
                images = parcel.segments()
            elif parcel.data.__class__ is bytes and not parcel.frags and not parcel.csum_start:
                images = (parcel.data,)
            else:
                images = (bytes(parcel),)
            self.offered += len(images)
            for image in images:
                size = len(image)
                offered += size
                if (random() < share) if random is not None else lost is not never and lost():
                    self.lost += 1
                    continue
                if size > most or not size:
                    self.refused += 1
                    continue
                if free > now:
                    if queue is not None and len(starts) >= queue:
                        self.overflowed += 1
                        continue
                    starts.append(free)
                elif free < now:
                    free = now
                    owed = 0
                whole, owed = divmod(owed + (size + overhead) * EIGHT_SECONDS, rate)
                free += whole
                arrival = free + delay + (1 if owed else 0)
                if arrival < last and fifo:  # the delay was made shorter: it overtakes
                    self._free, self._owed, self._last = free, owed, last
                    self._travel(image, ethernet, arrival)
                    continue
                frame = Frame(image, (), size, ethernet)
                frame.timestamp_ns = last = arrival
                if not fifo:
                    self._timer.arm(arrival)
                fifo.append(frame)
        self.offered_bytes += offered
        self._free, self._owed, self._last = free, owed, last

    def _impair(self, image: bytes, ethernet: bool, now: int) -> None:
        images: Sequence[bytes] = (image,)
        for transform in self.impairments.transforms:
            before, images = images, [after for one in images for after in transform(one, now)]
            more = len(images) - len(before)
            if more < 0:
                self.swallowed -= more
            else:
                self.injected += more
        for one in images:
            self._throw(self._originals, one, ethernet, now)

    def _throw(self, dice: _Dice, image: bytes, ethernet: bool, now: int) -> None:
        """All draws of one frame first, then what follows from them, in the order of netem's enqueue."""
        impairments = self.impairments
        original = dice is self._originals
        lost = dice.lost()
        twice = original and impairments.duplicate > 0 and dice.duplicate.random() < impairments.duplicate
        corrupt = impairments.corrupt > 0 and dice.corrupt.random() < impairments.corrupt
        delay = impairments.delay
        if impairments.jitter:
            delay += int(dice.jitter.random() * 2 * impairments.jitter) - impairments.jitter
            if delay < 0:
                delay = 0
        reorder = impairments.reorder > 0 and dice.reorder.random() < impairments.reorder

        if twice:
            self.duplicated += 1
        if lost:
            self.lost += 1
            if not twice:
                return
            twice = False  # of frame and copy one is left
        sent = image
        if corrupt and image:
            bit = dice.bit.below(8 * len(image))
            damaged = bytearray(image)
            damaged[bit >> 3] ^= 1 << (bit & 7)
            sent = bytes(damaged)
            self.corrupted += 1
        if reorder:
            self.reordered += 1
            delay = 0
        self._send(sent, ethernet, now, delay)
        if twice:
            self._throw(self._copies, image, ethernet, now)

    def _send(self, image: bytes, ethernet: bool, now: int, delay: int) -> None:
        """Queue, line and way: decides when the frame arrives, and lets it."""
        size = len(image)
        if size > self.max_frame or not size:
            self.refused += 1
            return
        rate = self._rate
        if rate is not None:
            starts = self._starts
            while starts and starts[0] <= now:
                starts.popleft()
            free = self._free
            if free > now:
                waiting = len(starts)
                queue = self._queue
                if queue is not None and waiting >= queue:
                    self.overflowed += 1
                    return
                ecn = self.impairments.ecn
                if ecn is not None and waiting >= ecn:
                    image = self._mark(image, ethernet)
                starts.append(free)
            elif free < now:
                free = now
                self._owed = 0
            whole, self._owed = divmod(self._owed + (size + self.impairments.overhead) * 8 * SECOND, rate)
            self._free = free = free + whole
            arrival = free + delay + (1 if self._owed else 0)
        else:
            arrival = now + delay
            if len(self._fifo) >= MAX_IN_FLIGHT:
                self.overflowed += 1
                return
        self._travel(image, ethernet, arrival)

    def _travel(self, image: bytes, ethernet: bool, arrival: int) -> None:
        """It is on its way."""
        frame = Frame(image, (), len(image), ethernet)
        frame.timestamp_ns = arrival
        fifo = self._fifo
        if not fifo:
            self._last = arrival
            fifo.append(frame)
            self._timer.arm(arrival)
        elif arrival >= self._last:
            self._last = arrival
            fifo.append(frame)
        else:
            self._sent += 1
            heappush(self._overtakers, (arrival, self._sent, frame))
            deadline = self._timer.deadline
            if deadline is None or arrival < deadline:
                self._timer.arm(arrival)

    def _mark(self, image: bytes, ethernet: bool) -> bytes:
        marked = mark_congestion(image, ethernet)
        if marked is None:
            return image
        self.marked += 1
        return marked

    def arrive(self, now: int) -> None:
        """Deliver what has arrived by `now`."""
        fifo, timer = self._fifo, self._timer
        if fifo and not self._overtakers:  # one frame, nearly always
            frame = fifo[0]
            following = fifo[1].timestamp_ns if len(fifo) > 1 else FOREVER
            if frame.timestamp_ns <= now < following:
                if following < FOREVER:
                    timer.arm(following)
                fifo.popleft()
                self.delivered += 1
                self.delivered_bytes += frame.length
                self._deliver([frame], now)
                return
        batch: list[Frame] = []
        size = 0
        while fifo:
            frame = fifo[0]
            if self._overtakers:
                frame = self._first()
            arrival = frame.timestamp_ns
            if arrival > now:
                timer.arm(arrival)
                break
            if frame is fifo[0]:
                fifo.popleft()
            else:
                heappop(self._overtakers)
            batch.append(frame)
            size += frame.length
        if batch:
            self.delivered += len(batch)
            self.delivered_bytes += size
            self._deliver(batch, now)

    def settle(self, now: int) -> None:
        """`arrive`, called by whoever has just transmitted and does not want to wait for the timer's turn."""
        self.arrive(now)
        if not self._fifo:
            self._timer.disarm()

    def _first(self) -> Frame:
        """The next frame to arrive, in the fifo or overtaking it."""
        frame, (arrival, _, overtaker) = self._fifo[0], self._overtakers[0]
        return overtaker if arrival < frame.timestamp_ns else frame

    def clear(self) -> None:
        """Forget what is under way (counted as lost): the cable is gone."""
        self.lost += self.in_flight
        self._fifo.clear()
        self._overtakers.clear()
        self._starts.clear()
        self._timer.disarm()


def mark_congestion(image: bytes, ethernet: bool) -> bytes | None:
    """The packet with CE set (RFC 3168 section 5), or None when it is not ECN-capable IP."""
    l3 = 14 if ethernet else 0
    if len(image) < l3 + 20:
        return None
    version = image[l3] >> 4
    if ethernet and image[12:14] != (b"\x08\x00" if version == 4 else b"\x86\xdd"):
        return None
    if version == 4:
        if not image[l3 + 1] & 3:
            return None
        marked = bytearray(image)
        old = int.from_bytes(image[l3 : l3 + 2], "big")
        checksum = int.from_bytes(image[l3 + 10 : l3 + 12], "big")
        checksum = lib.trl_checksum_update16(checksum, old, old | 3)
        marked[l3 + 1] |= 3
        marked[l3 + 10 : l3 + 12] = checksum.to_bytes(2, "big")
        return bytes(marked)
    if version == 6:
        if not image[l3 + 1] & 0x30:
            return None
        marked = bytearray(image)
        marked[l3 + 1] |= 0x30
        return bytes(marked)
    return None
