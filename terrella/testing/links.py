"""What lies between two sockets: links, and what happens to each packet on them, as plain values.

A `Link` is two `Way`s and a schedule of faults. Everything is a frozen value with a JSON form
(`cases.to_json`), so that a failing case can be shrunk, stored and replayed.

Two kinds of trouble:

- A *schedule*: `fates` says, packet by packet in the order in which that side sends them, what becomes of
  each; after the last, all are delivered. This is what Hypothesis shrinks, and what makes "it ends" a fair demand.
- *Probabilities*: loss (independent or in bursts, Gilbert-Elliott), duplication, corruption, reordering,
  jitter, drawn from the case's seed. `until_ns` ends them all, for the same reason.

The line itself (rate, queue, ECN marking above a threshold, delay) is the one of `drivers/net/direction.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.net.impairments import Impairments

MS = 1_000_000

# What may become of a packet, with the meaning of the value.
DELIVER, DROP, DELAY, DUPLICATE, CORRUPT, MARK, STALE, RENEGE, SHAVE = KINDS = (
    "deliver", "drop", "delay", "duplicate", "corrupt", "mark", "stale", "renege", "shave",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one packet.

    | kind | meaning of `value` |
    |---|---|
    | deliver | none: it takes the link's way |
    | drop | none |
    | delay | ns by which it is late, so that others overtake it |
    | duplicate | ns after which a copy follows |
    | corrupt | the bit (modulo its size) that is flipped |
    | mark | none: CE is set when the packet is ECN-capable (RFC 3168) |
    | stale | none: a segment of an older incarnation, with the same sequence numbers, other data and an old
    timestamp, comes first (RFC 7323 section 5: PAWS) |
    | shave | bytes by which SACK blocks are narrowed at either end, where they are wide enough: a receiver need not
    tell of all that it holds (RFC 2018 section 4) |
    | renege | none: having taken it, the receiver forgets what it holds out of order (RFC 2018 section 8) |
    """

    kind: str = DELIVER
    value: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fate is called {self.kind!r}: it is one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class StripOptions:
    """A middlebox that overwrites options of these kinds with NOPs (RFC 9293 section 3.1), in SYNs or everywhere."""

    kinds: tuple[int, ...]
    syn_only: bool = True

    def __call__(self, image: bytes, now: int) -> list[bytes]:
        from terrella.testing import wire

        header = wire.Header.of(image)
        if header is None or (self.syn_only and not header.flags & wire.SYN):
            return [image]
        changed = header.each_option(lambda kind, body: None if kind in self.kinds else body)
        return [header.image() if changed else image]


@dataclass(frozen=True, slots=True)
class ClampMss:
    """A middlebox that lowers the MSS option of SYNs, as tunnels do."""

    mss: int

    def __call__(self, image: bytes, now: int) -> list[bytes]:
        from terrella.testing import wire

        header = wire.Header.of(image)
        if header is None or not header.flags & wire.SYN:
            return [image]

        def lower(kind: int, body: bytes) -> bytes:
            if kind == wire.MSS and len(body) == 2 and int.from_bytes(body, "big") > self.mss:
                return self.mss.to_bytes(2, "big")
            return body

        return [header.image() if header.each_option(lower) else image]


@dataclass(frozen=True, slots=True)
class ShiftSequence:
    """Half of a firewall that renumbers the connection: it adds `offset` to SEQ on one way, and takes it from
    ACK on the other (`back`). Unless `sack` is set it forgets the SACK blocks, as such boxes did: the blocks
    are nonsense then.
    """

    offset: int
    back: bool = False
    sack: bool = False

    def __call__(self, image: bytes, now: int) -> list[bytes]:
        from terrella.testing import wire

        header = wire.Header.of(image)
        if header is None:
            return [image]
        if not self.back:
            header.set32(4, header.get32(4) + self.offset)
            return [header.image()]
        if not header.flags & wire.ACK:
            return [image]
        header.set32(8, header.get32(8) - self.offset)
        if self.sack:

            def unshift(kind: int, body: bytes) -> bytes:
                if kind != wire.SACK:
                    return body
                edges = (int.from_bytes(body[i : i + 4], "big") for i in range(0, len(body), 4))
                return b"".join(((edge - self.offset) & wire.MASK).to_bytes(4, "big") for edge in edges)

            header.each_option(unshift)
        return [header.image()]


@dataclass(frozen=True, slots=True)
class BleachEcn:
    """A middlebox that clears the ECN field of the IP header (RFC 3168 section 18: what must not be done, and is)."""

    def __call__(self, image: bytes, now: int) -> list[bytes]:
        from terrella.testing import wire

        header = wire.Header.of(image)
        if header is None or not header.ecn:
            return [image]
        header.bleach()
        return [header.image()]


Middlebox = StripOptions | ClampMss | ShiftSequence | BleachEcn


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert and Elliott's loss in bursts: `p` leads into the bad state, `r` out of it."""

    p: float
    r: float
    bad_loss: float = 1.0
    good_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """One direction. `rate` in bit/s (None: no limit), `queue` in packets, `ecn`: with so many waiting, CE is set."""

    delay_ns: int = 10 * MS
    rate: int | None = None
    queue: int = 1000
    ecn: int | None = None
    loss: float | Burst = 0.0
    jitter_ns: int = 0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    boxes: tuple[Middlebox, ...] = ()
    fates: tuple[Fate, ...] = ()

    def impairments(self, calm: bool = False) -> Impairments:
        """What `drivers/net/direction.py` is told; `calm`: without the dice."""
        from drivers.net.impairments import GilbertElliott, Impairments

        loss: Any = self.loss
        if isinstance(loss, Burst):
            loss = GilbertElliott(loss.p, loss.r, loss.bad_loss, loss.good_loss)
        line = Impairments(
            rate=self.rate, delay=self.delay_ns, queue=self.queue, ecn=self.ecn, transforms=self.boxes
        )  # fmt: skip
        if calm:
            return line
        return line.but(
            loss=loss, jitter=self.jitter_ns, reorder=self.reorder, duplicate=self.duplicate, corrupt=self.corrupt
        )

    @property
    def dicey(self) -> bool:
        return bool(self.loss or self.jitter_ns or self.reorder or self.duplicate or self.corrupt)


@dataclass(frozen=True, slots=True)
class Router:
    """A router on the path, with a link behind it that takes `mtu` bytes of what `a` sends, and one that takes `back`
    of what `b` sends (0: as much as everywhere). What is larger is not forwarded, and its sender told: `icmp` says, one
    by one, what becomes of what it is told. drop, delay, duplicate and corrupt are as for any packet; `stale`: a
    forged error comes first, about a segment of the connection that is far from what is in flight.
    """

    mtu: int = 1400
    back: int = 0
    icmp: tuple[Fate, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """Between the sockets `a` and `b`. The dice of both ways are thrown until `until_ns` only. `version` of IP."""

    a_to_b: Way = field(default_factory=Way)
    b_to_a: Way = field(default_factory=Way)
    mtu: int = 1500
    until_ns: int = 60_000 * MS
    version: int = 4
    router: Router | None = None

    def __post_init__(self) -> None:
        if self.version not in (4, 6):
            raise ValueError(f"there is no IPv{self.version}")
        least = 68 if self.version == 4 else 1280
        mtus = (self.mtu,) if self.router is None else (self.mtu, self.router.mtu, self.router.back or self.mtu)
        if min(mtus) < least:
            raise ValueError(f"IPv{self.version} needs an MTU of {least}, not {min(mtus)}")

    @staticmethod
    def symmetric(way: Way, mtu: int = 1500) -> Link:
        return Link(way, way, mtu)

    def way(self, side: str) -> Way:
        """The direction that leads away from this side."""
        return self.a_to_b if side == "a" else self.b_to_a
