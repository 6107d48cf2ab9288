"""Hypothesis's entry point (group `hypothesis`): `st.from_type(Link)` and `@given` by annotation know what to draw.

It runs whenever Hypothesis is imported, so the strategies are built when they are first drawn from.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Register strategies for Link, Way, Router, Fate, Burst, Application and Case."""
    from hypothesis import strategies as st

    from terrella.testing.apps import Application
    from terrella.testing.cases import Case
    from terrella.testing.links import Burst, Fate, Link, Router, Way

    def drawn(name: str, **arguments: Any) -> Any:
        def resolve(_: type) -> Any:
            from terrella.testing import strategies

            return getattr(strategies, name)(**arguments)

        return resolve

    st.register_type_strategy(Link, drawn("links"))
    st.register_type_strategy(Way, drawn("ways", dice=True))
    st.register_type_strategy(Router, drawn("routers"))
    st.register_type_strategy(Fate, drawn("fates"))
    st.register_type_strategy(Burst, drawn("bursts"))
    st.register_type_strategy(Application, drawn("applications"))
    st.register_type_strategy(Case, drawn("cases"))
