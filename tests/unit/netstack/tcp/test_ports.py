"""Which sockets may share a local port."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from netstack.tcp.ports import waits_in_the_way

FOUR, SIX, ANY4, ANY6 = bytes([10, 0, 0, 1]), bytes.fromhex("fd00" + 28 * "0"), bytes(4), bytes(16)


def socket(reuse: bool = False, v6only: bool = False) -> Any:
    return SimpleNamespace(reuse_addr=reuse, flags={}, v6only=v6only)


def waiting(address: bytes, reuse: bool = False) -> Any:
    return SimpleNamespace(reuse_addr=reuse, reuse_port=False, key=address + address + b"\1\2\3\4")


@pytest.mark.parametrize(
    ("address", "v6only", "theirs", "wanted"),
    [
        (FOUR, False, FOUR, True), (FOUR, False, bytes([10, 0, 0, 2]), False), (FOUR, False, SIX, False),
        (ANY4, False, FOUR, True), (ANY4, False, SIX, False), (ANY6, False, FOUR, True), (ANY6, True, FOUR, False),
        (ANY6, True, SIX, True), (SIX, False, SIX, True),
    ],
)  # fmt: skip
def test_a_connection_in_time_wait_keeps_the_port_of_its_address(
    address: bytes, v6only: bool, theirs: bytes, wanted: bool
) -> None:
    assert waits_in_the_way(socket(v6only=v6only), address, waiting(theirs)) == wanted
    assert not waits_in_the_way(socket(True, v6only), address, waiting(theirs, True)), "SO_REUSEADDR on both sides"
