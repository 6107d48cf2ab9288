"""Load for ten minutes, every way at once: nothing stalls, and memory stays flat.

Linux pulls from chargen and httpd, pushes to discard and through echo, opens and closes connections.
TERRELLA_LOAD_SECONDS makes it shorter or longer.

**Stalls.** Each stream writes down how long it has waited for its next byte (to the microsecond, not by samples). A
frame that a TAP's full queue loses costs a retransmission, at worst by the timer: 200 ms, after a second loss 400 ms
more. A second without a byte is therefore a stall, on a host that gives the machine its processor. Where it
has to share it, everything takes as many times as long as the kernel says the machine had to wait (schedstat).

**Memory.** The resident size says what the load needed at its worst: buffers grow to 6 MiB (tcp_rmem) and 4 MiB
(tcp_wmem), and the allocator keeps what it has had, so it rises in steps, ever more seldom. A leak is seen in what the
machine counts as held (group `Live` of its statistics). It is taken at rest, after a short load and after the long one:
with no connection left both are to be the same. What was lost for each of thousands of connections, or for each
segment of gigabytes, would be thousands of blocks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.interop.robustness.conftest import Start, resident_bytes, slope
from tests.interop.up_machine import Up

pytestmark = [pytest.mark.interop, pytest.mark.soak]

SECONDS = int(os.environ.get("TERRELLA_LOAD_SECONDS", "600"))
WARM_UP = min(20, SECONDS // 3)
STALL = 1.0
BLOCKS = 3000  # of the interpreter: caches that fill, counters that outgrow a word
ALLOCATED = 1 << 20
QUEUES = 8 * (2 * 6 + 2 * 4) << 20  # what eight connections' buffers can occupy, at the account that Linux keeps

CLIENT = r"""
import json, socket, sys, threading, time, urllib.request
ADDRESS, seconds = "10.0.0.2", float(sys.argv[1])
clock = time.monotonic
end = clock() + seconds
streams = {}

class Stream:
    def __init__(self):
        self.moved, self.longest, self.at, self.pauses, self.last = 0, 0.0, 0.0, 0, clock()

    def progress(self, n):
        now = clock()
        waited = now - self.last
        self.last = now
        self.moved += n
        if waited > 0.1:
            self.pauses += 1
        if waited > self.longest:
            self.longest, self.at = waited, now

def pull(stream):
    with socket.create_connection((ADDRESS, 19)) as s:
        while clock() < end:
            stream.progress(len(s.recv(1 << 20)))

def push(stream):
    block = memoryview(bytes(1 << 18))
    with socket.create_connection((ADDRESS, 9)) as s:
        while clock() < end:
            stream.progress(s.send(block))

def echo(stream):
    block = bytes(range(256)) * 256
    with socket.create_connection((ADDRESS, 7)) as s:
        while clock() < end:
            s.sendall(block)
            got = bytearray()
            while len(got) < len(block):
                piece = s.recv(1 << 17)
                stream.progress(len(piece))
                got += piece
            assert got == block

def pages(stream):
    while clock() < end:
        with urllib.request.urlopen(f"http://{ADDRESS}/bytes/200000", timeout=60) as page:
            while piece := page.read(1 << 16):
                stream.progress(len(piece))

threads = []
for kind in (pull, pull, push, push, echo, echo, pages, pages):
    name = f"{kind.__name__}{sum(n.startswith(kind.__name__) for n in streams)}"
    streams[name] = Stream()
    threads.append(threading.Thread(target=kind, args=(streams[name],), daemon=True))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(seconds + 30)
    assert not thread.is_alive(), "a stream does not end"
print(json.dumps({name: [s.moved, s.longest, s.at - end + seconds, s.pauses] for name, s in streams.items()}))
"""


def live(machine: Up) -> dict[str, int]:
    """What the machine holds now: written anew at SIGUSR2."""
    before = machine.stats_file.stat().st_mtime_ns if machine.stats_file.exists() else 0
    machine.process.send_signal(signal.SIGUSR2)
    for _ in range(1000):
        time.sleep(0.02)
        if machine.stats_file.exists() and machine.stats_file.stat().st_mtime_ns != before:
            try:
                return machine.stats()["Live"]
            except json.JSONDecodeError:
                pass  # the first of all is being written
    raise AssertionError("SIGUSR2 is not answered")


def scheduled(machine: Up) -> tuple[int, int]:
    """Nanoseconds that it ran, and that it was ready to and had to wait."""
    ran, waited, _ = Path(f"/proc/{machine.process.pid}/schedstat").read_text().split()
    return int(ran), int(waited)


def at_rest(machine: Up) -> dict[str, int]:
    """When no connection is left, not even in TIME-WAIT."""
    for _ in range(100):
        found = live(machine)
        if not found["connections"] and not found["closing"]:
            return found
        time.sleep(1)
    raise AssertionError(f"connections remain: {found}")


def load(machine: Up, seconds: int, samples: list[tuple[float, int, dict[str, int]]]) -> dict[str, Any]:
    """What the client says of each stream: bytes, longest pause, when, pauses over 0.1 s."""
    client = machine.namespace.popen(sys.executable, "-c", CLIENT, str(seconds), stdout=subprocess.PIPE)
    began = time.monotonic()
    while client.poll() is None:
        samples.append((time.monotonic() - began, resident_bytes(machine.process.pid), live(machine)))
        time.sleep(min(1.0, seconds / 20))
    assert client.returncode == 0
    return json.loads(client.stdout.read())  # type: ignore[no-any-return]


def test_ten_minutes(up: Start) -> None:
    machine = up("--pcap", "/dev/null")
    load(machine, WARM_UP, [])
    before, resident = at_rest(machine), resident_bytes(machine.process.pid)
    samples: list[tuple[float, int, dict[str, int]]] = []
    ran, waited = scheduled(machine)
    streams = load(machine, SECONDS, samples)
    ran, waited = (now - then for now, then in zip(scheduled(machine), (ran, waited)))
    slower = (ran + waited) / ran
    after = at_rest(machine)
    left = resident_bytes(machine.process.pid)
    total = sum(moved for moved, *_ in streams.values()) / 1e9
    print(f"\n{SECONDS} s: {total:.1f} GB; {ran / 1e9 / SECONDS:.2f} of a core, {slower:.1f} times as long for waiting")
    for name, (moved, longest, when, pauses) in streams.items():
        pause = f"longest pause {longest * 1e3:.0f} ms at {when:.1f} s, {pauses} over 100 ms"
        print(f"  {name}: {moved / 1e9:.2f} GB, {pause}")
    sizes = [size for _, size, _ in samples]
    rest = samples[len(samples) // 2 :]
    print(
        f"  resident: {resident / 1e6:.1f} MB at rest, up to {max(sizes) / 1e6:.1f}, {left / 1e6:.1f} at rest again; in"
        f" the second half {slope([(t, size) for t, size, _ in rest]) * 60 / 1024:+.0f} KiB a minute"
    )
    steps = [(t, new - old) for (_, old, _), (t, new, _) in pairwise(samples) if new - old > 1 << 20]
    print(f"  steps over 1 MiB: {', '.join(f'{size / 1e6:+.1f} MB at {t:.0f} s' for t, size in steps) or 'none'}")
    for name in before:
        highest = max(found[name] for _, _, found in samples)
        print(f"  {name}: {before[name]:,} at rest, up to {highest:,}, {after[name]:,} at rest again")
    assert machine.stop() == 0
    assert machine.complaints() == ""
    slow = {name: longest for name, (_, longest, _, _) in streams.items() if longest > STALL * slower}
    assert not slow, f"seconds without a byte: {slow}"
    for name in ("connections", "tasks", "timers", "unacknowledged", "unsent", "unread", "out_of_order"):
        assert after[name] <= before[name], f"{name}: {before[name]} before, {after[name]} after"
    assert after["python_blocks"] - before["python_blocks"] < BLOCKS
    if "malloc_used" in after:
        assert after["malloc_used"] - before["malloc_used"] < ALLOCATED
        assert after["malloc_mapped"] - before["malloc_mapped"] < ALLOCATED
    assert max(sizes) < resident + QUEUES, "more than the buffers of its connections"
