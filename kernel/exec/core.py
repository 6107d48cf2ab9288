"""Core dumps: what the end by a signal like SIGSEGV leaves behind (core(5)).

A Python process has no registers to show; the file is an ELF core with one note, NT_PRSTATUS, that says which signal
and which process it was, so that `file core` and readelf know it. The wait status has the core bit when it was written.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kernel.abi import O_CREAT, O_NOFOLLOW, O_WRONLY, PAGE_SIZE, RLIMIT_CORE
from kernel.fs.operations import open_file
from kernel.syscall.buffers import BytesSource

if TYPE_CHECKING:
    from kernel.task import Task

_ET_CORE, _EM_RISCV, _PT_NOTE, _NT_PRSTATUS = 4, 243, 4, 1


def image(signum: int, pid: int, ppid: int, pgrp: int, sid: int) -> bytes:
    """An ELF64 core file of riscv64 with the status of one thread."""
    status = struct.pack("<iiihxxQQiiii", signum, 0, 0, signum, 0, 0, pid, ppid, pgrp, sid).ljust(376, b"\0")
    note = struct.pack("<III", 5, len(status), _NT_PRSTATUS) + b"CORE\0\0\0\0" + status
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", _ET_CORE, _EM_RISCV, 1, 0, 64, 0, 4, 64, 56, 1, 0, 0, 0
    )
    program = struct.pack("<IIQQQQQQ", _PT_NOTE, 0, 120, 0, 0, len(note), 0, 4)
    return head + program + note


def dump(task: Task, signum: int) -> bool:
    """Write `core` into the working directory. False when RLIMIT_CORE, the process or the directory forbids it."""
    group = task.group
    limit = group.rlimits.get(RLIMIT_CORE, (0, 0))[0]
    if 0 <= limit < PAGE_SIZE or group.dumpable != 1 or task.fs is None:
        return False
    parent = group.parent.pid if group.parent is not None else 0
    data = image(signum, group.pid, parent, group.pgid, group.sid)
    try:
        file = open_file(task, b"core", O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600)
    except OSError:
        task.machine.lost_reports += 1
        return False
    try:
        inode = file.inode
        if inode is None or not inode.is_reg or inode.nlink != 1 or inode.uid != task.cred.fsuid:
            return False
        inode.fs.truncate(inode, 0)
        file.ops.write(file, task, BytesSource(data), len(data), 0)
    except OSError:
        task.machine.lost_reports += 1
    finally:
        file.put()
    return True
