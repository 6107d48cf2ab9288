"""Compiles the shim: `python -m tools.packetdrill.so [OUT]` writes the library and says where it is.

The interpreter that runs this is the one the library will start, unless TERRELLA_PYTHON names another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAME = "libterrella-packetdrill.so"
SOURCES = [Path(__file__).with_name(name) for name in ("shim.c", "channel.c", "preload.c")]


def build(out: Path) -> Path:
    """Compile to `out` (a directory: the usual name in it). RuntimeError with what the compiler said."""
    if out.is_dir():
        out = out / NAME
    compiler = os.environ.get("CC", "cc")
    command = [
        compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread",
        f'-DTERRELLA_PYTHON="{sys.executable}"', *map(str, SOURCES), "-o", str(out), "-ldl",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError(f"no C compiler {compiler!r}: install one, or set CC") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return out
