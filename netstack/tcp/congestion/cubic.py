"""CUBIC (RFC 9438; "section" in this file means one of that RFC) with HyStart, in Linux's integer arithmetic.

After a loss at W_max the window follows W(t) = C (t - K)^3 + W_max (section 4.2), t being the time since the loss: fast
at first, flat near W_max, then probing. It never grows slower than Reno would (section 4.3). C is 0.4, beta is 717/1024
(sections 4.1.1 and 4.6). Times are in units of 1/1024 s, windows in segments, and `cnt` says how many acknowledged
segments raise cwnd by one.

HyStart (section 4.10) ends slow start before it overflows the queue: when a round's train of ACKs lasts half the
minimum delay, or when the delay has grown by an eighth of it. This is the older algorithm, which Linux has, and not
HyStart++ (RFC 9406).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from netstack.tcp.congestion import LOSS, TX_START, additive_increase, register, slow_start
from netstack.tcp.tcb import SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

MS = 1_000_000
JIFFY = 4 * MS  # the clock tick of most Linux kernels
BETA = 717  # of 1024
BIC_SCALE = 41
RTT_SCALE = BIC_SCALE * 10  # C * 1024
BETA_SCALE = 8 * (1024 + BETA) // 3 // (1024 - BETA)  # Reno's increase with this beta, times 8
CUBE_FACTOR = (1 << 40) // RTT_SCALE
LOW_WINDOW = 16  # HyStart: segments, below which it does not look
MIN_SAMPLES = 8  # HyStart: round trips of a round that have to be seen
ACK_DELTA_US = 2000  # HyStart: ACKs that follow each other so closely are a train
INFINITE = (1 << 62) - 1
STILL_US = 31_000  # while cwnd stands still, the cubic function is evaluated only so often


def cube_root(n: int) -> int:
    """The integer cube root."""
    if n < 1:
        return 0
    x = 1 << -(-n.bit_length() // 3)
    while True:
        y = (2 * x + n // (x * x)) // 3
        if y >= x:
            return x
        x = y


class Cubic:
    name: ClassVar[str] = "cubic"
    __slots__ = (
        "ack_cnt", "cnt", "cubic_cnt", "curr_rtt", "delay_min", "end_seq", "epoch_ns", "found", "k", "last_ack_us",
        "last_cwnd", "last_max_cwnd", "last_ns", "origin", "reno_cwnd", "round_start_us", "sample_cnt",
    )  # fmt: skip

    def __init__(self) -> None:
        self.end_seq = -1
        self.round_start_us = self.last_ack_us = 0
        self.curr_rtt = INFINITE
        self.sample_cnt = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after a timeout (section 4.8; Linux's bictcp_reset)."""
        self.cnt = self.cubic_cnt = 0
        self.last_max_cwnd = 0
        self.last_cwnd = 0
        self.last_ns = 0
        self.origin = 0
        self.k = 0
        self.delay_min = 0
        self.epoch_ns = 0
        self.ack_cnt = 0
        self.reno_cwnd = 0
        self.found = False

    def ssthresh(self, c: Connection) -> int:
        """Section 4.6, multiplicative decrease, and section 4.7, fast convergence."""
        self.epoch_ns = 0
        cwnd = c.cwnd
        if cwnd < self.last_max_cwnd:
            self.last_max_cwnd = cwnd * (1024 + BETA) // 2048
        else:
            self.last_max_cwnd = cwnd
        return int(max(cwnd * BETA // 1024, 2))

    def cong_avoid(self, c: Connection, ack: int, acked: int, now: int) -> None:
        """Slow start below ssthresh (section 4.10), then a segment for every `cnt` acknowledged (section 4.2)."""
        if not c.cwnd_limited():
            return
        if c.cwnd < c.ssthresh:
            acked = slow_start(c, acked)
            if not acked:
                return
        self.update(c.cwnd, acked, now, c.srtt_us >> 3)
        additive_increase(c, self.cnt, acked)

    def update(self, cwnd: int, acked: int, now: int, rtt_us: int = 0) -> None:
        """Set `cnt` (sections 4.2 to 4.5). The cubic function is evaluated once a tick at most, and every 31 ms while
        cwnd stands still. On paths with a longer round trip than that, so is Reno's estimate, as in Linux; on others
        that follows every ACK, as section 4.3 has it. (Linux does not update it there either while cwnd stands still,
        and so is slower than Reno for hundreds of round trips.)

        The tick is a millisecond. On paths shorter than that, where many round trips fall into one tick, it is that of
        Linux's usual clock: right after a loss the function, rounded down, asks for a segment per round trip, and in
        Linux that holds for a whole tick of its clock.
        """
        self.ack_cnt += acked
        stale = self.last_cwnd != cwnd or now - self.last_ns > STILL_US * 1000
        if rtt_us > STILL_US and not stale:
            return
        tick = MS if self.delay_min >= 1000 else JIFFY
        cnt = self.cnt if rtt_us > STILL_US else 0  # on a long path, Reno's lower value holds within a tick
        if not self.epoch_ns or (stale and now // tick != self.last_ns // tick):
            self.last_cwnd = cwnd
            self.last_ns = now
            if not self.epoch_ns:
                self.epoch_ns = now or 1
                self.ack_cnt = acked
                self.reno_cwnd = cwnd
                if self.last_max_cwnd <= cwnd:
                    self.k = 0
                    self.origin = cwnd
                else:
                    self.k = cube_root(CUBE_FACTOR * (self.last_max_cwnd - cwnd))
                    self.origin = self.last_max_cwnd
            delay = (self.delay_min * 1000 // JIFFY + 1) * JIFFY  # in ticks, rounded up (Linux)
            t = (now - self.epoch_ns + delay) // MS * 1024 // 1000
            offset = t - self.k
            if offset < 0:
                target = self.origin - (RTT_SCALE * -offset * -offset * -offset >> 40)
            else:
                target = self.origin + (RTT_SCALE * offset * offset * offset >> 40)
            self.cubic_cnt = cwnd // (target - cwnd) if target > cwnd else 100 * cwnd
            if not self.last_max_cwnd and self.cubic_cnt > 20:
                self.cubic_cnt = 20
            cnt = 0
        cnt = cnt or self.cubic_cnt
        # Section 4.3, the Reno-friendly region: at least as fast as Reno.
        delta = cwnd * BETA_SCALE >> 3
        if delta and self.ack_cnt > delta:
            steps = (self.ack_cnt - 1) // delta
            self.ack_cnt -= steps * delta
            self.reno_cwnd += steps
        if self.reno_cwnd > cwnd:
            most = cwnd // (self.reno_cwnd - cwnd)
            if cnt > most:
                cnt = most
        self.cnt = cnt if cnt > 2 else 2

    def undo_cwnd(self, c: Connection) -> int:
        return int(max(c.cwnd, c.prior_cwnd))

    def pkts_acked(self, c: Connection, acked: int, rtt_us: int, now: int) -> None:
        if rtt_us < 0 or c.state == SYN_SENT:
            return  # a SYN is short, and on a slow link it is faster than data
        if self.epoch_ns and now - self.epoch_ns < 1000 * MS:
            return  # right after a recovery the delay is not the path's own
        delay = rtt_us or 1
        if not self.delay_min or self.delay_min > delay:
            self.delay_min = delay
        if not self.found and c.cwnd < c.ssthresh:
            self.hystart(c, delay, now)

    def hystart(self, c: Connection, delay: int, now: int) -> None:
        """HyStart as in Linux: slow start ends where the train of ACKs, or the growth of the delay, says that the pipe
        is full."""
        now_us = now // 1000
        if c.snd_una > self.end_seq:
            self.round_start_us = self.last_ack_us = now_us
            self.end_seq = c.snd_nxt
            self.curr_rtt = INFINITE
            self.sample_cnt = 0
        if c.cwnd < LOW_WINDOW:
            return  # (rounds are counted from the first on all the same)
        if now_us - self.last_ack_us <= ACK_DELTA_US:
            self.last_ack_us = now_us
            rate = c.pacing_rate
            spread = min(1000, 65536 * 4 * 1_000_000 // rate) if rate else 0
            limit = self.delay_min + spread
            if not c.paced:  # pacing itself spreads a round's segments over half a round trip
                limit >>= 1
            if now_us - self.round_start_us > limit:
                self.found = True
                c.counters.TCPHystartTrainDetect += 1
                c.counters.TCPHystartTrainCwnd += c.cwnd
                c.ssthresh = c.cwnd
        if self.curr_rtt > delay:
            self.curr_rtt = delay
        if self.sample_cnt < MIN_SAMPLES:
            self.sample_cnt += 1
        elif self.curr_rtt > self.delay_min + min(max(self.delay_min >> 3, 4000), 16000):
            self.found = True
            c.counters.TCPHystartDelayDetect += 1
            c.counters.TCPHystartDelayCwnd += c.cwnd
            c.ssthresh = c.cwnd

    def event(self, c: Connection, kind: int, now: int) -> None:
        if kind == TX_START:
            # Time in which there was nothing to send does not count towards growth (section 5.8).
            idle = now - c.lsndtime_ns
            if self.epoch_ns and idle > 0:
                self.epoch_ns = min(self.epoch_ns + idle, now)
        elif kind == LOSS:
            self.reset()
            self.round_start_us = self.last_ack_us = now // 1000
            self.end_seq = c.snd_nxt
            self.curr_rtt = INFINITE
            self.sample_cnt = 0


register(Cubic)
