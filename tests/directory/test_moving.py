"""Keys that move under load: nobody reads what is not there any more, and nothing that was acknowledged is lost."""

from __future__ import annotations

import pytest

from tests.directory.moving import stir
from tests.servers import Run, Shop
from tests.sizes import seed, size

pytestmark = [pytest.mark.servers, pytest.mark.thorough]
SEED = seed()
SECONDS = size("TURNOUT_MOVING_SECONDS", 8, 25)


def test_keys_move_under_load(run: Run, shop_servers: Shop) -> None:
    seen = stir(run, shop_servers, SECONDS, SEED)
    assert seen.wrong == [], f"seed {SEED}: {seen}"
    assert seen.counts["moved keys"] >= SECONDS // 4, seen
    assert (
        min(seen.counts[what] for what in ("reads", "writes", "inserts", "read of all", "read in a transaction")) > 20
    )


@pytest.mark.timeout(5 * SECONDS + 120)
def test_keys_move_while_their_rows_are_cached(run: Run, shop_servers: Shop) -> None:
    for more in range(3):  # with so many writes it may be that no answer is still fresh when it is asked for again
        seen = stir(run, shop_servers, SECONDS, SEED + more, cached=True)
        assert seen.wrong == [], f"seed {SEED + more}: {seen}"
        assert seen.counts["moved keys"] >= SECONDS // 8, seen
        if seen.counts["served from memory"]:
            break
    assert seen.counts["served from memory"] > 0, seen


def test_the_check_sees_who_does_not_wait(run: Run, shop_servers: Shop) -> None:
    """Entries that are changed without the steps of docs/RULES.md: some worker goes on with the old ones."""
    for more in range(5):
        seen = stir(run, shop_servers, 60, SEED + more, wait_s=0, movers=1)
        if seen.wrong:
            return
    pytest.fail(f"nothing was found: {seen}")
