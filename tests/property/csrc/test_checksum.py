"""checksum.c against RFC 1071 written out in Python."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from csrc import ffi, lib

WORD = st.integers(0, 0xFFFF) | st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF])
DOUBLE = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 0xFFFF, 0xFFFF0000, 0xFFFFFFFF])


def exactly(data: bytes) -> Any:
    """A C array of just these bytes (`ffi.new` would add a NUL), so that the sanitizers see one byte too many."""
    array = ffi.new("uint8_t[]", len(data))
    ffi.buffer(array)[:] = data
    return array


def ones_sum(data: bytes, init: int = 0) -> int:
    total = init
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=300) | st.integers(0, 300).map(lambda n: b"\xff" * n), st.integers(0, 15), WORD)
def test_sum_at_every_alignment(data: bytes, shift: int, init: int) -> None:
    buf = exactly(bytes(shift) + data)
    assert lib.trl_sum(buf + shift, len(data), init) == ones_sum(data, init)
    assert lib.trl_checksum(buf + shift, len(data), init) == 0xFFFF ^ ones_sum(data, init)


@given(st.integers(0, 70_000), st.integers(0, 255))
def test_sum_of_long_buffers(n: int, fill: int) -> None:
    data = (bytes([fill]) + bytes(range(256)) * 300)[:n]
    assert lib.trl_sum(data, n, 0) == ones_sum(data)


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b if len(b) % 2 == 0 else b[:-1]), max_size=6),
    st.binary(max_size=9),
)
def test_init_chains_even_pieces(pieces: list[bytes], last: bytes) -> None:
    total = 0
    for piece in [*pieces, last]:
        total = lib.trl_sum(piece, len(piece), total)
    assert total == ones_sum(b"".join([*pieces, last]))


@given(st.binary(min_size=4, max_size=60), st.data())
def test_incremental_update_is_recomputation(data: bytes, choice: st.DataObject) -> None:
    """RFC 1624: in one's complement 0 has two forms; recomputation gives +0 only for all-zero data."""
    at = choice.draw(st.integers(0, len(data) // 2 - 2)) * 2
    before = 0xFFFF ^ ones_sum(data)
    for width, update in ((2, lib.trl_checksum_update16), (4, lib.trl_checksum_update32)):
        new = choice.draw(WORD if width == 2 else DOUBLE)
        after = data[:at] + new.to_bytes(width, "big") + data[at + width :]
        old = int.from_bytes(data[at : at + width], "big")
        if any(after) and any(data):
            assert update(before, old, new) == 0xFFFF ^ ones_sum(after)


def test_the_corner_of_rfc_1624() -> None:
    """Section 4: checksum 0xdd2f, word 0x5555 becomes 0x3285, the new checksum is 0x0000 and not 0xffff."""
    assert lib.trl_checksum_update16(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.binary(min_size=2, max_size=80), st.data())
def test_complete(data: bytes, choice: st.DataObject) -> None:
    start = choice.draw(st.integers(0, len(data) + 2))
    offset = choice.draw(st.integers(0, len(data) + 2))
    buf = exactly(data)
    done = lib.trl_checksum_complete(buf, len(data), start, offset)
    if start + offset + 2 > len(data):
        assert done == -1
        assert bytes(ffi.buffer(buf)) == data
        return
    want = 0xFFFF ^ ones_sum(data[start:])
    if want == 0 and offset == 6:
        want = 0xFFFF  # UDP: 0 would mean "no checksum" (RFC 768)
    at = start + offset
    assert done == 0
    assert bytes(ffi.buffer(buf)) == data[:at] + want.to_bytes(2, "big") + data[at + 2 :]


@given(
    st.sampled_from([4, 16]), st.binary(min_size=32, max_size=32), st.integers(0, 255), st.binary(max_size=99)
)
def test_l4_checksum_covers_the_pseudo_header(
    alen: int, addresses: bytes, proto: int, message: bytes
) -> None:
    src, dst = addresses[:alen], addresses[16 : 16 + alen]
    pseudo = src + dst + len(message).to_bytes(4, "big") + bytes(3) + bytes([proto])
    assert lib.trl_l4_checksum(src, dst, alen, proto, message, len(message)) == 0xFFFF ^ ones_sum(
        pseudo + message
    )


def test_a_sum_of_zero_is_sent_as_ffff_by_udp_alone() -> None:
    for offset, want in ((2, b"\0\0"), (6, b"\xff\xff"), (16, b"\0\0")):
        buf = exactly(b"\xff\xff" + bytes(18))
        assert lib.trl_checksum_complete(buf, 20, 0, offset) == 0
        assert bytes(ffi.buffer(buf))[offset : offset + 2] == want
