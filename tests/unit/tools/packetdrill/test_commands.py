"""Back-quoted lines: what asks for something that is here is carried out, what does not is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.packetdrill.commands import DEFAULTS, CommandFailed, Route, UnsupportedCommand, run


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("sysctl -q net.ipv4.tcp_sack=0", {"net.ipv4.tcp_sack": "0"}),
        ("./defaults.sh\nethtool -K tun0 gso off tso off", DEFAULTS),
        ("tc qdisc replace dev tun0 root fq", {"net.core.default_qdisc": "fq"}),
        ("tc qdisc add dev tun0 root pfifo", {}),
        ("ip tcp_metrics flush all > /dev/null 2>&1", {}),
        ("echo 3 > /sys/module/tcp_cubic/parameters/hystart_detect", {}),
        ("echo 717 > /sys/module/tcp_cubic/parameters/beta; sysctl net.ipv4.tcp_ecn=1", {"net.ipv4.tcp_ecn": "1"}),
    ],
)
def test_what_is_here(line: str, settings: dict[str, str]) -> None:
    got: dict[str, str] = {}
    run(line, got.__setitem__, Route())
    assert got == settings


@pytest.mark.parametrize(
    "line",
    [
        "ethtool -K tun0 gro off",
        "ethtool -K tun0 tso off gso maybe",
        "echo 2 > /sys/module/tcp_cubic/parameters/hystart_detect",
        "echo 0 > /proc/sys/net/ipv4/tcp_sack",
        "nstat -n",
        "grep x /proc/net/tcp",
    ],
)
def test_what_is_not(line: str) -> None:
    with pytest.raises(UnsupportedCommand):
        run(line, {}.__setitem__, Route())


def test_shell_scripts_beside_the_test(tmp_path: Path) -> None:
    (tmp_path / "one.sh").write_text("#!/bin/sh\n# set up\nsysctl -q net.ipv4.tcp_sack=0\n./two.sh\n")
    (tmp_path / "two.sh").write_text("sysctl -q net.ipv4.tcp_ecn=1 \\\n  net.ipv4.tcp_frto=0\n")
    got: dict[str, str] = {}
    run("./one.sh", got.__setitem__, Route(), str(tmp_path))
    assert got == {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "1", "net.ipv4.tcp_frto": "0"}
    (tmp_path / "two.sh").write_text("./one.sh")
    for line in ("./one.sh", "./three.sh"):
        with pytest.raises(UnsupportedCommand):
            run(line, got.__setitem__, Route(), str(tmp_path))
    with pytest.raises(UnsupportedCommand):
        run("./one.sh", got.__setitem__, Route())


@pytest.mark.parametrize(
    "line, queue",
    [
        ("tc qdisc replace dev tun0 root pfifo limit 0", 0),
        ("tc qdisc delete dev tun0 root 2>/dev/null ; tc qdisc add dev tun0 root pfifo limit 0", 0),
        ("tc qdisc add dev tun0 root pfifo limit 7", 7),
        ("tc qdisc replace dev tun0 root pfifo limit 0; tc qdisc replace dev tun0 root pfifo", 1000),
        ("tc qdisc replace dev tun0 root pfifo limit 0; tc qdisc del dev tun0 root", 1000),
    ],
)
def test_the_queue_of_the_device(line: str, queue: int) -> None:
    route = Route()
    run(line, {}.__setitem__, route)
    assert route.queue == queue


@pytest.mark.parametrize(
    "line",
    [
        "tc qdisc replace dev tun0 root pfifo limit", "tc qdisc replace dev tun0 root pfifo limit x", "tc qdisc show",
        "tc qdisc replace dev tun0 root pfifo limit 0 x", "tc qdisc replace dev tun0 root tbf rate 1mbit", "tc qdisc",
        "tc class add dev tun0 root pfifo",
    ],
)  # fmt: skip
def test_other_queues_are_not_known(line: str) -> None:
    with pytest.raises(UnsupportedCommand):
        run(line, {}.__setitem__, Route())


@pytest.mark.parametrize("line", ["grep a /etc/x | wc -l", "test -e /proc/net/tcp", "sleep 1", "cat '/a>b'"])
def test_questions_are_asked_of_the_machine(line: str) -> None:
    asked: list[str] = []

    def inside(status: int) -> None:
        run(line, {}.__setitem__, Route(), inside=lambda text: (asked.append(text), (status, "no"))[1])  # type: ignore[func-returns-value]

    inside(0)
    assert asked == [line]
    with pytest.raises(CommandFailed, match="exit status 3: no"):
        inside(3)


@pytest.mark.parametrize(
    "line", ["touch /tmp/x", "grep a b > /tmp/x", "cat $(ls)", "cat a | tee b", "cat a & sleep 1", "true", "cat `ls`"]
)
def test_nothing_else_is(line: str) -> None:
    with pytest.raises(UnsupportedCommand):
        run(line, {}.__setitem__, Route(), inside=lambda text: (0, ""))
