from __future__ import annotations

import logging

import pytest

from tests.fuzz import sessions
from tests.sizes import size

SECONDS = size("TURNOUT_FUZZ_SECONDS", 3, 30)
SEED = size("TURNOUT_FUZZ_SEED", 8, 8)  # the same rounds every time; `python -m tests.fuzz.sessions` looks for others


@pytest.mark.timeout(SECONDS + 120)
def test_fuzzing_finds_nothing() -> None:
    logger = logging.getLogger("turnout")
    before, logger.propagate = logger.propagate, False
    try:
        report = sessions.run(SECONDS, SEED)
    finally:
        logger.propagate = before
    assert report.answers > 100
    assert report.errors > 0
