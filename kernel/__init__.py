"""The kernel: tasks, scheduler, memory, files, sockets and system calls of one machine."""

from csrc import compiled as _compiled  # noqa: F401  (it finds the modules of this room that are compiled)
