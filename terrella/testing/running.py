"""Running a case, under every oracle or those one names, and keeping what failed: seed, script and capture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from terrella.testing import origins, script
from terrella.testing.apps import Application
from terrella.testing.cases import STEPS, Case, Step, to_json
from terrella.testing.links import Link
from terrella.testing.oracles import EVERY
from terrella.testing.pair import Pair

ARTIFACTS = "TERRELLA_ARTIFACTS"
"""The environment variable with the directory that failing cases are saved in; empty: nowhere."""


def make(case: Case, oracles: Iterable[Callable[[Pair], Any]] | None = None) -> Pair:
    """The pair of a case, before its first step."""
    oracles = EVERY if oracles is None else oracles
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


def keep(
    pair: Pair, case: Case, why: BaseException, artifacts: str | os.PathLike[str] | None = None, name: str = "case"
) -> None:
    """Save a failing case, when there is a directory for it, and tell the exception how to replay it."""
    directory = artifacts if artifacts is not None else os.environ.get(ARTIFACTS, "")
    if not directory:
        return
    rule = getattr(why, "oracle", type(why).__name__)
    try:
        path = save(pair, case, directory, f"{name}-{rule}", why)
    except OSError as trouble:  # what failed is the rule
        why.add_note(f"not saved: {trouble}")
    else:
        why.add_note(f"replay: python -m terrella.testing.replay {path}")


def save(
    pair: Pair, case: Case, directory: str | os.PathLike[str], name: str, why: BaseException | None = None
) -> Path:
    """NAME.json (the case), NAME.pkt (what the failing side did, as a packetdrill script) and NAME.pcapng (both sides).

    The path of the script, which holds the case as well.
    """
    into = Path(directory)
    into.mkdir(parents=True, exist_ok=True)
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:150]
    side = getattr(why, "side", "a")
    noted = to_json(case, origins.needs(pair, case))
    (into / f"{safe}.json").write_text(noted + "\n")
    script.capture(pair, into / f"{safe}.pcapng", why)
    path = into / f"{safe}.pkt"
    path.write_text(script.text(pair, side, why) + script.holding(noted))
    return path
