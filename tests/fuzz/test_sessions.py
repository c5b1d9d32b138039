from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.fuzz import sessions
from tests.fuzz.virtual import Trace
from tests.sizes import size

SECONDS = size("TURNOUT_FUZZ_SECONDS", 3, 30)
SEED = size("TURNOUT_FUZZ_SEED", 8, 8)  # the same rounds every time; `python -m tests.fuzz.sessions` looks for others


def traces(numbers: Iterable[int]) -> dict[int, str]:
    found = {}
    for number in numbers:
        trace = Trace()
        sessions.run_input(SEED, number, trace)
        found[number] = str(trace)
    return found


def test_rounds_are_the_same_in_any_order_and_process() -> None:
    """What is found behind others can be played alone."""
    program = "from tests.fuzz import test_sessions as t; print(t.traces(range(10)))"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    elsewhere = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    forth, back = traces(range(10)), traces(reversed(range(10)))
    said, _ = elsewhere.communicate()
    assert forth == back == ast.literal_eval(said)


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
