# ruff: noqa: E501
"""Negative controls: each oracle has to object when its rule is broken, and only then.

A sender or receiver is broken by changing one place of its source; what the place says is asserted, so a control that no
longer breaks anything says so.
"""

from __future__ import annotations

from typing import Any

import pytest

from csrc import compiled
from csrc.frame import Frame
from netstack.tcp import (
    ack,
    connection,
    delack,
    emit,
    engine,
    fsm,
    handshake,
    options,
    output,
    pacing,
    persist,
    predict,
    rack,
    reassembly,
    recovery,
    recvbuf,
    rto,
    scoreboard,
    socket,
    timeouts,
    timewait,
    validation,
    window,
)
from netstack.tcp.congestion import cubic, reno
from terrella.testing import oracles, pair, wire
from terrella.testing.apps import Application, Piece
from terrella.testing.cases import PATIENT, Case
from terrella.testing.links import (
    CORRUPT,
    DELAY,
    DROP,
    DUPLICATE,
    MARK,
    MS,
    RENEGE,
    STALE,
    ClampMss,
    Fate,
    Link,
    ShiftSequence,
    StripOptions,
    Way,
)
from terrella.testing.pair import Violation
from terrella.testing.running import make, perform, run
from terrella.testing.wire import SACK_PERMITTED, TIMESTAMP, WSCALE
from tests.unit.terrella.testing.breaking import Breaker, every, mutate, replace

RENO = {"net.ipv4.tcp_congestion_control": "reno"}


# Situations.


def bulk(size: int = 200_000, fates: tuple[Fate, ...] = (), back: tuple[Fate, ...] = (), **kw: Any) -> Case:
    """a sends `size` bytes over 10 Mbit/s and 20 ms."""
    way = {"delay_ns": kw.pop("delay_ns", 20 * MS), "rate": kw.pop("rate", 10_000_000), "queue": kw.pop("queue", 200), "ecn": kw.pop("ecn", None)}
    boxes = kw.pop("boxes", ())
    link = Link(Way(**way, fates=fates, boxes=boxes), Way(**way, fates=back))
    reader = kw.pop("reader", Application())
    settings = PATIENT | kw.pop("settings", {})
    assert not kw
    return Case.exchange(link, Application((Piece(size),)), reader, settings=settings)


def lost(*numbers: int) -> tuple[Fate, ...]:
    """The packets with these numbers (from 0, the SYN) are dropped."""
    return tuple(Fate(DROP) if n in numbers else Fate() for n in range(max(numbers) + 1))


LOSSES = bulk(fates=lost(20, 22, 24, 60))
SLOW = bulk(60_000, reader=Application(read_size=100, read_every_ns=5 * MS), settings={"net.ipv4.tcp_rmem": (4096, 8192, 16384)})
STOPPED = bulk(60_000, reader=Application((Piece(10, 2000 * MS),), reads=False), settings={"net.ipv4.tcp_rmem": (4096, 8192, 16384)})
PIECES = Case.exchange(Link(), Application(tuple(Piece(100, 3 * MS) for _ in range(9))), Application())
MARKS = bulk(fates=tuple(Fate(MARK) if n in (8, 30) else Fate() for n in range(31)), settings={"net.ipv4.tcp_ecn": 1})
BLACKHOLE = bulk(20_000, fates=lost(*range(3, 25)))
FAR = Case.exchange(
    Link(Way(delay_ns=200 * MS), Way(delay_ns=200 * MS)), Application(tuple(Piece(100, 450 * MS) for _ in range(40))),
    Application((Piece(1, 25_000 * MS),), reads=False),
    settings=PATIENT | {"net.ipv4.tcp_early_retrans": 0},
)  # fmt: skip
REORDERED = bulk(fates=tuple(Fate(DELAY, 15 * MS) if n in (12, 14, 15, 30) else Fate() for n in range(31)))
FILLED = LOSSES.but(settings=tuple(sorted((PATIENT | {"net.ipv4.tcp_sack": 0}).items())))
RESUMED = Case.exchange(LOSSES.link.symmetric(Way(20 * MS)), Application((Piece(300_000), Piece(300_000, 8000 * MS))), Application(), settings=PATIENT)
FORGOTTEN = bulk(fates=(*[Fate()] * 20, Fate(DROP), *[Fate()] * 7, Fate(RENEGE)))
TWICE = bulk(fates=(*[Fate()] * 20, Fate(DUPLICATE, 5 * MS)))
LONG = bulk(60_000, reader=Application((Piece(10, 40_000 * MS),), reads=False), settings={"net.ipv4.tcp_rmem": (4096, 8192, 16384)})
LAST_ACK_LOST = Case.exchange(Link(Way(20 * MS, fates=lost(3, 4)), Way(20 * MS)), Application((Piece(100),)), Application(), settings=PATIENT)


def options_of(case: Case, *options: tuple[str, int]) -> Case:
    """The same with socket options of a's."""
    steps = tuple((*s[:2], Application(s[2].pieces, options=options)) if s[:2] == ("attach", "a") else s for s in case.steps)
    return case.but(steps=steps)


def scripted(link: Link, *steps: tuple[Any, ...], **settings: Any) -> Case:
    """b listens, a connects, and what follows."""
    names = PATIENT | {f"net.ipv4.{name}": value for name, value in settings.items()}
    opened = (("listen", "b"), ("connect", "a"), ("run", 1000 * MS), ("accept", "b"))
    return Case(link, (*opened, *steps), settings=tuple(sorted(names.items())))


NEAR = Way(20 * MS, 10_000_000)
SMALL_AND_LOST = Case.exchange(
    Link(Way(5 * MS, fates=lost(3, 4, 5, 7, 8, 9, 12, 13)), Way(5 * MS)), Application(tuple(Piece(1000, 2000 * MS) for _ in range(8))), Application(),
    settings=PATIENT | RENO,
)  # fmt: skip
ONE_HOLE = scripted(
    Link(Way(20 * MS, fates=lost(3)), Way(20 * MS)), ("setsockopt", "a", "TCP_NODELAY", 1),
    *[step for _ in range(4) for step in (("send", "a", 100), ("run", 3 * MS))], ("run", 900 * MS),
)  # fmt: skip
HELD_TWICE = bulk(fates=(*[Fate()] * 20, Fate(DROP), Fate(DUPLICATE, 2 * MS), Fate()))
EARLY = bulk(fates=lost(3, 5))
PACED = options_of(bulk(100_000), ("SO_MAX_PACING_RATE", 100_000))
TAIL = Case.exchange(Link(Way(20 * MS, fates=lost(5)), Way(20 * MS)), Application((Piece(100), Piece(2000, 100 * MS), Piece(2000, 3000 * MS))), Application(), settings=PATIENT)
KEPT = tuple(("setsockopt", "a", name, value) for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("SO_KEEPALIVE", 1)))
TICKS = tuple(step for _ in range(30) for step in (("run", 1000 * MS), ("recv", "a", 1)))
SILENT = scripted(Link(NEAR, NEAR), *KEPT, ("send", "a", 10), ("run", 1000 * MS), ("cut", 60_000 * MS), *TICKS)
CHATTING = scripted(Link(NEAR, NEAR), *KEPT, *[step for _ in range(9) for step in (("send", "a", 10), ("run", 2000 * MS), ("recv", "b", 10))])
UNREAD = scripted(Link(NEAR, NEAR), ("send", "a", 1000), ("run", 100 * MS), ("close", "b"))
LOST_AGAIN = bulk(600_000, fates=lost(20, 49))
LIMITED = bulk(600_000, fates=tuple(Fate(DELAY, 30 * MS) if n in (12, 40, 41, 80) else Fate() for n in range(90)), rate=100_000_000, queue=1000)


HELD = scripted(Link(NEAR, NEAR), ("send", "a", 1000), ("run", 100 * MS))
URGENT = scripted(Link(NEAR, NEAR), ("send", "a", 100), ("urgent", "a", 2000), ("send", "a", 100), ("run", 200 * MS), *[("recv", "b", 65_521)] * 3)
FULL = scripted(Link(NEAR, NEAR), ("setsockopt", "a", "SO_SNDBUF", 4096), *[("send", "a", 65_521)] * 3, ("run", 500 * MS))
HALF = scripted(Link(NEAR, NEAR), ("send", "a", 100), ("shutdown", "a", 1), ("run", 200 * MS), ("recv", "b", 100), ("send", "b", 10), ("run", 200 * MS))
REFUSED = Case(Link(NEAR, NEAR), (("connect", "a"), ("run", 1000 * MS)))
RESET = scripted(Link(NEAR, NEAR), ("send", "a", 10), ("setsockopt", "b", "SO_LINGER", 0), ("run", 100 * MS), ("recv", "b", 100), ("close", "b"), ("run", 100 * MS))
ORDERLY = scripted(Link(NEAR, NEAR), ("send", "a", 10), ("setsockopt", "a", "SO_LINGER", 5), ("run", 100 * MS), ("recv", "b", 100), ("close", "a"), ("run", 100 * MS))
HALF_ENDED = scripted(Link(NEAR, NEAR), ("send", "a", 10), ("run", 100 * MS), ("recv", "b", 10), ("close", "a"), ("run", 120_000 * MS))


LAST_ACK_GONE = scripted(
    Link(Way(20 * MS, fates=lost(4)), Way(20 * MS)), ("send", "a", 10), ("shutdown", "a", 1), ("run", 200 * MS), ("recv", "b", 100), ("shutdown", "b", 1), ("run", 2000 * MS),
)  # fmt: skip


def forged(*kinds: str, value: int = 7) -> Case:
    """b waits with 1,000 bytes, and gets packets that a did not send."""
    return HELD.but(steps=(*HELD.steps, *[step for kind in kinds for step in (("forge", "b", kind, value), ("run", 700 * MS))]))


def nobody(*steps: Any, seconds: int = 1500, **settings: Any) -> Case:
    """a says something, and nobody is there."""
    case = scripted(Link(NEAR, NEAR), *steps, ("cut", seconds * 1000 * MS), ("send", "a", 100), ("run", seconds * 1000 * MS))
    return case.but(settings=tuple(sorted({f"net.ipv4.{name}": value for name, value in settings.items()}.items())))


ORPHAN = scripted(Link(NEAR, NEAR), ("run", 100 * MS), ("cut", 400_000 * MS), ("send", "a", 100), ("close", "a"), ("run", 400_000 * MS)).but(settings=())
SPURIOUS = scripted(Link(NEAR, Way(20 * MS, fates=tuple(Fate(DELAY, 900 * MS) if n > 3 else Fate() for n in range(40)))), ("send", "a", 20_000), ("run", 4000 * MS), tcp_frto=0)
GROWING = Case.exchange(
    Link(Way(150 * MS, fates=(*[Fate()] * 5, Fate(DELAY, 500 * MS))), Way(150 * MS)), Application(tuple(Piece(100, 1500 * MS) for _ in range(9))), Application(),
    settings=PATIENT | {"net.ipv4.tcp_early_retrans": 0},
)  # fmt: skip


STEADY = Case.exchange(Link(Way(200 * MS, fates=(Fate(DELAY, 3 * MS), Fate()) * 20), Way(200 * MS)), Application(tuple(Piece(100, 900 * MS) for _ in range(16))), Application(), settings=PATIENT)
FILLING = scripted(Link(NEAR, NEAR), ("setsockopt", "a", "SO_SNDBUF", 100_000), *[step for _ in range(12) for step in (("send", "a", 15_000), ("run", 7 * MS))])
SHIFTED = Case.exchange(
    Link(Way(20 * MS, 10_000_000, boxes=(ShiftSequence(700),), fates=lost(20, 22, 40)), Way(20 * MS, boxes=(ShiftSequence(700, back=True),))),
    Application((Piece(200_000),)), Application(), settings=PATIENT,
)  # fmt: skip
PAUSED = scripted(Link(NEAR, NEAR), *[step for _ in range(6) for step in (("send", "a", 65_521), ("run", 100 * MS), ("recv", "b", 65_521))], ("run", 3000 * MS), ("shutdown", "a", 1))
PATIENTLY = scripted(Link(NEAR, NEAR), ("setsockopt", "b", "SO_RCVLOWAT", 30_000), ("send", "a", 20_000), ("run", 500 * MS))
OVER = scripted(
    Link(NEAR, NEAR), ("send", "a", 1000), ("run", 50 * MS), ("recv", "b", 2000), ("shutdown", "b", 1), ("run", 50 * MS), ("shutdown", "a", 1), ("run", 900 * MS),
    ("forge", "b", "syn-again", 0),
)  # fmt: skip
WRAPPED = bulk(20_000, fates=lost(6)).begun_with(("numbers", "a", (1 << 32) - 3000, (1 << 32) - 50), ("numbers", "b", (1 << 31) - 1, (1 << 31) - 1))


def careless(c: Any, seg: Any, seq: int, now: int) -> None:
    """A receiver that believes any sequence number."""
    c.rcvq = [*c.rcvq, seg.payload]
    c.rmem += 2 * seg.length
    c.rcv_nxt = max(c.rcv_nxt, seq + seg.length + (seg.flags & 1))
    c.wake_pending = True
    if seg.flags & 1:
        fsm.fin_arrives(c, now)


def twice(c: Any, seg: Any, now: int, skip: int = 0, real: Any = reassembly.in_order) -> None:
    """A receiver that hands a piece to the application twice."""
    real(c, seg, now, skip)
    if c.rcv_nxt - c.irs > 20_000:
        c.rcvq.append(seg.payload)
        c.rmem += 1000


def trusting(image: bytes, ethernet: bool = True) -> Frame:
    """A device that vouches for checksums it did not check."""
    frame = Frame.of(image, ethernet)
    frame.csum_ok = True
    return frame


class Trusting:
    of = staticmethod(trusting)


CONTROLS: list[tuple[str, str, Breaker, Case]] = [
    ("believes any sequence number", "StreamEquality", replace(reassembly, "receive", careless), REORDERED),
    ("delivers twice", "StreamEquality", replace(reassembly, "in_order", twice), REORDERED),
    ("no PAWS, the stream", "StreamEquality", replace(fsm, "paws_ok", lambda *_: True),
     bulk(fates=(*[Fate()] * 20, Fate(STALE)))),
    ("no PAWS", "Paws", replace(fsm, "paws_ok", lambda *_: True), bulk(fates=(*[Fate()] * 20, Fate(STALE)))),
    ("no cwnd check", "NewDataWithinCwnd",
     mutate(output, "write", ("if in_flight >= cwnd:", "if False:"), ("if quota > cwnd - in_flight:", "if False:")), bulk()),
    ("one segment too many", "NewDataWithinCwnd", mutate(output, "write", ("in_flight >= cwnd:", "in_flight > cwnd:"),
     ("quota > cwnd - in_flight:", "quota > cwnd - in_flight + 1:"), ("cwnd - in_flight\n", "cwnd - in_flight + 1\n")), bulk()),
    ("retransmits without regard to cwnd", "RetransmissionsWithinCwnd",
     mutate(output, "retransmit_lost", ("if room <= 0 or", "room = 100\n        if"), ("c.retrans_out >= c.lost_out", "False")),
     bulk(fates=lost(*range(20, 60, 2)))),
    ("beyond the window", "WithinOfferedWindow",
     mutate(output, "write", ("wnd_end = c.snd_una + c.snd_wnd", "wnd_end = c.snd_una + c.snd_wnd + 3000")), STOPPED),
    ("no Nagle", "SenderSillyWindow", replace(output, "nagle_holds", lambda *_: False), PIECES),
    ("fills any window", "SenderSillyWindow",
     mutate(output, "write", ("if room < mss:", "if room <= 0:")), SLOW),
    ("counts losses twice", "Scoreboard",
     mutate(recovery, "enter_recovery", ("init_undo(c)", "init_undo(c); c.lost_out += 1")), LOSSES),
    ("initial window of twenty", "SlowStart", replace(connection.Connection, "init_cwnd", lambda self: 20), bulk()),
    ("grows twice as fast", "SlowStart",
     mutate(cubic, "slow_start", ("new = cwnd + acked", "new = cwnd + 2 * acked")), bulk()),
    ("grows on duplicate ACKs", "SlowStart",
     mutate(recovery, "try_keep_open", ("state = CA_OPEN", "state = CA_OPEN; c.cwnd += 5")), REORDERED),
    ("avoids no congestion", "CongestionAvoidance",
     mutate(reno, "additive_increase", ("grow = c.cwnd_cnt // w", "grow = c.cwnd_cnt")), LOSSES.but(settings=tuple((PATIENT | RENO).items()))),
    ("does not grow from ssthresh on", "CongestionAvoidance",
     replace(reno, "additive_increase", lambda c, w, acked: None), LOSSES.but(settings=tuple((PATIENT | RENO).items()))),
    ("does not reduce", "Reduction", mutate(recovery, "init_cwnd_reduction", ("c.cc.ssthresh(c)", "c.cwnd")), LOSSES),
    ("timeout without reduction", "Reduction", mutate(recovery, "enter_loss", ("c.cwnd = c.in_flight() + 1", "pass")), BLACKHOLE),
    ("RTO below SRTT", "RtoBounds", mutate(rto, "computed_ns", ("(c.srtt_us >> 3) + c.rttvar_us", "(c.srtt_us >> 4)")), bulk()),
    ("samples retransmissions", "RtoBounds",
     every(mutate(ack, "clean", ("elif marks & RETRANS_ANY:", "elif False:")),
           mutate(ack, "update_rtt", ("if seq_rtt < 0 and c.saw_ts", "if False and c.saw_ts"))),
     Case.exchange(Link(Way(delay_ns=200 * MS, fates=(Fate(), Fate(), Fate(), *[Fate(DELAY, 700 * MS)] * 4)), Way(delay_ns=200 * MS)),
                   Application((Piece(100), *[Piece(100, 3000 * MS)] * 6)), Application(), settings=PATIENT | {"net.ipv4.tcp_timestamps": 0})),
    ("no backoff", "RetransmissionTimeout", mutate(timeouts, "next_rto", ("c.rto_ns << 1", "c.rto_ns")), BLACKHOLE),
    ("times out early", "RetransmissionTimeout",
     mutate(rto, "arm", ("at = now +", "delay_ns = delay_ns // 3 if kind == 1 else delay_ns\n    at = now +")),
     BLACKHOLE.but(settings=tuple(sorted((PATIENT | {"net.ipv4.tcp_early_retrans": 0}).items())))),
    ("arms no timer", "NoDeadlock", replace(rto, "rearm", lambda c, now: None), bulk(fates=lost(15))),
    ("never probes a closed window", "NoDeadlock", replace(persist, "start", lambda c, now: None), STOPPED),
    ("acknowledges ahead", "AckOnlyWhatCame",
     mutate(emit, "small", ("c.rcv_nxt & MASK", "c.rcv_nxt + 1 & MASK")), bulk()),
    ("invents SACK blocks", "SackTellsTheTruth",
     mutate(reassembly, "add_sack", ("sacks = c.sacks", "sacks = c.sacks; end += 5000")), LOSSES),
    ("shrinks the window", "RightEdgeNeverRetreats", mutate(window, "select", ("if new < current", "if False and new < current")), SLOW),
    ("offers every byte", "ReceiverSillyWindow",
     every(replace(window, "candidate", lambda c: c.receive_window() + 256),
           replace(delack, "after_read", lambda c, copied, now: output.send_ack(c, now))),
     SLOW),
    ("never acknowledges alone", "DelayedAck", replace(delack, "delay", lambda c, now: None), FAR),
    ("believes damaged packets", "ChecksumsHold", replace(pair, "Frame", Trusting),
     bulk(fates=(*[Fate()] * 10, Fate(CORRUPT, 8 * 700), Fate(CORRUPT, 8 * 25), Fate(CORRUPT, 8 * 30)))),
    ("SACK without agreement", "NegotiatedOptions",
     mutate(options, "settle", ("if not opts & OPT_SACK_PERMITTED:", "if False:")),
     LOSSES.but(link=Link(Way(delay_ns=20 * MS, fates=LOSSES.link.a_to_b.fates),
                          Way(delay_ns=20 * MS, fates=lost(10, 12), boxes=(StripOptions((SACK_PERMITTED,)),))),
                steps=(("listen", "b"), ("connect", "a"), ("attach", "a", Application()), ("attach", "b", Application((Piece(100_000),)))))),
    ("halves what is offered", "SendWindow", mutate(ack, "process", ("c.snd_wnd = wnd\n", "c.snd_wnd = wnd // 2\n")), SLOW),
    ("Nagle's algorithm always", "SendsWhatItMay",
     mutate(output, "nagle_holds", ("not nonagle and c.packets_out", "c.packets_out")), options_of(PIECES, ("TCP_NODELAY", 1))),
    ("no cork", "SenderSillyWindow", mutate(output, "nagle_holds", ("if nonagle & NAGLE_CORK:", "if False:")),
     options_of(PIECES, ("TCP_CORK", 1))),
    ("does not grow", "SlowStart", mutate(cubic, "slow_start", ("new = cwnd + acked", "new = cwnd")), bulk()),
    ("goes on after idle", "RestartAfterIdle", replace(validation, "after_idle", lambda c, now: None), RESUMED),
    ("an end after idle costs what the path allowed", "Reduction", mutate(validation, "application_limited", ("recovery.current_ssthresh(c)", "used")), PAUSED),
    ("halves once, however long it was idle", "RestartAfterIdle", mutate(validation, "after_idle", ("while idle > 0", "if idle > 0")), RESUMED),
    ("a segment that came in part counts", "Scoreboard", mutate(scoreboard, "walk", ("size = (right - rec.seq) // mss * mss", "size = -(-(right - rec.seq) // mss) * mss")), SHIFTED),
    ("does not answer marks", "EcnReaction", mutate(recovery, "try_to_open", ("if flag & ECE_SEEN:", "if False:")), MARKS),
    ("says no CWR", "EcnReaction", mutate(emit, "ecn", ("flags |= CWR", "pass")), MARKS),
    ("waits for the timeout", "FastRetransmit", mutate(recovery, "identify_loss", ("if not c.rtx:", "if not c.rtx or c.ca_state < 3:")), LOSSES),
    ("two duplicates are enough", "FastRetransmit",
     mutate(recovery, "newreno_mark_lost", ("c.sacked_out >= c.reordering", "c.sacked_out >= 2")), FILLED),
    ("one SACKed is enough", "FastRetransmit", mutate(rack, "reo_wnd_us", ("c.sacked_out >= c.reordering", "c.sacked_out >= 1")), LOSSES),
    ("waits after a partial ACK", "FastRetransmit",
     mutate(recovery, "newreno_mark_lost", ("or (state == CA_RECOVERY and una_advanced)", "or False")),
     FILLED.but(link=bulk(fates=lost(20, 22, 24, 26, 28, 30)).link)),
    ("undoes everything", "UndoHasReason", replace(recovery, "may_undo", lambda c, now: bool(c.undo_marker)), LOSSES),
    ("believes what was forgotten", "Reneging",
     mutate(recovery, "timeout_mark_lost", ("bool(rtx and rtx[0].marks & SACKED)", "False")), FORGOTTEN),
    ("probes at one pace", "PersistTimer", mutate(persist, "probe", ("c.backoff += 1", "pass")), STOPPED),
    ("gives up a closed window", "GivesUp",
     every(mutate(timeouts, "probe_timeout", ("c.probes_out >= most:", "c.probes_out >= 3:")),
           mutate(ack, "process", ("c.probes_out = c.soft_error = 0", "c.soft_error = 0"))), LONG),
    ("holds nothing", "TakesWhatFits",
     mutate(reassembly, "receive", ("out_of_order(c, seg, seq, end, bool(fin), now)", "out_of_window(c)")), LOSSES),
    ("delays duplicate ACKs", "DuplicateAck",
     mutate(delack, "check", ("if not c.ooo:", "if True:"), ("(c.ack_quick and not in_pingpong(c))", "False")), LOSSES),
    ("old blocks first", "DuplicateAck", mutate(reassembly, "add_sack", ("kept.insert(0, (seq, end))", "kept.append((seq, end))")), LOSSES),
    ("no D-SACK", "DuplicateAck", mutate(reassembly, "set_dsack", ("c.dsack = (seq, end)", "pass")), TWICE),
    ("does not tell of room", "WindowUpdate", mutate(delack, "after_read", ("if new and new >= 2 * left:", "if False:")), STOPPED),
    ("every fourth segment", "DelayedAck",
     every(mutate(delack, "check", ("ahead > c.rcv_mss\n", "ahead > 4 * c.rcv_mss\n"), ("(c.ack_quick and", "(False and")),
           replace(delack, "after_read", lambda c, copied, now: None)), bulk()),
    ("forgets the connection", "TimeWait",
     mutate(fsm, "fin_arrives", ("c.time_wait(now)", "output.send_ack(c, now)\n        c.done(now)")), LAST_ACK_LOST),
    ("any timestamp", "Paws", mutate(fsm, "synchronized", ("ts and seq <= c.rcv_wup and (", "ts and (")), LOSSES),
    ("large segments", "NegotiatedOptions",
     mutate(options, "peer_mss", ("(seg.mss if seg.options & OPT_MSS else 0) or default_mss(version)", "1460")), bulk(boxes=(ClampMss(600),)).but(
         steps=(("listen", "b"), ("connect", "a"), ("attach", "a", Application()), ("attach", "b", Application((Piece(20_000),)))))),
    ("CUBIC stands still", "CongestionAvoidance",
     mutate(cubic.Cubic, "update", ("self.cnt = cnt if cnt > 2 else 2", "self.cnt = 100 * cwnd")), bulk(2_000_000, fates=lost(60), delay_ns=5 * MS, queue=1000)),
    ("grows though hardly anything is sent", "SlowStart",
     mutate(connection.Connection, "cwnd_limited", ("if self.is_cwnd_limited:", "if True:")), PIECES),
    ("ten after two lost SYNs", "SlowStart", mutate(handshake, "established", ("c.cwnd = 1 if", "c.cwnd = 10 if")), bulk(fates=lost(0, 1))),
    ("ssthresh of one", "Reduction", mutate(reno.Reno, "ssthresh", ("c.cwnd >> 1, 2", "c.cwnd >> 1, 1")), SMALL_AND_LOST),
    ("CWR on everything", "EcnReaction", mutate(emit, "ecn", ("c.ecn_queue_cwr = False", "pass")), MARKS),
    ("ssthresh at once", "ProportionalRecovery",
     mutate(recovery, "cwnd_reduction", ("c.cwnd = max(1, pipe + send)", "c.cwnd = c.ssthresh")), bulk(fates=lost(*range(20, 60, 2)))),
    ("does not count what it sends", "ProportionalRecovery", mutate(output, "write", ("c.prr_out += sent", "pass")), LOSSES),
    ("sends nothing in recovery", "ProportionalRecovery",
     mutate(recovery, "cwnd_reduction", ("c.cwnd = max(1, pipe + send)", "c.cwnd = max(1, pipe)")), LOSSES),
    ("backs off by four", "RetransmissionTimeout", mutate(timeouts, "next_rto", ("c.rto_ns << 1", "c.rto_ns << 2")), BLACKHOLE),
    ("any ACK restarts the timer", "RestartsTimer",
     mutate(ack, "process", ("if flag & SET_XMIT_TIMER and not rack", "if not rack")), FILLED),
    ("twice the RTO", "RestartsTimer", mutate(rto, "rearm", ("rto = c.rto_ns\n", "rto = 2 * c.rto_ns\n")), FILLED),
    ("waits when a gap is filled", "DuplicateAck",
     every(mutate(reassembly, "receive", ("c.ack_pending |= delack.NOW  # RFC 5681", "pass  # RFC 5681")),
           mutate(delack, "check", ("(c.ack_quick and", "(False and"))), ONE_HOLE),
    ("no D-SACK for what is held", "DuplicateAck",
     mutate(reassembly, "out_of_order", ("set_dsack(c, seq, end)", "pass"), ("extend_dsack(c, ooo[j][0], ooo[j][1])", "pass")), HELD_TWICE),
    ("one D-SACK for ever", "SackTellsTheTruth", mutate(emit, "by_fields", ("c.dsack = None", "pass")), TWICE),
    ("echoes for ever", "EcnEcho", mutate(reassembly, "check_ce", ("c.ecn_demand_cwr = False", "pass")), MARKS),
    ("TS.Recent stays", "Paws", mutate(fsm, "synchronized", ("or expired or not c.ts_recent:", "and False:")), LOSSES),
    ("no PSH", "Push", mutate(output, "write", ("if c.pushed_seq >= snd_nxt + size and size:", "if False:"), ("if pcount > 1:", "if False:")), bulk()),
    ("no PSH on a little", "Push", mutate(predict, "send", ("ACK | PSH", "ACK")), PIECES),
    ("PSH everywhere", "Push",
     every(mutate(output, "write", ("if c.push_marks else ACK", "if True else ACK")), replace(output, "push_due", lambda c, end: 24)), EARLY),
    ("no pace", "Pacing", replace(pacing, "holds", lambda c, now: False), PACED),
    ("twice the pace", "Pacing", mutate(pacing, "sent", ("length * SECOND // rate", "length * SECOND // rate // 2")), PACED),
    ("no loss probe", "LossProbe", replace(rack, "schedule_probe", lambda *_: False), bulk()),
    ("loss probes at once", "LossProbe", mutate(rack, "schedule_probe", ("(c.srtt_us >> 2) * 1000", "(c.srtt_us >> 5) * 1000")), LOSSES),
    ("one loss probe after the other", "LossProbe",
     every(mutate(rack, "send_probe", ("if not c.tlp_high_seq:", "if True:"), ("    rto.rearm(c, now)", "    schedule_probe(c, False, now)"))), BLACKHOLE),
    ("what a probe repaired was no loss", "LossProbe",
     mutate(rack, "probe_ack", ("recovery.init_cwnd_reduction(c, now)", "c.tlp_high_seq = 0"), ("recovery.set_ca_state(c, CA_CWR, now)", "pass"), ("recovery.end_cwnd_reduction(c, now)", "pass")), TAIL),
    ("no keepalive", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("emit(c, c.snd_una - 1, ACK, (), 0, now)", "pass")), SILENT),
    ("keepalive in the midst of talk", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("elapsed = now - max(c.lrcvtime_ns, c.rcv_tstamp_ns)", "elapsed = idle")), CHATTING),
    ("keepalive for ever", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("c.probes_out >= c.keep_cnt)", "False)")), SILENT),
    ("keepalive gives up at once", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("c.probes_out >= c.keep_cnt)", "True)")), SILENT),
    ("closes without a word", "ResetsUnread", mutate(socket.TcpSocket, "close", ("if unread > 0 and", "if False and")), UNREAD),
    ("does not look at what was sent again", "LostRetransmission",
     mutate(rack, "detect_loss", ("if not (rec.marks & LOST and not rec.marks & RETRANS_OUT):", "if not rec.marks & LOST:")), LOST_AGAIN),
    ("F-RTO believes any ACK", "UndoHasReason",
     mutate(recovery, "process_loss", ("if flag & ORIG_SACK_ACKED and try_undo_loss", "if try_undo_loss")), BLACKHOLE),
    ("no limited transmit", "SendsWhatItMay",
     mutate(output, "write", ("if in_flight >= cwnd:", "if in_flight >= cwnd or c.ca_state == 1:")), LIMITED),
    ("believes any RST", "ForgedSegments", mutate(fsm, "synchronized", ("exact = seq == c.rcv_nxt or reset_after_fin(c, seq)", "exact = True")), forged("rst")),
    ("a RST outside", "ForgedSegments", mutate(fsm, "synchronized", ("elif reset_after_fin(c, seq):", "elif True:")), forged("rst-outside")),
    ("a SYN ends it", "ForgedSegments",
     mutate(fsm, "synchronized", ("c.challenge_ack(now, syn=True)\n            return\n        seq += 1", "c.reset_by_peer(now)\n            return\n        seq += 1")), forged("syn")),
    ("a SYN is not challenged", "ForgedSegments",
     mutate(fsm, "synchronized", ("c.challenge_ack(now, syn=True)\n            return\n        seq += 1", "return\n        seq += 1")), forged("syn", "syn")),
    ("challenges without end", "ForgedSegments",
     mutate(connection.Connection, "challenge_ack", ("if last and", "if False and")), forged().but(steps=(*HELD.steps, *[("forge", "b", "rst", 7)] * 2))),
    ("believes an old ACK", "ForgedSegments", mutate(ack, "process", ("return TOO_OLD", "return 1")), forged("ack-old")),
    ("believes an ACK of the future", "ForgedSegments", mutate(ack, "process", ("return UNSENT", "return 1")), forged("ack-ahead")),
    ("takes data without ACK", "ForgedSegments", mutate(fsm, "synchronized", ("if not flags & (ACK | RST | SYN):", "if False:")), forged("no-ack")),
    ("says nothing of the window", "ForgedSegments",
     mutate(fsm, "synchronized", ("if not c.oow_limited(length, flags, now):\n                duplicate_ack(c, seq, end, now)\n        elif", "pass\n        elif")), forged("data")),
    ("an ICMP error ends it", "ForgedSegments", mutate(engine.Tcp, "icmp_error", ("c.soft_error = code", "c.fail(code, now)")), forged("icmp-port")),
    ("believes any ICMP error", "ForgedSegments", mutate(engine.Tcp, "icmp_error", ("if not c.snd_una <= seq <= c.snd_nxt:", "if False:")), forged("icmp-mtu")),
    ("POLLIN always", "Readiness", mutate(socket.TcpSocket, "readiness", ("if ready > 0 and (", "if ready >= 0 and (True or ")), HALF),
    ("no POLLIN at the end", "Readiness", mutate(socket.TcpSocket, "readiness", ("mask |= POLLIN | POLLRDHUP", "mask |= POLLRDHUP")), HALF),
    ("POLLHUP at half", "Readiness", mutate(socket.TcpSocket, "readiness", ("if shut == 3 or", "if shut or")), HALF),
    ("POLLOUT always", "Readiness", mutate(socket.TcpSocket, "readiness", ("if shut & 2 or conn.writable():", "if True:")), FULL),
    ("never writable", "Readiness", replace(connection.Connection, "writable", lambda self: False), HALF),
    ("short reads", "Readiness", mutate(recvbuf, "take", ("(conn: Connection, n: int, now: int, flags: int) -> bytes:", "(conn: Connection, n: int, now: int, flags: int) -> bytes:\n    n = max(n // 2, 1)")),
     HELD.but(steps=(*HELD.steps, ("recv", "b", 100)))),
    ("peeks beyond", "Readiness", mutate(recvbuf, "look", ("max(offset, 0)", "max(offset, 0) + 1")), HELD.but(steps=(*HELD.steps, ("peek", "b", 5000)))),
    ("refused is reset", "TellsErrors", mutate(connection.Connection, "reset_by_peer", ("self.fail(errno.ECONNREFUSED, now)", "self.fail(errno.ECONNRESET, now)")), REFUSED),
    ("no error", "TellsErrors", mutate(connection.Connection, "fail", ("self.sock.so_error = code", "pass")), RESET),
    ("nobody is told of a timeout", "TellsErrors", mutate(connection.Connection, "fail", ("self.sock.so_error = code", "pass")), nobody()),
    ("points one too far", "Urgent", mutate(emit, "urgent_pointer", ("min(ahead, 0xFFFF)", "min(ahead + 1, 0xFFFF)")), URGENT),
    ("no URG", "Urgent", mutate(emit, "urgent_pointer", ("if ahead <= 0 or", "if ahead <= 2000 or")), URGENT),
    ("reads past the mark", "Urgent", replace(recvbuf, "up_to_mark", lambda sock, conn, n: n), URGENT),
    ("a mark of old", "Urgent", mutate(recvbuf, "urgent_arrives", ("pointer -= 1", "pass")), URGENT),
    ("no POLLPRI", "Urgent", mutate(socket.TcpSocket, "readiness", ("mask |= POLLPRI", "pass")), URGENT),
    ("SO_LINGER of zero waits", "Linger", mutate(socket.TcpSocket, "close", ("elif self.linger[0] and not self.linger[1]:", "elif False:")), RESET),
    ("SO_LINGER of five resets", "Linger", mutate(socket.TcpSocket, "close", ("elif self.linger[0] and not self.linger[1]:", "elif self.linger[0]:")), ORDERLY),
    ("a RST that is not believed", "Linger", mutate(output, "send_reset", ("acceptable_seq(c)", "c.snd_una - 1")), RESET),
    ("never gives up", "GivesUp", replace(rto, "timed_out", lambda *_: False), nobody()),
    ("gives up soon", "GivesUp", mutate(rto, "timed_out", ("return now - start >= limit", "return now - start >= limit // 8")), nobody()),
    ("user's timeout ignored", "GivesUp",
     every(mutate(timeouts, "retransmit_timeout", ("rto.timed_out(c, boundary, c.user_timeout_ms, now)", "rto.timed_out(c, boundary, 0, now)")),
           replace(rto, "clamp_to_user_timeout", lambda c, now: c.rto_ns)), nobody(("setsockopt", "a", "TCP_USER_TIMEOUT", 5000))),
    ("user's timeout halved", "GivesUp", mutate(rto, "timed_out", ("limit = user_timeout_ms * MS", "limit = user_timeout_ms * MS // 2")), nobody(("setsockopt", "a", "TCP_USER_TIMEOUT", 5000))),
    ("orphans stay", "GivesUp", replace(timeouts, "orphan_retries", lambda c, alive: 15), ORPHAN),
    ("orphans go soon", "GivesUp", replace(timeouts, "orphan_retries", lambda c, alive: 2), ORPHAN),
    ("FIN-WAIT-2 of a second", "FinWait2", mutate(connection.Connection, "fin_wait_timeout", ("max(seconds * SECOND, self.rto_ns * 7 // 2)", "SECOND")), HALF_ENDED),
    ("TIME-WAIT of half a minute", "TimeWaitLength", mutate(timewait.TimeWait, "restart", ("* MS\n", "* MS // 2\n")), PIECES),
    ("TIME-WAIT of two minutes", "TimeWaitLength", mutate(timewait.TimeWait, "restart", ("* MS\n", "* MS * 2\n")), PIECES),
    ("TIME-WAIT goes on", "TimeWaitLength", mutate(timewait.TimeWait, "segment_arrives", ("        self.restart(now)\n    if not (seg.length", "        pass\n    if not (seg.length")), LAST_ACK_GONE),
    ("never undoes", "UndoesWhatWasSpurious", replace(recovery, "may_undo", lambda c, now: False), SPURIOUS),
    ("RACK waits ten times as long", "ReorderingTimer", mutate(rack, "mark_losses", ("timeout + TIMEOUT_MIN_NS", "10 * timeout + TIMEOUT_MIN_NS")), REORDERED),
    ("keeps backing off", "RtoBounds", mutate(ack, "update_rtt", ("c.rto_ns = rto.computed_ns(c)\n    c.backoff = 0", "pass")), BLACKHOLE),
    ("twice the RTO after all", "RtoBounds", mutate(rto, "computed_ns", ("* 1000\n", "* 2000\n")), bulk()),
    ("RTO without variance", "RtoBounds", mutate(rto, "computed_ns", ("c.rttvar_us)", "c.rto_min_us)")), GROWING),
    ("keepalive at twice the interval", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("delay = c.keep_intvl * SECOND", "delay = 2 * c.keep_intvl * SECOND")), SILENT),
    ("one keepalive too many", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("c.probes_out >= c.keep_cnt)", "c.probes_out > c.keep_cnt)")), SILENT),
    ("ends in silence", "KeepAlive", mutate(timeouts, "keepalive_timeout", ("output.send_reset(c, now)", "pass")), SILENT),
    ("probes ever slower", "PersistTimer", mutate(persist, "delay_ns", ("min(c.backoff, 30)", "min(3 * c.backoff, 30)")), LONG),
    ("probes late", "PersistTimer", mutate(persist, "start", ("base_ns(c), now", "3 * base_ns(c), now")), STOPPED),
    ("takes what has an old timestamp", "ForgedSegments", replace(fsm, "paws_ok", lambda *_: True), forged("stamp")),
    ("answers every ACK from outside", "ForgedSegments", replace(connection.Connection, "oow_limited", lambda *_: False),
     forged().but(steps=(*HELD.steps, ("run", 600 * MS), *[("forge", "b", "outside", 7)] * 2))),
    ("wakes nobody for room", "Readiness", mutate(connection.Connection, "check_space", ("self.wake_pending = True", "pass")), FULL),
    ("a loss probe is late", "LossProbe", mutate(rack, "schedule_probe", ("timeout += c.rto_min_us * 1000 if c.packets_out == 1 else TIMEOUT_MIN_NS", "timeout *= 4")), LOSSES),
    ("holds ACKs back for long", "DelayedAck", mutate(delack, "check", ("min(c.settings.tcp_comp_sack_delay_ns, rtt * 125 // 20)", "rtt * 1000")), LOSSES),
    ("RTTVAR falls at once", "RtoBounds", mutate(rto, "sample", ("c.rttvar_us -= (c.rttvar_us - c.mdev_max_us) >> 2", "c.rttvar_us = c.mdev_max_us")), GROWING),
    ("RTTVAR stays", "RtoBounds", mutate(rto, "sample", ("c.rttvar_us -= (c.rttvar_us - c.mdev_max_us) >> 2", "pass")), STEADY),
    ("RACK waits four times as long", "ReorderingTimer", mutate(rack, "mark_losses", ("timeout + TIMEOUT_MIN_NS", "4 * timeout + TIMEOUT_MIN_NS")), REORDERED),
    ("POLLOUT for any room", "Readiness", replace(connection.Connection, "writable", lambda self: self.sndbuf > self.memory()), FILLING),
    ("POLLOUT only when it is empty", "Readiness", replace(connection.Connection, "writable", lambda self: self.write_seq == self.snd_una), FILLING),
    ("waits though the application does", "DelayedAck", mutate(delack, "check", ("or c.rcv_nxt - c.copied_seq < c.rcvlowat\n", "\n"), ("(c.ack_quick and", "(False and")), PATIENTLY),
    ("every connection of two ports begins alike", "InitialNumbers", replace(engine.Tcp, "isn", lambda self, key, now: self.keyed(b"isn" + key)), PIECES),
    ("a clock alone", "InitialNumbers", replace(engine.Tcp, "isn", lambda self, key, now: now >> 6), PIECES),
    ("an old SYN begins anew", "TimeWaitLength", mutate(timewait.TimeWait, "segment_arrives", ("and not paws_reject\n        and (seq > self.rcv_nxt or (ts and behind >= HALF))", "")), OVER),
    ("numbers do not wrap", "TakesWhatFits", mutate(fsm, "synchronized", ("seq = unwrap(seg.seq, c.rcv_nxt)", "seq = seg.seq")), WRAPPED),
    ("no echo of marks", "EcnEcho", replace(reassembly, "check_ce", lambda c, seg: None), MARKS),
]  # fmt: skip


@pytest.mark.parametrize(("oracle", "breaker", "case"), [c[1:] for c in CONTROLS], ids=[f"{c[1]}: {c[0]}" for c in CONTROLS])
def test_a_broken_rule_is_seen(oracle: str, breaker: Breaker, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker(monkeypatch)
    with pytest.raises(Violation) as seen:
        run(case, [getattr(oracles, oracle)], artifacts="")
    assert seen.value.oracle == oracle
    assert oracle in str(seen.value) and "RFC" in str(seen.value)


@pytest.mark.parametrize("case", list(dict.fromkeys(c[3] for c in CONTROLS)), ids=lambda case: "")
def test_nobody_objects_to_the_stack_as_it_is(case: Case) -> None:
    run(case, artifacts="")


def test_every_oracle_says_its_rule_and_has_a_control() -> None:
    controlled = {c[1] for c in CONTROLS} | {"ItEnds", "OneReductionPerRoundTrip", "ProportionalRecovery"}  # these three below
    controlled |= {"PathMtu", "Forwards", "SynQueue", "WindowValidation"}  # test_path.py, test_listening.py
    for oracle in oracles.EVERY:
        assert oracle.__doc__ and oracle.section, oracle
        assert oracle.__name__ in controlled, f"nothing shows that {oracle.__name__} ever objects"


@pytest.mark.skipif(compiled.in_use, reason="the compiled form keeps its own numbers (Pair.numbers)")
def test_numbers_and_timestamps_wrap_where_the_case_says() -> None:
    done = run(WRAPPED, artifacts="")
    side = done.sides["a"]
    assert (side.flow.iss, side.flow.irs) == ((1 << 32) - 3000, (1 << 31) - 1)
    sent = [seg for _, kind, image in side.history if kind == "out" and (seg := wire.parse(image, trusted=True))]
    assert sent[0].tsval == (1 << 32) - 50 and sent[-1].tsval < 1 << 20 and sent[-1].seq < 1 << 20


@pytest.mark.parametrize("case", [PIECES, LOSSES, OVER], ids=["pieces", "losses", "over"])
def test_who_watches_changes_nothing(case: Case) -> None:
    watched, alone = run(case, artifacts=""), run(case, [], artifacts="")
    for name in "ab":
        one, other = watched.sides[name], alone.sides[name]
        assert one.history == other.history
        assert one.stack.counters.as_dict() == other.stack.counters.as_dict()
    assert [watched.sides[name].stack.counters.tcp.ActiveOpens for name in "ab"] == [1, 0]


def test_the_end_is_judged_in_time_wait_too() -> None:
    made = make(PIECES, [oracles.InitialNumbers])
    for step in PIECES.steps:
        perform(made, step)
    made.finish(1000 * MS)
    assert made.sides["b"].stack.tcp.table, "in TIME-WAIT"


def test_only_the_deadline_of_keepalive_may_be_set_in_the_past() -> None:
    made, side, _ = states(scripted(Link(NEAR, NEAR), ("run", 3000 * MS), ("setsockopt", "a", "SO_KEEPALIVE", 1)))
    assert made.setsockopt("a", "TCP_KEEPIDLE", 2) == 0
    watch = oracles.NoDeadlock(made)
    watch.step(side, "call", None, None, side.state())
    watch.step(side, "arrival", None, None, side.state())
    side.connection().delack_ns = made.now - MS
    with pytest.raises(Violation, match=r"1\.000 ms ago was not met"):
        watch.step(side, "call", None, None, side.state())


def test_a_packet_of_no_kind_is_not_forged() -> None:
    with pytest.raises(ValueError, match=r"no forged packet is called 'rts': it is one of rst, "):
        run(forged("rts"), artifacts="")


def test_it_ends_sees_what_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsm, "fin_arrives", lambda c, now: None)
    with pytest.raises(Violation, match="ItEnds"):
        run(bulk(5000), [oracles.ItEnds], artifacts="")


def test_slow_start_past_ssthresh_is_seen() -> None:
    """An acknowledgment of ten segments, with two to go."""
    made, side, state = states(bulk())
    watch = oracles.CongestionAvoidance(made)
    before = state._replace(cwnd=6, ssthresh=8, phase=0)
    watch.step(side, "arrival", None, before, before._replace(cwnd=10, delivered=before.delivered + 10))
    with pytest.raises(Violation, match="past ssthresh"):
        watch.step(side, "arrival", None, before, before._replace(cwnd=16, delivered=before.delivered + 10))


def states(case: Case) -> Any:
    """The state of a in the middle of a transfer, to be altered."""
    made = make(case, [])
    for step in case.steps:
        perform(made, step)
    made.run(100 * MS)
    return made, made.sides["a"], made.sides["a"].state()


def test_two_reductions_in_a_round_trip_are_seen() -> None:
    made, side, state = states(bulk())
    watch = oracles.OneReductionPerRoundTrip(made)
    calm = state._replace(cwnd=20, ssthresh=20, phase=0)
    once = calm._replace(cwnd=14, ssthresh=14, phase=3)
    watch.step(side, "arrival", None, calm, once)
    again = once._replace(ssthresh=9)
    with pytest.raises(Violation, match="OneReductionPerRoundTrip"):
        watch.step(side, "arrival", None, once, again)
    later = once._replace(snd_una=calm.snd_nxt, snd_nxt=calm.snd_nxt + 9000)
    watch.recover["a"] = calm.snd_nxt
    watch.step(side, "arrival", None, later, later._replace(ssthresh=9))


def test_data_is_no_duplicate_acknowledgment() -> None:
    """Three segments with data, and the scoreboard took them for duplicate ACKs (RFC 5681 section 2 does not)."""
    made, side, state = states(bulk(settings={"net.ipv4.tcp_sack": 0}))
    assert not state.sack_ok
    image = [image for _, kind, image in made.sides["b"].history if kind == "out"][-1]
    before = state._replace(phase=1, sacked_out=2, reordering=3, snd_nxt=state.snd_una + 9000, packets_out=6)
    begun = before._replace(phase=3, sacked_out=3)
    seg = wire.parse(image)
    seg.ack, seg.window = before.snd_una & wire.MASK, before.snd_wnd >> side.flow.wscale_in
    before = before._replace(snd_wnd=seg.window << side.flow.wscale_in)
    watch = oracles.FastRetransmit(made)
    for _ in range(2):
        watch.step(side, "arrival", seg, before, before)
    watch.step(side, "arrival", seg, before, begun)
    watch = oracles.FastRetransmit(made)
    seg.length = 100
    with pytest.raises(Violation, match="after 0 duplicate ACKs"):
        watch.step(side, "arrival", seg, before, begun)


def test_a_burst_in_recovery_is_seen() -> None:
    made, side, state = states(bulk())
    watch = oracles.ProportionalRecovery(made)
    before = state._replace(phase=3, cwnd=8, ssthresh=7, packets_out=10, sacked_out=2, lost_out=2, retrans_out=1)
    watch.step(side, "arrival", None, before, before._replace(cwnd=8, delivered=before.delivered + 1))
    with pytest.raises(Violation, match="ProportionalRecovery"):
        watch.step(side, "arrival", None, before, before._replace(cwnd=20, delivered=before.delivered + 1))


def test_options_that_boxes_strip_are_not_used() -> None:
    """And nothing else breaks when they are."""
    for kinds in ((TIMESTAMP,), (SACK_PERMITTED,), (WSCALE,), (TIMESTAMP, SACK_PERMITTED, WSCALE)):
        run(bulk(boxes=(StripOptions(kinds),), fates=lost(20, 30)), artifacts="")
