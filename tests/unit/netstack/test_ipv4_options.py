"""What is written into record route and time stamp options, and what goes back. That it is what Linux answers is
compared in tests/interop/netstack/test_same_answers.py."""

from __future__ import annotations

import random
import socket

from hypothesis import given
from hypothesis import strategies as st

from netstack import Frame, Stack
from netstack.ipv4_header import checksum
from netstack.ipv4_options import TS_ONLY, echo, read, without

OURS, PEER, BEHIND, OUT = (socket.inet_aton(a) for a in ("10.0.0.1", "10.0.0.2", "10.1.0.2", "10.1.0.1"))


def host() -> Stack:
    stack = Stack(random.Random(1))
    for number, address in enumerate(("10.0.0.1/24", "10.1.0.1/24")):
        stack.add_interface(f"eth{number}", f"02:00:00:00:0{number}:01", mtu=1500)
        stack.add_address(f"eth{number}", address)
    return stack


def packet(options: bytes, dst: bytes = OURS) -> bytearray:
    options += bytes(-len(options) % 4)
    header = bytearray(b"\x45\0\0\0\0\1\0\0\x40\xfe\0\0") + PEER + dst + options
    header[0] += len(options) // 4
    header[2:4] = len(header).to_bytes(2, "big")
    header[10:12] = checksum(header).to_bytes(2, "big")
    return header


known = st.sampled_from((b"\x07", b"\x44", b"\x83", b"\x89", b"\x94", b"\x01", b"\x82"))
option = st.tuples(known, st.integers(0, 12), st.binary(max_size=10)).map(
    lambda t: t[0] if t[0] == b"\x01" else t[0] + bytes((t[1],)) + t[2]
)
lists = st.lists(option, max_size=6).map(lambda parts: b"".join(parts)[:40]) | st.binary(max_size=40)


@given(lists)
def test_any_list_is_judged_and_what_goes_back_fits(options: bytes) -> None:
    stack = host()
    header = packet(options)
    size = len(header)
    found = read(stack, header, 0)
    assert len(header) == size
    assert not found.fault or 20 <= found.fault < size
    answer = echo(stack, found)
    if answer is not None:
        left = answer.fill(stack, OURS)
        assert len(left) % 4 == 0
        assert len(left) <= size - 20
        kept = without(left)
        assert len(kept) == len(left)
        assert not any(kept.strip(b"\x01\0"))  # neither option has the copy bit


@given(st.integers(0, 9), st.integers(0, 9))
def test_each_host_has_one_place_going_and_one_coming(room: int, before: int) -> None:
    stack = host()
    before = min(before, room)
    route = (PEER * before).ljust(4 * room, b"\0")
    found = read(stack, packet(bytes((7, 3 + 4 * room, 4 + 4 * before)) + route), 0)
    answer = echo(stack, found)
    assert answer is not None
    left = answer.fill(stack, OURS)
    assert left[3 : 3 + 4 * room] == (PEER * before + OURS * 2).ljust(4 * room, b"\0")[: 4 * room]
    assert left[2] == 4 + 4 * min(before + 2, room)


def test_the_time_of_day() -> None:
    stack = host()
    stack.realtime_offset = lambda: 86_400_000_000_000 * 3 + 5_000_000
    header = packet(bytes((68, 8, 5, TS_ONLY)) + bytes(4))
    read(stack, header, 0)
    assert header[24:28] == (5).to_bytes(4, "big")


def test_a_router_writes_the_address_that_it_sends_from() -> None:
    """RFC 1812 section 5.2.4.1; and the sum is good again."""
    stack = host()
    stack.settings.set("net.ipv4.ip_forward", 1)
    stack.interfaces["eth1"].neighbours.add_permanent(BEHIND, bytes((2, 0, 0, 0, 1, 2)), 0)  # type: ignore[union-attr]
    header = packet(bytes((7, 7, 4)) + bytes(4) + b"\1" + bytes((68, 12, 5, 1)) + bytes(8), BEHIND)
    link = bytes((2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0))
    stack.receive("eth0", Frame.of(link + bytes(header)), 0)
    ((name, frame),) = stack.transmit(0)
    sent = bytes(frame)[14:]
    assert name == "eth1"
    assert sent[20:27] == bytes((7, 7, 8)) + OUT
    assert sent[28:36] == bytes((68, 12, 13, 1)) + OUT
    assert checksum(sent[:40]) == 0
