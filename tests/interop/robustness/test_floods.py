"""Floods: the machine keeps serving, keeps its memory, and counts what it refused (RFC 4987).

Rates are held by the generator's own clock; how long a fetch took is not looked at.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.robustness.conftest import Flood, Start, fetch, processor_seconds, resident_bytes
from tests.interop.up_machine import WRONG, pings, tshark

pytestmark = pytest.mark.interop

SYN_RATE = 50_000


@pytest.mark.parametrize(("kind", "captured"), [("syn", True), ("spoofed", False)])
def test_curl_during_a_syn_flood(kind: str, captured: bool, up: Start, generator: Path, need: object) -> None:
    """50,000 SYNs a second: from one host, whose kernel answers every SYN-ACK with a RST, or from nobody at all."""
    machine = up() if captured else up("--pcap", "/dev/null")
    floods = [Flood(machine, generator, kind, SYN_RATE, 2)]
    fetched = 0
    while floods[-1].running or fetched < 5:  # a page that takes longer than a flood began before it
        if not floods[-1].running:
            floods.append(Flood(machine, generator, kind, SYN_RATE, 2))
        machine.namespace.run("ping", "-q", "-c", "1", "-W", "1", "10.0.0.2", check=False)
        fetch(machine)
        fetched += 1
    done = [flood.finish() for flood in floods]
    assert all(sent == 2 * SYN_RATE for sent, _ in done)
    assert max(sent / seconds for sent, seconds in done) > SYN_RATE / 2, "the generator held its rate"
    fetch(machine, 1_000_000)
    assert machine.stop() == 0
    assert machine.complaints() == ""
    ext = machine.stats()["TcpExt"]
    if kind == "syn":
        assert ext["SyncookiesRecv"] > 0 and ext["TCPReqQFullDoCookies"] > 0
        assert ext["SyncookiesSent"] > 10_000
    else:  # most have no way back and cost little: the stack may have time for all of them, and need no cookies
        assert ext["ListenDrops"] > 10_000
    if captured:
        assert machine.pcap.stat().st_size > 10_000_000, "what was dealt with early is in the capture too"
        assert tshark(machine.pcap, f"frame.number < 30000 && ({WRONG})", "-c", "30000") == []


HPING = {
    "syn": ["-S", "-p", "80"],
    "closed": ["-S", "-p", "81"],
    "udp": ["-2", "-p", "7"],
    "icmp": ["-1"],
    "fragments": ["-2", "-f", "-d", "200", "-p", "9"],
    "flags": ["-S", "-F", "-R", "-P", "-U", "-p", "80"],
    "none": ["-Y", "-p", "7"],
    "spoofed": ["-S", "-p", "80", "--rand-source"],
}


def test_hping_floods(up: Start, need: object) -> None:
    """As fast as hping3 can, one kind after the other; a page is fetched in the middle of each."""
    need("hping3", "timeout", root=True)  # type: ignore[operator]
    machine = up("--pcap", "/dev/null")
    fetch(machine)
    before = resident_bytes(machine.process.pid)
    for options in HPING.values():
        hping = machine.namespace.popen(
            "timeout", "-s", "INT", "1", "hping3", "-q", "--flood", *options, "10.0.0.2",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        fetch(machine)
        hping.wait(timeout=300)
    fetch(machine, 1_000_000)
    assert "10 received" in machine.run(*pings(10, "10.0.0.2"))
    grown = resident_bytes(machine.process.pid) - before
    assert machine.stop() == 0
    assert machine.complaints() == ""
    assert grown < 24 << 20, f"it grew by {grown} bytes"


KINDS = ["syn", "spoofed", "ack", "rst", "fin", "xmas", "null", "flags", "udp", "icmp", "fragment"]


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_minute_of_flood(kind: str, up: Start, generator: Path) -> None:
    """50,000 frames a second for a minute: pages come throughout, and memory does not grow after the first seconds."""
    machine = up("--pcap", "/dev/null")
    taken: list[float] = []

    def page() -> None:
        began = time.monotonic()
        fetch(machine, patience=60)
        taken.append(time.monotonic() - began)

    flood = Flood(machine, generator, kind, SYN_RATE, 60)
    for _ in range(50):
        page()
    early, worked = resident_bytes(machine.process.pid), processor_seconds(machine.process.pid)
    began = time.monotonic()
    while flood.running:
        page()
    grown = resident_bytes(machine.process.pid) - early
    share = (processor_seconds(machine.process.pid) - worked) / max(time.monotonic() - began, 1e-9)
    sent, seconds = flood.finish()
    assert machine.stop() == 0
    assert machine.complaints() == ""
    taken.sort()
    dealt = machine.stats()
    counted = {name: n for group in ("Reject", "TcpExt") for name, n in dealt[group].items() if n > 10_000}
    print(
        f"\n{kind}: {sent / seconds:,.0f} frames/s for {seconds:.0f} s; {len(taken)} pages, each in"
        f" {taken[0] * 1e3:.0f} / {taken[len(taken) // 2] * 1e3:.0f} / {taken[-1] * 1e3:.0f} ms (least, median, most);"
        f" {share:.2f} of a core; memory {early / 1e6:.1f} {grown / 1024:+.0f} KiB; {counted}"
    )
    assert sent / seconds > 0.95 * SYN_RATE and len(taken) > 50
    assert grown < 4 << 20, f"it grew by {grown} bytes"
