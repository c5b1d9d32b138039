"""What pyproject.toml cannot say: the modules in its [tool.turnout] `compiled` are compiled by mypyc.

    python setup.py build_ext --inplace     compiles them beside their sources (as scripts/setup.sh does)

Without mypy, a C compiler or Python's headers, or with TURNOUT_PURE set, they stay Python.
"""

import itertools
import os
import shlex
import shutil
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext as _build_ext


def can_compile() -> bool:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def compiled() -> list:
    if os.environ.get("TURNOUT_PURE") or not can_compile():
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    settings = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())
    # -O2 takes twice the time, and its code runs no faster.
    extensions = mypycify(
        settings["tool"]["turnout"]["compiled"], opt_level="1", debug_level="0", group_name="turnout", multi_file=True
    )
    for extension in extensions:  # what gcc warns of in generated code takes long to find, and helps nobody
        extension.extra_compile_args.append("-w")
    return extensions


class build_ext(_build_ext):
    """With one compiler for each processor."""

    def build_extensions(self) -> None:
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], *args: object, **kwargs: object) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = list(pool.map(lambda source: compile_some([source], *args, **kwargs), sources))
            return list(itertools.chain.from_iterable(objects))

        self.compiler.compile = compile_all
        super().build_extensions()


setup(ext_modules=compiled(), cmdclass={"build_ext": build_ext})
