"""`sys` inside and `sys` on the host: the same names, with the same arguments and the same defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import kernel.machine  # noqa: F401  (registers every call)
from kernel.syscall.table import BY_NAME, PYTHON
from tools.hostsystem import HostSystem

NAMES = sorted(PYTHON.keys() | BY_NAME.keys())
OTHERWISE = {"accept", "epoll_wait", "rt_sigaction"}
"""A second argument of the raw call, a mask more, a default that cannot be written."""
NOT_OFFERED = {"sched_getattr", "sched_setattr"}
INSIDE_ONLY = {"become", "fcntl_lock", "give_back", "thread_ends"}
"""Of HostSystem, and no calls."""


def shape(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in list(inspect.signature(function).parameters.values())[1:]]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_arguments(name: str) -> None:
    host = getattr(HostSystem, name, None)
    if name in NOT_OFFERED:
        assert host is None, "it is offered now: take it off the list"
        return
    assert host is not None, f"--on-linux, sys.{name} is missing"
    theirs = shape(host)
    if name in OTHERWISE or [n for n, _ in theirs] == ["args"]:
        return
    adaptor = PYTHON.get(name) or BY_NAME[name].entry
    assert shape(adaptor) == theirs


def test_nothing_is_on_the_host_only() -> None:
    names = {name for name in dir(HostSystem) if not name.startswith("_")}
    assert names - set(NAMES) == INSIDE_ONLY
