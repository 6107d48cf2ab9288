"""The programs of /bin, inside, beside the host's own (coreutils, grep, findutils, procps) on the same files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.sh.inside import run_inside

pytestmark = pytest.mark.interop

FILES = {
    "words": "one\\ntwo words\\nthree  more words\\n\\n\\nsix\\n",
    "numbers": "10\\n9\\n100\\n-3\\n2.5\\n9\\n1K\\n2M\\n",
    "table": "b:2:x\\na:10:y\\nc:1:x\\na:2:z\\n",
    "tabs": "a\\tb\\tc\\nno tabs\\nd\\t\\te\\n",
    "binary": "a\\0b\\001\\177\\n\\200\\n",
    "noend": "no newline at the end",
    "empty": "",
    "mixed": "Apple\\nbanana\\napple\\nBanana\\ncherry\\nbanana\\n",
}
COMMANDS = [
    line for line in (Path(__file__).parent / "utilities.txt").read_text().splitlines() if line and line[0] != "#"
]
MARK = "=====\n"


def script() -> str:
    """All commands, each followed by its status and a mark."""
    lines = ["rm -f .keep", "umask 022"]
    lines += [f"printf '{text}' > {name}" for name, text in FILES.items()]
    lines += ["i=0; while [ $i -lt 200 ]; do echo line $i of the file; i=$((i+1)); done > long"]
    lines += [
        "touch -d @1000000000 words table mixed long",
        "mkdir dir; cp words dir/words; cp table dir/x; mkdir dir/sub; echo s > dir/sub/y; touch -d @500 dir/words",
    ]
    for command in COMMANDS:
        lines += [f"{{ {command}\n}} 2>&1; echo \"<$?>\"; printf '{MARK[:-1]}\\n'"]
    return "\n".join(lines) + "\n"


def parts(output: bytes) -> list[str]:
    """What each command wrote, without the hint at --help and the quotes of other locales."""
    text = output.decode("utf-8", "backslashreplace")
    text = re.sub(r"Try '[^']*' for more information\.\n", "", text)
    text = re.sub(r"^/(usr/)?bin/(\S+): ", r"\2: ", text, flags=re.M)
    text = re.sub(r"^Usage: .*\n", "", text, flags=re.M)
    return text.split(MARK)[:-1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    where = tmp_path_factory.mktemp("host")
    case = where.parent / "case.sh"
    case.write_text(script())
    done = subprocess.run(
        ["dash", str(case)], cwd=where, stdin=subprocess.DEVNULL, capture_output=True, timeout=600,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "HOME": "/work"},
    )  # fmt: skip
    return parts(done.stdout), parts(run_inside(script())[0])


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=COMMANDS)
def test_as_the_hosts(number: int, both: tuple[list[str], list[str]], need: Callable[..., None]) -> None:
    need("dash", "grep", "find", "xargs")
    if os.geteuid() != 0:
        pytest.skip("files inside are root's")
    assert both[1][number] == both[0][number]
