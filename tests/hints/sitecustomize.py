"""Python imports this at its start where PYTHONPATH names this folder: the checks of check.py begin in each process."""

import importlib.util
import os
from pathlib import Path

if os.environ.get("TERRELLA_HINTS"):
    spec = importlib.util.spec_from_file_location("terrella_hints", Path(__file__).with_name("check.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(os.environ["TERRELLA_HINTS"])
