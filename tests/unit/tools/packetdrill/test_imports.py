"""Congestion controls that the stack has not got: a script that needs one is told what to do."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from netstack.tcp import congestion
from terrella.testing.cases import FORMAT
from terrella.testing.script import CASE
from tools.cli import main
from tools.packetdrill import imports
from tools.packetdrill.linuxhost import LinuxHost
from tools.packetdrill.runner import run_text

GOOD = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
"""


def left(name: str = "nobodys", what: str = "congestion") -> str:
    """A script that a case left, which needs that."""
    return f"{GOOD}{CASE}{json.dumps({'terrella-case': FORMAT, 'needs': [[what, name, 'mine', '/my own/mine.py']]})}\n"


def test_a_setting_that_names_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "`sysctl -q net.ipv4.tcp_congestion_control=nobodys`\n"
    for script in (GOOD.replace("    0 socket", line + "    0 socket"), GOOD + "   +0 " + line):
        error = run_text(script).error
        assert error is not None and error.kind == "unsupported"
        assert "no congestion control 'nobodys' here" in error.message
        assert run_text(script.replace("nobodys", "reno")).passed


@pytest.mark.parametrize("name", congestion.available())
def test_those_that_there_are(name: str) -> None:
    imports.check("net.ipv4.tcp_congestion_control", f" {name}\n")
    imports.check("net.ipv4.tcp_sack", f"no-{name}")
    with pytest.raises(KeyError, match=f"no-{name}"):
        imports.check("net.ipv4.tcp_congestion_control", f"no-{name}")
    assert imports.missing(left(name), "x.pkt") is None


def test_the_advice_can_be_followed() -> None:
    said = imports.missing(left(), "a b.pkt")
    assert said is not None and "--import '/my own/mine.py', or `python -m terrella.testing.replay 'a b.pkt'`" in said
    said = imports.missing(left(), imports.STDIN)
    assert said is not None and said.endswith("--import '/my own/mine.py'"), "what was read is no file"
    said = imports.missing(left(), "x.pkt", on_linux=True)
    assert said is not None and said.endswith("--import '/my own/mine.py' in place of --on-linux")
    for text in (GOOD, left(what="oracle"), f"{GOOD}{CASE}no JSON\n"):
        assert imports.missing(text, "x.pkt") is None


def test_who_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = run_text(left(), "x.pkt").error
    assert error is not None and error.kind == "unsupported" and "replay x.pkt" in error.message
    error = run_text(left(), "x.pkt", machine=LinuxHost).error
    assert error is not None and "in place of --on-linux" in error.message
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(left().encode())))
    assert main(["packetdrill", "-"]) == 1
    said = capsys.readouterr().out
    assert "--import '/my own/mine.py'" in said and "replay" not in said


def test_files_that_are_not_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["packetdrill", "--import", str(tmp_path / "none.py"), "x.pkt"]) == 2
    assert "none.py is no file to import" in capsys.readouterr().err
    assert main(["packetdrill", "--on-linux", "--import", __file__, "x.pkt"]) == 2
    assert "leave out --import or --on-linux" in capsys.readouterr().err
    (tmp_path / "tools.py").touch()
    assert main(["packetdrill", "--import", str(tmp_path / "tools.py"), "x.pkt"]) == 2
    assert "tools.py: there is another module 'tools': give the file another name" in capsys.readouterr().err
