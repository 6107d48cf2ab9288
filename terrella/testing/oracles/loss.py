"""When a loss is found, what must not be taken for one, and what is believed about what the receiver holds."""

from __future__ import annotations

from bisect import bisect_right

from netstack.tcp.scoreboard import LOST, RETRANS_OUT
from terrella.testing.flow import Ranges
from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.congestion import CWR, LOSS, OPEN, RECOVERY, both
from terrella.testing.oracles.sender import is_new, loss_probe
from terrella.testing.oracles.timers import MS, REORDER, nonsense
from terrella.testing.pair import OTHER, Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ECE, MASK, SYN, Segment

DUP_THRESH = 3


class FastRetransmit(Oracle):
    """The third duplicate acknowledgment, and the third segment SACKed above a hole that was sent once, begin fast
    recovery; fewer do not, unless the hole is older than a round trip and a quarter (RACK's time). Without SACK each
    partial acknowledgment says that the next segment is lost (RFC 6582 section 3.2). Exceptions: where reordering was
    seen, DupThresh and the time are others; where RACK's timer waits for the hole (Linux may take the round trip of
    another segment); what an undo took for well after all (the RTO will find it); a timeout has its own rules.
    """

    section = "RFC 5681 section 3.2; RFC 6675 section 5; RFC 8985 section 6.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.duplicates: dict[str, int] = {"a": 0, "b": 0}  # ACKs that RFC 5681 calls so, since the flight was whole
        self.ends: dict[str, list[int]] = {"a": [], "b": []}  # of the new segments sent, and when
        self.times: dict[str, list[int]] = {"a": [], "b": []}
        self.phase: dict[str, int] = {"a": 0, "b": 0}  # after the last event
        self.undone: dict[str, int] = {"a": 0, "b": 0}  # SND.NXT when a reduction was undone
        self.again: dict[str, int] = {"a": 0, "b": 0}  # the greatest end of what was sent again

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if state is None or not seg.length or seg.flags & SYN or flow.iss is None:
            return
        name, seq = side.name, flow.seq_out(seg.seq)
        if is_new(side, seg):
            self.ends[name].append(seq + seg.room)
            self.times[name].append(self.pair.now)
            return
        once = seq >= self.again[name]
        self.again[name] = max(self.again[name], seq + seg.length)
        if (
            not once or state.phase != RECOVERY or self.phase[name] >= RECOVERY or not state.sack_ok
            or state.sacked_out >= DUP_THRESH
            or state.reord_seen or nonsense(self.pair.link) or loss_probe(state, seg, self.pair.now)
        ):  # fmt: skip
            return
        at = bisect_right(self.ends[name], seq)
        if at < len(self.times[name]):
            age = (self.pair.now - self.times[name][at]) // 1000
            if age < state.min_rtt_us + min(state.min_rtt_us >> 2, state.srtt_us >> 3) - 2:
                self.fail(side, f"{seg} again after {age} us, with {state.sacked_out} segments SACKed", state)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if after is not None:
            self.phase[side.name] = after.phase
            if before is not None and after.undos > before.undos:
                self.undone[side.name] = after.snd_nxt
        if not both(before, after) or nonsense(self.pair.link) or cause != "arrival":
            return
        assert before is not None and after is not None
        if seg is not None and not after.sack_ok:
            self._duplicates(side, seg, before, after)
        if not after.sack_ok and before.phase < CWR and after.phase == RECOVERY:
            least = min(DUP_THRESH, before.reordering, after.reordering)
            seen = max(after.sacked_out, before.sacked_out + 1)  # what is sent again may have taken some of them in
            if seen < least:
                self.fail(side, f"fast recovery begins with {seen} duplicate ACKs", after)
        if (
            not after.sack_ok and before.phase == after.phase == RECOVERY and after.undos == before.undos
            and before.snd_una < after.snd_una < after.high_seq and not after.head_marks
        ):  # fmt: skip
            self.fail(side, "a partial acknowledgment, and the segment that it leaves is not deemed lost", after)
        if (
            after.phase in (RECOVERY, LOSS) or after.reord_seen or before.reord_seen
            or after.snd_una < self.undone[side.name]
            or after.sacked_out < max(DUP_THRESH, after.reordering) or after.sacked_out <= before.sacked_out
            or after.head_marks or after.timer == REORDER or after.snd_una - after.iss < self.again[side.name]
        ):  # fmt: skip
            return
        self.fail(side, f"{after.sacked_out} segments above a hole, and no fast retransmit", after)

    def _duplicates(self, side: Side, seg: Segment, before: State, after: State) -> None:
        """RFC 5681 section 2: no data, no SYN or FIN, the greatest acknowledgment so far, no news of the window, and
        something is out."""
        if after.phase == OPEN and not after.sacked_out:
            self.duplicates[side.name] = 0
            return
        same = seg.ack == before.snd_una & MASK and after.snd_wnd == before.snd_wnd
        if same and not seg.room and before.packets_out:
            self.duplicates[side.name] += 1
        least = min(DUP_THRESH, before.reordering, after.reordering)
        if before.phase < CWR and after.phase == RECOVERY and self.duplicates[side.name] < least:
            self.fail(side, f"fast recovery begins after {self.duplicates[side.name]} duplicate ACKs", after)


class LostRetransmission(Oracle):
    """What was sent again is lost again when something that was sent a round trip and more later has been delivered: it
    is deemed so at once, or RACK's timer waits for it; the retransmission timer is for when nothing is heard.
    Exception: what was out when an undo took it for well (the RTO will find it, as in FastRetransmit).
    """

    section = "RFC 8985 sections 3.1 and 6.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.first: dict[str, list[tuple[int, int, int]]] = {"a": [], "b": []}  # new segments: left, right, when
        self.again: dict[str, list[tuple[int, int, int]]] = {"a": [], "b": []}  # the same, what was sent again
        self.undone: dict[str, int] = {"a": 0, "b": 0}  # SND.NXT when a reduction was undone

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.length or seg.flags & SYN or side.flow.iss is None:
            return
        seq = side.flow.seq_out(seg.seq)
        if is_new(side, seg):
            self.first[side.name].append((seq, seq + seg.length, self.pair.now))
        else:
            self.again[side.name].append((seq, seq + seg.length, self.pair.now))

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        if before is not None and after is not None and after.undos > before.undos:
            self.undone[name] = after.snd_nxt
        if not both(before, after) or cause != "arrival" or seg is None or not self.again[name]:
            return
        assert before is not None and after is not None
        una = after.snd_una - after.iss
        again = self.again[name] = [sent for sent in self.again[name] if sent[1] > una]
        last = max((at for left, right, at in again if left <= una < right), default=0)
        if not after.packets_out:
            self.first[name].clear()
        if (
            not last or not after.sack_ok or not seg.sack or nonsense(self.pair.link)
            or after.phase < RECOVERY or after.timer == REORDER or side.flow.seq_out(seg.ack) != una
            or after.head_marks & (LOST | RETRANS_OUT) != LOST | RETRANS_OUT or after.snd_una < self.undone[name]
        ):  # fmt: skip
            return
        blocks = [(side.flow.seq_out(left), side.flow.seq_out(right)) for left, right in seg.sack]
        latest = max(
            (
                at for left, right, at in self.first[name]
                if any(a <= left and right <= b and a > una for a, b in blocks)
                and not any(begin < right and left < end for begin, end, _ in again)
            ), default=0,
        )  # fmt: skip
        wait = (after.srtt_us >> 3) * 1000 + 2 * MS
        if latest > last + wait:
            later = (latest - last) / 1e6
            self.fail(side, f"what was sent {later:.3f} ms after the retransmission came: it is lost again", after)


class UndoHasReason(Oracle):
    """A reduction is only undone on evidence: nothing had been sent again, or a D-SACK came, or an echo of a
    timestamp from before the last retransmission, or (F-RTO, after a timeout) what was not sent again was
    acknowledged, or SACKed.
    """

    section = "RFC 4015 section 3.2; RFC 3522 section 3.2; RFC 3708 section 2; RFC 5682 section 3.1"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.last: dict[str, int | None] = {"a": None, "b": None}  # the timestamp of the last retransmission
        self.told: dict[str, bool] = {"a": False, "b": False}  # a D-SACK came
        self.event: dict[str, int | None] = {"a": None, "b": None}  # as `last`, of the event under way
        self.again: dict[str, Ranges] = {"a": Ranges(), "b": Ranges()}  # what was sent again

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.length or side.flow.iss is None or is_new(side, seg):
            return
        self.event[side.name] = seg.tsval or 0
        seq = side.flow.seq_out(seg.seq)
        self.again[side.name].add(seq, seq + seg.room)

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if not seg.sack or side.flow.iss is None:
            return
        left, right = (side.flow.seq_out(edge) for edge in seg.sack[0])
        second = tuple(side.flow.seq_out(edge) for edge in seg.sack[1]) if len(seg.sack) > 1 else (1, 0)
        if left < side.flow.seq_out(seg.ack) or (second[0] <= left and right <= second[1]):
            self.told[side.name] = True

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        event, self.event[name] = self.event[name], None
        if not both(before, after):
            return
        assert before is not None and after is not None
        last = self.last[name]
        undone = after.undos > before.undos and self.pair.now  # (at 0, an echo of 0 is none)
        undone = undone and not (before.phase == LOSS and self._original(side, seg, before, after))
        if undone and last is not None and not self.told[name]:
            echo = seg.tsecr if seg is not None and after.ts_ok else None
            if echo is None or (echo - last) & 0xFFFFFFFF < 1 << 31:
                self.fail(side, "a reduction was undone, and nothing says that it was not needed", after)
        if not after.retrans_out and not after.head_marks:
            self.last[name] = None
            self.told[name] = False
            self.again[name] = Ranges()
        elif event is not None or before.phase < RECOVERY <= after.phase:
            self.last[name] = event

    def _original(self, side: Side, seg: Segment | None, before: State, after: State) -> bool:
        """Whether the segment acknowledges, or SACKs, something that was sent only once."""
        if seg is None or nonsense(self.pair.link):
            return True
        again, iss = self.again[side.name], after.iss
        if not again.holds(before.snd_una - iss, after.snd_una - iss):
            return True
        return any(not again.holds(side.flow.seq_out(left), side.flow.seq_out(right)) for left, right in seg.sack)


class UndoesWhatWasSpurious(Oracle):
    """Where the acknowledgment that ends a recovery echoes a timestamp from before the first retransmission, nothing of
    it was lost, and the reduction is undone: then, or before. Exceptions: ECE came as well; what is out was too big for
    a router, and that is a loss (RFC 1191); the receiver reneged.
    """

    section = "RFC 3522 section 3.2; RFC 4015 section 3.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.stamp: dict[str, int | None] = {"a": None, "b": None}  # of the first retransmission since nothing was out
        self.undos: dict[str, int] = {"a": 0, "b": 0}  # when that was
        self.marked: dict[str, bool] = {"a": False, "b": False}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.room or side.flow.iss is None or is_new(side, seg) or seg.flags & SYN:
            return
        if self.stamp[side.name] is None:
            self.stamp[side.name] = seg.tsval
            self.undos[side.name] = state.undos

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after):
            return
        assert before is not None and after is not None
        name = side.name
        stamp = self.stamp[name]
        if not after.packets_out:
            self.stamp[name], marked, self.marked[name] = None, self.marked[name], False
        elif (seg is not None and seg.flags & ECE) or (cause == "icmp" and after.lost_out > before.lost_out):
            self.marked[name] = marked = True
        else:
            marked = self.marked[name]
        if (
            stamp is None or seg is None or seg.tsecr is None or not after.ts_ok or cause != "arrival" or marked
            or before.phase < RECOVERY or after.snd_una < before.high_seq or after.snd_una == before.snd_una
            or seg.flags & ECE or after.undos > self.undos[name] or nonsense(self.pair.link) or not seg.tsecr
            or side.reneged or self.pair.sides[OTHER[name]].reneged
        ):  # fmt: skip
            return
        if 0 < (stamp - seg.tsecr) & MASK < 1 << 31:
            self.fail(
                side,
                f"{seg} echoes {seg.tsecr}, from before the retransmission ({stamp}), and nothing is undone",
                after,
            )


class ReorderingTimer(Oracle):
    """RACK waits for what may only be late: its window (a quarter of the least round trip, while no D-SACK has told of
    a duplicate; never more than SRTT) beyond the round trip of what was delivered last. What it waits for was sent
    before the newest of what was delivered, and so long ago the wait began; two milliseconds are for timers.
    """

    section = "RFC 8985 section 6.2, steps 4 and 5"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.told: dict[str, bool] = {"a": False, "b": False}  # a D-SACK came
        self.out: dict[str, list[tuple[int, int, int]]] = {"a": [], "b": []}  # what was sent, again or not: when, last
        self.known: dict[str, int] = {"a": 0, "b": 0}  # how much of that, when what arrives now did
        self.newest: dict[str, int] = {"a": 0, "b": 0}  # when the newest of what was delivered was sent
        self.trip: dict[str, int] = {"a": 0, "b": 0}  # how long the oldest of it took, by the last ACK that told of any

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is not None and seg.length and side.flow.iss is not None:
            seq = side.flow.seq_out(seg.seq)
            self.out[side.name].append((seq, seq + seg.room, self.pair.now))

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if len(seg.sack) > 1 or (seg.sack and 0 < (seg.ack - seg.sack[0][0]) & MASK < 1 << 31):
            self.told[side.name] = True
        self.known[side.name] = len(self.out[side.name])

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after) or cause != "arrival" or seg is None:
            return
        assert before is not None and after is not None
        name, now, una = side.name, self.pair.now, after.snd_una - after.iss
        earlier = self.trip[name]
        if una > before.snd_una - before.iss or seg.sack:
            blocks = [(side.flow.seq_out(left), side.flow.seq_out(right)) for left, right in seg.sack]
            times = [
                at for seq, end, at in self.out[name][: self.known[name]]
                if seq < una or any(left < end and seq < right for left, right in blocks)
            ]  # fmt: skip
            if times:
                self.newest[name] = max(self.newest[name], max(times))
                self.trip[name] = now - min(times)
            self.out[name] = [entry for entry in self.out[name] if entry[1] > una]
        if after.timer != REORDER or (before.timer, before.timer_at) == (after.timer, after.timer_at):
            return
        if nonsense(self.pair.link):
            return
        wait, srtt = (after.timer_at - now) // 1000, after.srtt_us >> 3
        window = min(srtt, max(after.min_rtt_us, before.min_rtt_us) >> 2) if not self.told[name] else srtt
        behind = max(max(self.trip[name], earlier) - (now - self.newest[name]), 0) // 1000
        most = max(window, 1000) + behind + 2001
        if wait > most:
            self.fail(side, f"RACK waits {wait} us for reordering: no more than {most} are due", after)


class Reneging(Oracle):
    """SACK is a hint: when the retransmission timer expires and the first segment is one that was SACKed (the receiver
    forgot it), no segment is deemed received any more, and all are sent again in turn.
    """

    section = "RFC 2018 section 8; RFC 6675 section 5.1"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if not both(before, after):
            return
        assert before is not None and after is not None
        timeout = cause == "timer" and after.retransmits > before.retransmits
        if timeout and before.head_sacked and after.sack_ok and after.sacked_out:
            self.fail(side, f"a timeout of a segment that was SACKed, and {after.sacked_out} are still believed", after)
