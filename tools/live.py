"""What a machine holds at this moment, counted: what tells a leak from buffers that have grown to what a load needs.

Everything here is a plain number that goes back when what it counts is gone: connections, tasks, bytes in queues,
timers, blocks of the interpreter, bytes of the C library's allocator. (The process's resident size is none: an
allocator keeps what it was given.)
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel.machine import Machine

TIME_WAIT, LISTEN = 6, 10

_allocator: list[Any] = []


def live(machine: Machine) -> dict[str, int]:
    """The counts. It walks the connections, and nothing else; at rest, when that keeps nobody waiting, circles that the
    collector has not come to yet are freed first, for they are not held."""
    stack = machine.stack
    found = dict.fromkeys(("connections", "closing", "unacknowledged", "unsent", "unread", "out_of_order"), 0)
    for c in list(stack.tcp.table.values()):
        if not hasattr(c, "cwnd"):
            found["closing"] += 1  # TIME-WAIT, or not open yet: not connections with buffers
            continue
        found["connections"] += 1
        found["unacknowledged"] += c.snd_nxt - c.snd_una
        found["unsent"] += c.unsent_bytes
        found["unread"] += c.rmem
        found["out_of_order"] += sum(entry[1] - entry[0] for entry in c.ooo)
    if not found["connections"]:
        gc.collect()
    found["tasks"] = len(machine.tasks)
    found["timers"] = len(stack.timers)
    found["python_blocks"] = sys.getallocatedblocks()
    found.update(allocator())
    return found


def allocator() -> dict[str, int]:
    """The C library: bytes in use, free but kept, in mappings of their own. {} where it does not tell (glibc does)."""
    if not _allocator:
        from cffi import FFI

        ffi = FFI()
        ffi.cdef("""
            struct mallinfo2 {
                size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
            };
            struct mallinfo2 mallinfo2(void);
        """)
        try:
            library = ffi.dlopen(None)
            _allocator.append(library.mallinfo2)
        except (AttributeError, OSError):
            _allocator.append(None)
    if _allocator[0] is None:
        return {}
    info = _allocator[0]()
    return {"malloc_used": info.uordblks, "malloc_kept": info.fordblks, "malloc_mapped": info.hblkhd}
