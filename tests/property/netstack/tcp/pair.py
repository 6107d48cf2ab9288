"""Two stacks joined by a wire of bytes in explicit time; each packet meets a fate drawn beforehand."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import Any

from csrc import ffi, lib
from netstack.settings import Settings
from netstack.stack import Stack
from netstack.tcp.segment import RST, SYN
from netstack.tcp.tcb import LOSS_PROBE, PROBE0

MS = 1_000_000
S = 1_000_000_000
MASK = 0xFFFFFFFF

# What happens to a packet: a name and a number.
DELIVER = ("deliver", 0)


class Pair:
    """a is 10.0.0.1, b is 10.0.0.2; `fates[side]` are consumed one per packet that side sends, then all are
    delivered."""

    def __init__(
        self,
        delay_ns: int = 10 * MS,
        fates: dict[str, list[tuple[str, int]]] | None = None,
        mtu: int = 1500,
        gso: bool = False,
        start: int = 0,
        **settings: Any,
    ) -> None:
        names = {name.replace("__", "."): value for name, value in settings.items()}
        self.now = start
        self.delay_ns = delay_ns
        self.stacks: dict[str, Stack] = {}
        for n, side in enumerate("ab"):
            stack = Stack(random.Random(n), Settings(**names))
            stack.now = start
            stack.add_interface("eth0", mtu=mtu, gso=gso)
            stack.add_address("eth0", f"10.0.0.{n + 1}/24")
            self.stacks[side] = stack
        self.fates: dict[str, Iterator[tuple[str, int]]] = {side: iter((fates or {}).get(side, [])) for side in "ab"}
        self.flying: list[tuple[int, int, str, bytes]] = []
        self.serial = 0
        self.seen: list[tuple[int, str, bytes]] = []
        self.keep = False
        self.edges: dict[str, int] = {}
        self.windows: dict[Any, int] = {}
        self.pkt = ffi.new("struct trl_pkt *")
        self.check = True
        for side in "ab":
            self.watch(side)

    # The oracles of the sender.

    def watch(self, side: str) -> None:
        """Check every segment as it leaves: new data only while pipe < cwnd, and below the greatest right
        edge offered."""
        tcp = self.stacks[side].tcp
        inner = tcp.send

        def send(path: Any, frame: Any, now: int) -> Any:
            if self.check:
                self.leaving(tcp, path, frame)
            return inner(path, frame, now)

        tcp.send = send

    def leaving(self, tcp: Any, path: Any, frame: Any) -> None:
        image = bytes(frame)
        pkt = self.pkt
        assert lib.trl_parse(ffi.from_buffer(image), len(image), 0, pkt) == lib.TRL_OK
        key = path.src + path.dst + pkt.sport.to_bytes(2, "big") + pkt.dport.to_bytes(2, "big")
        c = tcp.table.get(key)
        if c is None or not hasattr(c, "cwnd"):
            return
        if not pkt.tcp_flags & (SYN | RST):
            self.window_not_silly(c, pkt.window << c.rcv_wscale)
        if not pkt.payload_len:
            return
        seq = c.snd_nxt + ((pkt.seq - c.snd_nxt + 0x80000000) & MASK) - 0x80000000
        assert seq + pkt.payload_len <= c.snd_una + c.max_window or c.snd_wnd < c.max_window, (
            "beyond every edge offered"
        )
        if seq >= c.snd_nxt:
            edge = max(self.edges.get(id_of(c), 0), c.snd_una + c.snd_wnd)
            self.edges[id_of(c)] = edge
            assert seq + pkt.payload_len <= edge, "beyond the greatest right edge"
            probing = c.pending == LOSS_PROBE and pkt.payload_len <= c.mss_cache
            assert c.in_flight() < c.cwnd or probing, f"new data with pipe {c.in_flight()} and cwnd {c.cwnd}"
            self.not_silly(c, seq, pkt.payload_len)

    def not_silly(self, c: Any, seq: int, length: int) -> None:
        """RFC 9293 section 3.8.6.2.1: a segment of new data that is not full is the end of what there is to send, or
        fills the offered window; and with Nagle (Minshall's way) only one such is unacknowledged."""
        sizes = [c.mss_cache] + [c.mss_cache - 4 - 8 * blocks for blocks in (1, 2, 3, 4)]
        if any(length % size == 0 for size in sizes):
            return
        end = seq + length
        last = end == c.write_seq - c.fin_out
        assert last or end == c.snd_una + c.snd_wnd or c.pending == LOSS_PROBE, "a silly segment"
        if not c.nonagle and not c.fin_out and c.pending not in (LOSS_PROBE, PROBE0) and not c.snd_up:
            assert not c.snd_una < c.snd_sml <= c.snd_nxt, "two small segments in flight"

    def window_not_silly(self, c: Any, window: int) -> None:
        """Section 3.8.6.2.2: the right edge moves on only when it leaves room for a segment, or for a sixteenth of the
        buffer (Linux's share; the RFC's is a half)."""
        unit = 1 << c.rcv_wscale
        edge = c.rcv_nxt + window
        before = self.windows.get(id_of(c), edge)
        self.windows[id_of(c)] = max(before, edge)
        if edge >= before + unit and not c.fin_received:
            least = min(c.rcv_mss, (c.rcvbuf * c.scaling_ratio >> 8) >> 4)
            assert window + unit > least, f"a silly window of {window}"

    # The wire.

    def collect(self) -> None:
        for side, other in (("a", "b"), ("b", "a")):
            for _, frame in self.stacks[side].transmit(self.now):
                for image in frame.segments():
                    self.carry(side, other, image)

    def carry(self, side: str, other: str, image: bytes) -> None:
        if self.keep:
            self.seen.append((self.now, side, image))
        what, value = next(self.fates[side], DELIVER)
        at = self.now + self.delay_ns
        if what == "drop":
            return
        if what == "delay":
            at += value * MS
        elif what == "corrupt":
            damaged = bytearray(image)
            damaged[value % len(damaged)] ^= 1 << (value % 8)
            image = bytes(damaged)
        elif what == "dup":
            self.put(at + value * MS, other, image)
        self.put(at, other, image)

    def put(self, at: int, other: str, image: bytes) -> None:
        self.serial += 1
        heapq.heappush(self.flying, (at, self.serial, other, image))

    def step(self, until: int) -> bool:
        """To the next event at or before `until`; False when there is none."""
        self.collect()
        times = [stack.next_deadline() for stack in self.stacks.values()]
        due = [at for at in times if at is not None]
        if self.flying:
            due.append(self.flying[0][0])
        if not due or min(due) > until:
            return False
        self.now = max(self.now, min(due))
        while self.flying and self.flying[0][0] <= self.now:
            _, _, other, image = heapq.heappop(self.flying)
            self.stacks[other].receive("eth0", image, self.now)
        for stack in self.stacks.values():
            deadline = stack.next_deadline()
            if deadline is not None and deadline <= self.now:
                stack.on_deadline(self.now)
        self.collect()
        return True

    def run(self, duration: int) -> None:
        until = self.now + duration
        while self.step(until):
            pass
        self.now = until
        for stack in self.stacks.values():
            stack.now = until

    def connect(self, port: int = 80) -> tuple[Any, Any]:
        """(client on a, listener on b), the SYN sent."""
        listener = self.stacks["b"].socket(2, 1)
        listener.bind(("10.0.0.2", port))
        listener.listen(16)
        client = self.stacks["a"].socket(2, 1)
        try:
            client.connect(("10.0.0.2", port), self.now)
        except BlockingIOError:
            pass
        return client, listener

    def established(self) -> tuple[Any, Any]:
        client, listener = self.connect()
        self.run(4 * self.delay_ns + 1)
        server, _ = listener.accept(self.now)
        return client, server


def id_of(c: Any) -> Any:
    return c.key


class Mover:
    """Sends a string from one socket, reads it at another, closes, and says when all is done."""

    def __init__(self, source: Any, sink: Any, data: bytes, chunk: int, read: int) -> None:
        self.source, self.sink = source, sink
        self.data, self.chunk, self.read = data, chunk, read
        self.sent = 0
        self.got = bytearray()
        self.eof = False
        self.shut = False

    def turn(self, now: int) -> None:
        """As much as goes now."""
        while self.sent < len(self.data):
            try:
                self.sent += self.source.send(self.data[self.sent : self.sent + self.chunk], now)
            except BlockingIOError:
                break
        if self.sent == len(self.data) and not self.shut:
            self.shut = True
            self.source.shutdown(1, now)
        while not self.eof:
            try:
                piece = self.sink.recv(self.read, now)
            except BlockingIOError:
                break
            if not piece:
                self.eof = True
            self.got += piece

    @property
    def done(self) -> bool:
        return self.eof and self.shut
