# ruff: noqa: E501
"""The pytest plugin, in pytest runs of its own; and what its import costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]

TESTS = """
def serve(sys):
    sys.nanosleep(5)

def test_good(lab):
    a = lab.host("a", "10.0.0.1/24")
    assert a.spawn(serve).exit_code is None and lab.run()

def test_bad(lab):
    a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
    lab.link(a, b)
    def knock(sys):
        fd = sys.socket(2, 2)
        sys.sendto(fd, b"hello", 0, ("10.0.0.2", 9))
    a.spawn(knock)
    lab.run()
    lab.run(until="1s")
    assert lab.seed != 7, "seven"
"""


def pytest_run(where: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        *options,
    ]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    environ.pop("TERRELLA_ARTIFACTS", None)
    return subprocess.run(command, cwd=where, env=environ, capture_output=True, text=True)


def test_the_fixture_its_seed_and_what_a_failure_leaves(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = pytest_run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = pytest_run(tmp_path, "--lab-seed=7", "--lab-artifacts=kept")
    assert done.returncode == 1 and "seed 7; again: pytest --lab-seed=7 test_it.py::test_bad\n" in done.stdout
    assert f"capture: {tmp_path}/kept/test_it.py--test_bad.pcapng" in done.stdout
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert kept == ["test_it.py--test_bad.pcapng", "test_it.py--test_bad.txt"]
    assert b"hello" in (tmp_path / "kept" / kept[0]).read_bytes()
    assert "pytest --lab-seed=7" in (tmp_path / "kept" / kept[1]).read_text()


def test_artifacts_go_into_a_directory(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = pytest_run(tmp_path, "--lab-artifacts=pytest.ini")
    assert done.returncode == 4 and "--lab-artifacts pytest.ini: is no directory" in done.stderr


def test_the_kit_leaves_its_cases_there(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "from netstack.tcp import persist\n"
        "from terrella.testing import exchange, Link, Application, Piece\n"
        "def test_it(monkeypatch):\n"
        "    monkeypatch.setattr(persist, 'start', lambda c, now: None)\n"
        "    slow = Application((Piece(1, 10**9),), reads=False)\n"
        "    exchange(Link(), Application((Piece(50000),)), slow, settings={'net.ipv4.tcp_rmem': (4096, 8192, 16384)})\n"
    )
    done = pytest_run(tmp_path, "--lab-artifacts=kept")
    assert done.returncode == 1
    assert "python -m terrella.testing.replay" in done.stdout
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".json", ".pcapng", ".pkt"]


def test_the_import_is_cheap() -> None:
    """Neither Hypothesis nor any room below is imported by the plugin or by the entry point for Hypothesis."""
    code = (
        "import sys, pytest, terrella.testing.plugin, terrella.testing.registration\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('hypothesis', 'kernel', 'netstack', 'drivers', 'csrc')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_registering_imports_no_room_below() -> None:
    code = (
        "import sys, hypothesis.strategies as st\n"
        "from terrella.testing.registration import register\n"
        "register()\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('kernel', 'netstack', 'drivers', 'csrc')]\n"
        "from terrella.testing import Link, Case, Fate\n"
        "import hypothesis\n"
        "@hypothesis.settings(max_examples=5, database=None)\n"
        "@hypothesis.given(...)\n"
        "def check(link: Link, case: Case, fate: Fate):\n"
        "    assert isinstance(link, Link) and isinstance(case, Case) and isinstance(fate, Fate)\n"
        "check()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_entry_points_lead_somewhere() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    module = import_module(points["pytest11"]["terrella"])
    assert hasattr(module, "lab")
    name, _, attribute = points["hypothesis"]["terrella"].partition(":")
    assert callable(getattr(import_module(name), attribute))
