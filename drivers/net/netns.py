"""Network namespaces, entered for the time of a few calls (namespaces(7), ip-netns(8)). Linux only.

A TAP belongs to the namespace in which its descriptor was opened, and keeps working wherever it is moved. So whoever
needs devices in several namespaces enters each, opens, and comes back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ENOENT

CLONE_NEWNET = 0x40000000
NAMED = "/run/netns"


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Run the body with this thread in the namespace that `ip netns add` named; None: where it is already.

    OSError: ENOENT when there is none of that name, EPERM without CAP_SYS_ADMIN.
    """
    if name is None:
        yield
        return
    if "/" in name or name in ("", ".", ".."):
        raise OSError(EINVAL, f"{name!r} cannot name a network namespace")
    try:
        there = os.open(f"{NAMED}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(ENOENT, f"no network namespace {name!r}: `ip netns add {name}` makes it") from None
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(there, name)
        try:
            yield
        finally:
            _enter(here, "where we came from")
    finally:
        os.close(here)
        os.close(there)


def _enter(fd: int, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"entering the network namespace {name!r}: {os.strerror(error)}")
