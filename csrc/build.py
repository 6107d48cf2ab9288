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
# For the wrappers that cffi writes, and not for our files. They leave `self` unused: that warning is off. And they give
# up the interpreter's lock around each call, which costs more than most of these calls do, and 8 us where another
# thread waits for it: not here, where nothing blocks.
WRAPPERS = """\
#pragma GCC diagnostic ignored "-Wunused-parameter"
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
"""
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
LEAVES = ["checksum.c", "packet.c", "offload.c", "ring.c", "intervals.c", "cookie.c", "pcapng.c", "guard.c", "atomic.c"]


def declarations(header: str) -> str:
    """The header's text as cffi can read it: without includes and guards; `u` suffixes of constants dropped."""
    text = (HERE / header).read_text()
    text = re.sub(r"^#(include|ifndef|endif|define TRL_H|define TRL_\w+_H\b).*$", "", text, flags=re.M)
    return re.sub(r"^(#define \w+ \d+)u", r"\1", text, flags=re.M)


def extension(
    name: str, headers: list[str], sources: list[str], flags: list[str], where: str = "csrc", **kw: object
) -> FFI:
    """The description of one extension module. `where` the sources are is relative to where setuptools runs."""
    ffi = FFI()
    for header in headers:
        ffi.cdef(declarations(header))
    ffi.set_source(
        f"csrc.{name}",
        WRAPPERS + "\n".join(f'#include "{h}"' for h in headers),
        sources=[f"{where}/{s}" for s in sources],
        depends=[f"{where}/{h.name}" for h in sorted(HERE.glob("*.h"))],
        include_dirs=[where],
        extra_compile_args=flags,
        **kw,
    )
    return ffi


def sanitized(out: Path) -> Path:
    """Compile the leaves under AddressSanitizer and UBSan, with planted bugs, into `out/csrc`. The module's path.

    CPython's own flags have -fwrapv, under which UBSan sees no signed overflow: it is taken back.
    """
    flags = [flag for flag in FLAGS if flag != "-O3"] + ["-O1", "-g", "-fno-wrapv", *SANITIZE]
    headers, sources = ["trl.h", "planted.h"], [*LEAVES, "planted.c"]
    ffi = extension("_leaves", headers, sources, flags, where=str(HERE), extra_link_args=SANITIZE)
    return Path(ffi.compile(tmpdir=str(out)))


leaves = extension("_leaves", ["trl.h"], LEAVES, FLAGS)
if sys.platform == "linux":
    tap = extension("_tap", ["trl.h", "tap.h"], ["tap.c", *LEAVES], FLAGS)
