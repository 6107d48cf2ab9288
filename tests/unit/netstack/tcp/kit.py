"""A peer that exists only as segments: `send("S 0:0(0) win 65535 <mss 1000>")`, `recv("S. 0:0(0) ack 1 <...>")`, at
explicit times.

The text is packetdrill's: flags (S F R P . U E W), seq:end(length) and ack relative to the two initial sequence
numbers, `win`, options. In `recv` what is not written is not compared, but for the flags, the range and the ack.
Times are milliseconds.
"""

from __future__ import annotations

import contextlib
import random
import re
import struct
from typing import Any

from csrc import ffi, lib
from netstack.settings import Settings
from netstack.stack import Stack
from netstack.tcp.segment import OPT_MSS, OPT_SACK, OPT_SACK_PERMITTED, OPT_TIMESTAMP, OPT_WSCALE, flag_text

MS = 1_000_000
MASK = 0xFFFFFFFF
LOCAL, REMOTE = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
SEGMENT = re.compile(
    r"(?P<flags>[SFRP.UEW]+) (?P<seq>\d+):(?P<end>\d+)\((?P<len>\d+)\)"
    r"(?: ack (?P<ack>\d+))?(?: win (?P<win>\d+))?(?: urg (?P<urg>\d+))?"
    r"(?: <(?P<options>[^>]*)>)?(?: (?P<ecn>ect0|ce))?$"
)
BITS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128}


def checksum(data: bytes) -> int:
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Seen:
    """One segment the stack sent, with relative numbers."""

    def __init__(self, image: bytes, peer: Peer) -> None:
        pkt = peer.pkt
        verdict = lib.trl_parse(ffi.from_buffer(image), len(image), 0, pkt)
        assert verdict == lib.TRL_OK, f"the stack sent a bad packet: verdict {verdict}"
        flags = pkt.tcp_flags
        if flags & 2:
            peer.local_isn = pkt.seq
        self.image = image
        self.flags = flags
        self.raw_seq, self.raw_ack = pkt.seq, pkt.ack
        self.seq = (pkt.seq - peer.local_isn) & MASK
        self.length = pkt.payload_len
        self.end = self.seq + self.length
        self.ack = (pkt.ack - peer.remote_isn) & MASK if flags & 16 else None
        self.window = pkt.window
        self.urgent = pkt.urgent
        self.tos = pkt.tos
        self.payload = image[pkt.payload : pkt.payload + pkt.payload_len]
        opts = pkt.tcp_options
        self.options: dict[str, Any] = {}
        if opts & OPT_MSS:
            self.options["mss"] = pkt.mss
        if opts & OPT_SACK_PERMITTED:
            self.options["sackOK"] = True
        if opts & OPT_WSCALE:
            self.options["wscale"] = pkt.wscale
        if opts & OPT_TIMESTAMP:
            self.options["TS"] = (pkt.tsval, pkt.tsecr)
        if opts & OPT_SACK:
            edges = [(pkt.sack[i] - peer.remote_isn) & MASK for i in range(2 * pkt.nsack)]
            self.options["sack"] = list(zip(edges[::2], edges[1::2]))

    def __repr__(self) -> str:
        ack = f" ack {self.ack}" if self.ack is not None else ""
        return f"{flag_text(self.flags)} {self.seq}:{self.end}({self.length}){ack} win {self.window} {self.options}"


class Peer:
    """The stack under test (10.0.0.1) and its imaginary peer (10.0.0.2). The stack is `stack`, the time `now`."""

    def __init__(self, isn: int = 0x7000_0000, **settings: Any) -> None:
        names = {name.replace("__", "."): value for name, value in settings.items()}
        values: dict[str, Any] = {"net.ipv4.tcp_congestion_control": "reno", **names}
        self.stack = Stack(random.Random(5), Settings(**values))
        self.stack.add_interface("tun0")
        self.stack.add_address("tun0", "10.0.0.1/24")
        self.stack.add_route("default", dev="tun0")
        self.now = 1_000_000_000
        self.stack.now = self.now
        self.pkt = ffi.new("struct trl_pkt *")
        self.remote_isn = isn
        self.local_isn = 0
        self.lport, self.rport = 80, 40000
        self.queue: list[tuple[int, Seen]] = []
        self.ts_base = 0

    # Time.

    def drain(self) -> None:
        for _, frame in self.stack.transmit(self.now):
            for image in frame.segments():
                self.queue.append((self.now, Seen(image, self)))

    def wait(self, ms: float) -> None:
        """Let time pass, running what falls due."""
        until = self.now + int(ms * MS)
        while True:
            self.drain()
            deadline = self.stack.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.stack.on_deadline(self.now)
        self.now = until
        self.stack.now = until
        self.drain()

    # The script's two verbs.

    def send(self, text: str, payload: bytes | None = None) -> None:
        found = SEGMENT.match(text)
        assert found, text
        flags = sum(BITS[letter] for letter in found["flags"])
        seq = (int(found["seq"]) + self.remote_isn) & MASK
        ack = (int(found["ack"]) + self.local_isn) & MASK if found["ack"] is not None else 0
        options = self.encode(found["options"] or "")
        length = int(found["len"])
        data = payload if payload is not None else bytes((i + int(found["seq"])) & 0xFF for i in range(length))
        assert len(data) == length
        window = int(found["win"] or 65535)
        offset = (20 + len(options)) // 4
        tcp = bytearray(
            struct.pack(
                "!HHIIBBHHH", self.rport, self.lport, seq, ack, offset << 4, flags, window, 0, int(found["urg"] or 0)
            )
            + options
            + data
        )
        pseudo = REMOTE + LOCAL + struct.pack("!BBH", 0, 6, len(tcp))
        tcp[16:18] = checksum(pseudo + bytes(tcp)).to_bytes(2, "big")
        tos = {"ect0": 2, "ce": 3}.get(found["ecn"] or "", 0)
        ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(tcp), 1, 0x4000, 64, 6, 0, REMOTE, LOCAL))
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        self.stack.receive("tun0", bytes(ip + tcp), self.now)
        self.drain()

    def encode(self, text: str) -> bytes:
        out = b""
        for word in filter(None, text.split(",")):
            name, *values = word.split()
            if name == "mss":
                out += struct.pack("!BBH", 2, 4, int(values[0]))
            elif name == "nop":
                out += b"\1"
            elif name == "wscale":
                out += struct.pack("!BBB", 3, 3, int(values[0]))
            elif name == "sackOK":
                out += b"\4\2"
            elif name == "TS":
                echo = int(values[3])
                out += struct.pack("!BBII", 8, 10, int(values[1]), (echo + self.ts_base) & MASK if echo else 0)
            elif name == "sack":
                blocks = [edge for pair in values for edge in pair.split(":")]
                edges = [(int(edge) + self.local_isn) & MASK for edge in blocks]
                out += struct.pack(f"!BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)
            else:
                raise ValueError(word)
        return out + b"\1" * (-len(out) % 4)

    def recv(self, text: str, at: float | None = None, within: tuple[float, float] | None = None) -> Seen:
        """The next segment the stack sent has to be this one. Its time (ms since the last `mark`) may be asked for."""
        found = SEGMENT.match(text)
        assert found, text
        assert self.queue, f"nothing was sent, expected {text}"
        when, seen = self.queue.pop(0)
        wanted = sum(BITS[letter] for letter in found["flags"])
        same = (
            seen.flags == wanted
            and (seen.seq, seen.end, seen.length) == (int(found["seq"]), int(found["end"]), int(found["len"]))
            and (found["ack"] is None or seen.ack == int(found["ack"]))
            and (found["win"] is None or seen.window == int(found["win"]))
        )
        if same and found["options"] is not None:
            for word in filter(None, found["options"].split(",")):
                name, *values = word.split()
                if name == "sack":
                    wanted_blocks = [tuple(int(edge) for edge in pair.split(":")) for pair in values]
                    same = same and seen.options.get("sack") == wanted_blocks
                elif name in ("mss", "wscale"):
                    same = same and seen.options.get(name) == int(values[0])
                elif name == "nosack":
                    same = same and "sack" not in seen.options
                elif name in ("sackOK", "TS"):
                    same = same and name in seen.options
                else:
                    raise ValueError(word)
        assert same, f"expected {text}, got {seen}"
        if at is not None:
            assert when - self.zero == int(at * MS), f"expected at {at} ms, came at {(when - self.zero) / MS} ms"
        if within is not None:
            assert within[0] * MS <= when - self.zero <= within[1] * MS, f"came at {(when - self.zero) / MS} ms"
        return seen

    def silent(self) -> None:
        assert not self.queue, f"the stack sent {self.queue}"

    def mark(self) -> None:
        """Times are counted from here."""
        self.zero = self.now

    # Common beginnings.

    def listen(self, backlog: int = 5, **options: int) -> Any:
        sock = self.stack.socket(2, 1)
        sock.bind(("10.0.0.1", self.lport))
        sock.listen(backlog)
        return sock

    def accept(
        self, syn: str = "S 0:0(0) win 65535 <mss 1000,sackOK,nop,wscale 7>", win: int = 512, rtt: float = 100
    ) -> Any:
        """A passive handshake; the connected socket."""
        listener = self.listen()
        self.send(syn)
        assert self.queue.pop(0)[1].flags == 0x12
        self.wait(rtt)
        self.send(f". 1:1(0) ack 1 win {win}")
        self.mark()
        sock, _ = listener.accept(self.now)
        self.silent()
        return sock

    def accept_ts(self, rtt: float = 100) -> Any:
        """The same with timestamps; `self.ts_base` becomes the value of the SYN-ACK."""
        listener = self.listen()
        self.send("S 0:0(0) win 65535 <mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7>")
        seen = self.queue.pop(0)[1]
        self.ts_base = seen.options["TS"][0] - 1
        self.wait(rtt)
        self.send(". 1:1(0) ack 1 win 512 <nop,nop,TS val 200 ecr 1>")
        self.mark()
        sock, _ = listener.accept(self.now)
        return sock

    def connect(self) -> Any:
        """An active open: the SYN is in the queue."""
        sock = self.stack.socket(2, 1)
        try:
            sock.connect(("10.0.0.2", self.rport), self.now)
        except BlockingIOError:
            pass
        self.lport = sock.local[1]
        self.drain()
        self.mark()
        return sock


class Loop:
    """A stack that talks to itself."""

    def __init__(self) -> None:
        self.stack = Stack(random.Random(1), Settings())
        self.now = 1
        self.listeners = {port: self.bound(port) for port in (80, 81)}
        for listener in self.listeners.values():
            listener.listen(100)

    def bound(self, port: int) -> Any:
        sock = self.stack.socket(2, 1, 0)
        sock.setsockopt(1, 2, 1)  # SO_REUSEADDR
        sock.bind(("127.0.0.1", port))
        return sock

    def settle(self) -> None:
        while list(self.stack.transmit(self.now)):
            pass

    def wait(self, ns: int) -> None:
        self.now += ns
        while (due := self.stack.next_deadline()) is not None and due <= self.now:
            self.stack.on_deadline(max(due, 1))
            self.settle()

    def connection(self, port: int, named: int = 0) -> tuple[Any, Any]:
        sock = self.bound(named) if named else self.stack.socket(2, 1, 0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", port), self.now)
        self.settle()
        return sock, self.listeners[port].accept(self.now)[0]

    def close(self, first: Any, second: Any) -> None:
        for sock in (first, second):
            sock.close(self.now)
            self.settle()
