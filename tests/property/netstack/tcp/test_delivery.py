"""Whatever the wire does, as long as it stops: exactly the bytes sent arrive, in order, and both sides close."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstack.tcp import fsm
from tests.property.netstack.tcp.pair import MS, Mover, Pair, S

FATE = st.one_of(
    st.just(("deliver", 0)),
    st.just(("deliver", 0)),
    st.just(("drop", 0)),
    st.tuples(st.just("delay"), st.integers(1, 300)),
    st.tuples(st.just("dup"), st.integers(0, 100)),
    st.tuples(st.just("corrupt"), st.integers(0, 2000)),
)
FATES = st.fixed_dictionaries({"a": st.lists(FATE, max_size=60), "b": st.lists(FATE, max_size=60)})
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "net__ipv4__tcp_sack": st.integers(0, 1),
        "net__ipv4__tcp_timestamps": st.integers(0, 1),
        "net__ipv4__tcp_window_scaling": st.integers(0, 1),
        "net__ipv4__tcp_congestion_control": st.sampled_from(["reno", "cubic"]),
        "net__ipv4__tcp_early_retrans": st.sampled_from([0, 3]),
        "net__ipv4__tcp_frto": st.sampled_from([0, 2]),
        "net__ipv4__tcp_dsack": st.integers(0, 1),
        "net__ipv4__tcp_ecn": st.integers(0, 2),
        "net__ipv4__tcp_rmem": st.sampled_from([(4096, 8192, 16384), (4096, 131072, 6291456)]),
    },
)


def payload(n: int) -> bytes:
    return bytes((i * 7 + (i >> 8)) & 0xFF for i in range(n))


def consistent(pair: Pair) -> None:
    """The counters of every flight are the sums of its records."""
    for stack in pair.stacks.values():
        for c in stack.tcp.connections():
            if not hasattr(c, "rtx"):
                continue
            assert c.packets_out == sum(rec.pcount for rec in c.rtx)
            if c.sack_ok:
                assert c.sacked_out == sum(rec.pcount for rec in c.rtx if rec.marks & 1)
            assert c.retrans_out == sum(rec.pcount for rec in c.rtx if rec.marks & 2)
            assert c.lost_out == sum(rec.pcount for rec in c.rtx if rec.marks & 4)
            assert c.in_flight() >= 0
            assert all(not (rec.marks & 1 and rec.marks & 4) for rec in c.rtx)
            for left, right in zip(c.rtx, c.rtx[1:]):
                assert left.end == right.seq
            for rec in c.rtx:
                assert rec.length == sum(len(frag) for frag in rec.frags)
            assert c.unsent_bytes == sum(len(chunk) for chunk in c.unsent)
            assert c.rmem >= 0
            assert c.cwnd >= 1
            assert c.rto_ns <= 120 * S
            assert c.rto_ns >= min(c.rto_min_us * 1000, 200 * MS) or not c.srtt_us


def exchange(pair: Pair, up: bytes, down: bytes, chunk: int, read: int, limit: int = 3600 * S) -> None:
    client, listener = pair.connect()
    server: Any = None
    movers: list[Mover] = []
    end = pair.now + limit
    while pair.now < end:
        if server is None:
            try:
                server, _ = listener.accept(pair.now)
                movers = [Mover(client, server, up, chunk, read), Mover(server, client, down, chunk, read)]
            except BlockingIOError:
                pass
        for mover in movers:
            mover.turn(pair.now)
        consistent(pair)
        if movers and all(mover.done for mover in movers):
            break
        if not pair.step(end):
            break
    assert movers, "never connected"
    assert bytes(movers[0].got) == up
    assert bytes(movers[1].got) == down
    assert all(mover.done for mover in movers), "never closed"
    client.close(pair.now)
    server.close(pair.now)
    listener.close(pair.now)
    pair.run(600 * S)
    for stack in pair.stacks.values():
        assert not stack.tcp.table, "a connection leaks"
        assert not stack.tcp.bound, "a port leaks"
        assert not len(stack.timers), "a timer leaks"


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=FATES,
    config=CONFIG,
    up=st.integers(0, 60_000),
    down=st.integers(0, 30_000),
    chunk=st.sampled_from([100, 1448, 5000, 100_000]),
    read=st.sampled_from([50, 4000, 200_000]),
    delay=st.sampled_from([0, 1, 20, 150]),
    gso=st.booleans(),
)
def test_exactly_the_bytes_sent(
    fates: Any, config: dict[str, Any], up: int, down: int, chunk: int, read: int, delay: int, gso: bool
) -> None:
    # A lost handshake may take long, but this many faults never end it: retries outlast them.
    config.setdefault("net__ipv4__tcp_syn_retries", 100)
    config.setdefault("net__ipv4__tcp_synack_retries", 100)
    config.setdefault("net__ipv4__tcp_retries2", 100)
    pair = Pair(delay * MS, fates, gso=gso, **config)
    exchange(pair, payload(up), payload(down)[::-1], chunk, read)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(fates=FATES, offset=st.integers(-40_000, 40_000))
def test_sequence_numbers_wrap(fates: Any, offset: int) -> None:
    """The ISNs lie just before 2^32 (or just after): nothing changes."""
    pair = Pair(
        5 * MS, fates, net__ipv4__tcp_syn_retries=100, net__ipv4__tcp_synack_retries=100, net__ipv4__tcp_retries2=100
    )
    for stack in pair.stacks.values():
        stack.tcp.__class__ = _FixedIsn
        _FixedIsn.value = (offset) & 0xFFFFFFFF
    exchange(pair, payload(50_000), payload(20_000), 3000, 100_000)


class _FixedIsn(type(Pair().stacks["a"].tcp)):  # type: ignore[misc]
    __slots__ = ()
    value = 0

    def isn(self, key: bytes, now: int) -> int:
        return self.value


def test_a_broken_check_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a receiver that believes any sequence number is found out."""
    from netstack.tcp import reassembly

    def careless(c: Any, seg: Any, seq: int, now: int) -> None:
        c.rcvq = [*c.rcvq, seg.payload]
        c.rmem += reassembly.truesize(seg.length)
        c.rcv_nxt = max(c.rcv_nxt, seq + seg.length + (seg.flags & 1))
        c.wake_pending = True
        if seg.flags & 1:
            fsm.fin_arrives(c, now)

    monkeypatch.setattr(reassembly, "receive", careless)
    fates = {"a": [("deliver", 0)] * 4 + [("delay", 30), ("deliver", 0)] * 10, "b": []}
    with pytest.raises(AssertionError):
        exchange(Pair(10 * MS, fates), payload(40_000), b"", 5000, 100_000, limit=60 * S)


def test_silly_windows_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative controls: a sender that takes whatever room there is, and a receiver that offers scraps."""
    from netstack.tcp import output, window

    inner = output.write

    def greedy(c: Any, now: int, *rest: Any, **named: Any) -> None:
        room = c.snd_una + c.snd_wnd - c.snd_nxt
        if c.unsent_bytes > 700 and room > 700 and c.in_flight() < c.cwnd and c.state == 1:
            output.force(c, 700, c.mss_cache, 0x18, now)
        inner(c, now, *rest, **named)

    monkeypatch.setattr(output, "write", greedy)
    with pytest.raises(AssertionError, match=r"silly|small"):
        exchange(Pair(10 * MS), payload(40_000), b"", 40_000, 100_000, limit=60 * S)
    monkeypatch.undo()
    monkeypatch.setattr(window, "candidate", lambda c: 100)
    small = Pair(1 * MS, net__ipv4__tcp_rmem=(4096, 8192, 8192), net__ipv4__tcp_window_scaling=0)
    with pytest.raises(AssertionError, match="silly window"):
        exchange(small, payload(60_000), b"", 60_000, 50, limit=60 * S)
