"""The Scapy port over sockets that are not TAPs: a socket pair, and one without a descriptor."""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
from collections import deque
from typing import Any

import pytest

pytest.importorskip("scapy")

from csrc import Frame, ffi, lib
from drivers.net.scapy_port import ScapyPort


def images(count: int) -> list[bytes]:
    header = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6])
    return [header + bytes([i & 255]) * (46 + i % 1400) for i in range(count)]


def test_scapy_is_not_imported_with_the_module() -> None:
    import subprocess

    code = "import sys, drivers.net.scapy_port, drivers.net.scapy_socket; print('scapy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
def pair() -> Any:
    from scapy.supersocket import SimpleSocket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    port = ScapyPort(SimpleSocket(ours), name="pair0")
    yield port, theirs
    port.close()
    theirs.close()


def test_bytes_come_in_as_they_are_and_never_block(pair: Any) -> None:
    port, theirs = pair
    assert port.receive(64) == []
    sent = images(20)
    for image in sent:
        theirs.send(image)
    assert select.select([port.fileno()], [], [], 1)[0]
    first = port.receive(5)
    rest = port.receive(64)
    assert [bytes(f) for f in first + rest] == sent and len(first) == 5
    assert port.counters["rx_frames"] == 20 and port.counters["rx_bytes"] == sum(map(len, sent))


def test_bytes_go_out_as_they_are_and_a_full_socket_drops(pair: Any) -> None:
    port, theirs = pair
    sent = images(10)
    port.transmit([Frame.of(i) for i in sent], 0)
    assert [theirs.recv(2000) for _ in sent] == sent
    port.transmit([Frame.of(bytes(1500))] * 2000, 0)
    assert port.counters["tx_dropped"] > 0
    assert port.counters["tx_frames"] + port.counters["tx_dropped"] == 2010


def test_super_segments_and_partial_checksums_leave_complete(pair: Any) -> None:
    port, theirs = pair
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0x4000, 64, 6, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    template = bytes(12) + b"\x08\x00" + ip
    seg = ffi.new("struct trl_tcp_out *", {"sport": 1, "dport": 2, "tcp_flags": 16, "payload_len": 5000})
    out = ffi.new("uint8_t[128]")
    length = lib.trl_tcp_emit(out, 128, template, len(template), 14, seg)
    payload = (bytes(range(250)) * 20,)
    frame = Frame(bytes(ffi.buffer(out, length)), payload, gso_size=1460, csum_start=34, csum_offset=16)
    port.transmit([frame], 0)
    seen = [theirs.recv(2000) for _ in range(4)]
    pkt = ffi.new("struct trl_pkt *")
    assert [lib.trl_parse(ffi.from_buffer(s), len(s), lib.TRL_PARSE_ETHERNET, pkt) for s in seen] == [lib.TRL_OK] * 4
    assert b"".join(s[54:] for s in seen) == bytes(range(250)) * 20
    assert port.counters["tx_frames"] == 4


def test_a_closed_port_gives_nothing_drops_and_closes_again(pair: Any) -> None:
    port, _ = pair
    port.close()
    port.close()
    assert port.receive(64) == [] and port.fileno() is None
    port.transmit([Frame.of(bytes(60))], 0)
    assert port.counters["tx_dropped"] == 1


class Strange:
    """A SuperSocket of somebody's own that has no descriptor: its select waits on a condition."""

    def __init__(self) -> None:
        self.incoming: deque[bytes] = deque()
        self.outgoing: list[bytes] = []
        self.changed = threading.Condition()
        self.closed = False

    def select(self, sockets: list[Any], remain: float) -> list[Any]:
        with self.changed:
            self.changed.wait_for(lambda: self.incoming, remain)
        return sockets if self.incoming else []

    def recv_raw(self, x: int) -> tuple[None, bytes, None]:
        return None, self.incoming.popleft(), None

    def send(self, packet: Any) -> None:
        self.outgoing.append(bytes(packet))

    def close(self) -> None:
        self.closed = True

    def put(self, image: bytes) -> None:
        with self.changed:
            self.incoming.append(image)
            self.changed.notify()


def test_a_socket_without_a_descriptor_rings_an_eventfd() -> None:
    strange = Strange()
    port = ScapyPort(strange, name="odd0")
    sent = images(50)
    for image in sent:
        strange.put(image)
    got: list[bytes] = []
    while len(got) < 50:
        assert select.select([port.fileno()], [], [], 5)[0], "frames wait but the bell is silent"
        got += [bytes(f) for f in port.receive(7)]
    assert got == sent
    port.receive(1)
    assert not select.select([port.fileno()], [], [], 0)[0]
    port.transmit([Frame.of(sent[0])], 0)
    assert strange.outgoing == [sent[0]]
    port.close()
    assert strange.closed and port.receive(1) == []
