"""Who asks why (netstack/tcp/why.py) is told of every segment of every script, and sees the same segments."""

from __future__ import annotations

from pathlib import Path

import pytest

from netstack.tcp.why import observe
from tools.packetdrill.parser import parse
from tools.packetdrill.runner import Runner

SCRIPTS = sorted((Path(__file__).parent / "tcp").glob("*.pkt"))
SAID = {  # a script in which this is said
    "ack-inside-segment": "segments SACKed above the hole → fast retransmit, cwnd",
    "ack-of-the-future": "challenge ACK (RFC 5961): what a blind attacker might send",
    "bind-time-wait": "ACK of FIN",
    "close-active": "ACK: the peer's segment asks for one",
    "congestion-changed-midway": "lost (RACK) → retransmit",
    "cubic-stands-still": "new data after the timeout",
    "cubic-same-tick": "F-RTO: new data, to tell whether the timeout was spurious",
    "defer-accept-data": "ACK: the application has read what came",
    "ecn-ece-next-round": "Open→CWR; the peer echoes congestion (ECE)",
    "ecn-receiver-ce": "ACK at once: congestion was experienced (CE)",
    "frto-nothing-new": "lost before the timeout → retransmit",
    "handshake-bad-ack": "RST: the segment is not acceptable in this state",
    "handshake-closed-port-syn": "RST: no connection has these addresses and ports, and nobody listens",
    "handshake-simultaneous": "SYN-ACK: both ends opened at once",
    "handshake-synack-backoff": "SYN-ACK again (1st retransmission): its ACK has not come",
    "persist-window-too-small": "persist timer → ",
    "pmtu-in-flight": "path MTU is",
    "rack-lost-in-loss": "RACK: the retransmission was lost too → again",
    "rcvlowat-two": "ACK: second full segment",
    "receive-buffer-fixed": "segments at once",
    "sack-compressed": "compressed duplicate ACKs: their timer expired",
    "syn-received-paws": "ACK: the handshake's segment is not acceptable",
    "syncookie": "SYN-ACK with a cookie: too many handshakes are open",
    "time-wait-fin-again": "ACK from TIME-WAIT: the peer's segment came again",
    "tlp-begins-recovery": "RACK: one sent later has arrived → fast retransmit",
    "tlp-new-data": "→ new data as the probe",
}


def told(path: Path) -> list[str]:
    """The reasons given while the script passes."""
    reasons: list[str] = []
    runner = Runner(parse(path.read_text(), str(path)))
    try:
        observe(runner.host.machine.stack, lambda event: reasons.append(event.get("reason") or f"none: {event}"))
        verdict = runner.run()
        assert verdict.passed, verdict.error
    finally:
        runner.host.close()
    return reasons


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_who_looks_changes_nothing(path: Path) -> None:
    assert not [reason for reason in told(path) if reason.startswith("none: ") and "'event': 'send'" in reason]


@pytest.mark.parametrize("name", SAID)
def test_reason(name: str) -> None:
    reasons = told(Path(__file__).parent / "tcp" / f"{name}.pkt")
    assert any(SAID[name] in reason for reason in reasons), reasons
