"""Probes: of a tail that may be lost, and of a peer that has been silent."""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.congestion import BETA, CWR, OPEN, both
from terrella.testing.oracles.sender import is_new, probe_due
from terrella.testing.oracles.timers import PROBE, REORDER, RETRANSMIT
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, MASK, RST, SYN, Segment

MS = 1_000_000
SECOND = 1_000_000_000
CLOSED = 7
TALKING = (1, 8)  # ESTABLISHED, CLOSE-WAIT


class LossProbe(Oracle):
    """With SACK, and nothing amiss, an acknowledgment that leaves data out arms the timer of a tail loss probe, no
    sooner and no later than two round trips hence (and what one segment alone may be delayed), or the RTO (of the
    first segment, where others are sent now); one probe is out at a time. Where an acknowledgment beyond it tells of
    no duplicate, the probe that was a retransmission has repaired a loss: cwnd is reduced for it.
    """

    section = "RFC 8985 sections 7.2 to 7.4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.again: dict[str, bool] = {"a": False, "b": False}  # whether the probe that is out was a retransmission
        self.burst: dict[str, bool] = {"a": False, "b": False}  # something was sent in the event under way
        self.sending: dict[str, bool] = {"a": False, "b": False}
        self.told: dict[str, bool] = {"a": False, "b": False}  # of a duplicate, since

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        self.burst[side.name] |= bool(seg.room)
        if state is None or not seg.length or seg.flags & SYN or side.flow.iss is None:
            return
        if self.pair.cause != "timer" or not probe_due(state, self.pair.now):
            return
        if state.probe_out and not self.sending[side.name]:
            self.fail(side, f"{seg} is a second probe, and nothing was heard since the first", state)
        self.sending[side.name], self.told[side.name] = True, False
        self.again[side.name] = not is_new(side, seg)

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        if len(seg.sack) > 1 or (seg.sack and 0 < (seg.ack - seg.sack[0][0]) & MASK < 1 << 31):
            self.told[side.name] = True

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        burst, self.burst[side.name], self.sending[side.name] = self.burst[side.name], False, False
        if not both(before, after) or cause != "arrival":
            return
        assert before is not None and after is not None
        if after.snd_una > before.snd_una and after.undos == before.undos:
            self._armed(side, after, burst)
            if before.probe_out and not after.probe_out and after.snd_una > before.probe_out:
                self._repaired(side, before, after)

    def _armed(self, side: Side, after: State, burst: bool) -> None:
        if (
            not after.packets_out or after.phase != OPEN or not after.sack_ok or after.probe_out
            or side.stack.settings.tcp_early_retrans not in (3, 4) or after.timer == REORDER or after.head_sacked
        ):  # fmt: skip
            return
        if after.timer != PROBE:
            self.fail(side, "data is out, and no loss probe is to come", after)
        due = after.timer_at - self.pair.now
        if not burst and due < min((after.srtt_us >> 2) * 1000, after.rto_ns) - 2 * MS:
            self.fail(side, f"a loss probe is due in {due / 1e6:.3f} ms, sooner than two round trips", after)
        wait = side.stack.settings.tcp_rto_min_us * 1000 if burst or after.packets_out == 1 else 2 * MS
        if after.srtt_us and due > (after.srtt_us >> 2) * 1000 + wait + MS and not after.pacing_most:
            self.fail(side, f"a loss probe is due in {due / 1e6:.3f} ms, later than after two round trips", after)

    def _repaired(self, side: Side, before: State, after: State) -> None:
        if not self.again[side.name] or self.told[side.name] or before.phase >= CWR or after.phase >= CWR:
            return
        if after.congestion in BETA and after.ssthresh >= max(3, before.cwnd):
            self.fail(side, "a loss probe repaired a loss, and ssthresh stays as it was", after)


class RestartsTimer(Oracle):
    """The retransmission timer is set to no more than RTO, and is only put off when something new is acknowledged,
    or SACKed, or sent: not by what just happens to arrive.
    """

    section = "RFC 6298 sections 5.1 to 5.3"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.burst: dict[str, bool] = {"a": False, "b": False}

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        self.burst[side.name] |= bool(seg.room)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        burst, self.burst[side.name] = self.burst[side.name], False
        if not both(before, after):
            return
        assert before is not None and after is not None
        most = self.pair.now + max(before.rto_ns, after.rto_ns) + MS
        set_now = after.timer == RETRANSMIT and (before.timer, before.timer_at) != (RETRANSMIT, after.timer_at)
        if set_now and after.timer_at > most and not after.pacing_most:
            late = (after.timer_at - self.pair.now) / 1e6
            self.fail(side, f"the retransmission timer expires in {late:.3f} ms", after)
        if (
            cause == "arrival" and before.timer == after.timer == RETRANSMIT and not burst
            and after.snd_una == before.snd_una and after.sacked_out == before.sacked_out
            and after.lost_out == before.lost_out and after.timer_at > before.timer_at
            and after.undos == before.undos and after.phase == before.phase
        ):  # fmt: skip
            later = (after.timer_at - before.timer_at) / 1e6
            self.fail(side, f"{seg} acknowledges nothing new, and puts the timer off by {later:.3f} ms", after)


class KeepAlive(Oracle):
    """With SO_KEEPALIVE a peer that has said nothing for as long as TCP_KEEPIDLE is asked by a segment below SND.NXT
    (not sooner, and only where nothing else is out), and again after each TCP_KEEPINTVL; after TCP_KEEPCNT of them
    without an answer the connection is reset, and not before. What brings nothing new (a window probe) may count as
    heard, and need not: Linux does not take each for an ACK.
    """

    section = "RFC 9293 section 3.8.4, MUST-24 to 28; tcp(7)"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.heard: dict[str, int] = {"a": 0, "b": 0}
        self.asked: dict[str, int] = {"a": 0, "b": 0}  # probes since
        self.total: dict[str, int] = {"a": 0, "b": 0}  # the same, since something new came
        self.at: dict[str, int] = {"a": 0, "b": 0}  # the last one, or what else put it off
        self.probed: dict[str, bool] = {"a": False, "b": False}  # in the event under way
        self.reset: dict[str, bool] = {"a": False, "b": False}
        self.values: dict[str, tuple[int, int, int]] = {"a": (0, 0, 0), "b": (0, 0, 0)}

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        self.at[side.name] = self.pair.now
        self.asked[side.name] = 0

    def judged(self, name: str, state: State) -> bool:
        """Whether the count is what decides: it has not changed in the meantime, and TCP_USER_TIMEOUT is not set."""
        return state.keepalive == self.values[name] and not state.user_timeout_ms

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if state is None or not state.keepalive[0] or state.state not in TALKING or self.pair.cause != "timer":
            return
        name = side.name
        self.reset[name] |= bool(seg.flags & RST)
        if seg.flags & RST and not state.packets_out:
            if self.total[name] < state.keepalive[2] and self.judged(name, state):
                self.fail(side, f"a silent peer is given up after {self.total[name]} probes", state)
            return
        below = side.flow.iss is not None and side.flow.seq_out(seg.seq) < state.snd_una - state.iss
        if not below or seg.room or state.packets_out or state.write_seq > state.snd_nxt or not seg.flags & ACK:
            return
        silent = self.pair.now - self.heard[name]
        if silent < state.keepalive[0] * SECOND - MS:
            self.fail(side, f"a keepalive probe, and the peer was heard {silent / 1e6:.3f} ms ago", state)
        self.asked[name] += 1
        self.total[name] += 1
        self.at[name] = self.pair.now
        self.probed[name] = True
        if self.asked[name] > state.keepalive[2] and self.judged(name, state):
            self.fail(side, f"{self.asked[name]} keepalive probes without an answer", state)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        if seg and before and after and (after.rcv_nxt > before.rcv_nxt or after.snd_una > before.snd_una):
            self.heard[name], self.total[name] = self.pair.now, 0
        probed, self.probed[name] = self.probed[name], False
        reset, self.reset[name] = self.reset[name], False
        if (
            before is not None and after is not None and cause == "timer" and before.keepalive[0] and not reset
            and before.state in TALKING and after.state == CLOSED and not before.packets_out
            and before.write_seq == before.snd_nxt
        ):  # fmt: skip
            self.fail(side, "a silent peer is given up, and not reset", before)
        if after is None or not after.keepalive[0] or after.state not in TALKING or seg is not None:
            return
        if probed and after.keepalive_ns != self.pair.now + after.keepalive[1] * SECOND:
            due = (after.keepalive_ns - self.pair.now) / 1e9
            self.fail(side, f"a keepalive probe, and the next in {due:.3f} s, not {after.keepalive[1]}", after)
        if (
            after.keepalive != self.values[name] or after.packets_out or after.write_seq > after.snd_nxt
            or before is None or before.packets_out
        ):  # fmt: skip
            self.at[name] = self.pair.now
            if not self.asked[name]:  # else they count from when the peer is heard again
                self.values[name] = after.keepalive
            return
        idle, interval, _ = after.keepalive
        silent = self.pair.now - self.at[name]
        if silent > (max(idle, interval) + 1) * SECOND:
            self.fail(side, f"nothing was heard for {silent / 1e9:.1f} s, and no probe sent", after)
