"""What a link does to the frames it carries, said in netem's words.

`Impairments` is a value: numbers with units, checked once. Text is read as tc-netem(8) and tc(8) read it:
rates in bits per second ("10Mbit", "1gbit"; "1MBps" is bytes), times with "s", "ms", "us", "ns" (a bare
number is microseconds), shares as "3%" (a bare number is per cent). Python numbers are in this project's
units: nanoseconds, bits per second, and probabilities from 0 to 1.

The meaning of each, in the order in which a frame meets them (drivers/net/direction.py):

| loss | the frame vanishes; a probability, or a model with memory such as `GilbertElliott` |
| duplicate | a copy of the frame follows it through the same queue |
| corrupt | one bit of the frame is flipped |
| queue | at most so many frames wait for the line; the next is dropped |
| ecn | with so many frames waiting, an ECN-capable packet is marked CE (RFC 3168) |
| rate, overhead | the line is busy for (length + overhead) * 8 / rate |
| delay, jitter | it arrives delay later, plus or minus a uniform jitter; so a frame may overtake another |
| reorder | such a frame skips the delay |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from drivers.clock import Stream

Transform = Callable[[bytes, int], Sequence[bytes]]
"""A middlebox: (frame, now) -> the frames that go on instead: [] drops it, more than one injects."""

RATES = {
    "": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12,
    "kibit": 2**10, "mibit": 2**20, "gibit": 2**30, "tibit": 2**40,
    "bps": 8, "kbps": 8 * 10**3, "mbps": 8 * 10**6, "gbps": 8 * 10**9, "tbps": 8 * 10**12,
    "kibps": 8 * 2**10, "mibps": 8 * 2**20, "gibps": 8 * 2**30, "tibps": 8 * 2**40,
}  # fmt: skip
TIMES = {
    "": 1_000, "ns": 1, "nsec": 1, "nsecs": 1, "us": 1_000, "usec": 1_000, "usecs": 1_000,
    "ms": 10**6, "msec": 10**6, "msecs": 10**6, "s": 10**9, "sec": 10**9, "secs": 10**9,
}  # fmt: skip
SHARES = {"": Fraction(1, 100), "%": Fraction(1, 100)}

_NUMBER_UNIT = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z%]*)\s*", re.ASCII | re.IGNORECASE)


class Losses(Protocol):
    """A model of loss. `start` gives the state of one direction: a function that is called once per frame."""

    def start(self, rng: Stream) -> Callable[[], bool]: ...


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Bursty loss, as netem's `loss gemodel p r 1-h 1-k`: a good and a bad state; p leads into the bad one, r
    out of it; a frame is lost with `bad_loss` in the bad state and with `good_loss` in the good one.
    """

    p: float
    r: float
    bad_loss: float = 1.0
    good_loss: float = 0.0

    def start(self, rng: Stream) -> Callable[[], bool]:
        bad = False

        def lost() -> bool:
            nonlocal bad
            turn = rng.random()
            if bad:
                bad = turn >= self.r
            else:
                bad = turn < self.p
            return rng.random() < (self.bad_loss if bad else self.good_loss)

        return lost


def _parse(what: str, text: str, units: dict[str, int] | dict[str, Fraction], example: str) -> Fraction:
    match = _NUMBER_UNIT.fullmatch(text)
    if match is None or match[2].lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"{what} {text!r} is not a number with a unit ({known}): write it as in {example!r}")
    return Fraction(match[1]) * units[match[2].lower()]


def parse_rate(value: str | int | float | None, what: str = "rate") -> int | None:
    """Bits per second; None is without limit."""
    if value is None:
        return None
    rate = int(_parse(what, value, RATES, "10Mbit")) if isinstance(value, str) else int(value)
    if rate <= 0:
        raise ValueError(f"{what} {value!r} would carry nothing: give at least 1bit, or leave it out for no limit")
    return rate


def parse_time(value: str | int, what: str = "delay") -> int:
    """Nanoseconds."""
    if isinstance(value, str):
        return int(_parse(what, value, TIMES, "30ms"))
    if value < 0 or value != int(value):
        raise ValueError(f"{what} {value!r} is no time: give nanoseconds as an int >= 0, or text such as '30ms'")
    return int(value)


def parse_share(value: str | float, what: str = "loss") -> float:
    """A probability from 0 to 1."""
    share = float(_parse(what, value, SHARES, "3%")) if isinstance(value, str) else float(value)
    if not 0.0 <= share <= 1.0:
        remedy = "at most 100%" if isinstance(value, str) else f"a number from 0 to 1, or text such as '{value}%'"
        raise ValueError(f"{what} {value!r} is not a probability: give {remedy}")
    return share


def parse_loss(value: float | str | Losses) -> float | Losses:
    """A probability, "random 3%", or the model "gemodel p [r [1-h [1-k]]]" with tc's defaults."""
    if not isinstance(value, str | int | float):
        return value
    words = value.split() if isinstance(value, str) else []
    if words[:1] == ["random"] and len(words) == 2:
        return parse_share(words[1], "loss")
    if words[:1] == ["gemodel"]:
        shares = [parse_share(word, "loss gemodel") for word in words[1:]]
        if not 1 <= len(shares) <= 4:
            raise ValueError(f"loss {value!r}: gemodel takes one to four shares, as in 'gemodel 1% 10% 70% 0.1%'")
        return GilbertElliott(shares[0], *(shares[1:] or [1.0 - shares[0]]))
    return parse_share(value, "loss")


def parse_count(value: str | int | None, what: str = "queue") -> int | None:
    """A number of frames; None is without limit."""
    if value is None:
        return None
    try:
        count = int(value)
    except ValueError:
        count = -1
    if count < 0:
        raise ValueError(f"{what} {value!r} is not a number of frames: give 0 or more, as in '100'")
    return count


class Impairments:
    """One direction of a link. Every argument may be given in netem's words; the attributes are numbers.

    A value: do not change it, make another one with `but`.
    """

    __slots__ = (
        "corrupt", "delay", "duplicate", "ecn", "jitter", "loss", "overhead", "queue", "rate", "reorder",
        "transforms",
    )  # fmt: skip

    def __init__(
        self,
        rate: int | str | None = None,
        delay: int | str = 0,
        jitter: int | str = 0,
        loss: float | str | Losses = 0.0,
        reorder: float | str = 0.0,
        duplicate: float | str = 0.0,
        corrupt: float | str = 0.0,
        queue: int | str | None = 1000,
        ecn: int | str | None = None,
        overhead: int = 0,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self.rate = parse_rate(rate)
        self.delay = parse_time(delay, "delay")
        self.jitter = parse_time(jitter, "jitter")
        self.loss = parse_loss(loss)
        self.reorder = parse_share(reorder, "reorder")
        self.duplicate = parse_share(duplicate, "duplicate")
        self.corrupt = parse_share(corrupt, "corrupt")
        self.queue = parse_count(queue, "queue")
        self.ecn = parse_count(ecn, "ecn")
        self.overhead = overhead
        self.transforms = tuple(transforms)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def but(self, **changes: Any) -> Impairments:
        """The same with some arguments changed, in the same words."""
        return Impairments(**(self._values() | changes))

    @property
    def touches(self) -> bool:
        """Whether anything but the line's rate, queue and delay happens to a frame."""
        return bool(
            self.loss or self.duplicate or self.corrupt or self.reorder or self.jitter or self.transforms
        )

    @property
    def passes(self) -> bool:
        """Whether every frame passes untouched and at once."""
        return self.rate is None and not self.delay and not self.touches

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Impairments) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        plain = Impairments()
        said = (f"{name}={value!r}" for name, value in self._values().items() if value != getattr(plain, name))
        return f"Impairments({', '.join(said)})"
