"""Only the C extensions are declared here: setuptools reads `cffi_modules` from a call, not from pyproject.toml."""

import sys

from setuptools import setup

modules = ["csrc/build.py:leaves"]
if sys.platform == "linux":
    modules.append("csrc/build.py:tap")

setup(cffi_modules=modules)
