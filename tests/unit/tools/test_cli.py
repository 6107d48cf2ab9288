"""The command line's frame: help, wrong words, and nothing imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools.cli import COMMANDS, main


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("usage: terrella")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["demo", "--nonsense"], ["demo", "--seed", "x"], ["run"]])
def test_wrong_words_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and "usage: terrella" in said.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["wire", "a", "b", "--reorder", "1%"], 2, "--reorder needs --delay"),
        (["wire", "a", "b", "--back", "reorder 1%"], 2, "--reorder needs --delay"),
        (["up", "--reorder", "1%"], 2, "--reorder needs --delay"),
        (["wire", "a", "b", "--ecn", "5"], 2, "--ecn needs --rate"),
        (["wire", "a", "b", "--rate", "1Mbit", "--queue", "5", "--back", "reorder 1%"], 2, "--reorder needs --delay"),
        (["up", "--queue", "50", "--delay", "5ms"], 2, "--queue needs --rate"),
        (["up", "--ip", "10.0.0.1/24"], 2, "--ip 10.0.0.1/24 is this host's own"),
        (["wire", "a", "b", "--stats", "/nowhere/x"], 1, "--stats /nowhere/x: No such file or directory"),
        (["up", "--stats", "/"], 1, "--stats /: Is a directory"),
        (["wire", "a", "a"], 2, "to itself"),
        (["wire", "a"], 2, "two ends"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_opened(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    assert said in capsys.readouterr().err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.run.run", interrupted)
    assert main(["run", "x.py"]) == 130


def test_help_needs_neither_kernel_nor_stack() -> None:
    probe = (
        "import sys\nfrom tools.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('kernel', 'netstack', 'drivers', 'scapy', 'rich', 'h11') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_nobody_but_its_port_imports_scapy() -> None:
    probe = (
        "import sys\nimport kernel.machine, tools.up, drivers.net.scapy_port, tools.session\n"
        "print('scapy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
