"""One Turnout with a workbench on main, and its mirror, for the tests that leave them as they found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front.conftest import end
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.workbench.shop import Pair, prepare_filled


@pytest.fixture(scope="module")
def proxy(run: Run, shop_servers: Shop) -> Iterator[tuple[Turnout, MariaDB]]:
    made = prepare_filled(run, shop_servers)
    yield made
    end(made[0])


@pytest.fixture
def pair(proxy: tuple[Turnout, MariaDB]) -> Iterator[Pair]:
    made = Pair(*proxy)
    yield made
    made.close()
