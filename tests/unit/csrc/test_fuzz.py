"""The libFuzzer targets build, run from seeds of real packets, and find a bug that is planted; and what they have found
so far runs clean under the sanitizers.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing
from tools import fuzz

RUNS = 2_000


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The leaves, compiled for libFuzzer."""
    if shutil.which("clang") is None:
        missing("clang is not installed")
    out = tmp_path_factory.mktemp("leaves")
    probe = out / "probe.c"
    probe.write_text("int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n; }\n")
    link = ["clang", "-fsanitize=fuzzer,address", str(probe), "-o", str(out / "probe")]
    if subprocess.run(link, capture_output=True).returncode:
        missing("clang has no libFuzzer")
    return fuzz.compiled(out)


def run(binary: Path, out: Path, runs: int) -> subprocess.CompletedProcess[str]:
    corpus = out / "corpus"
    corpus.mkdir()
    fuzz.seed(binary.name.removeprefix("fuzz_"), corpus)
    return fuzz.fuzz(binary, [corpus], out, f"-runs={runs}", "-seed=1")


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_fuzz_target(target: str, leaves: list[Path], tmp_path: Path) -> None:
    done = run(fuzz.build(target, tmp_path, leaves), tmp_path, RUNS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr


def test_a_planted_bug_is_found(leaves: list[Path], tmp_path: Path) -> None:
    """The check of the IPv4 total length taken out: the parser reads beyond the packet."""
    text = (fuzz.CSRC / "packet.c").read_text()
    check = "if (k->l3_len > avail)"
    assert text.count(check) == 2
    broken = tmp_path / "packet.c"
    broken.write_text(text.replace(check, "if (k->l3_len > 0xffffffffu - (uint32_t)avail)"))
    others = [leaf for leaf in leaves if leaf.name != "packet.o"]
    done = run(fuzz.build("parse", tmp_path, [broken, *others]), tmp_path, 200_000)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr or "deadly signal" in done.stderr


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        missing("gcc is not installed")
    return fuzz.build_replay(tmp_path_factory.mktemp("replay"))


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_the_kept_corpus_runs_clean(target: str, replay: Path, tmp_path: Path) -> None:
    inputs = fuzz.unpack(target, tmp_path)
    assert len(inputs) > 20, "a corpus is kept"
    done = subprocess.run([str(replay), target, *map(str, inputs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{len(inputs)} inputs\n"


def test_the_kept_corpus_is_small() -> None:
    assert sum(archive.stat().st_size for archive in fuzz.CORPUS.iterdir()) < 1 << 20


@pytest.mark.soak
def test_a_long_campaign() -> None:
    assert fuzz.main(["--minutes", "60"]) == 0
