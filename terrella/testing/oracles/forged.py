"""What somebody who is not on the path puts in must change nothing (see `terrella.testing.forged`)."""

from __future__ import annotations

from terrella.testing.forged import ANSWERED, UNLIMITED
from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.timers import CLOSED
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, FIN, HALF, MASK, RST, SYN, Segment

MS = 1_000_000
KEPT = (
    "state", "snd_una", "snd_nxt", "snd_wnd", "max_window", "write_seq", "unsent", "packets_out", "sacked_out",
    "lost_out", "retrans_out", "cwnd", "ssthresh", "phase", "mss", "rto_ns", "srtt_us", "retransmits", "backoff",
    "timer", "timer_at", "probe_out", "rcv_nxt", "ts_recent", "copied_seq", "snd_wl1", "out_of_order", "undos",
    "urgent_at",
)  # fmt: skip


class ForgedSegments(Oracle):
    """A packet that the peer cannot have sent changes nothing: a RST that is not at RCV.NXT, a SYN in the midst of a
    connection, or the peer's own once more, when it is over, too; data outside the window or with an old timestamp, or
    with an acknowledgment of what was never sent or is long past, an ICMP error about nothing that is in flight, or one
    that is but a hint; nor do SACK blocks that cannot be. What a live peer would have to be asked about is answered
    with an ACK (a challenge) of what is so, by Linux once in tcp_invalid_ratelimit; the rest with nothing; none of it
    by RST.
    """

    section = "RFC 5961 sections 3 to 7; RFC 5927 section 4.1; RFC 9293 sections 3.9.2.2 and 3.10.7.4; RFC 7323 5.3"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.answers: dict[str, list[Segment]] = {"a": [], "b": []}  # in the event under way
        self.last: dict[str, int] = {"a": -1 << 60, "b": -1 << 60}  # when the last pure ACK was sent
        self.challenged: dict[str, int] = {}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        self.answers[side.name].append(seg)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name, now = side.name, self.pair.now
        answers, self.answers[name] = self.answers[name], []
        last = self.last[name]
        if any(not answer.room for answer in answers):
            self.last[name] = now
        if cause != "forged" or before is None or after is None:
            return
        kind, limit = self.pair.forged, side.stack.settings.tcp_invalid_ratelimit * MS
        good = ("snd_wl1",) if kind.startswith("sack") else ()  # (the ACK is, but for its blocks)
        changed = [field for field in KEPT if getattr(before, field) != getattr(after, field) and field not in good]
        if changed:
            told = ", ".join(f"{field} {getattr(before, field)} to {getattr(after, field)}" for field in changed)
            self.fail(side, f"a forged packet ({kind}) changed {told}", after)
        for answer in answers:
            if kind not in ANSWERED or answer.room or answer.flags & (RST | SYN | FIN) or not answer.flags & ACK:
                self.fail(side, f"a forged packet ({kind}) is answered by {answer}", after)
            behind = ((answer.seq - before.snd_nxt + HALF) & MASK) - HALF
            if answer.ack != before.rcv_nxt & MASK or behind > 0 or before.snd_nxt + behind < before.snd_una:
                self.fail(side, f"a forged packet ({kind}) is answered by {answer}, which is not what is so", after)
        if len(answers) > 1:
            self.fail(side, f"a forged packet ({kind}) is answered by {len(answers)} segments", after)
        if kind in ANSWERED and not answers and (kind in UNLIMITED or now - last > limit):
            self.fail(side, f"a forged packet ({kind}) is not answered", after)
        if answers and kind not in UNLIMITED:
            who = name if before.state != CLOSED else f"{name}, over"  # TIME-WAIT counts anew (Linux)
            since = now - self.challenged.get(who, -1 << 60)
            if since < limit:
                self.fail(side, f"a forged packet ({kind}) is answered {since / 1e6:.3f} ms after another", after)
            self.challenged[who] = now
