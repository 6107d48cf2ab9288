"""Header prediction is only a shorter way: with it and without, the same segments at the same times, the same state.

One conversation is held twice, the second time with `predict` refusing everything. After each step every variable of
both connections is compared; at the end, everything that was on the wire.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp import emit, predict, window
from netstack.tcp.connection import Connection
from netstack.tcp.tcb import Tcb
from tests.property.netstack.tcp.pair import MS, Pair

FATE = st.sampled_from([("deliver", 0)] * 12 + [("drop", 0), ("delay", 15), ("dup", 3)])
STEP = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["send", "send", "read", "more", "nodelay", "answer", "answer", "answer"]),
    st.sampled_from([1, 1, 7, 100, 536, 1447, 1448, 1449, 5000, 70000]),
    st.sampled_from([0, 0, 1, 3, 5, 20, 39, 41, 250, 1500]),
)
CONFIG = st.fixed_dictionaries(
    {"delay": st.sampled_from([0, 1, 5, 60])},
    optional={
        "net__ipv4__tcp_sack": st.integers(0, 1),
        "net__ipv4__tcp_timestamps": st.integers(0, 1),
        "net__ipv4__tcp_congestion_control": st.sampled_from(["reno", "cubic"]),
        "net__ipv4__tcp_early_retrans": st.sampled_from([0, 3]),
        "net__ipv4__tcp_ecn": st.integers(0, 2),
        "net__ipv4__tcp_rmem": st.sampled_from([(4096, 8192, 16384), (4096, 131072, 6291456)]),
    },
)
OBJECTS = ("path", "out", "tmpl", "unsent", "rtx", "ts_head", "rcvq", "ooo", "timer", "cc")


def state(c: Any) -> dict[str, Any]:
    """Every variable of the connection, records by what they say."""
    found = {name: getattr(c, name, None) for name in Tcb.__slots__ if name not in OBJECTS}
    for rec in c.rtx:
        found[f"rec {rec.seq}"] = (rec.end, rec.length, rec.flags, rec.marks, rec.order, rec.sends, rec.delivered)
    found["rcvq"] = [bytes(chunk) for chunk in c.rcvq]
    found["ooo"] = [(e[0], e[1]) for e in c.ooo]
    found["by time"] = []
    rec = c.ts_head.next
    while rec is not c.ts_head:
        found["by time"].append(rec.seq)
        rec = rec.next
    cc = c.cc
    found["cc"] = {name: getattr(cc, name, None) for name in type(cc).__slots__}
    found["timer"] = c.timer.deadline if c.timer is not None else None
    return found


def act(pair: Pair, socks: dict[str, Any], who: str, what: str, size: int) -> Any:
    sock = socks[who]
    try:
        if what == "nodelay":
            return sock.setsockopt(6, 1, size & 1)
        if what == "read":
            return len(sock.recv(size, pair.now))
        if what == "answer":  # what a request and its answer do
            sock.send(b"q" * min(size, 1448), pair.now)
            pair.run(2 * pair.delay_ns + MS // 2)
            other = socks["b" if who == "a" else "a"]
            got = other.recv(1 << 20, pair.now)
            return other.send(got, pair.now)
        return sock.send(b"x" * size, pair.now, 0x8000 if what == "more" else 0)
    except BlockingIOError:
        return None


def hold(config: dict[str, Any], fates: dict[str, Any], steps: list[Any]) -> tuple[list[Any], list[Any]]:
    """The states after each step, and what was on the wire."""
    config = dict(config)
    pair = Pair(delay_ns=config.pop("delay") * MS, **config)
    pair.keep = True
    client, server = pair.established()
    pair.fates = {side: iter(fates[side]) for side in "ab"}
    conns = client.conn, server.conn
    socks = {"a": client, "b": server}
    states = []
    for who, what, size, gap in steps:
        result = act(pair, socks, who, what, size)
        pair.run(gap * MS)
        states.append((result, state(conns[0]), state(conns[1])))
    return states, pair.seen


def refuse(*_: Any) -> bool:
    return False


@settings(max_examples=60, deadline=None)
@given(CONFIG, st.fixed_dictionaries({s: st.lists(FATE, max_size=30) for s in "ab"}), st.lists(STEP, max_size=14))
def test_the_same_with_and_without(config: dict[str, Any], fates: dict[str, Any], steps: list[Any]) -> None:
    with_it = hold(config, fates, steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "acknowledged", refuse)
        patch.setattr(Connection, "send_plain", refuse)
        without = hold(config, fates, steps)
    for i, (one, other) in enumerate(zip(with_it[0], without[0])):
        assert one == other, steps[i]
    assert with_it[1] == without[1]


@settings(max_examples=30, deadline=None)
@given(CONFIG, st.fixed_dictionaries({s: st.lists(FATE, max_size=30) for s in "ab"}), st.lists(STEP, max_size=14))
def test_a_segment_in_one_call_or_field_by_field(
    config: dict[str, Any], fates: dict[str, Any], steps: list[Any]
) -> None:
    in_one = hold(config, fates, steps)

    def by_fields(c: Any, seq: int, flags: int, options: int, text: bytes, size: int, now: int, syn: int = 0) -> Any:
        return emit.by_fields(c, seq, flags, (text,) if size else (), size, now, 0, options, syn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emit, "small", by_fields)
        patch.setattr(predict, "small", by_fields)
        by_field = hold(config, fates, steps)
    assert in_one == by_field


def test_prediction_is_taken_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and answers go the short way both in and out, or the comparison above compares nothing."""
    taken: dict[str, int] = {}

    def count(name: str, inner: Any) -> Any:
        def counted(*args: Any) -> bool:
            done = bool(inner(*args))
            taken[name] = taken.get(name, 0) + done
            return done

        return counted

    monkeypatch.setattr(predict, "acknowledged", count("acknowledged", predict.acknowledged))
    monkeypatch.setattr(Connection, "send_plain", count("send", predict.send))
    hold({"delay": 5}, {"a": [], "b": []}, [("a", "answer", 1, 50)] * 10)
    assert taken["send"] >= 19 and taken["acknowledged"] >= 18


@pytest.mark.parametrize("name", ["delivered", "rto_ns", "snd_wl1", "pacing_rate", "rack_end"])
def test_a_variable_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Negative control: had `acknowledged` left one variable as it was, the comparison would say so."""
    steps = [("a", "answer", 100, 50)] * 4
    right = predict.acknowledged

    def wrong(c: Any, *args: Any) -> bool:
        before = getattr(c, name)
        done = right(c, *args)
        setattr(c, name, before if done else getattr(c, name))
        return done

    good = hold({"delay": 5}, {"a": [], "b": []}, steps)
    monkeypatch.setattr(predict, "acknowledged", wrong)
    assert hold({"delay": 5}, {"a": [], "b": []}, steps)[0] != good[0]


def offered(c: Any) -> int:
    """`window.select` by its rules alone: the candidate, but never an edge that moves left; none where what came found
    no memory; and what fits in the field, of which a setting leaves 15 bits where the window is not scaled.
    """
    if c.ack_pending & window.NO_MEMORY:
        c.rcv_wnd, c.rcv_wup = 0, c.rcv_nxt
        return 0
    current = max(c.rcv_wup + c.rcv_wnd - c.rcv_nxt, 0)
    new = window.candidate(c)
    if new < current:
        unit = (1 << c.rcv_wscale) - 1
        new = (current + unit) & ~unit
    c.rcv_wnd, c.rcv_wup = new, c.rcv_nxt
    most = 32767 if c.settings.tcp_workaround_signed_windows and not c.rcv_wscale else 65535 << c.rcv_wscale
    return int(min(new, most) >> c.rcv_wscale)


SIZE = st.one_of(st.integers(0, 1 << 23), st.integers(0, 3000), st.integers(60_000, 70_000))


@settings(max_examples=300, deadline=None)
@given(st.builds(dict, rcvbuf=SIZE, rmem=st.sampled_from([0, 0, 0, 960, 5000]), scaling_ratio=st.integers(1, 255),
                 window_clamp=st.integers(1, 1 << 22), rcv_mss=st.integers(88, 9000), rcv_wscale=st.integers(0, 14),
                 rcv_ssthresh=SIZE, rcv_wnd=SIZE, ahead=st.integers(0, 70_000)),
       st.booleans(), st.booleans())  # fmt: skip
def test_the_window_offered_after_everything_was_read(fields: dict[str, int], full: bool, signed: bool) -> None:
    """The short way of `window.select` says what the rules say."""
    ahead = fields.pop("ahead")
    pending = window.NO_MEMORY if full and fields["rmem"] else 0  # (an empty queue has room for a segment)
    counters = SimpleNamespace(TCPWantZeroWindowAdv=0, TCPToZeroWindowAdv=0, TCPFromZeroWindowAdv=0)
    taste = SimpleNamespace(tcp_shrink_window=0, tcp_workaround_signed_windows=int(signed))
    one, other = (
        SimpleNamespace(
            **fields, rcv_wup=1000, rcv_nxt=1000 + ahead, ack_quick=0, ack_pending=pending, counters=counters,
            settings=taste,
        )
        for _ in range(2)
    )  # fmt: skip
    assert window.select(one) == offered(other)  # type: ignore[arg-type]
    assert (one.rcv_wnd, one.rcv_wup) == (other.rcv_wnd, other.rcv_wup)
