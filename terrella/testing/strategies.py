"""Hypothesis strategies: links, schedules of faults, applications, congestion controls, settings, whole cases.

Everything drawn is a value of `links`, `apps` or `cases`, and shrinks towards nothing happening: no fault, a
plain link, a byte. A schedule says what becomes of each packet, so the smallest failing one says which packets matter.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from terrella.testing import links as L
from terrella.testing.apps import Application, Piece
from terrella.testing.cases import PATIENT, Case

MS = 1_000_000
MSS, WSCALE, SACK_PERMITTED, TIMESTAMP = 2, 3, 4, 8  # kinds of options


def fates(stale: bool = True, renege: bool = True) -> st.SearchStrategy[L.Fate]:
    """What becomes of one packet; most are delivered."""
    kinds: list[st.SearchStrategy[L.Fate]] = [
        st.just(L.Fate()),
        st.just(L.Fate(L.DROP)),
        st.builds(L.Fate, st.just(L.DELAY), st.integers(1, 300).map(lambda ms: ms * MS)),
        st.builds(L.Fate, st.just(L.DUPLICATE), st.integers(0, 100).map(lambda ms: ms * MS)),
        st.builds(L.Fate, st.just(L.CORRUPT), st.integers(0, 12_000)),
        st.just(L.Fate(L.MARK)),
    ]
    if stale:
        kinds.append(st.just(L.Fate(L.STALE)))
    if renege:
        kinds.append(st.just(L.Fate(L.RENEGE)))
    return st.one_of(st.just(L.Fate()), *kinds)


def fault_schedules(max_size: int = 60, **which: bool) -> st.SearchStrategy[tuple[L.Fate, ...]]:
    """The fates of the first packets of one side: arbitrary ones, or a run of losses, or of delays, somewhere."""
    some = st.lists(fates(**which), max_size=max_size)
    gap = st.builds(
        lambda before, lost: [L.Fate()] * before + [L.Fate(L.DROP)] * lost, st.integers(0, 40), st.integers(1, 12)
    )
    holes = st.builds(
        lambda before, pattern, last: (
            [L.Fate()] * before + [L.Fate(L.DROP) if lost else L.Fate() for lost in pattern] + last
        ),
        st.integers(2, 30),
        st.lists(st.booleans(), min_size=2, max_size=12),
        st.sampled_from([[], [L.Fate(L.RENEGE)]] if which.get("renege", True) else [[]]),
    )
    stall = st.builds(
        lambda before, late, ms: [L.Fate()] * before + [L.Fate(L.DELAY, ms * MS)] * late,
        st.integers(0, 30), st.integers(4, 30), st.sampled_from([150, 400, 900]),
    )  # fmt: skip
    shaved = st.builds(
        lambda before, by, many: [L.Fate()] * before + [L.Fate(L.SHAVE, by)] * many,
        st.integers(0, 5), st.one_of(st.integers(1, 1400), st.sampled_from([1, 724, 2000])), st.integers(10, 60),
    )  # fmt: skip
    return st.one_of(some, gap, holes, stall, shaved, st.builds(lambda a, b: a + b, gap, some)).map(tuple)


def bursts() -> st.SearchStrategy[L.Burst]:
    """Gilbert-Elliott loss, up to a fifth of the packets."""
    return st.builds(L.Burst, st.floats(0.001, 0.05), st.floats(0.2, 1.0), st.floats(0.3, 1.0), st.just(0.0))


def middleboxes() -> st.SearchStrategy[tuple[tuple[L.Middlebox, ...], tuple[L.Middlebox, ...]]]:
    """What stands on the way from a to b, and back: boxes that strip, clamp, bleach or renumber."""
    kinds = st.lists(st.sampled_from([SACK_PERMITTED, TIMESTAMP, WSCALE, MSS]), min_size=1, max_size=3, unique=True)
    strip = kinds.map(lambda kinds: ((L.StripOptions(tuple(kinds)),), (L.StripOptions(tuple(kinds)),)))
    one_way = st.sampled_from([SACK_PERMITTED, MSS]).flatmap(
        lambda kind: st.sampled_from([((L.StripOptions((kind,)),), ()), ((), (L.StripOptions((kind,)),))])
    )
    clamp = st.integers(500, 1400).map(lambda mss: ((L.ClampMss(mss),), (L.ClampMss(mss),)))
    bleach = st.sampled_from([((L.BleachEcn(),), ()), ((), (L.BleachEcn(),))])
    shift = st.builds(
        lambda offset, sack: ((L.ShiftSequence(offset, sack=sack),), (L.ShiftSequence(offset, back=True, sack=sack),)),
        st.one_of(st.integers(1, 1 << 31), st.integers(1, 3000)), st.booleans(),
    )  # fmt: skip
    return st.one_of(st.just(((), ())), strip, one_way, clamp, bleach, shift)


def ways(dice: bool = False) -> st.SearchStrategy[L.Way]:
    """One direction, without schedule or boxes. `dice`: with probabilities too."""
    plain = st.builds(
        L.Way,
        delay_ns=st.sampled_from([0, 1, 20, 150]).map(lambda ms: ms * MS),
        rate=st.sampled_from([None, 10_000_000, 1_000_000, 100_000_000]),
        queue=st.sampled_from([1000, 50, 10, 3]),
        ecn=st.sampled_from([None, 5, 1]),
    )
    if not dice:
        return plain
    chance = st.sampled_from([0.0, 0.01, 0.05])
    return st.builds(
        lambda way, loss, jitter, reorder, duplicate, corrupt: L.Way(
            way.delay_ns, way.rate, way.queue, way.ecn, loss, min(jitter * MS, way.delay_ns), reorder,
            duplicate, corrupt
        ),
        plain, st.one_of(chance, bursts()), st.sampled_from([0, 0, 1, 10]), chance, chance, chance,
    )  # fmt: skip


def routers() -> st.SearchStrategy[L.Router | None]:
    """Mostly none; else one with a narrow link behind it, sometimes on the way back too, and what becomes of its ICMP
    errors."""
    errors = st.one_of(
        st.just(L.Fate()),
        st.just(L.Fate(L.DROP)),
        st.builds(L.Fate, st.just(L.DELAY), st.sampled_from([1, 30, 300, 3000]).map(lambda ms: ms * MS)),
        st.builds(L.Fate, st.just(L.DUPLICATE), st.sampled_from([0, 30, 300]).map(lambda ms: ms * MS)),
        st.builds(L.Fate, st.just(L.CORRUPT), st.integers(0, 600)),
        st.builds(L.Fate, st.just(L.STALE), st.integers(0, 1000)),
    )
    mtus = st.sampled_from([1400, 1280, 576, 1006, 1492])
    router = st.builds(
        L.Router, mtus, st.one_of(st.just(0), st.just(0), mtus), st.lists(errors, max_size=8).map(tuple)
    )  # fmt: skip
    return st.one_of(st.none(), st.none(), router)


def links(
    dice: bool | None = None, boxes: bool = True, faults: int = 60, versions: tuple[int, ...] = (4, 4, 6),
    routed: bool | None = None,
) -> st.SearchStrategy[L.Link]:  # fmt: skip
    """Links with schedules of up to `faults` fates each way, over these versions of IP. `dice` None: with probabilities
    sometimes; `routed` None: with a router between sometimes."""

    def join(
        there: L.Way, back: L.Way, box: Any, fates: Any, mtu: int, version: int, router: L.Router | None
    ) -> L.Link:  # fmt: skip
        from dataclasses import replace

        if version == 6:
            mtu = max(mtu, 1280)
            if router is not None:
                router = replace(router, mtu=max(router.mtu, 1280), back=router.back and max(router.back, 1280))
        return L.Link(
            replace(there, boxes=box[0], fates=fates[0]), replace(back, boxes=box[1], fates=fates[1]), mtu,
            version=version, router=router,
        )  # fmt: skip

    between: st.SearchStrategy[L.Router | None] = routers()
    if routed is not None:
        between = routers().filter(lambda router: router is not None) if routed else st.none()

    way = st.one_of(ways(), ways(dice=True)) if dice is None else ways(dice)
    return st.builds(
        join, way, way, middleboxes() if boxes else st.just(((), ())),
        st.tuples(fault_schedules(faults), fault_schedules(faults)), st.sampled_from([1500, 1500, 576, 9000]),
        st.sampled_from(versions), between,
    )  # fmt: skip


def congestion_controls() -> st.SearchStrategy[str]:
    """The name of one that is registered (TCP_CONGESTION)."""
    from netstack.tcp import congestion

    return st.sampled_from(sorted(congestion.available()))


def socket_options() -> st.SearchStrategy[tuple[str, int | str]]:
    return st.one_of(
        st.tuples(st.sampled_from(["TCP_NODELAY", "TCP_CORK", "TCP_QUICKACK"]), st.integers(0, 1)),
        st.tuples(st.just("TCP_CONGESTION"), congestion_controls()),
        st.tuples(st.just("SO_SNDBUF"), st.sampled_from([4096, 20_000, 200_000])),
        st.tuples(st.just("SO_RCVBUF"), st.sampled_from([4096, 20_000, 200_000])),
        st.tuples(st.just("TCP_NOTSENT_LOWAT"), st.sampled_from([1, 4096, 100_000])),
        st.tuples(st.just("SO_RCVLOWAT"), st.sampled_from([1, 100, 3000])),
        st.tuples(st.sampled_from(["SO_KEEPALIVE", "SO_KEEPALIVE", "TCP_KEEPINTVL", "TCP_KEEPCNT"]), st.just(1)),
        st.tuples(st.just("TCP_KEEPIDLE"), st.sampled_from([1, 10, 50])),
        st.tuples(st.just("SO_MAX_PACING_RATE"), st.sampled_from([100_000, 1_000_000])),
        st.tuples(st.just("SO_LINGER"), st.sampled_from([0, 0, 5, -1])),
        st.tuples(st.just("TCP_LINGER2"), st.sampled_from([5, -1])),
        st.tuples(st.just("TCP_USER_TIMEOUT"), st.sampled_from([500, 5000, 30_000])),
    )


def applications(most: int = 60_000, pieces: int = 6) -> st.SearchStrategy[Application]:
    """What one end does: pieces of up to `most` bytes in all, pauses between them, reading habits."""
    bulk = max(1, most // 2)
    sizes = st.one_of(
        st.sampled_from([bulk, bulk // 2 or 1]),
        st.integers(1, 200),
        st.sampled_from([1448, 1460, 2896, 5000]),
        st.integers(1, max(1, most // pieces)),
    )
    pauses = st.sampled_from([0, 0, 1, 30, 300, 3000]).map(lambda ms: ms * MS)
    return st.builds(
        Application,
        st.lists(st.builds(Piece, sizes, pauses), max_size=pieces).map(tuple),
        read_size=st.sampled_from([65_536, 4000, 1000]),
        read_every_ns=st.sampled_from([0, 0, 0, 5, 200]).map(lambda ms: ms * MS),
        reads=st.sampled_from([True, True, True, False]),
        options=st.lists(socket_options(), max_size=2).map(tuple),
    )


def stack_settings() -> st.SearchStrategy[dict[str, Any]]:
    """Sysctls that change how TCP works."""
    return st.fixed_dictionaries(
        {},
        optional={
            "net.ipv4.tcp_sack": st.integers(0, 1),
            "net.ipv4.tcp_timestamps": st.integers(0, 1),
            "net.ipv4.tcp_window_scaling": st.integers(0, 1),
            "net.ipv4.tcp_congestion_control": congestion_controls(),
            "net.ipv4.tcp_early_retrans": st.sampled_from([0, 3]),
            "net.ipv4.tcp_frto": st.sampled_from([0, 2]),
            "net.ipv4.tcp_dsack": st.integers(0, 1),
            "net.ipv4.tcp_ecn": st.sampled_from([1, 1, 0, 2]),
            "net.ipv4.tcp_rmem": st.sampled_from([(4096, 8192, 16384), (4096, 131072, 6291456)]),
            "net.ipv4.tcp_syncookies": st.sampled_from([1, 1, 0, 2]),
            "net.ipv4.tcp_synack_retries": st.sampled_from([5, 2]),
            "net.ipv4.tcp_slow_start_after_idle": st.integers(0, 1),
        },
    )


def first_numbers() -> st.SearchStrategy[tuple[tuple[str, str, int, int], ...]]:
    """Steps that say where the sequence numbers and timestamps of a side begin: mostly nothing, else a little below
    2**32 or 2**31, so that they wrap (RFC 9293 section 3.4)."""
    far = st.sampled_from([1 << 32, 1 << 31])
    below = st.one_of(st.integers(1, 3000), st.integers(1, 100_000))
    number = st.builds(lambda edge, less: edge - less, far, below)
    step = st.tuples(st.just("numbers"), st.sampled_from("ab"), number, number)
    return st.one_of(st.just(()), st.just(()), st.lists(step, min_size=1, max_size=2).map(tuple))


def cases(
    link: st.SearchStrategy[L.Link] | None = None,
    app: st.SearchStrategy[Application] | None = None,
    settings: st.SearchStrategy[dict[str, Any]] | None = None,
) -> st.SearchStrategy[Case]:
    """Two applications over one connection, so patient that every byte has to arrive (unless one does not listen)."""
    app = app if app is not None else applications()
    return st.builds(
        lambda link, a, b, settings, both, seed, numbers: Case.exchange(
            link, a, b, seed=seed, settings=PATIENT | settings, simultaneous=both
        ).begun_with(*numbers),
        link if link is not None else links(),
        app,
        app,
        settings if settings is not None else stack_settings(),
        st.booleans(),
        st.integers(0, 255),
        first_numbers(),
    )
