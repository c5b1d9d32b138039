"""Clients that are programs of their own: installed from their lock files, built, and run with JSON in and out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.clients import scenario
from tests.clients.scenario import Seen
from tests.clients.target import Target

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(__file__).with_name("node")
GO = Path(__file__).with_name("go")
INSTALL_S = 100
RUN_S = 60


class Unavailable(Exception):
    """A client cannot be had on this machine; the text says why."""


def install_node() -> list[str]:
    """The command line of node's client; its packages are installed beside it when they are not those of the lock file.

    Raises Unavailable.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        raise Unavailable("node or npm is not installed")
    lock_file = NODE / "package-lock.json"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    stamp = NODE / "node_modules" / ".installed"
    with lock_file.open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)  # tests run in several processes
        if not stamp.exists() or stamp.read_text() != wanted:
            _install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], NODE)
            stamp.write_text(wanted)
    return ["node", str(NODE / "client.js")]


def build_go(folder: Path) -> list[str]:
    """The command line of Go's client, built into `folder`. Raises Unavailable."""
    if not shutil.which("go"):
        raise Unavailable("go is not installed")
    _install(["go", "mod", "download"], GO)
    program = folder / "client"
    argv = ["go", "build", "-o", str(program), "."]
    built = subprocess.run(argv, cwd=GO, env=_environment(), capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return [str(program)]


def find_connector_c() -> list[str]:
    """The command line of MySQL Connector/Python with its C extension. Raises Unavailable."""
    probe = "import _mysql_connector, mysql.connector, sys; sys.exit(not mysql.connector.HAVE_CEXT)"
    tried = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    if tried.returncode:
        why = tried.stderr.strip().splitlines()[-1:] or ["the connector does without it"]
        raise Unavailable(f"the C extension of mysql-connector-python cannot be used: {why[0]}")
    return [sys.executable, "-m", "tests.clients.connector_c"]


def play(argv: Sequence[str], mode: str, target: Target, other: Target) -> Seen:
    return _run(argv, {"action": "play", "mode": mode, "target": target.as_json(), "other": other.as_json()})


def log_in(argv: Sequence[str], mode: str, target: Target) -> Seen:
    return _run(argv, {"action": "log in", "mode": mode, "target": target.as_json(), "other": target.as_json()})


def ask(argv: Sequence[str], mode: str, target: Target, asked: Sequence[tuple[str, Sequence[object]]]) -> object:
    """What a client sees of each statement with its values: rows, the number of rows affected, or the error."""
    questions = [{"statement": statement, "values": list(values)} for statement, values in asked]
    work: dict[str, object] = {
        "action": "ask",
        "mode": mode,
        "target": target.as_json(),
        "other": target.as_json(),
        "asked": questions,
    }
    return _run(argv, work)["answers"]


def _run(argv: Sequence[str], work: dict[str, object]) -> Seen:
    given = json.dumps({**work, "scenario": scenario.as_json()})
    done = subprocess.run(argv, input=given, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    seen: Seen = json.loads(done.stdout)
    return seen


def _install(argv: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            argv, cwd=folder, env=_environment(), capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(argv)}` took longer than {INSTALL_S} s") from error
    if done.returncode:
        raise Unavailable(f"`{' '.join(argv)}` failed: {done.stderr.strip()[-400:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
