"""How compiled modules call leaves of csrc and read the clock: as C calls C, without cffi and the interpreter.

A module gives a leaf a name (`_parse: Final = lib.trl_parse`) and calls it by that. Where the arguments are integers
and objects to mypyc, the call becomes one of a small function of C that takes numbers and pointers from where they lie
(csrc/direct.h); these functions are written here, from the declarations in the headers. Other calls go by cffi.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CSRC = Path(__file__).resolve().parents[1] / "csrc"
STRAIGHT_H = "straight.h"
STRAIGHT = (
    "trl_parse", "trl_parse_plain", "trl_tcp_emit", "trl_tcp_emit_small", "trl_checksum", "trl_checksum_complete",
    "trl_siphash", "trl_timestamp_offset", "trl_tap_read", "trl_tap_read_gro", "trl_tap_write", "trl_tap_put",
)  # fmt: skip
"""Leaves that are called without cffi (csrc/direct.h), where a module gives them a name: `_parse = lib.trl_parse`."""
MOST = {"uint8_t": 0xFF, "uint16_t": 0xFFFF, "uint32_t": 0xFFFFFFFF, "size_t": (1 << 62) - 1}
"""Of the numbers that a leaf takes."""


def leaves(values: dict[str, Any]) -> dict[str, str]:
    """{name: leaf} of the names that a module has given to leaves which are called straight."""
    from csrc import lib

    libraries = [lib]
    if sys.platform == "linux":
        from csrc import tap

        libraries.append(tap.lib)
    known = {id(getattr(library, leaf)): leaf for library in libraries for leaf in STRAIGHT if hasattr(library, leaf)}
    return {name: known[id(value)] for name, value in values.items() if id(value) in known}


class Leaf:
    """A leaf's declaration, and the function of C by which it is called."""

    def __init__(self, declarations: str, name: str) -> None:
        found = re.search(rf"^(\w+) +{name}\(([^;]*?)\);", declarations, re.M)
        if found is None:
            raise SystemExit(f"the headers of csrc declare no {name}")
        self.name = name
        self.result = found[1]
        parameters = [parameter.split() for parameter in found[2].split(",")]
        self.most = [None if any("*" in word for word in words) else MOST[words[0]] for words in parameters]
        """For each argument the greatest number; None for a pointer."""

    def wrapper(self) -> str:
        takes, variables, checks = [], [], []
        for i, most in enumerate(self.most):
            takes.append(f"PyObject *a{i}" if most is None else f"CPyTagged a{i}")
            variables.append(f"void *v{i};" if most is None else f"unsigned long long v{i};")
            checks.append(f"trl_pointer(a{i}, &v{i})" if most is None else f"trl_number(a{i}, {most}ULL, &v{i})")
        given = ", ".join(f"v{i}" for i in range(len(self.most)))
        large = "    if (r >> 62)\n        return CPyTagged_StealFromObject(PyLong_FromUnsignedLongLong(r));\n"
        return (
            f"static inline CPyTagged trl_straight_{self.name}({', '.join(takes)})\n{{\n    {' '.join(variables)}\n"
            f"    if (!({' && '.join(checks)}))\n        return CPY_INT_TAG;\n"
            f"    {self.result} r = {self.name}({given});\n{large if self.result == 'uint64_t' else ''}"
            "    return (CPyTagged)(Py_ssize_t)r << 1;\n}\n"
        )


def go_straight(modules: Sequence[str]) -> str:
    """Have mypyc call leaves, and read the clock, without cffi and the interpreter; the header that this needs. It is
    empty where cffi's objects are not what csrc/direct.h says.
    """
    from mypyc.ir.ops import ERR_MAGIC, ERR_NEVER
    from mypyc.ir.rtypes import int_rprimitive, object_rprimitive
    from mypyc.primitives.registry import function_op

    if sys.platform != "linux" or not as_expected():
        return ""
    headers = ("trl.h", "tap.h")
    declarations = "".join((CSRC / name).read_text() for name in headers)
    known = {name: Leaf(declarations, name) for name in STRAIGHT}
    function_op("drivers.clock.wall_ns", [], int_rprimitive, "trl_monotonic_ns", ERR_NEVER)
    for name in modules:
        for bound, leaf in leaves(vars(importlib.import_module(name))).items():
            takes: list[Any] = [object_rprimitive if most is None else int_rprimitive for most in known[leaf].most]
            function_op(f"{name}.{bound}", takes, int_rprimitive, f"trl_straight_{leaf}", ERR_MAGIC)
    written = [f'#include "{name}"\n' for name in (*headers, "direct.h")]
    return "".join([*written, *(leaf.wrapper() for leaf in known.values())])


def as_expected() -> bool:
    """Whether a cffi object of each kind has its pointer where csrc/direct.h takes it from."""
    from csrc import ffi

    held = bytearray(4)
    made = [ffi.new("struct trl_plain *"), ffi.new("uint8_t[4]"), ffi.from_buffer(held), ffi.cast("uint8_t *", 4096)]
    at = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    found = [ctypes.c_void_p.from_address(id(one) + at).value for one in made]
    return found == [int(ffi.cast("uintptr_t", one)) for one in made]
