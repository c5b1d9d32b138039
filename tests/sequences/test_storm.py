"""Four workers in two proxies insert at full speed and are killed in between: no id comes twice, none is lost."""

from __future__ import annotations

import os
import random

import pytest

from tests.sequences.storm import rage
from tests.servers import Run, Shop

pytestmark = pytest.mark.servers
SECONDS = float(os.environ.get("TURNOUT_STORM_SECONDS", "15"))
SEED = int(os.environ.get("TURNOUT_SEED") or random.SystemRandom().randrange(1 << 32))


def test_no_id_twice(run: Run, shop_servers: Shop) -> None:
    outcome = rage(run, shop_servers, SECONDS, SEED)
    print(f"seed {SEED}: {outcome}")
    assert not outcome.twice, f"seed {SEED}: {outcome}"
    assert not outcome.lost, f"seed {SEED}: {outcome}"
    assert outcome.told.statements > 100
    assert outcome.worker_kills + outcome.proxy_kills > 3
