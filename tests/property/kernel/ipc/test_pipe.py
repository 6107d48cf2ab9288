"""A non-blocking pipe does what the host's does, byte for byte and EAGAIN for EAGAIN; and against a plain model."""

from __future__ import annotations

import os
import select
import sys as host
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import abi
from tests.property.kernel.fs.plain import lone_task

sizes = st.one_of(st.integers(0, 6000), st.sampled_from([1, 4095, 4096, 4097, 8192, 65536, 70000]))
steps = st.lists(st.tuples(st.sampled_from("rwww"), sizes), max_size=60)


CYCLE = bytes(range(256)) * 300


def attempt(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except OSError as failure:
        return abi.errno_name(failure.errno or 0)


def pattern(at: int, size: int) -> bytes:
    start = at & 0xFF
    return CYCLE[start : start + size]


@pytest.mark.skipif(host.platform != "linux", reason="the host's pipes are Linux's only on Linux")
@settings(deadline=None, max_examples=80)
@given(steps)
def test_like_the_hosts(script: list[tuple[str, int]]) -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(abi.O_NONBLOCK)
    hr, hw = os.pipe2(os.O_NONBLOCK)
    try:
        at = 0
        for kind, size in script:
            if kind == "w":
                data = pattern(at, size)
                ours, theirs = attempt(sys.write, w, data), attempt(os.write, hw, data)
                at += ours if isinstance(ours, int) else 0
            else:
                ours, theirs = attempt(sys.read, r, size), attempt(os.read, hr, size)
            assert ours == theirs, (kind, size)
            asked = [(r, abi.POLLIN), (w, abi.POLLOUT)]
            poll = select.poll()
            poll.register(hr, select.POLLIN)
            poll.register(hw, select.POLLOUT)
            theirs = dict(poll.poll(0))
            assert dict(sys.ppoll(asked, 0)) == {{hr: r, hw: w}[fd]: mask for fd, mask in theirs.items()}
    finally:
        os.close(hr)
        os.close(hw)


@settings(deadline=None, max_examples=80)
@given(steps)
def test_bytes_come_out_as_they_went_in(script: list[tuple[str, int]]) -> None:
    _, sys = lone_task()
    r, w = sys.pipe2(abi.O_NONBLOCK)
    inside, at = 0, 0
    for kind, size in script:
        if kind == "w":
            done = attempt(sys.write, w, pattern(at, size))
            if size <= abi.PIPE_BUF:
                assert done in (size, "EAGAIN"), "atomic"
            if isinstance(done, int):
                inside += done
                at += done
        else:
            got = attempt(sys.read, r, size)
            if isinstance(got, bytes):
                assert got == pattern(at - inside, len(got))
                inside -= len(got)
                assert len(got) == size or not inside
            else:
                assert not inside
        assert sys.ioctl(r, abi.FIONREAD) == inside
        assert inside <= 65536
