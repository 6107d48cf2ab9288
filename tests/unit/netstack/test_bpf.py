"""Filters of sockets: any program is taken or refused, and what is taken ends. That Linux takes the same, and runs them
so, is compared in tests/conformance/kernel/programs/94_filters.py."""

from __future__ import annotations

import errno
import random
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack import Frame, Stack, bpf

AF_PACKET, SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER = 17, 26, 27, 44


def code(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)


def host() -> Stack:
    stack = Stack(random.Random(1))
    stack.add_interface("eth0", "02:00:00:00:00:01", mtu=1500)
    return stack


numbers = st.sampled_from((0, 1, 5, 15, 31, bpf.SKF_NET, bpf.SKF_LL, bpf.SKF_AD, bpf.SKF_AD + 40)) | st.integers(
    0, 2**32 - 1
)
instruction = st.tuples(st.sampled_from(sorted(bpf.ALLOWED)), st.integers(0, 3), st.integers(0, 3), numbers)


@given(st.lists(instruction, max_size=8), numbers, st.binary(max_size=40), st.integers(0, 20))
def test_what_is_taken_ends_with_a_number_of_bytes(
    begin: list[tuple[int, int, int, int]], k: int, image: bytes, at: int
) -> None:
    text = code(*begin, (bpf.RET_K, 0, 0, k), (bpf.RET_A, 0, 0, 0))
    try:
        program = bpf.parsed(text)
    except OSError as refused:
        assert refused.errno == errno.EINVAL
        return
    view = bpf.View(image, at, 0, -1, 0x0800, 0, 1, 1)
    assert 0 <= bpf.run(program, view, host()) < 1 << 32


def test_a_packet_socket_is_given_what_its_filter_leaves() -> None:
    stack = host()
    sock = stack.socket(AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    # ARP's first 20 bytes, nothing else.
    text = code((0x28, 0, 0, 12), (0x15, 0, 1, 0x0806), (0x06, 0, 0, 20), (0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, text)
    sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA
    arp, ip = (b"\xff" * 6 + bytes((2, 0, 0, 0, 0, 2)) + kind + bytes(46) for kind in (b"\x08\x06", b"\x08\x00"))
    for frame in (ip, arp, ip):
        stack.receive("eth0", Frame.of(frame), 0)
    assert sock.recvmsg(100, 0)[0] == arp[:20]
    ((_, _, told),) = sock.ancillary
    assert struct.unpack("=IIIHHHH", told)[1:3] == (60, 20)
    with pytest.raises(BlockingIOError):
        sock.recvmsg(100, 0)
    assert struct.unpack("=II", sock.getsockopt(263, 6, 8)) == (1, 0)  # what is filtered out is not counted


def test_a_lock_holds_and_what_is_no_filter_changes_nothing() -> None:
    sock = host().socket(socket.AF_INET, socket.SOCK_DGRAM)
    keep = code((0x06, 0, 0, 9))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, keep)
    with pytest.raises(OSError, match="ends with a return"):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, code((0, 0, 0, 1)))
    assert sock.getsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER) == keep
    sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
    for name in (SO_ATTACH_FILTER, SO_DETACH_FILTER):
        with pytest.raises(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, name, keep)
