"""trl_parse_plain against trl_parse, which has an oracle of its own: exactly the plain segments, said the same way."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from csrc import ffi, lib

MAC = b"\x02\0\0\0\0\x0a"
ETHERNET = int(lib.TRL_PARSE_ETHERNET)
FIN, SYN, PSH, ACK = 1, 2, 8, 16
OF_A_SYN = int(lib.TRL_OPT_MSS | lib.TRL_OPT_WSCALE | lib.TRL_OPT_SACK_PERMITTED | lib.TRL_OPT_TIMESTAMP)
PLAIN_OPTIONS = b"\1\1\x08\x0a"
FIELDS = "seq ack tsval tsecr payload_len"
PAIRS = {"what": ("tcp_flags", "tcp_options", 16), "where": ("window", "payload", 16), "ip": ("ttl", "tos", 8),
         "syn": ("mss", "wscale", 16)}  # fmt: skip


OPTIONS = [  # MSS, SACK permitted, timestamp, NOP, window scale; SACK, one unknown, two malformed, the end of the list
    b"\2\4\5\xb4", b"\4\2", b"\x08\x0a\1\2\3\4\5\6\7\x08", b"\1", b"\3\3\7",
    b"\5\x0a" + bytes(8), b"\x1e\4\0\0", b"\3\4\7\7", b"\2\0", b"\0",
]  # fmt: skip


def exactly(data: bytes) -> Any:
    array = ffi.new("uint8_t[]", len(data))
    ffi.buffer(array)[:] = data
    return array


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def plain(data: bytes, flags: int, pkt: Any) -> bool:
    """What the header says of a plain segment, in terms of what trl_parse found."""
    if lib.trl_parse(exactly(data), len(data), flags, pkt) != lib.TRL_OK or pkt.ip_version != 4 or pkt.proto != 6:
        return False
    if flags & ETHERNET and data[:6] != MAC:
        return False
    if pkt.ip_options or pkt.tos & 3:
        return False
    if pkt.tcp_flags & ~ACK == SYN:
        return not pkt.tcp_options & ~OF_A_SYN
    if pkt.tcp_flags & ~(PSH | FIN) != ACK:
        return False
    options = data[pkt.l4 + 20 : pkt.payload]
    return options == b"" or (len(options) == 12 and options[:4] == PLAIN_OPTIONS)


def check(data: bytes, flags: int) -> bool:
    pkt, out = ffi.new("struct trl_pkt *"), ffi.new("struct trl_plain *")
    want = plain(data, flags, pkt)
    assert bool(lib.trl_parse_plain(exactly(data), len(data), flags, MAC, out)) == want
    if want:
        assert [getattr(out, name) for name in FIELDS.split()] == [getattr(pkt, name) for name in FIELDS.split()]
        for name, (low, high, shift) in PAIRS.items():
            assert getattr(out, name) == getattr(pkt, low) | getattr(pkt, high) << shift
        assert bytes(ffi.buffer(out.key)) == bytes(ffi.buffer(pkt.key, pkt.key_len))
        assert bytes(ffi.buffer(out.addresses)) == data[pkt.l3 + 12 : pkt.l3 + 20]
    return want


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, int]:
    """(a frame that is plain but for what is drawn to be otherwise, flags)."""
    options = draw(st.sampled_from([b"", PLAIN_OPTIONS, PLAIN_OPTIONS, b"\x08\x0a", b"\1\1\5\x0a"]))
    if options:
        options += draw(st.binary(min_size=8, max_size=8))
    else:
        options = b"".join(draw(st.lists(st.sampled_from(OPTIONS), max_size=6)))[:40]
    options += bytes(-len(options) % 4)
    payload = draw(st.binary(max_size=60))
    word = (5 + len(options) // 4) << 12 | draw(
        st.sampled_from([16, 16, 24, 24, 17, 25, 2, 2, 2, 18, 3, 20, 48, 80, 194, 272, 0])
    )
    tcp = draw(st.binary(min_size=12, max_size=12)) + struct.pack(">HHHH", word, draw(st.integers(0, 65535)), 0, 0)
    addresses = draw(st.binary(min_size=8, max_size=8))
    whole = tcp + options + payload
    total = ones_sum(addresses + struct.pack(">HH", 6, len(whole)) + whole)
    whole = whole[:16] + struct.pack(">H", ~total & 0xFFFF) + whole[18:]
    tos, frag = draw(st.sampled_from([0, 0, 8, 2])), draw(st.sampled_from([0, 0x4000, 0x2000, 1]))
    ip = struct.pack(">BBHHHBBH", 0x45, tos, 20 + len(whole), 7, frag, draw(st.integers(0, 255)), 6, 0) + addresses
    ip = ip[:10] + struct.pack(">H", ~ones_sum(ip) & 0xFFFF) + ip[12:]
    data = draw(st.sampled_from([MAC, MAC, MAC, b"\xff" * 6])) + b"\2\0\0\0\0\x0b\x08\0" + ip + whole
    data += draw(st.sampled_from([b"", b"", b"\0" * 6]))
    flags = draw(st.integers(0, 7)) | draw(st.sampled_from([0, ETHERNET, ETHERNET]))
    return (data if flags & ETHERNET else data[14:]), flags


@given(frames())
def test_plain_segments_are_those_and_no_others(frame: tuple[bytes, int]) -> None:
    check(*frame)


@given(frames(), st.data())
@settings(max_examples=200)
def test_one_byte_changed_or_the_end_missing(frame: tuple[bytes, int], data: st.DataObject) -> None:
    octets, flags = bytearray(frame[0]), frame[1]
    if data.draw(st.booleans()):
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del octets[data.draw(st.integers(0, len(octets) - 1)) :]
    check(bytes(octets), flags)


@given(st.binary(max_size=80), st.integers(0, 7))
def test_any_bytes(data: bytes, flags: int) -> None:
    check(data, flags)


def test_the_usual_segment_is_plain() -> None:
    ip = bytes.fromhex("4500003412344000400600000a0000020a000001")
    tcp = bytes.fromhex("1389c001000000640000012c80100010000000000101080a0000000100000002")
    ip = ip[:10] + struct.pack(">H", ~ones_sum(ip) & 0xFFFF) + ip[12:]
    total = ones_sum(ip[12:20] + struct.pack(">HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack(">H", ~total & 0xFFFF) + tcp[18:]
    assert check(MAC + bytes(6) + b"\x08\0" + ip + tcp, ETHERNET)
    assert not check(MAC + bytes(6) + b"\x08\0" + ip + tcp[:-1] + b"\3", ETHERNET)


def test_a_syn_of_linux_is_plain() -> None:
    ip = bytes.fromhex("4500003c12344000400600000a0000020a000001")
    tcp = bytes.fromhex("138900070000006400000000a002faf000000000020405b40402080a000000010000000001030307")
    ip = ip[:10] + struct.pack(">H", ~ones_sum(ip) & 0xFFFF) + ip[12:]
    total = ones_sum(ip[12:20] + struct.pack(">HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack(">H", ~total & 0xFFFF) + tcp[18:]
    assert check(MAC + bytes(6) + b"\x08\0" + ip + tcp, ETHERNET)
