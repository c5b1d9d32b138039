"""What runs for each statement is compiled in all that tests start, and does the same as its source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from parser import from_source
from proxy.cli import main

ROOT = Path(__file__).resolve().parents[1]
COMPILED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["turnout"]["compiled"]
FILES = """
import importlib, json, sys
print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))
"""

made = pytest.mark.skipif(bool(os.environ.get(from_source.VARIABLE)), reason="TURNOUT_PURE is set")


def suffixes(**environment: str) -> set[str]:
    """Of the files that a process of its own imports the modules from."""
    names = [file.removesuffix(".py").replace("/", ".") for file in COMPILED]
    command = [sys.executable, "-c", FILES, *names]
    said = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True)
    return {Path(file).suffix for file in json.loads(said.stdout)}


@made
def test_what_tests_start_is_compiled() -> None:
    assert suffixes() == {".so"}


def test_the_command_runs_anywhere(tmp_path: Path) -> None:
    """Not only in the checkout, from which Python would import whatever lies there."""
    command = [Path(sys.executable).with_name("turnout"), "--version"]
    said = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("turnout, version ")


def test_it_can_be_done_without() -> None:
    assert suffixes(TURNOUT_PURE="1") == {".py"}


def test_tests_replace_parts_of_what_is_not_compiled() -> None:
    names = {file.removesuffix(".py").replace("/", ".") for file in COMPILED}
    files = {Path(module.__file__ or "").suffix for name, module in sys.modules.items() if name in names}
    assert files == {".py"}


@made
def test_the_wire_code_compiled() -> None:
    """The tests of pure code once more, on what is compiled."""
    tests = [
        "tests/wire",
        "tests/parser/test_shape.py",
        "tests/measure/test_shapes.py",
        "tests/measure/test_key_hash.py",
        "tests/measure/test_log_shapes.py",
        "tests/measure/test_slow_log.py",
    ]
    options = ["-q", "-p", "no:cacheprovider", "-m", "not servers", "--ignore", "tests/wire/test_fuzz_wire.py"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env=os.environ | {"TURNOUT_TESTS_COMPILED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout


_POOLS = """
import gc
from proxy.back import pool
from proxy.back.server import Role, Server
from proxy.measure.measures import Measures
from proxy.rules import model
from proxy.wire.login import Secret

assert pool.__file__.endswith(".so")
stats = Measures().server("main", "127.0.0.1:3306", "primary")
address = model.Address("127.0.0.1", 3306)
server = Server("main", Role.PRIMARY, address, 10, None, model.Pool(), model.Health(), lambda *_: None, stats)
key, secret = pool.PoolKey("app", 0), Secret(password=b"app")
made = server.pool(key, secret)
assert server.pool(key, secret) is made
del made
assert not server.pools
made = server.pool(key, secret)
made.waiters.append(made)  # as what waits may refer to it
del made
gc.collect()
assert not server.pools
"""


@made
def test_compiled_pools_go_when_nobody_refers_to_them() -> None:
    subprocess.run([sys.executable, "-c", _POOLS], cwd=ROOT, check=True)


_VALUES = """
import gc
from proxy.cache import cached_value

assert cached_value.__file__.endswith(".so")
value = cached_value.CachedValue(1, 2, 3, (4, 5), b"response", 6, 7, 8)
assert not gc.is_tracked(value)
assert (value.position, value.slots, value.response, value.unsent) == (3, (4, 5), b"response", None)
"""

_SLOTS = """
from proxy.back import tags, text_slots

assert text_slots.__file__.endswith(".so")
seed = tags.class_seed("shop", "users", ["id"])
quick = text_slots.TextSlots((1, 2), 1, seed, 10)
for number in [*range(1, 1000), *range(1, 10**10, 10**6 + 7)]:
    text = b"%d" % number
    assert quick.of([b"0", text]) == (1, 2, tags.key_slot(seed, [text])), number
assert quick.of([b"0", b"0"]) is quick.of([b"0", b"12345678901"]) is quick.of([b"0", b""]) is None
"""


@made
def test_the_collector_does_not_look_at_compiled_cached_values() -> None:
    subprocess.run([sys.executable, "-c", _VALUES], cwd=ROOT, check=True)


@made
def test_compiled_slots_are_those_of_the_stream_process() -> None:
    subprocess.run([sys.executable, "-c", _SLOTS], cwd=ROOT, check=True)


def test_what_was_changed_since_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "proxy" / "wire"
    package.mkdir(parents=True)
    source, compiled = package / "frames.py", package / "frames.cpython-311-x86_64-linux-gnu.so"
    for file in (source, compiled, package / "other.py"):
        file.touch()
    os.utime(source, (1_000, 1_000))
    monkeypatch.setattr(from_source, "_ROOT", tmp_path)
    monkeypatch.setattr(from_source, "_PACKAGES", (tmp_path / "proxy",))
    monkeypatch.delenv(from_source.VARIABLE, raising=False)
    os.utime(compiled, (1_000, 1_000))
    assert from_source.outdated() == []  # no checkout, whatever its files' times
    (tmp_path / "pyproject.toml").touch()
    assert from_source.outdated() == []
    os.utime(source, (2_000, 2_000))
    assert from_source.outdated() == ["proxy/wire/frames.py"]
    said = CliRunner().invoke(main.main, ["serve", "rules.yaml"])
    assert said.exit_code == 1
    assert "proxy/wire/frames.py: changed after" in said.output
    assert "make setup" in said.output
    monkeypatch.setenv(from_source.VARIABLE, "1")
    assert from_source.outdated() == []
