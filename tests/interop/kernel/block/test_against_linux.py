"""/dev/vda beside a loop device of the host's kernel: the same program on both, the same answers; and the text of
/proc/diskstats, /proc/partitions and strace.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop
HERE = Path(__file__).parent
SIZE = 128 * 512 * 3
STATS = re.compile(r" *(\d+) +(\d+) (\S+)((?: \d+){17})")


@pytest.fixture
def loop(tmp_path: Path, need: Callable[..., None]) -> Iterator[Callable[..., str]]:
    """`loop("-r")` is a loop device over a new file."""
    need("losetup", root=True)
    made: list[str] = []

    def make(*options: str) -> str:
        image = tmp_path / f"loop{len(made)}"
        image.write_bytes(bytes(SIZE))
        done = subprocess.run(["losetup", "-f", "--show", *options, str(image)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop device: {done.stderr.strip()}")
        made.append(done.stdout.strip())
        return made[-1]

    yield make
    for device in made:
        subprocess.run(["losetup", "-d", device], check=True)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def inside(terrella: str, where: Path, *options: str, program: str = "answers.py") -> subprocess.CompletedProcess[str]:
    for name in ("a", "b"):
        (where / name).write_bytes(bytes(SIZE))
    return run(
        terrella, "run", "--disk", f"{where / 'a'}", "--disk", f"{where / 'b'},ro", *options, str(HERE / program),
        "/dev/vda", str(SIZE), "/dev/vdb",
    )  # fmt: skip


@pytest.mark.parametrize("disk", ["", ",drive=hdd,scheduler=deadline,depth=1"])
def test_the_same_answers(terrella: str, tmp_path: Path, loop: Callable[..., str], disk: str) -> None:
    theirs = run(terrella, "run", "--on-linux", str(HERE / "answers.py"), loop(), str(SIZE), loop("-r"))
    assert theirs.returncode == 0, theirs.stderr
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(SIZE))
    ours = run(
        terrella, "run", "--disk", f"{tmp_path / 'a'}{disk}", "--disk", f"{tmp_path / 'b'},ro",
        str(HERE / "answers.py"), "/dev/vda", str(SIZE), "/dev/vdb",
    )  # fmt: skip
    assert ours.returncode == 0, ours.stderr
    lacks = ("BLKDISCARD", "discard")  # an image file can't, a loop device can
    pairs = list(zip(ours.stdout.splitlines(), theirs.stdout.splitlines(), strict=True))
    assert [a for a, b in pairs if a != b and not a.startswith(lacks)] == [
        b for a, b in pairs if a != b and not a.startswith(lacks)
    ]
    assert len(pairs) > 450


def test_diskstats_and_partitions_are_written_as_linux_writes_them(terrella: str, tmp_path: Path) -> None:
    host = Path("/proc/diskstats").read_text().splitlines()
    if not host:
        pytest.skip("the host has no block device")
    (tmp_path / "a").write_bytes(bytes(SIZE))
    program = "cat /proc/diskstats /proc/partitions"
    done = run(terrella, "sh", "--disk", str(tmp_path / "a"), "-c", program)
    line, *partitions = done.stdout.splitlines()
    for one in (*host, line):
        match = STATS.fullmatch(one)
        assert match is not None, one
        assert one == f"{int(match[1]):4d} {int(match[2]):7d} {match[3]}{match[4]}"
    theirs = Path("/proc/partitions").read_text().splitlines()
    assert partitions[:2] == theirs[:2]
    for one in (*theirs[2:], *partitions[2:]):
        major, minor, blocks, name = one.split()
        assert one == f"{int(major):4d}  {int(minor):7d} {int(blocks):10d} {name}"


def test_strace_prints_the_ioctls_as_strace_does(
    terrella: str, tmp_path: Path, loop: Callable[..., str], need: Callable[..., None]
) -> None:
    need("strace")
    device = loop()
    log = tmp_path / "log"
    theirs = run(
        "strace", "-f", "-o", str(log), "-e", "trace=ioctl", "-P", device, terrella, "run", "--on-linux",
        str(HERE / "answers.py"), device, str(SIZE), loop("-r"),
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr
    ours = inside(terrella, tmp_path, "--strace")

    def block(text: str) -> list[str]:
        found = [re.sub(r"^\d+ +", "", line) for line in text.splitlines() if "BLK" in line]
        found = [re.sub(r"ioctl\(\d+", "ioctl(N", re.sub(r"\s+=", " =", line)) for line in found]
        return [line for line in found if line.startswith("ioctl(") and "BLKDISCARD" not in line]

    expected, got = block(log.read_text()), block(ours.stderr)
    assert len(expected) > 15
    assert got[: len(expected)] == expected
