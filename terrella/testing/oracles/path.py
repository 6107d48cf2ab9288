"""The path: how long packets may be on it, and what the router on it does."""

from __future__ import annotations

from terrella.testing import icmp, probe, wire
from terrella.testing.links import Router
from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.forged import KEPT
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import HALF, MASK, Segment

SECOND = 1_000_000_000
HEADERS = {4: 40, 6: 60}
CLOSED, TIME_WAIT, SYN_RECEIVED = 7, 6, 3


class PathMtu(Oracle):
    """When a router says of what is in flight that it was too big, nothing larger than the path takes leaves for ten
    minutes, but a probe (RFC 4821); the segment that was too big is sent again at once where it is the first that is
    out, and all that is too big where cwnd has room (but SO_MAX_PACING_RATE may put it off); and cwnd stays as it was,
    and ssthresh falls no lower, for it was no congestion. A report that cannot be true changes nothing: of what is not
    in flight, or of no less than what the path is known to take. Nor does a router's word make segments smaller than
    552 bytes of IPv4 (Linux), or 1280 of IPv6.
    """

    section = "RFC 1191 sections 6.3 and 6.4; RFC 8201 sections 4 and 5.3; RFC 5927 section 7.2; RFC 9293 section 3.7.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.limit: dict[str, int] = dict.fromkeys("ab", pair.link.mtu)
        self.until: dict[str, int] = {"a": 0, "b": 0}
        self.again: dict[str, set[int]] = {"a": set(), "b": set()}  # where what leaves in this event begins

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        name = side.name
        self.again[name].add(seg.seq)
        if self.pair.now >= self.until[name]:
            return
        if seg.packet > self.limit[name] and not (seg.segs == 1 and probe.searches(side.connection())):
            told = f"{seg}: a packet of {seg.packet} bytes, and the path is known to take {self.limit[name]}"
            self.fail(side, told, state)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name, now, error = side.name, self.pair.now, self.pair.error
        again, self.again[name] = self.again[name], set()
        if cause != "icmp" or error is None or not error.too_big or before is None or after is None:
            return
        settings = side.stack.settings
        known = self.limit[name] if now < self.until[name] else self.pair.link.mtu
        least = min(settings.route_min_pmtu, known) if error.version == 4 else 1280
        mtu = max(error.mtu, least)
        seq = before.snd_una + ((error.seq - before.snd_una + HALF) & MASK) - HALF
        out = before.snd_una <= seq <= before.snd_nxt
        if before.state in (CLOSED, TIME_WAIT, SYN_RECEIVED) or not out or mtu >= known:
            changed = [field for field in KEPT if getattr(before, field) != getattr(after, field)]
            if changed and not (out and before.state == SYN_RECEIVED):
                told = ", ".join(f"{field} {getattr(before, field)} to {getattr(after, field)}" for field in changed)
                self.fail(side, f"a router says {error.mtu}, which cannot be about this path; it changed {told}", after)
            return
        self.limit[name] = mtu
        expires = settings.route_mtu_expires if error.version == 4 else settings.route6_mtu_expires
        self.until[name] = now + expires * SECOND
        whole = after.mss + HEADERS[error.version] + (12 if after.ts_ok else 0)
        if whole > mtu:
            self.fail(side, f"segments make packets of {whole} bytes, and the path takes {mtu}", after)
        fits = mtu - HEADERS[error.version] - (12 if after.ts_ok else 0)
        if after.mss < min(before.mss, fits) and not probe.searches(side.connection()):
            self.fail(side, f"segments of {after.mss} bytes, where {min(before.mss, fits)} fit", after)
        if after.cwnd != before.cwnd:
            self.fail(side, f"cwnd went from {before.cwnd} to {after.cwnd}, and it was no congestion", after)
        if after.ssthresh < before.ssthresh:
            told = f"ssthresh fell from {before.ssthresh} to {after.ssthresh}, and it was no congestion"
            self.fail(side, told, after)
        larger = error.size > after.mss and not after.pacing_most
        if larger and seq == before.snd_una and error.seq not in again:
            self.fail(side, f"what was too big for the path ({error.size} bytes) is not sent again at once", after)
        if larger and after.lost_out > after.retrans_out and after.pipe < after.cwnd:
            waits = after.lost_out - after.retrans_out
            self.fail(side, f"{waits} segments that were too big wait, and cwnd has room for {after.cwnd - after.pipe}")


class Forwards(Oracle):
    """The router passes on what fits the link behind it, once, as it came but for one hop less to live; what is too big
    (and may not be cut) it does not, and tells the sender what would fit, quoting as much as it may. What is damaged in
    its IP header goes nowhere; what is damaged above it is the receiver's concern.
    """

    section = "RFC 1812 sections 5.2 and 4.3.2; RFC 1191 section 4; RFC 8200 sections 3 and 5; RFC 4443 section 3.2"

    def passed(self, side: Side, image: bytes, forwarded: list[bytes], errors: list[bytes]) -> None:
        router, between = self.pair.link.router, self.pair.between
        seg = wire.parse(image)
        if seg is None or not isinstance(router, Router) or between is None:
            return
        six = image[0] >> 4 == 6
        other = "b" if side.name == "a" else "a"
        mtu = between.mtu_to(other)
        if len(image) <= mtu:
            if errors or [_aged(image)] != forwarded:
                told = f"{len(forwarded)} packets are sent on, and {len(errors)} back"
                self.fail(side, f"{seg} of {len(image)} bytes fits a link of {mtu}, and {told}, or not as it came")
            return
        if forwarded:
            self.fail(side, f"{seg} of {len(image)} bytes is sent over a link of {mtu}")
        told_of = icmp.parse(errors[0]) if len(errors) == 1 else None
        if told_of is None or not told_of.too_big or told_of.mtu != mtu or told_of.seq != seg.seq:
            self.fail(side, f"{seg} of {len(image)} bytes is too big for a link of {mtu}, and its sender not told so")
        quote = errors[0][48 if six else 28 :]
        if image[: len(quote)] != quote or len(quote) < (60 if six else 28) or len(errors[0]) > (1280 if six else 576):
            self.fail(side, f"of {seg} {len(quote)} bytes are quoted, or others")


def _aged(image: bytes) -> bytes:
    """As the next hop gets it."""
    made = bytearray(image)
    if image[0] >> 4 == 6:
        made[7] -= 1
        return bytes(made)
    made[8] -= 1
    made[10:12] = b"\0\0"
    made[10:12] = wire.checksum(bytes(made[:20])).to_bytes(2, "big")
    return bytes(made)
