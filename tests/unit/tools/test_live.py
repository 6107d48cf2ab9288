"""What a machine holds, counted; and that it holds nothing when it is over."""

from __future__ import annotations

from typing import Any

from terrella import Lab
from tools.live import live
from userland.lib import connect_to, listen_on


def test_what_is_held_and_given_back() -> None:
    def server(sys: Any) -> None:
        fd, _ = sys.accept4(listen_on(sys, 80))
        sys.nanosleep(2_000_000_000)
        while sys.read(fd, 1 << 16):
            pass

    def client(sys: Any) -> None:
        sys.nanosleep(1_000_000)
        fd = connect_to(sys, "10.0.0.1", 80)
        sys.write(fd, bytes(5000))
        sys.close(fd)

    with Lab(seed=1) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, delay="1ms")
        a.spawn(server)
        b.spawn(client)
        before = live(a.machine)
        lab.run(until="1s")
        during = live(a.machine)
        lab.run(until="100s")
        after = live(a.machine)
    assert (before["connections"], during["connections"], after["connections"]) == (0, 1, 0)
    assert during["unread"] >= 5000 and during["tasks"] == before["tasks"] > after["tasks"]
    assert after["unread"] == after["closing"] == after["timers"] == 0
    assert before["python_blocks"] > 1000
