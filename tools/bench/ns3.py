"""The peer of the simulated figures: ns-3, with Debian's libns3-dev, compiled when the bench runs (ns3_peer.cc)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.bench.rig import Unavailable

HERE = Path(__file__).resolve().parent
HEADERS = "/usr/include/ns3/core-module.h"
LIBRARIES = ("applications", "internet", "point-to-point", "network", "core", "stats")


@contextmanager
def peer() -> Iterator[list[str]]:
    """The command of the program, to be given MEGABYTES FLOWS CAPTURE; Unavailable when it cannot be built."""
    if not Path(HEADERS).exists():
        raise Unavailable("libns3-dev is not installed")
    if shutil.which("g++") is None:
        raise Unavailable("g++ is not installed")
    with TemporaryDirectory(prefix="terrella-ns3-") as directory:
        program = str(Path(directory) / "ns3_peer")
        libraries = [f"-lns3-{name}" for name in LIBRARIES]
        command = ["g++", "-O2", "-o", program, str(HERE / "ns3_peer.cc"), *libraries]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode:
            raise Unavailable(f"ns3_peer.cc does not build: {built.stderr.strip().splitlines()[-1]}")
        yield [program]
