"""Coverage-guided fuzzing of the leaves in C, with clang's libFuzzer and the sanitizers.

    python -m tools.fuzz --minutes 60                  every target in turn, a fair share of the time each
    python -m tools.fuzz --minutes 5 --target gro --keep

One process at a time. It starts from the kept corpus (csrc/fuzz/corpus/TARGET.zip) and from real packets; with `--keep`
what it found is minimised back into the corpus, and the totals in csrc/fuzz/totals.txt are moved on. Exit status 1 when
a target fails: the input that did it is named, and stays in the work directory.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from csrc import Frame, ffi, lib

CSRC = Path(__file__).resolve().parents[1] / "csrc"
CORPUS = CSRC / "fuzz" / "corpus"
TOTALS = CSRC / "fuzz" / "totals.txt"
LEAVES = ["checksum.c", "packet.c", "offload.c", "ring.c", "intervals.c", "cookie.c", "pcapng.c", "guard.c"]
TARGETS = {  # and the longest input that is worth trying
    "parse": 256,
    "options": 40,
    "gso": 1024,
    "gro": 1024,
    "checksum": 1024,
    "intervals": 512,
    "ring": 512,
    "tap": 2048,
    "guard": 512,
    "emit": 512,
}
FLAGS = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=undefined"]
SANITIZE = "address,undefined"
HEAD = """\
# What the fuzzers have done so far, over all kept runs of `python -m tools.fuzz --keep`.
# target   seconds   executions   edges  features  inputs kept
"""


def sources(target: str) -> list[Path]:
    return [CSRC / leaf for leaf in [*LEAVES, *(["tap.c"] if target == "tap" else [])]]


def compiled(out: Path) -> list[Path]:
    """All leaves as object files made for the fuzzers, for whoever builds several."""
    flags = [*FLAGS, f"-fsanitize=fuzzer-no-link,{SANITIZE}", f"-I{CSRC}"]
    subprocess.run(["clang", *flags, "-c", *map(str, sources("tap"))], check=True, cwd=out)
    return [out / f"{source.stem}.o" for source in sources("tap")]


def build(target: str, out: Path, leaves: Sequence[Path] | None = None) -> Path:
    """The fuzzer of a target, compiled by clang. `leaves` may stand in for the sources it is tried on."""
    binary = out / f"fuzz_{target}"
    files = [CSRC / "fuzz" / f"fuzz_{target}.c", *(sources(target) if leaves is None else leaves)]
    command = ["clang", *FLAGS, f"-fsanitize=fuzzer,{SANITIZE}", f"-I{CSRC}", *map(str, files), "-o", str(binary)]
    subprocess.run(command, check=True)
    return binary


def build_replay(out: Path, compiler: str = "gcc") -> Path:
    """`replay TARGET FILE...`: every target, under the sanitizers but without libFuzzer."""
    flags = [*FLAGS, f"-fsanitize={SANITIZE}", f"-I{CSRC}"]
    objects = []
    for target in TARGETS:
        objects.append(out / f"fuzz_{target}.o")
        rename = f"-DLLVMFuzzerTestOneInput=fuzz_{target}"
        source = CSRC / "fuzz" / f"fuzz_{target}.c"
        subprocess.run([compiler, *flags, rename, "-c", str(source), "-o", str(objects[-1])], check=True)
    binary = out / "replay"
    files = [CSRC / "fuzz" / "replay.c", *sources("tap"), *objects]
    subprocess.run([compiler, *flags, *map(str, files), "-o", str(binary)], check=True)
    return binary


def seed(target: str, where: Path) -> None:
    """A TCP super-segment and its wire frames, over IPv4 and IPv6, in the form that the target wants."""
    for version in (4, 6):
        ip = b"\x45" + bytes(7) + b"\x40\6" + bytes(10) if version == 4 else b"\x60" + bytes(39)
        template = bytes(12) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + ip
        options = lib.TRL_OPT_TIMESTAMP | lib.TRL_OPT_MSS | lib.TRL_OPT_WSCALE | lib.TRL_OPT_SACK_PERMITTED
        seg = ffi.new("struct trl_tcp_out *", {"tcp_options": options, "payload_len": 90, "tcp_flags": 24})
        out = bytearray(150)
        n = lib.trl_tcp_emit(ffi.from_buffer(out), 150, template, len(template), 14, seg)
        frame = Frame(out[:n], (bytes(range(90)),), gso_size=30, csum_start=len(template), csum_offset=16)
        whole, pieces = bytes(frame), frame.segments()
        content = b"\1" + whole
        if target == "options":
            content = bytes(out[len(template) + 20 : n])
        elif target == "gso":
            content = b"\1\x1e\0\x28" + whole
        elif target == "gro":
            content = b"\1" + b"".join(bytes([len(f), 0]) + f for f in pieces)
        elif target == "emit":
            fields = bytes(12) + bytes(range(16)) + b"\xff\xff\0\x18\0\x0f\0\7"
            content = fields + bytes([14, len(template), 3, 0, 3, 0, 90, 1]) + template + bytes(range(90))
        elif target == "guard":
            syn = bytearray(pieces[0][: len(pieces[0]) - 30])
            ours = bytes([2, 0, 0, 0, 0, 1])
            if version == 4:
                syn[30:34], syn[26:30] = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
                syn[16:18] = (len(syn) - 14).to_bytes(2, "big")
            else:
                syn[38:54], syn[22:38] = b"\xfd" + bytes(15), b"\xfd" + bytes(14) + b"\2"
                syn[18:20] = (len(syn) - 54).to_bytes(2, "big")
            syn[:6] = ours
            at = len(template)
            syn[at : at + 4], syn[at + 13] = bytes([4, 0, 0, 80]), 2
            syn[at + 16 : at + 18] = bytes(2)
            if version == 4:
                syn[24:26] = bytes(2)
                syn[24:26] = lib.trl_checksum(bytes(syn[14:34]), 20, 0).to_bytes(2, "big")
            alen, first = (4, 26) if version == 4 else (16, 22)
            sum_ = lib.trl_l4_checksum(
                bytes(syn[first : first + alen]), bytes(syn[first + alen : first + 2 * alen]), alen, 6,
                bytes(syn[at:]), len(syn) - at,
            )  # fmt: skip
            syn[at + 16 : at + 18] = sum_.to_bytes(2, "big")
            content = b"\x01" + bytes([len(syn)]) + bytes(syn)
        elif target == "tap":
            header = bytes([1, 1 if version == 4 else 4]) + ffi.buffer(
                ffi.new("uint16_t[]", [n, 30, len(template), 16, 0])
            )[:]
            for name, flags, prefix in (("vnet", 3, header), ("plain", 6, b"")):
                messages = [prefix + f for f in ([whole] if prefix else pieces)]
                body = b"".join(len(m).to_bytes(2, "little") + m for m in messages)
                (where / f"{name}{version}").write_bytes(bytes([flags]) + body)
            how = [len(whole), 30, len(template), 16]
            content = b"".join(value.to_bytes(2, "little") for value in how) + b"\x40\0" + whole
            (where / f"out{version}").write_bytes(b"\x0a" + content)
            content = b"\x0b" + content
        (where / f"v{version}").write_bytes(content)


def unpack(target: str, where: Path) -> list[Path]:
    """The kept corpus of a target, as files in `where`."""
    kept = CORPUS / f"{target}.zip"
    if kept.exists():
        with zipfile.ZipFile(kept) as archive:
            archive.extractall(where)
    return sorted(where.iterdir())


def pack(target: str, inputs: Path) -> int:
    """Keep these inputs instead. The same inputs give the same archive."""
    files = sorted(inputs.iterdir())
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(files)


def fuzz(binary: Path, corpus: Sequence[Path], where: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a fuzzer in `where`, which keeps the input that makes it fail."""
    target = binary.name.removeprefix("fuzz_")
    command = [str(binary), f"-max_len={TARGETS[target]}", "-detect_leaks=0", "-timeout=20", "-print_final_stats=1"]
    return subprocess.run([*command, *options, *map(str, corpus)], cwd=where, capture_output=True, text=True)


def totals() -> dict[str, list[int]]:
    """Per target: seconds, executions, edges, features, inputs kept."""
    found = {}
    if TOTALS.exists():
        for line in TOTALS.read_text().splitlines():
            if not line.startswith("#") and line.strip():
                name, *numbers = line.split()
                found[name] = [int(number) for number in numbers]
    return {target: found.get(target, [0] * 5) for target in TARGETS}


def write_totals(table: dict[str, list[int]]) -> None:
    rows = [f"{name:<9} {t:>8} {n:>12} {e:>7} {f:>9} {k:>12}\n" for name, (t, n, e, f, k) in table.items()]
    seconds, runs = (sum(row[i] for row in table.values()) for i in (0, 1))
    TOTALS.write_text(HEAD + "".join(rows) + f"# all {seconds:>12} {runs:>12}\n")


def campaign(target: str, seconds: int, work: Path, keep: bool) -> bool:
    """One target's turn. Whether it ended well."""
    binary = build(target, work)
    found, minimal = work / f"{target}.found", work / f"{target}.minimal"
    for directory in (found, minimal):
        directory.mkdir()
    seed(target, found)
    unpack(target, found)
    done = fuzz(binary, [found], work, f"-max_total_time={seconds}", "-use_value_profile=1")
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    state = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    if done.returncode or runs is None or not state:
        print(f"{target}: failed, the input is in {work}\n{done.stderr[-3000:]}", file=sys.stderr)
        return False
    print(f"{target:<9} {seconds:>6} s  {runs[1]:>11} executions  {state[-1][0]:>5} edges", flush=True)
    if keep:
        merged = fuzz(binary, [minimal, found], work, "-merge=1")
        if merged.returncode:
            print(f"{target}: merging failed\n{merged.stderr[-3000:]}", file=sys.stderr)
            return False
        summary = re.findall(r"(\d+) new coverage edges|(\d+) new features added", merged.stderr)
        edges = [int(a) for a, _ in summary if a] or [int(state[-1][0])]
        features = [int(b) for _, b in summary if b] or [int(state[-1][1])]
        table = totals()
        row = table[target]
        row[:] = [row[0] + seconds, row[1] + int(runs[1]), edges[-1], features[-1], pack(target, minimal)]
        write_totals(table)
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description="Fuzz the leaves in C.")
    parser.add_argument("--minutes", type=float, default=10, help="in total, shared by the targets (10)")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only this one (may be repeated)")
    parser.add_argument("--keep", action="store_true", help="minimise what was found into csrc/fuzz/corpus")
    args = parser.parse_args(argv)
    if shutil.which("clang") is None:
        print("clang is not installed: apt-get install clang", file=sys.stderr)
        return 2
    chosen = args.target or list(TARGETS)
    work = Path(tempfile.mkdtemp(prefix="terrella-fuzz-"))
    seconds = max(1, round(args.minutes * 60 / len(chosen)))
    failed = [target for target in chosen if not campaign(target, seconds, work, args.keep)]
    if failed:
        return 1
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
