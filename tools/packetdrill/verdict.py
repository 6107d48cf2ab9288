"""What came of one script: passed or not, how far it came, what was wrong, and where its capture lies."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.packetdrill.script import ScriptError


@dataclass
class Verdict:
    """`events` is how many of the script's events were carried out."""

    path: str
    passed: bool
    events: int
    error: ScriptError | None = None
    capture: str | None = None
    unsaved: str = ""
    """Why there is no capture although one was asked for: its path, and what the system said."""
    warnings: list[ScriptError] = field(default_factory=list)
    """What was wrong, and no failure because of --non_fatal."""
    history: list[tuple[int, str, bytes]] = field(default_factory=list)
    """Everything that crossed the device: time, "in" or "out", IP packet."""

    def as_dict(self) -> dict[str, object]:
        out: dict[str, object] = {"script": self.path, "passed": self.passed, "events": self.events}
        if self.error is not None:
            out["error"] = self.error.as_dict()
        if self.warnings:
            out["warnings"] = [warning.as_dict() for warning in self.warnings]
        if self.capture is not None:
            out["capture"] = self.capture
        if self.unsaved:
            out["unsaved"] = self.unsaved
        return out
