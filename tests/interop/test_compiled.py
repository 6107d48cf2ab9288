"""The compiled form against the Python: the same bytes, and the same verdicts of the same judges.

`make fast` has to have been run; without it these are skipped (and fail in CI, which runs it). `make soak` runs nearly
the whole suite in the compiled form.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(__file__).parent / "compiled_run.py"


def out(command: list[str], env: dict[str, str], timeout: float = 2400) -> str:
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_seed_gives_the_same_bytes_in_both_forms(compiled: dict[str, str], seed: int, tmp_path: Path) -> None:
    said = []
    for form in ("0", "1"):
        directory = tmp_path / form
        directory.mkdir()
        env = {**compiled, "TERRELLA_COMPILED": form, "PYTHONHASHSEED": form}
        said.append(out([sys.executable, str(RUN), str(seed), str(directory)], env))
    plain, fast = said
    assert plain.splitlines()[0] == "compiled: False" and fast.splitlines()[0] == "compiled: True"
    assert plain.splitlines()[1:] == fast.splitlines()[1:]
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert len(names) > 4 and names == sorted(path.name for path in (tmp_path / "1").iterdir())
    for name in names:
        both = [(tmp_path / form / name).read_bytes() for form in "01"]
        assert len(both[0]) > 100 and both[0] == both[1], (name, [hashlib.sha256(one).hexdigest() for one in both])


def test_the_packetdrill_scripts_pass_compiled(compiled: dict[str, str], terrella: str) -> None:
    scripts = sorted(str(path) for path in (ROOT / "tests/conformance/tcp").glob("*.pkt"))
    said = out([terrella, "packetdrill", *scripts], compiled).splitlines()
    assert len(said) == len(scripts) and all(line.startswith("ok ") for line in said)


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/conformance/kernel"],
        ["tests/interop/test_up.py", "-k", "pings or bulk or hundred"],
    ],
    ids=["kernel", "up"],
)
def test_these_tests_pass_compiled(compiled: dict[str, str], need: Callable[..., None], tests: list[str]) -> None:
    """Tests that replace nothing inside: run as they are, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    said = out(command, {key: value for key, value in compiled.items() if not key.startswith("PYTEST")})
    assert " passed" in said and os.environ["TERRELLA_COMPILED"] == "0"


@pytest.mark.soak
def test_nearly_everything_passes_compiled(compiled: dict[str, str]) -> None:
    """Tests that replace something inside are expected to fail (tests/conftest.py); all others pass."""
    tests = [
        *("tests/unit/drivers", "tests/unit/kernel", "tests/unit/netstack", "tests/unit/terrella", "tests/unit/tools"),
        *("tests/unit/userland", "tests/property", "tests/conformance", "tests/interop"),
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *tests]
    command += ["--deselect", "tests/interop/test_compiled.py"]
    said = out(command, {key: value for key, value in compiled.items() if not key.startswith("PYTEST")}, 7200)
    assert " passed" in said
