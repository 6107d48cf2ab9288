"""ring.c against a bytearray."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from csrc import ffi, lib

STEP = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=20), st.just(0)),
    st.tuples(st.sampled_from(["read", "drop"]), st.integers(0, 25), st.just(0)),
    st.tuples(st.just("peek"), st.integers(0, 25), st.integers(0, 25)),
)


@given(st.integers(0, 17), st.lists(STEP, max_size=40))
def test_ring_is_a_bounded_queue_of_bytes(cap: int, steps: list[tuple[str, bytes | int, int]]) -> None:
    buf = ffi.new("uint8_t[]", cap)
    ring = ffi.new("struct trl_ring *")
    lib.trl_ring_init(ring, buf, cap)
    model = bytearray()
    for name, arg, skip in steps:
        if isinstance(arg, bytes):
            taken = lib.trl_ring_write(ring, arg, len(arg))
            assert taken == min(len(arg), cap - len(model))
            model += arg[:taken]
        elif name == "drop":
            assert lib.trl_ring_drop(ring, arg) == min(arg, len(model))
            del model[:arg]
        else:
            out = ffi.new("uint8_t[]", arg)
            want = bytes(model[skip : skip + arg])
            got = (
                lib.trl_ring_read(ring, out, arg)
                if name == "read"
                else lib.trl_ring_peek(ring, skip, out, arg)
            )
            assert bytes(ffi.buffer(out, got)) == want
            if name == "read":
                del model[:arg]
        assert ring.used == len(model)
        assert cap == 0 or ring.head < cap
