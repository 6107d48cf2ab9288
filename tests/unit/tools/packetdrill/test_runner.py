"""The runner beyond TCP over IPv4: UDP, ICMP both ways, IPv6, super-segments, several connections, blocking calls."""

from __future__ import annotations

import pytest

from tools.packetdrill.runner import run_text

UDP = """--tolerance_usecs=0
    0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
   +0 bind(3, ..., ...) = 0
   +0 connect(3, ..., ...) = 0
   +0 write(3, ..., 100) = 100
   +0 > udp (100)
  +.1 < udp (50)
   +0 read(3, ..., 1000) = 50
   +0 write(3, ..., 10) = 10
   +0 > udp (10)
  +.1 < icmp unreachable port_unreachable [udp (10)]
   +0 write(3, ..., 10) = -1 ECONNREFUSED (Connection refused)
"""
ICMP = """--tolerance_usecs=0
    0 < udp (50)
   +0 > icmp unreachable port_unreachable
  +.1 < icmp echo_request id 7
   +0 > icmp echo_reply id 7
"""
HANDSHAKE = """    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 64240 <mss 1000,sackOK,nop,nop,nop,wscale 6>
   +0 > S. 0:0(0) ack 1 <mss MSS,nop,nop,sackOK,nop,wscale 8>
  +.1 < . 1:1(0) ack 1 win 1024
   +0 accept(3, ..., ...) = 4
   +0 write(4, ..., 5000) = 5000
"""
DISSOLVED = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3
   +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
   +0 > S 0:0(0) <...>
  +.1 < S. 0:0(0) ack 1 win 64240 <mss 1000>
   +0 > . 1:1(0) ack 1
   +0 connect(3, AF_UNSPEC, ...) = 0
   +0 > R. 1:1(0) ack 1
"""
"""packetdrill's way to write it: the family in place of an address."""
WHOLE = "   +0 > P. 1:5001(5000) ack 1\n"
PARTS = "   +0 > P. 1:2001(2000) ack 1\n   +0 > P. 2001:4001(2000) ack 1\n   +0 > P. 4001:5001(1000) ack 1\n"
TWO = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 2) = 0
   +0 < 1001 > 8080 S 0:0(0) win 64240 <mss 1000>
   +0 > 8080 > 1001 S. 0:0(0) ack 1 <mss 1460>
   +0 < 1002 > 8080 S 500:500(0) win 64240 <mss 1000>
   +0 > 8080 > 1002 S. 0:0(0) ack 501 <mss 1460>
  +.1 < 1002 > 8080 P. 1:11(10) ack 1 win 60000
   +0 > 8080 > 1002 . 1:1(0) ack 11
"""
BLOCKING = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0...0.2 accept(3, ..., ...) = 4
  +.1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
   +0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
  +.1 < . 1:1(0) ack 1 win 60000
   +0 write(4, ..., 10) = 10
   +0 > P. 1:11(10) ack 1
"""


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (DISSOLVED, ("connect(3, AF_UNSPEC, ...)", "shutdown(3, SHUT_WR)")),
        (UDP, ("> udp (100)", "> udp (101)")),
        (UDP, ("read(3, ..., 1000) = 50", "read(3, ..., 1000) = 51")),
        (UDP, ("ECONNREFUSED", "EPIPE")),
        (ICMP, ("> icmp unreachable port_unreachable", "> icmp unreachable host_unreachable")),
        (ICMP, ("echo_reply id 7", "echo_reply id 8")),
        (HANDSHAKE.replace("MSS", "1460") + WHOLE, ("1:5001(5000)", "1:6001(6000)")),
        ("--ip_version=ipv6\n" + HANDSHAKE.replace("MSS", "1440") + WHOLE, ("1440", "1460")),
        ("--strict_segments\n" + HANDSHAKE.replace("MSS", "1460") + PARTS, (PARTS, WHOLE)),
        (TWO, ("8080 > 1002 S.", "8080 > 1001 S.")),
        (TWO, ("ack 501", "ack 1")),
        (BLOCKING, ("0...0.2", "0...0.1")),
    ],
)
def test_passes_and_the_changed_one_does_not(text: str, change: tuple[str, str]) -> None:
    verdict = run_text(text)
    assert verdict.passed, verdict.error
    changed = text.replace(*change)
    assert changed != text
    assert not run_text(changed).passed
