from __future__ import annotations

import time

import pytest

from tests.sizes import size
from tests.wire import fuzz_wire

SECONDS = size("TURNOUT_FUZZ_SECONDS", 5, 30)


@pytest.mark.timeout(SECONDS + 60)
def test_fuzzing_finds_nothing() -> None:
    report = fuzz_wire.run(SECONDS, time.time_ns())
    assert report.totals.inputs > 10 * SECONDS
    assert len(report.by_target) == len({target.__name__ for target in fuzz_wire.TARGETS})


def test_an_input_can_be_played_again() -> None:
    assert fuzz_wire.run_input(1, 2) == fuzz_wire.run_input(1, 2)
