"""Which of our modules are taken from their source although they have been compiled.

The modules on the way of each statement (`[tool.turnout] compiled` in pyproject.toml) are compiled by mypyc where
Turnout is installed; the same files run as Python where they have not been. With TURNOUT_PURE set they run as Python in
any case: to look into them with a debugger or profiler, or to replace parts of them in tests.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

VARIABLE = "TURNOUT_PURE"
_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (_ROOT / "parser", _ROOT / "proxy")


def begin() -> None:
    """Before anything else of ours is imported."""
    if os.environ.get(VARIABLE):
        take_source()


def take_source() -> None:
    """What has not been imported yet is taken from source from now on."""
    for top in _PACKAGES:
        for folder, inner, _ in os.walk(top):
            inner[:] = [name for name in inner if name != "__pycache__"]
            sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


def outdated() -> list[str]:
    """Files of a checkout that were changed after what runs in their place was compiled from them."""
    if os.environ.get(VARIABLE) or not (_ROOT / "pyproject.toml").exists():
        return []  # what was installed from a wheel has the times at which it was unpacked
    found = []
    for compiled in (file for top in _PACKAGES for file in top.rglob("*.so")):
        source = compiled.with_name(compiled.name.partition(".")[0] + ".py")
        if not source.exists() or source.stat().st_mtime > compiled.stat().st_mtime:
            found.append(str(source.relative_to(_ROOT)))
    return sorted(found)
