"""Hypothesis profiles: `brief` for the slow run under the sanitizers, which does not read tests/conftest.py."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "brief", deadline=None, max_examples=30, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
