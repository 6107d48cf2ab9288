"""TCP's settings as a connection reads them: plain slots, which follow `netstack.settings`.

A setting is read many times for each segment and hardly ever changed, so it is looked up by its name when it changes,
and not when it is read. There is one copy for each stack, `Tcp.settings`. Settings are changed in the stack's
`Settings`, which tells its followers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.settings import SETTINGS

if TYPE_CHECKING:
    from netstack.settings import Settings

ELSEWHERE = (
    "ip_default_ttl", "ip_no_pmtu_disc", "ipv6_bindv6only", "rmem_default", "rmem_max", "route_min_adv_mss",
    "route_min_pmtu", "route_mtu_expires", "somaxconn", "wmem_default",
)  # fmt: skip
"""The integers that TCP, or a socket that is made, reads of other protocols' settings."""


INTEGERS = tuple(
    spec.attribute
    for spec in SETTINGS.values()
    if isinstance(spec.default, int) and (spec.attribute.startswith("tcp_") or spec.attribute in ELSEWHERE)
)
OTHERS = ("default_qdisc", "ip_local_port_range", "tcp_congestion_control", "tcp_rmem", "tcp_wmem")


class Integers:
    """The settings that are integers, each a slot under its attribute's name."""

    __slots__ = INTEGERS

    if TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> int: ...


class Tunables(Integers):
    """The integers and the rest, which has types of its own."""

    __slots__ = ("default_qdisc", "ip_local_port_range", "tcp_congestion_control", "tcp_rmem", "tcp_wmem")

    default_qdisc: str
    ip_local_port_range: tuple[int, int]
    tcp_congestion_control: str
    tcp_rmem: tuple[int, int, int]
    tcp_wmem: tuple[int, int, int]

    def __init__(self, settings: Settings) -> None:
        for attribute in (*INTEGERS, *OTHERS):
            setattr(self, attribute, getattr(settings, attribute))
        settings.follow(self.changed)

    def changed(self, attribute: str, value: Any) -> None:
        """A setting, TCP's or not, has got another value."""
        if attribute in INTEGERS or attribute in OTHERS:
            setattr(self, attribute, value)
