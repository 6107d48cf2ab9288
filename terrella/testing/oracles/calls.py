"""What the calls tell the application: readiness, errors, how much a read gives, urgent data, and what close does."""

from __future__ import annotations

import errno

from terrella.testing import probe
from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.stream import FIN_WAIT_1, UNREAD, said
from terrella.testing.pair import Pair, Side
from terrella.testing.probe import State
from terrella.testing.wire import ACK, HALF, MASK, RST, SYN, URG, Segment

ESTABLISHED, SYN_SENT, SYN_RECEIVED, FIN_WAIT_2, CLOSED, CLOSE_WAIT = 1, 2, 3, 5, 7, 8
TALKING = (ESTABLISHED, CLOSE_WAIT)
RECEIVING = (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2)
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLRDHUP = 1, 2, 4, 8, 16, 0x2000
ENDED = (CLOSE_WAIT, 9, 11)  # the peer's FIN has come: CLOSE-WAIT, LAST-ACK, CLOSING
CALLS = ("read(4", "recv(4")


class Readiness(Oracle):
    """poll(2) tells the truth: POLLIN where there is something to read, or the end; POLLOUT where the send buffer is
    empty, and (unless TCP_NOTSENT_LOWAT sets a limit) where data and a page for each buffer that holds some are no more
    than two thirds of SO_SNDBUF (Linux counts such overheads), and never where the next write finds no room, or the
    data alone are more than two thirds; POLLRDHUP after the peer's FIN; POLLHUP where both ways have ended, and only
    there. A read gives all there is, up to what was asked for and to the urgent mark; MSG_PEEK the same, and takes
    nothing. Whoever waits is woken.
    """

    section = "poll(2), tcp(7), recv(2); RFC 9293 section 3.9.1.3"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.before: dict[str, State | None] = {"a": None, "b": None}
        self.ready: dict[str, int] = {"a": -1, "b": -1}  # after the last event; -1: not known

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        name = side.name
        self.before[name] = before
        earlier, self.ready[name] = self.ready[name], -1
        if after is None or side.sock is None or side.sock.closed or probe.connection(side.sock) is None:
            return
        if cause == "call":
            self._called(side, before, earlier, after)
        ready = self.ready[name] = probe.readiness(side.sock)
        state = after.state
        waits = POLLIN | POLLRDHUP | POLLHUP | (POLLOUT if before is not None and before.was_full else 0)
        gained = ready & ~earlier & waits
        if before is not None and after.rcv_nxt == before.rcv_nxt:
            gained &= ~POLLIN  # for want of memory (below SO_RCVLOWAT), of which only data in order tells (Linux)
        if cause == "arrival" and gained and not side.woken and before is not None and state in TALKING:
            told = f"poll says {ready:#x} after {earlier:#x}, and who waits for {gained:#x} is not woken"
            self.fail(side, told, after)
        waiting = after.rcv_nxt - after.copied_seq - (1 if state in ENDED else 0)
        if state in (SYN_SENT, SYN_RECEIVED):
            if ready & (POLLIN | POLLOUT) and not side.shut_rd and not side.error:
                self.fail(side, f"poll says {ready:#x} before the connection is there", after)
            return
        if state == CLOSED or after.state == 6:
            if not ready & POLLHUP:
                self.fail(side, f"poll says {ready:#x}, and the connection is over", after)
            return
        over = state in ENDED or side.shut_rd
        if over and ready & (POLLIN | POLLRDHUP) != POLLIN | POLLRDHUP:
            self.fail(side, f"poll says {ready:#x}, and the stream has ended", after)
        if not over and ready & POLLRDHUP:
            self.fail(side, f"poll says {ready:#x}, and the peer has not ended its stream", after)
        silent = side.shut_wr or state not in TALKING
        if bool(ready & POLLHUP) != bool(over and silent):
            self.fail(side, f"poll says {ready:#x}; ended are: receiving {over}, sending {silent}", after)
        if ready & POLLIN and not over and waiting <= 0 and not side.sock.so_error:
            self.fail(side, "poll says POLLIN, and there is nothing to read", after)
        if waiting > 0 and side.sock.rcvlowat <= 1 and not ready & POLLIN:
            self.fail(side, f"{waiting} bytes can be read, and poll does not say POLLIN", after)
        if state in TALKING and not side.shut_wr and after.write_seq == after.snd_una and not ready & POLLOUT:
            self.fail(side, "the send buffer is empty, and poll does not say POLLOUT", after)
        if state in TALKING and not side.shut_wr:
            self._room(side, ready, after)

    def _called(self, side: Side, before: State | None, ready: int, after: State) -> None:
        text = said(side)
        if ready < 0 or before is None or before.state not in TALKING or not text.endswith("EAGAIN"):
            return
        if ready & POLLOUT and text.startswith(("write(4", "send(4")):
            self.fail(side, "poll said POLLOUT, and a write finds no room", after)
        if ready & POLLIN and text.startswith(CALLS):
            self.fail(side, "poll said POLLIN, and a read finds nothing", after)

    def _room(self, side: Side, ready: int, after: State) -> None:
        size, held = probe.send_buffer(side.sock), after.write_seq - after.snd_una
        if ready & POLLOUT and 3 * held > 2 * size:
            self.fail(side, f"poll says POLLOUT, with {held} bytes in a send buffer of {size}", after)
        buffers = after.packets_out + 1 + after.unsent // 4096
        if not ready & POLLOUT and 3 * (held + 4096 * buffers) <= 2 * size and probe.unsent_limit(side.sock) > 1 << 30:
            self.fail(side, f"{held} bytes are in a send buffer of {size}, and poll does not say POLLOUT", after)

    def got(self, side: Side, offset: int, data: bytes) -> None:
        before = self.before[side.name]
        if before is None or before.state not in RECEIVING:
            return
        left = before.rcv_nxt - before.copied_seq
        if before.urgent_at > before.copied_seq:
            left = min(left, before.urgent_at - before.copied_seq)
        most = min(left, self.pair.asked)
        if len(data) != most:
            self.fail(side, f"a read of {self.pair.asked} gives {len(data)} bytes, and {left} are there", before)
        after = side.state()
        kept = after is not None and after.copied_seq == before.copied_seq
        if said(side).startswith("recv(4") != kept:
            self.fail(side, f"{said(side)}: and {'nothing' if kept else 'all of it'} was taken", before)


class TellsErrors(Oracle):
    """Who still holds a connection is told how it ended: ECONNREFUSED by a RST in SYN-SENT, EPIPE in CLOSE-WAIT,
    ECONNRESET elsewhere, and ETIMEDOUT (or what ICMP said) where nobody answered.
    """

    section = "RFC 9293 sections 3.8.3 and 3.10.7; tcp(7), connect(2)"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.timeouts: dict[str, int] = {"a": 0, "b": 0}

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        count = side.stack.counters.tcpext.TCPAbortOnTimeout
        timed_out, self.timeouts[side.name] = count != self.timeouts[side.name], count
        if (
            before is None or after is None or side.closed or side.sock is None or before.state == CLOSED
            or after.state != CLOSED or probe.connection(side.sock) is None
        ):  # fmt: skip
            return
        error = side.sock.so_error
        if cause == "arrival" and seg is not None and seg.flags & RST:
            due = {SYN_SENT: errno.ECONNREFUSED, CLOSE_WAIT: errno.EPIPE}.get(before.state, errno.ECONNRESET)
            if error != due:
                self.fail(
                    side, f"{seg} ended the connection, and the error is {error}, not {errno.errorcode[due]}", before
                )
        if timed_out and not error:
            self.fail(side, "nobody answered, and there is no error", before)


class Urgent(Oracle):
    """Until it is acknowledged, segments that begin before the end of urgent data have URG and point to that end; no
    others do. The receiver keeps the newest mark, says POLLPRI when the byte is there, and a read does not go past it.
    """

    section = "RFC 6093 sections 2 and 3; RFC 9293 section 3.8.5, MUST-30 to 32; tcp(7), MSG_OOB"

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        flow = side.flow
        if state is None or seg.flags & (SYN | RST) or flow.iss is None or state.state not in TALKING:
            return
        ahead = state.snd_up - state.iss - flow.seq_out(seg.seq) if state.snd_up else 0
        if seg.flags & URG and ahead <= 0:
            self.fail(side, f"{seg} has URG, and nothing urgent lies ahead", state)
        if 0 < ahead <= 0xFFFF and not seg.flags & URG:
            self.fail(side, f"{seg} has no URG, and the end of urgent data lies {ahead} bytes ahead", state)
        if seg.flags & URG and seg.urgent != min(ahead, 0xFFFF):
            self.fail(side, f"{seg} points {seg.urgent} bytes ahead, and urgent data ends {ahead} bytes ahead", state)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        if before is None or after is None:
            return
        if cause == "call":
            text = said(side)
            told = "MSG_OOB" in text and " = -1" not in text and after.state in TALKING
            if told and after.snd_up != after.write_seq and after.snd_una < after.write_seq:
                self.fail(side, f"{text}: SND.UP is {after.snd_up - after.iss}", after)
            mark = before.urgent_at
            if mark > before.copied_seq and after.copied_seq > mark:
                self.fail(side, f"{text}: a read went past the urgent mark", after)
            return
        if seg is None or not seg.flags & URG or not seg.urgent or seg.flags & (SYN | RST) or not seg.flags & ACK:
            return
        if before.state not in RECEIVING or after.state not in RECEIVING or seg.seq != before.rcv_nxt & MASK:
            return
        ack = before.snd_una + ((seg.ack - before.snd_una + HALF) & MASK) - HALF
        if not before.snd_una <= ack <= before.snd_nxt or before.rcv_nxt + seg.length > before.right_edge:
            return
        if before.ts_ok and (seg.tsval is None or 0 < (before.ts_recent - seg.tsval) & MASK < HALF):
            return
        mark = before.rcv_nxt + seg.urgent - 1
        if side.closed or side.shut_rd or mark < before.urgent_at or after.copied_seq > before.copied_seq:
            return
        if after.urgent_at != mark:
            self.fail(
                side, f"{seg} marks byte {mark - before.irs}, and the mark is at {after.urgent_at - before.irs}", after
            )
        here = before.rcv_nxt <= mark < min(after.rcv_nxt, before.rcv_nxt + seg.length)
        if here and side.sock is not None and not probe.readiness(side.sock) & POLLPRI:
            self.fail(side, f"{seg} brought the urgent byte, and poll does not say POLLPRI", after)


class Linger(Oracle):
    """With SO_LINGER and a time of zero close is an abort: RST, no FIN, and the connection is gone. Without, or with a
    time, it is orderly: no RST, unless data was left unread. A RST of the connection's own has SND.NXT for its number,
    or the right edge of the window where that was taken back: the peer believes no other.
    """

    section = "RFC 9293 sections 3.9.1.5, 3.10.4 and 3.10.5; socket(7), SO_LINGER; RFC 5961 section 3.2"

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.resets: dict[str, bool] = {"a": False, "b": False}  # in the event under way
        self.over: set[str] = set()  # sides whose connection ended before it (a cookie may have made another)

    def sent(self, side: Side, seg: Segment, state: State | None) -> None:
        if not seg.flags & RST or side.name in self.over:
            return
        self.resets[side.name] = True
        if state is None or not seg.flags & ACK or self.pair.cause not in ("call", "timer") or state.state == SYN_SENT:
            return
        due = (state.snd_nxt, state.snd_una + state.snd_wnd)
        if seg.seq not in (due[0] & MASK, due[1] & MASK):
            self.fail(side, f"{seg}, and SND.NXT is {state.snd_nxt & MASK}: the peer will not believe it", state)

    def step(self, side: Side, cause: str, seg: Segment | None, before: State | None, after: State | None) -> None:
        reset, self.resets[side.name] = self.resets[side.name], False
        if after is not None and after.state == CLOSED:
            self.over.add(side.name)
        if cause != "call" or before is None or after is None or before.state not in UNREAD or side.closed:
            return
        text = said(side)
        if not text.startswith("close(4)"):
            return
        zero = side.sock.linger[0] and not side.sock.linger[1]
        unread = before.rcv_nxt - before.copied_seq - (1 if before.state == CLOSE_WAIT else 0)
        if zero and (not reset or after.state != CLOSED):
            self.fail(side, "closed with SO_LINGER of zero, and no RST was sent", after)
        if reset and not zero and unread <= 0 and not side.lingered:
            self.fail(side, "closed, with nothing unread, and a RST was sent", after)
