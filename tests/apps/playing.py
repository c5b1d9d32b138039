"""Runs an application against a server, and takes what it prints: a line of JSON, [step, answer], for each step."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.servers.shop import APP, APP_PASSWORD
from tests.servers.turnout import ROOT

LONGEST_S = 300


def play(application: str, port: int, *steps: str) -> dict[str, Any]:
    """The answers by step; of all steps if none is named. "failed" is what went wrong, if anything."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"tests.apps.{application}", str(port), APP, APP_PASSWORD, *steps],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    if done.returncode or done.stderr:
        answers["failed"] = done.stderr
    return answers


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every answer that was given is the expected one."""
    assert "failed" not in expected, expected["failed"]
    for name, answer in found.items():
        if name != "failed":
            assert answer == expected[name], f"{name}: {answer}\ninstead of {expected[name]}"
    assert "failed" not in found, found["failed"]
