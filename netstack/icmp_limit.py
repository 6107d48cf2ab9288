"""How many ICMP errors a host sends (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)), as Linux limits them: one
token bucket for all of both IP versions (`icmp_msgs_per_sec`, `icmp_msgs_burst`), and one per destination
(`net.ipv4.icmp_ratelimit`, `net.ipv6.icmp.ratelimit`: the time that one message costs). """

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netstack.stack import Stack

MS = 1_000_000
SECOND = 1_000_000_000
BURST_FACTOR = 6
PEERS_MAX = 1024


class IcmpLimit:
    """The buckets of one stack."""

    __slots__ = ("_credit", "_peers", "_stamp", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._credit = 0  # global tokens, and when they were last topped up
        self._stamp: int | None = None
        self._peers: dict[bytes, tuple[int, int]] = {}  # destination -> (tokens in ns, stamp)

    def allows(self, to: bytes, cost_ns: int, now: int) -> bool:
        """Whether a message may go to that address now (Linux's icmp_global_allow and inet_peer_xrlim_allow)."""
        stack = self.stack
        settings = stack.settings
        counters: Any = stack.counters.icmp if len(to) == 4 else stack.counters.icmp6
        burst = settings.icmp_msgs_burst
        if self._stamp is None:
            self._credit = burst
            self._stamp = now
        else:
            earned = (now - self._stamp) * settings.icmp_msgs_per_sec // SECOND
            if earned:
                self._credit = min(self._credit + earned, burst)
                self._stamp = now
        if self._credit <= 0:
            stack.counters.icmp.OutRateLimitGlobal += 1
            return False
        # One token on average, but a random number each time, as in Linux: so nobody can tell from the limit how many
        # errors went to others (CVE-2020-25705, by which UDP ports could be found out).
        self._credit = max(self._credit - stack.below(3), 0)
        if not cost_ns:
            return True
        allowed = self.host_allows(to, cost_ns, now)
        if not allowed:
            counters.OutRateLimitHost += 1
        return allowed

    def host_allows(self, to: bytes, cost_ns: int, now: int) -> bool:
        """The bucket of one host alone."""
        peers = self._peers
        tokens, stamp = peers.pop(to, (BURST_FACTOR * cost_ns, now))
        tokens = min(tokens + now - stamp, BURST_FACTOR * cost_ns)
        allowed = tokens >= cost_ns
        if allowed:
            tokens -= cost_ns
        if len(peers) >= PEERS_MAX:
            del peers[next(iter(peers))]
        peers[to] = (tokens, now)
        return allowed
