"""Builds the two C extensions with cffi in API mode: `csrc._leaves` everywhere, `csrc._tap` on Linux.

`trl.h` (and `tap.h`) are the contract: the declarations cffi sees are cut from the headers themselves, so they
cannot drift.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-Werror"]
# The wrappers that cffi writes leave `self` unused: that warning is off in its file alone, not in ours.
WRAPPERS = '#pragma GCC diagnostic ignored "-Wunused-parameter"\n'
LEAVES = ["checksum.c", "packet.c", "offload.c", "ring.c", "intervals.c"]


def declarations(header: str) -> str:
    """The header's text as cffi can read it: without includes and guards; `u` suffixes of constants dropped."""
    text = (HERE / header).read_text()
    text = re.sub(r"^#(include|ifndef|endif|define TRL_H|define TRL_TAP_H).*$", "", text, flags=re.M)
    return re.sub(r"^(#define \w+ \d+)u", r"\1", text, flags=re.M)


def extension(name: str, headers: list[str], sources: list[str], **kw: object) -> FFI:
    ffi = FFI()
    for header in headers:
        ffi.cdef(declarations(header))
    ffi.set_source(
        f"csrc.{name}",
        WRAPPERS + "\n".join(f'#include "{h}"' for h in headers),
        sources=[f"csrc/{s}" for s in sources],
        depends=[f"csrc/{h.name}" for h in sorted(HERE.glob("*.h"))],
        include_dirs=["csrc"],
        extra_compile_args=FLAGS,
        **kw,
    )
    return ffi


leaves = extension("_leaves", ["trl.h"], LEAVES)
if sys.platform == "linux":
    tap = extension("_tap", ["trl.h", "tap.h"], ["tap.c", *LEAVES])
