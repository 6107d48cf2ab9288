"""The rules, each by its name. An oracle watches a `Pair` from the outside (the wire) and through the probe
(the sender's state), and fails with `Violation` when its rule is broken; its docstring says the rule and
where it stands.

| file | oracles |
|---|---|
| `stream.py` | what the applications see, and that it ends |
| `sender.py` | what may be sent: the offered window, cwnd, silly windows, the scoreboard |
| `congestion.py` | how cwnd and ssthresh move |
| `validation.py` | how cwnd moves when it is not what holds the sender back |
| `loss.py` | when a loss is found, and when it was none |
| `timers.py` | the retransmission timer, and that something is always armed |
| `ends.py` | how long it takes until a connection is given up, or forgotten |
| `probes.py` | loss probes, keepalive, what puts the retransmission timer off |
| `push.py` | PSH, pacing |
| `calls.py` | what calls tell: readiness, errors, urgent data, SO_LINGER |
| `listening.py` | the SYN queue, SYN cookies, the accept queue |
| `forged.py` | what packets do that the peer did not send |
| `path.py` | path MTU discovery, and what the router does |
| `receiver.py` | acknowledgments, SACK, the window offered, PAWS, negotiated options, ECN |

`fairness.py` judges flows that share a bottleneck; it is a function, for it needs more than two sockets.
"""

from __future__ import annotations

from terrella.testing.oracles.base import Oracle
from terrella.testing.oracles.calls import Linger, Readiness, TellsErrors, Urgent
from terrella.testing.oracles.congestion import (
    CongestionAvoidance,
    EcnReaction,
    OneReductionPerRoundTrip,
    ProportionalRecovery,
    Reduction,
    RestartAfterIdle,
    SlowStart,
)
from terrella.testing.oracles.ends import FinWait2, GivesUp, TimeWaitLength
from terrella.testing.oracles.fairness import jain, shares
from terrella.testing.oracles.forged import ForgedSegments
from terrella.testing.oracles.listening import SynQueue
from terrella.testing.oracles.loss import (
    FastRetransmit,
    LostRetransmission,
    Reneging,
    ReorderingTimer,
    UndoesWhatWasSpurious,
    UndoHasReason,
)
from terrella.testing.oracles.path import Forwards, PathMtu
from terrella.testing.oracles.probes import KeepAlive, LossProbe, RestartsTimer
from terrella.testing.oracles.push import Pacing, Push
from terrella.testing.oracles.receiver import (
    AckOnlyWhatCame,
    ChecksumsHold,
    DelayedAck,
    DuplicateAck,
    EcnEcho,
    NegotiatedOptions,
    Paws,
    ReceiverSillyWindow,
    RightEdgeNeverRetreats,
    SackTellsTheTruth,
    TakesWhatFits,
    WindowUpdate,
)
from terrella.testing.oracles.sender import (
    NewDataWithinCwnd,
    RetransmissionsWithinCwnd,
    Scoreboard,
    SenderSillyWindow,
    SendsWhatItMay,
    SendWindow,
    WithinOfferedWindow,
)
from terrella.testing.oracles.stream import InitialNumbers, ItEnds, ResetsUnread, StreamEquality, TimeWait
from terrella.testing.oracles.timers import NoDeadlock, PersistTimer, RetransmissionTimeout, RtoBounds
from terrella.testing.oracles.validation import WindowValidation

EVERY: tuple[type[Oracle], ...] = (
    StreamEquality, ItEnds, TimeWait, WithinOfferedWindow, SendWindow, NewDataWithinCwnd, RetransmissionsWithinCwnd,
    SenderSillyWindow, SendsWhatItMay, Scoreboard, SlowStart, CongestionAvoidance, RestartAfterIdle, Reduction,
    OneReductionPerRoundTrip, ProportionalRecovery, FastRetransmit, UndoHasReason, Reneging, RtoBounds,
    RetransmissionTimeout, PersistTimer, GivesUp, NoDeadlock, AckOnlyWhatCame, TakesWhatFits, DuplicateAck,
    SackTellsTheTruth, RightEdgeNeverRetreats, ReceiverSillyWindow, WindowUpdate, DelayedAck, Paws, ChecksumsHold,
    NegotiatedOptions, EcnEcho, EcnReaction, Push, Pacing, LossProbe, RestartsTimer, KeepAlive, ResetsUnread,
    LostRetransmission, ForgedSegments, Readiness, TellsErrors, Urgent, Linger, FinWait2,
    TimeWaitLength, UndoesWhatWasSpurious, ReorderingTimer,
    InitialNumbers, PathMtu, Forwards, SynQueue, WindowValidation,
)  # fmt: skip
"""All oracles: what a pair is watched by unless it is told otherwise."""

__all__ = [
    "EVERY",
    "AckOnlyWhatCame",
    "ChecksumsHold",
    "CongestionAvoidance",
    "DelayedAck",
    "DuplicateAck",
    "EcnEcho",
    "EcnReaction",
    "FastRetransmit",
    "FinWait2",
    "ForgedSegments",
    "Forwards",
    "GivesUp",
    "InitialNumbers",
    "ItEnds",
    "KeepAlive",
    "Linger",
    "LossProbe",
    "LostRetransmission",
    "NegotiatedOptions",
    "NewDataWithinCwnd",
    "NoDeadlock",
    "OneReductionPerRoundTrip",
    "Oracle",
    "Pacing",
    "PathMtu",
    "Paws",
    "PersistTimer",
    "ProportionalRecovery",
    "Push",
    "Readiness",
    "ReceiverSillyWindow",
    "Reduction",
    "Reneging",
    "ReorderingTimer",
    "ResetsUnread",
    "RestartAfterIdle",
    "RestartsTimer",
    "RetransmissionTimeout",
    "RetransmissionsWithinCwnd",
    "RightEdgeNeverRetreats",
    "RtoBounds",
    "SackTellsTheTruth",
    "Scoreboard",
    "SendWindow",
    "SenderSillyWindow",
    "SendsWhatItMay",
    "SlowStart",
    "StreamEquality",
    "SynQueue",
    "TakesWhatFits",
    "TellsErrors",
    "TimeWait",
    "TimeWaitLength",
    "UndoHasReason",
    "UndoesWhatWasSpurious",
    "Urgent",
    "WindowUpdate",
    "WindowValidation",
    "WithinOfferedWindow",
    "jain",
    "shares",
]  # fmt: skip
