"""What pyproject.toml cannot say: the modules in its [tool.turnout] `compiled` are compiled by mypyc.

    python setup.py build_ext --inplace     compiles them beside their sources (scripts/compile.sh)

Without mypy or a C compiler, or with TURNOUT_PURE set, they stay Python.
"""

import os
import tomllib
from pathlib import Path

from setuptools import setup


def compiled() -> list:
    if os.environ.get("TURNOUT_PURE"):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    settings = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())
    extensions = mypycify(settings["tool"]["turnout"]["compiled"], opt_level="2", debug_level="0", group_name="turnout")
    for extension in extensions:
        extension.optional = True  # without a C compiler
    return extensions


setup(ext_modules=compiled())
