"""Devices and clocks: everything that touches the host, and nothing that knows of a kernel or a network stack."""

from csrc import compiled as _compiled  # noqa: F401  (it finds the modules of this room that are compiled)
