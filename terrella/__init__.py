"""The little earth: whole Unix machines and the networks between them, in one process. `from terrella import Lab`.

Names are imported when they are first asked for: `terrella.testing` and its plugins are found here too, and
have to be cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrella.lab import Host, Lab, LabError, Process

__all__ = ["Host", "Lab", "LabError", "Process"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'terrella' has no attribute {name!r}")
    from terrella import lab

    return getattr(lab, name)
