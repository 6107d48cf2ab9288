"""How the congestion window and the slow start threshold may move. Segments throughout, as the sender counts.

An undo (RFC 4015) puts back what a reduction took: steps with one are exempt, but for not exceeding what was there.
"""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.sender import is_new
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, ECE, SYN, Segment
from terrella.testing.wire import CWR as CWR_FLAG

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
INITIAL_WINDOW = 10
BETA = {"reno": (1, 2), "cubic": (717, 1024)}
"""What a reduction leaves of cwnd: RFC 5681 equation 4; RFC 9438 section 4.6 (0.7). Any other algorithm leaves less
than there was: RFC 2914 asks that a flow answers loss, and not by how much."""
SYNCHRONIZED = (1, 4, 5, 6, 8, 9, 11)


def both(before: State | None, after: State | None) -> bool:
    """Whether both are of an established connection that goes on."""
    return bool(
        before is not None and after is not None and before.state in SYNCHRONIZED and after.state in SYNCHRONIZED
    )


def calm(before: State, after: State) -> bool:
    """Whether nothing was lost or marked, nor thought to be: no reduction can have come and gone in between."""
    return bool(
        before.phase == after.phase == OPEN and after.undos == before.undos and not before.probe_out
        and before.mss == after.mss and before.congestion == after.congestion and after.congestion in BETA
    )  # fmt: skip


class SlowStart(Oracle):
    """cwnd begins with at most ten segments (RFC 6928), never falls below one, grows only when an arriving segment
    acknowledges something, and outside of recovery by at most what was newly delivered; and it does grow where it
    was full (of more than the one segment that the persist timer sends) and the segment acknowledges data. It does
    not grow beyond three times what ever was out at once (what was out when it was full still counts when it is
    acknowledged), or to more than it was when data waited: who sends less learns nothing about the path. After a
    SYN that was sent three times, and whose first copy is not the one that is echoed, it is one. An undo brings
    back at most what was there, but where the same segment begins another reduction: then cwnd is pipe and what PRR
    lets follow.
    """

    section = "RFC 5681 section 3.1; RFC 6928; RFC 3465 section 2.2; RFC 4015; RFC 7661 section 4.1; RFC 6298 (5.7)"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.burst: dict[str, int] = {"a": 0, "b": 0}  # segments sent in the event under way
        self.most: dict[str, int] = {"a": 0, "b": 0}  # segments that were out at once
        self.syns: dict[str, int] = {"a": 0, "b": 0}
        self.stamp: dict[str, int | None] = {"a": None, "b": None}  # of the first SYN

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if seg.room:
            self.burst[side.name] += seg.segs
        if seg.flags & SYN and not seg.flags & ACK:
            self.syns[side.name] += 1
            if self.syns[side.name] == 1:
                self.stamp[side.name] = seg.tsval

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if seg.flags & SYN and seg.flags & ACK and seg.tsecr is not None and seg.tsecr == self.stamp[side.name]:
            self.syns[side.name] = 0

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        burst, self.burst[side.name] = self.burst[side.name], 0
        if after is None or after.state not in SYNCHRONIZED:
            return
        if after.cwnd < 1:
            self.fail(side, f"cwnd is {after.cwnd}", after)
        most_out = self.most[side.name] = max(
            self.most[side.name], after.packets_out, after.cwnd if after.unsent else 0
        )  # fmt: skip
        if before is None or before.state not in SYNCHRONIZED:
            if after.cwnd > (1 if self.syns[side.name] > 2 else INITIAL_WINDOW):
                self.fail(side, f"an initial window of {after.cwnd} segments", after)
            return
        if (
            1 < after.cwnd == before.cwnd < before.ssthresh == after.ssthresh and before.pipe >= before.cwnd
            and after.snd_una > before.snd_una and before.phase == after.phase == OPEN and after.congestion in BETA
            and before.undos == after.undos
        ):  # fmt: skip
            self.fail(side, f"cwnd {before.cwnd} was full in slow start, and {seg} does not let it grow", after)
        if after.cwnd <= before.cwnd:
            return
        delivered = after.delivered - before.delivered
        if after.undos > before.undos:
            most = max(before.cwnd, before.prior_cwnd, before.ssthresh if before.ssthresh < 1 << 24 else 0) + delivered
            if after.phase in (CWR, RECOVERY):
                # The same ACK began another reduction, in which cwnd is what is out and what may follow it.
                most = max(most, after.pipe - burst + delivered + 1)
            if after.cwnd > most:
                self.fail(side, f"an undo took cwnd from {before.cwnd} to {after.cwnd}, beyond {most}", after)
            return
        if before.recovering or after.recovering:
            return  # ProportionalRecovery, Reduction
        if cause != "arrival":
            self.fail(side, f"cwnd grew from {before.cwnd} to {after.cwnd} without an acknowledgment ({cause})", after)
        if after.cwnd - before.cwnd > delivered:
            self.fail(side, f"cwnd grew by {after.cwnd - before.cwnd} when {delivered} segments were delivered", after)
        if before.cwnd > 3 * max(most_out, before.packets_out) + 3 and after.congestion in BETA:
            self.fail(side, f"cwnd grew from {before.cwnd} to {after.cwnd}, and {most_out} at most were out", after)


class CongestionAvoidance(Oracle):
    """From ssthresh on, Reno grows by one segment for each cwnd acknowledged (equation 3); CUBIC at most by half of
    what is acknowledged (the target is at most 1.5 cwnd in a round trip); an acknowledgment that reaches ssthresh
    counts for what lies beyond. And they do grow: where cwnd was full, two of it acknowledged are a segment for
    Reno; CUBIC is no slower than Reno's estimate with its factor (a segment for 1.9 of it; on short round trips, as
    Linux looks at it).
    """

    section = "RFC 5681 section 3.1; RFC 9438 sections 4.2 to 4.5"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.credit: dict[str, float] = {"a": 1.0, "b": 1.0}
        self.due: dict[str, int] = {"a": 0, "b": 0}  # acknowledged of a full cwnd since it last changed
        self.reno: dict[str, float] = {"a": 0.0, "b": 0.0}  # what cwnd would be with Reno's growth

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after):
            return
        assert before is not None and after is not None
        if (
            before.cwnd < before.ssthresh or before.recovering or after.recovering or after.undos > before.undos
            or before.congestion not in BETA or before.congestion != after.congestion
        ):  # fmt: skip
            self.credit[side.name], self.due[side.name], self.reno[side.name] = 2.0, 0, 0.0
            self._reached(side, before, after)
            return
        delivered = after.delivered - before.delivered
        if before.cwnd != after.cwnd or not before.phase == after.phase == OPEN or before.congestion != "reno":
            self.due[side.name] = 0
        elif before.pipe >= before.cwnd and after.snd_una > before.snd_una:
            self.due[side.name] += delivered
        if self.due[side.name] > 2 * after.cwnd + 2:
            self.fail(side, f"cwnd is {after.cwnd}, and {self.due[side.name]} segments were acknowledged of it", after)
        self._friendly(side, before, after, delivered)
        grown = after.cwnd - before.cwnd
        per = before.cwnd if before.congestion == "reno" else 2
        credit = self.credit[side.name] + delivered / per - max(grown, 0)
        if grown < 0:
            credit *= before.cwnd / max(1, after.cwnd)  # what was acknowledged counts for more of a smaller window
        if credit < 0:
            self.fail(
                side,
                f"{before.congestion} grew from {before.cwnd} to {after.cwnd} for {delivered} delivered in avoidance",
                after,
            )
        self.credit[side.name] = min(credit, 2.0 + delivered / per)

    def _reached(self, side: Side, before: State, after: State) -> None:
        """Slow start ends at ssthresh, in the midst of an acknowledgment too."""
        beyond = after.cwnd - max(after.ssthresh, before.cwnd)
        if (
            beyond <= 1 or not before.phase == after.phase == OPEN or after.undos > before.undos
            or after.congestion not in BETA or before.congestion != after.congestion
        ):  # fmt: skip
            return
        rest = after.delivered - before.delivered - max(after.ssthresh - before.cwnd, 0)
        if beyond > 1 + rest / (after.ssthresh if after.congestion == "reno" else 2):
            self.fail(side, f"slow start took cwnd from {before.cwnd} to {after.cwnd}, past ssthresh", after)

    def _friendly(self, side: Side, before: State, after: State, delivered: int) -> None:
        """RFC 9438 section 4.3."""
        name = side.name
        short = after.congestion == "cubic" and before.phase == after.phase == OPEN and after.srtt_us >> 3 < 25_000
        if not short or not self.reno[name] or after.cwnd < before.cwnd:
            self.reno[name] = float(after.cwnd) if short else 0.0
        elif before.pipe >= before.cwnd and after.snd_una > before.snd_una:
            self.reno[name] += delivered / (1.9 * max(self.reno[name], before.cwnd))
            if after.cwnd * 1.5 + 3 < self.reno[name]:
                self.fail(side, f"CUBIC is at {after.cwnd}, and Reno would be at {self.reno[name]:.1f}", after)


class RestartAfterIdle(Oracle):
    """After more than an RTO without anything sent, cwnd is no more than the restart window, or what it was when the
    last was acknowledged, halved for each RTO since (RFC 2861), before new data is sent.
    Exception: what joins data that waited already (Linux looks only when it begins a buffer).
    """

    section = "RFC 5681 section 4.1; RFC 2861 section 3.1"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.sent_at: dict[str, int] = {"a": -1, "b": -1}
        self.since: dict[str, int] = {"a": -1, "b": -1}  # sent_at before the event under way
        self.rest: dict[str, int] = {"a": 0, "b": 0}  # cwnd when all was acknowledged
        self.data: dict[str, bool] = {"a": False, "b": False}  # whether the event under way sent any

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if seg.room:
            self.sent_at[side.name] = self.pair.now
        self.data[side.name] |= seg.length > 0

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        since, self.since[name] = self.since[name], self.sent_at[name]
        data, self.data[name] = self.data[name], False
        if not both(before, after):
            return
        assert before is not None and after is not None
        if after.packets_out == 0 and (before.packets_out or after.undos > before.undos):
            self.rest[name] = after.cwnd  # (an undo may come when all was acknowledged)
        idle = self.pair.now - since
        if (
            cause == "call" and data and not before.packets_out and not before.unsent and since >= 0 and self.rest[name]
            and idle > before.rto_ns and side.stack.settings.tcp_slow_start_after_idle
        ):  # fmt: skip
            most = max(INITIAL_WINDOW, self.rest[name] >> (idle - 1) // before.rto_ns)
            if after.cwnd > most:
                self.fail(side, f"cwnd is {after.cwnd} after {idle / 1e6:.1f} ms without anything sent", after)


class Reduction(Oracle):
    """A loss, and an ECN mark, leave ssthresh at no more than beta times cwnd (1/2 for Reno, 0.7 for CUBIC, something
    below one for an algorithm that is not known here), but two; a timeout moreover leaves cwnd at one segment, beyond
    what is still counted as out (what RACK finds too young to be lost; retransmissions that an undo left, as Linux
    counts them); the end of fast recovery leaves cwnd at no more than ssthresh. ssthresh is never below two. Where
    nothing is lost or marked it does not fall below cwnd (to which the end of slow start may set it: HyStart).
    Exception: what a router found too big is lost, and that is no congestion (`PathMtu`).
    """

    section = "RFC 5681 section 3.1 (4) and 3.2; RFC 9438 section 4.6; RFC 6675 section 5; RFC 3168 section 6.1.2"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after):
            return
        assert before is not None and after is not None
        undone = after.undos > before.undos
        if calm(before, after) and after.ssthresh < min(before.ssthresh, before.cwnd, after.cwnd):
            self.fail(side, f"ssthresh fell from {before.ssthresh} to {after.ssthresh}, and nothing was lost", after)
        if after.ssthresh < 2 and after.congestion in BETA:
            self.fail(side, f"ssthresh is {after.ssthresh}", after)
        if after.phase >= CWR and before.phase < CWR and not undone and cause != "icmp":
            if after.congestion in BETA:
                up, down = BETA[after.congestion]
                most = max(2, max(before.cwnd, before.cwnd + after.delivered - before.delivered) * up // down)
            else:
                most = max(2, after.prior_cwnd - 1)
            if after.ssthresh > most:
                self.fail(side, f"ssthresh {after.ssthresh} after a reduction from cwnd {before.cwnd}", after)
        if after.phase == LOSS and cause == "timer" and after.retransmits > before.retransmits:
            joined = max(0, before.packets_out - after.packets_out)  # too young, and now part of what was sent again
            young = after.packets_out - after.sacked_out - after.lost_out
            if after.cwnd > max(1, after.pipe, 1 + before.retrans_kept + joined + young):
                self.fail(side, f"cwnd {after.cwnd} after a timeout, with pipe {after.pipe}", after)
            if before.phase == LOSS and before.retransmits and after.ssthresh < before.ssthresh:
                self.fail(side, "a second timeout of the same segment lowered ssthresh again", after)
        if (
            before.phase in (CWR, RECOVERY)
            and after.phase in (OPEN, DISORDER)
            and not undone
            and before.undos == after.undos
        ):
            most = max(after.ssthresh, 1) + (after.delivered - before.delivered) // 2 + 1
            if after.cwnd > most:
                self.fail(side, f"cwnd {after.cwnd} after recovery, ssthresh {after.ssthresh}", after)


class EcnReaction(Oracle):
    """An acknowledgment with ECE that acknowledges data has the sender reduce its window, unless it does so already;
    the first new data after a reduction carries CWR, and nothing else does. Exception: an undo takes both back.
    """

    section = "RFC 3168 section 6.1.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.owed: dict[str, int] = {"a": 0, "b": 0}  # ssthresh of a reduction that CWR is to tell of
        self.said: dict[str, bool] = {"a": False, "b": False}  # in the event under way
        self.undos: dict[str, int] = {"a": 0, "b": 0}  # before it
        self.told: dict[str, tuple[int, int, int]] = {"a": (0, 0, 0), "b": (0, 0, 0)}  # the reduction CWR told of last

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is not None and state.ecn_ok and seg.flags & CWR_FLAG and not seg.flags & SYN:
            reduction = (state.high_seq, state.ssthresh, state.retransmits)
            if not is_new(side, seg) or self.told[side.name] == reduction:
                self.fail(side, f"{seg} has CWR, and there was no reduction since it was said", state)
            self.told[side.name] = reduction
        if state is None or not state.ecn_ok or not seg.length or not is_new(side, seg):
            return
        if state.undos > self.undos[side.name]:
            self.owed[side.name] = 0
        if self.owed[side.name] and not seg.flags & CWR_FLAG and state.ssthresh <= self.owed[side.name]:
            self.fail(side, f"{seg} is the first new data after a reduction, and has no CWR", state)
        if seg.flags & CWR_FLAG:
            self.owed[side.name] = 0
            self.said[side.name] = True

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        said, self.said[side.name] = self.said[side.name], False
        if not both(before, after):
            return
        assert before is not None and after is not None
        self.undos[side.name] = after.undos
        if after.undos > before.undos or after.ssthresh > before.ssthresh:
            self.owed[side.name] = 0
            return
        if after.ecn_ok and before.phase < CWR <= after.phase and not said and cause != "icmp":
            self.owed[side.name] = after.ssthresh
        if (
            seg is not None and seg.flags & ECE and not seg.flags & SYN and after.ecn_ok and before.phase < CWR
            and after.phase < CWR and after.snd_una > before.snd_una and after.ssthresh >= before.ssthresh
        ):  # fmt: skip
            self.fail(side, f"{seg} says that there is congestion, and cwnd is not reduced", after)


class OneReductionPerRoundTrip(Oracle):
    """ssthresh and cwnd are reduced at most once for all the data that was out when the loss (or the mark)
    was seen: not again before SND.UNA reaches the SND.NXT of then. A timeout reduces on its own account, an
    undone reduction does not count, and that for a loss which a tail loss probe repaired counts for what was
    out at the probe (RFC 8985 section 7.4).
    """

    section = "RFC 6675 section 5 (RecoveryPoint); RFC 6582 section 3.2 (recover); RFC 3168 section 6.1.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.recover: dict[str, int] = {"a": -1, "b": -1}

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after):
            return
        assert before is not None and after is not None
        if after.undos > before.undos or (after.phase == LOSS and before.phase != LOSS):
            self.recover[side.name] = -1
            return
        if not (after.ssthresh < before.ssthresh and after.ssthresh < before.cwnd) or after.phase == LOSS:
            return
        if after.snd_una < self.recover[side.name]:
            self.fail(
                side,
                f"ssthresh {before.ssthresh} to {after.ssthresh} again, {self.recover[side.name] - after.snd_una} "
                "bytes before the end of the window that was reduced already", after,
            )  # fmt: skip
        repaired = before.probe_out and not after.probe_out and after.phase < CWR
        self.recover[side.name] = before.probe_out if repaired else before.snd_nxt


class ProportionalRecovery(Oracle):
    """In fast recovery, and in the reduction for a mark, what may be sent is in proportion to what is delivered. While
    the pipe exceeds ssthresh: ssthresh/RecoverFS of all that was delivered since, less what was sent since. Below:
    one more than what was delivered and not answered yet, or than is delivered now, and only up to ssthresh.
    In any case the one segment of the fast retransmit; and when nothing was sent yet, that one is allowed.
    """

    section = "RFC 6937 section 3"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.burst: dict[str, int] = {"a": 0, "b": 0}  # segments sent in the event under way
        self.delivered: dict[str, int] = {"a": 0, "b": 0}  # in this recovery
        self.out: dict[str, int] = {"a": 0, "b": 0}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if seg.room:
            self.burst[side.name] += seg.segs

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        burst, self.burst[name] = self.burst[name], 0
        if not both(before, after):
            return
        assert before is not None and after is not None
        if after.phase not in (CWR, RECOVERY):
            return
        now = after.delivered - before.delivered
        if cause == "timer" and before.phase != RECOVERY:
            now = max(now, 1)  # what RACK's timer begins counts as one (Linux)
        if after.undos > before.undos:
            self.delivered[name], self.out[name] = now, burst
            return
        if before.phase in (CWR, RECOVERY) and after.high_seq == before.high_seq:
            self.delivered[name] += now
        else:
            self.delivered[name], self.out[name] = now, 0
        earlier, self.out[name] = self.out[name], self.out[name] + burst
        if cause != "arrival" or now <= 0 or after.cwnd <= 1:
            return
        pipe = after.pipe - burst
        if pipe > after.ssthresh:
            whole = max(after.prior_cwnd, after.ssthresh)
            most = -(-after.ssthresh * self.delivered[name] // whole) - earlier
        else:
            most = min(max(self.delivered[name] - earlier, now) + 1, after.ssthresh - pipe)
        most = max(most, 0 if earlier else 1)
        if after.cwnd > pipe + most:
            self.fail(
                side, f"cwnd {after.cwnd} in recovery, pipe {pipe}, {self.delivered[name]} delivered, "
                f"{earlier} sent: at most {most} may follow", after,
            )  # fmt: skip
        if after.cwnd < pipe + most and not earlier and most == 1 and cause == "arrival":
            self.fail(side, f"cwnd {after.cwnd} in recovery, pipe {pipe}: nothing may be sent", after)
