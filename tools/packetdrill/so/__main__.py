"""`python -m tools.packetdrill.so [OUT]`: build the library."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.packetdrill.so.build import build

if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python -m tools.packetdrill.so [OUT]")
    try:
        print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    except RuntimeError as error:
        sys.exit(f"terrella: {error}")
