"""How compiled modules call leaves: what is declared, what is written, and whose calls are meant."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest

from csrc import ffi, lib
from tools import straight

HEADERS = ("trl.h", "tap.h")


def declarations() -> str:
    return "".join((straight.CSRC / name).read_text() for name in HEADERS)


def test_arguments_are_pointers_or_numbers_with_a_limit() -> None:
    size = straight.MOST["size_t"]
    assert straight.Leaf(declarations(), "trl_parse_plain").most == [None, size, 0xFFFFFFFF, None, None]
    assert straight.Leaf(declarations(), "trl_checksum_complete").most == [None, size, size, size]
    assert straight.Leaf(declarations(), "trl_checksum").most == [None, size, 0xFFFF]


def test_a_result_may_need_more_bits_than_an_integer_of_mypyc_has() -> None:
    assert "r >> 62" in straight.Leaf(declarations(), "trl_siphash").wrapper()
    assert "r >> 62" not in straight.Leaf(declarations(), "trl_checksum").wrapper()


@pytest.mark.parametrize("name", straight.STRAIGHT)
def test_every_leaf_is_declared_and_there(name: str) -> None:
    leaf = straight.Leaf(declarations(), name)
    libraries: list[Any] = [lib]
    if sys.platform == "linux":
        from csrc import tap

        libraries.append(tap.lib)
    assert any(hasattr(library, name) for library in libraries)
    found = next(f for f in (ffi, *([tap.ffi] if sys.platform == "linux" else ())) if hasattr_type(f, name))
    takes = found.typeof(getattr(next(li for li in libraries if hasattr(li, name)), name)).args
    assert [kind.kind in ("pointer", "array") for kind in takes] == [most is None for most in leaf.most]
    numbers = [(kind, most) for kind, most in zip(takes, leaf.most) if most is not None]
    assert all(most in ((1 << 8 * found.sizeof(kind)) - 1, straight.MOST["size_t"]) for kind, most in numbers)


def hasattr_type(found: Any, name: str) -> bool:
    """Whether this ffi is the one of a library that has the function."""
    from csrc import lib as leaves

    return hasattr(leaves, name) == (found is ffi)


def test_what_is_not_declared_is_said() -> None:
    with pytest.raises(SystemExit, match="declare no trl_nothing"):
        straight.Leaf(declarations(), "trl_nothing")


def test_calls_are_meant_where_a_module_gives_a_leaf_a_name() -> None:
    from netstack import icmp
    from netstack.tcp import emit

    found = straight.leaves(vars(emit))
    assert found["_emit_small"] == "trl_tcp_emit_small" and found["_complete"] == "trl_checksum_complete"
    assert not straight.leaves(vars(icmp))


def test_fields_are_taken_where_a_module_names_an_unpacker() -> None:
    from netstack import ipv4

    found = straight.unpackers(vars(ipv4))
    assert found == {"_plain_fields": "=8s12s9I"}
    given = straight.shape(found["_plain_fields"])
    assert given == "tuple[bytes, bytes, " + ", ".join(["int"] * 9) + "]"
    assert len(straight.fields("=B2H3s4I")) == 8 and straight.fields("=B2H3s4I")[3] == "3s"
    others: dict[str, Any] = {layout: struct.Struct(layout).unpack for layout in ("=Q", "I", "=i", "=4x")}
    plain = struct.Struct("=I")
    assert not straight.unpackers({**others, "pack": plain.pack, "from": plain.unpack_from})


def test_bytes_are_copied_where_a_module_names_unpack() -> None:
    from netstack import ipv4
    from netstack.tcp import emit

    assert straight.copiers(vars(emit)) == ["_copy"]
    assert not straight.copiers(vars(ipv4))
    assert not straight.copiers({"structs": struct.unpack, "of another": struct.Struct("=I").unpack, "new": ffi.new})


def test_cffi_keeps_its_pointers_where_direct_h_takes_them_from() -> None:
    assert straight.as_expected()
