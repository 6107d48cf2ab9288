"""Every command in README.md and docs/ is run, as a reader would: in order, page by page, in an empty directory.

In a ```console block a line after `$ ` is run by anybody, one after `# ` by root in a network namespace of the
page's own; what follows is output, which must appear (a line that starts with `ready` is what a command that
stays says: it is then left running until the page ends, and stopped by SIGINT). A ```python block with
`file=NAME` is saved; one without is run. `make` commands are checked for their target only. A ```text block is a
picture.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.M | re.S)


class Block:
    __slots__ = ("attributes", "kind", "text")

    def __init__(self, kind: str, attributes: str, text: str) -> None:
        self.kind = kind
        self.attributes = attributes.split()
        self.text = text


def blocks(page: str) -> list[Block]:
    return [Block(*match.groups()) for match in BLOCK.finditer(page)]


def steps(text: str) -> list[tuple[str, str, list[str]]]:
    """(prompt, command, lines of output) of a console block; a command goes on after a backslash."""
    found: list[tuple[str, str, list[str]]] = []
    goes_on = False
    for line in text.splitlines():
        if goes_on:
            prompt, command, out = found[-1]
            found[-1] = (prompt, command + "\n" + line, out)
        elif line[:2] in ("$ ", "# "):
            found.append((line[0], line[2:], []))
        elif found:
            found[-1][2].append(line)
        else:
            raise ValueError(f"output before the first command: {line!r}")
        goes_on = line.endswith("\\")
    return found


class Reader:
    """Follows one page."""

    def __init__(self, where: Path, need: Callable[..., None], netns: Callable[[], Any]) -> None:
        self.where = where
        self.need = need
        self.netns = netns
        self.space: Any = None
        self.running: list[subprocess.Popen[bytes]] = []
        self.environ = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NO_COLOR": "1",
        }  # fmt: skip

    def follow(self, page: str) -> None:
        for block in blocks(page):
            if block.kind == "console":
                for prompt, command, out in steps(block.text):
                    self.command(prompt, command, out)
            elif block.kind == "python":
                name = next((a[5:] for a in block.attributes if a.startswith("file=")), None)
                (self.where / (name or "block.py")).write_text(block.text)
                if name is None:
                    self.shell("python block.py", [])
            elif block.kind == "sh":
                for line in block.text.splitlines():
                    self.line(line.partition("#")[0].strip())
            elif block.kind != "text":
                raise ValueError(f"a block of kind {block.kind!r}: write console, python, sh or text")

    def line(self, line: str) -> None:
        """A line of an `sh` block: what sets up the reader's own shell."""
        if line.startswith("make "):
            for target in line.split()[1:]:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"make has no {target}"
        elif line == ". .venv/bin/activate" or line.startswith(("git clone ", "cd ", "apt-get install")) or not line:
            pass
        else:
            raise ValueError(f"{line!r}: a command to be run belongs into a console block")

    def command(self, prompt: str, command: str, out: list[str]) -> None:
        for tool in ("tshark", "curl", "ping"):
            if re.search(rf"\b{tool} ", command):
                self.need(tool)
        if prompt == "#" and self.space is None:
            self.space = self.netns()
        if out and out[0].startswith("ready"):
            self.start(command, out[0])
        else:
            self.shell(command, out)

    def start(self, command: str, expected: str) -> None:
        child = self.space.popen(
            "bash", "-c", "exec " + command, cwd=self.where, env=self.environ, stdout=subprocess.PIPE
        )
        assert child.stdout.readline().decode().rstrip() == expected, command
        self.running.append(child)

    def shell(self, command: str, out: list[str]) -> None:
        words = ["bash", "-c", command]
        if self.space is not None:
            words = ["ip", "netns", "exec", self.space.name, *words]
        done = subprocess.run(words, cwd=self.where, env=self.environ, capture_output=True, text=True, timeout=900)
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command}\n{said}"
        for line in out:
            assert line.rstrip() in said, f"{command}\nshould print {line!r}, and prints\n{said}"

    def close(self) -> None:
        for child in self.running:
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=120) == 130, "an interrupt gives 130"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_page_works(page: Path, tmp_path: Path, need: Callable[..., None], netns_late: Callable[[], Any]) -> None:
    reader = Reader(tmp_path, need, netns_late)
    reader.follow(page.read_text())
    reader.close()


@pytest.fixture
def netns_late(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Namespaces only for the pages that ask for one: the others need no root."""

    def make() -> Any:
        return request.getfixturevalue("netns")()

    return make


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ false\n```\n", "```console\n$ terrella nonsense\n```\n", "```python\nraise SystemExit(3)\n```\n",
        "```console\n$ echo one\ntwo\n```\n", "```sh\nmake nonsense\n```\n",
    ],
)  # fmt: skip
def test_a_page_that_does_not_work_is_seen(page: str, tmp_path: Path, need: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        Reader(tmp_path, need, pytest.fail).follow(page)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_table_of_system_calls_is_the_codes() -> None:
    check = [sys.executable, "-m", "tools.syscall_table", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
