"""Breaking the stack: one place of its source is changed for a test; what the place says is asserted."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Breaker = Callable[[pytest.MonkeyPatch], None]


def mutate(module: ModuleType | type, name: str, *changes: tuple[str, str]) -> Breaker:
    """A breaker that replaces text in the source of `module.name` (a function)."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        source = textwrap.dedent(inspect.getsource(getattr(module, name)))
        for old, new in changes:
            assert old in source, f"{module.__name__}.{name} no longer says {old!r}"
            source = source.replace(old, new)
        scope: dict[str, Any] = {}
        inside = module if isinstance(module, ModuleType) else sys.modules[module.__module__]
        exec(compile("from __future__ import annotations\n" + source, module.__name__, "exec"), inside.__dict__, scope)
        monkeypatch.setattr(module, name, scope[name])

    return apply


def replace(owner: Any, name: str, value: Any) -> Breaker:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


def every(*breakers: Breaker) -> Breaker:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        for breaker in breakers:
            breaker(monkeypatch)

    return apply
