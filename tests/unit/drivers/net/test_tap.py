"""The buffers of the TAP: never handed out twice, used again when free. (The device itself: tests/interop.)"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("a TAP is Linux's", allow_module_level=True)

from csrc.frame import Frame
from drivers.net import hostif
from drivers.net.tap import POOL, Pool, TapDevice, _wire_frames


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=200))
def test_a_buffer_with_a_living_view_is_never_taken(steps: list[tuple[bool, int]]) -> None:
    pool = Pool(64)
    views: list[memoryview] = []
    expected: list[bytes] = []
    for stamp, (keep, forget) in enumerate(steps):
        buffer, pointer = held = pool.take()
        buffer[:] = stamp.to_bytes(2, "big") * 32
        assert bytes(pointer[0:2]) == stamp.to_bytes(2, "big")
        if keep:  # a slice of a view of a view, as a stack keeps payload
            views.append(memoryview(memoryview(buffer)[4:60])[2:10])
            expected.append(stamp.to_bytes(2, "big") * 4)
        pool.lend(held)
        del buffer, pointer, held
        if views and forget < len(views):
            del views[forget], expected[forget]
        assert [bytes(v) for v in views] == expected


def test_buffers_are_used_again_once_their_views_are_gone() -> None:
    pool = Pool(64)
    for _ in range(1000):
        held = pool.take()
        view = memoryview(held[0])[1:2]
        pool.lend(held)
        del held, view
    assert pool.made <= 2


def test_a_keeper_of_everything_costs_new_buffers_and_not_the_pool() -> None:
    pool = Pool(64)
    kept = []
    for _ in range(4 * POOL):
        held = pool.take()
        kept.append(memoryview(held[0]))
        pool.lend(held)
    assert len({id(v.obj) for v in kept}) == 4 * POOL
    assert len(pool._lent) <= POOL


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", ".", "é" * 8])
def test_a_name_no_interface_can_have_is_said_before_anything_is_opened(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an interface"):
        TapDevice(name)


def test_the_mac_is_stable_unicast_and_local() -> None:
    mac = hostif.stable_mac("tap0")
    assert mac == hostif.stable_mac("tap0") != hostif.stable_mac("tap1")
    assert len(mac) == 6 and mac[0] & 3 == 2


def test_waiting_for_a_busy_device_is_bounded_and_only_for_ebusy() -> None:
    calls: list[int] = []

    def busy() -> Any:
        calls.append(1)
        raise OSError(16, "busy")

    with pytest.raises(OSError, match="busy"):
        hostif.when_free(busy, attempts=5, wait_s=0)
    assert len(calls) == 5

    def denied() -> Any:
        calls.append(1)
        raise PermissionError(1, "no")

    with pytest.raises(PermissionError):
        hostif.when_free(denied, attempts=5, wait_s=0)
    assert len(calls) == 6
    assert hostif.when_free(lambda: 7, attempts=1, wait_s=0) == 7


def test_a_lost_super_segment_counts_as_the_frames_it_stands_for() -> None:
    assert _wire_frames(Frame(b"x" * 60)) == 1
    assert _wire_frames(Frame(b"x" * 54, (b"y" * 14480,), gso_size=1448)) in (10, 11)
