"""Back-quoted lines: what asks for something that is here is carried out, what does not is refused."""

from __future__ import annotations

import pytest

from tools.packetdrill.commands import DEFAULTS, Route, UnsupportedCommand, run


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("sysctl -q net.ipv4.tcp_sack=0", {"net.ipv4.tcp_sack": "0"}),
        ("./defaults.sh\nethtool -K tun0 tso off", DEFAULTS),
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
        "tc qdisc replace dev tun0 root pfifo limit 0",
        "ethtool -K tun0 gso off",
        "ethtool -K tun0 tso off gso off",
        "echo 2 > /sys/module/tcp_cubic/parameters/hystart_detect",
        "echo 0 > /proc/sys/net/ipv4/tcp_sack",
        "nstat -n",
    ],
)
def test_what_is_not(line: str) -> None:
    with pytest.raises(UnsupportedCommand):
        run(line, {}.__setitem__, Route())
