"""System calls: one file per family. Importing this package registers them all."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

FAMILIES = (
    "process", "sched", "identity", "time", "signal", "file", "move",
    "memory", "futex", "system", "timer", "pidfd", "sysv", "mqueue",
    "path", "xattr", "inotify", "pipe", "socket", "poll", "legacy",
)

for _family in FAMILIES:
    if find_spec(f"kernel.syscall.{_family}") is not None:
        import_module(f"kernel.syscall.{_family}")
