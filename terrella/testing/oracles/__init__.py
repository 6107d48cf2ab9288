"""The rules, each by its name. An oracle watches a `Pair` from the outside (the wire) and through the probe
(the sender's state), and fails with `Violation` when its rule is broken; its docstring says the rule and
where it stands.

| file | oracles |
|---|---|
| `stream.py` | what the applications see, and that it ends |
| `sender.py` | what may be sent: the offered window, cwnd, silly windows, the scoreboard |
| `congestion.py` | how cwnd and ssthresh move |
| `timers.py` | the retransmission timer, and that something is always armed |
| `receiver.py` | acknowledgments, SACK, the window offered, PAWS, negotiated options, ECN |

`fairness.py` judges flows that share a bottleneck; it is a function, for it needs more than two sockets.
"""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.congestion import (
    CongestionAvoidance,
    OneReductionPerRoundTrip,
    ProportionalRecovery,
    Reduction,
    SlowStart,
)
from terrella.testing.oracles.fairness import jain, shares
from terrella.testing.oracles.receiver import (
    AckOnlyWhatCame,
    ChecksumsHold,
    DelayedAck,
    EcnEcho,
    NegotiatedOptions,
    Paws,
    ReceiverSillyWindow,
    RightEdgeNeverRetreats,
    SackTellsTheTruth,
)
from terrella.testing.oracles.sender import (
    NewDataWithinCwnd,
    RetransmissionsWithinCwnd,
    Scoreboard,
    SenderSillyWindow,
    WithinOfferedWindow,
)
from terrella.testing.oracles.stream import ItEnds, StreamEquality
from terrella.testing.oracles.timers import NoDeadlock, RetransmissionTimeout, RtoBounds

EVERY: tuple[type[Oracle], ...] = (
    StreamEquality, ItEnds, WithinOfferedWindow, NewDataWithinCwnd, RetransmissionsWithinCwnd,
    SenderSillyWindow, Scoreboard, SlowStart, CongestionAvoidance, Reduction, OneReductionPerRoundTrip,
    ProportionalRecovery, RtoBounds, RetransmissionTimeout, NoDeadlock, AckOnlyWhatCame, SackTellsTheTruth,
    RightEdgeNeverRetreats, ReceiverSillyWindow, DelayedAck, Paws, ChecksumsHold, NegotiatedOptions, EcnEcho,
)  # fmt: skip
"""All oracles: what a pair is watched by unless it is told otherwise."""

__all__ = [
    "EVERY", "AckOnlyWhatCame", "ChecksumsHold", "CongestionAvoidance", "DelayedAck", "EcnEcho", "ItEnds",
    "NegotiatedOptions", "NewDataWithinCwnd", "NoDeadlock", "OneReductionPerRoundTrip", "Oracle", "Paws",
    "ProportionalRecovery", "ReceiverSillyWindow", "Reduction", "RetransmissionTimeout", "RetransmissionsWithinCwnd",
    "RightEdgeNeverRetreats", "RtoBounds", "SackTellsTheTruth", "Scoreboard", "SenderSillyWindow", "SlowStart",
    "StreamEquality", "WithinOfferedWindow", "jain", "shares",
]  # fmt: skip
