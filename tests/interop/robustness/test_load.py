"""Load for ten minutes, every way at once: nothing stalls, and memory stays flat.

Linux pulls from chargen and httpd, pushes to discard and through echo, opens and closes connections, and pings; each
stream writes down how much it has moved. TERRELLA_LOAD_SECONDS makes it shorter or longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.interop.robustness.conftest import Start, resident_bytes, slope

pytestmark = [pytest.mark.interop, pytest.mark.soak]

SECONDS = int(os.environ.get("TERRELLA_LOAD_SECONDS", "600"))
WARM_UP = SECONDS // 2  # pools and buffers have grown to what this load needs at its worst
FLAT = 0.05  # of the memory in use, over the rest of the time
CLIENT = r"""
import socket, sys, threading, time, urllib.request
ADDRESS, seconds = "10.0.0.2", int(sys.argv[1])
end = time.monotonic() + seconds
moved = {}

def pull(name):
    s = socket.create_connection((ADDRESS, 19))
    while time.monotonic() < end:
        moved[name] += len(s.recv(1 << 20))

def push(name):
    s = socket.create_connection((ADDRESS, 9))
    block = bytes(1 << 18)
    while time.monotonic() < end:
        s.sendall(block)
        moved[name] += len(block)

def echo(name):
    s = socket.create_connection((ADDRESS, 7))
    block = bytes(range(256)) * 256
    while time.monotonic() < end:
        s.sendall(block)
        got = bytearray()
        while len(got) < len(block):
            got += s.recv(1 << 17)
        assert got == block
        moved[name] += len(block)

def pages(name):
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://{ADDRESS}/bytes/200000", timeout=60) as page:
            moved[name] += len(page.read())

threads = []
for number in range(2):
    for kind in (pull, push, echo, pages):
        name = f"{kind.__name__}{number}"
        moved[name] = 0
        threads.append(threading.Thread(target=kind, args=(name,), daemon=True))
for thread in threads:
    thread.start()
while time.monotonic() < end:
    time.sleep(1)
    print(*moved.values(), flush=True)
for thread in threads:
    thread.join(30)
    assert not thread.is_alive(), "a stream does not end"
"""


def test_ten_minutes(up: Start) -> None:
    machine = up("--pcap", "/dev/null")
    client = machine.namespace.popen(sys.executable, "-c", CLIENT, str(SECONDS), stdout=subprocess.PIPE)
    started = time.monotonic()
    memory: list[tuple[float, float]] = []
    last: list[int] = []
    idle = [0] * 8
    longest = [0] * 8
    for line in client.stdout:
        moved = [int(number) for number in line.split()]
        if last:
            idle = [0 if now > before else was + 1 for now, before, was in zip(moved, last, idle, strict=True)]
            longest = [max(a, b) for a, b in zip(longest, idle, strict=True)]
        last = moved
        if time.monotonic() - started > WARM_UP:
            memory.append((time.monotonic() - started, resident_bytes(machine.process.pid)))
    assert client.wait(60) == 0
    per_second = slope(memory)
    total = sum(last) / 1e9
    print(
        f"\n{SECONDS} s: {total:.1f} GB moved, longest pause of a stream {max(longest)} s, memory"
        f" {memory[-1][1] / 1e6:.1f} MB, in its second half {per_second * 60 / 1024:+.1f} KiB a minute"
    )
    assert machine.stop() == 0
    assert machine.complaints() == ""
    assert max(longest) <= 20, f"seconds without a byte, by stream: {longest}"
    grown = per_second * (SECONDS - WARM_UP)
    assert abs(grown) < FLAT * memory[-1][1], f"{per_second:.0f} bytes a second"
