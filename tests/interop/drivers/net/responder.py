"""The smallest machine at the far end of a TAP, for the tests of the devices alone: no stack, no loss handling.

Answers ARP and ping, takes TCP connections and acknowledges what comes; on port 19 it sends CHARGEN bytes, byte i being
i mod 251, one super-segment at a time. Prints "ready" and, when told to stop, what it saw as JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
from typing import Any

from csrc import Frame, ffi, lib
from drivers.clock import RealTimeline
from drivers.net.scapy_port import ScapyPort

PEER = bytes([10, 0, 0, 2])
CHARGEN = 1_000_000
PATTERN = bytes(i % 251 for i in range(251 * 4096))
MSS = 1448
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16


class Responder:
    def __init__(self, device: Any) -> None:
        self.device = device
        self.pkt = ffi.new("struct trl_pkt *")
        self.seg = ffi.new("struct trl_tcp_out *")
        self.out = ffi.new("uint8_t[128]")
        self.sent: dict[bytes, int] = {}  # connection key: chargen bytes sent so far
        self.bytes: dict[int, int] = {}  # local port: payload bytes received in order
        self.next: dict[bytes, int] = {}
        self.scale: dict[bytes, int] = {}
        self.saw = dict.fromkeys(("frames", "largest", "super_segments", "segments", "verified", "pinned"), 0)

    def ready(self, now: int) -> None:
        saw = self.saw
        replies: list[Frame] = []
        for frame in self.device.receive(64):
            saw["frames"] += 1
            saw["segments"] += frame.gso_segs
            saw["largest"] = max(saw["largest"], frame.length)
            saw["super_segments"] += frame.gso_size > 0
            saw["verified"] += frame.csum_ok
            held = frame.data.obj if isinstance(frame.data, memoryview) else frame.data
            saw["pinned"] += frame.length < 2048 and len(held) > 16384
            replies += self.answer(frame)
        if replies:
            self.device.transmit(replies, now)

    def answer(self, frame: Frame) -> list[Frame]:
        image, mac = frame.data, self.device.mac
        if bytes(image[12:14]) == b"\x08\x06" and bytes(image[38:42]) == PEER:
            asker = bytes(image[6:12])
            return [Frame.of(asker + mac + bytes(image[12:20]) + b"\0\x02" + mac + PEER + bytes(image[22:32]))]
        flags = lib.TRL_PARSE_ETHERNET | (lib.TRL_PARSE_L4_TRUSTED if frame.csum_ok or frame.csum_start else 0)
        pkt = self.pkt
        verdict = lib.trl_parse(ffi.from_buffer(image), len(image), flags, pkt)
        if bytes(pkt.dst)[:4] != PEER:
            return []
        if pkt.proto == 1 and verdict == lib.TRL_L4_OTHER and image[34] == 8:
            answer = bytearray(image)
            answer[0:12] = bytes(image[6:12]) + mac
            answer[26:34] = bytes(image[30:34]) + bytes(image[26:30])
            answer[34] = 0
            answer[36:38] = bytes(2)
            answer[36:38] = lib.trl_checksum(ffi.from_buffer(answer) + 34, len(answer) - 34, 0).to_bytes(2, "big")
            return [Frame.of(bytes(answer))]
        if verdict != lib.TRL_OK or pkt.proto != 6:
            return []
        return self.tcp(bytes(image[6:12]), pkt)

    def tcp(self, asker: bytes, pkt: Any) -> list[Frame]:
        key = bytes(pkt.key)[:12]
        ip = b"\x45" + bytes(7) + b"\x40\x06\0\0" + PEER + bytes(pkt.src)[:4]
        template = asker + self.device.mac + b"\x08\x00" + ip
        if pkt.tcp_flags & SYN:
            self.sent[key] = 0
            self.next[key] = pkt.seq + 1
            self.scale[key] = pkt.wscale if pkt.tcp_options & lib.TRL_OPT_WSCALE else 0
            return [self.segment(template, pkt, SYN | ACK, 999)]
        if pkt.tcp_flags & RST or key not in self.next:
            return []
        replies = []
        if pkt.seq == self.next[key] and (pkt.payload_len or pkt.tcp_flags & FIN):
            self.bytes[pkt.dport] = self.bytes.get(pkt.dport, 0) + pkt.payload_len
            self.next[key] = (pkt.seq + pkt.payload_len + (pkt.tcp_flags & FIN)) & 0xFFFFFFFF
        at = self.sent[key]
        if pkt.payload_len or pkt.tcp_flags & FIN:
            replies.append(self.segment(template, pkt, ACK, 1000 + at + (at > CHARGEN)))
        room = pkt.window << self.scale[key]
        if pkt.dport == 19 and pkt.ack == 1000 + at and at <= CHARGEN and (room or at == CHARGEN):
            chunk = min(40 * MSS, CHARGEN - at, room)
            self.sent[key] = at + (chunk or 1)
            flags = ACK | PSH if chunk else ACK | FIN
            replies.append(self.segment(template, pkt, flags, 1000 + at, at, chunk))
        return replies

    def segment(self, template: bytes, pkt: Any, flags: int, seq: int, at: int = 0, size: int = 0) -> Frame:
        seg = self.seg
        seg.sport, seg.dport, seg.seq, seg.ack = pkt.dport, pkt.sport, seq, self.next[bytes(pkt.key)[:12]]
        seg.tcp_flags, seg.window, seg.payload_len, seg.dont_fragment = flags, 65535, size, 1
        seg.tcp_options = lib.TRL_OPT_MSS | lib.TRL_OPT_WSCALE if flags & SYN else 0
        seg.mss, seg.wscale = 1460, 3
        length = lib.trl_tcp_emit(self.out, 128, template, len(template), 14, seg)
        start = at % 251
        payload = (memoryview(PATTERN)[start : start + size],) if size else ()
        gso = MSS if size > MSS else 0
        return Frame(bytes(ffi.buffer(self.out, length)), payload, length + size, True, gso, 34, 16)


def open_device(options: argparse.Namespace) -> Any:
    if options.driver == "scapy":
        return ScapyPort(name=options.tap, mtu=options.mtu, host_ip=options.host_ip)
    if options.driver == "packet":
        from scapy.all import conf

        return ScapyPort(conf.L2socket(iface=options.tap), name=options.tap)
    from drivers.net.tap import TapDevice

    vnet = {"auto": None, "on": True, "off": False}[options.vnet]
    return TapDevice(options.tap, mtu=options.mtu, vnet=vnet, host_ip=options.host_ip)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tap", default="tap0")
    parser.add_argument("--driver", default="native")
    parser.add_argument("--vnet", default="auto")
    parser.add_argument("--host-ip", default="10.0.0.1/24")
    parser.add_argument("--mtu", type=int, default=1500)
    options = parser.parse_args()
    timeline = RealTimeline()
    device = open_device(options)
    responder = Responder(device)
    signal.signal(signal.SIGTERM, lambda *_: timeline.stop())
    timeline.watch(device.fileno(), responder.ready)
    print("ready", flush=True)
    timeline.run()
    timeline.unwatch(device.fileno())
    device.close()
    vnet = getattr(device, "vnet", False)
    print(json.dumps({"saw": responder.saw, "bytes": responder.bytes, "vnet": vnet, "counters": device.counters}))


if __name__ == "__main__":
    main()
