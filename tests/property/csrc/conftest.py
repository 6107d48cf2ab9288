"""Hypothesis profiles: no deadline (the machine may be busy); `brief` for the slow run under the sanitizers."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("csrc", deadline=None)
settings.register_profile("brief", deadline=None, max_examples=30)
settings.load_profile("csrc")
