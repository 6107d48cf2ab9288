"""A machine stops: what its processes have sent still reaches their peers; then these hear that nobody is there.

When a Linux host is shut down its processes end first, and that closes their sockets; the stack outlives them by some
seconds in which it sends what was queued, and FIN. Whoever asks its successor later is answered with a RST (RFC 9293
section 3.10.7.1). A machine of ours has no successor. So the stack goes on as long as peers acknowledge: until nothing
is owed to any, or none has acknowledged anything new for QUIET_NS (their windows are full, or the wire is cut), or
MOST_NS are over. A peer that has everything, FIN too, is given GRACE_NS to close its end. The rest is aborted: the RST
comes at once, instead of a connection that hangs until its owner loses patience.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netstack.tcp.connection import Connection
from netstack.tcp.tcb import CLOSED

if TYPE_CHECKING:
    from kernel.net.netif import Network

QUIET_NS = 1_000_000_000
"""Two timeouts and a round trip, on most paths."""
MOST_NS = 5_000_000_000
GRACE_NS = 200_000_000
STEP_NS = 5_000_000


def settle(network: Network, hurry: Callable[[], bool]) -> int:
    """Let the stack finish what no process waits for any more; it ends early when `hurry` says so. How many connections
    were aborted."""
    timeline = network.timeline
    end = timeline.now + MOST_NS
    quiet = timeline.now + QUIET_NS
    before = -1
    unpaid = _open(network)
    while not hurry():
        unpaid = [c for c in unpaid if c.write_seq > c.snd_una and c.state != CLOSED]
        owed = sum(c.write_seq - c.snd_una for c in unpaid)
        now = timeline.now
        if owed != before:
            before, quiet = owed, now + QUIET_NS
        if not unpaid or now >= quiet or now >= end:
            break
        timeline.run(until=now + STEP_NS)
    end = min(end, timeline.now + GRACE_NS)
    while not hurry() and timeline.now < end and any(c.write_seq == c.snd_una for c in _open(network)):
        timeline.run(until=timeline.now + STEP_NS)
    left = _open(network)
    for c in left:
        c.abort(timeline.now)
    network.drive()
    end = timeline.now + QUIET_NS
    while left and not hurry() and timeline.now < end and network.in_flight():  # a device may have a wire of its own
        timeline.run(until=timeline.now + STEP_NS)
    return len(left)


def _open(network: Network) -> list[Connection]:
    """The connections that are not over: TIME-WAIT and half-open ones are not among them."""
    return [c for c in network.stack.tcp.connections() if isinstance(c, Connection) and c.state != CLOSED]
