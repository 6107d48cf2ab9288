"""Every script of this folder passes; and the runner is strict: any expectation changed, and the script fails.

The scripts each hold one rule, named in their first line. That the runner would notice is tested on every field of
every packet that they expect: against a changed field the packet that really came is not accepted
(`test_every_field`). Every time, length and result, and all fields of some scripts, are changed and run whole.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.mutation import answers, mutants, orders, packets
from tools.packetdrill import runner as running
from tools.packetdrill import wire
from tools.packetdrill.compare import difference
from tools.packetdrill.parser import parse
from tools.packetdrill.runner import Runner, run_file, run_text
from tools.packetdrill.script import Script, TcpPacket
from tools.packetdrill.verdict import Verdict

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("tcp/*.pkt"))
IDS = [path.stem for path in SCRIPTS]


def run_script(script: Script) -> Verdict:
    try:
        runner = Runner(script)
    except running.ScriptError as error:
        return Verdict(script.path, False, 0, error)
    try:
        return runner.run()
    finally:
        runner.host.close()


def unclaimed(runner: Runner) -> list[str]:
    """What the stack sent on the script's connections until its last event, and no line speaks of."""
    left = [wire.read(image, at) for at, image in runner.host.sent]
    return [runner.text(live) for live in left if live is not None and (live.sport, live.dport) in runner.flows]


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_script(path: Path) -> None:
    runner = Runner(parse(path.read_text(), str(path)))
    try:
        verdict = runner.run()
        assert verdict.passed, f"{verdict.error}\n{verdict.error and verdict.error.actual}"
        assert not unclaimed(runner), "came, and no line expects it"
    finally:
        runner.host.close()


def test_each_names_its_rule() -> None:
    for path in SCRIPTS:
        first, second = path.read_text().splitlines()[:2]
        assert re.match(r"// .{20,}", first), path
        assert second == "--tolerance_usecs=0", path
    rules = [path.read_text().splitlines()[0] for path in SCRIPTS]
    assert len(set(rules)) == len(rules) > 100


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_every_field(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the script runs, each packet that came is held against its expectation with one field changed."""
    compared = 0

    def strict(wanted: Any, actual: Any) -> str | None:
        nonlocal compared
        if isinstance(wanted, TcpPacket):
            for what, changed in packets(wanted, first_ts=False):
                if "TS value 0" not in what:  # the clock is judged by time: see test_whole_runs
                    assert difference(changed, actual) is not None, f"{what} makes no difference: {wanted}"
                    compared += 1
        return difference(wanted, actual)

    monkeypatch.setattr(running, "difference", strict)
    assert run_file(str(path)).passed
    assert compared or " > " not in path.read_text()


WHOLE = ("handshake-active", "close-half", "fast-retransmit-sack", "timestamps-echo", "persist", "msg-waitall")


@pytest.mark.parametrize("name", WHOLE)
def test_whole_runs(name: str) -> None:
    """All mutants of some scripts, each run from the beginning."""
    script = parse((HERE / "tcp" / f"{name}.pkt").read_text(), name)
    assert run_script(script).passed
    count = 0
    for what, mutant in mutants(script):
        assert not run_script(mutant).passed, what
        count += 1
    assert count > 20


@pytest.mark.parametrize("share", range(4))
def test_times_and_results(share: int) -> None:
    """Of every script: each time, length, result and number that code wants, run from the beginning."""
    for path in SCRIPTS[share::4]:
        if path.stem in WHOLE:
            continue
        script = parse(path.read_text(), path.stem)
        for what, mutant in mutants(script):
            if what.endswith((": time", ": return", ": length", ": result", ": errno", "TS value 0")) or "==" in what:
                assert not run_script(mutant).passed, f"{path.stem} {what}"


@pytest.mark.parametrize("share", range(2))
def test_answers(share: int) -> None:
    """Of every script: each value that a call gives back, and each IP field."""
    count = 0
    for path in SCRIPTS[share::2]:
        script = parse(path.read_text(), path.stem)
        for what, mutant in answers(script):
            assert not run_script(mutant).passed, f"{path.stem} {what}"
            count += 1
    assert count > 200


def test_orders() -> None:
    """Of some scripts: a packet more, and two packets the other way round."""
    count = 0
    for path in SCRIPTS[::25]:
        script = parse(path.read_text(), path.stem)
        for what, mutant in orders(script):
            assert not run_script(mutant).passed, f"{path.stem} {what}"
            count += 1
    assert count > 50


def test_a_packet_that_no_line_expects_is_seen() -> None:
    runner = Runner(parse(SERVER + "   +0 write(4, ..., 10) = 10\n   +0 close(4) = 0\n"))
    assert runner.run().passed
    assert len(unclaimed(runner)) == 2
    runner.host.close()


SERVER = """--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 64240 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 60000
   +0 accept(3, ..., ...) = 4
"""


@pytest.mark.parametrize(
    ("extra", "kind", "said"),
    [
        ("   +0 `iptables -A INPUT -j DROP`\n", "unsupported", "iptables"),
        ("   +0 `sysctl -q net.ipv4.tcp_nosuch=1`\n", "unsupported", "tcp_nosuch"),
        ("   +0 `ip route change 192.0.2.0/24 dev tun0 nosuch 3`\n", "unsupported", "nosuch"),
        ("   +0 frobnicate(4) = 0\n", "unsupported", "frobnicate"),
        ("   +0 setsockopt(4, SOL_TCP, TCP_NOSUCH, [1], 4) = 0\n", "unsupported", "TCP_NOSUCH"),
        ("   +0 %{ assert nosuch == 1 }%\n", "unsupported", "nosuch"),
        ("   +0 %{ assert tcpi_snd_cwnd == 11, 'cwnd' }%\n", "mismatch", "cwnd"),
        ("   +0 read(4, ..., 10) = 10\n", "mismatch", "blocks"),
        ("   +0 < P. 1:11(9) ack 1 win 100\n", "syntax", "end is not"),
        ("   +0 nonsense\n", "syntax", "expected"),
        ("   +1 > . 1:1(0) ack 1\n", "mismatch", "none came"),
        ("   +0 write(4, ..., 10) = 10\n   +1 > P. 1:11(10) ack 1\n", "mismatch", "timing"),
        ("   +0 < P. 1:11(10) ack 1 win 100 <nop,nop,TS val 1 ecr 5>\n", "syntax", "TS ecr 5"),
        ("`touch /tmp/x`\n", "unsupported", "touch"),
    ],
)  # fmt: skip
def test_what_does_not_pass(extra: str, kind: str, said: str) -> None:
    assert run_text(SERVER).passed
    verdict = run_text(SERVER + extra)
    assert not verdict.passed
    assert verdict.error is not None
    assert verdict.error.kind == kind
    assert said in str(verdict.error)
    assert verdict.error.line == SERVER.count("\n") + extra.count("\n")


@pytest.mark.parametrize("option", ["--nosuch=1", "--non_fatal=all", "--wire_client", "--ip_version=ipv5"])
def test_unknown_options_are_reported(option: str) -> None:
    verdict = run_text(option + "\n" + SERVER)
    assert verdict.error is not None
    assert verdict.error.kind == "unsupported"


def test_careless_timestamps() -> None:
    """Most TS vals off the script's own times: not checked; a single one, or with the option set: checked."""
    start = """    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
   +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
   +0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>
 +.01 < S. 0:0(0) ack 1 win 5792 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale 7>
   +0 > . 1:1(0) ack 1 <nop,nop,TS val 200 ecr 700>
"""
    more = "   +0 < . 1:1001(1000) ack 1 win 514\n   +0 > . 1:1(0) ack 1001 <nop,nop,TS val 200 ecr 700>\n"
    assert not run_text(start).passed
    assert run_text(start + more).passed
    assert not run_text("--tcp_ts_tick_usecs=1000\n" + start + more).passed
    good, copied = start.replace("TS val 200", "TS val 110"), "+.1" + more[5:].replace("TS val 200", "TS val 110")
    assert run_text(good + copied).passed
    assert not run_text("--tcp_ts_tick_usecs=1000\n" + good + copied).passed
    assert not run_text(good + copied.replace("TS val 110", "TS val 111")).passed
    assert run_text("--tcp_ts_tick_usecs=0\n" + start).passed


def test_mapped_addresses() -> None:
    """IPv6 sockets, IPv4 packets; and the other way the script's families are its own."""
    mapped = "--ip_version=ipv4-mapped-ipv6\n"
    peer = '   +0 getpeername(4, {sa_family=AF_INET6, sin6_addr=inet_pton(AF_INET6, "%s")}, ...) = 0\n'
    assert run_text(mapped + SERVER + peer % "::ffff:192.0.2.1").passed
    assert not run_text(mapped + SERVER + peer % "::ffff:192.0.2.2").passed
    assert not run_text(SERVER + peer % "::ffff:192.0.2.1").passed


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", "packetdrill", *args], capture_output=True, text=True, cwd=HERE.parents[1]
    )


def test_command(tmp_path: Path) -> None:
    """Exit 0 when all passed, 1 when some did not, 2 for wrong usage; --json; a capture of the failure."""
    good = tmp_path / "good.pkt"
    good.write_text(SERVER)
    bad = tmp_path / "bad.pkt"
    bad.write_text(SERVER + "   +0 write(4, ..., 100) = 100\n   +0 > P. 1:101(100) ack 2\n")
    assert command(str(good)).returncode == 0
    done = command("--captures", str(tmp_path / "out"), str(good), str(bad))
    assert done.returncode == 1
    assert "ok    " in done.stdout
    assert "ack: expected 2, got 1" in done.stdout
    assert (tmp_path / "out" / "bad.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    done = command("--json", str(good), str(bad), str(tmp_path / "missing.pkt"))
    assert done.returncode == 1
    first, second, third = json.loads(done.stdout)
    assert first["passed"] and "error" not in first
    assert second["error"]["line"] == SERVER.count("\n") + 2
    assert second["error"]["kind"] == "mismatch"
    assert third["error"]["kind"] == "syntax"
    assert third["error"]["message"] == "cannot be read: No such file or directory"
    assert command().returncode == 2
    assert command("-D", "NOVALUE", str(good)).returncode == 2


@pytest.mark.parametrize(
    ("head", "line", "kind", "said"),
    [
        ("// a\n`sysctl -q net.ipv4.tcp_sack=1\nsysctl -q net.ipv4.tcp_sack=7000`\n", 2, "mismatch", "0 to 255"),
        ("`sysctl -q net.ipv4.tcp_sack=1`\n`sysctl -q net.ipv4.tcp_nosuch=1`\n", 2, "unsupported", "tcp_nosuch"),
        ("// a\n--tolerance_usecs=0\n--mtu=67\n", 3, "unsupported", "68 to 65535"),
        ("// a\n--mtu=1279\n--ip_version=ipv6\n", 2, "unsupported", "IPv6 needs 1280"),
    ],
)  # fmt: skip
def test_what_is_wrong_before_the_first_event_has_its_line(head: str, line: int, kind: str, said: str) -> None:
    verdict = run_text(head + SERVER.partition("\n")[2])
    assert verdict.error is not None and said in verdict.error.message
    assert (verdict.error.line, verdict.error.kind) == (line, kind)


def test_what_the_command_cannot_do_is_said(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pkt"
    bad.write_text(SERVER + "   +0 write(4, ..., 100) = 100\n   +0 > P. 1:101(100) ack 2\n")
    done = command("--captures", str(bad), str(bad))
    wanted = f"terrella: --captures {bad}: it is a file, and a directory is wanted\n"
    assert (done.returncode, done.stderr) == (2, wanted)
    done = command(str(tmp_path), str(tmp_path / "missing.pkt"))
    assert done.stdout == (
        f"error {tmp_path}: is a directory: name the scripts in it\n"
        f"error {tmp_path}/missing.pkt: cannot be read: No such file or directory\n"
    )
    other = tmp_path / "other" / "bad.pkt"
    other.parent.mkdir()
    other.write_text(bad.read_text())
    done = command("--captures", str(tmp_path / "out"), str(bad), str(other))
    assert done.returncode == 1
    first, second = (tmp_path / "out" / name for name in ("bad.pcapng", "2/bad.pcapng"))
    assert first.read_bytes() == second.read_bytes() != b""


def test_defines() -> None:
    text = SERVER + "   +0 write(4, ..., SIZE) = SIZE\n   +0 > P. 1:101(100) ack 1\n"
    assert not run_text(text).passed
    assert run_text(text, options={"define": "SIZE=100"}).passed
    assert run_text("--define=SIZE=100\n" + text).passed
    assert not run_text("--define=SIZE=100\n" + text, options={"define": "SIZE=99"}).passed


def test_options_of_the_command_line_win() -> None:
    """As in packetdrill; the script's hold where the command line says nothing."""
    late = SERVER.replace("--tolerance_usecs=0\n", "") + "   +0 write(4, ..., 9) = 9\n+.005 > P. 1:10(9) ack 1\n"
    assert not run_text(late).passed
    assert run_text(late, options={"tolerance_usecs": "6000"}).passed
    assert run_text("--tolerance_usecs=6000\n" + late).passed
    assert not run_text("--tolerance_usecs=6000\n" + late, options={"tolerance_usecs": "1000"}).passed
    assert run_text("--tolerance_usecs=1\n" + late, options={"tolerance_usecs": "6000"}).passed


def test_a_script_can_be_changed_and_run_again() -> None:
    """Nothing of a run is left behind for the next."""
    script = parse(SERVER)
    assert run_script(script).passed
    assert run_script(replace(script, options={"tolerance_usecs": "1"})).passed
