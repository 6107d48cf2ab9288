"""The lab: machines, links, captures, and every run of a seed the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys as host
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terrella import Lab, LabError

MS = 1_000_000
AF_INET, SOCK_STREAM, SOCK_DGRAM = 2, 1, 2


def echo_server(sys: Any) -> None:
    listener = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(listener, ("0.0.0.0", 7))
    sys.listen(listener, 8)
    while True:
        fd, _ = sys.accept4(listener)
        while data := sys.recvfrom(fd, 65536)[0]:
            sent = 0
            while sent < len(data):
                sent += sys.sendto(fd, data[sent:])
        sys.close(fd)


def echo_client(sys: Any, address: str, size: int) -> int:
    fd = sys.socket(AF_INET, SOCK_STREAM)
    sys.connect(fd, (address, 7))
    data = bytes(i % 251 for i in range(size))
    got = b""
    at = 0
    while len(got) < size:
        if at < size and at - len(got) < 8192:
            at += sys.sendto(fd, data[at : at + 4096])
        else:
            got += sys.recvfrom(fd, 65536)[0]
    sys.shutdown(fd, 1)
    end = sys.recvfrom(fd, 10)[0]
    sys.write(1, hashlib.sha256(got).hexdigest().encode())
    return 0 if got == data and end == b"" else 1


def ping(sys: Any, address: str) -> None:
    fd = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(fd, ("0.0.0.0", 9))
    sys.sendto(fd, b"ping", 0, (address, 9))
    sys.write(1, repr(sys.recvfrom(fd, 100)).encode())


def pong(sys: Any) -> None:
    fd = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(fd, ("0.0.0.0", 9))
    while True:
        data, address = sys.recvfrom(fd, 100)
        sys.sendto(fd, data.upper(), 0, address)


def test_two_hosts_and_a_link() -> None:
    with Lab(seed=3) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="20ms")
        ended: list[int] = []
        a.machine.on_process_end.append(lambda group: ended.append(lab.now))
        server = b.spawn(pong)
        client = a.spawn(ping, b.address)
        assert lab.run() is False  # the server sleeps for ever ...
        assert client.exit_code == 0 and server.exit_code is None
        assert [task.comm for host, task in lab.sleepers() if host is b] == ["init", "pong"]
        assert a.output == "(b'PING', ('10.0.0.2', 9))"
        assert 80 * MS < ended[0] < 90 * MS  # ARP and the datagram, there and back
    assert server.exit_code == 137 and server.status == 9


def test_tcp_over_a_lossy_link_with_capture(tmp_path: Path) -> None:
    with Lab(seed=5) as lab:
        a, b = lab.host("a", "10.0.0.1/24", cpus=2), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="5ms", loss="1%", queue=100)
        lab.capture(a, tmp_path / "a.pcapng")
        b.spawn(echo_server)
        client = a.spawn(echo_client, "10.0.0.2", 50_000)
        lab.run(until="60s")
        assert lab.now == 60_000 * MS
        assert client.exit_code == 0, a.output
    assert (tmp_path / "a.pcapng").stat().st_size > 100_000


def test_switch_and_loopback() -> None:
    with Lab(seed=3) as lab:
        switch = lab.switch()
        hosts = [lab.host(f"h{i}", f"10.0.0.{i}/24") for i in range(1, 5)]
        for host_ in hosts:
            lab.link(host_, switch, delay="1ms")
        hosts[0].spawn(pong)
        clients = [h.spawn(ping, "10.0.0.1") for h in hosts[1:]]
        lab.run("5s")
        assert [c.exit_code for c in clients] == [0, 0, 0]
    with Lab() as lab:
        a = lab.host("a")
        a.spawn(echo_server)
        client = a.spawn(echo_client, "127.0.0.1", 20_000)
        lab.run("5s")
        assert client.exit_code == 0


def test_run_goes_on_where_it_stopped() -> None:
    def main(sys: Any) -> None:
        for i in range(10):
            sys.nanosleep(10 * MS)
            sys.write(1, b"%d" % i)

    with Lab() as lab:
        a = lab.host("a")
        process = a.spawn(main)
        seen = []
        for ms in (25, 26, 55):
            lab.run(ms * MS)
            seen.append((lab.now // MS, a.output))
        assert seen == [(25, "01"), (26, "01"), (55, "01234")]
        assert process.exit_code is None
        assert lab.run() is True
        assert a.output == "0123456789"


def test_mistakes_are_told() -> None:
    with Lab() as lab:
        a = lab.host("a", "10.0.0.1/24")
        with pytest.raises(LabError, match="already"):
            lab.host("a")
        with pytest.raises(LabError, match="itself"):
            lab.link(a, a)
        with pytest.raises(LabError, match="has no address"):
            _ = lab.host("b").address
        with pytest.raises(ValueError, match="10Mbit"):
            lab.link(a, lab.host("c"), rate="fast")
        for wrong in ("10.0.0.300/24", "10.0.0.1/33", "here"):
            with pytest.raises(LabError, match=r"host 'd': .*write as"):
                lab.host("d", wrong)
        lab.host("d", "10.0.0.4/24")  # the name is still free
        with pytest.raises(LabError, match="a function is wanted"):
            a.spawn(5)  # type: ignore[arg-type]
        with pytest.raises(LabError, match="a host is wanted"):
            lab.link(a, "b")  # type: ignore[arg-type]


def test_a_queue_marks_ecn() -> None:
    from userland.lib import connect_to, listen_on, read_all, send_all

    def server(sys: Any) -> None:
        fd, _ = sys.accept4(listen_on(sys, 7000))
        send_all(sys, fd, bytes(200_000))
        sys.close(fd)

    def client(sys: Any) -> None:
        sys.nanosleep(MS)
        sys.write(1, str(len(read_all(sys, connect_to(sys, "10.0.0.1", 7000)))).encode())

    marked = []
    for ecn in (None, 5):
        with Lab() as lab:
            a, b = (lab.host(n, f"10.0.0.{i}/24", settings={"net.ipv4.tcp_ecn": 1}) for i, n in ((1, "a"), (2, "b")))
            lab.link(a, b, rate="10Mbit", delay="10ms", queue=1000, ecn=ecn)
            a.spawn(server)
            b.spawn(client)
            lab.run()
            assert b.output == "200000"
            marked.append(a.stack.counters.tcpext.TCPDeliveredCE > 0)
    assert marked == [False, True]


def test_a_closed_lab_says_so(tmp_path: Path) -> None:
    with Lab() as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        a.spawn(lambda sys: sys.write(1, b"still there"))
        lab.run()
    file = tmp_path / "file"
    calls: list[Callable[[], object]] = [
        lambda: lab.host("c"), lab.switch, lambda: lab.link(a, b), lambda: lab.capture(a, file),
        lambda: lab.why(a, file), lab.run, lambda: lab.run(until="1s"), lambda: a.spawn(print),
        lambda: a.program(__file__),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(LabError, match=r"closed.*make a new Lab"):
            call()
    assert not file.exists()
    assert a.output == "still there"
    lab.close()


SCENARIO = """
import hashlib, io, sys
sys.path.insert(0, {root!r})
from terrella import Lab
from kernel.strace import Strace
sys.path.insert(0, {here!r})
import scenario_programs as p

class Switches:
    def __init__(self, add): self.add = add
    def switch(self, cpu, before, after, reason, now):
        self.add(f"{{now}} cpu{{cpu}} {{before}} -> {{after}} {{reason}}\\n")
    def wakeup(self, waker, task, reason, now): self.add(f"{{now}} {{waker}} wakes {{task}} {{reason}}\\n")

capture = io.BytesIO()
text = []
with Lab(seed={seed}) as lab:
    a, b = lab.host("a", "10.0.0.1/24", cpus=4), lab.host("b", "10.0.0.2/24", cpus=2)
    lab.link(a, b, rate="20Mbit", delay="3ms", jitter="1ms", loss="2%", reorder="1%", duplicate="1%")
    lab.capture(a, capture)
    for host in (a, b):
        host.machine.trace.append(Strace(text.append, follow=True, times=True))
        host.machine.trace.append(Switches(text.append))
    b.spawn(p.echo_server)
    for i in range(3):
        a.spawn(p.echo_client, "10.0.0.2", 20000 + i)
    a.spawn(p.crowd, 60)
    lab.run("3s")
    text.append(a.output)
print(len(capture.getvalue()), hashlib.sha256(capture.getvalue()).hexdigest())
print(len(text), hashlib.sha256("".join(text).encode()).hexdigest())
"""

CROWD = """

def crowd(sys, n):
    def child(sys, i):
        for j in range(i % 7):
            sys.nanosleep(100_000 * (i % 5 + 1))
            {str(k): k for k in range(50)}
            sys.cpu(30_000)
        return i
    for i in range(n):
        sys.spawn(child, i)
    for i in range(n):
        sys.write(1, str(sys.wait4()[:2]).encode())
"""


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    source = Path(__file__).read_text().split("def ping(")[0] + CROWD
    (tmp_path / "scenario_programs.py").write_text(source.replace("from terrella import Lab, LabError\n", ""))
    root = str(Path(__file__).resolve().parents[3])

    def run(seed: int, hash_seed: str) -> str:
        script = SCENARIO.format(root=root, here=str(tmp_path), seed=seed)
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([host.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run(1, "1")
    assert first == run(1, "2")
    assert first != run(2, "1")  # and the seed does matter
