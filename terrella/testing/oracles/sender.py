"""What a sender may put on the wire, and when."""

from __future__ import annotations

from terrella.testing import probe
from terrella.testing.flow import Ranges
from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, FIN, HALF, HAS_SACK, HAS_TIMESTAMP, MASK, RST, SYN, Segment

LOSS_PROBE = 2  # State.timer
LOSS = 4  # State.phase
CORK, PUSH = 2, 4  # of State.nonagle
CLOSED = 7
SYNCHRONIZED = (1, 4, 5, 6, 8, 9, 11)


def pipe_before(seg: Segment, seq: int, state: State) -> int:
    """The flight without this segment: it may have been counted already when it leaves."""
    counted = seq + seg.room <= state.snd_nxt - state.iss
    return state.pipe - (seg.segs if counted else 0)


def probe_due(state: State, now: int) -> bool:
    """Whether the timer of a tail loss probe is due, which may take all that cwnd has room for (Linux)."""
    return state.timer == LOSS_PROBE and state.timer_at <= now


def loss_probe(state: State, seg: Segment, now: int) -> bool:
    """Whether this may be a tail loss probe beyond cwnd: one segment (RFC 8985 section 7.3)."""
    return probe_due(state, now) and seg.segs == 1


def is_new(side: Side, seg: Segment) -> bool:
    """Whether it carries sequence space never sent before."""
    return side.flow.seq_out(seg.seq) + seg.room > side.flow.nxt


class WithinOfferedWindow(Oracle):
    """No segment reaches beyond the greatest right edge that the peer has ever offered (SEG.ACK + SEG.WND, scaled), FIN
    included. Exceptions: the SYN, before any window was offered; and a zero-window probe, which may carry one byte
    beyond the edge when nothing else is outstanding.
    """

    section = "RFC 9293 sections 3.4 and 3.8.6, MUST-34..37; probe: 3.8.6.1"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if not seg.room or seg.flags & (SYN | RST) or flow.iss is None:
            return
        end = flow.seq_out(seg.seq) + seg.room
        if end <= flow.edge:
            return
        if seg.room == 1 and end == flow.edge + 1 and flow.acked == flow.edge:
            return  # zero-window probe
        self.fail(side, f"{seg} ends at {end}, beyond the greatest right edge offered, {flow.edge}", state)


class SendWindow(Oracle):
    """SND.WND is what the newest segment said: one that carries more, or acknowledges more, than those before it sets
    it; one from before (SEG.SEQ below SND.WL1, and nothing newly acknowledged) leaves it alone.
    """

    section = "RFC 9293 section 3.10.7.4 (SND.WL1, SND.WL2)"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if (
            seg is None or before is None or after is None or before.state not in SYNCHRONIZED or after.state == CLOSED
            or seg.flags & (SYN | RST) or not seg.flags & ACK
        ):  # fmt: skip
            return
        seq = before.snd_wl1 + ((seg.seq - before.snd_wl1 + HALF) & MASK) - HALF
        ack = before.snd_una + ((seg.ack - before.snd_una + HALF) & MASK) - HALF
        said = seg.window << side.flow.wscale_in
        if ack <= before.snd_una and seq < before.snd_wl1 and after.snd_wnd != before.snd_wnd:
            self.fail(side, f"{seg} is old, and SND.WND went from {before.snd_wnd} to {after.snd_wnd}", after)
        if before.snd_una < ack == after.snd_una and after.snd_wnd != said:
            self.fail(side, f"{seg} offers {said} bytes, and SND.WND is {after.snd_wnd}", after)


class NewDataWithinCwnd(Oracle):
    """New data is only sent while pipe < cwnd, and no super-segment takes more than the rest. Exceptions: a tail loss
    probe, one segment (RFC 8985 section 7.3); a FIN alone. Limited transmit (RFC 3042) needs none: SACKed segments, and
    without SACK duplicate ACKs, have left the pipe. Nor do window probes: nothing else is in the pipe then.
    """

    section = "RFC 5681 section 3.1; RFC 6675 section 5 (C)"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not seg.length or seg.flags & SYN or side.flow.iss is None or not is_new(side, seg):
            return
        if loss_probe(state, seg, self.pair.now):
            return
        pipe = pipe_before(seg, side.flow.seq_out(seg.seq), state)
        if pipe >= state.cwnd:
            self.fail(side, f"new data ({seg}) with pipe {pipe} and cwnd {state.cwnd}", state)
        if pipe + seg.segs > state.cwnd:
            self.fail(side, f"{seg.segs} new segments ({seg}) with pipe {pipe} and cwnd {state.cwnd}", state)


class RetransmissionsWithinCwnd(Oracle):
    """Data is retransmitted while pipe < cwnd. Exceptions: the first unacknowledged segment (fast retransmit, timeout,
    a window that was shrunk), and a tail loss probe. Without SACK the duplicate ACK that let it go may be forgotten
    when small segments are sent again as one (Linux).
    """

    section = "RFC 6675 section 5 (4.3), (C); RFC 6298 (5.4); RFC 8985 section 7.3"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if state is None or not seg.length or seg.flags & SYN or flow.iss is None or is_new(side, seg):
            return
        seq = flow.seq_out(seg.seq)
        if seq <= flow.acked or loss_probe(state, seg, self.pair.now):
            return
        pipe = state.pipe - seg.segs  # it is counted when it leaves
        if not state.sack_ok and self.pair.cause == "arrival":
            pipe -= 1
        if pipe >= state.cwnd:
            self.fail(side, f"{seg} again with pipe {pipe} and cwnd {state.cwnd}", state)


class SenderSillyWindow(Oracle):
    """New data goes out in full segments, or else it is all there is to send (and with Nagle's algorithm no other
    small segment is outstanding: Minshall's reading), or at least half of the greatest window ever offered, or the
    window was blocked and nothing is outstanding (the override of the persist timer), or it is the end of a
    super-segment that fills the window to its edge (Linux, under Minshall's rule too). Exceptions from Nagle's
    algorithm: a loss probe, and the new data of F-RTO (RFC 5682 step 2.b), for which what matters is that something is
    sent at all; urgent data; and what a call sends up to the edge while it has more to write (Linux). A segment is
    full for the options that its burst began with: the D-SACK that the first carries is not in the others (Linux takes
    the size once for each burst), and for the MSS that the event began with: the path may be found to take more by now.
    A corked socket (TCP_CORK) sends no small segment but when a timer says so, or TCP_NODELAY was set as well (which
    pushes). What the persist timer sends into a small window is no small segment to Nagle's algorithm (Linux).
    """

    section = "RFC 9293 sections 3.7.4 and 3.8.6.2.1, MUST-38; RFC 1122 section 4.2.3.4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.small: dict[str, int] = {"a": 0, "b": 0}  # the end of the last small segment sent
        self.options: dict[str, int] = {"a": 0, "b": 0}  # the most that a segment of the event under way carried
        self.mss: dict[str, int] = {"a": 0, "b": 0}  # when it began

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        self.options[side.name] = 0
        self.mss[side.name] = after.mss if after is not None else 0

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if state is None or not seg.length or seg.flags & SYN or flow.iss is None or not is_new(side, seg):
            return
        options = 12 if seg.options & HAS_TIMESTAMP and not state.ts_ok else 0
        if seg.options & HAS_SACK:
            options += 4 + 8 * len(seg.sack)
        self.options[side.name] = options = max(options, self.options[side.name])
        full = min(state.mss, self.mss[side.name] or state.mss) - options
        tail = seg.length - (seg.segs - 1) * full if seg.segs > 1 else seg.length
        seq = flow.seq_out(seg.seq)
        end = seq + seg.length
        if tail >= full or (seg.segs > 1 and tail <= 0):
            return
        everything = end >= state.write_seq - state.iss - (1 if state.fin_queued or seg.flags & FIN else 0)
        probing = state.packets_out <= (1 if seq + seg.room <= state.snd_nxt - state.iss else 0)
        outstanding = flow.acked < self.small[side.name]
        urged = probe_due(state, self.pair.now) or state.phase == LOSS or state.snd_up > state.snd_una
        held = outstanding and not state.nonagle and not urged and self.pair.cause != "call"
        at_edge = seg.segs > 1 and end in (flow.edge, state.snd_una + state.snd_wnd - state.iss) and not held
        if not everything and not probing and not at_edge and seg.length < state.max_window // 2:
            self.fail(side, f"{seg}: {tail} bytes of a segment of {full}, and more waits to be sent", state)
        nagle = not state.nonagle and not seg.flags & FIN and not urged
        if everything and nagle and outstanding and not probing and not state.fin_queued:
            self.fail(
                side, f"{seg}: a small segment while another is unacknowledged, and Nagle's algorithm is on", state
            )
        corked = state.nonagle & (CORK | PUSH | 1) == CORK and not state.fin_queued and self.pair.cause != "timer"
        if corked and everything and not at_edge and not urged and not seg.flags & FIN:
            self.fail(side, f"{seg}: a small segment, and the socket is corked", state)
        if not (probing and self.pair.cause == "timer"):
            self.small[side.name] = end


class Scoreboard(Oracle):
    """The counts of the flight are those of its segments, pipe is never negative, nothing is both SACKed and lost, and
    the retransmission queue is all of [SND.UNA, SND.NXT). A segment is SACKed only when the peer said so of all of it;
    and all are, of which a block of an acceptable ACK says so first.
    """

    section = "RFC 6675 sections 2 to 4; RFC 2018 section 5; RFC 9293 section 3.4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.told: dict[str, Ranges] = {"a": Ranges(), "b": Ranges()}  # what SACK blocks said came
        self.earlier: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}  # likewise, before what arrives now

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if before is None:
            return
        near = before.snd_nxt - HALF
        self.earlier[side.name] = self.told[side.name].spans
        for left, right in seg.sack:
            start = near + ((left - near) & MASK)
            self.told[side.name].add(start, start + ((right - left + HALF) & MASK) - HALF)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if after is None:
            return
        counted = probe.flight(side.connection())
        kept = (after.packets_out, after.sacked_out, after.lost_out, after.retrans_out)
        sacked = counted.sacked_out if after.sack_ok else after.sacked_out
        if kept != (counted.packets_out, sacked, counted.lost_out, counted.retrans_out):
            self.fail(side, f"the counters {kept} are not those of the segments {counted[:4]}", after)
        if after.pipe < 0 or (after.sack_ok and after.sacked_out + after.lost_out > after.packets_out):
            self.fail(side, "segments are counted twice", after)
        if counted.gap:
            self.fail(side, "the retransmission queue has a gap", after)
        if after.packets_out and (counted.first > after.snd_una or counted.last != after.snd_nxt):
            self.fail(
                side,
                f"the retransmission queue is {counted.first - after.iss}..{counted.last - after.iss}", after,
            )  # fmt: skip
        if after.pipe and not after.packets_out:
            self.fail(side, "a flight without segments", after)
        for left, right in counted.sacked:
            if not self.told[side.name].holds(left, right):
                told = f"{left - after.iss}..{right - after.iss} counts as SACKed, and the peer did not say so"
                self.fail(side, told, after)
        if seg is not None and seg.sack and before is not None and after.sack_ok and after.packets_out:
            self._believed(side, seg, before, after, counted.missing)

    def _believed(
        self, side: Side, seg: Segment, before: State, after: State, missing: tuple[tuple[int, int], ...]
    ) -> None:
        """What the blocks of an ACK say for the first time, that is the newest, came: Linux looks no more at what they
        said before, though a segment may have been cut in two since. While something waits to be read, an ACK with text
        beyond the window is none (Linux; RFC 9293 section 3.4)."""
        old = before.ts_ok and (seg.tsval is None or (seg.tsval - before.ts_recent) & MASK >= HALF)
        if seg.ack != after.snd_una & MASK or seg.seq != before.rcv_nxt & MASK or old or seg.flags & (SYN | RST | FIN):
            return
        if before.rcv_nxt + seg.length > before.right_edge and before.rcv_nxt > before.copied_seq:
            return
        una, nxt = after.snd_una, before.snd_nxt
        blocks = [
            (una + ((left - una + HALF) & MASK) - HALF, una + ((right - una + HALF) & MASK) - HALF)
            for left, right in seg.sack
        ]
        if len(blocks) > 1 and (blocks[0][0] < una or blocks[1][0] <= blocks[0][0] < blocks[0][1] <= blocks[1][1]):
            del blocks[0]  # a D-SACK
        for left, right in blocks:
            if not una < left < right <= nxt:
                continue
            for start, end in missing:
                new = not any(span[0] <= start and end <= span[1] for span in self.earlier[side.name])
                if left <= start and end <= right and new:
                    told = f"{start - after.iss}..{end - after.iss} came, says {seg}, and does not count as SACKed"
                    self.fail(side, told, after)


class SendsWhatItMay(Oracle):
    """What may be sent is sent: the last piece of data, where it fits cwnd and the window, waits for nothing when no
    other is out, or TCP_NODELAY is set; and full segments, where both have room for several and a third of what they
    take in all (for less, Linux may wait for the next acknowledgment), also when duplicate ACKs come (limited
    transmit). Exceptions: a corked socket; what a loss probe or F-RTO will decide; pacing.
    """

    section = "RFC 9293 sections 3.7.4, MUST-17, and 3.8.6.2.1; RFC 3042 section 2"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if (
            after is not None and after.state in SYNCHRONIZED and after.phase <= 1 and not after.pacing_most
            and after.unsent >= 4 * after.mss
        ):  # fmt: skip
            room = min(after.snd_una + after.snd_wnd - after.snd_nxt, (after.cwnd - after.pipe) * after.mss)
            if room >= max(4 * after.mss, min(after.snd_wnd, after.cwnd * after.mss) // 3 + after.mss):
                self.fail(side, f"{after.unsent} bytes wait, and there is room for {room}", after)
        if (
            after is None or after.state not in SYNCHRONIZED or after.nonagle & CORK or after.phase > 1
            or after.pacing_most or not 0 < after.unsent <= after.mss - 40
            or after.snd_nxt + after.unsent >= after.snd_una + after.snd_wnd
            or after.pipe >= after.cwnd or (after.packets_out and not after.nonagle & 1)
        ):  # fmt: skip
            return
        self.fail(side, f"{after.unsent} bytes wait, and nothing stands in their way", after)
