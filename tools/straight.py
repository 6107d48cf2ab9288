"""How compiled modules call leaves of csrc and read the clock: as C calls C, without cffi and the interpreter.

A module gives a leaf a name (`_parse: Final = lib.trl_parse`) and calls it by that. Where the arguments are integers
and objects to mypyc, the call becomes one of a small function of C that takes numbers and pointers from where they lie
(csrc/direct.h); these functions are written here, from the declarations in the headers. Other calls go by cffi.

In the same way the fields of a struct are taken from where they lie, without an object for each and a tuple for all:
what a module names `_fields: Final = struct.Struct("=8s3I").unpack`, of byte strings and unsigned numbers of up to 32
bits. And so are the first bytes at a pointer, `_copy: Final = ffi.unpack` of a `char *`.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CSRC = Path(__file__).resolve().parents[1] / "csrc"
STRAIGHT_H = "straight.h"
STRAIGHT = (
    "trl_parse", "trl_parse_plain", "trl_tcp_emit", "trl_tcp_emit_small", "trl_checksum", "trl_checksum_complete",
    "trl_siphash", "trl_timestamp_offset", "trl_tap_read", "trl_tap_read_gro", "trl_tap_write", "trl_tap_put",
    "trl_tap_pair",
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


def copiers(values: dict[str, Any]) -> list[str]:
    """The names that a module has given to `ffi.unpack`."""
    from csrc import ffi

    kind = type(ffi.unpack)
    found = {name: value for name, value in values.items() if type(value) is kind and value.__name__ == "unpack"}
    return [name for name, value in found.items() if type(value.__self__) is type(ffi)]


FIELDS = {"B": "uint8_t", "H": "uint16_t", "I": "uint32_t"}


def unpackers(values: dict[str, Any]) -> dict[str, str]:
    """{name: format} of the names that a module has given to unpackers of structs whose fields are taken straight."""
    found = {}
    for name, value in values.items():
        owner = getattr(value, "__self__", None)
        if not isinstance(owner, struct.Struct) or value != owner.unpack:
            continue
        if re.fullmatch(r"=(\d*[BHI]|\d+s)+", owner.format):
            found[name] = owner.format
    return found


def fields(layout: str) -> list[str]:
    """Each field by itself: "8s", "I"."""
    parts = re.findall(r"(\d*)([BHIs])", layout)
    return [one for count, code in parts for one in ([count + code] if code == "s" else [code] * int(count or 1))]


def shape(layout: str) -> str:
    """The type of what it gives."""
    return f"tuple[{', '.join('bytes' if one[-1] == 's' else 'int' for one in fields(layout))}]"


def unpacker(layout: str) -> tuple[str, Any, str]:
    """Its name in C, what it gives to mypyc, and its code."""
    from mypyc.ir.rtypes import RTuple, int_rprimitive, object_rprimitive

    parts = fields(layout)
    given = RTuple([object_rprimitive if one[-1] == "s" else int_rprimitive for one in parts])
    name, members, failed = f"trl_unpack_{layout[1:]}", [], []
    lines = []
    at = 0
    for i, one in enumerate(parts):
        size = int(one[:-1]) if one[-1] == "s" else struct.calcsize(f"={one}")
        if one[-1] == "s":
            members.append(f"PyObject *f{i};")
            made = f"PyBytes_FromStringAndSize((const char *)p + {at}, {size})"
            lines.append(f"    if (!(r.f{i} = {made}))\n        goto no;\n")
            failed.append(f"Py_XDECREF(r.f{i});")
        else:
            members.append(f"CPyTagged f{i};")
            lines.append(f"    {{ {FIELDS[one]} n; memcpy(&n, p + {at}, {size}); r.f{i} = (CPyTagged)n << 1; }}\n")
        at += size
    nothing = ", ".join("NULL" if one[-1] == "s" else "CPY_INT_TAG" for one in parts)
    kind = given.struct_name
    code = (
        f"#ifndef MYPYC_DECLARED_{kind}\n#define MYPYC_DECLARED_{kind}\n"
        f"typedef struct {kind} {{ {' '.join(members)} }} {kind};\n#endif\n"
        f"static inline {kind} {name}(PyObject *from)\n{{\n    {kind} r = {{{nothing}}};\n    Py_buffer b;\n"
        f"    if (PyObject_GetBuffer(from, &b, PyBUF_SIMPLE) < 0)\n        return r;\n    const uint8_t *p = b.buf;\n"
        f"    if (b.len != {at}) {{\n        trl_not_so_long({at});\n        goto no;\n    }}\n{''.join(lines)}"
        f"    PyBuffer_Release(&b);\n    return r;\nno:\n    PyBuffer_Release(&b);\n    {' '.join(failed)}\n"
        f"    r = ({kind}){{{nothing}}};\n    return r;\n}}\n"
    )
    return name, given, code


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
    layouts: dict[str, str] = {}
    for name in modules:
        values = vars(importlib.import_module(name))
        for bound, leaf in leaves(values).items():
            takes: list[Any] = [object_rprimitive if most is None else int_rprimitive for most in known[leaf].most]
            function_op(f"{name}.{bound}", takes, int_rprimitive, f"trl_straight_{leaf}", ERR_MAGIC)
        for bound, layout in unpackers(values).items():
            called, given, layouts[layout] = unpacker(layout)
            function_op(f"{name}.{bound}", [object_rprimitive], given, called, ERR_MAGIC)
        for bound in copiers(values):
            takes = [object_rprimitive, int_rprimitive]
            function_op(f"{name}.{bound}", takes, object_rprimitive, "trl_copy", ERR_MAGIC)
    written = [f'#include "{name}"\n' for name in (*headers, "direct.h")]
    return "".join([*written, *(leaf.wrapper() for leaf in known.values()), *layouts.values()])


def as_expected() -> bool:
    """Whether a cffi object of each kind has its pointer where csrc/direct.h takes it from."""
    from csrc import ffi

    held = bytearray(4)
    made = [ffi.new("struct trl_plain *"), ffi.new("uint8_t[4]"), ffi.from_buffer(held), ffi.cast("uint8_t *", 4096)]
    at = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    found = [ctypes.c_void_p.from_address(id(one) + at).value for one in made]
    return found == [int(ffi.cast("uintptr_t", one)) for one in made]
