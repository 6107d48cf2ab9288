"""The leaves' property tests once more, in a build with AddressSanitizer and UBSan that is seen to catch planted bugs.

The sanitizers say nothing when one of these is missing, so each is checked: `python -P` with the build first on the
path (or the plain module is imported), PYTHONMALLOC=malloc (or small arrays come from an arena that has no red zones),
and libasan preloaded (or the module does not load).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[3]


def libasan() -> str:
    if shutil.which("gcc") is None:
        missing("gcc is not installed")
    path = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(path):
        missing("gcc has no libasan (AddressSanitizer's runtime)")
    return os.path.realpath(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds the package `csrc` with sanitized leaves."""
    libasan()
    out = tmp_path_factory.mktemp("sanitized")
    package = out / "csrc"
    package.mkdir()
    for name in ("__init__.py", "frame.py"):
        shutil.copy(ROOT / "csrc" / name, package)
    code = "import pathlib, sys; from csrc import build; print(build.sanitized(pathlib.Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def run(built: Path, *args: str, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    env = os.environ | {
        "LD_PRELOAD": libasan(),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=2:quarantine_size_mb=8",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": f"{built}:{ROOT}",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(built / "hypothesis"),
    }
    return subprocess.run(
        [sys.executable, "-P", *args], cwd=built, env=env, capture_output=True, text=True, timeout=timeout
    )


def test_the_sanitized_module_is_the_one_that_is_loaded(built: Path) -> None:
    done = run(built, "-c", "import csrc._leaves as m; print(m.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(built)


@pytest.mark.parametrize(
    ("call", "report"),
    [
        ("lib.trl_planted_overflow(ffi.new('uint8_t[]', 20), 20)", "AddressSanitizer: heap-buffer-overflow"),
        (
            "lib.trl_planted_overflow(ffi.from_buffer(bytearray(200)), 201)",
            "AddressSanitizer: heap-buffer-overflow",
        ),
        ("lib.trl_sum(ffi.new('uint8_t[]', 20), 21, 0)", "AddressSanitizer: heap-buffer-overflow"),
        ("lib.trl_planted_shift(31)", "runtime error: left shift of 1 by 31 places"),
    ],
)
def test_planted_bugs_are_caught(built: Path, call: str, report: str) -> None:
    done = run(built, "-c", f"from csrc import ffi, lib; {call}; print('not caught')")
    assert report in done.stderr
    assert "not caught" not in done.stdout
    assert done.returncode != 0


def test_the_product_has_no_planted_bugs() -> None:
    from csrc import lib

    assert not [name for name in dir(lib) if "planted" in name]


def test_property_tests_under_the_sanitizers(built: Path) -> None:
    done = run(
        built, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=brief",
        "--import-mode=importlib", "-c", os.devnull,
        "--rootdir", str(ROOT / "tests" / "property" / "csrc"), str(ROOT / "tests" / "property" / "csrc"),
        "-k", "not scapy and not every_verdict and not merged_and_refused",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "passed" in done.stdout
