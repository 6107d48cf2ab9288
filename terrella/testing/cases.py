"""A case: everything that decides a run, as a value with a JSON form. `running` runs it and keeps it when it fails.

A case is a seed, a link, settings and a list of steps. A step is a tuple: the name of a method of `Pair` and
its arguments,

    ("listen", "b") ("connect", "a") ("send", "a", 1000) ("recv", "b", 65536) ("shutdown", "a", 1) ("close", "b")
    ("setsockopt", "a", "TCP_NODELAY", 1) ("attach", "a", Application(...)) ("fault", "a", (Fate("drop"), ...))
    ("cut", ns) ("run", ns) ("numbers", "a", ISN, TIMESTAMP) ("forge", "a", KIND, VALUE)
    ("stranger", "b", NUMBER, KIND)

After the last, both sides come to their end and close (`Pair.finish`), while the faults still scheduled run out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from terrella.testing import apps, links
from terrella.testing.apps import Application
from terrella.testing.links import Link

FORMAT = 1
STEPS = frozenset({
    "listen", "connect", "accept", "send", "recv", "shutdown", "close", "setsockopt", "attach", "fault", "cut", "run",
    "heal", "forge", "numbers", "urgent", "peek",
    "stranger",
})  # fmt: skip

_VALUES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        links.Fate, links.Link, links.Way, links.Burst, links.StripOptions, links.ClampMss, links.ShiftSequence,
        links.BleachEcn, links.Router, apps.Application, apps.Piece,
    )
}  # fmt: skip

Step = tuple[Any, ...]
Need = tuple[str, str, str, str]
"""What a run took from the user's own code: the kind of thing, its name, its module, the module's file."""


@dataclasses.dataclass(frozen=True)
class Case:
    """`settings` are sysctls of both stacks, `each` of one: {"a": {"net.ipv4.tcp_sack": 0}}, as sorted tuples."""

    link: Link = dataclasses.field(default_factory=Link)
    steps: tuple[Step, ...] = ()
    seed: int = 0
    settings: tuple[tuple[str, Any], ...] = ()
    each: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()

    @staticmethod
    def exchange(
        link: Link,
        a: Application,
        b: Application,
        *,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
        simultaneous: bool = False,
    ) -> Case:
        """Both applications run over one connection: opened by a, or by both at once."""
        opening: tuple[Step, ...] = (
            (("connect", "a"), ("connect", "b")) if simultaneous else (("listen", "b"), ("connect", "a"))
        )
        steps = (*opening, ("attach", "b", b), ("attach", "a", a))
        return Case(link, steps, seed, tuple(sorted((settings or {}).items())))

    def begun_with(self, *steps: Step) -> Case:
        """The same, with these steps before all others."""
        return self.but(steps=(*steps, *self.steps)) if steps else self

    def but(self, **changes: Any) -> Case:
        return dataclasses.replace(self, **changes)


PATIENT = {
    "net.ipv4.tcp_syn_retries": 100, "net.ipv4.tcp_synack_retries": 100, "net.ipv4.tcp_retries2": 100,
    "net.ipv4.tcp_orphan_retries": 100,
}  # fmt: skip
"""Settings under which no finite number of faults ends a connection: then every byte must arrive."""


# JSON.


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {}
        for f in dataclasses.fields(value):
            mine = getattr(value, f.name)
            usual: Any = f.default
            if f.default_factory is not dataclasses.MISSING:
                usual = f.default_factory()
            if mine != usual:
                kept[f.name] = _plain(mine)
        return {"is": type(value).__name__, **kept}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _live(value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get("is")
        if kind not in _VALUES:
            raise ValueError(f"a case knows no {kind!r}: it is one of {', '.join(sorted(_VALUES))}")
        return _VALUES[kind](**{name: _live(v) for name, v in value.items() if name != "is"})
    if isinstance(value, list):
        return tuple(_live(item) for item in value)
    return value


def to_json(case: Case, needs: Iterable[Need] = ()) -> str:
    """`needs`: what of the user's own the case runs with (see `origins`)."""
    said: dict[str, Any] = {
        "terrella-case": FORMAT, "seed": case.seed, "link": _plain(case.link), "settings": _plain(case.settings),
        "each": _plain(case.each), "steps": _plain(case.steps),
    }  # fmt: skip
    if noted := [list(need) for need in needs]:
        said["needs"] = noted
    return json.dumps(said)


def from_json(text: str) -> Case:
    """ValueError when it is not a case."""
    said = _said(text)
    return Case(
        _live(said["link"]), _live(said["steps"]), said["seed"], _live(said["settings"]), _live(said["each"])
    )  # fmt: skip


def needs_of(text: str) -> list[Need]:
    """What the case in this text was noted to need."""
    return [(what, name, module, file) for what, name, module, file in _said(text).get("needs", ())]


def _said(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except json.JSONDecodeError as why:
        raise ValueError(f"not a case: {why}") from None
    if not isinstance(said, dict) or said.get("terrella-case") != FORMAT:
        raise ValueError(f'not a case: it should say "terrella-case": {FORMAT}')
    return said
