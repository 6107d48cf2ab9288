"""What the tests of this folder share: machines on a TAP, the flood generator, and how much memory a process holds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.interop.up_machine import Up

SOURCE = Path(__file__).with_name("flood.c")
Start = Callable[..., Up]


@pytest.fixture
def up(netns: Callable[[], Any], need: Callable[..., None], terrella: str, tmp_path: Path) -> Iterator[Start]:
    """`up(*options)`: a machine in a namespace of its own, whose neighbour entry for it is made."""
    need("ip", "ping", "curl", root=True)
    started: list[Up] = []

    def start(*options: str) -> Up:
        machine = Up(netns(), terrella, tmp_path, *options)
        started.append(machine)
        machine.run("ping", "-q", "-c", "1", "10.0.0.2")
        return machine

    yield start
    for machine in started:
        if machine.process.poll() is None:
            machine.stop()


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled flood.c."""
    out = tmp_path_factory.mktemp("flood") / "flood"
    try:
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(out), str(SOURCE)], check=True)
    except FileNotFoundError:
        missing("gcc is not installed")
    return out


class Flood:
    """A flood on its way. `finish` gives how many frames were sent, and in how many seconds."""

    def __init__(self, machine: Up, generator: Path, kind: str, rate: int, seconds: int, port: int = 80) -> None:
        listing = machine.run("ip", "-o", "neigh", "show", "10.0.0.2")
        mac = listing.split("lladdr ")[1].split()[0]
        self.process = machine.namespace.popen(
            str(generator), "tap0", kind, str(rate), str(seconds), "10.0.0.1", "10.0.0.2", mac, str(port),
            stdout=subprocess.PIPE,
        )  # fmt: skip

    @property
    def running(self) -> bool:
        return bool(self.process.poll() is None)

    def finish(self) -> tuple[int, float]:
        sent, taken, _ = self.process.communicate(timeout=300)[0].split()
        return int(sent), int(taken) / 1e9


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def processor_seconds(pid: int) -> float:
    """User and system time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slope(samples: list[tuple[float, float]]) -> float:
    """The least-squares line through (time, value): value per unit of time."""
    n = len(samples)
    mean_t = sum(t for t, _ in samples) / n
    mean_v = sum(v for _, v in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread


def fetch(machine: Up, size: int = 100_000, patience: int = 120) -> None:
    """The page comes, whole."""
    got = machine.shell(f"curl -sS -m {patience} http://10.0.0.2/bytes/{size} | wc -c", timeout=patience + 10)
    assert int(got) == size
