"""The libFuzzer targets build, run from seeds of real packets, and find a bug that is planted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from csrc import Frame, ffi, lib
from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[3]
LEAVES = ["checksum.c", "packet.c", "offload.c"]
RUNS = 20_000


def seeds(where: Path, target: str) -> None:
    """A TCP super-segment and its wire frames, over IPv4 and IPv6."""
    for version in (4, 6):
        ip = b"\x45" + bytes(7) + b"\x40\6" + bytes(10) if version == 4 else b"\x60" + bytes(39)
        template = bytes(12) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + ip
        options = lib.TRL_OPT_TIMESTAMP | lib.TRL_OPT_MSS | lib.TRL_OPT_WSCALE | lib.TRL_OPT_SACK_PERMITTED
        seg = ffi.new("struct trl_tcp_out *", {"tcp_options": options, "payload_len": 90, "tcp_flags": 24})
        out = bytearray(150)
        n = lib.trl_tcp_emit(ffi.from_buffer(out), 150, template, len(template), 14, seg)
        frame = Frame(out[:n], (bytes(range(90)),), gso_size=30, csum_start=len(template), csum_offset=16)
        content = b"\1" + bytes(frame)
        if target == "gso":
            content = b"\1\x1e\0" + bytes(frame)
        if target == "gro":
            content = b"\1" + b"".join(bytes([len(f), 0]) + f for f in frame.segments())
        (where / f"v{version}").write_bytes(content)


def build(target: str, out: Path, leaves: list[Path]) -> Path:
    if shutil.which("clang") is None:
        missing("clang is not installed")
    flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=undefined"]
    probe = out / "probe.c"
    probe.write_text("int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n; }\n")
    link = ["clang", "-fsanitize=fuzzer,address", str(probe), "-o", str(out / "probe")]
    if subprocess.run(link, capture_output=True).returncode:
        missing("clang has no libFuzzer")
    binary = out / target
    source = ROOT / "csrc" / "fuzz" / f"fuzz_{target}.c"
    command = ["clang", *flags, "-fsanitize=fuzzer,address,undefined", f"-I{ROOT / 'csrc'}", str(source)]
    subprocess.run([*command, *map(str, leaves), "-o", str(binary)], check=True)
    return binary


def fuzz(binary: Path, target: str, out: Path, runs: int) -> subprocess.CompletedProcess[str]:
    corpus = out / "corpus"
    corpus.mkdir()
    seeds(corpus, target)
    return subprocess.run(
        [str(binary), f"-runs={runs}", "-seed=1", "-max_len=600", "-detect_leaks=0", str(corpus)],
        cwd=out, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("target", ["parse", "gso", "gro"])
def test_fuzz_target(target: str, tmp_path: Path) -> None:
    binary = build(target, tmp_path, [ROOT / "csrc" / leaf for leaf in LEAVES])
    done = fuzz(binary, target, tmp_path, RUNS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr


def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    """The check of the IPv4 total length taken out: the parser reads beyond the packet."""
    text = (ROOT / "csrc" / "packet.c").read_text()
    check = "if (k->l3_len > avail)"
    assert text.count(check) == 2
    broken = tmp_path / "packet.c"
    broken.write_text(text.replace(check, "if (k->l3_len > 0xffffffffu - (uint32_t)avail)"))
    others = [ROOT / "csrc" / leaf for leaf in LEAVES if leaf != "packet.c"]
    done = fuzz(build("parse", tmp_path, [broken, *others]), "parse", tmp_path, 200_000)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr or "deadly signal" in done.stderr
