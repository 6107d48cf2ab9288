# ruff: noqa: E501
"""Negative controls: each oracle has to object when its rule is broken, and only then.

A sender or receiver is broken by changing one place of its source; what the place says is asserted, so a control that no
longer breaks anything says so.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from csrc.frame import Frame
from netstack.tcp import (
    ack,
    connection,
    delack,
    emit,
    fsm,
    options,
    output,
    persist,
    rack,
    reassembly,
    recovery,
    rto,
    timeouts,
    validation,
    window,
)
from netstack.tcp.congestion import cubic, reno
from terrella.testing import oracles, pair
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
    StripOptions,
    Way,
)
from terrella.testing.pair import Violation
from terrella.testing.running import run
from terrella.testing.wire import SACK_PERMITTED, TIMESTAMP, WSCALE

RENO = {"net.ipv4.tcp_congestion_control": "reno"}
Breaker = Callable[[pytest.MonkeyPatch], None]


def mutate(module: ModuleType, name: str, *changes: tuple[str, str]) -> Breaker:
    """A breaker that replaces text in the source of `module.name` (a function)."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        source = textwrap.dedent(inspect.getsource(getattr(module, name)))
        for old, new in changes:
            assert old in source, f"{module.__name__}.{name} no longer says {old!r}"
            source = source.replace(old, new)
        scope: dict[str, Any] = {}
        exec(compile("from __future__ import annotations\n" + source, module.__name__, "exec"), module.__dict__, scope)
        monkeypatch.setattr(module, name, scope[name])

    return apply


def replace(owner: Any, name: str, value: Any) -> Breaker:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


def every(*breakers: Breaker) -> Breaker:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        for breaker in breakers:
            breaker(monkeypatch)

    return apply


# Situations.


def bulk(size: int = 200_000, fates: tuple[Fate, ...] = (), back: tuple[Fate, ...] = (), **kw: Any) -> Case:
    """a sends `size` bytes over 10 Mbit/s and 20 ms."""
    way = {"delay_ns": 20 * MS, "rate": 10_000_000, "queue": kw.pop("queue", 200), "ecn": kw.pop("ecn", None)}
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
    ("no echo of marks", "EcnEcho", replace(connection.Connection, "check_ce", lambda self, seg: None), MARKS),
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
    controlled = {c[1] for c in CONTROLS} | {"ItEnds", "OneReductionPerRoundTrip", "ProportionalRecovery"}  # the last three below
    for oracle in oracles.EVERY:
        assert oracle.__doc__ and oracle.section, oracle
        assert oracle.__name__ in controlled, f"nothing shows that {oracle.__name__} ever objects"


def test_it_ends_sees_what_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsm, "fin_arrives", lambda c, now: None)
    with pytest.raises(Violation, match="ItEnds"):
        run(bulk(5000), [oracles.ItEnds], artifacts="")


def states(case: Case) -> Any:
    """The state of a in the middle of a transfer, to be altered."""
    from terrella.testing.running import make, perform

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


def test_a_burst_in_recovery_is_seen() -> None:
    made, side, state = states(bulk())
    watch = oracles.ProportionalRecovery(made)
    before = state._replace(phase=3, cwnd=8, ssthresh=7, packets_out=10, sacked_out=2, lost_out=2, retrans_out=1)
    watch.step(side, "arrival", None, before, before._replace(cwnd=9, delivered=before.delivered + 1))
    with pytest.raises(Violation, match="ProportionalRecovery"):
        watch.step(side, "arrival", None, before, before._replace(cwnd=20, delivered=before.delivered + 1))


def test_options_that_boxes_strip_are_not_used() -> None:
    """And nothing else breaks when they are."""
    for kinds in ((TIMESTAMP,), (SACK_PERMITTED,), (WSCALE,), (TIMESTAMP, SACK_PERMITTED, WSCALE)):
        run(bulk(boxes=(StripOptions(kinds),), fates=lost(20, 30)), artifacts="")
