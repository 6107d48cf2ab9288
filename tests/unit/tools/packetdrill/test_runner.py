"""The runner beyond TCP over IPv4: UDP, ICMP both ways, IPv6, super-segments, several connections, blocking calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.packetdrill.mapping import Flow
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


ASKING = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 `grep " 0A " /proc/net/tcp /proc/net/tcp6 | grep ":1F90"`
   +0 `sleep 1`
    1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
"""
"""Commands that ask the machine, and one that waits."""


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
        (ASKING, ('":1F90"', '":1F91"')),
        (ASKING, ("sleep 1", "sleep 2")),
    ],
)
def test_passes_and_the_changed_one_does_not(text: str, change: tuple[str, str]) -> None:
    verdict = run_text(text)
    assert verdict.passed, verdict.error
    changed = text.replace(*change)
    assert changed != text
    assert not run_text(changed).passed


WRONG = """    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 7
   +0 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 2 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 60000
  +.1 > P. 1:3(2) ack 1
   +0...0.1 accept(3, ..., ...) = 4
  +.2 accept(3, ..., ...) = -1 EAGAIN (Resource temporarily unavailable)
"""
"""What listen() gives, a number, a packet that never comes, the time of a return, a call that blocks."""


@pytest.mark.parametrize(
    ("which", "lines", "last"),
    [
        ("packet,syscall", [4, 6, 8, 9], 10),
        ("syscall", [4], 6),
        ("packet", [], 4),
        ("syscall packet", None, 10),
    ],
)
def test_what_is_not_fatal_is_a_warning(which: str, lines: list[int] | None, last: int | None) -> None:
    verdict = run_text(f'--non_fatal="{which}"\n' + WRONG)
    assert lines is None or [warning.line for warning in verdict.warnings] == lines
    assert (verdict.error.line if verdict.error else None) == last
    assert not run_text(WRONG).passed
    worse = run_text("--non_fatal=packet,syscall\n" + WRONG.replace("   +0...", "   +0 nosuchcall(3) = 0\n   +0..."))
    assert worse.error and worse.error.kind == "unsupported"


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_text("--verbose\n" + TWO).passed
    said = capsys.readouterr().err
    assert " in 0.000000 < 1002 > 8080 S 500:500(0) win 64240 <mss 1000>" in said
    assert "out 0.000000 > 8080 > 1002 S. 0:0(0) ack 501 win 64240 <mss 1460>" in said
    assert "    0.100000 line 11: +0 > 8080 > 1002 . 1:1(0) ack 11" in said
    assert run_text(TWO).passed
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("--dry_run", None),
        ('--define=WHAT="a b"', None),
        ("--mss = 1000", None),
        ("--remote_ip=192.0.2.9/24", None),
        ("--code_command=python3 --code_format=python --code_sockopt=TCP_INFO --is_anyip --verbose", None),
        ("--code_command=lua", "unsupported"),
        ("--code_sockopt=TCP_CC_INFO", "unsupported"),
        ("--ip_version=ipv5", "unsupported"),
        ("--non_fatal=packets", "unsupported"),
        ("--wire_client", "unsupported"),
        ("--so_filename=x.so", "unsupported"),
        ("--init_scripts=/nowhere.sh", "unsupported"),
        ("--nonsense", "unsupported"),
        ("--mtu", "syntax"),
        ("--strict_segments=1", "syntax"),
        ("--define=X", "syntax"),
    ],
)
def test_options(line: str, kind: str | None) -> None:
    verdict = run_text(line.replace(" --", "\n--") + "\n    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    assert (verdict.error.kind if verdict.error else None) == kind, verdict.error


def test_init_scripts(tmp_path: Path) -> None:
    setup = tmp_path / "setup.sh"
    setup.write_text("sysctl -q net.ipv4.tcp_timestamps=0 net.ipv4.tcp_sack=0\n")
    client = DISSOLVED.replace("<...>", "<mss 1460,nop,wscale 8>")
    assert run_text(client, options={"init_scripts": str(setup)}).passed
    assert not run_text(client).passed


SOCKET = "    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
MARKS = (
    SOCKET
    + """   +0 setsockopt(3, SOL_SOCKET, SO_MARK, [1], 4) = 0
   +0 cap_set(CAP_EFFECTIVE, CAP_NET_ADMIN, CAP_CLEAR) = 0
   +0 setsockopt(3, SOL_SOCKET, SO_MARK, [1], 4) = -1 EPERM (Operation not permitted)
   +0 cap_set(CAP_EFFECTIVE, CAP_NET_ADMIN, CAP_SET) = 0
   +0 setsockopt(3, SOL_SOCKET, SO_MARK, [1], 4) = 0
"""
)
LABEL = """--ip_version=ipv6
    0 < S 0:0(0) win 100 <mss 1000>
   +0 > [flowlabel 0x0] R. 0:0(0) ack 1
"""


@pytest.mark.parametrize(
    ("text", "change"),
    [(MARKS, ("CAP_NET_ADMIN, CAP_CLEAR", "CAP_NET_RAW, CAP_SET")), (LABEL, ("label 0x0", "label 0x1"))],
)
def test_capabilities_and_flow_labels(text: str, change: tuple[str, str]) -> None:
    verdict = run_text(text)
    assert verdict.passed, verdict.error
    assert not run_text(text.replace(*change)).passed


@pytest.mark.parametrize(
    "line",
    [
        "+0 < gre: S 0:0(0) win 10",
        "+0 > ipv4 1.2.3.4 > 5.6.7.8: gre: . 1:1(0) ack 1",
        "+0 < GREv0, Flags [key present], sum 0, off 0, key=0x1, seq 0: S 0:0(0) win 10",
        "+0 < mpls (label 0, tc 0, [S], ttl 0): S 0:0(0) win 10",
        "+0 < sctp: INIT[flgs=0]",
        "+0 < S 0:0(0) win 100 <mss 1000,mpcapable v1>",
        "+0 < S 0:0(0) win 100 <mss 1000,ECN e1b 1 ceb 0 e0b 1>",
        "+0 < S 0:0(0) win 100 <mss 1000> {mut tcp mss}",
        "+0 setsockopt(3, SOL_IP, 5, {flags [none], sum 0, off 0, key=0, seq 0}, 12) = 0",
        "+0 setsockopt(3, SOL_IP, 5, {(label 0, tc 0, [S], ttl 0)}, 12) = 0",
        "+0 setsockopt(3, SOL_SOCKET, SO_NOSUCH, [1], 4) = 0",
        "+0 nosuchcall(3) = 0",
    ],
)
def test_what_others_know_is_unsupported_and_has_its_line(line: str) -> None:
    error = run_text(SOCKET + "   " + line + "\n").error
    assert error is not None
    assert (error.kind, error.line) == ("unsupported", 2), error


SERVER = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 60000
   +0 accept(3, ..., ...) = 4
"""


def fails(text: str, part: str) -> None:
    error = run_text(text).error
    assert error is not None and part in str(error), error


def test_no_error_named_is_any_error():
    """As packetdrill has it; a name has to be the right one."""
    shut = SERVER + "   +0 shutdown(4, SHUT_WR) = 0\n   +0 > F. 1:1(0) ack 1\n"
    assert run_text(shut + "   +0 write(4, ..., 5) = -1\n").error is None
    assert run_text(shut + "   +0 write(4, ..., 5) = -1 EPIPE (Broken pipe)\n").error is None
    fails(shut + "   +0 write(4, ..., 5) = -1 EBADF (Bad file descriptor)\n", "got -1 EPIPE")
    fails(shut + "   +0 write(4, ..., 5) = 5\n", "got -1 EPIPE")
    again = "   +0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n   +0 read(4, ..., 5) = -1 EWOULDBLOCK (two names, one number)\n"
    assert run_text(SERVER + again).error is None


def test_descriptors_are_the_scripts_own():
    fails(SERVER + "   +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n", "has a descriptor 3 already")
    fails(SERVER + "   +0 write(9, ..., 5) = 5\n", "the script has no descriptor 9")
    closed = "   +0 close(3) = 0\n   +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
    assert run_text(SERVER + closed).error is None


def test_what_poll_and_epoll_did_not_report():
    """No `revents` are none; where epoll_wait() finds nothing, the event stays zeros."""
    assert run_text(SERVER + "   +0 poll([{fd=4, events=POLLIN}], 1, 0) = 0\n").error is None
    fails(SERVER + "   +0 poll([{fd=4, events=POLLOUT}], 1, 0) = 1\n", "expected revents 0x0, got 0x4")
    epoll = SERVER + "   +0 epoll_create(1) = 5\n   +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = 0\n"
    assert run_text(epoll + "   +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0\n").error is None
    fails(epoll + "   +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 0\n", "got 0 events")


def test_a_message_has_room_for_the_control_messages_that_are_written():
    asked = (
        SERVER + "   +0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0\n"
        "  +.1 < P. 1:11(10) ack 1 win 257\n   +0 > . 1:1(0) ack 11\n"
        "   +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 5}], msg_flags="
    )
    assert run_text(asked + "MSG_CTRUNC}, 0) = 5\n").error is None
    fails(asked + "0}, 0) = 5\n", "expected msg_flags 0x0, got 0x8")
    inq = ", msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data="
    assert run_text(asked + "0" + inq + "5}]}, 0) = 5\n").error is None
    fails(asked + "0" + inq + "6}]}, 0) = 5\n", "control messages")


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("> icmp unreachable port_unreachable [udp (10)]", None),
        ("> icmp type_3 code_3 [udp (10)]", None),
        ("> icmp unreachable port_unreachable [udp (11)]", "quoted"),
        ("> icmp unreachable port_unreachable [1:1(0)]", "quoted"),
        ("> icmp unreachable host_unreachable [udp (10)]", "ICMP"),
        ("> icmp time_exceeded exceeded_in_transit [udp (10)]", "ICMP"),
        ("> icmp unreachable port_unreachabel [udp (10)]", "did you mean port_unreachable?"),
    ],
)
def test_what_an_icmp_message_of_the_stack_says(written, part):
    text = f"--tolerance_usecs=0\n    0 < udp 4444 > 9999 (10)\n   +0 {written}\n"
    if part is None:
        assert run_text(text).error is None
    else:
        fails(text, part)


def test_an_echo_has_its_length_and_identifier():
    text = "--tolerance_usecs=0\n    0 < icmp echo_request id 77 [raw (64)]\n   +0 > icmp echo_reply id {} [raw ({})]\n"
    assert run_text(text.format(77, 64)).error is None
    fails(text.format(78, 64), "id: expected 78, got 77")
    fails(text.format(77, 63), "quoted")


def test_a_flow_label_is_the_same_or_another():
    """What a script writes is a name: the first one stands for what came, another one for a change."""
    flow = Flow(b"", b"", 1, 2)
    assert [flow.script_label(1, 0x12345), flow.script_label(1, 0x12345)] == [1, 1]
    assert flow.script_label(1, 0x54321) != 1
    assert flow.script_label(2, 0x12345) != 2
    assert flow.script_label(2, 0x54321) == 2
    assert flow.script_label(2, 0) == 0
    assert flow.script_label(None, 7) == 7


def test_time_of_return_is_within_the_percentage():
    text = SERVER + "   +0...{} read(4, ..., 10) = 10\n  +.1 < P. 1:11(10) ack 1 win 257\n   +0 > . 1:1(0) ack 11\n"
    assert run_text(text.format("0.1")).error is None
    fails(text.format("0.09"), "was to return at")
    assert run_text("--tolerance_percent=12.5\n" + text.format("0.09")).error is None
    fails("--tolerance_percent=12.5\n" + text.format("0.08"), "was to return at")
    fails("--tolerance_percent=many\n" + text.format("0.1"), "expected a number")


@pytest.mark.parametrize("setting", ["net.ipv4.tcp_nonsense=1", "net.ipv4.tcp_sack=maybe"])
@pytest.mark.parametrize("place", ["before", "within"])
def test_a_setting_that_is_none(setting, place):
    command = f"`sysctl -q {setting}`\n"
    text = command + SERVER.partition("\n")[2] if place == "before" else SERVER + "   +0 " + command
    error = run_text(text).error
    assert error is not None and error.kind in ("unsupported", "mismatch") and setting.partition("=")[0] in str(error)
