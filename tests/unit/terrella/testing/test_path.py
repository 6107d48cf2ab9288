# ruff: noqa: E501
"""IPv6, and a router between the two sides: what it does, and what its oracles object to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from netstack import forward
from netstack.tcp import engine, pmtu, predict
from terrella.testing import cases, icmp, oracles, replay, script, strategies, wire
from terrella.testing.apps import Application, Piece
from terrella.testing.cases import PATIENT, Case
from terrella.testing.forged import KINDS
from terrella.testing.links import (
    CORRUPT,
    DELAY,
    DROP,
    DUPLICATE,
    MARK,
    MS,
    STALE,
    BleachEcn,
    ClampMss,
    Fate,
    Link,
    Router,
    ShiftSequence,
    StripOptions,
    Way,
)
from terrella.testing.machine import TwoSockets
from terrella.testing.oracles import Oracle
from terrella.testing.pair import Violation
from terrella.testing.running import exchange, run
from tests.unit.terrella.testing.breaking import Breaker, mutate

SHRINKS = settings(
    max_examples=100, stateful_step_count=10, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck), derandomize=True,
)  # fmt: skip
VERSIONS = pytest.mark.parametrize("version", [4, 6])
BULK = Application((Piece(60_000),))


def narrow(version: int, *errors: Fate, mtu: int = 1300, back: int = 0, size: int = 60_000) -> Case:
    """a says much, and the path takes less than its link."""
    link = Link(Way(20 * MS), Way(20 * MS), version=version, router=Router(mtu, back, errors))
    return Case.exchange(link, Application((Piece(size),)), Application((Piece(20_000),)), settings=PATIENT)


def errors_of(pair: Any, name: str) -> list[icmp.Error]:
    return [error for _, kind, image in pair.sides[name].history if kind == "in" and (error := icmp.parse(image))]


@VERSIONS
def test_a_narrow_path_is_found_and_told_of_once(version: int) -> None:
    pair = run(narrow(version, back=1400), artifacts="")
    assert pair.sides["b"].read == 60_000 and pair.sides["a"].read == 20_000
    assert {error.mtu for error in errors_of(pair, "a")} == {1300}
    assert {error.mtu for error in errors_of(pair, "b")} == {1400}
    sent = [image for _, kind, image in pair.sides["a"].history if kind == "out"]
    told = next(n for n, event in enumerate(pair.sides["a"].history) if event[1] == "in" and icmp.parse(event[2]))
    assert len(sent[told]) <= 1500 and max(len(i) for _, k, i in pair.sides["a"].history[told:] if k == "out") <= 1300
    assert pair.now < 7_201_000 * MS, "no timeout was needed"


@VERSIONS
@pytest.mark.parametrize("kind", [DROP, DELAY, DUPLICATE, CORRUPT, STALE])
def test_what_becomes_of_errors_is_survived(version: int, kind: str) -> None:
    value = {DELAY: 700 * MS, DUPLICATE: 300 * MS, CORRUPT: 8 * 30 + 3}.get(kind, 0)
    pair = run(narrow(version, *[Fate(kind, value)] * 12), artifacts="")
    assert pair.sides["b"].read == 60_000
    assert kind != STALE or pair.sides["a"].stack.counters.tcpext.OutOfWindowIcmps


def test_a_wide_router_only_ages_packets() -> None:
    pair = run(narrow(4, mtu=1500), artifacts="")
    came = [seg for _, kind, image in pair.sides["b"].history if kind == "in" and (seg := wire.parse(image))]
    assert {seg.ttl for seg in came} == {63} and not errors_of(pair, "a")


def test_middleboxes_know_ipv6() -> None:
    def seen(*boxes: Any, **settings: int) -> list[wire.Segment]:
        link = Link(Way(boxes=boxes), Way(), version=6)
        pair = exchange(link, BULK, settings={f"net.ipv4.{name}": value for name, value in settings.items()}, artifacts="")
        return [seg for _, kind, image in pair.sides["b"].history if kind == "in" and (seg := wire.parse(image))]

    syn = seen(ClampMss(700), StripOptions((4, 8)))[0]
    assert syn.mss == 700 and syn.tsval is None and not syn.options & wire.HAS_SACK_PERMITTED
    assert any(seg.ecn for seg in seen(tcp_ecn=1)) and not any(seg.ecn for seg in seen(BleachEcn(), tcp_ecn=1))
    shifted = Link(Way(boxes=(ShiftSequence(9, sack=True),)), Way(boxes=(ShiftSequence(9, back=True, sack=True),)), version=6)
    assert exchange(shifted, BULK, artifacts="").sides["b"].read == 60_000
    marked = Link(Way(fates=(*[Fate()] * 5, Fate(MARK), Fate(STALE))), Way(), version=6)
    pair = exchange(marked, BULK, settings={"net.ipv4.tcp_ecn": 1}, artifacts="")
    assert pair.sides["a"].state() is None or pair.sides["b"].read == 60_000


@pytest.mark.parametrize(
    ("what", "said"),
    [({"version": 5}, "no IPv5"), ({"version": 6, "mtu": 576}, "1280"), ({"version": 6, "router": Router(576)}, "1280")],
)
def test_a_link_that_cannot_be_is_refused(what: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Link(**what)


class NoLargeStreams(Oracle):
    """Nobody may read beyond byte 20,000 (a rule made up to be broken)."""

    section = "made up"

    def got(self, side: Any, offset: int, data: bytes) -> None:
        if offset + len(data) > 20_000:
            self.fail(side, "too much")


@VERSIONS
def test_a_failing_case_is_kept_and_fails_again(version: int, tmp_path: Any) -> None:
    from tools.packetdrill.runner import run_text
    from tools.pcapng import packets

    case = narrow(version, Fate(DELAY, 5 * MS))
    assert cases.from_json(cases.to_json(case)) == case
    with pytest.raises(Violation):
        run(case, [NoLargeStreams], tmp_path)
    for kind in ("json", "pkt", "pcapng"):
        assert replay.load(str(tmp_path / f"case-NoLargeStreams.{kind}")) == case
    text = (tmp_path / "case-NoLargeStreams.pkt").read_text()
    verdict = run_text(text, "kept.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"
    assert ("--ip_version=ipv6" in text) == (version == 6)
    kept = list(packets(tmp_path / "case-NoLargeStreams.pcapng"))
    assert any("too much" in (packet.comment or "") for packet in kept) and kept[0].data[0] >> 4 == version


@pytest.mark.parametrize("how", ["machine", "cases"])
def test_the_smallest_case_has_ipv4_and_no_router(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A mistake that needs neither is found, shrunk and kept; what is kept is the smallest, which fails again."""
    mutate(predict, "send", ("ACK | PSH", "ACK"))(monkeypatch)
    drawn = set()

    def draws(link: Link) -> bool:
        drawn.update({link.version, link.router is not None})
        return True

    links = strategies.links(versions=(4, 6)).filter(draws)

    class Machine(TwoSockets):
        pass

    Machine.links, Machine.oracles, Machine.artifacts = links, [oracles.Push], str(tmp_path)

    @SHRINKS
    @given(case=strategies.cases(link=links, app=strategies.applications(most=3000)))
    def test_cases(case: Case) -> None:
        run(case, [oracles.Push], tmp_path)

    with pytest.raises(Violation):
        if how == "machine":
            run_state_machine_as_test(Machine, settings=SHRINKS)  # type: ignore[no-untyped-call]
        else:
            test_cases()
    assert {4, 6, True, False} <= drawn, "nothing else was tried"
    (kept,) = tmp_path.glob("*.pkt")
    case = replay.load(str(kept))
    assert case.link.version == 4 and case.link.router is None
    assert case.link.a_to_b.fates == case.link.b_to_a.fates == case.link.a_to_b.boxes == ()
    assert "--ip_version" not in kept.read_text()
    with pytest.raises(Violation):
        run(case, [oracles.Push], artifacts="")


@VERSIONS
def test_a_firewall_that_renumbers_knows_what_errors_quote(version: int) -> None:
    """Else a router behind it is a black hole."""
    link = narrow(version).link
    there, back = (Way(20 * MS, boxes=(ShiftSequence(222_395, back, sack=True),)) for back in (False, True))
    pair = run(narrow(version).but(link=Link(there, back, version=version, router=link.router)), artifacts="")
    sent = [wire.parse(image) for _, kind, image in pair.sides["a"].history if kind == "out"]
    assert {error.seq for error in errors_of(pair, "a")} <= {seg.seq for seg in sent if seg is not None}
    assert pair.sides["b"].read == 60_000 and pair.sides["b"].flow.irs != pair.sides["a"].flow.iss


@VERSIONS
@pytest.mark.parametrize("side", ["a", "b"])
def test_the_script_has_what_the_router_says(version: int, side: str) -> None:
    from tools.packetdrill.runner import run_text

    pair = run(narrow(version, Fate(DROP), Fate(STALE), back=1400), artifacts="")
    text = script.text(pair, side)
    assert ("packet_too_big mtu" if version == 6 else "frag_needed mtu") in text
    verdict = run_text(text, "kit.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"


@pytest.mark.parametrize("side", ["a", "b"])
def test_what_a_stranger_sends_over_ipv6_is_in_the_script(side: str) -> None:
    from tools.packetdrill.runner import run_text

    steps = [("listen", "b"), ("connect", "a"), ("run", 100 * MS), ("accept", "b")]
    steps += [step for kind in KINDS for step in (("forge", side, kind, 7), ("run", 600 * MS))]
    text = script.text(run(Case(Link(Way(MS), Way(MS), version=6), (*steps, ("close", side))), artifacts=""), side)
    assert "icmp packet_too_big mtu 1280" in text and "icmp unreachable port_unreachable" in text
    verdict = run_text(text, "kit.pkt")
    assert verdict.passed, f"{verdict.error}\n{text}"


def test_an_error_is_read_and_forged() -> None:
    for addresses in ((bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1))), (bytes(15) + b"\2", bytes(15) + b"\1")):
        version = 4 if len(addresses[0]) == 4 else 6
        image = icmp.quoting(icmp.TOO_BIG[version], 1300, 1000, addresses, (80, 4000))
        error = icmp.parse(image)
        assert error is not None and error.too_big and (error.mtu, error.seq, error.size) == (1300, 1000, 1000)
        assert error.key == addresses[1] + addresses[0] + (4000).to_bytes(2, "big") + (80).to_bytes(2, "big")
        other = icmp.parse(icmp.misquoting(image, 7))
        assert other is not None and (other.seq, other.mtu) == (1007, 1300)
        damaged = bytearray(image)
        damaged[-1] ^= 1
        assert icmp.parse(bytes(damaged)) is None
        longer = bytearray(image)
        longer[5 if version == 6 else 3] ^= 16
        assert icmp.parse(bytes(longer)) is None


IN_FLIGHT = "if not c.snd_una <= seq <= c.snd_nxt:"

CONTROLS: list[tuple[str, str, Breaker, Case]] = [
    ("what was too big waits for its timeout", "PathMtu", mutate(pmtu, "frag_needed", ("resend_larger(c, now)", "pass")), narrow(4)),
    ("the same over IPv6", "PathMtu", mutate(pmtu, "frag_needed", ("resend_larger(c, now)", "pass")), narrow(6)),
    ("segments stay as they are", "PathMtu", mutate(pmtu, "too_big", ("if mtu >= before:", "if True:")), narrow(6)),
    ("one at a time is sent again", "PathMtu",
     mutate(pmtu, "resend_larger", ("for rec in c.rtx:", "for rec in c.rtx[:1]:"), ("output.retransmit_lost(c, now)", "output.retransmit_lost(c, now); c.lost_out += 1")), narrow(4)),
    ("cwnd is halved", "PathMtu", mutate(pmtu, "resend_larger", ("if c.lost_out:", "c.cwnd //= 2\n    if c.lost_out:")), narrow(4)),
    ("ssthresh is halved", "PathMtu", mutate(pmtu, "resend_larger", ("c.ssthresh = recovery.current_ssthresh(c)", "c.ssthresh = c.cwnd // 2")), narrow(4)),
    ("any error is believed", "PathMtu", mutate(engine.Tcp, "icmp_error", (IN_FLIGHT, "if False:")),
     narrow(4, *[Fate(DROP)] * 9, Fate(STALE, 5), *[Fate(DROP)] * 3)),
    ("any error is believed, over IPv6", "ForgedSegments", mutate(engine.Tcp, "icmp_error", (IN_FLIGHT, "if False:")),
     Case(Link(Way(MS), Way(MS), version=6), (("listen", "b"), ("connect", "a"), ("run", 100 * MS), ("forge", "a", "icmp-mtu", 6)))),
    ("smaller than need be", "PathMtu", mutate(pmtu, "too_big", ("update_pmtu(error.mtu, now)", "update_pmtu(error.mtu - 100, now)")), narrow(6, mtu=1400)),
    ("a router that does not age packets", "Forwards", mutate(forward.Forward, "ipv6", ("packet.data[path.l3 + 7] -= 1", "pass")), narrow(6)),
    ("a router that takes any size", "Forwards", mutate(forward.Forward, "ipv4", ("if not whole and pkt.dont_fragment:", "if False:"), ("if whole:", "if True:")), narrow(4)),
    ("a router that says one less", "Forwards", mutate(forward.Forward, "ipv4", ("icmp.FRAG_NEEDED, mtu, now", "icmp.FRAG_NEEDED, mtu - 1, now")), narrow(4)),
    ("a router that is silent", "Forwards", mutate(forward.Forward, "ipv6", ("stack.icmp6.send_error(frame, interface, icmpv6.PACKET_TOO_BIG, 0, mtu, now)", "pass")), narrow(6)),
]  # fmt: skip


@pytest.mark.parametrize(("oracle", "breaker", "case"), [c[1:] for c in CONTROLS], ids=[f"{c[1]}: {c[0]}" for c in CONTROLS])
def test_a_broken_rule_is_seen(oracle: str, breaker: Breaker, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    run(case, artifacts="")
    breaker(monkeypatch)
    with pytest.raises(Violation) as seen:
        run(case, [getattr(oracles, oracle)], artifacts="")
    assert seen.value.oracle == oracle and "RFC" in str(seen.value)
