"""The TAP's batches over a socket pair: whatever pieces a frame is made of, its bytes and order come through."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("a TAP is Linux's", allow_module_level=True)

from csrc import Frame
from csrc import ffi as leaf_ffi
from csrc import lib as leaf_lib
from csrc.tap import ffi, lib
from drivers.net.tap import VNET_BYTES, TapDevice
from tests.property.csrc.test_offload import ACK, FIN, PSH, SYN, TS, URG, Acks, Group, Tcp, View, answers, look, traffic

HEADER = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5])


@contextmanager
def device(vnet: bool) -> Iterator[tuple[TapDevice, socket.socket]]:
    """A TapDevice whose descriptor is one end of a pair that keeps message boundaries, as a TAP does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.setblocking(False)
    tap = TapDevice.__new__(TapDevice)
    tap.name, tap.mtu, tap.vnet, tap.mac = "pair", 1500, vnet, bytes(6)
    tap._final = None
    tap._tap = ffi.new("struct trl_tap *")
    tap._fd = tap._tap.fd = os.dup(ours.fileno())
    tap._tap.vnet = VNET_BYTES if vnet else 0
    tap._tap.flags = lib.TRL_PARSE_ETHERNET
    tap._prepare()
    try:
        yield tap, theirs
    finally:
        tap.close()
        ours.close()
        theirs.close()


def arriving(theirs: socket.socket, strip: int) -> list[bytes]:
    found = []
    while select.select([theirs], [], [], 0)[0]:
        message = theirs.recv(1 << 17)
        assert not any(message[:strip]), "a complete frame leaves nothing to the kernel"
        found.append(message[strip:])
    return found


frames = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 60), st.just(2034), st.integers(1900, 9000)),  # the linear part after the header
        st.lists(st.one_of(st.integers(0, 20), st.integers(400, 3000)), max_size=6),
        st.sampled_from([bytes, bytearray, memoryview]),
    ),
    max_size=150,
)


@settings(max_examples=40)
@given(st.booleans(), frames)
def test_what_is_transmitted_arrives_in_order_and_whole(vnet: bool, shapes: list) -> None:  # type: ignore[type-arg]
    with device(vnet) as (tap, theirs):
        sent = []
        for i, (linear, pieces, kind) in enumerate(shapes):
            data = HEADER + bytes([i & 255]) * linear
            sent.append(Frame(kind(data), tuple(kind(bytes([j]) * n) for j, n in enumerate(pieces))))
        expected = [bytes(f) for f in sent]
        got: list[bytes] = []
        for at in range(0, len(sent), 40):  # less than the pair's buffer
            tap.transmit(sent[at : at + 40], 0)
            got += arriving(theirs, tap._tap.vnet)
        assert got == expected
        assert tap._tap.tx_frames == len(expected) and tap._tap.tx_dropped == tap._tap.tx_malformed == 0


@pytest.mark.parametrize("vnet", [True, False])
def test_more_pieces_than_a_batch_or_a_writev_takes(vnet: bool) -> None:
    with device(vnet) as (tap, theirs):
        for pieces in (63, 64, 65, 700, 1023, 1024, 1025, 3000):
            many = Frame(HEADER, tuple(bytes([i & 255]) for i in range(pieces)))
            one = Frame(HEADER + b"x")
            tap.transmit([one, many, many, one], 0)
            assert arriving(theirs, tap._tap.vnet) == [bytes(f) for f in (one, many, many, one)]


def test_a_queue_that_is_full_loses_the_rest_and_counts_it() -> None:
    with device(False) as (tap, theirs):
        tap.transmit([Frame(HEADER + bytes(60000)) for _ in range(400)], 0)
        got = len(arriving(theirs, 0))
        assert 0 < got < 400
        assert tap._tap.tx_frames == got and tap._tap.tx_dropped == 400 - got


@settings(max_examples=40)
@given(st.booleans(), st.lists(st.integers(0, 1486), max_size=120), st.integers(1, 80))
def test_what_arrives_is_received_in_order_and_within_the_budget(vnet: bool, sizes: list[int], budget: int) -> None:
    with device(vnet) as (tap, theirs):
        sent = [HEADER + bytes([i & 255]) * n for i, n in enumerate(sizes)]
        for image in sent:
            theirs.send(bytes(tap._tap.vnet) + image)
        got: list[Frame] = []
        while batch := tap.receive(budget):
            assert len(batch) <= budget
            got += batch
        assert [bytes(f) for f in got] == sent
        assert [f.gso_segs for f in got] == [1] * len(sent)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([b"", b"", b"x"])), max_size=40))
def test_thinning_in_both_modes_loses_only_what_newer_acknowledgements_say(steps: list[tuple[int, bytes]]) -> None:
    ack = 0
    images: list[bytes] = []
    last: list[tuple[int, bytes]] = []
    for step, text in steps:
        ack += step
        if last and not text and step and not last[-1][1]:
            last[-1] = (ack, text)
        else:
            last.append((ack, text))
        images.append(segment(1000, text, ack))
    for vnet in (False, True):
        with device(vnet) as (tap, theirs):
            tap.thin_acks(True)
            got: list[Frame] = []
            for at in range(0, len(images), 16):
                for image in images[at : at + 16]:
                    theirs.send(bytes(tap._tap.vnet) + image)
            while batch := tap.receive(64):
                got += batch
            assert [int.from_bytes(bytes(f)[42:46], "big") for f in got][-1:] == [a for a, _ in last][-1:]
            assert [bytes(f)[54:] for f in got if len(f) > 54] == [t for _, t in last if t]
            assert sum(f.gso_segs for f in got) == len(images) == tap._tap.rx_frames
            if not vnet:
                assert len(got) == len(last)


def segment(seq: int, payload: bytes, ack: int = 0) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0x4000, 64, 6, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    template = HEADER[:12] + b"\x08\x00" + ip
    fields = {"sport": 1, "dport": 2, "seq": seq, "ack": ack, "tcp_flags": 16, "window": 9, "payload_len": len(payload)}
    fields["dont_fragment"] = 1  # else segments with one IP identification are not of one train
    out = leaf_ffi.new("uint8_t[128]")
    head = leaf_lib.trl_tcp_emit(out, 128, template, len(template), 14, leaf_ffi.new("struct trl_tcp_out *", fields))
    return bytes(Frame(bytes(leaf_ffi.buffer(out, head)), (payload,), csum_start=34, csum_offset=16))


@pytest.mark.parametrize("vnet", [False, True])
@pytest.mark.parametrize(("thin", "handed_up"), [(False, [1, 1, 1, 1]), (True, [3, 1])])
def test_acknowledgements_are_thinned_when_asked(vnet: bool, thin: bool, handed_up: list[int]) -> None:
    with device(vnet) as (tap, theirs):
        tap.thin_acks(thin)
        acks = [segment(1000, b"", ack) for ack in (5, 6, 9, 9)]
        for image in acks:
            theirs.send(bytes(tap._tap.vnet) + image)
        got = tap.receive(64)
        assert [f.gso_segs for f in got] == handed_up
        assert [bytes(f) for f in got] == (acks[2:] if thin else acks)
        assert tap._tap.rx_frames == 4


@given(st.integers(2, 40), st.integers(1, 1460))
def test_plain_segments_come_coalesced_and_views_survive_later_batches(count: int, size: int) -> None:
    stream = bytes(i * 7 & 255 for i in range(count * size))
    with device(False) as (tap, theirs):
        kept: list[Frame] = []
        for _ in range(3):
            for i in range(count):
                theirs.send(segment(1000 + i * size, stream[i * size : (i + 1) * size]))
            kept += tap.receive(64)
        assert len(kept) == 3
        for frame in kept:
            assert frame.csum_ok and frame.gso_segs * size >= frame.length - 54
        assert b"".join(bytes(memoryview(f.data)[54:]) for f in kept) == 3 * stream


def neighbours(frames: list[bytes], acks: bool, vnet: bool = False) -> list[tuple[bytes, int, int, bool]]:
    """What GRO in a line makes of frames: trl_gro's rules, for a frame and the one read just before it. With vnet
    headers what a segment carries need not have come before it.
    """
    groups: list[Group] = []
    before: tuple[View, bool] | None = None  # the newest group's first frame; whether nothing lies behind its packet
    for frame in frames:
        view, good = look(frame, False)
        whole = view is not None and len(frame) == view.header + len(view.payload)
        if view is not None and before is not None and view.flow == before[0].flow:
            group = groups[-1]
            if whole and before[1] and group.takes(view):
                group.add(frame, view)
                continue
            if isinstance(group, Acks) and group.superseded_by(frame, view):
                group.frames.append(frame)
                continue
            if vnet and isinstance(group, Acks) and group.carried_by(frame, view):
                groups.pop()
        groups.append((Acks if acks and Acks.pure(frame, view) else Group)(frame, view, good))
        before = None if view is None else (view, whole)
    return [group.result() for group in groups]


def received(
    frames: list[bytes], acks: bool, budget: int = 90, vnet: bool = False
) -> list[tuple[bytes, int, int, bool]]:
    with device(vnet) as (tap, theirs):
        tap.thin_acks(acks)
        for frame in frames:
            theirs.send(bytes(tap._tap.vnet) + frame)
        got: list[Frame] = []
        while batch := tap.receive(budget):
            got += batch
        assert tap._tap.rx_frames == len(frames)
    return [(bytes(f), f.gso_size, f.gso_segs, f.csum_ok) for f in got]


@settings(max_examples=300)
@given(st.one_of(traffic(), answers()), st.booleans())
def test_frames_are_coalesced_where_they_are_read(case: tuple[list[bytes], list[bool]], acks: bool) -> None:
    frames = [frame for frame in case[0] if frame]  # an empty message would end the batch
    assert received(frames, acks) == neighbours(frames, acks)


@settings(max_examples=300)
@given(st.one_of(traffic(), answers()))
def test_single_frames_among_super_segments_are_coalesced_too(case: tuple[list[bytes], list[bool]]) -> None:
    """A kernel that would hand up super-segments has none where it forwards frames: of a bridge, say."""
    frames = [frame for frame in case[0] if frame][:16]  # as many as one call has room for
    assert received(frames, True, vnet=True) == neighbours(frames, True, True)


def test_an_acknowledgement_that_the_next_segment_carries_is_not_handed_up() -> None:
    """What a client sends that asks at once, and one that closes when it has its answer."""

    def handed_up(*segments: Tcp, thin: bool = True) -> list[int]:
        frames = [t._replace(ip_id=i).image() for i, t in enumerate(segments)]
        images = [image for image, *_ in received(frames, thin, vnet=True)]
        return [frames.index(image) for image in images]

    bare = Tcp(options=TS, seq=5, ack=9)
    text, over = bare._replace(payload=b"x", flags=ACK | PSH), bare._replace(flags=ACK | FIN)
    assert handed_up(bare, text) == handed_up(bare, over) == handed_up(bare, text._replace(ack=10)) == [1]
    assert handed_up(bare, bare._replace(ack=10), text._replace(ack=10)) == [2]
    assert handed_up(bare, text, thin=False) == [0, 1]
    for changed in (
        text._replace(ack=8), text._replace(seq=4), text._replace(options=b""), text._replace(tos=3),
        text._replace(ports=(1000, 2001)), text._replace(flags=ACK | URG), over._replace(flags=ACK | FIN | SYN), bare,
    ):  # fmt: skip
        assert handed_up(bare, changed) == [0, 1]
    plain = bare._replace(options=b"")
    assert handed_up(plain, plain._replace(payload=b"x")) == [0, 1]


def test_frames_that_are_to_be_seen_each_are_not_coalesced() -> None:
    """A wire's, and those of whoever captures."""
    frames = [segment(1000 + 100 * i, bytes(100)) for i in range(5)]
    assert [segs for _, _, segs, _ in received(frames, True, vnet=True)] == [5]
    assert [image for image, *_ in received(frames, False, vnet=True)] == frames


@given(
    st.integers(1, 1460), st.integers(1, 200), st.sampled_from([4, 6]), st.integers(1, 90), st.integers(0, 40),
    st.booleans(),
)  # fmt: skip
def test_a_stream_in_frames_is_the_stream(
    size: int, count: int, version: int, budget: int, lost: int, vnet: bool
) -> None:
    """Payloads down to one byte, where the next frame's headers are read over those of the first."""
    whole = Tcp(version=version, options=TS, payload=bytes(i % 251 for i in range(min(size * count, 60_000))))
    frames = whole.split(size)
    if 0 < lost < len(frames):
        del frames[lost]
    got = received(frames, vnet, budget, vnet)
    assert sum(segs for _, _, segs, _ in got) == len(frames)
    assert [s for image, gso_size, _, _ in got for s in Frame(image, gso_size=gso_size).segments()] == frames
    if budget > len(frames):
        assert len(got) == (2 if 0 < lost < len(frames) else 1)
