"""packetdrill's shared-object interface: a driver that does what packetdrill does, against the library and the machine
behind it."""

from __future__ import annotations

import os
import re
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
300000 goes on
300000 read came back at 500000: good
500000 out flags 0x10 seq 1 ack 11 length 0
600000 write 1000
600000 out flags 0x10 seq 1 ack 11 length 536
600000 out flags 0x18 seq 537 ack 11 length 464
900000 out flags 0x10 seq 1 ack 11 length 536
getsockopt 0 state 1 unacked 2
negative length -1 Invalid argument
code: TCP_INFO 0, 288 bytes TCP_CC_INFO 0, 0 bytes SO_MEMINFO 0, 36 bytes
ioctl 0 1000
sysctl 0
unknown setting 1
its own port 0
no such port 1
shell 3
poll 1 revents 4
pipe 0 splice 2
close 0
close -1 Bad file descriptor
at 900000
after the end 0
socket good, setsockopt 0
bind 0 listen 0
200000 out flags 0x12 seq 0 ack 1 length 0
100000 accept came back at 300000: good
450000 out flags 0x10 seq 1 ack 11 length 0
400000 read came back at 450000: good
500000 write came back at 500000: good
500010 goes on
500000 out flags 0x18 seq 1 ack 11 length 536
dd 0
sendfile 200 at 300 read 300 close 0
500010 out flags 0x18 seq 537 ack 11 length 200
500010 out flags 0x11 seq 737 ack 11 length 0
nothing came: 0 bytes
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
    built: tuple[Path, Path], flags: str = "", preload: bool = True, file: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    library, driver = built
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERRELLA_PYTHON": sys.executable, **environ}
    if preload:
        env.update(LD_PRELOAD=str(library), PRELOADED="1")
    words = [driver, library, flags, *([file] if file else [])]
    return subprocess.run(words, capture_output=True, text=True, env=env, timeout=900, cwd=ROOT)


def test_two_scripts_in_virtual_time(built: tuple[Path, Path], tmp_path: Path) -> None:
    """One process, two machines; and the same again."""
    for _ in range(2):
        done = drive(built, file=tmp_path / "file")
        assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
        assert "none will ever be sent" in done.stderr
    assert (tmp_path / "file").read_bytes() == bytes(300)


def test_without_preload_only_the_interface_reaches_the_machine(built: tuple[Path, Path]) -> None:
    """What a script left open is closed all the same: with the C library's close()."""
    done = drive(built, preload=False)
    assert "code: TCP_INFO -1" in done.stdout
    wanted = [line for line in EXPECTED.split("after the end 0")[0].splitlines() if line.split()[0] not in PRELOAD_ONLY]
    got = [line for line in done.stdout.splitlines() if line.split()[0] not in PRELOAD_ONLY]
    assert got[: len(wanted)] == wanted
    assert done.returncode == 0


PRELOAD_ONLY = {"code:", "sysctl", "unknown", "its", "no", "mlockall", "dd"}


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


def test_an_end_in_the_other_thread(built: tuple[Path, Path], tmp_path: Path) -> None:
    """packetdrill gives up where it finds the mistake; the capture is whole when it is gone."""
    capture = tmp_path / "run.pcapng"
    done = drive(built, f"pcap={capture}", DIES="1")
    assert done.returncode == 7
    assert capture.stat().st_size > 500


def test_the_end_while_a_call_blocks(built: tuple[Path, Path]) -> None:
    """packetdrill says what was wrong after it has freed the machine: the thread that waits must not end it before."""
    done = drive(built, FREES="1")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (5, "what is wrong")


def test_no_interpreter_is_said(built: tuple[Path, Path]) -> None:
    done = drive(built, TERRELLA_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "cannot start /nowhere/python" in done.stderr


CONFORMANCE = ROOT / "tests" / "conformance" / "tcp"

ADDRESSES = """\
--tolerance_usecs=0
--local_ip={}
--ip_version={}
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <...>
"""


@pytest.mark.parametrize(
    ("local", "version"),
    [("192.168.201.14", "ipv4"), ("fd3d:fa7b:d17d:1::7", "ipv6"), ("192.168.9.9", "ipv4-mapped-ipv6")],
)
def test_the_local_address_is_packetdrills_choice(
    built: tuple[Path, Path], local: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script without --local_ip gets a random one, of which the library hears first in bind()."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    remote = {"remote_ip": "2001:db8::1"} if version == "ipv6" else {}
    text = ADDRESSES.format(local, version)
    verdict = run_text(text, options=remote, machine=machine(built[0], anywhere=True))  # type: ignore[arg-type]
    assert verdict.passed, verdict.error


KEEPALIVE = """\
--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <...>
  +.1 < . 1:1(0) ack 1 win 60000
   +0 accept(3, ..., ...) = 4
   +0 setsockopt(4, SOL_SOCKET, SO_KEEPALIVE, [1], 4) = 0
+7200 > . 0:0(0) ack 1
  +75 > . 0:0(0) ack 1
"""


def test_a_packet_may_take_hours(built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """packetdrill asks for it at once, and waits without a limit."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    verdict = run_text(KEEPALIVE, machine=machine(built[0]))  # type: ignore[arg-type]
    assert verdict.passed, verdict.error


BULK = """\
--tolerance_usecs=0
{}
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
  +.1 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <...>
  +.1 < . 1:1(0) ack 1 win 60000
   +0 accept(3, ..., ...) = 4
   +0 write(4, ..., 2000) = 2000
   +0 > P. 1:2001(2000) ack 1
  +.1 < P. 1:3001(3000) ack 2001 win 60000
   +0 > . 2001:2001(0) ack 3001
   +0 %{{ assert tcpi_data_segs_in == {}, tcpi_data_segs_in }}%
"""


@pytest.mark.parametrize(("option", "flag", "segments"), [("--mss=1000", ",mss=1000", 3), ("--strict_segments", "", 1)])
def test_flags_stand_for_options(
    built: tuple[Path, Path], option: str, flag: str, segments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = BULK.format(option, segments)
    verdict = run_text(text, machine=machine(built[0], flag))  # type: ignore[arg-type]
    assert verdict.passed, f"{verdict.error} {verdict.error and verdict.error.actual}"
    unsaid = run_text(text, machine=machine(built[0], ",strict_segments=0"))  # type: ignore[arg-type]
    assert not unsaid.passed


UNSAYABLE = r"(getpeername|epoll_create1|dup): packetdrill cannot say that|one call that blocks at a time"
"""What packetdrill's interface has no member for, and its one thread for calls that block."""


@pytest.mark.parametrize("name", ["handshake-active-blocking", "epoll-edge-out", "icmp-recverr", "route-metrics-kept"])
def test_a_script_passes(built: tuple[Path, Path], name: str) -> None:
    """At tolerance 0, like inside: calls, packets and times cross the library unchanged."""
    passes(CONFORMANCE / f"{name}.pkt", built[0])


@pytest.mark.soak
@pytest.mark.parametrize("path", sorted(CONFORMANCE.glob("*.pkt")), ids=lambda path: path.stem)
def test_every_script_passes(built: tuple[Path, Path], path: Path) -> None:
    passes(path, built[0])


def passes(path: Path, library: Path) -> None:
    options = dict(re.findall(r"^--(mss)=(\d+)", path.read_text(), re.MULTILINE))
    more = f",mss={options['mss']}" if options else ""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("PYTHONPATH", str(ROOT))
        verdict = run_text(path.read_text(), str(path), machine=machine(library, more))  # type: ignore[arg-type]
    if verdict.error is not None and verdict.error.kind == "unsupported":
        assert re.search(UNSAYABLE, verdict.error.message), verdict.error
        pytest.skip(verdict.error.message)
    assert verdict.passed, f"{verdict.error}\n{verdict.error and verdict.error.actual}"
