"""packetdrill's shared-object interface: a driver that does what packetdrill does, against the library and the machine
behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.unit.tools.packetdrill.so_machine import machine
from tools.packetdrill.runner import run_text
from tools.packetdrill.so.build import build

HERE = Path(__file__).parent
ROOT = HERE.parents[3]

EXPECTED = """\
socket good, setsockopt 0
bind 0 listen 0
accept -1 Resource temporarily unavailable
100000 out flags 0x12 seq 0 ack 1 length 0
200000 accepted from port 40000
500000 read 10
500000 out flags 0x10 seq 1 ack 11 length 0
600000 write 1000
600000 out flags 0x10 seq 1 ack 11 length 536
600000 out flags 0x18 seq 537 ack 11 length 464
900000 out flags 0x10 seq 1 ack 11 length 536
getsockopt 0 state 1 unacked 2
the C library's: 0 1
sysctl 0
unknown setting 1
shell 3
poll 1 revents 4
close 0
close -1 Bad file descriptor
at 900000
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(the library, the driver)"""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        missing("there is no C compiler")
    where = tmp_path_factory.mktemp("so")
    driver = where / "driver"
    done = subprocess.run([compiler, "-O1", "-o", driver, HERE / "driver.c", "-ldl", "-pthread"], capture_output=True)
    assert not done.returncode, done.stderr.decode()
    return build(where), driver


def drive(
    built: tuple[Path, Path], flags: str = "", preload: bool = True, **environ: str
) -> subprocess.CompletedProcess[str]:
    library, driver = built
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERRELLA_PYTHON": sys.executable, **environ}
    if preload:
        env["LD_PRELOAD"] = str(library)
    return subprocess.run([driver, library, flags], capture_output=True, text=True, env=env, timeout=60, cwd=ROOT)


def test_a_connection_in_virtual_time(built: tuple[Path, Path]) -> None:
    done = drive(built)
    assert done.stdout == EXPECTED, done.stderr
    assert drive(built).stdout == EXPECTED  # and the same again


def test_without_preload_only_the_interface_reaches_the_machine(built: tuple[Path, Path]) -> None:
    done = drive(built, preload=False)
    assert "the C library's: -1 0" in done.stdout
    assert "sysctl" not in done.stdout
    assert done.stdout.endswith("at 900000\n")


def test_flags_set_the_machine_up(built: tuple[Path, Path], tmp_path: Path) -> None:
    capture = tmp_path / "run.pcapng"
    done = drive(built, f"net.ipv4.tcp_rto_min_us=500000,pcap={capture}")
    # The minimum counts for the variance, which is not negative: 100 ms of round trip, 500 ms on top.
    assert "1200000 out flags 0x10 seq 1 ack 11 length 536" in done.stdout
    assert capture.stat().st_size > 500


def test_wrong_flags_are_said(built: tuple[Path, Path]) -> None:
    done = drive(built, "net.ipv4.tcp_sak=1")
    assert done.returncode == 1
    assert "did you mean net.ipv4.tcp_sack" in done.stderr


def test_no_interpreter_is_said(built: tuple[Path, Path]) -> None:
    done = drive(built, TERRELLA_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "cannot start /nowhere/python" in done.stderr


CONFORMANCE = ROOT / "tests" / "conformance" / "tcp"


@pytest.mark.parametrize("name", ["handshake-active-blocking", "epoll-edge", "icmp-recverr"])
def test_a_script_passes(built: tuple[Path, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At tolerance 0, like inside: calls, packets and times cross the library unchanged."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    passes(CONFORMANCE / f"{name}.pkt", built[0])


@pytest.mark.soak
@pytest.mark.parametrize("path", sorted(CONFORMANCE.glob("*.pkt")), ids=lambda path: path.stem)
def test_every_script_passes(built: tuple[Path, Path], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(word in path.read_text() for word in ONLY_INSIDE):
        pytest.skip("needs what packetdrill's interface has not")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    passes(path, built[0])


ONLY_INSIDE = ("getsockname", "getpeername", "accept4", "mss=", "--strict_segments", "--bind_port", "sendfile")


def passes(path: Path, library: Path) -> None:
    verdict = run_text(path.read_text(), str(path), machine=machine(library))  # type: ignore[arg-type]
    assert verdict.passed, f"{verdict.error}\n{verdict.error and verdict.error.actual}"
