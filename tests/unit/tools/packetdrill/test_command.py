"""`terrella packetdrill` at the command line: what it says of scripts that are wrong, and where it takes them from."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tools.cli import main

GOOD = """// a server that sends
--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 257
   +0 accept(3, ..., ...) = 4
   +0 write(4, ..., 100) = 100
   +0 > P. 1:101(100) ack 1
"""
END = GOOD.count("\n")


def verdict(script: bytes | str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    path = tmp_path / "x.pkt"
    path.write_bytes(script.encode() if isinstance(script, str) else script)
    status = main(["packetdrill", "--json", *words, str(path)])
    (found,) = json.loads(capsys.readouterr().out)
    assert status == (0 if found["passed"] else 1)
    return {**found, **found.get("error", {})}


@pytest.mark.parametrize(
    "script",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("sends", "caf\xe9").encode("latin-1"),
        GOOD.encode() + b'# \xff\n   +0 write(4, "\xe9\xff", 2) = 2\n  /* \xe9 */',
    ],
    ids=["byte order mark", "CRLF", "Latin-1 in a comment", "bytes in a string"],
)
def test_bytes_that_packetdrill_takes(script: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(script, tmp_path, capsys)["passed"]


def test_what_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verdict(b"\x7fELF\0\0", tmp_path, capsys)
    assert (found["kind"], found["message"]) == ("syntax", "cannot be read: it is no text")


@pytest.mark.parametrize(("script", "status"), [(GOOD, 0), (GOOD.replace("= 100", "= 99"), 1)])
def test_standard_input(
    script: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(script.encode())))
    assert main(["packetdrill", "--captures", str(tmp_path), "-"]) == status
    assert "stdin" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == (["stdin.pcapng"] if status else [])


@pytest.mark.parametrize(
    ("more", "line", "message", "expected", "actual"),
    [
        ("   +0 close(9) = 0\n", 1, "close: expected 0, got -1 EBADF", "+0 close(9) = 0", "close: -1 EBADF"),
        ("   +0 write(4, ..., 5) = 6\n", 1, "write: expected 6, got 5", "write(4, ..., 5) = 6", "write: 5"),
        ("   +1 > P. 1:101(100) ack 1\n", 1, "timing: expected at 1.1", "+1 > P. 1:101", "0.400000 > P. 1:101"),
        ("   +0 setsockopt(4, SOL_TCP TCP_NODELAY, [1], 4) = 0\n", 1, "expected ',' or ')'", "", ""),
        ("   +0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1 linger=0}, 8) = 0\n", 1, "expected ',' or '}'", "", ""),
        ("   +0 < . 1:1(0) ack 1 win 5 <nop nop,TS val 1 ecr 0>\n", 1, "expected ',' or '>'", "", ""),
        ("   +0 `echo 'abc`\n", 1, "a quotation mark is missing", "", ""),
    ],
)  # fmt: skip
def test_a_failure_has_its_line_what_was_expected_and_what_came(
    more: str, line: int, message: str, expected: str, actual: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdict(GOOD + more, tmp_path, capsys)
    assert found["line"] == END + line
    assert message in str(found["message"])
    assert expected in str(found["expected"])
    assert str(found["actual"]).startswith(actual) if actual else found["actual"] == ""


def test_of_several_connections_packets_have_their_ports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = "".join(GOOD.splitlines(True)[1:5]) + (
        "   +0 < 1001 > 8080 S 0:0(0) win 64240 <mss 1000>\n   +0 > 8080 > 1001 S. 0:0(0) ack 1 <mss 1460>\n"
        "   +0 < 1002 > 8080 S 500:500(0) win 64240 <mss 1000>\n"
    )
    for line, message in (
        ("> 8080 > 1001 S. 0:0(0) ack 501 <mss 1460>", "a packet of another connection came"),
        ("> 8080 > 1002 S. 0:0(0) ack 502 <mss 1460>", "ack: expected 502, got 501"),
    ):
        found = verdict(f"{opened}   +0 {line}\n", tmp_path, capsys)
        assert found["message"] == message
        assert str(found["actual"]).startswith("0.000000 > 8080 > 1002 S. 0:0(0) ack 501 win")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--mtu=67", "it is 68 to 65535"), ("--bind_port=65536", "it is 1 to 65535"),
        ("--tolerance_usecs=-1", "it is 0 or more"), ("--tolerance_percent=-0.5", "it is 0 or more"),
        ("--tolerance_percent=nan", "expected a number"), ("--tolerance_percent=inf", "expected a number"),
        ("--mtu=much", "expected an integer"), ("--local_ip=::1", "the test speaks IPv4"),
        ("--local_ip=here", "'here' is not an IP address"),
    ],
)  # fmt: skip
def test_options_out_of_their_range(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdict(GOOD, tmp_path, capsys, option)
    assert message in str(found["message"]) and option[2:7] in str(found["message"])
    found = verdict(GOOD.replace("_usecs=0\n", f"_usecs=0\n{option}\n"), tmp_path, capsys)
    assert message in str(found["message"])


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pkt"
    path.write_text(GOOD)
    assert main(["packetdrill", "--captures", str(path), str(path)]) == 2
    assert "it is a file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["packetdrill", "--tolerence_usecs=3", str(path)])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "usage: terrella packetdrill" in said and "--tolerence_usecs=3 (did you mean --tolerance_usecs?)" in said
