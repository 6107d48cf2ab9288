"""The bench's own arithmetic: targets, medians, tables, and a sampler that sees what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import __main__ as bench
from tools.bench import kernel, report
from tools.bench.__main__ import chosen
from tools.bench.measures import NETWORK, SIMULATED, Figure, _figure
from tools.bench.rig import Unavailable
from tools.bench.targets import BY_NAME, TARGETS


def test_every_figure_has_a_target() -> None:
    assert set(BY_NAME) == set(NETWORK) | set(SIMULATED) | set(kernel.FIGURES)
    assert len(BY_NAME) == len(TARGETS)


def test_a_target_is_missed_on_the_wrong_side_only() -> None:
    rate, delay = BY_NAME["bulk-in"], BY_NAME["echo"]
    assert rate.text() == ">= 0.5x veth, >= 4x lwIP" and delay.text() == "<= 25 us"
    assert not rate.misses(0.01, 0.5, 4.0) and not delay.misses(25.0, None, None)
    assert rate.misses(9.0, 0.49, 3.9) == ["bulk-in: 0.49 times veth, target 0.5", "bulk-in: 3.9 times lwIP, target 4"]
    assert delay.misses(25.1, None, None) == ["echo: 25.1 us, target 25"] and not delay.misses(3.0, 9.0, 9.0)


def test_what_was_not_measured_is_not_met() -> None:
    assert BY_NAME["bulk-in"].misses(9.0, 1.0, None) == ["bulk-in: lwIP was not measured, target 4 times lwIP"]
    assert BY_NAME["simulate"].misses(1e6, None, None) == ["simulate: ns-3 was not measured, target 1 times ns-3"]
    assert all(target.text() for target in TARGETS), "every figure has one"


def test_check_says_what_is_missed_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"value": 8000.0}
    monkeypatch.setenv("TERRELLA_COMPILED", "auto")
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "connect", "--check"])
    monkeypatch.setattr(
        bench, "measure", lambda names, options, profiles: [Figure("connect", made["value"], 1.0, 2.0, 1)]
    )
    assert bench.main() == 1 and "misses its target: connect: 8000 /s, target 8200" in capsys.readouterr().err
    made["value"] = 8200.0
    assert bench.main() == 0 and "misses" not in capsys.readouterr().err


def test_a_figure_is_a_median_and_its_ratios_are_the_medians_of_the_turns() -> None:
    figure = _figure("bulk-in", [1.0, 5.0, 2.0], [4.0, 4.0, 100.0], {}, [2.0, 50.0, 1.0])
    assert (figure.value, figure.low, figure.high, figure.runs, figure.peer, figure.ratio) == (2, 1, 5, 3, 4, 0.25)
    assert (figure.lwip, figure.lwip_ratio) == (2, 0.5)
    assert _figure("simulate", [3.0], [], {}).ratio is None


def test_only_takes_names_and_beginnings_and_refuses_the_rest() -> None:
    assert chosen(None) == list(BY_NAME)
    assert chosen(["bulk-in"]) == ["bulk-in"]
    assert chosen(["bulk"]) == [name for name in BY_NAME if name.startswith("bulk")]
    with pytest.raises(Unavailable, match="there are bulk-in"):
        chosen(["nothing"])


def test_the_tables_hold_the_same_figures() -> None:
    figures = [
        Figure("bulk-in", 2.345, 2.0, 3.0, 3, 4.6, 0.51, {"cpu_s_per_gb": 0.31}, 0.5, 4.69),
        Figure("simulate", 61234.0, 6e4, 7e4, 1, extra={"megabytes": 100.0}),
    ]
    text = report.markdown(figures).splitlines()
    assert text[2].startswith("| bulk-in | 2.35 GB/s | 2..3 of 3 | 4.6 GB/s | 0.51 | 0.31 CPU s/GB, lwIP 0.5: 4.69x |")
    assert text[2].endswith("| yes |") and text[3].endswith("| >= 1x ns-3 | no |")
    assert "61,234 /s" in text[3]
    assert len({line.count("|") for line in text[:4]}) == 1
    parsed = json.loads(report.as_json(figures, {}))
    assert [f["value"] for f in parsed["figures"]] == [2.345, 61234.0]
    assert parsed["figures"][0]["misses"] == []


BUSY = """
def busy(n):
    total = 0
    for i in range(n):
        total += i * i
    return total
def idle():
    return 1
if __name__ == "__main__":
    for _ in range(40):
        busy(50_000)
        idle()
"""


def test_the_sampler_names_the_function_that_burns_the_time(tmp_path: Path) -> None:
    (tmp_path / "burner.py").write_text(BUSY)
    out = tmp_path / "out.json"
    root = Path(__file__).resolve().parents[4]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]; " + (
        f"from tools.bench.sampler import main; sys.exit(main(['x', {str(out)!r}, 'burner']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    found = json.loads(out.read_text())
    assert found["samples"] >= 5
    top = found["functions"][0]
    assert top["function"].endswith("burner.py:busy") and top["own"] > 0.8
    assert "where the time goes" in report.profile("x", found)
