"""SipHash, SYN cookies and packet blocks of captures against plain Python."""

from __future__ import annotations

import io
import struct

from hypothesis import given
from hypothesis import strategies as st

from csrc import ffi, lib

MASK64 = 2**64 - 1
SECRETS = st.binary(min_size=16, max_size=16)


def siphash(secret: bytes, data: bytes) -> int:
    """SipHash-2-4, from the paper's figure."""
    k0, k1 = struct.unpack("<QQ", secret)
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotl(v: int, by: int) -> int:
        return (v << by | v >> (64 - by)) & MASK64

    def rounds(count: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0 = (v0 + v1) & MASK64
            v2 = (v2 + v3) & MASK64
            v1, v3 = rotl(v1, 13) ^ v0, rotl(v3, 16) ^ v2
            v0 = rotl(v0, 32)
            v2 = (v2 + v1) & MASK64
            v0 = (v0 + v3) & MASK64
            v1, v3 = rotl(v1, 17) ^ v2, rotl(v3, 21) ^ v0
            v2 = rotl(v2, 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (m,) in struct.iter_unpack("<Q", padded):
        v3 ^= m
        rounds(2)
        v0 ^= m
    v2 ^= 0xFF
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


def test_the_papers_vector() -> None:
    assert lib.trl_siphash(bytes(range(16)), bytes(range(15)), 15) == 0xA129CA6149BE45E5


@given(SECRETS, st.binary(max_size=100))
def test_siphash(secret: bytes, data: bytes) -> None:
    assert lib.trl_siphash(secret, data, len(data)) == siphash(secret, data)


def cookie(secret: bytes, key: bytes, irs: int, index: int, period: int) -> int:
    first = siphash(secret, b"cookie0" + key) & 0xFFFFFFFF
    second = siphash(secret, b"cookie1" + key + period.to_bytes(4, "big"))
    return (first + irs + (period << 24) + ((second + index) & 0xFFFFFF)) & 0xFFFFFFFF


NUMBERS = st.integers(0, 2**32 - 1)
KEYS = st.one_of(st.binary(min_size=12, max_size=12), st.binary(min_size=36, max_size=36))


@given(SECRETS, KEYS, NUMBERS, st.integers(0, 3), NUMBERS, st.integers(0, 3), NUMBERS)
def test_cookies(secret: bytes, key: bytes, irs: int, index: int, period: int, later: int, other: int) -> None:
    value = lib.trl_cookie(secret, key, len(key), irs, index, period)
    assert value == cookie(secret, key, irs, index, period)
    then = (period + later) & 0xFFFFFFFF
    assert lib.trl_cookie_check(secret, key, len(key), irs, value, then) == (index if later < 2 else -1)
    guess = lib.trl_cookie_check(secret, key, len(key), irs, other, period)
    assert guess == next(
        (i for age in (0, 1) for i in range(4) if cookie(secret, key, irs, i, period - age & 0xFFFFFFFF) == other), -1
    )


@given(st.binary(max_size=200), st.integers(0, 2**63), st.integers(0, 3), st.sampled_from(["in", "out"]))
def test_packet_blocks(image: bytes, stamp: int, interface: int, direction: str) -> None:
    from csrc import Frame
    from drivers.capture import Pcapng

    file = io.BytesIO()
    capture = Pcapng(file)
    for i in range(4):
        capture.add_interface(f"eth{i}")
    capture.flush()
    before = len(file.getvalue())
    capture.packet(interface, direction, Frame.of(image), stamp)
    capture.flush()
    want = file.getvalue()[before:]
    out = ffi.new("uint8_t[]", len(want))
    way = 1 if direction == "in" else 2
    assert lib.trl_pcapng_packet(out, len(want), interface, stamp, way, image, len(image)) == len(want)
    assert bytes(ffi.buffer(out)) == want
    assert lib.trl_pcapng_packet(out, len(want) - 1, interface, stamp, way, image, len(image)) == 0
