"""Times as programs show them. The machine's zone is UTC; the time itself comes from the kernel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from userland import abi
from userland.lib import System

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HALF_YEAR = 31556952 // 2


def now(sys: System) -> int:
    """Seconds since 1970."""
    return int(sys.clock_gettime(abi.CLOCK_REALTIME)) // 1_000_000_000


def moment(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def listed(seconds: int, present: int) -> str:
    """As `ls -l` has it: with the year when it is more than half a year away."""
    when = moment(seconds)
    if present - HALF_YEAR < seconds <= present:
        return when.strftime("%b %e %H:%M")
    return when.strftime("%b %e  %Y")


def full(ns: int) -> str:
    """As `stat` has it."""
    return moment(ns // 1_000_000_000).strftime("%Y-%m-%d %H:%M:%S") + f".{ns % 1_000_000_000:09} +0000"


def span(seconds: int) -> str:
    """CPU time: [DD-]HH:MM:SS."""
    days, rest = divmod(seconds, 86400)
    shown = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{shown}" if days else shown
