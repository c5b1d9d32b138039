"""Four workers in two proxies insert at full speed and are killed in between: no id comes twice, none is lost."""

from __future__ import annotations

import pytest

from tests.sequences.storm import Told, handed_out_twice, rage
from tests.servers import Run, Shop
from tests.sizes import seed, size

SECONDS = size("TURNOUT_STORM_SECONDS", 6, 15)
SEED = seed()


@pytest.mark.thorough
@pytest.mark.servers
def test_no_id_twice(run: Run, shop_servers: Shop) -> None:
    outcome = rage(run, shop_servers, SECONDS, SEED)
    print(f"seed {SEED}: {outcome}")
    assert not outcome.twice, f"seed {SEED}: {outcome}"
    assert not outcome.lost, f"seed {SEED}: {outcome}"
    assert outcome.told.statements > 100
    assert outcome.worker_kills + outcome.proxy_kills > 3


def test_which_pairs_of_rows_are_a_fault() -> None:
    told = Told(began={"made 0.0": 1.0, "made 1.0": 3.0, "given 2.0": 1.5, "given 2.1": 1.5})
    told.acknowledged = {"given 2.0": 2.0}
    assert handed_out_twice(["made 0.0", "made 1.0"], told)
    assert handed_out_twice(["given 2.0", "made 1.0"], told)  # sent after the client that gave the id had its OK
    assert not handed_out_twice(["given 2.0", "made 0.0"], told)  # may have been made before
    assert not handed_out_twice(["given 2.1", "made 1.0"], told)  # nobody was told that the given one is there
    assert not handed_out_twice(["given 2.0", "given 2.1"], told)
