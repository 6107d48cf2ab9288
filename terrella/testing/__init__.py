"""The Hypothesis kit: TCP connections under faults that shrink, judged by rules that have names.

    from terrella.testing import Case, Link, Pair, exchange
    from terrella.testing.strategies import cases, links, fates, applications

Nothing here imports Hypothesis but `strategies` and `machine`; nothing is imported before it is used.
"""

from __future__ import annotations

from typing import Any

_WHERE = {
    "Application": "apps", "Piece": "apps", "Case": "cases", "exchange": "running", "run": "running", "Fate": "links",
    "Link": "links", "Way": "links", "Burst": "links", "StripOptions": "links", "ClampMss": "links",
    "ShiftSequence": "links", "BleachEcn": "links", "Router": "links", "Pair": "pair", "Violation": "pair",
    "Oracle": "oracles", "EVERY": "oracles", "jain": "oracles", "shares": "oracles", "TwoSockets": "machine",
}  # fmt: skip

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"terrella.testing has no {name!r}")
    from importlib import import_module

    return getattr(import_module(f"terrella.testing.{_WHERE[name]}"), name)
