"""Fixtures shared by every test: tools and privileges that may be missing, and network namespaces made for one test."""

from __future__ import annotations

import inspect
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Tests replace methods of classes, and editing a source has to take effect: they run the Python unless told otherwise.
# Nothing of terrella that is compiled has been imported yet.
os.environ.setdefault("TERRELLA_COMPILED", "0")

# A background job of a shell starts with these ignored, and whatever it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# How long an example takes, and how long drawing it, says how busy the host is. (What else a profile says stays.)
PATIENT = [*settings().suppress_health_check, HealthCheck.too_slow]
settings.register_profile("house", settings(), deadline=None, suppress_health_check=PATIENT)
settings.register_profile("same", settings.get_profile("house"), derandomize=True, database=None)
settings.load_profile("house")

REQUIRED = os.environ.get("TERRELLA_INTEROP") == "required"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-soak", action="store_true", help="run the long campaigns too")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The suite tries the same examples each time: one that fails, fails for whoever runs it next. What nobody has
    tried yet is for the campaigns (--run-soak), and for whoever gives --hypothesis-seed or --hypothesis-profile=house.
    """
    if not config.getoption("--run-soak") and config.getoption("--hypothesis-seed", None) is None:
        settings.load_profile("same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-soak"):
        return
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="a long campaign: `make soak` runs it"))


STANDS_IN = re.compile(
    r"TypeError: .* expected; got (types\.SimpleNamespace|tests\.|.*<locals>|unittest\.)|immutable type|"
    r"is read-only$|interpreted classes cannot inherit from compiled|"
    r"has no attribute '__(slots|code|kwdefaults|defaults)__'|does not exist or is not a function"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """TERRELLA_COMPILED=1: what compiled classes do not allow is no failure. They are not replaced in part, nor by what
    only looks like them, and call each other directly.
    """
    report = yield
    if os.environ["TERRELLA_COMPILED"] == "1" and report.failed and call.excinfo is not None:
        if STANDS_IN.search(call.excinfo.exconly()):
            reason = "something stands in for a compiled object"
        elif "monkeypatch.setattr" in inspect.getsource(item.function):
            reason = "replaces something inside, which compiled code does not see"
        else:
            return report
        report.outcome, report.wasxfail = "skipped", f"compiled: {reason}"
    return report


def missing(reason: str) -> None:
    """Skip because the machine lacks something; fail instead where interop is required (CI)."""
    if REQUIRED:
        pytest.fail(f"interop is required here, but {reason}")
    pytest.skip(reason)


@pytest.fixture
def need() -> Callable[..., None]:
    """`need("tshark", "curl", root=True)`: skip, with the reason said, unless all are there."""

    def check(*tools: str, root: bool = False) -> None:
        for tool in tools:
            if shutil.which(tool) is None and shutil.which(tool, path="/usr/sbin:/sbin") is None:
                missing(f"the tool {tool!r} is not installed")
        if root and os.geteuid() != 0:
            missing("this needs root (a TAP or a network namespace)")
        if root and not os.path.exists("/dev/net/tun"):
            missing("/dev/net/tun does not exist")

    return check


@pytest.fixture(scope="session")
def compiled() -> dict[str, str]:
    """The environment of a process that runs the compiled modules; skips where none match the sources."""
    from csrc import compiled as form

    _, why = form.state()
    if why:
        missing(f"{why}: `make fast` compiles it")
    return {**os.environ, "TERRELLA_COMPILED": "1"}


class Namespace:
    """A network namespace of the test's own. Everything started in it ends with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def run(
        self, *command: str, check: bool = True, timeout: float = 120, **kw: object
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            check=check, timeout=timeout, capture_output=True, text=True, **kw,  # type: ignore[call-overload]
        )

    def popen(self, *command: str, **kw: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["ip", "netns", "exec", self.name, *command], **kw)  # type: ignore[call-overload]
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        subprocess.run(["ip", "netns", "del", self.name], check=True)


_serial = itertools.count()


@pytest.fixture
def netns(need: Callable[..., None]) -> Iterator[Callable[[], Namespace]]:
    """`netns()` makes a fresh network namespace; all are removed after the test."""
    need("ip", root=True)
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace(f"trl{os.getpid()}n{next(_serial)}"))
        return made[-1]

    yield make
    for namespace in reversed(made):
        namespace.close()


@pytest.fixture(scope="session")
def terrella() -> str:
    """Path of the installed `terrella` command of the interpreter that runs the tests."""
    return str(Path(sys.executable).parent / "terrella")
