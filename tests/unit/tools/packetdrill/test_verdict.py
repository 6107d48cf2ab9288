"""What is told of a script: as JSON, with nothing in it that there is not; and it crosses to another process whole."""

from __future__ import annotations

import json
import pickle

from hypothesis import given
from hypothesis import strategies as st

from tools.packetdrill.script import ScriptError
from tools.packetdrill.verdict import Verdict

errors = st.builds(
    ScriptError, st.just("x.pkt"), st.integers(0, 99), st.text(),
    st.sampled_from(["mismatch", "syntax", "unsupported"]), st.text(), st.text(),
)  # fmt: skip
verdicts = st.builds(
    Verdict, st.text(), st.booleans(), st.integers(0, 99), st.none() | errors, st.none() | st.text(min_size=1),
    st.text(), st.lists(errors, max_size=2), st.just([(5, "in", b"E")]),
)  # fmt: skip


@given(verdicts)
def test_what_is_there_is_told_and_nothing_else(verdict: Verdict) -> None:
    found = json.loads(json.dumps(verdict.as_dict()))
    assert (found.pop("script"), found.pop("passed"), found.pop("events")) == (
        verdict.path, verdict.passed, verdict.events,
    )  # fmt: skip
    there = {
        "error": verdict.error and verdict.error.as_dict(), "capture": verdict.capture, "unsaved": verdict.unsaved,
        "warnings": [warning.as_dict() for warning in verdict.warnings],
    }  # fmt: skip
    assert found == {name: value for name, value in there.items() if value}
    assert not verdict.error or "script" not in found["error"], "it is said beside it"


@given(verdicts)
def test_it_crosses_to_another_process(verdict: Verdict) -> None:
    other = pickle.loads(pickle.dumps(verdict))
    assert other.as_dict() == verdict.as_dict() and other.history == verdict.history
