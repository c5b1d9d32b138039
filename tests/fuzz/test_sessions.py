from __future__ import annotations

import logging
import time

import pytest

from tests.fuzz import sessions
from tests.sizes import size

SECONDS = size("TURNOUT_FUZZ_SECONDS", 3, 30)


@pytest.mark.timeout(SECONDS + 120)
def test_fuzzing_finds_nothing() -> None:
    logger = logging.getLogger("turnout")
    before, logger.propagate = logger.propagate, False
    try:
        report = sessions.run(SECONDS, time.time_ns())
    finally:
        logger.propagate = before
    assert report.answers > 100
    assert report.errors > 0
