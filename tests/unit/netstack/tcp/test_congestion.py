"""What a congestion control has to have is said when it is registered, not at some later ACK."""

from __future__ import annotations

from typing import Any

import pytest

from netstack.tcp import congestion
from netstack.tcp.congestion import METHODS, register


class Whole:
    name = "whole"
    ssthresh = cong_avoid = undo_cwnd = pkts_acked = event = lambda self, *args: 0


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "_registry", dict(congestion._registry))


def test_a_whole_one_is_there() -> None:
    assert register(Whole) is Whole  # type: ignore[arg-type]
    assert isinstance(congestion.create("whole"), Whole)


@pytest.mark.parametrize("missing", METHODS)
def test_a_method_that_lacks(missing: str) -> None:
    part: Any = type("Part", (Whole,), {"name": "part", missing: None})
    with pytest.raises(TypeError, match=f"'part' lacks {missing}$"):
        register(part)
    with pytest.raises(KeyError):
        congestion.create("part")


@pytest.mark.parametrize("name", [None, "", "x" * 16, 5])
def test_a_name_that_no_option_has_room_for(name: object) -> None:
    with pytest.raises(TypeError, match="1 to 15 bytes"):
        register(type("Part", (Whole,), {"name": name}))
