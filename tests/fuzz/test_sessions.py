from __future__ import annotations

import ast
import gc
import logging
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Iterable
from unittest import mock

import pytest

from tests.fuzz import sessions
from tests.fuzz.sessions import World
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


def test_a_round_leaves_nothing_in_memory() -> None:
    played = weakref.WeakSet[World]()

    def __init__(world: World, rng: random.Random) -> None:
        played.add(world)
        made(world, rng)

    made = World.__init__
    with mock.patch.object(World, "__init__", __init__):
        traces(range(10))
    gc.collect()
    assert len(played) == 0


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
