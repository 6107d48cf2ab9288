"""Where a case's own congestion controls and oracles come from: a saved case says it, and its replay imports them.

A need is (what, name, module, file): ("congestion", "calm", "test_calm", "/home/me/test_calm.py") or ("oracle",
"SmallWindow", ...). What terrella itself has is not noted.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from terrella.testing.cases import Case, Need
from terrella.testing.pair import Pair

CONGESTION, ORACLE = "congestion", "oracle"
OURS = ("netstack.", "terrella.")


def needs(pair: Pair, case: Case) -> list[Need]:
    """What this run took from outside."""
    from netstack.tcp import congestion
    from terrella.testing.apps import Application

    names = [value for name, value in case.settings if name.endswith(".tcp_congestion_control")]
    names += [value for _, own in case.each for name, value in own if name.endswith(".tcp_congestion_control")]
    for step in case.steps:
        if step[0] == "setsockopt" and step[2] == "TCP_CONGESTION":
            names.append(step[3])
        options: tuple[Any, ...] = step[2].options if step[0] == "attach" and isinstance(step[2], Application) else ()
        names += [value for name, value in options if name == "TCP_CONGESTION"]
    found = [(CONGESTION, name, type(congestion.create(name))) for name in names if name in congestion.available()]
    found += [(ORACLE, type(oracle).__qualname__, type(oracle)) for oracle in pair.oracles]
    return list(dict.fromkeys(_need(what, name, cls) for what, name, cls in found if not _ours(cls)))


def _ours(cls: type) -> bool:
    return cls.__module__.startswith(OURS)


def _need(what: str, name: str, cls: type) -> Need:
    module, file = cls.__module__, ""
    try:
        file = str(Path(inspect.getfile(cls)).resolve())
    except (OSError, TypeError):
        pass  # typed in: it cannot be found again, and the replay will say so
    if module == "__main__":
        module = Path(file).stem  # imported, it is no program
    return what, name, module, file


def load(noted: Iterable[Iterable[str]]) -> list[type]:
    """Import what was noted; the oracles among it. ValueError says what is missing."""
    from netstack.tcp import congestion

    oracles: list[type] = []
    for what, name, module, file in noted:
        if what == CONGESTION and name in congestion.available():
            continue
        made = _module(module, file, f"the {what} {name!r} of this case")
        if what == CONGESTION:
            if name not in congestion.available():
                raise ValueError(f"{file or module} is imported, but registers no congestion control {name!r}")
            continue
        found: Any = made
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise ValueError(f"{file or module} has no {name} (an oracle made inside a function cannot be found again)")
        oracles.append(found)
    return oracles


def load_file(file: str) -> None:
    """Import a file for what it registers. ValueError when that fails, as when another module has its name: who imports
    that one would get the file, or the other way round.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{file} is no file to import")
    path = path.resolve()
    if _taken(path.stem, path):
        raise ValueError(f"{file}: there is another module {path.stem!r}: give the file another name")
    _module(path.stem, str(path), "what --import names")


def _taken(name: str, path: Path) -> bool:
    """Whether another module is loaded by that name, or would be."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        spec = find_spec(name) if name.isidentifier() else None
        if spec is None or spec.origin is None:
            return False  # a folder of that name is none as long as there is a module
        origin = spec.origin
    return origin is None or Path(origin).resolve() != path


def _module(name: str, file: str, whose: str) -> Any:
    """By its name, where that leads to the same file, else by the file."""
    known = sys.modules.get(name)
    if known is not None and (not file or getattr(known, "__file__", None) in (None, file)):
        return known
    if file and Path(file).is_file():
        spec = spec_from_file_location(name, file)
        if spec is not None and spec.loader is not None:
            made = module_from_spec(spec)
            sys.modules[name] = made
            folder = str(Path(file).parent)
            if folder not in sys.path:
                sys.path.append(folder)
            try:
                spec.loader.exec_module(made)
            except Exception as why:
                del sys.modules[name]
                raise ValueError(f"{whose} is from {file}, which cannot be imported: {why}") from why
            return made
    try:
        return import_module(name)
    except ImportError as why:
        where = f"{file or name}, which is not here ({why})"
        raise ValueError(f"{whose} is from {where}; --import says where it is now") from None
