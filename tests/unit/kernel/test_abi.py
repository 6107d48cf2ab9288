"""kernel/abi.py against the host's own constants (where the host is Linux) and against a few numbers by heart."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import select
import signal
import socket
import stat
import sys
import termios
from pathlib import Path
from types import ModuleType

import pytest

from kernel import abi

PREFIXES = {
    errno: ("E",),
    fcntl: ("F_", "LOCK_", "FD_"),
    os: ("O_", "SEEK_", "W", "GRND_", "MFD_", "EFD_", "XATTR_", "PRIO_", "SCHED_", "F_OK", "R_OK", "X_OK"),
    select: ("POLL", "EPOLL"),
    signal: ("SIG", "ITIMER_"),
    socket: ("AF_", "SOCK_", "SO_", "SOL_", "TCP_", "MSG_", "IPPROTO_", "IP_", "IPV6_", "SHUT_"),
    stat: ("S_I",),
    resource: ("RLIM", "RUSAGE_"),
    termios: ("TC", "TIO", "FIO", "V", "I", "O", "E"),
}
# Values of the C library, not of the kernel; or a name that means something else there.
NOT_THE_KERNELS = {"O_LARGEFILE", "SOMAXCONN"}


@pytest.mark.skipif(sys.platform != "linux", reason="the host's own values are Linux's only on Linux")
@pytest.mark.parametrize("module", PREFIXES, ids=lambda m: m.__name__)
def test_constants_agree_with_the_host(module: ModuleType) -> None:
    seen = 0
    for name in dir(module):
        value, ours = getattr(module, name), getattr(abi, name, None)
        if name in NOT_THE_KERNELS or not name.startswith(PREFIXES[module]) or not isinstance(value, int):
            continue
        if isinstance(ours, int):
            seen += 1
            assert (name, ours) == (name, int(value))
    assert seen >= 3


HEADER = Path("/usr/include/asm-generic/unistd.h")


@pytest.mark.skipif(not HEADER.exists(), reason="no kernel headers here")
def test_system_call_numbers_agree_with_the_kernel_headers() -> None:
    theirs = {
        name: int(number)
        for name, number in re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)\s*$", HEADER.read_text(), re.M)
    }
    theirs.pop("renameat")  # the header offers it; riscv64 does not take it
    theirs["newfstatat"] = theirs.pop("fstatat")
    for name, number in theirs.items():
        if (
            name in ("arch_specific_syscall", "syscalls", "sync_file_range2")
            or name.endswith("time64")
            or 403 <= number <= 423
        ):
            continue
        assert (name, abi.SYSCALL_NUMBERS.get(name)) == (name, number)


def test_names() -> None:
    assert abi.SYSCALL_NUMBERS["openat"] == 56 and abi.SYSCALL_NAMES[63] == "read"
    assert abi.SYSCALL_NUMBERS["riscv_flush_icache"] == 259 and 38 not in abi.SYSCALL_NAMES
    assert abi.errno_name(2) == "ENOENT" and abi.errno_name(11) == "EAGAIN" and abi.errno_name(95) == "EOPNOTSUPP"
    assert abi.errno_name(4095) == "4095"
    assert abi.signal_name(2) == "SIGINT" and abi.signal_name(35) == "SIGRT_3"
    assert len(abi.ERRNO_NAMES) == 131 and len(abi.SIGNAL_NAMES) == 31
