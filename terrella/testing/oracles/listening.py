"""What a listener does with those who call: the SYN queue, SYN cookies, the accept queue."""

from __future__ import annotations

from terrella.testing import probe
from terrella.testing.oracles.base import Oracle
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.strangers import Stranger
from terrella.testing.wire import ACK, RST, SYN, Segment

MS = 1_000_000
COOKIE_LASTS = 60_000 * MS


class Asked:
    """A SYN that was answered and is remembered: until when the next SYN-ACK is due, how many came again by the timer,
    when one was last provoked."""

    __slots__ = ("again", "due", "isn", "provoked")

    def __init__(self, isn: int, due: int) -> None:
        self.isn, self.due, self.again, self.provoked = isn, due, 0, -1 << 60


class SynQueue(Oracle):
    """A SYN is answered at once by a SYN-ACK that acknowledges it, and remembered: the SYN-ACK comes again after one
    second, two, four, up to tcp_synack_retries times, with the same number, and once more for each copy of the SYN (one
    in tcp_invalid_ratelimit); then the SYN is forgotten. When more than the backlog wait so, what comes after them is
    answered by a cookie, which is not remembered, or where there are none not at all; when more than the backlog wait
    for accept(2), nothing is answered, and the last ACK of a handshake is not taken. The ACK of a SYN-ACK makes a
    connection (that of a cookie for a minute at least, and not after three), the same again no other; any other ACK is
    answered by RST and makes none; a RST at RCV.NXT ends the attempt, any other is challenged. accept(2) gives
    connections in the order in which they came to be.
    """

    section = "RFC 9293 sections 3.10.7.2 and 3.10.7.4; RFC 4987 section 3; RFC 5961 section 3.2; listen(2); tcp(7)"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.half: dict[str, dict[int, Asked]] = {"a": {}, "b": {}}
        self.cookies: dict[str, dict[int, tuple[int, int]]] = {"a": {}, "b": {}}  # by port, the last one's number, when
        self.ready: dict[str, list[int]] = {"a": [], "b": []}  # ports of connections not accepted
        self.dead: dict[str, set[int]] = {"a": set(), "b": set()}  # of these, the ones that were reset
        self.answers: list[tuple[Stranger, Segment]] = []  # in the event under way
        self.call: tuple[str, Stranger] | None = None  # likewise
        self.before = (0, 0)

    def _waits(self, side: Side) -> tuple[int, int]:
        """How many are half open, and how many wait for accept, the pair's own connection counted."""
        own = 1 if probe.asked(side.stack, side.key) else 0
        c = side.connection()
        unaccepted = 1 if not side.connected and c is not None and probe.unaccepted(c) else 0
        return len(self.half[side.name]) + own, len(self.ready[side.name]) + unaccepted

    def calls(self, side: Side, kind: str, stranger: Stranger) -> None:
        self._forget(side)
        self.call = (kind, stranger)
        self.before = self._waits(side)

    def answered(self, side: Side, stranger: Stranger, seg: Segment) -> None:
        self.answers.append((stranger, seg))

    def accepted(self, side: Side, stranger: Stranger) -> None:
        ready = self.ready[side.name]
        if stranger.port not in ready:
            self.fail(side, f"accept gives a connection of port {stranger.port}, which has none that was not accepted")
        if ready[0] != stranger.port:
            self.fail(side, f"accept gives the connection of port {stranger.port} before that of {ready[0]}")
        ready.remove(stranger.port)
        if stranger.port not in ready:
            self.dead[side.name].discard(stranger.port)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        answers, self.answers = self.answers, []
        call, self.call = self.call, None
        name = side.name
        if not side.listening or self.pair.over:
            self.half[name].clear()
            self.cookies[name].clear()
            return
        if call is not None:
            self._judged(side, *call, [answer for _, answer in answers])
        else:
            for stranger, answer in answers:
                self._again(side, stranger, answer)
        self._forget(side)

    def _forget(self, side: Side) -> None:
        """What was due has come; what has waited long enough is forgotten."""
        half, now = self.half[side.name], self.pair.now
        for port, asked in list(half.items()):
            if asked.again >= side.stack.settings.tcp_synack_retries and now >= asked.due:
                del half[port]
            elif now > asked.due + MS:
                late = (now - asked.due) / 1e6
                self.fail(side, f"the SYN-ACK for port {port} should have come again {late:.3f} ms ago")

    def _timeout(self, side: Side, times: int) -> int:
        settings = side.stack.settings
        return int(min(settings.tcp_timeout_init_ms * MS << times, settings.tcp_rto_max_ms * MS))

    def _again(self, side: Side, stranger: Stranger, seg: Segment) -> None:
        """Sent to a stranger by a timer, or a call."""
        asked, now = self.half[side.name].get(stranger.port), self.pair.now
        if not seg.flags & SYN:
            return  # (of a connection that is there)
        if asked is None or abs(now - asked.due) > MS or asked.again >= side.stack.settings.tcp_synack_retries:
            self.fail(side, f"{seg} for port {stranger.port}, and no SYN-ACK is due")
        if seg.seq != asked.isn:
            self.fail(side, f"{seg} for port {stranger.port} begins elsewhere than the SYN-ACK before it")
        asked.again += 1
        asked.due = now + self._timeout(side, asked.again)

    def _judged(self, side: Side, kind: str, stranger: Stranger, answers: list[Segment]) -> None:
        name, port = side.name, stranger.port
        asked = self.half[name].get(port)
        if port in self.ready[name] and port not in self.dead[name]:
            if kind == "rst":
                self.dead[name].add(port)
            if any(answer.flags & SYN for answer in answers):
                self.fail(side, f"port {port} has a connection, and {kind} is answered by {answers}")
            return
        if kind == "syn":
            self._syn(side, stranger, asked, answers)
        elif kind == "ack":
            self._ack(side, stranger, asked, answers)
        elif kind == "ack-wrong":
            if not self._refused(answers):
                self.fail(side, f"an ACK of what was not sent, of port {port}, is answered by {answers}")
        elif kind == "rst" or asked is None:
            if answers:
                self.fail(side, f"a RST of port {port} is answered by {answers}")
            self.half[name].pop(port, None)
        elif any(answer.flags & (RST | SYN) for answer in answers):
            self.fail(side, f"a RST that is not at RCV.NXT, of port {port}, is answered by {answers}")
        elif answers:
            asked.provoked = self.pair.now  # (all answers share the limit)

    def _refused(self, answers: list[Segment]) -> bool:
        return len(answers) == 1 and bool(answers[0].flags & RST)

    def _syn(self, side: Side, stranger: Stranger, asked: Asked | None, answers: list[Segment]) -> None:
        name, port, now, settings = side.name, stranger.port, self.pair.now, side.stack.settings
        waiting, unaccepted = self.before
        good = [a for a in answers if a.flags & (SYN | ACK | RST) == SYN | ACK and a.ack == stranger.iss + 1]
        if len(good) != len(answers) or len(good) > 1:
            self.fail(side, f"a SYN of port {port} is answered by {answers}")
        if asked is not None:
            limited = now - asked.provoked < settings.tcp_invalid_ratelimit * MS
            if (good and good[0].seq != asked.isn) or bool(good) == limited:
                self.fail(side, f"a SYN of port {port} again, {(now - asked.provoked) / 1e6} ms after another: {good}")
            if good:
                asked.provoked, asked.due = now, now + self._timeout(side, asked.again)
            return
        backlog = side.backlog
        full = unaccepted > backlog
        many = waiting > backlog
        due = not full and not (many and not settings.tcp_syncookies)
        if bool(good) != due:
            told = f"{waiting} wait half open, {unaccepted} for accept, and the backlog is {backlog}"
            self.fail(side, f"a SYN of port {port} is{'' if good else ' not'} answered: {told}")
        if not good:
            return
        if settings.tcp_syncookies == 2 or many:
            self.cookies[name][port] = (good[0].seq, now)
        else:
            self.half[name][port] = Asked(good[0].seq, now + self._timeout(side, 0))

    def _ack(self, side: Side, stranger: Stranger, asked: Asked | None, answers: list[Segment]) -> None:
        name, port = side.name, stranger.port
        cookie, at = self.cookies[name].get(port, (-1, 0))
        age, refused = self.pair.now - at, self._refused(answers)
        if asked is None and cookie == stranger.isn >= 0 and age > COOKIE_LASTS:
            if not refused and age > 3 * COOKIE_LASTS:
                self.fail(side, f"a cookie of {age / 1e9:.1f} s ago, of port {port}, is answered by {answers}")
            if refused:
                return  # it counts minutes: of the second and third nobody but it knows
        elif stranger.isn < 0 or (asked is None and cookie != stranger.isn):
            if not refused:
                self.fail(side, f"an ACK of port {port}, to which no SYN-ACK was sent, is answered by {answers}")
            return
        if any(answer.flags & (RST | SYN) for answer in answers):
            self.fail(side, f"the ACK of port {port}, which ends its handshake, is answered by {answers}")
        if self.before[1] <= side.backlog:
            self.half[name].pop(port, None)
            self.dead[name].discard(port)
            self.ready[name].append(port)
