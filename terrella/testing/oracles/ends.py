"""How a connection ends when nobody answers, or nobody holds it any more: no sooner than it should, and no later."""

from __future__ import annotations

from terrella.testing import probe
from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.timers import CLOSED, MS, PERSIST, RETRANSMIT, SECOND, SYNCHRONIZED
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, FIN, RST, SYN, Segment

FIN_WAIT_2, RECOVERY = 5, 3
ORPHAN_RETRIES = 8  # as Linux has it where tcp_orphan_retries is 0


def so_many_timeouts(count: int, least_ns: int, most_ns: int) -> int:
    """How long so many timeouts and the one after them last, each twice the one before, up to the greatest."""
    total, rto = 0, least_ns
    for _ in range(count + 1):
        total += rto
        rto = min(2 * rto, most_ns)
    return total


class GivesUp(Oracle):
    """A connection is given up for want of an answer not before, and at the first timeout after, so long a time: R2,
    what tcp_retries2 (924 s of 15) timeouts would last, or TCP_USER_TIMEOUT; for one that nobody holds any more, what
    tcp_orphan_retries (8, 102 s) would, and at once when RTO is at its greatest. It counts from when the first
    unacknowledged segment was first sent, at the latest from when it was first sent again; while a closed window is
    probed, from when the peer was last heard (no sooner than 100 s).
    """

    section = "RFC 9293 section 3.8.3, MUST-20, MUST-21 and SHLD-11, and 3.8.6.1, MUST-37; RFC 5482; tcp(7)"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.heard: dict[str, int] = {"a": 0, "b": 0}
        self.out: dict[str, int] = {"a": 0, "b": 0}  # when SND.UNA was last moved, or the first segment sent
        self.again: dict[str, int] = {"a": 0, "b": 0}  # when it timed out first

    def arrives(self, side: Side, seg: Segment, before: State | None) -> None:
        self.heard[side.name] = self.pair.now

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if before is None or after is None:
            return
        name, now = side.name, self.pair.now
        moved = after.snd_una != before.snd_una and after.phase < RECOVERY and after.undos == before.undos
        if moved or not before.packets_out:
            self.out[name] = now  # (in a recovery, and after an undo, Linux goes on counting from where it began)
        if after.retransmits and not before.retransmits:
            self.again[name] = now
        if cause != "timer" or before.state not in SYNCHRONIZED or before.timer not in (RETRANSMIT, PERSIST):
            return
        settings = side.stack.settings
        most = settings.tcp_rto_max_ms * MS
        closed = side.closed
        limit = before.user_timeout_ms * MS
        if not limit:
            count = settings.tcp_retries2
            if closed:
                count = settings.tcp_orphan_retries or (ORPHAN_RETRIES if before.rto_ns < most else 0)
            limit = so_many_timeouts(count, settings.tcp_rto_min_us * 1000, most)
        if before.timer == RETRANSMIT and after.retransmits > before.retransmits > 0 and (before.snd_wnd or closed):
            waited = now - self.again[name]
            if waited > limit + MS:
                self.fail(side, f"still not given up after {waited / 1e9:.3f} s, of {limit / 1e9:.3f}", before)
        if after.state != CLOSED or not probe.gave_up(side.stack):
            return
        hinted = closed and side.hinted and before.rto_ns >= most
        if before.timer == PERSIST or not before.snd_wnd:
            if before.user_timeout_ms:
                return
            waited = now - min(self.heard[name], self.out[name])
            limit = min(limit, 100 * SECOND) if not closed else 0
        else:
            waited = now - self.out[name]
        if waited < limit - MS and not hinted:
            self.fail(side, f"given up after {waited / 1e9:.3f} s, of {limit / 1e9:.3f}", before)


class FinWait2(Oracle):
    """FIN-WAIT-2 of a socket that nobody holds any more lasts tcp_fin_timeout, 60 s (or three and a half RTOs where
    that is more), and no longer: the peer may never end its stream. One with TCP_LINGER2 is not looked at.
    """

    section = "RFC 9293 section 3.6; tcp(7), tcp_fin_timeout; RFC 1122 section 4.2.2.13"

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if before is None or after is None or side.sock is None or not side.sock.closed or side.lingered:
            return
        now = self.pair.now
        if cause == "timer" and before.state == FIN_WAIT_2 and after.state == CLOSED and now < before.fin_wait_ns:
            early = (before.fin_wait_ns - now) / 1e6
            self.fail(side, f"FIN-WAIT-2 ended {early:.3f} ms early", before)
        if after.state != FIN_WAIT_2 or (before.state == FIN_WAIT_2 and before.fin_wait_ns):
            return
        lasts = after.fin_wait_ns - now
        due = max(side.stack.settings.tcp_fin_timeout * SECOND, after.rto_ns * 7 // 2)
        if not due - MS <= lasts <= due + MS:
            self.fail(side, f"nobody holds it, and FIN-WAIT-2 lasts {lasts / 1e9:.3f} s, not {due / 1e9:.3f}", after)


class TimeWaitLength(Oracle):
    """TIME-WAIT lasts 2 MSL (a minute, as in Linux) from the last that came of the peer's FIN, neither less nor more.
    Exceptions: a RST (RFC 1337, as in Linux) and a SYN that begins anew (RFC 6191) end it.
    """

    section = "RFC 9293 sections 3.4.2, 3.6.1, MUST-13, and 3.10.7.4"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.until: dict[str, int | None] = {"a": None, "b": None}

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name, now = side.name, self.pair.now
        earlier = self.until[name]
        until = self.until[name] = probe.time_wait(side.stack, side.key)
        if until is None:
            ended = seg is not None and seg.flags & (RST | SYN)
            if earlier is not None and now < earlier and not ended:
                self.fail(side, f"TIME-WAIT ended {(earlier - now) / 1e9:.3f} s early")
            return
        again = seg is not None and seg.flags & (FIN | ACK | SYN | RST) == FIN | ACK
        whole = side.stack.settings.tcp_timewait_len_ms * MS
        if (earlier is None or again) and until != now + whole:
            self.fail(side, f"TIME-WAIT lasts {(until - now) / 1e9:.3f} s more")
        if until > now + whole or now > until:
            self.fail(side, f"TIME-WAIT was to end in {(until - now) / 1e9:.3f} s")
