"""The retransmission timer, and that something is always armed when something is owed."""

from __future__ import annotations

from terrella.testing import probe
from terrella.testing.links import Link, ShiftSequence
from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import OTHER, Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import SYN, Segment

MS = 1_000_000
SECOND = 1_000_000_000
ESTABLISHED, SYN_SENT, SYN_RECEIVED, CLOSED = 1, 2, 3, 7
NONE, RETRANSMIT, PROBE, REORDER, PERSIST = range(5)
LOSS = 4
SYNCHRONIZED = (1, 4, 5, 6, 8, 9, 11)


def nonsense(link: Link) -> bool:
    """Whether SACK blocks name other segments than the receiver meant: a firewall renumbers, and leaves them."""
    boxes = link.a_to_b.boxes + link.b_to_a.boxes
    return any(isinstance(box, ShiftSequence) and not box.sack for box in boxes)


class RtoBounds(Oracle):
    """RTO is one second before there is a measurement (2.1; three after a lost SYN, 5.7), else at least SRTT and the
    minimum (2.4; 200 ms as Linux has it), at most 120 s (2.5). SRTT is no less than the fastest round trip the wire
    allowed: an acknowledgment of a retransmission taken for one of the original would say otherwise (Karn, section 3).
    A measurement ends all backoff, and RTO then is at least SRTT and what that measurement deviates from the SRTT of
    before, and at most SRTT and the minimum, or four times the greatest deviation so far (of the first measurement,
    half of it). What RTO is beyond SRTT decays by a quarter of its distance to the deviations of late, at most (2.3):
    as Linux has it, once in a round trip at most, and in three round trips once at least.
    """

    section = "RFC 6298 sections 2, 3 and 5"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.deviation: dict[str, int] = {"a": 0, "b": 0}  # the greatest so far, us
        self.decay = {"a": Decay(), "b": Decay()}

    def _measured(self, side: Side, before: State, after: State) -> None:
        """SRTT says what the measurement was: it moves by an eighth of the difference."""
        settings, name = side.stack.settings, side.name
        late = after.srtt_us - before.srtt_us
        self.deviation[name] = max(self.deviation[name], abs(late))
        if after.backoff:
            self.fail(side, f"a new measurement, and RTO is {after.rto_ns / 1e6:.3f} ms, still backed off", after)
        greatest = settings.tcp_rto_max_ms * MS
        least = min(((after.srtt_us >> 3) + late) * 1000, greatest)
        most = (after.srtt_us >> 3) * 1000 + max(settings.tcp_rto_min_us, 4 * self.deviation[name]) * 1000 + 2 * MS
        if not least - MS <= after.rto_ns <= max(most, least):
            told = f"{least / 1e6:.3f} to {most / 1e6:.3f} ms"
            self.fail(side, f"RTO is {after.rto_ns / 1e6:.3f} ms, and by what was measured {told}", after)
        self._decayed(side, late, before, after)

    def _decayed(self, side: Side, late: int, before: State, after: State) -> None:
        settings = side.stack.settings
        wrong = self.decay[side.name].judged(late, before, after, settings.tcp_rto_min_us)
        if wrong and max(before.rto_ns, after.rto_ns) < settings.tcp_rto_max_ms * MS:
            self.fail(side, wrong, after)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if after is None or after.state == CLOSED:
            return
        settings, link = side.stack.settings, self.pair.link
        if after.rto_ns > settings.tcp_rto_max_ms * MS:
            self.fail(side, f"RTO is {after.rto_ns / 1e9:.3f} s", after)
        if not after.srtt_us:
            first = settings.tcp_timeout_init_ms * MS
            if after.rto_ns < first or (after.rto_ns > 3 * first and after.state == SYN_SENT and not after.backoff):
                self.fail(side, f"RTO is {after.rto_ns / 1e6:.3f} ms without a measurement", after)
            return
        if before is None or not before.srtt_us:
            self.deviation[side.name] = (after.srtt_us >> 3) // 2 + 1
            self.decay[side.name].begin(after)
        elif before.srtt_us != after.srtt_us and cause == "arrival":
            self._measured(side, before, after)
        elif before.rto_ns != after.rto_ns and cause == "arrival" and not after.backoff:
            self._decayed(side, 0, before, after)  # a measurement that was SRTT
        least = min((after.srtt_us >> 3) * 1000 + settings.tcp_rto_min_us * 1000, settings.tcp_rto_max_ms * MS)
        if after.rto_ns < least:
            self.fail(side, f"RTO is {after.rto_ns / 1e6:.3f} ms, below SRTT + the minimum", after)
        if nonsense(link):
            return  # a block can be for what was sent a moment ago
        fastest = link.a_to_b.delay_ns + link.b_to_a.delay_ns
        for way in (link.a_to_b, link.b_to_a):
            fastest -= way.jitter_ns if not way.reorder else way.delay_ns
        # Timestamps count whole milliseconds.
        if (after.srtt_us >> 3) * 1000 < fastest - 1 * MS - 1000:
            self.fail(side, f"SRTT is {after.srtt_us >> 3} us, but a round trip takes {fastest // 1000} us", after)


class Decay:
    """How 4 * RTTVAR, which is RTO less SRTT, comes down (us). The mean deviation is no more than `mdev`: what left
    SRTT as it was is not seen, and would only lower it."""

    __slots__ = ("fell", "highest", "mdev", "rounds", "rttvar", "until", "value")

    def __init__(self) -> None:
        self.value = self.mdev = self.highest = self.rttvar = self.until = self.rounds = 0
        self.fell = -1  # SND.NXT when it last fell

    def begin(self, state: State) -> None:
        srtt = state.srtt_us >> 3
        self.mdev = self.highest = max(2 * srtt + 2, state.rto_ns // 1000 - srtt)
        self.value = self.rounds = self.rttvar = 0
        self.until, self.fell = state.snd_nxt, -1

    def judged(self, late: int, before: State, after: State, least: int) -> str:
        """A measurement deviated by so much: what is wrong with RTTVAR now, or nothing."""
        deviation = abs(late) - (self.mdev >> 2)
        self.mdev += deviation >> 3 if late < 0 < deviation else deviation
        self.highest = max(self.highest, self.mdev, least)
        now = after.rto_ns // 1000 - (after.srtt_us >> 3)
        was, self.value = self.value, now
        if now < was - 1 and was:
            if now < was - ((was - least) >> 2) - 2:
                return f"4 * RTTVAR fell from {was} to {now} us, by more than a quarter of what is above the minimum"
            if before.snd_una <= self.fell and after.snd_una <= self.fell:
                return f"4 * RTTVAR fell from {was} to {now} us, for the second time in a round trip"
            self.fell = before.snd_nxt
        if after.snd_una > self.until:
            self.rounds += 1
            self.until = after.snd_nxt
            if self.rounds >= 3:
                most = max(self.highest, self.rttvar - ((self.rttvar - self.highest) >> 2))
                if now > most + 2:
                    return f"4 * RTTVAR is {now} us, was {self.rttvar} three round trips ago, and should be {most}"
                self.rounds = 0
            if not self.rounds:
                self.rttvar, self.highest = now, max(self.mdev, least)
        return ""


class RetransmissionTimeout(Oracle):
    """A timeout comes no sooner than RTO after the first unacknowledged segment was first sent, or timed out before
    (5.1; a fast retransmission need not restart the timer); and it doubles the RTO (5.5), up to the greatest: for
    SYNs after those that Linux sends linearly.
    """

    section = "RFC 6298 sections 5.1 to 5.6; RFC 9293 section 3.8.1"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.first: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}  # (end, when first sent)
        self.least: dict[str, int] = {"a": 0, "b": 0}  # the smallest RTO since SND.UNA came to be
        self.timeout: dict[str, tuple[int, int]] = {"a": (-1, 0), "b": (-1, 0)}  # SND.UNA and time of the last

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if not seg.room or (flow.iss is None and not seg.flags & SYN):
            return
        end = 1 if seg.flags & SYN else flow.seq_out(seg.seq) + seg.room
        first = self.first[side.name]
        if not first or end > first[-1][0]:
            first.append((end, self.pair.now))

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        if before is None or after is None or after.state == CLOSED:
            return
        first = self.first[name]
        while first and first[0][0] <= after.snd_una - after.iss:
            del first[0]
        if cause == "timer" and after.retransmits > before.retransmits:
            settings = side.stack.settings
            self._early(side, after)
            linear = before.state == SYN_SENT and after.retransmits <= settings.tcp_syn_linear_timeouts
            doubled = min(2 * before.rto_ns, settings.tcp_rto_max_ms * MS)
            if after.rto_ns != doubled and not linear and not before.user_timeout_ms:
                self.fail(side, f"RTO went from {before.rto_ns / 1e6} to {after.rto_ns / 1e6} ms at a timeout", after)
            self.timeout[name] = (after.snd_una, self.pair.now)
            self.least[name] = after.rto_ns
        elif after.snd_una != before.snd_una or not before.packets_out:
            self.least[name] = after.rto_ns
        else:
            self.least[name] = min(self.least[name] or after.rto_ns, after.rto_ns)

    def _early(self, side: Side, after: State) -> None:
        other = self.pair.sides[OTHER[side.name]]
        if side.reneged or other.reneged or other.stack.counters.tcpext.OfoPruned or not self.first[side.name]:
            return  # the receiver forgot what it had SACKed (perhaps for want of memory): no need to wait
        if nonsense(self.pair.link):
            return  # and can look as if it had
        una, at = self.timeout[side.name]
        began = max(self.first[side.name][0][1], at if una == after.snd_una else 0)
        since = self.pair.now - began
        if since < self.least[side.name] - 1000:
            self.fail(side, f"a timeout {since / 1e6:.3f} ms after the segment was sent", after)


class PersistTimer(Oracle):
    """A closed window is first probed after an RTO, and then each time after twice as long, up to the greatest RTO,
    for as long as it stays closed.
    """

    section = "RFC 9293 section 3.8.6.1, SHLD-29 and SHLD-30"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.last: dict[str, tuple[int, int, int]] = {"a": (-1, 0, 0), "b": (-1, 0, 0)}  # SND.NXT, SND.WND, interval

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if before is None or after is None or after.timer != PERSIST or after.user_timeout_ms:
            return
        due = after.timer_at - self.pair.now
        least = min(after.rto_ns, side.stack.settings.tcp_rto_max_ms * MS)
        if before.timer != PERSIST and due < least - MS:
            self.fail(side, f"a probe is due in {due / 1e6:.3f} ms, sooner than RTO", after)
        greatest = side.stack.settings.tcp_rto_max_ms * MS
        most = min(max(after.rto_ns, side.stack.settings.tcp_rto_min_us * 1000) << min(after.backoff, 30), greatest)
        if before.timer != PERSIST and due > most + MS and not after.pacing_most:
            self.fail(side, f"a probe is due in {due / 1e6:.3f} ms, later than RTO says", after)
        if cause != "timer" or before.timer != PERSIST or before.timer_at > self.pair.now:
            return
        where, window, interval = self.last[side.name]
        if (where, window) == (after.snd_nxt, after.snd_wnd):
            least = min(2 * interval, side.stack.settings.tcp_rto_max_ms * MS)
            if due < least - MS:
                self.fail(side, f"probes every {interval / 1e6:.3f} ms, and the next in {due / 1e6:.3f} ms", after)
            if due > max(2 * interval, after.rto_ns) + MS and not after.pacing_most:
                self.fail(side, f"a probe after {interval / 1e6:.3f} ms, and the next in {due / 1e6:.3f} ms", after)
        self.last[side.name] = (after.snd_nxt, after.snd_wnd, due)


class NoDeadlock(Oracle):
    """What is owed is on a timer: data out has the retransmission timer (or a probe's, or RACK's, that stands
    in for it); data that a closed window holds back has the persist timer. No deadline lies in the past (but that of
    keepalive, where a call has set it there: TCP_KEEPIDLE may name a moment that is over, and is met in this one), and
    the stack's own next deadline is no later than the connection's.
    """

    section = "RFC 6298 (5.1); RFC 9293 section 3.8.6.1, MUST-36; RFC 8985 section 7.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.called: dict[str, int] = {"a": -1, "b": -1}  # when a call set keepalive's deadline in the past

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if after is None or after.state == CLOSED:
            return
        if after.packets_out and after.timer not in (RETRANSMIT, PROBE, REORDER):
            self.fail(side, "data is out and no timer is armed", after)
        if (
            not after.packets_out and after.write_seq > after.snd_nxt and after.timer != PERSIST
            and after.state not in (SYN_SENT, SYN_RECEIVED)
        ):  # fmt: skip
            self.fail(side, f"{after.write_seq - after.snd_nxt} bytes wait, nothing is out and nothing is armed", after)
        due = probe.deadlines(side.connection())
        if not due:
            if after.timer:
                self.fail(side, "a timer without a time", after)
            return
        first = min(due)
        now = self.pair.now
        if cause == "call" and 0 < after.keepalive_ns < now:
            self.called[side.name] = now
        excused = after.keepalive_ns if self.called[side.name] == now else 0
        for at in due:
            if at < now and at != excused:
                self.fail(side, f"a deadline {(now - at) / 1e6:.3f} ms ago was not met", after)
        stack = side.stack.next_deadline()
        if stack is None or stack > first:
            self.fail(side, f"the stack will not wake at {first / 1e6:.3f} ms, when the connection must act", after)
