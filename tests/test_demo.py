"""The demo shows what it says, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.thorough, pytest.mark.servers, pytest.mark.timeout(300)]


def test_the_demo_ends_well() -> None:
    argv = [sys.executable, "-m", "demo"]
    done = subprocess.run(
        argv, cwd=Path(__file__).parent.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "The demo failed" not in done.stdout
    assert "DSN" in done.stdout
    assert "All servers are stopped." in done.stdout
