"""Forwarding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.stack import Stack


class Forward:
    __slots__ = ("stack",)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def ipv6(self, frame: Frame, interface: Interface, now: int) -> None:
        self.stack.counters.reject.NotForwarded += 1
