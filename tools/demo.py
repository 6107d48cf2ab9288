"""`terrella demo`: a connection fights a bad link, in virtual time, and the terminal shows how. Needs no root.

`httpd` on one machine, `fetch` on the other, both ordinary programs. What is drawn is sampled from the sender's control
block at fixed virtual times, so the picture belongs to the seed like everything else here.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.errors import CommandError
from tools.plot import Curve, draw

if TYPE_CHECKING:
    from rich.console import Console

RATE, DELAY, LOSS, QUEUE = "10Mbit", "20ms", "0.4%", 60
SIZE = 3_000_000
SAMPLE_NS = 5_000_000
LIMIT_NS = 120_000_000_000
FIRST_CALLS, LAST_CALLS = 8, 6


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="the course of events (default 7)")
    parser.add_argument("--out", default=".", metavar="DIR", help="where demo.pcapng goes (default: here)")


class Sampler:
    """Follows one sender: (seconds, segments) of cwnd and ssthresh, and when it retransmitted."""

    __slots__ = ("cwnd", "machine", "marks", "retransmitted", "ssthresh", "start", "timer")

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.cwnd: list[tuple[float, float]] = []
        self.ssthresh: list[tuple[float, float]] = []
        self.marks: list[float] = []
        self.retransmitted = 0
        self.start = 0
        self.timer = machine.timeline.timer(self.sample)

    def sample(self, now: int) -> None:
        """Once per SAMPLE_NS while there is a connection."""
        self.timer.arm(now + SAMPLE_NS)


def run(args: argparse.Namespace) -> int:
    return 0
