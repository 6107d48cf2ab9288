"""The pytest plugin (entry point `terrella` of pytest11): the fixture `lab`, `--lab-seed` and `--lab-artifacts`.

    def test_it(lab):
        a = lab.host("a", "10.0.0.1/24")
        ...

The lab is closed after the test. Its seed is `--lab-seed` (0). With `--lab-artifacts DIR` a test that fails leaves
DIR/TEST.pcapng (what passed every network card of the lab, an interface for each) and DIR/TEST.txt (the seed
and how to run it again); failing cases of the Hypothesis kit are saved there too (`terrella.testing.running.save`).

Every pytest run in this environment imports this file: it imports nothing else before it is needed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from terrella.lab import Lab

VARIABLE = "TERRELLA_ARTIFACTS"
REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("terrella", "terrella: virtual machines and networks")
    group.addoption("--lab-seed", metavar="SEED", default="0", help="seed of the fixture `lab` (default 0)")
    group.addoption(
        "--lab-artifacts", metavar="DIR", default=None,
        help="failing tests leave captures, seeds and replayable cases here",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    directory = config.getoption("--lab-artifacts")
    if directory:
        path = (config.invocation_params.dir / directory).resolve()
        if path.exists() and not path.is_dir():
            raise pytest.UsageError(f"--lab-artifacts {directory}: is no directory")
        os.environ[VARIABLE] = str(path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep the report where the fixture's end can see it."""
    outcome: Any = yield
    report = outcome.get_result()
    item.stash.setdefault(REPORTS, {})[report.when] = report
    seed = getattr(item, "lab_seed", None)
    if report.when == "call" and report.failed and seed is not None:
        told = f"seed {seed}; again: pytest --lab-seed={shlex.quote(str(seed))} {shlex.quote(item.nodeid)}"
        if item.config.getoption("--lab-artifacts"):
            told += f"\ncapture: {artifact(item)}.pcapng"
        report.sections.append(("lab", told))


def safe(nodeid: str) -> str:
    """A test's name as that of a file."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in nodeid)[-150:]


def artifact(item: pytest.Item) -> str:
    """Where a failing test leaves its files, without what their names end in."""
    return os.path.join(os.environ[VARIABLE], safe(item.nodeid))


@pytest.fixture
def lab_seed(request: pytest.FixtureRequest) -> int | str:
    """What `--lab-seed` says: a number when it is one."""
    seed = str(request.config.getoption("--lab-seed"))
    return int(seed) if seed.lstrip("-").isdigit() else seed


@pytest.fixture
def lab(request: pytest.FixtureRequest, lab_seed: Any) -> Iterator[Lab]:
    """An empty `terrella.Lab` with the seed of `--lab-seed`; closed after the test."""
    from terrella.lab import Lab

    directory = request.config.getoption("--lab-artifacts")
    item: Any = request.node
    item.lab_seed = lab_seed
    with Lab(lab_seed) as made:
        film = _film(made) if directory else None
        yield made
        made.close()
        report = item.stash.get(REPORTS, {}).get("call")
        if film is not None and report is not None and report.failed:
            base = artifact(item)
            os.makedirs(os.path.dirname(base), exist_ok=True)
            with open(base + ".pcapng", "wb") as file:
                file.write(film.getvalue())
            with open(base + ".txt", "w", encoding="utf-8") as file:
                again = f"pytest --lab-seed={shlex.quote(str(lab_seed))} {shlex.quote(item.nodeid)}"
                file.write(f"{item.nodeid}\nseed {lab_seed}\n{again}\n")


def _film(lab: Lab) -> Any:
    """Record every network card, of hosts made from now on, into one capture in memory; the file."""
    import io

    from drivers.capture import Pcapng

    buffer = io.BytesIO()
    capture = Pcapng(buffer, epoch_ns=lab.timeline.epoch_ns)
    make = lab.host

    def host(*args: Any, **kw: Any) -> Any:
        made = make(*args, **kw)
        made.record(capture)
        return made

    lab.host = host  # type: ignore[method-assign]
    lab._captures.append(capture)
    return buffer
