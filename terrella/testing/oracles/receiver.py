"""What a receiver may say, and what it may believe."""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import (
    ACK,
    CWR,
    ECE,
    FIN,
    HALF,
    HAS_SACK,
    HAS_TIMESTAMP,
    MASK,
    RST,
    SYN,
    Segment,
)

MS = 1_000_000
SYNCHRONIZED = (1, 4, 5, 6, 8, 9, 11)
FIN_WAIT_2 = 5
RECEIVING = (1, 4, FIN_WAIT_2)  # ESTABLISHED, FIN-WAIT-1


class AckOnlyWhatCame(Oracle):
    """An acknowledgment covers only what arrived, all of it without a gap, and never goes back."""

    section = "RFC 9293 sections 3.4 and 3.10.7.4"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if not seg.flags & ACK or flow.irs is None or flow.iss is None or seg.flags & RST:
            return
        ack = flow.seq_in(seg.ack)
        came = flow.received.until(0)
        if ack > came:
            self.fail(side, f"{seg} acknowledges {ack}, but only {came} came", state)
        if ack < flow.acking:
            self.fail(side, f"{seg} acknowledges {ack}, after {flow.acking} had been", state)


class SackTellsTheTruth(Oracle):
    """SACK blocks name data that arrived, beyond the acknowledgment and apart from each other; only the first may
    lie below or within another: it reports a duplicate (D-SACK), each once. There are at most four, three beside
    timestamps. Exception: the ACK of a FIN that was held out of order may still carry the blocks of before (Linux
    in FIN-WAIT).
    """

    section = "RFC 2018 sections 3 and 4; RFC 2883 section 4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.twice: dict[str, int] = {"a": 0, "b": 0}  # segments of which some had arrived before, and not been told of

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if seg.room and side.flow.irs is not None:
            seq = side.flow.seq_in(seg.seq)
            if any(left < seq + seg.room and seq < right for left, right in side.flow.received.spans):
                self.twice[side.name] += 1

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if not seg.sack or flow.irs is None:
            return
        if len(seg.sack) > (3 if seg.options & HAS_TIMESTAMP else 4):
            self.fail(side, f"{len(seg.sack)} SACK blocks", state)
        ack = flow.seq_in(seg.ack)
        blocks = [(flow.seq_in(left), flow.seq_in(right)) for left, right in seg.sack]
        for n, (left, right) in enumerate(blocks):
            if left >= right:
                self.fail(side, f"the SACK block {left}:{right}", state)
            if not flow.received.holds(left, right):
                self.fail(side, f"the SACK block {left}:{right} names what did not arrive", state)
            duplicate = n == 0 and (left < ack or any(a <= left and right <= b for a, b in blocks[1:]))
            if duplicate:
                self.twice[side.name] -= 1
                if self.twice[side.name] < 0 and ack != flow.fin_arrived:
                    self.fail(side, f"the D-SACK {left}:{right}, and nothing came twice since the last one", state)
                continue
            if left <= ack and ack != flow.fin_arrived:
                self.fail(side, f"the SACK block {left}:{right} at or below the acknowledgment {ack}", state)
            for a, b in blocks[n + 1 :]:
                if left < b and a < right:
                    self.fail(side, f"the SACK blocks {left}:{right} and {a}:{b} overlap", state)


class RightEdgeNeverRetreats(Oracle):
    """The right edge of the window offered never moves to the left, but by what scaling cannot express. Exceptions:
    RST, whose window says nothing; a window of zero where there was no memory for what came (Linux), after which it
    counts from there; and the SYN-ACK of a SYN cookie, whose window nobody remembers (Linux rounds it otherwise, by the
    segment size that the cookie tells).
    """

    section = "RFC 9293 section 3.8.6, SHLD-14; RFC 7323 section 2.4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.edge: dict[str, int] = {"a": 0, "b": 0}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if not seg.flags & ACK or seg.flags & RST or flow.irs is None or flow.got_syn is None:
            return
        if seg.flags & SYN and side.stack.counters.tcpext.SyncookiesSent:
            return
        edge = flow.offered(seg)
        slack = (1 << flow.wscale_out) - 1
        if state is None or state.state == 7:
            slack += 1 << flow.wscale_out  # TIME-WAIT's answers
        if not seg.window and side.stack.counters.tcpext.RcvPruned:
            self.edge[side.name] = edge
        if edge < self.edge[side.name] - slack - 1:
            self.fail(side, f"{seg} offers up to {edge}, after {self.edge[side.name]} had been offered", state)
        self.edge[side.name] = max(self.edge[side.name], edge)


class ReceiverSillyWindow(Oracle):
    """A window that was (all but) closed is opened by at least a segment, or half of what the buffer holds, whichever
    is less: the right edge does not advance to leave a window smaller than that. Exceptions: what rounding the rest of
    the window up to the unit of the window scale adds, for the edge may not retreat either; and without a scale a
    window that stays as it was, within a segment of what is free (Linux).
    """

    section = "RFC 9293 section 3.8.6.2.2, MUST-39"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.base: dict[str, int] = {"a": 0, "b": 0}  # the right edge when the window was last worth having
        self.last: dict[str, int] = {"a": -1, "b": -1}  # the window offered last

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if (
            state is None or state.state not in SYNCHRONIZED or not seg.flags & ACK or seg.flags & (RST | SYN)
            or flow.irs is None or not flow.my_edge
        ):  # fmt: skip
            return
        edge = flow.offered(seg)
        unit = 1 << flow.wscale_out
        least = min(state.rcv_mss, state.receive_space // 2)
        window = seg.window << flow.wscale_out
        kept = window == self.last[side.name] and not flow.wscale_out
        self.last[side.name] = window
        if window >= least - unit:
            self.base[side.name] = edge
        elif edge > self.base[side.name] + unit and edge >= flow.my_edge + unit and not kept:
            self.fail(side, f"{seg} opens the window to {window} bytes, less than {least}", state)


class WindowUpdate(Oracle):
    """When all that came has been read, and the window that the peer knows of is smaller than half of a segment and
    than a quarter of what the buffer holds, it is told of the room at once: who waits for a probe waits for an RTO and
    more. (Half of the RFC's measure: Linux tells of a window that has doubled.) Not after SHUT_RD, as Linux.
    """

    section = "RFC 9293 sections 3.8.6 and 3.8.6.2.2; RFC 1122 section 4.2.3.3"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if (
            cause != "call" or before is None or after is None or after.state not in RECEIVING
            or after.copied_seq <= before.copied_seq or after.copied_seq != after.rcv_nxt or after.out_of_order
            or side.shut_rd
        ):  # fmt: skip
            return
        window = after.right_edge - after.rcv_nxt
        least = min(after.rcv_mss, after.receive_space // 2)
        if window < least // 2 - (1 << after.rcv_wscale):
            self.fail(side, f"all was read, and the window stays at {window} bytes", after)


class TakesWhatFits(Oracle):
    """Data within the window that was offered is taken: in order at once, else it is held. Exceptions: no memory (it is
    counted), an old timestamp (PAWS), an unacceptable SEG.ACK (RFC 5961), a connection that it ends.
    """

    section = "RFC 9293 section 3.10.7.4 (first and seventh), SHLD-31"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.pruned: dict[str, int] = {"a": 0, "b": 0}

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        counters = side.stack.counters.tcpext
        pruned = counters.PruneCalled + counters.TCPZeroWindowDrop
        refused, self.pruned[side.name] = pruned != self.pruned[side.name], pruned
        if (
            seg is None or before is None or after is None or before.state not in RECEIVING
            or after.state not in SYNCHRONIZED or not seg.length or seg.flags & (SYN | RST) or not seg.flags & ACK
            or refused or side.flow.irs is None or side.shut_rd or side.closed
        ):  # fmt: skip
            return
        if before.ts_ok and (seg.tsval is None or 1 < (before.ts_recent - seg.tsval) & MASK < HALF):
            return
        ack = before.snd_una + ((seg.ack - before.snd_una + HALF) & MASK) - HALF
        if not before.snd_una - before.max_window <= ack <= before.snd_nxt or ack < before.iss:
            return
        seq = before.rcv_nxt + ((seg.seq - before.rcv_nxt + HALF) & MASK) - HALF
        end = seq + seg.length
        if end <= before.rcv_nxt or end > before.right_edge or after.rcv_nxt >= end:
            return
        at = max(seq, after.rcv_nxt)
        for left, right in after.out_of_order:
            if left <= at < right:
                at = right
        if at < end:
            self.fail(side, f"{seg} lies within the window, and is not held", after)


class DuplicateAck(Oracle):
    """What comes out of order is acknowledged at once, without SACK each time, with SACK until three ACKs had the
    same number (more are let out together: Linux's compression), and the first block that is no D-SACK holds it.
    What has come before and been acknowledged is so at once again, with a D-SACK where SACK is in use; what is held
    out of order already, too, with the D-SACK in front of the block. What fills a gap is acknowledged at once.
    Exception: FIN-WAIT-2 of a socket that was closed, which answers as TIME-WAIT does (Linux).
    """

    section = "RFC 5681 section 4.2; RFC 9293 section 3.10.7.4 (first); RFC 2018 section 4; RFC 2883 section 4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.last: dict[str, Segment | None] = {"a": None, "b": None}  # what was sent in the event under way
        self.told: dict[str, tuple[int, int]] = {"a": (0, 0), "b": (0, 0)}  # SEG.ACK, how many had it
        self.several: dict[str, bool] = {"a": False, "b": False}  # more than `last` was sent, the D-SACK with the first
        self.pruned: dict[str, int] = {"a": 0, "b": 0}  # how often memory was short

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if seg.flags & ACK:
            self.several[side.name] = self.last[side.name] is not None
            self.last[side.name] = seg
            ack, count = self.told[side.name]
            self.told[side.name] = (seg.ack, count + 1 if ack == seg.ack else 1)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        said, self.last[name] = self.last[name], None
        short, self.pruned[name] = self.pruned[name], side.stack.counters.tcpext.PruneCalled
        if (
            seg is None or before is None or after is None or not seg.length or seg.flags & (SYN | RST)
            or before.state not in RECEIVING or after.state not in RECEIVING
            or (side.closed and after.state == FIN_WAIT_2)
        ):  # fmt: skip
            return
        if after.rcv_nxt != before.rcv_nxt:
            if before.out_of_order and after.rcv_wup < after.rcv_nxt and short == self.pruned[name]:
                self.fail(side, f"{seg} came before what is held, and was not acknowledged", after)
            return
        seq = before.rcv_nxt + ((seg.seq - before.rcv_nxt + HALF) & MASK) - HALF
        if seq + seg.length < before.rcv_wup and not seg.flags & FIN and seg.flags & ACK:
            self._old(side, seg, said, after)
        inside = any(left <= seq and seq + seg.length <= right for left, right in before.out_of_order)
        if inside and short == self.pruned[name] and said is not None and after.sack_ok:
            self._held(side, seg, said, after)
        if not any(held not in before.out_of_order and held[0] <= seq < held[1] for held in after.out_of_order):
            return
        ack, count = self.told[name]
        few = ack != after.rcv_nxt & MASK or count < 3
        if said is None:
            if few or not after.sack_ok:
                self.fail(side, f"{seg} came out of order, and was not acknowledged", after)
            return
        if not after.sack_ok or count > 3:
            return
        blocks = said.sack
        if len(blocks) > 1 and (below(blocks[0][0], said.ack) or within(blocks[0], blocks[1])):
            blocks = blocks[1:]
        if not blocks or not within((seg.seq, seg.seq + seg.length & MASK), blocks[0]):
            self.fail(side, f"{seg} came out of order, and {said} does not say so first: {said.sack}", after)

    def _old(self, side: Side, seg: Segment, said: Segment | None, after: State) -> None:
        if said is None:
            self.fail(side, f"{seg} came before, and was not acknowledged", after)
        if after.sack_ok and side.stack.settings.tcp_dsack and not (said.sack and below(said.sack[0][0], said.ack)):
            self.fail(side, f"{seg} came before, and {said} does not say so", after)

    def _held(self, side: Side, seg: Segment, said: Segment, after: State) -> None:
        """Exception: an old timestamp (PAWS), or a SEG.ACK that was not taken."""
        if after.ts_ok and (seg.tsval is None or 0 < (after.ts_recent - seg.tsval) & MASK < HALF):
            return
        if not seg.flags & ACK or ((seg.ack - after.snd_una + HALF) & MASK) - HALF + after.max_window < 0:
            return
        if not side.stack.settings.tcp_dsack or self.several[side.name]:
            return
        blocks = said.sack
        exactly = (seg.seq, seg.seq + seg.length & MASK)  # before a block of others: what was held back, too (Linux)
        if not blocks or (blocks[0] != exactly and (len(blocks) < 2 or not within(blocks[0], blocks[1]))):
            self.fail(side, f"{seg} is held already, and {said} does not say so: {said.sack}", after)


def below(left: int, right: int) -> bool:
    """Whether one sequence number comes before another."""
    return 0 < (right - left) & MASK < HALF


def within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return not below(inner[0], outer[0]) and not below(outer[1], inner[1])


class DelayedAck(Oracle):
    """What was received in order is acknowledged within half a second; and once the application has read all of it, two
    full segments are acknowledged at once; so they are where the application waits for more than there is
    (SO_RCVLOWAT), and will not read (Linux). ACKs of what came out of order that are held back, to leave as one, are so
    for tcp_comp_sack_delay_ns at most (Linux).
    """

    section = "RFC 9293 section 3.8.6.3, MUST-40; RFC 5681 section 4.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.since: dict[str, int | None] = {"a": None, "b": None}

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        owed = after is not None and after.state in SYNCHRONIZED and after.rcv_nxt > after.rcv_wup
        held = after.compressed_at - self.pair.now if after is not None and after.compressed_at else 0
        if held > side.stack.settings.tcp_comp_sack_delay_ns:
            self.fail(side, f"duplicate acknowledgments are held back for {held / 1e6:.3f} ms", after)
        since = self.since[side.name]
        if since is not None and self.pair.now - since > 500 * MS:
            self.fail(side, f"an acknowledgment was owed for {(self.pair.now - since) / 1e6:.1f} ms", after)
        if (
            cause == "call" and owed and before is not None and after is not None
            and before.copied_seq < after.copied_seq == after.rcv_nxt
            and after.rcv_nxt - after.rcv_wup >= 2 * after.rcv_mss
        ):  # fmt: skip
            self.fail(side, f"{after.rcv_nxt - after.rcv_wup} bytes were read, and not acknowledged", after)
        if (
            cause == "arrival" and owed and after is not None and side.sock is not None and not side.sock.closed
            and after.rcv_nxt - after.copied_seq < side.sock.rcvlowat and not after.out_of_order
            and after.rcv_nxt - after.rcv_wup >= 2 * max(after.rcv_mss, before.rcv_mss if before is not None else 0)
        ):  # fmt: skip
            waits = f"{after.rcv_nxt - after.rcv_wup} bytes came, the application waits for {side.sock.rcvlowat}"
            self.fail(side, f"{waits}, and are not acknowledged", after)
        if not owed:
            self.since[side.name] = None
        elif since is None or (before is not None and after is not None and after.rcv_wup > before.rcv_wup):
            self.since[side.name] = self.pair.now


class Paws(Oracle):
    """A segment with data whose timestamp is older than TS.Recent is an old duplicate: nothing of it is taken. One
    tick is no age: Linux allows it for clocks of several processors, and reordering within a millisecond shows it.
    TS.Recent is taken from no segment that begins beyond the last acknowledgment sent; from one that holds it, or
    ends there, it is, unless it is older.
    """

    section = "RFC 7323 sections 4.3 and 5.3, R1"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if (
            seg is None or before is None or after is None or not before.ts_ok or seg.tsval is None
            or not before.ts_recent or before.state not in SYNCHRONIZED
        ):  # fmt: skip
            return
        self._newer(side, seg, before, after)
        if not seg.length:
            return
        seq = before.rcv_nxt + ((seg.seq - before.rcv_nxt + HALF) & MASK) - HALF
        if seq > before.rcv_wup and after.ts_recent != before.ts_recent and after.state in SYNCHRONIZED:
            self.fail(side, f"{seg} lies beyond what was acknowledged, and TS.Recent is its timestamp", after)
        behind = (before.ts_recent - seg.tsval) & MASK
        if not 1 < behind < HALF:
            return
        if after.rcv_nxt != before.rcv_nxt or after.out_of_order != before.out_of_order:
            self.fail(side, f"{seg}: its timestamp is {behind} ticks older than TS.Recent, and it was taken", after)

    def _newer(self, side: Side, seg: Segment, before: State, after: State) -> None:
        """A segment that is acceptable in all respects, with a timestamp that is no older."""
        assert seg.tsval is not None
        seq = before.rcv_nxt + ((seg.seq - before.rcv_nxt + HALF) & MASK) - HALF
        ack = before.snd_una + ((seg.ack - before.snd_una + HALF) & MASK) - HALF
        if (
            after.state not in SYNCHRONIZED or seg.flags & (SYN | RST) or not seg.flags & ACK or side.closed
            or not before.snd_una <= ack <= before.snd_nxt or (seg.tsval - before.ts_recent) & MASK >= HALF
            or not seq <= before.rcv_wup <= seq + seg.room or seq + seg.room > before.right_edge
        ):  # fmt: skip
            return
        if after.ts_recent != seg.tsval:
            self.fail(side, f"{seg}: its timestamp is {seg.tsval}, and TS.Recent stays {after.ts_recent}", after)


class ChecksumsHold(Oracle):
    """A packet with a wrong checksum changes nothing."""

    section = "RFC 9293 section 3.1, MUST-2 and MUST-3"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if cause == "noise" and before is not None and before != after:
            assert after is not None
            changed = [name for name in before._fields if getattr(before, name) != getattr(after, name)]
            self.fail(side, f"a damaged packet changed {', '.join(changed)}", after)


class NegotiatedOptions(Oracle):
    """Timestamps, SACK and ECN are used only when both SYNs (as this end saw them) offered them; timestamps then are on
    every segment but RST. No segment is larger than the peer's MSS (536, or 1220 of IPv6, where it named none), less
    its own options. Exception: a SYN cookie keeps no MSS below that (Linux).
    """

    section = "RFC 7323 section 3.2; RFC 2018 section 2; RFC 3168 section 6.1.1; RFC 9293 section 3.7.1, MUST-14 to 16"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if seg.flags & (SYN | RST) or flow.got_syn is None or flow.sent_syn is None:
            return
        if seg.options & HAS_SACK and not flow.sack:
            self.fail(side, f"{seg} has SACK blocks, and SACK was not agreed on", state)
        stamped = bool(seg.options & HAS_TIMESTAMP)
        if stamped and not flow.timestamps:
            self.fail(side, f"{seg} has a timestamp, and none were agreed on", state)
        if not stamped and flow.timestamps and state is not None and state.state in SYNCHRONIZED:
            self.fail(side, f"{seg} has no timestamp", state)
        options = 12 * stamped + (4 + 8 * len(seg.sack) if seg.sack else 0)
        usual = 536 if side.version == 4 else 1220
        mss = flow.got_syn.mss or usual
        most = (max(mss, usual) if side.stack.counters.tcpext.SyncookiesSent else mss) - options
        if seg.size > max(most, 48):
            self.fail(side, f"{seg} is of segments of {seg.size} bytes; the peer takes {most}", state)
        if seg.ecn and not (flow.got_syn.flags & ECE):
            self.fail(side, f"{seg} is ECN-capable, and ECN was not agreed on", state)


class EcnEcho(Oracle):
    """With ECN agreed on: a mark on data is echoed by ECE on every acknowledgment until CWR comes, and no longer;
    retransmissions and pure acknowledgments are not ECN-capable.
    """

    section = "RFC 3168 sections 6.1.3, 6.1.4 and 6.1.5"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.echo: dict[str, bool] = {"a": False, "b": False}
        self.may: dict[str, bool] = {"a": False, "b": False}  # a mark came since the last CWR that was taken

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if seg.flags & CWR:
            self.echo[side.name] = False
        if seg.ecn == 3:
            self.may[side.name] = True

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if seg is None or before is None or after is None or not after.ecn_ok:
            return
        taken = after.rcv_nxt > before.rcv_nxt or after.out_of_order != before.out_of_order
        if seg.flags & CWR and not seg.flags & SYN and taken and seg.ecn != 3:
            self.may[side.name] = False
        if seg.ecn == 3 and seg.length and taken:
            self.echo[side.name] = True

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not state.ecn_ok or seg.flags & (SYN | RST) or state.state not in SYNCHRONIZED:
            return
        if seg.ecn and not seg.length:
            self.fail(side, f"{seg} is a pure acknowledgment, and ECN-capable", state)
        if seg.ecn and side.flow.seq_out(seg.seq) + seg.length <= side.flow.nxt:
            self.fail(side, f"{seg} is a retransmission, and ECN-capable", state)
        if self.echo[side.name] and seg.flags & ACK and not seg.flags & ECE:
            self.fail(side, f"{seg} does not echo the congestion mark", state)
        if seg.flags & ECE and not self.may[side.name]:
            self.fail(side, f"{seg} echoes a congestion mark that did not come, or was answered by CWR", state)
