"""A case: everything that decides a run, as a value with a JSON form; running it; and keeping it when it fails.

A case is a seed, a link, settings and a list of steps. A step is a tuple: the name of a method of `Pair` and
its arguments,

    ("listen", "b") ("connect", "a") ("send", "a", 1000) ("recv", "b", 65536) ("shutdown", "a", 1) ("close", "b")
    ("setsockopt", "a", "TCP_NODELAY", 1) ("attach", "a", Application(...)) ("fault", "a", (Fate("drop"), ...))
    ("cut", ns) ("run", ns)

After the last, both sides come to their end and close (`Pair.finish`), while the faults still scheduled run out.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrella.testing import apps, links
from terrella.testing.apps import Application
from terrella.testing.links import Link

if TYPE_CHECKING:
    from terrella.testing.origins import Need
    from terrella.testing.pair import Pair

FORMAT = 1
ARTIFACTS = "TERRELLA_ARTIFACTS"
"""The environment variable with the directory that failing cases are saved in; empty: nowhere."""

STEPS = frozenset({
    "listen", "connect", "accept", "send", "recv", "shutdown", "close", "setsockopt", "attach", "fault", "cut", "run",
    "heal",
})  # fmt: skip

_VALUES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        links.Fate, links.Link, links.Way, links.Burst, links.StripOptions, links.ClampMss, links.ShiftSequence,
        links.BleachEcn, apps.Application, apps.Piece,
    )
}  # fmt: skip

Step = tuple[Any, ...]


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


# Running.


def make(case: Case, oracles: Iterable[Callable[[Pair], Any]] | None = None) -> Pair:
    """The pair of a case, before its first step."""
    if oracles is None:
        from terrella.testing.oracles import EVERY

        oracles = EVERY
    from terrella.testing.pair import Pair

    each = {side: dict(settings) for side, settings in case.each}
    return Pair(case.link, case.seed, dict(case.settings), oracles, each)


def perform(pair: Pair, step: Step) -> Any:
    """One step. ValueError when there is none of that name."""
    name = step[0]
    if name not in STEPS:
        raise ValueError(f"a case has no step {name!r}: it is one of {', '.join(sorted(STEPS))}")
    return getattr(pair, name)(*step[1:])


def run(
    case: Case,
    oracles: Iterable[Callable[[Pair], Any]] | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    name: str = "case",
) -> Pair:
    """Run a case to its end. What fails is saved (see `save`) in `artifacts`, or in $TERRELLA_ARTIFACTS, or not."""
    pair = make(case, oracles)
    try:
        for step in case.steps:
            perform(pair, step)
        pair.finish()
    except Exception as why:
        keep(pair, case, why, artifacts, name)
        raise
    return pair


def exchange(
    link: Link,
    a: Application | None = None,
    b: Application | None = None,
    *,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    simultaneous: bool = False,
    oracles: Iterable[Callable[[Pair], Any]] | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    name: str = "exchange",
) -> Pair:
    """Two applications over one connection, to the end, under every oracle."""
    case = Case.exchange(
        link, a or Application(), b or Application(), seed=seed, settings=settings, simultaneous=simultaneous
    )  # fmt: skip
    return run(case, oracles, artifacts, name)


# Keeping.


def keep(
    pair: Pair, case: Case, why: BaseException, artifacts: str | os.PathLike[str] | None = None, name: str = "case"
) -> None:
    """Save a failing case, when there is a directory for it, and tell the exception how to replay it."""
    directory = artifacts if artifacts is not None else os.environ.get(ARTIFACTS, "")
    if not directory:
        return
    rule = getattr(why, "oracle", type(why).__name__)
    path = save(pair, case, directory, f"{name}-{rule}", why)
    why.add_note(f"replay: python -m terrella.testing.replay {path}")


def save(
    pair: Pair, case: Case, directory: str | os.PathLike[str], name: str, why: BaseException | None = None
) -> Path:
    """NAME.json (the case), NAME.pkt (what the failing side did, as a packetdrill script) and NAME.pcapng (both sides).

    The path of the script, which holds the case as well.
    """
    from terrella.testing import origins, script

    into = Path(directory)
    into.mkdir(parents=True, exist_ok=True)
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:150]
    side = getattr(why, "side", "a")
    (into / f"{safe}.json").write_text(to_json(case, origins.needs(pair, case)) + "\n")
    script.capture(pair, into / f"{safe}.pcapng", why)
    path = into / f"{safe}.pkt"
    path.write_text(script.text(pair, side, case, why))
    return path
