"""Scapy sends a machine what no polite peer sends. It must neither fall over nor stall, and must count what it
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.up_machine import WRONG, Up, pings, tshark

pytestmark = pytest.mark.interop

SENDER = r"""
import random, struct, sys
from scapy.all import *
conf.verb = 0
rng = random.Random(int(sys.argv[1]))
mac = getmacbyip("10.0.0.2")
assert mac, "no answer to ARP"
s = conf.L2socket(iface="tap0")
eth = Ether(dst=mac)
ip = IP(dst="10.0.0.2")

def send(packet):
    s.send(packet)

# every combination of the TCP flags, to a listening, a closed and an open port
for flags in range(256):
    for port in (80, 7, 5):
        numbers = dict(seq=rng.getrandbits(32), ack=rng.getrandbits(32))
        send(eth / ip / TCP(sport=1024 + flags, dport=port, flags=flags, **numbers) / b"data")
# truncated at every byte
for whole in (eth / ip / TCP(dport=80, flags="S", options=[("MSS", 1460), ("WScale", 7), ("SAckOK", b"")]) / b"payload",
              eth / ip / UDP(dport=7) / b"payload", eth / ip / ICMP() / b"payload",
              eth / ARP(pdst="10.0.0.2", psrc="10.0.0.1")):
    image = bytes(whole)
    for n in range(14, len(image)):
        send(Raw(image[:n]))
# lengths that lie
for length in (0, 1, 19, 20, 21, 39, 65535):
    send(eth / IP(dst="10.0.0.2", len=length) / TCP(dport=80, flags="S"))
    send(eth / ip / UDP(dport=7, len=length) / (b"x" * 10))
for ihl in range(16):
    send(eth / IP(dst="10.0.0.2", ihl=ihl) / TCP(dport=80, flags="S"))
for offset in range(16):
    send(eth / ip / TCP(dport=80, flags="S", dataofs=offset) / (b"x" * 20))
for version in range(16):
    send(eth / IP(dst="10.0.0.2", version=version) / TCP(dport=80, flags="S"))
send(eth / ip / UDP(dport=9999) / b"to nobody")
# checksums
for wrong in (0, 1, 0xFFFF, 0x1234):
    send(eth / IP(dst="10.0.0.2", chksum=wrong) / TCP(dport=80, flags="S"))
    send(eth / ip / TCP(dport=80, flags="S", chksum=wrong))
    send(eth / ip / UDP(dport=7, chksum=wrong or 2) / b"x")
    send(eth / ip / ICMP(chksum=wrong) / b"x")
# TCP options of length 0, 1, beyond the end; IP options likewise
for kind in range(256):
    for length in (0, 1, 2, 3, 40, 255):
        raw = bytes([kind, length, 0, 0])
        head = struct.pack("!HHIIBBHHH", 2000, 80, 1, 0, 6 << 4, 2, 1000, 0, 0) + raw
        send(eth / IP(dst="10.0.0.2", proto=6) / Raw(head))
    head = bytes(IP(dst="10.0.0.2", ihl=6, proto=1, len=32))[:20]
    send(eth / IP(head + bytes([kind, kind % 5, 0, 0]) + bytes(ICMP())))
# fragments: overlapping, past the end, never complete, many
for i in range(400):
    offset = rng.randrange(0, 8190)
    piece = IP(dst="10.0.0.2", id=rng.randrange(6), frag=offset, flags=rng.randrange(2), proto=17)
    send(eth / piece / Raw(bytes(rng.randrange(1, 1400))))
for i in range(3000):
    send(eth / IP(dst="10.0.0.2", id=i, flags="MF", proto=17) / Raw(bytes(1400)))
for i in range(8):
    send(eth / IP(dst="10.0.0.2", id=77, frag=i, flags="MF" if i < 7 else 0, proto=1) / Raw(bytes(16)))
send(eth / IP(dst="10.0.0.2", frag=8189, flags=0, proto=1) / Raw(bytes(1480)))
# ARP lies, ICMP errors about nothing, strange protocols, noise
for op in range(6):
    send(eth / ARP(op=op, psrc="10.0.0.2", hwsrc="02:00:00:00:00:99", pdst="10.0.0.2"))
    send(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(op=op, psrc="10.0.0.77", hwsrc="ff:ff:ff:ff:ff:ff", pdst="10.0.0.2"))
for kind in range(32):
    for code in (0, 1, 4, 255):
        send(eth / ip / ICMP(type=kind, code=code) / ip / TCP(sport=80, dport=rng.getrandbits(16)))
        send(eth / ip / ICMP(type=kind, code=code) / Raw(bytes(rng.randrange(30))))
for proto in range(256):
    send(eth / IP(dst="10.0.0.2", proto=proto) / Raw(rng.randbytes(40)))
for src in ("127.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0", "10.0.0.2", "10.0.0.255"):
    send(eth / IP(src=src, dst="10.0.0.2") / TCP(dport=80, flags="S"))
    send(eth / IP(src=src, dst="10.0.0.2") / UDP(dport=7) / b"x")
    send(eth / IP(src=src, dst="10.0.0.2") / ICMP())
for _ in range(3000):
    kind = rng.choice([b"\x08\x00", b"\x86\xdd", b"\x08\x06", rng.randbytes(2)])
    send(Raw(bytes(eth)[:12] + kind + rng.randbytes(rng.randrange(200))))
print("sent")
"""


@pytest.fixture
def machine(
    netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Up]:
    need("ip", "ping", "curl", root=True)
    one = Up(netns(), terrella, tmp_path, "--driver", request.param)
    yield one
    if one.process.poll() is None:
        one.stop()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("machine", ["native"], indirect=True)
def test_hostile_packets(machine: Up, tmp_path: Path, need: Callable[..., None]) -> None:
    need("tshark")
    import sys

    sender = tmp_path / "sender.py"
    sender.write_text(SENDER)
    machine.run(sys.executable, str(sender), "1", timeout=600)
    before = resident_bytes(machine.process.pid)
    machine.run(sys.executable, str(sender), "2", timeout=600)
    grown = resident_bytes(machine.process.pid) - before
    machine.run("ping", "-q", "-c", "1", "-w", "120", "10.0.0.2")  # the last of it may still be in the TAP's queue
    assert "100 received" in machine.run(*pings(100, "10.0.0.2")), "it still answers"
    got = machine.shell("curl -sS http://10.0.0.2/bytes/1000000 | wc -c")
    assert int(got) == 1_000_000
    assert machine.stop() == 0
    assert machine.complaints() == ""
    assert grown < 32 << 20, f"the second time it grew by {grown} bytes"
    stats = machine.stats()
    for group, name in (
        ("Ip", "InHdrErrors"), ("Ip", "ReasmFails"), ("Ip", "InUnknownProtos"), ("Icmp", "InErrors"), ("Udp",
        "NoPorts"), ("Udp", "InCsumErrors"), ("Tcp", "InErrs"), ("Tcp", "InCsumErrors"), ("Tcp", "OutRsts"),
    ):  # fmt: skip
        assert stats.get(group, {}).get(name, 0) > 0, f"{group}.{name} did not count"
    ours = "eth.src == " + tshark(machine.pcap, "icmp.type == 0", "-T", "fields", "-e", "eth.src")[0]
    errors = "icmp.type in {3, 11}"  # they quote what they answer
    assert tshark(machine.pcap, f"({ours}) && ({WRONG}) && !({errors})") == [], "what we answered is well formed"
