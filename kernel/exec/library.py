"""What programs import from `userland`, with ticks.

A program file is compiled with ticks, but what it imports would not be: a shell that loops in a library module could
not be preempted. So the modules of `userland` are loaded anew for each machine, compiled with ticks of that machine;
a program's `import` statements find them here, everything else where Python finds it. The constants of
`userland.abi` are everybody's.
"""

from __future__ import annotations

import builtins
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from kernel.exec.ticks import TICK, compile_program

ROOM = "userland"
PLAIN = ("userland", "userland.abi")


@lru_cache(maxsize=256)
def _compiled(name: str) -> tuple[CodeType, str, list[str] | None] | None:
    """(code with ticks, file, directories of a package); None where there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    places = spec.submodule_search_locations
    code = compile_program(Path(spec.origin).read_bytes(), spec.origin)
    return code, spec.origin, None if places is None else list(places)


class Library:
    """The modules of one machine."""

    __slots__ = ("builtins", "modules", "tick")

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick = tick
        self.modules: dict[str, ModuleType] = {}
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self.find}

    def find(
        self, name: str, globals: Mapping[str, Any] | None = None, locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (), level: int = 0,
    ) -> Any:  # fmt: skip
        """`__import__` for programs."""
        if level or name.partition(".")[0] != ROOM:
            return __import__(name, globals, locals, fromlist or (), level)
        module = self.load(name)
        if not fromlist:
            return self.load(ROOM)
        for each in fromlist:
            if not hasattr(module, each) and hasattr(module, "__path__"):
                self.load(f"{name}.{each}")
        return module

    def load(self, name: str) -> ModuleType:
        """The module, run when it is first asked for. ImportError."""
        found = self.modules.get(name)
        if found is not None:
            return found
        package, _, last = name.rpartition(".")
        parent = self.load(package) if package else None
        if name in PLAIN:
            module = importlib.import_module(name) if name != ROOM else ModuleType(ROOM)
            if name == ROOM:
                module.__path__ = []
        else:
            compiled = _compiled(name)
            if compiled is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            code, file, places = compiled
            module = ModuleType(name)
            module.__file__ = file
            module.__spec__ = importlib.util.spec_from_file_location(name, file)
            if places is not None:
                module.__path__ = places
            module.__dict__["__builtins__"] = self.builtins
            module.__dict__[TICK] = self.tick
            self.modules[name] = module
            try:
                exec(code, module.__dict__)
            except BaseException:
                del self.modules[name]
                raise
        self.modules[name] = module
        if parent is not None:
            setattr(parent, last, module)
        return module
